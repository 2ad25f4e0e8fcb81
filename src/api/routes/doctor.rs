//! `/v1/doctor`, and the same of another node, which the request was passed on to.

use axum::{Json, extract::State};

use super::nodes::own;
use crate::api::{
    app::App,
    extract::{At, Params},
    lookup,
    problem::{Answer, Failure},
    wire,
};

pub(super) async fn here(State(app): State<App>) -> Json<wire::Examination> {
    Json(app.backend.doctor.examine().await)
}

pub(super) async fn one(
    State(app): State<App>,
    At(id): At<String>,
) -> Answer<Json<wire::Examination>> {
    let view = app.backend.now();
    own(&view, lookup::node(&view, &id)?.0)?;
    Ok(here(State(app)).await)
}

pub(super) async fn sight(
    State(app): State<App>,
    At(id): At<String>,
    Params(asked): Params<wire::SightOf>,
) -> Answer<Json<wire::Sight>> {
    let view = app.backend.now();
    own(&view, lookup::node(&view, &id)?.0)?;
    let of = lookup::node(&view, &asked.of)?.0;
    app.backend.doctor.sight(of).await.map(Json).map_err(Failure::Unfit)
}
