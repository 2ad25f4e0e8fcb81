//! Configs and secrets as files of the node, for containers to mount one by one, read-only.
//!
//! Configs are on the disk, with the state that they come from. Secrets are in memory only: on a
//! tmpfs (tmpfs(5)) that nobody but root can enter, without swap where the kernel knows `noswap`
//! (Linux 6.4). Both are written anew before every start.

use std::{
    io,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    sync::Arc,
};

use nix::{
    errno::Errno,
    mount::{MsFlags, mount},
    sys::statfs::{TMPFS_MAGIC, statfs},
};
use tracing::{debug, warn};
use zeroize::Zeroizing;

use super::fault;
use crate::{
    daemon::{disk, tasks},
    model::{ContainerId, spec::FileMount},
    node::{Failure, Launch},
    runtime::MountedFile,
    secrets::Vault,
    state::{ClusterState, SecretPath},
};

/// What all secrets of a node may take together.
const TMPFS_OPTIONS: &str = "mode=0700,size=64m";

/// A file's mode where the user sets none.
const MODE_DEFAULT: u32 = 0o444;

/// Where containers' files are.
pub(super) struct MountFiles {
    configs: PathBuf,
    secrets: PathBuf,
}

/// A file to write.
struct Content {
    file: MountedFile,
    bytes: Zeroizing<Vec<u8>>,
    owner: (u32, u32),
    mode: u32,
}

impl MountFiles {
    pub(super) fn new(data_dir: &Path, run_dir: &Path) -> Self {
        Self { configs: data_dir.join("configs"), secrets: run_dir.join("secrets") }
    }

    /// Writes a container's files, each in place of its last.
    pub(super) async fn write(
        &self,
        launch: &Launch,
        state: &ClusterState,
        vault: &Arc<Vault>,
    ) -> Result<Vec<MountedFile>, Failure> {
        let configs = self.configs_of(launch)?;
        let secrets = self.secrets_of(launch, state, vault)?;
        let files = configs.iter().chain(&secrets).map(|it| it.file.clone()).collect();
        let (configs_dir, secrets_dir) = (self.configs.clone(), self.secrets.clone());
        let container = launch.container;
        let write = tasks::blocking(move || -> Result<(), String> {
            if !configs.is_empty() {
                write_all(&configs_dir, container, &configs)?;
            }
            if !secrets.is_empty() {
                mount_secrets(&secrets_dir)?;
                write_all(&secrets_dir, container, &secrets)?;
            }
            Ok(())
        });
        write.await.map_err(|it| fault(it.to_string()))?.map_err(fault)?;
        Ok(files)
    }

