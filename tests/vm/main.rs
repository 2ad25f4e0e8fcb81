//! Fizz as it is installed: three virtual machines with Debian's kernel, systemd, Docker, Podman and containerd, the
//! kernel's WireGuard between them, and the unit of `packaging/`. One story, told once: `sudo tests/vm/run.sh cluster`.
//!
//! Cargo runs it only where it is named (`test = false`): it takes root, a disk that the script makes, and minutes.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod cluster;
mod lan;
mod machine;

use std::collections::BTreeSet;

use cluster::{Cluster, EXAMPLES, text, until};
use machine::Machine;
use tokio::time::Instant;

const ALL: [&str; 3] = ["a", "b", "c"];
const ALIVE: [(&str, &str); 3] = [("a", "alive"), ("b", "alive"), ("c", "alive")];

/// An emulated processor may be away for seconds where its host is busy: it gets more patience than a far node.
const CONFIG: &str = "cluster: {membership: {profile: wan, period: 8s, answer_max: 2s, doubt: 12s, dead_after: 30s}}";

/// What the unit leaves the daemon to do, as CAP_ bits of linux/capability.h: CHOWN, DAC_OVERRIDE, FOWNER, FSETID,
/// NET_BIND_SERVICE, NET_ADMIN, NET_RAW, SYS_PTRACE and SYS_ADMIN.
const CAPABILITIES: u64 =
    1 << 0 | 1 << 1 | 1 << 3 | 1 << 4 | 1 << 10 | 1 << 12 | 1 << 13 | 1 << 19 | 1 << 21;

fn main() {
    let mut story = Story { began: Instant::now(), step: Instant::now() };
    let mut cluster = Cluster::boot();
    story.step("three machines boot");
    install(&cluster);
    story.step("the unit runs on each");
    the_unit_holds(cluster.of("a"));
    story.step("the daemon may do what it has to, and no more");
    join(&cluster);
    story.step("they are a cluster");
    say_hello(&cluster);
    story.step("examples/hello is up on all of them");
    by_name(&cluster);
    story.step("containers reach each other by name, through WireGuard only");
    for name in ALL {
        wireguard_is_as_told(&cluster, name);
    }
    story.step("`wg show` says what Fizz says");
    a_restart_costs_no_packet(&cluster);
    story.step("restarting and killing the daemon cost no packet");
    a_stop_leaves_containers(&cluster);
    story.step("stopping the daemon leaves the containers");
    make_images(&cluster);
    story.step("the other examples' images are made on one and given to all");
    deploy(&cluster, &mut story);
    let lost = a_death(&mut cluster, &mut story);
    a_return(&mut cluster, &lost);
    story.step("it comes back, and what it had too much is gone");
    other_runtimes(&cluster);
    story.step("Podman and containerd find the networks that the daemon makes");
    story.end();
}

/// How long everything takes.
struct Story {
    began: Instant,
    step: Instant,
}

#[expect(clippy::print_stdout, reason = "without a harness, the test itself says how it goes")]
impl Story {
    fn step(&mut self, what: &str) {
        println!("{:6.1} s  {what}", self.step.elapsed().as_secs_f32());
        self.step = Instant::now();
    }

    fn end(&self) {
        println!("{:6.1} s  in all", self.began.elapsed().as_secs_f32());
    }
}

/// By the script that people have for their machines, too.
fn install(cluster: &Cluster) {
    cluster.each(|it| {
        // It waits until all of the machine is up, and is not content with less.
        assert_eq!(it.run("systemctl is-system-running --wait").out, "running");
        it.ok(&format!("mkdir /etc/fizz && echo '{CONFIG}' >/etc/fizz/config.yaml"));
        it.ok(&format!("/mnt/share/node.sh install {}", it.address));
        it.fizz("nodes");
    });
}

