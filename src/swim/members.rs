//! Who is in the cluster, and in which order they are probed.
//!
//! SWIM probes at random. Here all members that see the same cluster agree, without talking, on a rotation:
//! in each period the wall clock gives a step, and every member probes the one that is so many places
//! after it in the order of ids. So each member is probed exactly once a period, instead of by one other
//! on average and by none in 37 of 100 periods. Steps run through all distances before one returns, which
//! keeps SWIM's bound that each pair meets within one round. Where clocks or views differ the rotation
//! is as good as a random choice, and never worse.

use indexmap::IndexMap;

use super::message::Incarnation;
use crate::model::{Moment, NodeId, NodeState, Random, WallTime, mix};

/// What is known of another member.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// At its start, by the state.
    pub(super) born: Incarnation,
    /// Its latest known.
    pub(super) incarnation: Incarnation,
    /// How it is.
    pub(super) state: NodeState,
    /// Since when.
    pub(super) since: Moment,
    /// How fast it answers.
    pub(super) trip: Trip,
    /// When the last question was sent that it has answered itself.
    pub(super) heard: Option<Moment>,
}

/// A member's round-trip time: smoothed, and its deviation (Jacobson 1988; RFC 6298), in eighths of a
/// millisecond.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Trip {
    smoothed: u32,
    deviation: u32,
    known: bool,
}

/// Ids are the output of a hash: their own bits are as good as any.
#[derive(Clone, Copy, Default)]
pub(super) struct IdHasher(u64);

impl std::hash::Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, id: u128) {
        self.0 = (id as u64) ^ ((id >> 64) as u64);
    }
}

type ById = IndexMap<NodeId, Member, std::hash::BuildHasherDefault<IdHasher>>;

/// The other members, and the ring of those that are probed, this one among them.
#[derive(Clone, Debug)]
pub(super) struct Members {
    me: NodeId,
    all: ById,
    ring: Vec<NodeId>,
}

impl Members {
    pub(super) fn new(me: NodeId) -> Self {
        Self { me, all: ById::default(), ring: vec![me] }
    }

    pub(super) fn get(&self, id: NodeId) -> Option<&Member> {
        self.all.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: NodeId) -> Option<&mut Member> {
        self.all.get_mut(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (NodeId, &Member)> {
        self.all.iter().map(|(id, member)| (*id, member))
    }

    /// Those that are alive or may be, this one among them, in the order of ids.
    pub(super) fn ring(&self) -> &[NodeId] {
        &self.ring
    }

    pub(super) fn insert(&mut self, id: NodeId, member: Member) {
        self.all.insert(id, member);
        self.place(id);
    }

    pub(super) fn remove(&mut self, id: NodeId) {
        self.all.swap_remove(&id);
        self.place(id);
    }

    /// Brings the ring up to date with a member's state.
    pub(super) fn place(&mut self, id: NodeId) {
        let belongs = self.all.get(&id).is_some_and(|it| is_probed(it.state));
        match (self.ring.binary_search(&id), belongs) {
            (Err(place), true) => self.ring.insert(place, id),
            (Ok(place), false) => drop(self.ring.remove(place)),
            (Ok(_), true) | (Err(_), false) => {}
        }
    }

    /// Whom this member probes in a period.
    pub(super) fn target(&self, period: u64) -> Option<NodeId> {
        let count = self.ring.len();
        let others = count.checked_sub(1).filter(|it| 0 < *it)?;
        let place = self.ring.binary_search(&self.me).ok()?;
        self.ring.get((place + step(period, others)) % count).copied()
    }

    /// Those that come after a member in the ring, without this one: they watch it.
    pub(super) fn after(&self, id: NodeId, count: usize) -> impl Iterator<Item = NodeId> {
        let place = self.ring.partition_point(|it| *it <= id);
        let wrapped = self.ring.iter().skip(place).chain(self.ring.iter().take(place)).copied();
        wrapped.filter(move |it| *it != id).take(count)
    }

    /// So many alive members other than these two, at random.
    pub(super) fn some(&self, count: usize, but: NodeId, random: &mut Random) -> Vec<NodeId> {
        let mut chosen: Vec<NodeId> = vec![];
        // Most draws hit; in a small cluster a few more are needed than there are members.
        for _ in 0..count * 8 {
            let Some(&id) = self.ring.get(random.below(self.ring.len())) else { break };
            let alive = self.all.get(&id).is_some_and(|it| it.state == NodeState::Alive);
            if alive && id != but && !chosen.contains(&id) {
                chosen.push(id);
            }
            if chosen.len() == count {
                break;
            }
        }
        chosen
    }
}

/// Whether a member of this state is probed in the rounds.
fn is_probed(state: NodeState) -> bool {
    match state {
        NodeState::Alive | NodeState::Suspicious => true,
        NodeState::Joining | NodeState::Dead | NodeState::Left | NodeState::Failed => false,
    }
}

/// How far the member probed in a period is from its prober: 1 to `others`, each once before one comes
/// again.
fn step(period: u64, others: usize) -> usize {
    let others = others as u64;
    let (cycle, turn) = (period / others, period % others);
    let factor = coprime(mix(cycle), others);
    let walked = u128::from(turn) * u128::from(factor) + u128::from(mix(!cycle) % others);
    (walked % u128::from(others)) as usize + 1
}

/// A number that shares no divisor with another, from a start.
fn coprime(start: u64, with: u64) -> u64 {
    let mut candidate = start % with;
    while divisor(candidate, with) != 1 {
        candidate = (candidate + 1) % with;
        if with == 1 {
            break;
        }
    }
    candidate
}

fn divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { divisor(b, a % b) }
}

/// The period of a wall time, and how far into it that is.
pub(super) fn period_of(wall: WallTime, period: u64, phase: u64) -> (u64, u64) {
    let shifted = wall.0.saturating_sub(phase);
    (shifted / period, shifted % period)
}

impl Trip {
    /// Takes in one answer's time.
    pub(super) fn learn(&mut self, millis: u64) {
        let sample = u32::try_from(millis.min(60_000)).unwrap_or(60_000) * 8;
        if self.known {
            let off = self.smoothed.abs_diff(sample);
            self.deviation = self.deviation - self.deviation / 4 + off / 4;
            self.smoothed = self.smoothed - self.smoothed / 8 + sample / 8;
        } else {
            *self = Self { smoothed: sample, deviation: sample / 2, known: true };
        }
    }

