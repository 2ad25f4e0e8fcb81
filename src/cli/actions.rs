//! Commands that do something to services that are deployed: `start`, `stop`, `restart`, `kill`,
//! `rm`, `scale`.

use std::{collections::BTreeMap, time::Duration};

use clap::Args;

use super::{
    Invocation,
    client::Route,
    containers, deployments,
    error::CliError,
    project::no_such_service,
    watch::{Snapshot, Verdict, Wanted, Watch, ready, started, stopped},
};
use crate::api::wire::{Accepted, Deployment, ServiceAction};

/// `fizz start`.
#[derive(Args, Debug)]
pub(super) struct StartArgs {
    /// Services; all by default
    pub(super) services: Vec<String>,
    /// Wait for services to be running|healthy
    #[arg(long)]
    pub(super) wait: bool,
    /// Maximum duration in seconds to wait for the project to be running|healthy
    #[arg(long, value_name = "SECONDS")]
    pub(super) wait_timeout: Option<u64>,
}

/// `fizz stop`.
#[derive(Args, Debug)]
pub(super) struct StopArgs {
    /// Services; all by default
    pub(super) services: Vec<String>,
    /// Specify a shutdown timeout in seconds
    #[arg(short, long, value_name = "SECONDS")]
    pub(super) timeout: Option<u64>,
}

/// `fizz restart`.
#[derive(Args, Debug)]
pub(super) struct RestartArgs {
    /// Services; all by default
    pub(super) services: Vec<String>,
    /// Specify a shutdown timeout in seconds
    #[arg(short, long, value_name = "SECONDS")]
    pub(super) timeout: Option<u64>,
    /// Don't restart dependent services
    #[arg(long)]
    pub(super) no_deps: bool,
}

/// `fizz kill`.
#[derive(Args, Debug)]
pub(super) struct KillArgs {
    /// Services; all by default
    pub(super) services: Vec<String>,
    /// Signal to send to the containers
    #[arg(short, long, default_value = "SIGKILL")]
    pub(super) signal: String,
}

/// `fizz rm`.
#[derive(Args, Debug)]
pub(super) struct RmArgs {
    /// Services; all by default
    pub(super) services: Vec<String>,
    /// Don't ask to confirm removal
    #[arg(short, long)]
    pub(super) force: bool,
    /// Stop the containers, if required, before removing
    #[arg(short, long)]
    pub(super) stop: bool,
    /// Remove any anonymous volumes attached to containers
    #[arg(short, long)]
    pub(super) volumes: bool,
}

/// `fizz scale`.
#[derive(Args, Debug)]
pub(super) struct ScaleArgs {
    /// How many of which: SERVICE=REPLICAS
    #[arg(required = true, value_name = "SERVICE=REPLICAS")]
    pub(super) scale: Vec<String>,
    /// Don't start linked services (they are left alone in any case)
    #[arg(long)]
    pub(super) no_deps: bool,
}

/// Asks the daemon to do something to services of a project; gives the event to watch from.
pub(super) async fn act(
    invocation: &Invocation,
    project: &str,
    action: &ServiceAction,
) -> Result<u64, CliError> {
    let route = Route::to(&["deployments", project, "actions"]);
    invocation.client.post::<Accepted>(&route, action).await.map(|it| it.event)
}

/// The deployment, which has all the services.
async fn deployed(
    invocation: &Invocation,
    project: &str,
    services: &[String],
) -> Result<Deployment, CliError> {
    let deployment = deployments::get(&invocation.client, project).await?;
    let unknown =
        services.iter().find(|name| !deployment.services.iter().any(|it| it.name == **name));
    match unknown {
        Some(name) => Err(no_such_service(name)),
        None => Ok(deployment),
    }
}

/// An action on services.
fn action(name: &str, services: &[String]) -> ServiceAction {
    ServiceAction { action: name.into(), services: services.to_vec(), ..ServiceAction::default() }
}

