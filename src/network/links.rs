//! A link's addresses and routes: what differs from what is wanted is changed, and nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use futures_util::TryStreamExt;
use ipnet::IpNet;
use rtnetlink::{
    Error, Handle, LinkUnspec, RouteMessageBuilder,
    packet_route::{
        address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope},
        link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, State},
        neighbour::NeighbourState,
        route::{
            RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol,
            RouteScope, RouteType,
        },
    },
};
use tokio::time::sleep;

use super::error::Fault;

/// How often, and how many times, it is looked whether a link carries packets.
const CARRIES_LOOK: Duration = Duration::from_millis(2);
const CARRIES_LOOKS_MAX: u32 = 500;

/// The kinds of links that are made here.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Bridge,
    /// Two ends, of which one may be in another namespace.
    Pair,
    /// WireGuard in the kernel.
    Wireguard,
    /// What goes through it goes through a process.
    Tun,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Pair => "pair of links",
            Self::Wireguard => "WireGuard device",
            Self::Tun => "TUN device",
        }
    }

    fn is_of(self, link: &Link) -> bool {
        let wanted = match self {
            Self::Bridge => InfoKind::Bridge,
            Self::Pair => InfoKind::Veth,
            Self::Wireguard => InfoKind::Wireguard,
            Self::Tun => InfoKind::Tun,
        };
        link.message.attributes.iter().any(|it| {
            matches!(it, LinkAttribute::LinkInfo(all)
                if all.iter().any(|it| matches!(it, LinkInfo::Kind(it) if *it == wanted)))
        })
    }
}

/// A link as the kernel has it.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) mtu: u32,
    pub(super) up: bool,
    pub(super) message: LinkMessage,
}

/// Looks for a link.
pub(super) async fn find(links: &Handle, name: &str) -> Result<Option<Link>, Error> {
    let mut found = links.link().get().match_name(name.to_owned()).execute();
    match found.try_next().await {
        Ok(link) => Ok(link.map(seen)),
        Err(Error::NetlinkError(why)) if why.raw_code() == -nix::libc::ENODEV => Ok(None),
        Err(why) => Err(why),
    }
}

/// Looks for a link of ours. One of another kind with its name is somebody else's.
pub(super) async fn ours(links: &Handle, name: &str, kind: Kind) -> Result<Option<Link>, Fault> {
    match find(links, name).await? {
        Some(link) if !kind.is_of(&link) => {
            Err(Fault::Taken { name: name.to_owned(), wanted: kind.name() })
        }
        found => Ok(found),
    }
}

/// Takes a link of ours away, if it is there.
pub(super) async fn remove(links: &Handle, name: &str, kind: Kind) -> Result<(), Fault> {
    match find(links, name).await? {
        Some(link) if kind.is_of(&link) => Ok(links.link().del(link.index).execute().await?),
        Some(_) | None => Ok(()),
    }
}

fn seen(message: LinkMessage) -> Link {
    let mut link = Link {
        index: message.header.index,
        mtu: 0,
        up: message.header.flags.contains(LinkFlags::Up),
        message,
    };
    for attribute in &link.message.attributes {
        if let LinkAttribute::Mtu(mtu) = attribute {
            link.mtu = *mtu;
        }
    }
    link
}

/// Gives a link a hardware address that stays.
pub(super) async fn identify(links: &Handle, link: &Link, mac: [u8; 6]) -> Result<(), Error> {
    let mac = mac.to_vec();
    if link.message.attributes.contains(&LinkAttribute::Address(mac.clone())) {
        return Ok(());
    }
    let message = LinkUnspec::new_with_index(link.index).address(mac).build();
    links.link().set(message).execute().await
}

/// Says which hardware address somebody on a link has, for good.
pub(super) async fn introduce(
    links: &Handle,
    index: u32,
    address: IpAddr,
    mac: [u8; 6],
) -> Result<(), Error> {
    let known = links.neighbours().add(index, address).link_layer_address(&mac);
    known.state(NeighbourState::Permanent).replace().execute().await
}

/// Sets a link's largest packet, and has it work.
pub(super) async fn tune(links: &Handle, link: &Link, mtu: u32) -> Result<(), Error> {
    resize(links, link, mtu).await?;
    raise(links, link).await
}

/// Sets a link's largest packet.
pub(super) async fn resize(links: &Handle, link: &Link, mtu: u32) -> Result<(), Error> {
    if link.mtu == mtu {
        return Ok(());
    }
    links.link().set(LinkUnspec::new_with_index(link.index).mtu(mtu).build()).execute().await
}

/// Has a link work.
pub(super) async fn raise(links: &Handle, link: &Link) -> Result<(), Error> {
    if link.up {
        return Ok(());
    }
    links.link().set(LinkUnspec::new_with_index(link.index).up().build()).execute().await
}

/// Waits until a link carries packets, which the kernel sees to a moment after both its ends were raised
/// (`operstate` of the kernel's networking/operstates): what is sent before is lost.
pub(super) async fn carries(links: &Handle, name: &str) -> Result<bool, Error> {
    for _ in 0..CARRIES_LOOKS_MAX {
        let link = find(links, name).await?;
        let up = LinkAttribute::OperState(State::Up);
        if link.is_some_and(|it| it.message.attributes.contains(&up)) {
            return Ok(true);
        }
        sleep(CARRIES_LOOK).await;
    }
    Ok(false)
}

