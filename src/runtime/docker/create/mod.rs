//! A container's spec in the engine's terms.
//!
//! Every field of [`ContainerSpec`] is set here or in the files beside this one, or is decided above
//! the runtime (stop order, placement, health checks). What an engine is too old for is refused.

mod endpoints;
mod mounts;
mod resources;
mod security;

use std::collections::BTreeMap;

use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigLogConfig, NetworkingConfig,
    PortBinding, PortMap, RestartPolicy, RestartPolicyNameEnum,
};

pub(super) use endpoints::Joined;

use super::{
    connect::{ApiVersion, Engine},
    flavour::Flavour,
    podman,
};
use crate::{
    model::{
        Millis,
        spec::{CommandLine, ContainerSpec, PortSpec, PublishedPorts},
    },
    runtime::{CreateContainer, RuntimeError},
};

/// What is sent to the engine to make a container.
pub(super) struct Creation {
    /// The request.
    pub(super) body: ContainerCreateBody,
    /// All networks that it is to be in.
    pub(super) all: Vec<Joined>,
    /// Networks to join after it is made, because the engine takes only one before.
    pub(super) later: Vec<Joined>,
    /// The whole container's MAC address, which older engines take and bollard has no field for.
    pub(super) mac_address: Option<String>,
}

/// Whole seconds that are not shorter than a span.
pub(super) fn seconds(span: Millis) -> i64 {
    i64::try_from(span.0.div_ceil(1000)).unwrap_or(i64::MAX)
}

/// The request for a container. `entrypoint` is the image's own, for a spec that clears the command
/// and keeps the entrypoint: the engine keeps both or none.
pub(super) async fn creation(
    engine: &Engine,
    request: &CreateContainer,
    entrypoint: Vec<String>,
) -> Result<Creation, RuntimeError> {
    let spec = &request.spec;
    let joining = endpoints::joining(engine, request)?;
    let mut host = host_config(engine, request).await?;
    host.network_mode = Some(joining.mode);
    host.links = joining.links;
    mounts::set(&mut host, engine, request).await?;
    resources::set(&mut host, &spec.resources);
    security::set(&mut host, engine.flavour, request).await?;
    let all = joining.now.iter().chain(&joining.later).cloned().collect();
    let first = joining.now.into_iter().map(|it| (it.network, it.settings)).collect();
    let body = ContainerCreateBody {
        hostname: spec.hostname.clone(),
        domainname: spec.domain_name.clone(),
        user: spec.user.clone(),
        exposed_ports: request.network_namespace.is_none().then(|| exposed(spec)).transpose()?,
        tty: Some(spec.tty),
        open_stdin: Some(spec.stdin_open),
        // The one person who runs a one-off ends its input; a service's input stays open.
        stdin_once: Some(spec.stdin_open && request.one_off),
        env: Some(match engine.flavour {
            Flavour::Docker => environment(&spec.environment),
            Flavour::Podman => podman::environment(environment(&spec.environment)),
        }),
        cmd: words(&spec.command),
        entrypoint: words(&spec.entrypoint)
            .map(|it| match engine.flavour {
                // It takes an empty list for none, and an empty word for an empty list.
                Flavour::Podman if it.is_empty() => vec![String::new()],
                Flavour::Docker | Flavour::Podman => it,
            })
            .or_else(|| clears(spec).then_some(entrypoint)),
        // Checks are run above, alike for every runtime.
        healthcheck: Some(HealthConfig {
            test: Some(vec!["NONE".to_owned()]),
            ..HealthConfig::default()
        }),
        image: Some(spec.image.clone()),
        working_dir: spec.working_dir.clone(),
        labels: Some(all_labels(request)),
        stop_signal: spec.stop_signal.clone(),
        stop_timeout: spec.stop_grace.map(seconds),
        host_config: Some(host),
        networking_config: Some(NetworkingConfig { endpoints_config: Some(first) }),
        ..ContainerCreateBody::default()
    };
    Ok(Creation { body, all, later: joining.later, mac_address: joining.mac_address })
}

/// Whether the image's command is cleared while its entrypoint stays.
pub(super) fn clears(spec: &ContainerSpec) -> bool {
    spec.entrypoint == CommandLine::Image && spec.command == CommandLine::Words(Vec::new())
}

