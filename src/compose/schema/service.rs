//! What a service may hold.

use super::{
    language::{Key, Kind, Names, Shape, may, must},
    table::{OPTIONS, PAIRS, TEXT, TEXT_OR_LIST, named},
};

/// A service.
pub(super) const SERVICE: &[Key] = &[
    may("annotations", PAIRS),
    may("attach", Shape::Flag),
    may("blkio_config", Shape::Closed(BLKIO)),
    may("build", Shape::OneOf(&[TEXT, Shape::Keys(BUILD)])),
    may("cap_add", Shape::Set(&TEXT)),
    may("cap_drop", Shape::Set(&TEXT)),
    may("cgroup", Shape::Word(&["host", "private"])),
    may("cgroup_parent", TEXT),
    may("command", COMMAND),
    may("configs", GRANTS),
    may("container_name", Shape::Matching(is_container_name, "a container name")),
    may("cpu_count", Shape::Integer(0, i64::MAX)),
    may("cpu_percent", Shape::Integer(0, 100)),
    may("cpu_period", INTEGER),
    may("cpu_quota", INTEGER),
    may("cpu_rt_period", INTEGER),
    may("cpu_rt_runtime", INTEGER),
    may("cpu_shares", INTEGER),
    may("cpus", Shape::Number),
    may("cpuset", TEXT),
    may(
        "credential_spec",
        Shape::Keys(&[may("config", TEXT), may("file", TEXT), may("registry", TEXT)]),
    ),
    may(
        "depends_on",
        Shape::OneOf(&[Shape::Set(&TEXT), Shape::Named(Names::Plain, &Shape::Keys(DEPENDENCY))]),
    ),
    may("deploy", Shape::OneOf(&[Shape::Keys(DEPLOY), Shape::Null])),
    may("develop", Shape::OneOf(&[Shape::Keys(DEVELOP), Shape::Null])),
    may("device_cgroup_rules", Shape::Set(&TEXT)),
    may("devices", Shape::List(&DEVICE)),
    may("dns", TEXT_OR_LIST),
    may("dns_opt", Shape::Set(&TEXT)),
    may("dns_search", TEXT_OR_LIST),
    may("domainname", TEXT),
    may("entrypoint", COMMAND),
    may("env_file", Shape::OneOf(&[TEXT, Shape::List(&ENV_FILE)])),
    may("environment", PAIRS),
    may("expose", Shape::Set(&Shape::Spoken(&[Kind::Number]))),
    may(
        "extends",
        Shape::OneOf(&[TEXT, Shape::Closed(&[must("service", TEXT), may("file", TEXT)])]),
    ),
    may("external_links", Shape::Set(&TEXT)),
    may("extra_hosts", HOSTS),
    may("gpus", Shape::OneOf(&[Shape::Word(&["all"]), Shape::List(&Shape::Keys(GPU))])),
    may("group_add", Shape::Set(&Shape::Spoken(&[Kind::Number]))),
    may("healthcheck", Shape::Keys(HEALTHCHECK)),
    may("hostname", TEXT),
    may("image", TEXT),
    may("init", Shape::Flag),
    may("ipc", TEXT),
    may("isolation", TEXT),
    may("label_file", Shape::OneOf(&[TEXT, Shape::List(&TEXT)])),
    may("labels", PAIRS),
    may("links", Shape::Set(&TEXT)),
    may("logging", Shape::Keys(&[may("driver", TEXT), may("options", LOG_OPTIONS)])),
    may("mac_address", TEXT),
    may("mem_limit", BYTES),
    may("mem_reservation", BYTES),
    may("mem_swappiness", BYTES),
    may("memswap_limit", BYTES),
    may("models", Shape::OneOf(&[Shape::Set(&TEXT), named(&MODEL)])),
    may("network_mode", TEXT),
    may("networks", Shape::OneOf(&[Shape::Set(&TEXT), named(&NETWORK)])),
    may("oom_kill_disable", Shape::Flag),
    may("oom_score_adj", Shape::Integer(-1000, 1000)),
    may("pid", Shape::OneOf(&[TEXT, Shape::Null])),
    may("pids_limit", INTEGER),
    may("platform", TEXT),
    may("ports", Shape::List(&Shape::OneOf(&[Shape::Spoken(&[Kind::Number]), Shape::Keys(PORT)]))),
    may("post_start", Shape::List(&Shape::Keys(HOOK))),
    may("pre_start", Shape::List(&Shape::Keys(PRE_START))),
    may("pre_stop", Shape::List(&Shape::Keys(HOOK))),
    may("privileged", Shape::Flag),
    may("profiles", Shape::Set(&TEXT)),
    may("provider", Shape::Keys(PROVIDER)),
    may("pull_policy", Shape::Matching(is_pull_policy, "a pull policy")),
    may("pull_refresh_after", TEXT),
    may("read_only", Shape::Flag),
    may("restart", TEXT),
    may("runtime", TEXT),
    may("scale", INTEGER),
    may("secrets", GRANTS),
    may("security_opt", Shape::Set(&TEXT)),
    may("shm_size", BYTES),
    may("stdin_open", Shape::Flag),
    may("stop_grace_period", Shape::Duration),
    may("stop_signal", TEXT),
    may(
        "storage_opt",
        Shape::Named(Names::Free, &Shape::Spoken(&[Kind::Number, Kind::Bool, Kind::Null])),
    ),
    may("sysctls", PAIRS),
    may("tmpfs", TEXT_OR_LIST),
    may("tty", Shape::Flag),
    may("ulimits", ULIMITS),
    may("use_api_socket", Shape::Bool),
    may("user", TEXT),
    may("userns_mode", TEXT),
    may("uts", TEXT),
    may("volumes", Shape::List(&Shape::OneOf(&[TEXT, Shape::Keys(MOUNT)]))),
    may("volumes_from", Shape::Set(&TEXT)),
    may("working_dir", TEXT),
];

