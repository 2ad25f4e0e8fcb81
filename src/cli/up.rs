//! From Compose files to running containers: `up` and `create`.

use std::{collections::BTreeSet, time::Duration};

use clap::Args;

use super::{
    Invocation,
    client::Route,
    deploy::{self, DeployFlags, Ways},
    deployments,
    error::CliError,
    foreground::{self, Foreground},
    format::now,
    progress::{self, Waiting},
    project::Project,
    watch::{self, Snapshot, Wanted, Watch},
};
use crate::api::wire::{Deploy, Deployed};

/// `fizz up`.
#[derive(Args, Debug)]
pub(super) struct UpArgs {
    /// Services; all by default
    pub(super) services: Vec<String>,
    /// Detached mode: Run containers in the background
    #[arg(short, long)]
    pub(super) detach: bool,
    /// Options that `create` has too.
    #[command(flatten)]
    pub(super) flags: DeployFlags,
    /// Don't start linked services
    #[arg(long)]
    pub(super) no_deps: bool,
    /// Don't start the services after creating them
    #[arg(long)]
    pub(super) no_start: bool,
    /// Use this timeout in seconds for container shutdown
    #[arg(short, long, value_name = "SECONDS")]
    pub(super) timeout: Option<u64>,
    /// Recreate anonymous volumes instead of retrieving data from the previous containers
    #[arg(short = 'V', long)]
    pub(super) renew_anon_volumes: bool,
    /// Wait for services to be running|healthy. Implies detached mode
    #[arg(long)]
    pub(super) wait: bool,
    /// Maximum duration in seconds to wait for the project to be running|healthy
    #[arg(long, value_name = "SECONDS")]
    pub(super) wait_timeout: Option<u64>,
    /// Stops all containers if any container was stopped. Incompatible with -d
    #[arg(long, conflicts_with_all = ["detach", "wait"])]
    pub(super) abort_on_container_exit: bool,
    /// Stops all containers if any container exited with failure. Incompatible with -d
    #[arg(long, conflicts_with_all = ["detach", "wait", "abort_on_container_exit"])]
    pub(super) abort_on_container_failure: bool,
    /// Return the exit code of the selected service container. Implies --abort-on-container-exit
    #[arg(long, value_name = "SERVICE", conflicts_with_all = ["detach", "wait"])]
    pub(super) exit_code_from: Option<String>,
    /// Restrict attaching to the specified services
    #[arg(long, value_name = "SERVICE")]
    pub(super) attach: Vec<String>,
    /// Do not attach (stream logs) to the specified services
    #[arg(long, value_name = "SERVICE")]
    pub(super) no_attach: Vec<String>,
    /// Don't print prefix in logs
    #[arg(long)]
    pub(super) no_log_prefix: bool,
    /// Produce monochrome output
    #[arg(long)]
    pub(super) no_color: bool,
    /// Show timestamps
    #[arg(long)]
    pub(super) timestamps: bool,
}

/// `fizz create`.
#[derive(Args, Debug)]
pub(super) struct CreateArgs {
    /// Services; all by default
    pub(super) services: Vec<String>,
    /// Options that `up` has too.
    #[command(flatten)]
    pub(super) flags: DeployFlags,
}

/// `fizz create`.
pub(super) async fn create(invocation: &Invocation, args: CreateArgs) -> Result<(), CliError> {
    let project = Project::load(&invocation.globals, &args.services, &invocation.output)?;
    let ways = Ways { no_start: true, ..Ways::default() };
    let request = deploy::request(&project, &args.services, &args.flags, &ways)?;
    let mut watch = Watch::begin(invocation, &project.name).await?;
    let deployed = deploy::deploy(invocation, &project, request, &args.flags, &mut watch).await?;
    let Some(deployed) = deployed else { return Ok(()) };
    let wanted = wanted(&project, &args.services, false)?;
    watch.until(deployed.event, None, |now| watch::created(now, &wanted)).await.map(|_| ())
}

