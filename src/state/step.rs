//! What a step of the state changes.

use super::{
    change::{Change, Kind, Place, Write},
    clock::{Dot, HybridClock, ReplicaId},
    records::{IpAllocation, RevisionKey, SecretPath},
};
use crate::model::{ContainerId, NodeId, ProjectName};

/// A step that the state took: what must become durable together, and what peers are to hear once it
/// is. [`encode`](super::encode) makes rows of it.
#[must_use = "a step that is not made durable is lost with the process"]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Writes that stand now.
    pub(super) writes: Vec<Write>,
    /// Writes that stood, and where.
    pub(super) ended: Vec<(Place, Dot)>,
    /// How far the version vector is now, for the writers that it moved for.
    pub(super) seen: Vec<Dot>,
    /// What the cloud took in, before what was filled.
    pub(super) clouded: Vec<Dot>,
    /// What the cloud let go.
    pub(super) filled: Vec<Dot>,
    /// How far removals were collected.
    pub(super) collected: Vec<(Kind, Dot)>,
    /// The clock, if it moved.
    pub(super) clock: Option<HybridClock>,
    /// Who writes from now on, if that changed.
    pub(super) replica: Option<ReplicaId>,
}

impl Step {
    /// The writes that stand since this step, and that peers do not know yet.
    #[must_use]
    pub fn writes(&self) -> &[Write] {
        &self.writes
    }

    /// The keys where something stands, or stood, other than before: what depends on them is to be
    /// looked at again.
    pub fn touched(&self) -> impl Iterator<Item = Touched<'_>> {
        let placed = self.writes.iter().map(|it| Touched::of_change(&it.change));
        placed.chain(self.ended.iter().map(|(place, _)| Touched::of_place(place)))
    }

    /// Whether it changed nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What a step may have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Touched<'a> {
    /// A node.
    Node(NodeId),
    /// A project: its deployment or a service of it.
    Project(&'a ProjectName),
    /// What a deployment was before.
    Revision(&'a RevisionKey),
    /// A secret.
    Secret(&'a SecretPath),
    /// A container.
    Container(ContainerId),
    /// An address.
    Address(&'a IpAllocation),
}

impl<'a> Touched<'a> {
    fn of_change(change: &'a Change) -> Self {
        match change {
            Change::Node(id, _) => Self::Node(*id),
            Change::Service(key, _) => Self::Project(&key.project),
            Change::Deployment(name, _) => Self::Project(name),
            Change::Revision(key, _) => Self::Revision(key),
            Change::Secret(path, _) => Self::Secret(path),
            Change::Container(id, _) => Self::Container(*id),
            Change::IpAllocation(it, _) => Self::Address(it),
        }
    }

    fn of_place(place: &'a Place) -> Self {
        match place {
            Place::Node(id) => Self::Node(*id),
            Place::Service(key) => Self::Project(&key.project),
            Place::Deployment(name) => Self::Project(name),
            Place::Revision(key) => Self::Revision(key),
            Place::Secret(path) => Self::Secret(path),
            Place::Container(id) => Self::Container(*id),
            Place::IpAllocation(it) => Self::Address(it),
        }
    }
}

/// What became of a write that came from elsewhere.
#[must_use = "a write that is new must be made durable"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It was new.
    New(Step),
    /// It was seen before.
    Known,
    /// It came too far out of order: too many wait already for what is missing. It comes again with
    /// the next exchange, which must not be ended with [`join`](super::ClusterState::join) while one
    /// of its writes was refused.
    Refused,
}

impl Applied {
    /// The step, if it was new.
    #[must_use]
    pub fn step(self) -> Option<Step> {
        match self {
            Self::New(step) => Some(step),
            Self::Known | Self::Refused => None,
        }
    }
}
