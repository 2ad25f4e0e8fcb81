//! Makes the kernel's links match what is wanted, over rtnetlink(7).
//!
//! Everything here is level, not edge: a call says how a link is to be, looks how it is, and changes what
//! differs, so that saying it again changes nothing and a daemon that starts anew adopts what is there. Only
//! links of our own are touched, and found by their names.

pub mod dns;
pub mod echo;
mod error;
pub mod firewall;
mod gateway;
pub mod host;
pub mod ingress;
mod links;
mod namespace;
mod port;
pub mod sockets;
pub mod wireguard;

pub use error::NetworkError;
pub use gateway::Gateway;
pub use namespace::Namespace;
pub use port::Port;
