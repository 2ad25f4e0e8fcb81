//! A Compose file as a tree of spanned values, the form in which it is read, interpolated, merged
//! and normalised. Only [`super::decode`] turns it into typed specs.
//!
//! Scalars keep their raw text beside their kind, because a Compose file's meaning depends on the
//! place: `0440` is a file mode in one key and a number in another.

use std::{collections::BTreeMap, fmt};

/// Which text a position is in: an index into the loader's list of sources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceId(pub u16);

/// Where a value was written; lines and columns count from one. Line zero: nowhere, it was made
/// while loading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// In which source.
    pub source: SourceId,
    /// The line.
    pub line: u32,
    /// The column, in characters.
    pub column: u32,
}

/// One value, its place, and its tag if it matters to merging.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Where it begins.
    pub at: Position,
    /// `!reset` or `!override`.
    pub tag: Option<Tag>,
}

/// The tags that Compose gives a meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// `!reset`: remove what earlier files said.
    Reset,
    /// `!override`: replace what earlier files said, without merging.
    Override,
}

/// What a node holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`, `~` or nothing.
    Null,
    /// A single value.
    Scalar(Scalar),
    /// A list.
    List(Vec<Node>),
    /// A mapping.
    Map(Map),
}

/// A single value: its text as written (after unquoting), and what YAML takes it for.
#[derive(Clone, Debug, PartialEq)]
pub struct Scalar {
    /// The text as written.
    pub text: String,
    /// What it is.
    pub kind: ScalarKind,
}

/// What YAML's core schema takes a scalar for. Quoted scalars are strings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ScalarKind {
    /// A string.
    String,
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A number with a fraction or an exponent, or too large for an integer.
    Float(f64),
}

/// A mapping. Compose gives the order of keys no meaning, so they are sorted.
pub type Map = BTreeMap<String, Entry>;

/// A value in a mapping, and where its key was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Where the key begins.
    pub key_at: Position,
    /// The value.
    pub node: Node,
}

impl Node {
    /// A value without a tag.
    #[must_use]
    pub fn new(value: Value, at: Position) -> Self {
        Self { value, at, tag: None }
    }

    /// A string.
    #[must_use]
    pub fn string(text: impl Into<String>, at: Position) -> Self {
        Self::new(Value::Scalar(Scalar { text: text.into(), kind: ScalarKind::String }), at)
    }

    /// An integer.
    #[must_use]
    pub fn int(number: i64, at: Position) -> Self {
        let kind = ScalarKind::Int(number);
        Self::new(Value::Scalar(Scalar { text: number.to_string(), kind }), at)
    }

    /// A boolean.
    #[must_use]
    pub fn bool(truth: bool, at: Position) -> Self {
        let kind = ScalarKind::Bool(truth);
        Self::new(Value::Scalar(Scalar { text: truth.to_string(), kind }), at)
    }

    /// The mapping, if it is one.
    #[must_use]
    pub fn as_map(&self) -> Option<&Map> {
        match &self.value {
            Value::Map(map) => Some(map),
            Value::Null | Value::Scalar(_) | Value::List(_) => None,
        }
    }

    /// The mapping, if it is one, to change.
    pub fn as_map_mut(&mut self) -> Option<&mut Map> {
        match &mut self.value {
            Value::Map(map) => Some(map),
            Value::Null | Value::Scalar(_) | Value::List(_) => None,
        }
    }

    /// The list, if it is one.
    #[must_use]
    pub fn as_list(&self) -> Option<&[Node]> {
        match &self.value {
            Value::List(list) => Some(list),
            Value::Null | Value::Scalar(_) | Value::Map(_) => None,
        }
    }

    /// The raw text, if it is a scalar of whatever kind.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) => Some(&scalar.text),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// The value under a key, if this is a mapping that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.as_map()?.get(key).map(|entry| &entry.node)
    }

    /// What a message calls this kind of value.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "null",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
            Value::Scalar(scalar) => match scalar.kind {
                ScalarKind::String => "a string",
                ScalarKind::Bool(_) => "a boolean",
                ScalarKind::Int(_) => "an integer",
                ScalarKind::Float(_) => "a number",
            },
        }
    }
}

/// Where in the tree a value is: `services.web.ports[0]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path(Vec<Step>);

/// One step down the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step<K = String> {
    /// Into a mapping.
    Key(K),
    /// Into a list.
    Index(usize),
}

/// The way to a value that is being looked at. Each step borrows the one before it, so that a walk
/// over a whole tree allocates nothing; only what is told of becomes a [`Path`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Trail<'a>(Option<(&'a Trail<'a>, Step<&'a str>)>);

impl<'a> Trail<'a> {
    /// The way to the value under `key`.
    #[must_use]
    pub fn key(&'a self, key: &'a str) -> Self {
        Self(Some((self, Step::Key(key))))
    }

    /// The way to the list's item `index`, from zero.
    #[must_use]
    pub fn index(&'a self, index: usize) -> Self {
        Self(Some((self, Step::Index(index))))
    }

    /// The key of the mapping that the value is in, if it is in one.
    #[must_use]
    pub fn last_key(&self) -> Option<&'a str> {
        match self.0?.1 {
            Step::Key(key) => Some(key),
            Step::Index(_) => None,
        }
    }
}

impl From<&Trail<'_>> for Path {
    fn from(trail: &Trail<'_>) -> Self {
        let steps = std::iter::successors(trail.0, |(before, _)| before.0);
        let mut path: Self = steps.map(|(_, step)| step).collect();
        path.0.reverse();
        path
    }
}

impl From<&Path> for Path {
    fn from(path: &Path) -> Self {
        path.clone()
    }
}

impl<'a> FromIterator<Step<&'a str>> for Path {
    fn from_iter<I: IntoIterator<Item = Step<&'a str>>>(steps: I) -> Self {
        let owned = |step| match step {
            Step::Key(key) => Step::Key(str::to_owned(key)),
            Step::Index(index) => Step::Index(index),
        };
        Self(steps.into_iter().map(owned).collect())
    }
}

impl Path {
    /// The path of the value under `key`.
    #[must_use]
    pub fn key(&self, key: impl Into<String>) -> Self {
        let mut steps = self.0.clone();
        steps.push(Step::Key(key.into()));
        Self(steps)
    }

    /// The path of the list's item `index`, from zero.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        let mut steps = self.0.clone();
        steps.push(Step::Index(index));
        Self(steps)
    }

    /// The steps from the root.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.0
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if depth == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}
