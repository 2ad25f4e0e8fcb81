//! Making containers and moving them through their lives.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use bollard::{
    models::{ContainerInspectResponse, NetworkConnectRequest},
    query_parameters::{
        CreateContainerOptions, KillContainerOptions, ListContainersOptions,
        RemoveContainerOptions, RenameContainerOptions, StopContainerOptions, TopOptions,
    },
};
use futures_util::{StreamExt, stream};

use super::{
    connect::{ANSWER_MAX, Engine, WORK_MAX},
    create::{self, Creation, Joined},
    errors::{Refusal, about},
    flavour::Flavour,
    images,
    observed::observed,
    podman,
};
use crate::{
    model::{ContainerName, Millis, NodeId},
    runtime::{
        CreateContainer, Observed, ProcessList, RuntimeError, RuntimeId, RuntimeState, labels,
    },
};

/// How many containers are asked about at a time.
const INSPECTED_AT_ONCE_MAX: usize = 8;

/// How long a container may take to stop beyond its grace.
const STOP_SLACK: Duration = Duration::from_secs(60);

/// The engine's grace where a container sets none.
const STOP_GRACE_SECONDS: i64 = 10;

/// Between looks at a container whose removal somebody else began.
const REMOVAL_LOOK: Duration = Duration::from_millis(100);

pub(super) async fn inspect(
    engine: &Engine,
    id: &str,
) -> Result<ContainerInspectResponse, Refusal> {
    match engine.flavour {
        Flavour::Docker => engine.ask(ANSWER_MAX, engine.client.inspect_container(id, None)).await,
        Flavour::Podman => {
            let answer = engine.get(&format!("/containers/{id}/json")).await?;
            let answer = serde_json::from_slice(&answer).and_then(podman::account);
            answer.map_err(|it| Refusal::said(format!("its answer is not understood: {it}")))
        }
    }
}

pub(super) async fn list(engine: &Engine, node: NodeId) -> Result<Vec<Observed>, RuntimeError> {
    let label = format!("{}={node}", labels::NODE);
    let options = ListContainersOptions {
        all: true,
        filters: Some([("label".to_owned(), vec![label])].into()),
        ..ListContainersOptions::default()
    };
    let listed = engine.ask(ANSWER_MAX, engine.client.list_containers(Some(options))).await;
    let listed =
        listed.map_err(|it| engine.error(it, about("list", "containers of node", node.short())))?;
    let ids = listed.into_iter().filter_map(|it| it.id);
    let looks: Vec<_> = stream::iter(ids)
        .map(async |id| observe(engine, &id).await)
        .buffered(INSPECTED_AT_ONCE_MAX)
        .collect()
        .await;
    looks.into_iter().filter_map(Result::transpose).collect()
}

pub(super) async fn observe(engine: &Engine, id: &str) -> Result<Option<Observed>, RuntimeError> {
    let answer = match inspect(engine, id).await {
        Ok(answer) => answer,
        Err(refusal) if refusal.is_missing() => return Ok(None),
        Err(refusal) => return Err(engine.error(refusal, about("inspect", "container", id))),
    };
    let labels = answer.config.as_ref().and_then(|it| it.labels.as_ref());
    let sandbox = labels.and_then(|it| it.get(labels::SANDBOX)).cloned();
    let mut seen = observed(answer);
    if let (Some(seen), Some(sandbox)) = (&mut seen, sandbox)
        && !matches!(seen.state, RuntimeState::Running { .. })
        && is_gone(engine, &sandbox).await?
    {
        // While its process runs, that keeps its network. Now it will not be started there again.
        seen.shares.push(RuntimeId(sandbox.into()));
    }
    Ok(seen)
}

async fn is_gone(engine: &Engine, id: &str) -> Result<bool, RuntimeError> {
    match inspect(engine, id).await {
        Ok(_) => Ok(false),
        Err(refusal) if refusal.is_missing() => Ok(true),
        Err(refusal) => Err(engine.error(refusal, about("inspect", "container", id))),
    }
}

