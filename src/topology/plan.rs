//! The cluster's address plan: the ranges, and what of them is whose by its name alone.
//!
//! Members find each other by addresses that nobody allocates: a unique local prefix (RFC 4193) from the
//! cluster's id, and in it an address from the node's. Containers have an IPv4 address of the overlay, which is
//! allocated, and an IPv6 address that holds it, which therefore is not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use sha2::{Digest, Sha256};

use crate::model::{ClusterId, NodeId};

/// The longest block that still has room for containers: four addresses, one of them the gateway's.
const NODE_PREFIX_MAX: u8 = 29;

/// How many blocks an overlay must have at least, so that every node of a small cluster gets one.
const BLOCKS_MIN: u32 = 16;

/// How many it may have: more would only cost time to look through.
const BLOCKS_MAX: u32 = 1 << 16;

/// The subnets of the cluster's prefix (RFC 4193, 3.1: 16 bits).
const NODES: u16 = 0;
const CONTAINERS: u16 = 1;

/// Where addresses come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    overlay: Ipv4Net,
    node_prefix: u8,
    local: Ipv6Net,
}

/// Why ranges cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// There are bits to the right of the prefix.
    #[error("network.overlay: {given} has host bits set; use {meant}")]
    HostBits {
        /// What was given.
        given: Ipv4Net,
        /// What was likely meant.
        meant: Ipv4Net,
    },
    /// Other machines of the internet have these.
    #[error(
        "network.overlay: {0} is not a private range; use one within 10.0.0.0/8, 172.16.0.0/12, \
         192.168.0.0/16 or 100.64.0.0/10"
    )]
    Public(Ipv4Net),
    /// A block has no room.
    #[error(
        "network.node_prefix: /{0} leaves no room for containers; use /{NODE_PREFIX_MAX} or shorter"
    )]
    Narrow(u8),
    /// There are too few blocks, or too many.
    #[error(
        "network.node_prefix: {overlay} has {blocks} blocks of /{node_prefix}; choose both so that there \
         are from {BLOCKS_MIN} to {BLOCKS_MAX}"
    )]
    Blocks {
        /// The range.
        overlay: Ipv4Net,
        /// How long a block's prefix is.
        node_prefix: u8,
        /// How many there are.
        blocks: u64,
    },
    /// The machine reaches something else by these addresses already.
    #[error(
        "network.overlay: {overlay} overlaps with the route {route} of this machine; choose another range, \
         the same on all nodes"
    )]
    Clash {
        /// The range.
        overlay: IpNet,
        /// The route.
        route: IpNet,
    },
}

impl Plan {
    /// The plan of a cluster.
    pub fn new(cluster: ClusterId, overlay: Ipv4Net, node_prefix: u8) -> Result<Self, PlanError> {
        if overlay.trunc() != overlay {
            return Err(PlanError::HostBits { given: overlay, meant: overlay.trunc() });
        }
        if !is_private(overlay) {
            return Err(PlanError::Public(overlay));
        }
        if NODE_PREFIX_MAX < node_prefix {
            return Err(PlanError::Narrow(node_prefix));
        }
        let bits = u32::from(node_prefix.saturating_sub(overlay.prefix_len()));
        let blocks = if node_prefix < overlay.prefix_len() { 0 } else { 1_u64 << bits };
        if !(u64::from(BLOCKS_MIN)..=u64::from(BLOCKS_MAX)).contains(&blocks) {
            return Err(PlanError::Blocks { overlay, node_prefix, blocks });
        }
        Ok(Self { overlay, node_prefix, local: local(cluster) })
    }

    /// Looks whether the machine reaches something else by these addresses.
    pub fn check(&self, routes: impl IntoIterator<Item = IpNet>) -> Result<(), PlanError> {
        let ranges = [IpNet::V4(self.overlay), IpNet::V6(self.local)];
        for route in routes.into_iter().filter(|it| it.prefix_len() != 0) {
            for overlay in ranges {
                if overlay.contains(&route) || route.contains(&overlay) {
                    return Err(PlanError::Clash { overlay, route });
                }
            }
        }
        Ok(())
    }

