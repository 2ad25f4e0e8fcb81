//! Key by key: what a container may do and use.

use serde_json::json;

use super::*;

const LIMITS: &str = r#"
services:
  short:
    image: busybox
    command: sleep 3600
    stop_grace_period: 0s
    mem_limit: 64m
    mem_reservation: 32m
    memswap_limit: 64m
    mem_swappiness: 10
    cpus: 0.5
    cpu_shares: 512
    cpuset: "0"
    pids_limit: 50
    shm_size: 8m
    oom_score_adj: 300
    oom_kill_disable: false
    ulimits: {nofile: {soft: 128, hard: 256}, nproc: 512, core: 0}
    sysctls: {net.core.somaxconn: "321", net.ipv4.ip_unprivileged_port_start: "0"}
  quota: {image: busybox, command: sleep 3600, stop_grace_period: 0s, cpu_period: 50000, cpu_quota: 20000}
  deploy:
    image: busybox
    command: sleep 3600
    stop_grace_period: 0s
    deploy:
      replicas: 1
      labels: {shelf: "9"}
      resources:
        limits: {cpus: "0.25", memory: 48M, pids: 40}
        reservations: {memory: 16M}
      restart_policy: {condition: on-failure, max_attempts: 3}
  parent: {image: busybox, command: sleep 3600, stop_grace_period: 0s, cgroup_parent: PARENT}
"#;

#[test]
fn limits_hold_by_both_spellings() {
    let parent = format!("/{}/its-own", engine().dir().file_name().unwrap().to_str().unwrap());
    let stack = Stack::new("limits", &LIMITS.replace("PARENT", &parent));
    stack.up();
    let mib = |count: u64| json!(count << 20);
    let short = stack.inspect("short-1");
    assert_places(
        &short,
        &[
            ("/HostConfig/Memory", mib(64)),
            ("/HostConfig/MemoryReservation", mib(32)),
            ("/HostConfig/MemorySwap", mib(64)),
            ("/HostConfig/MemorySwappiness", json!(10)),
            ("/HostConfig/NanoCpus", json!(500_000_000)),
            ("/HostConfig/CpuShares", json!(512)),
            ("/HostConfig/CpusetCpus", json!("0")),
            ("/HostConfig/PidsLimit", json!(50)),
            ("/HostConfig/ShmSize", mib(8)),
            ("/HostConfig/OomScoreAdj", json!(300)),
        ],
    );
    assert_places(&short, &shown(&[("/HostConfig/Sysctls/net.core.somaxconn", json!("321"))]));
    let ulimits = short["HostConfig"]["Ulimits"].as_array().unwrap();
    for (name, soft, hard) in [("nofile", 128, 256), ("nproc", 512, 512), ("core", 0, 0)] {
        let name =
            if on_podman() { format!("RLIMIT_{}", name.to_uppercase()) } else { name.to_owned() };
        let wanted = json!({"Name": name, "Soft": soft, "Hard": hard});
        assert!(ulimits.contains(&wanted), "{wanted} in {ulimits:?}");
    }
    let seen = stack.inside("short-1", "cat /proc/sys/net/core/somaxconn; grep -c shm /proc/mounts; df -k /dev/shm | tail -1 | awk '{print $2}'; grep 'open files' /proc/1/limits | awk '{print $4, $5}'; cat /proc/1/oom_score_adj");
    assert_eq!(seen, "321\n1\n8192\n128 256\n300");
    assert_places(
        &stack.inspect("quota-1"),
        &[("/HostConfig/CpuPeriod", json!(50_000)), ("/HostConfig/CpuQuota", json!(20_000))],
    );
    let deploy = stack.inspect("deploy-1");
    assert_places(
        &deploy,
        &[
            ("/HostConfig/Memory", mib(48)),
            ("/HostConfig/MemoryReservation", mib(16)),
            ("/HostConfig/NanoCpus", json!(250_000_000)),
            ("/HostConfig/PidsLimit", json!(40)),
            ("/HostConfig/RestartPolicy/Name", json!("no")),
        ],
    );
    assert_eq!(deploy["Config"]["Labels"].get("shelf"), None, "it labels the service only");
    let parent_of = stack.inspect("parent-1");
    assert_places(&parent_of, &[("/HostConfig/CgroupParent", json!(parent))]);
    assert!(
        stack.inside("parent-1", "cat /proc/1/cgroup").contains("its-own") || {
            // With a cgroup namespace of its own the container does not see it; the machine does.
            let pid = parent_of["State"]["Pid"].to_string();
            engine().inside(&format!("cat /proc/{pid}/cgroup")).contains("its-own")
        }
    );
    stack.down();
}

