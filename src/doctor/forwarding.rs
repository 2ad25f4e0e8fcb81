//! Forwarding: that this machine leads packets on between containers and nodes, and that no firewall stops them.

use super::{Barrier, Check, Finding, Looked, MeshWanted, listed};

const NAME: &str = "forwarding";

/// Whether packets are led on.
#[derive(Clone, Debug)]
pub struct ForwardingFacts {
    /// The mesh is set up here.
    pub meshed: bool,
    /// `net.ipv4.ip_forward`.
    pub v4: Looked<bool>,
    /// `net.ipv6.conf.all.forwarding`; `None`: the machine has no IPv6.
    pub v6: Looked<Option<bool>>,
    /// What stops packets between this node's links; inside, that the program nft is not there.
    pub barriers: Looked<Result<Vec<Barrier>, String>>,
    /// `iptables` can be run, by which the daemon opens iptables' own chains.
    pub iptables: bool,
}

pub(super) fn check(facts: &ForwardingFacts, mesh: MeshWanted) -> Check {
    if mesh == MeshWanted::No {
        return Check::new(NAME, "no mesh is wanted: the runtime sees to it", vec![]);
    }
    let mut findings = vec![];
    let v6 = facts.v6.clone().map(|it| it.unwrap_or(true));
    for (value, setting) in
        [(&facts.v4, "net.ipv4.ip_forward"), (&v6, "net.ipv6.conf.all.forwarding")]
    {
        findings.extend(switch(value, setting, facts.meshed));
    }
    match &facts.barriers {
        Ok(Ok(all)) => findings.extend(all.iter().filter_map(|it| barrier(it, facts))),
        Ok(Err(why)) => findings.push(no_nft(why, facts.meshed)),
        Err(why) => findings.push(Finding::unchecked(format!("filters were not looked at: {why}"))),
    }
    let well = match (&facts.v4, &facts.barriers) {
        (Ok(true), Ok(Ok(all))) if all.is_empty() => {
            "on, and no filter drops what is led on".to_owned()
        }
        (_, Ok(Ok(all))) if !all.is_empty() => {
            let names: Vec<String> = all.iter().map(place).collect();
            format!("the daemon opens {} for its links", listed(&names))
        }
        (_, _) => "off; the daemon switches it on in a cluster".to_owned(),
    };
    Check::new(NAME, well, findings)
}

fn switch(value: &Looked<bool>, setting: &str, meshed: bool) -> Option<Finding> {
    match value {
        Ok(true) => None,
        Ok(false) if !meshed => None,
        Ok(false) => Some(
            Finding::failed(format!("forwarding is off ({setting})"))
                .seen(format!("{setting} is 0; the daemon sets it to 1 when it starts, so that something set it back since"))
                .why("packets between containers of different nodes, and to published ports, are dropped")
                .cure(format!("`sysctl -w {setting}=1`"))
                .cure(format!("so that it stays: put `{setting} = 1` into /etc/sysctl.d/90-fizz.conf, and take 0 out of the other files there (`grep -r forward /etc/sysctl.d /etc/sysctl.conf`)")),
        ),
        Err(why) => Some(Finding::unchecked(format!("{setting}: {why}"))),
    }
}

/// `chain FORWARD of table ip filter`.
fn place(it: &Barrier) -> String {
    format!("chain {} of table {} {}", it.chain, it.family, it.table)
}

fn barrier(it: &Barrier, facts: &ForwardingFacts) -> Option<Finding> {
    // These the daemon opens itself, once it is in a cluster.
    if it.iptables && facts.iptables && !facts.meshed {
        return None;
    }
    let Barrier { family, table, chain, .. } = it;
    let fault = format!("a firewall drops containers' packets: {}", place(it));
    let found = if facts.meshed { Finding::failed(fault) } else { Finding::warning(fault) };
    let found = found
        .seen(format!("it lets nothing pass from {} to {}", it.from, it.to))
        .why("a packet passes only if every table lets it: containers here do not reach those of other nodes, or the outside");
    let found = if it.iptables {
        let program = if family == "ip6" { "ip6tables" } else { "iptables" };
        found.cure(format!("`for l in fz+ fizz-mesh; do {program} -I {chain} -i $l -j ACCEPT; {program} -I {chain} -o $l -j ACCEPT; done`; the daemon does so by itself within a minute where `{program}` is installed"))
    } else if table == "firewalld" {
        found.cure("`for l in fz+ fizz-mesh; do firewall-cmd --permanent --zone=trusted --add-interface=$l; done; firewall-cmd --reload`")
    } else {
        let insert = format!("nft insert rule {family} {table} {chain}");
        found.cure(format!("`for l in 'fz*' fizz-mesh; do {insert} iifname \"\\\"$l\\\"\" accept; {insert} oifname \"\\\"$l\\\"\" accept; done`, and the same rules in /etc/nftables.conf, so that they stay"))
    };
    Some(found)
}

