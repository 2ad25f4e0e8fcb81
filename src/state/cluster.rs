//! Everything the cluster has agreed, and how one write changes it.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    change::{Change, Kind, Place, Write},
    clock::{Dot, HybridClock, ReplicaId, Stamp},
    collections::Collections,
    context::Context,
    dotted_map::Fate,
    lww_map::LwwMap,
    records::{
        ContainerRecord, DeploymentRecord, IpAllocation, NodeRecord, RevisionKey, RevisionRecord,
        SealedSecret, SecretPath, ServiceRecord,
    },
    step::{Applied, Step},
    vector::VersionVector,
};
use crate::model::{
    ContainerId, NodeId, NodeState, ProjectName, Revision, ServiceKey, TokenId, WallTime,
};

/// Everything the cluster has agreed, as this node knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterState {
    pub(super) replica: ReplicaId,
    clock: HybridClock,
    pub(super) context: Context,
    pub(super) collections: Collections,
}

impl ClusterState {
    /// An empty state that this replica will write to.
    #[must_use]
    pub fn new(replica: ReplicaId) -> Self {
        Self { replica, ..Self::default() }
    }

    /// Who writes to it.
    #[must_use]
    pub fn replica(&self) -> ReplicaId {
        self.replica
    }

    /// Makes a change here and now. It follows, and so ends, everything that this state has of the
    /// key. The step must be durable before anyone else hears of the write.
    pub fn commit(&mut self, change: Change, now: WallTime) -> Step {
        let mut step = Step::default();
        self.write(change, now, &mut step);
        step
    }

    /// Makes a change that says what has come of the value that stands. It follows all that this state has
    /// of the key, as every change does; but against what somebody else writes meanwhile it loses, as if
    /// it were written right after that value. Without one it is [`commit`](Self::commit).
    pub fn conclude(&mut self, change: Change, now: WallTime) -> Step {
        let mut step = Step::default();
        let standing = self.collections.standing(&change.place()).map(|it| it.stamp);
        let after = standing.and_then(|it| Some(Stamp { count: it.count.checked_add(1)?, ..it }));
        let stamp = match after {
            Some(after) => Stamp { replica: self.replica, ..after },
            None => self.stamp(now, &mut step),
        };
        self.write_as(change, stamp, &mut step);
        step
    }

    pub(super) fn write(&mut self, change: Change, now: WallTime, step: &mut Step) {
        let stamp = self.stamp(now, step);
        self.write_as(change, stamp, step);
    }

    fn stamp(&mut self, now: WallTime, step: &mut Step) -> Stamp {
        let stamp = self.clock.stamp(now, self.replica);
        step.clock = Some(self.clock);
        stamp
    }

    fn write_as(&mut self, change: Change, stamp: Stamp, step: &mut Step) {
        let sequence = self.context.highest(self.replica) + 1;
        let dot = Dot { replica: self.replica, sequence };
        let past = self.collections.past_of(&change.place(), self.replica);
        let write = Write { dot, stamp, past, change };
        let fate = self.collections.foresee(&write);
        self.take_in(write, &fate, step);
    }

    /// Takes in a write of a peer, in whatever order they come.
    pub fn apply(&mut self, write: Write, now: WallTime) -> Applied {
        if self.context.has(write.dot) {
            return Applied::Known;
        }
        let fate = self.collections.foresee(&write);
        if !self.context.has_room(write.dot, &fate) {
            return Applied::Refused;
        }
        let mut step = Step::default();
        self.observe(write.stamp, now, &mut step);
        self.take_in(write, &fate, &mut step);
        Applied::New(step)
    }

    fn take_in(&mut self, write: Write, fate: &Fate, step: &mut Step) {
        let place = write.change.place();
        for &dot in &fate.ended {
            self.end(&place, dot, step);
        }
        let dot = write.dot;
        if fate.kept {
            self.collections.put(&write);
            step.writes.push(write);
        }
        self.context.note(dot, fate.kept.then_some(place), step);
    }

    pub(super) fn end(&mut self, place: &Place, dot: Dot, step: &mut Step) {
        self.collections.end(place, dot);
        self.context.end(dot, step);
        step.ended.push((place.clone(), dot));
    }

    fn observe(&mut self, stamp: Stamp, now: WallTime, step: &mut Step) {
        let before = self.clock;
        self.clock.observe(stamp, now);
        if self.clock != before {
            step.clock = Some(self.clock);
        }
    }

    /// Goes on writing as another writer, and keeps everything. For a data directory that was set back
    /// (see [`Self::knows_less_of_itself`]): the numbers that it would give next were given already. It
    /// is to [`enter`](Self::enter) the cluster again, as a new writer.
    pub fn take_new_replica(&mut self, replica: ReplicaId) -> Step {
        self.replica = replica;
        Step { replica: Some(replica), ..Step::default() }
    }

    /// Whether a peer has seen more of this writer than it has itself: its data directory was set
    /// back, as from a backup.
    #[must_use]
    pub fn knows_less_of_itself(&self, peer: &VersionVector) -> bool {
        self.context.seen().last(self.replica) < peer.last(self.replica)
    }

    /// What was seen of every writer without a gap.
    #[must_use]
    pub fn seen(&self) -> &VersionVector {
        self.context.seen()
    }

