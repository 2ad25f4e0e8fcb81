//! What a lab's network does wrong on purpose: who does not hear whom, and what is lost. Words in, and
//! rules for nftables in the switch's bridge out; nothing here touches the machine.
//!
//! Only IP packets are dropped. Neighbours still find one another's hardware addresses, or a network
//! that is parted one way would be parted both ways: no answer without an address to send it to.

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::plan::LabNode;

/// Packets in ten thousand: a hundredth of a percent.
const WHOLE: u16 = 10_000;

/// Ordered pairs: the second does not hear the first.
pub(super) type Parted = BTreeSet<(LabNode, LabNode)>;

/// Everything that is wrong with a lab's network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Faults {
    /// Who does not hear whom.
    pub(super) parted: Parted,
    /// What is lost at random.
    pub(super) loss: Option<Loss>,
}

/// Random loss of packets to and from some nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Loss {
    /// How much.
    pub(super) share: Share,
    /// Whose packets.
    pub(super) nodes: BTreeSet<LabNode>,
}

/// A share of all packets, in hundredths of a percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Share(u16);

impl Share {
    /// Nothing is lost.
    pub(super) const NONE: Self = Self(0);
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 / 100, self.0 % 100) {
            (percent, 0) => write!(f, "{percent}%"),
            (percent, part) if part % 10 == 0 => write!(f, "{percent}.{}%", part / 10),
            (percent, part) => write!(f, "{percent}.{part:02}%"),
        }
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let hundredths = |text: &str| {
            let (percent, part) = text.strip_suffix('%')?.split_once('.').map_or_else(
                || Some((text.strip_suffix('%')?, "0")),
                |(percent, part)| Some((percent, part)),
            )?;
            let digits = |it: &str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit());
            if !digits(percent) || !digits(part) || 2 < part.len() {
                return None;
            }
            let part: u16 = format!("{part:0<2}").parse().ok()?;
            let all = percent.parse::<u16>().ok()?.checked_mul(100)?.checked_add(part)?;
            (all <= WHOLE).then_some(all)
        };
        hundredths(text).map(Self).ok_or_else(|| {
            format!("`{text}` is not a share of packets: write 0% to 100%, like 10% or 0.5%")
        })
    }
}

/// Reads `a,b/c` (groups that hear each other and nobody else; nodes not named are one more group) or
/// `a>b,c` (packets from the first to the second are dropped, not those back).
pub(super) fn parted(text: &str, nodes: &[LabNode]) -> Result<Parted, String> {
    let parted = match text.split_once('>') {
        Some((from, to)) if !to.contains('>') && !text.contains('/') => {
            let (from, to) = (group(text, from, nodes)?, group(text, to, nodes)?);
            if let Some(both) = from.intersection(&to).next() {
                return Err(format!("`{text}`: node {both} stands on both sides of `>`"));
            }
            pairs(&from, &to).collect()
        }
        Some(_) => {
            return Err(format!(
                "`{text}`: write either groups, like `a,b/c`, or one direction, like `a>b`"
            ));
        }
        None => {
            let groups: Result<Vec<_>, _> =
                text.split('/').map(|it| group(text, it, nodes)).collect();
            let mut groups = groups?;
            let mut rest: BTreeSet<LabNode> = nodes.iter().copied().collect();
            for node in groups.iter().flatten() {
                if !rest.remove(node) {
                    return Err(format!("`{text}`: node {node} stands in two groups"));
                }
            }
            groups.push(rest);
            let apart = |one: &BTreeSet<_>| -> Parted {
                groups.iter().filter(|other| *other != one).flat_map(|it| pairs(one, it)).collect()
            };
            groups.iter().flat_map(apart).collect::<Parted>()
        }
    };
    if parted.is_empty() {
        return Err(format!("`{text}` parts nobody: name fewer nodes, or two groups, like `a/b`"));
    }
    Ok(parted)
}

fn group(whole: &str, text: &str, nodes: &[LabNode]) -> Result<BTreeSet<LabNode>, String> {
    let mut group = BTreeSet::new();
    for name in text.split(',').map(str::trim) {
        if name.is_empty() {
            return Err(format!("`{whole}`: a node's name is missing; write it like `a,b/c`"));
        }
        let node = name.parse().map_err(|why| format!("`{whole}`: {why}"))?;
        among(node, nodes).map_err(|why| format!("`{whole}`: {why}"))?;
        if !group.insert(node) {
            return Err(format!("`{whole}`: node {node} is named twice"));
        }
    }
    Ok(group)
}

/// Whether the lab has the node.
pub(super) fn among(node: LabNode, nodes: &[LabNode]) -> Result<LabNode, String> {
    match (nodes.contains(&node), nodes) {
        (true, _) => Ok(node),
        (false, [first, .., last]) => {
            Err(format!("the lab has no node {node}, only {first} to {last}"))
        }
        (false, _) => Err(format!("the lab has no node {node}")),
    }
}

fn pairs<'a>(
    from: &'a BTreeSet<LabNode>,
    to: &'a BTreeSet<LabNode>,
) -> impl Iterator<Item = (LabNode, LabNode)> + 'a {
    from.iter().flat_map(|one| to.iter().map(|other| (*one, *other)))
}

