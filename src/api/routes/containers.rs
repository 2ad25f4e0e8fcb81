//! `/v1/containers`.

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::timeout;
use utoipa::IntoParams;

use crate::{
    api::{
        app::App,
        events::{Heard, Listener},
        extract::{At, Params},
        lookup::{self, Filter},
        problem::{Answer, Failure},
        render, wire,
    },
    model::ContainerId,
    node::{Request, View},
};

/// How long the event of a container's end may come after its record went.
const LAST_WORD: Duration = Duration::from_secs(2);

/// Which containers.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Listed {
    /// Of this project.
    project: Option<String>,
    /// Of these services, with commas between.
    service: Option<String>,
    /// Also ended ones and those of `fizz run`.
    #[serde(default)]
    all: bool,
}

pub(super) async fn list(
    State(app): State<App>,
    Params(asked): Params<Listed>,
) -> Answer<Json<Vec<wire::Container>>> {
    let view = app.backend.now();
    let (project, service) = (asked.project.as_deref(), asked.service.as_deref());
    let mut filter = Filter::parse(&view, project, service, None)?;
    filter.one_offs = asked.all;
    let found = filter.containers(&view);
    let found = found.iter().filter(|it| asked.all || !it.state.is_over());
    Ok(Json(found.map(|it| render::container(&view, it)).collect()))
}

pub(super) async fn one(
    State(app): State<App>,
    At(id): At<String>,
) -> Answer<Json<wire::Container>> {
    let view = app.backend.now();
    let record = lookup::container(&view, &id)?;
    Ok(Json(render::container(&view, &record)))
}

/// How to remove it.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Removed {
    /// Even if it runs.
    #[serde(default)]
    force: bool,
    /// With anonymous volumes.
    #[serde(default)]
    volumes: bool,
}

pub(super) async fn remove(
    State(app): State<App>,
    At(id): At<String>,
    Params(how): Params<Removed>,
) -> Answer<Response> {
    let container = lookup::container(&app.backend.now(), &id)?.id;
    let (force, volumes) = (how.force, how.volumes);
    let event = app.tell(Request::Remove { container, force, volumes }).await?;
    Ok((StatusCode::ACCEPTED, Json(wire::Accepted { event })).into_response())
}

pub(super) async fn inspect(State(app): State<App>, At(id): At<String>) -> Answer<Json<Value>> {
    let view = app.backend.now();
    let record = lookup::container(&view, &id)?;
    let id = lookup::runtime_id(&view, &record)?;
    Ok(Json(app.backend.runtime.inspect(&id).await?))
}

/// Which columns.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Processes {
    /// Arguments of ps(1).
    #[serde(default = "every_process")]
    ps: String,
}

fn every_process() -> String {
    "-ef".to_owned()
}

pub(super) async fn top(
    State(app): State<App>,
    At(id): At<String>,
    Params(asked): Params<Processes>,
) -> Answer<Json<wire::Top>> {
    let view = app.backend.now();
    let record = lookup::container(&view, &id)?;
    let id = lookup::runtime_id(&view, &record)?;
    let list = app.backend.runtime.top(&id, &asked.ps).await?;
    let name = record.name.to_string();
    Ok(Json(wire::Top { name, titles: list.titles, processes: list.processes }))
}

pub(super) async fn wait(State(app): State<App>, At(id): At<String>) -> Answer<Json<wire::Ended>> {
    let _place = app.place()?;
    let events = app.backend.events.listen(None);
    let id = lookup::container(&app.backend.now(), &id)?.id;
    tokio::select! {
        exit_code = ending(&app, id, events) => Ok(Json(wire::Ended { exit_code: exit_code? })),
        () = app.closing.cancelled() => Err(Failure::Closing),
    }
}

/// Waits until a container has ended, by the node's picture; and by the events, as a container that is
/// removed at its end may never be seen ended in the picture.
pub(super) async fn ending(app: &App, id: ContainerId, mut events: Listener) -> Answer<i64> {
    let mut changes = app.backend.view.clone();
    let text = id.to_string();
    loop {
        let view = changes.borrow_and_update().clone();
        if view.state.container(id).is_none() {
            let last_word = timeout(LAST_WORD, exit_event(&mut events, &text)).await;
            return last_word.map_err(|_| Failure::NotFound { what: "container", name: text });
        }
        if let Some(ended) = ended(&view, id) {
            return ended;
        }
        tokio::select! {
            exit_code = exit_event(&mut events, &text) => return Ok(exit_code),
            changed = changes.changed() => changed.map_err(|_| Failure::NodeGone)?,
        }
    }
}

async fn exit_event(events: &mut Listener, container: &str) -> i64 {
    loop {
        if let Heard::Event(event) = events.next().await
            && event.container.as_deref() == Some(container)
            && let Some(exit_code) = event.exit_code
        {
            return exit_code;
        }
    }
}

fn ended(view: &View, id: ContainerId) -> Option<Answer<i64>> {
    let record = view.state.container(id)?;
    if !record.state.is_over() {
        return None;
    }
    let reason = record.reason.as_deref().unwrap_or("for no known reason");
    let never = || Failure::Unfit(format!("`{}` did not run: {reason}", record.name));
    Some(record.exit_code.ok_or_else(never))
}
