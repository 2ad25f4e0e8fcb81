//! What means nothing once a project's networks span the nodes: these keys speak of a bridge of the engine's,
//! and containers then have their interfaces from Fizz.

use super::When;

/// Keys, or some of their values, and why.
pub(super) const MEANINGLESS: &[(&str, When, &str)] = &[
    ("networks.*.driver", When::Not(&["bridge", "default", "overlay"]), MESH),
    ("networks.*.driver_opts", When::Set, MESH),
    ("networks.*.enable_ipv4", When::Is(&["false"]), BOTH),
    ("networks.*.enable_ipv6", When::Is(&["false"]), BOTH),
    (
        "networks.*.ipam",
        When::Set,
        "containers have addresses of the mesh (`network.overlay`); a fixed `ipv4_address` or `ipv6_address` \
         still leads to its container",
    ),
    (
        "services.*.external_links",
        When::Set,
        "other projects' containers are found only where a network is shared, by their own names",
    ),
    ("services.*.mac_address", When::Set, CARD),
    ("services.*.networks.*.driver_opts", When::Set, MESH),
    ("services.*.networks.*.gw_priority", When::Set, ONE),
    ("services.*.networks.*.interface_name", When::Set, ONE),
    ("services.*.networks.*.link_local_ips", When::Set, CARD),
    ("services.*.networks.*.mac_address", When::Set, CARD),
    ("services.*.networks.*.priority", When::Set, ONE),
];

const MESH: &str = "networks that span the nodes are carried by the mesh, which has no drivers";
const BOTH: &str = "networks that span the nodes carry IPv4 and IPv6";
const ONE: &str =
    "a container has one interface, `eth0`, for all its networks once they span the nodes";
const CARD: &str = "the mesh carries IP packets only, and chooses what is below itself";
