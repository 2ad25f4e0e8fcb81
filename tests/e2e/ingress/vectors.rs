//! What the programs make of single packets, down to the byte: right ones, parts, and what an enemy may send. The kernel
//! runs them on packets that never were on a link.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
};

use fizz::network::ingress::Role;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{
    packets::{ACK, ETHERNET, IPIP, IPV6, Packet, SYN, SYN_ACK, Seen, UDP, look, v4, whole},
    stage::{PUBLISHED, Stage, TARGET, address, client, doors},
};
use crate::mesh::plan;

/// Verdicts of a classifier.
const PASSES: u32 = 0;
const DROPPED: u32 = 2;
const SENT: u32 = 7;

/// How many packets an enemy sends, where `FIZZ_FUZZ_PACKETS` does not say.
const HOSTILE: usize = 4_000;

/// The number of the loopback device, which stands for any outside.
const LOOPBACK: u32 = 1;

fn inside(id: u8, v6: bool) -> IpAddr {
    if v6 { plan().v6(address(id)).into() } else { address(id).into() }
}

fn gateway(id: u8, v6: bool) -> IpAddr {
    let v4 = Ipv4Addr::new(10, 100, id, 1);
    if v6 { plan().v6(v4).into() } else { v4.into() }
}

/// Where the network's header ends: what ends before the kernel does not try.
fn header(v6: bool) -> usize {
    ETHERNET + if v6 { 40 } else { 20 }
}

/// A first packet from the client to a door of the first host, of each family and protocol.
fn first_packets(port: u16) -> Vec<(bool, Packet)> {
    let mut all = vec![];
    for to in doors(1) {
        let v6 = to.is_ipv6();
        let (from, to) = ((client(v6), port), (to.ip(), to.port()));
        all.push((v6, Packet::tcp(from, to, SYN)));
        all.push((v6, Packet::udp(from, to)));
    }
    all
}

#[tokio::test]
async fn what_is_for_a_replica_here_has_its_destination_changed_and_its_answer_the_source() {
    let stage = Stage::new(2).await;
    stage.publish(&[1]);
    for (v6, packet) in first_packets(40_001) {
        let (verdict, out) = stage.run(1, Role::Outside, LOOPBACK, &packet.bytes());
        assert_eq!(verdict, SENT, "{packet:?}");
        let wanted = Packet { to: (inside(1, v6), TARGET), ..packet.clone() };
        assert_eq!(out, wanted.bytes(), "{packet:?}");

        let back = Packet { from: wanted.to, to: packet.from, flags: SYN_ACK, ..packet.clone() };
        let link = stage.link(1);
        let (verdict, out) = stage.run(1, Role::Container, link, &back.bytes());
        assert_eq!(verdict, SENT, "{back:?}");
        let wanted = Packet { from: packet.to, ..back };
        assert_eq!(out, wanted.bytes(), "{packet:?}");
    }
}

#[tokio::test]
async fn what_is_for_a_replica_elsewhere_is_put_into_a_packet_of_the_mesh() {
    let stage = Stage::new(2).await;
    stage.publish(&[2]);
    // The largest segment that the client takes: 1460 bytes.
    let options = vec![2, 4, 0x05, 0xb4];
    for (v6, mut packet) in first_packets(40_002) {
        if packet.flags == SYN {
            packet.options = options.clone();
        }
        let (verdict, out) = stage.run(1, Role::Outside, LOOPBACK, &packet.bytes());
        assert_eq!(verdict, SENT, "{packet:?}");
        let outer = look(&out[ETHERNET..]).unwrap();
        assert_eq!((outer.from, outer.to), (gateway(1, v6), gateway(2, v6)));
        assert_eq!(outer.protocol, if v6 { IPV6 } else { IPIP });
        assert!(outer.sums_are_right);
        let inner = look(&outer.rest).unwrap();
        assert_eq!((inner.from, inner.to), (packet.from.0, inside(2, v6)), "{packet:?}");
        assert_eq!(inner.ports, Some((packet.from.1, TARGET)));
        assert!(inner.sums_are_right, "{packet:?}: {inner:?}");
        if packet.flags == SYN {
            // 1420 bytes of the mesh, without the other header and this packet's own.
            let fits: u16 = if v6 { 1420 - 40 - 60 } else { 1420 - 20 - 40 };
            assert_eq!(inner.rest[20..24], [2, 4, fits.to_be_bytes()[0], fits.to_be_bytes()[1]]);
        }
    }
}

