//! The causal context: which writes this state has seen, and where those that stand are.
//!
//! A write was seen if the version vector has it, or if it came out of order and either stands, so
//! that it is in the index, or is over, so that it is in the cloud. As gaps fill, the vector takes
//! both in. (Almeida, Shoker, Baquero, 2018, section 7.2, with what stands kept out of the cloud: it
//! is there already, so only what is over needs a bound.)

use std::{collections::BTreeSet, sync::Arc};

use rpds::RedBlackTreeMapSync;

use super::{
    change::Place,
    clock::{Dot, ReplicaId},
    digest::Sums,
    dotted_map::Fate,
    step::Step,
    vector::VersionVector,
};

/// How many writes that came out of order and are over may wait for those before them.
pub const CLOUD_DOTS_MAX: usize = 4096;

/// What was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Context {
    /// Shared with whoever remembers that a peer has seen the same; copied when it moves on.
    seen: Arc<VersionVector>,
    sums: Sums,
    /// The writes that stand, and where.
    live: RedBlackTreeMapSync<Dot, Place>,
    /// Those of them that are beyond the vector.
    ahead: BTreeSet<Dot>,
    /// Writes beyond the vector that no longer stand.
    cloud: BTreeSet<Dot>,
}

impl Context {
    pub(super) fn seen(&self) -> &Arc<VersionVector> {
        &self.seen
    }

    pub(super) fn sums(&self) -> &Sums {
        &self.sums
    }

    pub(super) fn live(&self) -> &RedBlackTreeMapSync<Dot, Place> {
        &self.live
    }

    /// Who wrote what stands beyond the vector; some more than once.
    pub(super) fn writers_ahead(&self) -> impl Iterator<Item = ReplicaId> + '_ {
        self.ahead.iter().map(|dot| dot.replica)
    }

    /// Whether a write was seen.
    pub(super) fn has(&self, dot: Dot) -> bool {
        self.seen.has(dot) || self.live.contains_key(&dot) || self.cloud.contains(&dot)
    }

    /// The highest number seen of a writer, whether or not those before it were.
    pub(super) fn highest(&self, replica: ReplicaId) -> u64 {
        let of_it = Dot { replica, sequence: 0 }..=Dot { replica, sequence: u64::MAX };
        let live = self.live.range(of_it.clone()).next_back().map_or(0, |(dot, _)| dot.sequence);
        let cloud = self.cloud.range(of_it).next_back().map_or(0, |dot| dot.sequence);
        self.seen.last(replica).max(live).max(cloud)
    }

    /// Whether a write came before those that it comes after.
    pub(super) fn has_gaps(&self) -> bool {
        !self.cloud.is_empty() || !self.ahead.is_empty()
    }

    /// Whether the cloud can take what a write leaves there.
    pub(super) fn has_room(&self, dot: Dot, fate: &Fate) -> bool {
        let is_next = dot.sequence == self.seen.last(dot.replica) + 1;
        let own = usize::from(!fate.kept && !is_next);
        let ended = fate.ended.iter().filter(|it| !self.seen.has(**it)).count();
        own + ended == 0 || self.cloud.len() + own + ended <= CLOUD_DOTS_MAX
    }

    /// Notes a write as seen. It stands at its place, or is over already.
    pub(super) fn note(&mut self, dot: Dot, place: Option<Place>, step: &mut Step) {
        if let Some(place) = place {
            self.restore_live(dot, place);
        } else if !self.seen.has(dot) {
            self.cloud.insert(dot);
            step.clouded.push(dot);
        }
        self.advance(dot.replica, self.seen.last(dot.replica), step);
    }

    /// Notes that a write is over.
    pub(super) fn end(&mut self, dot: Dot, step: &mut Step) {
        self.ahead.remove(&dot);
        if self.live.remove_mut(&dot) && !self.seen.has(dot) {
            self.cloud.insert(dot);
            step.clouded.push(dot);
        }
    }

    /// Takes in everything that a vector has.
    pub(super) fn join(&mut self, vector: &VersionVector, step: &mut Step) {
        for dot in vector.iter().filter(|it| 0 < it.sequence) {
            self.advance(dot.replica, dot.sequence, step);
        }
    }

    /// Moves the vector on to `least` and past everything that follows without a gap.
    fn advance(&mut self, replica: ReplicaId, least: u64, step: &mut Step) {
        let before = self.seen.last(replica);
        let mut last = before.max(least);
        loop {
            let next = Dot { replica, sequence: last + 1 };
            if !self.live.contains_key(&next) && !self.cloud.contains(&next) {
                break;
            }
            last = next.sequence;
        }
        if before < last {
            let dot = Dot { replica, sequence: last };
            self.set(dot);
            step.seen.push(dot);
            self.clear_cloud(dot, step);
        }
    }

    /// The vector speaks for what it has reached.
    fn clear_cloud(&mut self, dot: Dot, step: &mut Step) {
        let first = Dot { sequence: 0, ..dot };
        let reached: Vec<Dot> = self.cloud.range(first..=dot).copied().collect();
        for dot in reached {
            self.cloud.remove(&dot);
            step.filled.push(dot);
        }
    }

    fn set(&mut self, dot: Dot) {
        self.sums.replace(dot.replica, self.seen.last(dot.replica), dot.sequence);
        Arc::make_mut(&mut self.seen).see(dot);
        let first = Dot { sequence: 0, ..dot };
        while let Some(&reached) = self.ahead.range(first..=dot).next() {
            self.ahead.remove(&reached);
        }
    }

    /// The writes that stand and that a vector does not have, by writer and number. Looks at no
    /// others, however many there are.
    pub(super) fn since<'a>(
        &'a self,
        vector: &'a VersionVector,
    ) -> impl Iterator<Item = (Dot, &'a Place)> {
        self.writers().flat_map(move |it| self.beyond(it, vector.last(it)))
    }

    /// Everyone of whom a write stands. Skips from writer to writer.
    fn writers(&self) -> impl Iterator<Item = ReplicaId> + '_ {
        let first = self.live.keys().next().map(|dot| dot.replica);
        std::iter::successors(first, |&replica| {
            let last = Dot { replica, sequence: u64::MAX };
            let after = (std::ops::Bound::Excluded(last), std::ops::Bound::Unbounded);
            self.live.range(after).next().map(|(dot, _)| dot.replica)
        })
    }

    /// The writes of a writer after a number that stand.
    fn beyond(&self, replica: ReplicaId, last: u64) -> impl Iterator<Item = (Dot, &Place)> {
        let first = Dot { replica, sequence: last.saturating_add(1) };
        let end = Dot { replica, sequence: u64::MAX };
        self.live.range(first..=end).map(|(&dot, place)| (dot, place))
    }

    /// Takes in what the disk says of the vector.
    pub(super) fn restore_seen(&mut self, dot: Dot) {
        self.set(dot);
    }

    /// Takes in what the disk says of the cloud.
    pub(super) fn restore_cloud(&mut self, dot: Dot) {
        self.cloud.insert(dot);
    }

    /// Takes in where a write stands, as the disk says.
    pub(super) fn restore_live(&mut self, dot: Dot, place: Place) {
        if !self.seen.has(dot) {
            self.ahead.insert(dot);
        }
        self.live.insert_mut(dot, place);
    }
}
