//! Two sites behind routers that translate addresses, and a node that everyone reaches: the sites' containers reach
//! each other through it, and directly where the routers let a hole be punched (RFC 4787, 4.1).
#![allow(clippy::print_stdout, reason = "its figures are half of what it is run for")]

use std::{
    fs,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use tokio::time::Instant;

use super::{cluster, up};
use crate::{cluster::nodes::Nodes, harness::Kind};

const STACK: &str = r#"
name: far
services:
  web:
    image: busybox
    command: ["sh", "-c", "echo from $$HOSTNAME > /index.html; exec httpd -f -p 80 -h /"]
    cap_add: [NET_RAW]
    deploy: {replicas: 3, placement: {max_replicas_per_node: 1}}
"#;

/// The address of each site's only machine, the same at both, as private addresses are.
const PRIVATE: &str = "192.168.77.2";

/// How a router chooses the port that it translates one to.
#[derive(Clone, Copy)]
enum Mapping {
    /// The same, whoever is spoken to.
    Kept,
    /// Another for each.
    Fresh,
}

/// A router between a node and the switch. It goes with its test.
struct Router(String);

impl Router {
    /// The node is at home behind it from now on, and has its own address no more.
    fn before(nodes: &Nodes, node: &str, mapping: Mapping) -> Self {
        let router = Self(format!("{}-{node}", nodes.name));
        let seen = nodes.lab_node(node);
        let (public, pid) = (seen["address"].as_str().unwrap(), seen["pid"].to_string());
        let name = router.0.as_str();
        run(&format!("ip netns add {name}"));
        run(&format!("nsenter -n -t {pid} ip link set eth0 netns {name}"));
        run(&format!("ip -n {name} link set lo up"));
        run(&format!("ip -n {name} addr add {public}/24 dev eth0"));
        run(&format!("ip -n {name} link set eth0 up"));
        run(&format!("ip -n {name} link add lan type veth peer name eth0 netns {pid}"));
        run(&format!("ip -n {name} addr add 192.168.77.1/24 dev lan"));
        run(&format!("ip -n {name} link set lan up"));
        run(&format!("nsenter -n -t {pid} ip addr add {PRIVATE}/24 dev eth0"));
        run(&format!("nsenter -n -t {pid} ip link set eth0 up"));
        run(&format!("nsenter -n -t {pid} ip route add default via 192.168.77.1"));
        router.exec("echo 1 > /proc/sys/net/ipv4/ip_forward");
        let random = match mapping {
            Mapping::Kept => "",
            Mapping::Fresh => "fully-random",
        };
        router.exec(&format!(
            "nft 'table ip nat {{
               chain out {{ type nat hook postrouting priority srcnat; oifname eth0 masquerade {random}; }}
               chain pass {{ type filter hook forward priority filter; policy drop;
                 iifname lan accept; ct state established,related accept; }}
               chain own {{ type filter hook input priority filter; policy drop;
                 iifname lan accept; ct state established,related accept; }}
             }}'"
        ));
        be_where_it_is(nodes, node);
        router
    }

    fn exec(&self, line: &str) {
        let words = ["netns", "exec", &self.0, "sh", "-c", line];
        assert!(Command::new("ip").args(words).status().unwrap().success(), "{line}");
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        drop(Command::new("ip").args(["netns", "del", &self.0]).status());
    }
}

fn run(line: &str) {
    let (program, words) = line.split_once(' ').unwrap();
    assert!(Command::new(program).args(words.split(' ')).status().unwrap().success(), "{line}");
}

/// Has a node listen at all its addresses, and find out itself which others are told.
fn be_where_it_is(nodes: &Nodes, node: &str) {
    let config = nodes.config(node);
    let text = fs::read_to_string(&config).unwrap();
    let lines = text.lines().filter(|it| !it.contains("advertise:"));
    let lines = lines.map(|it| match it.split_once("listen: ") {
        Some((indent, at)) => {
            format!("{indent}listen: 0.0.0.0:{}", at.rsplit(':').next().unwrap())
        }
        None => it.to_owned(),
    });
    fs::write(&config, lines.collect::<Vec<_>>().join("\n") + "\n").unwrap();
    restart(nodes, node);
}

/// Has a node's daemon read its configuration anew.
fn restart(nodes: &Nodes, node: &str) {
    let seen = nodes.lab_node(node);
    let (daemon, machine) = (seen["daemon"].to_string(), seen["pid"].to_string());
    run(&format!("kill -9 {daemon}"));
    nodes.until(&format!("{node}'s daemon runs anew"), || {
        run(&format!("kill -HUP {machine}"));
        let now = nodes.lab_node(node)["daemon"].to_string();
        now != daemon
            && now != "null"
            && nodes.fizz(node, &["nodes"]).output().unwrap().status.success()
    });
}

