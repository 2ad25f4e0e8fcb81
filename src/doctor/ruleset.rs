//! What filters at the forward hook do with a container's packets: nftables' own chains, as `nft --json list
//! ruleset` prints them (libnftables-json(5)), and iptables' older ones, as `iptables-legacy -S` does.
//!
//! A rule that asks for anything but a packet's links is passed over: nobody can tell whom it is about. So a
//! chain that lets some traffic pass by address may be called a barrier, and one that is called none is none.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Looked;

/// How deep chains may call one another, as the kernel has it (NFT_JUMP_STACK_SIZE).
const DEPTH_MAX: u32 = 16;

/// The tables of our own.
const OWN_TABLE: &str = "fizz";

/// A chain at the forward hook that does not let containers' packets pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Barrier {
    /// `ip`, `ip6`, `inet`.
    pub family: String,
    /// The table.
    pub table: String,
    /// The chain.
    pub chain: String,
    /// It is iptables' own: in the kernel's older tables, or in nftables by `iptables-nft`.
    pub iptables: bool,
    /// From which link to which the first packet goes that does not pass.
    pub from: String,
    /// The other one.
    pub to: String,
}

/// A packet that is led on, by its links.
#[derive(Clone, Copy)]
struct Flow<'a> {
    from: &'a str,
    to: &'a str,
}

#[derive(Debug, Default)]
struct Chain {
    hooked: bool,
    drops: bool,
    rules: Vec<Rule>,
}

#[derive(Debug, Default)]
struct Rule {
    links: Vec<LinkMatch>,
    /// It asks for something else, too.
    more: bool,
    verdict: Option<Verdict>,
}

#[derive(Debug)]
struct LinkMatch {
    inward: bool,
    negated: bool,
    names: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Accept,
    Drop,
    Call(String),
    Go(String),
    Return,
}

/// What becomes of a packet in a chain.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Passes,
    Stops,
    /// It comes to the chain's end.
    Falls,
}

type Chains = BTreeMap<String, Chain>;

/// The chains of a printed ruleset that stop what goes between these links, or from the first of them out.
pub fn barriers(json: &str, links: &[&str]) -> Looked<Vec<Barrier>> {
    let all: Value = serde_json::from_str(json)
        .map_err(|why| format!("`nft --json list ruleset` is not understood: {why}"))?;
    let mut tables: BTreeMap<(String, String), Chains> = BTreeMap::new();
    for item in all["nftables"].as_array().into_iter().flatten() {
        if let Some(it) = item.get("chain") {
            let chain =
                tables.entry(table_of(it)).or_default().entry(word(it, "name")).or_default();
            chain.hooked = it["hook"] == "forward" && it["type"] == "filter";
            chain.drops = it["policy"] == "drop";
        }
        if let Some(it) = item.get("rule") {
            let chain =
                tables.entry(table_of(it)).or_default().entry(word(it, "chain")).or_default();
            chain.rules.push(rule(&it["expr"]));
        }
    }
    let mut found = vec![];
    for ((family, table), chains) in tables.iter().filter(|((_, table), _)| table != OWN_TABLE) {
        if !matches!(family.as_str(), "ip" | "ip6" | "inet") {
            continue;
        }
        found.extend(stopping(chains, links).map(|(chain, flow)| Barrier {
            family: family.clone(),
            table: table.clone(),
            iptables: table == "filter" && chain == "FORWARD" && family != "inet",
            chain: chain.to_owned(),
            from: flow.from.to_owned(),
            to: flow.to.to_owned(),
        }));
    }
    Ok(found)
}

/// The same of iptables' older tables, of one family: `ip` or `ip6`.
#[must_use]
pub fn legacy_barriers(family: &str, printed: &str, links: &[&str]) -> Vec<Barrier> {
    let mut chains = Chains::new();
    for line in printed.lines() {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words[..] {
            ["-P", name, policy] => {
                let chain = chains.entry(name.to_owned()).or_default();
                (chain.hooked, chain.drops) = (name == "FORWARD", policy == "DROP");
            }
            ["-N", name] => drop(chains.entry(name.to_owned()).or_default()),
            ["-A", name, ..] => {
                let rule = legacy_rule(words.get(2..).unwrap_or_default());
                chains.entry(name.to_owned()).or_default().rules.push(rule);
            }
            _ => {}
        }
    }
    let barrier = |(chain, flow): (&str, Flow<'_>)| Barrier {
        family: family.to_owned(),
        table: "filter".to_owned(),
        chain: chain.to_owned(),
        iptables: true,
        from: flow.from.to_owned(),
        to: flow.to.to_owned(),
    };
    stopping(&chains, links).map(barrier).collect()
}

