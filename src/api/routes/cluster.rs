//! `/v1/cluster` and `/v1/tokens`: founding, joining, leaving, tokens, another key.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Extension, Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use super::meta;
use crate::{
    api::{
        app::App,
        extract::{self, At, Params},
        lookup,
        problem::{Answer, Failure},
        render,
        server::Afterwards,
        wire,
    },
    model::{Millis, TokenId},
    node::View,
};

/// How long a token may be good: ten years.
const TOKEN_TTL_MS_MAX: u64 = 10 * 366 * 86_400_000;

/// How long what runs on a node may take to move before it leaves: where nothing is said, and at most.
const LEAVE_MS: u64 = 5 * 60_000;
const LEAVE_MS_MAX: u64 = 24 * 3_600_000;

pub(super) async fn show(State(app): State<App>) -> Json<wire::Cluster> {
    let problems = meta::problems(&app).await;
    let view = app.backend.now();
    let now = (app.backend.clock)().wall;
    let (name, id) = app.backend.cluster.which();
    let mut members = BTreeMap::new();
    for (id, record) in view.state.nodes().iter().filter(|(id, _)| !view.state.has_left(**id)) {
        let (state, _) = render::standing(&view, *id, record, now);
        *members.entry(state.to_string()).or_default() += 1;
    }
    let cluster = view.cluster.as_ref();
    Json(wire::Cluster {
        name,
        id: id.map(|it| it.to_string()),
        node: lookup::name_of(&view, view.me),
        key_epoch: cluster.map(|it| it.keys.newest().0),
        members,
        clock_error_ms: cluster.and_then(|it| it.clock_error_ms),
        synced: cluster.is_none_or(|it| it.ready),
        state: state_hash(&view),
        ready: problems.is_empty(),
        problems,
    })
}

fn state_hash(view: &View) -> String {
    let hash = view.state.content_hash().unwrap_or_default();
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) async fn init(
    State(app): State<App>,
    Extension(afterwards): Extension<Afterwards>,
) -> Answer<Response> {
    let (id, secret) = app.backend.cluster.init().await.map_err(Failure::Cluster)?;
    begin_anew(&app, &afterwards);
    let founded = wire::Founded { id: id.to_string(), secret: secret.to_string() };
    Ok(last_answer(Json(founded)))
}

pub(super) async fn join(
    State(app): State<App>,
    Extension(afterwards): Extension<Afterwards>,
    extract::Json(join): extract::Json<wire::Join>,
) -> Answer<Response> {
    let joined = app.backend.cluster.join(&join.address, &join.ticket).await;
    let cluster = joined.map_err(Failure::Cluster)?;
    begin_anew(&app, &afterwards);
    Ok(last_answer(Json(wire::Joined { cluster })))
}

/// The daemon begins anew when the answer is with the client, or the client is gone.
fn begin_anew(app: &App, afterwards: &Afterwards) {
    let cluster = Arc::clone(&app.backend.cluster);
    afterwards.set(Box::pin(async move { cluster.begin_anew() }));
}

/// An answer after which the connection is closed.
fn last_answer(answer: impl IntoResponse) -> Response {
    ([(header::CONNECTION, "close")], answer).into_response()
}

pub(super) async fn leave(
    State(app): State<App>,
    Params(how): Params<wire::Leave>,
) -> Answer<Response> {
    let patience = Millis(how.timeout_ms.unwrap_or(LEAVE_MS).min(LEAVE_MS_MAX));
    app.backend.cluster.leave(how.force, patience).await.map_err(Failure::Cluster)?;
    Ok(last_answer(StatusCode::NO_CONTENT))
}

pub(super) async fn rotate(State(app): State<App>) -> Answer<Json<wire::Rotated>> {
    let epoch = app.backend.cluster.rotate().await.map_err(Failure::Cluster)?;
    Ok(Json(wire::Rotated { key_epoch: epoch.0 }))
}

pub(super) async fn tokens(State(app): State<App>) -> Json<Vec<wire::Token>> {
    let view = app.backend.now();
    let mut tokens = app.backend.cluster.tokens();
    tokens.sort_by_key(|it| (it.created, it.id));
    Json(tokens.iter().map(|it| render::token(&view, it)).collect())
}

pub(super) async fn create_token(
    State(app): State<App>,
    extract::Json(asked): extract::Json<wire::CreateToken>,
) -> Answer<(StatusCode, Json<wire::NewToken>)> {
    if !(1..=TOKEN_TTL_MS_MAX).contains(&asked.ttl_ms) {
        let why = format!("ttl_ms: use 1 to {TOKEN_TTL_MS_MAX}");
        return Err(Failure::Invalid(vec![why]));
    }
    let made = app.backend.cluster.create_token(Millis(asked.ttl_ms), asked.uses).await;
    let made = made.map_err(Failure::Cluster)?;
    let token = wire::NewToken { id: made.id.to_string(), token: made.text.to_string() };
    Ok((StatusCode::CREATED, Json(token)))
}

pub(super) async fn revoke_token(State(app): State<App>, At(id): At<String>) -> Answer<StatusCode> {
    let id: TokenId = id.parse().map_err(|why| Failure::Address(format!("{why}")))?;
    app.backend.cluster.revoke_token(id).await.map_err(Failure::Cluster)?;
    Ok(StatusCode::NO_CONTENT)
}
