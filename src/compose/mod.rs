//! Compose files: text in, a canonical model or every problem at once out.
//!
//! Follows the Compose specification (compose-spec, 2025) and, where that is silent, what
//! `docker compose` does.

pub mod decode;
pub mod diff;
mod extension;
pub mod files;
pub mod json;
pub mod problem;
pub mod support;
pub mod tree;