const INTEGER: Shape = Shape::Integer(i64::MIN, i64::MAX);
const BYTES: Shape = Shape::Bytes(i64::MIN);

/// Nothing, a line that is split into words, or the words.
const COMMAND: Shape = Shape::OneOf(&[Shape::Null, TEXT, Shape::List(&TEXT)]);

const LOG_OPTIONS: Shape = Shape::Named(Names::Free, &Shape::Spoken(&[Kind::Number, Kind::Null]));

const BLKIO: &[Key] = &[
    may("weight", INTEGER),
    may("weight_device", Shape::List(&Shape::Closed(&[may("path", TEXT), may("weight", INTEGER)]))),
    may("device_read_bps", RATES),
    may("device_read_iops", RATES),
    may("device_write_bps", RATES),
    may("device_write_iops", RATES),
];
const RATES: Shape = Shape::List(&Shape::Closed(&[may("path", TEXT), may("rate", BYTES)]));

const BUILD: &[Key] = &[
    may("additional_contexts", PAIRS),
    may("args", PAIRS),
    may("cache_from", Shape::List(&TEXT)),
    may("cache_to", Shape::List(&TEXT)),
    may("context", TEXT),
    may("dockerfile", TEXT),
    may("dockerfile_inline", TEXT),
    may("entitlements", Shape::List(&TEXT)),
    may("extra_hosts", HOSTS),
    may("isolation", TEXT),
    may("labels", PAIRS),
    may("network", TEXT),
    may("no_cache", Shape::Flag),
    may("no_cache_filter", TEXT_OR_LIST),
    may("platforms", Shape::List(&TEXT)),
    may("privileged", Shape::Flag),
    may("provenance", Shape::Spoken(&[Kind::Bool])),
    may("pull", Shape::Flag),
    may("sbom", Shape::Spoken(&[Kind::Bool])),
    may("secrets", GRANTS),
    may("shm_size", BYTES),
    may("ssh", PAIRS),
    may("tags", Shape::List(&TEXT)),
    may("target", TEXT),
    may("ulimits", ULIMITS),
];

const DEPENDENCY: &[Key] = &[
    may("restart", Shape::Flag),
    may("required", Shape::Flag),
    must(
        "condition",
        Shape::Word(&["service_started", "service_healthy", "service_completed_successfully"]),
    ),
];

const DEVICE: Shape = Shape::OneOf(&[
    TEXT,
    Shape::Keys(&[must("source", TEXT), may("target", TEXT), may("permissions", TEXT)]),
]);

