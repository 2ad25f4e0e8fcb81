//! Every wrong value is told with what would be right.

use serde_json::{Value, json};

use super::{decoded, web};

fn refused<const N: usize>(cases: [(Value, &str); N]) {
    for (service, message) in cases {
        let error = web(service.clone()).expect_err(&service.to_string());
        assert!(error.contains(message), "{service}: {error}");
    }
}

#[test]
fn wrong_ways_to_a_container_are_told() {
    refused([
        (
            json!({"ports": [{"target": "http"}]}),
            "ports[0].target: `http` is not an integer from 1",
        ),
        (json!({"ports": [{"published": "1"}]}), "ports[0]: names no container port; add `target`"),
        (json!({"ports": [{"target": 1, "published": "9-8"}]}), "published: `9-8` is not a port"),
        (json!({"ports": [{"target": 1, "host_ip": "x"}]}), "host_ip: `x` is not an IP address"),
        (
            json!({"ports": [{"target": 1, "protocol": "tpc"}]}),
            "protocol: `tpc` is not known here; did",
        ),
        (json!({"ports": {}}), "ports: is a mapping; it must be a list"),
        (json!({"expose": ["80/x"]}), "expose[0]: `80/x` is not a port"),
        (json!({"network_mode": "service:x"}), "network_mode: there is no service `x`"),
        (json!({"network_mode": "host", "networks": {"net": null}}), "excludes `networks`"),
        (json!({"networks": {"x": null}}), "networks.x: `x` is not declared under the top-level"),
        (json!({"networks": {"net": {"ipv4_address": "::1"}}}), "`::1` is not an IPv4 address"),
        (json!({"mac_address": "x"}), "mac_address: `x` is not a MAC address"),
        (json!({"ipc": "shared"}), "ipc: `shared` is not known here; use `host`"),
        (json!({"extra_hosts": ["a=b"]}), "extra_hosts[0]: `a=b` is not a host and its address"),
        (json!({"dns": ["a"]}), "dns[0]: `a` is not an IP address"),
        (json!({"links": ["x"]}), "links[0]: there is no service `x`"),
    ]);
}

#[test]
fn wrong_mounts_are_told() {
    refused([
        (json!({"volumes": [{"target": "/a"}]}), "volumes[0].type: is missing"),
        (json!({"volumes": [{"type": "npipe"}]}), "`npipe` cannot be mounted"),
        (json!({"volumes": [{"type": "bind", "target": "/a"}]}), "volumes[0].source: is missing"),
        (
            json!({"volumes": [{"type": "bind", "source": "a", "target": "/a"}]}),
            "source: `a` is not an absolute path",
        ),
        (
            json!({"volumes": [{"type": "volume", "source": "x", "target": "/a"}]}),
            "source: `x` is not declared under the top-level `volumes`",
        ),
        (json!({"configs": [{"source": "x"}]}), "configs[0].source: `x` is not declared"),
        (
            json!({"secrets": [{"source": "key", "mode": "0999"}]}),
            "mode: `0999` is not a file mode",
        ),
        (json!({"secrets": [{"source": "key", "uid": "root"}]}), "uid: `root` is not an integer"),
        (json!({"volumes_from": ["db:rx"]}), "volumes_from[0]: `rx` is not an access mode"),
    ]);
}

