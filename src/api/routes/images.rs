//! `/v1/images`: looking, fetching, building, removing.

use std::collections::{BTreeMap, BTreeSet};

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use futures_util::{Stream, future::BoxFuture, stream};
use serde::Deserialize;
use tokio::sync::mpsc;
use utoipa::IntoParams;

use crate::{
    api::{
        app::App,
        extract::{self, Params, Tar},
        lookup::{self, Filter},
        others::{self, Reach},
        problem::{Answer, Failure},
        registry, render, wire,
    },
    model::{ImageId, ProjectName},
    node::View,
    runtime::{BuildRequest, Credentials, Progress, RuntimeError},
};

/// How many steps wait for a slow reader before the runtime waits, too.
const STEPS_QUEUED_MAX: usize = 256;

/// Which images.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Listed {
    /// Of this project.
    project: Option<String>,
}

pub(super) async fn list(
    State(app): State<App>,
    reach: Reach,
    Params(asked): Params<Listed>,
) -> Answer<(HeaderMap, Json<Vec<wire::Image>>)> {
    let project = asked.project.as_deref().map(lookup::parse_project).transpose()?;
    let view = app.backend.now();
    let filter = Filter { project: project.clone(), one_offs: true, ..Filter::default() };
    let elsewhere = match reach {
        Reach::Cluster => others::with_containers(&view, &filter, |_| true),
        Reach::Here => BTreeSet::new(),
    };
    let path = format!("/v1/images?{}", filter.query().trim_start_matches('&'));
    let (here, (elsewhere, warnings)) = tokio::join!(
        list_here(&app, &view, project.as_ref()),
        others::lists::<wire::Image>(&app, elsewhere, &path),
    );
    let mut all = here?;
    for image in elsewhere.into_iter().flat_map(|(_, list)| list) {
        let known = all.entry(image.id.clone());
        let known =
            known.or_insert_with(|| wire::Image { containers: Vec::new(), ..image.clone() });
        known.containers.extend(image.containers);
    }
    Ok((others::warnings(&warnings), Json(all.into_values().collect())))
}

async fn list_here(
    app: &App,
    view: &View,
    project: Option<&ProjectName>,
) -> Answer<BTreeMap<String, wire::Image>> {
    // By what a container runs, or by what its service asks for while nothing runs.
    let mut wanted: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, spec) in &view.projects {
        if project.is_none_or(|it| it == name) {
            let images = spec.services.values().map(|it| it.container.image.clone());
            wanted.extend(images.map(|image| (image, Vec::new())));
        }
    }
    for record in view.state.containers().filter(|it| it.node == view.me) {
        if let Some(image) = &record.image
            && project.is_none_or(|it| *it == record.service.project)
        {
            wanted.entry(image.to_string()).or_default().push(record.name.to_string());
        }
    }
    let mut found: BTreeMap<String, wire::Image> = BTreeMap::new();
    for (reference, containers) in wanted {
        let info = match app.backend.runtime.image(&reference).await {
            Ok(Some(info)) => info,
            // A node without a runtime has no images, and others may.
            Ok(None) | Err(RuntimeError::Unsupported(_)) => continue,
            Err(why) => return Err(why.into()),
        };
        let id = info.id.to_string();
        let image = found.entry(id).or_insert_with(|| render::image(info, Vec::new()));
        image.containers.extend(containers);
    }
    Ok(found)
}

/// Which image.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Named {
    /// Any of its names, or its id.
    reference: String,
}

pub(super) async fn one(
    State(app): State<App>,
    Params(Named { reference }): Params<Named>,
) -> Answer<Json<wire::Image>> {
    let view = app.backend.now();
    let info = app.backend.runtime.image(&reference).await?;
    let info = info.ok_or(Failure::NotFound { what: "image", name: reference })?;
    let run_it = view.state.containers().filter(|it| it.image.as_ref() == Some(&info.id));
    let containers = run_it.map(|it| it.name.to_string()).collect();
    Ok(Json(render::image(info, containers)))
}

pub(super) async fn remove(
    State(app): State<App>,
    Params(named): Params<Named>,
) -> Answer<StatusCode> {
    app.backend.runtime.remove_image(&named.reference).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn pull(
    State(app): State<App>,
    extract::Json(pull): extract::Json<wire::Pull>,
) -> Answer<Response> {
    let place = app.place()?;
    let registry = registry::of(&pull.image).to_owned();
    let mut all = pull.credentials.into_iter().map(credentials);
    let credentials = all.find(|it| it.registry == registry);
    let runtime = app.backend.runtime.clone();
    let (progress, steps) = mpsc::channel(STEPS_QUEUED_MAX);
    let work = async move {
        runtime.pull(&pull.image, pull.platform.as_deref(), credentials, progress).await
    };
    Ok(app.lines(place, steps_of(Box::pin(work), steps)))
}

fn credentials(wire: wire::RegistryCredentials) -> Credentials {
    Credentials {
        registry: registry::canonical(&wire.registry).to_owned(),
        username: wire.username,
        password: wire.password,
        identity_token: wire.identity_token,
    }
}

/// How to build.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Built {
    /// A `Build` as JSON.
    request: String,
}

