//! Containers of different nodes, by name: over the mesh, as far as their networks let them, and whoever of the
//! daemons restarts meanwhile. With a real engine of each kind; which one, where a story is told on one of
//! them, `FIZZ_E2E_RUNTIME` says.

mod away;
mod draining;
mod five;
mod ingress;
mod nat;
mod seats;
mod wire;

use std::{
    collections::BTreeSet,
    fs,
    process::{Command, Stdio},
    thread::sleep,
    time::Duration,
};

use super::{Scratch, nodes::Nodes};
use crate::harness::Kind;

/// Podman gives no container the right to ping unless it is told to.
const SHOP: &str = r#"
name: shop
services:
  web:
    image: busybox
    command: ["sh", "-c", "echo from $$HOSTNAME > /index.html; exec httpd -f -p 80 -h /"]
    ports: ["8080:80"]
    networks: [front]
    cap_add: [NET_RAW]
    deploy: {replicas: 3}
  client:
    image: busybox
    command: ["sleep", "1000"]
    networks: [front, back]
    cap_add: [NET_RAW]
    deploy: {mode: global}
  db:
    image: busybox
    command: ["sh", "-c", "echo kept > /index.html; exec httpd -f -p 5432 -h /"]
    networks: {back: {aliases: [store]}}
networks:
  front: {}
  back: {internal: true}
"#;

const OTHER: &str = r#"
name: other
services:
  spy:
    image: busybox
    command: ["sleep", "1000"]
    cap_add: [NET_RAW]
    deploy: {mode: global}
"#;

const THREE: [&str; 3] = ["a", "b", "c"];

/// A cluster of so many, with an image.
fn cluster(count: u8, engine: Kind) -> Nodes {
    let nodes = Nodes::with(count, engine);
    let names: Vec<String> = (b'a'..b'a' + count).map(|it| char::from(it).to_string()).collect();
    nodes.give_busybox(&names);
    nodes
}

/// Deploys a Compose file by a node.
fn up(nodes: &Nodes, node: &str, text: &str) {
    let file = Scratch::new(&format!("{}.yaml", nodes.name));
    fs::write(&file.0, text).unwrap();
    nodes.ok(node, &["-f", &file.0, "up", "-d", "--wait"]);
}

fn everyone_finds_and_reaches_whom_they_may(engine: Kind) {
    let nodes = cluster(3, engine);
    up(&nodes, "a", SHOP);
    up(&nodes, "a", OTHER);
    for node in THREE {
        for family in ["-4", "-6"] {
            let line = format!("for it in 1 2 3; do ping {family} -c 1 -W 5 $it.web || exit; done");
            nodes.until(&format!("{node} reaches each web"), || {
                nodes.inside(node, "client", &line).is_some()
            });
        }
        for url in ["db:5432", "store:5432", "db.shop.fizz.internal:5432"] {
            let line = format!("wget -q -O- http://{url}");
            nodes.until(&format!("{node} is served by {url}"), || {
                nodes.inside(node, "client", &line).as_deref() == Some("kept")
            });
        }
        what_is_not_theirs_is_neither_found_nor_reached(&nodes, node);
    }
    every_node_answers_on_a_published_port(&nodes);
}

/// What is on another network, or of another project.
fn what_is_not_theirs_is_neither_found_nor_reached(nodes: &Nodes, node: &str) {
    let address = "ip -4 -o addr show eth0 | grep -o '10.100[.0-9]*' | head -1";
    let web = nodes.inside(node, "web", address).unwrap();
    let db = nodes.json("a", &["-p", "shop", "ps", "db"]);
    let db = db[0]["addresses"]["shop_back"].as_str().unwrap_or_default().to_owned();
    // Who may not ping at all would reach nobody.
    for service in ["web", "spy"] {
        assert!(nodes.inside(node, service, "ping -c 1 -W 1 127.0.0.1").is_some(), "{service}");
    }
    for (service, name, at) in [("web", "db", &db), ("spy", "web", &web), ("spy", "web.shop", &db)]
    {
        let found = nodes.inside(node, service, &format!("nslookup {name}"));
        assert_eq!(found, None, "{service} on {node} finds {name}");
        let reached = nodes.inside(node, service, &format!("ping -c 1 -W 1 {at}"));
        assert_eq!(reached, None, "{service} on {node} reaches {at}");
    }
}

fn every_node_answers_on_a_published_port(nodes: &Nodes) {
    for node in THREE {
        all_answer(nodes, node, "http://127.0.0.1:8080/index.html", 3, 37);
    }
}

/// So many answer at a URL that is asked for on a node, so often at most. Each is as likely as the others: where one in a
/// million such rows lacks one, it is often enough.
fn all_answer(nodes: &Nodes, node: &str, url: &str, count: usize, tries: usize) {
    let mut answers = BTreeSet::new();
    for _ in 0..tries {
        let words = [node, "--", "curl", "-sS", "-m", "5", url];
        answers.insert(nodes.lab("exec", &words));
        if answers.len() == count {
            break;
        }
    }
    assert_eq!(answers.len(), count, "{node} leads to all: {answers:?}");
}

#[test]
fn containers_of_all_nodes_find_and_reach_each_other_as_far_as_their_networks_go() {
    everyone_finds_and_reaches_whom_they_may(Kind::Docker);
}

