//! Nodes: `nodes`, `node ls`, `node inspect`, `node label`, `node rm`.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{
    Invocation,
    client::Route,
    error::CliError,
    format::{binary_bytes, now, rough_span, shortened},
    output::{ListFormat, Listing},
    table::table,
};
use crate::{
    api::wire::{Labels, Node},
    model::{Millis, WallTime},
};

/// How much of a node's labels a table shows.
const LABELS_CHARS: usize = 40;

/// `fizz nodes`.
#[derive(Args, Debug)]
pub(super) struct NodesArgs {
    /// Also those that have left
    #[arg(short, long)]
    pub(super) all: bool,
    /// Only display ids
    #[arg(short, long)]
    pub(super) quiet: bool,
    #[command(flatten)]
    pub(super) listing: Listing,
}

/// `fizz node`.
#[derive(Debug, Subcommand)]
pub(super) enum NodeCommand {
    /// List nodes
    #[command(visible_alias = "list")]
    Ls(NodesArgs),
    /// Show everything about nodes
    Inspect(InspectArgs),
    /// Give a node labels (`key=value`), and take some (`key-`)
    Label(LabelArgs),
    /// Put nodes out of the cluster, and give the others another key
    #[command(visible_alias = "remove")]
    Rm(RmArgs),
}

/// `fizz node inspect`.
#[derive(Args, Debug)]
pub(super) struct InspectArgs {
    /// Nodes: names, ids, or beginnings of ids
    #[arg(required = true, value_name = "NODE")]
    pub(super) nodes: Vec<String>,
}

/// `fizz node label`.
#[derive(Args, Debug)]
pub(super) struct LabelArgs {
    /// The node: its name, its id, or the beginning of that
    pub(super) node: String,
    /// `key=value` gives a label, `key-` takes it
    #[arg(required = true, value_name = "LABEL", value_parser = label)]
    pub(super) labels: Vec<(String, Option<String>)>,
}

/// `fizz node rm`.
#[derive(Args, Debug)]
pub(super) struct RmArgs {
    /// Nodes: names, ids, or beginnings of ids
    #[arg(required = true, value_name = "NODE")]
    pub(super) nodes: Vec<String>,
    /// Even if it is alive
    #[arg(short, long)]
    pub(super) force: bool,
    /// Keep the cluster's key: whoever has the node's disk can still read what members say
    #[arg(long)]
    pub(super) no_rotate: bool,
}

fn label(text: &str) -> Result<(String, Option<String>), String> {
    let parted = match text.split_once('=') {
        Some((key, value)) => Some((key, Some(value.to_owned()))),
        None => text.strip_suffix('-').map(|key| (key, None)),
    };
    let parted = parted.filter(|(key, _)| !key.is_empty());
    parted.map(|(key, value)| (key.to_owned(), value)).ok_or_else(|| {
        format!("`{text}` is no label: write `key=value` to give one, and `key-` to take it")
    })
}

/// `fizz nodes`.
pub(super) async fn nodes(invocation: &Invocation, args: NodesArgs) -> Result<(), CliError> {
    let route = Route::to(&["nodes"]).with_flag("all", args.all);
    let list: Vec<Node> = invocation.client.get(&route).await?;
    let output = &invocation.output;
    if args.quiet {
        return list.iter().try_for_each(|it| output.line(&it.id));
    }
    match args.listing.format {
        ListFormat::Json => output.json(&list),
        ListFormat::Table => {
            output.line(&nodes_table(&list, now()))?;
            overused(&list).iter().for_each(|it| output.warn(it));
            Ok(())
        }
    }
}

/// `fizz node`.
pub(super) async fn node(invocation: &Invocation, command: NodeCommand) -> Result<(), CliError> {
    match command {
        NodeCommand::Ls(args) => nodes(invocation, args).await,
        NodeCommand::Inspect(args) => inspect(invocation, &args).await,
        NodeCommand::Label(args) => give_labels(invocation, args).await,
        NodeCommand::Rm(args) => rm(invocation, &args).await,
    }
}

