//! What a zone is made from: plain facts about services, containers and nodes.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use ipnet::IpNet;

use crate::model::{ContainerName, NodeId, NodeName, ServiceKey, ServiceName, Slot};

/// A network by the name that is the same for all that are joined to it, whatever project they are of:
/// `shop_default`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NetworkName(pub Arc<str>);

/// All that a node's zone is made from.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The node whose zone it is.
    pub here: NodeId,
    /// Addresses that this node asks from beside its own in `hosts` and the loopback: its containers' gateways.
    pub own: BTreeSet<IpAddr>,
    /// The ranges whose reverse names are answered here and never forwarded.
    pub ranges: Vec<IpNet>,
    /// In which order a service's addresses come.
    pub order: Order,
    /// The networks with no way out: who is on such only is told of nothing outside, as names carry news too.
    pub internal: BTreeSet<NetworkName>,
    /// The members of the cluster.
    pub hosts: Vec<Host>,
    /// The services that are deployed, whether or not a container of theirs runs.
    pub services: Vec<Service>,
    /// The containers that run, or are about to.
    pub replicas: Vec<Replica>,
}

/// In which order a service's addresses come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Each is the first in its turn.
    #[default]
    Rotated,
    /// Those on the asker's node come first, each in its turn; then the others, likewise.
    NearestFirst,
}

/// A member of the cluster.
#[derive(Clone, Debug)]
pub struct Host {
    /// Which.
    pub id: NodeId,
    /// What people call it.
    pub name: NodeName,
    /// Where the others reach it: its addresses in the mesh.
    pub addresses: BTreeSet<IpAddr>,
}

/// A deployed service.
#[derive(Clone, Debug)]
pub struct Service {
    /// Which.
    pub key: ServiceKey,
    /// The networks that it is joined to, and its further names in each.
    pub networks: BTreeMap<NetworkName, BTreeSet<String>>,
    /// Services of its project by the names that its own containers have for them.
    pub links: Vec<(String, ServiceName)>,
    /// Who is asked for its containers what is none of the cluster's; the host's resolvers if nobody.
    pub resolvers: Vec<IpAddr>,
    /// The ports that it says it has.
    pub ports: Vec<ServicePort>,
}

/// A port that SRV names lead to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServicePort {
    /// Its name, if it has one: then it is found by that too.
    pub name: Option<String>,
    /// Its number in the container.
    pub number: u16,
    /// `tcp`, `udp` or `sctp`, as the label in a name.
    pub protocol: &'static str,
}

/// A container.
#[derive(Clone, Debug)]
pub struct Replica {
    /// Of which service.
    pub key: ServiceKey,
    /// Which of the service's replicas. `None`: a one-off run, to which no name of the service leads.
    pub slot: Option<Slot>,
    /// Its name in the runtime.
    pub name: ContainerName,
    /// Where it runs.
    pub node: NodeId,
    /// The networks that it is on, and its addresses there.
    pub networks: BTreeMap<NetworkName, Addresses>,
    /// Whether it is well, as far as anybody checks.
    pub healthy: bool,
    /// Whether its node can be reached.
    pub reachable: bool,
}

/// A container's addresses on a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// In the overlay.
    pub v4: Option<Ipv4Addr>,
    /// In the cluster's prefix.
    pub v6: Option<Ipv6Addr>,
}

impl Addresses {
    /// One after the other.
    pub(super) fn each(self) -> impl Iterator<Item = IpAddr> {
        [self.v4.map(IpAddr::V4), self.v6.map(IpAddr::V6)].into_iter().flatten()
    }
}
