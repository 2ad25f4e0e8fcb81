//! The small language in which [`super::table`] says what a Compose file may hold.

/// What may be at a place.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// Anything.
    Any,
    /// Nothing.
    Null,
    /// A string.
    Text,
    /// A string that passes a test, and what to call such a string.
    Matching(fn(&str) -> bool, &'static str),
    /// One of these strings.
    Word(&'static [&'static str]),
    /// A string, or one of these kinds, which becomes a string.
    Spoken(&'static [Kind]),
    /// `true` or `false`.
    Bool,
    /// `true` or `false`, or a string that says one.
    Flag,
    /// An integer between two bounds, or a string that says one.
    Integer(i64, i64),
    /// An integer, not in quotes.
    Bare,
    /// A number, or a string that says one.
    Number,
    /// A length of time: `1m30s`.
    Duration,
    /// A number of bytes, at least this many: `512m`.
    Bytes(i64),
    /// A file mode in octal: `0440`.
    Mode,
    /// A number of devices, or `all`.
    Devices,
    /// A list.
    List(&'static Shape),
    /// A list in which nothing is twice.
    Set(&'static Shape),
    /// A mapping whose keys are names that the user chooses.
    Named(Names, &'static Shape),
    /// A mapping with these keys, and any that begins with `x-`.
    Keys(&'static [Key]),
    /// A mapping with these keys and no others.
    Closed(&'static [Key]),
    /// The first of these that takes this kind of value.
    OneOf(&'static [Shape]),
}

/// Further kinds of value that a [`Shape::Spoken`] takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An integer.
    Integer,
    /// Any number.
    Number,
    /// A boolean.
    Bool,
    /// Nothing, which stays nothing.
    Null,
}

/// What a user may choose as a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Letters, digits, `.`, `_` and `-`.
    Plain,
    /// Anything but nothing.
    Free,
}

/// One key of a mapping.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub shape: Shape,
    /// Whether it must be there.
    pub required: bool,
}

/// A key that may be there.
pub(super) const fn may(name: &'static str, shape: Shape) -> Key {
    Key { name, shape, required: false }
}

/// A key that must be there.
pub(super) const fn must(name: &'static str, shape: Shape) -> Key {
    Key { name, shape, required: true }
}
