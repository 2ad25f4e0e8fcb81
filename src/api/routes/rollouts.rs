//! How deployments change, and where their replicas are: versions, going back, steering, explanations.

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};

use super::{deployments::names, services::key};
use crate::{
    api::{
        app::App,
        extract::{self, At},
        lookup,
        problem::{Answer, Failure},
        render, rollouts, wire,
    },
    model::ProjectName,
    node::{MigrateRequest, Request, Response as NodeResponse, RollbackRequest, RolloutVerb},
};

pub(super) async fn history(
    State(app): State<App>,
    At(project): At<String>,
) -> Answer<Json<Vec<wire::Revision>>> {
    let view = app.backend.now();
    let name = deployed(&app, &project)?;
    Ok(Json(rollouts::history(&view, &name)))
}

fn deployed(app: &App, project: &str) -> Answer<ProjectName> {
    let name = lookup::parse_project(project)?;
    match app.backend.now().state.deployments().get(&name) {
        Some(_) => Ok(name),
        None => Err(Failure::NotFound { what: "deployment", name: project.to_owned() }),
    }
}

pub(super) async fn roll_back(
    State(app): State<App>,
    At(project): At<String>,
    extract::Json(asked): extract::Json<wire::Rollback>,
) -> Answer<Response> {
    let dry_run = asked.dry_run;
    let request = rollback_request(&project, asked)?;
    planned(&app, project, Request::Rollback(Box::new(request)), dry_run).await
}

pub(super) async fn migrate(
    State(app): State<App>,
    At(project): At<String>,
    extract::Json(asked): extract::Json<wire::Migrate>,
) -> Answer<Response> {
    let wire::Migrate { if_version, dry_run } = asked;
    let name = lookup::parse_project(&project)?;
    let request = Request::Migrate(MigrateRequest { project: name, if_version, dry_run });
    planned(&app, project, request, dry_run).await
}

/// Asks for what is planned first: the plan, or what it came to.
async fn planned(app: &App, project: String, request: Request, dry_run: bool) -> Answer<Response> {
    let event = app.backend.events.last();
    let NodeResponse::Planned(planned) = app.ask(request).await? else {
        return Err(unexpected());
    };
    let version = planned.version;
    let plan = render::plan(project, *planned);
    Ok(if dry_run {
        Json(plan).into_response()
    } else {
        (StatusCode::ACCEPTED, Json(wire::Deployed { version, plan, event })).into_response()
    })
}

fn rollback_request(project: &str, asked: wire::Rollback) -> Answer<RollbackRequest> {
    let project = lookup::parse_project(project)?;
    let mut problems = Vec::new();
    let service = names("service", asked.service.as_slice(), &mut problems).pop();
    if asked.content.is_some() && asked.version.is_none() {
        problems.push("content: it tells versions of one number apart; set `version`".to_owned());
    }
    if !problems.is_empty() {
        return Err(Failure::Invalid(problems));
    }
    let wire::Rollback { version, content, if_version, dry_run, service: _ } = asked;
    Ok(RollbackRequest { project, service, version, content, if_version, dry_run })
}

pub(super) async fn steer(
    State(app): State<App>,
    At(project): At<String>,
    extract::Json(asked): extract::Json<wire::RolloutAction>,
) -> Answer<Response> {
    let project = lookup::parse_project(&project)?;
    let mut problems = Vec::new();
    let services = names("services", &asked.services, &mut problems);
    let verb = verb(&asked.action).map_err(|why| problems.push(why)).ok();
    let (Some(verb), true) = (verb, problems.is_empty()) else {
        return Err(Failure::Invalid(problems));
    };
    let event = app.tell(Request::Rollout(project, services, verb)).await?;
    Ok((StatusCode::ACCEPTED, Json(wire::Accepted { event })).into_response())
}

fn verb(action: &str) -> Result<RolloutVerb, String> {
    match action {
        "pause" => Ok(RolloutVerb::Pause),
        "resume" => Ok(RolloutVerb::Resume),
        "promote" => Ok(RolloutVerb::Promote),
        "abort" => Ok(RolloutVerb::Abort),
        other => {
            Err(format!("action: `{other}` is not known; use pause, resume, promote or abort"))
        }
    }
}

pub(super) async fn explain(
    State(app): State<App>,
    At((project, service)): At<(String, String)>,
) -> Answer<Json<wire::Explanation>> {
    let key = key(&project, &service)?;
    let NodeResponse::Explained(told) = app.ask(Request::Explain(key.clone())).await? else {
        return Err(unexpected());
    };
    let now = (app.backend.clock)().wall;
    Ok(Json(rollouts::explanation(&app.backend.now(), &key, *told, now)))
}

pub(super) async fn rebalance(
    State(app): State<App>,
    extract::Json(asked): extract::Json<wire::Rebalance>,
) -> Answer<Json<Vec<wire::Move>>> {
    let request = Request::Rebalance { dry_run: asked.dry_run };
    let NodeResponse::Moves(moves) = app.ask(request).await? else { return Err(unexpected()) };
    let view = app.backend.now();
    Ok(Json(moves.into_iter().map(|it| rollouts::moved(&view, it)).collect()))
}

fn unexpected() -> Failure {
    Failure::Render("the node told something else than what it was asked for".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contents_beginning_means_nothing_without_its_version() {
        let asked = wire::Rollback {
            service: Some("a b".into()),
            content: Some("1a2b".into()),
            ..wire::Rollback::default()
        };
        let Err(Failure::Invalid(problems)) = rollback_request("shop", asked) else {
            panic!("not refused")
        };
        assert_eq!(problems.len(), 2, "{problems:?}");
    }

    #[test]
    fn an_unknown_way_to_steer_is_told_those_that_there_are() {
        assert_eq!(verb("promote"), Ok(RolloutVerb::Promote));
        assert!(verb("undo").unwrap_err().contains("use pause, resume, promote or abort"));
    }
}