/// `fizz up`.
pub(super) async fn up(invocation: &Invocation, args: UpArgs) -> Result<(), CliError> {
    let project = Project::load(&invocation.globals, &args.services, &invocation.output)?;
    for name in args.exit_code_from.iter().chain(&args.attach).chain(&args.no_attach) {
        project.service(name)?;
    }
    let request = up_request(&project, &args)?;
    let mut watch = Watch::begin(invocation, &project.name).await?;
    let since = now();
    let route = Route::to(&["deployments", &project.name]);
    let before = deployments::get_optional(&invocation.client, &route).await?;
    let mut waiting = Waiting::from(&before.map(|it| it.services).unwrap_or_default());
    let deployed = deploy::deploy(invocation, &project, request, &args.flags, &mut watch).await?;
    let Some(deployed) = deployed else { return Ok(()) };
    waiting.begins(&deployed.plan);
    waiting.proof = args.wait;
    let wanted = wanted(&project, &args.services, args.no_deps)?;
    let detached = args.detach || args.wait || args.no_start;
    if detached {
        watch.goes_on();
        let now = until_there(&mut watch, &args, &deployed, &wanted, &waiting).await?;
        progress::left_to_a_person(&now, &wanted).iter().for_each(|it| invocation.output.note(it));
        return Ok(());
    }
    let foreground = Foreground {
        invocation,
        project: &project.name,
        attached: attached(&project, &args),
        timeout_ms: args.timeout.map(|it| it.saturating_mul(1000)),
        abort: foreground::Abort::of(&args),
        exit_code_from: args.exit_code_from.clone(),
        style: super::follow::LineStyle {
            prefix: !args.no_log_prefix,
            timestamps: args.timestamps,
            colour: invocation.output.colour && !args.no_color,
            project: project.name.clone(),
        },
    };
    foreground.run(&mut watch, &deployed, since, &wanted, &waiting).await
}

fn up_request(project: &Project, args: &UpArgs) -> Result<Deploy, CliError> {
    let ways = Ways {
        no_deps: args.no_deps,
        no_start: args.no_start,
        timeout_ms: args.timeout.map(|it| it.saturating_mul(1000)),
        renew_anon_volumes: args.renew_anon_volumes,
    };
    deploy::request(project, &args.services, &args.flags, &ways)
}

/// The services to wait for.
fn wanted(project: &Project, services: &[String], no_deps: bool) -> Result<Wanted, CliError> {
    let involved = deploy::involved(project, services, no_deps)?;
    Ok(involved.iter().map(|it| it.name.to_string()).collect())
}

async fn until_there(
    watch: &mut Watch<'_>,
    args: &UpArgs,
    deployed: &Deployed,
    wanted: &Wanted,
    waiting: &Waiting,
) -> Result<Snapshot, CliError> {
    let timeout = args.wait_timeout.filter(|_| args.wait).map(Duration::from_secs);
    let there = |now: &Snapshot| match (args.no_start, args.wait) {
        (true, _) => watch::created(now, wanted),
        (false, true) => waiting.judge(now, wanted, watch::settled),
        (false, false) => waiting.judge(now, wanted, watch::started),
    };
    watch.until(deployed.event, timeout, there).await
}

/// The services whose output is shown.
fn attached(project: &Project, args: &UpArgs) -> BTreeSet<String> {
    let all = project.spec.services.values();
    let chosen = all.filter(|it| {
        let name = it.name.as_str();
        let named = |list: &[String]| list.iter().any(|it| it == name);
        let in_choice = match (args.attach.is_empty(), args.services.is_empty()) {
            (false, _) => named(&args.attach),
            (true, false) => named(&args.services) && it.attach,
            (true, true) => it.attach,
        };
        in_choice && !named(&args.no_attach)
    });
    chosen.map(|it| it.name.to_string()).collect()
}
