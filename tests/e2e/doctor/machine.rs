//! Machines without a daemon: namespaces with a fault in each, at which the command looks by itself.

use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::{cures, found};

/// Runs a shell line on a machine of its own: with a network that has one way out, mounts that nobody else sees,
/// and `$fizz`.
fn on_a_machine(line: &str) -> Output {
    let begin = "set -e; ip link set lo up; ip link add eth0 type veth peer name peer0; \
                 ip addr add 192.0.2.7/24 dev eth0; ip link set eth0 up; ip link set peer0 up; \
                 ip route add default via 192.0.2.1";
    let mut unshare = Command::new("unshare");
    unshare
        .args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .args(["--propagation", "private", "sh", "-c"])
        .arg(format!("{begin}; {line}"))
        .env("fizz", format!("{} doctor --config /dev/null", env!("CARGO_BIN_EXE_fizz")))
        .stdin(Stdio::null());
    unshare.output().unwrap()
}

/// What answers as a Docker does that is too old.
const OLD_DOCKER: &str = r#"
import socketserver
class Old(socketserver.StreamRequestHandler):
    def handle(self):
        while self.rfile.readline().strip(): pass
        body = b"{\"Version\": \"18.09.1\", \"ApiVersion\": \"1.39\"}"
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
        self.wfile.write(head + body)
socketserver.UnixStreamServer("/run/d.sock", Old).serve_forever()
"#;

/// What the doctor finds there, as JSON; `more` are its options.
fn examined(line: &str, more: &str) -> Value {
    let output = on_a_machine(&format!("{line}; $fizz --local -o json {more}"));
    let all: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|why| panic!("{why}: {}", String::from_utf8_lossy(&output.stderr)));
    // What failed is what the status says.
    let failed = all[0]["checks"].as_array().unwrap().iter().any(|it| it["state"] == "failed");
    assert_eq!(output.status.code(), Some(i32::from(failed)), "{all:#}");
    all[0].clone()
}

fn failed(fault: &str) -> (String, Vec<String>) {
    ("failed".to_owned(), vec![fault.to_owned()])
}

#[test]
fn a_machine_without_a_daemon_is_looked_at_by_the_command_which_says_so() {
    let output = on_a_machine("$fizz --host unix:///run/no-fizz.sock --runtime none || true");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("there is no socket /run/no-fizz.sock; this command looks by itself"));
    let text = String::from_utf8(output.stdout).unwrap();
    let begins = "This machine (Fizz ";
    assert!(text.starts_with(begins) && !text.contains('\x1b'), "{text}");
    let lines = [
        "\nok           udp         UDP 7780, TCP 7780 and UDP 7781 are free; no daemon was asked \
         about other members\n",
        "\nok           mtu         packets of 1500 bytes go out of this machine\n",
        "\nok           range       10.100.0.0/16 is this cluster's alone\n",
        "\nok           runtime     none is wanted (`runtime.kind: none`)\n",
        "\n11 checks: ",
    ];
    for line in lines {
        assert!(text.contains(line), "{line}{text}");
    }
}