const ENV_FILE: Shape = Shape::OneOf(&[
    TEXT,
    Shape::Closed(&[must("path", TEXT), may("format", TEXT), may("required", Shape::Flag)]),
]);

/// `host: address` or `host: [address, ...]` as a mapping, `host=address` as a list.
const HOSTS: Shape = Shape::OneOf(&[
    Shape::Named(Names::Free, &Shape::OneOf(&[TEXT, Shape::List(&TEXT)])),
    Shape::Set(&TEXT),
]);

const HEALTHCHECK: &[Key] = &[
    may("disable", Shape::Flag),
    may("interval", Shape::Duration),
    may("retries", Shape::Integer(0, i64::MAX)),
    may("start_interval", Shape::Duration),
    may("start_period", Shape::Duration),
    may("test", Shape::OneOf(&[TEXT, Shape::List(&TEXT)])),
    may("timeout", Shape::Duration),
];

const MODEL: Shape =
    Shape::OneOf(&[Shape::Keys(&[may("endpoint_var", TEXT), may("model_var", TEXT)]), Shape::Null]);

const NETWORK: Shape = Shape::OneOf(&[
    Shape::Keys(&[
        may("aliases", Shape::Set(&TEXT)),
        may("driver_opts", OPTIONS),
        may("gw_priority", Shape::Bare),
        may("interface_name", TEXT),
        may("ipv4_address", TEXT),
        may("ipv6_address", TEXT),
        may("link_local_ips", Shape::Set(&TEXT)),
        may("mac_address", TEXT),
        may("priority", Shape::Bare),
    ]),
    Shape::Null,
]);

const PORT: &[Key] = &[
    may("name", TEXT),
    may("mode", TEXT),
    may("host_ip", TEXT),
    may("target", Shape::Integer(0, u16::MAX as i64)),
    may("published", Shape::Spoken(&[Kind::Integer])),
    may("protocol", TEXT),
    may("app_protocol", TEXT),
];

const HOOK: &[Key] = &[
    must("command", COMMAND),
    may("user", TEXT),
    may("privileged", Shape::Flag),
    may("working_dir", TEXT),
    may("environment", PAIRS),
];

const PRE_START: &[Key] = &[
    may("command", COMMAND),
    may("image", TEXT),
    may("user", TEXT),
    may("privileged", Shape::Flag),
    may("working_dir", TEXT),
    may("environment", PAIRS),
    may("per_replica", Shape::Flag),
];

const PROVIDER: &[Key] = &[
    must("type", TEXT),
    may("options", Shape::Named(Names::Free, &Shape::OneOf(&[SPOKEN, Shape::List(&SPOKEN)]))),
];
const SPOKEN: Shape = Shape::Spoken(&[Kind::Number, Kind::Bool]);

/// Configs and secrets given to a container or a build.
const GRANTS: Shape = Shape::List(&Shape::OneOf(&[
    TEXT,
    Shape::Keys(&[
        may("source", TEXT),
        may("target", TEXT),
        may("uid", TEXT),
        may("gid", TEXT),
        may("mode", Shape::Mode),
    ]),
]));

const ULIMITS: Shape = Shape::Named(
    Names::Free,
    &Shape::OneOf(&[INTEGER, Shape::Keys(&[must("soft", INTEGER), must("hard", INTEGER)])]),
);

const MOUNT: &[Key] = &[
    must("type", Shape::Word(&["bind", "volume", "tmpfs", "cluster", "npipe", "image"])),
    may("source", TEXT),
    may("target", TEXT),
    may("read_only", Shape::Flag),
    may("consistency", TEXT),
    may(
        "bind",
        Shape::Keys(&[
            may("propagation", TEXT),
            may("create_host_path", Shape::Flag),
            may("recursive", Shape::Word(&["enabled", "disabled", "writable", "readonly"])),
            may("selinux", Shape::Word(&["z", "Z"])),
        ]),
    ),
    may(
        "volume",
        Shape::Keys(&[may("labels", PAIRS), may("nocopy", Shape::Flag), may("subpath", TEXT)]),
    ),
    may("tmpfs", Shape::Keys(&[may("size", Shape::Bytes(0)), may("mode", Shape::Mode)])),
    may("image", Shape::Keys(&[may("subpath", TEXT)])),
];

