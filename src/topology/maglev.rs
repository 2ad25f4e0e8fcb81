//! Which replica takes a connection, as a table that every node computes alike.
//!
//! Maglev (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, section 3.4):
//! each replica has an order of the table's slots of its own, and in turns takes the first free one in it. So each has
//! as many slots as the others, within one, and one that comes or goes takes few from the rest. With weights, a
//! replica's turns come as much more seldom as it weighs less than the heaviest.

use crate::model::mix;

/// A table's slots: a prime, so that each replica's order has all of them. For some ten replicas the shares differ by
/// one in a hundred.
pub const SLOTS: usize = 983;

/// A replica as the table sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Share {
    /// What it is called on all nodes.
    pub(super) hash: u64,
    /// Its part of the connections, compared with the others'.
    pub(super) weight: u16,
}

/// Each slot's replica, by its place among the given; none where none is given. Those that weigh nothing get no slot,
/// unless all do. In whichever order the shares are given, a slot is the same one's.
#[must_use]
pub(super) fn table(shares: &[Share]) -> Vec<usize> {
    let heaviest = shares.iter().map(|it| it.weight).max().unwrap_or(0);
    let mut members: Vec<Member> = shares
        .iter()
        .enumerate()
        .filter(|(_, it)| heaviest == 0 || 0 < it.weight)
        .map(|(at, it)| Member::new(at, *it))
        .collect();
    members.sort_unstable_by_key(|it| (it.share.hash, it.at));
    let mut slots = vec![usize::MAX; SLOTS];
    let mut free = if members.is_empty() { 0 } else { SLOTS };
    while 0 < free {
        for member in &mut members {
            member.credit += u32::from(member.share.weight.max(u16::from(heaviest == 0)));
            if member.credit < u32::from(heaviest.max(1)) || free == 0 {
                continue;
            }
            member.credit -= u32::from(heaviest.max(1));
            member.take(&mut slots);
            free -= 1;
        }
    }
    if members.is_empty() { Vec::new() } else { slots }
}

struct Member {
    at: usize,
    share: Share,
    /// The next slot in its order, and how far the one after is.
    next: usize,
    step: usize,
    credit: u32,
}

impl Member {
    fn new(at: usize, share: Share) -> Self {
        let below = |bound: usize, salt: u64| {
            let bound = u64::try_from(bound).unwrap_or(u64::MAX);
            usize::try_from(mix(share.hash ^ salt) % bound).unwrap_or(0)
        };
        let (next, step) = (below(SLOTS, 1), 1 + below(SLOTS - 1, 2));
        Self { at, share, next, step, credit: 0 }
    }

    /// Takes the first free slot in its order. There is one.
    fn take(&mut self, slots: &mut [usize]) {
        loop {
            let slot = self.next;
            self.next = (self.next + self.step) % SLOTS;
            if slots[slot] == usize::MAX {
                slots[slot] = self.at;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shares(weights: &[u16]) -> Vec<Share> {
        let share = |(at, weight): (usize, &u16)| Share { hash: 1000 + at as u64, weight: *weight };
        weights.iter().enumerate().map(share).collect()
    }

    fn counts(table: &[usize], many: usize) -> Vec<usize> {
        let mut counts = vec![0; many];
        table.iter().for_each(|it| counts[*it] += 1);
        counts
    }

    #[test]
    fn no_replica_makes_no_table_and_one_has_all_of_it() {
        assert_eq!(table(&[]), [0; 0]);
        assert_eq!(table(&shares(&[1])), vec![0; SLOTS]);
        assert_eq!(table(&shares(&[0])), vec![0; SLOTS], "there is nobody else");
    }

    #[test]
    fn weights_are_shares() {
        let counts = counts(&table(&shares(&[100, 100, 10, 0])), 4);
        assert_eq!(counts, [469, 468, 46, 0]);
    }

    #[test]
    fn every_version_of_fizz_makes_the_same_table() {
        let table = table(&shares(&[1, 1, 1]));
        let first: String = table[..40].iter().map(ToString::to_string).collect();
        assert_eq!(first, "1211010102121220002120101221010122011220");
    }

    #[test]
    fn one_that_goes_moves_few_of_the_others() {
        let before = shares(&[1; 10]);
        let after: Vec<Share> = before.iter().filter(|it| it.hash != 1004).copied().collect();
        let (old, new) = (table(&before), table(&after));
        let moved = old.iter().zip(&new).filter(|(old, new)| {
            let (old, new) = (before[**old].hash, after[**new].hash);
            old != 1004 && old != new
        });
        let moved = moved.count();
        assert!(moved < SLOTS / 10, "{moved} of {SLOTS} moved without need");
    }

    proptest! {
        #[test]
        fn all_slots_are_taken_evenly_and_alike_in_any_order(
            hashes in proptest::collection::btree_set(any::<u64>(), 1..40),
            turn in any::<proptest::sample::Index>(),
        ) {
            let shares: Vec<Share> = hashes.iter().map(|it| Share { hash: *it, weight: 1 }).collect();
            let slots = table(&shares);
            prop_assert_eq!(slots.len(), SLOTS);
            let counts = counts(&slots, shares.len());
            let (most, least) = (counts.iter().max(), counts.iter().min());
            prop_assert!(most.zip(least).is_some_and(|(most, least)| most - least <= 1));
            let mut turned = shares.clone();
            turned.rotate_left(turn.index(shares.len()));
            let same = slots.iter().zip(table(&turned)).all(|(a, b)| shares[*a] == turned[b]);
            prop_assert!(same);
        }
    }
}