fn millis(seconds: Option<u64>) -> Option<u64> {
    seconds.map(|it| it.saturating_mul(1000))
}

/// Does it and watches until it is done.
async fn act_and_watch(
    invocation: &Invocation,
    action: &ServiceAction,
    timeout: Option<Duration>,
    judge: impl Fn(&Snapshot, &Wanted) -> Verdict,
) -> Result<(), CliError> {
    let project = invocation.project_name()?;
    deployed(invocation, &project, &action.services).await?;
    let mut watch = Watch::begin(invocation, &project).await?;
    let event = act(invocation, &project, action).await?;
    let wanted: Wanted = action.services.iter().cloned().collect();
    watch.until(event, timeout, |now| judge(now, &wanted)).await.map(|_| ())
}

/// `fizz start`.
pub(super) async fn start(invocation: &Invocation, args: StartArgs) -> Result<(), CliError> {
    let action = action("start", &args.services);
    if !args.wait {
        return act_and_watch(invocation, &action, None, started).await;
    }
    let timeout = args.wait_timeout.map(Duration::from_secs);
    act_and_watch(invocation, &action, timeout, ready).await
}

/// `fizz stop`.
pub(super) async fn stop(invocation: &Invocation, args: StopArgs) -> Result<(), CliError> {
    let action =
        ServiceAction { timeout_ms: millis(args.timeout), ..action("stop", &args.services) };
    act_and_watch(invocation, &action, None, stopped).await
}

/// `fizz restart`: done when each container that there was runs anew, or another in its place.
pub(super) async fn restart(invocation: &Invocation, args: RestartArgs) -> Result<(), CliError> {
    let project = invocation.project_name()?;
    let before = containers::list(&invocation.client, &project, false).await?;
    let action = ServiceAction {
        timeout_ms: millis(args.timeout),
        no_deps: args.no_deps,
        ..action("restart", &args.services)
    };
    let still = |now: &Snapshot, wanted: &Wanted| {
        let old = before.iter().filter(|it| !it.one_off && containers::is_running(it));
        let mut old = old.filter(|it| wanted.is_empty() || wanted.contains(&it.service));
        old.any(|old| now.containers.iter().any(|it| it.id == old.id && !has_restarted(old, it)))
    };
    act_and_watch(invocation, &action, None, |now, wanted| {
        if still(now, wanted) { Verdict::Waiting } else { started(now, wanted) }
    })
    .await
}

/// Whether a container that ran has begun another run since, however that went. It changes its state
/// on the way.
fn has_restarted(old: &crate::api::wire::Container, now: &crate::api::wire::Container) -> bool {
    let became_healthy =
        old.state == "running" && now.state != "running" && old.restarts == now.restarts;
    let runs_anew = now.restarts > old.restarts && now.state != "pending";
    let runs_since_later = containers::is_running(now)
        && now.doing.is_none()
        && !became_healthy
        && now.since_ms > old.since_ms;
    runs_anew || runs_since_later
}

/// `fizz kill`: done when the signal is on its way; only SIGKILL is known to end a process.
pub(super) async fn kill(invocation: &Invocation, args: KillArgs) -> Result<(), CliError> {
    let deadly = matches!(args.signal.to_ascii_uppercase().as_str(), "SIGKILL" | "KILL" | "9");
    let action = ServiceAction { signal: Some(args.signal), ..action("kill", &args.services) };
    act_and_watch(invocation, &action, None, |now, wanted| match deadly {
        true => stopped(now, wanted),
        false => Verdict::Done,
    })
    .await
}

