//! A container's output, read from its files: all of it, the last of it, or as it is written.

use std::{
    collections::VecDeque,
    fs::File as StdFile,
    io::{self, SeekFrom},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use nix::fcntl::{Flock, FlockArg};
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt},
};

use super::{
    LINE_BYTES_MAX, LOCK, LOG,
    entry::{self, Ending, Entry},
};
use crate::runtime::{
    LogLine, LogsRequest, RuntimeError, RuntimeId, StreamKind,
    containerd::{
        connect::Connection,
        errors::{about, unsupported},
        life, record,
    },
};

/// Between looks at a log that nobody has written to.
const LOOK: Duration = Duration::from_millis(30);

/// So often it is looked whether the container has ended: every tenth time.
const LOOKS_AT_CONTAINER: u32 = 10;

/// How long the last words of a container that has ended are waited for: looks.
const LAST_LOOKS_MAX: u32 = 100;

/// How much is read at once.
const READ_BYTES: usize = 64 * 1024;

/// The most files that a log has.
const FILES_MAX: u32 = 1000;

pub(in super::super) fn logs(
    connection: Arc<Connection>,
    id: RuntimeId,
    request: LogsRequest,
) -> BoxStream<'static, Result<LogLine, RuntimeError>> {
    let what = about("read logs of", "container", &*id.0);
    let failed = {
        let what = what.clone();
        move |error: io::Error| what.failed(error)
    };
    let begin = async move {
        let (_, record) = record::must_find(&connection, &id.0, "read logs of").await?;
        if !record.log.kept {
            let instead = "choose another `logging.driver` than `none`";
            return Err(unsupported(format!("logs of container {id}"), instead));
        }
        let runs = record::pid(&connection, &id.0).await?.is_some();
        if !runs {
            life::reap(&connection, &id.0).await?;
        }
        let follower = Follower::all(connection, &id.0, request.follow, runs).await;
        let follower = follower.map_err(|error| what.failed(error))?;
        Ok(lines(follower, request))
    };
    stream::once(begin)
        .flat_map(move |begun: Result<_, RuntimeError>| match begun {
            Ok(lines) => {
                let failed = failed.clone();
                lines.map(move |it| it.map_err(&failed)).boxed()
            }
            Err(error) => stream::iter([Err(error)]).boxed(),
        })
        .boxed()
}

/// Lines under way.
struct Lines {
    follower: Follower,
    request: LogsRequest,
    out: Line,
    err: Line,
    ready: VecDeque<LogLine>,
    /// The last lines are still being looked for.
    is_tail: bool,
    ended: bool,
}

/// One stream's line under way.
#[derive(Default)]
struct Line {
    at_ns: u64,
    is_open: bool,
    bytes: BytesMut,
}

fn lines(follower: Follower, request: LogsRequest) -> BoxStream<'static, io::Result<LogLine>> {
    let is_tail = request.tail.is_some();
    let (out, err) = (Line::default(), Line::default());
    let lines =
        Lines { follower, request, out, err, ready: VecDeque::new(), is_tail, ended: false };
    stream::unfold(Some(lines), async |lines| {
        let mut lines = lines?;
        match lines.next().await {
            Ok(None) => None,
            Ok(Some(line)) => Some((Ok(line), Some(lines))),
            Err(error) => Some((Err(error), None)),
        }
    })
    .boxed()
}

impl Lines {
    async fn next(&mut self) -> io::Result<Option<LogLine>> {
        loop {
            if !self.is_tail
                && let Some(line) = self.ready.pop_front()
            {
                return Ok(Some(line));
            }
            if self.ended {
                return Ok(None);
            }
            let entry = if self.is_tail {
                // The last of what is there; what comes after it is all wanted.
                match self.follower.next_there().await? {
                    Some(entry) => Some(entry),
                    None => {
                        self.is_tail = false;
                        continue;
                    }
                }
            } else {
                self.follower.next().await?
            };
            match entry {
                Some(entry) => self.take(entry),
                None => {
                    self.ended = true;
                    self.close(StreamKind::Stdout);
                    self.close(StreamKind::Stderr);
                    self.bound();
                }
            }
        }
    }

    fn take(&mut self, entry: Entry) {
        let (stream, ending) = (entry.stream, entry.ending);
        let line = self.line(stream);
        if !line.is_open {
            line.at_ns = entry.at_ns;
            line.is_open = true;
        }
        line.bytes.extend_from_slice(&entry.text);
        while self.line(stream).bytes.len() > LINE_BYTES_MAX {
            let line = self.line(stream);
            let (at_ns, bytes) = (line.at_ns, line.bytes.split_to(LINE_BYTES_MAX).freeze());
            self.ready.push_back(LogLine { stream, at_ns, line: bytes });
        }
        match ending {
            Ending::Line | Ending::Output => self.close(stream),
            Ending::Part => {}
        }
        self.bound();
    }

    fn line(&mut self, stream: StreamKind) -> &mut Line {
        match stream {
            StreamKind::Stdout => &mut self.out,
            StreamKind::Stderr => &mut self.err,
        }
    }

    /// A line that is open is one.
    fn close(&mut self, stream: StreamKind) {
        let line = self.line(stream);
        if !line.is_open {
            return;
        }
        line.is_open = false;
        let (at_ns, mut bytes) = (line.at_ns, line.bytes.split().freeze());
        // A terminal's lines end with a carriage return before the line feed.
        if bytes.ends_with(b"\r") {
            bytes.truncate(bytes.len() - 1);
        }
        self.ready.push_back(LogLine { stream, at_ns, line: bytes });
    }

