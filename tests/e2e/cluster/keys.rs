//! What a Compose file says of addresses and names, in networks that span the nodes.

use std::{fs, process::Child};

use super::{Scratch, nodes::Nodes};
use crate::harness::Kind;

/// `client` asks `names` for what is not the cluster's, by its fixed address.
const SHOP: &str = r#"
name: shop
services:
  web:
    image: busybox
    command: ["sh", "-c", "echo kept > /index.html; exec httpd -f -p 80 -h /"]
    ports: ["8081:80"]
    networks: {front: {ipv4_address: 172.28.5.10, ipv6_address: "fd28:5::10", mac_address: "02:42:ac:1c:05:0a"}}
    deploy: {placement: {constraints: ["node.hostname == b"]}}
  names:
    image: busybox
    command: ["sleep", "1000"]
    networks: {front: {ipv4_address: 172.28.5.53}}
    deploy: {placement: {constraints: ["node.hostname == a"]}}
  client:
    image: busybox
    command: ["sleep", "1000"]
    networks: [front]
    links: ["web:store"]
    dns: [172.28.5.53]
    deploy: {mode: global}
  neighbour:
    image: busybox
    command: ["sleep", "1000"]
    networks: [front]
  hidden:
    image: busybox
    command: ["sleep", "1000"]
    networks: [back]
networks:
  front: {ipam: {config: [{subnet: 172.28.5.0/24}, {subnet: "fd28:5::/64"}]}}
  back: {internal: true}
"#;

const ANSWER: &str = "/outside.example/192.0.2.7";

#[test]
fn fixed_addresses_links_and_resolvers_of_a_file_hold_on_every_node() {
    let nodes = Nodes::with(2, Kind::Docker);
    nodes.give_busybox(&["a".into(), "b".into()]);
    let file = Scratch::new("compose.yaml");
    fs::write(&file.0, SHOP).unwrap();
    let said = nodes.note("a", &["-f", &file.0, "up", "-d", "--wait"]);
    let line = |of: &str| 1 + SHOP.lines().position(|it| it.contains(of)).unwrap();
    for (key, of) in [
        ("services.web.networks.front.mac_address", "mac_address"),
        ("networks.front.ipam", "ipam"),
    ] {
        let place = format!("compose.yaml:{}:", line(of));
        let told = said.lines().any(|it| it.contains(&place) && it.contains(key));
        assert!(told, "{place} {key} is not told of in: {said}");
    }
    let mut server = resolver(&nodes);
    for node in ["a", "b"] {
        for (line, wanted) in [
            ("wget -q -O- http://172.28.5.10", "kept"),
            ("wget -q -O- http://[fd28:5::10]", "kept"),
            ("wget -q -O- http://store", "kept"),
            // A published port answers containers too, also those beside the one that it leads to.
            ("wget -q -O- http://$(ip route | awk '/default/ {print $3}'):8081", "kept"),
            ("nslookup outside.example | grep -o 192.0.2.7", "192.0.2.7"),
        ] {
            nodes.until(&format!("{line} on {node}"), || {
                nodes.inside(node, "client", line).as_deref() == Some(wanted)
            });
        }
    }
    let whose = |service: &str| if nodes.running("a", service).is_empty() { "b" } else { "a" };
    // A link is of the service that has it, and so are its resolvers.
    let neighbour = whose("neighbour");
    for name in ["store", "outside.example"] {
        let found = nodes.inside(neighbour, "neighbour", &format!("nslookup {name}"));
        assert_eq!(found, None, "{name} is found");
    }
    // Whoever shares no network has nobody at such an address, and no way to ask the world.
    let hidden = whose("hidden");
    let reached = nodes.inside(hidden, "hidden", "ping -c 1 -W 1 172.28.5.10");
    assert_eq!(reached, None);
    let denied = nodes.inside(hidden, "hidden", "nslookup example.com 2>&1 | grep -o NXDOMAIN");
    assert!(denied.is_some_and(|it| it.starts_with("NXDOMAIN")));
    server.kill().unwrap();
    server.wait().unwrap();
}

/// A server of one name where `names` is, which is on node `a`.
fn resolver(nodes: &Nodes) -> Child {
    let id = nodes.running("a", "names").pop().unwrap();
    let pid = nodes.process("a", &id).unwrap();
    let enter = ["a", "--", "nsenter", "-t", &pid, "-n", "dnsmasq"];
    let settings = ["-k", "-R", "-h", "-C", "/dev/null", "-x", "", "-u", "root", "-A", ANSWER];
    nodes.lab_command("exec", &[&enter[..], &settings[..]].concat()).spawn().unwrap()
}
