//! What a node lets others read: an immutable picture, made anew when something changed.

use std::{collections::BTreeMap, sync::Arc};

use super::Activity;
use crate::{
    model::{ContainerId, NodeId, ProjectName, ServiceKey, WallTime, spec::ProjectSpec},
    state::ClusterState,
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