fn the_unit_holds(it: &Machine) {
    // There are no manual pages in the image.
    assert_eq!(it.ok("systemd-analyze verify --man=no fizz.service 2>&1"), "");
    // Out of 10, the less the better; what is left is what the daemon is for.
    it.ok("systemd-analyze security --threshold=55 fizz.service");
    let pid = it.ok("systemctl show -P MainPID fizz");
    let status = it.ok(&format!("cat /proc/{pid}/status"));
    let field = |name: &str| {
        let line = status.lines().find_map(|it| it.strip_prefix(name)).unwrap();
        line.trim_start_matches(':').trim().to_owned()
    };
    assert_eq!(u64::from_str_radix(&field("CapBnd"), 16).unwrap(), CAPABILITIES, "{status}");
    assert_eq!((field("NoNewPrivs"), field("Seccomp")), ("1".to_owned(), "2".to_owned()));
    // What it mounts, the machine sees.
    it.ok(&format!("test $(readlink /proc/1/ns/mnt) = $(readlink /proc/{pid}/ns/mnt)"));
    // The same walls around a program that tries them. What it must be able to do comes first.
    let tries = "
        set -e
        unshare --net true
        mount -t tmpfs none /mnt
        umount /mnt
        for try in 'unshare --mount true' 'unshare --pid true' 'modprobe dummy' 'date -s 2000-01-01' 'dmesg' \
            'head -c 1 /dev/vda' 'hostname other' 'chroot / true' 'mknod /run/null c 1 3' 'reboot -ff'
        do
            ! $try || exit 9
        done";
    it.ok(&format!(
        "cat >/run/tries <<'TRIES'\n{tries}\nTRIES\n
         sed -e 's|^ExecStart=.*|ExecStart=/bin/bash /run/tries|; s|^Type=.*|Type=oneshot|; /^Restart=/d' \
             -e 's|^\\(State\\|Configuration\\|Runtime\\)Directory=.*|\\1Directory=tries|' \
             /etc/systemd/system/fizz.service >/run/systemd/system/tries.service
         systemctl daemon-reload; systemctl start tries || {{ journalctl -u tries -o cat; exit 1; }}"
    ));
}

fn join(cluster: &Cluster) {
    let a = cluster.of("a");
    let told = a.ok("/mnt/share/node.sh found 2>&1");
    assert!(told.contains(&format!("fizz join {}:7780 --token TOKEN", a.address)), "{told}");
    for name in ["b", "c"] {
        let token = a.fizz("token create");
        cluster.of(name).ok(&format!("/mnt/share/node.sh join {} <<<{token}", a.address));
    }
    cluster.until_seen(&ALL, &ALIVE);
    cluster.each(|it| {
        let link = it.ok("ip -d link show fizz-mesh");
        assert!(link.contains("wireguard"), "{link}");
        let log = it.ok("journalctl -u fizz -o cat");
        assert!(log.contains("the mesh is the kernel's WireGuard"), "{log}");
        let nodes = it.json("nodes");
        let drivers = nodes.as_array().unwrap().iter().map(|it| &it["mesh"]["driver"]);
        assert_eq!(drivers.collect::<Vec<_>>(), ["wireguard"; 3]);
    });
}

/// On one node, as a user makes them there; the others get them as they would without a registry.
fn make_images(cluster: &Cluster) {
    let a = cluster.of("a");
    for example in &EXAMPLES[1..] {
        a.ok(&format!("cd /mnt/share/examples/{example} && fizz build"));
    }
    let all = "docker images --filter dangling=false --format '{{.Repository}}:{{.Tag}}' | grep /";
    a.ok(&format!("docker save $({all}) >/mnt/share/images.tar"));
    cluster.each(|it| it.name == "a" || !it.ok("docker load -i /mnt/share/images.tar").is_empty());
}

fn deploy(cluster: &Cluster, story: &mut Story) {
    for example in &EXAMPLES[1..] {
        cluster.of("a").ok(&format!("cd /mnt/share/examples/{example} && fizz up -d --wait"));
        story.step(&format!("examples/{example} is up"));
    }
    for machine in &cluster.machines {
        let url = format!("http://{}:8080/", machine.address);
        until(&format!("the shop answers at {url}"), || {
            let said = std::process::Command::new("curl").args(["-sS", "-m", "20", &url]).output();
            String::from_utf8(said.unwrap().stdout).unwrap().contains("<h1>Shop</h1>")
        });
    }
    story.step("the shop is there on every machine's port");
}

