//! What runs, or is about to, on the nodes: what it reserves, which host ports it has, and how many of
//! each service there are.

use std::{collections::BTreeMap, net::IpAddr};

use crate::model::{NodeId, ServiceKey, Slot, WallTime, spec::Protocol};

/// A fixed port of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPort {
    /// On which of the host's addresses; `None` is all.
    pub address: Option<IpAddr>,
    /// Which.
    pub port: u16,
    /// Of which protocol.
    pub protocol: Protocol,
}

/// What one container takes of a node that another cannot have too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Charge {
    /// Reserved thousandths of a core.
    pub cpus_milli: u64,
    /// Reserved bytes of memory.
    pub memory_bytes: u64,
    /// Fixed host ports.
    pub ports: Vec<HostPort>,
}

impl Charge {
    /// Whether it has a part of the node's processors or memory to itself.
    pub(super) fn reserves(&self) -> bool {
        self.cpus_milli != 0 || self.memory_bytes != 0
    }

    /// Whether one may keep the other from a node.
    #[must_use]
    pub fn rivals(&self, other: &Self) -> bool {
        let cpus = self.cpus_milli != 0 && other.cpus_milli != 0;
        let memory = self.memory_bytes != 0 && other.memory_bytes != 0;
        cpus || memory || self.meets(other)
    }

    /// Whether both have a host port that only one can have.
    #[must_use]
    pub fn meets(&self, other: &Self) -> bool {
        self.ports.iter().any(|it| other.ports.iter().any(|theirs| it.meets(theirs)))
    }
}

/// One container on a node.
#[derive(Clone, Copy, Debug)]
pub struct Tenant<'a> {
    /// Of which service.
    pub service: &'a ServiceKey,
    /// In which slot.
    pub slot: Slot,
    /// Since when: of two with the same host port the older has it.
    pub created: WallTime,
    /// What it takes, by the revision that it was made from.
    pub charge: &'a Charge,
}

/// What runs, or is about to, on the nodes. The caller keeps it: each container is added when it is
/// decided on, and removed, with the same words, when it is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    nodes: BTreeMap<NodeId, Load>,
    services: BTreeMap<ServiceKey, BTreeMap<NodeId, Share>>,
}

/// What is taken of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Load {
    containers: u32,
    cpus_milli: u64,
    memory_bytes: u64,
    /// The oldest owner first.
    ports: BTreeMap<(u16, Protocol), Vec<Owner>>,
}

/// Who has a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Owner {
    pub(super) created: WallTime,
    pub(super) service: ServiceKey,
    pub(super) slot: Slot,
    address: Option<IpAddr>,
}

/// What a service has of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) containers: u32,
    pub(super) cpus_milli: u64,
    pub(super) memory_bytes: u64,
}

impl Usage {
    /// A container is on a node, or is about to be.
    pub fn add(&mut self, node: NodeId, tenant: Tenant<'_>) {
        let Tenant { service, slot, created, charge } = tenant;
        let load = self.nodes.entry(node).or_default();
        load.containers += 1;
        load.cpus_milli = load.cpus_milli.saturating_add(charge.cpus_milli);
        load.memory_bytes = load.memory_bytes.saturating_add(charge.memory_bytes);
        for port in &charge.ports {
            let owner = Owner { created, service: service.clone(), slot, address: port.address };
            let owners = load.ports.entry((port.port, port.protocol)).or_default();
            owners.insert(owners.partition_point(|it| *it < owner), owner);
        }
        let nodes = match self.services.get_mut(service) {
            Some(nodes) => nodes,
            None => self.services.entry(service.clone()).or_default(),
        };
        let share = nodes.entry(node).or_default();
        share.containers += 1;
        share.cpus_milli = share.cpus_milli.saturating_add(charge.cpus_milli);
        share.memory_bytes = share.memory_bytes.saturating_add(charge.memory_bytes);
    }

    /// A container that was added is gone.
    pub fn remove(&mut self, node: NodeId, tenant: Tenant<'_>) {
        let Tenant { service, slot, created, charge } = tenant;
        let Some(nodes) = self.services.get_mut(service) else { return };
        let Some(share) = nodes.get_mut(&node) else { return };
        share.containers -= 1;
        share.cpus_milli = share.cpus_milli.saturating_sub(charge.cpus_milli);
        share.memory_bytes = share.memory_bytes.saturating_sub(charge.memory_bytes);
        if share.containers == 0 {
            nodes.remove(&node);
        }
        if nodes.is_empty() {
            self.services.remove(service);
        }
        let Some(load) = self.nodes.get_mut(&node) else { return };
        load.containers -= 1;
        load.cpus_milli = load.cpus_milli.saturating_sub(charge.cpus_milli);
        load.memory_bytes = load.memory_bytes.saturating_sub(charge.memory_bytes);
        for port in &charge.ports {
            let key = (port.port, port.protocol);
            let owner = Owner { created, service: service.clone(), slot, address: port.address };
            let Some(owners) = load.ports.get_mut(&key) else { continue };
            if let Ok(index) = owners.binary_search(&owner) {
                owners.remove(index);
            }
            if owners.is_empty() {
                load.ports.remove(&key);
            }
        }
        if load.containers == 0 {
            self.nodes.remove(&node);
        }
    }

    /// The thousandths of a core and the bytes of memory that are reserved on a node.
    #[must_use]
    pub fn reserved(&self, node: NodeId) -> (u64, u64) {
        self.nodes.get(&node).map_or((0, 0), |it| (it.cpus_milli, it.memory_bytes))
    }

    /// Where a service has containers.
    pub(super) fn of(&self, service: &ServiceKey) -> Option<&BTreeMap<NodeId, Share>> {
        self.services.get(service)
    }

    /// Who has a port of a node, or one that it shares an address with; the oldest of those that
    /// count.
    pub(super) fn owner(
        &self,
        node: NodeId,
        port: &HostPort,
        counts: impl Fn(&Owner) -> bool,
    ) -> Option<&Owner> {
        let owners = self.nodes.get(&node)?.ports.get(&(port.port, port.protocol))?;
        owners.iter().find(|it| share_address(it.address, port.address) && counts(it))
    }
}

impl HostPort {
    /// Whether two containers cannot both have these on one host.
    pub(super) fn meets(&self, other: &Self) -> bool {
        self.port == other.port
            && self.protocol == other.protocol
            && share_address(self.address, other.address)
    }
}

fn share_address(one: Option<IpAddr>, other: Option<IpAddr>) -> bool {
    let fixed = |address: Option<IpAddr>| address.filter(|it| !it.is_unspecified());
    match (fixed(one), fixed(other)) {
        (Some(one), Some(other)) => one == other,
        (None, _) | (_, None) => true,
    }
}
