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

/// The sections of a model whose entries services refer to.
const RESOURCES: [&str; 4] = ["networks", "volumes", "configs", "secrets"];

/// A model as it is kept. Services that it leaves as they were, because it does not have them or was
/// not applied to them, go on referring to what `before` declared, so that stays declared.
pub(super) fn kept(model: &Value, before: Option<&str>) -> Value {
    let mut model = model.clone();
    let before: Option<Value> = before.and_then(|it| serde_json::from_str(it).ok());
    let Some(map) = model.as_object_mut() else { return model };
    for section in RESOURCES {
        let old = before.as_ref().and_then(|it| it.get(section)).and_then(Value::as_object);
        for (key, value) in old.into_iter().flatten() {
            let entries = map.entry(section).or_insert_with(|| Value::Object(Map::new()));
            if let Some(entries) = entries.as_object_mut() {
                entries.entry(key).or_insert_with(|| value.clone());
            }
        }
    }
    model
}

/// A deployment's model with its services as they were last applied, decoded.
pub(super) fn assemble<'a>(
    model: &str,
    services: impl Iterator<Item = (ServiceName, &'a str)>,
) -> Result<ProjectSpec, Refusal> {
    let damaged = |error: serde_json::Error| Refusal::Invalid(vec![error.to_string()]);
    let mut model: Value = serde_json::from_str(model).map_err(damaged)?;
    if let Some(model) = model.as_object_mut() {
        let all = model.entry("services").or_insert_with(|| Value::Object(Map::new()));
        for (name, definition) in services {
            let definition = serde_json::from_str(definition).map_err(damaged)?;
            all.as_object_mut().and_then(|all| all.insert(name.to_string(), definition));
        }
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
