//! The zone of two projects on two nodes, asked by containers, by a node and by strangers.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use proptest::prelude::*;

use super::*;
use crate::model::{ServiceKey, Slot};

const HERE: NodeId = NodeId(1);
const THERE: NodeId = NodeId(2);
const LOOPBACK: &str = "127.0.0.1";

fn network(name: &str) -> NetworkName {
    NetworkName(name.into())
}

fn key(full: &str) -> ServiceKey {
    let (service, project) = full.rsplit_once('.').unwrap();
    ServiceKey { project: project.parse().unwrap(), service: service.parse().unwrap() }
}

fn v6(v4: Ipv4Addr) -> Ipv6Addr {
    Ipv6Addr::from(0xfd00 << 112 | u128::from(u32::from(v4)))
}

fn service(full: &str, networks: &[(&str, &[&str])]) -> Service {
    let names = |it: &[&str]| it.iter().map(|&name| name.to_owned()).collect();
    let networks = networks.iter().map(|(it, aliases)| (network(it), names(aliases))).collect();
    Service { key: key(full), networks, links: vec![], resolvers: vec![], ports: vec![] }
}

/// A replica by its number, its node, and the last bytes of its addresses.
fn replica(full: &str, slot: u32, node: NodeId, places: &[(&str, [u8; 2])]) -> Replica {
    let at = |[c, d]: [u8; 2]| {
        let v4 = Ipv4Addr::new(10, 100, c, d);
        Addresses { v4: Some(v4), v6: Some(v6(v4)) }
    };
    let key = key(full);
    let name = format!("{}-{}-{slot}", key.project, key.service);
    Replica {
        slot: Some(Slot(slot)),
        name: name.parse().unwrap(),
        node,
        networks: places.iter().map(|(it, bytes)| (network(it), at(*bytes))).collect(),
        healthy: true,
        reachable: true,
        key,
    }
}

fn host(id: NodeId, name: &str) -> Host {
    let address = Ipv6Addr::from(0xfd00 << 112 | 1 << 64 | id.0);
    Host { id, name: name.parse().unwrap(), addresses: [address.into()].into() }
}

/// A shop and a blog, which meet in a network for their fronts.
fn facts() -> Facts {
    let mut web = service("web.shop", &[("shop", &[]), ("front", &["www.example.com", "Site"])]);
    web.ports = vec![ServicePort { name: Some("http".into()), number: 8080, protocol: "tcp" }];
    Facts {
        here: HERE,
        own: [IpAddr::from([10, 100, 1, 1])].into(),
        ranges: vec!["10.100.0.0/16".parse().unwrap(), "fd00::/48".parse().unwrap()],
        order: Order::Rotated,
        internal: BTreeSet::new(),
        hosts: vec![host(HERE, "alpha"), host(THERE, "beta")],
        services: vec![
            web,
            service("db.shop", &[("shop", &["store"])]),
            service("web.blog", &[("blog", &[]), ("front", &[])]),
            service("db.blog", &[("blog", &[])]),
            service("gone.blog", &[("blog", &[])]),
        ],
        replicas: vec![
            replica("web.shop", 1, HERE, &[("shop", [1, 11]), ("front", [1, 12])]),
            replica("web.shop", 2, THERE, &[("shop", [2, 11]), ("front", [2, 12])]),
            replica("db.shop", 1, THERE, &[("shop", [2, 21])]),
            replica("web.blog", 1, HERE, &[("blog", [1, 31]), ("front", [1, 32])]),
            replica("db.blog", 1, HERE, &[("blog", [1, 41])]),
        ],
    }
}

const WEB_SHOP: &str = "10.100.1.11";
const DB_SHOP: &str = "10.100.2.21";
const WEB_BLOG: &str = "10.100.1.31";
const DB_BLOG: &str = "10.100.1.41";

fn ask(zone: &Zone, asker: &str, name: &str, kind: Kind, rotation: usize) -> Answer {
    let question = Question { name: DnsName::of_text(name), kind };
    zone.answer(asker.parse().unwrap(), &question, rotation)
}

/// The answer in short: IPv4 addresses by their last two bytes.
fn a(zone: &Zone, asker: &str, name: &str) -> String {
    short(&ask(zone, asker, name, Kind::A, 0))
}

