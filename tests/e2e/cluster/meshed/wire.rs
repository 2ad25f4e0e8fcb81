//! What passes between the nodes of a lab: every frame on its switch (packet(7)), and what each one is.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::fd::{AsRawFd, OwnedFd},
    sync::atomic::{AtomicBool, Ordering},
    thread::{self, JoinHandle},
};

use nix::sys::{
    socket::{
        AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, setsockopt, socket,
        sockopt,
    },
    time::TimeVal,
};

use crate::cluster::nodes::{Nodes, within};

/// Where nodes listen for each other, and where their mesh does.
const CLUSTER: u16 = 7_780;
const MESH: u16 = 7_781;

/// What a frame is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Frame {
    /// Who has which address, and which neighbours there are: ARP, and ICMPv6 from link to link.
    Neighbours,
    /// Sealed datagrams between members.
    Gossip,
    /// WireGuard.
    Mesh,
    /// A stream between members.
    Stream,
    /// That a port of these is not open yet, by the kernel of whom it was meant for (RFC 792).
    Refused,
    /// None of these.
    Other(String),
}

/// A switch that is listened to until it is dropped.
pub(super) struct Wire {
    over: &'static AtomicBool,
    heard: Option<JoinHandle<Vec<Vec<u8>>>>,
}

impl Wire {
    /// Listens to the switch of a lab.
    pub(super) fn tap(nodes: &Nodes) -> Self {
        let tap = within(&switch(nodes), open);
        // The listener may outlive whoever fails.
        let over: &AtomicBool = Box::leak(Box::new(AtomicBool::new(false)));
        Self { over, heard: Some(thread::spawn(move || listen(&tap, over))) }
    }

    /// Every frame that passed.
    pub(super) fn frames(mut self) -> Vec<Vec<u8>> {
        self.over.store(true, Ordering::Relaxed);
        self.heard.take().unwrap().join().unwrap()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// How many frames there are of each kind.
pub(super) fn count(frames: &[Vec<u8>]) -> BTreeMap<Frame, usize> {
    let mut counts = BTreeMap::new();
    for frame in frames {
        *counts.entry(kind(frame)).or_default() += 1;
    }
    counts
}

/// Those that have a word somewhere, in whatever case.
pub(super) fn with<'a>(frames: &'a [Vec<u8>], word: &str) -> Vec<&'a Vec<u8>> {
    let has =
        |it: &&Vec<u8>| it.windows(word.len()).any(|it| it.eq_ignore_ascii_case(word.as_bytes()));
    frames.iter().filter(has).collect()
}

/// What a frame is, by its headers (RFC 894, 791, 8200, 768, 9293).
fn kind(frame: &[u8]) -> Frame {
    let told = || Frame::Other(format!("{:02x?}", &frame[..frame.len().min(60)]));
    let known = match frame.get(12..14) {
        Some([0x08, 0x06]) => Some(Frame::Neighbours),
        Some([0x86, 0xdd]) => ipv6(&frame[14..]),
        Some([0x08, 0x00]) => ipv4(&frame[14..]),
        Some(_) | None => None,
    };
    known.unwrap_or_else(told)
}

/// Neighbours ask each other by ICMPv6, and join groups by it behind an extension header.
fn ipv6(packet: &[u8]) -> Option<Frame> {
    const HOP_BY_HOP: u8 = 0;
    const ICMPV6: u8 = 58;
    let next = *packet.get(6)?;
    let next = if next == HOP_BY_HOP { *packet.get(40)? } else { next };
    (next == ICMPV6).then_some(Frame::Neighbours)
}

fn ipv4(packet: &[u8]) -> Option<Frame> {
    const ICMP: u8 = 1;
    const TCP: u8 = 6;
    const UDP: u8 = 17;
    let header = usize::from(packet.first()? & 0x0f) * 4;
    // Whoever would send more than fits, would send parts.
    let part = u16::from_be_bytes(packet.get(6..8)?.try_into().ok()?) & 0x3fff;
    let port = |at: usize| Some(u16::from_be_bytes(packet.get(at..at + 2)?.try_into().ok()?));
    let ports = (port(header)?, port(header + 2)?);
    match (*packet.get(9)?, ports) {
        _ if part != 0 => None,
        (UDP, (CLUSTER, CLUSTER)) => Some(Frame::Gossip),
        // Four kinds of messages, each with three bytes of nothing (WireGuard's paper, section 5.4).
        (UDP, (MESH, MESH)) => match packet.get(header + 8..header + 12)? {
            [1..=4, 0, 0, 0] => Some(Frame::Mesh),
            _ => None,
        },
        (TCP, (CLUSTER, _) | (_, CLUSTER)) => Some(Frame::Stream),
        // What was refused is quoted.
        (ICMP, _) if packet.get(header..header + 2)? == [3, 3] => {
            ipv4(packet.get(header + 8..)?).map(|_| Frame::Refused)
        }
        _ => None,
    }
}

/// The network of a lab's switch, which is the one that its process holds.
fn switch(nodes: &Nodes) -> File {
    let words = format!("lab\0machine\0{}\0switch\0", nodes.name);
    let found = fs::read_dir("/proc").unwrap().flatten().find(|it| {
        let line = fs::read(it.path().join("cmdline")).unwrap_or_default();
        line.ends_with(words.as_bytes())
    });
    File::open(found.unwrap().path().join("ns/net")).unwrap()
}

fn open() -> OwnedFd {
    let (family, kind) = (AddressFamily::Packet, SockType::Raw);
    let tap = socket(family, kind, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll).unwrap();
    setsockopt(&tap, sockopt::ReceiveTimeout, &TimeVal::new(0, 100_000)).unwrap();
    // On a busy machine the listener comes late.
    setsockopt(&tap, sockopt::RcvBufForce, &(64 << 20)).unwrap();
    tap
}

fn listen(tap: &OwnedFd, over: &AtomicBool) -> Vec<Vec<u8>> {
    // A card may put together what is to go to one place.
    let mut frame = vec![0; 1 << 17];
    let mut heard = vec![];
    loop {
        // What has come by then is heard to its end.
        let is_over = over.load(Ordering::Relaxed);
        let flags = if is_over { MsgFlags::MSG_DONTWAIT } else { MsgFlags::empty() };
        match recv(tap.as_raw_fd(), &mut frame, flags) {
            Ok(length) => heard.push(frame[..length].to_vec()),
            Err(_) if is_over => return heard,
            Err(_) => {}
        }
    }
}
