//! `/v1/services` and what can be done to them.

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use futures_util::future::join_all;
use serde::Deserialize;
use utoipa::IntoParams;

use super::deployments::{keyed, names};
use crate::{
    api::{
        app::App,
        extract::{self, At, Params},
        lookup::{self, Filter},
        others::{self, Reach},
        problem::{Answer, Failure},
        render, wire,
    },
    model::{Millis, ServiceKey},
    node::{Request, ServiceVerb},
};

/// Which services.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Listed {
    /// Of this project.
    project: Option<String>,
}

pub(super) async fn list(
    State(app): State<App>,
    Params(asked): Params<Listed>,
) -> Answer<Json<Vec<wire::Service>>> {
    let view = app.backend.now();
    let project = asked.project.as_deref().map(lookup::parse_project).transpose()?;
    let all = view.state.services().iter();
    let all = all.filter(|(key, _)| project.as_ref().is_none_or(|it| *it == key.project));
    Ok(Json(
        all.map(|(key, it)| render::service(&view, key, it, (app.backend.clock)().wall)).collect(),
    ))
}

pub(super) async fn one(
    State(app): State<App>,
    At((project, service)): At<(String, String)>,
) -> Answer<Json<wire::Service>> {
    let view = app.backend.now();
    let key = key(&project, &service)?;
    let missing = || Failure::NotFound { what: "service", name: key.to_string() };
    let record = view.state.services().get(&key).ok_or_else(missing)?;
    Ok(Json(render::service(&view, &key, record, (app.backend.clock)().wall)))
}

/// A service by the parts of its path.
pub(super) fn key(project: &str, service: &str) -> Answer<ServiceKey> {
    let (project, service) = (lookup::parse_project(project)?, lookup::parse_service(service)?);
    Ok(ServiceKey { project, service })
}

pub(super) async fn act(
    State(app): State<App>,
    reach: Reach,
    At(project): At<String>,
    extract::Json(action): extract::Json<wire::ServiceAction>,
) -> Answer<Response> {
    let project = lookup::parse_project(&project)?;
    let mut problems = Vec::new();
    let services = names("services", &action.services, &mut problems);
    // What is removed by force stops first, and only a stop can be given its time.
    let (asked, kills) = (action.clone(), action.action == "kill");
    let stop_first = action.force.then_some(action.timeout_ms).flatten().map(Millis);
    let verb = verb(action, &mut problems);
    let (Some(verb), true) = (verb, problems.is_empty()) else {
        return Err(Failure::Invalid(problems));
    };
    let event = app.backend.events.last();
    if let Some(grace) = stop_first {
        let stop = ServiceVerb::Stop(Some(grace));
        app.tell(Request::Services(project.clone(), services.clone(), stop)).await?;
    }
    app.tell(Request::Services(project.clone(), services.clone(), verb)).await?;
    if kills && reach == Reach::Cluster {
        // A signal is sent now or not at all, so each node that has containers is asked to.
        let view = app.backend.now();
        let services = services.into_iter().collect();
        let filter = Filter { project: Some(project.clone()), services, ..Filter::default() };
        let nodes = others::with_containers(&view, &filter, |it| it.state.is_up());
        let path = format!("/v1/deployments/{project}/actions");
        let told = nodes.into_iter().map(|node| {
            let (app, path, asked) = (&app, &path, &asked);
            async move { others::tell::<wire::Accepted>(app, node, path, asked).await }
        });
        join_all(told).await.into_iter().collect::<Answer<Vec<_>>>()?;
    }
    Ok((StatusCode::ACCEPTED, Json(wire::Accepted { event })).into_response())
}

/// What is to be done. A setting that the action does not have is a problem, never dropped.
fn verb(action: wire::ServiceAction, problems: &mut Vec<String>) -> Option<ServiceVerb> {
    let name = action.action.as_str();
    let known: &[&str] = match name {
        "start" => &[],
        "stop" => &["timeout_ms"],
        "restart" => &["timeout_ms", "no_deps"],
        "kill" => &["signal"],
        "remove" => &["timeout_ms", "force", "volumes"],
        "scale" => &["scale"],
        _ => {
            problems.push(format!(
                "action: `{name}` is not known; use start, stop, restart, kill, remove or scale"
            ));
            return None;
        }
    };
    let set = [
        ("timeout_ms", action.timeout_ms.is_some()),
        ("signal", action.signal.is_some()),
        ("force", action.force),
        ("volumes", action.volumes),
        ("no_deps", action.no_deps),
        ("scale", !action.scale.is_empty()),
    ];
    for (field, _) in set.iter().filter(|(field, is_set)| *is_set && !known.contains(field)) {
        problems.push(format!("{field}: `{name}` does not have it; leave it out"));
    }
    let grace = action.timeout_ms.map(Millis);
    Some(match name {
        "start" => ServiceVerb::Start,
        "stop" => ServiceVerb::Stop(grace),
        "restart" => ServiceVerb::Restart { grace, no_deps: action.no_deps },
        "kill" => ServiceVerb::Kill(action.signal.unwrap_or_else(|| "SIGKILL".to_owned())),
        "remove" => ServiceVerb::Remove { force: action.force, volumes: action.volumes },
        _ => ServiceVerb::Scale(keyed("scale", action.scale, problems)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(action: wire::ServiceAction) -> Result<ServiceVerb, Vec<String>> {
        let mut problems = Vec::new();
        verb(action, &mut problems).filter(|_| problems.is_empty()).ok_or(problems)
    }

    #[test]
    fn an_action_without_a_signal_kills() {
        let kill = wire::ServiceAction { action: "kill".into(), ..Default::default() };
        assert_eq!(read(kill), Ok(ServiceVerb::Kill("SIGKILL".into())));
    }

    #[test]
    fn a_setting_of_another_action_is_refused_not_dropped() {
        let stop = wire::ServiceAction {
            action: "stop".into(),
            signal: Some("SIGHUP".into()),
            force: true,
            ..Default::default()
        };
        assert_eq!(read(stop).unwrap_err().len(), 2);
        let odd = wire::ServiceAction { action: "pause".into(), ..Default::default() };
        assert!(read(odd).unwrap_err()[0].contains("use start"));
    }
}
