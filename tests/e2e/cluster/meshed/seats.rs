//! A container's seat in the network: what one asks and reaches from there, many times a second.

use std::{
    collections::BTreeSet,
    fs::File,
    io::Read,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket},
    time::Duration,
};

use crate::cluster::nodes::{Nodes, within};

/// How long an answer may take: its server is on the same machine.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// A and AAAA (RFC 1035, 3.2.2; RFC 3596, 2.1).
const A: u16 = 1;
const AAAA: u16 = 28;

/// What a program in a container sees.
pub(super) struct Seat {
    network: File,
    /// To its node's server of names. A socket is of the network in which it was made.
    socket: UdpSocket,
}

impl Seat {
    /// That of the only container of a service on a node.
    pub(super) fn of(nodes: &Nodes, node: &str, service: &str) -> Self {
        let conf = nodes.inside(node, service, "cat /etc/resolv.conf").unwrap();
        let server = conf.lines().find_map(|it| it.strip_prefix("nameserver ")).unwrap();
        Self::at(nodes.network(node, service), server)
    }

    /// That of a node itself, which sees everything, by whole names.
    pub(super) fn of_node(nodes: &Nodes, node: &str) -> Self {
        let bridge = ["exec", node, "--", "busybox", "ip", "-4", "-o", "addr", "show", "fizz0"];
        let said = nodes.lab(bridge[0], &bridge[1..]);
        let server = said.split_once("inet ").unwrap().1.split('/').next().unwrap();
        Self::at(nodes.lab_network(node), server)
    }

    fn at(network: File, server: &str) -> Self {
        let server = SocketAddr::new(server.parse().unwrap(), 53);
        let socket = within(&network, || {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.connect(server).unwrap();
            socket
        });
        socket.set_read_timeout(Some(ANSWER_MAX)).unwrap();
        Self { network, socket }
    }

    /// The addresses of both families that a name has; `None` where there is no answer in time.
    pub(super) fn ask(&self, name: &str) -> Option<BTreeSet<IpAddr>> {
        let mut all = self.question(name, A)?;
        all.extend(self.question(name, AAAA)?);
        Some(all)
    }

    fn question(&self, name: &str, kind: u16) -> Option<BTreeSet<IpAddr>> {
        let mut id = [0; 2];
        File::open("/dev/urandom").unwrap().read_exact(&mut id).unwrap();
        let mut question = id.to_vec();
        // Recursion desired, one question.
        question.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        for label in name.split('.') {
            question.push(u8::try_from(label.len()).unwrap());
            question.extend(label.as_bytes());
        }
        question.push(0);
        question.extend([kind.to_be_bytes(), [0, 1]].concat());
        self.socket.send(&question).ok()?;
        let mut answer = [0; 2_048];
        loop {
            let length = self.socket.recv(&mut answer).ok()?;
            // One that came late is of another question.
            if answer[..2] == id {
                return addresses(&answer[..length], question.len());
            }
        }
    }

    /// Whether something there takes connections within a quarter of a second.
    pub(super) fn connects(&self, to: IpAddr) -> bool {
        let to = SocketAddr::new(to, 80);
        let wait = Duration::from_millis(250);
        within(&self.network, || TcpStream::connect_timeout(&to, wait).is_ok())
    }
}

/// The addresses in an answer whose question ends there: none unless its code is that all is well.
fn addresses(answer: &[u8], mut at: usize) -> Option<BTreeSet<IpAddr>> {
    if answer.get(3)? & 0x0f != 0 {
        return Some(BTreeSet::new());
    }
    let number = |at: usize| Some(u16::from_be_bytes(answer.get(at..at + 2)?.try_into().ok()?));
    let mut found = BTreeSet::new();
    for _ in 0..number(6)? {
        // The owner: labels, or a pointer to where it was written before (RFC 1035, 4.1.4).
        while *answer.get(at)? != 0 && *answer.get(at)? & 0xc0 != 0xc0 {
            at += 1 + usize::from(*answer.get(at)?);
        }
        at += if *answer.get(at)? == 0 { 1 } else { 2 };
        let (kind, length) = (number(at)?, usize::from(number(at + 8)?));
        let data = answer.get(at + 10..at + 10 + length)?;
        if kind == A {
            found.insert(IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?)));
        } else if kind == AAAA {
            found.insert(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?)));
        }
        at += 10 + length;
    }
    Some(found)
}
