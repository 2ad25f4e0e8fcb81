//! The second pass of reading YAML: raw nodes to a tree, with aliases followed and `<<` merged.

use std::collections::btree_map::Entry as Slot;

use super::{
    super::{
        problem::Problems,
        tree::{Entry, Map, Node, Path, Position, Scalar, ScalarKind, Step, Tag, Value},
    },
    DEPTH_MAX, EXPANDED_NODES_MAX, Raw, RawKind, TREE_BYTES_MAX, scalar,
};

/// The tree of one document, `None` when it exceeds a budget.
pub(super) fn tree(nodes: &[Raw<'_>], problems: &mut Problems) -> Option<Node> {
    let mut construct = Construct {
        nodes,
        problems,
        trail: Vec::new(),
        aliases: 0,
        expanded: 0,
        aliased: 0,
        merged: 0,
        bytes: 0,
    };
    if nodes.is_empty() {
        return Some(Node::new(Value::Null, Position::default()));
    }
    construct.node(0)
}

struct Construct<'a> {
    nodes: &'a [Raw<'a>],
    problems: &'a mut Problems,
    /// The way to the value at hand; only a problem turns it into a [`Path`].
    trail: Vec<Step<&'a str>>,
    /// How many aliases we are inside of.
    aliases: usize,
    expanded: usize,
    aliased: usize,
    /// How many entries `<<` brought, each time that it did.
    merged: usize,
    bytes: usize,
}

impl<'a> Construct<'a> {
    fn node(&mut self, index: u32) -> Option<Node> {
        let raw = &self.nodes[index as usize];
        self.spend(raw.at)?;
        self.weigh(raw)?;
        let tag = raw.tag.as_deref().map(|it| (it.handle(), it.suffix()));
        let merging = match tag {
            Some(("!", "reset")) => Some(Tag::Reset),
            Some(("!", "override")) => Some(Tag::Override),
            _ => None,
        };
        let value = match &raw.kind {
            _ if merging == Some(Tag::Reset) => Value::Null,
            RawKind::Scalar { text, plain } => self.scalar(raw, text, *plain),
            RawKind::List(items) => self.list(items)?,
            RawKind::Map(entries) => Value::Map(self.map(entries)?),
            RawKind::Alias(target) => {
                self.aliases += 1;
                let node = self.node(*target);
                self.aliases -= 1;
                return node;
            }
            RawKind::Unknown => Value::Null,
        };
        Some(Node { value, at: raw.at, tag: merging })
    }

    /// Counts one more node. Aliases may make up most of a file, but not all of it: the share is
    /// the one that go-yaml allows, so that what is refused here is refused there.
    fn spend(&mut self, at: Position) -> Option<()> {
        self.expanded += 1;
        self.aliased += usize::from(self.aliases > 0);
        let bomb = self.expanded + self.merged > EXPANDED_NODES_MAX
            || self.aliased > 100
                && self.expanded > 1000
                && self.aliased * 100 > self.expanded * 99;
        let deep = self.trail.len() + self.aliases > DEPTH_MAX;
        if bomb {
            let message = "excessive aliasing: its aliases blow the file up beyond measure; \
                           refer to fewer or smaller anchors";
            self.error(at, message);
        } else if deep {
            self.error(at, format!("values nest deeper than {DEPTH_MAX} levels; flatten them"));
        }
        (!bomb && !deep).then_some(())
    }

    /// Estimates what a value takes in memory. A mapping is a B-tree, whose smallest node has room
    /// for eleven entries: even a small one is a thousand times larger than its text.
    fn weigh(&mut self, raw: &Raw<'_>) -> Option<()> {
        const VALUE_BYTES: usize = 100;
        const SMALL_MAP_BYTES: usize = 1200;
        self.bytes += match &raw.kind {
            RawKind::Scalar { text, .. } => VALUE_BYTES + text.len(),
            RawKind::Map(entries) if !entries.is_empty() => {
                SMALL_MAP_BYTES + VALUE_BYTES * entries.len()
            }
            RawKind::Map(_) | RawKind::List(_) | RawKind::Alias(_) | RawKind::Unknown => {
                VALUE_BYTES
            }
        };
        if self.bytes > TREE_BYTES_MAX {
            let message =
                format!("the file's values need more than {TREE_BYTES_MAX} bytes; split it");
            self.error(raw.at, message);
            return None;
        }
        Some(())
    }

    fn error(&mut self, at: Position, message: impl Into<String>) {
        self.problems.error(at, self.trail.iter().copied().collect::<Path>(), message);
    }

