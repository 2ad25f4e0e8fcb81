//! Files between a container and here: `cp`.

use std::{
    fs, io,
    io::Read,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use clap::Args;
use futures_util::StreamExt;
use http_body_util::{BodyExt, StreamBody};
use hyper::{Method, body::Frame};
use tokio::sync::mpsc;
use tokio_util::io::ReaderStream;

use super::{
    Invocation,
    client::{Client, Reply, Route, Sent},
    containers,
    context::{append, tar_stream},
    error::CliError,
};

/// How many pieces of a download wait to be unpacked.
const PIECES_QUEUED_MAX: usize = 8;

/// `fizz cp`.
#[derive(Args, Debug)]
pub(super) struct CpArgs {
    /// SERVICE:PATH, a path here, or `-` for a tar stream
    pub(super) source: String,
    /// SERVICE:PATH, a path here, or `-` for a tar stream
    pub(super) destination: String,
    /// Index of the container if service has multiple replicas
    #[arg(long)]
    pub(super) index: Option<u32>,
    /// Follow a symbolic link in the source
    #[arg(short = 'L', long)]
    pub(super) follow_link: bool,
    /// To all containers of the service
    #[arg(long)]
    pub(super) all: bool,
}

/// One end of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    Here(PathBuf),
    Pipe,
    There { service: String, path: String },
}

fn end(text: &str) -> End {
    match text.split_once(':') {
        _ if text == "-" => End::Pipe,
        Some((service, path))
            if !service.is_empty() && !service.contains('/') && !service.starts_with('.') =>
        {
            End::There { service: service.into(), path: path.into() }
        }
        _ => End::Here(text.into()),
    }
}

/// `fizz cp`.
pub(super) async fn cp(invocation: &Invocation, args: CpArgs) -> Result<(), CliError> {
    let project = invocation.project_name()?;
    match (end(&args.source), end(&args.destination)) {
        (End::There { service, path }, to @ (End::Here(_) | End::Pipe)) => {
            let from = containers::one(&invocation.client, &project, &service, args.index).await?;
            let route = Route::to(&["containers", &from.id, "archive"]).with("path", &path);
            let reply = invocation.client.download(&route).await?;
            match to {
                End::Here(to) => unpack(reply, path, to).await,
                End::Pipe | End::There { .. } => pipe_out(invocation, reply).await,
            }
        }
        (from @ (End::Here(_) | End::Pipe), End::There { service, path }) => {
            let named = [service.clone()];
            let mut to = match args.all {
                true => containers::of_services(&invocation.client, &project, &named, true).await?,
                false => {
                    vec![containers::one(&invocation.client, &project, &service, args.index).await?]
                }
            };
            to.retain(|it| it.runtime_id.is_some());
            for container in to {
                upload(invocation, &from, args.follow_link, &container.id, &path).await?;
            }
            Ok(())
        }
        (End::There { .. }, End::There { .. }) => Err(CliError::Usage(
            "copying between services is not supported; copy here first".into(),
        )),
        (End::Here(_) | End::Pipe, End::Here(_) | End::Pipe) => {
            Err(CliError::Usage("one end of a copy is a container: SERVICE:PATH".into()))
        }
    }
}

async fn pipe_out(invocation: &Invocation, mut reply: Reply) -> Result<(), CliError> {
    while let Some(chunk) = reply.chunk().await? {
        invocation.output.bytes(&chunk)?;
    }
    Ok(())
}

async fn upload(
    invocation: &Invocation,
    from: &End,
    follow: bool,
    container: &str,
    path: &str,
) -> Result<(), CliError> {
    let client = &invocation.client;
    let (directory, tar) = match from {
        End::Pipe => (path.to_owned(), stdin_stream()),
        End::There { .. } => return Ok(()),
        End::Here(from) => {
            let is_directory = is_directory_there(client, container, path).await?;
            let (directory, name) = target(from, path, is_directory)?;
            (directory, pack(from.clone(), name, follow)?)
        }
    };
    let route = Route::to(&["containers", container, "archive"]).with("path", directory);
    client.upload(Method::PUT, &route, tar).await.map(|_| ())
}

fn stdin_stream() -> Sent {
    let pieces = ReaderStream::new(tokio::io::stdin()).map(|it| it.map(Frame::data));
    StreamBody::new(pieces).boxed_unsync()
}