/// Three greeters, one on each node.
fn say_hello(cluster: &Cluster) {
    cluster.of("a").ok("/mnt/share/node.sh deploy");
    let greeters = cluster.until_well("b", "hello", "greeter", 3);
    let places: BTreeSet<String> = greeters.values().map(|it| text(it, "node_name")).collect();
    assert_eq!(places.len(), 3, "{places:?}");
}

fn by_name(cluster: &Cluster) {
    let before = lan::passed();
    cluster.all_reach_all("hello", "greeter", 3);
    let after = lan::passed();
    assert!(before.mesh + 20 < after.mesh, "{before:?}, then {after:?}");
    // Before, kernels may have told each other that nobody listens there yet.
    assert_eq!(after.other, before.other, "something passed beside the mesh");
}

fn wireguard_is_as_told(cluster: &Cluster, by: &str) {
    until(&format!("`wg show` on {by} says what Fizz says"), || {
        cluster.peers_shown(by) == cluster.peers_told(by)
    });
    until(&format!("{by} has spoken with both of the others"), || {
        let shown = cluster.of(by).ok("wg show fizz-mesh latest-handshakes");
        shown.lines().count() == 2 && !shown.contains("\t0")
    });
}

/// A greeter on a node, and the address of another elsewhere.
fn pair(cluster: &Cluster, on: &str) -> (String, String) {
    let greeters = cluster.until_well(on, "hello", "greeter", 3);
    let here = greeters.values().find(|it| it["node_name"] == on).unwrap();
    let there = greeters.values().find(|it| it["node_name"] != on).unwrap();
    let address = there["addresses"].as_object().unwrap().values().next().unwrap();
    (text(here, "runtime_id"), address.as_str().unwrap().to_owned())
}

fn a_restart_costs_no_packet(cluster: &Cluster) {
    let (id, address) = pair(cluster, "b");
    let b = cluster.of("b");
    b.ok(&format!("docker exec -d {id} sh -c 'ping -q -i 0.2 -W 10 {address} >/tmp/pings'"));
    for how in ["restart", "kill -s KILL"] {
        cluster.each(|it| {
            let pid = it.ok("systemctl show -P MainPID fizz");
            it.ok(&format!("systemctl {how} fizz"));
            until("another daemon answers", || {
                it.ok("systemctl show -P MainPID fizz") != pid && it.run("fizz nodes").code == 0
            });
        });
    }
    let end = "kill -INT $(pidof ping); sleep 1; cat /tmp/pings";
    let said = b.ok(&format!("docker exec {id} sh -c '{end}'"));
    let counts = said.lines().find(|it| it.contains("packets transmitted")).unwrap();
    let counts: Vec<u64> = counts.split(' ').filter_map(|it| it.parse().ok()).collect();
    // The last of them may have been under way.
    assert!(20 < counts[0] && counts[0] <= counts[1] + 1, "{said}");
    assert_eq!(pair(cluster, "b").0, id, "the container is the same");
    cluster.until_seen(&ALL, &ALIVE);
}

fn a_stop_leaves_containers(cluster: &Cluster) {
    let (id, address) = pair(cluster, "b");
    let b = cluster.of("b");
    let running = "docker ps -q --no-trunc | sort";
    let before = b.ok(running);
    b.ok("systemctl stop fizz");
    assert_eq!(b.ok(running), before);
    b.ok(&format!("docker exec {id} ping -q -c 3 -W 5 {address}"));
    b.ok("systemctl start fizz");
    cluster.until_seen(&ALL, &ALIVE);
    wireguard_is_as_told(cluster, "b");
}

/// The power goes from a node that keeps nobody's data. Its name.
fn a_death(cluster: &mut Cluster, story: &mut Story) -> String {
    cluster.until_well("a", "hello", "greeter", 3);
    let home = text(&cluster.well("a", "shop", "db")[&1], "node_name");
    let lost = ["c", "b"].into_iter().find(|it| **it != home).unwrap();
    let left: Vec<&str> = ALL.into_iter().filter(|it| *it != lost).collect();
    cluster.kill(lost);
    let states: Vec<(&str, &str)> =
        ALIVE.iter().map(|it| if it.0 == lost { (lost, "dead") } else { *it }).collect();
    cluster.until_seen(&left, &states);
    story.step(&format!("{lost} loses its power, and is dead to the others"));
    cluster.until_well("a", "hello", "greeter", 3);
    story.step("what it had runs elsewhere");
    cluster.all_reach_all("hello", "greeter", 3);
    let shop = cluster.of("a").ok("busybox wget -q -O - http://127.0.0.1:8080/");
    assert!(shop.contains("<h1>Shop</h1>"), "{shop}");
    story.step("and is found by its name");
    lost.to_owned()
}