    fn scalar(&mut self, raw: &Raw<'_>, text: &str, plain: bool) -> Value {
        let string = |text: &str| Scalar { text: text.into(), kind: ScalarKind::String };
        let Some(tag) = raw.tag.as_deref() else {
            return match plain {
                true => scalar::resolve(text),
                false => Value::Scalar(string(text)),
            };
        };
        let wanted = match tag.core_suffix() {
            Some(core @ ("null" | "bool" | "int" | "float")) => core,
            _ if tag.suffix_in_namespace("tag:yaml.org,2002:").as_deref() == Some("binary") => {
                self.error(raw.at, "!!binary has no meaning in a Compose file; write the text");
                return Value::Null;
            }
            _ => return Value::Scalar(string(text)),
        };
        let resolved = scalar::resolve(text);
        let fits = match &resolved {
            Value::Null => wanted == "null",
            Value::Scalar(scalar) => match scalar.kind {
                ScalarKind::Bool(_) => wanted == "bool",
                ScalarKind::Int(_) => matches!(wanted, "int" | "float"),
                ScalarKind::Float(_) => wanted == "float",
                ScalarKind::String => false,
            },
            Value::List(_) | Value::Map(_) => false,
        };
        if !fits {
            self.error(raw.at, format!("`{text}` is not what its tag !!{wanted} says; fix either"));
        }
        resolved
    }

    fn list(&mut self, items: &'a [u32]) -> Option<Value> {
        let mut list = Vec::with_capacity(items.len());
        for (at, item) in items.iter().enumerate() {
            self.trail.push(Step::Index(at));
            list.push(self.node(*item)?);
            self.trail.pop();
        }
        Some(Value::List(list))
    }

    /// A mapping is made of all its entries at once, which fills a B-tree's nodes twice as well as
    /// inserting one after the other.
    fn map(&mut self, entries: &'a [(u32, u32)]) -> Option<Map> {
        let mut own = Vec::with_capacity(entries.len());
        let mut merged: Option<(Position, Node)> = None;
        for (key, value) in entries {
            let key_at = self.nodes[*key as usize].at;
            let Some(name) = self.key(*key) else { continue };
            self.spend(key_at)?;
            if name == "<<" && self.is_plain(*key) {
                let node = self.node(*value)?;
                if let Some((earlier, _)) = merged.replace((key_at, node)) {
                    self.written_twice(name, earlier, key_at);
                }
                continue;
            }
            self.trail.push(Step::Key(name));
            let node = self.node(*value)?;
            self.trail.pop();
            own.push((name.to_owned(), Entry { key_at, node }));
        }
        own.sort_by(|(a, _), (b, _)| a.cmp(b));
        for pair in own.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
            self.written_twice(&pair[1].0, pair[0].1.key_at, pair[1].1.key_at);
        }
        let mut map: Map = own.into_iter().collect();
        if let Some((key_at, value)) = merged {
            self.merge(&mut map, key_at, value);
        }
        Some(map)
    }

    /// Notes a key that is there again, unless it was already noted where an alias came from.
    fn written_twice(&mut self, key: &str, earlier: Position, at: Position) {
        if self.aliases > 0 {
            return;
        }
        let message = format!(
            "key \"{key}\" is here again, it was already defined at line {}; keep one",
            earlier.line
        );
        let steps = self.trail.iter().copied().chain((key != "<<").then_some(Step::Key(key)));
        self.problems.error(at, steps.collect::<Path>(), message);
    }

    /// A key's text; only strings are keys.
    fn key(&mut self, index: u32) -> Option<&'a str> {
        let nodes = self.nodes;
        let mut raw = &nodes[index as usize];
        if let RawKind::Alias(target) = raw.kind {
            raw = &nodes[target as usize];
        }
        let shown = match &raw.kind {
            RawKind::Scalar { text, plain: true } if raw.tag.is_none() && scalar::is_text(text) => {
                return Some(text);
            }
            RawKind::Scalar { text, plain } => match self.scalar(raw, text, *plain) {
                Value::Scalar(Scalar { kind: ScalarKind::String, .. }) => return Some(text),
                Value::Null => "null".into(),
                Value::Scalar(_) | Value::List(_) | Value::Map(_) => text.to_string(),
            },
            RawKind::List(_) => "a list".into(),
            RawKind::Map(_) => "a mapping".into(),
            RawKind::Alias(_) | RawKind::Unknown => return None,
        };
        self.error(raw.at, format!("non-string key: {shown}; keys are text, write it in quotes"));
        None
    }

    fn is_plain(&self, index: u32) -> bool {
        matches!(self.nodes[index as usize].kind, RawKind::Scalar { plain: true, .. })
    }

    /// Fills in what `<<` brings: the mapping's own keys win, then the earlier of a list.
    fn merge(&mut self, map: &mut Map, key_at: Position, value: Node) {
        let sources = match value.value {
            Value::List(list) => list,
            Value::Null | Value::Scalar(_) | Value::Map(_) => vec![value],
        };
        for source in sources {
            let Value::Map(source) = source.value else {
                let message = "the merge key << takes a mapping or a list of mappings, by alias \
                               or in place";
                self.error(key_at, message);
                continue;
            };
            self.merged += source.len();
            for (key, mut entry) in source {
                let mut own = match map.entry(key) {
                    Slot::Vacant(free) => {
                        free.insert(entry);
                        continue;
                    }
                    Slot::Occupied(own) => own,
                };
                let tag = &mut own.get_mut().node.tag;
                if *tag == Some(Tag::Reset) {
                    // `!reset` speaks of earlier files; what `<<` brings is of this one.
                    entry.node.tag = Some(Tag::Override);
                    own.insert(entry);
                } else if entry.node.tag.is_some() && tag.is_none() {
                    *tag = Some(Tag::Override);
                }
            }
        }
    }
}
