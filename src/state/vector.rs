//! How far each writer's writes are known.

use super::{
    clock::{Dot, ReplicaId},
    digest::{Buckets, bucket_of},
};

/// All writes of each writer up to a number: one dot for each, sorted by writer.
///
/// A sorted list, because most are short: what the writer of a key had seen of others has seldom
/// more than a few entries, and there is one for each write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionVector(Vec<Dot>);

impl VersionVector {
    /// The vector of these dots; none if they are not sorted by writer, one for each.
    pub(super) fn from_sorted(dots: Vec<Dot>) -> Option<Self> {
        dots.is_sorted_by(|a, b| a.replica < b.replica).then_some(Self(dots))
    }

    /// The last write of a writer; 0 for none.
    #[must_use]
    pub fn last(&self, replica: ReplicaId) -> u64 {
        self.place(replica).map_or(0, |at| self.0[at].sequence)
    }

    /// Whether a write is among them.
    #[must_use]
    pub fn has(&self, dot: Dot) -> bool {
        dot.sequence <= self.last(dot.replica)
    }

    /// Whether every write of another vector is among them.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        // Both are sorted: one walk finds all.
        let mut mine = self.0.iter().peekable();
        other.0.iter().all(|dot| {
            while mine.next_if(|it| it.replica < dot.replica).is_some() {}
            let last = mine.peek().filter(|it| it.replica == dot.replica);
            dot.sequence <= last.map_or(0, |it| it.sequence)
        })
    }

    /// Takes in a write, and with it all earlier ones of its writer.
    pub fn see(&mut self, dot: Dot) {
        match self.place(dot.replica) {
            Ok(at) => self.0[at].sequence = self.0[at].sequence.max(dot.sequence),
            Err(at) => self.0.insert(at, dot),
        }
    }

    /// Takes in every write of another vector.
    pub fn join(&mut self, other: &Self) {
        for &dot in &other.0 {
            self.see(dot);
        }
    }

    /// The part of it that is about writers in some buckets.
    #[must_use]
    pub fn within(&self, buckets: Buckets) -> Self {
        Self(self.0.iter().filter(|it| buckets.has(bucket_of(it.replica))).copied().collect())
    }

    /// A peer's whole vector, from the part of it in those buckets that differ from this one: in all
    /// others it is as this one. Needs no more of the peer than what differs.
    #[must_use]
    pub fn completed(&self, buckets: Buckets, part: &Self) -> Self {
        let alike = self.0.iter().filter(|it| !buckets.has(bucket_of(it.replica))).copied();
        alike.chain(part.0.iter().copied()).collect()
    }

    /// Takes out a writer.
    pub(super) fn leave_out(&mut self, replica: ReplicaId) {
        self.0.retain(|dot| dot.replica != replica);
    }

    /// The last write of every writer, in the order of the writers.
    pub fn iter(&self) -> impl Iterator<Item = Dot> + '_ {
        self.0.iter().copied()
    }

    fn place(&self, replica: ReplicaId) -> Result<usize, usize> {
        self.0.binary_search_by_key(&replica, |dot| dot.replica)
    }
}

impl FromIterator<Dot> for VersionVector {
    fn from_iter<I: IntoIterator<Item = Dot>>(dots: I) -> Self {
        let mut vector = Self::default();
        for dot in dots {
            vector.see(dot);
        }
        vector
    }
}
