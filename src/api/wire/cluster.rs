//! The cluster itself: founding, joining, tokens, members.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// How long a token is good unless told otherwise.
const TOKEN_TTL_MS: u64 = 3_600_000;

/// A cluster was made.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct Founded {
    /// Its id, 32 hexadecimal digits.
    pub id: String,
    /// Its secret, with which nodes can join without a token. It is told this once.
    pub secret: String,
}

impl fmt::Debug for Founded {
    /// Never shows the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Founded({})", self.id)
    }
}

/// Asks to come into a cluster.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Join {
    /// A member: `HOST:PORT`.
    pub address: String,
    /// A token, or the cluster's secret.
    pub ticket: String,
}

impl fmt::Debug for Join {
    /// Never shows the ticket.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Join({})", self.address)
    }
}

/// This node came into a cluster.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Joined {
    /// The cluster's name.
    pub cluster: String,
}

/// How to leave (query).
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Leave {
    /// At once, whatever runs here, and even if no other member can be told.
    #[serde(default)]
    pub force: bool,
    /// How long what runs here may take to move; five minutes when not set.
    pub timeout_ms: Option<u64>,
}

/// The cluster as this node sees it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// Its id; absent while this node is in none.
    pub id: Option<String>,
    /// The node that answers.
    pub node: String,
    /// The number of the cluster's newest key.
    pub key_epoch: Option<u32>,
    /// How many members are how.
    pub members: BTreeMap<String, u32>,
    /// How far this node's clock is ahead of the others', as far as it has heard.
    pub clock_error_ms: Option<i64>,
    /// Whether this node has compared its state with the others' since it was started. Until then it
    /// changes nothing.
    pub synced: bool,
    /// A hash of all that is agreed, as this node knows it: members that know the same have the same.
    pub state: String,
    /// Whether it can serve.
    pub ready: bool,
    /// Why not.
    pub problems: Vec<String>,
}

/// The cluster has another key.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Rotated {
    /// Its number.
    pub key_epoch: u32,
}

/// Asks for a token.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// How long it is good: an hour when not set.
    #[serde(default = "token_ttl")]
    pub ttl_ms: u64,
    /// How many nodes may come with it: one when not set; 0 is any number.
    #[serde(default = "one")]
    pub uses: u16,
}

fn token_ttl() -> u64 {
    TOKEN_TTL_MS
}

fn one() -> u16 {
    1
}

/// A token was made.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct NewToken {
    /// Its id.
    pub id: String,
    /// What a newcomer shows. It is told this once.
    pub token: String,
}

impl fmt::Debug for NewToken {
    /// Never shows the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NewToken({})", self.id)
    }
}

/// A token, without its secret.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Token {
    /// Its id, 16 hexadecimal digits.
    pub id: String,
    /// `good`; or why it is of no use any more: `revoked`, `expired`, `used`, or `stale` where the
    /// cluster's key was changed.
    pub state: String,
    /// When it was made.
    pub created_ms: u64,
    /// Which node made it.
    pub by: String,
    /// That node's name.
    pub by_name: String,
    /// From when on it is of no use.
    pub expires_ms: u64,
    /// How many nodes may come with it; 0 is any number.
    pub uses: u16,
    /// How many have.
    pub used: u32,
}

/// How a node came into the cluster.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Admission {
    /// The member that let it in.
    pub by: String,
    /// That member's name.
    pub by_name: String,
    /// When.
    pub at_ms: u64,
    /// With which token; absent: with the cluster's secret.
    pub token: Option<String>,
    /// More nodes came with that token than it allows, through members that did not reach each other.
    /// All of them are marked.
    #[serde(default)]
    pub token_overused: bool,
}

/// A node's place in the mesh.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct NodeMesh {
    /// The public key of its WireGuard device, in base64.
    pub key: String,
    /// Where its device may be reached, the likeliest first.
    pub endpoints: Vec<String>,
    /// The blocks of the overlay that it claims.
    pub blocks: Vec<String>,
    /// Its kernel has no WireGuard: a process speaks it, which is slower.
    pub degraded: bool,
}

/// How to put a node out (query).
#[derive(Clone, Debug, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct RemoveNode {
    /// Even if it is alive.
    #[serde(default)]
    pub force: bool,
    /// Give the others another key, which it does not get: true when not set.
    #[serde(default = "yes")]
    pub rotate: bool,
}

fn yes() -> bool {
    true
}

/// Labels for a node: a value gives one, null takes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct Labels(pub BTreeMap<String, Option<String>>);
