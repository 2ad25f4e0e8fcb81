//! What is on its way or due, in the order of its time.

use std::{cmp::Reverse, collections::BinaryHeap};

/// Microseconds of virtual time.
pub(crate) type Micros = u64;

pub(crate) const MILLI: Micros = 1_000;
pub(crate) const SECOND: Micros = 1_000_000;

struct Due<T> {
    at: Micros,
    order: u64,
    what: T,
}

/// What is due, and the time.
pub(crate) struct Queue<T> {
    pub(crate) now: Micros,
    heap: BinaryHeap<Reverse<Due<T>>>,
    order: u64,
}

impl<T> PartialEq for Due<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T> Eq for Due<T> {}

impl<T> PartialOrd for Due<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Due<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        Self { now: 0, heap: BinaryHeap::new(), order: 0 }
    }

    /// Puts something at a time; what is late is due now.
    pub(crate) fn put(&mut self, at: Micros, what: T) {
        self.order += 1;
        self.heap.push(Reverse(Due { at: at.max(self.now), order: self.order, what }));
    }

    /// What is due next, up to a time; the clock follows.
    pub(crate) fn next(&mut self, until: Micros) -> Option<T> {
        if self.heap.peek().is_none_or(|it| until < it.0.at) {
            self.now = until;
            return None;
        }
        let due = self.heap.pop()?.0;
        self.now = due.at;
        Some(due.what)
    }
}
