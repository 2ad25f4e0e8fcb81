//! What a member does now and then, so that nothing is kept for ever: removals, members that have left, old
//! keys, and what the dead left behind.

use std::{collections::BTreeMap, sync::Arc};

use super::{Effect, Node, Now};
use crate::{
    gossip::Epoch,
    model::{Millis, NodeId},
    state::{Change, Dot, NodeRecord, ReplicaId, SecretPath, VersionVector},
};

/// Between two looks for removals that nobody needs any more, and members that nobody must count.
const TIDY_INTERVAL: Millis = Millis(1_000);

/// How long writes of who is gone may wait for those before them, and how much longer with each member that
/// is before this one in the ring.
const ORPHANED_MAX: Millis = Millis(10_000);
const ORPHANED_STEP: Millis = Millis(2_000);

impl Node {
    /// Now and then: drops removals that nobody needs, and forgets members that have left once everyone
    /// knows.
    pub(super) fn tidy(&mut self, now: Now) {
        let Some(cluster) = &mut self.cluster else { return };
        if now.moment < cluster.tidied + TIDY_INTERVAL || !cluster.gossip.is_ready() {
            return;
        }
        cluster.tidied = now.moment;
        if 1 < cluster.keys.iter().count() {
            let keys_of = |it: &NodeRecord| Epoch(it.key_epoch);
            let members = self.state.nodes().iter().filter(|(id, _)| !self.state.has_left(**id));
            if let Some(oldest) = members.map(|(_, it)| keys_of(it)).min() {
                cluster.keys.forget_before(oldest);
            }
        }
        self.drop_removals();
        self.forget_the_left(now);
        self.wrap_for_the_left_out();
        self.adopt_orphans(now);
    }

    /// Drops removals that nobody needs.
    fn drop_removals(&mut self) {
        if !self.state.has_bare_removals() {
            return;
        }
        let others = self.others_have();
        // Until all know that a member was forgotten, one may still have taken something from it.
        let known = |dot: Dot| others.values().all(|it| it.has(dot));
        if self.state.forgotten().all(known) {
            let step = self.in_state().collect(&others);
            if !step.is_empty() {
                self.steps.push(step);
            }
        }
    }

    /// Who came in while the key was changed elsewhere got the old one, and nothing was wrapped for it: the
    /// first member that has the new one sees to that.
    fn wrap_for_the_left_out(&mut self) {
        let Some(cluster) = &self.cluster else { return };
        let newest = cluster.keys.newest();
        let lacks = |it: &NodeRecord| Epoch(it.key_epoch) < newest;
        let nodes = self.state.nodes();
        let mut ring = cluster.gossip.membership().ring().iter();
        let first = ring.find(|it| nodes.get(*it).is_some_and(|it| !lacks(it)));
        if first != Some(&self.me) {
            return;
        }
        let is_wrapped =
            |id: NodeId| self.state.secrets().get(&SecretPath::ClusterKey(newest.0, id)).is_some();
        let left_out = nodes
            .iter()
            .filter(|(id, it)| lacks(it) && !is_wrapped(**id) && !self.state.has_left(**id));
        let effects = left_out.map(|(id, it)| Effect::Wrap(newest, *id, it.recipient.clone()));
        self.effects.extend(effects.collect::<Vec<_>>());
    }

    /// What every other member is known to have durably seen, those that have left among them.
    fn others_have(&self) -> BTreeMap<ReplicaId, Arc<VersionVector>> {
        let Some(cluster) = &self.cluster else { return BTreeMap::new() };
        let others = self.state.nodes().iter().filter(|(id, _)| **id != self.me);
        let seen = |id| cluster.gossip.acknowledged(id).cloned().unwrap_or_default();
        others.map(|(id, it)| (it.replica, seen(*id))).collect()
    }

    /// A member that has left is forgotten by the first of those that know that all others know.
    fn forget_the_left(&mut self, now: Now) {
        let Some(cluster) = &self.cluster else { return };
        let first = cluster.gossip.membership().ring().first();
        if first != Some(&self.me) {
            return;
        }
        let nodes = self.state.nodes();
        let others = nodes.iter().map(|(id, _)| *id).filter(|it| *it != self.me);
        let (left, stay): (Vec<NodeId>, Vec<NodeId>) =
            others.partition(|it| self.state.has_left(*it));
        let known_to_all = |id: &NodeId| {
            let dots = self.state.farewells(*id);
            let knows = |it: &NodeId| {
                let seen = cluster.gossip.acknowledged(*it);
                dots.iter().any(|dot| seen.is_some_and(|seen| seen.has(*dot)))
            };
            stay.iter().all(knows)
        };
        let left: Vec<NodeId> = left.into_iter().filter(known_to_all).collect();
        for id in left {
            self.commit(Change::Node(id, None), now);
        }
    }

    /// Writes that came out of order from a writer that is gone: what is missing before them may be gone, too,
    /// and vectors would never speak of them. What stands of their keys is written anew.
    fn adopt_orphans(&mut self, now: Now) {
        let orphans = self.state.orphans();
        let Some(cluster) = &mut self.cluster else { return };
        if orphans.is_empty() {
            cluster.orphaned = None;
            return;
        }
        let since = *cluster.orphaned.get_or_insert(now.moment);
        let ring = cluster.gossip.membership().ring();
        let place = ring.iter().position(|it| *it == self.me).unwrap_or_default() as u64;
        if since + Millis(ORPHANED_MAX.0 + ORPHANED_STEP.0 * place) <= now.moment {
            cluster.orphaned = None;
            orphans.into_iter().for_each(|it| self.commit(it, now));
        }
    }
}
