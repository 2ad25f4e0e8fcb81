//! YAML text to a spanned tree, one for each document in it.
//!
//! Two passes, named as YAML 1.2 names them (chapter 3.1). *Compose* turns the parser's events into
//! a flat list of raw nodes in which an alias is an index; it never recurses, so nesting costs
//! nothing. [`construct`] turns that into [`Node`]s: it follows aliases, merges `<<`, resolves
//! scalars and spends the budgets that keep a hostile file from costing more than it weighs.

mod construct;
mod scalar;

use std::{borrow::Cow, collections::BTreeMap};

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag as YamlTag};

use super::{
    problem::Problems,
    tree::{Node, Path, Position, SourceId},
};

/// How many values one file may write: ten times what the largest projects that we know of have, and
/// decided in a tenth of a second.
pub const NODES_MAX: usize = 30_000;

/// How many documents one file may hold.
pub const DOCUMENTS_MAX: usize = 1000;

/// How many values one file may come to once its aliases are followed.
pub const EXPANDED_NODES_MAX: usize = 60_000;

/// How much memory the values of one document may take, as [`construct`] estimates it.
pub const TREE_BYTES_MAX: usize = 32 << 20;

/// How deep values may nest once aliases are followed.
pub const DEPTH_MAX: usize = 200;

/// One value before aliases are followed.
struct Raw<'a> {
    at: Position,
    /// Boxed, because few values have one and there are many values.
    tag: Option<Box<YamlTag>>,
    kind: RawKind<'a>,
}

enum RawKind<'a> {
    Scalar {
        text: Cow<'a, str>,
        plain: bool,
    },
    List(Vec<u32>),
    Map(Vec<(u32, u32)>),
    Alias(u32),
    /// An alias that a problem was already noted for.
    Unknown,
}

/// Reads every document of a text. `None` when it is not YAML or exceeds a budget; problems that
/// leave the rest readable, such as a key that is there twice, are only noted.
pub fn parse(bytes: &[u8], source: SourceId, problems: &mut Problems) -> Option<Vec<Node>> {
    let text = decode(bytes, source, problems)?;
    let options = granit_parser::options! {
        emit_comments: false,
        emit_unresolved_aliases: true,
        block_scalar_eof_without_line_feed: true,
        flow_nesting_limit: DEPTH_MAX,
        block_nesting_limit: DEPTH_MAX,
    };
    let mut documents = Vec::new();
    let mut budget = NODES_MAX;
    let mut compose = Compose::new(source);
    for next in Parser::new_from_str_with_options(&text, options) {
        let (event, span) = match next {
            Ok(it) => it,
            Err(error) => {
                syntax_error(&error, source, problems);
                return None;
            }
        };
        if matches!(event, Event::DocumentEnd) {
            if documents.len() == DOCUMENTS_MAX {
                let at = position(source, span.start.line(), span.start.col() + 1);
                let message = format!("more than {DOCUMENTS_MAX} documents; split the file");
                problems.error(at, Path::default(), message);
                return None;
            }
            documents.push(construct::tree(&compose.nodes, problems)?);
            compose = Compose::new(source);
        } else {
            budget = compose.take(event, &span, budget, problems)?;
        }
    }
    Some(documents)
}

/// Whether a text can be written without quotes and still be read as a string.
#[must_use]
pub fn plain_is_string(text: &str) -> bool {
    scalar::is_string(text)
}

/// The text of a file: UTF-8, or UTF-16 where a byte order mark says so.
fn decode<'a>(bytes: &'a [u8], source: SourceId, problems: &mut Problems) -> Option<Cow<'a, str>> {
    let unit = match bytes {
        [0xff, 0xfe, ..] => Some(u16::from_le_bytes as fn([u8; 2]) -> u16),
        [0xfe, 0xff, ..] => Some(u16::from_be_bytes as fn([u8; 2]) -> u16),
        _ => None,
    };
    if let Some(unit) = unit {
        let units = bytes[2..].chunks_exact(2).map(|it| unit([it[0], it[1]]));
        if let Ok(text) = char::decode_utf16(units).collect::<Result<String, _>>() {
            return Some(text.into());
        }
        let at = Position { source, line: 1, column: 1 };
        problems.error(at, Path::default(), "this is not valid UTF-16; save the file as UTF-8");
        return None;
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text.into()),
        Err(error) => {
            let good = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            let line = good.matches('\n').count() + 1;
            let column = good.rsplit('\n').next().map_or(0, |it| it.chars().count()) + 1;
            let at = position(source, line, column);
            problems.error(at, Path::default(), "this is not valid UTF-8; save the file as UTF-8");
            None
        }
    }
}

