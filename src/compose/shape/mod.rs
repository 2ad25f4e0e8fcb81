//! Every short form in its long form, so that later rooms see one way to say each thing.
//!
//! What the forms mean follows the Compose specification and compose-go. The tree must have passed
//! [`super::schema::check`]; a value of the wrong kind is left as it is. Rules are a table of
//! places, so this descends no deeper than the table.

mod pairs;
mod ports;
mod rules;
mod unique;
mod volumes;
mod words;

use super::{
    places,
    problem::Problems,
    tree::{Entry, Map, Node, Trail, Value},
    yaml,
};

pub(super) use pairs::{host_and_addresses, hosts_to_list, to_map};
pub(super) use rules::{build_to_map, dependencies_to_map, names_to_map};
pub(super) use unique::repeats;
pub use unique::unique;

/// Ports of all services together: a range of ports is short to write and long to keep.
pub const PORTS_MAX: usize = 1 << 13;

/// Words of all command lines together: as many as a file can write as lists.
const WORDS_MAX: usize = yaml::NODES_MAX;

/// Brings a whole file into its long form. Doing it twice changes nothing.
pub fn canonical(root: &mut Node, problems: &mut Problems) {
    Shaping::new(problems, false).all(root);
}

/// The same for a file whose variables still stand in it: text with a `$` that is in no known form
/// stays as it is.
pub fn canonical_uninterpolated(root: &mut Node, problems: &mut Problems) {
    Shaping::new(problems, true).all(root);
}

/// Writes out what the specification says of keys that are not there. To be called once all files
/// are merged: a default must not hide what another file says.
pub fn fill_defaults(root: &mut Node) {
    for (pattern, fill) in rules::DEFAULTS {
        places::each(root, pattern, &mut |node, _| {
            let at = node.at;
            if let Some(map) = node.as_map_mut() {
                fill(map, at);
            }
        });
    }
}

/// The work on one file.
struct Shaping<'a> {
    problems: &'a mut Problems,
    variables_stand: bool,
    ports_left: usize,
    words_left: usize,
}

impl<'a> Shaping<'a> {
    fn new(problems: &'a mut Problems, variables_stand: bool) -> Self {
        Self { problems, variables_stand, ports_left: PORTS_MAX, words_left: WORDS_MAX }
    }

    fn all(&mut self, root: &mut Node) {
        for (pattern, rule) in rules::RULES {
            places::each(root, pattern, &mut |node, path| rule(node, path, self));
        }
        unique(root);
    }

    /// Notes that a value is in no known form, unless a variable in it may still bring it there.
    fn error(&mut self, node: &Node, path: &Trail<'_>, why: impl Into<String>) {
        let has_variable = node.as_text().is_some_and(|text| text.contains('$'));
        if !(self.variables_stand && has_variable) {
            self.problems.error(node.at, path, why);
        }
    }
}

/// A mapping of made keys, all at the place of the value that they stand for.
fn made<const N: usize>(like: &Node, entries: [(&str, Node); N]) -> Node {
    let entry = |(key, node): (&str, Node)| (key.to_owned(), Entry { key_at: like.at, node });
    Node { tag: like.tag, ..Node::new(Value::Map(Map::from(entries.map(entry))), like.at) }
}

fn set(map: &mut Map, key: &str, node: Node) {
    map.insert(key.to_owned(), Entry { key_at: node.at, node });
}

fn set_if_missing(map: &mut Map, key: &str, node: Node) {
    map.entry(key.to_owned()).or_insert(Entry { key_at: node.at, node });
}

#[cfg(test)]
mod tests;
