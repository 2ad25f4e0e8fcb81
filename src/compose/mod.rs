//! Compose files: text in, a canonical model or every problem at once out.
//!
//! Follows the Compose specification (compose-spec, 2025) and, where that is silent, what
//! `docker compose` does. [`load()`] is the door; a project goes through the rooms in this order.
//! Each file: [`yaml`], [`interpolate`], what it includes and extends, [`merge::merge`] over the
//! files before it, [`schema::check`], [`shape::canonical`]. Then the whole:
//! [`shape::fill_defaults`], [`normalise::paths`], [`normalise::normalise`],
//! [`consistency::check`], [`normalise::environment`] and [`normalise::labels`],
//! [`select::Choice::apply`]. [`decode`] makes typed specs of the result.

pub mod consistency;
pub mod decode;
pub mod diff;
pub mod dotenv;
mod extends;
mod extension;
pub mod files;
mod include;
pub mod interpolate;
pub mod json;
pub mod lexical;
pub mod limits;
mod load;
pub mod merge;
mod near;
pub mod normalise;
mod places;
pub mod print;
pub mod problem;
pub mod project;
mod reader;
mod reset;
#[cfg(test)]
mod sample;
pub mod schema;
pub mod select;
pub mod shape;
pub mod support;
pub mod tree;
pub mod units;
mod variables;
pub mod yaml;

pub use load::{LoadOptions, LoadRequest, Loaded, load};
