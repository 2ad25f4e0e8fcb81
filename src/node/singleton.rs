//! Services that must never run twice: this node's part in that (see [`super::quorum`]).
//!
//! Three rules. A node runs such a container only while it is certain to be with the majority, and stops
//! it when it is not. What starts where it has not run before waits until whoever may run another has had
//! time to notice that it may not. And on nodes that hear one another the old one stops first.

use std::sync::Arc;

use super::{
    Effect, Node, Now, Subject,
    local::Operation,
    quorum::{self, Change, LEASE, PROBE_INTERVAL, SETTLE, STOP_GRACE, WAIT},
};
use crate::{
    gossip::Input,
    model::{ContainerId, Millis, NodeId, NodeState, ProjectName, ServiceKey, spec::PartitionMode},
    reconcile::Gate,
};

/// What a container waits for on a node that is not with the majority.
const NO_MAJORITY: &str = "more than half of the nodes to answer, as it must not run twice";

impl Node {
    /// Whether a service must never run twice. Of one that runs on each node none is another's double.
    pub(super) fn is_singleton(&self, key: &ServiceKey) -> bool {
        let Some(layout) = self.layouts.get(&key.project) else { return false };
        let partition = layout.rules.get(&key.service).and_then(|it| it.partition());
        let each_node = self.spec_of(key).is_some_and(|it| it.deploy.mode.is_on_each_node());
        partition == Some(PartitionMode::Singleton) && !each_node
    }

    /// Notes whether a project has such services.
    pub(super) fn note_singletons(&mut self, project: &ProjectName) {
        let layout = self.layouts.get(project);
        let mut services = layout.into_iter().flat_map(|it| it.rules.keys());
        let has = services.any(|it| {
            self.is_singleton(&ServiceKey { project: project.clone(), service: it.clone() })
        });
        match has {
            true => drop(self.singletons.insert(project.clone())),
            false => drop(self.singletons.remove(project)),
        }
    }

    /// This node's containers of a project that must never run twice.
    fn stakes<'a>(&'a self, project: &'a ProjectName) -> impl Iterator<Item = ContainerId> + 'a {
        let mine = self.fleet.of(project).filter(|it| it.node == self.me && it.one_off.is_none());
        mine.filter(|it| self.is_singleton(&it.service)).map(|it| it.id)
    }

