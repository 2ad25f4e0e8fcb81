//! How much each asker may have forwarded: a bucket of tokens for each.

use std::{collections::BTreeMap, net::IpAddr};

use crate::model::{Millis, Moment};

/// How many questions of one asker are forwarded in a second, and at once after a pause.
pub(super) const FORWARDED_PER_SECOND_MAX: u64 = 100;

/// How many of one asker's questions wait for others at a time, so that none waits for another's.
pub(super) const FORWARDED_OF_ONE_MAX: usize = 64;

/// How many wait for others at a time, of all askers together.
pub(super) const FORWARDED_MAX: usize = 512;

/// How many askers are counted: more than containers fit on a node.
const ASKERS_MAX: usize = 4096;

/// A token in thousandths, as time comes in thousandths of a second.
const TOKEN: u64 = 1000;
const FULL: u64 = FORWARDED_PER_SECOND_MAX * TOKEN;

/// Why a question is not forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// This asker had its share.
    AskerHadItsShare,
    /// All together wait for too much.
    TooManyWait,
}

/// What all askers have left.
#[derive(Debug, Default)]
pub(super) struct Limits {
    askers: BTreeMap<IpAddr, Bucket>,
    waiting: usize,
}

#[derive(Debug)]
struct Bucket {
    left: u64,
    at: Moment,
    waiting: usize,
}

impl Bucket {
    fn fill(&mut self, now: Moment) {
        let Millis(passed) = now - self.at;
        self.left =
            FULL.min(self.left.saturating_add(passed.saturating_mul(FORWARDED_PER_SECOND_MAX)));
        self.at = now;
    }
}

impl Limits {
    /// Lets one more question out, until [`Limits::end`].
    pub(super) fn begin(&mut self, asker: IpAddr, now: Moment) -> Result<(), Refusal> {
        if FORWARDED_MAX <= self.waiting {
            return Err(Refusal::TooManyWait);
        }
        if ASKERS_MAX <= self.askers.len() && !self.askers.contains_key(&asker) {
            self.forget(now);
            if ASKERS_MAX <= self.askers.len() {
                return Err(Refusal::TooManyWait);
            }
        }
        let new = Bucket { left: FULL, at: now, waiting: 0 };
        let bucket = self.askers.entry(asker).or_insert(new);
        bucket.fill(now);
        if bucket.left < TOKEN || FORWARDED_OF_ONE_MAX <= bucket.waiting {
            return Err(Refusal::AskerHadItsShare);
        }
        bucket.left -= TOKEN;
        bucket.waiting += 1;
        self.waiting += 1;
        Ok(())
    }

    /// One question less waits.
    pub(super) fn end(&mut self, asker: IpAddr) {
        self.waiting = self.waiting.saturating_sub(1);
        if let Some(bucket) = self.askers.get_mut(&asker) {
            bucket.waiting = bucket.waiting.saturating_sub(1);
        }
    }

    /// Forgets who has asked for nothing in a while: it would get a full bucket anyway.
    fn forget(&mut self, now: Moment) {
        self.askers.retain(|_, bucket| {
            bucket.fill(now);
            bucket.left < FULL || 0 < bucket.waiting
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 100, 0, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 100, 0, 2));

    fn pass(limits: &mut Limits, asker: IpAddr, now: u64) -> bool {
        let passed = limits.begin(asker, Moment(now)).is_ok();
        if passed {
            limits.end(asker);
        }
        passed
    }

    #[test]
    fn an_asker_gets_its_share_of_each_second_and_takes_none_of_anothers() {
        let mut limits = Limits::default();
        let at = |limits: &mut Limits, now| (0..500).filter(|_| pass(limits, ONE, now)).count();
        assert_eq!(at(&mut limits, 0), 100);
        assert!(pass(&mut limits, OTHER, 0));
        assert_eq!(at(&mut limits, 9), 0);
        assert_eq!(at(&mut limits, 10), 1);
        assert_eq!(at(&mut limits, 510), 50);
        assert_eq!(at(&mut limits, 1_000_000), 100);
    }

    #[test]
    fn one_that_waits_for_much_leaves_room_for_others_and_all_have_a_bound() {
        let mut limits = Limits::default();
        let mut begun = 0;
        for asker in 0..100_u8 {
            let asker = IpAddr::from([10, 100, 1, asker]);
            let of_one = (0..100).filter(|_| limits.begin(asker, Moment(0)).is_ok()).count();
            assert!(of_one <= FORWARDED_OF_ONE_MAX);
            begun += of_one;
        }
        assert_eq!(begun, FORWARDED_MAX);
        assert_eq!(limits.begin(ONE, Moment(0)), Err(Refusal::TooManyWait));
        limits.end(IpAddr::from([10, 100, 1, 0]));
        assert_eq!(limits.begin(ONE, Moment(0)), Ok(()));
    }

    #[test]
    fn askers_that_come_and_go_are_forgotten() {
        let mut limits = Limits::default();
        for number in 0..100_000_u32 {
            assert!(pass(&mut limits, IpAddr::from(number.to_be_bytes()), u64::from(number)));
        }
        assert!(limits.askers.len() <= ASKERS_MAX);
    }
}
