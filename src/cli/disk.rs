//! The disk, as the Compose loader wants to see it.

use std::{
    cell::OnceCell,
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
};

use crate::compose::{
    files::{FILE_BYTES_MAX, Files},
    project::STDIN,
};

/// Files on the disk; `-` is standard input, which can be read several times here.
#[derive(Debug, Default)]
pub(super) struct Disk {
    stdin: OnceCell<Vec<u8>>,
}

impl Files for Disk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        if path.as_os_str() != STDIN {
            return limited(File::open(path)?);
        }
        if let Some(text) = self.stdin.get() {
            return Ok(text.clone());
        }
        let text = limited(io::stdin().lock())?;
        Ok(self.stdin.get_or_init(|| text).clone())
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn is_dir(&self, path: &Path) -> bool {
        fs::metadata(path).is_ok_and(|it| it.is_dir())
    }
}

/// One byte past the limit tells that it was passed.
fn limited(from: impl io::Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