fn short(answer: &Answer) -> String {
    let data = |it: &Data| match it {
        Data::A(it) => format!("{}.{}", it.octets()[2], it.octets()[3]),
        Data::Aaaa(it) => it.to_string(),
        Data::Srv { priority, port, target } => format!("{priority} {port} {target}"),
        Data::Ptr(it) => it.to_string(),
        Data::Soa => "soa".to_owned(),
        Data::Minimal => "minimal".to_owned(),
    };
    match answer {
        Answer::Found { records, .. } => records.iter().map(data).collect::<Vec<_>>().join(", "),
        Answer::NoData(_) => "no data".to_owned(),
        Answer::NoName(_) => "no name".to_owned(),
        Answer::Forward(Resolvers::Hosts) => "forward".to_owned(),
        Answer::Forward(Resolvers::Own(own)) => format!("forward to {own:?}"),
        Answer::Stranger => "stranger".to_owned(),
    }
}

#[test]
fn a_container_finds_its_own_projects_services_by_their_names_alone() {
    let zone = Zone::new(&facts());
    assert_eq!(a(&zone, WEB_SHOP, "db"), "2.21");
    assert_eq!(a(&zone, WEB_BLOG, "db"), "1.41");
    for name in
        ["DB", "db.shop", "Db.Shop.FIZZ.internal.", "1.db", "1.db.shop.fizz.internal", "shop-db-1"]
    {
        assert_eq!(a(&zone, WEB_SHOP, name), "2.21", "{name}");
    }
}

#[test]
fn each_asker_is_given_the_addresses_on_the_networks_that_it_shares() {
    let zone = Zone::new(&facts());
    assert_eq!(a(&zone, WEB_BLOG, "web.shop"), "1.12, 2.12", "they meet in the front");
    assert_eq!(a(&zone, DB_SHOP, "web"), "1.11, 2.11");
    assert_eq!(a(&zone, WEB_SHOP, "web"), "1.12, 2.12, 1.11, 2.11");
    assert_eq!(a(&zone, WEB_BLOG, "1.web.shop"), "1.12");
}

#[test]
fn what_shares_no_network_with_the_asker_does_not_exist_and_is_told_to_nobody_else() {
    let zone = Zone::new(&facts());
    for name in
        ["db.shop", "db.shop.fizz.internal", "1.db.shop.fizz.internal", "shop-db-1", "db.blog"]
    {
        let asker = if name == "db.blog" { WEB_SHOP } else { WEB_BLOG };
        assert_eq!(a(&zone, asker, name), "no name", "{name}");
    }
    assert_eq!(a(&zone, DB_SHOP, "web.blog"), "no name");
}

#[test]
fn an_alias_is_a_name_only_for_who_is_on_its_network_and_leads_there() {
    let zone = Zone::new(&facts());
    assert_eq!(a(&zone, WEB_BLOG, "site"), "1.12, 2.12");
    assert_eq!(a(&zone, WEB_SHOP, "www.example.com"), "1.12, 2.12", "not its other network");
    assert_eq!(a(&zone, DB_SHOP, "store"), "2.21");
    assert_eq!(a(&zone, DB_SHOP, "www.example.com"), "forward");
    assert_eq!(a(&zone, WEB_BLOG, "store"), "forward");
}

#[test]
fn what_is_no_name_of_ours_goes_to_others_and_what_is_within_the_domain_never_does() {
    let zone = Zone::new(&facts());
    for name in ["example.com", "web.example.com", "shop", "x.web", "localhost", "", "com"] {
        assert_eq!(a(&zone, WEB_SHOP, name), "forward", "{name}");
    }
    for name in ["x.fizz.internal", "cache.shop.fizz.internal", "3.web.shop.fizz.internal"] {
        assert_eq!(a(&zone, WEB_SHOP, name), "no name", "{name}");
        assert_eq!(a(&zone, LOOPBACK, name), "no name", "{name}");
    }
}

