//! Compose files: text in, a canonical model or every problem at once out.
//!
//! Follows the Compose specification (compose-spec, 2025) and, where that is silent, what
//! `docker compose` does.

pub mod dotenv;
pub mod files;
pub mod interpolate;
pub mod problem;
pub mod tree;
pub mod yaml;
