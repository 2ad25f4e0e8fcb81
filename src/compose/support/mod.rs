//! What Fizz does with every key of the Compose specification, and which mean nothing where networks span nodes.
//!
//! The rule: a key is honoured; or honoured with a difference that is told; or ignored with a
//! warning; or refused, where ignoring it would change isolation, safety or data. [`table`] decides for
//! each key, the guide prints it, and [`check`] tells the user.

mod honoured;
mod spanning;
mod table;

use std::collections::BTreeMap;

use super::{
    problem::Problems,
    tree::{Node, Scalar, ScalarKind, Trail, Value},
};

/// What Fizz does with one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its place: `services.*.ports[].target`, where `*` is any name and `[]` any item.
    pub path: &'static str,
    /// What becomes of it.
    pub support: Support,
    /// Which of its values that is about.
    pub when: When,
}

/// What becomes of a key. Whatever is below a key that is warned about or refused goes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// It works as the specification says.
    Honoured,
    /// It works, with this difference.
    Differs(&'static str),
    /// It is ignored: why, and what to do.
    Warned(&'static str),
    /// The file is refused: why, and what to do.
    Refused(&'static str),
}

/// Which values of a key a warning or a refusal is about; all others are honoured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// All but those that say nothing: null, `false`, nothing.
    Set,
    /// One of these.
    Is(&'static [&'static str]),
    /// All but these.
    Not(&'static [&'static str]),
    /// A list of more than one.
    Several,
}

/// Every key that [`table`] speaks of, in the order of their paths.
#[must_use]
pub fn keys() -> BTreeMap<&'static str, Key> {
    table::keys().map(|key| (key.path, key)).collect()
}

/// What is ignored of a project whose networks span the nodes: the keys, which of their values, and why.
#[must_use]
pub fn ignored_when_spanning() -> BTreeMap<&'static str, (When, &'static str)> {
    spanning::MEANINGLESS.iter().map(|(path, when, why)| (*path, (*when, *why))).collect()
}

/// Warns about and refuses what the table says, each at the place where its key was written.
pub fn check(root: &Node, problems: &mut Problems) {
    walk(root, &Below::of(table::keys()), &Trail::default(), problems);
}

/// Warns about what means nothing in a project whose networks span the nodes.
pub fn check_spanning(root: &Node, problems: &mut Problems) {
    let ignored = ignored_when_spanning();
    let keys = table::keys().map(|key| match ignored.get(key.path) {
        Some((when, why)) => Key { support: Support::Warned(why), when: *when, ..key },
        None => Key { support: Support::Honoured, ..key },
    });
    walk(root, &Below::of(keys), &Trail::default(), problems);
}

/// What the table says of what is below a place. A walk ends where that is nothing.
#[derive(Default)]
struct Below {
    key: Option<Key>,
    names: BTreeMap<&'static str, Below>,
    any: Option<Box<Below>>,
    items: Option<Box<Below>>,
}

impl Below {
    fn of(keys: impl Iterator<Item = Key>) -> Self {
        let mut top = Self::default();
        for key in keys {
            key.path.split('.').fold(&mut top, Self::step).key = Some(key);
        }
        top
    }

    fn step(&mut self, step: &'static str) -> &mut Self {
        match step.strip_suffix("[]") {
            Some(list) => self.step(list).items.get_or_insert_default(),
            None if step == "*" => self.any.get_or_insert_default(),
            None => self.names.entry(step).or_default(),
        }
    }

    fn is_empty(&self) -> bool {
        self.names.is_empty() && self.any.is_none()
    }
}

fn walk(node: &Node, below: &Below, path: &Trail<'_>, problems: &mut Problems) {
    if let (Some(items), Some(list)) = (&below.items, node.as_list()) {
        for (index, item) in list.iter().enumerate() {
            walk(item, items, &path.index(index), problems);
        }
    }
    let map = node.as_map().filter(|_| !below.is_empty());
    for (name, entry) in map.into_iter().flatten() {
        let path = path.key(name);
        let known = below.names.get(name.as_str());
        let Some((known, key)) = known.and_then(|it| Some((it, it.key?))) else {
            if let Some(any) = &below.any {
                walk(&entry.node, any, &path, problems);
            }
            continue;
        };
        match key.support {
            Support::Warned(why) if key.when.holds(&entry.node) => {
                problems.warn(entry.key_at, &path, format!("is ignored: {why}"));
            }
            Support::Refused(why) if key.when.holds(&entry.node) => {
                problems.error(entry.key_at, &path, format!("cannot be honoured: {why}"));
            }
            Support::Honoured | Support::Differs(_) | Support::Warned(_) | Support::Refused(_) => {
                walk(&entry.node, known, &path, problems);
            }
        }
    }
}