async fn host_config(
    engine: &Engine,
    request: &CreateContainer,
) -> Result<HostConfig, RuntimeError> {
    let spec = &request.spec;
    if !spec.annotations.is_empty() {
        engine.require("`annotations`", ApiVersion(1, 43), "24.0")?;
    }
    let gateway = match engine.flavour {
        // Docker has an address of its own for it.
        Flavour::Docker => None,
        Flavour::Podman => podman::host_gateway(engine, request).await?,
    };
    let extra_hosts = spec.extra_hosts.iter().map(|(name, address)| {
        format!("{name}:{}", podman::extra_host(address, gateway.as_deref()))
    });
    Ok(HostConfig {
        // Restarts are decided above, so that placement and rollouts stay in one hand.
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        annotations: some(spec.annotations.clone()),
        init: spec.init,
        runtime: spec.oci_runtime.clone(),
        dns: list(&spec.dns),
        dns_options: list(&spec.dns_options),
        dns_search: list(&spec.dns_search),
        extra_hosts: Some(extra_hosts.collect()),
        group_add: list(&spec.group_add),
        log_config: spec.logging.as_ref().map(|logging| HostConfigLogConfig {
            typ: logging.driver.clone(),
            config: Some(logging.options.clone().into_iter().collect()),
        }),
        // Whoever made its network makes its ports.
        port_bindings: request
            .network_namespace
            .is_none()
            .then(|| port_bindings(engine.flavour, request)),
        storage_opt: some(spec.storage_options.clone()),
        ..HostConfig::default()
    })
}

fn words(line: &CommandLine) -> Option<Vec<String>> {
    match line {
        CommandLine::Image => None,
        CommandLine::Words(words) => Some(words.clone()),
    }
}

/// `NAME=value`, and the bare `NAME` by which the engine takes the image's own away.
fn environment(variables: &BTreeMap<String, Option<String>>) -> Vec<String> {
    variables
        .iter()
        .map(|(name, value)| match value {
            Some(value) => format!("{name}={value}"),
            None => name.clone(),
        })
        .collect()
}

/// Ours come last, and so win: containers are known by them.
fn all_labels<T: FromIterator<(String, String)>>(request: &CreateContainer) -> T {
    request.spec.labels.clone().into_iter().chain(request.own_labels()).collect()
}

fn port_key(port: &PortSpec) -> String {
    format!("{}/{}", port.target, port.protocol.name())
}

fn port_bindings(flavour: Flavour, request: &CreateContainer) -> PortMap {
    let mut bindings = PortMap::new();
    for port in &request.spec.ports {
        let published = match (flavour, port.published) {
            (Flavour::Podman, PublishedPorts::Range(first, last)) => {
                podman::one_of(port, first, last, request.slot.0)
            }
            (Flavour::Docker | Flavour::Podman, published) => published,
        };
        let host_port = match published {
            PublishedPorts::Any => String::new(),
            PublishedPorts::One(port) => port.to_string(),
            PublishedPorts::Range(first, last) => format!("{first}-{last}"),
        };
        let binding = PortBinding {
            host_ip: port.host_ip.map(|it| it.to_string()),
            host_port: Some(host_port),
        };
        bindings.entry(port_key(port)).or_default().get_or_insert_default().push(binding);
    }
    bindings
}

/// Every exposed port, `expose` ranges written out: the engine takes single ports only.
fn exposed(spec: &ContainerSpec) -> Result<Vec<String>, RuntimeError> {
    let mut ports: Vec<String> = spec.ports.iter().map(port_key).collect();
    for text in &spec.expose {
        let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>()) else {
            return Err(RuntimeError::Failed {
                doing: format!("expose port {text}"),
                why: "it is no port: write `8080`, `8080-8090` or `8080/udp`".to_owned(),
            });
        };
        ports.extend((first..=last).map(|port| format!("{port}/{protocol}")));
    }
    ports.sort();
    ports.dedup();
    Ok(ports)
}

fn list(values: &[String]) -> Option<Vec<String>> {
    (!values.is_empty()).then(|| values.to_vec())
}

/// A map in the engine's form, absent when empty.
fn some<T: FromIterator<(String, String)>>(values: BTreeMap<String, String>) -> Option<T> {
    (!values.is_empty()).then(|| values.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::spec::Protocol;

    #[test]
    fn an_exposed_range_is_written_out_once() {
        let port = PortSpec {
            target: 81,
            published: PublishedPorts::Any,
            host_ip: None,
            protocol: Protocol::Tcp,
            host_mode: false,
            name: None,
            app_protocol: None,
        };
        let expose = vec!["80-82".to_owned(), "53/udp".to_owned()];
        let mut spec = ContainerSpec { ports: vec![port], expose, ..ContainerSpec::default() };
        assert_eq!(exposed(&spec).unwrap(), ["53/udp", "80/tcp", "81/tcp", "82/tcp"]);
        spec.expose = vec!["http".to_owned()];
        assert!(exposed(&spec).is_err());
    }

    #[test]
    fn a_variable_without_value_is_taken_away() {
        let variables = [("A".to_owned(), Some("1=2".to_owned())), ("B".to_owned(), None)];
        assert_eq!(environment(&variables.into()), ["A=1=2", "B"]);
    }

    #[test]
    fn a_grace_period_is_never_cut_short() {
        assert_eq!(seconds(Millis(1)), 1);
        assert_eq!(seconds(Millis(2000)), 2);
    }
}
