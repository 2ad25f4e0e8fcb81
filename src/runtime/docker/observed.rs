//! What the engine tells about a container, as Fizz sees it.

use std::collections::BTreeMap;

use bollard::models::{
    ContainerInspectResponse, ContainerState, ContainerStateStatusEnum, HostConfig, PortMap,
};

use super::timestamps::wall;
use crate::{
    model::ImageId,
    runtime::{Observed, ObservedPort, RuntimeId, RuntimeState, contract::labelled, labels},
};

/// The container, if it bears our labels.
pub(super) fn observed(answer: ContainerInspectResponse) -> Option<Observed> {
    let config = answer.config.unwrap_or_default();
    let labels = config.labels.unwrap_or_default();
    let label = |name: &str| labels.get(name).map(String::as_str);
    let settings = answer.network_settings.unwrap_or_default();
    let networks = settings.networks.unwrap_or_default();
    let addresses: BTreeMap<String, String> = networks
        .into_iter()
        .filter_map(|(name, it)| {
            let ipv4 = it.ip_address.filter(|it| !it.is_empty());
            let ipv6 = it.global_ipv6_address.filter(|it| !it.is_empty());
            Some((name, ipv4.or(ipv6)?))
        })
        .collect();
    let words: Vec<String> =
        answer.path.into_iter().chain(answer.args.into_iter().flatten()).collect();
    Some(Observed {
        runtime_id: RuntimeId(answer.id?.into()),
        name: answer.name.unwrap_or_default().trim_start_matches('/').to_owned(),
        image: ImageId(answer.image.unwrap_or_default().into()),
        command: words.join(" "),
        state: state(&answer.state.unwrap_or_default()),
        created: answer.created.as_deref().and_then(wall).unwrap_or_default(),
        addresses,
        ports: ports(settings.ports.unwrap_or_default()),
        shares: shares(answer.host_config.unwrap_or_default(), label(labels::SANDBOX)),
        ..labelled(label)?
    })
}

/// The containers whose namespaces a container runs in: the engine keeps them by id. The one that holds its
/// network for it is a part of itself.
fn shares(host: HostConfig, sandbox: Option<&str>) -> Vec<RuntimeId> {
    let modes = [host.network_mode, host.ipc_mode, host.pid_mode];
    let owners = modes.iter().flatten().filter_map(|it| it.strip_prefix("container:"));
    let owners = owners.filter(|it| Some(*it) != sandbox);
    let mut owners: Vec<RuntimeId> = owners.map(|it| RuntimeId(it.into())).collect();
    owners.sort();
    owners.dedup();
    owners
}

fn state(state: &ContainerState) -> RuntimeState {
    use ContainerStateStatusEnum as Status;
    let time = |text: &Option<String>| text.as_deref().and_then(wall).unwrap_or_default();
    match state.status.unwrap_or(Status::EMPTY) {
        Status::CREATED => RuntimeState::Created,
        Status::RUNNING | Status::PAUSED | Status::RESTARTING | Status::STOPPING => {
            RuntimeState::Running {
                since: time(&state.started_at),
                paused: state.paused.unwrap_or(false),
            }
        }
        Status::EXITED => RuntimeState::Exited {
            code: state.exit_code.unwrap_or(0),
            oom_killed: state.oom_killed.unwrap_or(false),
            at: time(&state.finished_at),
        },
        Status::DEAD | Status::REMOVING | Status::EMPTY => RuntimeState::Broken,
    }
}

fn ports(map: PortMap) -> Vec<ObservedPort> {
    let mut ports = Vec::new();
    for (key, bindings) in map {
        let (target, protocol) = key.split_once('/').unwrap_or((&key, "tcp"));
        for binding in bindings.unwrap_or_default() {
            let published = binding.host_port.as_deref().and_then(|it| it.parse().ok());
            let (Ok(target), Some(published)) = (target.parse(), published) else { continue };
            ports.push(ObservedPort {
                protocol: protocol.to_owned(),
                target,
                // Podman names no address where it is every one.
                host_ip: binding.host_ip.filter(|it| !it.is_empty()).unwrap_or("0.0.0.0".into()),
                published,
            });
        }
    }
    ports.sort();
    ports
}
