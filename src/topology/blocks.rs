//! Which node has which blocks of the overlay.
//!
//! Nobody hands blocks out: a node claims a free one in its own record, waits until the others can have
//! heard, and uses it. Two halves of a cluster may claim one block; then the older claim holds, and of two of
//! the same age the lower node's. Whoever lost gives up the block and moves what has addresses of it.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;

use super::Plan;
use crate::model::{NodeId, Random, WallTime};

/// How many blocks a node may have. With the default plan that is 16,000 containers on one machine.
const OF_A_NODE_MAX: usize = 64;

/// What a node says that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Who.
    pub node: NodeId,
    /// What.
    pub block: Ipv4Net,
    /// Since when.
    pub since: WallTime,
}

/// Who has what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blocks {
    holders: BTreeMap<Ipv4Net, Claim>,
    lost: BTreeSet<(NodeId, Ipv4Net)>,
}

impl Blocks {
    /// Decides all claims. What is no block of the plan counts for nothing, nor what a node claims beyond
    /// its bound: a member that is wrong must not take the overlay from the others.
    #[must_use]
    pub fn of(plan: &Plan, claims: impl IntoIterator<Item = Claim>) -> Self {
        let mut by_node: BTreeMap<NodeId, Vec<Claim>> = BTreeMap::new();
        for claim in claims.into_iter().filter(|it| plan.has_block(it.block)) {
            by_node.entry(claim.node).or_default().push(claim);
        }
        let mut blocks = Self::default();
        for mut claims in by_node.into_values() {
            claims.sort_unstable_by_key(|it| (it.since, it.block));
            claims.into_iter().take(OF_A_NODE_MAX).for_each(|it| blocks.take(it));
        }
        blocks
    }

    fn take(&mut self, claim: Claim) {
        let before = |it: &Claim| (it.since, it.node);
        let Some(holder) = self.holders.get_mut(&claim.block) else {
            self.holders.insert(claim.block, claim);
            return;
        };
        let loser =
            if before(&claim) < before(holder) { std::mem::replace(holder, claim) } else { claim };
        self.lost.insert((loser.node, loser.block));
    }

    /// Who has a block.
    #[must_use]
    pub fn holder(&self, block: Ipv4Net) -> Option<NodeId> {
        self.holders.get(&block).map(|it| it.node)
    }

    /// The blocks that a node has.
    pub fn of_node(&self, node: NodeId) -> impl Iterator<Item = Ipv4Net> + '_ {
        self.holders.values().filter(move |it| it.node == node).map(|it| it.block)
    }

    /// The blocks that a node claimed, and another has.
    pub fn lost_by(&self, node: NodeId) -> impl Iterator<Item = Ipv4Net> + '_ {
        self.lost.iter().filter(move |(it, _)| *it == node).map(|(_, block)| *block)
    }

    /// A block that nobody claims, for a node that needs one; `None`: all are taken, or the node has as
    /// many as it may. By chance, so that two halves of a cluster seldom choose alike.
    #[must_use]
    pub fn choose(&self, plan: &Plan, node: NodeId, random: &mut Random) -> Option<Ipv4Net> {
        if OF_A_NODE_MAX <= self.of_node(node).count() {
            return None;
        }
        let free = plan.blocks() as usize - self.holders.len();
        let mut skip = random.below(free);
        (0..plan.blocks()).map(|it| plan.block(it)).find(|it| {
            let is_free = !self.holders.contains_key(it);
            let chosen = is_free && skip == 0;
            skip = skip.saturating_sub(usize::from(is_free));
            chosen
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::ClusterId;

    fn plan() -> Plan {
        Plan::new(ClusterId(7), "10.100.0.0/16".parse().unwrap(), 28).unwrap()
    }

    fn claim(node: u128, block: u32, since: u64) -> Claim {
        Claim { node: NodeId(node), block: plan().block(block), since: WallTime(since) }
    }

    #[test]
    fn the_older_claim_holds_and_of_two_of_one_age_the_lower_nodes() {
        let claims = [claim(2, 0, 10), claim(1, 0, 20), claim(4, 1, 5), claim(3, 1, 5)];
        let blocks = Blocks::of(&plan(), claims);
        assert_eq!(blocks.holder(plan().block(0)), Some(NodeId(2)));
        assert_eq!(blocks.holder(plan().block(1)), Some(NodeId(3)));
        assert_eq!(blocks.lost_by(NodeId(1)).collect::<Vec<_>>(), [plan().block(0)]);
        assert_eq!(blocks.lost_by(NodeId(4)).collect::<Vec<_>>(), [plan().block(1)]);
        assert_eq!(blocks.lost_by(NodeId(2)).count(), 0);
    }

    #[test]
    fn a_member_that_is_wrong_takes_nothing_from_the_others() {
        let greedy = (0..4096).map(|it| claim(1, it, 0));
        let foreign = Claim { block: "10.100.0.0/16".parse().unwrap(), ..claim(2, 0, 0) };
        let blocks = Blocks::of(&plan(), greedy.chain([foreign]));
        assert_eq!(blocks.of_node(NodeId(1)).count(), OF_A_NODE_MAX);
        assert_eq!(blocks.of_node(NodeId(2)).count(), 0);
        assert_eq!(blocks.choose(&plan(), NodeId(1), &mut Random::new(1)), None);
        assert!(blocks.choose(&plan(), NodeId(2), &mut Random::new(1)).is_some());
    }

    #[test]
    fn the_last_free_block_is_found_and_then_there_is_none() {
        let one_of = |it: u32| claim(u128::from(it / 64), it, 0);
        let most = Blocks::of(&plan(), (0..4096).filter(|it| *it != 77).map(one_of));
        let found = most.choose(&plan(), NodeId(999), &mut Random::new(3));
        assert_eq!(found, Some(plan().block(77)));
        let all = Blocks::of(&plan(), (0..4096).map(one_of));
        assert_eq!(all.choose(&plan(), NodeId(999), &mut Random::new(3)), None);
    }

    proptest! {
        #[test]
        fn whoever_hears_the_claims_in_whatever_order_decides_alike(
            claims in proptest::collection::vec((1_u128..6, 0_u32..8, 0_u64..4), 0..30),
            seed in any::<u64>(),
        ) {
            let claims: Vec<Claim> = claims.iter().map(|(a, b, c)| claim(*a, *b, *c)).collect();
            let mut others = claims.clone();
            let mut random = Random::new(seed);
            for at in (1..others.len()).rev() {
                others.swap(at, random.below(at + 1));
            }
            let blocks = Blocks::of(&plan(), claims.clone());
            prop_assert_eq!(&blocks, &Blocks::of(&plan(), others));
            for it in &claims {
                let holder = blocks.holder(it.block).unwrap();
                let lost = blocks.lost_by(it.node).any(|block| block == it.block);
                prop_assert!(holder == it.node || lost, "each claim holds or is lost");
            }
            let free = blocks.choose(&plan(), NodeId(9), &mut random);
            prop_assert!(free.is_some_and(|it| blocks.holder(it).is_none()));
        }
    }
}
