//! The mesh device: WireGuard (Donenfeld, "WireGuard: Next Generation Kernel Network Tunnel", NDSS 2017)
//! between a node and all others.
//!
//! There are two devices. The kernel's is spoken to over [generic netlink](genetlink). Where the kernel has
//! none, a [process] of this same binary takes what is sent through a TUN device, and is spoken to over its
//! [socket](uapi); it goes on while the daemon does not run. [What differs](diff) is found in one way for
//! both, and only that is said: sessions are kept, and saying again how a device is to be changes nothing.

mod diff;
mod genetlink;
mod kernel;
mod key;
#[cfg(feature = "userspace-wireguard")]
mod process;
#[cfg(feature = "userspace-wireguard")]
mod tun;
#[cfg_attr(
    not(feature = "userspace-wireguard"),
    expect(dead_code, reason = "the process's side of it has nobody to speak")
)]
mod uapi;
mod userspace;

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, SocketAddr},
};

use ipnet::IpNet;

use super::{
    Namespace, NetworkError,
    links::{self, Kind},
};
use crate::{
    model::{PublicKey, WallTime},
    topology::Mesh,
};
use diff::{Change, Seen};

pub use key::SecretKey;
#[cfg(feature = "userspace-wireguard")]
pub use process::serve;
pub use userspace::Userspace;

/// A device as it is to be.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its key.
    pub secret: &'a SecretKey,
    /// The UDP port on which it listens.
    pub port: u16,
    /// Its largest packet: the network's, without the 80 bytes that WireGuard and IPv6 need.
    pub mtu: u32,
    /// Its peers, its addresses, and what goes through it.
    pub mesh: &'a Mesh,
    /// After how many seconds of silence each peer is sent something, so that whatever is between them goes
    /// on letting them through; 0 is never, and usual is 25.
    pub keepalive_seconds: u16,
}

/// A peer as a device has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerSeen {
    /// Its key.
    pub key: PublicKey,
    /// Where its last packet came from, or where it was said to be.
    pub endpoint: Option<SocketAddr>,
    /// When the last handshake with it was completed. A device may forget one that is too old to be of use,
    /// which is after 180 s (the paper, section 6.1).
    pub handshake: Option<WallTime>,
    /// What came from it.
    pub received_bytes: u64,
    /// What was sent to it.
    pub sent_bytes: u64,
    /// What is behind it.
    pub allowed: BTreeSet<IpNet>,
    /// After how many seconds of silence it is sent something; 0 is never.
    pub keepalive_seconds: u16,
}

impl Default for PeerSeen {
    fn default() -> Self {
        Self {
            key: PublicKey([0; 32]),
            endpoint: None,
            handshake: None,
            received_bytes: 0,
            sent_bytes: 0,
            allowed: BTreeSet::new(),
            keepalive_seconds: 0,
        }
    }
}

/// What was done to have a device as it is to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// It was not there.
    pub made: bool,
    /// Its own key, port or mark were not so.
    pub device_changed: bool,
    /// So many things were said about its peers.
    pub peer_changes: usize,
}

/// Who speaks WireGuard.
#[derive(Clone, Debug)]
pub enum Device {
    /// The kernel.
    Kernel,
    /// A process for each device.
    Userspace(Userspace),
}

impl Device {
    /// Makes a device, or makes it so. What fits stays as it is, and what goes through it is not disturbed.
    ///
    /// An endpoint is set only where there is none: after that the device follows its peer, and another one is
    /// tried by [`Device::point`].
    pub async fn ensure(
        &self,
        host: &Namespace,
        wanted: &Wanted<'_>,
    ) -> Result<Done, NetworkError> {
        let name = wanted.name;
        let doing = format!("set up the mesh device {name}");
        let made = match self {
            Self::Kernel => kernel::make(host, name).await?,
            Self::Userspace(it) => it.make(host, name).await?,
        };
        let kind = match self {
            Self::Kernel => Kind::Wireguard,
            Self::Userspace(_) => Kind::Tun,
        };
        host.work(&doing, async |handle| {
            let link = links::ours(handle, name, kind).await?;
            let link = link.ok_or(rtnetlink::Error::RequestFailed)?;
            Ok(links::resize(handle, &link, self.mtu(wanted.mtu)).await?)
        })
        .await?;
        let seen = self.look(host, name).await?;
        let changes = diff::differences(&seen, wanted);
        self.apply(host, name, &changes, &doing).await?;
        host.work(&doing, async |handle| {
            let link = links::ours(handle, name, kind).await?;
            let link = link.ok_or(rtnetlink::Error::RequestFailed)?;
            links::address(handle, link.index, &addresses(wanted.mesh)).await?;
            links::raise(handle, &link).await?;
            let routes = wanted.mesh.routes.iter().map(|it| (it.trunc(), None)).collect();
            Ok(links::route(handle, link.index, &routes).await?)
        })
        .await?;
        Ok(Done {
            made,
            device_changed: changes.first().is_some_and(Change::is_about_the_device),
            peer_changes: changes.iter().map(|it| it.peers.len()).sum(),
        })
    }

