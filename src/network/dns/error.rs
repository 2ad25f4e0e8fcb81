//! Why a DNS server cannot be had.

use std::{io, net::SocketAddr};

/// Why a DNS server cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    /// There is nothing to listen on.
    #[error("can't serve DNS without an address; give the mesh's and the gateways'")]
    NoAddress,
    /// The outside could ask.
    #[error(
        "can't serve DNS on {0}: that is every address of this machine; give the mesh's and the gateways'"
    )]
    Everywhere(SocketAddr),
    /// The kernel refused.
    #[error("can't serve DNS on {address} ({protocol}): {why}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// `UDP` or `TCP`.
        protocol: &'static str,
        /// What the kernel said.
        why: io::Error,
    },
}
