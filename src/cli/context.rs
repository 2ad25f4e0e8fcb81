//! A build's context as a tar stream, made while it is sent: walked and read by a thread, carried by
//! a short queue, never whole in memory.

use std::{
    fs::{self, File, Metadata},
    io::{self, Read, Write},
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{client::Sent, dockerignore::Ignore, error::CliError};

/// How many pieces wait for the socket, and how large a piece is.
const PIECES_QUEUED_MAX: usize = 8;
const PIECE_BYTES: usize = 64 << 10;

/// Where a Dockerfile that is not in the context goes, in the context. The name is one that no
/// user's file has.
pub(super) const DOCKERFILE_ADDED: &str = ".fizz-build.Dockerfile";

/// What to send.
#[derive(Clone, Debug)]
pub(super) struct Context {
    /// The directory.
    pub(super) directory: PathBuf,
    /// What stays behind.
    pub(super) ignore: Ignore,
    /// The Dockerfile in the context; it always comes along.
    pub(super) dockerfile: String,
    /// The Dockerfile's text, when it is not a file of the context.
    pub(super) added: Option<Vec<u8>>,
}

/// The Dockerfile of a build: where it is, or its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Dockerfile {
    /// A file, relative to the context or not.
    At(PathBuf),
    /// `dockerfile_inline`.
    Inline(String),
}

impl Context {
    /// Finds the Dockerfile and reads the ignore file: the Dockerfile's own before the context's.
    pub(super) fn open(directory: &Path, dockerfile: &Dockerfile) -> Result<Self, CliError> {
        if !directory.is_dir() {
            return Err(CliError::Failed(format!(
                "the build's context {} is not a directory; see `build.context`",
                directory.display()
            )));
        }
        let (name, added, own_ignore) = match dockerfile {
            Dockerfile::Inline(text) => (None, Some(text.clone().into_bytes()), None),
            Dockerfile::At(path) => {
                let path = directory.join(path);
                let text = fs::read(&path).map_err(CliError::io(format!(
                    "can't read the Dockerfile {}",
                    path.display()
                )))?;
                let mut own = path.clone().into_os_string();
                own.push(".dockerignore");
                match inside(directory, &path) {
                    Some(name) => (Some(name), None, Some(PathBuf::from(own))),
                    None => (None, Some(text), Some(PathBuf::from(own))),
                }
            }
        };
        let ignore = own_ignore.filter(|it| it.is_file());
        let ignore = ignore.unwrap_or_else(|| directory.join(".dockerignore"));
        Ok(Self {
            directory: directory.to_owned(),
            ignore: read_ignore(&ignore)?,
            dockerfile: name.unwrap_or_else(|| DOCKERFILE_ADDED.into()),
            added,
        })
    }

    /// The tar stream. What fails on the way breaks the stream off with its reason.
    pub(super) fn stream(self) -> Result<Sent, CliError> {
        tar_stream(move |tar| self.write(tar))
    }

    fn write(&self, tar: &mut tar::Builder<impl Write>) -> io::Result<()> {
        if let Some(text) = &self.added {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            header.set_size(text.len() as u64);
            tar.append_data(&mut header, DOCKERFILE_ADDED, text.as_slice())?;
        }
        self.write_directory(tar, "")
    }

    fn write_directory(&self, tar: &mut tar::Builder<impl Write>, within: &str) -> io::Result<()> {
        let directory = self.directory.join(within);
        let list = fs::read_dir(&directory).map_err(|why| at(&directory, &why))?;
        let mut names = list
            .map(|entry| entry.map(|it| it.file_name()))
            .collect::<io::Result<Vec<_>>>()
            .map_err(|why| at(&directory, &why))?;
        // The same context is the same stream, whatever order the file system has.
        names.sort();
        for name in names {
            let Some(name) = name.to_str() else {
                return Err(io::Error::other(format!(
                    "{}: the name is not UTF-8; rename it or exclude it in .dockerignore",
                    directory.join(&name).display()
                )));
            };
            let path = match within {
                "" => name.to_owned(),
                _ => format!("{within}/{name}"),
            };
            self.write_entry(tar, &path)?;
        }
        Ok(())
    }

