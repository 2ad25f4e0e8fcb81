//! How a member that was just started comes to write: it compares itself with others first, and where its
//! data directory was set back it enters the cluster again.

use super::{Gossip, Output};
use crate::{
    model::{Millis, NodeId, Now},
    state::ClusterState,
};

/// With how many others, or all where there are fewer, a member that was just started compares: one of
/// them alone may have missed what this one wrote before it was set back. And how often it asks them.
const COMPARE_FRESH: usize = 8;
pub(super) const COMPARE_FRESH_INTERVAL: Millis = Millis(300);

/// How long a member that was just started waits for others to compare with. It goes on without those that
/// are away.
const COMPARE_FRESH_MAX: Millis = Millis(3_000);

/// How far a member is that was just started. It writes only once it is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It finds out whether others know more of it than it does itself.
    Comparing,
    /// They did: it is a new writer, which nobody counts yet.
    Entering,
    /// It may write.
    Ready,
}

impl Gossip {
    /// Before it is ready: asks others, and gives up where nobody answers.
    pub(super) fn prepare(&mut self, state: &ClusterState, now: Now) {
        if self.is_ready() || self.left {
            return;
        }
        let enters = self.standing == Standing::Entering;
        let alone = self.swim.ring().len() < 2;
        let hopeless = self.began + COMPARE_FRESH_MAX <= now.moment && !self.fetches.any();
        // A writer that nobody counts may not write, however long it takes.
        let open = |it: &&NodeId| **it != self.me && (enters || !self.is_done_with(it));
        let mut others: Vec<NodeId> = self.swim.ring().iter().filter(open).copied().collect();
        let done = self.compared.intersection(&self.told).count();
        let enough = others.is_empty() || COMPARE_FRESH <= done;
        if !enters && (alone || hopeless || enough) {
            return self.become_ready();
        }
        if self.compared_at.is_some_and(|it| now.moment < it + COMPARE_FRESH_INTERVAL) {
            return;
        }
        self.compared_at = Some(now.moment);
        let asked = others.len().min(if enters { 1 } else { COMPARE_FRESH });
        for _ in 0..asked {
            let other = others.swap_remove(self.random.below(others.len()));
            if !enters {
                self.compare(other, state, now);
            } else if !self.fetches.any() && self.fetches.begin_to_enter(other, now.moment) {
                self.outputs.push(Output::Enter(other));
            }
        }
    }

    /// Whether it has all that another holds, and knows which of its own writes that one has seen.
    fn is_done_with(&self, other: &NodeId) -> bool {
        self.compared.contains(other) && self.told.contains(other)
    }

    /// Others have seen its writes up to this one: if the disk held fewer, it was set back.
    pub(super) fn look_whether_set_back(&mut self, last: u64) {
        if self.standing != Standing::Comparing || last <= self.own_last {
            return;
        }
        self.standing = Standing::Entering;
        self.compared_at = None;
        self.outputs.push(Output::SetBack);
    }

    pub(super) fn become_ready(&mut self) {
        if !self.is_ready() {
            self.standing = Standing::Ready;
            self.outputs.push(Output::Ready);
        }
    }
}

/// How far a member is that begins with this state. A writer that has written nothing, of a member that
/// is one already, was chosen when its directory was set back, and did not get in before it ended.
pub(super) fn standing_of(me: NodeId, state: &ClusterState) -> Standing {
    let is_new = state.seen().last(state.replica()) == 0;
    let was_there = state.nodes().get(&me).is_some_and(|it| it.is_member());
    if is_new && was_there { Standing::Entering } else { Standing::Comparing }
}
