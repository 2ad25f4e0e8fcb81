//! What is to be in the maps, from what is agreed. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use ipnet::IpNet;

use super::{
    IngressError,
    layout::{
        self, AFFINITY, Address, Backend, Frontend, FrontendKey, LEAVING, LOCAL_FIRST, OwnerKey,
        RANGES, Range, Settings, TableKey,
    },
    numbers::Numbers,
};
use crate::{
    model::{NodeId, spec::Protocol},
    topology::{self, Plan, Pool, Published},
};

/// What ingress is to do on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Where addresses come from.
    pub plan: Plan,
    /// Which node this is.
    pub here: NodeId,
    /// The host's network: the cookie of its namespace.
    pub network: u64,
    /// The mesh's device, and its largest packet.
    pub mesh: (u32, u32),
    /// The gateways of all nodes, by which packets of one reach another through the mesh.
    pub gateways: BTreeMap<NodeId, BTreeSet<Ipv4Addr>>,
    /// The node's own addresses.
    pub locals: BTreeSet<IpAddr>,
    /// The published ports.
    pub pools: BTreeMap<Published, Pool>,
    /// The node's end of the link of each container that is here.
    pub links: BTreeMap<Ipv4Addr, u32>,
    /// How long each node's replicas may leave the first packet of a connection unanswered.
    pub patience: BTreeMap<NodeId, Duration>,
}

/// The programs' numbers for pools and backends.
pub(super) struct Known {
    pub(super) pools: Numbers<FrontendKey>,
    pub(super) backends: Numbers<OwnerKey>,
}

/// All maps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Image {
    pub(super) settings: Settings,
    pub(super) locals: BTreeSet<Address>,
    pub(super) peers: BTreeSet<u32>,
    pub(super) ends: BTreeMap<u32, u32>,
    pub(super) frontends: BTreeMap<FrontendKey, Frontend>,
    pub(super) ranges: BTreeSet<(u32, Range)>,
    pub(super) tables: BTreeMap<TableKey, Vec<u16>>,
    pub(super) backends: BTreeMap<u32, Backend>,
    pub(super) owners: BTreeMap<OwnerKey, u32>,
}

impl Image {
    pub(super) fn of(wanted: &Wanted, known: &mut Known) -> Result<Self, IngressError> {
        let mut image = Self {
            settings: settings(wanted),
            locals: wanted.locals.iter().map(|it| Address::from(*it)).collect(),
            peers: wanted.gateways.values().flatten().map(|it| layout::v4(*it)).collect(),
            ends: wanted.links.iter().map(|(at, link)| (*link, layout::v4(*at))).collect(),
            ..Self::default()
        };
        let own = wanted.gateways.get(&wanted.here).into_iter().flatten();
        for gateway in own {
            let both = [IpAddr::V4(*gateway), wanted.plan.v6(*gateway).into()];
            image.locals.extend(both.map(Address::from));
        }
        let pools = || wanted.pools.iter().filter(|it| is_carried(it.0));
        known.pools.give(pools().map(|(port, _)| key_of(port)))?;
        let all = pools().flat_map(|(port, pool)| {
            let backends = pool.open.iter().chain(&pool.closed);
            backends.map(|it| owner_of(it, port.protocol))
        });
        known.backends.give(all)?;
        for (port, pool) in pools() {
            let key = key_of(port);
            let Some(number) = known.pools.get(&key) else { continue };
            image.add(wanted, known, port, pool, number);
        }
        Ok(image)
    }

    fn add(&mut self, wanted: &Wanted, known: &Known, port: &Published, pool: &Pool, number: u32) {
        let backend = |it: &topology::Backend| backend_of(wanted, it, port.protocol);
        let mut pool = pool.clone();
        // Nothing leads to the others yet.
        pool.open.retain(|it| backend(it).is_some());
        pool.closed.retain(|it| backend(it).is_some());
        let flag = |is: bool, flag| if is { flag } else { 0 };
        let flags = flag(!pool.allowed.is_empty(), RANGES)
            | flag(pool.affinity, AFFINITY)
            | flag(pool.local_first, LOCAL_FIRST);
        self.frontends.insert(key_of(port), Frontend { pool: number, flags });
        self.ranges.extend(pool.allowed.iter().map(|it| range_of(number, *it)));
        let number_of = |it: &topology::Backend| known.backends.get(&owner_of(it, port.protocol));
        for (it, is_open) in
            pool.closed.iter().map(|it| (it, false)).chain(pool.open.iter().map(|it| (it, true)))
        {
            let (Some(at), Some(backend)) = (number_of(it), backend(it)) else { continue };
            let flags = if is_open { 0 } else { LEAVING };
            let owner = owner_of(it, port.protocol);
            let backend = Backend { flags, pool: number, ..backend };
            // One that several ports lead to counts in the first.
            self.owners.entry(owner).or_insert(at);
            self.backends.entry(at).or_insert(backend);
        }
        let slots = |of: Vec<topology::Backend>| -> Vec<u16> {
            of.iter().filter_map(|it| u16::try_from(number_of(it)?).ok()).collect()
        };
        let first = slots(pool.table(wanted.here));
        if !first.is_empty() {
            self.tables.insert(TableKey { pool: number, standby: 0 }, first);
        }
        if pool.local_first {
            self.tables.insert(TableKey { pool: number, standby: 1 }, slots(pool.all()));
        }
    }

