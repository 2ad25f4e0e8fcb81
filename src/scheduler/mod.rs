//! Where things run: every member computes the same from the same state.
//!
//! Rendezvous hashing (Thaler, Ravishankar, 1998): each node has a score for each thing, and the highest
//! wins. When a node goes, only what it had moves.

mod hash;
mod objection;
mod place;
mod rebalance;
mod rules;
mod shares;
mod site;
mod spot;
mod spread;
mod together;
mod unit;
mod usage;

pub use objection::Objection;
pub use place::{Verdict, explain, place};
pub use rebalance::{Move, rebalance};
pub use rules::{Rules, turns};
pub use site::{Site, Sites, Standing};
pub use unit::{Count, Demand, Holder, Pending, Placement, Post, Unit, Why};
pub use usage::{Charge, HostPort, Tenant, Usage};

use sha2::{Digest, Sha256};

use crate::model::{NodeId, ProjectName};

/// The node that writes for all what one must write of a project, of those that are there.
#[must_use]
pub fn steward(project: &ProjectName, nodes: impl IntoIterator<Item = NodeId>) -> Option<NodeId> {
    nodes.into_iter().max_by_key(|node| (score(project.as_str(), *node), *node))
}

/// Frozen: members of different versions must agree.
fn score(thing: &str, node: NodeId) -> u64 {
    let hash = Sha256::new().chain_update(node.0.to_be_bytes()).chain_update(thing).finalize();
    hash.iter().take(8).fold(0, |score, byte| score << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests;
