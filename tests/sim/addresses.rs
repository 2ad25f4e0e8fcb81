//! What must hold of the overlay's addresses once all is well.

use std::collections::{BTreeMap, BTreeSet};

use fizz::{
    model::{ClusterId, PublicKey},
    node::MeshSeat,
    state::{ClusterState, NodeRecord},
    topology::{Plan, decided, places},
};

use crate::{machine::Machine, world::World};

/// So few and such small blocks that halves of a cluster claim the same, and nodes need more than one.
pub(crate) fn plan() -> Plan {
    Plan::new(ClusterId(1), "10.100.0.0/22".parse().unwrap(), 28).unwrap()
}

impl Machine {
    /// Its place in the mesh, in a world that has one.
    pub(crate) fn mesh_seat(&self) -> Option<MeshSeat> {
        let mut key = [0; 32];
        key[..16].copy_from_slice(&self.id.0.to_be_bytes());
        let plan = self.plan?;
        Some(MeshSeat { plan, key: PublicKey(key), endpoints: vec![self.address], degraded: false })
    }
}

impl World {
    /// What is wrong with the addresses that all agree on.
    pub(crate) fn misaddressed(&self, state: &ClusterState) -> Option<String> {
        let plan = self.machines.first()?.plan?;
        let blocks = decided(&plan, &places(state));
        let lost: Vec<_> =
            state.nodes().iter().map(|(id, _)| blocks.lost_by(*id).count()).collect();
        if lost.iter().any(|it| 0 < *it) {
            return Some("a block is claimed twice".to_owned());
        }
        let (mut taken, mut owners) = (BTreeSet::new(), BTreeMap::new());
        for it in state.ip_allocations() {
            let Some(address) = it.v4() else { return Some("an IPv6 address".to_owned()) };
            let Some(record) = state.container(it.container) else {
                return Some(format!("{address} is nobody's"));
            };
            let mut theirs = blocks.of_node(record.node);
            if !theirs.any(|block| block.contains(&address)) {
                return Some(format!("{address} of {} is of another node's block", record.name));
            }
            if !taken.insert(address) || owners.insert(it.container, address).is_some() {
                return Some(format!("{address} of {} is given twice", record.name));
            }
        }
        let spans = |it: &&NodeRecord| it.mesh.is_some();
        if !state.nodes().iter().all(|(_, it)| spans(&it.as_ref())) {
            return None;
        }
        let mut up = state.containers().filter(|it| it.state.is_up() && it.one_off.is_none());
        let overlay = |it: &fizz::state::ContainerRecord| {
            state.deployments().get(&it.service.project).is_some_and(|it| it.overlay)
        };
        let bare = up.find(|it| overlay(it) && it.addresses.is_empty());
        bare.map(|it| format!("{} has no address", it.name))
    }
}