fn a_return(cluster: &mut Cluster, lost: &str) {
    cluster.switch_on(lost);
    cluster.until_seen(&ALL, &ALIVE);
    for name in ALL {
        wireguard_is_as_told(cluster, name);
    }
    // Docker has no other containers of Fizz than those that the cluster knows of.
    let cluster = &*cluster;
    until("the surplus is gone", || {
        let known = EXAMPLES.map(|it| cluster.of("a").json(&format!("-p {it} ps -a")));
        let known: BTreeSet<String> = known
            .iter()
            .flat_map(|it| it.as_array().unwrap())
            .filter(|it| it["node_name"] == lost)
            .filter_map(|it| Some(it["runtime_id"].as_str()?.to_owned()))
            .collect();
        let there = "docker ps -aq --no-trunc --filter label=fizz.service";
        let there = cluster.of(lost).ok(there);
        known == there.lines().map(str::to_owned).collect()
    });
    assert_eq!(cluster.well("a", "hello", "greeter").len(), 3);
    cluster.all_reach_all("hello", "greeter", 3);
}

/// One node goes over to Podman and one to containerd. Both start containers in network namespaces that the daemon
/// has mounted, which they find only if it has no mounts of its own.
fn other_runtimes(cluster: &Cluster) {
    let a = cluster.of("a");
    for project in EXAMPLES {
        a.fizz(&format!("-p {project} down -v"));
    }
    let (b, c) = (cluster.of("b"), cluster.of("c"));
    b.ok("podman load -q -i /mnt/share/images.tar && systemctl enable --now podman.socket");
    c.ok("ctr --namespace fizz images import /mnt/share/images.tar");
    for (machine, kind) in [(b, "podman"), (c, "containerd")] {
        machine.ok(&format!(
            "systemctl disable --now docker.socket docker
             echo 'runtime: {{kind: {kind}}}' >>/etc/fizz/config.yaml && systemctl restart fizz"
        ));
    }
    cluster.until_seen(&ALL, &ALIVE);
    a.ok("cd /mnt/share/examples/hello && fizz up -d --wait");
    let greeters = cluster.until_well("a", "hello", "greeter", 3);
    let places: BTreeSet<String> = greeters.values().map(|it| text(it, "node_name")).collect();
    assert_eq!(places.len(), 3, "{places:?}");
    cluster.all_reach_all("hello", "greeter", 3);
    for machine in [b, c] {
        let mounts = machine.ok("findmnt -rno TARGET | grep ^/run/netns/fizz-");
        assert_eq!(mounts.lines().count(), 1, "{mounts}");
        machine.ok("systemctl restart fizz && fizz nodes");
    }
    // The bits of a file are a container's own, also where the daemon writes it.
    let slot = greeters.iter().find(|it| it.1["node_name"] == "c").unwrap().0;
    c.ok("install -m 2755 /bin/true /run/tool");
    c.fizz(&format!("-p hello cp --index {slot} /run/tool greeter:/tmp/tool"));
    let mode = format!("-p hello exec -T --index {slot} greeter stat -c %a /tmp/tool </dev/null");
    assert_eq!(c.fizz(&mode), "2755");
    let again = cluster.until_well("a", "hello", "greeter", 3);
    let ids = |of: &std::collections::BTreeMap<u64, serde_json::Value>| {
        of.values().map(|it| text(it, "id")).collect::<Vec<_>>()
    };
    assert_eq!(ids(&again), ids(&greeters), "restarts of the daemon touch no container");
    cluster.all_reach_all("hello", "greeter", 3);
    a.fizz("-p hello down");
}
