//! Definitions: how what is agreed, canonical Compose as JSON, becomes specs, and what a spec says of
//! names, numbers and revisions.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::Refusal;
use crate::{
    compose::{decode, json, problem::Problems},
    model::{
        ContainerName, InvalidName, Revision, ServiceKey, ServiceName, Slot,
        spec::{Mode, ProjectSpec, ServiceSpec},
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

/// A model put together from a deployment's record and its services', decoded.
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
    decoded(&model)
}

/// A model as specs, or every problem with it.
pub(super) fn decoded(model: &Value) -> Result<ProjectSpec, Refusal> {
    let mut problems = Problems::default();
    let project = decode::project(&json::to_tree(model), &mut problems);
    match project {
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

/// A revision that no definition has: for a forced replacement.
pub(super) fn forced(base: Revision, nonce: u64) -> Revision {
    Revision(base.0 ^ u128::from(nonce).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
}