/// The hooked chains that stop a flow, each with the first that it stops.
fn stopping<'a>(
    chains: &'a Chains,
    links: &'a [&'a str],
) -> impl Iterator<Item = (&'a str, Flow<'a>)> {
    let flows = || {
        let between = links.iter().flat_map(|from| {
            links.iter().filter(move |to| *to != from).map(|to| Flow { from, to })
        });
        between.chain(links.first().map(|from| Flow { from, to: "any other link" }))
    };
    let hooked = chains.iter().filter(|(_, it)| it.hooked);
    hooked.filter_map(move |(name, chain)| {
        let stops = |it: &Flow<'_>| match fate(chains, chain, *it, 0) {
            Fate::Passes => false,
            Fate::Stops => true,
            Fate::Falls => chain.drops,
        };
        flows().find(stops).map(|flow| (name.as_str(), flow))
    })
}

fn fate(chains: &Chains, chain: &Chain, flow: Flow<'_>, depth: u32) -> Fate {
    for rule in chain.rules.iter().filter(|it| it.takes(flow)) {
        let (next, goes) = match &rule.verdict {
            None => continue,
            Some(Verdict::Accept) => return Fate::Passes,
            Some(Verdict::Drop) => return Fate::Stops,
            Some(Verdict::Return) => return Fate::Falls,
            Some(Verdict::Call(name)) => (name, false),
            Some(Verdict::Go(name)) => (name, true),
        };
        let Some(called) = chains.get(next).filter(|_| depth < DEPTH_MAX) else { continue };
        let fate = fate(chains, called, flow, depth + 1);
        if goes || fate != Fate::Falls {
            return fate;
        }
    }
    Fate::Falls
}

impl Rule {
    /// Whether all that a rule asks for is so, of a packet of which only the links are known.
    fn takes(&self, flow: Flow<'_>) -> bool {
        let so = |it: &LinkMatch| {
            let link = if it.inward { flow.from } else { flow.to };
            it.names.iter().any(|name| named(name, link)) != it.negated
        };
        !self.more && self.links.iter().all(so)
    }
}

/// Whether a link has this name, which may end in `*`, or as iptables has it in `+`.
fn named(name: &str, link: &str) -> bool {
    let beginning = name.strip_suffix('*').or_else(|| name.strip_suffix('+'));
    beginning.map_or(name == link, |it| link.starts_with(it))
}

fn word(of: &Value, key: &str) -> String {
    of[key].as_str().unwrap_or_default().to_owned()
}

fn table_of(it: &Value) -> (String, String) {
    (word(it, "family"), word(it, "table"))
}

fn rule(expressions: &Value) -> Rule {
    let mut rule = Rule::default();
    for it in expressions.as_array().into_iter().flatten() {
        let Some((key, value)) = it.as_object().and_then(|it| it.iter().next()) else { continue };
        match key.as_str() {
            "match" => match link_match(value) {
                Some(links) => rule.links.push(links),
                None => rule.more = true,
            },
            "accept" => rule.verdict = Some(Verdict::Accept),
            "drop" | "reject" => rule.verdict = Some(Verdict::Drop),
            "return" => rule.verdict = Some(Verdict::Return),
            "jump" => rule.verdict = Some(Verdict::Call(word(value, "target"))),
            "goto" => rule.verdict = Some(Verdict::Go(word(value, "target"))),
            // What decides nothing.
            "counter" | "log" | "comment" => {}
            // Verdict maps, limits, iptables' extensions.
            _ => rule.more = true,
        }
    }
    rule
}

