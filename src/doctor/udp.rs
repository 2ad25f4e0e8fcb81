//! Blocked UDP: whether members' datagrams arrive, and the ports for them are there to be had.

use std::net::SocketAddr;

use super::{Check, Finding, Looked, Peer, listed};
use crate::model::NodeState;

const NAME: &str = "udp";

/// A port on this machine that other members send to.
#[derive(Clone, Debug)]
pub struct PortFacts {
    /// `UDP` or `TCP`.
    pub protocol: &'static str,
    /// Where.
    pub address: SocketAddr,
    /// The setting that says so.
    pub setting: &'static str,
    /// Who has it.
    pub holder: Looked<Holder>,
}

/// Who has a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Nobody.
    Nobody,
    /// Fizz.
    Fizz,
    /// Somebody else: what is known of it.
    Other(String),
}

pub(super) fn check(ports: &[PortFacts], peers: &Looked<Vec<Peer>>) -> Check {
    let mut findings: Vec<Finding> = ports.iter().filter_map(port).collect();
    let well = match peers {
        Ok(peers) => {
            findings.extend(peers.iter().flat_map(|it| [datagrams(it), mesh(it)]).flatten());
            match peers.len() {
                0 => "no other member is there to ask".to_owned(),
                1 => "the other member answers".to_owned(),
                count => format!("all {count} other members answer"),
            }
        }
        Err(why) => format!("{}; {why}", ports_text(ports)),
    };
    Check::new(NAME, well, findings)
}

fn ports_text(ports: &[PortFacts]) -> String {
    let text = |it: &PortFacts| format!("{} {}", it.protocol, it.address.port());
    let of = |wanted: &Holder| -> Vec<String> {
        ports.iter().filter(|it| it.holder.as_ref() == Ok(wanted)).map(text).collect()
    };
    let (free, ours) = (of(&Holder::Nobody), of(&Holder::Fizz));
    match (free.is_empty(), ours.is_empty()) {
        (false, true) => format!("{} are free", listed(&free)),
        (true, false) => format!("{} are Fizz's", listed(&ours)),
        (false, false) => format!("{} are Fizz's, {} free", listed(&ours), listed(&free)),
        (true, true) => "no port was looked at".to_owned(),
    }
}

fn port(it: &PortFacts) -> Option<Finding> {
    let PortFacts { protocol, address, setting, .. } = it;
    match &it.holder {
        Ok(Holder::Nobody | Holder::Fizz) => None,
        Ok(Holder::Other(who)) => Some(
            Finding::failed(format!("{protocol} port {} is taken by {who}", address.port()))
                .seen(format!("{who} holds {address} ({protocol})"))
                .why(format!("`fizz daemon` can't listen for other members there (`{setting}`)"))
                .cure("stop what holds it, if it is not needed")
                .cure(format!(
                    "or set `{setting}` in /etc/fizz/config.yaml to a free port, and restart fizz"
                )),
        ),
        Err(why) => Some(Finding::unchecked(format!(
            "{protocol} port {} was not looked at: {why}",
            address.port()
        ))),
    }
}

/// Between members, of what is said by datagrams.
fn datagrams(it: &Peer) -> Option<Finding> {
    let Some(address) = it.address else {
        return Some(Finding::unchecked(format!("nobody knows where {} is", it.name)));
    };
    let (name, port) = (&it.name, address.port());
    let why = "members tell by UDP who is alive: one whose datagrams are lost counts as dead, and its \
               containers are started elsewhere";
    match (&it.told, it.answers) {
        (Ok(told), false) => {
            let (fault, way) = match (told.hears, it.heard) {
                (true, false) => (
                    format!("UDP from {name} to this node is blocked (port {port})"),
                    format!("datagrams of this node arrive at {name}; none of {name} arrives here"),
                ),
                (false, true) => (
                    format!("UDP from this node to {name} is blocked (port {port})"),
                    format!("datagrams of {name} arrive here; none of this node arrives at {name}"),
                ),
                (true, true) => (
                    format!("UDP between this node and {name} is lost (port {port})"),
                    "datagrams arrive both ways, and a question was not answered in time".to_owned(),
                ),
                (false, false) => (
                    format!("UDP between this node and {name} is blocked both ways (port {port})"),
                    "no datagram arrives either way".to_owned(),
                ),
            };
            let at = match (told.hears, it.heard) {
                (true, false) => "on this node".to_owned(),
                (false, true) => format!("on {name}"),
                (true, true) | (false, false) => format!("on this node and on {name}"),
            };
            Some(
                Finding::failed(fault)
                    .seen(format!("{name} answers by TCP at {address}; {way}"))
                    .why(why)
                    .cure(format!("let UDP port {port} in {at}: `ufw allow {port}/udp`, or `firewall-cmd --permanent --add-port={port}/udp && firewall-cmd --reload`, or `nft insert rule inet filter input udp dport {port} accept`"))
                    .cure(format!("in a cloud, allow UDP {port} between the nodes in the security group")),
            )
        }
        (Err(error), true) => Some(
            Finding::failed(format!("TCP from this node to {name} is blocked (port {port})"))
                .seen(format!("{name} answers by UDP at {address}, and not by TCP: {error}"))
                .why("state, logs and commands go between members by TCP")
                .cure(format!("let TCP port {port} in on {name}, as UDP is")),
        ),
        (Err(error), false) => Some(
            Finding::warning(format!("{} answers neither by UDP nor by TCP", it.title()))
                .seen(format!("it is {}; by TCP: {error}", it.state))
                .why(match it.state {
                    NodeState::Dead | NodeState::Failed => "what ran there was started elsewhere",
                    NodeState::Joining
                    | NodeState::Alive
                    | NodeState::Suspicious
                    | NodeState::Left => "this node can't tell whether it is off or cut off",
                })
                .cure(format!("look whether {name} is on and `fizz daemon` runs there, and run `fizz doctor` on it"))
                .cure(format!("if it will not come back: `fizz node rm {name}`"))
                .cure(format!("if it is well: let TCP and UDP port {port} through between both")),
        ),
        (Ok(_), true) => None,
    }
}