    /// All containers' IPv4 addresses.
    #[must_use]
    pub const fn overlay(&self) -> Ipv4Net {
        self.overlay
    }

    /// All of the cluster's IPv6 addresses.
    #[must_use]
    pub const fn local(&self) -> Ipv6Net {
        self.local
    }

    /// How many blocks there are.
    #[must_use]
    pub fn blocks(&self) -> u32 {
        1 << (self.node_prefix - self.overlay.prefix_len())
    }

    /// A block, by its number below [`blocks`](Self::blocks).
    #[must_use]
    pub fn block(&self, number: u32) -> Ipv4Net {
        let first = u32::from(self.overlay.network()) | number << (32 - self.node_prefix);
        Ipv4Net::new_assert(first.into(), self.node_prefix)
    }

    /// The block that an address is of.
    #[must_use]
    pub fn block_of(&self, address: Ipv4Addr) -> Ipv4Net {
        Ipv4Net::new_assert(address, self.node_prefix).trunc()
    }

    /// Whether this is one of the plan's blocks: a member with another plan is not believed.
    #[must_use]
    pub fn has_block(&self, block: Ipv4Net) -> bool {
        block.prefix_len() == self.node_prefix
            && block.trunc() == block
            && self.overlay.contains(&block)
    }

    /// The address by which the other members reach a node through the mesh.
    #[must_use]
    pub fn of_node(&self, node: NodeId) -> Ipv6Addr {
        let bits = self.subnet(NODES) | u128::from(short(b"fizz node address", node.0));
        bits.into()
    }

    /// A container's IPv6 address.
    #[must_use]
    pub fn v6(&self, address: Ipv4Addr) -> Ipv6Addr {
        (self.subnet(CONTAINERS) | u128::from(u32::from(address))).into()
    }

    /// The IPv6 addresses of a block.
    #[must_use]
    pub fn v6_block(&self, block: Ipv4Net) -> Ipv6Net {
        Ipv6Net::new_assert(self.v6(block.network()), 96 + block.prefix_len())
    }

    /// The IPv4 address that a container's IPv6 address holds.
    #[must_use]
    pub fn v4(&self, address: Ipv6Addr) -> Option<Ipv4Addr> {
        let bits = u128::from(address);
        let low = u32::try_from(bits & u128::from(u32::MAX)).ok()?;
        let address = Ipv4Addr::from(low);
        (self.v6(address) == Ipv6Addr::from(bits) && self.overlay.contains(&address))
            .then_some(address)
    }

    /// Whether an address is one that this plan gives.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.overlay.contains(&address),
            IpAddr::V6(address) => self.local.contains(&address),
        }
    }

    fn subnet(&self, number: u16) -> u128 {
        u128::from(self.local.network()) | u128::from(number) << 64
    }
}

/// A prefix that no other cluster has, as far as chance goes (RFC 4193, 3.2.2, with the cluster's id in the
/// place of the time and the machine).
fn local(cluster: ClusterId) -> Ipv6Net {
    let global = short(b"fizz cluster prefix", cluster.0) >> 24;
    Ipv6Net::new_assert((0xfd << 120 | u128::from(global) << 80).into(), 48)
}

fn short(purpose: &[u8], id: u128) -> u64 {
    let hash = Sha256::new().chain_update(purpose).chain_update(id.to_be_bytes()).finalize();
    hash.first_chunk().copied().map_or(0, u64::from_be_bytes)
}