/// `fizz rm`.
pub(super) async fn rm(invocation: &Invocation, args: RmArgs) -> Result<(), CliError> {
    let project = invocation.project_name()?;
    deployed(invocation, &project, &args.services).await?;
    let of = containers::of_services(&invocation.client, &project, &args.services, true).await?;
    let going: Vec<_> = of
        .into_iter()
        .filter(|it| !it.one_off && (args.stop || !containers::is_running(it)))
        .collect();
    let output = &invocation.output;
    if going.is_empty() {
        output.note("No stopped containers");
        return Ok(());
    }
    let names: Vec<_> = going.iter().map(|it| it.name.as_str()).collect();
    output.note(&format!("Going to remove {}", names.join(", ")));
    if !args.force && !output.confirm("Are you sure?")? {
        return Ok(());
    }
    let action = ServiceAction {
        force: args.stop,
        volumes: args.volumes,
        ..action("remove", &args.services)
    };
    act_and_watch(invocation, &action, None, |now, _| {
        let left = going.iter().any(|gone| now.containers.iter().any(|it| it.id == gone.id));
        if left { Verdict::Waiting } else { Verdict::Done }
    })
    .await
}

/// `fizz scale`.
pub(super) async fn scale(invocation: &Invocation, args: ScaleArgs) -> Result<(), CliError> {
    let scale = parse_scale(&args.scale)?;
    let services: Vec<String> = scale.keys().cloned().collect();
    let action = ServiceAction { scale: scale.clone(), ..action("scale", &services) };
    act_and_watch(invocation, &action, None, |now, wanted| match as_scaled(now, &scale) {
        true => started(now, wanted),
        false => Verdict::Waiting,
    })
    .await
}

/// Whether no service has more running containers than it should.
fn as_scaled(now: &Snapshot, scale: &BTreeMap<String, u32>) -> bool {
    let running = |name: &str| {
        let of = now.containers.iter().filter(|it| it.service == name && !it.one_off);
        of.filter(|it| containers::is_running(it)).count()
    };
    scale.iter().all(|(name, count)| u32::try_from(running(name)).is_ok_and(|it| it <= *count))
}

/// `SERVICE=REPLICAS`, several times.
pub(super) fn parse_scale(texts: &[String]) -> Result<BTreeMap<String, u32>, CliError> {
    let one = |text: &String| {
        let (name, count) = text.split_once('=')?;
        (!name.is_empty()).then_some((name.to_owned(), count.parse().ok()?))
    };
    let parsed = texts.iter().map(|text| {
        one(text).ok_or_else(|| {
            CliError::Usage(format!("`{text}` is no scale: use SERVICE=REPLICAS, as in web=3"))
        })
    });
    parsed.collect()
}

#[cfg(test)]
mod tests {
    use super::{super::containers::tests::container, *};
    use serde_json::json;

    #[test]
    fn a_scale_names_a_service_and_a_number() {
        let scale = parse_scale(&["web=3".into(), "db=0".into()]).unwrap();
        assert_eq!(scale, BTreeMap::from([("web".into(), 3), ("db".into(), 0)]));
        for wrong in ["web", "web=", "=1", "web=-1", "web=many"] {
            assert!(parse_scale(&[wrong.into()]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_restart_is_over_when_the_process_runs_since_later() {
        let old = container("web", 1, "healthy", json!({"since_ms": 5}));
        assert!(!has_restarted(&old, &old));
        let stopping = container("web", 1, "healthy", json!({"since_ms": 5, "doing": "stopping"}));
        assert!(!has_restarted(&old, &stopping));
        let down = container("web", 1, "stopped", json!({"since_ms": 6}));
        assert!(!has_restarted(&old, &down));
        let up = container("web", 1, "running", json!({"since_ms": 7}));
        assert!(has_restarted(&old, &up));
        let young = container("web", 1, "running", json!({"since_ms": 5}));
        let only_healthy = container("web", 1, "healthy", json!({"since_ms": 6}));
        assert!(!has_restarted(&young, &only_healthy));
        let about_to = container("web", 1, "pending", json!({"since_ms": 7, "restarts": 1}));
        assert!(!has_restarted(&old, &about_to));
        let failed = container("web", 1, "failed", json!({"since_ms": 8, "restarts": 1}));
        assert!(has_restarted(&old, &failed), "it ran anew, if not for long");
    }
}
