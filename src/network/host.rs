//! What a host has already: its addresses and routes, its largest packet, and whether it forwards.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, UdpSocket},
    os::fd::AsRawFd,
    path::PathBuf,
};

use futures_util::{FutureExt, StreamExt, TryStreamExt, future::BoxFuture, stream::BoxStream};
use ipnet::IpNet;
use nix::{
    ifaddrs::{InterfaceAddress, getifaddrs},
    libc,
    net::if_::if_indextoname,
};
use rtnetlink::{
    MulticastGroup,
    packet_route::{
        link::{LinkAttribute, LinkLayerType, LinkMessage},
        route::{RouteAttribute, RouteHeader, RouteMessage},
    },
};

use super::{Namespace, NetworkError, links};

/// The largest packet of a host that has no way out: Ethernet's.
const MTU_BYTES: u32 = 1500;

/// What the links between a host and its own containers and virtual machines are called. Their addresses are the
/// same on many hosts.
const INWARD: [&str; 8] = ["docker", "br-", "podman", "cni", "virbr", "veth", "fizz", "fz"];

/// The addresses by which other hosts may reach this one, in the order of its links.
pub fn addresses() -> impl Iterator<Item = IpAddr> {
    let inward =
        |it: &InterfaceAddress| INWARD.iter().any(|name| it.interface_name.starts_with(name));
    let link_local = |it: &IpAddr| matches!(it, IpAddr::V6(it) if it.is_unicast_link_local());
    let outward = getifaddrs().into_iter().flatten().filter(move |it| !inward(it));
    let all = outward.filter_map(|it| ip_of(&it));
    all.filter(move |it| !it.is_loopback() && !link_local(it))
}

/// A link's address, if it is one of IP.
fn ip_of(it: &InterfaceAddress) -> Option<IpAddr> {
    let address = it.address.as_ref()?;
    let v4 = address.as_sockaddr_in().map(|it| IpAddr::V4(it.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|it| IpAddr::V6(it.ip())))
}

/// A route of this host, or an address that it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// Where to.
    pub to: IpNet,
    /// By which link.
    pub link: String,
    /// It is an address of the host's own, which no route by the same link leads to.
    pub own: bool,
}

/// What this host sends by which link, and the addresses that it has, but for what these links are for. Of IPv6
/// nothing that every link has.
pub async fn ways(host: &Namespace, but: impl Fn(&str) -> bool) -> Result<Vec<Way>, NetworkError> {
    let mut ways = host
        .work("look at the host's routes", async |handle| {
            let main = links::routes(handle).await?.into_iter();
            let main = main.filter(|it| it.header.table == RouteHeader::RT_TABLE_MAIN);
            Ok(main.filter_map(|it| way(&it)).collect::<Vec<_>>())
        })
        .await?;
    for it in getifaddrs().into_iter().flatten() {
        let Some(to) = ip_of(&it).map(IpNet::from) else { continue };
        let link = it.interface_name;
        let known = |it: &Way| it.link == link && it.to.prefix_len() != 0 && it.to.contains(&to);
        if !ways.iter().any(known) {
            ways.push(Way { to, link, own: true });
        }
    }
    let everywhere = |it: &IpNet| matches!(it, IpNet::V6(it) if it.addr().is_unicast_link_local() || it.addr().is_multicast());
    ways.retain(|it| !but(&it.link) && !everywhere(&it.to));
    Ok(ways)
}

fn way(message: &RouteMessage) -> Option<Way> {
    let index = message
        .attributes
        .iter()
        .find_map(|it| if let RouteAttribute::Oif(index) = it { Some(*index) } else { None });
    let link = index.and_then(|it| if_indextoname(it).ok());
    let link = link.map_or_else(|| "no link".to_owned(), |it| it.to_string_lossy().into());
    Some(Way { to: links::destination(message)?, link, own: false })
}

/// Tells when addresses of a host come or go (rtnetlink(7), `RTM_NEWADDR`).
pub struct AddressChanges {
    connection: BoxFuture<'static, ()>,
    changes: BoxStream<'static, ()>,
}

impl AddressChanges {
    /// From now on.
    pub fn new(host: &Namespace) -> Result<Self, NetworkError> {
        let groups = [MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
        let listen = || rtnetlink::new_multicast_connection(&groups);
        let (connection, _, messages) = host.inside(listen).map_err(|why| {
            NetworkError::Refused { doing: "listen for addresses of the host".to_owned(), why }
        })?;
        let changes = messages.map(drop).boxed();
        Ok(Self { connection: connection.boxed(), changes })
    }

    /// Waits for the next.
    pub async fn next(&mut self) {
        tokio::select! {
            () = &mut self.connection => {}
            next = self.changes.next() => if next.is_some() {
                return;
            },
        }
        // Nothing will be told any more.
        std::future::pending().await
    }
}

/// A link of a host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostLink {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its packets have hardware addresses, as Ethernet's have.
    pub framed: bool,
    /// The host's own, to itself.
    pub loopback: bool,
    /// Part of another link, as a port of a bridge, by which its packets come.
    pub enslaved: bool,
}

