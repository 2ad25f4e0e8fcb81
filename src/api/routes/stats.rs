//! `GET /v1/stats` and `GET /v1/containers/{id}/stats`: what containers use.

use std::{sync::Arc, time::Duration};

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
        problem::{Answer, Failure},
        render, wire,
    },
    model::RuntimeId,
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
    answer(&app, Filter { container: Some(record.id), ..Filter::default() }, asked.stream)
}

pub(super) async fn many(State(app): State<App>, Params(asked): Params<Asked>) -> Answer<Response> {
    let view = app.backend.now();
    let (project, service) = (asked.project.as_deref(), asked.service.as_deref());
    let mut filter = Filter::parse(&view, project, service, None)?;
    filter.one_offs = true;
    answer(&app, filter, asked.stream)
}

fn answer(app: &App, filter: Filter, on_and_on: bool) -> Answer<Response> {
    let place = app.place()?;
    let runtime = Arc::clone(&app.backend.runtime);
    if on_and_on {
        let gather = Gather::new(app, filter, Usage(runtime));
        let lines = stream::unfold(gather, |mut gather| async move {
            gather.next().await.map(|line| (Ok::<_, RuntimeError>(line), gather))
        });
        return Ok(app.lines(place, lines));
    }
    let view = app.backend.now();
    let up = filter.containers(&view).into_iter();
    let up = up.filter(move |it| it.node == view.me && it.state.is_up());
    let measured = stream::iter(up)
        .map(move |record| measure(Arc::clone(&runtime), record))
        .buffered(MEASURED_AT_ONCE_MAX)
        .filter_map(|measured| std::future::ready(measured.transpose()));
    Ok(app.lines(place, measured))
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