pub(super) async fn build(
    State(app): State<App>,
    headers: HeaderMap,
    Params(built): Params<Built>,
    Tar(context): Tar,
) -> Answer<Response> {
    let build: wire::Build = serde_json::from_str(&built.request)
        .map_err(|why| Failure::Address(format!("`request`: {why}")))?;
    let credentials = header_credentials(&headers)?.into_iter().map(credentials).collect();
    let place = app.place()?;
    let runtime = app.backend.runtime.clone();
    let (progress, steps) = mpsc::channel(STEPS_QUEUED_MAX);
    let request = build_request(build);
    let work = async move { runtime.build(request, context, credentials, progress).await };
    Ok(app.lines(place, steps_of(Box::pin(work), steps)))
}

fn header_credentials(headers: &HeaderMap) -> Answer<Vec<wire::RegistryCredentials>> {
    let Some(value) = headers.get(wire::header::CREDENTIALS) else { return Ok(Vec::new()) };
    // Without the reason, which could show some of it.
    let unreadable = || {
        let what = "is not a JSON list of RegistryCredentials in base64";
        Failure::Address(format!("the header `{}` {what}", wire::header::CREDENTIALS))
    };
    let json = BASE64.decode(value.as_bytes()).map_err(|_| unreadable())?;
    serde_json::from_slice(&json).map_err(|_| unreadable())
}

fn build_request(build: wire::Build) -> BuildRequest {
    BuildRequest {
        tags: build.tags,
        dockerfile: build.dockerfile,
        args: build.args,
        labels: build.labels,
        target: build.target,
        cache_from: build.cache_from,
        no_cache: build.no_cache,
        pull: build.pull,
        platform: build.platform,
        network: build.network,
        shm_bytes: build.shm_bytes,
        extra_hosts: build.extra_hosts,
        ulimits: build.ulimits,
        privileged: build.privileged,
    }
}

/// A pull or a build under way. It goes on only while its steps are read, and ends with its reader.
type Work = BoxFuture<'static, Result<ImageId, RuntimeError>>;

/// The steps, and the end as the last of them.
fn steps_of(
    work: Work,
    steps: mpsc::Receiver<Progress>,
) -> impl Stream<Item = Result<wire::Progress, RuntimeError>> {
    enum At {
        Working(Work),
        Ended(Box<wire::Progress>),
        Over,
    }
    stream::unfold((At::Working(work), steps), |(mut at, mut steps)| async move {
        if let At::Working(work) = &mut at {
            tokio::select! {
                biased;
                Some(step) = steps.recv() => return Some((Ok(render::progress(step)), (at, steps))),
                ended = work => at = At::Ended(Box::new(last_step(ended))),
            }
        }
        // What was said before the end comes before it.
        if let Ok(step) = steps.try_recv() {
            return Some((Ok(render::progress(step)), (at, steps)));
        }
        match at {
            At::Ended(last) => Some((Ok(*last), (At::Over, steps))),
            At::Working(_) | At::Over => None,
        }
    })
}

fn last_step(ended: Result<ImageId, RuntimeError>) -> wire::Progress {
    match ended {
        Ok(image) => wire::Progress { image: Some(image.to_string()), ..wire::Progress::default() },
        Err(why) => {
            let problem = Failure::Runtime(why).problem();
            wire::Progress { error: Some(problem), ..wire::Progress::default() }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;

    #[tokio::test]
    async fn the_end_comes_after_every_step_that_was_said_before_it() {
        let (progress, steps) = mpsc::channel(STEPS_QUEUED_MAX);
        let work = async move {
            for number in 0..5u64 {
                let step = Progress {
                    layer: None,
                    status: number.to_string(),
                    current_bytes: None,
                    total_bytes: None,
                };
                progress.send(step).await.unwrap();
            }
            Ok(ImageId("sha256:1".into()))
        };
        let said: Vec<_> = steps_of(Box::pin(work), steps).map(Result::unwrap).collect().await;
        let words: Vec<_> = said.iter().map(|it| it.status.as_str()).collect();
        assert_eq!(words, ["0", "1", "2", "3", "4", ""]);
        assert_eq!(said[5].image.as_deref(), Some("sha256:1"));
    }

    #[tokio::test]
    async fn a_failure_is_the_last_step() {
        let (_progress, steps) = mpsc::channel(1);
        let work = async { Err(RuntimeError::Unsupported("no".into())) };
        let said: Vec<_> = steps_of(Box::pin(work), steps).map(Result::unwrap).collect().await;
        assert_eq!(said.len(), 1);
        assert_eq!(said[0].error.as_ref().unwrap().status, 501);
    }
}
