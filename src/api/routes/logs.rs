//! `GET /v1/logs`: the output of containers.
//!
//! What is there already comes by time, over all containers. With `follow` it comes as each container
//! writes it, and containers that come later or are started again join in. A client gets that of all
//! nodes, another member that of this one.

use std::{collections::BTreeMap, sync::Arc};

use axum::{extract::State, response::Response};
use futures_util::{
    Stream, StreamExt,
    future::join_all,
    stream::{self, BoxStream},
};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    api::{
        app::App,
        extract::Params,
        gather::{Gather, Items, Source},
        lookup::{self, Filter},
        others::{self, Follow, Followed, Reach},
        problem::Answer,
        render, wire,
    },
    model::{ContainerId, ContainerState, NodeId, RuntimeId, WallTime},
    node::View,
    runtime::{LogLine, LogsRequest, Runtime, RuntimeError},
    state::ContainerRecord,
};

const NS_PER_MS: u64 = 1_000_000;

/// The `stream` of a line that is no container's.
const WARNING: &str = "warning";

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

pub(super) async fn get(
    State(app): State<App>,
    reach: Reach,
    Params(asked): Params<Asked>,
) -> Answer<Response> {
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
    if filter.container.is_some() && reach == Reach::Here {
        containers.iter().try_for_each(|it| lookup::here(&view, it))?;
    }
    let there = There { filter: filter.clone(), request, resume: BTreeMap::new() };
    if asked.follow {
        let output =
            Output { runtime: Arc::clone(&app.backend.runtime), request, resume: BTreeMap::new() };
        let gather = Gather::new(&app, filter.clone(), output);
        let here = stream::unfold(gather, |mut gather| async move {
            gather.next().await.map(|line| (Ok::<_, RuntimeError>(line), gather))
        });
        if reach == Reach::Here {
            return Ok(app.lines(place, here));
        }
        let elsewhere = stream::unfold(Follow::new(&app, filter, there), |mut it| async move {
            it.next().await.map(|line| (Ok::<_, RuntimeError>(line), it))
        });
        return Ok(app.lines(place, stream::select(here, elsewhere)));
    }
    containers.retain(|it| it.node == view.me);
    let mut heads = heads_here(app.backend.runtime.as_ref(), containers, request).await?;
    if reach == Reach::Cluster {
        heads.extend(heads_elsewhere(&app, &view, there).await);
    }
    Ok(app.lines(place, by_time(heads)))
}

/// One container's output, or one member's, and its next line.
struct Head {
    at_ns: u64,
    line: wire::LogLine,
    rest: BoxStream<'static, Result<wire::LogLine, RuntimeError>>,
}

impl Head {
    fn new(
        line: wire::LogLine,
        rest: BoxStream<'static, Result<wire::LogLine, RuntimeError>>,
    ) -> Self {
        Self { at_ns: time_of(&line), line, rest }
    }
}

/// A warning has no time, and comes first.
fn time_of(line: &wire::LogLine) -> u64 {
    line.at_ns.parse().unwrap_or(0)
}

/// The first lines of this node's containers. What cannot be read at all is told at once, as an error
/// instead of lines.
async fn heads_here(
    runtime: &dyn Runtime,
    containers: Vec<Arc<ContainerRecord>>,
    request: LogsRequest,
) -> Result<Vec<Head>, RuntimeError> {
    let mut heads = Vec::new();
    for record in containers {
        let Some(id) = &record.runtime_id else { continue };
        let lines = runtime.logs(id, request);
        let mut rest = lines.map(move |it| it.map(|it| render::log_line(&record, &it))).boxed();
        match rest.next().await.transpose() {
            Ok(Some(line)) => heads.push(Head::new(line, rest)),
            // Gone between the picture and now: it has no output any more.
            Ok(None) | Err(RuntimeError::NotFound { .. }) => {}
            Err(why) => return Err(why),
        }
    }
    Ok(heads)
}

/// The first lines of other members; of one that does not answer, a line that says so.
async fn heads_elsewhere(app: &App, view: &View, there: There) -> Vec<Head> {
    let nodes = others::with_containers(view, &there.filter, |it| there.wants(it));
    let opened = nodes.into_iter().map(|node| {
        let name = lookup::name_of(view, node);
        let (view, path) = (app.backend.now(), there.path(node, false));
        let lines = others::lines(app, node, path).map(move |line| {
            Ok(line.unwrap_or_else(|why| warning_line(&name, others::missing(&view, node, &why))))
        });
        let mut lines = lines.boxed();
        async move { lines.next().await.and_then(Result::ok).map(|line| Head::new(line, lines)) }
    });
    join_all(opened).await.into_iter().flatten().collect()
}

