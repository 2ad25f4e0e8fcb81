//! `fizz network`.

use clap::{Args, Subcommand};

use super::{
    Invocation,
    client::Route,
    error::CliError,
    rollout::{How, plan_and_do},
};
use crate::api::wire::Migrate;

/// `fizz network`.
#[derive(Debug, Subcommand)]
pub(super) enum NetworkCommand {
    /// Have the networks of what was deployed on one node span all nodes; its services are replaced one by one
    Migrate(MigrateArgs),
}

/// `fizz network migrate`.
#[derive(Args, Debug)]
pub(super) struct MigrateArgs {
    /// The project; that of this folder by default
    project: Option<String>,
    /// Show the plan and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Don't wait until it is done
    #[arg(short, long)]
    detach: bool,
}

/// `fizz network`.
pub(super) async fn network(
    invocation: &Invocation,
    command: NetworkCommand,
) -> Result<(), CliError> {
    let NetworkCommand::Migrate(args) = command;
    let project = match args.project {
        Some(project) => project,
        None => invocation.project_name()?,
    };
    let route = Route::to(&["deployments", &project, "migrate"]);
    let request = |dry_run, if_version| Migrate { if_version, dry_run };
    let how = How { dry_run: args.dry_run, detach: args.detach };
    plan_and_do(invocation, &project, &route, request, how).await
}
