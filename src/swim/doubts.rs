//! What is said of members, and what comes of it: missed, unreachable, dead, or alive after all.

use std::collections::BTreeSet;

use super::{
    Swim,
    agenda::Due,
    config::ILL_MAX,
    message::{Claim, Incarnation, Rumour},
};
use crate::model::{Millis, Moment, NodeId, NodeState, Now};

/// How much longer than the watchers the others wait, before they try for themselves.
const PATIENCE_OF_OTHERS: u64 = 2;

/// Between the verdicts of two watchers, so that the first one's spares the others theirs.
const WATCHER_STAGGER: Millis = Millis(150);

/// Accusers that are told apart at most.
const ACCUSERS_MAX: usize = 16;

/// A member that somebody misses.
#[derive(Clone, Debug)]
pub(super) struct Doubt {
    accusers: BTreeSet<NodeId>,
    seconded: usize,
    /// When it counts as unreachable, if it does not yet.
    missed_at: Option<Moment>,
    /// When it counts as dead, once it is unreachable.
    dead_at: Option<Moment>,
    /// When this member tries it again, if it watches it.
    try_at: Option<Moment>,
    /// Nobody misses it in particular: this member hears nobody at all.
    pub(super) by_silence: bool,
}

impl Due for Doubt {
    fn due(&self) -> Option<Moment> {
        [self.missed_at, self.dead_at, self.try_at].into_iter().flatten().min()
    }
}

impl Doubt {
    /// That a member counts as unreachable at a time, unless it says something.
    fn new(missed_at: Moment, try_at: Option<Moment>) -> Self {
        let (accusers, missed_at) = (BTreeSet::new(), Some(missed_at));
        Self { accusers, seconded: 0, missed_at, dead_at: None, try_at, by_silence: false }
    }

    /// Gives it as much more time as this member was away.
    pub(super) fn postpone(&mut self, by: Millis) {
        for at in [&mut self.missed_at, &mut self.dead_at].into_iter().flatten() {
            *at = *at + by;
        }
    }

    /// That this member hears nobody at all.
    pub(super) fn by_silence(now: Moment) -> Self {
        Self { by_silence: true, ..Self::new(now, None) }
    }

    /// How many miss it.
    fn weight(&self) -> usize {
        self.accusers.len().max(self.seconded + 1)
    }
}

impl Swim {
    /// Takes in what is said of a member. Whether that is news.
    pub(super) fn believe(&mut self, rumour: Rumour, now: Now) -> bool {
        if rumour.about == self.me {
            match rumour.claim {
                Claim::Alive => {}
                Claim::Missed { .. } | Claim::Dead | Claim::Left => self.refute(rumour.incarnation),
            }
            return false;
        }
        let Some(member) = self.members.get(rumour.about) else { return false };
        let (known, state, told) = (member.incarnation, member.state, rumour.incarnation);
        let over = matches!(state, NodeState::Dead | NodeState::Left);
        let stale = told < known || (over && told == known);
        match rumour.claim {
            Claim::Alive => self.lives_at(rumour.about, told, now),
            Claim::Missed { .. } | Claim::Dead | Claim::Left if stale => false,
            Claim::Missed { by, seconded } => {
                self.note(rumour.about, told);
                self.missed(rumour.about, by, usize::from(seconded), now)
            }
            Claim::Dead => self.over(rumour.about, told, NodeState::Dead, now),
            Claim::Left => self.over(rumour.about, told, NodeState::Left, now),
        }
    }

    /// A member showed that it lives, at this incarnation, to this member or to one that it trusts.
    pub(super) fn lives(&mut self, node: NodeId, incarnation: Incarnation, now: Now) {
        let was = self.state(node);
        if self.lives_at(node, incarnation, now) {
            let rumour = Rumour { about: node, incarnation, claim: Claim::Alive };
            match was {
                // Whoever hears it from the dead first tells everyone, and looks for more of them.
                Some(NodeState::Dead | NodeState::Left) => {
                    self.announce(rumour);
                    self.heal();
                }
                // It has spoken up for itself; this is a repetition, against loss.
                Some(NodeState::Suspicious) => self.news.add(rumour, self.config.repeats),
                Some(NodeState::Alive | NodeState::Joining | NodeState::Failed) | None => {}
            }
            return;
        }
        match was {
            // It lives and does not know what is said of it.
            Some(NodeState::Dead | NodeState::Left) if !self.is_asked(node) => {
                self.try_reunion(node, now);
            }
            Some(NodeState::Dead | NodeState::Left) => {}
            Some(NodeState::Suspicious) => self.give_time(node, now),
            Some(NodeState::Alive) => drop(self.doubts.remove(node)),
            Some(NodeState::Joining | NodeState::Failed) | None => {}
        }
    }

    /// Speaks up if what is said of this member at an incarnation is not yet refuted.
    pub(super) fn refute(&mut self, said_at: Incarnation) {
        if said_at < self.incarnation {
            return;
        }
        self.incarnation = Incarnation(said_at.0.saturating_add(1));
        self.ill = (self.ill + 1).min(ILL_MAX);
        let (about, incarnation) = (self.me, self.incarnation);
        self.announce(Rumour { about, incarnation, claim: Claim::Alive });
    }

