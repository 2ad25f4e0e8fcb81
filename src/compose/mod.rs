//! Compose files: text in, a canonical model or every problem at once out.
//!
//! Follows the Compose specification (compose-spec, 2025) and, where that is silent, what
//! `docker compose` does.

pub mod consistency;
pub mod files;
pub mod lexical;
pub mod merge;
pub mod normalise;
mod places;
pub mod problem;
pub mod schema;
pub mod select;
pub mod shape;
pub mod tree;
pub mod units;
