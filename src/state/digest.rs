//! A version vector in sixteen bytes, so that two members see at a glance that they agree.
//!
//! The sum, modulo 2^128, of a hash of every entry (Bellare, Micciancio, 1997, "AdHASH"): the order
//! does not matter, and an entry that changes is taken out and put in again without looking at the
//! others. Members are authenticated, so nobody has a reason to search for collisions, and none
//! happen by chance.

use sha2::{Digest as _, Sha256};

use super::clock::{Dot, ReplicaId};

/// The number of buckets that writers are sorted into.
pub const BUCKETS: usize = 64;

/// What a vector, or a part of it, comes to.
pub type Digest = [u8; 16];

/// The sum of each bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sums([u128; BUCKETS]);

impl Default for Sums {
    fn default() -> Self {
        Self([0; BUCKETS])
    }
}

impl Sums {
    /// A writer's last write was `before`, 0 for none, and is `after`.
    pub(super) fn replace(&mut self, replica: ReplicaId, before: u64, after: u64) {
        let sum = &mut self.0[bucket_of(replica)];
        if before != 0 {
            *sum = sum.wrapping_sub(hash(Dot { replica, sequence: before }));
        }
        *sum = sum.wrapping_add(hash(Dot { replica, sequence: after }));
    }

    pub(super) fn whole(&self) -> Digest {
        self.0.iter().fold(0u128, |sum, bucket| sum.wrapping_add(*bucket)).to_be_bytes()
    }

    pub(super) fn buckets(&self) -> [Digest; BUCKETS] {
        self.0.map(u128::to_be_bytes)
    }
}

/// A set of buckets, a bit for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Buckets(pub u64);

impl Buckets {
    /// Whether a bucket is in it.
    #[must_use]
    pub fn has(self, bucket: usize) -> bool {
        self.0 >> (bucket % BUCKETS) & 1 == 1
    }

    /// With one more.
    #[must_use]
    pub fn with(self, bucket: usize) -> Self {
        Self(self.0 | 1 << (bucket % BUCKETS))
    }
}

impl FromIterator<usize> for Buckets {
    fn from_iter<I: IntoIterator<Item = usize>>(buckets: I) -> Self {
        buckets.into_iter().fold(Self::default(), Self::with)
    }
}

/// The bucket of a writer: the leading bits of its id, which is random.
#[must_use]
pub fn bucket_of(replica: ReplicaId) -> usize {
    usize::try_from(replica.0 >> (u64::BITS - BUCKETS.ilog2())).unwrap_or(0)
}

fn hash(dot: Dot) -> u128 {
    let hash = Sha256::new()
        .chain_update(dot.replica.0.to_be_bytes())
        .chain_update(dot.sequence.to_be_bytes())
        .finalize();
    hash.iter().take(16).fold(0, |number, &byte| (number << 8) | u128::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_in_which_entries_came_does_not_matter() {
        let (low, high) = (ReplicaId(7), ReplicaId(u64::MAX));
        let (mut one, mut other) = (Sums::default(), Sums::default());
        one.replace(low, 0, 1);
        one.replace(high, 0, 4);
        one.replace(low, 1, 2);
        other.replace(low, 0, 2);
        other.replace(high, 0, 4);
        assert_eq!(one, other);
        assert_eq!((bucket_of(low), bucket_of(high)), (0, BUCKETS - 1));
        assert_ne!(one.whole(), Sums::default().whole());
    }

    #[test]
    fn a_digest_is_the_same_in_every_release() {
        let mut sums = Sums::default();
        sums.replace(ReplicaId(1), 0, 2);
        assert_eq!(
            u128::from_be_bytes(sums.whole()),
            hash(Dot { replica: ReplicaId(1), sequence: 2 })
        );
        assert_eq!(
            format!("{:032x}", u128::from_be_bytes(sums.whole())),
            "8c7654ecfd7b0b623b803e2f4e02ad1c"
        );
    }
}
