//! A container's place on its node's bridge: a pair of links, one end on the bridge, the other in the
//! container's network.
//!
//! The ports of a bridge do not hear each other (ip-link(8), `isolated`): all that a container sends goes to its
//! node first, which decides about it alike whether it is for a neighbour, another node or the outside. So a
//! container's address is one of its own, without a network around it.

use std::{collections::BTreeSet, fs, io, net::IpAddr};

use ipnet::IpNet;
use rtnetlink::{
    Error, Handle, LinkBridgePort, LinkMessageBuilder, LinkUnspec, LinkVeth,
    packet_route::link::{InfoBridgePort, InfoData, InfoVeth},
};

use super::{
    Namespace, NetworkError,
    links::{self, Kind},
};

/// A container's place as it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// The end's name on the host.
    pub name: String,
    /// The bridge.
    pub bridge: String,
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
        let doing = format!("connect {} to {}", self.name, self.bridge);
        let look = async |handle: &Handle| links::ours(handle, &self.inside, Kind::Pair).await;
        let inside = container.work(&doing, look).await?.is_some();
        host.work(&doing, async |handle| {
            let here = links::ours(handle, &self.name, Kind::Pair).await?;
            let whole = inside && here.is_some();
            if let Some(half) = here.filter(|_| !whole) {
                handle.link().del(half.index).execute().await?;
            }
            Ok(self.on_host(handle, container, !whole).await?)
        })
        .await?;
        if self.addresses.iter().any(|it| it.addr().is_ipv6()) {
            let refused = |why| NetworkError::Refused { doing: doing.clone(), why };
            container.inside(allow_ipv6).map_err(refused)?;
        }
        container.work(&doing, async |handle| Ok(self.in_container(handle).await?)).await
    }

    /// A hardware address that goes with the IP address: whoever takes that over is found at once by those
    /// that spoke to the one before. Locally administered (IEEE 802, 8.4).
    fn mac(&self) -> [u8; 6] {
        let v4 = self.addresses.iter().find_map(|it| match it.addr() {
            IpAddr::V4(address) => Some(address.octets()),
            IpAddr::V6(_) => None,
        });
        let [a, b, c, d] = v4.unwrap_or_default();
        [0x02, 0xf1, a, b, c, d]
    }

    async fn on_host(
        &self,
        handle: &Handle,
        container: &Namespace,
        make: bool,
    ) -> Result<(), Error> {
        let bridge = links::find(handle, &self.bridge).await?.ok_or(Error::RequestFailed)?;
        if make {
            let inside = LinkMessageBuilder::<LinkUnspec>::new()
                .name(&self.inside)
                .mtu(self.mtu)
                .address(self.mac().to_vec())
                .setns_by_fd(container.fd());
            let peer = InfoData::Veth(InfoVeth::Peer(inside.build()));
            let pair = LinkMessageBuilder::<LinkVeth>::new(&self.name, &self.inside)
                .set_info_data(peer)
                .mtu(self.mtu);
            handle.link().add(pair.build()).execute().await?;
        }
        let link = links::find(handle, &self.name).await?.ok_or(Error::RequestFailed)?;
        if link.controller != Some(bridge.index) {
            let message = LinkUnspec::new_with_index(link.index).controller(bridge.index).build();
            handle.link().set(message).execute().await?;
        }
        let isolated = LinkBridgePort::new(link.index)
            .append_info_data(InfoBridgePort::Isolated(true))
            .build();
        handle.link().set_port(isolated).execute().await?;
        links::tune(handle, &link, self.mtu).await
    }

    async fn in_container(&self, handle: &Handle) -> Result<(), Error> {
        if let Some(loopback) = links::find(handle, "lo").await? {
            links::tune(handle, &loopback, loopback.mtu).await?;
        }
        let link = links::find(handle, &self.inside).await?.ok_or(Error::RequestFailed)?;
        links::address(handle, link.index, &self.addresses).await?;
        links::tune(handle, &link, self.mtu).await?;
        for gateway in &self.gateways {
            links::route_out(handle, link.index, *gateway).await?;
        }
        Ok(())
    }

    /// Takes a place away, both ends.
    pub async fn remove(name: &str, host: &Namespace) -> Result<(), NetworkError> {
        let doing = format!("remove the port {name}");
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