#[test]
fn wrong_counts_and_limits_are_told() {
    refused([
        (json!({"cpus": "half"}), "cpus: `half` is not a number of CPUs such as `1.5`"),
        (json!({"mem_limit": "1x"}), "mem_limit: `1x` is not a number of bytes"),
        (
            json!({"cpus": 1, "deploy": {"resources": {"limits": {"cpus": 2}}}}),
            "cpus: differs from the same setting under `deploy.resources`",
        ),
        (json!({"scale": 1, "deploy": {"replicas": 2}}), "scale: differs from `deploy.replicas`"),
        (json!({"scale": -1}), "scale: `-1` is not an integer from 0 to"),
        (json!({"deploy": {"mode": "gobal"}}), "mode: `gobal` is not known here; did you mean `gl"),
        (json!({"deploy": {"mode": "global", "replicas": 2}}), "runs one container on each node"),
        (json!({"container_name": "c", "scale": 2}), "several replicas cannot share one container"),
        (json!({"container_name": "-"}), "`-` can't be a container name"),
        (
            json!({"ulimits": {"nofiles": 1}}),
            "`nofiles` is not a resource limit; did you mean `nofile`",
        ),
        (
            json!({"ulimits": {"nofile": {"soft": 2, "hard": 1}}}),
            "the soft limit is above the hard",
        ),
        (json!({"blkio_config": {"weight": 5}}), "weight: `5` is not a weight from 10 to 1000"),
        (
            json!({"devices": [{"source": "/d", "permissions": "x"}]}),
            "`x` is not a set of the letters",
        ),
        (json!({"device_cgroup_rules": ["c 1"]}), "`c 1` is not a device rule"),
        (json!({"gpus": [{"count": 1, "device_ids": ["0"]}]}), "count: excludes `device_ids`"),
        (
            json!({"deploy": {"resources": {"reservations": {"devices": [{}]}}}}),
            "devices[0]: names no `capabilities`",
        ),
        (json!({"deploy": {"update_config": {"max_failure_ratio": 1.5}}}), "`1.5` is not a ratio"),
        (
            json!({"deploy": {"rollback_config": {"failure_action": "rollback"}}}),
            "failure_action: `rollback` is not known here; use `pause`, `continue`",
        ),
    ]);
}

#[test]
fn wrong_commands_and_policies_are_told() {
    refused([
        (json!({"stop_signal": "SIGFOO"}), "stop_signal: `SIGFOO` is not a signal"),
        (json!({"stop_grace_period": "10"}), "stop_grace_period: `10` is not a duration"),
        (json!({"restart": "sometimes"}), "restart: `sometimes` is not a restart policy"),
        (json!({"restart": "always:3"}), "restart: `always:3` is not a restart policy"),
        (json!({"pull_policy": "every_day"}), "pull_policy: `every_day` is not a pull policy"),
        (json!({"pull_refresh_after": "1h"}), "has a meaning only together with"),
        (json!({"healthcheck": {"test": ["curl"]}}), "healthcheck.test: must be [\"NONE\"]"),
        (json!({"healthcheck": {"test": ["CMD"]}}), "healthcheck.test: must be [\"NONE\"]"),
        (json!({"post_start": [{"user": "x"}]}), "post_start[0].command: a hook needs a command"),
        (json!({"depends_on": {"x": {}}}), "depends_on.x: there is no service `x`"),
        (json!({"depends_on": {"web": {}}}), "depends_on.web: a service cannot wait for itself"),
        (json!({"tty": "maybe"}), "tty: `maybe` is not `true` or `false`"),
        (json!({"image": {"name": "x"}}), "image: is a mapping; it must be a single value"),
    ]);
}

#[test]
fn a_project_needs_a_name_services_need_images_and_configs_content() {
    let error = decoded(&json!({"services": {}})).unwrap_err();
    assert_eq!(error, "name: the project has no name\n");
    let error = decoded(&json!({
        "name": "p",
        "services": {"a b": {"image": "x"}, "c": {}},
        "configs": {"f": {"file": "/f"}},
        "networks": {"n": {"ipam": {"config": [{"subnet": "10.0.0.1"}]}}},
    }))
    .unwrap_err();
    for message in [
        "services.a b: `a b` can't be a service name",
        "services.c: has neither `image` nor `build`",
        "configs.f: has no content",
        "networks.n.ipam.config[0].subnet: `10.0.0.1` is not a network",
    ] {
        assert!(error.contains(message), "{error}");
    }
}
