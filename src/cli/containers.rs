//! Commands about containers of a project: `ps`, `port`, `top`, `inspect`, `wait`.

use clap::Args;
use serde_json::Value;

use super::{
    Invocation,
    client::{Client, Route},
    error::{CliError, shell_status},
    format::{ago, now, rough_span, shortened},
    output::{ListFormat, Listing},
    project::no_such_service,
    table::table,
};
use crate::{
    api::wire::{Container, Ended, Node, Port, Top},
    model::{Millis, WallTime},
};

/// How much of a command `ps` shows.
const COMMAND_CHARS: usize = 20;

/// `fizz ps`.
#[derive(Args, Debug)]
pub(super) struct PsArgs {
    /// Services to list; all by default
    pub(super) services: Vec<String>,
    /// Show all stopped containers (including those created by the run command)
    #[arg(short, long)]
    pub(super) all: bool,
    /// Only display IDs
    #[arg(short, long)]
    pub(super) quiet: bool,
    /// Display services
    #[arg(long = "services")]
    pub(super) only_services: bool,
    /// Filter by status: pending, running, healthy, unhealthy, stopped (or exited), failed (or dead)
    #[arg(long, value_name = "STATUS")]
    pub(super) status: Vec<String>,
    /// Filter by a property: status=STATUS
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) filter: Vec<String>,
    /// Don't truncate output
    #[arg(long)]
    pub(super) no_trunc: bool,
    #[command(flatten)]
    pub(super) listing: Listing,
}

/// `fizz port`.
#[derive(Args, Debug)]
pub(super) struct PortArgs {
    /// The service
    pub(super) service: String,
    /// The container's port
    pub(super) private_port: u16,
    /// tcp or udp
    #[arg(long, default_value = "tcp")]
    pub(super) protocol: String,
    /// Index of the container if service has multiple replicas
    #[arg(long)]
    pub(super) index: Option<u32>,
}

/// `fizz top`.
#[derive(Args, Debug)]
pub(super) struct TopArgs {
    /// Services; all by default
    pub(super) services: Vec<String>,
    #[command(flatten)]
    pub(super) listing: Listing,
}

/// `fizz inspect`.
#[derive(Args, Debug)]
pub(super) struct InspectArgs {
    /// Containers: ids, beginnings of ids, or names; or services of the project
    #[arg(required = true)]
    pub(super) names: Vec<String>,
    /// Show the container runtime's own account instead
    #[arg(long)]
    pub(super) runtime: bool,
}

/// `fizz wait`.
#[derive(Args, Debug)]
pub(super) struct WaitArgs {
    /// Services
    #[arg(required = true)]
    pub(super) services: Vec<String>,
    /// Drops project when the first container stops
    #[arg(long)]
    pub(super) down_project: bool,
}

/// The containers of a project; `all` with ended and one-off ones. None when it is not deployed.
pub(super) async fn list(
    client: &Client,
    project: &str,
    all: bool,
) -> Result<Vec<Container>, CliError> {
    let route = Route::to(&["containers"]).with("project", project).with_flag("all", all);
    match client.get(&route).await {
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        listed => listed,
    }
}

/// The containers of the project's services, in the order of their services and slots. A project
/// that is not deployed is an error, and so is a service that it does not have.
pub(super) async fn of_services(
    client: &Client,
    project: &str,
    services: &[String],
    all: bool,
) -> Result<Vec<Container>, CliError> {
    let deployment = super::deployments::get(client, project).await?;
    if let Some(name) =
        services.iter().find(|name| !deployment.services.iter().any(|it| it.name == **name))
    {
        return Err(no_such_service(name));
    }
    let mut containers = list(client, project, all).await?;
    containers.retain(|it| services.is_empty() || services.contains(&it.service));
    containers.sort_by(|a, b| (&a.service, a.slot, &a.name).cmp(&(&b.service, b.slot, &b.name)));
    Ok(containers)
}

/// One running container of a service: that of the index, or the first.
pub(super) async fn one(
    client: &Client,
    project: &str,
    service: &str,
    index: Option<u32>,
) -> Result<Container, CliError> {
    let containers = of_services(client, project, &[service.to_owned()], false).await?;
    pick(containers, service, index)
}

/// The replica of the index; without one, the first that runs.
fn pick(
    containers: Vec<Container>,
    service: &str,
    index: Option<u32>,
) -> Result<Container, CliError> {
    let mut running = containers.into_iter().filter(|it| is_running(it) && !it.one_off);
    let found = match index {
        Some(index) => running.find(|it| it.slot == index),
        None => running.next(),
    };
    found.ok_or_else(|| {
        let which = index.map(|it| format!(" with index {it}")).unwrap_or_default();
        CliError::Failed(format!(
            "service \"{service}\" has no running container{which}\n  \
             hint: `fizz ps -a {service}` shows what there is; `fizz up -d {service}` starts it"
        ))
    })
}

