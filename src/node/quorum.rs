//! Whether this node is with the majority, and for how long that is certain: what must never run twice
//! runs only there.
//!
//! A lease (Gray, Cheriton, 1989) that nobody grants: a node counts the members that have answered it
//! lately. An answer counts from when its question was sent. While those that count are, with the node
//! itself, more than half of all members, no others can be more than half. A node on which something
//! stands that must not run twice asks often enough that this never lapses while it need not.
//! `docs/decisions/015-singleton.md` has the guarantee and what it stands on.
//!
//! All times are the same on every node, whatever its configuration says: one node's patience is what
//! another counts on.

use crate::model::{Millis, Moment, NodeId};

/// How long an answer counts.
pub(super) const LEASE: Millis = Millis::from_secs(12);

/// Between two rounds of questions.
pub(super) const PROBE_INTERVAL: Millis = Millis::from_secs(2);

/// How long a container may take to stop by itself where the majority is lost; then it is killed.
pub(super) const STOP_GRACE: Millis = Millis::from_secs(5);

/// How long it takes at most until a node that has lost the majority runs nothing any more that must not
/// run twice: its grace, and as much again for the runtime.
const STOP_MAX: Millis = Millis::from_secs(10);

/// Room for clocks that run at different rates, and for a runtime that starts something late.
const MARGIN: Millis = Millis::from_secs(8);

/// How long a node must be dead, for one that is with the majority all the while, before what it may
/// have run starts anew: longer than it takes the other to notice and to stop.
pub(super) const WAIT: Millis = Millis(LEASE.0 + STOP_MAX.0 + MARGIN.0);

/// How long it takes until members that hear one another have heard what one of them wrote: what is to
/// start says so for so long before it does, and who comes back to the majority listens for so long.
pub(super) const SETTLE: Millis = Millis::from_secs(3);

/// How much of the lease must be left for something to start: a start takes a while, too.
const LEFT_MIN: Millis = Millis(LEASE.0 / 2);

/// A replacement waits longer than it takes who is cut off to stop; a kill comes in time; and of three
/// questions in a row two may be lost.
const _: () = {
    assert!(LEASE.0 + STOP_MAX.0 < WAIT.0);
    assert!(STOP_GRACE.0 + 2 * PROBE_INTERVAL.0 <= STOP_MAX.0);
    assert!(3 * PROBE_INTERVAL.0 <= LEFT_MIN.0);
};

/// Whether this node is with the majority.
#[derive(Clone, Debug, Default)]
pub(super) struct Quorum(Option<Watch>);

/// A node that has reason to ask.
#[derive(Clone, Debug)]
struct Watch {
    /// Until when it may take it for certain that it is with the majority.
    ends: Moment,
    /// Since when it is without a gap, if it is.
    held_since: Option<Moment>,
    /// That it is lost was found out.
    lost: bool,
    asked: Option<Moment>,
}

/// What a look found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Nothing,
    Gained,
    /// What was certain is no more, or was not for a while.
    Lost,
}

impl Quorum {
    /// Looks who has answered: so many other members there are, and these are when questions were sent
    /// that they have answered.
    pub(super) fn look(&mut self, others: usize, heard: &[Moment], now: Moment) -> Change {
        // Who just began to ask has not lost what it does not know yet.
        let new = || Watch { ends: now + LEASE, held_since: None, lost: false, asked: None };
        let watch = self.0.get_or_insert_with(new);
        let lapsed = watch.ends <= now && !watch.lost;
        if watch.ends <= now {
            (watch.held_since, watch.lost) = (None, true);
        }
        let held_before = watch.held_since.is_some();
        match lease_end(others, heard) {
            Some(end) if now < end => {
                (watch.ends, watch.lost) = (end, false);
                watch.held_since.get_or_insert(now);
            }
            // Members came: they get time to answer before that counts.
            Some(_) | None if now < watch.ends => watch.ends = watch.ends.min(now + LEASE),
            Some(_) | None => {}
        }
        match (lapsed, held_before, watch.held_since.is_some()) {
            (true, ..) => Change::Lost,
            (false, false, true) => Change::Gained,
            (false, true, _) | (false, false, false) => Change::Nothing,
        }
    }

    /// Nothing here asks for it any more.
    pub(super) fn rest(&mut self) {
        self.0 = None;
    }

    /// Whether this node has reason to ask.
    pub(super) fn is_watched(&self) -> bool {
        self.0.is_some()
    }

    /// Whether the majority is lost, so that what must not run twice may not run here.
    pub(super) fn is_lost(&self, now: Moment) -> bool {
        self.0.as_ref().is_some_and(|it| it.ends <= now)
    }

    /// Since when it is without a gap.
    pub(super) fn held_since(&self) -> Option<Moment> {
        self.0.as_ref()?.held_since
    }

    /// In how long something may start here: at once if that is 0, not unless something changes if there
    /// is none.
    pub(super) fn start_in(&self, now: Moment) -> Option<Millis> {
        let watch = self.0.as_ref()?;
        let settled = (watch.held_since? + SETTLE) - now;
        (now + LEFT_MIN <= watch.ends).then_some(settled)
    }

    /// Whether it is time to ask the others, which is noted.
    pub(super) fn ask(&mut self, now: Moment) -> bool {
        let Some(watch) = &mut self.0 else { return false };
        let due = watch.asked.is_none_or(|it| it + PROBE_INTERVAL <= now);
        if due {
            watch.asked = Some(now);
        }
        due
    }

