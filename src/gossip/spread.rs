//! Reaching everyone in a few network delays, with each member told about twice.
//!
//! Broadcast by division of the ring (El-Ansary, Alima, Brand, Haridi, 2003): who spreads something
//! divides the others, in the order of their ids, into a few spans, and hands each to its first member,
//! which divides the rest of it likewise. Every member gets one copy, after log(N) steps. Nothing is
//! agreed before: a delegate divides by what it knows, so members that only it has heard of are reached,
//! too. One lost message would lose a span, so everything is spread twice, from places chosen anew; what
//! is lost both times is found by anti-entropy.

use std::cmp::Ordering;

use super::packet::{DOT_BYTES_MAX, LISTS_BYTES_MAX, News, RUMOUR_BYTES_MAX};
use crate::model::{NodeId, Random};

/// Into how many spans one member divides: the cluster of a thousand is reached in three steps.
pub const FAN_OUT: usize = 16;

/// How often everything is spread.
pub const PASSES: usize = 2;

/// A part of the ring: so many places after one, around the end if need be. A place is an id's leading 32
/// bits; that two members share one is a chance of one in four billion, and costs a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// After this place.
    pub after: u32,
    /// So many.
    pub length: u32,
}

impl Span {
    /// The whole ring but one place, that of a member chosen to be told first, or this one's own.
    #[must_use]
    pub fn all(ring: &[NodeId], random: &mut Random) -> Self {
        let first = ring.get(random.below(ring.len())).copied().map_or(0, place);
        Self { after: first.wrapping_sub(1), length: u32::MAX }
    }

    /// Who is told passes it on to nobody.
    #[must_use]
    pub fn nobody() -> Self {
        Self { after: 0, length: 0 }
    }

    /// The members of a sorted ring that are in the span: where they begin, and how many they are.
    fn members(self, ring: &[NodeId]) -> (usize, usize) {
        let until = self.after.wrapping_add(self.length);
        let begin = ring.partition_point(|it| place(*it) <= self.after);
        let end = ring.partition_point(|it| place(*it) <= until);
        match until.cmp(&self.after) {
            Ordering::Greater => (begin, end - begin),
            Ordering::Equal => (begin, 0),
            Ordering::Less => (begin, ring.len() - begin + end),
        }
    }
}

/// An id's place in the ring.
fn place(node: NodeId) -> u32 {
    (node.0 >> 96) as u32
}

/// Who is told next, and for which part of the span each of them is responsible. `ring` is sorted.
#[must_use]
pub fn delegates(
    ring: &[NodeId],
    me: NodeId,
    span: Span,
    random: &mut Random,
) -> Vec<(NodeId, Span)> {
    let (begin, count) = span.members(ring);
    let member = |index: usize| ring.get((begin + index) % ring.len()).copied();
    let parts = FAN_OUT.min(count);
    let jitter = random.below(count.checked_div(parts).unwrap_or(0));
    let begins = |part: usize| match part {
        0 => 0,
        _ if part == parts => count,
        _ => count * part / parts + jitter,
    };
    let end = span.after.wrapping_add(span.length);
    let delegate = |part: usize| {
        // Whoever divides needs no copy; the next of the part has the rest.
        let mut indices = (begins(part)..begins(part + 1)).filter_map(member);
        let chosen = indices.find(|it| *it != me)?;
        let until = match member(begins(part + 1)) {
            Some(next) if part + 1 < parts => place(next).wrapping_sub(1),
            _ => end,
        };
        let after = place(chosen);
        Some((chosen, Span { after, length: until.wrapping_sub(after) }))
    };
    (0..parts).filter_map(delegate).collect()
}

/// Cuts news so that each piece fits into a packet.
#[must_use]
pub fn cut(news: News) -> Vec<News> {
    let mut pieces = vec![];
    let (mut piece, mut room) = (News::default(), LISTS_BYTES_MAX);
    let mut fit = |piece: &mut News, bytes: usize| {
        if room < bytes {
            pieces.push(std::mem::take(piece));
            room = LISTS_BYTES_MAX;
        }
        room -= bytes;
    };
    for rumour in news.rumours {
        fit(&mut piece, RUMOUR_BYTES_MAX);
        piece.rumours.push(rumour);
    }
    for dot in news.hints {
        fit(&mut piece, DOT_BYTES_MAX);
        piece.hints.push(dot);
    }
    for write in news.writes {
        fit(&mut piece, write.len() + 2);
        piece.writes.push(write);
    }
    if !piece.is_empty() {
        pieces.push(piece);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn ring(count: usize, seed: u64) -> Vec<NodeId> {
        let mut random = Random::new(seed);
        let mut ring: Vec<NodeId> = (0..count).map(|_| NodeId(random.id())).collect();
        ring.sort();
        ring
    }

    /// How often each member is told, and after how many steps the last.
    fn spread(ring: &[NodeId], origin: NodeId, seed: u64) -> (BTreeMap<NodeId, usize>, usize) {
        let mut random = Random::new(seed);
        let mut told = BTreeMap::new();
        let mut open = vec![(origin, Span::all(ring, &mut random), 0)];
        let mut steps = 0;
        while let Some((node, span, step)) = open.pop() {
            steps = steps.max(step);
            for (next, part) in delegates(ring, node, span, &mut random) {
                *told.entry(next).or_default() += 1;
                open.push((next, part, step + 1));
            }
        }
        (told, steps)
    }

    proptest! {
        #[test]
        fn everyone_else_is_told_exactly_once(count in 1..400_usize, seed: u64, origin: usize) {
            let ring = ring(count, seed);
            let origin = ring[origin % count];
            let (told, _) = spread(&ring, origin, seed);
            prop_assert!(told.values().all(|it| *it == 1));
            // Who began may be told too, where it is not the first of its part.
            let others = told.keys().filter(|it| **it != origin).count();
            prop_assert_eq!(others, count - 1);
        }
    }

    #[test]
    fn a_thousand_are_reached_in_a_few_steps() {
        let ring = ring(1_024, 7);
        let (told, steps) = spread(&ring, ring[99], 7);
        assert!(1_023 <= told.len() && steps <= 4, "{steps}");
    }

    #[test]
    fn a_member_that_only_a_delegate_knows_is_told_too() {
        let known = ring(100, 3);
        let (mut random, origin) = (Random::new(1), known[0]);
        let newcomer = NodeId(known[50].0 + 1);
        let mut wider = known.clone();
        wider.insert(51, newcomer);
        let mut told = 0;
        let mut open = vec![(origin, Span::all(&known, &mut random), &known)];
        while let Some((node, span, view)) = open.pop() {
            for (next, part) in delegates(view, node, span, &mut random) {
                told += usize::from(next == newcomer);
                open.push((next, part, &wider));
            }
        }
        assert_eq!(told, 1);
    }
}