/// A node that all reach, and two that are each behind a router.
fn sites(mapping: Mapping) -> (Nodes, [Router; 2]) {
    let nodes = Nodes::apart_with(3, Kind::chosen());
    nodes.give_busybox(&["a", "b", "c"].map(str::to_owned));
    let routers = ["b", "c"].map(|it| Router::before(&nodes, it, mapping));
    nodes.ok("a", &["init"]);
    let token = nodes.ok("a", &["token", "create", "--uses", "0"]);
    let address = nodes.address("a");
    for node in ["b", "c"] {
        nodes.ok(node, &["join", &address, "--token", &token]);
    }
    for node in ["a", "b", "c"] {
        nodes.until_seen(node, &["a", "b", "c"].map(|it| (it, "alive")));
    }
    (nodes, routers)
}

/// What a node says of another's place in the mesh.
fn mesh(nodes: &Nodes, by: &str, of: &str) -> Value {
    let list = nodes.json(by, &["nodes"]);
    list.as_array().unwrap().iter().find(|it| it["name"] == of).unwrap()["mesh"].clone()
}

/// Everyone is served by everyone, over both families.
fn everyone_is_served(nodes: &Nodes) {
    for node in ["a", "b", "c"] {
        let line = "for it in 1 2 3; do for family in -4 -6; do ping $family -c 1 -W 2 $it.web > /dev/null || exit; \
                    done; timeout 5 wget -q -O- http://$it.web || exit; done";
        nodes.until(&format!("{node} is served by all"), || {
            let said = nodes.inside(node, "web", line).unwrap_or_default();
            said.lines().filter(|it| it.starts_with("from ")).count() == 3
        });
    }
}

#[test]
fn behind_routers_that_map_anew_each_time_what_is_said_is_relayed() {
    let (nodes, _routers) = sites(Mapping::Fresh);
    let began = Instant::now();
    nodes.until("b reaches c through a", || mesh(&nodes, "a", "b")["relayed"]["c"] == "a");
    println!("relayed {} ms after all saw each other", began.elapsed().as_millis());
    up(&nodes, "b", STACK);
    everyone_is_served(&nodes);
    assert_eq!(mesh(&nodes, "c", "c")["relayed"]["b"], "a");
    // Also what people ask of one by the other.
    let there = nodes.json("b", &["-p", "far", "ps", "web"]);
    let there = there.as_array().unwrap().iter().find(|it| it["node_name"] == "c").unwrap();
    let slot = there["slot"].to_string();
    let words = ["-p", "far", "exec", "-T", "--index", &slot, "web", "hostname"];
    assert_eq!(nodes.ok("b", &words), nodes.ok("c", &words));
}

#[test]
fn behind_routers_that_keep_their_mapping_both_reach_each_other_directly() {
    let (nodes, routers) = sites(Mapping::Kept);
    let began = Instant::now();
    up(&nodes, "b", STACK);
    everyone_is_served(&nodes);
    // Until they have found each other, the third carries for them.
    let through = through(&nodes, "a");
    nodes.until("nothing goes through a", || through() == (50, 0));
    println!("direct after at most {} ms, with the deployment", began.elapsed().as_millis());
    for node in ["a", "b", "c"] {
        for other in ["b", "c"].into_iter().filter(|it| *it != node) {
            nodes.until(&format!("{node} says that it reaches {other} directly"), || {
                let mesh = mesh(&nodes, node, other);
                mesh["relayed"] == serde_json::json!({})
                    && !mesh["heard_at"].as_array().unwrap().is_empty()
            });
        }
    }
    assert_eq!(through(), (50, 0));
    // The provider gives the site another address.
    let public = nodes.lab_node("b")["address"].as_str().unwrap().to_owned();
    let other = public.rsplit_once('.').map(|it| format!("{}.200", it.0)).unwrap();
    let began = Instant::now();
    routers[0].exec(&format!("ip addr add {other}/24 dev eth0 && ip addr del {public}/24 dev eth0; ip addr add {other}/24 dev eth0 || true"));
    let found = |by: &str| {
        let at = mesh(&nodes, by, "b")["heard_at"].to_string();
        at.contains(&other)
    };
    nodes.until("all know where b is now", || found("a") && found("c"));
    println!("found anew {} ms after the site's address changed", began.elapsed().as_millis());
    everyone_is_served(&nodes);
}

/// Of 50 packets that b's container sends to c's, how many are answered and how many go through a node.
fn through<'a>(nodes: &'a Nodes, node: &'a str) -> impl Fn() -> (u32, u32) + 'a {
    let address = there(nodes, "c");
    let table = format!(
        "nft 'table inet seen-nat {{ chain pass {{ type filter hook forward priority -200; \
         ip daddr {address} counter\n}}\n}}'"
    );
    move || {
        nodes.on(node, &table);
        let line = format!("ping -c 50 -i 0.02 -W 2 {address}");
        let answered = nodes.inside("b", "web", &line).map_or(0, |it| received(&it));
        let list = "nft list table inet seen-nat | grep -o 'packets [0-9]*'; nft delete table inet seen-nat";
        let counted = nodes.on(node, list);
        (answered, counted.strip_prefix("packets ").unwrap().parse().unwrap())
    }
}

