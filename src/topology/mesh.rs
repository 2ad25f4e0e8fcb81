//! Who is whose peer in the mesh, and which addresses are behind whom.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use ipnet::{IpNet, Ipv4Net};

use super::{
    Plan,
    addresses::gateway,
    blocks::{Blocks, Claim},
    relays::relays,
};
use crate::model::{NodeId, PublicKey, WallTime};

/// What WireGuard adds to a packet, over IPv6 (the paper, section 5.4.6): 40 + 8 + 32.
pub const WIREGUARD_BYTES: u32 = 80;

/// The smallest packet that IPv6 works with (RFC 8200, section 5), and so the mesh.
pub const MTU_BYTES_MIN: u32 = 1280;

/// A node as the mesh knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which.
    pub id: NodeId,
    /// Its key; without one it is in no mesh yet.
    pub key: Option<PublicKey>,
    /// Where its device may be reached, the likeliest first.
    pub endpoints: Vec<SocketAddr>,
    /// Where its device hears others that are not where they say.
    pub heard: BTreeMap<NodeId, SocketAddr>,
    /// Those that its device does not hear.
    pub missed: BTreeSet<NodeId>,
    /// The blocks that it claims, each since when.
    pub claims: BTreeMap<Ipv4Net, WallTime>,
}

impl Place {
    /// A node of which nothing is known yet.
    #[must_use]
    pub fn new(id: NodeId) -> Self {
        Self {
            id,
            key: None,
            endpoints: vec![],
            heard: BTreeMap::new(),
            missed: BTreeSet::new(),
            claims: BTreeMap::new(),
        }
    }
}

/// A peer of this node's device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Which node.
    pub node: NodeId,
    /// Its key.
    pub key: PublicKey,
    /// Where it may be reached, the likeliest first.
    pub endpoints: Vec<SocketAddr>,
    /// Those of which it tells itself.
    pub told: Vec<SocketAddr>,
    /// Others hear it elsewhere: its address is translated on the way.
    pub translated: bool,
    /// What is behind it: its own, and what it relays.
    pub allowed: BTreeSet<IpNet>,
    /// What is its own goes by this other one, which relays it.
    pub by: Option<NodeId>,
}

/// What this node's kernel is to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mesh {
    /// The device's addresses.
    pub addresses: BTreeSet<IpAddr>,
    /// The blocks of this node's containers.
    pub blocks: Vec<Ipv4Net>,
    /// The blocks that this node claimed and has lost: what has addresses of them is to move.
    pub lost: Vec<Ipv4Net>,
    /// The node's addresses as its containers' gateway, each with the block that it is of.
    pub gateways: BTreeSet<IpNet>,
    /// Who the others are, by key: no two have one.
    pub peers: BTreeMap<PublicKey, Peer>,
    /// What goes through the device.
    pub routes: BTreeSet<IpNet>,
    /// Others hear this node's device elsewhere than it tells.
    pub translated: bool,
}

impl Mesh {
    /// What this node is to hold, from what all know, but by no relay that it does not reach.
    #[must_use]
    pub fn of(plan: &Plan, me: NodeId, nodes: &[Place], unreachable: &BTreeSet<NodeId>) -> Self {
        let (blocks, heard) = (decided(plan, nodes), heard(nodes));
        let mut mesh = Self {
            addresses: [IpAddr::V6(plan.of_node(me))].into(),
            blocks: blocks.of_node(me).collect(),
            lost: blocks.lost_by(me).collect(),
            translated: heard.contains_key(&me),
            ..Self::default()
        };
        mesh.gateways = mesh.blocks.iter().flat_map(|it| gateways(plan, *it)).collect();
        // Should two nodes have one key, as a copied machine does, neither is believed: a device would give
        // all to the last.
        let mut known: BTreeMap<PublicKey, usize> = BTreeMap::new();
        for key in nodes.iter().filter_map(|it| it.key) {
            *known.entry(key).or_default() += 1;
        }
        let relays = relays(me, nodes, unreachable);
        let mut relayed: BTreeMap<NodeId, BTreeSet<IpNet>> = BTreeMap::new();
        for node in nodes.iter().filter(|it| it.id != me) {
            let Some(key) = node.key.filter(|it| known.get(it) == Some(&1)) else { continue };
            let behind = blocks.of_node(node.id);
            let behind = behind.flat_map(|it| [IpNet::V4(it), IpNet::V6(plan.v6_block(it))]);
            let mut allowed: BTreeSet<IpNet> =
                behind.chain([IpNet::from(IpAddr::V6(plan.of_node(node.id)))]).collect();
            mesh.routes.extend(&allowed);
            let by = relays.get(&node.id).copied();
            if let Some(relay) = by {
                relayed.entry(relay).or_default().append(&mut allowed);
            }
            let elsewhere = heard.get(&node.id);
            let (translated, told) = (elsewhere.is_some(), node.endpoints.clone());
            let endpoints = endpoints(elsewhere, &told);
            let peer = Peer { node: node.id, key, endpoints, told, translated, allowed, by };
            mesh.peers.insert(key, peer);
        }
        for peer in mesh.peers.values_mut() {
            peer.allowed.extend(relayed.remove(&peer.node).into_iter().flatten());
        }
        mesh
    }

