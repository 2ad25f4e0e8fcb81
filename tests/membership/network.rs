//! A virtual network: everything that is on its way, in the order of its arrival, from one seed.
//!
//! Latency one way is even in 0.2 to 1 ms, as the figures of our peers were taken; loss is independent.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

use fizz::model::Random;

/// Microseconds of virtual time.
pub(crate) type Micros = u64;

/// IPv4 and UDP headers.
pub(crate) const HEADER_BYTES: u64 = 28;

const LATENCY_MIN: Micros = 200;
const LATENCY_SPREAD: Micros = 800;

/// After which a stream's side sends again what was lost: the least of Linux's timeouts.
const RETRANSMIT: Micros = 200_000;

/// What is on its way, or due.
#[derive(Debug)]
struct Event<P> {
    at: Micros,
    order: u64,
    what: What<P>,
}

/// What happens next.
#[derive(Debug)]
pub(crate) enum What<P> {
    /// A packet arrives.
    Packet {
        /// From this node.
        from: usize,
        /// At this one.
        to: usize,
        /// The packet.
        packet: P,
    },
    /// A node wanted to be woken.
    Wake(usize),
}

/// The network, and its clock.
pub(crate) struct Network<P> {
    /// Now.
    pub(crate) now: Micros,
    /// Packets lost of a thousand.
    pub(crate) loss_permille: u64,
    /// Which side of a partition each node is on; none is 0.
    pub(crate) sides: BTreeMap<usize, u8>,
    /// Packets and bytes sent, headers and sealing included.
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    queue: BinaryHeap<Reverse<Event<P>>>,
    order: u64,
    random: Random,
    wakes: Vec<Micros>,
}

impl<P> PartialEq for Event<P> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<P> Eq for Event<P> {}

impl<P> PartialOrd for Event<P> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<P> Ord for Event<P> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

impl<P> Network<P> {
    pub(crate) fn new(nodes: usize, seed: u64) -> Self {
        Self {
            now: 0,
            loss_permille: 0,
            sides: BTreeMap::new(),
            packets: 0,
            bytes: 0,
            queue: BinaryHeap::new(),
            order: 0,
            random: Random::new(seed ^ 0x6e65_7477_6f72_6b00),
            wakes: vec![Micros::MAX; nodes],
        }
    }

    /// Sends a packet of so many bytes, without the headers.
    pub(crate) fn send(&mut self, from: usize, to: usize, packet: P, bytes: u64) {
        self.packets += 1;
        self.bytes += bytes + HEADER_BYTES;
        let side = |it| self.sides.get(it).copied().unwrap_or(0);
        let lost = (self.random.below(1000) as u64) < self.loss_permille;
        if lost || side(&from) != side(&to) {
            return;
        }
        let latency = LATENCY_MIN + self.random.below(LATENCY_SPREAD as usize) as u64;
        self.push(self.now + latency, What::Packet { from, to, packet });
    }

    /// How long something takes to the other side of a stream.
    pub(crate) fn crossing(&mut self) -> Micros {
        LATENCY_MIN + self.random.below(LATENCY_SPREAD as usize) as u64 + self.held_up()
    }

    /// How long what is lost of a stream holds up all that follows.
    pub(crate) fn held_up(&mut self) -> Micros {
        let mut times = 0;
        while (self.random.below(1000) as u64) < self.loss_permille {
            times += 1;
        }
        times * RETRANSMIT
    }

    /// So many bytes of a stream are there after so long.
    pub(crate) fn stream(&mut self, from: usize, to: usize, packet: P, bytes: u64, after: Micros) {
        self.bytes += bytes;
        self.push(self.now + after, What::Packet { from, to, packet });
    }

    /// A node says something to itself, so much later: a timer.
    pub(crate) fn later(&mut self, node: usize, packet: P, after: Micros) {
        self.push(self.now + after, What::Packet { from: node, to: node, packet });
    }

    /// Wakes a node at a time, instead of at any other.
    pub(crate) fn wake(&mut self, node: usize, at: Micros) {
        if self.wakes[node] != at {
            self.wakes[node] = at;
            self.push(at.max(self.now), What::Wake(node));
        }
    }

    /// What happens next, up to a time; the clock follows.
    pub(crate) fn next(&mut self, until: Micros) -> Option<What<P>> {
        loop {
            if self.queue.peek().is_none_or(|it| until < it.0.at) {
                self.now = until;
                return None;
            }
            let event = self.queue.pop()?.0;
            self.now = event.at;
            match event.what {
                // It was put off meanwhile.
                What::Wake(node) if self.wakes[node] != event.at => {}
                What::Wake(node) => {
                    self.wakes[node] = Micros::MAX;
                    return Some(What::Wake(node));
                }
                packet @ What::Packet { .. } => return Some(packet),
            }
        }
    }

    fn push(&mut self, at: Micros, what: What<P>) {
        self.order += 1;
        self.queue.push(Reverse(Event { at, order: self.order, what }));
    }
}
