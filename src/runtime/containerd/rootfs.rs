//! A container's file system, looked into while its process does not run.
//!
//! It is mounted for as long as it is looked into. Paths in it are resolved by the kernel as if it were
//! the root (openat2(2), `RESOLVE_IN_ROOT`): a link in an image leads nowhere else on the node.

use std::{
    fs, io,
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

use nix::{
    fcntl::{OFlag, OpenHow, ResolveFlag, openat2},
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
};

use super::messages::MountPoint;

/// A file system that is mounted as long as this is there.
#[derive(Debug)]
pub(super) struct Rootfs {
    path: PathBuf,
}

impl Rootfs {
    /// Mounts a snapshot at a new directory.
    pub(super) fn mount(mounts: &[MountPoint], path: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&path)?;
        let rootfs = Self { path };
        for it in mounts {
            mount_one(it, &rootfs.path)?;
        }
        Ok(rootfs)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A directory in it, if it is there.
    pub(super) fn directory(&self, path: &str) -> io::Result<OwnedFd> {
        open(&self.path, path, OFlag::O_RDONLY | OFlag::O_DIRECTORY)
    }

    /// A text file in it; empty where there is none.
    pub(super) fn text(&self, path: &str) -> io::Result<String> {
        text(&self.path, path)
    }
}

impl Drop for Rootfs {
    fn drop(&mut self) {
        // What is not mounted need not be unmounted; a directory that is left is only untidy.
        let _ = umount2(&self.path, MntFlags::MNT_DETACH);
        let _ = fs::remove_dir(&self.path);
    }
}

/// The longest text file of an image that is read.
const TEXT_BYTES_MAX: u64 = 4 << 20;

/// A text file below a root; empty where there is none.
pub(super) fn text(root: &Path, path: &str) -> io::Result<String> {
    let file = match open(root, path, OFlag::O_RDONLY | OFlag::O_NONBLOCK) {
        Ok(file) => fs::File::from(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => return Err(error),
    };
    let about = file.metadata()?;
    if !about.is_file() || about.len() > TEXT_BYTES_MAX {
        let why = format!("{path} of the image is no file, or longer than {TEXT_BYTES_MAX} bytes");
        return Err(io::Error::other(why));
    }
    let bytes = fs::read(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Opens what a path leads to below a root.
pub(super) fn open(root: &Path, path: &str, flags: OFlag) -> io::Result<OwnedFd> {
    let root = fs::File::open(root)?;
    let how = OpenHow::new()
        .flags(flags | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    // The root itself is `.` from there.
    let path = match path.trim_start_matches('/') {
        "" => ".",
        path => path,
    };
    openat2(&root, path, how).map_err(io::Error::from)
}

fn mount_one(it: &MountPoint, at: &Path) -> io::Result<()> {
    let mut flags = MsFlags::empty();
    let mut data: Vec<&str> = Vec::new();
    for option in &it.options {
        match option.as_str() {
            "ro" => flags |= MsFlags::MS_RDONLY,
            "rw" => {}
            "bind" => flags |= MsFlags::MS_BIND,
            "rbind" => flags |= MsFlags::MS_BIND | MsFlags::MS_REC,
            other => data.push(other),
        }
    }
    let data = data.join(",");
    let (common, data) = shortened(&data);
    let (kind, source, at) = (it.kind.clone(), it.source.clone(), at.to_owned());
    // A working directory of its own, for which a thread must not share it with the others.
    let mounting = std::thread::spawn(move || -> nix::Result<()> {
        if let Some(common) = &common {
            unshare(CloneFlags::CLONE_FS)?;
            nix::unistd::chdir(common.as_path())?;
        }
        let data = Some(data.as_str()).filter(|it| !it.is_empty());
        mount(Some(source.as_str()), &at, Some(kind.as_str()), flags, data)?;
        if flags.contains(MsFlags::MS_BIND | MsFlags::MS_RDONLY) {
            let again = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
            mount(None::<&str>, &at, None::<&str>, again, None::<&str>)?;
        }
        Ok(())
    });
    match mounting.join() {
        Ok(done) => done.map_err(io::Error::from),
        Err(_) => Err(io::Error::other("the thread that mounts has panicked")),
    }
}

/// mount(2) takes one page of options, which many layers' paths are longer than: they are given from the
/// directory that all of them are in.
fn shortened(data: &str) -> (Option<PathBuf>, String) {
    let lower = data.split(',').find_map(|it| it.strip_prefix("lowerdir="));
    let mut layers = lower.into_iter().flat_map(|it| it.split(':'));
    // `.../snapshots/7/fs`
    let common = layers.next().and_then(|it| Path::new(it).parent()?.parent());
    let Some(common) = common.filter(|it| it.is_absolute()) else { return (None, data.to_owned()) };
    let prefix = format!("{}/", common.display());
    (Some(common.to_owned()), data.replace(&prefix, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_given_from_where_the_layers_are() {
        let long = "workdir=/s/9/work,upperdir=/s/9/fs,lowerdir=/s/2/fs:/s/1/fs";
        let (common, short) = shortened(long);
        assert_eq!(common, Some(PathBuf::from("/s")));
        assert_eq!(short, "workdir=9/work,upperdir=9/fs,lowerdir=2/fs:1/fs");
        assert_eq!(shortened("").0, None);
    }

    #[test]
    fn a_link_leads_nowhere_outside_of_the_root() {
        let root = std::env::temp_dir().join(format!("fizz-root-{}", std::process::id()));
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::write(root.join("etc/real"), "inside").unwrap();
        std::os::unix::fs::symlink("/etc/real", root.join("etc/passwd")).unwrap();
        std::os::unix::fs::symlink("/proc/self/environ", root.join("etc/group")).unwrap();
        assert_eq!(text(&root, "/etc/passwd").unwrap(), "inside");
        assert_eq!(text(&root, "/etc/group").unwrap(), "");
        fs::remove_dir_all(&root).unwrap();
    }
}
