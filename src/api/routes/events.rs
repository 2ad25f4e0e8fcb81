//! `GET /v1/events`: what happens, as server-sent events (HTML Living Standard, section 9.2).

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::State,
    http::HeaderMap,
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures_util::stream;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::api::{
    app::App,
    events::{Heard, Listener},
    extract::Params,
    lookup,
    problem::{Answer, Failure},
    wire,
};

/// How often a comment shows that the connection lives while nothing happens.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Which events.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// Of this project, and those that are about no project.
    project: Option<String>,
    /// Those after this one; from now on when not set.
    since: Option<u64>,
}

pub(super) async fn get(
    State(app): State<App>,
    headers: HeaderMap,
    Params(asked): Params<Asked>,
) -> Answer<Response> {
    let place = app.place()?;
    let project = asked.project.as_deref().map(lookup::parse_project).transpose()?;
    let since = last_event_id(&headers)?.or(asked.since);
    let listener = app.backend.events.listen(since);
    let project = project.map(|project| project.to_string());
    let events = stream::unfold((listener, project), |(mut listener, project)| async move {
        let event = next(&mut listener, project.as_deref()).await;
        Some((Ok::<_, Infallible>(event), (listener, project)))
    });
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    Ok(Sse::new(app.hold(place, events)).keep_alive(keep_alive).into_response())
}

fn last_event_id(headers: &HeaderMap) -> Answer<Option<u64>> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    let id = value.to_str().ok().and_then(|text| text.parse().ok());
    id.map(Some).ok_or_else(|| Failure::Address("Last-Event-ID is not the id of an event".into()))
}

async fn next(listener: &mut Listener, project: Option<&str>) -> Event {
    loop {
        match listener.next().await {
            Heard::Gap(id) => return sent(&gap(id)),
            Heard::Event(event) => {
                if project.is_none()
                    || event.project.is_none()
                    || event.project.as_deref() == project
                {
                    return sent(&event);
                }
            }
        }
    }
}

fn gap(id: u64) -> wire::Event {
    let reason = format!("events up to {id} are no longer kept: read everything again");
    wire::Event { id, kind: "gap".into(), reason: Some(reason), ..wire::Event::default() }
}

fn sent(event: &wire::Event) -> Event {
    let framed = Event::default().id(event.id.to_string()).event(&event.kind);
    framed.json_data(event).unwrap_or_else(|why| Event::default().comment(why.to_string()))
}
