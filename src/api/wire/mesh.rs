//! Of the mesh: a node's place in it, and what names lead to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A node's place in the mesh.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeMesh {
    /// `wireguard`, or `userspace` where its kernel has none: slower.
    pub driver: String,
    /// The public key of its device, in base64.
    pub key: String,
    /// Where its device may be reached, the likeliest first.
    pub endpoints: Vec<String>,
    /// Where others hear its device, where that is not where it may be reached: it is behind a NAT.
    #[serde(default)]
    pub heard_at: Vec<String>,
    /// The nodes that it reaches by another only, and which: that one can read what it relays.
    #[serde(default)]
    pub relayed: BTreeMap<String, String>,
    /// Its own address in the mesh.
    pub address: String,
    /// The blocks of the overlay that its containers have addresses of.
    pub blocks: Vec<String>,
}

/// What a name leads to, for one asker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NameAnswer {
    /// The name, whole where an address was asked about.
    pub name: String,
    /// The type of record.
    pub kind: String,
    /// Who asked: a container's name, or the node's.
    pub asker: String,
    /// `found`; `no-data`: the name exists without such a record; `no-name`: it does not exist for this asker;
    /// `forwarded`: it is none of the cluster's; `stranger`: the asker has no address yet.
    pub outcome: String,
    /// The records, and those that will be asked for next.
    pub records: Vec<NameRecord>,
    /// Who is asked what is none of the cluster's; nobody is listed where the host's resolvers are.
    pub resolvers: Vec<String>,
}

/// A record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NameRecord {
    /// Whose.
    pub name: String,
    /// Its type.
    pub kind: String,
    /// For how many seconds it may be remembered.
    pub ttl_seconds: u32,
    /// What it says, as in a zone's file.
    pub data: String,
}
