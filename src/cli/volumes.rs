//! Volumes: `volume ls`, `volume rm`, `volume inspect`.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{
    Invocation,
    client::Route,
    error::CliError,
    output::{ListFormat, Listing},
    table::table,
};
use crate::api::wire::Volume;

/// `fizz volume`.
#[derive(Debug, Subcommand)]
pub(super) enum VolumeCommand {
    /// List volumes: of the project, if one is named, else of all
    #[command(visible_alias = "list")]
    Ls(LsArgs),
    /// Remove volumes, with what is in them
    Rm(RmArgs),
    /// Show everything about volumes
    Inspect(InspectArgs),
}

/// `fizz volume ls`.
#[derive(Args, Debug)]
pub(super) struct LsArgs {
    /// Only display volume names
    #[arg(short, long)]
    pub(super) quiet: bool,
    #[command(flatten)]
    pub(super) listing: Listing,
}

/// `fizz volume rm`.
#[derive(Args, Debug)]
pub(super) struct RmArgs {
    /// Names of volumes
    #[arg(required = true)]
    pub(super) names: Vec<String>,
    /// On this node, where several have a volume of the name
    #[arg(long)]
    pub(super) node: Option<String>,
}

/// `fizz volume inspect`.
#[derive(Args, Debug)]
pub(super) struct InspectArgs {
    /// Names of volumes
    #[arg(required = true)]
    pub(super) names: Vec<String>,
    /// On this node, where several have a volume of the name
    #[arg(long)]
    pub(super) node: Option<String>,
}

/// `fizz volume`.
pub(super) async fn volume(
    invocation: &Invocation,
    command: VolumeCommand,
) -> Result<(), CliError> {
    match command {
        VolumeCommand::Ls(args) => ls(invocation, &args).await,
        VolumeCommand::Rm(args) => rm(invocation, &args).await,
        VolumeCommand::Inspect(args) => inspect(invocation, &args).await,
    }
}

async fn ls(invocation: &Invocation, args: &LsArgs) -> Result<(), CliError> {
    let project = invocation.globals.project_name.as_deref();
    let route = Route::to(&["volumes"]).with_some("project", project);
    let (list, warnings): (Vec<Volume>, _) = invocation.client.get_of_all(&route).await?;
    warnings.iter().for_each(|it| invocation.output.warn(it));
    let output = &invocation.output;
    if args.quiet {
        return list.iter().try_for_each(|it| output.line(&it.name));
    }
    match args.listing.format {
        ListFormat::Json => output.json(&list),
        ListFormat::Table => output.line(&volumes_table(&list)),
    }
}

fn volumes_table(list: &[Volume]) -> String {
    let show_node = list.iter().any(|it| it.node != list[0].node);
    let mut heads = ["DRIVER", "VOLUME NAME", "PROJECT", "MOUNTPOINT"].map(str::to_owned).to_vec();
    if show_node {
        heads.push("NODE".into());
    }
    let rows = list.iter().map(|it| {
        let project = it.project.clone().unwrap_or_else(|| "-".into());
        let mut row = vec![it.driver.clone(), it.name.clone(), project, it.mountpoint.clone()];
        if show_node {
            row.push(it.node_name.clone());
        }
        row
    });
    table(heads, rows)
}

/// Removes all that can be removed, and fails if one could not.
async fn rm(invocation: &Invocation, args: &RmArgs) -> Result<(), CliError> {
    let mut failure = None;
    for name in &args.names {
        let route = Route::to(&["volumes", name]).with_some("node", args.node.as_ref());
        let removed = invocation.client.delete::<Value>(&route).await;
        match removed {
            Ok(_) => invocation.output.line(name)?,
            Err(error @ CliError::Refused(_)) => {
                if let Some(before) = failure.replace(error) {
                    invocation.output.error(&before);
                }
            }
            Err(error) => return Err(error),
        }
    }
    failure.map_or(Ok(()), Err)
}

async fn inspect(invocation: &Invocation, args: &InspectArgs) -> Result<(), CliError> {
    let mut all: Vec<Volume> = Vec::new();
    for name in &args.names {
        let route = Route::to(&["volumes", name]).with_some("node", args.node.as_ref());
        all.push(invocation.client.get(&route).await?);
    }
    invocation.output.json(&all)
}