fn no_nft(why: &str, meshed: bool) -> Finding {
    let fault = "the program `nft` is missing";
    let found = if meshed { Finding::failed(fault) } else { Finding::warning(fault) };
    found
        .seen(why)
        .why("in a cluster the daemon sets its tables with it, and does not start without it")
        .cure("Debian, Ubuntu: `apt-get install nftables`; Fedora: `dnf install nftables`; Arch: `pacman -S nftables`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Grade;

    fn facts(meshed: bool) -> ForwardingFacts {
        ForwardingFacts {
            meshed,
            v4: Ok(true),
            v6: Ok(Some(true)),
            barriers: Ok(Ok(vec![])),
            iptables: true,
        }
    }

    fn barrier(family: &str, table: &str, chain: &str, iptables: bool) -> Barrier {
        let (family, table, chain) = (family.to_owned(), table.to_owned(), chain.to_owned());
        let (from, to) = ("fz...".to_owned(), "fizz-mesh".to_owned());
        Barrier { family, table, chain, iptables, from, to }
    }

    fn judged(facts: &ForwardingFacts) -> Check {
        check(facts, MeshWanted::Any)
    }

    #[test]
    fn forwarding_that_is_off_matters_once_there_is_a_mesh() {
        assert_eq!(judged(&facts(true)).summary, "on, and no filter drops what is led on");
        let off = |meshed| ForwardingFacts { v4: Ok(false), ..facts(meshed) };
        assert_eq!(judged(&off(false)).grade, Grade::Ok);
        assert_eq!(judged(&off(true)).summary, "forwarding is off (net.ipv4.ip_forward)");
        let v6 = |v6| judged(&ForwardingFacts { v6, ..facts(true) }).grade;
        assert_eq!(v6(Ok(Some(false))), Grade::Failed);
        assert_eq!(v6(Ok(None)), Grade::Ok);
        assert_eq!(v6(Err("no".to_owned())), Grade::Unchecked);
        assert_eq!(check(&off(true), MeshWanted::No).grade, Grade::Ok);
    }

    #[test]
    fn a_barrier_is_named_with_its_table_and_how_it_is_opened() {
        let with = |meshed, it| ForwardingFacts { barriers: Ok(Ok(vec![it])), ..facts(meshed) };
        let native = || barrier("inet", "filter", "forward", false);
        let found = judged(&with(true, native()));
        let fault = "a firewall drops containers' packets: chain forward of table inet filter";
        assert_eq!((found.grade, found.summary.as_str()), (Grade::Failed, fault));
        assert!(found.findings[0].cure[0].contains("nft insert rule inet filter forward iifname"));
        assert_eq!(judged(&with(false, native())).grade, Grade::Warning);
        let firewalld = judged(&with(true, barrier("inet", "firewalld", "filter_FORWARD", false)));
        assert!(firewalld.findings[0].cure[0].contains("firewall-cmd --permanent --zone=trusted"));
        let docker = || barrier("ip", "filter", "FORWARD", true);
        assert_eq!(judged(&with(true, docker())).grade, Grade::Failed);
        let before = judged(&with(false, docker()));
        assert_eq!(before.grade, Grade::Ok, "the daemon opens it");
        assert_eq!(
            before.summary,
            "the daemon opens chain FORWARD of table ip filter for its links"
        );
        let alone = ForwardingFacts { iptables: false, ..with(false, docker()) };
        assert_eq!(judged(&alone).grade, Grade::Warning);
    }

    #[test]
    fn a_missing_nft_fails_a_mesh_and_warns_before_there_is_one() {
        let missing = |meshed| {
            let barriers = Ok(Err("no such file".to_owned()));
            judged(&ForwardingFacts { barriers, ..facts(meshed) }).grade
        };
        assert_eq!((missing(true), missing(false)), (Grade::Failed, Grade::Warning));
        let hidden = ForwardingFacts { barriers: Err("only root".to_owned()), ..facts(true) };
        assert_eq!(judged(&hidden).grade, Grade::Unchecked);
    }
}
