//! The tables as text, from what the topology says. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    net::{IpAddr, Ipv4Addr},
};

use ipnet::IpNet;

use crate::topology::{Isolation, Plan, Pool, Published, zone::NetworkName};

/// What the tables are made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Where addresses come from.
    pub plan: Plan,
    /// What the names of containers' links begin with, and no others'.
    pub ports: &'static str,
    /// The mesh's device.
    pub mesh: String,
    /// This node's address as its containers' gateway, by which it speaks to those of other nodes too.
    pub gateway: Option<Ipv4Addr>,
    /// The ports by which members speak to each other: no container's business.
    pub members: BTreeSet<u16>,
    /// Who may speak to whom.
    pub isolation: Isolation,
    /// The published ports that no program of ingress carries, and where they lead.
    pub published: BTreeMap<Published, Pool>,
    /// The link of each of this node's containers.
    pub links: BTreeMap<Ipv4Addr, String>,
}

/// Networks that a container is on.
type Company = BTreeSet<NetworkName>;

impl Rules {
    /// What takes the tables away: that they are there before makes it no error if they were not.
    pub(super) fn nothing() -> String {
        "table inet fizz\ndelete table inet fizz\n".to_owned()
    }

    /// The tables.
    #[must_use]
    pub fn text(&self) -> String {
        let (isolation, filters, translations) =
            (self.isolation(), self.filters(), self.translations());
        let origins = self.origins();
        format!(
            "{nothing}table inet fizz {{\n{origins}{isolation}{filters}{translations}}}\n",
            nothing = Self::nothing(),
        )
    }

    /// Whoever sends by a container's link is that container.
    fn origins(&self) -> String {
        let four = elements(self.links.iter().map(|(at, link)| format!("\"{link}\" . {at}")));
        let six = self.links.iter().map(|(at, link)| (self.plan.v6(*at), link));
        let six = elements(six.map(|(at, link)| format!("\"{link}\" . {at}")));
        let port = self.port();
        format!(
            r#"  set origins4 {{ type ifname . ipv4_addr; {four} }}
  set origins6 {{ type ifname . ipv6_addr; {six} }}
  chain origins {{
    type filter hook prerouting priority raw; policy accept;
    iifname != {port} return
    meta nfproto ipv4 iifname . ip saddr != @origins4 drop
    ip6 saddr fe80::/10 return
    meta nfproto ipv6 iifname . ip6 saddr != @origins6 drop
  }}
"#
        )
    }

    /// Any container's link.
    fn port(&self) -> String {
        format!("\"{}*\"", self.ports)
    }

    /// What passes, of what goes through this node and of what is for itself.
    fn filters(&self) -> String {
        let (port, mesh) = (self.port(), &self.mesh);
        let (v4, v6) = (self.plan.overlay(), self.plan.local());
        let ports = list(self.members.iter());
        format!(
            r#"  chain forward {{
    type filter hook forward priority filter; policy accept;
    oifname != {port} oifname != "{mesh}" iifname != {port} iifname != "{mesh}" return
    ct state established,related accept
    oifname {port} ct status dnat accept
    oifname {port} ip daddr vmap @here4
    oifname {port} ip6 daddr vmap @here6
    oifname {port} drop
    oifname "{mesh}" iifname {port} accept
    oifname "{mesh}" ct status dnat accept
    iifname "{mesh}" oifname "{mesh}" ip saddr {v4} ip daddr {v4} accept
    iifname "{mesh}" oifname "{mesh}" ip6 saddr {v6} ip6 daddr {v6} accept
    oifname "{mesh}" drop
    ip daddr {v4} drop
    ip6 daddr {v6} drop
    ip saddr @confined4 drop
    ip6 saddr @confined6 drop
    iifname {port} accept
    drop
  }}
  chain input {{
    type filter hook input priority filter; policy accept;
    iifname != {port} iifname != "{mesh}" return
    iifname "{mesh}" ip6 saddr {v6} ip6 saddr != @containers6 accept
    ct state established,related accept
    meta l4proto {{ icmp, ipv6-icmp }} accept
    iifname "{mesh}" drop
    udp dport {ports} drop
    tcp dport {ports} drop
  }}
  chain output {{
    type filter hook output priority filter; policy accept;
    oifname {port} icmp type redirect drop
    oifname {port} icmpv6 type nd-redirect drop
    oifname "{mesh}" icmp type redirect drop
    oifname "{mesh}" icmpv6 type nd-redirect drop
  }}
  chain mss {{
    type filter hook forward priority mangle; policy accept;
    oifname "{mesh}" tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu
  }}
"#
        )
    }

    /// Published ports and fixed addresses, the way back for what came by them, and containers' way out.
    fn translations(&self) -> String {
        let (published, fixed) = (self.published(), self.fixed());
        let (port, mesh) = (self.port(), &self.mesh);
        let (v4, v6) = (self.plan.overlay(), self.plan.local());
        // Where the other end has to answer this node, it hears of the address that containers know it by.
        let speaks_for = self.gateway.map_or_else(String::new, |it| {
            let six = self.plan.v6(it);
            format!(
                r#"    oifname "{mesh}" ip saddr != {v4} snat ip to {it}
    oifname "{mesh}" ct status dnat snat ip to {it}
    oifname {port} ip saddr 127.0.0.0/8 snat ip to {it}
    oifname {port} ct status dnat ip saddr . ip daddr @selves4 snat ip to {it}
    oifname {port} ct status dnat ip6 saddr . ip6 daddr @selves6 snat ip6 to {six}
"#
            )
        });
        format!(
            r#"{published}  chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
{fixed}    fib daddr type local jump ports
  }}
  chain locals {{
    type nat hook output priority -100; policy accept;
    fib daddr type local jump ports
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
{speaks_for}    oifname {port} return
    oifname {{ "{mesh}", "lo" }} return
    ip saddr {v4} masquerade
    ip6 saddr {v6} masquerade
  }}
