//! How the loader sees the world: files and the environment, handed in, so that loading is a
//! function and a test can load from memory.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

/// The largest file that is read as part of a project, in bytes.
pub const FILE_BYTES_MAX: usize = 16 << 20;

/// Reads files. The command line reads the disk; tests and fuzzers read a [`MemoryFiles`].
pub trait Files {
    /// The whole content of a file of at most [`FILE_BYTES_MAX`] bytes.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// Whether something is there.
    fn exists(&self, path: &Path) -> bool;

    /// Whether a directory is there.
    fn is_dir(&self, path: &Path) -> bool;
}

/// Files that exist only in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryFiles(pub BTreeMap<PathBuf, Vec<u8>>);

impl Files for MemoryFiles {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.0.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn exists(&self, path: &Path) -> bool {
        self.0.contains_key(path) || self.is_dir(path)
    }

    fn is_dir(&self, path: &Path) -> bool {
        self.0.keys().any(|it| it != path && it.starts_with(path))
    }
}
