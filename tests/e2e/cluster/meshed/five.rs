//! Five nodes: everyone reaches everyone, nothing on the wire between them says what they do, and the cluster is
//! parted and comes together.
#![allow(clippy::print_stdout, reason = "its figures are half of what it is run for")]

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, UdpSocket},
    thread::sleep,
    time::Duration,
};

use serde_json::Value;

use super::{
    all_answer,
    seats::Seat,
    up,
    wire::{Frame, Wire, count, with},
};
use crate::{
    cluster::nodes::{Nodes, within},
    harness::Kind,
};

const NODES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// The projects, each with its service.
const PROJECTS: [(&str, &str); 4] = [
    ("quokka-shop", "quokka-web"),
    ("both", "both-app"),
    ("left", "left-app"),
    ("right", "right-app"),
];

/// What is in everything that anybody could give away.
const WORD: &str = "quokka";

const SHOP: &str = r#"
name: quokka-shop
services:
  quokka-web:
    image: busybox
    command: ["sh", "-c", "echo quokka-body from $$HOSTNAME > /index.html; echo quokka-output; exec httpd -f -p 80 -h /"]
    environment: {QUOKKA_NAME: quokka-value}
    configs: [quokka-config]
    ports: ["8080:80"]
    cap_add: [NET_RAW]
    deploy: {replicas: 5, placement: {max_replicas_per_node: 1}}
configs:
  quokka-config: {content: quokka-content}
"#;

#[test]
fn five_nodes_reach_each_other_tell_nobody_and_come_together_again() {
    let nodes = Nodes::apart_with(5, Kind::chosen());
    nodes.give_busybox(&NODES.map(str::to_owned));
    what_is_in_clear_is_overheard(&nodes);
    let wire = Wire::tap(&nodes);
    let token = become_a_cluster(&nodes);
    up(&nodes, "a", SHOP);
    everyone_reaches_everyone(&nodes);
    they_are_used_from_other_nodes(&nodes);
    let frames = wire.frames();
    nothing_is_said(&frames, &token);
    parts_go_on_and_come_together(&nodes);
}

/// What follows would pass where nothing is heard, and nothing would be found in what is.
fn what_is_in_clear_is_overheard(nodes: &Nodes) {
    let wire = Wire::tap(nodes);
    let to = (nodes.lab_node("b")["address"].as_str().unwrap().to_owned(), 9);
    within(&nodes.lab_network("a"), || {
        UdpSocket::bind("0.0.0.0:0").unwrap().send_to(b"it is a Quokka", to).unwrap();
    });
    sleep(Duration::from_millis(200));
    let frames = wire.frames();
    assert!(!with(&frames, WORD).is_empty(), "nothing is overheard at all");
    assert!(count(&frames).keys().any(|it| matches!(it, Frame::Other(_))), "{:?}", count(&frames));
}

/// By a token, while all is listened to. Returns it.
fn become_a_cluster(nodes: &Nodes) -> String {
    nodes.ok("a", &["init"]);
    let token = nodes.ok("a", &["token", "create", "--uses", "0"]);
    let address = nodes.address("a");
    for node in &NODES[1..] {
        nodes.ok(node, &["join", &address, "--token", &token]);
    }
    all_are_there(nodes);
    nodes.ok("b", &["node", "label", "d", "quokka-key=quokka-label"]);
    token
}

fn all_are_there(nodes: &Nodes) {
    NODES.iter().for_each(|it| nodes.until_seen(it, &NODES.map(|it| (it, "alive"))));
}

fn everyone_reaches_everyone(nodes: &Nodes) {
    // By HTTP over IPv6, which busybox prefers.
    let each = "for it in 1 2 3 4 5; do timeout 9 wget -q -O- http://$it.quokka-web || exit; \
                for family in -4 -6; do ping $family -c 1 -W 5 $it.quokka-web > /dev/null || exit; done; done";
    for node in NODES {
        nodes.until(&format!("{node} reaches all five"), || {
            let said = nodes.inside(node, "quokka-web", each).unwrap_or_default();
            let bodies: BTreeSet<&str> = said.lines().collect();
            bodies.len() == 5 && bodies.iter().all(|it| it.starts_with("quokka-body from "))
        });
    }
}

/// By published ports, and by the commands, from nodes that do not run what they are about.
fn they_are_used_from_other_nodes(nodes: &Nodes) {
    for node in NODES {
        all_answer(nodes, node, "http://127.0.0.1:8080/", 5, 70);
        let logs = nodes.ok(node, &["-p", "quokka-shop", "logs"]);
        assert_eq!(logs.matches("quokka-output").count(), 5, "{logs}");
    }
}

fn nothing_is_said(frames: &[Vec<u8>], token: &str) {
    let counts = count(frames);
    println!("on the wire: {counts:?}");
    let other: Vec<_> = counts.keys().filter(|it| matches!(it, Frame::Other(_))).collect();
    assert!(other.is_empty(), "what is this? {other:#?}");
    // Each is heard where it comes in and where it goes out.
    for (kind, least) in [(Frame::Gossip, 200), (Frame::Mesh, 200), (Frame::Stream, 40)] {
        assert!(
            least <= counts.get(&kind).copied().unwrap_or(0),
            "too few of {kind:?}: {counts:?}"
        );
    }
    for word in [WORD, token] {
        let telling = with(frames, word);
        assert!(telling.is_empty(), "{} frames have {word}: {:02x?}", telling.len(), telling[0]);
    }
}

