//! Duplicate machine identity: a copied disk has the machine's id of another, or even the node's keys.

use super::{Check, Finding, Looked, Peer, listed};

const NAME: &str = "identity";

/// Who this machine is.
#[derive(Clone, Debug)]
pub struct IdentityFacts {
    /// A hash of its id (machine-id(5)); `None`: it has none.
    pub machine: Looked<Option<String>>,
}

pub(super) fn check(facts: &IdentityFacts, peers: &Looked<Vec<Peer>>) -> Check {
    let mut findings: Vec<Finding> = peers.iter().flatten().filter_map(doubled).collect();
    match &facts.machine {
        Ok(Some(mine)) => findings.extend(twins(mine, peers.iter().flatten())),
        Ok(None) => findings.push(without()),
        Err(why) => findings.push(Finding::unchecked(format!("/etc/machine-id: {why}"))),
    }
    let well = match peers {
        Ok(peers) if !peers.is_empty() => "this machine's id, and each node's keys, are there once",
        Ok(_) | Err(_) => "this machine has an id",
    };
    Check::new(NAME, well, findings)
}

/// A node's keys on two machines.
fn doubled(peer: &Peer) -> Option<Finding> {
    if peer.doubles.is_empty() {
        return None;
    }
    let mut places: Vec<String> = peer.address.iter().map(ToString::to_string).collect();
    places.extend(peer.doubles.iter().map(ToString::to_string));
    let name = &peer.name;
    let found = Finding::failed(format!("two machines are node {name}: {}", listed(&places)))
        .seen("at each of these addresses another daemon proves that it has this node's key")
        .why("only the one that was started last is heard, they overwrite what the other writes, and containers run twice or not at all")
        .cure(format!("on the machine that is the copy: stop fizz, move its data directory away (`mv /var/lib/fizz /var/lib/fizz.copy`), start fizz, and `fizz join` with a new token; {name} stays as it is"))
        .cure("before a disk is copied next time: empty /etc/machine-id and leave /var/lib/fizz out");
    Some(found)
}

/// Other nodes whose machines have the same id.
fn twins<'a>(mine: &str, peers: impl Iterator<Item = &'a Peer>) -> Option<Finding> {
    let same = |it: &&Peer| it.told.as_ref().is_ok_and(|it| it.machine.as_deref() == Some(mine));
    let names: Vec<&str> = peers.filter(same).map(|it| it.name.as_str()).collect();
    if names.is_empty() {
        return None;
    }
    let names = listed(&names);
    let found = Finding::warning(format!("this machine has the same machine-id as {names}"))
        .seen(format!("/etc/machine-id here and on {names} has one content, as where a disk is copied"))
        .why("DHCP may give both one address, and their logs and leases are mixed up")
        .cure("on the copy: `rm -f /etc/machine-id /var/lib/dbus/machine-id && systemd-machine-id-setup`, and reboot")
        .cure("where several nodes share one file system on purpose, as in `fizz lab`, it is harmless");
    Some(found)
}

fn without() -> Finding {
    Finding::warning("this machine has no machine-id")
        .seen("/etc/machine-id is not there, empty, or `uninitialized`")
        .why("nobody can tell whether its disk is another's copy")
        .cure("`systemd-machine-id-setup`, or `dbus-uuidgen --ensure=/etc/machine-id`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{Grade, peer::well};

    fn judged(machine: Looked<Option<&str>>, change: impl FnOnce(&mut Peer)) -> Check {
        let mut peer = well("b");
        change(&mut peer);
        let machine = machine.map(|it| it.map(str::to_owned));
        check(&IdentityFacts { machine }, &Ok(vec![peer, well("c")]))
    }

    #[test]
    fn one_id_on_two_machines_warns_and_names_the_others() {
        assert_eq!(judged(Ok(Some("machine a")), |_| {}).grade, Grade::Ok);
        let twin = judged(Ok(Some("machine b")), |_| {});
        assert_eq!(twin.summary, "this machine has the same machine-id as b");
        assert_eq!(twin.grade, Grade::Warning);
        let both = judged(Ok(Some("machine c")), |it| {
            it.told.as_mut().unwrap().machine = Some("machine c".to_owned());
        });
        assert_eq!(both.summary, "this machine has the same machine-id as b and c");
        assert_eq!(judged(Ok(None), |_| {}).summary, "this machine has no machine-id");
        assert_eq!(judged(Err("no".to_owned()), |_| {}).grade, Grade::Unchecked);
    }

    #[test]
    fn one_nodes_keys_on_two_machines_fail_with_both_addresses() {
        let twice = judged(Ok(Some("machine a")), |it| {
            it.doubles.push("192.0.2.9:7780".parse().unwrap());
        });
        assert_eq!(twice.summary, "two machines are node b: 192.0.2.2:7780 and 192.0.2.9:7780");
        assert_eq!(twice.grade, Grade::Failed);
    }
}