    /// Which ports have a frontend: a bit for each, TCP's and then UDP's.
    pub(super) fn published(&self) -> BTreeMap<u32, u64> {
        let mut words: BTreeMap<u32, u64> = BTreeMap::new();
        for key in self.frontends.keys() {
            let udp = u32::from(key.protocol == Protocol::Udp.number()) << 16;
            let bit = u32::from(u16::from_be(key.port)) | udp;
            *words.entry(bit / 64).or_default() |= 1 << (bit % 64);
        }
        words
    }

    /// How many backends each pool has that take new connections.
    pub(super) fn sizes(&self) -> BTreeMap<u32, u32> {
        let mut sizes: BTreeMap<u32, u32> =
            self.frontends.values().map(|it| (it.pool, 0)).collect();
        for backend in self.backends.values().filter(|it| it.flags & LEAVING == 0) {
            *sizes.entry(backend.pool).or_default() += 1;
        }
        sizes
    }
}

/// Whether the programs carry a protocol: SCTP's checksum has the ports in it, and is the firewall's to translate.
pub(super) fn is_carried(port: &Published) -> bool {
    match port.protocol {
        Protocol::Tcp | Protocol::Udp => true,
        Protocol::Sctp => false,
    }
}

pub(super) fn key_of(port: &Published) -> FrontendKey {
    FrontendKey {
        to: port.host_ip.map(Address::from).unwrap_or_default(),
        port: port.port.to_be(),
        protocol: port.protocol.number(),
        zero: 0,
    }
}

pub(super) fn owner_of(it: &topology::Backend, protocol: Protocol) -> OwnerKey {
    OwnerKey {
        address: layout::v4(it.address),
        port: it.port.to_be(),
        protocol: protocol.number(),
        zero: 0,
    }
}

/// What the programs are to know of a backend; `None`: nothing leads to it yet.
fn backend_of(wanted: &Wanted, it: &topology::Backend, protocol: Protocol) -> Option<Backend> {
    let here = it.node == wanted.here;
    let gateway = wanted.gateways.get(&it.node).and_then(|it| it.first());
    let patience = wanted.patience.get(&it.node).map_or(0, Duration::as_nanos);
    Some(Backend {
        address: layout::v4(it.address),
        port: it.port.to_be(),
        protocol: protocol.number(),
        through: if here { 0 } else { layout::v4(*gateway?) },
        link: if here { *wanted.links.get(&it.address)? } else { 0 },
        patience_ns: u64::try_from(patience).unwrap_or(u64::MAX),
        ..Backend::default()
    })
}

/// With how many bits of what follows must be the same.
fn range_of(pool: u32, range: IpNet) -> (u32, Range) {
    let (mapped, bits) = match range {
        IpNet::V4(it) => (96, it.prefix_len()),
        IpNet::V6(it) => (0, it.prefix_len()),
    };
    (32 + mapped + u32::from(bits), Range { pool, from: range.network().into() })
}

fn settings(wanted: &Wanted) -> Settings {
    let words = |it: std::net::Ipv6Addr| {
        let octets = it.octets();
        let word = |at: usize| u32::from_ne_bytes([0, 1, 2, 3].map(|it| octets[at * 4 + it]));
        [word(0), word(1)]
    };
    let gateway = wanted.gateways.get(&wanted.here).and_then(|it| it.first());
    let (mesh_link, mesh_bytes_max) = wanted.mesh;
    Settings {
        network: wanted.network,
        mesh_link,
        mesh_bytes_max,
        gateway: gateway.map_or(0, |it| layout::v4(*it)),
        overlay: layout::v4(wanted.plan.overlay().network()),
        overlay_mask: layout::v4(wanted.plan.overlay().netmask()),
        prefix: words(wanted.plan.v6(Ipv4Addr::UNSPECIFIED)),
        cluster: words(wanted.plan.local().network()),
        zero: 0,
    }
}
