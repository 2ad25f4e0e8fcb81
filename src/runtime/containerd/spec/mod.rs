//! A container's spec in the terms of the OCI runtime specification (1.0.2).
//!
//! Every field of [`ContainerSpec`] is set here or in the files beside this one, or decided above the
//! runtime (stop order, placement, health checks). What containerd and runc have nothing for is refused
//! by name.

mod mounts;
mod process;
mod resources;
mod seccomp;
mod security;

use serde_json::{Value, json};

pub(super) use self::{
    mounts::{bound, defaults, mounted, placed, temporary, with_shared_memory},
    process::{INIT_TARGET, every_capability, init_program, process, words},
    security::namespaces,
};

use super::errors::unsupported;
use crate::{
    model::spec::{ContainerSpec, NetworkMode},
    runtime::{CreateContainer, RuntimeError},
};

/// The runtime specification's version that is written: all that Debian 12's runc takes.
const VERSION: &str = "1.0.2";

/// Where containers' control groups are, if not told otherwise.
const GROUPS: &str = "/fizz";

/// What is known of a container when its spec is written, beside its request.
pub(super) struct Parts {
    /// Its id.
    pub(super) id: String,
    /// `process`.
    pub(super) process: Value,
    /// `mounts`.
    pub(super) mounts: Vec<Value>,
    /// `linux.namespaces`.
    pub(super) namespaces: Vec<Value>,
    /// Its host name.
    pub(super) hostname: String,
}

/// The whole.
pub(super) fn spec(request: &CreateContainer, parts: Parts) -> Result<Value, RuntimeError> {
    let wanted = &request.spec;
    let parent = wanted.security.cgroup_parent.as_deref().unwrap_or(GROUPS);
    let mut linux = json!({
        "cgroupsPath": format!("/{}/{}", parent.trim_matches('/'), parts.id),
        "namespaces": parts.namespaces,
        "resources": resources::resources(&wanted.resources, wanted.security.privileged)?,
        "devices": resources::devices(&wanted.resources, wanted.security.privileged)?,
        "sysctl": security::sysctls(request),
        "rootfsPropagation": "rprivate",
    });
    security::hide(&mut linux, wanted);
    if let Some(profile) = seccomp::profile(&wanted.security)? {
        linux["seccomp"] = profile;
    }
    let mut spec = json!({
        "ociVersion": VERSION,
        "process": parts.process,
        "root": { "path": "rootfs", "readonly": wanted.security.read_only },
        "mounts": parts.mounts,
        "linux": linux,
        "annotations": wanted.annotations,
    });
    // A name of its own takes a namespace of its own.
    if !wanted.security.uts_host {
        spec["hostname"] = json!(parts.hostname);
        if let Some(domain) = &wanted.domain_name {
            spec["linux"]["sysctl"]["kernel.domainname"] = json!(domain);
        }
    }
    Ok(spec)
}

/// Refuses what there is nothing for.
pub(super) fn check(request: &CreateContainer) -> Result<(), RuntimeError> {
    let spec = &request.spec;
    let elsewhere = "leave it out, or run this on a node with Docker";
    let refused = |what: &str| Err(unsupported(what, elsewhere));
    if !spec.storage_options.is_empty() {
        return refused("`storage_opt`");
    }
    if !spec.links.is_empty() || !spec.external_links.is_empty() {
        return refused("`links` and `external_links`");
    }
    if spec.init == Some(true) && process::init_program().is_none() {
        return Err(unsupported(
            "init process on this node",
            "install `catatonit` or `tini`, or leave `init` out",
        ));
    }
    if let Some(program) = spec.oci_runtime.as_deref().filter(|it| !is_runtime(it)) {
        return Err(unsupported(
            format!("OCI runtime `{program}` on this node"),
            "install it, name another in `runtime`, or leave that out",
        ));
    }
    match spec.security.userns.as_deref() {
        None | Some("" | "host") => {}
        Some(other) => {
            return refused(&format!("`userns_mode: {other}`"));
        }
    }
    match spec.security.isolation.as_deref() {
        None | Some("" | "default") => {}
        Some(other) => return refused(&format!("`isolation: {other}`")),
    }
    if request.network_namespace.is_none() {
        return network(spec);
    }
    if spec.extra_hosts.iter().any(|(_, address)| address == "host-gateway") {
        return refused("`host-gateway` in a network namespace that others make");
    }
    Ok(())
}

/// Whether a name is that of one of containerd's shims, or of a program that takes runc's place.
fn is_runtime(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    name.is_empty()
        || name.starts_with("io.containerd.")
        || std::env::split_paths(&path).any(|it| it.join(name).is_file())
}

/// Networks by name are Fizz's own to make, and are not joined to containerd yet.
fn network(spec: &ContainerSpec) -> Result<(), RuntimeError> {
    let named = match &spec.network {
        NetworkMode::None
        | NetworkMode::Host
        | NetworkMode::Service(_)
        | NetworkMode::Container(_) => None,
        NetworkMode::Networks(_) => Some("the project's networks".to_owned()),
        NetworkMode::Bridge => Some("`network_mode: bridge`".to_owned()),
        NetworkMode::Named(name) => Some(format!("`network_mode: {name}`")),
    };
    if let Some(named) = named {
        return Err(no_networks(named));
    }
    let published = !spec.ports.is_empty();
    if published && spec.network == NetworkMode::None {
        return Err(no_networks("published ports"));
    }
    if spec.mac_address.is_some() {
        return Err(no_networks("`mac_address`"));
    }
    Ok(())
}

/// The one place that says so.
pub(super) fn no_networks(what: impl std::fmt::Display) -> RuntimeError {
    unsupported(
        format!("{what}: it leaves networks to others, and Fizz does not make them for it yet"),
        "use `network_mode: host`, `none` or `service:NAME`, or run this on a node with Docker or Podman",
    )
}
