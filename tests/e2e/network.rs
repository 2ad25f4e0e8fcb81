//! A node as its containers' gateway, and their places, in real network namespaces.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use fizz::network::{Gateway, Namespace, NetworkError, Port};

const GATEWAY: &str = "fizz0";

/// A namespace with a name, until it is dropped.
pub(crate) struct Net(pub(crate) String);

impl Net {
    pub(crate) fn new(what: &str) -> Self {
        static NUMBERS: AtomicU32 = AtomicU32::new(0);
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let name = format!("fizz-e2e-{}-{number}-{what}", std::process::id());
        run(&["ip", "netns", "add", &name]);
        Self(name)
    }

    pub(crate) fn open(&self) -> Namespace {
        Namespace::open(&PathBuf::from("/run/netns").join(&self.0)).unwrap()
    }

    /// Runs a command in it; what it printed.
    pub(crate) fn run(&self, words: &[&str]) -> String {
        run(&[&["ip", "netns", "exec", &self.0], words].concat())
    }

    pub(crate) fn reaches(&self, address: &str) -> bool {
        let words = ["ip", "netns", "exec", &self.0, "busybox", "ping", "-c1", "-W2", address];
        command(&words).status().unwrap().success()
    }

    fn index(&self, link: &str) -> String {
        self.run(&["cat", &format!("/sys/class/net/{link}/ifindex")])
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        run(&["ip", "netns", "del", &self.0]);
    }
}