pub(super) async fn create(
    engine: &Engine,
    request: &CreateContainer,
) -> Result<RuntimeId, RuntimeError> {
    match engine.flavour {
        Flavour::Docker => {}
        Flavour::Podman => podman::check(engine, request).await?,
    }
    let entrypoint = kept_entrypoint(engine, request).await?;
    let creation = create::creation(engine, request, entrypoint).await?;
    let (all, later) = (creation.all.clone(), creation.later.clone());
    let name = request.name.as_str();
    match make(engine, request, creation).await {
        Ok(id) => {
            let joined = join(engine, &id, &later, &BTreeSet::new()).await;
            if joined.is_err() {
                // Half a container is none; why it failed matters more than how it was cleared away.
                let _ = remove(engine, &id, true).await;
            }
            joined.map(|()| RuntimeId(id.into()))
        }
        Err(refusal) if refusal.status() == Some(409) || podman::is_taken(&refusal) => {
            adopt(engine, request, &all).await
        }
        Err(refusal) => {
            let error = engine.error(refusal, about("create", "container", name));
            Err(missing_image(error, &request.spec.image))
        }
    }
}

/// The same error; an image that is not there has the name by which it was asked for.
pub(super) fn missing_image(error: RuntimeError, image: &str) -> RuntimeError {
    match error {
        RuntimeError::NotFound { what: "image", .. } => {
            RuntimeError::NotFound { what: "image", name: image.to_owned() }
        }
        RuntimeError::NotFound { .. }
        | RuntimeError::Unreachable { .. }
        | RuntimeError::Absent(_)
        | RuntimeError::Conflict(_)
        | RuntimeError::Unauthorized { .. }
        | RuntimeError::Unsupported(_)
        | RuntimeError::Failed { .. } => error,
    }
}

/// The image's entrypoint, where the spec clears the image's command and keeps that.
async fn kept_entrypoint(
    engine: &Engine,
    request: &CreateContainer,
) -> Result<Vec<String>, RuntimeError> {
    let image = &request.spec.image;
    if !create::clears(&request.spec) {
        return Ok(Vec::new());
    }
    let entrypoint = images::entrypoint(engine, image).await?;
    if entrypoint.is_empty() {
        // The engine would run the image's command after all.
        return Err(RuntimeError::Failed {
            doing: format!("create container {}", request.name),
            why: format!(
                "there is no command to run: `command` is empty and image {image} has no entrypoint; set one of them"
            ),
        });
    }
    Ok(entrypoint)
}

async fn make(
    engine: &Engine,
    request: &CreateContainer,
    creation: Creation,
) -> Result<String, Refusal> {
    let options = CreateContainerOptions {
        name: Some(request.name.to_string()),
        platform: request.spec.platform.clone().unwrap_or_default(),
    };
    let Some(mac_address) = creation.mac_address else {
        let call = engine.client.create_container(Some(options), creation.body);
        return Ok(engine.ask(WORK_MAX, call).await?.id);
    };
    let body = serde_json::to_value(&creation.body).map(|mut body| {
        body["MacAddress"] = mac_address.into();
        body.to_string().into_bytes()
    });
    let body = body.map_err(|error| Refusal::said(error.to_string()))?;
    let client = engine.client_with(String::new(), Some(body));
    Ok(engine.ask(WORK_MAX, client.create_container(Some(options), creation.body)).await?.id)
}