/// Gives a link just these addresses. Those that the kernel gives by itself (RFC 4862) stay.
pub(super) async fn address(
    links: &Handle,
    index: u32,
    wanted: &BTreeSet<IpNet>,
) -> Result<(), Error> {
    let all = links.address().get().set_link_index_filter(index).execute();
    let mut there = BTreeSet::new();
    for message in all.try_collect::<Vec<_>>().await? {
        let Some(net) = net_of(&message).filter(|_| message.header.scope != AddressScope::Link)
        else {
            continue;
        };
        if wanted.contains(&net) {
            there.insert(net);
        } else {
            links.address().del(message).execute().await?;
        }
    }
    for net in wanted.difference(&there) {
        let mut add = links.address().add(index, net.addr(), net.prefix_len()).replace();
        // Whoever allocates them sees to it that they are unique: nothing has to wait for the kernel to ask
        // around first (RFC 4862, 5.4).
        add.message_mut().header.flags |= AddressHeaderFlags::Nodad;
        add.execute().await?;
    }
    Ok(())
}

/// Of a link between two the first is this end, and the second the other; of the rest both are one.
fn net_of(message: &AddressMessage) -> Option<IpNet> {
    let (mut here, mut there) = (None, None);
    for attribute in &message.attributes {
        if let AddressAttribute::Local(address) = attribute {
            here = Some(*address);
        }
        if let AddressAttribute::Address(address) = attribute {
            there = Some(*address);
        }
    }
    IpNet::new(here.or(there)?, message.header.prefix_len).ok()
}

/// Sends through a gateway, which is on the link whatever the addresses say, whatever is nowhere nearer.
pub(super) async fn route_out(links: &Handle, index: u32, gateway: IpAddr) -> Result<(), Error> {
    let mut message = match gateway {
        IpAddr::V4(gateway) => {
            let route = RouteMessageBuilder::<Ipv4Addr>::new();
            route.gateway(gateway).output_interface(index).build()
        }
        IpAddr::V6(gateway) => {
            let route = RouteMessageBuilder::<Ipv6Addr>::new();
            route.gateway(gateway).output_interface(index).build()
        }
    };
    message.header.flags |= RouteFlags::Onlink;
    links.route().add(message).replace().execute().await
}

/// All routes of both families.
pub(super) async fn routes(links: &Handle) -> Result<Vec<RouteMessage>, Error> {
    let mut routes = vec![];
    for family in [
        RouteMessageBuilder::<Ipv4Addr>::new().build(),
        RouteMessageBuilder::<Ipv6Addr>::new().build(),
    ] {
        routes.extend(links.route().get(family).execute().try_collect::<Vec<_>>().await?);
    }
    Ok(routes)
}

/// Sends just these through a link, each as from an address of this host's, if one is given. Routes that the
/// kernel makes by itself stay.
pub(super) async fn route(
    links: &Handle,
    index: u32,
    wanted: &BTreeMap<IpNet, Option<IpAddr>>,
) -> Result<(), Error> {
    let mut there = BTreeSet::new();
    for message in routes(links).await? {
        let Some(net) = net_through(index, &message) else { continue };
        if wanted.get(&net) == Some(&source(&message)) {
            there.insert(net);
        } else {
            match links.route().del(message).execute().await {
                // It has gone by itself.
                Err(Error::NetlinkError(why)) if why.raw_code() == -nix::libc::ESRCH => {}
                done => done?,
            }
        }
    }
    for (net, source) in wanted.iter().filter(|(it, _)| !there.contains(it)) {
        let message = match net {
            IpNet::V4(net) => {
                let route = RouteMessageBuilder::<Ipv4Addr>::new()
                    .destination_prefix(net.network(), net.prefix_len())
                    .output_interface(index)
                    .scope(RouteScope::Link);
                match source {
                    Some(IpAddr::V4(source)) => route.pref_source(*source),
                    Some(IpAddr::V6(_)) | None => route,
                }
                .build()
            }
            IpNet::V6(net) => {
                let route = RouteMessageBuilder::<Ipv6Addr>::new()
                    .destination_prefix(net.network(), net.prefix_len())
                    .output_interface(index);
                match source {
                    Some(IpAddr::V6(source)) => route.pref_source(*source),
                    Some(IpAddr::V4(_)) | None => route,
                }
                .build()
            }
        };
        links.route().add(message).replace().execute().await?;
    }
    Ok(())
}

/// What a route sends through a link, unless the kernel made it, or noted by it what it learnt of a way, as how large
/// a packet may be there (rtnetlink(7), `RTM_F_CLONED`).
fn net_through(index: u32, message: &RouteMessage) -> Option<IpNet> {
    let header = &message.header;
    let ours = header.table == RouteHeader::RT_TABLE_MAIN
        && !header.flags.contains(RouteFlags::Cloned)
        && header.kind == RouteType::Unicast
        && header.protocol != RouteProtocol::Kernel
        && message.attributes.contains(&RouteAttribute::Oif(index));
    if ours { destination(message) } else { None }
}

/// As from which address a route sends what has none yet.
fn source(message: &RouteMessage) -> Option<IpAddr> {
    message.attributes.iter().find_map(|it| {
        let RouteAttribute::PrefSource(source) = it else { return None };
        ip_of(source)
    })
}

/// What a route is for; `None`: for whatever is nowhere nearer.
pub(super) fn destination(message: &RouteMessage) -> Option<IpNet> {
    let destination = message.attributes.iter().find_map(|it| {
        let RouteAttribute::Destination(destination) = it else { return None };
        ip_of(destination)
    });
    IpNet::new(destination?, message.header.destination_prefix_length).ok()
}

fn ip_of(address: &RouteAddress) -> Option<IpAddr> {
    if let RouteAddress::Inet(it) = address {
        return Some(IpAddr::V4(*it));
    }
    if let RouteAddress::Inet6(it) = address { Some(IpAddr::V6(*it)) } else { None }
}
