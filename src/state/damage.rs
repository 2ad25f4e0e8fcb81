//! Rows that cannot be read.

use crate::model::InvalidName;

/// The version of the stored forms.
pub(super) const VERSION: u8 = 1;

/// A row that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Written by a later Fizz.
    #[error("a stored row has version {0}, and this fizz reads up to {VERSION}: upgrade fizz")]
    Version(u8),
    /// Not what was written.
    #[error("a stored row is damaged ({0}): restore the data directory or start with a new one")]
    Damaged(String),
}

impl From<InvalidName> for CodecError {
    fn from(error: InvalidName) -> Self {
        Self::Damaged(error.to_string())
    }
}