/// The table in the switch, as `nft -f` reads it: the old one goes and the new one comes in one step.
#[must_use]
pub(super) fn rules(faults: &Faults) -> String {
    let mut text = "table bridge lab {}\ndelete table bridge lab\n".to_owned();
    let elements = |all: Vec<String>| match all.is_empty() {
        true => String::new(),
        false => format!("elements = {{ {} }};", all.join(", ")),
    };
    let port = |it: &LabNode| format!("\"{}\"", it.port());
    let parted = faults.parted.iter().map(|(from, to)| format!("{} . {}", port(from), port(to)));
    let parted = elements(parted.collect());
    let loss = faults.loss.as_ref().filter(|it| it.share != Share::NONE);
    if faults.parted.is_empty() && loss.is_none() {
        return text;
    }
    let lossy = elements(loss.into_iter().flat_map(|it| &it.nodes).map(port).collect());
    // nft takes no comparison that always holds.
    let lose = match loss.map_or(0, |it| it.share.0) {
        WHOLE.. => "drop".to_owned(),
        share => format!("numgen random mod {WHOLE} < {share} drop"),
    };
    text.push_str(&format!(
        "table bridge lab {{
  set parted {{ type ifname . ifname; {parted} }}
  set lossy {{ type ifname; {lossy} }}
  chain lose {{
    {lose}
  }}
  chain forward {{
    type filter hook forward priority 0; policy accept;
    ether type != {{ ip, ip6 }} accept
    icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
    iifname . oifname @parted drop
    iifname @lossy goto lose
    oifname @lossy goto lose
  }}
}}
"
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(count: u8) -> Vec<LabNode> {
        LabNode::all(count).collect()
    }

    fn shown(text: &str, count: u8) -> String {
        let parted = parted(text, &nodes(count)).unwrap();
        parted.iter().map(|(from, to)| format!("{from}{to}")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn groups_hear_each_other_and_those_not_named_are_one_more() {
        assert_eq!(shown("a/b", 2), "ab ba");
        assert_eq!(shown("a", 3), "ab ac ba ca");
        assert_eq!(shown("a, b/c", 3), "ac bc ca cb");
        assert_eq!(shown("a/b", 4), "ab ac ad ba bc bd ca cb da db");
        assert_eq!(shown("c/a,b/d", 4), shown("a,b/c", 4));
    }

    #[test]
    fn an_arrow_parts_one_way() {
        assert_eq!(shown("a>b", 3), "ab");
        assert_eq!(shown("b,c>a", 3), "ba ca");
    }

    #[test]
    fn a_partition_that_makes_no_sense_is_told_why() {
        for (text, why) in [
            ("a,d", "`a,d`: the lab has no node d, only a to c"),
            ("x!", "`x!`: `x!` is not a node: they are a to z, then n27 to n250"),
            ("a//b", "`a//b`: a node's name is missing; write it like `a,b/c`"),
            ("", "``: a node's name is missing; write it like `a,b/c`"),
            ("a>", "`a>`: a node's name is missing; write it like `a,b/c`"),
            ("a/b,a", "`a/b,a`: node a stands in two groups"),
            ("a,a", "`a,a`: node a is named twice"),
            ("a>b,a", "`a>b,a`: node a stands on both sides of `>`"),
            ("a>b>c", "`a>b>c`: write either groups, like `a,b/c`, or one direction, like `a>b`"),
            ("a>b/c", "`a>b/c`: write either groups, like `a,b/c`, or one direction, like `a>b`"),
            ("a,b,c", "`a,b,c` parts nobody: name fewer nodes, or two groups, like `a/b`"),
        ] {
            assert_eq!(parted(text, &nodes(3)).unwrap_err(), why);
        }
    }

    #[test]
    fn a_share_is_a_percentage() {
        for (text, hundredths) in [
            ("0%", 0),
            ("10%", 1000),
            ("0.5%", 50),
            ("33.33%", 3333),
            ("0.05%", 5),
            ("100%", WHOLE),
        ] {
            let share: Share = text.parse().unwrap();
            assert_eq!((share.0, share.to_string().as_str()), (hundredths, text));
        }
        for wrong in
            ["", "%", "10", "ten%", "-1%", "100.01%", "101%", "0.001%", ".5%", "5.%", "1.2.3%"]
        {
            assert_eq!(
                wrong.parse::<Share>().unwrap_err(),
                format!("`{wrong}` is not a share of packets: write 0% to 100%, like 10% or 0.5%")
            );
        }
    }

    #[test]
    fn the_rules_name_ports_and_a_network_without_faults_has_none() {
        let mut faults = Faults::default();
        assert_eq!(rules(&faults), "table bridge lab {}\ndelete table bridge lab\n");
        faults.parted = parted("a>b", &nodes(3)).unwrap();
        let text = rules(&faults);
        assert!(text.contains(r#"elements = { "node-a" . "node-b" };"#), "{text}");
        let loss = Loss { share: "10%".parse().unwrap(), nodes: nodes(2).into_iter().collect() };
        faults.loss = Some(loss);
        let text = rules(&faults);
        assert!(text.contains(r#"type ifname; elements = { "node-a", "node-b" };"#), "{text}");
        assert!(text.contains("numgen random mod 10000 < 1000 drop"), "{text}");
        faults.loss = faults.loss.map(|it| Loss { share: "100%".parse().unwrap(), ..it });
        assert!(!rules(&faults).contains("numgen"));
    }
}
