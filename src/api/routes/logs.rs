//! `GET /v1/logs`: the output of containers.
//!
//! What is there already comes by time, over all containers. With `follow` it comes as each container
//! writes it, and containers that come later or are started again join in.

use std::{collections::BTreeMap, sync::Arc};

use axum::{extract::State, response::Response};
use futures_util::{Stream, StreamExt, stream};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    api::{
        app::App,
        extract::Params,
        gather::{Gather, Items, Source},
        lookup::{self, Filter},
        problem::Answer,
        render, wire,
    },
    model::{ContainerId, ContainerState, RuntimeId, WallTime},
    runtime::{LogLine, LogsRequest, Runtime, RuntimeError},
    state::ContainerRecord,
};

const NS_PER_MS: u64 = 1_000_000;

/// Whose output, and which of it.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// Of this project.
    project: Option<String>,
    /// Of these services, with commas between.
    service: Option<String>,
    /// Of this container.
    container: Option<String>,
    /// Go on as it comes.
    #[serde(default)]
    follow: bool,
    /// Only so many of the last lines of each container.
    tail: Option<u64>,
    /// Not before.
    since_ms: Option<u64>,
    /// Not after.
    until_ms: Option<u64>,
}

pub(super) async fn get(State(app): State<App>, Params(asked): Params<Asked>) -> Answer<Response> {
    let place = app.place()?;
    let view = app.backend.now();
    let (project, service) = (asked.project.as_deref(), asked.service.as_deref());
    let filter = Filter::parse(&view, project, service, asked.container.as_deref())?;
    let request = LogsRequest {
        follow: asked.follow,
        tail: asked.tail,
        since: asked.since_ms.map(WallTime),
        until: asked.until_ms.map(WallTime),
    };
    let mut containers = filter.containers(&view);
    if filter.container.is_some() {
        containers.iter().try_for_each(|it| lookup::here(&view, it))?;
    }
    if asked.follow {
        let output =
            Output { runtime: Arc::clone(&app.backend.runtime), request, resume: BTreeMap::new() };
        let gather = Gather::new(&app, filter, output);
        let lines = stream::unfold(gather, |mut gather| async move {
            gather.next().await.map(|line| (Ok::<_, RuntimeError>(line), gather))
        });
        return Ok(app.lines(place, lines));
    }
    containers.retain(|it| it.node == view.me);
    let lines = by_time(app.backend.runtime.as_ref(), containers, request).await?;
    Ok(app.lines(place, lines))
}

/// One container's output, and its next line.
struct Head {
    record: Arc<ContainerRecord>,
    rest: Items<LogLine>,
    line: LogLine,
}

/// Merges what is there by time, holding one line of each container. What cannot be read at all is
/// told at once, as an error instead of lines.
async fn by_time(
    runtime: &dyn Runtime,
    containers: Vec<Arc<ContainerRecord>>,
    request: LogsRequest,
) -> Result<impl Stream<Item = Result<wire::LogLine, RuntimeError>> + use<>, RuntimeError> {
    let mut heads = Vec::new();
    for record in containers {
        let Some(id) = &record.runtime_id else { continue };
        let mut rest = runtime.logs(id, request);
        match rest.next().await.transpose() {
            Ok(Some(line)) => heads.push(Head { record, rest, line }),
            // Gone between the picture and now: it has no output any more.
            Ok(None) | Err(RuntimeError::NotFound { .. }) => {}
            Err(why) => return Err(why),
        }
    }
    Ok(stream::unfold(heads, |mut heads| async move {
        let earliest = heads.iter().enumerate().min_by_key(|(_, head)| head.line.at_ns)?.0;
        let head = heads.get_mut(earliest)?;
        let line = render::log_line(&head.record, &head.line);
        match head.rest.next().await {
            Some(Ok(next)) => head.line = next,
            Some(Err(why)) => return Some((Err(why), Vec::new())),
            None => drop(heads.swap_remove(earliest)),
        }
        Some((Ok(line), heads))
    }))
}

/// Output as it comes.
struct Output {
    runtime: Arc<dyn Runtime>,
    request: LogsRequest,
    /// Where each container's output was when it was last read.
    resume: BTreeMap<ContainerId, u64>,
}

impl Source for Output {
    type Item = LogLine;
    type Out = wire::LogLine;

    /// A container that never ran has no output, and some runtimes say that it ends at once.
    fn wants(&self, record: &ContainerRecord) -> bool {
        record.state != ContainerState::Pending || record.runs > 0
    }

    fn open(&mut self, record: &ContainerRecord, id: &RuntimeId, first: bool) -> Items<LogLine> {
        let mut request = self.request;
        if !first {
            request.tail = None;
        }
        let Some(&seen) = self.resume.get(&record.id) else {
            return self.runtime.logs(id, request);
        };
        // The runtime takes milliseconds: what was read of the last one comes again and is left out.
        request.since = Some(WallTime(seen / NS_PER_MS));
        let lines = self.runtime.logs(id, request);
        let new = move |line: &Result<LogLine, RuntimeError>| {
            line.as_ref().map_or(true, |line| line.at_ns > seen)
        };
        lines.filter(move |line| std::future::ready(new(line))).boxed()
    }

    fn take(&mut self, record: &ContainerRecord, line: LogLine) -> Option<wire::LogLine> {
        self.resume.insert(record.id, line.at_ns);
        Some(render::log_line(record, &line))
    }

    fn is_bounded(&self) -> bool {
        self.request.until.is_some()
    }
}