const DEVELOP: &[Key] = &[may("watch", Shape::List(&Shape::Keys(WATCH)))];

const WATCH: &[Key] = &[
    must("path", TEXT),
    must("action", Shape::Word(&["rebuild", "sync", "restart", "sync+restart", "sync+exec"])),
    may("target", TEXT),
    may("exec", Shape::Keys(HOOK)),
    may("ignore", TEXT_OR_LIST),
    may("include", TEXT_OR_LIST),
    may("initial_sync", Shape::Bool),
];

const DEPLOY: &[Key] = &[
    may("mode", TEXT),
    may("endpoint_mode", TEXT),
    may("replicas", INTEGER),
    may("labels", PAIRS),
    may("rollback_config", Shape::Keys(UPDATE)),
    may("update_config", Shape::Keys(UPDATE)),
    may(
        "resources",
        Shape::Keys(&[
            may(
                "limits",
                Shape::Keys(&[
                    may("cpus", Shape::Number),
                    may("memory", BYTES),
                    may("pids", INTEGER),
                ]),
            ),
            may(
                "reservations",
                Shape::Keys(&[
                    may("cpus", Shape::Number),
                    may("memory", BYTES),
                    may("generic_resources", Shape::List(&GENERIC_RESOURCE)),
                    may("devices", Shape::List(&Shape::Keys(DEVICE_REQUEST))),
                ]),
            ),
        ]),
    ),
    may(
        "restart_policy",
        Shape::Keys(&[
            may("condition", TEXT),
            may("delay", Shape::Duration),
            may("max_attempts", Shape::Integer(0, i64::MAX)),
            may("window", Shape::Duration),
        ]),
    ),
    may(
        "placement",
        Shape::Keys(&[
            may("constraints", Shape::List(&TEXT)),
            may("preferences", Shape::List(&Shape::Keys(&[may("spread", TEXT)]))),
            may("max_replicas_per_node", Shape::Integer(0, i64::MAX)),
        ]),
    ),
];

const UPDATE: &[Key] = &[
    may("parallelism", Shape::Integer(0, i64::MAX)),
    may("delay", Shape::Duration),
    may("failure_action", TEXT),
    may("monitor", Shape::Duration),
    may("max_failure_ratio", Shape::Number),
    may("order", Shape::Word(&["start-first", "stop-first"])),
];

const GENERIC_RESOURCE: Shape = Shape::Keys(&[may(
    "discrete_resource_spec",
    Shape::Keys(&[may("kind", TEXT), may("value", INTEGER)]),
)]);

const DEVICE_REQUEST: &[Key] = &[
    must("capabilities", Shape::Set(&TEXT)),
    may("count", Shape::Devices),
    may("device_ids", Shape::Set(&TEXT)),
    may("driver", TEXT),
    may("options", PAIRS),
];

const GPU: &[Key] = &[
    may("capabilities", Shape::Set(&TEXT)),
    may("count", Shape::Devices),
    may("device_ids", Shape::Set(&TEXT)),
    may("driver", TEXT),
    may("options", PAIRS),
];

fn is_container_name(text: &str) -> bool {
    let rest = text.strip_prefix(|it: char| it.is_ascii_alphanumeric());
    rest.is_some_and(|rest| {
        !rest.is_empty()
            && rest.chars().all(|it| it.is_ascii_alphanumeric() || matches!(it, '_' | '.' | '-'))
    })
}

fn is_pull_policy(text: &str) -> bool {
    const WORDS: [&str; 8] =
        ["always", "never", "build", "if_not_present", "missing", "refresh", "daily", "weekly"];
    WORDS.contains(&text) || text.strip_prefix("every_").is_some_and(is_interval)
}

/// One or more of a number and a unit: `1d12h`.
fn is_interval(text: &str) -> bool {
    let mut digits = 0;
    for it in text.chars() {
        match it {
            '0'..='9' => digits += 1,
            'w' | 'd' | 'h' | 'm' | 's' if digits > 0 => digits = 0,
            _ => return false,
        }
    }
    !text.is_empty() && digits == 0
}
