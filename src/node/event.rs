//! Everything that can happen to a node.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
};

use super::{Activity, Holdings, Request, RequestId};
use crate::{
    gossip::{Epoch, Fetched, Key},
    model::{ContainerId, ImageId, NodeId, Observed, ProjectName, PublicKey, spec::HealthSpec},
    state::Write,
};

/// Everything that can happen to a node.
#[derive(Debug)]
pub enum Event {
    /// A user or a tool wants something. From the API.
    Asked(RequestId, Request),
    /// The runtime answers; this is its name and version.
    RuntimeFound(Arc<str>),
    /// All the containers that bear this node's label, and their images' own health checks.
    Observed(Vec<Observed>, BTreeMap<ImageId, HealthSpec>),
    /// The local volumes that are here now.
    Volumes(Holdings),
    /// The runtime cannot be reached, for this reason.
    RuntimeLost(Arc<str>),
    /// One container as it is now.
    Seen(ContainerId, Sight),
    /// What was begun for a container has come to this step.
    Progressed(ContainerId, Activity),
    /// What was begun for a container is over, and this is the container after it, where the runtime
    /// could still be asked.
    Finished(ContainerId, Result<(), Failure>, Option<Sight>),
    /// What was begun for a project's networks, volumes and images is over.
    Cleared(ProjectName, Result<(), Failure>),
    /// A health check has a result, or `None`: it could not be made, which says nothing.
    Probed(ContainerId, Option<ProbeResult>),
    /// A datagram came from there.
    Datagram(SocketAddr, Vec<u8>),
    /// So many [`super::Effect::Persist`] since the start are durable.
    Persisted(u64),
    /// Writes came that were fetched.
    Fetched(NodeId, Vec<Write>),
    /// A fetch is over: what its sender had seen, if all came.
    FetchEnded(NodeId, Option<Fetched>),
    /// One of the cluster's keys is on disk, or could not be unwrapped.
    Unwrapped(Epoch, Option<Key>),
    /// What this node's device tells, and where the machine is now.
    Underlay(Box<Underlay>),
    /// Somebody wants to know which members answer: ask these now.
    Seek(Vec<NodeId>),
    /// How a container takes the connections that this node leads to it, as that changed.
    Reception(ContainerId, Reception),
    /// Time has passed.
    Tick,
}

/// How a container takes connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reception {
    /// It takes them.
    Open,
    /// It refused one: it is left out.
    Refused,
    /// It left one unanswered: it is left out.
    Silent,
}

/// This node's place in the network under the mesh, as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Underlay {
    /// Where other members reach it.
    pub address: Option<SocketAddr>,
    /// The key of its device.
    pub key: PublicKey,
    /// Where its device may be reached, the likeliest first.
    pub endpoints: Vec<SocketAddr>,
    /// Where its device hears those that are not where they say.
    pub heard: BTreeMap<NodeId, SocketAddr>,
    /// Those that its device does not hear, though they are there.
    pub missed: BTreeSet<NodeId>,
}

/// A look at one container.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sight {
    /// What the runtime says; `None`: it is gone.
    pub container: Option<Box<Observed>>,
    /// Its image's own health check.
    pub image_health: Option<HealthSpec>,
}

/// Why something could not be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What and why, for people.
    pub reason: Arc<str>,
    /// Whether the same again may work without a change: the runtime was away, the network failed.
    pub passing: bool,
}

/// A health check's result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeResult {
    /// Whether it passed.
    pub passed: bool,
    /// What it said, cut to 4 KiB.
    pub output: Arc<str>,
}
