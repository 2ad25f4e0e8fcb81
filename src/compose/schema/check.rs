//! The walk over a tree and the table side by side. It goes only as deep as the table.

use std::collections::BTreeSet;

use super::{
    cast::{self, Cast},
    language::{Key, Kind, Names, Shape},
};
use crate::compose::{
    near,
    problem::Problems,
    shape::repeats,
    tree::{Map, Node, Position, Scalar, ScalarKind, Trail, Value},
};

/// How many unknown keys are compared with all known ones in the hope that they are nearly one.
const GUESSES_MAX: u32 = 100;

/// Whether `$VARIABLE`s were already replaced.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Variables {
    Replaced,
    Standing,
}

/// Checks a tree against a shape.
pub(super) fn run(root: &mut Node, shape: &Shape, variables: Variables, problems: &mut Problems) {
    Check { variables, problems, guesses_left: GUESSES_MAX }.value(root, shape, &Trail::default());
}

struct Check<'a> {
    variables: Variables,
    problems: &'a mut Problems,
    guesses_left: u32,
}

impl Check<'_> {
    fn value(&mut self, node: &mut Node, shape: &Shape, path: &Trail<'_>) {
        let Some(shape) = choose(shape, node) else { return self.mismatch(node, shape, path) };
        if self.still_has_variables(node) {
            return;
        }
        match (&mut node.value, shape) {
            (Value::Map(map), Shape::Keys(keys)) => self.keys(map, keys, true, node.at, path),
            (Value::Map(map), Shape::Closed(keys)) => self.keys(map, keys, false, node.at, path),
            (Value::Map(map), Shape::Named(names, inner)) => self.named(map, *names, inner, path),
            (Value::List(list), Shape::List(inner)) => self.list(list, inner, path),
            (Value::List(list), Shape::Set(inner)) => {
                self.list(list, inner, path);
                self.unique(list, path);
            }
            (Value::Scalar(_), _) => self.scalar(node, shape, path),
            (Value::Null | Value::Map(_) | Value::List(_), _) => {}
        }
    }

    fn still_has_variables(&self, node: &Node) -> bool {
        self.variables == Variables::Standing && node.as_text().is_some_and(|it| it.contains('$'))
    }

    fn keys(
        &mut self,
        map: &mut Map,
        keys: &[Key],
        extensible: bool,
        at: Position,
        path: &Trail<'_>,
    ) {
        for (name, entry) in map.iter_mut() {
            let inner = path.key(name);
            if let Some(key) = keys.iter().find(|it| it.name == name) {
                self.value(&mut entry.node, &key.shape, &inner);
            } else if !(extensible && name.starts_with("x-")) {
                let why = self.unknown_key(name, keys, extensible);
                self.problems.error(entry.key_at, &inner, why);
            }
        }
        for key in keys.iter().filter(|it| it.required && !map.contains_key(it.name)) {
            self.problems.error(at, path, format!("`{}` is missing here", key.name));
        }
    }

    fn unknown_key(&mut self, name: &str, keys: &[Key], extensible: bool) -> String {
        let guess = self.guesses_left > 0;
        self.guesses_left = self.guesses_left.saturating_sub(1);
        if let Some(near) =
            guess.then(|| near::nearest(name, keys.iter().map(|key| key.name))).flatten()
        {
            return format!("unknown key `{name}`; did you mean `{near}`?");
        }
        if extensible {
            return format!("unknown key `{name}`; your own keys must begin with x-");
        }
        let known: Vec<&str> = keys.iter().map(|key| key.name).collect();
        format!("unknown key `{name}`; known here are {}", known.join(", "))
    }

    fn named(&mut self, map: &mut Map, names: Names, shape: &Shape, path: &Trail<'_>) {
        for (name, entry) in map.iter_mut() {
            let inner = path.key(name);
            if let Some(why) = bad_name(name, names) {
                self.problems.error(entry.key_at, &inner, why);
            }
            self.value(&mut entry.node, shape, &inner);
        }
    }

    fn list(&mut self, list: &mut [Node], shape: &Shape, path: &Trail<'_>) {
        for (index, item) in list.iter_mut().enumerate() {
            self.value(item, shape, &path.index(index));
        }
    }

    fn unique(&mut self, list: &[Node], path: &Trail<'_>) {
        if !repeats(list.iter().filter_map(Node::as_text).collect()) {
            return;
        }
        let mut seen = BTreeSet::new();
        for (index, item) in list.iter().enumerate() {
            let Some(text) = item.as_text() else { continue };
            if !seen.insert(text) {
                let why = format!("{text:?} is already in this list; take one of them out");
                self.problems.error(item.at, &path.index(index), why);
            }
        }
    }

    fn scalar(&mut self, node: &mut Node, shape: &Shape, path: &Trail<'_>) {
        let Value::Scalar(scalar) = &node.value else { return };
        let cast: Cast = match shape {
            Shape::Matching(test, what) if !test(&scalar.text) => {
                Err(format!("{:?} is not {what}", scalar.text))
            }
            Shape::Word(words) if !words.contains(&scalar.text.as_str()) => {
                Err(format!("{:?} is none of {}", scalar.text, words.join(", ")))
            }
            Shape::Flag => cast::flag(scalar).map(|(flag, hint)| {
                if let Some(hint) = hint {
                    self.problems.warn(node.at, path, hint);
                }
                flag
            }),
            Shape::Integer(min, max) => cast::integer(scalar, *min, *max),
            Shape::Number => cast::number(scalar),
            Shape::Duration => cast::duration(scalar),
            Shape::Bytes(min) => cast::bytes(scalar, *min),
            Shape::Mode => cast::mode(scalar),
            Shape::Devices => cast::devices(scalar),
            Shape::Spoken(_) if scalar.kind == ScalarKind::String => return,
            Shape::Spoken(kinds) => cast::spoken(scalar, kinds).ok_or_else(|| belongs(node, shape)),
            Shape::Any
            | Shape::Null
            | Shape::Text
            | Shape::Matching(..)
            | Shape::Word(_)
            | Shape::Bool
            | Shape::Bare
            | Shape::List(_)
            | Shape::Set(_)
            | Shape::Named(..)
            | Shape::Keys(_)
            | Shape::Closed(_)
            | Shape::OneOf(_) => return,
        };
        match cast {
            Ok(scalar) => node.value = Value::Scalar(scalar),
            Err(why) => self.problems.error(node.at, path, why),
        }
    }

    fn mismatch(&mut self, node: &Node, shape: &Shape, path: &Trail<'_>) {
        self.problems.error(node.at, path, belongs(node, shape));
    }
}