fn position(source: SourceId, line: usize, column: usize) -> Position {
    let narrow = |it: usize| u32::try_from(it).unwrap_or(u32::MAX);
    Position { source, line: narrow(line), column: narrow(column) }
}

fn syntax_error(error: &ScanError, source: SourceId, problems: &mut Problems) {
    let at = position(source, error.marker().line(), error.marker().col() + 1);
    let message = format!("this is not valid YAML: {}", error.info());
    problems.error(at, Path::default(), message);
}

/// The first pass: the raw nodes of one document, its root first.
struct Compose<'a> {
    source: SourceId,
    nodes: Vec<Raw<'a>>,
    open: Vec<Open>,
    anchors: BTreeMap<usize, u32>,
}

/// A collection whose end has not been seen.
struct Open {
    index: u32,
    /// In a mapping, the key whose value comes next.
    key: Option<u32>,
}

impl<'a> Compose<'a> {
    fn new(source: SourceId) -> Self {
        Self { source, nodes: Vec::new(), open: Vec::new(), anchors: BTreeMap::new() }
    }

    /// Takes one event; returns what is left of the budget.
    fn take(
        &mut self,
        event: Event<'a>,
        span: &Span,
        budget: usize,
        problems: &mut Problems,
    ) -> Option<usize> {
        let at = position(self.source, span.start.line(), span.start.col() + 1);
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "only these events carry values, and the parser's enum is open to new ones"
        )]
        let (anchor, tag, kind, opens) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain;
                (anchor, tag, RawKind::Scalar { text, plain }, false)
            }
            Event::SequenceStart(_, anchor, tag) => (anchor, tag, RawKind::List(Vec::new()), true),
            Event::MappingStart(_, anchor, tag) => (anchor, tag, RawKind::Map(Vec::new()), true),
            Event::Alias(id) => (0, None, self.alias(id, at, problems), false),
            Event::UnresolvedAlias(name) => {
                let message = format!("alias *{name} has no anchor; write &{name} before it");
                problems.error(at, Path::default(), message);
                (0, None, RawKind::Unknown, false)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                self.open.pop();
                return Some(budget);
            }
            _ => return Some(budget),
        };
        if budget == 0 {
            let message = format!("the file has more than {NODES_MAX} values; split it");
            problems.error(at, Path::default(), message);
            return None;
        }
        let index = u32::try_from(self.nodes.len()).ok()?;
        let tag = tag.map(|it| Box::new(it.into_owned()));
        self.nodes.push(Raw { at, tag, kind });
        let is_value = self.attach(index);
        if anchor != 0 {
            self.anchors.insert(anchor, index);
        }
        if opens {
            self.open.push(Open { index, key: None });
        }
        Some(budget - usize::from(is_value))
    }

    /// Hangs a node into the innermost open collection. Returns whether it is a value, not a key.
    fn attach(&mut self, index: u32) -> bool {
        let Some(open) = self.open.last_mut() else { return true };
        match &mut self.nodes[open.index as usize].kind {
            RawKind::List(items) => items.push(index),
            RawKind::Map(entries) => match open.key.take() {
                Some(key) => entries.push((key, index)),
                None => {
                    open.key = Some(index);
                    return false;
                }
            },
            RawKind::Scalar { .. } | RawKind::Alias(_) | RawKind::Unknown => {}
        }
        true
    }

    fn alias(&self, id: usize, at: Position, problems: &mut Problems) -> RawKind<'a> {
        match self.anchors.get(&id) {
            Some(target) if self.open.iter().any(|it| it.index == *target) => {
                let anchor = self.nodes[*target as usize].at;
                let message = format!(
                    "cycle: this alias is inside the value that it stands for, which begins at \
                     line {}; move the anchor to a part that does not contain it",
                    anchor.line
                );
                problems.error(at, Path::default(), message);
                RawKind::Unknown
            }
            Some(target) => RawKind::Alias(*target),
            None => RawKind::Unknown,
        }
    }
}

#[cfg(test)]
mod tests;
