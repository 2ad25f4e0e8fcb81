//! A link's addresses and routes: what differs from what is wanted is changed, and nothing else.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use futures_util::TryStreamExt;
use ipnet::IpNet;
use rtnetlink::{
    Error, Handle, LinkUnspec, RouteMessageBuilder,
    packet_route::{
        address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope},
        link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage},
        route::{
            RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol,
            RouteScope, RouteType,
        },
    },
};

use super::error::Fault;

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
    /// The bridge that it is a port of.
    pub(super) controller: Option<u32>,
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
        controller: None,
        message,
    };
    for attribute in &link.message.attributes {
        if let LinkAttribute::Mtu(mtu) = attribute {
            link.mtu = *mtu;
        }
        if let LinkAttribute::Controller(index) = attribute {
            link.controller = Some(*index).filter(|it| *it != 0);
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

/// Sends just these through a link. Routes that the kernel makes by itself stay.
pub(super) async fn route(
    links: &Handle,
    index: u32,
    wanted: &BTreeSet<IpNet>,
) -> Result<(), Error> {
    let mut there = BTreeSet::new();
    for message in routes(links).await? {
        let Some(net) = net_through(index, &message) else { continue };
        if wanted.contains(&net) {
            there.insert(net);
        } else {
            links.route().del(message).execute().await?;
        }
    }
    for net in wanted.difference(&there) {
        let message = match net {
            IpNet::V4(net) => RouteMessageBuilder::<Ipv4Addr>::new()
                .destination_prefix(net.network(), net.prefix_len())
                .output_interface(index)
                .scope(RouteScope::Link)
                .build(),
            IpNet::V6(net) => RouteMessageBuilder::<Ipv6Addr>::new()
                .destination_prefix(net.network(), net.prefix_len())
                .output_interface(index)
                .build(),
        };
        links.route().add(message).replace().execute().await?;
    }
    Ok(())
}

/// What a route sends through a link, unless the kernel made it.
fn net_through(index: u32, message: &RouteMessage) -> Option<IpNet> {
    let header = &message.header;
    let ours = header.table == RouteHeader::RT_TABLE_MAIN
        && header.kind == RouteType::Unicast
        && header.protocol != RouteProtocol::Kernel
        && message.attributes.contains(&RouteAttribute::Oif(index));
    if ours { destination(message) } else { None }
}

/// What a route is for; `None`: for whatever is nowhere nearer.
pub(super) fn destination(message: &RouteMessage) -> Option<IpNet> {
    let mut destination = None;
    for attribute in &message.attributes {
        if let RouteAttribute::Destination(RouteAddress::Inet(it)) = attribute {
            destination = Some(IpAddr::V4(*it));
        }
        if let RouteAttribute::Destination(RouteAddress::Inet6(it)) = attribute {
            destination = Some(IpAddr::V6(*it));
        }
    }
    IpNet::new(destination?, message.header.destination_prefix_length).ok()
}