    /// The largest packet that it takes, where one of so many bytes is wanted.
    #[must_use]
    pub fn mtu(&self, wanted: u32) -> u32 {
        match self {
            Self::Kernel => wanted,
            Self::Userspace(_) => wanted.min(userspace::MTU_BYTES_MAX),
        }
    }

    /// A device's peers, by their keys.
    pub async fn peers(&self, host: &Namespace, name: &str) -> Result<Vec<PeerSeen>, NetworkError> {
        Ok(self.look(host, name).await?.peers.into_values().collect())
    }

    /// Tries another endpoint for a peer: something is sent there at once, or with the next tick of a quarter of
    /// a second. Nothing happens if it is a peer no more.
    pub async fn point(
        &self,
        host: &Namespace,
        wanted: &Wanted<'_>,
        key: PublicKey,
        endpoint: SocketAddr,
    ) -> Result<(), NetworkError> {
        let change = diff::pointed(key, endpoint, wanted.keepalive_seconds);
        let doing = format!("point a peer of {} to {endpoint}", wanted.name);
        self.apply(host, wanted.name, &[change], &doing).await
    }

    /// Takes a device away, if it is there.
    pub async fn remove(&self, host: &Namespace, name: &str) -> Result<(), NetworkError> {
        match self {
            Self::Kernel => kernel::remove(host, name).await,
            Self::Userspace(it) => it.remove(host, name).await,
        }
    }

    async fn look(&self, host: &Namespace, name: &str) -> Result<Seen, NetworkError> {
        let seen = match self {
            Self::Kernel => kernel::look(host, name).await,
            Self::Userspace(it) => it.look(name).await,
        };
        seen.map_err(|why| NetworkError::Refused {
            doing: format!("look at the mesh device {name}"),
            why,
        })
    }

    async fn apply(
        &self,
        host: &Namespace,
        name: &str,
        changes: &[Change],
        doing: &str,
    ) -> Result<(), NetworkError> {
        if changes.is_empty() {
            return Ok(());
        }
        let applied = match self {
            Self::Kernel => kernel::apply(host, name, changes).await,
            Self::Userspace(it) => it.apply(name, changes).await,
        };
        applied.map_err(|why: io::Error| NetworkError::Refused { doing: doing.to_owned(), why })
    }
}

/// A device's addresses: the node's own, and that of its containers' gateway in IPv4. Whatever the host itself sends has an
/// address of the link by which it goes (RFC 6724, section 5, rule 5), and one of another would not be allowed
/// to its peers.
fn addresses(mesh: &Mesh) -> BTreeSet<IpNet> {
    let gateways = mesh.gateways.iter().map(IpNet::addr).filter(IpAddr::is_ipv4);
    mesh.addresses.iter().copied().chain(gateways).map(IpNet::from).collect()
}

/// Says that this build has no such process.
#[cfg(not(feature = "userspace-wireguard"))]
#[must_use]
pub fn serve(_name: &str, _control: &std::path::Path) -> std::process::ExitCode {
    let message = "fizz: this build is without the feature `userspace-wireguard`\n";
    // Nobody is left to be told.
    let _ = io::Write::write_all(&mut io::stderr(), message.as_bytes());
    std::process::ExitCode::FAILURE
}

/// Which device is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Driver {
    /// The kernel's, and one in a process where the kernel has none.
    #[default]
    Auto,
    /// The kernel's.
    Wireguard,
    /// One in a process.
    Userspace,
}

/// The device that is used.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// Which.
    pub device: Device,
    /// It is slower than the one that the kernel could have.
    pub degraded: bool,
}

/// Whether this host's kernel makes such devices, and whether a process could be one; or why not.
pub async fn probe(
    userspace: &Userspace,
    host: &Namespace,
) -> (Result<(), NetworkError>, Result<(), NetworkError>) {
    (kernel::probe(host).await, userspace.probe(host))
}

/// Chooses a device that works on this host. One of the other kind that is there from before is not taken away.
pub async fn choose(
    driver: Driver,
    userspace: Userspace,
    host: &Namespace,
) -> Result<Chosen, NetworkError> {
    let kernel = match driver {
        Driver::Auto | Driver::Wireguard => match kernel::probe(host).await {
            Ok(()) => return Ok(Chosen { device: Device::Kernel, degraded: false }),
            Err(why) => why.to_string(),
        },
        Driver::Userspace => "it is not asked for".to_owned(),
    };
    let process = match driver {
        Driver::Auto | Driver::Userspace => match userspace.probe(host) {
            Ok(()) => {
                let degraded = driver == Driver::Auto;
                return Ok(Chosen { device: Device::Userspace(userspace), degraded });
            }
            Err(why) => why.to_string(),
        },
        Driver::Wireguard => "it is not asked for".to_owned(),
    };
    Err(NetworkError::NoWireguard { kernel, process })
}