    /// What time makes of doubts.
    pub(super) fn doubts_due(&mut self, now: Now) {
        for node in self.doubts.due(now.moment) {
            self.doubt_due(node, now);
        }
    }

    fn doubt_due(&mut self, node: NodeId, now: Now) {
        let interval = self.config.watch_interval;
        let is_due = |at: Option<Moment>| at.is_some_and(|at| at <= now.moment);
        let looked = self.doubts.change(node, |doubt| {
            let try_again = is_due(doubt.try_at);
            if try_again {
                doubt.try_at = Some(now.moment + interval);
            }
            (is_due(doubt.missed_at), is_due(doubt.dead_at), try_again)
        });
        let Some((missed, dead, try_again)) = looked else { return };
        if try_again {
            self.try_again(node, now);
        }
        if missed {
            self.unreachable(node, now);
        }
        if dead && let Some(incarnation) = self.members.get(node).map(|it| it.incarnation) {
            self.over(node, incarnation, NodeState::Dead, now);
            self.announce(Rumour { about: node, incarnation, claim: Claim::Dead });
        }
    }

    /// Somebody misses a member. Whether that is news.
    fn missed(&mut self, node: NodeId, by: NodeId, seconded: usize, now: Now) -> bool {
        let others = self.members.ring().len().saturating_sub(2);
        let enough = self.config.accusers.min(others.max(2));
        let window = self.stretched(self.config.doubt);
        let known = self.doubts.contains(node);
        if !known {
            let try_at = self.watches(node, by).then_some(now.moment);
            self.doubts.insert(node, Doubt::new(now.moment + window, try_at));
        }
        let weighed = self.doubts.change(node, |doubt| {
            let before = doubt.weight();
            if doubt.accusers.len() < ACCUSERS_MAX {
                doubt.accusers.insert(by);
            }
            doubt.seconded = doubt.seconded.max(seconded);
            (before, doubt.weight(), doubt.missed_at.is_some())
        });
        let Some((before, weight, waits)) = weighed else { return false };
        if enough <= weight && waits {
            self.unreachable(node, now);
        }
        !known || before < weight
    }

    /// Whether this member is among those that try a missed one: its accuser, and the next in the ring.
    fn watches(&self, node: NodeId, accuser: NodeId) -> bool {
        accuser == self.me || self.rank(node).is_some()
    }

    fn rank(&self, node: NodeId) -> Option<usize> {
        self.members.after(node, self.config.watchers).position(|it| it == self.me)
    }

    /// A doubted member counts as unreachable; its time to speak up begins.
    pub(super) fn unreachable(&mut self, node: NodeId, now: Now) {
        let rank = self.rank(node);
        let wait = self.stretched(self.config.dead_after);
        let told = self.doubts.change(node, |doubt| {
            doubt.missed_at = None;
            let begin = match (rank, doubt.try_at) {
                (Some(rank), _) => now.moment + Millis(WATCHER_STAGGER.0 * rank as u64),
                (None, Some(_)) => now.moment,
                // The watchers' verdict, or a word of the member, was lost on its way here.
                (None, None) => now.moment + Millis(wait.0 * PATIENCE_OF_OTHERS),
            };
            doubt.try_at = doubt.try_at.or(Some(begin));
            doubt.dead_at = Some(begin + wait);
        });
        if told.is_none() {
            return;
        }
        self.become_state(node, NodeState::Suspicious, now);
    }

    /// An unreachable member answered this one: it is not this one that declares it dead.
    fn give_time(&mut self, node: NodeId, now: Now) {
        let wait = self.stretched(self.config.dead_after);
        self.doubts.change(node, |it| it.dead_at = it.dead_at.map(|_| now.moment + wait));
    }

    pub(super) fn try_unless_asked(&mut self, node: NodeId, now: Now) {
        if !self.is_asked(node) {
            self.try_again(node, now);
        }
    }

    fn is_asked(&self, node: NodeId) -> bool {
        self.probes.iter().any(|(_, it)| it.target == node)
    }

    /// A member is dead or has left. Always news.
    fn over(&mut self, node: NodeId, incarnation: Incarnation, state: NodeState, now: Now) -> bool {
        self.doubts.remove(node);
        self.note(node, incarnation);
        self.become_state(node, state, now);
        self.hurry_to_the_dead(now);
        true
    }

    /// A member lives at an incarnation. Whether that is news.
    fn lives_at(&mut self, node: NodeId, incarnation: Incarnation, now: Now) -> bool {
        let known = self.members.get(node).map(|it| it.incarnation);
        if known.is_none_or(|known| incarnation <= known) {
            return false;
        }
        self.note(node, incarnation);
        self.doubts.remove(node);
        self.become_state(node, NodeState::Alive, now);
        true
    }

    fn note(&mut self, node: NodeId, incarnation: Incarnation) {
        if let Some(member) = self.members.get_mut(node) {
            member.incarnation = member.incarnation.max(incarnation);
        }
    }
}