    /// When it wants to be looked at, if nothing happens before.
    pub(super) fn due(&self) -> Option<Moment> {
        let watch = self.0.as_ref()?;
        let ask = watch.asked? + PROBE_INTERVAL;
        // What is lost already is looked at with the next question.
        Some(if watch.held_since.is_some() { ask.min(watch.ends) } else { ask })
    }
}

/// Until when those that answered, with this node, count as more than half. `None`: too few ever did.
fn lease_end(others: usize, heard: &[Moment]) -> Option<Moment> {
    let needed = others.div_ceil(2);
    if needed == 0 {
        return Some(Moment(u64::MAX));
    }
    let mut heard = heard.to_vec();
    heard.sort_unstable_by(|a, b| b.cmp(a));
    heard.get(needed - 1).map(|it| *it + LEASE)
}

/// Whom to ask, of those that seem to be there and when each was last heard from: enough for a majority
/// and some more, those first that answered last.
pub(super) fn whom_to_ask(
    others: usize,
    mut there: Vec<(NodeId, Option<Moment>)>,
    now: Moment,
) -> Vec<NodeId> {
    let needed = others.div_ceil(2);
    let asked = needed + needed / 4 + 3;
    there.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    let stale = |it: &Option<Moment>| it.is_none_or(|at| at + PROBE_INTERVAL <= now);
    there.into_iter().take(asked).filter(|(_, at)| stale(at)).map(|(id, _)| id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const S: u64 = 1_000;

    fn at(seconds: u64) -> Moment {
        Moment(seconds * S)
    }

    #[test]
    fn more_than_half_must_have_answered_and_the_one_that_answered_longest_ago_of_them_counts() {
        assert_eq!(lease_end(0, &[]), Some(Moment(u64::MAX)), "alone");
        assert_eq!(lease_end(1, &[]), None, "one of two");
        assert_eq!(lease_end(1, &[at(5)]), Some(at(17)), "both of two");
        assert_eq!(lease_end(2, &[at(5), at(9)]), Some(at(21)), "two of three are enough");
        assert_eq!(lease_end(3, &[at(9)]), None, "two of four are not");
        assert_eq!(lease_end(4, &[at(1), at(9), at(5)]), Some(at(17)), "three of five");
    }

    #[test]
    fn who_hears_of_no_majority_has_lost_it_when_the_answers_no_longer_count() {
        let mut quorum = Quorum::default();
        assert_eq!(quorum.look(2, &[], at(100)), Change::Nothing);
        assert_eq!((quorum.start_in(at(100)), quorum.is_lost(at(111))), (None, false));
        assert_eq!(quorum.look(2, &[at(100)], at(101)), Change::Gained);
        assert_eq!(quorum.start_in(at(101)), Some(SETTLE));
        assert_eq!(quorum.look(2, &[at(103)], at(104)), Change::Nothing);
        assert_eq!(quorum.start_in(at(104)), Some(Millis(0)));
        assert_eq!(quorum.start_in(at(110)), None, "too little is left of it");
        assert!(!quorum.is_lost(at(114)) && quorum.is_lost(at(115)));
        assert_eq!(quorum.look(2, &[at(103)], at(115)), Change::Lost);
        assert_eq!(quorum.look(2, &[at(103)], at(117)), Change::Nothing);
        assert_eq!(quorum.look(2, &[at(118)], at(119)), Change::Gained);
        assert_eq!(quorum.start_in(at(119)), Some(SETTLE));
    }

    #[test]
    fn who_was_not_looking_has_lost_it_meanwhile_whatever_it_hears_then() {
        let mut quorum = Quorum::default();
        quorum.look(2, &[at(100)], at(101));
        assert_eq!(quorum.look(2, &[at(139)], at(140)), Change::Lost);
        assert_eq!((quorum.held_since(), quorum.is_lost(at(140))), (Some(at(140)), false));
    }

    #[test]
    fn members_that_come_get_time_to_answer() {
        let mut quorum = Quorum::default();
        quorum.look(0, &[], at(100));
        assert_eq!(quorum.look(1, &[], at(200)), Change::Nothing);
        assert!(!quorum.is_lost(at(211)) && quorum.is_lost(at(212)));
    }

    #[test]
    fn those_are_asked_that_answered_last_and_no_more_than_it_takes() {
        let there = |count: u128| (0..count).map(|it| (NodeId(it), None)).collect();
        assert_eq!(whom_to_ask(4, there(4), at(100)).len(), 4);
        assert_eq!(whom_to_ask(299, there(299), at(100)).len(), 190);
        let there = vec![(NodeId(1), None), (NodeId(2), Some(at(99))), (NodeId(3), Some(at(90)))];
        assert_eq!(whom_to_ask(3, there, at(100)), [NodeId(3), NodeId(1)]);
    }

    proptest! {
        /// Members that are split in two, anyhow: of the two sides at most one is the majority, by the
        /// answers that its members can have.
        #[test]
        fn never_are_both_sides_more_than_half(side in proptest::collection::vec(any::<bool>(), 1..40)) {
            let others = side.len() - 1;
            let holds = |mine: bool| {
                let same = side.iter().filter(|it| **it == mine).count();
                0 < same && lease_end(others, &vec![at(1); same - 1]).is_some()
            };
            prop_assert!(!(holds(true) && holds(false)));
        }
    }
}
