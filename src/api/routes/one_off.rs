//! `POST /v1/deployments/{project}/services/{service}/run`: a container beside a service's replicas.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::services::key;
use crate::{
    api::{
        app::App,
        extract::{self, At},
        lookup,
        others::{self, Reach},
        problem::{Answer, Failure},
        wire,
    },
    model::ServiceKey,
    node::{Refusal, Request, Response as NodeResponse, RunRequest, View},
};

/// How long this node may take to hear of a container that another recorded.
const HEARD_MAX: Duration = Duration::from_secs(5);

pub(super) async fn run(
    State(app): State<App>,
    reach: Reach,
    At((project, service)): At<(String, String)>,
    extract::Json(run): extract::Json<wire::RunOneOff>,
) -> Answer<Response> {
    let key = key(&project, &service)?;
    let view = app.backend.now();
    let missing = || Failure::NotFound { what: "service", name: key.to_string() };
    let record = view.state.services().get(&key).ok_or_else(missing)?;
    let definition = serde_json::from_str(&record.template.definition)
        .map_err(|why| Failure::Render(format!("the definition of {key}: {why}")))?;
    let request = run_request(key, &definition, run.clone())?;
    let recorded = match app.ask(Request::Run(Box::new(request))).await {
        // Where the project's networks and volumes are.
        Err(Failure::Refused(Refusal::Elsewhere(node))) if reach == Reach::Cluster => {
            let path = format!("/v1/deployments/{project}/services/{service}/run");
            let created: wire::Created = others::tell(&app, node, &path, &run).await?;
            known(&app, &created).await;
            return Ok((StatusCode::CREATED, Json(created)).into_response());
        }
        recorded => recorded?,
    };
    match recorded {
        NodeResponse::Recorded(id) => {
            let created = wire::Created { container: id.to_string() };
            Ok((StatusCode::CREATED, Json(created)).into_response())
        }
        NodeResponse::Done
        | NodeResponse::Planned(_)
        | NodeResponse::Explained(_)
        | NodeResponse::Moves(_) => {
            Err(Failure::Render("the node did not tell the container's id".into()))
        }
    }
}

/// Waits a little until this node has heard of a container that another recorded, as whoever asked for it
/// is about to attach to it here.
async fn known(app: &App, created: &wire::Created) {
    let mut view = app.backend.view.clone();
    let is_there = |view: &Arc<View>| lookup::container(view, &created.container).is_ok();
    // A client that comes too early is told that there is no such container.
    let _ = timeout(HEARD_MAX, view.wait_for(is_there)).await;
}

fn run_request(key: ServiceKey, definition: &Value, run: wire::RunOneOff) -> Answer<RunRequest> {
    let mut problems = Vec::new();
    if run.service_ports && !run.publish.is_empty() {
        problems.push("publish: not together with `service_ports`; leave one out".to_owned());
    }
    let name = match run.name.as_deref().map(str::parse).transpose() {
        Ok(name) => name,
        Err(why) => {
            problems.push(format!("name: {why}"));
            None
        }
    };
    let (no_deps, remove, waits) = (run.no_deps, run.remove, !run.detach);
    let patch = patch(definition, run, &mut problems);
    let mut definition = definition.clone();
    merge(&mut definition, patch);
    if !problems.is_empty() {
        return Err(Failure::Invalid(problems));
    }
    let ServiceKey { project, service } = key;
    Ok(RunRequest { project, service, name, definition, no_deps, remove, waits })
}