#[test]
fn a_port_that_another_program_has_is_told_with_its_name_and_number() {
    let line = "python3 -c '
import socket, time
kept = [socket.socket(socket.AF_INET, it) for it in (socket.SOCK_DGRAM, socket.SOCK_STREAM)]
[it.bind((\"127.0.0.1\", 7780)) for it in kept]
kept[1].listen()
time.sleep(60)' &
        for i in $(seq 200); do grep -q :1E64 /proc/net/tcp && break; sleep 0.05; done";
    let all = examined(line, "");
    let (state, faults) = found(&all, "udp");
    assert_eq!((state.as_str(), faults.len()), ("failed", 2), "{faults:?}");
    assert!(faults[0].starts_with("UDP port 7780 is taken by python3 (process "), "{faults:?}");
    assert!(faults[1].starts_with("TCP port 7780 is taken by python3 (process "), "{faults:?}");
    assert!(cures(&all, "udp").contains("set `cluster.listen`"));
    // The taken ones are of an address that is not asked for then.
    assert_eq!(found(&examined(line, "--cluster-listen 192.0.2.7:7780"), "udp").0, "ok");
}

#[test]
fn a_link_that_is_too_narrow_for_the_mesh_is_told() {
    let all = examined("ip link set eth0 mtu 1300", "");
    let fault = "this machine's link takes packets of 1300 bytes, and the mesh sends 1360";
    assert_eq!(found(&all, "mtu"), failed(fault));
}

#[test]
fn without_dev_net_tun_no_process_can_be_the_mesh() {
    let line = "mount -t tmpfs none /dev/net";
    let all = examined(line, "--network-driver userspace");
    assert_eq!(found(&all, "wireguard"), failed("a process can't be a WireGuard device here"));
    assert!(cures(&all, "wireguard").contains("modprobe tun"));
    let all = examined(line, "--network-driver auto");
    // It depends on this kernel, whose word it is.
    let kernel = Command::new("unshare")
        .args(["--net", "ip", "link", "add", "x", "type", "wireguard"])
        .stderr(Stdio::null())
        .status()
        .unwrap();
    if kernel.success() {
        assert_eq!(found(&all, "wireguard").0, "ok");
    } else {
        assert_eq!(found(&all, "wireguard"), failed("nothing speaks WireGuard here"));
        assert!(cures(&all, "wireguard").contains("linux-modules-extra-$(uname -r)"));
    }
    assert_eq!(found(&examined(line, "--network-driver bridge"), "wireguard").0, "ok");
}

#[test]
fn what_bpf_needs_is_looked_for_where_it_is() {
    let all = examined("mount -t tmpfs none /sys/kernel; mount -t tmpfs none /sys/fs/bpf", "");
    let (state, faults) = found(&all, "bpf");
    let expected = ["the kernel does not describe its types (BTF)", "/sys/fs/bpf is not mounted"];
    assert_eq!((state.as_str(), faults), ("warning", expected.map(str::to_owned).to_vec()));
    let mounted = examined("mount -t bpf bpf /sys/fs/bpf", "");
    let (state, faults) = found(&mounted, "bpf");
    assert_eq!(state, "ok", "{faults:?}");
    // Without the rights a kernel refuses, where it is set so.
    let only_root = std::fs::read_to_string("/proc/sys/kernel/unprivileged_bpf_disabled").unwrap();
    if only_root.trim() != "0" {
        let line = "mount -t bpf bpf /sys/fs/bpf; fizz=\"setpriv --bounding-set -all --inh-caps -all $fizz\"";
        let all = examined(line, "--network-driver bridge");
        assert_eq!(found(&all, "bpf").1, ["the kernel takes no BPF programs"]);
    }
}

#[test]
fn a_route_an_address_or_a_range_of_docker_within_the_overlay_is_named() {
    let all = examined("ip route add 10.100.7.0/24 dev eth0", "");
    let fault = "10.100.0.0/16 overlaps with the route to 10.100.7.0/24 (eth0)";
    assert_eq!(found(&all, "range"), failed(fault));
    assert!(cures(&all, "range").contains("ip route del 10.100.7.0/24 dev eth0"));
    let all = examined("ip addr add 10.100.3.1/32 dev lo", "");
    let fault = "10.100.0.0/16 overlaps with the address 10.100.3.1/32 (lo)";
    assert_eq!(found(&all, "range"), failed(fault));
    let all = examined("ip addr add 10.100.3.1/24 dev eth0", "");
    let fault = "10.100.0.0/16 overlaps with the route to 10.100.3.0/24 (eth0)";
    assert_eq!(found(&all, "range"), failed(fault));
    let other = examined("ip route add 10.100.7.0/24 dev eth0", "--network-overlay 10.200.0.0/16");
    assert_eq!(found(&other, "range").0, "ok");
    let docker = "mkdir -p /etc/docker; mount -t tmpfs none /etc/docker; \
                  echo '{\"default-address-pools\": [{\"base\": \"10.96.0.0/12\", \"size\": 24}]}' >/etc/docker/daemon.json";
    let (state, faults) = found(&examined(docker, ""), "range");
    let fault = "10.100.0.0/16 overlaps with a range that Docker takes networks from: 10.96.0.0/12";
    assert_eq!((state.as_str(), faults), ("warning", vec![fault.to_owned()]));
}

#[test]
fn a_machine_without_an_id_is_told() {
    let line = ": >/run/empty; [ -e /etc/machine-id ] || touch /etc/machine-id; mount --bind /run/empty /etc/machine-id";
    let line = format!("mount -t tmpfs none /run; {line}");
    let (state, faults) = found(&examined(&line, ""), "identity");
    assert_eq!(
        (state.as_str(), faults),
        ("warning", vec!["this machine has no machine-id".to_owned()])
    );
}

#[test]
fn a_runtime_that_is_not_there_or_no_runtime_is_told_apart() {
    let all = examined("mount -t tmpfs none /run; mount -t tmpfs none /var/run", "");
    let (state, faults) = found(&all, "runtime");
    assert_eq!(
        (state.as_str(), faults),
        ("failed", vec!["no container runtime is here".to_owned()])
    );
    let silent = examined("true", "--runtime docker --runtime-socket /nowhere.sock");
    assert_eq!(found(&silent, "runtime"), failed("the container runtime does not answer"));
    let line = format!(
        "mount -t tmpfs none /run; python3 -c '{OLD_DOCKER}' & \
         for i in $(seq 100); do [ -S /run/d.sock ] && break; sleep 0.05; done"
    );
    let old = examined(&line, "--runtime docker --runtime-socket /run/d.sock");
    assert_eq!(found(&old, "runtime"), failed("the container runtime will not do"));
    assert!(cures(&old, "runtime").contains("Docker 20.10 or newer"));
}

#[test]
fn a_firewall_that_drops_what_is_led_on_is_named_before_there_is_a_mesh() {
    let table = |policy: &str| {
        format!(
            "nft 'add table inet site; add chain inet site onward {{ type filter hook forward priority 0; policy {policy}; }}'"
        )
    };
    let (state, faults) = found(&examined(&table("drop"), ""), "forwarding");
    let fault = "a firewall drops containers' packets: chain onward of table inet site";
    assert_eq!((state.as_str(), faults), ("warning", vec![fault.to_owned()]));
    assert_eq!(found(&examined(&table("accept"), ""), "forwarding").0, "ok");
    let opened = format!(
        "{0}; for l in 'fz*' fizz-mesh; do nft insert rule inet site onward iifname \"\\\"$l\\\"\" accept; nft insert rule inet site onward oifname \"\\\"$l\\\"\" accept; done",
        table("drop")
    );
    assert_eq!(found(&examined(&opened, ""), "forwarding").0, "ok");
    let (state, said) = found(&examined("iptables -P FORWARD DROP", ""), "forwarding");
    assert_eq!(state, "ok", "the daemon opens that one: {said:?}");
    let none = "mkdir /run/bin; PATH=/run/bin";
    let none = format!("mount -t tmpfs none /run; {none}");
    assert_eq!(found(&examined(&none, ""), "forwarding").1, ["the program `nft` is missing"]);
}

#[test]
fn a_resolver_that_is_silent_and_a_file_that_names_none_are_told() {
    let with = |text: &str| {
        let line = format!(
            "mount -t tmpfs none /run; printf '{text}' >/run/resolv.conf; mount --bind /run/resolv.conf /etc/resolv.conf"
        );
        found(&examined(&line, ""), "dns")
    };
    let (state, faults) = with("nameserver 127.0.0.9\\n");
    let fault = "the resolver 127.0.0.9 does not answer";
    assert_eq!((state.as_str(), faults), ("warning", vec![fault.to_owned()]));
    assert_eq!(with("search example.com\\n").1, ["the host has no resolver"]);
}

#[test]
fn a_disk_that_is_full_or_has_no_inodes_or_is_only_read_is_told_with_its_setting() {
    let disk = |options: &str, fill: &str| {
        let line = format!(
            "mount -t tmpfs none /run; mkdir /run/d; mount -t tmpfs -o {options} none /run/d; {fill}"
        );
        let all = examined(&line, "--data-dir /run/d/fizz");
        (found(&all, "disk"), cures(&all, "disk"))
    };
    let (full, cures) = disk("size=2m", "cat /dev/zero >/run/d/filled 2>/dev/null || true");
    assert_eq!(full, failed("the disk with the daemon's data is full (/run/d)"));
    assert!(cures.contains("set `data_dir` in /etc/fizz/config.yaml"), "{cures}");
    let many = "for i in $(seq 40); do touch /run/d/$i 2>/dev/null || break; done";
    let (none, _) = disk("nr_inodes=20", many);
    assert_eq!(none, failed("the disk with the daemon's data has no inodes left (/run/d)"));
    let (read, _) = disk("size=2m", "mount -o remount,ro /run/d");
    assert_eq!(
        read,
        failed("the daemon's data are on a file system that can only be read (/run/d)")
    );
    assert_eq!(disk("size=2m", "true").0.0, "ok");
}
