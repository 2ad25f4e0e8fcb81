//! How services change and where they run: versions, going back, steering, explanations, moves.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How many of a service's containers run on a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ServiceNode {
    /// The node.
    pub node: String,
    /// Its name.
    pub name: String,
    /// How many.
    pub containers: u32,
}

/// A change of a service that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FailedChange {
    /// The revision that failed.
    pub revision: String,
    /// Why.
    pub why: String,
}

/// Why a service's replicas are where they are.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// The project.
    pub project: String,
    /// The service.
    pub service: String,
    /// Each of its replicas.
    pub replicas: Vec<ReplicaPlace>,
    /// Each node that there is.
    pub nodes: Vec<NodeVerdict>,
    /// The services of the project that are always on one node with it.
    pub with: Vec<String>,
    /// When it runs, if it runs by the clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<super::Cron>,
}

/// Where a replica is to be, and is.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ReplicaPlace {
    /// Its slot, from one.
    pub slot: u32,
    /// The node that is to have it; absent while none may.
    pub node: Option<String>,
    /// That node's name.
    pub node_name: Option<String>,
    /// Why there; or what speaks against each node.
    pub why: String,
    /// The names of the nodes that run it now.
    pub runs_on: Vec<String>,
}

/// Whether a node may have one more replica.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct NodeVerdict {
    /// The node.
    pub node: String,
    /// Its name.
    pub name: String,
    /// What speaks against it; nothing: it may have one.
    pub objections: Vec<String>,
}

/// A deployment as it was once applied.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Revision {
    /// Its version.
    pub version: u64,
    /// What it comes to.
    pub content: String,
    /// What people call it: `3`, or `3.1a2b` where two were applied as version 3.
    pub name: String,
    /// Another was applied as this version in another part of the cluster at the same time.
    pub conflict: bool,
    /// When.
    pub at_ms: u64,
    /// The node that was asked.
    pub by: String,
    /// That node's name.
    pub by_name: String,
    /// The version that it was a return to.
    pub returns_to: Option<u64>,
    /// Its services.
    pub services: Vec<String>,
    /// How they differ from those of the version before, as far as that is kept.
    pub changes: Vec<RevisionChange>,
    /// The services that are this now, and no later version.
    pub runs: Vec<String>,
}

/// How a service differs from what it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RevisionChange {
    /// Which.
    pub service: String,
    /// `added`, `changed` or `removed`.
    pub change: String,
}

/// Goes back to what a deployment was. Answered with a plan, or with what was deployed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rollback {
    /// Only this service.
    #[serde(default)]
    pub service: Option<String>,
    /// The version; the last that was different when not set.
    #[serde(default)]
    pub version: Option<u64>,
    /// Of several of this version the one whose content begins so.
    #[serde(default)]
    pub content: Option<String>,
    /// Refuse if the deployment is no longer at this version (see [`Plan::version`](super::Plan::version)).
    #[serde(default)]
    pub if_version: Option<u64>,
    /// Only answer with the plan.
    #[serde(default)]
    pub dry_run: bool,
}

/// Has a deployment's networks span the nodes. Answered with a plan, or with what was deployed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Migrate {
    /// Refuse if the deployment is no longer at this version (see [`Plan::version`](super::Plan::version)).
    #[serde(default)]
    pub if_version: Option<u64>,
    /// Only answer with the plan.
    #[serde(default)]
    pub dry_run: bool,
}

/// Something to do to changes that go on.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RolloutAction {
    /// `pause`, `resume`, `promote` (canaries) or `abort`.
    pub action: String,
    /// Of which services; empty is all.
    #[serde(default)]
    pub services: Vec<String>,
}

/// Which containers a node is to take.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Availability {
    /// `open` for any, `cordoned` for no new ones, `draining` for none: what it has is to go elsewhere.
    pub availability: String,
}

/// Gives nodes that came late their share of what runs.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rebalance {
    /// Only answer with what would move.
    #[serde(default)]
    pub dry_run: bool,
}

/// A replica that goes from one node to another.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Move {
    /// Its project.
    pub project: String,
    /// Its service.
    pub service: String,
    /// Its slot.
    pub slot: u32,
    /// The node that it is on.
    pub from: String,
    /// That node's name.
    pub from_name: String,
    /// The node that it is to be on.
    pub to: String,
    /// That node's name.
    pub to_name: String,
}
