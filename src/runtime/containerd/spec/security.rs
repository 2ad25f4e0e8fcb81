//! Namespaces, kernel parameters, and what of the kernel's own files a container does not see.

use std::{collections::BTreeMap, path::Path};

use serde_json::{Value, json};

use super::super::{errors::unsupported, record::Joins};
use crate::{
    model::spec::{ContainerSpec, NamespaceMode, NetworkMode},
    runtime::{CreateContainer, RuntimeError},
};

/// What nobody in a container needs to read (Docker's list).
const MASKED: [&str; 10] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
];

/// What nobody in a container needs to write.
const READ_ONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// `linux.namespaces`. `pid_of` says where the process of a container that is joined is.
pub(in super::super) fn namespaces(
    request: &CreateContainer,
    joins: &Joins,
    pid_of: &BTreeMap<String, u32>,
) -> Result<Vec<Value>, RuntimeError> {
    let spec = &request.spec;
    let mut namespaces = vec![json!({ "type": "mount" })];
    let joined = |kind: &str, file: &str, id: &str| {
        let pid = pid_of.get(id).copied().unwrap_or_default();
        json!({ "type": kind, "path": format!("/proc/{pid}/ns/{file}") })
    };
    match (&request.network_namespace, &joins.network) {
        (Some(path), _) => namespaces.push(json!({ "type": "network", "path": path })),
        (None, Some(id)) => namespaces.push(joined("network", "net", id)),
        (None, None) if spec.network == NetworkMode::Host => {}
        (None, None) => namespaces.push(json!({ "type": "network" })),
    }
    for (kind, mode, joins) in
        [("ipc", &spec.security.ipc, &joins.ipc), ("pid", &spec.security.pid, &joins.pid)]
    {
        match (joins, mode) {
            (Some(id), _) => namespaces.push(joined(kind, kind, id)),
            (None, Some(NamespaceMode::Host)) => {}
            (None, Some(NamespaceMode::Other(word)))
                if !matches!(
                    (kind, word.as_str()),
                    ("ipc", "private" | "shareable") | ("pid", "private") | (_, "")
                ) =>
            {
                return Err(unsupported(
                    format!("`{kind}: {word}`"),
                    "use `host` or `service:NAME`",
                ));
            }
            (None, _) => namespaces.push(json!({ "type": kind })),
        }
    }
    if !spec.security.uts_host {
        namespaces.push(json!({ "type": "uts" }));
    }
    match spec.security.cgroup.as_deref() {
        None if !only_version_2() => {}
        Some("host") => {}
        None | Some("private") => namespaces.push(json!({ "type": "cgroup" })),
        Some(other) => {
            return Err(unsupported(format!("`cgroup: {other}`"), "use `host` or `private`"));
        }
    }
    Ok(namespaces)
}

/// Whether the node has control groups of version 2 only: containers have a view of their own then, as
/// with Docker.
pub(in super::super) fn only_version_2() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// `linux.sysctl`: with a network of its own, low ports are for everybody, as with Docker.
pub(super) fn sysctls(request: &CreateContainer) -> BTreeMap<String, String> {
    let spec = &request.spec;
    let mut sysctls = BTreeMap::new();
    if request.network_namespace.is_some() || spec.network == NetworkMode::None {
        sysctls.insert("net.ipv4.ip_unprivileged_port_start".to_owned(), "0".to_owned());
    }
    sysctls.extend(spec.security.sysctls.clone());
    sysctls
}

/// `linux.maskedPaths` and `linux.readonlyPaths`.
pub(super) fn hide(linux: &mut Value, spec: &ContainerSpec) {
    let unconfined = |it: &String| {
        it.split_once(['=', ':']).is_some_and(|it| it == ("systempaths", "unconfined"))
    };
    if spec.security.privileged || spec.security.options.iter().any(unconfined) {
        return;
    }
    linux["maskedPaths"] = json!(MASKED);
    linux["readonlyPaths"] = json!(READ_ONLY);
}
