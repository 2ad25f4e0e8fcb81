//! The API's Unix socket: its place, its mode, its group.

use std::{
    fs::Permissions,
    io,
    os::unix::{
        fs::{FileTypeExt, MetadataExt, PermissionsExt, chown},
        net::UnixStream,
    },
    path::{Path, PathBuf},
};

use nix::unistd::{Gid, Group};
use tokio::net::UnixListener;
use tracing::warn;

use super::{config::Api, disk};

/// Why the API has no socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Somebody has it.
    #[error("{} is in use by another process: stop it, or set another `api.socket`", .0.display())]
    InUse(PathBuf),
    /// Something that is no socket.
    #[error("{} is there and is no socket: move it away, or set another `api.socket`", .0.display())]
    NoSocket(PathBuf),
    /// The system said no.
    #[error("can't listen on {}: {why}; see `api.socket`", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What it said.
        why: String,
    },
}

/// A listening socket whose file goes with it.
#[derive(Debug)]
pub struct ApiSocket {
    /// Takes connections.
    pub listener: UnixListener,
    /// Removes the file.
    pub file: SocketFile,
}

/// A socket's file, removed on drop unless another has taken its place.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    inode: u64,
}

/// Listens. A file that a killed daemon left is replaced, one where somebody answers is not. The file
/// gets its owner and mode before it gets its name, so that nobody connects who may not.
pub fn listen(api: &Api) -> Result<ApiSocket, SocketError> {
    let path = &api.socket;
    let io =
        |why: &dyn std::fmt::Display| SocketError::Io { path: path.clone(), why: why.to_string() };
    if let Some(directory) = path.parent().filter(|it| !it.exists()) {
        disk::make_directory(directory, 0o755).map_err(|it| io(&it))?;
    }
    check_free(path)?;
    let new = disk::beside(path);
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(&error)),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&new).map_err(|it| io(&it))?;
    let place = || -> io::Result<u64> {
        let group = group(&api.group);
        let mode = if group.is_some() { api.mode } else { api.mode & 0o700 };
        chown(&new, None, group.map(Gid::as_raw))?;
        std::fs::set_permissions(&new, Permissions::from_mode(mode))?;
        std::fs::rename(&new, path)?;
        Ok(std::fs::metadata(path)?.ino())
    };
    let inode = place().map_err(|it| io(&it))?;
    Ok(ApiSocket { listener, file: SocketFile { path: path.clone(), inode } })
}

fn check_free(path: &Path) -> Result<(), SocketError> {
    let Ok(found) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !found.file_type().is_socket() {
        return Err(SocketError::NoSocket(path.to_owned()));
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(SocketError::InUse(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(why) => Err(SocketError::Io { path: path.to_owned(), why: why.to_string() }),
    }
}

fn group(name: &str) -> Option<Gid> {
    match Group::from_name(name) {
        Ok(Some(group)) => Some(group.gid),
        Ok(None) => {
            warn!(
                group = name,
                "there is no such group, so only root can use the API; make it with \
                 `groupadd --system {name}` and restart fizz"
            );
            None
        }
        Err(error) => {
            warn!(group = name, %error, "the group could not be looked up, so only root can use the API");
            None
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = std::fs::metadata(&self.path).is_ok_and(|it| it.ino() == self.inode);
        if ours && let Err(error) = std::fs::remove_file(&self.path) {
            warn!(%error, path = %self.path.display(), "the socket's file stays");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::disk::tests::Scratch;

    fn api(scratch: &Scratch, group: &str) -> Api {
        Api { socket: scratch.0.join("run/fizz.sock"), group: group.to_owned(), mode: 0o660 }
    }

    fn mode(api: &Api) -> u32 {
        std::fs::metadata(&api.socket).unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn the_groups_members_may_connect_and_others_not() {
        let scratch = Scratch::new();
        let api = api(&scratch, "root");
        let socket = listen(&api).unwrap();
        assert_eq!(mode(&api), 0o660);
        UnixStream::connect(&api.socket).unwrap();
        drop(socket);
        assert!(!api.socket.exists());
    }

    #[tokio::test]
    async fn without_the_group_only_the_owner_may_connect() {
        let scratch = Scratch::new();
        let api = api(&scratch, "no-such-group-here");
        let _socket = listen(&api).unwrap();
        assert_eq!(mode(&api), 0o600);
    }

    #[tokio::test]
    async fn a_file_left_by_a_killed_daemon_is_replaced_and_a_living_ones_is_not() {
        let scratch = Scratch::new();
        let api = api(&scratch, "root");
        let first = listen(&api).unwrap();
        assert!(matches!(listen(&api), Err(SocketError::InUse(_))));
        std::mem::forget(first.file);
        drop(first.listener);
        assert!(api.socket.exists());
        listen(&api).unwrap();
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_stays() {
        let scratch = Scratch::new();
        let api = api(&scratch, "root");
        std::fs::create_dir(scratch.0.join("run")).unwrap();
        std::fs::write(&api.socket, "precious").unwrap();
        assert!(matches!(listen(&api), Err(SocketError::NoSocket(_))));
        assert_eq!(std::fs::read(&api.socket).unwrap(), b"precious");
    }
}
