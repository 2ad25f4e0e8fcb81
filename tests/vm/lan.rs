//! The switch that the machines are at: a bridge with a TAP device for each, in a network namespace that is this
//! process's own and goes with it. What passes between the machines is counted.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use nix::sched::{CloneFlags, unshare};

/// The members' own ports, the mesh's port, and what finds neighbours; nothing else is to pass. What this process
/// asks the machines does not: it is at the bridge itself.
const COUNT: &str = "
table bridge watch {
    counter mesh { }
    counter members { }
    counter other { }
    chain pass {
        type filter hook forward priority 0;
        udp dport 7781 counter name mesh accept
        meta l4proto { tcp, udp } th dport 7780 counter name members accept
        meta l4proto { tcp, udp } th sport 7780 counter name members accept
        ether type arp accept
        ip protocol igmp accept
        ip6 saddr fe80::/10 accept
        ip6 daddr ff02::/16 accept
        counter name other
    }
}
";

/// Packets that passed between machines.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Passed {
    pub(crate) mesh: u64,
    pub(crate) other: u64,
}

/// Moves this process, which has one thread yet, to a network of its own, and makes the switch there.
pub(crate) fn make(names: &[&str]) {
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    run("ip link set lo up");
    run("ip link add lan type bridge mcast_snooping 0");
    run("ip addr add 192.0.2.254/24 dev lan");
    run("ip link set lan up");
    for name in names {
        run(&format!("ip tuntap add dev {name} mode tap"));
        run(&format!("ip link set dev {name} master lan up"));
    }
    let mut nft = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    nft.stdin.take().unwrap().write_all(COUNT.as_bytes()).unwrap();
    assert!(nft.wait().unwrap().success());
}

/// What has passed so far.
pub(crate) fn passed() -> Passed {
    let said = run("nft -j list counters table bridge watch");
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    let packets = |name: &str| {
        let all = said["nftables"].as_array().unwrap().iter();
        let mut all = all.filter(|it| it["counter"]["name"] == name);
        all.next().unwrap()["counter"]["packets"].as_u64().unwrap()
    };
    assert!(packets("members") > 0, "the members say nothing to each other: {said}");
    Passed { mesh: packets("mesh"), other: packets("other") }
}

fn run(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
    assert!(output.status.success(), "{line}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}