/// Whether its process runs.
#[must_use]
pub(super) fn is_running(container: &Container) -> bool {
    let up = matches!(container.state.as_str(), "running" | "healthy" | "unhealthy");
    // What a dead node ran, others run by now.
    up && container.node_state.as_deref() != Some("dead")
}

/// `fizz ps`.
pub(super) async fn ps(invocation: &Invocation, args: PsArgs) -> Result<(), CliError> {
    let project = invocation.project_name()?;
    let statuses = statuses(&args.status, &args.filter)?;
    let all = args.all || !statuses.is_empty();
    let mut containers = of_services(&invocation.client, &project, &args.services, all).await?;
    containers.retain(|it| match statuses.is_empty() {
        true => args.all || is_running(it) || it.doing.is_some() || it.state == "pending",
        false => statuses.iter().any(|status| has_status(it, status)),
    });
    let output = &invocation.output;
    if args.only_services {
        let mut names: Vec<_> = containers.into_iter().map(|it| it.service).collect();
        names.dedup();
        return names.iter().try_for_each(|name| output.line(name));
    }
    if args.quiet {
        return containers.iter().try_for_each(|it| output.line(&it.id));
    }
    match args.listing.format {
        ListFormat::Json => output.json(&containers),
        ListFormat::Table => {
            let nodes: Vec<Node> = invocation.client.get(&Route::to(&["nodes"])).await?;
            let show_node = nodes.len() > 1;
            output.line(&containers_table(&containers, now(), args.no_trunc, show_node))
        }
    }
}

/// The statuses asked for, from both options.
fn statuses(status: &[String], filter: &[String]) -> Result<Vec<String>, CliError> {
    let mut all = status.to_vec();
    for one in filter {
        match one.split_once('=') {
            Some(("status", value)) => all.push(value.to_owned()),
            _ => {
                return Err(CliError::Usage(format!(
                    "`{one}` is no filter: use status=STATUS, as in status=running"
                )));
            }
        }
    }
    Ok(all)
}

/// Whether a container counts as in a status, also in Docker's words.
fn has_status(container: &Container, status: &str) -> bool {
    let state = container.state.as_str();
    let doing = container.doing.as_deref().unwrap_or_default();
    match status {
        "running" => is_running(container),
        "exited" => matches!(state, "stopped" | "failed"),
        "dead" => state == "failed",
        "created" => state == "pending",
        "restarting" | "removing" => doing.starts_with(status),
        other => state == other,
    }
}

/// Containers as `docker compose ps` shows them; with their nodes, where there are several.
#[must_use]
pub(super) fn containers_table(
    containers: &[Container],
    now: WallTime,
    no_trunc: bool,
    show_node: bool,
) -> String {
    let mut heads = ["NAME", "IMAGE", "COMMAND", "SERVICE", "CREATED", "STATUS", "PORTS"]
        .map(str::to_owned)
        .to_vec();
    if show_node {
        heads.push("NODE".into());
    }
    let rows = containers.iter().map(|it| {
        let command =
            if no_trunc { it.command.clone() } else { shortened(&it.command, COMMAND_CHARS) };
        let mut row = vec![
            it.name.clone(),
            it.image.clone(),
            format!("\"{command}\""),
            it.service.clone(),
            ago(now, it.created_ms),
            status(it, now),
            ports_text(&it.ports),
        ];
        if show_node {
            row.push(it.node_name.clone());
        }
        row
    });
    table(heads, rows)
}

/// A container's status: `Up 5 minutes (healthy)`, `Exited (1) 3 seconds ago`.
fn status(container: &Container, now: WallTime) -> String {
    let span = rough_span(Millis(now.0.saturating_sub(container.since_ms)));
    let code = container.exit_code.map(|code| format!(" ({code})")).unwrap_or_default();
    let reason = container.reason.as_ref().map(|why| format!(": {}", shortened(why, 60)));
    let mut text = match container.state.as_str() {
        "running" => format!("Up {span}"),
        "healthy" | "unhealthy" => format!("Up {span} ({})", container.state),
        "stopped" => format!("Exited{code} {span} ago"),
        "failed" => format!("Failed{code} {span} ago{}", reason.unwrap_or_default()),
        "pending" => format!("Pending{}", reason.unwrap_or_default()),
        other => other.to_owned(),
    };
    match container.node_state.as_deref() {
        Some("dead") => return format!("Lost: node {} is dead", container.node_name),
        Some(state) => text.push_str(&format!(", node {state}")),
        None => {}
    }
    if let Some(doing) = &container.doing {
        text.push_str(&format!(", {doing}"));
    }
    text
}