/// A project of one service.
fn project(name: &str, replicas: u8) -> String {
    format!(
        "name: {name}\nservices:\n  {name}-app:\n    image: busybox\n    command: [sleep, '10000']\n    \
         stop_signal: SIGKILL\n    deploy: {{replicas: {replicas}}}\n"
    )
}

/// A container that runs: its node, its id there, and its first process.
type Running = (&'static str, String, String);

fn running(nodes: &Nodes, service: &str) -> BTreeSet<Running> {
    let on = |node: &'static str| {
        let ids = nodes.running(node, service).into_iter();
        ids.filter_map(move |id| Some((node, id.clone(), nodes.process(node, &id)?)))
    };
    NODES.into_iter().flat_map(on).collect()
}

fn parts_go_on_and_come_together(nodes: &Nodes) {
    up(nodes, "a", &project("both", 5));
    let shop = running(nodes, "quokka-web");
    nodes.lab("partition", &["a,b/c,d,e"]);
    let seen =
        |alive: &[&str]| NODES.map(|it| (it, if alive.contains(&it) { "alive" } else { "dead" }));
    nodes.until_seen("a", &seen(&["a", "b"]));
    nodes.until_seen("e", &seen(&["c", "d", "e"]));
    // Both parts give addresses, and wish for the same service what the other does not know of.
    up(nodes, "b", &project("left", 4));
    up(nodes, "d", &project("right", 6));
    up(nodes, "a", &project("both", 6));
    sleep(Duration::from_millis(1_100));
    up(nodes, "e", &project("both", 7));
    let before = running(nodes, "both-app");
    assert!(7 < before.len(), "neither part went on: {before:?}");
    let (left, right) = (running(nodes, "left-app"), running(nodes, "right-app"));
    assert_eq!((left.len(), right.len()), (4, 6));

    nodes.lab("heal", &[]);
    all_are_there(nodes);
    let counts = [("both", 7), ("left", 4), ("right", 6)];
    nodes.until("each replica runs once", || {
        counts.iter().all(|(name, count)| running(nodes, &format!("{name}-app")).len() == *count)
    });
    // It is at rest: what is now is so later.
    let after = running(nodes, "both-app");
    sleep(Duration::from_secs(2));
    assert_eq!(running(nodes, "both-app"), after, "it does not come to rest");
    let begun: Vec<_> = after.difference(&before).collect();
    assert!(begun.is_empty(), "started though it ran already: {begun:?} of {before:?}");
    assert_eq!(running(nodes, "left-app"), left, "what only one part knew was touched");
    assert_eq!(running(nodes, "right-app"), right, "what only one part knew was touched");
    assert_eq!(running(nodes, "quokka-web"), shop, "what had no reason to move was touched");
    no_address_is_there_twice(nodes, 5 + 7 + 4 + 6);
    all_names_are_right_everywhere(nodes);
    everyone_reaches_everyone(nodes);
}

/// As all members say it, and as the containers have it.
fn no_address_is_there_twice(nodes: &Nodes, containers: usize) {
    let have = "ip -o addr show eth0 | grep -o '10.100[.0-9]*'";
    let mut had = vec![];
    for node in NODES {
        for (_, service) in PROJECTS {
            for id in nodes.running(node, service) {
                had.push(nodes.inside_of(node, &id, have).unwrap());
            }
        }
        let told: Vec<String> =
            PROJECTS.iter().flat_map(|(project, _)| addresses(nodes, node, project)).collect();
        let different: BTreeSet<&String> = told.iter().collect();
        assert_eq!((told.len(), different.len()), (containers, containers), "{node}: {told:?}");
    }
    let different: BTreeSet<&String> = had.iter().collect();
    assert_eq!((had.len(), different.len()), (containers, containers), "{had:?}");
    let told: Vec<String> =
        PROJECTS.iter().flat_map(|(project, _)| addresses(nodes, "a", project)).collect();
    assert_eq!(different, told.iter().collect());
}

/// The addresses of a project's containers, as a node knows them.
fn addresses(nodes: &Nodes, by: &str, project: &str) -> Vec<String> {
    let list = nodes.json(by, &["-p", project, "ps"]);
    let address = |it: &Value| {
        let all = it["addresses"].as_object().unwrap();
        all.values().next().unwrap().as_str().unwrap().to_owned()
    };
    list.as_array().unwrap().iter().map(address).collect()
}

fn all_names_are_right_everywhere(nodes: &Nodes) {
    for (project, service) in PROJECTS {
        let name = format!("{service}.{project}.fizz.internal");
        let wanted: BTreeSet<Ipv4Addr> =
            addresses(nodes, "a", project).iter().map(|it| it.parse().unwrap()).collect();
        for node in NODES {
            nodes.until(&format!("{node} answers {name} by {wanted:?}"), || {
                let answer = Seat::of_node(nodes, node).ask(&name).unwrap_or_default();
                let (mut four, mut six) = (BTreeSet::new(), BTreeSet::new());
                for address in answer {
                    match address {
                        IpAddr::V4(it) => four.insert(it),
                        // It holds the other.
                        IpAddr::V6(it) => six.insert(Ipv4Addr::from_bits(it.to_bits() as u32)),
                    };
                }
                four == wanted && six == wanted
            });
        }
    }
}