#[tokio::test]
async fn a_datagram_without_a_checksum_has_none_afterwards() {
    let stage = Stage::new(1).await;
    let (_, packet) = first_packets(40_003).swap_remove(1);
    assert_eq!(packet.protocol, UDP);
    let mut bytes = packet.bytes();
    bytes[ETHERNET + 26..ETHERNET + 28].fill(0);
    let (verdict, out) = stage.run(1, Role::Outside, LOOPBACK, &bytes);
    assert_eq!((verdict, &out[ETHERNET + 26..ETHERNET + 28]), (SENT, &[0, 0][..]));
}

#[tokio::test]
async fn parts_follow_the_first_and_none_goes_before_it() {
    let stage = Stage::new(1).await;
    let (_, packet) = first_packets(40_004).swap_remove(1);
    let (IpAddr::V4(from), IpAddr::V4(to)) = (packet.from.0, packet.to.0) else { panic!() };
    let whole = Packet { payload: vec![7; 64], ..packet }.transport();
    let first = v4(from, to, UDP, 0x2000, &whole[..40]);
    let second = v4(from, to, UDP, 5, &whole[40..]);
    assert_eq!(stage.run(1, Role::Outside, LOOPBACK, &second), (PASSES, second.clone()));
    for part in [first, second.clone(), second] {
        let (verdict, out) = stage.run(1, Role::Outside, LOOPBACK, &part);
        let seen = look(&out[ETHERNET..]).unwrap();
        assert_eq!((verdict, seen.to), (SENT, inside(1, false)));
        assert!(seen.sums_are_right, "{seen:?}");
    }
}

#[tokio::test]
async fn what_is_not_for_a_port_or_not_right_is_left_as_it_is() {
    let stage = Stage::new(1).await;
    for (v6, packet) in first_packets(40_005) {
        let whole = packet.bytes();
        let elsewhere = [
            Packet { to: (packet.to.0, PUBLISHED + 1), ..packet.clone() },
            Packet { to: (client(v6), PUBLISHED), ..packet.clone() },
        ];
        let mut wrong: Vec<Vec<u8>> = elsewhere.iter().map(Packet::bytes).collect();
        // Cut off anywhere.
        wrong.extend((header(v6)..whole.len()).map(|it| whole[..it].to_vec()));
        let mut change = |at: usize, byte: u8| {
            let mut bytes = whole.clone();
            bytes[ETHERNET + at] = byte;
            wrong.push(bytes);
        };
        let transport = if v6 { 40 } else { 20 };
        if packet.protocol == UDP {
            // A datagram shorter than its header.
            change(transport + 5, 7);
        } else {
            // A header shorter than it can be.
            change(transport + 12, 0x40);
        }
        if !v6 {
            change(0, 0x44);
            change(0, 0x65);
            // Longer than what came.
            change(2, 0x10);
        }
        for bytes in wrong {
            let (verdict, out) = stage.run(1, Role::Outside, LOOPBACK, &bytes);
            assert_eq!((verdict, &out), (PASSES, &bytes), "{packet:?}");
        }
    }
}

#[tokio::test]
async fn nobody_outside_speaks_as_the_cluster_or_as_this_host() {
    let stage = Stage::new(1).await;
    for (v6, packet) in first_packets(40_006) {
        let forged: &[&str] = match v6 {
            true => &["::1", "ff02::1"],
            false => &["127.0.0.1", "0.0.0.0", "224.0.0.1", "10.100.1.77"],
        };
        let mut forged: Vec<IpAddr> = forged.iter().map(|it| it.parse().unwrap()).collect();
        forged.push(inside(1, v6));
        for from in forged {
            let packet = Packet { from: (from, 40_006), ..packet.clone() };
            let (verdict, _) = stage.run(1, Role::Outside, LOOPBACK, &packet.bytes());
            assert_eq!(verdict, DROPPED, "{packet:?}");
        }
    }
}

