//! Packets, as bytes: made by hand, and looked at again.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The header of the link: nobody's hardware addresses, which a packet that is tried has.
pub(super) const ETHERNET: usize = 14;

pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const IPIP: u8 = 4;
pub(super) const IPV6: u8 = 41;

pub(super) const SYN: u8 = 2;
pub(super) const SYN_ACK: u8 = 18;
pub(super) const ACK: u8 = 16;

/// One end of a flow.
pub(super) type End = (IpAddr, u16);

/// A whole packet with right lengths and checksums.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    pub(super) from: End,
    pub(super) to: End,
    pub(super) protocol: u8,
    /// TCP's.
    pub(super) flags: u8,
    /// TCP's, in words of four bytes.
    pub(super) options: Vec<u8>,
    pub(super) payload: Vec<u8>,
}

impl Packet {
    pub(super) fn tcp(from: End, to: End, flags: u8) -> Self {
        let (options, payload) = (vec![], b"hello".to_vec());
        Self { from, to, protocol: TCP, flags, options, payload }
    }

    pub(super) fn udp(from: End, to: End) -> Self {
        Self { protocol: UDP, ..Self::tcp(from, to, 0) }
    }

    /// As it is on a link.
    pub(super) fn bytes(&self) -> Vec<u8> {
        whole(self.from.0, self.to.0, self.protocol, &self.transport())
    }

    /// Its transport's header and payload.
    pub(super) fn transport(&self) -> Vec<u8> {
        let ports = [self.from.1.to_be_bytes(), self.to.1.to_be_bytes()].concat();
        let (mut bytes, at) = if self.protocol == TCP {
            let words = u8::try_from(5 + self.options.len() / 4).unwrap();
            let rest = [0, 0, 0, 1, 0, 0, 0, 2, words << 4, self.flags, 16, 0, 0, 0, 0, 0];
            ([&ports[..], &rest, &self.options, &self.payload].concat(), 16)
        } else {
            let length = u16::try_from(8 + self.payload.len()).unwrap().to_be_bytes();
            ([&ports[..], &length, &[0, 0], &self.payload].concat(), 6)
        };
        let sum = transport_sum(self.from.0, self.to.0, self.protocol, &bytes);
        bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        bytes
    }
}

/// A packet of a network's header and what follows it.
pub(super) fn whole(from: IpAddr, to: IpAddr, protocol: u8, rest: &[u8]) -> Vec<u8> {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => v4(from, to, protocol, 0, rest),
        (IpAddr::V6(from), IpAddr::V6(to)) => v6(from, to, protocol, rest),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => panic!("two families"),
    }
}

/// The same over IPv4, as a part: `fragment` has its flags and offset.
pub(super) fn v4(
    from: Ipv4Addr,
    to: Ipv4Addr,
    protocol: u8,
    fragment: u16,
    rest: &[u8],
) -> Vec<u8> {
    let length = u16::try_from(20 + rest.len()).unwrap().to_be_bytes();
    let fragment = fragment.to_be_bytes();
    let mut ip = vec![0x45, 0, length[0], length[1], 0x12, 0x34, fragment[0], fragment[1], 64];
    ip.extend([protocol, 0, 0]);
    ip.extend(from.octets());
    ip.extend(to.octets());
    let sum = (!sum(&ip)).to_be_bytes();
    ip[10..12].copy_from_slice(&sum);
    [&[0; 12][..], &[0x08, 0x00], &ip, rest].concat()
}

fn v6(from: Ipv6Addr, to: Ipv6Addr, next: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    let head = [0x60, 0, 0, 0, length[0], length[1], next, 64];
    [&[0; 12][..], &[0x86, 0xdd], &head, &from.octets(), &to.octets(), rest].concat()
}

/// What is in a packet, if all its lengths fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) from: IpAddr,
    pub(super) to: IpAddr,
    pub(super) protocol: u8,
    pub(super) ports: Option<(u16, u16)>,
    /// Of the network's header, where it has one, and of the transport's, where it has one.
    pub(super) sums_are_right: bool,
    /// What follows the network's header.
    pub(super) rest: Vec<u8>,
}

/// Looks at a packet, from its network's header on.
pub(super) fn look(ip: &[u8]) -> Option<Seen> {
    let (from, to, protocol, rest, mut right): (IpAddr, IpAddr, u8, &[u8], bool) =
        match ip.first()? >> 4 {
            4 => {
                let head = usize::from(ip[0] & 15) * 4;
                let length = usize::from(number(ip, 2)?);
                let header = ip.get(..head).filter(|it| 20 <= it.len())?;
                let address =
                    |at: usize| Ipv4Addr::from(<[u8; 4]>::try_from(&header[at..at + 4]).unwrap());
                let rest = ip.get(head..length)?;
                (address(12).into(), address(16).into(), header[9], rest, sum(header) == 0xffff)
            }
            6 => {
                let length = usize::from(number(ip, 4)?);
                let header = ip.get(..40)?;
                let address =
                    |at: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&header[at..at + 16]).unwrap());
                (address(8).into(), address(24).into(), header[6], ip.get(40..40 + length)?, true)
            }
            _ => return None,
        };
    let is_part = ip[0] >> 4 == 4 && number(ip, 6)? & 0x3fff != 0;
    let at = match protocol {
        TCP => Some(16),
        UDP => Some(6),
        _ => None,
    };
    let mut ports = None;
    if let Some(at) = at.filter(|_| !is_part) {
        ports = Some((number(rest, 0)?, number(rest, 2)?));
        let none = protocol == UDP && number(rest, at)? == 0 && from.is_ipv4();
        right &=
            none || sum(&[&pseudo(from, to, protocol, rest.len())[..], rest].concat()) == 0xffff;
    }
    Some(Seen { from, to, protocol, ports, sums_are_right: right, rest: rest.to_vec() })
}

/// The checksum of a transport's header and payload, in which it is still zero.
fn transport_sum(from: IpAddr, to: IpAddr, protocol: u8, bytes: &[u8]) -> u16 {
    let all = [&pseudo(from, to, protocol, bytes.len())[..], bytes].concat();
    match !sum(&all) {
        // UDP's zero says that there is none (RFC 768).
        0 if protocol == UDP => 0xffff,
        other => other,
    }
}

/// The pseudo-header (RFC 9293, 3.1; RFC 8200, 8.1).
fn pseudo(from: IpAddr, to: IpAddr, protocol: u8, bytes: usize) -> Vec<u8> {
    let octets = |it: IpAddr| match it {
        IpAddr::V4(it) => it.octets().to_vec(),
        IpAddr::V6(it) => it.octets().to_vec(),
    };
    let length = u32::try_from(bytes).unwrap().to_be_bytes();
    [octets(from), octets(to), length.to_vec(), vec![0, 0, 0, protocol]].concat()
}

fn number(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

/// The sum of ones' complement (RFC 1071).
pub(super) fn sum(bytes: &[u8]) -> u16 {
    let words =
        bytes.chunks(2).map(|it| u64::from(it[0]) << 8 | u64::from(*it.get(1).unwrap_or(&0)));
    let mut sum: u64 = words.sum();
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap()
}
