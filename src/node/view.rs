//! What a node lets others read: an immutable picture, made anew when something changed.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use super::Activity;
use crate::{
    gossip::{Epoch, Keyring, Rejected},
    model::{
        ContainerId, Millis, Moment, NodeId, NodeState, ProjectName, ServiceKey, WallTime,
        spec::ProjectSpec,
    },
    state::ClusterState,
    topology::Plan,
};

/// What a node lets others read.
#[derive(Clone, Debug)]
pub struct View {
    /// Which node.
    pub me: NodeId,
    /// What the cluster has agreed, as this node knows it.
    pub state: Arc<ClusterState>,
    /// The deployments' specs, decoded.
    pub projects: BTreeMap<ProjectName, Arc<ProjectSpec>>,
    /// What is being done to containers.
    pub doing: BTreeMap<ContainerId, Activity>,
    /// Containers' last health checks, newest last.
    pub checks: BTreeMap<ContainerId, Vec<CheckResult>>,
    /// Services that cannot become as wanted without help, and why.
    pub stuck: BTreeMap<ServiceKey, Arc<str>>,
    /// Services that are as wanted.
    pub ready: std::collections::BTreeSet<ServiceKey>,
    /// How the container runtime is.
    pub runtime: RuntimeStatus,
    /// Where addresses of the overlay come from, if this node is in the mesh.
    pub overlay: Option<Plan>,
    /// The cluster, if this node is in one.
    pub cluster: Option<ClusterView>,
}

impl View {
    /// The nodes that this node does not reach.
    pub fn unreachable(&self) -> impl Iterator<Item = NodeId> + '_ {
        let all = self.state.nodes().iter().map(|(id, _)| *id);
        all.filter(|it| self.out_of_reach(*it).is_some())
    }

    /// How a node is, if this node does not reach it.
    #[must_use]
    pub fn out_of_reach(&self, node: NodeId) -> Option<NodeState> {
        let standing = self.cluster.as_ref()?.standings.get(&node)?;
        match standing.state {
            NodeState::Suspicious | NodeState::Dead => Some(standing.state),
            NodeState::Joining | NodeState::Alive | NodeState::Left | NodeState::Failed => None,
        }
    }
}

/// The cluster as this node sees it.
#[derive(Clone, Debug)]
pub struct ClusterView {
    /// How the other members are.
    pub standings: BTreeMap<NodeId, Standing>,
    /// The cluster's keys.
    pub keys: Keyring,
    /// This node has compared its state with the others', and writes.
    pub ready: bool,
    /// How ill this node thinks it is itself: 0 is well, 8 as ill as can be.
    pub illness: u64,
    /// How far its clock is ahead of the others'.
    pub clock_error_ms: Option<i64>,
    /// When another was last seen to have just what this node has.
    pub agreed: Moment,
    /// What it sent and received.
    pub traffic: Traffic,
    /// Where members were last heard from.
    pub endpoints: BTreeMap<NodeId, SocketAddr>,
    /// When they were last heard, and who else spoke as they do.
    pub contacts: BTreeMap<NodeId, Contact>,
    /// The newest of the cluster's keys that each is known to have.
    pub epochs: BTreeMap<NodeId, Epoch>,
}

/// What came from a member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contact {
    /// When its last datagram came.
    pub heard: Option<Moment>,
    /// When this node last put a question to it that it has answered itself.
    pub answered: Option<Moment>,
    /// Where datagrams came from that bear its name and are of an earlier life of it, as a copy's are, and when
    /// the last one did. Nothing proves who sent them.
    pub strays: BTreeMap<SocketAddr, Moment>,
}

/// How a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// How.
    pub state: NodeState,
    /// Since when.
    pub since: WallTime,
    /// How long it takes to answer.
    pub round_trip: Option<Millis>,
}

/// What a node sent, received, and saw of the others since it was started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Datagrams sent, and their bytes.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Datagrams received.
    pub received: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Of those, such that were not taken.
    pub rejected: BTreeMap<Rejected, u64>,
    /// Members that became unreachable.
    pub suspicions: u64,
    /// Members that turned out to be well after all.
    pub refutations: u64,
    /// Comparisons of state that this node began.
    pub comparisons: u64,
    /// Streams by which state was fetched.
    pub fetches: u64,
}

/// How the container runtime is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuntimeStatus {
    /// Not asked yet.
    Unknown,
    /// It answers.
    Up,
    /// It does not, for this reason.
    Down(Arc<str>),
}

/// One health check's result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckResult {
    /// When.
    pub at: WallTime,
    /// Whether it passed.
    pub passed: bool,
    /// What it said.
    pub output: Arc<str>,
}
