//! Definitions: how what is agreed, canonical Compose as JSON, becomes specs, and what a spec says of
//! names, numbers and revisions.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::Refusal;
use crate::{
    compose::{decode, json, problem::Problems, tree::Node},
    model::{
        ContainerName, InvalidName, Revision, ServiceKey, ServiceName, Slot,
        spec::{Mode, NetworkMode, ProjectSpec, REPLICAS_MAX, ServiceSpec},
    },
};

/// A model's definitions by service.
pub(super) fn definitions(model: &Value) -> BTreeMap<&str, &Value> {
    let services = model.get("services").and_then(Value::as_object);
    services.into_iter().flatten().map(|(name, it)| (name.as_str(), it)).collect()
}

/// A model without its services, which are kept one by one.
pub(super) fn without_services(model: &Value) -> Value {
    let mut model = model.clone();
    if let Some(map) = model.as_object_mut() {
        map.remove("services");
    }
    model
}

/// The sections of a model that services refer to.
const SECTIONS: [&str; 4] = ["networks", "volumes", "configs", "secrets"];

/// Gives a model what only the one before had: services that the new one does not have, and that stay
/// for now, may need it.
pub(super) fn carry_over(model: &mut Value, before: &str) {
    let Ok(Value::Object(before)) = serde_json::from_str(before) else { return };
    let Some(model) = model.as_object_mut() else { return };
    for section in SECTIONS {
        let Some(Value::Object(old)) = before.get(section) else { continue };
        let new = model.entry(section).or_insert_with(|| Value::Object(Map::new()));
        for (key, value) in old {
            if let Some(new) = new.as_object_mut() {
                new.entry(key.as_str()).or_insert_with(|| value.clone());
            }
        }
    }
}

/// A model put together from a deployment's record and its services', decoded. What a service refers to
/// may be gone already, or never have been deployed here.
pub(super) fn assemble<'a>(
    model: &str,
    services: impl Iterator<Item = (ServiceName, &'a str)>,
) -> Result<ProjectSpec, Refusal> {
    let damaged = |error: serde_json::Error| Refusal::Invalid(vec![error.to_string()]);
    let mut model: Value = serde_json::from_str(model).map_err(damaged)?;
    let mut map = Map::new();
    for (name, definition) in services {
        map.insert(name.to_string(), serde_json::from_str(definition).map_err(damaged)?);
    }
    if let Some(model) = model.as_object_mut() {
        model.insert("services".to_owned(), Value::Object(map));
    }
    read(&model, decode::part)
}

/// A model as specs, or every problem with it.
pub(super) fn decoded(model: &Value) -> Result<ProjectSpec, Refusal> {
    read(model, decode::project)
}

fn read(
    model: &Value,
    decode: fn(&Node, &mut Problems) -> Option<ProjectSpec>,
) -> Result<ProjectSpec, Refusal> {
    let mut problems = Problems::default();
    match decode(&json::to_tree(model), &mut problems) {
        Some(project) if !problems.has_errors() => Ok(project),
        Some(_) | None => {
            let lines = problems.sorted().into_iter().map(|it| problems.line(it)).collect();
            Err(Refusal::Invalid(lines))
        }
    }
}

/// The name of a slot's container.
pub(super) fn container_name(
    key: &ServiceKey,
    slot: Slot,
    spec: &ServiceSpec,
) -> Result<ContainerName, InvalidName> {
    match &spec.container_name {
        Some(name) => Ok(name.clone()),
        None => format!("{}-{}-{slot}", key.project, key.service).parse(),
    }
}

/// How many slots a service has on this node, which is alone.
pub(super) fn replicas(mode: Mode) -> u32 {
    match mode {
        Mode::Replicated(count) | Mode::ReplicatedJob(count) => count,
        Mode::Global | Mode::GlobalJob => 1,
    }
}

/// Refuses a number of containers that a service cannot have.
pub(super) fn scalable(spec: &ServiceSpec, replicas: u32) -> Result<(), Refusal> {
    let service = &spec.name;
    let why = match spec.deploy.mode {
        Mode::Replicated(_) | Mode::ReplicatedJob(_) if REPLICAS_MAX < replicas => {
            format!("`{service}` cannot have {replicas} containers: {REPLICAS_MAX} are the most")
        }
        Mode::Global | Mode::GlobalJob => format!(
            "`{service}` runs once on each node, so it cannot be scaled: set its `deploy.mode` to \
             `replicated`, then `fizz up`"
        ),
        Mode::Replicated(_) | Mode::ReplicatedJob(_)
            if 1 < replicas && spec.extension.cron.is_some() =>
        {
            format!(
                "`{service}` runs once at each tick: scale it to 0 to suspend it, and to 1 to have \
                 it run again"
            )
        }
        Mode::Replicated(_) | Mode::ReplicatedJob(_)
            if 1 < replicas && spec.container_name.is_some() =>
        {
            format!(
                "`{service}` has a `container_name`, so it cannot have {replicas} containers: \
                 remove the name from the file, then `fizz up`"
            )
        }
        Mode::Replicated(_) | Mode::ReplicatedJob(_) => return Ok(()),
    };
    Err(Refusal::Conflict(why))
}

/// A revision that no definition has: for a forced replacement.
pub(super) fn forced(base: Revision, nonce: u64) -> Revision {
    Revision(base.0 ^ u128::from(nonce).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
}

/// The revision of what is the same, but for its networks, which span the nodes.
pub(super) fn spanning(base: Revision, spec: &ServiceSpec) -> Revision {
    match &spec.container.network {
        NetworkMode::Networks(_) => Revision(base.0 ^ 0x6f76_6572_6c61_7900_0000_0000_0000_0000),
        NetworkMode::None
        | NetworkMode::Host
        | NetworkMode::Bridge
        | NetworkMode::Service(_)
        | NetworkMode::Container(_)
        | NetworkMode::Named(_) => base,
    }
}