#[test]
fn a_name_with_only_other_records_or_names_below_it_has_no_data() {
    let zone = Zone::new(&facts());
    for (name, kind) in [
        ("web", Kind::Other),
        ("web", Kind::Srv),
        ("shop.fizz.internal", Kind::A),
        ("_tcp.web.shop.fizz.internal", Kind::Srv),
        ("_http._tcp.web", Kind::A),
        ("fizz.internal", Kind::A),
        ("alpha.fizz.internal", Kind::A),
    ] {
        assert_eq!(short(&ask(&zone, WEB_SHOP, name, kind, 0)), "no data", "{name}");
    }
    assert_eq!(a(&zone, WEB_BLOG, "shop.fizz.internal"), "no data", "it sees something below");
    assert_eq!(a(&zone, DB_BLOG, "shop.fizz.internal"), "no name");
    assert_eq!(short(&ask(&zone, DB_BLOG, "fizz.internal", Kind::Soa, 0)), "soa");
}

#[test]
fn only_replicas_that_are_well_and_reachable_are_answered_and_a_service_without_any_still_exists() {
    let mut facts = facts();
    facts.replicas[0].healthy = false;
    assert_eq!(a(&Zone::new(&facts), DB_SHOP, "web"), "2.11");
    assert_eq!(a(&Zone::new(&facts), WEB_SHOP, "db"), "2.21", "who is not well may ask");
    facts.replicas[1].reachable = false;
    let zone = Zone::new(&facts);
    for name in ["web", "1.web", "2.web", "shop-web-1", "web.shop.fizz.internal"] {
        assert_eq!(a(&zone, DB_SHOP, name), "no data", "{name}");
    }
    assert_eq!(a(&zone, WEB_BLOG, "gone"), "no data", "it was scaled to nothing");
    let srv = ask(&zone, DB_SHOP, "_http._tcp.web", Kind::Srv, 0);
    assert_eq!(short(&srv), "no data");
}

#[test]
fn while_one_container_takes_anothers_place_the_replicas_name_leads_to_who_is_ready() {
    let mut facts = facts();
    facts.replicas[0].healthy = false;
    let mut next = replica("web.shop", 1, THERE, &[("shop", [2, 99])]);
    next.name = "shop-web-1-next".parse().unwrap();
    facts.replicas.push(next);
    assert_eq!(a(&Zone::new(&facts), DB_SHOP, "1.web"), "2.99");
}

#[test]
fn each_replica_is_the_first_in_its_turn() {
    let zone = Zone::new(&facts());
    let first = |rotation| short(&ask(&zone, DB_SHOP, "web", Kind::A, rotation));
    assert_eq!([first(0), first(1), first(2)], ["1.11, 2.11", "2.11, 1.11", "1.11, 2.11"]);
}

#[test]
fn the_nearest_come_first_where_that_is_wanted() {
    let facts = Facts { order: Order::NearestFirst, ..facts() };
    let zone = Zone::new(&facts);
    for rotation in 0..3 {
        let answer = |asker| short(&ask(&zone, asker, "web.shop.fizz.internal", Kind::A, rotation));
        assert_eq!(answer(DB_SHOP), "2.11, 1.11");
        assert_eq!(answer(WEB_BLOG), "1.12, 2.12");
    }
    let srv = ask(&zone, DB_SHOP, "_http._tcp.web", Kind::Srv, 1);
    let far = "0 8080 2.web.shop.fizz.internal, 10 8080 1.web.shop.fizz.internal";
    assert_eq!(short(&srv), far);
}

#[test]
fn a_service_calls_others_as_it_likes_and_nobody_else_does() {
    let mut facts = facts();
    facts.services[0].links = vec![("Database".into(), "db".parse().unwrap())];
    let zone = Zone::new(&facts);
    assert_eq!(a(&zone, WEB_SHOP, "database"), "2.21");
    assert_eq!(a(&zone, DB_SHOP, "database"), "forward");
    assert_eq!(a(&zone, WEB_BLOG, "database"), "forward");
}

