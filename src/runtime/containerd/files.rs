//! Files into containers and out of them.
//!
//! A process of its own does it with the container's file system as its root, so that no link in there
//! leads anywhere else, even if the container moves it about meanwhile.

use std::{
    fs::{self, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{PermissionsExt, lchown},
    path::{Component, Path, PathBuf},
    process::{ExitCode, Stdio},
    sync::Arc,
};

use bytes::Bytes;
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
};

use super::{
    connect::{Connection, SNAPSHOTTER},
    errors::{About, about},
    messages::GetMounts,
    record,
    rootfs::Rootfs,
};
use crate::runtime::{RuntimeError, RuntimeId};

/// The hidden word by which Fizz is the program that copies.
pub(super) const COPY: &str = "container-files";

/// How much is carried at once.
const PART_BYTES: usize = 64 * 1024;

/// The most that is kept of what the program complains.
const COMPLAINT_BYTES_MAX: u64 = 4096;

/// Copies a tar stream into a container's directory, or a path of it out: `in|out ROOT PATH`.
#[must_use]
pub(super) fn copy_files(arguments: &[String]) -> ExitCode {
    let [direction, root, path] = arguments else { return ExitCode::from(2) };
    let done = enter(Path::new(root)).and_then(|()| match direction.as_str() {
        "in" => unpack(Path::new(path), io::stdin().lock()),
        "out" => pack(Path::new(path), io::stdout().lock()),
        other => Err(io::Error::other(format!("`{other}` is no direction"))),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{path}: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn enter(root: &Path) -> io::Result<()> {
    nix::unistd::chroot(root)?;
    nix::unistd::chdir("/")?;
    Ok(())
}

/// An error and what it comes from: the archive's say only what they were about.
fn chain(error: &io::Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.get_ref().and_then(|it| it.source());
    while let Some(error) = cause {
        said = format!("{said}: {error}");
        cause = error.source();
    }
    said
}

fn unpack(directory: &Path, from: impl Read) -> io::Result<()> {
    if !directory.is_dir() {
        return Err(io::Error::other("there is no such directory in the container"));
    }
    // Modes are those of the archive.
    nix::sys::stat::umask(nix::sys::stat::Mode::empty());
    let mut archive = tar::Archive::new(from);
    archive.set_preserve_permissions(true);
    archive.set_overwrite(true);
    // Directories come last, as what is put into them changes when they were changed.
    let mut directories = Vec::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        if entry.header().entry_type() == tar::EntryType::Directory {
            fs::create_dir_all(directory.join(within(&entry.path()?)))?;
            directories.push(entry);
        } else {
            place(&mut entry, directory)?;
        }
    }
    directories.iter_mut().rev().try_for_each(|it| place(it, directory))
}

/// A path of an archive as one below a directory. The root is the container's, whatever it says.
fn within(path: &Path) -> PathBuf {
    path.components().filter(|it| matches!(it, Component::Normal(_))).collect()
}

/// Unpacks one entry, and gives it to its owner; an archive that names none means root, as Docker has it.
fn place(entry: &mut tar::Entry<'_, impl Read>, directory: &Path) -> io::Result<()> {
    let path = directory.join(within(&entry.path()?));
    if !entry.unpack_in(directory)? {
        // It leads out of the directory.
        return Ok(());
    }
    let (uid, gid) = (entry.header().uid(), entry.header().gid());
    let number = |it: io::Result<u64>| it.ok().and_then(|it| u32::try_from(it).ok()).unwrap_or(0);
    lchown(&path, Some(number(uid)), Some(number(gid)))?;
    let kind = entry.header().entry_type();
    // A new owner takes some bits of the mode away (chown(2)).
    match (kind.is_symlink() || kind.is_hard_link(), entry.header().mode()) {
        (false, Ok(mode)) => fs::set_permissions(&path, Permissions::from_mode(mode & 0o7777)),
        _ => Ok(()),
    }
}

fn pack(path: &Path, to: impl Write) -> io::Result<()> {
    let about = path.symlink_metadata()?;
    let mut archive = tar::Builder::new(io::BufWriter::with_capacity(PART_BYTES, to));
    archive.follow_symlinks(false);
    let name = path.file_name().map_or_else(|| PathBuf::from("."), PathBuf::from);
    if about.is_dir() {
        archive.append_dir_all(&name, path)?;
    } else {
        archive.append_path_with_name(path, &name)?;
    }
    archive.into_inner()?.flush()
}

/// A container's file system: seen through its process, or mounted while it has none.
enum Root {
    Running(PathBuf),
    Mounted(Rootfs),
}

impl Root {
    async fn of(connection: &Connection, id: &str, what: &About) -> Result<Self, RuntimeError> {
        record::must_find(connection, id, "copy files of").await?;
        if let Some(pid) = record::pid(connection, id).await? {
            return Ok(Self::Running(PathBuf::from(format!("/proc/{pid}/root"))));
        }
        let call = GetMounts { snapshotter: SNAPSHOTTER.to_owned(), key: id.to_owned() };
        let mounts = connection.ask(call).await.map_err(|it| connection.error(it, what))?.mounts;
        let at = connection.scratch().join(format!("files-{}", super::random_id()));
        let mounted = Rootfs::mount(&mounts, at).map_err(|error| what.failed(error))?;
        Ok(Self::Mounted(mounted))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Running(path) => path,
            Self::Mounted(rootfs) => rootfs.path(),
        }
    }
}

fn program(connection: &Connection, direction: &str, root: &Root, path: &str) -> Command {
    let mut program = Command::new(&connection.program);
    program.args([COPY, direction]).arg(root.path()).arg(path).kill_on_drop(true);
    program.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    program
}

pub(super) fn copy_out(
    connection: Arc<Connection>,
    id: RuntimeId,
    path: String,
) -> BoxStream<'static, Result<Bytes, RuntimeError>> {
    let what = about("copy from", "path", format!("{path} of {id}"));
    let begin = async move {
        let root = Root::of(&connection, &id.0, &what).await?;
        let mut program = program(&connection, "out", &root, &path);
        let child = program.stdout(Stdio::piped()).spawn().map_err(|it| what.failed(it))?;
        Ok((child, root, what))
    };
    stream::once(begin)
        .flat_map(|begun| match begun {
            Ok(begun) => stream::unfold(Some(begun), async |state| {
                let (mut child, root, what) = state?;
                match part(&mut child, &what).await {
                    Ok(Some(bytes)) => Some((Ok(bytes), Some((child, root, what)))),
                    Ok(None) => None,
                    Err(error) => Some((Err(error), None)),
                }
            })
            .boxed(),
            Err(error) => stream::iter([Err(error)]).boxed(),
        })
        .boxed()
}

