//! What is wrong with a node, and what to do about it.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// All checks of a machine.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Examination {
    /// The node's name; absent where a machine was looked at that has no daemon.
    pub node: Option<String>,
    /// Its id.
    pub id: Option<String>,
    /// Who looked: `daemon`, or `command`, which sees nothing of a cluster.
    pub by: String,
    /// Fizz's version there.
    pub version: String,
    /// The checks, always the same in the same order.
    pub checks: Vec<Check>,
}

/// What came of a check.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Check {
    /// Its name: `udp`, `mtu`, `wireguard`, `bpf`, `clock`, `range`, `identity`, `runtime`, `forwarding`, `dns`,
    /// `disk`.
    pub check: String,
    /// `ok`, `unchecked`, `warning` or `failed`: the worst of its findings.
    pub state: String,
    /// In one line: the worst finding's fault, what is well, or why it was not looked at.
    pub summary: String,
    /// What is wrong, the worst first.
    pub findings: Vec<Finding>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// `unchecked`, `warning` or `failed`.
    pub state: String,
    /// What is wrong, in one line.
    pub fault: String,
    /// What was seen.
    pub seen: String,
    /// Why it matters.
    pub why: String,
    /// What to do: steps, or ways of which one will do.
    pub cure: Vec<String>,
}

/// Whom a member is asked about (query).
#[derive(Clone, Debug, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct SightOf {
    /// A node's id.
    pub of: String,
}

/// What a member tells another that examines itself.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Sight {
    /// This run of its daemon: two that tell one node's id and differ in this are two machines.
    pub run: String,
    /// A hash of its machine-id(5), if the machine has one.
    pub machine: Option<String>,
    /// `network.overlay`.
    pub overlay: String,
    /// `network.node_prefix`.
    pub node_prefix: u8,
    /// How long ago the last datagram of the node came that it was asked about.
    pub heard_ms: Option<u64>,
    /// What its clock showed when it was asked.
    pub asked_ms: u64,
    /// What its clock shows as it answers: it first gives datagrams the time to come.
    pub answers_ms: u64,
}