/// Between members, of what containers say to each other.
fn mesh(it: &Peer) -> Option<Finding> {
    let path = it.path.as_ref()?;
    if path.passes.is_some() {
        return None;
    }
    // One that is off is no news here.
    it.told.as_ref().ok()?;
    let (name, port) = (&it.name, path.port);
    let seen = match path.handshake {
        None => "both devices have never agreed on keys".to_owned(),
        Some(ago) => format!("both devices last agreed on keys {ago} ago"),
    };
    Some(
        Finding::failed(format!("nothing passes through the mesh to {name} (UDP port {port})"))
            .seen(format!("not even a small packet is answered; {seen}"))
            .why(format!("containers here and on {name} do not reach each other"))
            .cure(format!("let UDP port {port} in on this node and on {name}: `ufw allow {port}/udp`, or `firewall-cmd --permanent --add-port={port}/udp && firewall-cmd --reload`"))
            .cure(format!("if {name} has another `network.port`: this is the one that it tells; open that one there")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        doctor::{Grade, peer::well},
        model::Millis,
    };

    fn ports(holder: Holder) -> Vec<PortFacts> {
        let at = |protocol, address: &str, setting| PortFacts {
            protocol,
            address: address.parse().unwrap(),
            setting,
            holder: Ok(holder.clone()),
        };
        vec![
            at("UDP", "0.0.0.0:7780", "cluster.listen"),
            at("TCP", "0.0.0.0:7780", "cluster.listen"),
            at("UDP", "0.0.0.0:7781", "network.port"),
        ]
    }

    fn judged(change: impl FnOnce(&mut Peer)) -> Check {
        let mut peer = well("b");
        change(&mut peer);
        check(&ports(Holder::Fizz), &Ok(vec![peer]))
    }

    fn hears(peer: &mut Peer, hears: bool) {
        peer.told.as_mut().unwrap().hears = hears;
    }

    #[test]
    fn members_that_answer_are_well_and_so_is_a_machine_alone_with_free_ports() {
        assert_eq!(judged(|_| {}).summary, "the other member answers");
        let alone = check(&ports(Holder::Nobody), &Err("no cluster".to_owned()));
        assert_eq!(alone.grade, Grade::Ok);
        assert_eq!(alone.summary, "UDP 7780, TCP 7780 and UDP 7781 are free; no cluster");
    }

    #[test]
    fn a_blocked_direction_is_told_by_who_hears_whom() {
        let inward = judged(|it| (it.answers, it.heard) = (false, false));
        assert_eq!(inward.summary, "UDP from b to this node is blocked (port 7780)");
        assert!(inward.findings[0].cure[0].starts_with("let UDP port 7780 in on this node:"));
        let outward = judged(|it| {
            it.answers = false;
            hears(it, false);
        });
        assert_eq!(outward.summary, "UDP from this node to b is blocked (port 7780)");
        assert!(outward.findings[0].cure[0].starts_with("let UDP port 7780 in on b:"));
        let both = judged(|it| {
            (it.answers, it.heard) = (false, false);
            hears(it, false);
        });
        assert_eq!(both.summary, "UDP between this node and b is blocked both ways (port 7780)");
        assert_eq!(both.grade, Grade::Failed);
        let lossy = judged(|it| it.answers = false);
        assert_eq!(lossy.summary, "UDP between this node and b is lost (port 7780)");
    }

    #[test]
    fn blocked_tcp_is_told_from_a_node_that_is_off() {
        let tcp = judged(|it| it.told = Err("refused".to_owned()));
        assert_eq!(tcp.summary, "TCP from this node to b is blocked (port 7780)");
        let off = judged(|it| {
            it.told = Err("it is dead".to_owned());
            (it.answers, it.state) = (false, NodeState::Dead);
            it.path.as_mut().unwrap().passes = None;
        });
        assert_eq!(off.summary, "b (192.0.2.2:7780) answers neither by UDP nor by TCP");
        assert_eq!((off.grade, off.findings.len()), (Grade::Warning, 1));
        let lost = judged(|it| it.address = None);
        assert_eq!(lost.grade, Grade::Unchecked);
    }

    #[test]
    fn a_mesh_through_which_nothing_passes_is_told_with_its_port() {
        let never = judged(|it| {
            let path = it.path.as_mut().unwrap();
            (path.passes, path.handshake) = (None, None);
        });
        assert_eq!(never.summary, "nothing passes through the mesh to b (UDP port 7781)");
        assert!(never.findings[0].seen.ends_with("never agreed on keys"));
        let once = judged(|it| {
            let path = it.path.as_mut().unwrap();
            (path.passes, path.handshake) = (None, Some(Millis(180_000)));
        });
        assert!(once.findings[0].seen.ends_with("agreed on keys 3m ago"), "{once:?}");
    }

    #[test]
    fn a_port_that_somebody_else_has_is_told_with_its_holder() {
        let taken = check(&ports(Holder::Other("dnsmasq (process 9)".to_owned())), &Ok(vec![]));
        assert_eq!(taken.summary, "UDP port 7780 is taken by dnsmasq (process 9)");
        assert_eq!(taken.findings.len(), 3);
        assert!(taken.findings[2].cure[1].contains("`network.port`"));
        let mut hidden = ports(Holder::Nobody);
        hidden[0].holder = Err("not root".to_owned());
        assert_eq!(check(&hidden, &Ok(vec![])).grade, Grade::Unchecked);
    }
}
