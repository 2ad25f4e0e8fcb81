//! From a project and options to a deployment: the request, the plan, the question, the images.

use std::io::{self, IsTerminal};

use clap::Args;

use super::{
    Invocation,
    actions::parse_scale,
    client::Route,
    error::{CliError, listed},
    history,
    images::{self, ImageFlags, PullWhen},
    output::ProgressMode,
    plan,
    project::Project,
    watch::Watch,
};
use crate::{
    api::wire::{Deploy, Deployed, Plan},
    model::spec::ServiceSpec,
};

/// Options of `up` and `create`.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct DeployFlags {
    /// Build images before starting containers
    #[arg(long)]
    pub(super) build: bool,
    /// Don't build an image, even if it's policy
    #[arg(long, conflicts_with = "build")]
    pub(super) no_build: bool,
    /// Pull image before running
    #[arg(long, value_name = "POLICY")]
    pub(super) pull: Option<PullWhen>,
    /// Pull without printing progress information
    #[arg(long)]
    pub(super) quiet_pull: bool,
    /// Recreate containers even if their configuration and image haven't changed
    #[arg(long)]
    pub(super) force_recreate: bool,
    /// If containers already exist, don't recreate them
    #[arg(long, conflicts_with = "force_recreate")]
    pub(super) no_recreate: bool,
    /// Remove containers for services not defined in the Compose file
    #[arg(long)]
    pub(super) remove_orphans: bool,
    /// Scale SERVICE to NUM instances
    #[arg(long, value_name = "SERVICE=NUM")]
    pub(super) scale: Vec<String>,
    /// Assume "yes" as answer to all prompts
    #[arg(short, long)]
    pub(super) yes: bool,
    /// Show the plan and change nothing
    #[arg(long)]
    pub(super) dry_run: bool,
}

/// What `up` adds to them.
#[derive(Clone, Debug, Default)]
pub(super) struct Ways {
    /// Leave dependencies alone.
    pub(super) no_deps: bool,
    /// Make everything, start nothing.
    pub(super) no_start: bool,
    /// How long replaced containers may take to stop.
    pub(super) timeout_ms: Option<u64>,
    /// New anonymous volumes.
    pub(super) renew_anon_volumes: bool,
}

/// The request for a deployment, without what has to be asked for: credentials and images.
pub(super) fn request(
    project: &Project,
    services: &[String],
    flags: &DeployFlags,
    ways: &Ways,
) -> Result<Deploy, CliError> {
    let scale = parse_scale(&flags.scale)?;
    for name in scale.keys() {
        project.service(name)?;
    }
    Ok(Deploy {
        model: project.model.clone(),
        secrets: project.secrets.clone(),
        working_dir: project.folder.display().to_string(),
        files: project.files.iter().map(|it| it.display().to_string()).collect(),
        services: services.to_vec(),
        no_deps: ways.no_deps,
        force_recreate: flags.force_recreate,
        no_recreate: flags.no_recreate,
        remove_orphans: flags.remove_orphans,
        no_start: ways.no_start,
        scale,
        timeout_ms: ways.timeout_ms,
        renew_anon_volumes: ways.renew_anon_volumes,
        ..Deploy::default()
    })
}

/// The services that a deployment is about.
pub(super) fn involved<'a>(
    project: &'a Project,
    services: &[String],
    no_deps: bool,
) -> Result<Vec<&'a ServiceSpec>, CliError> {
    if no_deps { project.services(services) } else { project.with_dependencies(services) }
}

/// Shows the plan, asks where something is removed, has the images there, and deploys. `None` when
/// only the plan was wanted, or the answer was no.
pub(super) async fn deploy(
    invocation: &Invocation,
    project: &Project,
    mut request: Deploy,
    flags: &DeployFlags,
    watch: &mut Watch<'_>,
) -> Result<Option<Deployed>, CliError> {
    let involved = involved(project, &request.services, request.no_deps)?;
    request.credentials = images::credentials_for(invocation, &involved).await?;
    let there = images::all_present(invocation, &involved).await?;
    request.images = images::pins(&involved, &there);
    let shown = plan_of(invocation, &request).await?;
    if shown.overlay {
        note_ignored(invocation, project)?;
    }
    if !accepted(invocation, &shown, flags)? {
        return Ok(None);
    }
    let image_flags = ImageFlags {
        pull: flags.pull,
        build: flags.build,
        no_build: flags.no_build,
        quiet_pull: flags.quiet_pull,
    };
    let credentials = &request.credentials;
    request.images =
        images::prepare(invocation, project, &involved, &image_flags, credentials, &watch.screen)
            .await?;
    request.if_version = Some(shown.version);
    let deployed = invocation.client.post(&Route::to(&["deployments"]), &request).await;
    let deployed: Deployed = or_overtaken(invocation, &project.name, &shown, deployed).await?;
    note_differences(invocation, &shown, &deployed.plan);
    Ok(Some(deployed))
}

