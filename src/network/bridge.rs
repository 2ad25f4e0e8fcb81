//! The bridge that a node's containers are on.

use std::collections::BTreeSet;

use ipnet::IpNet;
use rtnetlink::LinkBridge;

use super::{
    Namespace, NetworkError,
    links::{self, Kind},
};

/// A bridge's hardware address. Without one of its own a bridge has the lowest of its ports', which changes
/// when a container goes, and all others lose their way out until they ask again. It is no port's, which
/// have their container's IP address in them.
const MAC: [u8; 6] = [0x02, 0xf1, 0, 0, 0, 1];

/// A bridge as it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    /// Its name.
    pub name: String,
    /// Its addresses, which are its containers' way out.
    pub addresses: BTreeSet<IpNet>,
    /// Its largest packet.
    pub mtu: u32,
}

impl Bridge {
    /// Makes it, or makes it so.
    pub async fn ensure(&self, host: &Namespace) -> Result<(), NetworkError> {
        let doing = format!("set up the bridge {}", self.name);
        host.work(&doing, async |handle| {
            if links::ours(handle, &self.name, Kind::Bridge).await?.is_none() {
                // Nothing is to be learned about groups here, and asking for them only costs.
                let bridge = LinkBridge::new(&self.name).mcast_snooping(false).build();
                handle.link().add(bridge).execute().await?;
            }
            let found = links::find(handle, &self.name).await?;
            let link = found.ok_or(rtnetlink::Error::RequestFailed)?;
            links::identify(handle, &link, MAC).await?;
            links::tune(handle, &link, self.mtu).await?;
            Ok(links::address(handle, link.index, &self.addresses).await?)
        })
        .await
    }

    /// Takes a bridge away, with its ports' places on it.
    pub async fn remove(name: &str, host: &Namespace) -> Result<(), NetworkError> {
        let doing = format!("remove the bridge {name}");
        host.work(&doing, async |handle| links::remove(handle, name, Kind::Bridge).await).await
    }
}
