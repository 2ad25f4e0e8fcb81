//! What Podman does otherwise than Docker behind the same API, as Podman 4.3 (Debian 12's) does it.
//!
//! Most of it is words, and is turned into Docker's here. What it would leave out of a container without
//! a word is refused, with the field's name, before the container is made.

use std::{
    net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket},
    path::Path,
};

use bollard::models::{ContainerInspectResponse, HealthConfig};
use serde_json::Value;
use tracing::warn;

use super::{
    connect::{ANSWER_MAX, Engine},
    containers,
    errors::{Refusal, about},
    images,
};
use crate::{
    model::spec::{DeviceSpec, MountKind, NetworkMode, PortSpec, Protocol, PublishedPorts},
    runtime::{CreateContainer, RuntimeError},
};

/// The network that a container is in if it names none: Docker calls its own `bridge`.
pub(super) const DEFAULT_NETWORK: &str = "podman";

/// Marks an image as built here. Podman gives each image a digest with its name, also one that no registry has
/// ever seen, from which no other node could fetch it.
pub(super) const BUILT_LABEL: &str = "fizz.built";

/// What Docker says of a container that was there when the machine lost its power.
const LOST_POWER: i64 = 255;

/// What Docker lets `extra_hosts` call the machine itself.
const HOST_GATEWAY: &str = "host-gateway";

/// Podman's account of a container in Docker's words.
pub(super) fn account(mut answer: Value) -> Result<ContainerInspectResponse, serde_json::Error> {
    let Some(state) = answer.get_mut("State").and_then(Value::as_object_mut) else {
        return serde_json::from_value(answer);
    };
    let text = |key: &str| state.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (status, started) = (text("Status"), text("StartedAt"));
    let began = !started.is_empty() && !started.starts_with("0001-");
    match status.as_str() {
        // Ended, and its monitor is about to clear up after it.
        "stopped" => {
            state.insert("Status".to_owned(), "exited".into());
        }
        // It ran when the machine lost its power. Nobody saw it end, so the last that is known is its start.
        "created" | "configured" if began => {
            state.insert("Status".to_owned(), "exited".into());
            state.insert("ExitCode".to_owned(), LOST_POWER.into());
            state.insert("FinishedAt".to_owned(), started.into());
        }
        "initialized" | "configured" => {
            state.insert("Status".to_owned(), "created".into());
        }
        _ => {}
    }
    serde_json::from_value(answer)
}

/// An image's own health check, which only Podman's own account has.
pub(super) async fn image_health(
    engine: &Engine,
    reference: &str,
) -> Result<Option<HealthConfig>, RuntimeError> {
    #[derive(serde::Deserialize)]
    struct Own {
        #[serde(rename = "Healthcheck")]
        health: Option<HealthConfig>,
    }
    let answer = engine.get_libpod(&format!("/images/{reference}/json")).await;
    let own = answer.and_then(|it| {
        serde_json::from_slice::<Own>(&it)
            .map_err(|error| Refusal::said(format!("its answer is not understood: {error}")))
    });
    own.map(|it| it.health).map_err(|it| engine.error(it, about("inspect", "image", reference)))
}

/// Whether a name is taken. Podman has no status of its own for that.
pub(super) fn is_taken(refusal: &Refusal) -> bool {
    refusal.message().contains("is already in use")
}

/// Whether a container is kept by others that are in its namespaces. They run in Docker's dead ones until
/// they are made anew; Podman wants them gone before.
pub(super) fn has_dependents(refusal: &Refusal) -> bool {
    refusal.message().contains("has dependent containers")
}

/// Refuses all that Podman would leave out of this container without a word.
pub(super) async fn check(engine: &Engine, request: &CreateContainer) -> Result<(), RuntimeError> {
    let mut unknown = unknown(request);
    let image = images::inspect(engine, &request.spec.image).await;
    let image = image
        .map_err(|it| engine.error(it, about("inspect", "image", &request.spec.image)))
        .map_err(|it| containers::missing_image(it, &request.spec.image))?;
    let theirs = image.config.unwrap_or_default().env.unwrap_or_default();
    for (name, _) in request.spec.environment.iter().filter(|(_, value)| value.is_none()) {
        if theirs.iter().any(|it| it.split('=').next() == Some(name)) {
            unknown.push(format!("`environment` that takes away the image's `{name}`"));
        }
    }
    if !unknown.is_empty() {
        return Err(RuntimeError::Unsupported(format!(
            "Podman {} can't do this for container {}: {}; leave it out, or run this on a node with Docker",
            engine.version,
            request.name,
            unknown.join(", "),
        )));
    }
    let there = [image.os.as_deref(), image.architecture.as_deref()];
    let wanted = request.spec.platform.as_deref().unwrap_or_default();
    let mut parts = wanted.split('/').zip(there);
    if !wanted.is_empty() && parts.any(|(wanted, there)| there.is_some_and(|it| it != wanted)) {
        return Err(RuntimeError::Failed {
            doing: format!("create container {}", request.name),
            why: format!(
                "image {} is for {}, and `platform` is {wanted}; pull it for that platform",
                request.spec.image,
                there.map(Option::unwrap_or_default).join("/"),
            ),
        });
    }
    warn_of_what_is_less(request);
    Ok(())
}