    /// Whose container has an address, where it is in this mesh.
    #[must_use]
    pub fn node_behind(&self, address: IpAddr) -> Option<NodeId> {
        let behind = |it: &&Peer| it.allowed.iter().any(|net| net.contains(&address));
        self.peers.values().find(behind).map(|it| it.node)
    }
}

/// Where others hear those that are not where they say: they are behind a NAT, where nobody reaches them first.
#[must_use]
pub fn heard(nodes: &[Place]) -> BTreeMap<NodeId, BTreeSet<SocketAddr>> {
    let mut all: BTreeMap<NodeId, BTreeSet<SocketAddr>> = BTreeMap::new();
    for (node, at) in nodes.iter().flat_map(|it| &it.heard) {
        all.entry(*node).or_default().insert(*at);
    }
    all
}

/// Where a node may be reached: where others hear it is likelier than where it tells itself, which they know then
/// to be wrong.
fn endpoints(heard: Option<&BTreeSet<SocketAddr>>, told: &[SocketAddr]) -> Vec<SocketAddr> {
    let heard = || heard.into_iter().flatten().copied();
    let told = told.iter().copied().filter(|it| heard().all(|at| at != *it));
    heard().chain(told).collect()
}

/// Who has which block, from what all claim.
#[must_use]
pub fn decided(plan: &Plan, nodes: &[Place]) -> Blocks {
    let claims = nodes.iter().flat_map(|node| {
        let claim = |(block, since): (&Ipv4Net, &WallTime)| Claim {
            node: node.id,
            block: *block,
            since: *since,
        };
        node.claims.iter().map(claim)
    });
    Blocks::of(plan, claims)
}