    fn write_entry(&self, tar: &mut tar::Builder<impl Write>, path: &str) -> io::Result<()> {
        let source = self.directory.join(path);
        let metadata = fs::symlink_metadata(&source).map_err(|why| at(&source, &why))?;
        let excluded = self.ignore.excludes(path) && path != self.dockerfile;
        if metadata.is_dir() {
            let leads_to_dockerfile = self.dockerfile.starts_with(&format!("{path}/"));
            if excluded && self.ignore.can_skip(path) && !leads_to_dockerfile {
                return Ok(());
            }
            if !excluded {
                append(tar, path, &source, &metadata)?;
            }
            return self.write_directory(tar, path);
        }
        if excluded {
            return Ok(());
        }
        append(tar, path, &source, &metadata)
    }
}

/// Runs a writer of a tar on a thread and gives what it writes as a request's body.
pub(super) fn tar_stream(
    write: impl FnOnce(&mut tar::Builder<PieceWriter>) -> io::Result<()> + Send + 'static,
) -> Result<Sent, CliError> {
    let (sender, receiver) = mpsc::channel(PIECES_QUEUED_MAX);
    let work = move || {
        let mut tar = tar::Builder::new(PieceWriter { sender: sender.clone(), piece: Vec::new() });
        let written = write(&mut tar).and_then(|()| tar.into_inner()?.flush());
        if let Err(why) = written {
            // Nobody listens any more if this fails: the request is over.
            drop(sender.blocking_send(Err(why)));
        }
    };
    std::thread::Builder::new()
        .name("tar".into())
        .spawn(work)
        .map_err(CliError::io("can't start a thread to read files"))?;
    let pieces = ReceiverStream::new(receiver).map(|it| it.map(Frame::data));
    Ok(StreamBody::new(pieces).boxed_unsync())
}

/// Adds one file, directory or link. Owners become root: the user's numbers mean nothing in the
/// image, and `docker build` does the same.
pub(super) fn append(
    tar: &mut tar::Builder<impl Write>,
    path: &str,
    source: &Path,
    metadata: &Metadata,
) -> io::Result<()> {
    let kind = metadata.file_type();
    if kind.is_socket() || kind.is_fifo() || kind.is_block_device() || kind.is_char_device() {
        return Ok(());
    }
    let mut header = tar::Header::new_gnu();
    header.set_metadata_in_mode(metadata, tar::HeaderMode::Complete);
    header.set_uid(0);
    header.set_gid(0);
    if kind.is_symlink() {
        let target = fs::read_link(source).map_err(|why| at(source, &why))?;
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        return tar.append_link(&mut header, path, target);
    }
    if kind.is_dir() {
        header.set_size(0);
        return tar.append_data(&mut header, format!("{path}/"), io::empty());
    }
    let file = File::open(source).map_err(|why| at(source, &why))?;
    // A file that shrinks meanwhile must not shift what comes after it.
    let content = file.take(metadata.size()).chain(io::repeat(0)).take(metadata.size());
    header.set_size(metadata.size());
    tar.append_data(&mut header, path, content)
}

/// The path within the directory, if it is in there.
fn inside(directory: &Path, path: &Path) -> Option<String> {
    let (directory, path) = (directory.canonicalize().ok()?, path.canonicalize().ok()?);
    path.strip_prefix(directory).ok()?.to_str().map(str::to_owned)
}

fn read_ignore(path: &Path) -> Result<Ignore, CliError> {
    match fs::read_to_string(path) {
        Ok(text) => Ignore::parse(&text)
            .map_err(|why| CliError::Failed(format!("{}: {why}", path.display()))),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(Ignore::default()),
        Err(why) => Err(CliError::Io { what: format!("can't read {}", path.display()), why }),
    }
}

fn at(path: &Path, why: &io::Error) -> io::Error {
    io::Error::new(why.kind(), format!("{}: {why}", path.display()))
}

