//! Anti-entropy in packets: two members find out what the one has seen and the other has not, and tell
//! each other just that.
//!
//! Four steps, each a few packets at the most: what each bucket of my version vector comes to; what you
//! have seen where that differs; what you lack of mine, and what I have seen there; what I lack of yours.
//! Nothing is repeated. If a packet is lost, what came is kept, and the next pair whose digests differ
//! goes on from there. What is too much for packets is fetched by stream.
//!
//! Both sides note their vector when the buckets are compared. Where buckets are equal, the peer has what
//! this one had *then*; its present vector would claim too much.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::packet::{LISTS_BYTES_MAX, Packet, Part, Sum, WRITE_BYTES_MAX};
use crate::{
    model::{Millis, Moment, NodeId},
    state::{BUCKETS, Buckets, ClusterState, Dot, ReplicaId, VersionVector, Write, encode_write},
};

/// How much a peer may lack before it is to fetch it by stream.
const DELTA_BYTES_MAX: usize = 16 << 10;

/// How many writers' numbers fit beside nothing else, and beside writes.
const PART_DOTS_MAX: usize = 56;

/// How long an exchange may take, and how many may be under way.
const EXCHANGE_MAX: Millis = Millis(2_000);
const EXCHANGES_MAX: usize = 64;

/// Packets of writes in one direction.
const PACKETS_MAX: u16 = 64;

/// Everything that is being compared.
#[derive(Clone, Debug, Default)]
pub(super) struct Exchanges {
    numbers: u16,
    open: BTreeMap<Talk, Exchange>,
}

/// Which comparison: with whom, its number, and who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Talk {
    peer: NodeId,
    number: u16,
    side: Side,
}

/// Who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    Mine,
    Theirs,
}

impl Talk {
    /// One that this member began.
    pub(super) fn mine(peer: NodeId, number: u16) -> Self {
        Self { peer, number, side: Side::Mine }
    }

    /// One that the peer began.
    pub(super) fn theirs(peer: NodeId, number: u16) -> Self {
        Self { peer, number, side: Side::Theirs }
    }

    /// One of which a peer tells writes: back to who began it, or from there.
    pub(super) fn told(peer: NodeId, number: u16, back: bool) -> Self {
        if back { Self::mine(peer, number) } else { Self::theirs(peer, number) }
    }
}

/// What a member holds a peer's words against.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mine<'a> {
    /// What it has.
    pub(super) state: &'a ClusterState,
    /// Others may rely on what it says of that when they collect removals.
    pub(super) vouched: bool,
}

/// One comparison with one peer.
#[derive(Clone, Debug)]
struct Exchange {
    /// What this member had seen when the buckets were compared.
    base: Arc<VersionVector>,
    until: Moment,
    /// What the peer's packets said so far.
    part: Option<Part>,
    came: BTreeSet<u16>,
    of: u16,
    refused: bool,
}

/// What a packet of an exchange leads to.
#[derive(Clone, Debug, Default)]
pub(super) struct Turn {
    /// Packets for the peer, of what is durable.
    pub(super) packets: Vec<Packet>,
    /// What the peer is known to have seen.
    pub(super) knows: Option<(VersionVector, bool)>,
    /// Writes to take in.
    pub(super) writes: Vec<Vec<u8>>,
    /// The peer has more than packets hold.
    pub(super) fetch: bool,
}

impl Exchanges {
    /// Begins one.
    pub(super) fn begin(
        &mut self,
        peer: NodeId,
        fresh: bool,
        state: &ClusterState,
        now: Moment,
    ) -> Packet {
        let fresh = fresh.then(|| state.replica());
        self.numbers = self.numbers.wrapping_add(1);
        let number = self.numbers;
        self.note(Talk::mine(peer, number), state, now);
        Packet::Compare { number, fresh, sums: sums(state) }
    }

    /// A peer asks how this member's buckets differ from its own.
    pub(super) fn compared(
        &mut self,
        talk: Talk,
        theirs: &[(u8, Sum)],
        fresh: Option<ReplicaId>,
        mine: Mine<'_>,
        now: Moment,
    ) -> Turn {
        let theirs: BTreeMap<usize, Sum> =
            theirs.iter().map(|(bucket, sum)| (usize::from(*bucket) % BUCKETS, *sum)).collect();
        let ours: BTreeMap<usize, Sum> =
            sums(mine.state).into_iter().map(|(bucket, sum)| (usize::from(bucket), sum)).collect();
        let differing = (0..BUCKETS).filter(|it| theirs.get(it) != ours.get(it));
        let (part, more) = part(mine, differing);
        self.note(talk, mine.state, now);
        let yours = fresh.map_or(0, |it| mine.state.last_seen_of(it));
        let packet = Packet::Differ { number: talk.number, part, more, yours };
        Turn { packets: vec![packet], ..Turn::default() }
    }

    /// A peer says what it has seen where it differs.
    pub(super) fn differs(&mut self, talk: Talk, part: &Part, more: bool, mine: Mine<'_>) -> Turn {
        let Some(exchange) = self.open.get(&talk) else { return Turn::default() };
        let theirs = exchange.base.completed(part.buckets, &part.seen);
        let knows = (!more).then(|| (theirs.clone(), part.vouched));
        if more || part.buckets == Buckets(0) {
            self.open.remove(&talk);
            // Too much to name differs: both sides fetch. Nothing differs: nothing is to be done.
            let refer = Packet::Refer { number: talk.number };
            let packets = if more { vec![refer] } else { vec![] };
            return Turn { packets, knows, fetch: more, writes: vec![] };
        }
        let packets = told(talk, &theirs, part.buckets, mine);
        Turn { packets, knows, ..Turn::default() }
    }