    /// Removes a container's files.
    pub(super) async fn remove(&self, container: ContainerId) -> Result<(), Failure> {
        for directory in [&self.configs, &self.secrets] {
            let path = directory.join(container.to_string());
            match tokio::fs::remove_dir_all(&path).await {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(fault(format!("can't remove {}: {error}", path.display())));
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    fn configs_of(&self, launch: &Launch) -> Result<Vec<Content>, Failure> {
        let read = |(index, mount): (usize, &FileMount)| {
            let spec = launch.project.configs.get(&mount.source);
            let bytes = spec.and_then(|it| it.content.clone()).ok_or_else(|| {
                fault(format!("the config `{}` has no content on this node", mount.source))
            })?;
            Ok(content(&self.configs, launch.container, index, mount, Zeroizing::new(bytes)))
        };
        launch.spec.configs.iter().enumerate().map(read).collect()
    }

    fn secrets_of(
        &self,
        launch: &Launch,
        state: &ClusterState,
        vault: &Vault,
    ) -> Result<Vec<Content>, Failure> {
        let open = |(index, mount): (usize, &FileMount)| {
            let key = &mount.source;
            let path = SecretPath::Project(launch.service.project.clone(), key.clone());
            let sealed = state.secrets().get(&path).ok_or_else(|| {
                fault(format!("the secret `{key}` has no value on this node: deploy it again"))
            })?;
            let opened = vault.open(&path, sealed);
            let bytes = opened.map_err(|it| fault(format!("secret `{key}`: {it}")))?;
            Ok(content(&self.secrets, launch.container, index, mount, bytes))
        };
        launch.spec.secrets.iter().enumerate().map(open).collect()
    }
}

fn content(
    directory: &Path,
    container: ContainerId,
    index: usize,
    mount: &FileMount,
    bytes: Zeroizing<Vec<u8>>,
) -> Content {
    let source = directory.join(container.to_string()).join(index.to_string());
    Content {
        file: MountedFile { source, target: mount.target.clone() },
        bytes,
        owner: (mount.uid.unwrap_or(0), mount.gid.unwrap_or(0)),
        mode: mount.mode.unwrap_or(MODE_DEFAULT),
    }
}

fn write_all(directory: &Path, container: ContainerId, all: &[Content]) -> Result<(), String> {
    disk::make_directory(directory, 0o700).map_err(|it| it.to_string())?;
    let own = directory.join(container.to_string());
    disk::make_directory(&own, 0o700).map_err(|it| it.to_string())?;
    for content in all {
        let path = &content.file.source;
        write(path, content).map_err(|it| format!("can't write {}: {it}", path.display()))?;
    }
    Ok(())
}

/// Written beside its place and then moved there: a container that is started again, by whomever,
/// never sees half a file. Not synchronised: it is written again before the next start.
fn write(path: &Path, content: &Content) -> io::Result<()> {
    let new = disk::beside(path);
    let mut file = disk::create(&new, 0o600)?;
    io::Write::write_all(&mut file, &content.bytes)?;
    let own = file.metadata()?;
    if (own.uid(), own.gid()) != content.owner {
        chown(&new, Some(content.owner.0), Some(content.owner.1))?;
    }
    file.set_permissions(std::fs::Permissions::from_mode(content.mode))?;
    std::fs::rename(&new, path)
}

/// Mounts the secrets' tmpfs unless it is there.
fn mount_secrets(directory: &Path) -> Result<(), String> {
    disk::make_directory(directory, 0o700).map_err(|it| it.to_string())?;
    let refused = |why: String| {
        format!("can't keep secrets in memory at {}: {why}; see `run_dir`", directory.display())
    };
    if is_own_tmpfs(directory).map_err(|it| refused(it.to_string()))? {
        return Ok(());
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let attempt =
        |options: &str| mount(Some("fizz-secrets"), directory, Some("tmpfs"), flags, Some(options));
    match attempt(&format!("{TMPFS_OPTIONS},noswap")) {
        Err(Errno::EINVAL) => {
            debug!("this kernel's tmpfs knows no `noswap`; secrets may be swapped out");
            attempt(TMPFS_OPTIONS).map_err(|it| refused(it.to_string()))?;
        }
        other => other.map_err(|it| refused(it.to_string()))?,
    }
    let namespace = |of: &str| std::fs::read_link(format!("/proc/{of}/ns/mnt")).ok();
    if namespace("self") != namespace("1") {
        warn!(
            path = %directory.display(),
            "fizz has mounts of its own: a runtime that does not share them will not find secrets"
        );
    }
    Ok(())
}

fn is_own_tmpfs(directory: &Path) -> io::Result<bool> {
    let above = directory.parent().unwrap_or(directory);
    let own = std::fs::metadata(directory)?.dev() != std::fs::metadata(above)?.dev();
    Ok(own && statfs(directory)?.filesystem_type() == TMPFS_MAGIC)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::disk::tests::Scratch;

    fn one(directory: &Path, bytes: &[u8], uid: u32, mode: u32) -> Content {
        let target = "/run/secrets/x".to_owned();
        let mount = FileMount {
            source: "x".to_owned(),
            target,
            uid: Some(uid),
            gid: Some(uid),
            mode: Some(mode),
        };
        content(directory, ContainerId(5), 0, &mount, Zeroizing::new(bytes.to_vec()))
    }

    #[test]
    fn a_file_gets_the_owner_and_mode_that_were_asked_for() {
        assert!(nix::unistd::geteuid().is_root(), "this test gives files away, so it needs root");
        let scratch = Scratch::new();
        for (bytes, mode) in [(b"first", 0o400), (b"other", 0o440)] {
            let all = [one(&scratch.0, bytes, 1234, mode)];
            write_all(&scratch.0, ContainerId(5), &all).unwrap();
            let path = scratch.0.join(ContainerId(5).to_string()).join("0");
            let found = std::fs::metadata(&path).unwrap();
            assert_eq!((found.uid(), found.gid(), found.mode() & 0o7777), (1234, 1234, mode));
            assert_eq!(std::fs::read(&path).unwrap(), bytes);
        }
        let directory = scratch.0.join(ContainerId(5).to_string());
        assert_eq!(std::fs::metadata(directory).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn secrets_are_on_a_tmpfs_of_their_own_mounted_once() {
        assert!(nix::unistd::geteuid().is_root(), "this test mounts, so it needs root");
        let scratch = Scratch::new();
        let directory = scratch.0.join("secrets");
        mount_secrets(&directory).unwrap();
        mount_secrets(&directory).unwrap();
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let ours: Vec<_> =
            mounts.lines().filter(|it| it.contains(directory.to_str().unwrap())).collect();
        nix::mount::umount(&directory).unwrap();
        assert_eq!(ours.len(), 1, "{ours:?}");
        assert!(ours[0].contains("nosuid,nodev,noexec") && ours[0].contains("tmpfs"), "{ours:?}");
    }
}
