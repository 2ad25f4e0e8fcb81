//! `/v1/volumes`: the volumes that deployments made on this node.

use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    api::{
        app::App,
        extract::{At, Params},
        lookup,
        problem::{Answer, Failure},
        render, wire,
    },
    runtime::{VolumeInfo, labels},
};

/// Which volumes.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Listed {
    /// Of this project.
    project: Option<String>,
}

pub(super) async fn list(
    State(app): State<App>,
    Params(asked): Params<Listed>,
) -> Answer<Json<Vec<wire::Volume>>> {
    let project = asked.project.as_deref().map(lookup::parse_project).transpose()?;
    let label = project.as_ref().map(|project| (labels::PROJECT, project.as_str()));
    let mut volumes = app.backend.runtime.volumes(label).await?;
    volumes.retain(is_ours);
    volumes.sort_by(|a, b| a.name.cmp(&b.name));
    let view = app.backend.now();
    Ok(Json(volumes.into_iter().map(|it| render::volume(&view, it)).collect()))
}

/// Whether a deployment made it.
fn is_ours(volume: &VolumeInfo) -> bool {
    volume.labels.contains_key(labels::PROJECT)
}

pub(super) async fn one(
    State(app): State<App>,
    At(name): At<String>,
) -> Answer<Json<wire::Volume>> {
    Ok(Json(render::volume(&app.backend.now(), find(&app, name).await?)))
}

/// Only what a deployment made: others' volumes are theirs to remove.
pub(super) async fn remove(State(app): State<App>, At(name): At<String>) -> Answer<StatusCode> {
    let volume = find(&app, name).await?;
    if !is_ours(&volume) {
        let why = format!("volume `{}` was not made by Fizz, which leaves it alone", volume.name);
        return Err(Failure::Unfit(why));
    }
    app.backend.runtime.remove_volume(&volume.name).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn find(app: &App, name: String) -> Answer<VolumeInfo> {
    let volumes = app.backend.runtime.volumes(None).await?;
    let found = volumes.into_iter().find(|it| it.name == name);
    found.ok_or(Failure::NotFound { what: "volume", name })
}
