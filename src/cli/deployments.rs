//! Deployed projects: `ls`.

use clap::Args;

use super::{
    Invocation,
    client::{Client, Route},
    error::CliError,
    output::{ListFormat, Listing},
    table::columns,
};
use crate::api::wire::Deployment;

/// `fizz ls`.
#[derive(Args, Debug)]
pub(super) struct LsArgs {
    /// Show all stopped projects
    #[arg(short, long)]
    pub(super) all: bool,
    /// Only display project names
    #[arg(short, long)]
    pub(super) quiet: bool,
    /// Filter: name=TEXT
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) filter: Vec<String>,
    #[command(flatten)]
    pub(super) listing: Listing,
}

/// A deployed project.
pub(super) async fn get(client: &Client, project: &str) -> Result<Deployment, CliError> {
    let route = Route::to(&["deployments", project]);
    get_optional(client, &route).await?.ok_or_else(|| {
        CliError::Failed(format!(
            "project \"{project}\" is not deployed\n  hint: `fizz ls -a` lists the deployed projects; \
             name one with -p, or deploy this one with `fizz up -d`"
        ))
    })
}

/// A deployed project, if it is one.
pub(super) async fn get_optional(
    client: &Client,
    route: &Route,
) -> Result<Option<Deployment>, CliError> {
    match client.get(route).await {
        Ok(deployment) => Ok(Some(deployment)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// `fizz ls`.
pub(super) async fn ls(invocation: &Invocation, args: LsArgs) -> Result<(), CliError> {
    let mut list: Vec<Deployment> = invocation.client.get(&Route::to(&["deployments"])).await?;
    for filter in &args.filter {
        let Some(("name", text)) = filter.split_once('=') else {
            return Err(CliError::Usage(format!("`{filter}` is no filter: use name=TEXT")));
        };
        list.retain(|it| it.name.contains(text));
    }
    list.retain(|it| args.all || is_active(it));
    let output = &invocation.output;
    if args.quiet {
        return list.iter().try_for_each(|it| output.line(&it.name));
    }
    match args.listing.format {
        ListFormat::Json => output.json(&list),
        ListFormat::Table => output.line(&deployments_table(&list)),
    }
}

/// Whether anything of it runs or should run.
fn is_active(deployment: &Deployment) -> bool {
    deployment.removing || deployment.services.iter().any(|it| it.intent == "run" || it.running > 0)
}

/// Projects as `docker compose ls` shows them.
#[must_use]
pub(super) fn deployments_table(list: &[Deployment]) -> String {
    let rows = list.iter().map(|it| [it.name.clone(), status(it), it.files.join(",")]);
    columns(["NAME", "STATUS", "CONFIG FILES"], rows)
}

fn status(deployment: &Deployment) -> String {
    if deployment.removing {
        return "removing".into();
    }
    let running: u32 = deployment.services.iter().map(|it| it.running).sum();
    let wanted: u32 =
        deployment.services.iter().filter(|it| it.intent == "run").map(|it| it.replicas).sum();
    let stuck = deployment.services.iter().any(|it| it.stuck.is_some());
    match (running, wanted) {
        (0, 0) => "stopped".into(),
        (running, _) if stuck => format!("running({running}), stuck"),
        (running, wanted) if running >= wanted => format!("running({running})"),
        (running, wanted) => format!("running({running} of {wanted})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_projects_status_says_how_many_run() {
        let project = |name: &str, intent: &str, running| -> Deployment {
            serde_json::from_value(json!({
                "name": name, "version": 1, "working_dir": "/x", "files": ["/x/compose.yaml", "/x/b.yaml"],
                "updated_ms": 0, "removing": false, "services": [{
                    "project": name, "name": "web", "intent": intent, "image": "x",
                    "mode": "replicated", "replicas": 2, "running": running, "healthy": 0,
                    "ready": false, "revision": "r", "definition": {}}],
            }))
            .unwrap()
        };
        let list = [project("a", "run", 2), project("b", "run", 1), project("c", "stop", 0)];
        let expected = "\
NAME   STATUS            CONFIG FILES
a      running(2)        /x/compose.yaml,/x/b.yaml
b      running(1 of 2)   /x/compose.yaml,/x/b.yaml
c      stopped           /x/compose.yaml,/x/b.yaml";
        assert_eq!(deployments_table(&list), expected);
        assert!(is_active(&list[1]) && !is_active(&list[2]));
    }
}