/// The alternative that takes this kind of value.
fn choose<'a>(shape: &'a Shape, node: &Node) -> Option<&'a Shape> {
    match shape {
        Shape::OneOf(shapes) => shapes.iter().find_map(|shape| choose(shape, node)),
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
        | Shape::Devices
        | Shape::List(_)
        | Shape::Set(_)
        | Shape::Named(..)
        | Shape::Keys(_)
        | Shape::Closed(_) => takes(shape, node).then_some(shape),
    }
}

fn takes(shape: &Shape, node: &Node) -> bool {
    match &node.value {
        Value::Null => {
            matches!(shape, Shape::Any | Shape::Null)
                || matches!(shape, Shape::Spoken(kinds) if kinds.contains(&Kind::Null))
        }
        Value::List(_) => matches!(shape, Shape::Any | Shape::List(_) | Shape::Set(_)),
        Value::Map(_) => {
            matches!(shape, Shape::Any | Shape::Named(..) | Shape::Keys(_) | Shape::Closed(_))
        }
        Value::Scalar(scalar) => takes_scalar(shape, scalar),
    }
}

fn takes_scalar(shape: &Shape, scalar: &Scalar) -> bool {
    match shape {
        Shape::Any => true,
        Shape::Text | Shape::Matching(..) | Shape::Word(_) | Shape::Duration => {
            scalar.kind == ScalarKind::String
        }
        Shape::Bool => matches!(scalar.kind, ScalarKind::Bool(_)),
        Shape::Bare => matches!(scalar.kind, ScalarKind::Int(_)),
        Shape::Flag => matches!(scalar.kind, ScalarKind::Bool(_) | ScalarKind::String),
        Shape::Integer(..) | Shape::Number | Shape::Bytes(_) | Shape::Mode | Shape::Devices => {
            !matches!(scalar.kind, ScalarKind::Bool(_))
        }
        Shape::Spoken(kinds) => cast::is_spoken(scalar, kinds),
        Shape::Null
        | Shape::List(_)
        | Shape::Set(_)
        | Shape::Named(..)
        | Shape::Keys(_)
        | Shape::Closed(_)
        | Shape::OneOf(_) => false,
    }
}

/// What is wrong with a value of the wrong kind.
fn belongs(node: &Node, shape: &Shape) -> String {
    let is = match &node.value {
        Value::Scalar(scalar) if scalar.kind != ScalarKind::String => {
            format!("{} ({})", node.kind(), scalar.text)
        }
        Value::Null | Value::Scalar(_) | Value::List(_) | Value::Map(_) => node.kind().to_owned(),
    };
    let mut kinds = BTreeSet::new();
    describe(shape, &mut kinds);
    let kinds: Vec<&str> = kinds.into_iter().collect();
    let wanted = match kinds.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        Some((last, _)) => (*last).to_owned(),
        None => "nothing".to_owned(),
    };
    let text = matches!(&node.value, Value::Scalar(scalar) if scalar.kind != ScalarKind::String)
        && kinds.contains(&"a string");
    let mend = if text { "; put it in quotes" } else { "" };
    format!("this is {is}, but must be {wanted}{mend}")
}

fn describe(shape: &Shape, kinds: &mut BTreeSet<&'static str>) {
    let kind = match shape {
        Shape::OneOf(shapes) => return shapes.iter().for_each(|it| describe(it, kinds)),
        Shape::Spoken(further) => {
            kinds.extend(further.iter().map(|kind| match kind {
                Kind::Integer => "an integer",
                Kind::Number => "a number",
                Kind::Bool => "a boolean",
                Kind::Null => "null",
            }));
            "a string"
        }
        Shape::Any => "anything",
        Shape::Null => "null",
        Shape::Text | Shape::Word(_) => "a string",
        Shape::Matching(_, what) => what,
        Shape::Bool | Shape::Flag => "a boolean",
        Shape::Integer(..) | Shape::Bare => "an integer",
        Shape::Number => "a number",
        Shape::Duration => "a duration such as 1m30s",
        Shape::Bytes(_) => "a size such as 512m",
        Shape::Mode => "a file mode",
        Shape::Devices => "a number of devices",
        Shape::List(_) | Shape::Set(_) => "a list",
        Shape::Named(..) | Shape::Keys(_) | Shape::Closed(_) => "a mapping",
    };
    kinds.insert(kind);
}

fn bad_name(name: &str, names: Names) -> Option<String> {
    let plain = |it: char| it.is_ascii_alphanumeric() || matches!(it, '.' | '_' | '-');
    match names {
        _ if name.is_empty() => Some("a name must not be empty".to_owned()),
        Names::Plain if !name.chars().all(plain) => {
            Some(format!("{name:?} is not a name; use letters, digits, `.`, `_` and `-`"))
        }
        Names::Plain | Names::Free => None,
    }
}