/// Tells what is ignored of a project whose networks span the nodes.
fn note_ignored(invocation: &Invocation, project: &Project) -> Result<(), CliError> {
    let ignored = &project.if_spanning;
    if ignored.has_errors() {
        return Err(CliError::Compose(Box::new(ignored.clone())));
    }
    let lines = listed(ignored);
    if !lines.is_empty() {
        invocation.output.note(&lines);
    }
    Ok(())
}

/// What came of a change. Was it refused as another came first, shows what that was.
pub(super) async fn or_overtaken(
    invocation: &Invocation,
    project: &str,
    shown: &Plan,
    answer: Result<Deployed, CliError>,
) -> Result<Deployed, CliError> {
    if answer.as_ref().is_err_and(|error| error.is_kind("overtaken")) {
        note_overtaken(invocation, project, shown.version).await;
    }
    answer
}

/// Shows what others changed since the plan was made.
async fn note_overtaken(invocation: &Invocation, project: &str, version: u64) {
    let output = &invocation.output;
    // That it was overtaken is said either way.
    let lines = history::since(invocation, project, version).await.unwrap_or_default();
    if !lines.is_empty() {
        output.note(&format!("Meanwhile project {project} was changed:\n{}", lines.join("\n")));
    }
}

async fn plan_of(invocation: &Invocation, request: &Deploy) -> Result<Plan, CliError> {
    let request = Deploy { dry_run: true, ..request.clone() };
    invocation.client.post(&Route::to(&["deployments"]), &request).await
}

/// Shows the plan; whether to go on.
fn accepted(invocation: &Invocation, shown: &Plan, flags: &DeployFlags) -> Result<bool, CliError> {
    let output = &invocation.output;
    if flags.dry_run {
        output.line(&plan::text(shown, output.colour))?;
        return Ok(false);
    }
    if output.progress != ProgressMode::Quiet {
        output.note(&plan::text(shown, output.colour_err));
    }
    let removed = plan::removed(shown);
    if removed.is_empty() || flags.yes || !io::stdin().is_terminal() {
        return Ok(true);
    }
    let question = format!("Remove {} with all containers?", removed.join(", "));
    match output.confirm(&question)? {
        true => Ok(true),
        false => Err(CliError::Failed("nothing was changed".into())),
    }
}

/// What the images that were built or pulled meanwhile add to the plan that was shown.
fn note_differences(invocation: &Invocation, shown: &Plan, done: &Plan) {
    for text in differences(shown, done) {
        invocation.output.note(&text);
    }
}

fn differences(shown: &Plan, done: &Plan) -> Vec<String> {
    let action =
        |name: &str| shown.services.iter().find(|it| it.service == name).map(|it| &it.action);
    let differs = done
        .services
        .iter()
        .filter(|it| action(&it.service) != Some(&it.action) && it.action != "keep");
    differs
        .map(|it| match it.action.as_str() {
            "replace" => format!("  ~ service {}: replaced, its image changed", it.service),
            other => format!("  ~ service {}: {other}", it.service),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::wire::ServicePlan;

    #[test]
    fn only_what_the_shown_plan_did_not_say_is_told() {
        let service = |name: &str, action: &str| ServicePlan {
            service: name.into(),
            action: action.into(),
            ..ServicePlan::default()
        };
        let shown = Plan {
            services: vec![service("a", "keep"), service("b", "create"), service("c", "replace")],
            ..Plan::default()
        };
        let done = Plan {
            services: vec![service("a", "replace"), service("b", "create"), service("c", "keep")],
            ..Plan::default()
        };
        assert_eq!(differences(&shown, &done), ["  ~ service a: replaced, its image changed"]);
    }
}
