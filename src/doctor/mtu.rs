//! MTU black holes: packets that are too large for the way between two nodes and that nobody sends back.

use super::{Check, Finding, Looked, MeshWanted, Peer};
use crate::topology::{MTU_BYTES_MIN, WIREGUARD_BYTES};

const NAME: &str = "mtu";

/// The largest packets, as this machine has them.
#[derive(Clone, Debug)]
pub struct MtuFacts {
    /// The largest that goes out of this machine whole.
    pub outward: Looked<u32>,
    /// What the mesh's device has, where it is set and not found out.
    pub set: Option<u32>,
}

pub(super) fn check(facts: &MtuFacts, peers: &Looked<Vec<Peer>>, mesh: MeshWanted) -> Check {
    if mesh == MeshWanted::No {
        return Check::new(NAME, "no mesh is wanted: nothing is sent in large packets", vec![]);
    }
    let outward = match &facts.outward {
        Ok(outward) => *outward,
        Err(why) => return Check::unchecked(NAME, why.clone()),
    };
    let mut findings: Vec<Finding> = narrow(outward, facts.set).into_iter().collect();
    let Ok(peers) = peers else {
        let well = format!("packets of {outward} bytes go out of this machine");
        return Check::new(NAME, well, findings);
    };
    let through: Vec<&Peer> =
        peers.iter().filter(|it| it.path.as_ref().is_some_and(|it| it.passes.is_some())).collect();
    findings.extend(through.iter().filter_map(|it| hole(it)));
    if findings.is_empty() && through.is_empty() && !peers.is_empty() {
        return Check::unchecked(NAME, "nothing passes through the mesh to any member: see `udp`");
    }
    let mtu = through.first().and_then(|it| it.path.as_ref()).map(|it| it.mtu);
    let well = match (through.len(), mtu) {
        (1.., Some(mtu)) => {
            format!("packets of {mtu} bytes pass through the mesh, whole and both ways")
        }
        (_, _) => format!("packets of {outward} bytes go out of this machine"),
    };
    Check::new(NAME, well, findings)
}

/// A link that has no room for the smallest mesh.
fn narrow(outward: u32, set: Option<u32>) -> Option<Finding> {
    let least = set.unwrap_or(MTU_BYTES_MIN) + WIREGUARD_BYTES;
    (outward < least).then(|| {
        Finding::failed(format!("this machine's link takes packets of {outward} bytes, and the mesh sends {least}"))
            .seen(format!("the smallest MTU of this machine's ways out is {outward}"))
            .why("large packets between containers are lost: connections open and then hang")
            .cure(format!("raise the link's MTU to {least} or more: `ip link set dev LINK mtu {least}`, and in the network's configuration so that it stays"))
            .cure("or set `network.mtu` lower, on all nodes, where it is set above 1280")
    })
}

fn hole(peer: &Peer) -> Option<Finding> {
    let path = peer.path.as_ref()?;
    let passes = path.passes.filter(|it| *it < path.mtu)?;
    let (name, mtu) = (&peer.name, path.mtu);
    let found = Finding::failed(format!("packets of more than {passes} bytes to {name} disappear (MTU)"))
        .seen(format!("of {mtu} bytes, which the mesh's device sends, none is answered by {name}; of {passes} bytes each is; nothing says that the others are too large"))
        .why("a connection opens and then hangs as soon as much is sent: large answers, images, TLS certificates");
    let found = if passes < MTU_BYTES_MIN {
        found.cure(format!(
            "the way to {name} must carry packets of at least {} bytes: raise the MTU of its links",
            MTU_BYTES_MIN + WIREGUARD_BYTES
        ))
    } else {
        found.cure(format!("set `network.mtu: {passes}` in /etc/fizz/config.yaml on this node and on {name}, and restart fizz there; containers that are started from then on have it"))
    };
    Some(found.cure("or let ICMP through between them (IPv4 type 3 code 4, IPv6 type 2), and see to it that all links on the way have the same MTU"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{Grade, peer::well};

    const FACTS: MtuFacts = MtuFacts { outward: Ok(1500), set: None };

    fn passes(bytes: Option<u32>) -> Check {
        let mut peer = well("b");
        peer.path.as_mut().unwrap().passes = bytes;
        check(&FACTS, &Ok(vec![peer]), MeshWanted::Any)
    }

    #[test]
    fn a_packet_that_disappears_is_told_with_the_size_that_works_and_the_setting() {
        let whole = passes(Some(1420));
        assert_eq!(whole.grade, Grade::Ok);
        assert_eq!(
            whole.summary,
            "packets of 1420 bytes pass through the mesh, whole and both ways"
        );
        let hole = passes(Some(1336));
        assert_eq!(hole.summary, "packets of more than 1336 bytes to b disappear (MTU)");
        assert!(hole.findings[0].cure[0].starts_with("set `network.mtu: 1336` in"), "{hole:?}");
        assert_eq!(passes(Some(1419)).grade, Grade::Failed);
        assert!(passes(Some(1279)).findings[0].cure[0].contains("at least 1360 bytes"));
        assert!(passes(Some(1280)).findings[0].cure[0].contains("network.mtu: 1280"));
        assert_eq!(passes(None).grade, Grade::Unchecked);
    }

    #[test]
    fn a_link_must_have_room_for_the_smallest_mesh() {
        let none = Err("no cluster".to_owned());
        let at = |outward, set| {
            check(&MtuFacts { outward: Ok(outward), set }, &none, MeshWanted::Any).grade
        };
        assert_eq!(at(1360, None), Grade::Ok);
        assert_eq!(at(1359, None), Grade::Failed);
        assert_eq!(at(1400, Some(1320)), Grade::Ok);
        assert_eq!(at(1400, Some(1321)), Grade::Failed);
        let hidden = MtuFacts { outward: Err("no".to_owned()), set: None };
        assert_eq!(check(&hidden, &none, MeshWanted::Any).grade, Grade::Unchecked);
        assert_eq!(check(&hidden, &none, MeshWanted::No).grade, Grade::Ok);
        assert_eq!(check(&FACTS, &Ok(vec![]), MeshWanted::Any).grade, Grade::Ok);
    }
}
