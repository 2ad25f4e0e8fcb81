//! Another member, as this node sees it and as it tells itself.

use std::net::SocketAddr;

use ipnet::Ipv4Net;

use super::Looked;
use crate::model::{Millis, NodeState};

/// Another member.
#[derive(Clone, Debug)]
pub struct Peer {
    /// What people call it.
    pub name: String,
    /// Where it is spoken to.
    pub address: Option<SocketAddr>,
    /// How this node sees it.
    pub state: NodeState,
    /// It answered a question that was just put to it by UDP.
    pub answers: bool,
    /// A datagram of it has just come.
    pub heard: bool,
    /// What it told when it was asked by TCP.
    pub told: Looked<Told>,
    /// What passes through the mesh; `None`: this node and it are in no mesh together.
    pub path: Option<Path>,
    /// Where else a machine is that proves the same identity.
    pub doubles: Vec<SocketAddr>,
}

/// What a member tells when it is asked by TCP.
#[derive(Clone, Debug)]
pub struct Told {
    /// A datagram of this node has just come there.
    pub hears: bool,
    /// A hash of its machine's id, if that has one.
    pub machine: Option<String>,
    /// The range of the containers' addresses there.
    pub overlay: Ipv4Net,
    /// The blocks of it there.
    pub node_prefix: u8,
    /// How far its clock is ahead of this one's, in milliseconds.
    pub ahead_ms: i64,
    /// How long its answer was under way, of which half may be missing from that.
    pub took: Millis,
}

/// What passes through the mesh to a member, and back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// The port of the mesh's device.
    pub port: u16,
    /// The largest packet that the device takes.
    pub mtu: u32,
    /// How long ago both devices last agreed on keys.
    pub handshake: Option<Millis>,
    /// The largest packet that was answered; `None`: not even a small one.
    pub passes: Option<u32>,
}

impl Peer {
    /// `b (192.0.2.2:7780)`.
    pub(super) fn title(&self) -> String {
        match self.address {
            Some(address) => format!("{} ({address})", self.name),
            None => self.name.clone(),
        }
    }
}

/// A member with which all is well, for tests.
#[cfg(test)]
pub(super) fn well(name: &str) -> Peer {
    Peer {
        name: name.to_owned(),
        address: Some("192.0.2.2:7780".parse().unwrap()),
        state: NodeState::Alive,
        answers: true,
        heard: true,
        told: Ok(Told {
            hears: true,
            machine: Some(format!("machine {name}")),
            overlay: "10.100.0.0/16".parse().unwrap(),
            node_prefix: 24,
            ahead_ms: 3,
            took: Millis(4),
        }),
        path: Some(Path { port: 7781, mtu: 1420, handshake: Some(Millis(9)), passes: Some(1420) }),
        doubles: vec![],
    }
}
