//! `/v1/names`.

use axum::{Json, extract::State};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::api::{
    app::App,
    extract::{At, Params},
    lookup,
    names::{self, NameQuestion},
    problem::{Answer, Failure},
    wire::NameAnswer,
};

/// How a name is asked for.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// The type of record: `A`, `AAAA`, `SRV`, `PTR`, `ANY`.
    kind: Option<String>,
    /// The container that asks, by name or id; without one, the node itself.
    container: Option<String>,
}

pub(super) async fn one(
    State(app): State<App>,
    At(name): At<String>,
    Params(asked): Params<Asked>,
) -> Answer<Json<NameAnswer>> {
    let view = app.backend.now();
    let question = NameQuestion::of(&name, asked.kind.as_deref());
    let question = question.map_err(|why| Failure::Invalid(vec![why]))?;
    let asker = asked.container.map(|it| lookup::container(&view, &it)).transpose()?;
    let plan = view.overlay.ok_or(Failure::NoMesh)?;
    Ok(Json(names::answer(&view, plan, asker.as_deref(), &question, app.backend.order)))
}
