//! The published ports, and who takes what comes there: `ingress ls`.

use std::collections::{BTreeMap, BTreeSet};

use clap::{Args, Subcommand};

use super::{
    Invocation,
    client::Route,
    error::CliError,
    output::{ListFormat, Listing},
    table::columns,
};
use crate::api::wire::{IngressPort, IngressReplica, NodeIngress};

/// `fizz ingress`.
#[derive(Debug, Subcommand)]
pub(super) enum IngressCommand {
    /// List published ports, their replicas, and what came to them by all nodes
    #[command(visible_alias = "list")]
    Ls(LsArgs),
}

/// `fizz ingress ls`.
#[derive(Args, Debug)]
pub(super) struct LsArgs {
    /// Only what came by this node
    #[arg(long)]
    pub(super) node: Option<String>,
    #[command(flatten)]
    pub(super) listing: Listing,
}

/// `fizz ingress`.
pub(super) async fn ingress(
    invocation: &Invocation,
    command: IngressCommand,
) -> Result<(), CliError> {
    match command {
        IngressCommand::Ls(args) => ls(invocation, &args).await,
    }
}

async fn ls(invocation: &Invocation, args: &LsArgs) -> Result<(), CliError> {
    let route = Route::to(&["ingress"]);
    let (mut nodes, warnings): (Vec<NodeIngress>, _) = invocation.client.get_of_all(&route).await?;
    let output = &invocation.output;
    warnings.iter().for_each(|it| output.warn(it));
    if let Some(wanted) = &args.node {
        nodes.retain(|it| it.node_name == *wanted || it.node.starts_with(wanted.as_str()));
        if nodes.is_empty() {
            return Err(CliError::Failed(format!("there is no node `{wanted}` that answers")));
        }
    }
    let project = invocation.globals.project_name.as_deref();
    let is_wanted = |it: &IngressPort| {
        project.is_none_or(|project| {
            it.services.iter().any(|it| it.split('/').next() == Some(project))
        })
    };
    nodes.iter_mut().for_each(|it| it.ports.retain(is_wanted));
    match args.listing.format {
        ListFormat::Json => output.json(&nodes),
        ListFormat::Table => {
            for node in &nodes {
                if let Some(why) = &node.degraded {
                    output.warn(&format!(
                        "{}: its firewall carries the ports: {why}",
                        node.node_name
                    ));
                }
            }
            output.line(&ports_table(&nodes))
        }
    }
}

/// A replica's port, as all nodes together find it.
#[derive(Default)]
struct Row {
    services: BTreeSet<String>,
    node: String,
    address: String,
    /// How which nodes find it.
    states: BTreeMap<String, Vec<String>>,
    open: u64,
    taken: u64,
    failed: u64,
}

fn ports_table(nodes: &[NodeIngress]) -> String {
    let mut rows: BTreeMap<(u16, String, String), Row> = BTreeMap::new();
    for node in nodes {
        for port in &node.ports {
            for replica in &port.replicas {
                let key = (port.port, name_of(port), replica.name.clone());
                rows.entry(key).or_default().add(&node.node_name, port, replica);
            }
            if port.replicas.is_empty() {
                let row = rows.entry((port.port, name_of(port), "-".to_owned())).or_default();
                row.services.extend(port.services.iter().cloned());
            }
        }
    }
    let heads =
        ["PORT", "SERVICE", "REPLICA", "NODE", "ADDRESS", "STATE", "OPEN", "TAKEN", "FAILED"];
    let cells = rows.into_iter().map(|((_, port, replica), row)| {
        let services: Vec<String> = row.services.iter().cloned().collect();
        let state = row.state();
        let counts = [row.open, row.taken, row.failed].map(|it| it.to_string());
        let [open, taken, failed] = counts;
        [port, services.join(","), replica, row.node, row.address, state, open, taken, failed]
    });
    columns(heads, cells)
}

/// `8080/tcp`, with the address if it is published at one only.
fn name_of(port: &IngressPort) -> String {
    let at = match &port.host_ip {
        Some(it) if it.contains(':') => format!("[{it}]:"),
        Some(it) => format!("{it}:"),
        None => String::new(),
    };
    format!("{at}{}/{}", port.port, port.protocol)
}

impl Row {
    fn add(&mut self, by: &str, port: &IngressPort, replica: &IngressReplica) {
        self.services.extend(port.services.iter().cloned());
        (self.node, self.address) = (replica.node_name.clone(), replica.address.clone());
        self.states.entry(replica.state.clone()).or_default().push(by.to_owned());
        self.open += replica.open;
        self.taken += replica.taken;
        self.failed += replica.refused + replica.silent + replica.resets;
    }

    /// What all agree on; or what some find, and who.
    fn state(&self) -> String {
        let said = |(state, by): (&String, &Vec<String>)| match self.states.len() {
            1 => state.clone(),
            _ => format!("{state} by {}", by.join(",")),
        };
        let all: Vec<String> = self.states.iter().map(said).collect();
        if all.is_empty() { "-".to_owned() } else { all.join("; ") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(name: &str, state: &str, taken: u64) -> IngressReplica {
        IngressReplica {
            container: "1".into(),
            name: name.into(),
            node_name: "a".into(),
            address: "10.100.1.2:80".into(),
            state: state.into(),
            open: 1,
            taken,
            refused: 1,
            silent: 0,
            resets: 2,
        }
    }

    fn node(name: &str, replicas: Vec<IngressReplica>) -> NodeIngress {
        NodeIngress {
            node: format!("id-{name}"),
            node_name: name.into(),
            carried_by: "programs".into(),
            degraded: None,
            ports: vec![IngressPort {
                port: 8080,
                protocol: "tcp".into(),
                host_ip: None,
                services: vec!["shop/web".into()],
                local_first: false,
                affinity: false,
                allowed: vec![],
                replicas,
            }],
            dropped: BTreeMap::new(),
        }
    }

    #[test]
    fn what_came_by_all_nodes_is_added_up_and_who_finds_a_replica_otherwise_is_named() {
        let a = node("a", vec![replica("web-1", "open", 5), replica("web-2", "open", 1)]);
        let b = node("b", vec![replica("web-1", "open", 7), replica("web-2", "silent", 2)]);
        let expected = "\
PORT       SERVICE    REPLICA   NODE   ADDRESS         STATE                    OPEN   TAKEN   FAILED
8080/tcp   shop/web   web-1     a      10.100.1.2:80   open                     2      12      6
8080/tcp   shop/web   web-2     a      10.100.1.2:80   open by a; silent by b   2      3       6";
        assert_eq!(ports_table(&[a, b]), expected);
        let nobody = ports_table(&[node("a", vec![])]);
        assert!(
            nobody.ends_with(
                "8080/tcp   shop/web   -                          -       0      0       0"
            ),
            "{nobody}"
        );
    }
}