    /// Leaves out what is too early, too late, or not among the last.
    fn bound(&mut self) {
        let LogsRequest { follow: _, tail, since, until } = self.request;
        let from = since.map_or(0, |it| it.0.saturating_mul(1_000_000));
        let to = until.map_or(u64::MAX, |it| it.0.saturating_mul(1_000_000));
        self.ready.retain(|it| it.at_ns >= from && it.at_ns <= to);
        let tail = tail.map_or(usize::MAX, |it| usize::try_from(it).unwrap_or(usize::MAX));
        // A line that is open is the last of its stream.
        let open = [&self.out, &self.err].into_iter().filter(|it| it.is_open).count();
        let tail = tail.saturating_sub(open);
        while self.is_tail && self.ready.len() > tail {
            self.ready.pop_front();
        }
    }
}

/// Reads a log entry by entry, from file to file.
pub(in super::super) struct Follower {
    connection: Arc<Connection>,
    id: String,
    directory: PathBuf,
    /// Those after the one that is being read, the oldest first.
    next: VecDeque<StdFile>,
    file: File,
    inode: u64,
    waiting: BytesMut,
    /// Goes on until nobody writes any more.
    follows: bool,
    /// Waits so often for who writes it to end.
    last_looks: u32,
    /// Looked in vain so often.
    looks: u32,
}

impl Follower {
    /// From the beginning.
    pub(super) async fn all(
        connection: Arc<Connection>,
        id: &str,
        follows: bool,
        runs: bool,
    ) -> io::Result<Self> {
        let directory = connection.directory(id);
        let path = directory.join(LOG);
        let mut files = VecDeque::from([StdFile::open(&path)?]);
        for number in 1..FILES_MAX {
            let Ok(file) = StdFile::open(path.with_extension(number.to_string())) else { break };
            // It may have been the first a moment ago.
            if files.front().is_some_and(|it| inode(it).ok() == inode(&file).ok()) {
                continue;
            }
            files.push_front(file);
        }
        let first = files.pop_front().ok_or_else(|| io::Error::other("it has no file"))?;
        Ok(Self {
            connection,
            id: id.to_owned(),
            directory,
            next: files,
            inode: inode(&first)?,
            file: File::from_std(first),
            waiting: BytesMut::new(),
            follows,
            last_looks: if runs { 0 } else { LAST_LOOKS_MAX },
            looks: 0,
        })
    }

    /// From now on.
    pub(in super::super) async fn from_now(
        connection: Arc<Connection>,
        id: &str,
    ) -> io::Result<Self> {
        let mut follower = Self::all(connection, id, true, true).await?;
        if let Some(last) = follower.next.pop_back() {
            follower.next.clear();
            follower.inode = inode(&last)?;
            follower.file = File::from_std(last);
        }
        follower.file.seek(SeekFrom::End(0)).await?;
        Ok(follower)
    }

    /// The next entry; `None` is the end.
    pub(in super::super) async fn next(&mut self) -> io::Result<Option<Entry>> {
        loop {
            // Asked before it is read: who ended in between has written what is read then.
            let written = is_written(&self.directory);
            if let Some(entry) = self.next_there().await? {
                return Ok(Some(entry));
            }
            let waits = if self.follows { written } else { written && self.last_looks > 0 };
            if !waits {
                return Ok(None);
            }
            if !self.follows {
                self.last_looks -= 1;
            }
            self.looks = self.looks.wrapping_add(1);
            // Who writes ends once a process that has ended is cleared away. One that cannot be asked for
            // may be there still.
            if self.looks.is_multiple_of(LOOKS_AT_CONTAINER)
                && let Err(error) = life::reap(&self.connection, &self.id).await
            {
                tracing::debug!(%error, "an ended process is cleared away later");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The next entry that is there already.
    async fn next_there(&mut self) -> io::Result<Option<Entry>> {
        loop {
            while let Some(end) = self.waiting.iter().position(|byte| *byte == b'\n') {
                let line: Bytes = self.waiting.split_to(end + 1).freeze();
                if let Some(entry) = entry::read(&line.slice(..end)) {
                    return Ok(Some(entry));
                }
            }
            self.waiting.reserve(READ_BYTES);
            if self.file.read_buf(&mut self.waiting).await? > 0 {
                continue;
            }
            if !self.go_on()? {
                return Ok(None);
            }
        }
    }

    /// Goes on to the next file, if there is one.
    fn go_on(&mut self) -> io::Result<bool> {
        if self.next.is_empty() {
            let path = self.directory.join(LOG);
            let newer = StdFile::open(&path)?;
            if inode(&newer)? == self.inode {
                return Ok(false);
            }
            self.next.push_front(newer);
            // Several may have come since.
            for number in 1..FILES_MAX {
                let Ok(file) = StdFile::open(path.with_extension(number.to_string())) else {
                    break;
                };
                if inode(&file)? == self.inode {
                    break;
                }
                self.next.push_front(file);
            }
        }
        let Some(next) = self.next.pop_front() else { return Ok(false) };
        self.inode = inode(&next)?;
        self.file = File::from_std(next);
        Ok(true)
    }
}

fn inode(file: &StdFile) -> io::Result<u64> {
    Ok(file.metadata()?.ino())
}

/// Whether somebody writes the log of this container.
pub(in super::super) fn is_written(directory: &Path) -> bool {
    let Ok(lock) = StdFile::open(directory.join(LOCK)) else { return false };
    Flock::lock(lock, FlockArg::LockExclusiveNonblock).is_err()
}