#[tokio::test]
async fn an_error_about_what_a_replica_sent_comes_to_it_as_if_it_had_sent_it_itself() {
    let stage = Stage::new(1).await;
    for (v6, packet) in first_packets(40_007) {
        assert_eq!(stage.run(1, Role::Outside, LOOPBACK, &packet.bytes()).0, SENT);
        // A router tells the door that what it sent to the client does not fit.
        let router: IpAddr = if v6 { "2001:db8::9" } else { "198.51.100.9" }.parse().unwrap();
        let sent = Packet { from: packet.to, to: packet.from, flags: ACK, ..packet.clone() };
        let quoted = &sent.bytes()[ETHERNET..];
        let quoted = &quoted[..quoted.len().min(if v6 { 48 } else { 28 })];
        let error = too_big(router, packet.to.0, quoted);
        let (verdict, out) = stage.run(1, Role::Outside, LOOPBACK, &error);
        assert_eq!(verdict, SENT, "{packet:?}");
        let seen = look(&out[ETHERNET..]).unwrap();
        assert_eq!((seen.from, seen.to), (router, inside(1, v6)));
        let wanted = Packet { from: (inside(1, v6), TARGET), ..sent };
        let wanted = &wanted.bytes()[ETHERNET..];
        // The addresses and ports: the transport's own checksum is not among the bytes that must be quoted.
        let ends = if v6 { 44 } else { 24 };
        assert_eq!(seen.rest[8..8 + ends], wanted[..ends], "{packet:?}");
        assert!(icmp_is_right(&seen), "{packet:?}: {seen:?}");
    }
}

/// `Destination unreachable, fragmentation needed` (RFC 792), `Packet too big` (RFC 4443).
fn too_big(from: IpAddr, to: IpAddr, quoted: &[u8]) -> Vec<u8> {
    let (kind, code, protocol) = if from.is_ipv6() { (2, 0, 58) } else { (3, 4, 1) };
    let mut icmp = [&[kind, code, 0, 0, 0, 0, 5, 0][..], quoted].concat();
    let sum = icmp_sum(from, to, &icmp).to_be_bytes();
    icmp[2..4].copy_from_slice(&sum);
    whole(from, to, protocol, &icmp)
}

/// The checksum that makes the sum of all right.
fn icmp_sum(from: IpAddr, to: IpAddr, icmp: &[u8]) -> u16 {
    let pseudo: Vec<u8> = match (from, to) {
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let length = u32::try_from(icmp.len()).unwrap().to_be_bytes();
            [&from.octets()[..], &to.octets(), &length, &[0, 0, 0, 58]].concat()
        }
        _ => vec![],
    };
    !super::packets::sum(&[pseudo, icmp.to_vec()].concat())
}

fn icmp_is_right(seen: &Seen) -> bool {
    icmp_sum(seen.from, seen.to, &seen.rest) == 0
}

/// Whatever an enemy sends passes as it came, is dropped, or goes to a replica and nowhere else; and what was right
/// before is right afterwards.
#[tokio::test]
async fn whatever_is_sent_goes_to_a_replica_or_nowhere() {
    let stage = Stage::new(2).await;
    let count = std::env::var("FIZZ_FUZZ_PACKETS").map_or(HOSTILE, |it| it.parse().unwrap());
    let allowed: BTreeSet<IpAddr> =
        [false, true].into_iter().flat_map(|v6| [inside(1, v6), gateway(2, v6)]).collect();
    let mut random = StdRng::seed_from_u64(6);
    let (mut sent, mut dropped) = (0, 0);
    for number in 0..count {
        let port = random.random_range(1024..=u16::MAX);
        let packets = first_packets(port);
        let (_, packet) = &packets[number % packets.len()];
        let bytes = spoilt(packet.bytes(), &mut random);
        let (verdict, out) = stage.run(1, Role::Outside, LOOPBACK, &bytes);
        match verdict {
            PASSES => assert_eq!(out, bytes, "packet {number}"),
            DROPPED => dropped += 1,
            SENT => {
                sent += 1;
                let before = look(&bytes[ETHERNET..]);
                let after =
                    look(&out[ETHERNET..]).unwrap_or_else(|| panic!("packet {number}: {out:x?}"));
                assert!(allowed.contains(&after.to), "packet {number}: {after:?}");
                if before.is_some_and(|it| it.sums_are_right) {
                    assert!(after.sums_are_right, "packet {number}: {bytes:x?} became {out:x?}");
                }
            }
            other => panic!("packet {number}: the verdict is {other}"),
        }
    }
    assert!(count / 20 < sent && 0 < dropped, "{sent} sent, {dropped} dropped of {count}");
}

/// Some bytes of it changed, or a part of it missing, or more than there was.
fn spoilt(mut bytes: Vec<u8>, random: &mut StdRng) -> Vec<u8> {
    match random.random_range(0..8_u8) {
        0 => bytes.truncate(random.random_range(header(bytes[12] == 0x86)..bytes.len())),
        1 => bytes.extend(0..random.random_range(1..64_u8)),
        2 => {}
        _ => {
            // Mostly in the headers.
            for _ in 0..random.random_range(1..=3_u8) {
                let most = bytes.len().min(ETHERNET + 60);
                let at = random.random_range(ETHERNET - 2..most);
                bytes[at] = random.random();
            }
        }
    }
    bytes
}
