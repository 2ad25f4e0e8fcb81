//! The order in which `docker compose` prints keys: that of the fields of compose-go's types.
//! Names that users choose are sorted, and extensions come last.

use super::super::tree::{Map, Node};

/// Where in a model we are, as far as the order of keys goes.
#[derive(Clone, Copy)]
pub(super) enum At {
    /// In a mapping of known keys.
    In(&'static Place),
    /// In a list or a mapping of names, whose values are such mappings.
    Around(&'static Place),
    /// Where keys are sorted.
    Anywhere,
}

/// A mapping of known keys.
pub(super) struct Place {
    keys: &'static [&'static str],
    inside: &'static [(&'static str, Hop, &'static Place)],
    /// Whether compose-go forgot to say how JSON spells the keys, so that Go capitalises them.
    capital: bool,
}

/// Whether a key's value is the mapping, or holds several of them.
#[derive(Clone, Copy)]
enum Hop {
    Own,
    Each,
}

use Hop::{Each, Own};

impl At {
    pub(super) const PROJECT: Self = Self::In(&PROJECT);

    /// Where the value of a key is.
    pub(super) fn value_of(self, key: &str) -> Self {
        match self {
            Self::In(place) => match place.inside.iter().find(|it| it.0 == key) {
                Some((_, Own, inner)) => Self::In(inner),
                Some((_, Each, inner)) => Self::Around(inner),
                None => Self::Anywhere,
            },
            Self::Around(place) => Self::In(place),
            Self::Anywhere => Self::Anywhere,
        }
    }

    /// Where the items of a list are.
    pub(super) fn item(self) -> Self {
        match self {
            Self::Around(place) => Self::In(place),
            Self::In(_) | Self::Anywhere => Self::Anywhere,
        }
    }

    /// A key as `docker compose` spells it in JSON.
    pub(super) fn in_json(self, key: &str) -> std::borrow::Cow<'_, str> {
        match self {
            Self::In(Place { capital: true, keys, .. }) if keys.contains(&key) => {
                (key[..1].to_ascii_uppercase() + &key[1..]).into()
            }
            Self::In(_) | Self::Around(_) | Self::Anywhere => key.into(),
        }
    }

    /// The entries of a mapping in their order.
    pub(super) fn sorted(self, map: &Map) -> Vec<(&str, &Node)> {
        let mut entries: Vec<(&str, &Node)> =
            map.iter().map(|(key, entry)| (key.as_str(), &entry.node)).collect();
        if let Self::In(place) = self {
            let rank = |key: &str| place.keys.iter().position(|it| *it == key);
            entries.sort_by_key(|(key, _)| rank(key).unwrap_or(usize::MAX));
        }
        entries
    }
}

static PROJECT: Place = Place {
    keys: &["name", "services", "networks", "volumes", "secrets", "configs", "models"],
    inside: &[
        ("services", Each, &SERVICE),
        ("networks", Each, &NETWORK),
        ("volumes", Each, &VOLUME),
        ("secrets", Each, &FILE_OBJECT),
        ("configs", Each, &FILE_OBJECT),
        ("models", Each, &MODEL),
    ],
    capital: false,
};

