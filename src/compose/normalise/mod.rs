//! What a merged file leaves unsaid: where relative paths begin, what the environment holds, how
//! resources are called, and which services depend on each other without saying so.
//!
//! The tree must be in its long form. Follows the Compose specification and compose-go.

mod environment;
mod implied;
mod paths;

pub use environment::{ReadVariables, Request, environment, labels};
pub use implied::normalise;
pub use paths::paths;

#[cfg(test)]
mod tests;
