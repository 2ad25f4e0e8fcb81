//! For each key of a service, a value that is not its default.

use serde_json::{Value, json};

/// A value for a key; `None` where there is no sample.
pub(crate) fn value(path: &str) -> Option<Value> {
    let (parent, key) = path.rsplit_once('.').unwrap_or(("", path));
    let value = match (parent, key) {
        ("depends_on.*", "restart") => json!(true),
        ("configs[]" | "secrets[]", "mode") => json!("0400"),
        ("ports[]", "target") => json!(81),
        ("blkio_config.weight_device[]", "path") => json!("/dev/b"),
        ("x-fizz", "health") => json!({"tcp": {"port": 80}}),
        ("x-fizz.job", "retries") => json!(3),
        ("deploy.update_config" | "deploy.rollback_config", "failure_action") => json!("continue"),
        ("deploy.update_config" | "deploy.rollback_config", "order") => json!("start-first"),
        ("deploy.update_config" | "deploy.rollback_config", "parallelism") => json!(3),
        ("deploy.update_config" | "deploy.rollback_config", "max_failure_ratio") => json!(0.5),
        ("x-fizz.job", "timeout") => json!("5m"),
        ("x-fizz", "pre_deploy") => json!({"service": "db"}),
        ("x-fizz", "cron") => json!({"schedule": "@daily"}),
        ("x-fizz", "partition") => json!("singleton"),
        ("x-fizz", "placement") => json!({"nodes": ["a"]}),
        ("deploy.placement", "constraints") => json!(["node.labels.disk == ssd"]),
        ("deploy.placement", "max_replicas_per_node") => json!(2),
        ("deploy.placement.preferences[]", "spread") => json!("node.labels.zone"),
        ("volumes[]", "source") => json!("n"),
        ("configs[]" | "secrets[]", "source") => json!("m"),
        ("networks.*", "mac_address") => json!("02:42:ac:11:65:08"),
        ("devices[]", "source") => json!("/dev/b"),
        ("healthcheck", "test") => json!(["CMD", "b"]),
        ("deploy", "mode") => json!("global"),
        ("volumes[].tmpfs", "mode") => json!("1777"),
        ("volumes[]", "type") => json!("tmpfs"),
        ("deploy.restart_policy", "condition") => json!("none"),
        _ if parent.ends_with("_iops[]") || parent.ends_with("_bps[]") => match key {
            "path" => json!("/dev/b"),
            _ => json!(2),
        },
        _ => simple(key)?,
    };
    Some(value)
}

/// A value for a key that means the same wherever it stands.
fn simple(key: &str) -> Option<Value> {
    let value = match key {
        "attach" | "create_host_path" | "required" => json!(false),
        "disable" | "init" | "nocopy" | "oom_kill_disable" | "privileged" | "read_only"
        | "stdin_open" | "tty" => json!(true),
        "cpu_period" | "cpu_quota" | "cpu_rt_period" | "cpu_rt_runtime" | "cpu_shares" | "cpus"
        | "gid" | "gw_priority" | "hard" | "max_attempts" | "mem_swappiness" | "oom_score_adj"
        | "canary" | "pids" | "pids_limit" | "priority" | "replicas" | "retries" | "scale"
        | "soft" | "uid" | "count" => json!(7),
        "mem_limit" | "mem_reservation" | "memory" | "memswap_limit" | "shm_size" | "size" => {
            json!("4096")
        }
        "delay" | "interval" | "monitor" | "pull_refresh_after" | "start_interval"
        | "start_period" | "stop_grace_period" | "timeout" | "window" => json!("7s"),
        "aliases" | "cap_add" | "cap_drop" | "capabilities" | "command" | "device_ids"
        | "dns_opt" | "dns_search" | "entrypoint" | "group_add" | "security_opt" => {
            json!(["a", "b"])
        }
        "annotations" | "driver_opts" | "environment" | "labels" | "options" | "storage_opt"
        | "sysctls" => json!({"a": "b"}),
        "app_protocol" | "cgroup_parent" | "container_name" | "cpuset" | "domainname"
        | "driver" | "hostname" | "image" | "interface_name" | "name" | "platform" | "runtime"
        | "subpath" | "user" | "userns_mode" | "working_dir" => json!("other"),
        "weight" => json!(20),
        "published" => json!("8080"),
        "mode" => json!("host"),
        "target" => json!("/other"),
        "host_ip" | "ipv4_address" => json!("127.0.0.2"),
        "ipv6_address" => json!("fd00::2"),
        "link_local_ips" | "dns" => json!(["169.254.0.2"]),
        "mac_address" => json!("02:42:ac:11:65:43"),
        "protocol" => json!("udp"),
        "build" => json!({"context": "/src"}),
        "cgroup" | "ipc" | "isolation" | "network_mode" | "pid" | "uts" => json!("host"),
        "condition" => json!("service_healthy"),
        "device_cgroup_rules" => json!(["c 1:3 mr"]),
        "devices" | "volumes_from" | "links" | "external_links" => json!(["db"]),
        "expose" => json!(["80"]),
        "extra_hosts" => json!(["a=127.0.0.1"]),
        "permissions" => json!("r"),
        "propagation" => json!("rslave"),
        "pull_policy" => json!("always"),
        "recursive" => json!("disabled"),
        "restart" => json!("always"),
        "selinux" => json!("z"),
        "stop_signal" => json!("SIGINT"),
        "tmpfs" => json!(["/a"]),
        _ => return None,
    };
    Some(value)
}

