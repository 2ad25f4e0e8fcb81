//! `GET /v1/stats` and `GET /v1/containers/{id}/stats`: what containers use.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use axum::{extract::State, response::Response};
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use tokio::time::timeout;
use tracing::debug;
use utoipa::IntoParams;

use crate::{
    api::{
        app::App,
        extract::{At, Params},
        gather::{Gather, Items, Source},
        lookup::{self, Filter},
        others::{self, Follow, Followed, Reach},
        problem::{Answer, Failure},
        render, wire,
    },
    model::{NodeId, RuntimeId},
    runtime::{ContainerStats, Runtime, RuntimeError},
    state::ContainerRecord,
};

/// How many containers are measured at a time.
const MEASURED_AT_ONCE_MAX: usize = 32;

/// How long one measurement may take: the runtime measures over about a second.
const MEASURE_MAX: Duration = Duration::from_secs(10);

/// Once or on and on.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Streamed {
    /// Go on, about once a second.
    #[serde(default)]
    stream: bool,
}

/// Of which containers.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// Of this project.
    project: Option<String>,
    /// Of these services, with commas between.
    service: Option<String>,
    /// Go on, about once a second.
    #[serde(default)]
    stream: bool,
}

pub(super) async fn one(
    State(app): State<App>,
    At(id): At<String>,
    Params(asked): Params<Streamed>,
) -> Answer<Response> {
    let view = app.backend.now();
    let record = lookup::container(&view, &id)?;
    lookup::runtime_id(&view, &record)?;
    if !record.state.is_up() {
        let why = format!("`{}` is {} and uses nothing", record.name, record.state);
        return Err(Failure::Unfit(why));
    }
    let filter = Filter { container: Some(record.id), ..Filter::default() };
    answer(&app, Reach::Here, filter, asked.stream)
}

pub(super) async fn many(
    State(app): State<App>,
    reach: Reach,
    Params(asked): Params<Asked>,
) -> Answer<Response> {
    let view = app.backend.now();
    let (project, service) = (asked.project.as_deref(), asked.service.as_deref());
    let mut filter = Filter::parse(&view, project, service, None)?;
    filter.one_offs = true;
    answer(&app, reach, filter, asked.stream)
}

fn answer(app: &App, reach: Reach, filter: Filter, on_and_on: bool) -> Answer<Response> {
    let place = app.place()?;
    let runtime = Arc::clone(&app.backend.runtime);
    if on_and_on {
        let gather = Gather::new(app, filter.clone(), Usage(runtime));
        let here = stream::unfold(gather, |mut gather| async move {
            gather.next().await.map(|line| (Ok::<_, RuntimeError>(line), gather))
        });
        if reach == Reach::Here {
            return Ok(app.lines(place, here));
        }
        let there = Follow::new(app, filter.clone(), There(filter));
        let elsewhere = stream::unfold(there, |mut there| async move {
            there.next().await.map(|line| (Ok::<_, RuntimeError>(line), there))
        });
        return Ok(app.lines(place, stream::select(here, elsewhere)));
    }
    let view = app.backend.now();
    let elsewhere = match reach {
        Reach::Cluster => others::with_containers(&view, &filter, |it| it.state.is_up()),
        Reach::Here => BTreeSet::new(),
    };
    let path = format!("/v1/stats?stream=false{}", filter.query());
    let elsewhere = elsewhere.into_iter().map(|node| {
        let (name, view) = (lookup::name_of(&view, node), Arc::clone(&view));
        others::lines(app, node, path.clone()).map(move |line| {
            Ok(line.unwrap_or_else(|why| warning(&name, others::missing(&view, node, &why))))
        })
    });
    let elsewhere = stream::select_all(elsewhere.collect::<Vec<_>>());
    let up = filter.containers(&view).into_iter();
    let up = up.filter(move |it| it.node == view.me && it.state.is_up());
    let measured = stream::iter(up)
        .map(move |record| measure(Arc::clone(&runtime), record))
        .buffered(MEASURED_AT_ONCE_MAX)
        .filter_map(|measured| std::future::ready(measured.transpose()));
    Ok(app.lines(place, stream::select(measured, elsewhere)))
}

/// What other members' containers use.
struct There(Filter);

impl Followed for There {
    type Out = wire::Stats;

    fn wants(&self, record: &ContainerRecord) -> bool {
        record.state.is_up()
    }

    fn path(&self, _: NodeId, _: bool) -> String {
        format!("/v1/stats?stream=true{}", self.0.query())
    }

    fn took(&mut self, _: NodeId, _: &wire::Stats) {}

    fn warning(&self, node: &str, text: String) -> wire::Stats {
        warning(node, text)
    }

    fn is_bounded(&self) -> bool {
        false
    }
}

fn warning(node: &str, text: String) -> wire::Stats {
    wire::Stats {
        container: String::new(),
        name: node.to_owned(),
        cpu_hundredths_percent: 0,
        memory_bytes: 0,
        memory_limit_bytes: 0,
        network_rx_bytes: 0,
        network_tx_bytes: 0,
        block_read_bytes: 0,
        block_write_bytes: 0,
        pids: 0,
        warning: Some(text),
    }
}

/// One measurement; none of a container that ends meanwhile.
async fn measure(
    runtime: Arc<dyn Runtime>,
    record: Arc<ContainerRecord>,
) -> Result<Option<wire::Stats>, RuntimeError> {
    let Some(id) = &record.runtime_id else { return Ok(None) };
    let first = timeout(MEASURE_MAX, runtime.stats(id).into_future()).await;
    match first.map(|(first, _)| first) {
        Ok(Some(Ok(stats))) => Ok(Some(render::stats(&record, stats))),
        Ok(None | Some(Err(RuntimeError::NotFound { .. }))) => Ok(None),
        Ok(Some(Err(why))) => Err(why),
        Err(_) => {
            debug!(container = %record.name, "was not measured in time");
            Ok(None)
        }
    }
}

/// Measurements as they come.
struct Usage(Arc<dyn Runtime>);

impl Source for Usage {
    type Item = ContainerStats;
    type Out = wire::Stats;

    fn wants(&self, record: &ContainerRecord) -> bool {
        record.state.is_up()
    }

    fn open(&mut self, _: &ContainerRecord, id: &RuntimeId, _: bool) -> Items<ContainerStats> {
        self.0.stats(id)
    }

    fn take(&mut self, record: &ContainerRecord, stats: ContainerStats) -> Option<wire::Stats> {
        Some(render::stats(record, stats))
    }

    fn is_bounded(&self) -> bool {
        false
    }
}
