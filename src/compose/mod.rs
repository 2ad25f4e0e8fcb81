//! Compose files: text in, a canonical model or every problem at once out.
//!
//! Follows the Compose specification (compose-spec, 2025) and, where that is silent, what
//! `docker compose` does. [`load`] is the door; the rest is in the order of its steps.

pub mod files;
pub mod problem;
pub mod tree;
pub mod lexical;
mod places;
pub mod units;
pub mod interpolate;
pub mod dotenv;
pub mod yaml;
mod load;
pub mod project;
mod reader;
mod reset;
mod variables;
mod include;
mod extends;
pub mod merge;
pub mod schema;
pub mod shape;
pub mod normalise;
pub mod select;
pub mod consistency;
pub mod print;
#[cfg(test)]
mod sample;

pub use load::{LoadOptions, LoadRequest, Loaded, load};