/// Whether the path is a directory in the container; `None` when nothing is there. The head of the
/// path's tar stream says it.
async fn is_directory_there(
    client: &Client,
    container: &str,
    path: &str,
) -> Result<Option<bool>, CliError> {
    let route = Route::to(&["containers", container, "archive"]).with("path", path);
    let mut reply = match client.download(&route).await {
        Ok(reply) => reply,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut head = Vec::new();
    while head.len() < 512 {
        match reply.chunk().await? {
            Some(chunk) => head.extend_from_slice(&chunk),
            None => break,
        }
    }
    let mut archive = tar::Archive::new(head.as_slice());
    let first = archive.entries().ok().and_then(|mut it| it.next()).and_then(Result::ok);
    Ok(Some(first.is_some_and(|it| it.header().entry_type().is_dir())))
}

/// Into which directory there, and under which name; an empty name is the content itself.
fn target(from: &Path, to: &str, is_directory: Option<bool>) -> Result<(String, String), CliError> {
    let only_content = from.as_os_str().to_string_lossy().ends_with("/.");
    let own = match from.file_name() {
        Some(name) => name.to_string_lossy().into_owned(),
        None => String::new(),
    };
    let (parent, name) = match to.trim_end_matches('/').rsplit_once('/') {
        Some(("", name)) => ("/", name),
        Some((parent, name)) => (parent, name),
        None => ("/", to),
    };
    match is_directory {
        Some(true) if only_content => Ok((to.to_owned(), String::new())),
        Some(true) => Ok((to.to_owned(), own)),
        Some(false) if from.is_dir() => {
            Err(CliError::Failed(format!("can't copy a directory over the file {to}")))
        }
        None if to.ends_with('/') && !from.is_dir() => {
            Err(CliError::Failed(format!("there is no directory {to} in the container")))
        }
        Some(false) | None => Ok((parent.to_owned(), name.to_owned())),
    }
}

fn pack(from: PathBuf, name: String, follow: bool) -> Result<Sent, CliError> {
    let metadata = if follow { fs::metadata(&from) } else { fs::symlink_metadata(&from) };
    metadata.map_err(CliError::io(format!("can't read {}", from.display())))?;
    tar_stream(move |tar| {
        let from = if follow { from.canonicalize()? } else { from };
        pack_entry(tar, &from, &name)
    })
}

fn pack_entry(tar: &mut tar::Builder<impl io::Write>, from: &Path, name: &str) -> io::Result<()> {
    let metadata = fs::symlink_metadata(from)?;
    if !name.is_empty() {
        append(tar, name, from, &metadata)?;
    }
    if metadata.is_dir() {
        let mut entries = fs::read_dir(from)?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let file = entry.file_name();
            let file = file.to_str().ok_or_else(|| {
                io::Error::other(format!("{}: the name is not UTF-8", entry.path().display()))
            })?;
            let inner = if name.is_empty() { file.to_owned() } else { format!("{name}/{file}") };
            pack_entry(tar, &entry.path(), &inner)?;
        }
    }
    Ok(())
}

/// Unpacks what is downloaded on a thread.
async fn unpack(mut reply: Reply, from: String, to: PathBuf) -> Result<(), CliError> {
    let (sender, receiver) = mpsc::channel::<Bytes>(PIECES_QUEUED_MAX);
    let what = format!("can't write to {}", to.display());
    let thread = std::thread::Builder::new().name("untar".into());
    let thread =
        thread.spawn(move || unpack_to(PieceReader { receiver, piece: Bytes::new() }, &from, &to));
    let thread = thread.map_err(CliError::io("can't start a thread to write files"))?;
    while let Some(chunk) = reply.chunk().await? {
        if sender.send(chunk).await.is_err() {
            break;
        }
    }
    drop(sender);
    // The queue is empty or its reader gone: the thread is at its end.
    let unpacked =
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the unpacking broke off")));
    unpacked.map_err(CliError::io(what))
}