#[test]
fn a_services_own_resolvers_are_asked_and_for_who_has_no_way_out_only_such_as_are_inside() {
    let mut facts = facts();
    facts.services[0].resolvers = vec!["192.0.2.53".parse().unwrap()];
    let zone = Zone::new(&facts);
    assert_eq!(a(&zone, WEB_SHOP, "example.com"), "forward to [192.0.2.53]");
    assert_eq!(a(&zone, DB_SHOP, "example.com"), "forward");
    facts.internal = [network("shop")].into();
    let zone = Zone::new(&facts);
    assert_eq!(a(&zone, WEB_SHOP, "example.com"), "forward to [192.0.2.53]", "it is outside too");
    assert_eq!(a(&zone, DB_SHOP, "example.com"), "no name");
    assert_eq!(a(&zone, DB_SHOP, "web"), "1.11, 2.11");
    assert_eq!(a(&zone, LOOPBACK, "example.com"), "forward");
    facts.internal.insert(network("front"));
    assert_eq!(a(&Zone::new(&facts), WEB_SHOP, "example.com"), "no name");
    facts.services[0].resolvers = vec!["10.100.2.21".parse().unwrap()];
    assert_eq!(a(&Zone::new(&facts), WEB_SHOP, "example.com"), "forward to [10.100.2.21]");
}

#[test]
fn srv_names_lead_to_replicas_by_the_ports_that_a_service_says_it_has() {
    let zone = Zone::new(&facts());
    let srv = |name: &str| ask(&zone, WEB_BLOG, name, Kind::Srv, 0);
    let all = "0 8080 1.web.shop.fizz.internal, 0 8080 2.web.shop.fizz.internal";
    for name in ["_http._tcp.web.shop", "_8080._TCP.web.shop.fizz.internal"] {
        assert_eq!(short(&srv(name)), all, "{name}");
    }
    let Answer::Found { further, .. } = srv("_http._tcp.web.shop") else { panic!("no records") };
    let one = Ipv4Addr::new(10, 100, 1, 12);
    assert_eq!(further.len(), 4, "{further:?}");
    assert_eq!(further[0], ("1.web.shop.fizz.internal".into(), Data::A(one)));
    assert_eq!(further[1], ("1.web.shop.fizz.internal".into(), Data::Aaaa(v6(one))));
    assert_eq!(short(&srv("_http._udp.web.shop.fizz.internal")), "no name");
    assert_eq!(short(&srv("_81._tcp.web.shop.fizz.internal")), "no name");
}

#[test]
fn an_address_leads_back_to_its_name_for_who_may_know_it() {
    let zone = Zone::new(&facts());
    let ptr = |asker, name: &str| short(&ask(&zone, asker, name, Kind::Ptr, 0));
    let web = "12.1.100.10.in-addr.arpa";
    assert_eq!(ptr(WEB_BLOG, web), "1.web.shop.fizz.internal");
    assert_eq!(ptr(LOOPBACK, web), "1.web.shop.fizz.internal");
    assert_eq!(ptr(DB_BLOG, web), "no name");
    assert_eq!(ptr(WEB_BLOG, "11.1.100.10.in-addr.arpa"), "no name", "of a network it is not on");
    assert_eq!(ptr(WEB_BLOG, "200.1.100.10.in-addr.arpa"), "no name");
    assert_eq!(ptr(WEB_BLOG, "1.100.10.in-addr.arpa"), "no data");
    assert_eq!(ptr(WEB_BLOG, "1.168.192.in-addr.arpa"), "forward");
    assert_eq!(ptr(WEB_BLOG, "10.in-addr.arpa"), "forward");
    assert_eq!(a(&zone, WEB_BLOG, web), "no data");
    let reverse = |it: Ipv6Addr| {
        let digits = format!("{:032x}", u128::from(it));
        digits.chars().rev().flat_map(|it| [it, '.']).collect::<String>() + "ip6.arpa"
    };
    let IpAddr::V6(beta) = facts().hosts[1].addresses.first().copied().unwrap() else { panic!() };
    assert_eq!(ptr(WEB_BLOG, &reverse(beta)), "beta.fizz.internal");
    assert_eq!(
        ptr(LOOPBACK, &reverse(v6(Ipv4Addr::new(10, 100, 2, 21)))),
        "1.db.shop.fizz.internal"
    );
}