/// The name is taken: by this very container, made before an answer was lost, or by another.
async fn adopt(
    engine: &Engine,
    request: &CreateContainer,
    all: &[Joined],
) -> Result<RuntimeId, RuntimeError> {
    let name = request.name.as_str();
    let found = inspect(engine, name).await;
    let found = found.map_err(|it| engine.error(it, about("inspect", "container", name)))?;
    let networks = found.network_settings.as_ref().and_then(|it| it.networks.clone());
    let present: BTreeSet<String> = networks.unwrap_or_default().into_keys().collect();
    match observed(found) {
        Some(ours) if ours.container == request.container => {
            join(engine, &ours.runtime_id.0, all, &present).await?;
            Ok(ours.runtime_id)
        }
        Some(other) => Err(RuntimeError::Conflict(format!(
            "the name {name} is taken by another container of service {} of project {}; remove it first",
            other.service, other.project
        ))),
        None => Err(RuntimeError::Conflict(format!(
            "the name {name} is taken by a container that is not Fizz's; rename or remove it"
        ))),
    }
}

/// Joins networks that the engine did not take when the container was made.
async fn join(
    engine: &Engine,
    id: &str,
    later: &[Joined],
    present: &BTreeSet<String>,
) -> Result<(), RuntimeError> {
    for Joined { network, settings } in later.iter().filter(|it| !present.contains(&it.network)) {
        let error = |it| engine.error(it, about("join", "network", network));
        // A container that does not run would be joined to a missing network without a word.
        let there = engine.ask(ANSWER_MAX, engine.client.inspect_network(network, None)).await;
        there.map_err(error)?;
        let request = NetworkConnectRequest {
            container: id.to_owned(),
            endpoint_config: Some(settings.clone()),
        };
        let call = engine.client.connect_network(network, request);
        let joined = engine.ask(WORK_MAX, call).await;
        joined.map_err(error)?;
    }
    Ok(())
}

pub(super) async fn start(engine: &Engine, id: &str) -> Result<(), RuntimeError> {
    let started = engine.ask(WORK_MAX, engine.client.start_container(id, None)).await;
    started.map_err(|it| engine.error(it, about("start", "container", id)))
}

pub(super) async fn stop(
    engine: &Engine,
    id: &str,
    grace: Option<Millis>,
) -> Result<(), RuntimeError> {
    let error = |it| engine.error(it, about("stop", "container", id));
    let seconds = match grace {
        Some(grace) => create::seconds(grace),
        None => {
            let config = inspect(engine, id).await.map_err(error)?.config;
            config.and_then(|it| it.stop_timeout).unwrap_or(STOP_GRACE_SECONDS)
        }
    };
    let options =
        StopContainerOptions { t: Some(i32::try_from(seconds).unwrap_or(i32::MAX)), signal: None };
    let limit = Duration::from_secs(seconds.unsigned_abs()) + STOP_SLACK;
    engine.ask(limit, engine.client.stop_container(id, Some(options))).await.map_err(error)
}

pub(super) async fn kill(engine: &Engine, id: &str, signal: &str) -> Result<(), RuntimeError> {
    let options = KillContainerOptions { signal: signal.to_owned() };
    let killed = engine.ask(WORK_MAX, engine.client.kill_container(id, Some(options))).await;
    killed.map_err(|it| engine.error(it, about("kill", "container", id)))
}

pub(super) async fn remove(engine: &Engine, id: &str, volumes: bool) -> Result<(), RuntimeError> {
    let options = RemoveContainerOptions { v: volumes, force: true, link: false };
    match engine.ask(WORK_MAX, engine.client.remove_container(id, Some(options))).await {
        Ok(()) => Ok(()),
        Err(refusal) if refusal.is_missing() => Ok(()),
        Err(refusal) if podman::has_dependents(&refusal) => {
            let path = format!("/containers/{id}?force=true&depend=true&v={volumes}");
            let gone = engine.delete_libpod(&path).await;
            gone.map_err(|it| engine.error(it, about("remove", "container", id)))
        }
        // Somebody is at it already.
        Err(refusal) if refusal.status() == Some(409) => {
            let gone = async {
                while observe(engine, id).await?.is_some() {
                    tokio::time::sleep(REMOVAL_LOOK).await;
                }
                Ok(())
            };
            let gone = tokio::time::timeout(ANSWER_MAX, gone).await;
            gone.unwrap_or_else(|_| Err(engine.error(refusal, about("remove", "container", id))))
        }
        Err(refusal) => Err(engine.error(refusal, about("remove", "container", id))),
    }
}

