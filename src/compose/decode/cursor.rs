//! A place in the tree that is being decoded: it knows its path, so that every complaint says where.
//!
//! A place that is missing, or holds nothing, is a cursor too. It yields nothing and complains of
//! nothing, so that decoding reads as a list of wishes.

use std::{cell::RefCell, collections::BTreeMap, fmt::Display, str::FromStr};

use crate::{
    compose::{
        near,
        problem::Problems,
        tree::{Map, Node, Position, ScalarKind, Trail, Value},
    },
    model::InvalidName,
};

/// A place, and where to complain about it. It borrows the place that it was reached from.
#[derive(Clone, Copy)]
pub(in crate::compose) struct Cursor<'a> {
    /// `None`: nothing is there.
    node: Option<&'a Node>,
    /// Its own position, or that of what it is missing from.
    at: Position,
    path: Trail<'a>,
    problems: &'a RefCell<Problems>,
}

impl<'a> Cursor<'a> {
    /// The whole tree.
    pub(in crate::compose) fn root(node: &'a Node, problems: &'a RefCell<Problems>) -> Self {
        Self { node: Some(node), at: node.at, path: Trail::default(), problems }
    }

    /// The value under a key of a mapping.
    pub(in crate::compose) fn key<'b>(&'b self, key: &'b str) -> Cursor<'b> {
        let entry = self.node.and_then(Node::as_map).and_then(|map| map.get(key));
        let node = entry.map(|it| &it.node).filter(|node| node.value != Value::Null);
        let at = entry.map_or(self.at, |it| it.node.at);
        Cursor { node, at, path: self.path.key(key), problems: self.problems }
    }

    /// Whether something is there.
    pub(in crate::compose) fn is_set(&self) -> bool {
        self.node.is_some()
    }

    /// What is there, as it is.
    pub(in crate::compose) fn node(&self) -> Option<&'a Node> {
        self.node
    }

    /// The keys of a mapping and the places under them.
    pub(in crate::compose) fn members(&self) -> Vec<(&str, Cursor<'_>)> {
        self.entries().collect()
    }

    fn entries(&self) -> impl Iterator<Item = (&str, Cursor<'_>)> {
        let map = self.node.and_then(Node::as_map);
        if let (Some(node), None) = (self.node, map) {
            self.error(format!("is {}; it must be a mapping", node.kind()));
        }
        let keys = map.into_iter().flat_map(Map::keys);
        keys.map(|key| (key.as_str(), self.key(key)))
    }

    /// The items of a list.
    pub(in crate::compose) fn items(&self) -> Vec<Cursor<'_>> {
        self.listed().collect()
    }

    fn listed(&self) -> impl Iterator<Item = Cursor<'_>> {
        let list = self.node.and_then(Node::as_list);
        if let (Some(node), None) = (self.node, list) {
            self.error(format!("is {}; it must be a list", node.kind()));
        }
        list.unwrap_or_default().iter().enumerate().map(|(index, node)| Cursor {
            node: Some(node).filter(|node| node.value != Value::Null),
            at: node.at,
            path: self.path.index(index),
            problems: self.problems,
        })
    }

    /// The text of a single value of whatever kind.
    pub(in crate::compose) fn text(&self) -> Option<&'a str> {
        let node = self.node?;
        if node.as_text().is_none() {
            self.error(format!("is {}; it must be a single value", node.kind()));
        }
        node.as_text()
    }

    /// The text, if it is not empty: Compose takes an empty string for silence.
    pub(in crate::compose) fn string(&self) -> Option<String> {
        self.text().filter(|text| !text.is_empty()).map(str::to_owned)
    }

    /// A list of texts.
    pub(in crate::compose) fn strings(&self) -> Vec<String> {
        self.listed().filter_map(|item| item.text().map(str::to_owned)).collect()
    }

    /// A mapping to texts; a key without a value has an empty one.
    pub(in crate::compose) fn pairs(&self) -> BTreeMap<String, String> {
        let text = |place: Cursor<'_>| place.text().unwrap_or_default().to_owned();
        self.entries().map(|(key, place)| (key.to_owned(), text(place))).collect()
    }

    /// A mapping to texts, in which a key may have none.
    pub(in crate::compose) fn variables(&self) -> BTreeMap<String, Option<String>> {
        let text = |place: Cursor<'_>| place.text().map(str::to_owned);
        self.entries().map(|(key, place)| (key.to_owned(), text(place))).collect()
    }

    /// What `parse` makes of the text; `None` from it is an error, and `what` says what would have
    /// been right. Empty text is silence.
    pub(in crate::compose) fn parse<T>(
        &self,
        what: impl Display,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.text().filter(|text| !text.is_empty())?;
        let value = parse(text);
        if value.is_none() {
            self.error(format!("`{text}` is not {what}"));
        }
        value
    }

    /// One of a few words.
    pub(in crate::compose) fn word<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        let text = self.text().filter(|text| !text.is_empty())?;
        let value = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if value.is_none() {
            let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.error(format!("`{text}` is not known here; {}", near::choice(text, &names)));
        }
        value
    }

    /// A checked name.
    pub(in crate::compose) fn name<T: FromStr<Err = InvalidName>>(&self) -> Option<T> {
        let text = self.text().filter(|text| !text.is_empty())?;
        text.parse().map_err(|error: InvalidName| self.error(error.to_string())).ok()
    }

    /// A boolean; a string may say one.
    pub(in crate::compose) fn flag(&self) -> Option<bool> {
        if let Value::Scalar(scalar) = &self.node?.value
            && let ScalarKind::Bool(truth) = scalar.kind
        {
            return Some(truth);
        }
        self.parse("`true` or `false`", |text| text.parse().ok())
    }

    /// An integer between two bounds, both included.
    pub(in crate::compose) fn integer<T: TryFrom<i64>>(&self, min: i64, max: i64) -> Option<T> {
        let range = match max {
            i64::MAX => format!("an integer of at least {min}"),
            max => format!("an integer from {min} to {max}"),
        };
        self.parse(range, |text| {
            let number = text.parse().ok().filter(|it| (min..=max).contains(it))?;
            T::try_from(number).ok()
        })
    }

    /// Complains that what is here cannot be taken.
    pub(in crate::compose) fn error(&self, message: impl Into<String>) {
        self.problems.borrow_mut().error(self.at, &self.path, message);
    }

    /// Tells that what is here is taken, and has another effect than its writer may think.
    pub(in crate::compose) fn warn(&self, message: impl Into<String>) {
        self.problems.borrow_mut().warn(self.at, &self.path, message);
    }

    /// Complains about every key but these, with the one that was likely meant.
    pub(in crate::compose) fn only(&self, keys: &[&str]) {
        let members = self.node.and_then(Node::as_map).into_iter().flatten();
        for (key, entry) in members.filter(|(key, _)| !keys.contains(&key.as_str())) {
            let message = format!("there is no such key; {}", near::choice(key, keys));
            self.problems.borrow_mut().error(entry.key_at, &self.path.key(key), message);
        }
    }
}