/// RFC 1918, and the shared space of RFC 6598.
fn is_private(range: Ipv4Net) -> bool {
    let ranges = [([10, 0], 8), ([172, 16], 12), ([192, 168], 16), ([100, 64], 10)];
    let within = |([a, b], bits): ([u8; 2], u8)| {
        Ipv4Net::new_assert(Ipv4Addr::new(a, b, 0, 0), bits).contains(&range)
    };
    ranges.into_iter().any(within)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: ClusterId = ClusterId(7);

    fn plan(overlay: &str, node_prefix: u8) -> Result<Plan, PlanError> {
        Plan::new(CLUSTER, overlay.parse().unwrap(), node_prefix)
    }

    fn usual() -> Plan {
        plan("10.100.0.0/16", 24).unwrap()
    }

    #[test]
    fn blocks_are_numbered_through_the_overlay() {
        let plan = usual();
        assert_eq!(plan.blocks(), 256);
        assert_eq!(plan.block(0).to_string(), "10.100.0.0/24");
        assert_eq!(plan.block(255).to_string(), "10.100.255.0/24");
        assert!((0..256).all(|it| plan.has_block(plan.block(it))));
        for other in ["10.100.0.0/25", "10.101.0.0/24", "10.100.0.1/24"] {
            assert!(!plan.has_block(other.parse().unwrap()), "{other}");
        }
    }

    #[test]
    fn a_containers_ipv6_address_holds_its_ipv4_address() {
        let plan = usual();
        let (v4, block) = (Ipv4Addr::new(10, 100, 3, 9), plan.block(3));
        let v6 = plan.v6(v4);
        assert_eq!(plan.v4(v6), Some(v4));
        assert!(plan.v6_block(block).contains(&v6) && plan.local().contains(&v6));
        assert!(!plan.v6_block(plan.block(4)).contains(&v6));
        assert_eq!(plan.v4(plan.of_node(NodeId(1))), None, "a node is no container");
        assert_eq!(
            plan.v4(plan.v6(Ipv4Addr::new(10, 101, 0, 1))),
            None,
            "it is not of the overlay"
        );
    }

    #[test]
    fn names_alone_give_addresses_and_they_never_change() {
        let plan = usual();
        assert_eq!(plan.local().to_string(), "fd11:5070:f5c1::/48");
        assert_eq!(plan.of_node(NodeId(1)).to_string(), "fd11:5070:f5c1:0:d78e:525a:61cb:2584");
        assert_ne!(plan.of_node(NodeId(1)), plan.of_node(NodeId(2)));
        let other = Plan::new(ClusterId(8), plan.overlay(), 24).unwrap();
        assert_ne!(plan.local(), other.local());
    }

    #[test]
    fn ranges_that_cannot_work_are_refused_with_what_to_do() {
        for (overlay, node_prefix, why) in [
            ("10.100.0.1/16", 24, "use 10.100.0.0/16"),
            ("11.0.0.0/16", 24, "not a private range"),
            ("160.0.0.0/4", 24, "not a private range"),
            ("10.100.0.0/16", 30, "leaves no room"),
            ("10.100.0.0/16", 19, "has 8 blocks"),
            ("10.100.0.0/24", 16, "has 0 blocks"),
            ("10.0.0.0/8", 28, "has 1048576 blocks"),
        ] {
            let error = plan(overlay, node_prefix).unwrap_err().to_string();
            assert!(error.contains(why), "{overlay} /{node_prefix}: {error}");
        }
        for good in ["172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"] {
            assert!(plan(good, 24).is_ok(), "{good}");
        }
    }

    #[test]
    fn a_route_to_something_else_is_named() {
        let check = |route: &str| usual().check([route.parse().unwrap()]);
        for clash in ["10.0.0.0/8", "10.100.7.0/24", "10.100.0.0/16"] {
            let error = check(clash).unwrap_err().to_string();
            assert!(error.contains(clash), "{error}");
        }
        for other in ["0.0.0.0/0", "::/0", "10.101.0.0/16", "fd00::/64"] {
            assert_eq!(check(other), Ok(()), "{other}");
        }
    }
}