/// What must stand beside a key for the service to be right: under its parent's path.
fn beside(parent: &str) -> Value {
    match parent {
        "" => json!({"image": "app"}),
        "blkio_config.device_read_bps[]"
        | "blkio_config.device_read_iops[]"
        | "blkio_config.device_write_bps[]"
        | "blkio_config.device_write_iops[]" => json!({"path": "/dev/a", "rate": 1}),
        "blkio_config.weight_device[]" => json!({"path": "/dev/a", "weight": 10}),
        "configs[]" | "secrets[]" => json!({"source": "n"}),
        "deploy.resources.reservations.devices[]" => json!({"capabilities": ["tpu"]}),
        "devices[]" => json!({"source": "/dev/a"}),
        "ports[]" => json!({"target": 80}),
        "post_start[]" | "pre_stop[]" => json!({"command": ["a"]}),
        "volumes[]" => json!({"type": "volume", "target": "/a"}),
        _ => json!({}),
    }
}

/// Further needs of one key.
fn needs(path: &str) -> Value {
    match path {
        "volumes[].bind"
        | "volumes[].bind.create_host_path"
        | "volumes[].bind.propagation"
        | "volumes[].bind.recursive"
        | "volumes[].bind.selinux" => {
            json!({"volumes": [{"type": "bind", "source": "/b", "target": "/a"}]})
        }
        "volumes[].tmpfs" | "volumes[].tmpfs.size" | "volumes[].tmpfs.mode" => {
            json!({"volumes": [{"type": "tmpfs", "target": "/a"}]})
        }
        "volumes[].image" | "volumes[].image.subpath" => {
            json!({"volumes": [{"type": "image", "source": "i", "target": "/a"}]})
        }
        "volumes[].type" => json!({"volumes": [{"target": "/a"}]}),
        "image" | "build" => json!({"image": null}),
        "pull_refresh_after" => json!({"pull_policy": "refresh"}),
        "healthcheck.disable" => json!({"healthcheck": {"test": ["CMD", "a"]}}),
        _ => json!({}),
    }
}

/// A right service with the value at a path, and the same without.
pub(crate) fn services(path: &str, value: Value) -> (Value, Value) {
    let mut without = json!({});
    merge(&mut without, beside(""));
    let steps: Vec<&str> = path.split('.').collect();
    for length in 1..steps.len() {
        let parent = steps[..length].join(".");
        merge(&mut without, at(&parent, beside(&parent)));
    }
    merge(&mut without, needs(path));
    let mut with = without.clone();
    merge(&mut with, at(path, value));
    if path == "image" || path == "build" || path == "volumes[].type" {
        // Without these the service would be wrong; compare with another value.
        merge(
            &mut without,
            match path {
                "volumes[].type" => json!({"volumes": [{"type": "volume"}]}),
                _ => json!({"image": "app"}),
            },
        );
    }
    (with, without)
}

/// A value at a path of otherwise empty mappings and lists.
fn at(path: &str, value: Value) -> Value {
    let name = match path.split_once('.') {
        Some(("depends_on", _)) => "db",
        Some(("ulimits", _)) => "nofile",
        _ => "n",
    };
    path.rsplit('.').fold(value, |value, step| match step.strip_suffix("[]") {
        Some(step) => json!({step: [value]}),
        None if step == "*" => json!({name: value}),
        None => json!({step: value}),
    })
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (Value::Array(into), Value::Array(from)) if into.len() == from.len() => {
            for (into, from) in into.iter_mut().zip(from) {
                merge(into, from);
            }
        }
        (into, from) => *into = from,
    }
}