/// What makes the service's definition the container's, as a JSON Merge Patch (RFC 7396): maps are
/// merged, everything else is replaced, null takes away.
fn patch(definition: &Value, run: wire::RunOneOff, problems: &mut Vec<String>) -> Value {
    let mut patch = Map::new();
    let mut set = |key: &str, value: Value| drop(patch.insert(key.to_owned(), value));
    set("tty", json!(run.tty));
    set("stdin_open", json!(run.stdin));
    set("container_name", Value::Null);
    if !run.command.is_empty() {
        set("command", json!(run.command));
    } else if run.entrypoint.is_some() {
        // The service's command is for the service's entrypoint.
        set("command", Value::Null);
    }
    for (key, value) in [
        ("entrypoint", run.entrypoint.map(|it| json!(it))),
        ("user", run.user.map(|it| json!(it))),
        ("working_dir", run.working_dir.map(|it| json!(it))),
    ] {
        if let Some(value) = value {
            set(key, value);
        }
    }
    let environment = environment(&run.environment, problems);
    if !environment.is_empty() {
        set("environment", Value::Object(environment));
    }
    if !run.labels.is_empty() {
        set("labels", json!(run.labels));
    }
    if !run.service_ports {
        set("ports", if run.publish.is_empty() { Value::Null } else { run.publish.into() });
    }
    if !run.volumes.is_empty() {
        let own = definition["volumes"].as_array().cloned().unwrap_or_default();
        set("volumes", own.into_iter().chain(run.volumes).collect());
    }
    if !run.use_aliases
        && let Some(networks) = definition["networks"].as_object()
    {
        let aliased = networks.iter().filter(|(_, it)| it["aliases"].is_array());
        let without = |(name, _): (&String, &Value)| (name.clone(), json!({"aliases": null}));
        let networks: Map<_, _> = aliased.map(without).collect();
        if !networks.is_empty() {
            set("networks", networks.into());
        }
    }
    Value::Object(patch)
}

/// Applies a merge patch, by the algorithm of RFC 7396, section 2.
fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(target) = target.as_object_mut() else { return };
    for (key, value) in patch {
        if value.is_null() {
            target.shift_remove(&key);
        } else {
            merge(target.entry(key).or_insert(Value::Null), value);
        }
    }
}

fn environment(list: &[String], problems: &mut Vec<String>) -> Map<String, Value> {
    let mut environment = Map::new();
    for line in list {
        match line.split_once('=') {
            Some((name, value)) if !name.is_empty() => {
                environment.insert(name.to_owned(), value.into());
            }
            Some(_) | None => problems.push(format!(
                "environment: `{line}` is not `NAME=value`; the node does not know the caller's own"
            )),
        }
    }
    environment
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service() -> Value {
        json!({
            "image": "app", "command": ["serve"], "environment": {"A": "1"},
            "volumes": [{"type": "volume", "source": "data", "target": "/data"}],
            "ports": [{"target": 80, "published": "8080"}],
            "networks": {"default": null, "back": {"aliases": ["api"]}},
        })
    }

    fn made(run: wire::RunOneOff) -> Value {
        run_request(key("shop", "web").unwrap(), &service(), run).unwrap().definition
    }

    #[test]
    fn a_one_off_container_neither_publishes_nor_answers_for_its_service() {
        let made = made(wire::RunOneOff::default());
        assert!(made.get("ports").is_none());
        assert_eq!(made["networks"], json!({"default": null, "back": {}}));
        assert_eq!(made["command"], json!(["serve"]));
    }

    #[test]
    fn what_was_asked_goes_over_the_services_own() {
        let made = made(wire::RunOneOff {
            command: vec!["sh".into()],
            environment: vec!["B=x=y".into()],
            volumes: vec![json!({"type": "tmpfs", "target": "/t"})],
            service_ports: true,
            use_aliases: true,
            ..wire::RunOneOff::default()
        });
        assert_eq!(made["command"], json!(["sh"]));
        assert_eq!(made["environment"], json!({"A": "1", "B": "x=y"}));
        assert_eq!(made["volumes"].as_array().unwrap().len(), 2);
        assert_eq!(made["ports"], service()["ports"]);
        assert_eq!(made["networks"], service()["networks"]);
    }

    #[test]
    fn another_entrypoint_does_not_get_the_services_command() {
        let entrypoint = Some(vec!["/bin/sh".into()]);
        let made = made(wire::RunOneOff { entrypoint, ..wire::RunOneOff::default() });
        assert!(made.get("command").is_none());
    }

    #[test]
    fn a_variable_without_a_value_is_refused() {
        let run = wire::RunOneOff { environment: vec!["HOME".into()], ..Default::default() };
        let key = key("shop", "web").unwrap();
        assert!(matches!(run_request(key, &service(), run), Err(Failure::Invalid(_))));
    }
}
