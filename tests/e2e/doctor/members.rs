//! Real members, with a fault between them or on one of them.

use std::{fs, process::Command};

use serde_json::Value;

use super::{cures, found};
use crate::cluster::nodes::Nodes;

/// That all is well with the largest packets.
const WHOLE: &str = "packets of 1420 bytes pass through the mesh, whole and both ways";

/// What a node's daemon finds. What failed is not looked at here.
fn examined(nodes: &Nodes, node: &str) -> Value {
    let output = nodes.fizz(node, &["doctor", "-o", "json"]).output().unwrap();
    let all: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|why| panic!("{why}: {}", String::from_utf8_lossy(&output.stderr)));
    all[0].clone()
}

/// Waits until a node's daemon finds just these faults.
fn until(nodes: &Nodes, node: &str, check: &str, state: &str, faults: &[&str]) -> Value {
    let expected = (state.to_owned(), faults.iter().map(|it| (*it).to_owned()).collect());
    let last = std::cell::RefCell::new(Value::Null);
    let last_found = || found(&last.borrow(), check);
    let so = || {
        *last.borrow_mut() = examined(nodes, node);
        last_found() == expected
    };
    // Each look takes seconds.
    for _ in 0..20 {
        if so() {
            return last.take();
        }
    }
    panic!("{node} never finds {expected:?}, but {:?}", last_found());
}

/// Drops what comes to a node.
fn drop_at(nodes: &Nodes, node: &str, what: &str) {
    let table = "add table inet t; add chain inet t i { type filter hook input priority 0; }";
    nodes.on(node, &format!("nft '{table}; add rule inet t i {what} drop'"));
}

fn let_in(nodes: &Nodes, node: &str) {
    nodes.on(node, "nft delete table inet t");
}

#[test]
fn blocked_udp_is_told_with_its_direction_its_port_and_its_node() {
    let nodes = Nodes::together(3, "none");
    until(&nodes, "a", "udp", "ok", &["all 2 other members answer"]);
    until(&nodes, "a", "mtu", "ok", &[WHOLE]);
    // Only between two, so that the third keeps both alive.
    let a = nodes.address("a").replace(":7780", "");
    drop_at(&nodes, "b", &format!("ip saddr {a} udp dport 7780"));
    let here = "UDP from this node to b is blocked (port 7780)";
    let all = until(&nodes, "a", "udp", "failed", &[here]);
    assert!(cures(&all, "udp").contains("let UDP port 7780 in on b: `ufw allow 7780/udp`"));
    until(&nodes, "b", "udp", "failed", &["UDP from a to this node is blocked (port 7780)"]);
    until(&nodes, "c", "udp", "ok", &["all 2 other members answer"]);
    let_in(&nodes, "b");
    until(&nodes, "a", "udp", "ok", &["all 2 other members answer"]);

    drop_at(&nodes, "b", "udp dport 7781");
    until(&nodes, "a", "udp", "failed", &["nothing passes through the mesh to b (UDP port 7781)"]);
    let_in(&nodes, "b");
    until(&nodes, "a", "udp", "ok", &["all 2 other members answer"]);

    drop_at(&nodes, "b", "tcp dport 7780");
    until(&nodes, "a", "udp", "failed", &["TCP from this node to b is blocked (port 7780)"]);
    let_in(&nodes, "b");

    let address = nodes.address("c");
    nodes.lab("kill", &["c"]);
    let off = format!("c ({address}) answers neither by UDP nor by TCP");
    until(&nodes, "a", "udp", "warning", &[&off]);
}

#[test]
fn packets_that_disappear_are_told_with_the_size_that_works_and_the_setting_mends_it() {
    let nodes = Nodes::together(2, "none");
    until(&nodes, "a", "mtu", "ok", &[WHOLE]);
    // A link between them that takes less, and tells nobody.
    nodes.on_the_switch(&["ip", "link", "set", "node-b", "mtu", "1400"]);
    let all = until(
        &nodes,
        "a",
        "mtu",
        "failed",
        &["packets of more than 1328 bytes to b disappear (MTU)"],
    );
    assert!(cures(&all, "mtu").contains("set `network.mtu: 1328` in /etc/fizz/config.yaml"));
    for node in ["a", "b"] {
        let config = fs::read_to_string(nodes.config(node)).unwrap();
        fs::write(nodes.config(node), format!("{config}network:\n  mtu: 1328\n")).unwrap();
        let status: Value = serde_json::from_str(&nodes.lab("status", &["-o", "json"])).unwrap();
        let all = status["nodes"].as_array().unwrap();
        let pid = &all.iter().find(|it| it["name"] == node).unwrap()["daemon"];
        assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
        nodes.lab("start", &[node]);
    }
    until(
        &nodes,
        "a",
        "mtu",
        "ok",
        &["packets of 1328 bytes pass through the mesh, whole and both ways"],
    );
}

