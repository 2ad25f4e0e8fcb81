//! Compose files: text in, a canonical model or every problem at once out.
//!
//! Follows the Compose specification (compose-spec, 2025) and, where that is silent, what
//! `docker compose` does.
//!
//! A project goes through the rooms in this order. Each file: [`yaml`], [`interpolate`],
//! [`merge::merge`] over the files before it, [`schema::check`], [`shape::canonical`]. Then the
//! whole: [`shape::fill_defaults`], [`normalise::paths`], [`normalise::normalise`],
//! [`consistency::check`] with [`select::Choice::by_profile`], [`select::Choice::apply`],
//! [`normalise::environment`] and [`normalise::labels`].

pub mod consistency;
pub mod decode;
pub mod diff;
mod extension;
pub mod files;
pub mod interpolate;
pub mod json;
pub mod lexical;
pub mod merge;
pub mod normalise;
mod places;
pub mod problem;
#[cfg(test)]
mod sample;
pub mod schema;
pub mod select;
pub mod shape;
pub mod support;
pub mod tree;
pub mod units;
pub mod yaml;