    /// A peer says what this member lacks.
    pub(super) fn writes(
        &mut self,
        talk: Talk,
        (index, of): (u16, u16),
        part: Option<Part>,
        writes: Vec<Vec<u8>>,
        mine: Mine<'_>,
    ) -> Turn {
        let Some(exchange) = self.open.get_mut(&talk) else {
            return Turn { writes, ..Turn::default() };
        };
        if of == 0 || PACKETS_MAX < of || of <= index {
            return Turn::default();
        }
        exchange.of = of;
        exchange.came.insert(index);
        let mut turn = Turn { writes, ..Turn::default() };
        let Some(part) = part else { return turn };
        let theirs = exchange.base.completed(part.buckets, &part.seen);
        turn.knows = Some((theirs.clone(), part.vouched));
        if talk.side == Side::Theirs {
            turn.packets = told(talk, &theirs, part.buckets, mine);
        }
        exchange.part = Some(part);
        turn
    }

    /// A write of an exchange was not taken in: it must not end as if it had been.
    pub(super) fn refused(&mut self, talk: Talk) {
        if let Some(exchange) = self.open.get_mut(&talk) {
            exchange.refused = true;
        }
    }

    /// What may be joined, once all of an exchange's writes were taken in: it is over then.
    pub(super) fn whole(&mut self, talk: Talk) -> Option<VersionVector> {
        let exchange = self.open.get(&talk)?;
        let whole = exchange.came.len() == usize::from(exchange.of) && !exchange.refused;
        if !whole {
            return None;
        }
        Some(self.open.remove(&talk)?.part?.seen)
    }

    /// A peer says that what this member lacks is too much for packets.
    pub(super) fn referred(&mut self, peer: NodeId, number: u16) -> bool {
        let mine = self.open.remove(&Talk::mine(peer, number)).is_some();
        self.open.remove(&Talk::theirs(peer, number)).is_some() || mine
    }

    fn note(&mut self, talk: Talk, state: &ClusterState, now: Moment) {
        self.open.retain(|_, it| now < it.until);
        if EXCHANGES_MAX <= self.open.len() {
            self.open.pop_first();
        }
        let exchange = Exchange {
            base: state.seen_shared(),
            until: now + EXCHANGE_MAX,
            part: None,
            came: BTreeSet::new(),
            of: 0,
            refused: false,
        };
        self.open.insert(talk, exchange);
    }
}

/// The packets that tell a peer what it lacks.
fn told(talk: Talk, theirs: &VersionVector, buckets: Buckets, mine: Mine<'_>) -> Vec<Packet> {
    let Mine { state, vouched } = mine;
    // Who was asked tells back.
    let (number, back) = (talk.number, talk.side == Side::Theirs);
    let refer = || vec![Packet::Refer { number }];
    let seen = state.seen().within(buckets);
    if PART_DOTS_MAX < seen.iter().count() || !state.can_serve(theirs) {
        return refer();
    }
    let part_bytes = 16 + 18 * seen.iter().count();
    let (mut lists, mut room, mut total) = (vec![vec![]], LISTS_BYTES_MAX - part_bytes, 0);
    for write in state.delta_since(theirs) {
        let Ok(bytes) = encode_write(&write) else { return refer() };
        total += bytes.len();
        if WRITE_BYTES_MAX < bytes.len() || DELTA_BYTES_MAX < total {
            return refer();
        }
        if room < bytes.len() + 2 {
            lists.push(vec![]);
            room = LISTS_BYTES_MAX;
        }
        room -= bytes.len() + 2;
        if let Some(list) = lists.last_mut() {
            list.push(bytes);
        }
    }
    let of = u16::try_from(lists.len()).unwrap_or(u16::MAX);
    let mut part = Some(Part { buckets, seen, vouched });
    let numbered = lists.into_iter().zip(0..);
    let packet =
        |(writes, index)| Packet::Writes { number, back, index, of, part: part.take(), writes };
    numbered.map(packet).collect()
}

/// What each bucket comes to, without those that are empty.
fn sums(state: &ClusterState) -> Vec<(u8, Sum)> {
    let digests = state.bucket_digests().into_iter().zip(0..);
    let filled = digests.filter(|(digest, _)| *digest != [0; 16]);
    filled.map(|([a, b, c, d, e, f, ..], bucket)| (bucket, [a, b, c, d, e, f])).collect()
}

/// What was seen in some buckets, as many of them as fit, and whether there are more.
fn part(mine: Mine<'_>, buckets: impl Iterator<Item = usize>) -> (Part, bool) {
    let mut part = Part { vouched: mine.vouched, ..Part::default() };
    for bucket in buckets {
        let wider = part.buckets.with(bucket);
        let seen = mine.state.seen().within(wider);
        if PART_DOTS_MAX < seen.iter().count() {
            return (part, true);
        }
        (part.buckets, part.seen) = (wider, seen);
    }
    (part, false)
}

/// The writes of a list that fit into packets, and the dots of the others.
pub(super) fn by_length(writes: &[Write]) -> (Vec<Vec<u8>>, Vec<Dot>) {
    let (mut short, mut long) = (vec![], vec![]);
    for write in writes {
        match encode_write(write) {
            Ok(bytes) if bytes.len() <= WRITE_BYTES_MAX => short.push(bytes),
            Ok(_) | Err(_) => long.push(write.dot),
        }
    }
    (short, long)
}
