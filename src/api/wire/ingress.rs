//! Of ingress: the published ports of the nodes, and who takes what comes there.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The published ports of a node, and what came there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeIngress {
    /// The node's id.
    pub node: String,
    /// Its name.
    pub node_name: String,
    /// `programs` in its kernel; or its `firewall`, slower, without the clients' addresses and with nothing counted; or
    /// its `runtime`, which leads to the replicas of this node only, where it is in no mesh.
    pub carried_by: String,
    /// Why not by programs, where they were to.
    pub degraded: Option<String>,
    /// Its ports.
    pub ports: Vec<IngressPort>,
    /// Packets that went no further, by why.
    pub dropped: BTreeMap<String, u64>,
}

/// A published port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IngressPort {
    /// Its number.
    pub port: u16,
    /// `tcp`, `udp`, `sctp`.
    pub protocol: String,
    /// The one address at which it is published; all where not set.
    pub host_ip: Option<String>,
    /// Whose it is, `PROJECT/SERVICE`.
    pub services: Vec<String>,
    /// Replicas on the node that was asked go first.
    pub local_first: bool,
    /// A client's address alone chooses.
    pub affinity: bool,
    /// Who may connect; everyone where none is listed.
    pub allowed: Vec<String>,
    /// Who takes what comes.
    pub replicas: Vec<IngressReplica>,
}

/// A replica behind a port, as a node finds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IngressReplica {
    /// The container's id.
    pub container: String,
    /// Its name.
    pub name: String,
    /// The name of its node.
    pub node_name: String,
    /// Where it takes connections.
    pub address: String,
    /// `open`; `closed` to new connections, as it is not well or is leaving; `refused`, `silent`: left out, as it did not
    /// take a connection.
    pub state: String,
    /// Connections that are open by this node.
    pub open: u64,
    /// Connections that this node led there.
    pub taken: u64,
    /// Of these, those that it refused.
    pub refused: u64,
    /// How often it left one unanswered.
    pub silent: u64,
    /// Open connections that it broke off.
    pub resets: u64,
}