    /// The other members: those that have come and have not left, the dead among them.
    fn others(&self) -> impl Iterator<Item = NodeId> + '_ {
        let nodes = self
            .state
            .nodes()
            .iter()
            .filter(|(id, it)| **id != self.me && it.is_member() && !self.state.has_left(**id));
        nodes.map(|(id, _)| *id)
    }

    /// Sees to it that this node knows whether it is with the majority, while it has reason to.
    pub(super) fn uphold(&mut self, now: Now) {
        let stakes: Vec<ContainerId> =
            self.singletons.iter().flat_map(|it| self.stakes(it)).collect();
        if stakes.is_empty() || self.cluster.is_none() {
            return self.quorum.rest();
        }
        let others: Vec<NodeId> = self.others().collect();
        let heard = |id: &NodeId| self.cluster.as_ref()?.gossip.membership().answered(*id);
        let answers: Vec<_> = others.iter().filter_map(heard).collect();
        let change = self.quorum.look(others.len(), &answers, now.moment);
        let held = self.quorum.held_since().is_some();
        let mut any_parted = false;
        for id in stakes {
            let Some(local) = self.local.get_mut(&id) else { continue };
            if change == Change::Lost || self.quorum.is_lost(now.moment) {
                local.upheld = false;
                // What is just being started counts, too.
                let runs = local.alive || local.operation.is_some();
                local.parted = local.parted.or(runs.then_some(now.moment));
            } else if held && local.alive && local.parted.is_none() {
                local.upheld = true;
            }
            any_parted |= local.parted.is_some();
        }
        if change != Change::Nothing || any_parted {
            self.singletons.iter().for_each(|it| self.agenda.stir(it));
        }
        match change {
            Change::Nothing => {}
            Change::Gained => self.tell_quorum("held"),
            Change::Lost => self.tell_quorum("lost"),
        }
        self.ask_for_quorum(&others, now);
    }

    fn tell_quorum(&mut self, state: &str) {
        self.notify("node.quorum", Subject::Node, Some(state.to_owned()), None);
    }

    /// Asks others whether they are there, when it is time.
    fn ask_for_quorum(&mut self, others: &[NodeId], now: Now) {
        if !self.quorum.ask(now.moment) {
            return;
        }
        let Some(cluster) = &self.cluster else { return };
        let there = others.iter().filter(|it| self.is_alive(**it));
        let membership = cluster.gossip.membership();
        let there = there.map(|it| (*it, membership.answered(*it))).collect();
        let asked = quorum::whom_to_ask(others.len(), there, now.moment);
        if !asked.is_empty() {
            self.converse(Input::Try(asked), now);
        }
    }

    /// What keeps containers of a service from starting here. `None`: it may run twice.
    pub(super) fn gate(&self, key: &ServiceKey, now: Now) -> Option<Gate> {
        if !self.singletons.contains(&key.project) || !self.is_singleton(key) {
            return None;
        }
        let Some(cluster) = &self.cluster else { return Some(Gate::default()) };
        if self.others().next().is_none() {
            return Some(Gate::default());
        }
        let mut gate = Gate { claim: SETTLE, ..Gate::default() };
        gate.is_shut = self.quorum.is_lost(now.moment);
        let start_in = self.quorum.start_in(now.moment);
        if start_in != Some(Millis(0)) {
            gate.all = Some(NO_MAJORITY.into());
            // An answer may come that opens it without a change that is told.
            gate.wake = self.quorum.is_watched().then(|| start_in.unwrap_or(PROBE_INTERVAL));
            return Some(gate);
        }
        let young = (cluster.began + LEASE) - now.moment;
        if young != Millis(0) {
            let why = "this node to know how the others are";
            (gate.first, gate.wake) = (Some(why.into()), Some(young));
            return Some(gate);
        }
        let mut doubts = self.others().filter_map(|it| self.may_run_it(it, now));
        if let Some((why, wake)) = doubts.next() {
            (gate.first, gate.wake) = (Some(why), wake);
        }
        Some(gate)
    }

    /// Whether another node may still run what this one does not hear of: why, and for how long at most,
    /// unless something changes.
    fn may_run_it(&self, node: NodeId, now: Now) -> Option<(Arc<str>, Option<Millis>)> {
        let membership = self.cluster.as_ref()?.gossip.membership();
        let name = self.state.nodes().get(&node)?.name.clone();
        match membership.state(node) {
            Some(NodeState::Alive) => None,
            Some(NodeState::Dead) => {
                let since = membership.since(node)?.max(self.quorum.held_since()?);
                let left = (since + WAIT) - now.moment;
                let why = format!("{name}, which is dead, to have stopped it for certain");
                (left != Millis(0)).then(|| (why.into(), Some(left)))
            }
            Some(
                NodeState::Suspicious | NodeState::Joining | NodeState::Left | NodeState::Failed,
            )
            | None => Some((format!("{name} to answer, or to be dead").into(), None)),
        }
    }

    /// Stops what must not run here any more, at once: it gets a short grace, and no hook runs.
    pub(super) fn stop_parted(&mut self, project: &ProjectName, now: Now) {
        if !self.singletons.contains(project) {
            return;
        }
        let stakes: Vec<ContainerId> = self.stakes(project).collect();
        for id in stakes {
            let Some(local) = self.local.get_mut(&id) else { continue };
            let lost = self.quorum.is_lost(now.moment);
            if lost && local.alive {
                local.parted.get_or_insert(now.moment);
            }
            let Some(since) = local.parted else { continue };
            if !local.alive && local.operation.is_none() {
                local.parted = None;
            } else if !local.alive {
                // It may run any moment, and is looked at then.
            } else if since + STOP_GRACE <= now.moment {
                // If that does not help, again with the next question.
                local.parted = Some(since + PROBE_INTERVAL);
                self.kill_parted(id);
            } else if local.operation.is_none() {
                self.halt_parted(id, now);
            }
        }
    }

    fn halt_parted(&mut self, container: ContainerId, now: Now) {
        let Some(record) = self.state.container(container) else { return };
        let Some(runtime_id) = record.runtime_id.clone() else { return };
        let spec = self.spec_from(&record.service, record.revision).map(|it| &it.container);
        let grace = spec.and_then(|it| it.stop_grace).unwrap_or(STOP_GRACE).min(STOP_GRACE);
        // As with any that is stopped to start again: it has followed no request to start yet.
        // And that it ended by itself is not to be said of it: a job would be done.
        self.amend(container, now, |record| (record.starts, record.held) = (0, true));
        let (hooks, grace, drain) = (vec![], Some(grace), None);
        let effect = Effect::Halt { container, runtime_id, hooks, grace, drain };
        self.begin(container, Operation::Halt, effect);
    }

    /// Whatever else is under way for it.
    fn kill_parted(&mut self, container: ContainerId) {
        let Some(record) = self.state.container(container) else { return };
        let Some(runtime_id) = record.runtime_id.clone() else { return };
        let signal = "SIGKILL".to_owned();
        self.effects.push(Effect::Signal { container, runtime_id, signal });
    }
}
