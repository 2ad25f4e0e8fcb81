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
    model::{NodeId, check_label},
    node::{Request, View},
    state::Availability,
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

/// Only of this node, as with labels.
pub(super) async fn avail(
    State(app): State<App>,
    At(id): At<String>,
    extract::Json(asked): extract::Json<wire::Availability>,
) -> Answer<Json<wire::Node>> {
    let wanted = match asked.availability.as_str() {
        "open" => Availability::Open,
        "cordoned" => Availability::Cordoned,
        "draining" => Availability::Draining,
        other => {
            let why =
                format!("availability: `{other}` is not known; use open, cordoned or draining");
            return Err(Failure::Invalid(vec![why]));
        }
    };
    let view = app.backend.now();
    let node = lookup::node(&view, &id)?.0;
    own(&view, node)?;
    if view.cluster.is_none() && wanted != Availability::Open {
        return Err(Failure::Alone);
    }
    app.tell(Request::Avail(wanted)).await?;
    one(State(app), At(node.to_string())).await
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
    own(&app.backend.now(), node)?;
    app.tell(Request::Label(labels)).await?;
    one(State(app), At(node.to_string())).await
}

/// That it is this node.
pub(super) fn own(view: &View, node: NodeId) -> Answer<()> {
    if node == view.me {
        return Ok(());
    }
    let name = lookup::name_of(view, node);
    Err(Failure::Elsewhere { what: name.clone(), node: name })
}
