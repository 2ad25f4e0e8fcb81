//! About the node itself: versions, the document, metrics, whether it lives and can serve.

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use tokio::time::timeout;

use crate::{
    api::{
        app::App,
        extract::JSON,
        metrics,
        problem::{Answer, Failure},
        wire,
    },
    model::ContainerId,
    node::{Request, RuntimeStatus},
};

/// How long the node may take to show that it answers.
const READY_MAX: Duration = Duration::from_secs(2);

pub(super) async fn version(State(app): State<App>) -> Json<wire::Version> {
    let view = app.backend.now();
    let me = view.state.nodes().get(&view.me);
    let is_up = view.runtime == RuntimeStatus::Up;
    Json(wire::Version {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        api: "v1".to_owned(),
        runtime: me.and_then(|me| me.runtime.clone()).filter(|_| is_up),
        kernel: me.map(|me| me.kernel.clone()).unwrap_or_default(),
        architecture: std::env::consts::ARCH.to_owned(),
    })
}

pub(super) async fn document(State(app): State<App>) -> Response {
    ([(header::CONTENT_TYPE, JSON)], app.document.to_string()).into_response()
}

pub(super) async fn metrics(State(app): State<App>) -> Answer<Response> {
    let (backend, streams) = (&app.backend, app.streams_open());
    let (ingress, view, now) = (backend.ingress.carried().await, backend.now(), (backend.clock)());
    let text = backend.metrics.text(&view, &ingress, now, streams, backend.events.last());
    let text = text.map_err(Failure::Render)?;
    Ok(([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response())
}

pub(super) async fn lives() -> &'static str {
    "ok\n"
}

pub(super) async fn ready(State(app): State<App>) -> Answer<&'static str> {
    let problems = problems(&app).await;
    if problems.is_empty() { Ok("ready\n") } else { Err(Failure::NotReady(problems)) }
}

/// Why the node cannot serve.
pub(super) async fn problems(app: &App) -> Vec<String> {
    let mut reasons = Vec::new();
    let view = app.backend.now();
    if view.cluster.as_ref().is_some_and(|it| !it.ready) {
        // Until then it answers nobody who wants something.
        reasons.push("the node has not compared its state with the other members' yet".to_owned());
    } else if !node_answers(app).await {
        reasons.push(format!("the node's loop did not answer within {} s", READY_MAX.as_secs()));
    }
    let view = app.backend.now();
    if view.state.nodes().get(&view.me).is_none() {
        reasons.push("the node's state is not loaded from its disk yet".to_owned());
    }
    match &view.runtime {
        RuntimeStatus::Up => {}
        RuntimeStatus::Unknown => {
            reasons.push("the container runtime was not asked yet".to_owned());
        }
        RuntimeStatus::Down(why) => reasons.push(format!("the container runtime: {why}")),
    }
    reasons
}

/// Asks for something that changes nothing: no container has the id zero, and the node says so.
async fn node_answers(app: &App) -> bool {
    let asked = timeout(READY_MAX, app.ask(Request::Release(ContainerId(0)))).await;
    matches!(asked, Ok(Ok(_) | Err(Failure::Refused(_))))
}
