//! One Compose file laid over another, and one service over the service that it extends.
//!
//! The rules of the Compose specification's chapter on merging: mappings join, lists grow, single
//! values give way, and some places follow rules of their own. What either side wrote in a short
//! form is brought to the long form first where only that can be merged. The walk is as deep as the
//! shallower tree, which the YAML reader bounds.

mod rules;

use std::collections::{BTreeMap, BTreeSet};

use super::{
    problem::Problems,
    shape,
    tree::{Entry, Map, Node, Path, Tag, Value},
};
use rules::Rule;

/// Lays a whole file over another.
#[must_use]
pub fn merge(base: Node, over: Node, problems: &mut Problems) -> Node {
    let mut merged = Merge { problems, keys: Vec::new() }.nodes(base, over);
    shape::unique(&mut merged);
    merged
}

/// Lays the service `name` over the one that it extends.
#[must_use]
pub fn extend(name: &str, base: Node, over: Node, problems: &mut Problems) -> Node {
    Merge { problems, keys: vec!["services".to_owned(), name.to_owned()] }.nodes(base, over)
}

struct Merge<'a> {
    problems: &'a mut Problems,
    /// The keys from the root to here. Lists are not descended into, so there are no indices.
    keys: Vec<String>,
}

impl Merge<'_> {
    fn nodes(&mut self, mut base: Node, mut over: Node) -> Node {
        let rule = rules::at(&self.keys);
        if over.tag == Some(Tag::Override) || rule == Rule::Replace {
            return over;
        }
        if over.value == Value::Null {
            return base;
        }
        for side in [&mut base, &mut over] {
            rules::prepare(rule, side);
        }
        let (at, tag) = (base.at, base.tag);
        match (base.value, over.value) {
            (Value::Map(base), Value::Map(over)) => {
                Node { value: Value::Map(self.maps(base, over, rule)), at, tag }
            }
            (Value::List(base), Value::List(over)) => {
                Node { value: Value::List(self.lists(base, over, rule)), at, tag }
            }
            (Value::Null | Value::Scalar(_), value) => Node { value, ..over },
            (Value::Map(_) | Value::List(_), value) => self.clash(Node { value, ..over }),
        }
    }

    fn maps(&mut self, base: Map, over: Map, rule: Rule) -> Map {
        if rule == Rule::SameDriver && !rules::same_driver(&base, &over) {
            return over;
        }
        let mut merged = base;
        for (key, entry) in over {
            if entry.node.tag == Some(Tag::Reset) {
                merged.remove(&key);
                continue;
            }
            let Some(Entry { key_at, node }) = merged.remove(&key) else {
                merged.insert(key, entry);
                continue;
            };
            if rule == Rule::Pairs {
                merged.insert(key, entry);
                continue;
            }
            self.keys.push(key.clone());
            let node = self.nodes(node, entry.node);
            self.keys.pop();
            merged.insert(key, Entry { key_at, node });
        }
        merged
    }

    fn lists(&mut self, base: Vec<Node>, over: Vec<Node>, rule: Rule) -> Vec<Node> {
        let mut merged = base;
        match rule {
            Rule::Hosts => {
                let mut known: BTreeSet<_> = merged.iter().filter_map(rules::host).collect();
                merged.extend(
                    over.into_iter().filter(|it| rules::host(it).is_none_or(|it| known.insert(it))),
                );
            }
            Rule::Subnets => self.subnets(&mut merged, over),
            Rule::Join
            | Rule::Replace
            | Rule::Pairs
            | Rule::Lines
            | Rule::Build
            | Rule::Dependencies
            | Rule::Names
            | Rule::SameDriver => merged.extend(over),
        }
        merged
    }

    /// Address pools of the same subnet join.
    fn subnets(&mut self, merged: &mut Vec<Node>, over: Vec<Node>) {
        let subnet = |it: &Node| it.get("subnet").and_then(Node::as_text).map(str::to_owned);
        let mut places: BTreeMap<String, usize> = merged
            .iter()
            .enumerate()
            .filter_map(|(place, it)| Some((subnet(it)?, place)))
            .collect();
        for pool in over {
            let key = subnet(&pool);
            match key.as_ref().and_then(|key| places.get(key)) {
                Some(place) => {
                    let old =
                        std::mem::replace(&mut merged[*place], Node::new(Value::Null, pool.at));
                    merged[*place] = self.nodes_inside(old, pool);
                }
                None => {
                    places.extend(key.map(|key| (key, merged.len())));
                    merged.push(pool);
                }
            }
        }
    }

    fn nodes_inside(&mut self, base: Node, over: Node) -> Node {
        self.keys.push("[]".to_owned());
        let node = self.nodes(base, over);
        self.keys.pop();
        node
    }

    /// Two kinds of value that do not go together. The later stays, so that it is checked too.
    fn clash(&mut self, over: Node) -> Node {
        let path = self.keys.iter().fold(Path::default(), |path, key| path.key(key));
        let why = format!(
            "this is {}, which does not go together with what was said before; use !override to replace it",
            over.kind()
        );
        self.problems.error(over.at, &path, why);
        over
    }
}

#[cfg(test)]
mod tests;