/// Published ports: `0.0.0.0:8080->80/tcp`, neighbours as ranges.
fn ports_text(ports: &[Port]) -> String {
    let mut ports: Vec<&Port> = ports.iter().collect();
    ports.sort_by_key(|it| (&it.host_ip, &it.protocol, it.published, it.target));
    let mut ranges: Vec<(&Port, u16)> = Vec::new();
    for port in ports {
        match ranges.last_mut() {
            Some((first, more))
                if first.host_ip == port.host_ip
                    && first.protocol == port.protocol
                    && first.published != 0
                    && first.published.checked_add(*more + 1) == Some(port.published)
                    && first.target.checked_add(*more + 1) == Some(port.target) =>
            {
                *more += 1;
            }
            _ => ranges.push((port, 0)),
        }
    }
    let texts = ranges.into_iter().map(|(port, more)| {
        let range = |from: u16| match more {
            0 => from.to_string(),
            more => format!("{from}-{}", from.saturating_add(more)),
        };
        let target = format!("{}/{}", range(port.target), port.protocol);
        match port.published {
            0 => target,
            from => format!("{}:{}->{target}", bracketed(&port.host_ip), range(from)),
        }
    });
    texts.collect::<Vec<_>>().join(", ")
}

/// An address as it stands before a port.
fn bracketed(ip: &str) -> String {
    match ip {
        "" => "0.0.0.0".into(),
        ip if ip.contains(':') && !ip.starts_with('[') => format!("[{ip}]"),
        ip => ip.into(),
    }
}

/// `fizz port`.
pub(super) async fn port(invocation: &Invocation, args: PortArgs) -> Result<(), CliError> {
    let project = invocation.project_name()?;
    let container = one(&invocation.client, &project, &args.service, args.index).await?;
    let published = container.ports.iter().find(|it| {
        it.target == args.private_port && it.protocol == args.protocol && it.published != 0
    });
    match published {
        Some(port) => {
            invocation.output.line(&format!("{}:{}", bracketed(&port.host_ip), port.published))
        }
        None => Err(CliError::Failed(format!(
            "no port {}/{} for container {}",
            args.private_port, args.protocol, container.name
        ))),
    }
}

/// `fizz top`.
pub(super) async fn top(invocation: &Invocation, args: TopArgs) -> Result<(), CliError> {
    let project = invocation.project_name()?;
    let client = &invocation.client;
    let containers = of_services(client, &project, &args.services, false).await?;
    let mut tops: Vec<Top> = Vec::new();
    for container in containers.iter().filter(|it| is_running(it)) {
        tops.push(client.get(&Route::to(&["containers", &container.id, "top"])).await?);
    }
    match args.listing.format {
        ListFormat::Json => invocation.output.json(&tops),
        ListFormat::Table => tops.iter().try_for_each(|top| invocation.output.line(&top_text(top))),
    }
}

fn top_text(top: &Top) -> String {
    format!("{}\n{}\n", top.name, table(top.titles.clone(), top.processes.iter().cloned()))
}

/// `fizz inspect`.
pub(super) async fn inspect(invocation: &Invocation, args: InspectArgs) -> Result<(), CliError> {
    let mut all: Vec<Value> = Vec::new();
    for name in &args.names {
        for id in resolve(invocation, name).await? {
            let route = match args.runtime {
                true => Route::to(&["containers", &id, "inspect"]),
                false => Route::to(&["containers", &id]),
            };
            all.push(invocation.client.get(&route).await?);
        }
    }
    invocation.output.json(&all)
}

/// The ids of the container of a name, or of the containers of a service of the project.
async fn resolve(invocation: &Invocation, name: &str) -> Result<Vec<String>, CliError> {
    let route = Route::to(&["containers", name]);
    let missing = match invocation.client.get::<Container>(&route).await {
        Ok(container) => return Ok(vec![container.id]),
        Err(error) if error.is_not_found() => error,
        Err(error) => return Err(error),
    };
    let Ok(project) = invocation.project_name() else { return Err(missing) };
    match of_services(&invocation.client, &project, &[name.to_owned()], true).await {
        Ok(containers) if !containers.is_empty() => {
            Ok(containers.into_iter().map(|it| it.id).collect())
        }
        Ok(_) | Err(_) => Err(missing),
    }
}