/// All links of a host.
pub async fn all_links(host: &Namespace) -> Result<Vec<HostLink>, NetworkError> {
    host.work("look at the host's links", async |handle| {
        let messages: Vec<LinkMessage> = handle.link().get().execute().try_collect().await?;
        Ok(messages.iter().filter_map(host_link).collect())
    })
    .await
}

fn host_link(message: &LinkMessage) -> Option<HostLink> {
    let name = message.attributes.iter().find_map(|it| {
        if let LinkAttribute::IfName(name) = it { Some(name.clone()) } else { None }
    });
    let enslaved = |it: &LinkAttribute| matches!(it, LinkAttribute::Controller(by) if *by != 0);
    Some(HostLink {
        index: message.header.index,
        name: name?,
        framed: message.header.link_layer_type == LinkLayerType::Ether,
        loopback: message.header.link_layer_type == LinkLayerType::Loopback,
        enslaved: message.attributes.iter().any(enslaved),
    })
}

/// All addresses that a host has, by whatever link.
pub fn own_addresses() -> impl Iterator<Item = IpAddr> {
    getifaddrs().into_iter().flatten().filter_map(|it| ip_of(&it))
}

/// The number by which the kernel's programs know the network that this thread is in (socket(7), `SO_NETNS_COOKIE`,
/// of Linux 5.14).
pub fn cookie() -> io::Result<u64> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let (mut cookie, mut bytes) = (0_u64, 8);
    let (level, option) = (libc::SOL_SOCKET, libc::SO_NETNS_COOKIE);
    let at = std::ptr::from_mut(&mut cookie).cast();
    // SAFETY: the kernel writes at most `bytes` bytes to `at`, which are the number's.
    let failed = unsafe { libc::getsockopt(socket.as_raw_fd(), level, option, at, &raw mut bytes) };
    if failed == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}

/// The largest packet that goes out of this host whole: the smallest of its ways out.
pub async fn mtu_outward(host: &Namespace) -> Result<u32, NetworkError> {
    host.work("find out the host's largest packet", async |handle| {
        let mut found = vec![];
        for message in links::routes(handle)
            .await?
            .iter()
            .filter(|it| it.header.destination_prefix_length == 0)
        {
            let index = message.attributes.iter().find_map(|it| {
                if let RouteAttribute::Oif(index) = it { Some(*index) } else { None }
            });
            let Some(index) = index else { continue };
            let link = handle.link().get().match_index(index).execute().try_next().await?;
            let mtu = link
                .iter()
                .flat_map(|it| &it.attributes)
                .find_map(|it| if let LinkAttribute::Mtu(mtu) = it { Some(*mtu) } else { None });
            found.extend(mtu);
        }
        Ok(found.into_iter().min().unwrap_or(MTU_BYTES))
    })
    .await
}

/// Has this thread's host forward packets. A host that learns its way out from its routers (RFC 4862) would
/// learn nothing more as soon as it forwards itself: it is told to go on (the kernel's ip-sysctl, `accept_ra`).
pub fn forward() -> io::Result<()> {
    let v6 = PathBuf::from("/proc/sys/net/ipv6/conf");
    match fs::read_to_string(v6.join("all/forwarding")) {
        Ok(on) if on.trim() == "0" => {
            for link in fs::read_dir(&v6)? {
                let learns = link?.path().join("accept_ra");
                if fs::read_to_string(&learns).is_ok_and(|it| it.trim() == "1") {
                    fs::write(&learns, "2")?;
                }
            }
            fs::write(v6.join("all/forwarding"), "1")?;
        }
        // It is on, or there is no IPv6 here.
        Ok(_) => {}
        Err(why) if why.kind() == io::ErrorKind::NotFound => {}
        Err(why) => return Err(why),
    }
    let v4 = "/proc/sys/net/ipv4/ip_forward";
    if fs::read_to_string(v4)?.trim() == "0" {
        fs::write(v4, "1")?;
    }
    Ok(())
}

/// Lets what this host sends to itself be led on to containers through a link (ip-sysctl, `route_localnet`).
pub fn lead_on(link: &str) -> io::Result<()> {
    fs::write(format!("/proc/sys/net/ipv4/conf/{link}/route_localnet"), "1")
}
