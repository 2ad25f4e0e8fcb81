//! What a server listens on: the same addresses by UDP and by TCP (RFC 7766, 5).

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use tokio::net::{TcpListener, UdpSocket};

use super::DnsError;

/// The port that resolv.conf(5) means.
pub(super) const DNS_PORT: u16 = 53;

/// Sockets that are bound.
#[derive(Debug)]
pub struct Sockets {
    pub(super) udp: Vec<UdpSocket>,
    pub(super) tcp: Vec<TcpListener>,
}

impl Sockets {
    /// Binds addresses, none of which may be the one that means all: a server that the outside can ask is
    /// soon part of somebody's attack. Port 0 lets the kernel choose one, the same for both.
    pub async fn bind(addresses: &[SocketAddr]) -> Result<Self, DnsError> {
        if addresses.is_empty() {
            return Err(DnsError::NoAddress);
        }
        let mut sockets = Self { udp: vec![], tcp: vec![] };
        for address in addresses {
            if address.ip().to_canonical().is_unspecified() {
                return Err(DnsError::Everywhere(*address));
            }
            let refused = |protocol| move |why| DnsError::Bind { address: *address, protocol, why };
            let tcp = TcpListener::bind(address).await.map_err(refused("TCP"))?;
            let chosen = tcp.local_addr().map_err(refused("TCP"))?;
            let udp = UdpSocket::bind(chosen).await.map_err(refused("UDP"))?;
            sockets.tcp.push(tcp);
            sockets.udp.push(udp);
        }
        Ok(sockets)
    }

    /// Where they are bound.
    #[must_use]
    pub fn local(&self) -> Vec<SocketAddr> {
        self.udp.iter().filter_map(|it| it.local_addr().ok()).collect()
    }

    /// Where other programs on this machine find it, who can only say addresses.
    pub(super) fn addresses(&self) -> BTreeSet<IpAddr> {
        let usual = self.local().into_iter().filter(|it| it.port() == DNS_PORT);
        usual.map(|it| it.ip().to_canonical()).collect()
    }
}
