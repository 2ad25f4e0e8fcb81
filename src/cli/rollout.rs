//! Changes that go on, and going back: `rollout`, `rollback`, `watch`.

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{
    Invocation,
    client::Route,
    deploy, deployments,
    error::CliError,
    output::{ListFormat, Listing, ProgressMode},
    plan,
    progress::{self, Waiting},
    project::no_such_service,
    subject::Subject,
    table::columns,
    watch::{self, Wanted, Watch},
};
use crate::api::wire::{Accepted, Deployed, Plan, Rollback, RolloutAction, Service};

/// `fizz rollout`.
#[derive(Debug, Subcommand)]
pub(super) enum RolloutCommand {
    /// Show how far changes of services are
    Status(StatusArgs),
    /// Change no more replicas for now
    Pause(ServicesArgs),
    /// Go on with what is paused
    Resume(ServicesArgs),
    /// Change all replicas, as the canaries were
    Promote(ServicesArgs),
    /// Go back to what the services were before
    Abort(ServicesArgs),
}

/// `fizz rollout status`.
#[derive(Args, Debug)]
pub(super) struct StatusArgs {
    /// Services; all by default
    pub(super) services: Vec<String>,
    #[command(flatten)]
    pub(super) listing: Listing,
}

/// `fizz rollout pause`, `resume`, `promote` and `abort`.
#[derive(Args, Debug)]
pub(super) struct ServicesArgs {
    /// Services; all by default
    pub(super) services: Vec<String>,
}

/// `fizz rollback`.
#[derive(Args, Debug)]
pub(super) struct RollbackArgs {
    /// A project, or a service of the project of this folder or of -p; the project by default
    #[arg(value_name = "PROJECT|SERVICE")]
    pub(super) subject: Option<String>,
    /// A version, as `fizz history` shows it [default: the last that was different]
    #[arg(value_parser = version)]
    pub(super) version: Option<Version>,
    /// Show the plan and change nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Don't wait until it is done
    #[arg(short, long)]
    pub(super) detach: bool,
}

/// `fizz watch`.
#[derive(Args, Debug)]
pub(super) struct WatchArgs {
    /// The project; that of this folder by default
    pub(super) project: Option<String>,
}

/// A version, and the beginning of its content where there are two of the number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version {
    number: u64,
    content: Option<String>,
}

fn version(text: &str) -> Result<Version, String> {
    let (number, content) = match text.split_once('.') {
        Some((number, content)) => (number, Some(content)),
        None => (text, None),
    };
    let is_content = |it: &str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_hexdigit());
    let wrong = || format!("`{text}` is no version: use 3, or 3.1a2b, as `fizz history` shows it");
    let number = number.parse().map_err(|_| wrong())?;
    if content.is_some_and(|it| !is_content(it)) {
        return Err(wrong());
    }
    Ok(Version { number, content: content.map(str::to_lowercase) })
}

/// `fizz rollout`.
pub(super) async fn rollout(
    invocation: &Invocation,
    command: RolloutCommand,
) -> Result<(), CliError> {
    match command {
        RolloutCommand::Status(args) => status(invocation, &args).await,
        RolloutCommand::Pause(args) => steer(invocation, "pause", args).await,
        RolloutCommand::Resume(args) => steer(invocation, "resume", args).await,
        RolloutCommand::Promote(args) => steer(invocation, "promote", args).await,
        RolloutCommand::Abort(args) => steer(invocation, "abort", args).await,
    }
}

async fn status(invocation: &Invocation, args: &StatusArgs) -> Result<(), CliError> {
    let project = invocation.project_name()?;
    let services = services(invocation, &project, &args.services).await?;
    match args.listing.format {
        ListFormat::Json => invocation.output.json(&services),
        ListFormat::Table => invocation.output.line(&status_table(&services)),
    }
}

/// The named services of a project, or all.
async fn services(
    invocation: &Invocation,
    project: &str,
    names: &[String],
) -> Result<Vec<Service>, CliError> {
    let mut all = deployments::get(&invocation.client, project).await?.services;
    if let Some(name) = names.iter().find(|name| !all.iter().any(|it| it.name == **name)) {
        return Err(no_such_service(name));
    }
    all.retain(|it| names.is_empty() || names.contains(&it.name));
    Ok(all)
}

fn status_table(services: &[Service]) -> String {
    let rows = services.iter().map(|it| {
        let failed = it.failed.as_ref().map(|it| it.why.clone());
        let why = it.stuck.clone().or(failed).unwrap_or_default();
        let stage = if it.intent == "run" { stage(it) } else { it.intent.as_str() };
        [it.name.clone(), stage.to_owned(), progress::count(it), progress::nodes_text(it), why]
    });
    columns(["SERVICE", "STAGE", "REPLICAS", "NODES", "WHY"], rows)
}

fn stage(service: &Service) -> &str {
    match service.stage.as_str() {
        "done" if service.failed.is_some() => "went back",
        stage => stage,
    }
}

async fn steer(invocation: &Invocation, action: &str, args: ServicesArgs) -> Result<(), CliError> {
    let project = invocation.project_name()?;
    let route = Route::to(&["deployments", &project, "rollout"]);
    let request = RolloutAction { action: action.to_owned(), services: args.services.clone() };
    invocation.client.post::<Accepted>(&route, &request).await?;
    let services = services(invocation, &project, &args.services).await?;
    for service in services.iter().filter(|it| it.stage != "done") {
        let (status, _) = progress::status(service);
        invocation.output.note(&format!("Service {}: {status}", service.name));
    }
    if action != "pause" {
        invocation.output.note(&format!("It goes on; `fizz watch {project}` shows it."));
    }
    Ok(())
}

