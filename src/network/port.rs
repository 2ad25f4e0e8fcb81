//! A container's place on its node: a pair of links, one end the node's, the other in the container's network.
//!
//! No bridge is between them. All that a container sends goes to its node as a router, which decides about it
//! alike whether it is for a neighbour, another node or the outside; on a bridge some of it would pass below, and
//! some would be decided about twice (decision 021). Either end knows the other's hardware address and never asks
//! for it. A container's address is one of its own, without a network around it.

use std::{collections::BTreeSet, fs, io, net::IpAddr};

use ipnet::IpNet;
use rtnetlink::{
    Error, Handle, LinkMessageBuilder, LinkUnspec, LinkVeth,
    packet_route::link::{InfoData, InfoVeth},
};

use super::{
    Namespace, NetworkError, host,
    links::{self, Kind},
};

/// The hardware address of each end that is the node's. Locally administered (IEEE 802, 8.4), and no container's,
/// which have their IP address in them.
const NODE: [u8; 6] = [0x02, 0xf1, 0, 0, 0, 1];

/// A container's place as it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// The end's name on the host.
    pub name: String,
    /// The end's name in the container.
    pub inside: String,
    /// The container's addresses.
    pub addresses: BTreeSet<IpNet>,
    /// Its ways out, one of each family that it has.
    pub gateways: BTreeSet<IpAddr>,
    /// The largest packet.
    pub mtu: u32,
}

impl Port {
    /// Makes it, or makes it so: what fits stays as it is, and what goes through it is not disturbed.
    pub async fn ensure(
        &self,
        host: &Namespace,
        container: &Namespace,
    ) -> Result<(), NetworkError> {
        let doing = format!("connect a container by {}", self.name);
        let look = async |handle: &Handle| links::ours(handle, &self.inside, Kind::Pair).await;
        let inside = container.work(&doing, look).await?.is_some();
        host.work(&doing, async |handle| {
            let here = links::ours(handle, &self.name, Kind::Pair).await?;
            let whole = inside && here.is_some();
            if let Some(half) = here.filter(|_| !whole) {
                handle.link().del(half.index).execute().await?;
            }
            if !whole {
                self.make(handle, container).await?;
            }
            Ok(self.at_node(handle).await?)
        })
        .await?;
        self.lead_on(host, &doing)?;
        if self.addresses.iter().any(|it| it.addr().is_ipv6()) {
            let refused = |why| NetworkError::Refused { doing: doing.clone(), why };
            container.inside(allow_ipv6).map_err(refused)?;
        }
        container.work(&doing, async |handle| Ok(self.in_container(handle).await?)).await?;
        // One that does not yet will soon, or somebody took it down again.
        host.work(&doing, async |handle| Ok(links::carries(handle, &self.name).await?)).await?;
        Ok(())
    }

    /// Makes the node's end so, if it is there: whoever took the way to a container away is corrected.
    pub async fn ensure_at_node(&self, host: &Namespace) -> Result<(), NetworkError> {
        let doing = format!("lead to a container by {}", self.name);
        let is_there = host.work(&doing, async |handle| {
            let is_there = links::ours(handle, &self.name, Kind::Pair).await?.is_some();
            if is_there {
                self.at_node(handle).await?;
            }
            Ok(is_there)
        });
        if is_there.await? { self.lead_on(host, &doing) } else { Ok(()) }
    }

    /// Has what the node sends to itself led on to the container, where a port of the node is its.
    fn lead_on(&self, host: &Namespace, doing: &str) -> Result<(), NetworkError> {
        let refused = |why| NetworkError::Refused { doing: doing.to_owned(), why };
        host.inside(|| host::lead_on(&self.name)).map_err(refused)
    }

    /// A hardware address that goes with the IP address, as programs take it for one that nobody else has.
    fn mac(&self) -> [u8; 6] {
        let v4 = self.addresses.iter().find_map(|it| match it.addr() {
            IpAddr::V4(address) => Some(address.octets()),
            IpAddr::V6(_) => None,
        });
        let [a, b, c, d] = v4.unwrap_or_default();
        [0x02, 0xf1, a, b, c, d]
    }

    async fn make(&self, handle: &Handle, container: &Namespace) -> Result<(), Error> {
        let inside = LinkMessageBuilder::<LinkUnspec>::new()
            .name(&self.inside)
            .mtu(self.mtu)
            .address(self.mac().to_vec())
            .setns_by_fd(container.fd());
        let peer = InfoData::Veth(InfoVeth::Peer(inside.build()));
        let pair = LinkMessageBuilder::<LinkVeth>::new(&self.name, &self.inside)
            .set_info_data(peer)
            .mtu(self.mtu)
            .address(NODE.to_vec());
        handle.link().add(pair.build()).execute().await
    }

    async fn at_node(&self, handle: &Handle) -> Result<(), Error> {
        let link = links::find(handle, &self.name).await?.ok_or(Error::RequestFailed)?;
        links::identify(handle, &link, NODE).await?;
        links::tune(handle, &link, self.mtu).await?;
        // What the node itself sends comes from whom the container knows.
        let from = |it: &IpNet| {
            let same = |gateway: &&IpAddr| gateway.is_ipv4() == it.addr().is_ipv4();
            (*it, self.gateways.iter().find(same).copied())
        };
        let routes = self.addresses.iter().map(from).collect();
        links::route(handle, link.index, &routes).await?;
        for address in &self.addresses {
            links::introduce(handle, link.index, address.addr(), self.mac()).await?;
        }
        Ok(())
    }

    async fn in_container(&self, handle: &Handle) -> Result<(), Error> {
        if let Some(loopback) = links::find(handle, "lo").await? {
            links::tune(handle, &loopback, loopback.mtu).await?;
        }
        let link = links::find(handle, &self.inside).await?.ok_or(Error::RequestFailed)?;
        links::identify(handle, &link, self.mac()).await?;
        links::address(handle, link.index, &self.addresses).await?;
        links::tune(handle, &link, self.mtu).await?;
        for gateway in &self.gateways {
            links::introduce(handle, link.index, *gateway, NODE).await?;
            links::route_out(handle, link.index, *gateway).await?;
        }
        Ok(())
    }

    /// Takes a place away, both ends.
    pub async fn remove(name: &str, host: &Namespace) -> Result<(), NetworkError> {
        let doing = format!("remove the link {name}");
        host.work(&doing, async |handle| links::remove(handle, name, Kind::Pair).await).await
    }
}

/// Has this thread's network take IPv6 addresses: Docker turns them off where it gives none itself.
fn allow_ipv6() -> io::Result<()> {
    let off = "/proc/sys/net/ipv6/conf/all/disable_ipv6";
    match fs::read_to_string(off) {
        Ok(it) if it.trim() == "0" => Ok(()),
        Ok(_) => fs::write(off, "0"),
        // The kernel has no IPv6, and says so when it is to take an address.
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(why) => Err(why),
    }
}