fn link_match(it: &Value) -> Option<LinkMatch> {
    let inward = match it["left"]["meta"]["key"].as_str()? {
        "iifname" | "iif" => true,
        "oifname" | "oif" => false,
        _ => return None,
    };
    let right = &it["right"];
    let names = match right {
        Value::String(name) => vec![name.clone()],
        Value::Object(set) => {
            let names = set.get("set")?.as_array()?.iter();
            names.map(|it| it.as_str().map(str::to_owned)).collect::<Option<_>>()?
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => return None,
    };
    Some(LinkMatch { inward, negated: it["op"] == "!=", names })
}

fn legacy_rule(words: &[&str]) -> Rule {
    let mut rule = Rule::default();
    let mut negated = false;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "!" => negated = true,
            "-i" | "-o" => {
                let names = words.next().map(|it| (*it).to_owned()).into_iter().collect();
                rule.links.push(LinkMatch { inward: *word == "-i", negated, names });
                negated = false;
            }
            "-j" | "-g" => {
                let target = words.next().copied().unwrap_or_default();
                rule.verdict = Some(match (*word, target) {
                    (_, "ACCEPT") => Verdict::Accept,
                    (_, "DROP") => Verdict::Drop,
                    (_, "REJECT") => return Rule { verdict: Some(Verdict::Drop), ..rule },
                    (_, "RETURN") => Verdict::Return,
                    ("-g", chain) => Verdict::Go(chain.to_owned()),
                    (_, chain) => Verdict::Call(chain.to_owned()),
                });
            }
            _ => rule.more = true,
        }
    }
    rule
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const LINKS: [&str; 2] = ["fz...", "fizz-mesh"];

    fn chain(name: &str, policy: &str) -> Value {
        json!({"chain": {"family": "inet", "table": "f", "name": name, "type": "filter",
            "hook": "forward", "prio": 0, "policy": policy}})
    }

    fn plain(name: &str) -> Value {
        json!({"chain": {"family": "inet", "table": "f", "name": name}})
    }

    fn line(chain: &str, expr: Value) -> Value {
        json!({"rule": {"family": "inet", "table": "f", "chain": chain, "expr": expr}})
    }

    fn link(key: &str, right: Value) -> Value {
        json!({"match": {"op": "==", "left": {"meta": {"key": key}}, "right": right}})
    }

    fn stops(items: Vec<Value>) -> Option<(String, String)> {
        let found = barriers(&json!({ "nftables": items }).to_string(), &LINKS).unwrap();
        found.first().map(|it| (it.from.clone(), it.to.clone()))
    }

    #[test]
    fn a_chain_that_drops_is_a_barrier_unless_its_rules_let_our_links_pass_both_ways() {
        let accept = json!({"accept": null});
        assert_eq!(stops(vec![chain("fwd", "accept")]), None);
        let between = Some(("fz...".to_owned(), "fizz-mesh".to_owned()));
        assert_eq!(stops(vec![chain("fwd", "drop")]), between);
        let inward = line("fwd", json!([link("iifname", json!({"set": LINKS})), accept]));
        assert_eq!(stops(vec![chain("fwd", "drop"), inward]), None);
        let wild = line("fwd", json!([link("iifname", json!("f*")), {"counter": {}}, accept]));
        assert_eq!(stops(vec![chain("fwd", "drop"), wild]), None);
        let one = line("fwd", json!([link("iifname", json!("fz...")), accept]));
        let other = Some(("fizz-mesh".to_owned(), "fz...".to_owned()));
        assert_eq!(stops(vec![chain("fwd", "drop"), one]), other);
        let by_address = json!({"match": {"op": "==", "left": {"payload": {"protocol": "ip",
            "field": "saddr"}}, "right": "10.0.0.1"}});
        let some = line("fwd", json!([by_address, accept]));
        assert_eq!(stops(vec![chain("fwd", "drop"), some]), between);
    }

    #[test]
    fn what_is_called_decides_too_and_a_reject_at_the_end_is_a_barrier() {
        let jump = |to: &str| line("fwd", json!([{"jump": {"target": to}}]));
        let reject = line("fwd", json!([{"reject": {"type": "icmpx"}}]));
        let pass = line("users", json!([link("iifname", json!("f*")), {"accept": null}]));
        let calls = vec![chain("fwd", "accept"), plain("users"), jump("users"), reject.clone()];
        assert!(stops(calls.clone()).is_some());
        let mut opened = calls;
        opened.push(pass);
        assert_eq!(stops(opened), None);
        let returns = line("users", json!([{"return": null}]));
        let back = vec![chain("fwd", "drop"), plain("users"), jump("users"), returns];
        assert!(stops(back).is_some());
        let round = line("users", json!([{"goto": {"target": "users"}}]));
        assert!(stops(vec![chain("fwd", "drop"), plain("users"), jump("users"), round]).is_some());
    }

    #[test]
    fn our_own_tables_and_bridges_are_nobodys_barrier_and_nonsense_is_an_error() {
        let own = json!({"nftables": [{"chain": {"family": "inet", "table": "fizz", "name": "forward",
            "type": "filter", "hook": "forward", "policy": "drop"}}]});
        assert_eq!(barriers(&own.to_string(), &LINKS), Ok(vec![]));
        let bridge = json!({"nftables": [{"chain": {"family": "bridge", "table": "x", "name": "f",
            "type": "filter", "hook": "forward", "policy": "drop"}}]});
        assert_eq!(barriers(&bridge.to_string(), &LINKS), Ok(vec![]));
        assert!(barriers("nft: no", &LINKS).is_err());
        let docker = json!({"nftables": [{"chain": {"family": "ip", "table": "filter",
            "name": "FORWARD", "type": "filter", "hook": "forward", "policy": "drop"}}]});
        assert!(barriers(&docker.to_string(), &LINKS).unwrap()[0].iptables);
    }

    #[test]
    fn the_older_tables_are_read_as_iptables_prints_them() {
        let drop = "-P INPUT ACCEPT\n-P FORWARD DROP\n-P OUTPUT ACCEPT\n-N DOCKER-USER\n";
        assert_eq!(legacy_barriers("ip", drop, &LINKS).len(), 1);
        let let_pass = "-A FORWARD -j DOCKER-USER\n\
            -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
            -A DOCKER-USER -i fz+ -j ACCEPT\n-A DOCKER-USER -o fz+ -j ACCEPT\n\
            -A DOCKER-USER -i fizz-mesh -j ACCEPT\n-A DOCKER-USER -j RETURN\n";
        assert_eq!(legacy_barriers("ip", &format!("{drop}{let_pass}"), &LINKS), vec![]);
        let not = "-P FORWARD ACCEPT\n-A FORWARD ! -i eth+ -j REJECT --reject-with icmp-port\n";
        let found = legacy_barriers("ip6", not, &LINKS);
        assert_eq!((found[0].chain.as_str(), found[0].family.as_str()), ("FORWARD", "ip6"));
    }
}
