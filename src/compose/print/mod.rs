//! A model as text, in the manner of `docker compose config`: the same order of keys, the same
//! style of YAML, and every `$` doubled so that the text can be loaded again.

mod json;
mod order;
mod yaml;

pub use json::json;
pub use yaml::yaml;

use super::{
    interpolate::template::escape,
    places,
    tree::{Entry, Map, Node, Position, Scalar, ScalarKind, Value},
};
use order::At;

/// How to print a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// The project that the model describes: keys in the order of the specification's types.
    Project,
    /// The model as a tree: keys sorted, variables still standing in it.
    Tree,
}

impl Style {
    fn root(self) -> At {
        match self {
            Style::Project => At::PROJECT,
            Style::Tree => At::Anywhere,
        }
    }
}

/// Sizes and durations for which zero means that there is no limit, which is what leaving them out
/// means; `docker compose` leaves them out.
const ZERO_IS_NOTHING: &[(&str, &[&str])] = &[
    (
        "services.*",
        &["mem_limit", "mem_reservation", "memswap_limit", "mem_swappiness", "shm_size"],
    ),
    ("services.*.build", &["shm_size"]),
    ("services.*.deploy.resources.limits", &["memory"]),
    ("services.*.deploy.resources.reservations", &["memory"]),
    ("services.*.deploy.rollback_config", &["delay", "monitor"]),
    ("services.*.deploy.update_config", &["delay", "monitor"]),
    ("services.*.volumes.[].tmpfs", &["size"]),
];

/// What a loaded model looks like when printed as a project: `$` is doubled, and what `docker
/// compose` always shows is there.
#[must_use]
pub fn printable(mut model: Node) -> Node {
    double_dollars(&mut model);
    for (place, keys) in ZERO_IS_NOTHING {
        places::each(&mut model, place, &mut |node, _| {
            let Some(map) = node.as_map_mut() else { return };
            map.retain(|key, entry| {
                let is_zero = matches!(entry.node.as_text(), Some("0" | "0s"));
                !(is_zero && keys.contains(&key.as_str()))
            });
        });
    }
    places::each(&mut model, "services.*.volumes.[]", &mut |mount, _| {
        let Some(mount) = mount.as_map_mut() else { return };
        if let Some(bind) = mount.get_mut("bind").and_then(|it| it.node.as_map_mut()) {
            let created = bind.get("create_host_path").and_then(|it| it.node.as_text());
            if created == Some("true") {
                bind.remove("create_host_path");
            }
        }
    });
    let Some(root) = model.as_map_mut() else { return model };
    let absent =
        |value| Entry { key_at: Position::default(), node: Node::new(value, Position::default()) };
    root.entry("services".into()).or_insert_with(|| absent(Value::Map(Map::new())));
    model
}

fn double_dollars(node: &mut Node) {
    match &mut node.value {
        Value::Scalar(scalar) if scalar.text.contains('$') => scalar.text = escape(&scalar.text),
        Value::Scalar(_) | Value::Null => {}
        Value::List(list) => list.iter_mut().for_each(double_dollars),
        // Keys are not interpolated: doubled, they would read as other keys.
        Value::Map(map) => map.values_mut().for_each(|it| double_dollars(&mut it.node)),
    }
}

/// A scalar that is not a string, as both formats write it; `None` for what has no number in JSON.
fn bare(scalar: &Scalar) -> Option<String> {
    match scalar.kind {
        ScalarKind::String => None,
        ScalarKind::Bool(truth) => Some(truth.to_string()),
        ScalarKind::Int(number) => Some(number.to_string()),
        // Past 64 bits only the text has all the digits.
        ScalarKind::Float(_) if scalar.text.bytes().all(|it| it.is_ascii_digit()) => {
            Some(scalar.text.clone())
        }
        ScalarKind::Float(number) if number.is_finite() => Some(number.to_string()),
        ScalarKind::Float(_) => None,
    }
}

#[cfg(test)]
mod tests;