static SERVICE: Place = Place {
    keys: &[
        "profiles",
        "annotations",
        "attach",
        "build",
        "develop",
        "blkio_config",
        "cap_add",
        "cap_drop",
        "cgroup_parent",
        "cgroup",
        "cpu_count",
        "cpu_percent",
        "cpu_period",
        "cpu_quota",
        "cpu_rt_period",
        "cpu_rt_runtime",
        "cpus",
        "cpuset",
        "cpu_shares",
        "command",
        "configs",
        "container_name",
        "credential_spec",
        "depends_on",
        "deploy",
        "device_cgroup_rules",
        "devices",
        "dns",
        "dns_opt",
        "dns_search",
        "dockerfile",
        "domainname",
        "entrypoint",
        "provider",
        "environment",
        "env_file",
        "expose",
        "extends",
        "external_links",
        "extra_hosts",
        "group_add",
        "gpus",
        "hostname",
        "healthcheck",
        "image",
        "init",
        "ipc",
        "isolation",
        "labels",
        "label_file",
        "links",
        "logging",
        "log_driver",
        "log_opt",
        "mem_limit",
        "mem_reservation",
        "memswap_limit",
        "mem_swappiness",
        "mac_address",
        "models",
        "net",
        "network_mode",
        "networks",
        "oom_kill_disable",
        "oom_score_adj",
        "pid",
        "pids_limit",
        "platform",
        "ports",
        "privileged",
        "pull_policy",
        "read_only",
        "restart",
        "runtime",
        "scale",
        "secrets",
        "security_opt",
        "shm_size",
        "stdin_open",
        "stop_grace_period",
        "stop_signal",
        "storage_opt",
        "sysctls",
        "tmpfs",
        "tty",
        "ulimits",
        "use_api_socket",
        "user",
        "userns_mode",
        "uts",
        "volume_driver",
        "volumes",
        "volumes_from",
        "working_dir",
        "pre_start",
        "post_start",
        "pre_stop",
    ],
    inside: &[
        ("blkio_config", Own, &BLKIO),
        ("build", Own, &BUILD),
        ("configs", Each, &FILE_REFERENCE),
        ("credential_spec", Own, &CREDENTIAL),
        ("depends_on", Each, &DEPENDENCY),
        ("deploy", Own, &DEPLOY),
        ("develop", Own, &DEVELOP),
        ("devices", Each, &DEVICE),
        ("env_file", Each, &ENV_FILE),
        ("extends", Own, &EXTENDS),
        ("gpus", Each, &DEVICE_REQUEST),
        ("healthcheck", Own, &HEALTHCHECK),
        ("logging", Own, &LOGGING),
        ("models", Each, &SERVICE_MODEL),
        ("networks", Each, &SERVICE_NETWORK),
        ("ports", Each, &PORT),
        ("post_start", Each, &HOOK),
        ("pre_start", Each, &HOOK),
        ("pre_stop", Each, &HOOK),
        ("provider", Own, &PROVIDER),
        ("secrets", Each, &FILE_REFERENCE),
        ("ulimits", Each, &ULIMIT),
        ("volumes", Each, &MOUNT),
    ],
    capital: false,
};

static BUILD: Place = Place {
    keys: &[
        "context",
        "dockerfile",
        "dockerfile_inline",
        "entitlements",
        "args",
        "provenance",
        "sbom",
        "ssh",
        "labels",
        "cache_from",
        "cache_to",
        "no_cache",
        "no_cache_filter",
        "additional_contexts",
        "pull",
        "extra_hosts",
        "isolation",
        "network",
        "target",
        "secrets",
        "shm_size",
        "tags",
        "ulimits",
        "platforms",
        "privileged",
    ],
    inside: &[("secrets", Each, &FILE_REFERENCE), ("ulimits", Each, &ULIMIT)],
    capital: false,
};

static DEVELOP: Place =
    Place { keys: &["watch"], inside: &[("watch", Each, &TRIGGER)], capital: false };

static TRIGGER: Place = Place {
    keys: &["path", "action", "target", "exec", "include", "ignore", "initial_sync"],
    inside: &[("exec", Own, &HOOK)],
    capital: false,
};

static HOOK: Place = Place {
    keys: &["command", "image", "user", "privileged", "working_dir", "environment", "per_replica"],
    inside: &[],
    capital: false,
};

static DEVICE: Place =
    Place { keys: &["source", "target", "permissions"], inside: &[], capital: false };

static DEVICE_REQUEST: Place = Place {
    keys: &["capabilities", "driver", "count", "device_ids", "options"],
    inside: &[],
    capital: false,
};

static ENV_FILE: Place =
    Place { keys: &["path", "required", "format"], inside: &[], capital: false };

static EXTENDS: Place = Place { keys: &["file", "service"], inside: &[], capital: false };

static HEALTHCHECK: Place = Place {
    keys: &["test", "timeout", "interval", "retries", "start_period", "start_interval", "disable"],
    inside: &[],
    capital: false,
};

static LOGGING: Place = Place { keys: &["driver", "options"], inside: &[], capital: false };

static PROVIDER: Place = Place { keys: &["type", "options"], inside: &[], capital: false };

static CREDENTIAL: Place =
    Place { keys: &["config", "file", "registry"], inside: &[], capital: false };

static DEPENDENCY: Place =
    Place { keys: &["condition", "restart", "required"], inside: &[], capital: false };

static DEPLOY: Place = Place {
    keys: &[
        "mode",
        "replicas",
        "labels",
        "update_config",
        "rollback_config",
        "resources",
        "restart_policy",
        "placement",
        "endpoint_mode",
    ],
    inside: &[
        ("placement", Own, &PLACEMENT),
        ("resources", Own, &RESOURCES),
        ("restart_policy", Own, &RESTART),
        ("rollback_config", Own, &UPDATE),
        ("update_config", Own, &UPDATE),
    ],
    capital: false,
};