/// By docker's rules: into a directory that is there, else under the new name.
fn unpack_to(tar: impl Read, from: &str, to: &Path) -> io::Result<()> {
    let mut archive = tar::Archive::new(tar);
    archive.set_overwrite(true);
    if to.is_dir() || from.ends_with("/.") {
        fs::create_dir_all(to)?;
        return unpack_in(&mut archive, to);
    }
    let parent = match to.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let staging = parent.join(format!(".fizz-cp-{}", std::process::id()));
    fs::create_dir(&staging)?;
    let moved = unpack_in(&mut archive, &staging).and_then(|()| {
        let top = fs::read_dir(&staging)?.next().transpose()?;
        let top = top.ok_or_else(|| io::Error::other("the archive is empty"))?;
        fs::rename(top.path(), to)
    });
    fs::remove_dir_all(&staging)?;
    moved
}

/// Never outside of the directory, whatever the names and links in the archive say.
fn unpack_in(archive: &mut tar::Archive<impl Read>, to: &Path) -> io::Result<()> {
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = entry.path()?.into_owned();
        if !entry.unpack_in(to)? {
            return Err(io::Error::other(format!(
                "{}: the name leads out of the directory",
                name.display()
            )));
        }
    }
    Ok(())
}

struct PieceReader {
    receiver: mpsc::Receiver<Bytes>,
    piece: Bytes,
}

impl Read for PieceReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.receiver.blocking_recv() {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.piece.len());
        let part = self.piece.split_to(length);
        buffer.get_mut(..length).unwrap_or_default().copy_from_slice(&part);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tar_of(entries: &[(&str, &str)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, text) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            header.set_size(text.len() as u64);
            let field = &mut header.as_old_mut().name;
            field[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            tar.append(&header, text.as_bytes()).unwrap();
        }
        tar.into_inner().unwrap()
    }

    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("fizz-cp-test-{name}-{}", std::process::id()));
        drop(fs::remove_dir_all(&path));
        fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn an_end_with_a_colon_is_in_a_container() {
        assert_eq!(end("web:/etc"), End::There { service: "web".into(), path: "/etc".into() });
        assert_eq!(end("./a:b"), End::Here("./a:b".into()));
        assert_eq!(end("/a:b"), End::Here("/a:b".into()));
        assert_eq!(end("-"), End::Pipe);
    }

    #[test]
    fn the_destination_decides_the_name() {
        let file = Path::new("/no/such/file.txt");
        assert_eq!(target(file, "/etc", Some(true)).unwrap(), ("/etc".into(), "file.txt".into()));
        assert_eq!(target(file, "/etc/x", None).unwrap(), ("/etc".into(), "x".into()));
        assert_eq!(target(file, "/x", Some(false)).unwrap(), ("/".into(), "x".into()));
        assert_eq!(
            target(Path::new("/etc/."), "/x", Some(true)).unwrap(),
            ("/x".into(), String::new())
        );
        assert!(target(file, "/x/", None).is_err());
        assert!(target(Path::new("/"), "/x", Some(false)).is_err());
    }

    #[test]
    fn a_file_goes_into_a_directory_or_under_a_new_name() {
        let root = directory("names");
        let tar = tar_of(&[("a.txt", "hello")]);
        unpack_to(tar.as_slice(), "/x/a.txt", &root).unwrap();
        unpack_to(tar.as_slice(), "/x/a.txt", &root.join("b.txt")).unwrap();
        assert_eq!(fs::read_to_string(root.join("a.txt")).unwrap(), "hello");
        assert_eq!(fs::read_to_string(root.join("b.txt")).unwrap(), "hello");
        assert_eq!(fs::read_dir(&root).unwrap().count(), 2, "nothing else is left");
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn an_archive_cannot_write_outside() {
        let root = directory("outside");
        let inner = root.join("inner");
        fs::create_dir(&inner).unwrap();
        assert!(unpack_to(tar_of(&[("../evil", "x")]).as_slice(), "/x", &inner).is_err());
        assert!(!root.join("evil").exists());
        fs::remove_dir_all(root).unwrap();
    }

    #[tokio::test]
    async fn a_tree_is_packed_under_its_new_name() {
        let root = directory("pack");
        fs::create_dir(root.join("d")).unwrap();
        fs::write(root.join("d/f"), "text").unwrap();
        let body = pack(root.join("d"), "new".into(), false).unwrap();
        let bytes = body.collect().await.unwrap().to_bytes();
        let mut archive = tar::Archive::new(bytes.as_ref());
        let names: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|it| it.unwrap().path().unwrap().display().to_string())
            .collect();
        assert_eq!(names, ["new/", "new/f"]);
        fs::remove_dir_all(root).unwrap();
    }
}