fn unknown(request: &CreateContainer) -> Vec<String> {
    let spec = &request.spec;
    let mut unknown: Vec<String> = [
        ("`domainname`", spec.domain_name.is_some()),
        ("`runtime`", spec.oci_runtime.is_some()),
        ("`cgroup`", spec.security.cgroup.as_deref().is_some_and(|it| it != own_cgroup())),
        ("`device_cgroup_rules`", !spec.resources.device_cgroup_rules.is_empty()),
        ("`gpus` and devices by capability", !spec.resources.device_requests.is_empty()),
        ("`devices` by their CDI names", spec.resources.devices.iter().any(is_cdi)),
        ("`external_links`", !spec.external_links.is_empty()),
        ("`host-gateway` in a network namespace that others make", names_gateway(request)),
        ("`isolation`", spec.security.isolation.as_deref().is_some_and(|it| it != "default")),
    ]
    .into_iter()
    .filter(|(_, is_set)| *is_set)
    .map(|(key, _)| key.to_owned())
    .collect();
    // A linked service is found by its own name anyway, where both are in a network.
    let renamed = spec.links.iter().filter(|(service, alias)| service.as_str() != alias.as_str());
    unknown.extend(renamed.map(|(service, alias)| format!("`links: {service}:{alias}`")));
    for network in &request.networks {
        let wanted = &network.attachment;
        for (key, is_set) in [
            ("driver_opts", !wanted.driver_options.is_empty()),
            ("link_local_ips", !wanted.link_local.is_empty()),
        ] {
            if is_set {
                unknown.push(format!("`{key}` in network {}", network.name));
            }
        }
    }
    for mount in &spec.mounts {
        if let MountKind::Volume { name: None, labels, .. } = &mount.kind
            && !labels.is_empty()
        {
            unknown.push(format!("`volume.labels` of the anonymous volume at {}", mount.target));
        }
    }
    unknown
}

/// Whether the machine is to be found by a name in a network that only its maker knows.
fn names_gateway(request: &CreateContainer) -> bool {
    let named = request.spec.extra_hosts.iter().any(|(_, address)| address == HOST_GATEWAY);
    request.network_namespace.is_some() && named
}

/// How Podman's containers see control groups, by the machine: it does not heed another wish.
fn own_cgroup() -> &'static str {
    if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() { "private" } else { "host" }
}

/// A device that is no path, like `vendor.com/gpu=all`.
fn is_cdi(device: &DeviceSpec) -> bool {
    device.target.is_empty() && !device.source.starts_with('/')
}

/// What Podman does, but not wholly.
fn warn_of_what_is_less(request: &CreateContainer) {
    let options = request.spec.logging.iter().flat_map(|it| it.options.keys());
    let lost: Vec<&str> = options
        .map(String::as_str)
        .filter(|it| !matches!(*it, "max-size" | "tag" | "path"))
        .collect();
    if !lost.is_empty() {
        let (container, options) = (&request.name, lost.join(", "));
        warn!(%container, options, "Podman has no such `logging.options`; the container is made without them");
    }
}

/// Variables as Podman takes them: the bare `NAME` would be its service's own variable.
pub(super) fn environment(sent: Vec<String>) -> Vec<String> {
    sent.into_iter().filter(|it| it.contains('=')).collect()
}

