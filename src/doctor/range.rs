//! Address-range clashes: the containers' addresses against what the machine, its runtime and the other members
//! have already.

use ipnet::{IpNet, Ipv4Net};

use super::{Check, Finding, Looked, MeshWanted, Peer};

const NAME: &str = "range";

/// A route or an address of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where to.
    pub to: IpNet,
    /// By which link.
    pub link: String,
    /// It is an address of the machine's own.
    pub own: bool,
}

/// Containers' addresses, and who else may want them.
#[derive(Clone, Debug)]
pub struct RangeFacts {
    /// `network.overlay`.
    pub overlay: Ipv4Net,
    /// `network.node_prefix`.
    pub node_prefix: u8,
    /// Routes and addresses of the machine, but for Fizz's own links.
    pub routes: Looked<Vec<Route>>,
    /// The ranges that Docker takes networks from (`default-address-pools`), where it is told which.
    pub pools: Vec<Ipv4Net>,
}

pub(super) fn check(facts: &RangeFacts, peers: &Looked<Vec<Peer>>, mesh: MeshWanted) -> Check {
    if mesh == MeshWanted::No {
        return Check::new(NAME, "no mesh is wanted: the runtime chooses addresses", vec![]);
    }
    let overlay = facts.overlay;
    let routes = match &facts.routes {
        Ok(routes) => routes,
        Err(why) => return Check::unchecked(NAME, why.clone()),
    };
    let mut findings: Vec<Finding> =
        routes.iter().filter(|it| overlaps(overlay, it.to)).map(|it| route(overlay, it)).collect();
    findings.extend(
        facts
            .pools
            .iter()
            .filter(|it| overlaps(overlay, IpNet::V4(**it)))
            .map(|it| pool(overlay, *it)),
    );
    findings.extend(peers.iter().flatten().filter_map(|it| other(facts, it)));
    Check::new(NAME, format!("{overlay} is this cluster's alone"), findings)
}

/// A default route is everybody's.
fn overlaps(overlay: Ipv4Net, other: IpNet) -> bool {
    let overlay = IpNet::V4(overlay);
    other.prefix_len() != 0 && (overlay.contains(&other) || other.contains(&overlay))
}

fn another(found: Finding) -> Finding {
    found.cure("set `network.overlay` to a range that no machine has, like 10.200.0.0/16 or 172.30.0.0/16, in /etc/fizz/config.yaml on all nodes, and restart fizz on each")
}

fn route(overlay: Ipv4Net, it: &Route) -> Finding {
    let Route { to, link, own } = it;
    let (what, seen, remove) = if *own {
        ("address", format!("{link} has the address {to}"), format!("ip addr del {to} dev {link}"))
    } else {
        let seen = format!("this machine sends what is for {to} to {link}");
        ("route to", seen, format!("ip route del {to} dev {link}"))
    };
    another(
        Finding::failed(format!("{overlay} overlaps with the {what} {to} ({link})"))
            .seen(seen)
            .why("containers' packets would go there, or what is there would be cut off; in a cluster the daemon does not start"),
    )
    .cure(format!("or take it away, if it is a leftover: `{remove}`"))
}

fn pool(overlay: Ipv4Net, pool: Ipv4Net) -> Finding {
    another(
        Finding::warning(format!("{overlay} overlaps with a range that Docker takes networks from: {pool}"))
            .seen("`default-address-pools` of Docker's configuration")
            .why("the next network that Docker makes may take these addresses, and containers of other nodes are then cut off"),
    )
    .cure("or take the range out of `default-address-pools` in /etc/docker/daemon.json, and restart Docker")
}

fn other(facts: &RangeFacts, peer: &Peer) -> Option<Finding> {
    let told = peer.told.as_ref().ok()?;
    let (mine, theirs) = ((facts.overlay, facts.node_prefix), (told.overlay, told.node_prefix));
    if mine == theirs {
        return None;
    }
    let name = &peer.name;
    let found = Finding::failed(format!("{name} has other containers' addresses than this node"))
        .seen(format!(
            "here {} in blocks of /{}, on {name} {} in blocks of /{}",
            mine.0, mine.1, theirs.0, theirs.1
        ))
        .why("each would give containers addresses that the other does not lead to")
        .cure("set `network.overlay` and `network.node_prefix` the same on all nodes, and restart fizz on those that change");
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{Grade, peer::well};

    fn judged(change: impl FnOnce(&mut RangeFacts, &mut Peer)) -> Check {
        let mut facts = RangeFacts {
            overlay: "10.100.0.0/16".parse().unwrap(),
            node_prefix: 24,
            routes: Ok(vec![route_to("0.0.0.0/0"), route_to("10.99.0.0/16")]),
            pools: vec!["172.17.0.0/16".parse().unwrap()],
        };
        let mut peer = well("b");
        change(&mut facts, &mut peer);
        check(&facts, &Ok(vec![peer]), MeshWanted::Any)
    }

    fn route_to(to: &str) -> Route {
        Route { to: to.parse().unwrap(), link: "eth0".to_owned(), own: false }
    }

    #[test]
    fn a_route_that_overlaps_is_named_whichever_is_larger() {
        assert_eq!(judged(|_, _| {}).summary, "10.100.0.0/16 is this cluster's alone");
        for to in ["10.100.7.0/24", "10.0.0.0/8", "10.100.0.1/32", "10.100.0.0/16"] {
            let clash = judged(|it, _| it.routes.as_mut().unwrap().push(route_to(to)));
            let fault = format!("10.100.0.0/16 overlaps with the route to {to} (eth0)");
            assert_eq!((clash.grade, clash.summary), (Grade::Failed, fault));
        }
        let address = judged(|it, _| {
            let own = Route { own: true, ..route_to("10.100.0.1/32") };
            it.routes.as_mut().unwrap().push(own);
        });
        assert_eq!(address.summary, "10.100.0.0/16 overlaps with the address 10.100.0.1/32 (eth0)");
        assert!(address.findings[0].cure[1].contains("`ip addr del 10.100.0.1/32 dev eth0`"));
        for to in ["10.101.0.0/16", "::/0", "fd00::/8"] {
            let beside = judged(|it, _| it.routes.as_mut().unwrap().push(route_to(to)));
            assert_eq!(beside.grade, Grade::Ok, "{to}");
        }
        assert_eq!(judged(|it, _| it.routes = Err("no".to_owned())).grade, Grade::Unchecked);
    }

    #[test]
    fn what_docker_may_take_warns_and_another_members_other_range_fails() {
        let pool = judged(|it, _| it.pools.push("10.96.0.0/12".parse().unwrap()));
        assert_eq!(pool.grade, Grade::Warning);
        assert!(pool.summary.ends_with("that Docker takes networks from: 10.96.0.0/12"));
        let other = judged(|_, it| it.told.as_mut().unwrap().node_prefix = 25);
        assert_eq!(other.summary, "b has other containers' addresses than this node");
        assert!(other.findings[0].seen.ends_with("on b 10.100.0.0/16 in blocks of /25"));
    }
}
