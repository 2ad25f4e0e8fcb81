//! Whose packets go through whom, where two nodes do not hear each other.
//!
//! A node tells whom its device [misses](Place::missed). Where one of two misses the other, as behind two NATs
//! that map each way anew (RFC 4787, 4.1), both send by a third that both reach. Which third is a function of what
//! all know, so that both take the same: a WireGuard device takes an address from nobody but the peer that it is
//! allowed to, and what came by another would be dropped.

use std::collections::{BTreeMap, BTreeSet};

use super::mesh::Place;
use crate::model::NodeId;

/// By whom a node reaches each of those that it does not reach itself. Whom it reaches by nobody is not in it.
#[must_use]
pub fn relays(
    me: NodeId,
    nodes: &[Place],
    unreachable: &BTreeSet<NodeId>,
) -> BTreeMap<NodeId, NodeId> {
    let by_id: BTreeMap<NodeId, &Place> =
        nodes.iter().filter(|it| it.key.is_some()).map(|it| (it.id, it)).collect();
    let Some(own) = by_id.get(&me) else { return BTreeMap::new() };
    let apart = |a: &Place, b: &Place| a.missed.contains(&b.id) || b.missed.contains(&a.id);
    let relay = |other: &Place| {
        let able = by_id.values().filter(|it| {
            ![me, other.id].contains(&it.id)
                && !unreachable.contains(&it.id)
                && !apart(it, own)
                && !apart(it, other)
        });
        able.map(|it| it.id).min_by_key(|it| turn(me, other.id, *it))
    };
    let others = by_id.values().filter(|it| it.id != me && apart(own, it));
    others.filter_map(|it| Some((it.id, relay(it)?))).collect()
}

/// A relay's place in the order of those that two nodes may have: each two have another first (rendezvous hashing:
/// Thaler and Ravishankar, 1998).
fn turn(one: NodeId, other: NodeId, relay: NodeId) -> (u64, NodeId) {
    let pair = one.0 ^ other.0;
    let mixed = (pair ^ relay.0).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    (u64::try_from(mixed >> 64).unwrap_or(u64::MAX), relay)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::PublicKey;

    fn place(id: u8, missed: &[u8]) -> Place {
        Place {
            key: Some(PublicKey([id; 32])),
            missed: missed.iter().map(|it| NodeId((*it).into())).collect(),
            ..Place::new(NodeId(id.into()))
        }
    }

    fn of(me: u8, nodes: &[Place], dead: &[u8]) -> BTreeMap<NodeId, NodeId> {
        let dead = dead.iter().map(|it| NodeId((*it).into())).collect();
        relays(NodeId(me.into()), nodes, &dead)
    }

    #[test]
    fn two_that_do_not_hear_each_other_send_by_the_same_third() {
        let nodes = [place(1, &[]), place(2, &[3]), place(3, &[])];
        let via = |it: u8| NodeId(it.into());
        assert_eq!(of(2, &nodes, &[]), [(via(3), via(1))].into());
        assert_eq!(of(3, &nodes, &[]), [(via(2), via(1))].into());
        assert_eq!(of(1, &nodes, &[]), BTreeMap::new());
    }

    #[test]
    fn nobody_relays_who_is_gone_or_is_missed_by_one_of_the_two() {
        let nodes = [place(1, &[]), place(2, &[3, 4]), place(3, &[2]), place(4, &[])];
        assert_eq!(of(2, &nodes, &[1]).get(&NodeId(3)), None, "4 is missed by 2");
        let nodes = [place(1, &[3]), place(2, &[3]), place(3, &[]), place(4, &[])];
        assert_eq!(of(2, &nodes, &[])[&NodeId(3)], NodeId(4));
    }

    proptest! {
        #[test]
        fn both_of_a_pair_always_agree(
            missed in proptest::collection::vec((1_u8..8, 1_u8..8), 0..30),
            dead in proptest::collection::vec(1_u8..8, 0..3),
        ) {
            let nodes: Vec<Place> = (1..8).map(|id| {
                let mine = missed.iter().filter(|it| it.0 == id && it.1 != id).map(|it| it.1);
                place(id, &mine.collect::<Vec<_>>())
            }).collect();
            for (a, b) in (1..8).flat_map(|a| (1..8).map(move |b| (a, b))).filter(|it| it.0 != it.1) {
                let (here, there) = (of(a, &nodes, &dead), of(b, &nodes, &dead));
                let (a, b) = (NodeId(a.into()), NodeId(b.into()));
                prop_assert_eq!(here.get(&b), there.get(&a));
                if let Some(relay) = here.get(&b) {
                    prop_assert!(!here.contains_key(relay) && !there.contains_key(relay), "it is reached itself");
                }
            }
        }
    }
}