static UPDATE: Place = Place {
    keys: &["parallelism", "delay", "failure_action", "monitor", "max_failure_ratio", "order"],
    inside: &[],
    capital: false,
};

static RESOURCES: Place = Place {
    keys: &["limits", "reservations"],
    inside: &[("limits", Own, &RESOURCE), ("reservations", Own, &RESOURCE)],
    capital: false,
};

static RESOURCE: Place = Place {
    keys: &["cpus", "memory", "pids", "devices", "generic_resources"],
    inside: &[("devices", Each, &DEVICE_REQUEST)],
    capital: false,
};

static RESTART: Place =
    Place { keys: &["condition", "delay", "max_attempts", "window"], inside: &[], capital: false };

static PLACEMENT: Place = Place {
    keys: &["constraints", "preferences", "max_replicas_per_node"],
    inside: &[],
    capital: false,
};

static SERVICE_MODEL: Place =
    Place { keys: &["endpoint_var", "model_var"], inside: &[], capital: false };

static SERVICE_NETWORK: Place = Place {
    keys: &[
        "aliases",
        "driver_opts",
        "gw_priority",
        "interface_name",
        "ipv4_address",
        "ipv6_address",
        "link_local_ips",
        "mac_address",
        "priority",
    ],
    inside: &[],
    capital: false,
};

static PORT: Place = Place {
    keys: &["name", "mode", "host_ip", "target", "published", "protocol", "app_protocol"],
    inside: &[],
    capital: false,
};

static MOUNT: Place = Place {
    keys: &[
        "type",
        "source",
        "target",
        "read_only",
        "consistency",
        "bind",
        "volume",
        "tmpfs",
        "image",
    ],
    inside: &[("bind", Own, &BIND), ("tmpfs", Own, &TMPFS), ("volume", Own, &MOUNT_VOLUME)],
    capital: false,
};

static BIND: Place = Place {
    keys: &["selinux", "propagation", "create_host_path", "recursive"],
    inside: &[],
    capital: false,
};

static MOUNT_VOLUME: Place =
    Place { keys: &["labels", "nocopy", "subpath"], inside: &[], capital: false };

static TMPFS: Place = Place { keys: &["size", "mode"], inside: &[], capital: false };

static FILE_REFERENCE: Place =
    Place { keys: &["source", "target", "uid", "gid", "mode"], inside: &[], capital: false };

static ULIMIT: Place = Place { keys: &["single", "soft", "hard"], inside: &[], capital: false };

static NETWORK: Place = Place {
    keys: &[
        "name",
        "driver",
        "driver_opts",
        "ipam",
        "external",
        "internal",
        "attachable",
        "labels",
        "enable_ipv4",
        "enable_ipv6",
    ],
    inside: &[("ipam", Own, &IPAM)],
    capital: false,
};

static IPAM: Place = Place {
    keys: &["driver", "config", "options"],
    inside: &[("config", Each, &POOL)],
    capital: false,
};

static POOL: Place = Place {
    keys: &["subnet", "gateway", "ip_range", "aux_addresses"],
    inside: &[],
    capital: false,
};

static VOLUME: Place = Place {
    keys: &["name", "driver", "driver_opts", "external", "labels"],
    inside: &[],
    capital: false,
};

static FILE_OBJECT: Place = Place {
    keys: &[
        "name",
        "file",
        "environment",
        "content",
        "external",
        "labels",
        "driver",
        "driver_opts",
        "template_driver",
    ],
    inside: &[],
    capital: false,
};

static MODEL: Place = Place {
    keys: &["name", "model", "context_size", "runtime_flags"],
    inside: &[],
    capital: false,
};

static WEIGHT: Place = Place { keys: &["path", "weight"], inside: &[], capital: true };

static THROTTLE: Place = Place { keys: &["path", "rate"], inside: &[], capital: true };

static BLKIO: Place = Place {
    keys: &[
        "weight",
        "weight_device",
        "device_read_bps",
        "device_read_iops",
        "device_write_bps",
        "device_write_iops",
    ],
    inside: &[
        ("weight_device", Each, &WEIGHT),
        ("device_read_bps", Each, &THROTTLE),
        ("device_read_iops", Each, &THROTTLE),
        ("device_write_bps", Each, &THROTTLE),
        ("device_write_iops", Each, &THROTTLE),
    ],
    capital: false,
};