/// Sends what is written to it, piece by piece.
#[derive(Debug)]
pub(super) struct PieceWriter {
    sender: mpsc::Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
}

impl Write for PieceWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let piece = std::mem::take(&mut self.piece);
        let sent = piece.is_empty() || self.sender.blocking_send(Ok(piece.into())).is_ok();
        if sent { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// What the stream holds: path to mode and content (or a link's target).
    fn unpacked(context: &Context) -> BTreeMap<String, (u32, String)> {
        let mut tar = tar::Builder::new(Vec::new());
        context.write(&mut tar).unwrap();
        let bytes = tar.into_inner().unwrap();
        let mut files = BTreeMap::new();
        for entry in tar::Archive::new(bytes.as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().to_str().unwrap().to_owned();
            assert_eq!(entry.header().uid().unwrap(), 0);
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            if let Some(target) = entry.link_name().unwrap() {
                text = target.to_str().unwrap().into();
            }
            files.insert(path, (entry.header().mode().unwrap() & 0o777, text));
        }
        files
    }

    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("fizz-context-{name}-{}", std::process::id()));
        drop(fs::remove_dir_all(&path));
        fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn modes_and_links_are_kept_and_ignored_files_stay() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let root = directory("modes");
        fs::create_dir_all(root.join("src/deep")).unwrap();
        fs::write(root.join("Dockerfile"), "FROM scratch").unwrap();
        fs::write(root.join("run.sh"), "#!/bin/sh").unwrap();
        fs::set_permissions(root.join("run.sh"), fs::Permissions::from_mode(0o750)).unwrap();
        symlink("nowhere/at/all", root.join("link")).unwrap();
        fs::write(root.join("src/deep/keep.txt"), "kept").unwrap();
        fs::write(root.join("src/deep/drop.log"), "dropped").unwrap();
        fs::write(root.join(".dockerignore"), "**/*.log\nDockerfile\n").unwrap();
        let context = Context::open(&root, &Dockerfile::At("Dockerfile".into())).unwrap();
        let files = unpacked(&context);
        let paths: Vec<_> = files.keys().map(String::as_str).collect();
        assert_eq!(
            paths,
            [
                ".dockerignore",
                "Dockerfile",
                "link",
                "run.sh",
                "src/",
                "src/deep/",
                "src/deep/keep.txt",
            ]
        );
        assert_eq!(files["run.sh"], (0o750, "#!/bin/sh".into()));
        assert_eq!(files["link"].1, "nowhere/at/all");
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_dockerfile_from_outside_or_inline_is_added() {
        let root = directory("outside");
        fs::create_dir_all(root.join("app")).unwrap();
        fs::write(root.join("Other"), "FROM scratch # other").unwrap();
        fs::write(root.join("Other.dockerignore"), "*").unwrap();
        fs::write(root.join("app/x"), "x").unwrap();
        let outside = Context::open(&root.join("app"), &Dockerfile::At("../Other".into())).unwrap();
        let files = unpacked(&outside);
        assert_eq!(files.keys().collect::<Vec<_>>(), [DOCKERFILE_ADDED]);
        assert_eq!(files[DOCKERFILE_ADDED].1, "FROM scratch # other");
        let text = Dockerfile::Inline("FROM scratch".into());
        let inline = Context::open(&root.join("app"), &text).unwrap();
        assert_eq!(unpacked(&inline).keys().collect::<Vec<_>>(), [DOCKERFILE_ADDED, "x"]);
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_missing_dockerfile_is_said_with_its_path() {
        let root = directory("missing");
        let error = Context::open(&root, &Dockerfile::At("Dockerfile".into())).unwrap_err();
        assert!(error.to_string().contains("Dockerfile"), "{error}");
        fs::remove_dir_all(root).unwrap();
    }

    #[tokio::test]
    async fn a_stream_that_cannot_be_read_breaks_off_with_its_reason() {
        let body = tar_stream(|_| Err(io::Error::other("x: gone"))).unwrap();
        assert_eq!(body.collect().await.unwrap_err().to_string(), "x: gone");
    }
}
