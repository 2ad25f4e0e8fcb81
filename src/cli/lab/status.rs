//! `fizz lab ls` and `fizz lab status`: which labs there are, and how their nodes are.

use clap::Args;
use serde::Serialize;

use super::{
    LabOption, boot,
    plan::{Engine, LabNode, Role},
    process::{Activity, Process, Seen},
    record::{Home, Record, names},
};
use crate::cli::{Invocation, error::CliError, output::ListFormat, table::columns};

/// `fizz lab ls`.
#[derive(Args, Debug)]
pub(in crate::cli) struct LsArgs {
    /// Output format
    #[arg(short = 'o', long = "output", value_name = "FORMAT", default_value = "table")]
    format: ListFormat,
}

/// `fizz lab status`.
#[derive(Args, Debug)]
pub(in crate::cli) struct StatusArgs {
    #[command(flatten)]
    lab: LabOption,
    /// Output format
    #[arg(short = 'o', long = "output", value_name = "FORMAT", default_value = "table")]
    format: ListFormat,
}

/// How a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum NodeState {
    /// It runs, and so does its daemon.
    Running,
    /// Its daemon is stopped by a signal.
    Paused,
    /// It runs, but its daemon has ended.
    Daemonless,
    /// Nothing of it runs.
    Off,
}

impl NodeState {
    fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Daemonless => "daemon ended",
            Self::Off => "off",
        }
    }
}

#[derive(Debug, Serialize)]
struct LabLine {
    name: String,
    nodes: u8,
    running: usize,
    runtime: Option<Engine>,
    network: Option<String>,
    state: &'static str,
}

#[derive(Debug, Serialize)]
struct NodeLine {
    name: LabNode,
    state: NodeState,
    address: String,
    /// The node's first process.
    pid: Option<i32>,
    /// The node's daemon.
    daemon: Option<i32>,
    host: String,
}

/// A node's first process, its daemon's, and how it is.
pub(super) fn look(
    home: &Home,
    node: LabNode,
    machine: Option<Process>,
    all: &[Seen],
) -> (NodeState, Option<Process>) {
    let Some(machine) = machine else { return (NodeState::Off, None) };
    match boot::daemon(all, home, node, machine) {
        Some(daemon) => {
            let state = match daemon.activity {
                Activity::Lives => NodeState::Running,
                Activity::Stopped => NodeState::Paused,
                Activity::Ended => NodeState::Daemonless,
            };
            (state, Some(daemon.process))
        }
        None => (NodeState::Daemonless, None),
    }
}

/// `fizz lab ls`.
pub(super) fn ls(invocation: &Invocation, args: &LsArgs) -> Result<(), CliError> {
    let mut lines = Vec::new();
    for name in names()? {
        let home = Home::of(name);
        let record = home.record()?;
        let (running, _) = boot::running(&home)?;
        let nodes = running.keys().filter(|it| matches!(it, Role::Node(_))).count();
        lines.push(LabLine {
            name: home.name.to_string(),
            nodes: record.map_or(0, |it| it.nodes),
            running: nodes,
            runtime: record.map(|it| it.runtime),
            network: record.map(|it| format!("10.99.{}.0/24", it.number)),
            state: if record.is_some_and(|it| it.ready) { "made" } else { "unfinished" },
        });
    }
    let output = &invocation.output;
    match args.format {
        ListFormat::Json => output.json(&lines),
        ListFormat::Table => output.line(&columns(
            ["NAME", "STATE", "RUNNING", "RUNTIME", "NETWORK"],
            lines.iter().map(|it| {
                [
                    it.name.clone(),
                    it.state.to_owned(),
                    format!("{} of {}", it.running, it.nodes),
                    it.runtime.map_or_else(|| "-".to_owned(), |it| it.to_string()),
                    it.network.clone().unwrap_or_else(|| "-".to_owned()),
                ]
            }),
        )),
    }
}

/// `fizz lab status`.
pub(super) fn status(invocation: &Invocation, args: StatusArgs) -> Result<(), CliError> {
    let home = Home::of(args.lab.name);
    let record = home.made()?;
    let lines = nodes(&home, record)?;
    let output = &invocation.output;
    let faults = home.faults()?;
    match args.format {
        ListFormat::Json => output.json(&serde_json::json!({
            "name": home.name.as_str(),
            "runtime": record.runtime,
            "nodes": lines,
            "parted": faults.parted,
            "loss": faults.loss.map(|it| serde_json::json!({
                "share": it.share.to_string(),
                "nodes": it.nodes,
            })),
        })),
        ListFormat::Table => {
            output.line(&columns(
                ["NODE", "STATE", "ADDRESS", "HOST"],
                lines.iter().map(|it| {
                    let state = it.state.word().to_owned();
                    [it.name.to_string(), state, it.address.clone(), it.host.clone()]
                }),
            ))?;
            if !faults.parted.is_empty() {
                let pairs = faults.parted.iter().map(|(from, to)| format!("{from}>{to}"));
                output.line(&format!("parted: {}", pairs.collect::<Vec<_>>().join(" ")))?;
            }
            if let Some(loss) = faults.loss {
                let nodes: Vec<String> = loss.nodes.iter().map(ToString::to_string).collect();
                output.line(&format!("loss: {} at {}", loss.share, nodes.join(" ")))?;
            }
            Ok(())
        }
    }
}

fn nodes(home: &Home, record: Record) -> Result<Vec<NodeLine>, CliError> {
    let (running, all) = boot::running(home)?;
    let line = |node: LabNode| {
        let machine = running.get(&Role::Node(node)).copied();
        let (state, daemon) = look(home, node, machine, &all);
        NodeLine {
            name: node,
            state,
            address: node.address(record.number).to_string(),
            pid: machine.map(|it| it.pid),
            daemon: daemon.map(|it| it.pid),
            host: home.host(node),
        }
    };
    Ok(record.nodes().into_iter().map(line).collect())
}
