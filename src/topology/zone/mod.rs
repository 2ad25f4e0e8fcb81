//! The names of the cluster, and who may know them: DNS as a function.
//!
//! A [`Zone`] is made from [`Facts`] and never changes; what changes is which zone is asked. It answers by
//! who asks: a container knows its own project's services by their names alone, and sees only what shares a
//! network with it, by the addresses there. A node sees everything, by whole names. Nothing here reads a
//! message: what is asked and answered are values.
//!
//! - `SERVICE.PROJECT.fizz.internal`: the service's replicas that are well and reachable.
//! - `N.SERVICE.PROJECT.fizz.internal`: the one replica.
//! - `_PORT._PROTOCOL.SERVICE.PROJECT.fizz.internal`: where the service listens (SRV, RFC 2782).
//! - `NODE.fizz.internal`: a member.
//!
//! For a container the same without `fizz.internal`, and without its own project too; its networks' aliases
//! and containers' names. What is none of these and not within `fizz.internal` is for others to answer.
//! Within, a name that exists without such a record has no data, and one that does not exist is said not to
//! (RFC 2308, 2; RFC 8020). A service of which no replica is ready exists.

mod answer;
mod build;
mod facts;
mod name;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use ipnet::IpNet;

pub use facts::{Addresses, Facts, Host, NetworkName, Order, Replica, Service, ServicePort};
pub use name::{DOMAIN, DnsName};

use crate::model::NodeId;

/// How long others may remember an address. A replica that fails is asked for so much longer at most.
pub const TTL_SECONDS: u32 = 2;

/// How long others may remember that there is none: what starts is found so much later at most.
pub const NEGATIVE_TTL_SECONDS: u32 = 1;

/// How many addresses an answer has. More would not fit into a datagram (28 bytes for each IPv6 address, in
/// 1232), and nobody tries so many; another question brings others.
pub const ADDRESSES_MAX: usize = 32;

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// About which name.
    pub name: DnsName,
    /// What about it.
    pub kind: Kind,
}

/// A type of record, as far as there are any here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses (RFC 3596).
    Aaaa,
    /// Where a service listens (RFC 2782).
    Srv,
    /// The name of an address.
    Ptr,
    /// Where a zone begins.
    Soa,
    /// Whatever there is; one record that says nothing answers it (RFC 8482, 4.2).
    Any,
    /// Any other type.
    Other,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Records of the name, and records of other names that will be asked for next.
    Found {
        /// What the name has.
        records: Vec<Data>,
        /// What belongs to it: the name and its record.
        further: Vec<(Arc<str>, Data)>,
    },
    /// The name exists, and has no such record.
    NoData(Apex),
    /// The name does not exist, as far as the asker may know.
    NoName(Apex),
    /// That is for others to answer.
    Forward(Resolvers),
    /// The asker is nobody that is known, or not known yet. It had better ask again.
    Stranger,
}

/// Who answers what is none of the cluster's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolvers {
    /// The host's.
    Hosts,
    /// Those that the asker's service names.
    Own(Arc<[IpAddr]>),
}

/// The zone in whose name something is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Apex {
    /// [`DOMAIN`].
    Domain,
    /// `in-addr.arpa`.
    Reverse4,
    /// `ip6.arpa`.
    Reverse6,
    /// The root: short names have no zone of their own.
    Root,
}

/// A record's data.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Data {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// Where a service listens.
    Srv {
        /// The lower goes first: zero for the asker's own node where the nearest come first.
        priority: u16,
        /// The port.
        port: u16,
        /// The replica.
        target: Arc<str>,
    },
    /// The name of an address.
    Ptr(Arc<str>),
    /// The beginning of [`DOMAIN`].
    Soa,
    /// There is something, and it has to be asked for by its type.
    Minimal,
}

/// The names of a cluster as one node tells them.
#[derive(Debug)]
pub struct Zone {
    here: NodeId,
    order: Order,
    ranges: Vec<IpNet>,
    replicas: Vec<Known>,
    services: Vec<Listed>,
    hosts: Vec<Member>,
    /// What is within the domain, by what is before it. Nodes have a map of their own: a node may be called
    /// like a project.
    names: BTreeMap<Box<str>, Entry>,
    nodes: BTreeMap<Box<str>, usize>,
    /// By network, then by name: services.
    aliases: Vec<BTreeMap<Box<str>, Vec<usize>>>,
    containers: BTreeMap<Box<str>, Vec<usize>>,
    owners: BTreeMap<IpAddr, Owner>,
    nameless: BTreeSet<String>,
}

/// A network's number in a zone.
type Net = usize;

/// A container.
#[derive(Debug)]
struct Known {
    node: NodeId,
    project: Box<str>,
    service: Option<usize>,
    /// By network.
    places: Vec<(Net, Addresses)>,
    /// Whether it has no way out.
    confined: bool,
    ready: bool,
    /// Its name within the domain.
    full: Option<Arc<str>>,
    /// What its address leads back to.
    reverse: Arc<str>,
}

/// A service.
#[derive(Debug, Default)]
struct Listed {
    /// Its replicas that are ready, in each network.
    ready: BTreeMap<Net, Vec<usize>>,
    /// What its own containers call others.
    links: BTreeMap<Box<str>, usize>,
    resolvers: Option<Arc<[IpAddr]>>,
}

#[derive(Debug)]
struct Member {
    full: Option<Arc<str>>,
    addresses: BTreeSet<IpAddr>,
}

/// A name within the domain.
#[derive(Debug)]
struct Entry {
    /// Who is on one of these may know it.
    networks: BTreeSet<Net>,
    what: What,
}

#[derive(Debug)]
enum What {
    /// Only names below it are something (an empty non-terminal, RFC 8020).
    Between,
    Service(usize),
    /// More than one while one takes the other's place.
    Replicas(Vec<usize>),
    Port {
        service: usize,
        number: u16,
    },
}

/// Whose an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Container(usize),
    Member(usize),
    /// This node, by an address that has no name.
    Own,
    /// Two containers have it by what is known: neither is believed until that is settled.
    Disputed,
}

impl Zone {
    /// The zone that comes of facts.
    #[must_use]
    pub fn new(facts: &Facts) -> Self {
        build::build(facts)
    }

    /// The answer to a question that came from an address. `rotation` is to be another number each time.
    #[must_use]
    pub fn answer(&self, asker: IpAddr, question: &Question, rotation: usize) -> Answer {
        answer::answer(self, asker, question, rotation)
    }

    /// One address for all that an asker may ask from, to count by. `None` for strangers.
    #[must_use]
    pub fn asker(&self, address: IpAddr) -> Option<IpAddr> {
        match answer::who(self, address)? {
            answer::Asker::Host => Some(address.to_canonical()),
            answer::Asker::Container(replica) => {
                self.replicas[replica].places.iter().flat_map(|it| it.1.each()).min()
            }
        }
    }

    /// What has no name here, because it is longer than names can be (RFC 1035, 2.3.4).
    #[must_use]
    pub fn nameless(&self) -> &BTreeSet<String> {
        &self.nameless
    }
}