/// `fizz wait`: the status is that of the last container named.
pub(super) async fn wait(invocation: &Invocation, args: WaitArgs) -> Result<(), CliError> {
    let project = invocation.project_name()?;
    let client = &invocation.client;
    let containers = of_services(client, &project, &args.services, true).await?;
    let containers: Vec<_> = containers.into_iter().filter(|it| !it.one_off).collect();
    if containers.is_empty() {
        return Err(CliError::Failed(format!("no containers for project \"{project}\"")));
    }
    let ends = containers.iter().map(|container| async move {
        let route = Route::to(&["containers", &container.id, "wait"]);
        client.get::<Ended>(&route).await.map(|ended| (container, ended.exit_code))
    });
    if args.down_project {
        let ends = ends.map(Box::pin);
        let (first, _, _) = futures_util::future::select_all(ends).await;
        let (container, code) = first?;
        invocation.output.line(&ended_text(container, code))?;
        super::down::down(invocation, super::down::DownArgs::default()).await?;
        return exit_with(code);
    }
    let mut last = 0;
    for end in futures_util::future::join_all(ends).await {
        let (container, code) = end?;
        invocation.output.line(&ended_text(container, code))?;
        last = code;
    }
    exit_with(last)
}

fn ended_text(container: &Container, code: i64) -> String {
    format!("container \"{}\" exited with status code {code}", container.name)
}

/// Ends the command with a process's status.
pub(super) fn exit_with(code: i64) -> Result<(), CliError> {
    if code == 0 { Ok(()) } else { Err(CliError::Exit(shell_status(code))) }
}

/// Containers of a test.
#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::json;

    /// A container with what matters to a test.
    pub(in crate::cli) fn container(
        service: &str,
        slot: u32,
        state: &str,
        more: Value,
    ) -> Container {
        let mut all = json!({
            "id": format!("{service}{slot}"), "name": format!("shop-{service}-{slot}"),
            "node": "n", "node_name": "one", "project": "shop", "service": service, "slot": slot,
            "one_off": false, "image": "busybox", "state": state, "restarts": 0, "revision": "r1",
            "created_ms": 0, "since_ms": 60_000, "command": "sleep 1000000000000000", "ports": [],
            "addresses": {},
        });
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(all).unwrap()
    }

    #[test]
    fn ps_shows_what_a_compose_user_expects() {
        let ports = json!({"ports": [
            {"protocol": "tcp", "target": 80, "host_ip": "0.0.0.0", "published": 8080},
            {"protocol": "tcp", "target": 81, "host_ip": "0.0.0.0", "published": 8081},
            {"protocol": "udp", "target": 53, "host_ip": "::1", "published": 53},
            {"protocol": "tcp", "target": 9000, "host_ip": "", "published": 0},
        ]});
        let containers = [
            container("db", 1, "healthy", json!({})),
            container("web", 1, "running", ports),
            container("web", 2, "stopped", json!({"exit_code": 3, "doing": "restarting in 3s"})),
            container("x", 1, "pending", json!({"reason": "no image"})),
        ];
        let text = containers_table(&containers, WallTime(120_000), false, false);
        let expected = "\
NAME         IMAGE     COMMAND                  SERVICE   CREATED         STATUS                                            PORTS
shop-db-1    busybox   \"sleep 1000000000000…\"   db        2 minutes ago   Up About a minute (healthy)
shop-web-1   busybox   \"sleep 1000000000000…\"   web       2 minutes ago   Up About a minute                                 9000/tcp, 0.0.0.0:8080-8081->80-81/tcp, [::1]:53->53/udp
shop-web-2   busybox   \"sleep 1000000000000…\"   web       2 minutes ago   Exited (3) About a minute ago, restarting in 3s
shop-x-1     busybox   \"sleep 1000000000000…\"   x         2 minutes ago   Pending: no image";
        assert_eq!(text, expected);
    }

    #[test]
    fn statuses_are_understood_in_dockers_words_too() {
        let healthy = container("a", 1, "healthy", json!({}));
        let failed = container("a", 1, "failed", json!({"doing": "restarting in 1s"}));
        assert!(has_status(&healthy, "running") && !has_status(&healthy, "exited"));
        assert!(has_status(&failed, "dead") && has_status(&failed, "exited"));
        assert!(has_status(&failed, "restarting") && !has_status(&healthy, "restarting"));
        assert_eq!(statuses(&["a".into()], &["status=b".into()]).unwrap(), ["a", "b"]);
        assert!(statuses(&[], &["name=b".into()]).is_err());
    }

    #[test]
    fn an_index_chooses_a_replica_and_none_the_first_that_runs() {
        let all = || {
            vec![
                container("web", 1, "stopped", json!({})),
                container("web", 2, "running", json!({})),
                container("web", 3, "running", json!({})),
            ]
        };
        assert_eq!(pick(all(), "web", None).unwrap().slot, 2);
        assert_eq!(pick(all(), "web", Some(3)).unwrap().slot, 3);
        let error = pick(all(), "web", Some(1)).unwrap_err().to_string();
        assert!(error.contains("no running container with index 1"), "{error}");
    }
}