    /// How long an answer may take, in milliseconds; `None` while nothing is known.
    pub(super) fn patience(self) -> Option<u64> {
        self.known.then(|| u64::from(self.smoothed / 8 + self.deviation / 2 + 1))
    }

    /// In milliseconds, once known.
    pub(super) fn millis(self) -> Option<u64> {
        self.known.then(|| u64::from(self.smoothed / 8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn members(me: u128, count: u128) -> Members {
        let mut members = Members::new(NodeId(me));
        for id in (0..count).filter(|it| *it != me) {
            let member = Member {
                born: Incarnation(1),
                incarnation: Incarnation(1),
                state: NodeState::Alive,
                since: Moment(0),
                trip: Trip::default(),
                heard: None,
            };
            members.insert(NodeId(id), member);
        }
        members
    }

    #[test]
    fn in_each_period_everyone_is_probed_exactly_once() {
        for count in [2, 3, 8, 61] {
            let views: Vec<Members> = (0..count).map(|me| members(me, count)).collect();
            for period in 1_000..1_050 {
                let targets: BTreeSet<NodeId> =
                    views.iter().filter_map(|it| it.target(period)).collect();
                assert_eq!(targets.len() as u128, count);
            }
        }
    }

    #[test]
    fn within_one_cycle_a_member_probes_every_other_once() {
        for others in [1_u64, 2, 7, 12, 100] {
            let steps: BTreeSet<usize> =
                (0..others).map(|turn| step(others * 77 + turn, others as usize)).collect();
            assert_eq!(steps, (1..=others as usize).collect());
        }
    }

    #[test]
    fn a_member_alone_probes_nobody() {
        assert_eq!(members(3, 0).target(9), None);
    }

    #[test]
    fn watchers_are_the_next_in_the_ring_whoever_looks() {
        let seen_by = |me| members(me, 6).after(NodeId(4), 3).collect::<Vec<_>>();
        assert_eq!(seen_by(0), [NodeId(5), NodeId(0), NodeId(1)]);
        assert_eq!(seen_by(2), seen_by(0));
    }

    #[test]
    fn patience_follows_the_answers() {
        let mut trip = Trip::default();
        assert_eq!(trip.patience(), None);
        (0..50).for_each(|_| trip.learn(20));
        assert!((20..30).contains(&trip.patience().unwrap()), "{trip:?}");
        (0..4).for_each(|_| trip.learn(200));
        assert!(200 < trip.patience().unwrap(), "{trip:?}");
    }
}