#[test]
fn a_node_sees_everything_by_whole_names_and_knows_no_short_ones() {
    let zone = Zone::new(&facts());
    let mesh = facts().hosts[1].addresses.first().copied().unwrap().to_string();
    for asker in [LOOPBACK, "::1", &mesh, "10.100.1.1", "::ffff:127.0.0.1"] {
        assert_eq!(a(&zone, asker, "db.shop.fizz.internal"), "2.21", "{asker}");
        assert_eq!(a(&zone, asker, "web.shop.fizz.internal"), "1.12, 2.12, 1.11, 2.11");
        assert_eq!(a(&zone, asker, "db.shop"), "forward");
        assert_eq!(a(&zone, asker, "db"), "forward");
    }
    let node = ask(&zone, WEB_BLOG, "beta.fizz.internal", Kind::Aaaa, 0);
    assert_eq!(short(&node), mesh);
}

#[test]
fn who_is_not_known_or_has_anothers_address_is_told_nothing() {
    let mut facts = facts();
    let copied = replica("db.blog", 2, THERE, &[("blog", [1, 11])]);
    facts.replicas.push(copied);
    let zone = Zone::new(&facts);
    for stranger in ["10.100.9.9", "192.0.2.1", WEB_SHOP] {
        assert_eq!(a(&zone, stranger, "web"), "stranger", "{stranger}");
        assert_eq!(a(&zone, stranger, "example.com"), "stranger", "{stranger}");
        assert_eq!(zone.asker(stranger.parse().unwrap()), None);
    }
}

#[test]
fn a_container_is_one_asker_by_all_its_addresses() {
    let zone = Zone::new(&facts());
    let asker = |it: &str| zone.asker(it.parse().unwrap());
    assert_eq!(asker("10.100.1.12"), asker(WEB_SHOP));
    assert_eq!(asker(&v6(Ipv4Addr::new(10, 100, 1, 12)).to_string()), asker(WEB_SHOP));
    assert_ne!(asker("10.100.2.12"), asker(WEB_SHOP));
}

#[test]
fn a_one_off_run_asks_like_its_project_and_is_found_by_its_own_name_only() {
    let mut facts = facts();
    let run = replica("web.shop", 7, HERE, &[("shop", [1, 77])]);
    facts.replicas.push(Replica { slot: None, name: "shop-web-run-1".parse().unwrap(), ..run });
    let zone = Zone::new(&facts);
    assert_eq!(a(&zone, "10.100.1.77", "db"), "2.21");
    assert_eq!(a(&zone, DB_SHOP, "web"), "1.11, 2.11");
    assert_eq!(a(&zone, DB_SHOP, "shop-web-run-1"), "1.77");
    let back = ask(&zone, DB_SHOP, "77.1.100.10.in-addr.arpa", Kind::Ptr, 0);
    assert_eq!(short(&back), "shop-web-run-1");
}

#[test]
fn an_answer_has_no_more_addresses_than_fit_and_all_come_in_turn() {
    let mut facts = facts();
    facts
        .replicas
        .extend((3..=250).map(|it| replica("db.shop", u32::from(it), HERE, &[("shop", [7, it])])));
    let zone = Zone::new(&facts);
    let mut seen = BTreeSet::new();
    for rotation in 0..249 {
        let Answer::Found { records, .. } = ask(&zone, WEB_SHOP, "db", Kind::A, rotation) else {
            panic!("no records")
        };
        assert_eq!(records.len(), ADDRESSES_MAX);
        seen.insert(records[0].clone());
    }
    assert_eq!(seen.len(), 249);
}

#[test]
fn names_that_are_too_long_for_dns_are_listed_and_everything_else_is_found() {
    let mut facts = facts();
    let long = format!("{}.shop", "x".repeat(64));
    facts.services.push(service(&long, &[("shop", &[])]));
    facts.replicas.push(replica(&long, 1, HERE, &[("shop", [1, 99])]));
    let zone = Zone::new(&facts);
    assert!(zone.nameless().contains(&long), "{:?}", zone.nameless());
    assert_eq!(a(&zone, "10.100.1.99", "db"), "2.21");
    assert_eq!(a(&zone, DB_SHOP, &long), "forward");
}

