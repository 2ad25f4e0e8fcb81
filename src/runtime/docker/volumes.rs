//! The engine's volumes. One that is there is never changed: it holds data.

use std::collections::BTreeMap;

use bollard::{
    models::{Volume, VolumeCreateRequest},
    query_parameters::{ListVolumesOptions, RemoveVolumeOptions},
};

use super::{
    connect::{ANSWER_MAX, Engine, WORK_MAX},
    errors::about,
    timestamps::wall,
};
use crate::{
    model::spec::VolumeSpec,
    runtime::{RuntimeError, VolumeInfo},
};

pub(super) async fn ensure(
    engine: &Engine,
    spec: &VolumeSpec,
    labels: &BTreeMap<String, String>,
) -> Result<(), RuntimeError> {
    let driver = spec.driver.as_deref().unwrap_or("local");
    match engine.ask(ANSWER_MAX, engine.client.inspect_volume(&spec.name)).await {
        Ok(_) if spec.external => Ok(()),
        Ok(existing) => {
            let options: BTreeMap<String, String> = existing.options.into_iter().collect();
            if existing.driver == driver && options == spec.driver_options {
                return Ok(());
            }
            Err(RuntimeError::Conflict(format!(
                "volume {} is there with driver {} and options {options:?}, wanted are {driver} and {:?}; it holds data, so remove it yourself (`fizz volume rm {}`) or name this one otherwise",
                spec.name, existing.driver, spec.driver_options, spec.name
            )))
        }
        Err(refusal) if !refusal.is_missing() => {
            Err(engine.error(refusal, about("inspect", "volume", &spec.name)))
        }
        Err(_) if spec.external => {
            Err(RuntimeError::NotFound { what: "external volume", name: spec.name.clone() })
        }
        Err(_) => {
            let all = spec.labels.iter().chain(labels);
            let request = VolumeCreateRequest {
                name: Some(spec.name.clone()),
                driver: Some(driver.to_owned()),
                driver_opts: Some(spec.driver_options.clone().into_iter().collect()),
                labels: Some(all.map(|(name, value)| (name.clone(), value.clone())).collect()),
                ..VolumeCreateRequest::default()
            };
            let made = engine.ask(WORK_MAX, engine.client.create_volume(request)).await;
            made.map(drop).map_err(|it| engine.error(it, about("create", "volume", &spec.name)))
        }
    }
}

pub(super) async fn remove(engine: &Engine, name: &str) -> Result<(), RuntimeError> {
    let options = RemoveVolumeOptions::default();
    match engine.ask(WORK_MAX, engine.client.remove_volume(name, Some(options))).await {
        Ok(()) => Ok(()),
        Err(refusal) if refusal.is_missing() => Ok(()),
        Err(refusal) => Err(engine.error(refusal, about("remove", "volume", name))),
    }
}

pub(super) async fn list(
    engine: &Engine,
    label: Option<(String, String)>,
) -> Result<Vec<VolumeInfo>, RuntimeError> {
    let filter = label.map(|(name, value)| ("label".to_owned(), vec![format!("{name}={value}")]));
    let options = ListVolumesOptions { filters: filter.map(|it| [it].into()) };
    let listed = engine.ask(ANSWER_MAX, engine.client.list_volumes(Some(options))).await;
    let listed = listed.map_err(|it| engine.error(it, about("list", "volumes of", "the node")))?;
    let mut volumes: Vec<VolumeInfo> =
        listed.volumes.unwrap_or_default().into_iter().map(info).collect();
    volumes.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(volumes)
}

fn info(volume: Volume) -> VolumeInfo {
    VolumeInfo {
        name: volume.name,
        driver: volume.driver,
        mountpoint: volume.mountpoint,
        labels: volume.labels.into_iter().collect(),
        options: volume.options.into_iter().collect(),
        created: volume.created_at.as_deref().and_then(wall),
    }
}
