//! Rows and messages that cannot be read.

use crate::model::InvalidName;

/// The version of the stored and sent forms.
pub(super) const VERSION: u8 = 1;

/// A row or a message that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Written by a later Fizz.
    #[error("it has version {0}, and this fizz reads up to {VERSION}: upgrade fizz")]
    Version(u8),
    /// Not what was written.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// Longer than what is read or sent.
    #[error("it has {bytes} bytes, and {bytes_max} are the most: make it smaller")]
    TooLong {
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        bytes_max: usize,
    },
}

impl From<InvalidName> for CodecError {
    fn from(error: InvalidName) -> Self {
        Self::Damaged(error.to_string())
    }
}
