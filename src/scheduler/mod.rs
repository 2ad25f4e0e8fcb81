//! Where things run: every member computes the same from the same state.
//!
//! Rendezvous hashing (Thaler, Ravishankar, 1998): each node has a score for each thing, and the highest
//! wins. When a node goes, only what it had moves.

mod hash;
mod objection;
mod place;
mod rebalance;
mod rules;
mod site;
mod spot;
mod spread;
mod together;
mod unit;
mod usage;

pub use objection::Objection;
pub use place::{Verdict, explain, place};
pub use rebalance::{Move, rebalance};
pub use rules::Rules;
pub use site::{Site, Sites, Standing};
pub use unit::{Count, Demand, Holder, Pending, Placement, Post, Unit, Why};
pub use usage::{Charge, HostPort, Tenant, Usage};

use sha2::{Digest, Sha256};

use crate::model::{NodeId, ProjectName};

/// The node that has a project, of those that may. All of a project's containers are on one node as
/// long as only a node's own networks join them.
#[must_use]
pub fn home(project: &ProjectName, nodes: impl IntoIterator<Item = NodeId>) -> Option<NodeId> {
    nodes.into_iter().max_by_key(|node| (score(project.as_str(), *node), *node))
}

/// Frozen: members of different versions must agree.
fn score(thing: &str, node: NodeId) -> u64 {
    let hash = Sha256::new().chain_update(node.0.to_be_bytes()).chain_update(thing).finalize();
    hash.iter().take(8).fold(0, |score, byte| score << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn scores_are_what_they_were() {
        assert_eq!(score("shop", NodeId(1)), 0xf8ea_152a_fefa_409a);
    }

    #[test]
    fn only_what_a_node_had_moves_when_it_goes() {
        let nodes: Vec<NodeId> = (1..=5).map(NodeId).collect();
        let projects: Vec<ProjectName> =
            (0..500).map(|it| format!("p{it}").parse().unwrap()).collect();
        let mut counts = BTreeMap::new();
        for project in &projects {
            let before = home(project, nodes.iter().copied()).unwrap();
            *counts.entry(before).or_insert(0) += 1;
            let after = home(project, nodes.iter().copied().filter(|it| it.0 != 3)).unwrap();
            assert!(before == after || before == NodeId(3));
        }
        assert!(counts.values().all(|it| (60..=140).contains(it)), "{counts:?}");
        assert_eq!(home(&projects[0], []), None);
    }
}