/// A node's addresses in a block of its own, one of each family.
fn gateways(plan: &Plan, block: Ipv4Net) -> [IpNet; 2] {
    let first: Ipv4Addr = gateway(block);
    let v4 = Ipv4Net::new_assert(first, block.prefix_len());
    let v6 = ipnet::Ipv6Net::new_assert(plan.v6(first), plan.v6_block(block).prefix_len());
    [v4.into(), v6.into()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::ClusterId;

    fn plan() -> Plan {
        Plan::new(ClusterId(7), "10.100.0.0/16".parse().unwrap(), 24).unwrap()
    }

    fn place(id: u8, claims: &[(u32, u64)]) -> Place {
        Place {
            key: Some(PublicKey([id; 32])),
            endpoints: vec![SocketAddr::from(([192, 0, 2, id], 7373))],
            claims: claims.iter().map(|(it, at)| (plan().block(*it), WallTime(*at))).collect(),
            ..Place::new(NodeId(id.into()))
        }
    }

    fn mesh_of(me: u8, nodes: &[Place]) -> Mesh {
        Mesh::of(&plan(), NodeId(me.into()), nodes, &BTreeSet::new())
    }

    fn at(mesh: &Mesh, address: &str) -> Option<NodeId> {
        mesh.node_behind(address.parse().unwrap())
    }

    #[test]
    fn each_peers_containers_are_behind_it_in_both_families() {
        let nodes = [place(1, &[(4, 0)]), place(2, &[(5, 0), (9, 0)]), place(3, &[])];
        let mesh = mesh_of(1, &nodes);
        assert_eq!(mesh.blocks, [plan().block(4)]);
        assert_eq!(mesh.peers.len(), 2);
        assert_eq!(at(&mesh, "10.100.9.7"), Some(NodeId(2)));
        let v6 = plan().v6("10.100.5.7".parse().unwrap()).to_string();
        assert_eq!(at(&mesh, &v6), Some(NodeId(2)));
        assert_eq!(at(&mesh, &plan().of_node(NodeId(3)).to_string()), Some(NodeId(3)));
        assert_eq!(at(&mesh, "10.100.4.7"), None, "that is here");
        let gateways: Vec<String> = mesh.gateways.iter().map(ToString::to_string).collect();
        assert_eq!(gateways[0], "10.100.4.1/24");
        assert!(gateways[1].ends_with("/120"), "{gateways:?}");
    }

    #[test]
    fn a_block_that_was_lost_is_behind_its_holder_only() {
        let nodes = [place(1, &[(4, 9)]), place(2, &[(4, 5)])];
        let loser = mesh_of(1, &nodes);
        assert_eq!((loser.blocks.len(), loser.lost.as_slice()), (0, &[plan().block(4)][..]));
        assert_eq!(at(&loser, "10.100.4.7"), Some(NodeId(2)));
        let holder = mesh_of(2, &nodes);
        assert_eq!((holder.blocks.as_slice(), holder.lost.len()), (&[plan().block(4)][..], 0));
        assert_eq!(at(&holder, "10.100.4.7"), None);
    }

    #[test]
    fn of_two_nodes_with_one_key_neither_is_a_peer() {
        let copied = Place { id: NodeId(3), ..place(2, &[(6, 0)]) };
        let nodes = [place(1, &[]), place(2, &[(5, 0)]), copied, place(4, &[(7, 0)])];
        let mesh = mesh_of(1, &nodes);
        assert_eq!(mesh.peers.values().map(|it| it.node).collect::<Vec<_>>(), [NodeId(4)]);
    }

    #[test]
    fn what_is_relayed_is_behind_the_relay_and_whom_others_hear_is_tried_there_first() {
        let heard = SocketAddr::from(([203, 0, 113, 3], 1024));
        let public = Place { heard: [(NodeId(3), heard)].into(), ..place(1, &[(4, 0)]) };
        let missing = Place { missed: [NodeId(3)].into(), ..place(2, &[(5, 0)]) };
        let nodes = [public, missing, place(3, &[(6, 0)])];
        let mesh = mesh_of(2, &nodes);
        let peer = |id: u8| &mesh.peers[&PublicKey([id; 32])];
        assert_eq!(at(&mesh, "10.100.6.7"), Some(NodeId(1)));
        assert_eq!((peer(3).allowed.len(), peer(3).by), (0, Some(NodeId(1))));
        assert_eq!((peer(1).allowed.len(), peer(1).by), (6, None));
        assert_eq!(peer(3).endpoints, [heard, place(3, &[]).endpoints[0]]);
        let back = mesh_of(3, &nodes);
        assert_eq!(at(&back, "10.100.5.7"), Some(NodeId(1)), "the other way goes the same way");
        assert_eq!(at(&mesh_of(1, &nodes), "10.100.6.7"), Some(NodeId(3)));
    }

    proptest! {
        /// WireGuard gives a prefix to the peer that was set last, without an error.
        #[test]
        fn no_address_is_ever_behind_two_peers_and_all_nodes_agree_behind_whom(
            claims in proptest::collection::vec((1_u8..8, 0_u32..12, 0_u64..3), 0..40),
        ) {
            let nodes: Vec<Place> = (1..8).map(|id| {
                let mine = claims.iter().filter(|it| it.0 == id).map(|it| (it.1, it.2));
                place(id, &mine.collect::<Vec<_>>())
            }).collect();
            let meshes: Vec<Mesh> =
                (1..8).map(|it| mesh_of(it, &nodes)).collect();
            for mesh in &meshes {
                let all: Vec<&IpNet> = mesh.peers.values().flat_map(|it| &it.allowed).collect();
                for (at, one) in all.iter().enumerate() {
                    prop_assert!(all[at + 1..].iter().all(|it| !it.contains(*one) && !one.contains(*it)));
                }
            }
            for block in (0..12).map(|it| plan().block(it)) {
                let inside = IpAddr::V4(gateway(block));
                let of = |mesh: &Mesh, me: &Place| {
                    let here = mesh.blocks.contains(&block).then_some(me.id);
                    here.or(mesh.node_behind(inside))
                };
                let said: BTreeSet<_> = meshes.iter().zip(&nodes).map(|(a, b)| of(a, b)).collect();
                prop_assert_eq!(said.len(), 1);
            }
        }
    }
}
