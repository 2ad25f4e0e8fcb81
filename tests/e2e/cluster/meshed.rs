//! Containers of different nodes, by name: over the mesh, as far as their networks let them, and whoever of the
//! daemons restarts meanwhile.

use std::{
    fs,
    process::{Command, Stdio},
};

use super::{Scratch, containers::give_busybox, nodes::Nodes};

const SHOP: &str = r#"
name: shop
services:
  web:
    image: busybox
    command: ["sh", "-c", "echo from $$HOSTNAME > /index.html; exec httpd -f -p 80 -h /"]
    ports: ["8080:80"]
    networks: [front]
    deploy: {replicas: 3}
  client:
    image: busybox
    command: ["sleep", "1000"]
    networks: [front, back]
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
    deploy: {mode: global}
"#;

/// A cluster of three with both projects up.
fn cluster() -> Nodes {
    let nodes = Nodes::together(3, "docker");
    let names = ["a", "b", "c"].map(str::to_owned);
    give_busybox(&nodes, &names);
    for (text, name) in [(SHOP, "shop.yaml"), (OTHER, "other.yaml")] {
        let file = Scratch::new(name);
        fs::write(&file.0, text).unwrap();
        nodes.ok("a", &["-f", &file.0, "up", "-d", "--wait"]);
    }
    nodes
}

/// The container of a service on a node, in the node's runtime.
pub(super) fn container(nodes: &Nodes, node: &str, service: &str) -> String {
    let format = ["ps", "--filter", &format!("label=fizz.service={service}"), "-q"];
    let output = nodes.docker(node, &format).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// What a command in a container prints; `None` where it fails.
pub(super) fn inside(nodes: &Nodes, node: &str, service: &str, line: &str) -> Option<String> {
    let id = container(nodes, node, service);
    let output = nodes.docker(node, &["exec", &id, "sh", "-c", line]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(text)
}

#[test]
fn containers_of_all_nodes_find_and_reach_each_other_as_far_as_their_networks_go() {
    let nodes = cluster();
    for node in ["a", "b", "c"] {
        for family in ["-4", "-6"] {
            for slot in 1..=3 {
                let line = format!("ping {family} -c 1 -W 5 {slot}.web");
                nodes.until(&format!("{node} reaches web {slot}"), || {
                    inside(&nodes, node, "client", &line).is_some()
                });
            }
        }
        for url in ["db:5432", "store:5432", "db.shop.fizz.internal:5432"] {
            let line = format!("wget -q -O- http://{url}");
            nodes.until(&format!("{node} is served by {url}"), || {
                inside(&nodes, node, "client", &line).as_deref() == Some("kept")
            });
        }
        // What is on another network, or of another project, is not found and not reached.
        let address = "ip -4 -o addr show eth0 | grep -o '10.100[.0-9]*' | head -1";
        let web = inside(&nodes, node, "web", address).unwrap();
        let db = nodes.json("a", &["-p", "shop", "ps", "db"]);
        let db = db[0]["addresses"]["shop_back"].as_str().unwrap_or_default().to_owned();
        for (service, name, at) in
            [("web", "db", &db), ("spy", "web", &web), ("spy", "web.shop", &db)]
        {
            let found = inside(&nodes, node, service, &format!("nslookup {name}"));
            assert_eq!(found, None, "{service} on {node} finds {name}");
            let reached = inside(&nodes, node, service, &format!("ping -c 1 -W 1 {at}"));
            assert_eq!(reached, None, "{service} on {node} reaches {at}");
        }
    }
    every_node_answers_on_a_published_port(&nodes);
}

fn every_node_answers_on_a_published_port(nodes: &Nodes) {
    for node in ["a", "b", "c"] {
        let mut answers = std::collections::BTreeSet::new();
        for _ in 0..6 {
            let words = ["curl", "-sS", "-m", "5", "http://127.0.0.1:8080/index.html"];
            answers.insert(nodes.lab("exec", &[&[node, "--"], &words[..]].concat()));
        }
        assert_eq!(answers.len(), 3, "{node} leads to all three in turn: {answers:?}");
    }
}

#[test]
fn a_daemon_that_restarts_costs_the_containers_no_packet() {
    let nodes = cluster();
    nodes.until("a reaches b and c", || {
        (1..=3).all(|it| inside(&nodes, "a", "client", &format!("ping -c 1 {it}.web")).is_some())
    });
    let id = container(&nodes, "a", "client");
    let there = nodes.json("a", &["-p", "shop", "ps", "web"]);
    let there = there.as_array().unwrap().iter().find(|it| it["node_name"] == "b").unwrap();
    let address = there["addresses"]["shop_front"].as_str().unwrap();
    let words = ["exec", &id, "ping", "-c", "200", "-i", "0.05", "-W", "2", address];
    let ping = nodes.docker("a", &words).stdout(Stdio::piped()).spawn().unwrap();
    for node in ["a", "b"] {
        let status: serde_json::Value =
            serde_json::from_str(&nodes.lab("status", &["-o", "json"])).unwrap();
        let nodes_there = status["nodes"].as_array().unwrap();
        let pid = &nodes_there.iter().find(|it| it["name"] == node).unwrap()["daemon"];
        let kill = Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
        assert!(kill.success(), "{status}");
        std::thread::sleep(std::time::Duration::from_secs(1));
        nodes.lab("start", &[node]);
    }
    let said = String::from_utf8(ping.wait_with_output().unwrap().stdout).unwrap();
    assert!(said.contains("200 packets received, 0% packet loss"), "{said}");
}
