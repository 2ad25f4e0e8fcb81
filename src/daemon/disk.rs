//! Files that are there whole or not at all, and a directory that one daemon has to itself.

use std::{
    fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// How long a lock that somebody has is waited for: 2 s.
const LOCK_TRIES: u32 = 40;
const LOCK_PAUSE: std::time::Duration = std::time::Duration::from_millis(50);

/// Why a file or directory could not be used.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The system said no.
    #[error("can't {doing} {}: {why}", path.display())]
    Io {
        /// `read`, `write`, `make`.
        doing: &'static str,
        /// What.
        path: PathBuf,
        /// What it said.
        why: io::Error,
    },
    /// Another daemon works there.
    #[error(
        "another fizz daemon{holder} uses {}: stop it, or give this one its own `data_dir`", path.display()
    )]
    Taken {
        /// Where.
        path: PathBuf,
        /// Who, where it is known: ` (process 123)`.
        holder: String,
    },
}

impl DiskError {
    /// An error of the system about a path.
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |why| Self::Io { doing, path, why }
    }
}

/// Makes a directory and those above it if they are missing; it gets the mode either way.
pub(super) fn make_directory(path: &Path, mode: u32) -> Result<(), DiskError> {
    let make = || {
        DirBuilder::new().recursive(true).mode(mode).create(path)?;
        std::fs::set_permissions(path, Permissions::from_mode(mode))
    };
    make().map_err(DiskError::io("make the directory", path))
}

/// A file's content, if it is there.
pub(super) fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, DiskError> {
    match std::fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(why) => Err(DiskError::Io { doing: "read", path: path.to_owned(), why }),
    }
}

/// Writes a file so that a crash leaves the old content or the new, durably.
pub(super) fn write_durably(path: &Path, content: &[u8], mode: u32) -> Result<(), DiskError> {
    let write = || {
        let beside = beside(path);
        let mut file = create(&beside, mode)?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&beside, path)?;
        sync_directory(path)
    };
    write().map_err(DiskError::io("write", path))
}

/// A name in the same directory, for what is not whole yet.
pub(super) fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// A new, empty file, in place of one that an earlier attempt may have left.
pub(super) fn create(path: &Path, mode: u32) -> io::Result<File> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path)
}

/// Makes a rename or a creation in a directory durable.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

/// Holds a data directory for this process; the kernel lets go of it when the process ends.
#[derive(Debug)]
pub(super) struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// Takes the directory.
    pub(super) fn take(directory: &Path) -> Result<Self, DiskError> {
        let path = directory.join("lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(DiskError::io("open", &path))?;
        match patiently(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let known = file.read_to_string(&mut holder).is_ok() && !holder.is_empty();
                let holder = if known { format!(" (process {})", holder.trim()) } else { holder };
                return Err(DiskError::Taken { path: directory.to_owned(), holder });
            }
            Err(TryLockError::Error(why)) => {
                return Err(DiskError::Io { doing: "lock", path, why });
            }
        }
        let mut note = || {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        note().map_err(DiskError::io("write", &path))?;
        Ok(Self { _file: file })
    }
}

/// Locks a file. A daemon that was just killed holds its lock until the last of its threads has ended,
/// so that one is waited for.
fn patiently(file: &std::fs::File) -> Result<(), TryLockError> {
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            settled @ (Ok(()) | Err(TryLockError::Error(_))) => return settled,
        }
    }
    file.try_lock()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// A directory that goes with its test.
    pub(in crate::daemon) struct Scratch(pub(in crate::daemon) PathBuf);

    impl Scratch {
        pub(in crate::daemon) fn new() -> Self {
            static COUNT: AtomicU32 = AtomicU32::new(0);
            let number = COUNT.fetch_add(1, Ordering::SeqCst);
            let name = format!("fizz-test-{}-{number}", std::process::id());
            let path = std::env::temp_dir().join(name);
            std::fs::create_dir(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn a_file_is_written_whole_with_its_mode_over_what_a_crash_left() {
        let scratch = Scratch::new();
        let path = scratch.0.join("key");
        std::fs::write(beside(&path), "half").unwrap();
        write_durably(&path, b"whole", 0o600).unwrap();
        assert_eq!(read_if_there(&path).unwrap().unwrap(), b"whole");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!beside(&path).exists());
    }

    #[test]
    fn a_second_daemon_is_told_who_has_the_directory() {
        let scratch = Scratch::new();
        let first = DirectoryLock::take(&scratch.0).unwrap();
        let error = DirectoryLock::take(&scratch.0).unwrap_err().to_string();
        assert!(error.contains(&format!("(process {})", std::process::id())), "{error}");
        drop(first);
        DirectoryLock::take(&scratch.0).unwrap();
    }
}
