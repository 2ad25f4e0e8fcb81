//! A node as its containers' way out: a link that has nothing behind it, and the addresses that they know.
//!
//! Its kind is a bridge without ports, as not every kernel has links that are made for this.

use std::collections::BTreeSet;

use ipnet::IpNet;
use rtnetlink::LinkBridge;

use super::{
    Namespace, NetworkError,
    links::{self, Kind},
};

/// A node's own link as it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// Its name.
    pub name: String,
    /// Its addresses, each with the block that it is of: what nobody has in a block ends here.
    pub addresses: BTreeSet<IpNet>,
    /// The largest packet.
    pub mtu: u32,
}

impl Gateway {
    /// Makes it, or makes it so.
    pub async fn ensure(&self, host: &Namespace) -> Result<(), NetworkError> {
        let doing = format!("set up the link {}", self.name);
        host.work(&doing, async |handle| {
            if links::ours(handle, &self.name, Kind::Bridge).await?.is_none() {
                let bridge = LinkBridge::new(&self.name).mcast_snooping(false).build();
                handle.link().add(bridge).execute().await?;
            }
            let found = links::find(handle, &self.name).await?;
            let link = found.ok_or(rtnetlink::Error::RequestFailed)?;
            links::tune(handle, &link, self.mtu).await?;
            Ok(links::address(handle, link.index, &self.addresses).await?)
        })
        .await
    }

    /// Takes it away.
    pub async fn remove(name: &str, host: &Namespace) -> Result<(), NetworkError> {
        let doing = format!("remove the link {name}");
        host.work(&doing, async |handle| links::remove(handle, name, Kind::Bridge).await).await
    }
}