pub(super) async fn rename(
    engine: &Engine,
    id: &str,
    name: &ContainerName,
) -> Result<(), RuntimeError> {
    let options = RenameContainerOptions { name: name.to_string() };
    let Err(refusal) = engine.ask(WORK_MAX, engine.client.rename_container(id, options)).await
    else {
        return Ok(());
    };
    let current = inspect(engine, id).await.ok().and_then(|it| it.name);
    if current.is_some_and(|it| it.trim_start_matches('/') == name.as_str()) {
        return Ok(());
    }
    Err(engine.error(refusal, about("rename", "container", id)))
}

pub(super) async fn inspect_all(
    engine: &Engine,
    id: &str,
) -> Result<serde_json::Value, RuntimeError> {
    let answer = engine.get(&format!("/containers/{id}/json")).await;
    let answer = answer.map_err(|it| engine.error(it, about("inspect", "container", id)))?;
    serde_json::from_slice(&answer).map_err(|error| RuntimeError::Failed {
        doing: format!("inspect container {id}"),
        why: format!("the engine's answer is not understood: {error}"),
    })
}

pub(super) async fn top(
    engine: &Engine,
    id: &str,
    ps_arguments: String,
) -> Result<ProcessList, RuntimeError> {
    let is_usual = ps_arguments.is_empty() || ps_arguments == "-ef";
    let ps_args = match engine.flavour {
        Flavour::Podman if is_usual => podman::PROCESS_COLUMNS.map(|it| it.0).join(","),
        Flavour::Docker if is_usual => "-ef".to_owned(),
        Flavour::Docker | Flavour::Podman => ps_arguments,
    };
    let call = engine.client.top_processes(id, Some(TopOptions { ps_args }));
    let list = engine.ask(ANSWER_MAX, call).await;
    let list = list.map_err(|it| engine.error(it, about("list processes of", "container", id)))?;
    let titles = match engine.flavour {
        Flavour::Podman if is_usual => {
            Some(podman::PROCESS_COLUMNS.map(|it| it.1.to_owned()).to_vec())
        }
        Flavour::Docker | Flavour::Podman => list.titles,
    };
    Ok(ProcessList {
        titles: titles.unwrap_or_default(),
        processes: list.processes.unwrap_or_default(),
    })
}

pub(super) async fn address(engine: &Engine, id: &str) -> Result<Option<IpAddr>, RuntimeError> {
    let mut id = id.to_owned();
    // A container in the network of another has the other's address; the engine forbids longer chains.
    for _ in 0..2 {
        let answer = inspect(engine, &id).await;
        let answer = answer.map_err(|it| engine.error(it, about("inspect", "container", &id)))?;
        let mode = answer.host_config.and_then(|it| it.network_mode).unwrap_or_default();
        if mode == "host" {
            return Ok(Some(IpAddr::from([127, 0, 0, 1])));
        }
        if let Some(other) = mode.strip_prefix("container:") {
            id = other.to_owned();
            continue;
        }
        let networks = answer.network_settings.and_then(|it| it.networks).unwrap_or_default();
        let mut addresses: Vec<(String, IpAddr)> = networks
            .into_iter()
            .filter_map(|(name, it)| {
                let own = [it.ip_address, it.global_ipv6_address].into_iter().flatten();
                own.filter_map(|it| it.parse().ok()).next().map(|address| (name, address))
            })
            .collect();
        addresses.sort();
        let first = addresses.iter().find(|(name, _)| *name == mode).or(addresses.first());
        return Ok(first.map(|(_, address)| *address));
    }
    Ok(None)
}