async fn inspect(invocation: &Invocation, args: &InspectArgs) -> Result<(), CliError> {
    let mut all: Vec<Node> = Vec::new();
    for name in &args.nodes {
        all.push(invocation.client.get(&Route::to(&["nodes", name])).await?);
    }
    invocation.output.json(&all)
}

async fn give_labels(invocation: &Invocation, args: LabelArgs) -> Result<(), CliError> {
    let route = Route::to(&["nodes", &args.node, "labels"]);
    let labels = Labels(args.labels.into_iter().collect());
    let node: Node = invocation.client.post(&route, &labels).await?;
    let labels = labels_text(&node.labels);
    let labels = if labels.is_empty() { "no labels".to_owned() } else { labels };
    invocation.output.note(&format!("Node `{}` has {labels}.", node.name));
    Ok(())
}

/// Removes all that can be removed, and fails if one could not.
async fn rm(invocation: &Invocation, args: &RmArgs) -> Result<(), CliError> {
    let mut failure = None;
    for name in &args.nodes {
        let route = Route::to(&["nodes", name])
            .with_flag("force", args.force)
            .with("rotate", !args.no_rotate);
        match invocation.client.delete::<Value>(&route).await {
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

/// Nodes as a table; `*` marks the one that answered. Labels are shown where there are any.
#[must_use]
pub(super) fn nodes_table(list: &[Node], now: WallTime) -> String {
    let with_labels = list.iter().any(|it| !it.labels.is_empty());
    let with_mesh = list.iter().any(|it| it.mesh.is_some());
    let rows = list.iter().map(|it| {
        let runtime = match (&it.runtime, &it.runtime_problem) {
            (_, Some(problem)) => format!("unreachable: {problem}"),
            (Some(runtime), None) => runtime.clone(),
            (None, None) => "unreachable".into(),
        };
        let mut row = vec![
            if it.is_self { format!("{} *", it.name) } else { it.name.clone() },
            it.id.chars().take(12).collect(),
            state(it),
            it.address.clone().unwrap_or_else(|| "-".into()),
            it.round_trip_ms.map_or_else(|| "-".into(), |ms| Millis(ms).to_string()),
            rough_span(Millis(now.0.saturating_sub(it.since_ms))),
            it.containers.to_string(),
            it.cpus.to_string(),
            binary_bytes(it.memory_bytes),
            runtime,
            it.version.clone(),
        ];
        if with_mesh {
            row.push(mesh(it));
        }
        if with_labels {
            row.push(shortened(&labels_text(&it.labels), LABELS_CHARS));
        }
        row
    });
    let mut heads = [
        "NAME",
        "ID",
        "STATE",
        "ADDRESS",
        "RTT",
        "SINCE",
        "CONTAINERS",
        "CPUS",
        "MEMORY",
        "RUNTIME",
        "VERSION",
    ]
    .map(str::to_owned)
    .to_vec();
    if with_mesh {
        heads.push("MESH".into());
    }
    if with_labels {
        heads.push("LABELS".into());
    }
    table(heads, rows)
}

/// `alive`, or `alive (draining)`.
fn state(node: &Node) -> String {
    match node.availability.as_str() {
        "open" => node.state.clone(),
        other => format!("{} ({other})", node.state),
    }
}

/// Who speaks WireGuard on a node: its kernel or, which is slower, a process.
fn mesh(node: &Node) -> String {
    match node.mesh.as_ref().map(|it| it.driver.as_str()) {
        None => "-".into(),
        Some("wireguard") => "wireguard".into(),
        Some(other) => format!("{other} (degraded)"),
    }
}

fn labels_text(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

/// Tokens that more nodes came with than they allow.
fn overused(list: &[Node]) -> Vec<String> {
    let mut tokens: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for node in list {
        let token = node.admission.as_ref().filter(|it| it.token_overused);
        if let Some(token) = token.and_then(|it| it.token.as_deref()) {
            tokens.entry(token).or_default().push(&node.name);
        }
    }
    let text = |(token, nodes): (&str, Vec<&str>)| {
        format!(
            "more nodes came with token {token} than it allows: {}; put out those that you do not know \
             with `fizz node rm`",
            nodes.join(", ")
        )
    };
    tokens.into_iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(name: &str, more: Value) -> Node {
        let mut all = json!({
            "id": "0123456789abcdef0123456789abcdef", "name": name, "state": "alive",
            "version": "0.1.0", "labels": {}, "cpus": 2, "memory_bytes": 25_769_803_776_u64,
            "architecture": "x86_64", "kernel": "6.1", "since_ms": 60_000, "containers": 3,
            "is_self": false, "runtime": "docker 28",
        });
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(all).unwrap()
    }

    #[test]
    fn a_node_without_its_runtime_says_why() {
        let node = node("one", json!({"runtime_problem": "no socket", "is_self": true}));
        let expected = "\
NAME    ID             STATE   ADDRESS   RTT   SINCE            CONTAINERS   CPUS   MEMORY   RUNTIME                  VERSION
one *   0123456789ab   alive   -         -     About a minute   3            2      24GiB    unreachable: no socket   0.1.0";
        assert_eq!(nodes_table(&[node], WallTime(120_000)), expected);
    }

    #[test]
    fn who_speaks_wireguard_has_a_column_where_there_is_a_mesh() {
        let with = |name, driver: &str| {
            let mesh =
                json!({"driver": driver, "key": "", "endpoints": [], "address": "", "blocks": []});
            node(name, json!({ "mesh": mesh }))
        };
        let list = [with("a", "wireguard"), with("b", "userspace"), node("c", json!({}))];
        let table = nodes_table(&list, WallTime(120_000));
        let last = |it: &str| it.rsplit("   ").next().unwrap().to_owned();
        let column: Vec<String> = table.lines().map(last).collect();
        assert_eq!(column, ["MESH", "wireguard", "userspace (degraded)", "-"]);
    }

    #[test]
    fn labels_have_a_column_where_there_are_any() {
        let list = [
            node("a", json!({"labels": {"zone": "cellar", "disk": "ssd"}, "round_trip_ms": 2})),
            node("b", json!({"address": "10.0.0.6:7780", "availability": "draining"})),
        ];
        let expected = "\
NAME   ID             STATE              ADDRESS         RTT   SINCE            CONTAINERS   CPUS   MEMORY   RUNTIME     VERSION   LABELS
a      0123456789ab   alive              -               2ms   About a minute   3            2      24GiB    docker 28   0.1.0     disk=ssd,zone=cellar
b      0123456789ab   alive (draining)   10.0.0.6:7780   -     About a minute   3            2      24GiB    docker 28   0.1.0";
        assert_eq!(nodes_table(&list, WallTime(120_000)), expected);
    }

    #[test]
    fn labels_are_given_and_taken_as_people_know_it() {
        assert_eq!(label("zone=cellar"), Ok(("zone".into(), Some("cellar".into()))));
        assert_eq!(label("zone="), Ok(("zone".into(), Some(String::new()))));
        assert_eq!(label("a-b-"), Ok(("a-b".into(), None)));
        for wrong in ["zone", "=x", "-", ""] {
            assert!(label(wrong).unwrap_err().contains("`key=value`"), "{wrong}");
        }
    }

    #[test]
    fn a_token_that_was_used_too_often_is_told_with_all_who_came_with_it() {
        let with = |name, overused| {
            let admission = json!({"by": "x", "by_name": "a", "at_ms": 0, "token": "00ff",
                "token_overused": overused});
            node(name, json!({ "admission": admission }))
        };
        assert!(overused(&[with("b", false)]).is_empty());
        let told = overused(&[with("b", true), with("c", true)]);
        assert!(
            told[0].starts_with("more nodes came with token 00ff than it allows: b, c;"),
            "{told:?}"
        );
    }
}
