//! `/v1/nodes`.

use axum::{Json, extract::State};

use crate::api::{app::App, extract::At, lookup, problem::Answer, render, wire};

pub(super) async fn list(State(app): State<App>) -> Json<Vec<wire::Node>> {
    let view = app.backend.now();
    Json(view.state.nodes().iter().map(|(id, it)| render::node(&view, *id, it)).collect())
}

pub(super) async fn one(State(app): State<App>, At(id): At<String>) -> Answer<Json<wire::Node>> {
    let view = app.backend.now();
    let (id, record) = lookup::node(&view, &id)?;
    Ok(Json(render::node(&view, id, record)))
}