/// The address by which a container reaches the machine: that of its first network's bridge there.
pub(super) async fn host_gateway(
    engine: &Engine,
    request: &CreateContainer,
) -> Result<Option<String>, RuntimeError> {
    if !request.spec.extra_hosts.iter().any(|(_, address)| address == HOST_GATEWAY) {
        return Ok(None);
    }
    let network = match &request.spec.network {
        NetworkMode::Host => return Ok(Some(Ipv4Addr::LOCALHOST.to_string())),
        NetworkMode::Named(name) => name,
        NetworkMode::Networks(_) => {
            request.networks.first().map_or(DEFAULT_NETWORK, |it| it.name.as_str())
        }
        NetworkMode::None
        | NetworkMode::Bridge
        | NetworkMode::Container(_)
        | NetworkMode::Service(_) => DEFAULT_NETWORK,
    };
    let there = engine.ask(ANSWER_MAX, engine.client.inspect_network(network, None)).await;
    let there = there.map_err(|it| engine.error(it, about("inspect", "network", network)))?;
    let pools = there.ipam.and_then(|it| it.config).unwrap_or_default();
    Ok(pools.into_iter().find_map(|it| it.gateway))
}

/// One of `extra_hosts` with the machine's address in place of its name.
pub(super) fn extra_host(address: &str, gateway: Option<&str>) -> String {
    gateway.filter(|_| address == HOST_GATEWAY).unwrap_or(address).to_owned()
}

/// A port of the range that nobody has now: Podman takes one port only. Slots begin at different ones, so
/// that replicas made together do not want the same.
pub(super) fn one_of(port: &PortSpec, first: u16, last: u16, slot: u32) -> PublishedPorts {
    let count = u32::from(last.saturating_sub(first)) + 1;
    let from = slot.saturating_sub(1) % count;
    let in_turn = (0..count).map(|it| (from + it) % count);
    let mut ports = in_turn.filter_map(|it| first.checked_add(u16::try_from(it).ok()?));
    let ip = port.host_ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let free = ports.find(|it| match port.protocol {
        Protocol::Tcp => TcpListener::bind((ip, *it)).is_ok(),
        Protocol::Udp => UdpSocket::bind((ip, *it)).is_ok(),
        // The standard library has none to try with.
        Protocol::Sctp => true,
    });
    // None is free: starting says so, with the port.
    PublishedPorts::One(free.unwrap_or(first))
}

/// A line of a build as Docker's builder writes it: `STEP 2/3: RUN make` is `Step 2/3 : RUN make`.
pub(super) fn build_line(line: &str) -> Option<String> {
    let (number, command) = line.strip_prefix("STEP ")?.split_once(": ")?;
    Some(format!("Step {number} : {command}"))
}

/// The columns of a list of processes, and how Docker's `ps -ef` has them. Other words would be for the
/// container's own `ps`, which it may not have.
pub(super) const PROCESS_COLUMNS: [(&str, &str); 7] = [
    ("user", "UID"),
    ("hpid", "PID"),
    ("pcpu", "C"),
    ("stime", "STIME"),
    ("tty", "TTY"),
    ("time", "TIME"),
    ("args", "CMD"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use bollard::models::ContainerStateStatusEnum as Status;

    fn seen(status: &str, started: &str) -> (Option<Status>, Option<i64>) {
        let state = serde_json::json!({
            "Status": status, "StartedAt": started, "FinishedAt": "0001-01-01T00:00:00Z", "ExitCode": 0
        });
        let state = account(serde_json::json!({ "State": state })).unwrap().state.unwrap();
        (state.status, state.exit_code)
    }

    #[test]
    fn a_container_that_ran_when_the_power_went_has_ended() {
        let (never, then) = ("0001-01-01T00:00:00Z", "2026-07-01T12:00:00.5Z");
        assert_eq!(seen("created", never), (Some(Status::CREATED), Some(0)));
        assert_eq!(seen("created", then), (Some(Status::EXITED), Some(255)));
        assert_eq!(seen("stopped", then), (Some(Status::EXITED), Some(0)));
        assert_eq!(seen("initialized", never), (Some(Status::CREATED), Some(0)));
        assert_eq!(seen("running", then), (Some(Status::RUNNING), Some(0)));
    }

    #[test]
    fn a_range_gives_each_slot_another_port() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port().min(u16::MAX - 2);
        let spec = PortSpec {
            target: 80,
            published: PublishedPorts::Any,
            host_ip: Some("127.0.0.1".parse().unwrap()),
            protocol: Protocol::Tcp,
            host_mode: false,
            name: None,
            app_protocol: None,
        };
        let chosen = one_of(&spec, port, port + 2, 1);
        assert_ne!(chosen, PublishedPorts::One(port), "it is taken");
    }

    #[test]
    fn a_builds_steps_are_dockers() {
        assert_eq!(build_line("STEP 2/3: RUN make").as_deref(), Some("Step 2/3 : RUN make"));
        assert_eq!(build_line("COMMIT a"), None);
    }
}
