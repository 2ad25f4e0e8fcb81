//! `/v1/nodes`.

use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    api::{
        app::App,
        extract::{self, At, Params},
        lookup,
        problem::{Answer, Failure},
        render, wire,
    },
    model::check_label,
    node::Request,
};

/// Which nodes.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Listed {
    /// Also those that have left.
    #[serde(default)]
    all: bool,
}

pub(super) async fn list(
    State(app): State<App>,
    Params(asked): Params<Listed>,
) -> Json<Vec<wire::Node>> {
    Json(render::nodes(&app.backend.now(), asked.all, (app.backend.clock)().wall))
}

pub(super) async fn one(State(app): State<App>, At(id): At<String>) -> Answer<Json<wire::Node>> {
    let view = app.backend.now();
    let (id, record) = lookup::node(&view, &id)?;
    Ok(Json(render::node(&view, id, record, (app.backend.clock)().wall)))
}

pub(super) async fn remove(
    State(app): State<App>,
    At(id): At<String>,
    Params(how): Params<wire::RemoveNode>,
) -> Answer<StatusCode> {
    let node = lookup::node(&app.backend.now(), &id)?.0;
    let removed = app.backend.cluster.remove(node, how.force, how.rotate).await;
    removed.map_err(Failure::Cluster)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Only of this node: others' labels are theirs to write, and the request was passed on to them.
pub(super) async fn label(
    State(app): State<App>,
    At(id): At<String>,
    extract::Json(wire::Labels(labels)): extract::Json<wire::Labels>,
) -> Answer<Json<wire::Node>> {
    let node = lookup::node(&app.backend.now(), &id)?.0;
    let wrong = |(key, value): (&String, &Option<String>)| check_label(key, value.as_deref()).err();
    let problems: Vec<String> = labels.iter().filter_map(wrong).collect();
    if !problems.is_empty() {
        return Err(Failure::Invalid(problems));
    }
    let view = app.backend.now();
    if node != view.me {
        let name = lookup::name_of(&view, node);
        return Err(Failure::Elsewhere { what: name.clone(), node: name });
    }
    app.tell(Request::Label(labels)).await?;
    one(State(app), At(node.to_string())).await
}
