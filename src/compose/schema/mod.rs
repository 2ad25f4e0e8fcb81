//! What a Compose file may hold, as one table, and the check of a tree against it.
//!
//! After the schema of the Compose specification (compose-spec, 2025). The table also says which
//! strings stand for numbers, booleans, durations and sizes, so the check leaves every such value
//! in one form: what interpolation put into a string becomes what the place asks for.

mod cast;
mod check;
mod language;
mod service;
mod table;

use std::collections::BTreeSet;

use super::{problem::Problems, tree::Node};

pub use language::{Key, Kind, Names, Shape};
pub use table::ROOT;

/// Checks a whole file, notes every violation, and casts what is right to the type of its place.
pub fn check(root: &mut Node, problems: &mut Problems) {
    check::run(root, &ROOT, check::Variables::Replaced, problems);
}

/// Checks a file whose variables still stand in it: text with a `$` passes as anything.
pub fn check_uninterpolated(root: &mut Node, problems: &mut Problems) {
    check::run(root, &ROOT, check::Variables::Standing, problems);
}

/// Every key that the table knows, sorted: `services.*.ports[].target`.
pub fn key_paths() -> impl Iterator<Item = String> {
    let mut paths = BTreeSet::new();
    collect("", &ROOT, &mut paths);
    paths.into_iter()
}

fn collect(place: &str, shape: &Shape, paths: &mut BTreeSet<String>) {
    match shape {
        Shape::Keys(keys) | Shape::Closed(keys) => {
            for key in *keys {
                let dot = if place.is_empty() { "" } else { "." };
                let path = format!("{place}{dot}{}", key.name);
                collect(&path, &key.shape, paths);
                paths.insert(path);
            }
        }
        Shape::Named(_, inner) => collect(&format!("{place}.*"), inner, paths),
        Shape::List(inner) | Shape::Set(inner) => collect(&format!("{place}[]"), inner, paths),
        Shape::OneOf(shapes) => {
            for shape in *shapes {
                collect(place, shape, paths);
            }
        }
        Shape::Any
        | Shape::Null
        | Shape::Text
        | Shape::Matching(..)
        | Shape::Word(_)
        | Shape::Spoken(_)
        | Shape::Bool
        | Shape::Flag
        | Shape::Integer(..)
        | Shape::Bare
        | Shape::Number
        | Shape::Duration
        | Shape::Bytes(_)
        | Shape::Mode
        | Shape::Devices => {}
    }
}

#[cfg(test)]
mod tests;
