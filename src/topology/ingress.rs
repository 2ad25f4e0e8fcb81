//! What comes to the published ports of every node, and which replicas take it.
//!
//! Each node computes this from what is agreed, and so all come to the same: a client that comes by another node meets
//! the same replica there.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
};

use ipnet::IpNet;

use super::{
    Known,
    known::is_well,
    maglev::{self, Share},
};
use crate::model::{ContainerId, NodeId, ObservedPort, ServiceKey, mix, spec::Protocol};

/// A port of every node, and where what comes there goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Published {
    /// TCP, UDP or SCTP.
    pub protocol: Protocol,
    /// The node's port.
    pub port: u16,
    /// The node's address; all where not set.
    pub host_ip: Option<IpAddr>,
}

impl Published {
    /// As a container's record has it.
    #[must_use]
    pub fn of(port: &ObservedPort) -> Self {
        let protocol = Protocol::named(&port.protocol).unwrap_or_default();
        let host_ip = port.host_ip.parse().ok().filter(|it: &IpAddr| !it.is_unspecified());
        Self { protocol, port: port.published, host_ip }
    }
}

/// A replica's port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Backend {
    /// Whose.
    pub container: ContainerId,
    /// Its address in the mesh.
    pub address: Ipv4Addr,
    /// The port there.
    pub port: u16,
    /// Where it is.
    pub node: NodeId,
}

/// Who takes a port's connections, and how they are chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    /// Those of these services.
    pub services: BTreeSet<ServiceKey>,
    /// Those that take new connections: all that are well, or if none is all that run.
    pub open: BTreeSet<Backend>,
    /// Those that keep what they have.
    pub closed: BTreeSet<Backend>,
    /// Replicas on the node that a connection enters go before others.
    pub local_first: bool,
    /// A client's address alone chooses.
    pub affinity: bool,
    /// Who may come in; everyone where it is empty.
    pub allowed: BTreeSet<IpNet>,
}

impl Pool {
    /// The places of a table, by those that take new connections in their order; those of `node` alone where there
    /// are any and they go first.
    #[must_use]
    pub fn table(&self, node: NodeId) -> Vec<Backend> {
        let here: Vec<Backend> = self.open.iter().filter(|it| it.node == node).copied().collect();
        if self.local_first && !here.is_empty() { slots(&here) } else { self.all() }
    }

    /// The places of a table with all that take new connections.
    #[must_use]
    pub fn all(&self) -> Vec<Backend> {
        slots(&self.open.iter().copied().collect::<Vec<_>>())
    }
}

fn slots(backends: &[Backend]) -> Vec<Backend> {
    let share = |it: &Backend| Share { hash: it.hash(), weight: 1 };
    let shares: Vec<Share> = backends.iter().map(share).collect();
    maglev::table(&shares).into_iter().map(|it| backends[it]).collect()
}

impl Backend {
    /// By what all nodes know it.
    fn hash(&self) -> u64 {
        let id = self.container.0;
        let [high, low] = [(id >> 64) as u64, (id & u128::from(u64::MAX)) as u64];
        mix(mix(high ^ u64::from(self.port)) ^ low)
    }
}

impl Known<'_> {
    /// The ports that all nodes publish, and who takes what comes there.
    #[must_use]
    pub fn ingress(&self) -> BTreeMap<Published, Pool> {
        let mut found: BTreeMap<Published, (Pool, BTreeSet<Backend>)> = BTreeMap::new();
        for (id, address) in self.addresses() {
            let Some(record) = self.container(*id).filter(|it| it.state.is_up()) else { continue };
            let spec = self.service(&record.service);
            let ingress = spec.and_then(|it| it.extension.ingress.clone()).unwrap_or_default();
            let well = is_well(record) && self.reaches(record.node);
            for port in &record.ports {
                let (pool, unwell) = found.entry(Published::of(port)).or_default();
                let backend = Backend {
                    container: *id,
                    address: *address,
                    port: port.target,
                    node: record.node,
                };
                match (well, record.is_leaving()) {
                    (_, true) => pool.closed.insert(backend),
                    (true, false) => pool.open.insert(backend),
                    (false, false) => unwell.insert(backend),
                };
                pool.services.insert(record.service.clone());
                pool.local_first |= ingress.local_first;
                pool.affinity |= ingress.affinity;
                pool.allowed.extend(&ingress.allow);
            }
        }
        let choose = |(mut pool, unwell): (Pool, BTreeSet<Backend>)| {
            // Where none is well, one that is not is better than nobody.
            if pool.open.is_empty() { &mut pool.open } else { &mut pool.closed }.extend(unwell);
            pool
        };
        found.into_iter().map(|(key, both)| (key, choose(both))).collect()
    }
}