pub(crate) fn command(words: &[&str]) -> Command {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn run(words: &[&str]) -> String {
    let mut command = command(words);
    let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

pub(crate) fn gateway() -> Gateway {
    let addresses = ["10.100.4.1/24", "fd00:f122:1:1::a64:401/120"];
    Gateway {
        name: GATEWAY.to_owned(),
        addresses: addresses.iter().map(|it| it.parse().unwrap()).collect(),
        mtu: 1420,
    }
}

pub(crate) fn port(number: u8) -> Port {
    let addresses =
        [format!("10.100.4.{number}/32"), format!("fd00:f122:1:1::a64:4{number:02x}/128")];
    let gateways = ["10.100.4.1", "fd00:f122:1:1::a64:401"];
    Port {
        name: format!("fizz-p{number}"),
        inside: "eth0".to_owned(),
        addresses: addresses.iter().map(|it| it.parse().unwrap()).collect(),
        gateways: gateways.iter().map(|it| it.parse().unwrap()).collect(),
        mtu: 1420,
    }
}

/// A host that is the gateway of two containers' networks.
struct Host {
    host: Net,
    containers: [Net; 2],
}

impl Host {
    async fn new() -> Self {
        let all = Self { host: Net::new("host"), containers: [Net::new("one"), Net::new("two")] };
        all.host.run(&["sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]);
        all.ensure().await;
        all.until_whole("it is new").await;
        all
    }

    /// Says how all is to be.
    async fn ensure(&self) {
        let host = self.host.open();
        gateway().ensure(&host).await.unwrap();
        for (net, number) in self.containers.iter().zip([2, 3]) {
            port(number).ensure(&host, &net.open()).await.unwrap();
        }
    }

    /// How all is, for whoever has to find out.
    fn describe(&self) -> String {
        let nets = self.containers.iter().chain([&self.host]);
        let each = nets.map(|it| it.run(&["sh", "-c", "ip addr; ip route; ip -6 route; ip neigh"]));
        each.collect::<Vec<_>>().join("\n---\n")
    }

    /// Waits until all is well: the kernel takes a link for up a moment after it was told so.
    async fn until_whole(&self, what: &str) {
        let whole = tokio::time::timeout(Duration::from_secs(30), async {
            while !self.is_whole() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        assert!(whole.await.is_ok(), "{what}: it does not work:\n{}", self.describe());
    }

    fn is_whole(&self) -> bool {
        let [one, two] = &self.containers;
        one.reaches("10.100.4.3")
            && one.reaches("fd00:f122:1:1::a64:403")
            && two.reaches("10.100.4.1")
            && two.reaches("fd00:f122:1:1::a64:401")
    }
}

#[tokio::test]
async fn containers_of_one_node_reach_each_other_and_their_way_out_in_both_families() {
    let all = Host::new().await;
    assert!(all.is_whole());
    let routes = all.containers[0].run(&["ip", "route", "show", "default"]);
    assert!(routes.contains("via 10.100.4.1 dev eth0"), "{routes}");
    let routes = all.containers[0].run(&["ip", "-6", "route", "show", "default"]);
    assert!(routes.contains("via fd00:f122:1:1::a64:401 dev eth0"), "{routes}");
}

#[tokio::test]
async fn saying_again_how_it_is_to_be_changes_nothing_and_loses_no_packet() {
    let all = Host::new().await;
    let [one, _] = &all.containers;
    let indices = || (all.host.index(GATEWAY), all.host.index("fizz-p2"), one.index("eth0"));
    let before = indices();
    let words =
        ["ip", "netns", "exec", &one.0, "busybox", "ping", "-c", "100", "-i", "0.02", "10.100.4.3"];
    let ping = command(&words).stdout(Stdio::piped()).spawn().unwrap();
    for _ in 0..20 {
        all.ensure().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let said = String::from_utf8(ping.wait_with_output().unwrap().stdout).unwrap();
    assert!(said.contains("100 packets received, 0% packet loss"), "{said}");
    assert_eq!(indices(), before);
}

#[tokio::test]
async fn containers_that_come_and_go_cost_the_others_no_packet() {
    let all = Host::new().await;
    let (host, third) = (all.host.open(), Net::new("third"));
    let one = &all.containers[0].0;
    let words =
        ["ip", "netns", "exec", one, "busybox", "ping", "-c", "100", "-i", "0.02", "10.100.4.1"];
    let ping = command(&words).stdout(Stdio::piped()).spawn().unwrap();
    for _ in 0..20 {
        port(9).ensure(&host, &third.open()).await.unwrap();
        assert!(third.reaches("10.100.4.1"));
        Port::remove("fizz-p9", &host).await.unwrap();
    }
    let said = String::from_utf8(ping.wait_with_output().unwrap().stdout).unwrap();
    assert!(said.contains("100 packets received, 0% packet loss"), "{said}");
}

#[tokio::test]
async fn whatever_somebody_changes_is_mended() {
    let all = Host::new().await;
    let [one, two] = &all.containers;
    for (what, where_, change) in [
        ("an address went", one, "ip addr flush dev eth0"),
        ("a route went", &all.host, "ip route del 10.100.4.2/32"),
        (
            "a neighbour is another",
            &all.host,
            "ip neigh replace 10.100.4.2 lladdr 02:00:00:00:00:09 nud permanent dev fizz-p2",
        ),
        ("a link is down", &all.host, "ip link set fizz-p3 down"),
        ("the gateway's address went", &all.host, "ip addr flush dev fizz0"),
        ("the way out went", two, "ip link set eth0 down"),
        ("the pair went", &all.host, "ip link del fizz-p2"),
        ("the gateway went", &all.host, "ip link del fizz0"),
    ] {
        where_.run(&["sh", "-c", change]);
        assert!(!all.is_whole(), "{what}: it goes on working");
        all.ensure().await;
        all.until_whole(what).await;
    }
    one.run(&["sh", "-c", "ip addr add 10.100.4.99/24 dev eth0; ip link set eth0 mtu 1300"]);
    all.ensure().await;
    let shown = one.run(&["ip", "addr", "show", "dev", "eth0"]);
    assert!(!shown.contains("10.100.4.99") && shown.contains("mtu 1420"), "{shown}");
}

#[tokio::test]
async fn a_container_that_begins_anew_gets_its_place_and_what_is_taken_away_is_gone() {
    let mut all = Host::new().await;
    all.containers[0] = Net::new("again");
    all.ensure().await;
    all.until_whole("one began anew").await;
    let host = all.host.open();
    Port::remove("fizz-p2", &host).await.unwrap();
    Port::remove("fizz-p2", &host).await.unwrap();
    assert!(!all.containers[0].run(&["ip", "link"]).contains("eth0"));
    Gateway::remove(GATEWAY, &host).await.unwrap();
    Gateway::remove(GATEWAY, &host).await.unwrap();
    let left: BTreeSet<String> =
        all.host.run(&["ls", "/sys/class/net"]).lines().map(str::to_owned).collect();
    assert!(!left.contains(GATEWAY) && !left.contains("fizz-p2"), "{left:?}");
}

#[tokio::test]
async fn a_link_of_another_kind_with_our_name_is_told_and_left_alone() {
    let host = Net::new("taken");
    host.run(&["ip", "link", "add", GATEWAY, "type", "veth", "peer", "name", "other"]);
    let error = gateway().ensure(&host.open()).await.unwrap_err();
    assert!(matches!(error, NetworkError::Taken { .. }), "{error}");
    assert!(error.to_string().contains("fizz0 is there, and it is no bridge"), "{error}");
    Gateway::remove(GATEWAY, &host.open()).await.unwrap();
    assert!(host.run(&["ip", "link"]).contains("fizz0"));
}