impl When {
    fn holds(self, node: &Node) -> bool {
        let text = node.as_text();
        match self {
            Self::Set => match &node.value {
                Value::Null => false,
                Value::Scalar(Scalar { text, kind }) => {
                    !text.is_empty() && *kind != ScalarKind::Bool(false)
                }
                Value::List(items) => !items.is_empty(),
                Value::Map(map) => !map.is_empty(),
            },
            Self::Is(texts) => text.is_some_and(|it| texts.contains(&it)),
            Self::Not(texts) => text.is_some_and(|it| !it.is_empty() && !texts.contains(&it)),
            Self::Several => node.as_list().is_some_and(|items| items.len() > 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::compose::{extension, json::to_tree};

    /// A model that holds a value at a path.
    fn model(path: &str, value: Json) -> Json {
        path.rsplit('.').fold(value, |value, step| match step.strip_suffix("[]") {
            Some(step) => json!({step: [value]}),
            None => json!({step: value}),
        })
    }

    #[test]
    fn what_means_nothing_where_networks_span_nodes_is_told_only_then() {
        let root = json!({
            "services": {"web": {"networks": {"a": {"mac_address": "02:00:00:00:00:01"}}}},
            "networks": {"a": {"driver": "bridge", "enable_ipv6": true}, "b": {"driver": "macvlan"}},
        });
        assert!(told(&root).sorted().is_empty());
        let mut problems = Problems::default();
        check_spanning(&to_tree(&root), &mut problems);
        let paths: Vec<String> = problems.sorted().iter().map(|it| it.path.to_string()).collect();
        assert_eq!(paths, ["networks.b.driver", "services.web.networks.a.mac_address"]);
        assert!(!problems.has_errors());
        for (path, (when, _)) in ignored_when_spanning() {
            let known = keys()[path];
            assert!(
                matches!(known.support, Support::Honoured | Support::Differs(_)),
                "{path} {when:?}"
            );
        }
    }

    fn told(root: &Json) -> Problems {
        let mut problems = Problems::default();
        check(&to_tree(root), &mut problems);
        problems
    }

    #[test]
    fn every_warning_and_refusal_is_told_at_its_key() {
        for key in keys().into_values() {
            let (refused, why) = match key.support {
                Support::Honoured | Support::Differs(_) => continue,
                Support::Warned(why) => (false, why),
                Support::Refused(why) => (true, why),
            };
            let (said, silent) = match key.when {
                When::Set => (json!(true), json!(false)),
                When::Is(texts) => (json!(texts[0]), json!("other")),
                When::Not(texts) => (json!("other"), json!(texts[0])),
                When::Several => (json!(["a", "b"]), json!(["a"])),
            };
            let problems = told(&model(key.path, said));
            assert_eq!(problems.has_errors(), refused, "{}", key.path);
            let line = problems.to_string();
            assert!(line.contains(why), "{}: {line}", key.path);
            assert!(line.starts_with(&key.path.replace("[]", "[0]")), "{}: {line}", key.path);
            assert_eq!(told(&model(key.path, silent)).to_string(), "", "{}", key.path);
        }
    }

    #[test]
    fn a_name_that_is_also_a_key_is_a_name() {
        let root = json!({"services": {"provider": {"image": "a", "labels": {"models": "b"}}}});
        assert_eq!(told(&root).to_string(), "");
    }

    #[test]
    fn what_is_below_a_refused_key_is_told_once() {
        let root = json!({"services": {"web": {"build": {"secrets": [{"source": "s"}]}}}});
        assert_eq!(told(&root).sorted().len(), 1);
    }

    #[test]
    fn every_key_of_the_extension_is_in_the_table() {
        let service = extension::KEYS.map(|key| format!("services.*.x-fizz.{key}"));
        let known = keys();
        let listed: Vec<&str> = known
            .into_keys()
            .filter(|it| it.starts_with("services.*.x-fizz.") && it.split('.').count() == 4)
            .collect();
        assert_eq!(listed, service);
    }
}