#[test]
fn on_podman_they_do_so_too() {
    everyone_finds_and_reaches_whom_they_may(Kind::Podman);
}

#[test]
fn on_containerd_they_do_so_too() {
    everyone_finds_and_reaches_whom_they_may(Kind::Containerd);
}

#[test]
fn a_daemon_that_restarts_costs_the_containers_no_packet() {
    let nodes = cluster(3, Kind::chosen());
    up(&nodes, "a", SHOP);
    nodes.until("a reaches b and c", || {
        nodes.inside("a", "client", "for it in 1 2 3; do ping -c 1 $it.web || exit; done").is_some()
    });
    let there = nodes.json("a", &["-p", "shop", "ps", "web"]);
    let there = there.as_array().unwrap().iter().find(|it| it["node_name"] == "b").unwrap();
    let address = there["addresses"]["shop_front"].as_str().unwrap();
    let line = format!("ping -c 200 -i 0.05 -W 2 {address}");
    let client = nodes.running("a", "client").pop().unwrap();
    let ping = nodes.exec("a", &client, &line).stdout(Stdio::piped()).spawn().unwrap();
    for node in ["a", "b"] {
        let daemon = nodes.lab_node(node)["daemon"].to_string();
        assert!(Command::new("kill").args(["-9", &daemon]).status().unwrap().success());
        sleep(Duration::from_secs(1));
        nodes.lab("start", &[node]);
    }
    let said = String::from_utf8(ping.wait_with_output().unwrap().stdout).unwrap();
    assert!(said.contains("200 packets received, 0% packet loss"), "{said}");
}

#[test]
fn what_one_node_ran_alone_goes_over_to_the_mesh_when_told_to() {
    let nodes = Nodes::apart_with(2, Kind::chosen());
    nodes.give_busybox(&["a", "b"].map(str::to_owned));
    up(&nodes, "a", &SHOP.replace("replicas: 3", "replicas: 2").replace("8080:", ""));
    nodes.ok("a", &["-p", "shop", "stop", "db"]);
    let refused = |words: &[&str]| nodes.refused("a", words);
    let alone = refused(&["network", "migrate", "shop"]);
    assert!(alone.contains("this node is in no cluster"), "{alone}");
    nodes.ok("a", &["init"]);
    let token = nodes.ok("a", &["token", "create"]);
    nodes.ok("b", &["join", &nodes.address("a"), "--token", &token]);
    nodes.until_seen("a", &[("a", "alive"), ("b", "alive")]);
    let webs = || nodes.json("a", &["-p", "shop", "ps", "web"]).as_array().unwrap().clone();
    assert!(webs().iter().all(|it| it["node_name"] == "a"), "{:?}", webs());
    let ids = |all: &[serde_json::Value]| -> BTreeSet<String> {
        all.iter().map(|it| it["id"].to_string()).collect()
    };
    let before = ids(&webs());
    let plan = nodes.ok("b", &["network", "migrate", "shop", "--dry-run"]);
    assert!(plan.contains("web"), "{plan}");
    assert_eq!(ids(&webs()), before, "a plan changes nothing");
    nodes.ok("b", &["network", "migrate", "shop"]);
    nodes.until("web is new", || ids(&webs()).is_disjoint(&before));
    for node in ["a", "b"] {
        nodes.until(&format!("{node} reaches both"), || {
            let line = "ping -c 1 -W 2 1.web && ping -c 1 -W 2 2.web";
            nodes.inside(node, "client", line).is_some()
        });
    }
    let db = nodes.json("a", &["-p", "shop", "ps", "-a", "db"]);
    assert!(db.as_array().unwrap().iter().all(|it| it["state"] != "running"), "{db}");
    let again = refused(&["network", "migrate", "shop"]);
    assert!(again.contains("span the nodes already"), "{again}");
    let nothing = refused(&["network", "migrate", "nothing"]);
    assert!(nothing.contains("nothing"), "{nothing}");
}

#[test]
fn a_container_whose_network_was_removed_by_hand_is_made_anew_once_it_ends() {
    let nodes = cluster(2, Kind::Docker);
    up(&nodes, "a", &SHOP.replace("replicas: 3", "replicas: 2").replace("8080:", ""));
    let id = nodes.running("b", "web").pop().unwrap();
    let words = ["inspect", "-f", "{{.HostConfig.NetworkMode}}", &id];
    let pause = String::from_utf8(nodes.docker("b", &words).output().unwrap().stdout).unwrap();
    let pause = pause.trim().strip_prefix("container:").unwrap().to_owned();
    assert!(nodes.docker("b", &["rm", "-f", &pause]).output().unwrap().status.success());
    let line = "ping -c 1 -W 2 1.web && ping -c 1 -W 2 2.web";
    nodes.until("it is still reached", || nodes.inside("a", "client", line).is_some());
    assert_eq!(nodes.running("b", "web"), std::slice::from_ref(&id), "it runs on");
    assert!(nodes.docker("b", &["kill", &id]).output().unwrap().status.success());
    nodes.until("another is there and reached", || {
        let now = nodes.running("b", "web");
        !now.is_empty() && now != [id.clone()] && nodes.inside("a", "client", line).is_some()
    });
}
