//! Containers' addresses within their node's blocks.
//!
//! Only a block's holder gives its addresses, so no two nodes ever choose one between them. What can meet is
//! what two holders of one block gave while they did not hear each other: then the block is decided
//! ([`Blocks`](super::Blocks)), and whoever lost it gives all that it took from it anew.

use std::{collections::BTreeMap, net::Ipv4Addr};

use ipnet::Ipv4Net;

use crate::model::{ContainerId, Random};

/// The node's own address in a block, as its containers' gateway: the first after the network's.
#[must_use]
pub fn gateway(block: Ipv4Net) -> Ipv4Addr {
    (u32::from(block.network()) + 1).into()
}

/// How many containers a block has addresses for.
#[must_use]
pub fn room(block: Ipv4Net) -> usize {
    // Without the network's, the gateway's and the one for all.
    (1 << (32 - block.prefix_len())) - 3
}

/// An address for a container from its node's blocks: the one that it has, if it may keep that; else a free
/// one, by chance, so that one that was just freed seldom comes again soon while others may still send to it.
/// `None`: the blocks are full.
#[must_use]
pub fn allocate(
    blocks: &[Ipv4Net],
    taken: &BTreeMap<Ipv4Addr, ContainerId>,
    container: ContainerId,
    random: &mut Random,
) -> Option<Ipv4Addr> {
    let within = |it: &Ipv4Addr| blocks.iter().any(|block| block.contains(it));
    if let Some((kept, _)) = taken.iter().find(|(it, by)| **by == container && within(it)) {
        return Some(*kept);
    }
    let used = |block: &Ipv4Net| taken.range(block.network()..=block.broadcast()).count();
    let free = |block: &Ipv4Net| room(*block).saturating_sub(used(block));
    let mut skip = random.below(blocks.iter().map(free).sum());
    for block in blocks {
        if free(block) <= skip {
            skip -= free(block);
            continue;
        }
        let first = u32::from(gateway(*block)) + 1;
        let all = (first..u32::from(block.broadcast())).map(Ipv4Addr::from);
        return all.filter(|it| !taken.contains_key(it)).nth(skip);
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn blocks(texts: &[&str]) -> Vec<Ipv4Net> {
        texts.iter().map(|it| it.parse().unwrap()).collect()
    }

    #[test]
    fn all_addresses_of_all_blocks_are_given_once_and_then_there_is_none() {
        let blocks = blocks(&["10.100.4.0/29", "10.100.9.8/29"]);
        let (mut taken, mut random) = (BTreeMap::new(), Random::new(1));
        for number in 0..10 {
            let id = ContainerId(number);
            let address = allocate(&blocks, &taken, id, &mut random).unwrap();
            assert_eq!(taken.insert(address, id), None, "{address} is given twice");
        }
        let given: Vec<String> = taken.keys().map(ToString::to_string).collect();
        assert_eq!((given[0].as_str(), given[9].as_str()), ("10.100.4.2", "10.100.9.14"));
        assert_eq!(allocate(&blocks, &taken, ContainerId(99), &mut random), None);
        assert_eq!(allocate(&[], &taken, ContainerId(99), &mut random), None);
    }

    #[test]
    fn a_container_keeps_its_address_while_its_node_has_the_block() {
        let (ours, id) = (blocks(&["10.100.4.0/24"]), ContainerId(1));
        let mut random = Random::new(1);
        let taken = BTreeMap::from([(Ipv4Addr::new(10, 100, 4, 77), id)]);
        assert_eq!(allocate(&ours, &taken, id, &mut random), Some(Ipv4Addr::new(10, 100, 4, 77)));
        let others = blocks(&["10.100.5.0/24"]);
        let address = allocate(&others, &taken, id, &mut random).unwrap();
        assert!(others[0].contains(&address));
    }

    proptest! {
        #[test]
        fn what_is_given_is_free_and_no_ones_but_a_containers(
            given in proptest::collection::btree_set(0_u8..=255, 0..200),
            seed in any::<u64>(),
        ) {
            let blocks = blocks(&["10.100.4.0/25", "10.100.4.128/25"]);
            let owner = |it: &u8| (Ipv4Addr::new(10, 100, 4, *it), ContainerId(u128::from(*it)));
            let taken: BTreeMap<_, _> = given.iter().map(owner).collect();
            let id = ContainerId(1 << 64);
            if let Some(address) = allocate(&blocks, &taken, id, &mut Random::new(seed)) {
                prop_assert!(!taken.contains_key(&address));
                let block = blocks.iter().find(|it| it.contains(&address)).unwrap();
                prop_assert!(address != block.network() && address != block.broadcast());
                prop_assert!(address != gateway(*block));
            }
        }
    }
}