#[test]
fn a_node_that_gets_another_address_is_found_there() {
    let nodes = Nodes::apart_with(2, Kind::chosen());
    nodes.give_busybox(&["a", "b"].map(str::to_owned));
    be_where_it_is(&nodes, "b");
    nodes.ok("a", &["init"]);
    let token = nodes.ok("a", &["token", "create"]);
    nodes.ok("b", &["join", &nodes.address("a"), "--token", &token]);
    for node in ["a", "b"] {
        nodes.until_seen(node, &[("a", "alive"), ("b", "alive")]);
    }
    up(&nodes, "a", &STACK.replace("replicas: 3", "replicas: 2"));
    let address = there(&nodes, "b");
    nodes.until("a reaches b", || {
        nodes.inside("a", "web", &format!("ping -c 1 -W 2 {address}")).is_some()
    });
    let client = nodes.running("a", "web").pop().unwrap();
    let line = format!("ping -c 200 -i 0.02 -W 2 {address}");
    let ping = nodes.exec("a", &client, &line).stdout(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(1));
    let old = nodes.lab_node("b")["address"].as_str().unwrap().to_owned();
    let new = old.rsplit_once('.').map(|it| format!("{}.201", it.0)).unwrap();
    let began = Instant::now();
    nodes.on("b", &format!("ip addr add {new}/24 dev eth0; ip addr del {old}/24 dev eth0; ip addr replace {new}/24 dev eth0"));
    nodes.until("a knows where b is now", || {
        let list = nodes.json("a", &["nodes"]);
        let b = list.as_array().unwrap().iter().find(|it| it["name"] == "b").cloned().unwrap();
        b["address"].as_str().unwrap().starts_with(&new)
            && b["mesh"]["endpoints"][0].as_str().unwrap().starts_with(&new)
    });
    println!("known {} ms after the address changed", began.elapsed().as_millis());
    let said = String::from_utf8(ping.wait_with_output().unwrap().stdout).unwrap();
    println!("{}", said.lines().rev().nth(1).unwrap_or_default());
    let all = || nodes.inside("a", "web", &format!("ping -c 20 -i 0.02 -W 2 {address}"));
    nodes.until("nothing is lost any more", || all().is_some_and(|it| received(&it) == 20));
    nodes.until_seen("a", &[("a", "alive"), ("b", "alive")]);
    assert!(nodes.inside("a", "web", &format!("ping -c 3 -i 0.1 -W 2 {address}")).is_some());
}

#[test]
fn with_the_clusters_keys_the_devices_get_others_and_are_found_by_them() {
    let nodes = cluster(3, Kind::chosen());
    up(&nodes, "a", STACK);
    everyone_is_served(&nodes);
    let keys =
        || ["a", "b", "c"].map(|it| mesh(&nodes, "a", it)["key"].as_str().unwrap().to_owned());
    let before = keys();
    let address = there(&nodes, "c");
    let client = nodes.running("b", "web").pop().unwrap();
    let line = format!("ping -c 400 -i 0.02 -W 2 {address}");
    let ping = nodes.exec("b", &client, &line).stdout(Stdio::piped()).spawn().unwrap();
    nodes.ok("a", &["cluster", "rotate-keys"]);
    nodes.until("each has another key", || keys().iter().all(|it| !before.contains(it)));
    let said = String::from_utf8(ping.wait_with_output().unwrap().stdout).unwrap();
    println!("{}", said.lines().rev().nth(1).unwrap_or_default());
    assert!(300 <= received(&said), "{said}");
    everyone_is_served(&nodes);
    // Who is put out is nobody's peer, and what the others have it never heard of.
    let with_c = keys();
    nodes.ok("a", &["node", "rm", "--force", "c"]);
    nodes.until("those that stay have other keys", || {
        ["a", "b"].iter().all(|it| {
            let key = mesh(&nodes, "a", it)["key"].as_str().unwrap_or_default().to_owned();
            !with_c.contains(&key)
        })
    });
    let left = there(&nodes, "b");
    let line = format!("ping -c 1 -W 2 {left}");
    nodes.until("a reaches b", || nodes.inside("a", "web", &line).is_some());
}

/// How many answers ping(8) says that there were.
fn received(said: &str) -> u32 {
    let before = said.split(" packets received").next().unwrap();
    before.rsplit(' ').next().unwrap().parse().unwrap()
}

/// The address of the container on a node.
fn there(nodes: &Nodes, node: &str) -> String {
    let all = nodes.json("a", &["-p", "far", "ps", "web"]);
    let there = all.as_array().unwrap().iter().find(|it| it["node_name"] == node).unwrap();
    there["addresses"]["far_default"].as_str().unwrap().to_owned()
}