const SECURITY: &str = r#"
services:
  caps:
    image: busybox
    command: sleep 3600
    stop_grace_period: 0s
    cap_drop: [ALL]
    cap_add: [NET_BIND_SERVICE, SYS_TIME]
    security_opt: ["no-new-privileges:true", "seccomp=unconfined"]
    devices: ["/dev/null:/dev/nothing:r", {source: /dev/zero, target: /dev/nought, permissions: rw}]
    device_cgroup_rules: ["c 1:8 r"]
  # Made and not started: root in a container that builds this may lack what it hands on.
  privileged: {image: busybox, command: sleep 3600, profiles: [made], privileged: true}
  host: {image: busybox, command: sleep 3600, stop_grace_period: 0s, pid: host, ipc: host, uts: host, userns_mode: host, cgroup: host}
  shares: {image: busybox, command: sleep 3600, stop_grace_period: 0s, ipc: shareable}
  joins: {image: busybox, command: sleep 3600, stop_grace_period: 0s, ipc: "service:shares", pid: "service:shares"}
"#;

/// Podman has control groups as the machine has them, and no rules for devices.
fn security() -> String {
    let file = without(SECURITY, &["device_cgroup_rules:"]);
    if on_podman() { file.replace(", cgroup: host", "") } else { file }
}

#[test]
fn privileges_and_namespaces_are_as_written() {
    let stack = Stack::new("security", &security());
    stack.up();
    let caps = stack.inspect("caps-1");
    // Podman's account has other words for each.
    assert_places(
        &caps,
        &shown(&[
            ("/HostConfig/CapDrop", json!(["ALL"])),
            ("/HostConfig/SecurityOpt", json!(["no-new-privileges=true", "seccomp=unconfined"])),
            (
                "/HostConfig/Devices/0",
                json!({"PathOnHost": "/dev/null", "PathInContainer": "/dev/nothing", "CgroupPermissions": "r"}),
            ),
            (
                "/HostConfig/Devices/1",
                json!({"PathOnHost": "/dev/zero", "PathInContainer": "/dev/nought", "CgroupPermissions": "rw"}),
            ),
            ("/HostConfig/DeviceCgroupRules", json!(["c 1:8 r"])),
        ]),
    );
    let seen = stack.inside(
        "caps-1",
        "grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/1/status; head -c 1 /dev/nought | wc -c",
    );
    let bits = (1_u64 << 10) | (1 << 25);
    assert!(seen.contains(&format!("CapEff:\t{bits:016x}")), "{seen}");
    assert!(seen.contains("NoNewPrivs:\t1") && seen.contains("Seccomp:\t0"), "{seen}");
    stack.fizz(&["create", "privileged"]).ok();
    assert_places(&stack.inspect("privileged-1"), &[("/HostConfig/Privileged", json!(true))]);
    assert_places(&stack.inspect("host-1"), &[("/HostConfig/PidMode", json!("host"))]);
    if on_podman() {
        for namespace in ["ipc", "uts", "user", "cgroup"] {
            let line = format!("readlink /proc/self/ns/{namespace}");
            assert_eq!(stack.inside("host-1", &line), engine().inside(&line), "{namespace}");
        }
    }
    let only_docker = [
        ("/HostConfig/IpcMode", json!("host")),
        ("/HostConfig/UTSMode", json!("host")),
        ("/HostConfig/UsernsMode", json!("host")),
        ("/HostConfig/CgroupnsMode", json!("host")),
    ];
    assert_places(&stack.inspect("host-1"), &shown(&only_docker));
    let shares = stack.inspect("shares-1");
    let id = format!("container:{}", shares["Id"].as_str().unwrap());
    assert_places(&shares, &[("/HostConfig/IpcMode", json!("shareable"))]);
    assert_places(
        &stack.inspect("joins-1"),
        &[("/HostConfig/IpcMode", json!(id)), ("/HostConfig/PidMode", json!(id))],
    );
    stack.down();
}