fn warning_line(node: &str, text: String) -> wire::LogLine {
    wire::LogLine {
        container: String::new(),
        name: node.to_owned(),
        service: String::new(),
        stream: WARNING.to_owned(),
        at_ns: "0".to_owned(),
        line: text,
    }
}

/// Merges what is there by time, holding one line of each.
fn by_time(
    heads: Vec<Head>,
) -> impl Stream<Item = Result<wire::LogLine, RuntimeError>> + Send + use<> {
    stream::unfold(heads, |mut heads| async move {
        let earliest = heads.iter().enumerate().min_by_key(|(_, head)| head.at_ns)?.0;
        let head = heads.get_mut(earliest)?;
        let line = match head.rest.next().await {
            Some(Ok(next)) => {
                head.at_ns = time_of(&next);
                std::mem::replace(&mut head.line, next)
            }
            Some(Err(why)) => return Some((Err(why), Vec::new())),
            None => heads.swap_remove(earliest).line,
        };
        Some((Ok(line), heads))
    })
}

/// Output of other members' containers.
struct There {
    filter: Filter,
    request: LogsRequest,
    /// When each member's last line was written.
    resume: BTreeMap<NodeId, u64>,
}

impl Followed for There {
    type Out = wire::LogLine;

    fn wants(&self, record: &ContainerRecord) -> bool {
        wants(record)
    }

    fn path(&self, node: NodeId, again: bool) -> String {
        let LogsRequest { follow, mut tail, mut since, until } = self.request;
        if let Some(seen) = self.resume.get(&node).filter(|_| again) {
            // The next millisecond: what was written later in this one is lost, rather than told twice.
            (tail, since) = (None, Some(WallTime(seen / NS_PER_MS + 1)));
        }
        let mut path = format!("/v1/logs?follow={follow}");
        let number = |name: &str, value: Option<u64>| {
            value.map(|value| format!("&{name}={value}")).unwrap_or_default()
        };
        path.push_str(&number("tail", tail));
        path.push_str(&number("since_ms", since.map(|it| it.0)));
        path.push_str(&number("until_ms", until.map(|it| it.0)));
        path + &self.filter.query()
    }

    fn took(&mut self, node: NodeId, line: &wire::LogLine) {
        let seen = self.resume.entry(node).or_default();
        *seen = (*seen).max(time_of(line));
    }

    fn warning(&self, node: &str, text: String) -> wire::LogLine {
        warning_line(node, text)
    }

    fn is_bounded(&self) -> bool {
        self.request.until.is_some()
    }
}

/// A container that never ran has no output, and some runtimes say that it ends at once.
fn wants(record: &ContainerRecord) -> bool {
    record.state != ContainerState::Pending || record.runs > 0
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

    fn wants(&self, record: &ContainerRecord) -> bool {
        wants(record)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn line(at_ns: u64, text: &str) -> wire::LogLine {
        wire::LogLine {
            at_ns: at_ns.to_string(),
            line: text.to_owned(),
            ..warning_line("b", String::new())
        }
    }

    #[tokio::test]
    async fn lines_of_several_nodes_come_by_time_and_a_warning_before_them() {
        let head = |mut lines: Vec<wire::LogLine>| {
            let first = lines.remove(0);
            Head::new(first, stream::iter(lines.into_iter().map(Ok)).boxed())
        };
        let heads = vec![
            head(vec![line(3, "three"), line(9, "nine")]),
            head(vec![line(2, "two"), line(4, "four")]),
            head(vec![warning_line("c", "away".to_owned())]),
        ];
        let all: Vec<String> = by_time(heads).map(|it| it.unwrap().line).collect().await;
        assert_eq!(all, ["away", "two", "three", "four", "nine"]);
    }

    #[test]
    fn a_member_is_asked_for_what_was_asked_and_later_only_for_what_is_new() {
        let filter = Filter {
            project: Some("shop".parse().unwrap()),
            services: ["web", "db"].map(|it| it.parse().unwrap()).into(),
            ..Filter::default()
        };
        let request = LogsRequest { follow: true, tail: Some(5), since: None, until: None };
        let mut there = There { filter, request, resume: BTreeMap::new() };
        let node = NodeId(1);
        let first = "/v1/logs?follow=true&tail=5&project=shop&service=db,web";
        assert_eq!(there.path(node, false), first);
        assert_eq!(there.path(node, true), first, "nothing came yet");
        there.took(node, &line(7_999_999, "x"));
        let then = "/v1/logs?follow=true&since_ms=8&project=shop&service=db,web";
        assert_eq!(there.path(node, true), then);
    }
}
