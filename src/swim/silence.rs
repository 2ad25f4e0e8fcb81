//! A member that hears nobody at all. Whoever it is that is cut off, nobody can be reached from here; and one after
//! the other, as they are probed, it would miss its many others for minutes.

use super::{Swim, doubts::Doubt};
use crate::model::{Millis, Moment, NodeId, NodeState, Now};

/// After how many times `doubt` all are lost: loss of a quarter of all packets makes such a silence once in hours.
const SILENCE: u64 = 2;

/// Whether this member hears anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hearing {
    /// It does, or has not asked in vain.
    Well,
    /// A question and all its detours came to nothing, and no other word came meanwhile. From then on it is deaf.
    Until(Moment),
    /// It hears nobody.
    Deaf,
}

impl Hearing {
    /// When it is to be looked at.
    pub(super) fn due(self) -> Option<Moment> {
        match self {
            Self::Until(at) => Some(at),
            Self::Well | Self::Deaf => None,
        }
    }
}

impl Swim {
    /// A question was asked in vain, and nothing was heard since.
    pub(super) fn mind_the_silence(&mut self) {
        if self.hearing == Hearing::Well {
            self.hearing = Hearing::Until(self.last_heard + Millis(self.config.doubt.0 * SILENCE));
        }
    }

    /// This member slept: that is no silence.
    pub(super) fn forget_silence(&mut self, now: Now) {
        self.last_heard = now.moment;
        if self.hearing != Hearing::Deaf {
            self.hearing = Hearing::Well;
        }
    }

    /// What time makes of silence: all are unreachable. Nobody is told, as nobody can be, and as it may be this
    /// one's own fault.
    pub(super) fn silence_due(&mut self, now: Now) {
        if self.hearing.due().is_none_or(|at| now.moment < at) {
            return;
        }
        self.hearing = Hearing::Deaf;
        let is_alive = |it: &NodeId| self.state(*it) == Some(NodeState::Alive);
        let alive: Vec<NodeId> = self.members.ring().iter().copied().filter(is_alive).collect();
        for node in alive {
            if !self.doubts.contains(node) {
                self.doubts.insert(node, Doubt::by_silence(now.moment));
            }
            self.unreachable(node, now);
        }
    }

    /// Somebody is heard: then nothing is known against those that only silence spoke against.
    pub(super) fn hear_something(&mut self, now: Now) {
        let was = std::mem::replace(&mut self.hearing, Hearing::Well);
        self.last_heard = now.moment;
        if was != Hearing::Deaf {
            return;
        }
        let lost = self.doubts.iter().filter(|(_, it)| it.by_silence).map(|(node, _)| node);
        for node in lost.collect::<Vec<NodeId>>() {
            self.doubts.remove(node);
            self.become_state(node, NodeState::Alive, now);
        }
    }
}