/// `fizz rollback`.
pub(super) async fn rollback(invocation: &Invocation, args: RollbackArgs) -> Result<(), CliError> {
    let subject = Subject::named(invocation, args.subject.as_deref()).await?;
    let project = subject.project.as_str();
    let route = Route::to(&["deployments", project, "rollback"]);
    let request = Rollback {
        service: subject.service.clone(),
        version: args.version.as_ref().map(|it| it.number),
        content: args.version.and_then(|it| it.content),
        ..Rollback::default()
    };
    let asked = |dry_run, if_version| Rollback { dry_run, if_version, ..request.clone() };
    plan_and_do(
        invocation,
        project,
        &route,
        asked,
        How { dry_run: args.dry_run, detach: args.detach },
    )
    .await
}

/// How something that is planned first is done.
#[derive(Clone, Copy)]
pub(super) struct How {
    /// The plan is all that is wanted.
    pub(super) dry_run: bool,
    /// Nobody waits for its end.
    pub(super) detach: bool,
}

/// Shows the plan of what is asked, and has it done and waits for it, unless told otherwise. A request is made for
/// a dry run, or for the version that the plan is about.
pub(super) async fn plan_and_do<R: Serialize>(
    invocation: &Invocation,
    project: &str,
    route: &Route,
    request: impl Fn(bool, Option<u64>) -> R,
    how: How,
) -> Result<(), CliError> {
    let before = deployments::get(&invocation.client, project).await?.services;
    let shown: Plan = invocation.client.post(route, &request(true, None)).await?;
    let output = &invocation.output;
    if how.dry_run {
        return output.line(&plan::text(&shown, output.colour));
    }
    if output.progress != ProgressMode::Quiet {
        output.note(&plan::text(&shown, output.colour_err));
    }
    let mut watch = Watch::begin(invocation, project).await?;
    let deployed = invocation.client.post(route, &request(false, Some(shown.version))).await;
    let deployed: Deployed = deploy::or_overtaken(invocation, project, &shown, deployed).await?;
    if how.detach {
        output.note(&format!("It goes on; `fizz watch {project}` shows it."));
        return Ok(());
    }
    let mut waiting = Waiting::from(&before);
    waiting.begins(&deployed.plan);
    waiting.proof = true;
    let wanted: Wanted = deployed.plan.services.iter().map(|it| it.service.clone()).collect();
    watch.goes_on();
    let there = |now: &watch::Snapshot| waiting.judge(now, &wanted, watch::settled);
    watch.until(deployed.event, None, there).await.map(|_| ())
}

/// `fizz watch`.
pub(super) async fn watch(invocation: &Invocation, args: WatchArgs) -> Result<(), CliError> {
    let project = match args.project {
        Some(project) => project,
        None => invocation.project_name()?,
    };
    let before = deployments::get(&invocation.client, &project).await?.services;
    let mut waiting = Waiting::from(&before);
    waiting.proof = true;
    let mut watch = Watch::begin(invocation, &project).await?;
    watch.goes_on();
    let wanted = Wanted::new();
    let there = |now: &watch::Snapshot| waiting.judge(now, &wanted, watch::settled);
    let now = watch.of_now(there).await?;
    for line in progress::left_to_a_person(&now, &wanted) {
        invocation.output.note(&line);
    }
    invocation.output.note(&format!("Nothing goes on in {project}: all is as it should be."));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{super::watch::tests::service, *};
    use serde_json::json;

    #[test]
    fn a_version_is_a_number_and_where_there_are_two_the_beginning_of_its_content() {
        let of = |number, content: Option<&str>| {
            Ok(Version { number, content: content.map(str::to_owned) })
        };
        assert_eq!(version("3"), of(3, None));
        assert_eq!(version("3.AB12"), of(3, Some("ab12")));
        for wrong in ["", "v3", "3.", "3.xyz", ".ab", "-1"] {
            assert!(version(wrong).unwrap_err().contains("fizz history"), "{wrong}");
        }
    }

    #[test]
    fn the_status_says_where_each_change_is_and_why_it_stopped() {
        let nodes = json!([
            {"node": "a", "name": "one", "containers": 2},
            {"node": "b", "name": "two", "containers": 1},
        ]);
        let fault = json!({"revision": "r2", "why": "shop-app-1: no"});
        let services = [
            service("app", json!({"stage": "done", "updated": 1, "failed": fault})),
            service("db", json!({"stage": "going", "intent": "stop"})),
            service(
                "web",
                json!({"stage": "paused", "replicas": 3, "updated": 1, "failing": 1,
                "previous": "r0", "nodes": nodes, "stuck": "its update is paused"}),
            ),
        ];
        let expected = "\
SERVICE   STAGE       REPLICAS                 NODES          WHY
app       went back   1/1 updated                             shop-app-1: no
db        stop        0/1 up
web       paused      1/3 updated, 1 failing   one (2), two   its update is paused";
        assert_eq!(status_table(&services), expected);
    }
}