/// The next part of what comes out; at its end, whether all went well.
async fn part(child: &mut Child, what: &About) -> Result<Option<Bytes>, RuntimeError> {
    let mut bytes = vec![0; PART_BYTES];
    let read = match &mut child.stdout {
        Some(stdout) => stdout.read(&mut bytes).await.map_err(|error| what.failed(error))?,
        None => 0,
    };
    if read > 0 {
        bytes.truncate(read);
        return Ok(Some(bytes.into()));
    }
    ended(child, what).await.map(|()| None)
}

async fn ended(child: &mut Child, what: &About) -> Result<(), RuntimeError> {
    let mut said = String::new();
    if let Some(stderr) = &mut child.stderr {
        let read = stderr.take(COMPLAINT_BYTES_MAX).read_to_string(&mut said).await;
        read.map_err(|error| what.failed(error))?;
    }
    let status = child.wait().await.map_err(|error| what.failed(error))?;
    if status.success() { Ok(()) } else { Err(what.failed(said.trim())) }
}

pub(super) async fn copy_in(
    connection: &Connection,
    id: &RuntimeId,
    directory: &str,
    mut tar: BoxStream<'static, Result<Bytes, io::Error>>,
) -> Result<(), RuntimeError> {
    let what = about("copy into", "directory", format!("{directory} of {id}"));
    let root = Root::of(connection, &id.0, &what).await?;
    let mut program = program(connection, "in", &root, directory);
    let mut child = program.stdin(Stdio::piped()).spawn().map_err(|it| what.failed(it))?;
    if let Some(mut stdin) = child.stdin.take() {
        while let Some(bytes) = tar.next().await {
            let bytes = bytes.map_err(|error| RuntimeError::Failed {
                doing: "read what is to be copied".to_owned(),
                why: error.to_string(),
            })?;
            // Who takes no more says why by its end.
            if stdin.write_all(&bytes).await.is_err() {
                break;
            }
        }
        let _ = stdin.shutdown().await;
    }
    ended(&mut child, &what).await
}
