//! The maps' keys and values, as `ebpf/layout.h` has them. The loader compares the sizes with those of the object that
//! the compiler made from it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use aya::Pod;

use crate::topology::SLOTS;

/// An address of either family; IPv4's as `::ffff:a.b.c.d`. In network byte order, as all addresses and ports here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(C, align(4))]
pub(super) struct Address([u8; 16]);

impl From<IpAddr> for Address {
    fn from(it: IpAddr) -> Self {
        Self(match it {
            IpAddr::V4(it) => it.to_ipv6_mapped().octets(),
            IpAddr::V6(it) => it.octets(),
        })
    }
}

impl From<Address> for IpAddr {
    fn from(it: Address) -> Self {
        Ipv6Addr::from(it.0).to_canonical()
    }
}

/// An IPv4 address, or a port, as it is in a packet.
pub(super) fn v4(it: Ipv4Addr) -> u32 {
    u32::from_ne_bytes(it.octets())
}

pub(super) fn from_v4(it: u32) -> Ipv4Addr {
    it.to_ne_bytes().into()
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(C)]
pub(super) struct FrontendKey {
    pub(super) to: Address,
    pub(super) port: u16,
    pub(super) protocol: u8,
    pub(super) zero: u8,
}

/// Bits of [`Frontend::flags`].
pub(super) const RANGES: u32 = 1;
pub(super) const AFFINITY: u32 = 2;
pub(super) const LOCAL_FIRST: u32 = 4;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Frontend {
    pub(super) pool: u32,
    pub(super) flags: u32,
}

/// What follows the length of a prefix in a key of the ranges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(C)]
pub(super) struct Range {
    pub(super) pool: u32,
    pub(super) from: Address,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Table {
    pub(super) slots: [u16; SLOTS],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(C)]
pub(super) struct TableKey {
    pub(super) pool: u32,
    pub(super) standby: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Pool {
    pub(super) backends: u32,
    pub(super) down: u32,
}

/// A bit of [`Backend::flags`].
pub(super) const LEAVING: u8 = 1;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Backend {
    pub(super) address: u32,
    pub(super) port: u16,
    pub(super) protocol: u8,
    pub(super) flags: u8,
    pub(super) through: u32,
    pub(super) link: u32,
    pub(super) pool: u32,
    pub(super) zero: u32,
    pub(super) patience_ns: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(C)]
pub(super) struct OwnerKey {
    pub(super) address: u32,
    pub(super) port: u16,
    pub(super) protocol: u8,
    pub(super) zero: u8,
}

/// Values of [`State::standing`]; any other is silent.
pub(super) const WELL: u32 = 0;
pub(super) const REFUSED: u32 = 1;

/// Why packets go no further, in the order of `enum drop`.
pub(super) const DROPS: [&str; 8] = [
    "malformed",
    "not_allowed",
    "forged",
    "no_backend",
    "fragmented",
    "stray",
    "stranger",
    "failed",
];

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(super) struct State {
    pub(super) standing: u32,
    pub(super) zero: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Counts {
    pub(super) connections: u64,
    pub(super) answered: u64,
    pub(super) refused: u64,
    pub(super) silent: u64,
    pub(super) resets: u64,
}

/// [`FlowKey::way`] of what comes in.
pub(super) const IN: u8 = 0;

/// Those of [`Flow::state`] in which a connection is open, or about to be.
pub(super) const OPEN: [u8; 2] = [1, 2];

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(C)]
pub(super) struct FlowKey {
    pub(super) from: Address,
    pub(super) to: Address,
    pub(super) from_port: u16,
    pub(super) to_port: u16,
    pub(super) protocol: u8,
    pub(super) way: u8,
    pub(super) zero: u16,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Flow {
    pub(super) from: Address,
    pub(super) to: Address,
    pub(super) from_port: u16,
    pub(super) to_port: u16,
    pub(super) state: u8,
    pub(super) flags: u8,
    pub(super) zero: u16,
    pub(super) backend: u32,
    pub(super) through: u32,
    pub(super) link: u32,
    pub(super) zero2: u32,
    pub(super) seen_ns: u64,
    pub(super) began_ns: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Settings {
    pub(super) network: u64,
    pub(super) mesh_link: u32,
    pub(super) mesh_bytes_max: u32,
    pub(super) gateway: u32,
    pub(super) overlay: u32,
    pub(super) overlay_mask: u32,
    pub(super) prefix: [u32; 2],
    pub(super) cluster: [u32; 2],
    pub(super) zero: u32,
}

/// Says that each of these is only numbers, in the order of C, with no gap between them.
macro_rules! plain {
    ($($name:ident: $bytes:literal),* $(,)?) => {
        $(
            const _: () = assert!(size_of::<$name>() == $bytes);
            // SAFETY: it has only numbers in it, for which all bits are values, and no gap: its size, which is
            // checked above, is the sum of theirs.
            unsafe impl Pod for $name {}
        )*
    };
}

plain! {
    Address: 16,
    FrontendKey: 20,
    Frontend: 8,
    Range: 20,
    TableKey: 8,
    Pool: 8,
    Backend: 32,
    OwnerKey: 8,
    State: 8,
    Counts: 40,
    FlowKey: 40,
    Flow: 72,
    Settings: 48,
    Table: 1966,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_either_family_comes_back() {
        for text in ["192.0.2.7", "2001:db8::1", "::1"] {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(IpAddr::from(Address::from(address)), address);
        }
        assert_eq!(from_v4(v4(Ipv4Addr::new(10, 100, 0, 2))), Ipv4Addr::new(10, 100, 0, 2));
        assert_eq!(v4(Ipv4Addr::new(10, 100, 0, 2)).to_ne_bytes(), [10, 100, 0, 2]);
    }
}