#[test]
fn anything_at_all_is_answered_with_one_record_that_says_nothing() {
    let zone = Zone::new(&facts());
    let any = |name: &str| short(&ask(&zone, DB_SHOP, name, Kind::Any, 0));
    assert_eq!(any("web"), "minimal");
    assert_eq!(any("x.shop.fizz.internal"), "no name");
}

/// Names that are or could be, by parts.
fn names() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "web",
        "db",
        "gone",
        "shop",
        "blog",
        "1",
        "2",
        "_http",
        "_tcp",
        "_8080",
        "site",
        "store",
        "alpha",
        "shop-web-1",
        "fizz",
        "internal",
        "fizz.internal",
        "example",
        "com",
        "10.in-addr",
        "arpa",
        "1.100.10.in-addr.arpa",
        "12",
        "x",
    ]);
    prop::collection::vec(part, 0..6).prop_map(|it| it.join("."))
}

proptest! {
    /// Whatever is asked: nobody learns an address on a network that is not theirs too, or of who is not
    /// ready, and no name of the cluster is told to others.
    #[test]
    fn no_name_leads_to_where_the_asker_is_not_and_no_name_of_ours_gets_out(
        name in names(),
        asker in 0_usize..5,
        ready in prop::collection::vec(any::<(bool, bool)>(), 5),
        rotation in any::<usize>(),
        kind in prop::sample::select(vec![Kind::A, Kind::Aaaa, Kind::Srv, Kind::Ptr, Kind::Any]),
    ) {
        let mut facts = facts();
        for (replica, (healthy, reachable)) in facts.replicas.iter_mut().zip(&ready) {
            (replica.healthy, replica.reachable) = (*healthy, *reachable);
        }
        let zone = Zone::new(&facts);
        let me = &facts.replicas[asker];
        let from = me.networks.values().next().unwrap().v4.unwrap();
        let question = Question { name: DnsName::of_text(&name), kind };
        let answer = zone.answer(from.into(), &question, rotation);
        prop_assert_ne!(&answer, &Answer::Stranger);
        let ours = name == DOMAIN || name.ends_with(".fizz.internal") || name.ends_with("100.10.in-addr.arpa");
        prop_assert!(!ours || !matches!(answer, Answer::Forward(_)), "{} is forwarded", name);
        let Answer::Found { records, further } = answer else { return Ok(()) };
        prop_assert!(!records.is_empty());
        let shared: BTreeMap<IpAddr, bool> = facts.replicas.iter().flat_map(|it| {
            let is_ready = it.healthy && it.reachable;
            let with = it.networks.iter().filter(|(net, _)| me.networks.contains_key(net));
            with.flat_map(move |(_, at)| {
                [(IpAddr::V4(at.v4.unwrap()), is_ready), (IpAddr::V6(at.v6.unwrap()), is_ready)]
            })
        }).collect();
        let node = |it: IpAddr| facts.hosts.iter().any(|host| host.addresses.contains(&it));
        for data in records.iter().chain(further.iter().map(|it| &it.1)) {
            let address = match data {
                Data::A(it) => IpAddr::V4(*it),
                Data::Aaaa(it) => IpAddr::V6(*it),
                Data::Srv { .. } | Data::Ptr(_) | Data::Soa | Data::Minimal => continue,
            };
            prop_assert!(shared.get(&address) == Some(&true) || node(address), "{name}: {address}");
        }
    }

    /// The order of facts is chance; the zone must not be. (Rotation begins elsewhere: sets are compared.)
    #[test]
    fn all_nodes_tell_the_same_whatever_the_order_of_facts(name in names(), by in 0_usize..5) {
        let mut turned = facts();
        turned.replicas.rotate_left(by);
        turned.services.rotate_right(by);
        let sorted = |facts: &Facts| match ask(&Zone::new(facts), WEB_SHOP, &name, Kind::A, 0) {
            Answer::Found { mut records, .. } => {
                records.sort();
                short(&Answer::Found { records, further: vec![] })
            }
            other @ (Answer::NoData(_) | Answer::NoName(_) | Answer::Forward(_) | Answer::Stranger) => {
                short(&other)
            }
        };
        prop_assert_eq!(sorted(&facts()), sorted(&turned));
    }
}