"#
        )
    }

    /// Sets of who is on each network, and for each container here a chain that asks those that it is on.
    fn isolation(&self) -> String {
        let mut text = String::new();
        let numbers: BTreeMap<&NetworkName, usize> =
            self.isolation.networks.keys().enumerate().map(|(at, name)| (name, at)).collect();
        for (at, members) in self.isolation.networks.values().enumerate() {
            self.pair(&mut text, &format!("net{at}_"), members.iter().copied());
        }
        self.pair(&mut text, "nodes", self.isolation.nodes.iter().copied());
        self.pair(&mut text, "confined", self.isolation.confined.iter().copied());
        let companies: BTreeSet<&Company> = self.isolation.here.values().collect();
        let chains: BTreeMap<&Company, usize> =
            companies.into_iter().enumerate().map(|(at, company)| (company, at)).collect();
        for (company, at) in &chains {
            let mut asks = String::new();
            for number in company.iter().filter_map(|it| numbers.get(it)) {
                let _ = writeln!(asks, "    ip saddr @net{number}_4 accept");
                let _ = writeln!(asks, "    ip6 saddr @net{number}_6 accept");
            }
            let _ = write!(
                text,
                "  chain to{at} {{\n{asks}    ip saddr @nodes4 accept\n    ip6 saddr @nodes6 accept\n    drop\n  }}\n"
            );
        }
        let here = |it: &dyn Fn(Ipv4Addr) -> IpAddr| {
            let all = self.isolation.here.iter();
            elements(all.filter_map(|(address, company)| {
                Some(format!("{} : jump to{}", it(*address), chains.get(company)?))
            }))
        };
        let _ = writeln!(
            text,
            "  map here4 {{ type ipv4_addr : verdict; {} }}\n  map here6 {{ type ipv6_addr : verdict; {} }}",
            here(&|it| IpAddr::V4(it)),
            here(&|it| IpAddr::V6(self.plan.v6(it))),
        );
        let selves = |it: &dyn Fn(Ipv4Addr) -> IpAddr| {
            elements(self.isolation.here.keys().map(|at| format!("{0} . {0}", it(*at))))
        };
        let _ = writeln!(
            text,
            "  set selves4 {{ type ipv4_addr . ipv4_addr; {} }}\n  set selves6 {{ type ipv6_addr . ipv6_addr; {} }}",
            selves(&|it| IpAddr::V4(it)),
            selves(&|it| IpAddr::V6(self.plan.v6(it))),
        );
        let containers = self.plan.v6_block(self.plan.overlay());
        let _ = writeln!(
            text,
            "  set containers6 {{ type ipv6_addr; flags interval; elements = {{ {containers} }}; }}"
        );
        text
    }

    /// A set for each family.
    fn pair(&self, text: &mut String, name: &str, members: impl Iterator<Item = Ipv4Addr> + Clone) {
        let six = elements(members.clone().map(|it| self.plan.v6(it).to_string()));
        let four = elements(members.map(|it| it.to_string()));
        let _ = writeln!(text, "  set {name}4 {{ type ipv4_addr; {four} }}");
        let _ = writeln!(text, "  set {name}6 {{ type ipv6_addr; {six} }}");
    }

    /// Fixed addresses stand for those that their containers have, for who shares the network.
    fn fixed(&self) -> String {
        let mut text = String::new();
        for (at, network) in self.isolation.networks.keys().enumerate() {
            let fixed = self.isolation.fixed.get(network);
            let (mut four, mut six) = (vec![], vec![]);
            for (address, own) in fixed.into_iter().flatten() {
                match address {
                    IpAddr::V4(it) => four.push(format!("{it} : {own}")),
                    IpAddr::V6(it) => six.push(format!("{it} : {}", self.plan.v6(*own))),
                }
            }
            for (family, version, all) in [("ip", 4, four), ("ip6", 6, six)] {
                if !all.is_empty() {
                    let _ = writeln!(
                        text,
                        "    iifname {} {family} saddr @net{at}_{version} dnat {family} to {family} daddr map {{ {} }}",
                        self.port(),
                        all.join(", "),
                    );
                }
            }
        }
        text
    }

    /// A chain for each published port, found by one look into a map (verdict maps of nft(8)) however many there are;
    /// a port's connections take turns among where it leads.
    fn published(&self) -> String {
        let (mut chains, mut anywhere) = (String::new(), vec![]);
        let (mut at4, mut at6) = (vec![], vec![]);
        let used = self.published.iter().filter(|it| !it.1.open.is_empty());
        for (number, (port, pool)) in used.enumerate() {
            let key = format!("{} . {}", port.protocol.name(), port.port);
            match port.host_ip {
                None => anywhere.push(format!("{key} : jump port{number}")),
                Some(IpAddr::V4(it)) => at4.push(format!("{it} . {key} : jump port{number}")),
                Some(IpAddr::V6(it)) => at6.push(format!("{it} . {key} : jump port{number}")),
            }
            let _ = write!(chains, "  chain port{number} {{\n{}  }}\n", self.turns(port, pool));
        }
        let (anywhere, at4, at6) = {
            let all = [anywhere, at4, at6].map(|it| elements(it.into_iter()));
            all.into()
        };
        format!(
            r#"{chains}  map ports {{ type inet_proto . inet_service : verdict; {anywhere} }}
  map ports4 {{ type ipv4_addr . inet_proto . inet_service : verdict; {at4} }}
  map ports6 {{ type ipv6_addr . inet_proto . inet_service : verdict; {at6} }}
  chain ports {{
    ip daddr . meta l4proto . th dport vmap @ports4
    ip6 daddr . meta l4proto . th dport vmap @ports6
    meta l4proto . th dport vmap @ports
  }}
"#
        )
    }

    /// Who may come in, and where each in turn is led.
    fn turns(&self, port: &Published, pool: &Pool) -> String {
        let (mut text, protocol) = (String::new(), port.protocol.name());
        let of = |is_v4: bool| {
            let ranges = pool.allowed.iter().filter(move |it| it.addr().is_ipv4() == is_v4);
            list(ranges)
        };
        let turns = pool.open.len();
        let map = |it: &dyn Fn(Ipv4Addr) -> IpAddr| {
            let each = pool.open.iter().enumerate();
            let each = each.map(|(turn, to)| format!("{turn} : {} . {}", it(to.address), to.port));
            list(each)
        };
        let maps = [map(&|it| IpAddr::V4(it)), map(&|it| IpAddr::V6(self.plan.v6(it)))];
        for (family, is_v4, map) in [("ip", true, &maps[0]), ("ip6", false, &maps[1])] {
            let version = if is_v4 { "ipv4" } else { "ipv6" };
            let may = match (pool.allowed.is_empty(), of(is_v4)) {
                (true, _) => String::new(),
                // Those that may are all of the other family.
                (false, none) if none == list(std::iter::empty::<IpNet>()) => continue,
                (false, ranges) => format!("{family} saddr {ranges} "),
            };
            let _ = writeln!(
                text,
                "    meta nfproto {version} meta l4proto {protocol} {may}dnat {family} to numgen inc mod {turns} map {map}"
            );
        }
        text + if pool.allowed.is_empty() { "" } else { "    drop\n" }
    }
}

/// The members of a set: none is written as none.
fn elements(members: impl Iterator<Item = String>) -> String {
    let members: Vec<String> = members.collect();
    if members.is_empty() {
        return String::new();
    }
    format!("elements = {{ {} }};", members.join(", "))
}

fn list<T: ToString>(members: impl Iterator<Item = T>) -> String {
    format!("{{ {} }}", members.map(|it| it.to_string()).collect::<Vec<_>>().join(", "))
}
