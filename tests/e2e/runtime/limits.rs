//! Limits and devices, seen from inside or in the engine's account.

use fizz::model::spec::{
    BlkioSpec, ByteRate, DeviceRequest, DeviceSpec, IoRate, LoggingSpec, Ulimit,
};
use fizz::runtime::CreateContainer;
use serde_json::json;

use crate::harness::Lab;

/// A file of the container's own cgroup: `$1` under version 1, `$2` under version 2.
const CGROUP: &str =
    "for it in /sys/fs/cgroup/$1 /sys/fs/cgroup/$2; do [ -f $it ] && cat $it && break; done";

async fn cgroup(lab: &Lab, id: &fizz::runtime::RuntimeId, v1: &str, v2: &str) -> String {
    lab.sh(id, &format!("set -- {v1} {v2}; {CGROUP}")).await
}

#[tokio::test]
async fn memory_and_processes_are_bounded() {
    let lab = Lab::new();
    let id = lab
        .run_with(|it| {
            let limits = &mut it.spec.resources;
            limits.memory_bytes = Some(64 << 20);
            limits.reserved_memory_bytes = Some(32 << 20);
            limits.memory_swap_bytes = Some(64 << 20);
            limits.memory_swappiness = Some(7);
            limits.pids = Some(77);
            limits.shm_bytes = Some(3 << 20);
            limits.oom_score_adj = Some(321);
            limits.oom_kill_disable = true;
        })
        .await;
    assert_eq!(cgroup(&lab, &id, "memory/memory.limit_in_bytes", "memory.max").await, "67108864");
    assert_eq!(
        cgroup(&lab, &id, "memory/memory.soft_limit_in_bytes", "memory.low").await,
        "33554432"
    );
    assert_eq!(cgroup(&lab, &id, "pids/pids.max", "pids.max").await, "77");
    assert_eq!(lab.sh(&id, "cat /proc/1/oom_score_adj").await, "321");
    assert_eq!(lab.sh(&id, "df -k /dev/shm | awk 'END{print $2}'").await, "3072");
    assert_eq!(lab.inspected(&id, "/HostConfig/MemorySwap").await, 64 << 20);
    // cgroup v2 has neither of these, and the engine says so in its account.
    if lab.try_sh(&id, "test -f /sys/fs/cgroup/memory/memory.swappiness").await.1 == 0 {
        assert_eq!(lab.inspected(&id, "/HostConfig/MemorySwappiness").await, 7);
        assert_eq!(lab.inspected(&id, "/HostConfig/OomKillDisable").await, true);
    }
}

#[tokio::test]
async fn cpu_is_bounded() {
    let lab = Lab::new();
    let id = lab
        .run_with(|it| {
            let limits = &mut it.spec.resources;
            limits.nano_cpus = Some(250_000_000);
            limits.cpu_shares = Some(512);
            limits.cpuset = Some("0".to_owned());
        })
        .await;
    let quota = cgroup(&lab, &id, "cpu/cpu.cfs_quota_us", "cpu.max").await;
    assert!(quota.starts_with("25000"), "{quota}");
    assert_eq!(lab.inspected(&id, "/HostConfig/CpuShares").await, 512);
    assert_eq!(
        lab.sh(&id, "grep Cpus_allowed_list /proc/self/status | awk '{print $2}'").await,
        "0"
    );
    let id = lab
        .run_with(|it| {
            it.spec.resources.cpu_period_us = Some(50_000);
            it.spec.resources.cpu_quota_us = Some(20_000);
        })
        .await;
    assert_eq!(lab.inspected(&id, "/HostConfig/CpuPeriod").await, 50_000);
    assert_eq!(lab.inspected(&id, "/HostConfig/CpuQuota").await, 20_000);
}

#[tokio::test]
async fn real_time_is_given_or_refused_but_not_forgotten() {
    let lab = Lab::new();
    let request = lab.with(|it| {
        it.spec.resources.cpu_rt_period_us = Some(1_000_000);
        it.spec.resources.cpu_rt_runtime_us = Some(10_000);
    });
    match lab.runtime.create(&request).await {
        Ok(id) => assert_eq!(lab.inspected(&id, "/HostConfig/CpuRealtimeRuntime").await, 10_000),
        // Most kernels are built without it, and the engine says so.
        Err(error) => assert!(error.to_string().to_lowercase().contains("real-time"), "{error}"),
    }
}

#[tokio::test]
async fn ulimits_hold() {
    let lab = Lab::new();
    let id = lab
        .run_with(|it| {
            it.spec.resources.ulimits = [
                ("nofile".to_owned(), Ulimit { soft: 111, hard: 222 }),
                ("core".to_owned(), Ulimit { soft: 0, hard: 0 }),
                // Podman sets its own where it is not told, and root may not raise it here.
                ("nproc".to_owned(), Ulimit { soft: 512, hard: 512 }),
            ]
            .into();
        })
        .await;
    assert_eq!(
        lab.sh(&id, "grep 'open files' /proc/1/limits | awk '{print $4, $5}'").await,
        "111 222"
    );
    assert_eq!(lab.sh(&id, "grep 'core file' /proc/1/limits | awk '{print $5, $6}'").await, "0 0");
}

