//! Where devices can be reached: this node's own endpoints, and which of a peer's are tried.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use tracing::debug;

use crate::{
    model::PublicKey,
    network::{
        Namespace, host,
        wireguard::{Device, Wanted},
    },
    topology::Plan,
};

/// How many endpoints a node tells of.
const OWN_MAX: usize = 8;

/// Where this node's device may be reached: where members reach the node first, then at each address of its own.
pub(super) fn own(advertised: Option<IpAddr>, port: u16, plan: &Plan) -> Vec<SocketAddr> {
    let mut all: Vec<IpAddr> = advertised.into_iter().collect();
    for it in host::addresses().filter(|it| !plan.contains(*it)) {
        if !all.contains(&it) {
            all.push(it);
        }
    }
    all.into_iter().take(OWN_MAX).map(|it| SocketAddr::new(it, port)).collect()
}

/// How many looks an endpoint has: WireGuard sends the first packet of a handshake every five seconds (the paper,
/// section 6.4), which is as long as from one look to the next.
const LOOKS_EACH: u32 = 3;

/// Which endpoint is tried of each peer that there was no handshake with, and for how many looks already.
#[derive(Debug, Default)]
pub(super) struct Endpoints(BTreeMap<PublicKey, (usize, u32)>);

impl Endpoints {
    /// Tries the next endpoint of each peer of which one had its looks in vain.
    pub(super) async fn tend(&mut self, device: &Device, here: &Namespace, wanted: &Wanted<'_>) {
        let Ok(seen) = device.peers(here, wanted.name).await else { return };
        self.0.retain(|key, _| wanted.mesh.peers.contains_key(key));
        for it in seen {
            let Some(peer) = wanted.mesh.peers.get(&it.key) else { continue };
            if it.handshake.is_some() || peer.endpoints.len() < 2 {
                self.0.remove(&it.key);
                continue;
            }
            let (tried, looks) = self.0.entry(it.key).or_default();
            *looks += 1;
            if *looks < LOOKS_EACH {
                continue;
            }
            (*tried, *looks) = ((*tried + 1) % peer.endpoints.len(), 0);
            let Some(endpoint) = peer.endpoints.get(*tried) else { continue };
            debug!(node = %peer.node, %endpoint, "another endpoint is tried");
            if let Err(error) = device.point(here, wanted, it.key, *endpoint).await {
                debug!(node = %peer.node, %error, "it was not tried");
            }
        }
    }
}
