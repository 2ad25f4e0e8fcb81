//! DNS loops: resolvers of the host that are this node itself, or ask it in turn; and such that are silent.

use std::net::IpAddr;

use super::{Check, Finding, Looked, listed};

const NAME: &str = "dns";

/// One of the host's resolvers (resolv.conf(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolver {
    /// Where.
    pub address: IpAddr,
    /// It is this node's own server.
    pub own: bool,
    /// It passes questions to this node's server.
    pub loops: bool,
    /// It answered a question.
    pub answers: bool,
}

/// The host's resolvers.
#[derive(Clone, Debug)]
pub struct NamesFacts {
    /// Those of /etc/resolv.conf.
    pub resolvers: Looked<Vec<Resolver>>,
    /// This node answers names: so that loops can be told.
    pub serving: bool,
}

pub(super) fn check(facts: &NamesFacts) -> Check {
    let resolvers = match &facts.resolvers {
        Ok(resolvers) => resolvers,
        Err(why) => return Check::unchecked(NAME, why.clone()),
    };
    let mut findings: Vec<Finding> = resolvers.iter().filter_map(finding).collect();
    if resolvers.is_empty() {
        findings.push(
            Finding::warning("the host has no resolver")
                .seen("/etc/resolv.conf names none")
                .why("containers find the cluster's names, and no others; images are not found")
                .cure("put `nameserver ADDRESS` into /etc/resolv.conf, or have NetworkManager or systemd-resolved write it"),
        );
    }
    let names: Vec<String> = resolvers.iter().map(|it| it.address.to_string()).collect();
    let more = if facts.serving { ", and does not ask this node in turn" } else { "" };
    Check::new(NAME, format!("{} answers{more}", listed(&names)), findings)
}

fn finding(it: &Resolver) -> Option<Finding> {
    let address = it.address;
    let elsewhere = "put another resolver into /etc/resolv.conf: your router's, or your provider's";
    if it.own {
        return Some(
            Finding::failed(format!("a DNS loop: /etc/resolv.conf names this node's own server, {address}"))
                .seen(format!("`nameserver {address}` is an address on which Fizz answers containers"))
                .why("Fizz passes names that are not the cluster's to the host's resolvers, and leaves this one out: it has nobody to ask for them")
                .cure(elsewhere),
        );
    }
    if it.loops {
        return Some(
            Finding::failed(format!("a DNS loop: the resolver {address} passes questions back to this node"))
                .seen("a name that only Fizz can know was asked of it, and the question came in here")
                .why("each question would go round until a limit ends it; Fizz asks this resolver for nothing until it stops")
                .cure(format!("have {address} pass on only what ends in `fizz.internal` to this node (dnsmasq: `server=/fizz.internal/ADDRESS`), and everything else to your router's or your provider's resolver"))
                .cure(elsewhere),
        );
    }
    (!it.answers).then(|| {
        Finding::warning(format!("the resolver {address} does not answer"))
            .seen("a question to its port 53 by UDP was not answered in 2 s")
            .why("each name waits for it first; without another one images and outside names are not found")
            .cure(format!("look whether {address} is on and UDP port 53 to it is open"))
            .cure("or take it out of /etc/resolv.conf")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Grade;

    fn judged(changes: &[&dyn Fn(&mut Resolver)]) -> Check {
        let resolver = |change: &&dyn Fn(&mut Resolver)| {
            let address = "192.0.2.53".parse().unwrap();
            let mut it = Resolver { address, own: false, loops: false, answers: true };
            change(&mut it);
            it
        };
        check(&NamesFacts { resolvers: Ok(changes.iter().map(resolver).collect()), serving: true })
    }

    #[test]
    fn a_loop_fails_and_says_which_resolver_it_goes_through() {
        let well = judged(&[&|_| {}]);
        assert_eq!(well.summary, "192.0.2.53 answers, and does not ask this node in turn");
        let own = judged(&[&|it| (it.own, it.answers) = (true, false)]);
        let fault = "a DNS loop: /etc/resolv.conf names this node's own server, 192.0.2.53";
        assert_eq!((own.grade, own.summary.as_str()), (Grade::Failed, fault));
        let round = judged(&[&|_| {}, &|it| it.loops = true]);
        let fault = "a DNS loop: the resolver 192.0.2.53 passes questions back to this node";
        assert_eq!((round.grade, round.summary.as_str()), (Grade::Failed, fault));
    }

    #[test]
    fn a_silent_resolver_and_none_at_all_are_warnings() {
        let silent = judged(&[&|it| it.answers = false]);
        assert_eq!(silent.summary, "the resolver 192.0.2.53 does not answer");
        assert_eq!(silent.grade, Grade::Warning);
        assert_eq!(judged(&[]).summary, "the host has no resolver");
        let hidden = NamesFacts { resolvers: Err("no".to_owned()), serving: false };
        assert_eq!(check(&hidden).grade, Grade::Unchecked);
    }
}