    /// The same, to be kept: it is shared until this state moves on.
    #[must_use]
    pub fn seen_shared(&self) -> Arc<VersionVector> {
        self.context.seen().clone()
    }

    /// Every node.
    #[must_use]
    pub fn nodes(&self) -> &LwwMap<NodeId, NodeRecord> {
        &self.collections.nodes
    }

    /// Whether a node has left, or was removed. That holds also where the node wrote its record at the
    /// same time, without knowing: it must come again to be back.
    #[must_use]
    pub fn has_left(&self, node: NodeId) -> bool {
        let nodes = self.nodes();
        nodes.get(&node).is_some_and(|it| says_left(it))
            || nodes.conflicts(&node).any(|it| it.value.as_deref().is_some_and(says_left))
    }

    /// The writes by which nodes were forgotten, and that are not collected yet.
    pub fn forgotten(&self) -> impl Iterator<Item = Dot> + '_ {
        let siblings = self.nodes().0.iter().flat_map(|(_, siblings)| siblings);
        siblings.filter(|it| it.value.is_none()).map(|it| it.dot)
    }

    /// The writes that say that a node has left.
    #[must_use]
    pub fn farewells(&self, node: NodeId) -> Vec<Dot> {
        let nodes = self.nodes();
        let standing = nodes.get(&node).filter(|it| says_left(it)).and_then(|_| nodes.dot(&node));
        let others = nodes.conflicts(&node);
        let others = others.filter(|it| it.value.as_deref().is_some_and(says_left));
        standing.into_iter().chain(others.map(|it| it.dot)).collect()
    }

    /// How many nodes have come with each token.
    #[must_use]
    pub fn token_uses(&self) -> BTreeMap<TokenId, usize> {
        let mut uses = BTreeMap::new();
        let admissions = self.nodes().iter().filter_map(|(_, it)| it.admission.as_ref());
        for (token, _) in admissions.filter_map(|it| it.token) {
            *uses.entry(token).or_default() += 1;
        }
        uses
    }

    /// Whether a node of this state writes as a replica.
    #[must_use]
    pub fn is_a_nodes(&self, replica: ReplicaId) -> bool {
        self.nodes().iter().any(|(_, it)| it.replica == replica)
    }

    /// Every service.
    #[must_use]
    pub fn services(&self) -> &LwwMap<ServiceKey, ServiceRecord> {
        &self.collections.services
    }

    /// The services of a project.
    pub fn services_of<'a>(
        &'a self,
        project: &'a ProjectName,
    ) -> impl Iterator<Item = (&'a ServiceKey, &'a Arc<ServiceRecord>)> {
        let first = ServiceKey::first_of(project.clone());
        self.services().from(first).take_while(move |(key, _)| key.project == *project)
    }

    /// Every deployment.
    #[must_use]
    pub fn deployments(&self) -> &LwwMap<ProjectName, DeploymentRecord> {
        &self.collections.deployments
    }

    /// What deployments were, each as often as it was applied.
    #[must_use]
    pub fn revisions(&self) -> &LwwMap<RevisionKey, RevisionRecord> {
        &self.collections.revisions
    }

    /// What a deployment was, the oldest first.
    pub fn revisions_of<'a>(
        &'a self,
        project: &'a ProjectName,
    ) -> impl Iterator<Item = (&'a RevisionKey, &'a Arc<RevisionRecord>)> {
        let first = RevisionKey { project: project.clone(), version: 0, content: Revision(0) };
        self.revisions().from(first).take_while(move |(key, _)| key.project == *project)
    }

    /// Every secret, sealed.
    #[must_use]
    pub fn secrets(&self) -> &LwwMap<SecretPath, SealedSecret> {
        &self.collections.secrets
    }

    /// Every container, by its latest account of itself, should there be several.
    pub fn containers(&self) -> impl Iterator<Item = &Arc<ContainerRecord>> {
        self.collections.containers.iter().map(|(_, element)| element)
    }

    /// A container, by its latest account of itself.
    #[must_use]
    pub fn container(&self, id: ContainerId) -> Option<&Arc<ContainerRecord>> {
        self.collections.containers.get(&id)
    }

    /// Every taken address.
    pub fn ip_allocations(&self) -> impl Iterator<Item = IpAllocation> + '_ {
        self.collections.ip_allocations.iter().map(|(taken, _)| *taken)
    }
}

fn says_left(record: &NodeRecord) -> bool {
    record.state == NodeState::Left
}

/// Taking in what a disk holds: parts of a state that was whole.
impl ClusterState {
    pub(super) fn restore_write(&mut self, write: &Write) {
        self.collections.put(write);
        self.context.restore_live(write.dot, write.change.place());
    }

    pub(super) fn restore_seen(&mut self, dot: Dot) {
        self.context.restore_seen(dot);
    }

    pub(super) fn restore_cloud(&mut self, dot: Dot) {
        self.context.restore_cloud(dot);
    }

    pub(super) fn restore_collected(&mut self, kind: Kind, dot: Dot) {
        self.collections.note_collected(kind, &VersionVector::from_iter([dot]));
    }

    pub(super) fn restore_clock(&mut self, clock: HybridClock) {
        self.clock = clock;
    }

    pub(super) fn restore_replica(&mut self, replica: ReplicaId) {
        self.replica = replica;
    }
}