#[tokio::test]
async fn devices_are_given_with_their_permissions() {
    let lab = Lab::new();
    let id = lab
        .run_with(|it| {
            it.spec.resources.devices = vec![DeviceSpec {
                source: "/dev/loop-control".to_owned(),
                target: "/dev/mine".to_owned(),
                permissions: "r".to_owned(),
            }];
            if !lab.on_podman() {
                it.spec.resources.device_cgroup_rules = vec!["c 42:* rmw".to_owned()];
            }
        })
        .await;
    lab.sh(&id, ": < /dev/mine").await;
    assert_ne!(lab.try_sh(&id, ": > /dev/mine").await.1, 0);
    if lab.on_podman() {
        let rules = vec!["c 42:* rmw".to_owned()];
        super::refused(&lab, "device_cgroup_rules", |it| {
            it.spec.resources.device_cgroup_rules = rules;
        })
        .await;
    } else if lab.on_containerd() {
        let rules = lab.inspected(&id, "/spec/linux/resources/devices").await;
        assert!(rules.as_array().unwrap().iter().any(|it| it["major"] == 42), "{rules}");
    } else {
        let rules = lab.inspected(&id, "/HostConfig/DeviceCgroupRules").await;
        assert_eq!(rules, json!(["c 42:* rmw"]));
    }
}

#[tokio::test]
async fn devices_by_capability_reach_the_engine() {
    let lab = Lab::new();
    let change = |it: &mut CreateContainer| {
        it.spec.resources.device_requests = vec![DeviceRequest {
            driver: Some("acme".to_owned()),
            count: Some(-1),
            device_ids: Vec::new(),
            capabilities: vec!["gpu".to_owned()],
            options: [("a".to_owned(), "b".to_owned())].into(),
        }];
    };
    if lab.on_podman() || lab.on_containerd() {
        return super::refused(&lab, "gpus", change).await;
    }
    let id = lab.runtime.create(&lab.with(change)).await.unwrap();
    let wanted = json!([{ "Driver": "acme", "Count": -1, "DeviceIDs": null, "Capabilities": [["gpu"]], "Options": { "a": "b" } }]);
    assert_eq!(lab.inspected(&id, "/HostConfig/DeviceRequests").await, wanted);
    // Nobody here has such a device, and starting says so.
    let error = lab.runtime.start(&id).await.unwrap_err();
    assert!(error.to_string().contains("acme"), "{error}");
}

#[tokio::test]
async fn block_io_is_bounded() {
    let lab = Lab::new();
    let device = lab.engine.inside("ls /dev/vda /dev/sda /dev/nvme0n1 2>/dev/null | head -1");
    let rate = |bytes| vec![ByteRate { path: device.clone(), bytes }];
    let operations = |operations| vec![IoRate { path: device.clone(), operations }];
    let id = lab
        .run_with(|it| {
            it.spec.resources.blkio = Some(BlkioSpec {
                read_bps: rate(1_000_001),
                write_bps: rate(1_000_002),
                read_iops: operations(1003),
                write_iops: operations(1004),
                ..BlkioSpec::default()
            });
        })
        .await;
    for (key, rate) in
        [("ReadBps", 1_000_001), ("WriteBps", 1_000_002), ("ReadIOps", 1003), ("WriteIOps", 1004)]
    {
        if lab.on_containerd() {
            let at = format!(
                "/spec/linux/resources/blockIO/throttle{}Device/0/rate",
                key.replace("IOps", "IOPS")
            );
            assert_eq!(lab.inspected(&id, &at).await, rate);
            continue;
        }
        let shown = lab.inspected(&id, "/HostConfig").await;
        assert_eq!(shown[format!("BlkioDevice{key}")], json!([{ "Path": device, "Rate": rate }]));
    }
    let written = cgroup(&lab, &id, "blkio/blkio.throttle.write_bps_device", "io.max").await;
    assert!(written.contains("1000002"), "{written}");
}

#[tokio::test]
async fn output_goes_where_it_was_told_to() {
    let lab = Lab::new();
    let id = lab
        .run_with(|it| {
            let options =
                [("max-size".to_owned(), "1m".to_owned()), ("max-file".to_owned(), "2".to_owned())]
                    .into();
            it.spec.logging = Some(LoggingSpec { driver: Some("json-file".to_owned()), options });
        })
        .await;
    if lab.on_podman() {
        // Its own account names the bound; it keeps one file.
        return assert_eq!(lab.libpod(&id, "/HostConfig/LogConfig/Size"), "1MB");
    }
    if lab.on_containerd() {
        let wanted = json!({ "kept": true, "bytes_max": 1 << 20, "files_max": 2 });
        return assert_eq!(lab.inspected(&id, "/fizz/log").await, wanted);
    }
    let wanted = json!({ "Type": "json-file", "Config": { "max-file": "2", "max-size": "1m" } });
    assert_eq!(lab.inspected(&id, "/HostConfig/LogConfig").await, wanted);
}
