//! What is being fetched by stream, and what it will let this member pass on.

use std::collections::BTreeMap;

use super::spread::Span;
use crate::{
    model::{Millis, Moment, NodeId},
    state::Dot,
};

/// How long a hint waits for what it is about; then anti-entropy must find it.
const HINT_MAX: Millis = Millis(10_000);

/// Hints that wait at most.
const HINTS_MAX: usize = 1_024;

/// Everything that is being fetched.
#[derive(Clone, Debug, Default)]
pub(super) struct Fetches {
    open: BTreeMap<NodeId, Fetch>,
    hints: BTreeMap<Dot, Hint>,
}

/// What is being fetched from one member.
#[derive(Clone, Debug)]
pub(super) struct Fetch {
    began: Moment,
    /// This member enters the cluster by it.
    pub(super) enters: bool,
    /// Something of it was not taken in.
    pub(super) refused: bool,
    /// Something was hinted at after it began.
    pub(super) again: bool,
}

#[derive(Clone, Debug)]
struct Hint {
    came: Moment,
    spans: Vec<Span>,
}

impl Fetches {
    /// Whether something is to be fetched from a member now. If it is under way already, it is to be
    /// fetched once more: what is asked for may have come there since.
    pub(super) fn begin(&mut self, from: NodeId, now: Moment) -> bool {
        if let Some(open) = self.open.get_mut(&from) {
            open.again |= open.began < now;
            return false;
        }
        let fetch = Fetch { began: now, enters: false, refused: false, again: false };
        self.open.insert(from, fetch);
        true
    }

    /// Whether this member is to enter by a fetch from another one now.
    pub(super) fn begin_to_enter(&mut self, from: NodeId, now: Moment) -> bool {
        let begins = self.begin(from, now);
        if let Some(open) = self.open.get_mut(&from).filter(|_| begins) {
            open.enters = true;
        }
        begins
    }

    /// Whether anything is under way.
    pub(super) fn any(&self) -> bool {
        !self.open.is_empty()
    }

    /// Something that was fetched was not taken in.
    pub(super) fn refused(&mut self, from: NodeId) {
        if let Some(open) = self.open.get_mut(&from) {
            open.refused = true;
        }
    }

    /// A fetch is over.
    pub(super) fn end(&mut self, from: NodeId) -> Option<Fetch> {
        self.open.remove(&from)
    }

    /// A write is to be passed on within a span as soon as it is here.
    pub(super) fn hint(&mut self, dot: Dot, span: Span, now: Moment) {
        self.hints.retain(|_, it| now < it.came + HINT_MAX);
        if HINTS_MAX <= self.hints.len() {
            return;
        }
        self.hints.entry(dot).or_insert(Hint { came: now, spans: vec![] }).spans.push(span);
    }

    /// What has come of that which was hinted at.
    pub(super) fn came(&mut self, is_here: impl Fn(Dot) -> bool) -> Vec<(Dot, Vec<Span>)> {
        let here: Vec<Dot> = self.hints.keys().copied().filter(|it| is_here(*it)).collect();
        let take = |it| Some((it, self.hints.remove(&it)?.spans));
        here.into_iter().filter_map(take).collect()
    }
}