#[test]
fn what_is_wrong_on_one_node_is_told_by_every_other_that_is_asked_for_it() {
    let nodes = Nodes::together(3, "none");
    nodes.on("b", "ip route add 10.100.7.0/24 dev eth0");
    nodes.on("c", "sysctl -qw net.ipv4.ip_forward=0");
    let output = nodes.fizz("a", &["doctor", "--node", "b"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text.starts_with("Node b (Fizz "), "{text}");
    let line = "\nfailed       range       10.100.0.0/16 overlaps with the route to 10.100.7.0/24 (eth0)\n";
    assert!(text.contains(line), "{text}");

    let output = nodes.fizz("a", &["doctor", "--all", "-o", "json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let all: Value = serde_json::from_slice(&output.stdout).unwrap();
    let all = all.as_array().unwrap();
    let of = |node: &str| all.iter().find(|it| it["node"] == node).unwrap();
    assert_eq!((all.len(), &of("a")["by"]), (3, &"daemon".into()));
    assert_eq!(found(of("a"), "range").0, "ok");
    assert_eq!(found(of("b"), "range").0, "failed");
    let off = vec!["forwarding is off (net.ipv4.ip_forward)".to_owned()];
    assert_eq!(found(of("c"), "forwarding"), ("failed".to_owned(), off));
    assert!(cures(of("c"), "forwarding").contains("`sysctl -w net.ipv4.ip_forward=1`"));

    // Warnings fail only where they are to: of these machines' ids there is one.
    assert_eq!(nodes.fizz("a", &["doctor"]).output().unwrap().status.code(), Some(0));
    assert_eq!(nodes.fizz("a", &["doctor", "--strict"]).output().unwrap().status.code(), Some(1));
    let nobody = nodes.refused("a", &["doctor", "--node", "x"]);
    assert_eq!(nobody, "there is no node `x`");
}

#[test]
fn a_firewall_on_a_member_is_named_with_its_table_and_chain() {
    let nodes = Nodes::together(2, "none");
    let table = "add table inet site; add chain inet site onward { type filter hook forward priority 0; policy drop; }";
    nodes.on("a", &format!("nft '{table}'"));
    let fault = "a firewall drops containers' packets: chain onward of table inet site";
    let all = until(&nodes, "a", "forwarding", "failed", &[fault]);
    // Just what it says mends it.
    let cures = cures(&all, "forwarding");
    let line = cures.split('`').nth(1).unwrap().to_owned();
    nodes.on("a", &line);
    until(&nodes, "a", "forwarding", "ok", &["on, and no filter drops what is led on"]);
}

#[test]
fn one_machine_id_on_two_machines_is_told_with_both_names() {
    let nodes = Nodes::together(3, "none");
    let own = "printf '%032d\\n' 7 >/run/machine-id; mount --bind /run/machine-id /etc/machine-id";
    nodes.on("c", own);
    until(&nodes, "a", "identity", "warning", &["this machine has the same machine-id as b"]);
    let well = "this machine's id, and each node's keys, are there once";
    until(&nodes, "c", "identity", "ok", &[well]);
}

#[test]
fn a_copied_data_directory_is_told_as_one_node_on_two_machines() {
    let nodes = Nodes::together(3, "none");
    let (first, second) = (nodes.address("b"), nodes.address("c"));
    nodes.lab("kill", &["b", "c"]);
    fs::remove_dir_all(nodes.data("c")).unwrap();
    let copied = Command::new("cp").arg("-a").args([nodes.data("b"), nodes.data("c")]).status();
    assert!(copied.unwrap().success());
    nodes.lab("start", &["b"]);
    nodes.until("b is heard", || nodes.seen_by("a").contains(&("b".into(), "alive".into())));
    nodes.lab("start", &["c"]);
    // The copy was started later, so that it is the one that is heard.
    let of = |fault: &str| {
        fault.starts_with("two machines are node ")
            && fault.contains(&format!(": {second} and {first}"))
    };
    nodes.until("a tells of both", || {
        let (state, faults) = found(&examined(&nodes, "a"), "identity");
        state == "failed" && faults.iter().any(|it| of(it))
    });
}

#[test]
fn a_resolver_that_is_this_node_or_asks_it_in_turn_is_a_loop() {
    let nodes = Nodes::together(2, "none");
    let own = || {
        nodes
            .on("a", "ip -6 -o addr show fizz-mesh 2>&1 | grep -o 'fd[0-9a-f:]*' | head -1 || true")
    };
    nodes.until("a is in the mesh", || !own().is_empty());
    let own = own();
    let resolver = |address: &str| {
        let line = format!(
            "echo 'nameserver {address}' >/run/resolv.conf; grep -q /run/resolv.conf /proc/mounts || mount --bind /run/resolv.conf /etc/resolv.conf 2>/dev/null"
        );
        nodes.on("a", &line);
    };
    resolver(&own);
    let fault = format!("a DNS loop: /etc/resolv.conf names this node's own server, {own}");
    until(&nodes, "a", "dns", "failed", &[&fault]);
    let dnsmasq = format!(
        "dnsmasq --no-resolv --no-hosts --server={own} --listen-address=127.0.0.9 --bind-interfaces --pid-file=/run/dnsmasq.pid --conf-file=/dev/null --user=root"
    );
    nodes.on("a", &dnsmasq);
    resolver("127.0.0.9");
    let fault = "a DNS loop: the resolver 127.0.0.9 passes questions back to this node";
    until(&nodes, "a", "dns", "failed", &[fault]);
}
