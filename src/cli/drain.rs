//! Which containers a node takes: `drain`, `cordon`, `uncordon`.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use clap::Args;
use tokio::time::Instant;

use super::{
    Invocation,
    attached::Stop,
    board::{Mood, Row},
    client::Route,
    containers,
    error::CliError,
    explain,
    screen::Screen,
};
use crate::api::wire::{Availability, Container, Node};

/// How often it is looked at what is left.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// How often it is asked what keeps containers.
const ASK_AGAIN: Duration = Duration::from_secs(3);

/// `fizz drain`.
#[derive(Args, Debug)]
pub(super) struct DrainArgs {
    /// The node: its name, its id, or the beginning of that
    pub(super) node: String,
    /// Don't wait until its containers are gone
    #[arg(short, long)]
    pub(super) detach: bool,
    /// How many seconds to wait at most; it goes on draining
    #[arg(short, long, value_name = "SECONDS", conflicts_with = "detach")]
    pub(super) timeout: Option<u64>,
}

/// `fizz cordon` and `fizz uncordon`.
#[derive(Args, Debug)]
pub(super) struct NodeArgs {
    /// The node: its name, its id, or the beginning of that
    pub(super) node: String,
}

async fn avail(invocation: &Invocation, node: &str, how: &str) -> Result<Node, CliError> {
    let route = Route::to(&["nodes", node, "availability"]);
    invocation.client.post(&route, &Availability { availability: how.to_owned() }).await
}

/// `fizz cordon`.
pub(super) async fn cordon(invocation: &Invocation, args: NodeArgs) -> Result<(), CliError> {
    let node = avail(invocation, &args.node, "cordoned").await?;
    invocation
        .output
        .note(&format!("Node `{}` takes no new containers; what runs on it stays.", node.name));
    Ok(())
}

/// `fizz uncordon`.
pub(super) async fn uncordon(invocation: &Invocation, args: NodeArgs) -> Result<(), CliError> {
    let node = avail(invocation, &args.node, "open").await?;
    invocation.output.note(&format!("Node `{}` takes containers again.", node.name));
    Ok(())
}

/// `fizz drain`.
pub(super) async fn drain(invocation: &Invocation, args: DrainArgs) -> Result<(), CliError> {
    let node = avail(invocation, &args.node, "draining").await?;
    let output = &invocation.output;
    if args.detach {
        output.note(&format!("Node `{0}` is draining; `fizz drain {0}` waits for it.", node.name));
        return Ok(());
    }
    let mut drain = Drain {
        invocation,
        node: &node,
        screen: Screen::new(*output),
        shown: BTreeMap::new(),
        asked: None,
    };
    let timeout = args.timeout.map_or(Duration::MAX, Duration::from_secs);
    let drained = tokio::time::timeout(timeout, drain.wait()).await;
    drain.screen.finish();
    match drained {
        Ok(Ok(())) => {
            output.note(&format!(
                "Node `{0}` is drained; `fizz uncordon {0}` gives it containers again.",
                node.name
            ));
            Ok(())
        }
        Ok(Err(error)) => {
            if matches!(error, CliError::Interrupted | CliError::Exit(_)) {
                output.note(&goes_on(&node.name));
            }
            Err(error)
        }
        Err(_) => {
            let left: Vec<&str> = drain.shown.values().map(|it| it.name.as_str()).collect();
            let (left, goes_on) = (left.join(", "), goes_on(&node.name));
            Err(CliError::Failed(format!("timeout: still there: {left}\n  hint: {goes_on}")))
        }
    }
}

fn goes_on(node: &str) -> String {
    format!(
        "node `{node}` goes on draining; `fizz drain {node}` waits again, `fizz uncordon {node}` ends it"
    )
}

/// A node that is being left.
struct Drain<'a> {
    invocation: &'a Invocation,
    node: &'a Node,
    screen: Screen,
    /// What is left on it, as it was shown, by id.
    shown: BTreeMap<String, Row>,
    /// When it was last asked what keeps it.
    asked: Option<Instant>,
}

impl Drain<'_> {
    /// Until nothing is left, or a person opens the node again.
    async fn wait(&mut self) -> Result<(), CliError> {
        let (mut stop, mut heard) = (Stop::new()?, false);
        loop {
            let client = &self.invocation.client;
            let node: Node = client.get(&Route::to(&["nodes", &self.node.id])).await?;
            // The node that answers may hear of it a moment after the node itself.
            heard |= node.availability == "draining";
            if heard && node.availability != "draining" {
                return Err(CliError::Failed(format!(
                    "node `{}` is {} now: somebody ended the drain",
                    node.name, node.availability
                )));
            }
            let route = Route::to(&["containers"]).with_flag("all", true);
            let all: Vec<Container> = client.get(&route).await?;
            let left: Vec<&Container> = all.iter().filter(|it| is_left(it, &node.id)).collect();
            self.show(&left);
            if heard && left.is_empty() {
                return Ok(());
            }
            if heard && self.asked.is_none_or(|it| ASK_AGAIN <= it.elapsed()) {
                self.ask(&left).await?;
                self.asked = Some(Instant::now());
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_AGAIN) => {}
                status = stop.next() => return Err(super::watch::interrupted(status)),
            }
        }
    }

    /// Shows what has gone, and what is new.
    fn show(&mut self, left: &[&Container]) {
        let ids: BTreeSet<&String> = left.iter().map(|it| &it.id).collect();
        let gone: Vec<String> = self.shown.keys().filter(|it| !ids.contains(it)).cloned().collect();
        for id in gone {
            if let Some(row) = self.shown.remove(&id) {
                self.screen.show(&Row { status: "Gone".into(), mood: Mood::Done, ..row });
            }
        }
        for container in left {
            if !self.shown.contains_key(&container.id) {
                self.put(container, "Leaving".into(), Mood::Working);
            }
        }
    }

    fn put(&mut self, container: &Container, status: String, mood: Mood) {
        let row = Row { kind: "Container", name: container.name.clone(), status, mood };
        if self.shown.get(&container.id) != Some(&row) {
            self.screen.show(&row);
            self.shown.insert(container.id.clone(), row);
        }
    }

    /// Says what keeps containers, where something does.
    async fn ask(&mut self, left: &[&Container]) -> Result<(), CliError> {
        let replicas = left.iter().filter(|it| !it.one_off);
        let keys: BTreeSet<(&str, &str)> =
            replicas.map(|it| (it.project.as_str(), it.service.as_str())).collect();
        let mut told = BTreeMap::new();
        for (project, service) in keys {
            match explain::get(self.invocation, project, service).await {
                Ok(answer) => drop(told.insert((project, service), answer)),
                // It is being removed, and that is as good.
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        for container in left {
            let answer = told.get(&(container.project.as_str(), container.service.as_str()));
            let why = match container.one_off {
                true => Some("it is of `fizz run`, and goes when it ends".to_owned()),
                false => {
                    answer.and_then(|it| explain::why_it_stays(it, &self.node.id, container.slot))
                }
            };
            match why {
                Some(why) => self.put(container, format!("Stays: {why}"), Mood::Warning),
                None => self.put(container, "Leaving".into(), Mood::Working),
            }
        }
        Ok(())
    }
}

/// Whether a container is on a node, and runs or is about to.
fn is_left(container: &Container, node: &str) -> bool {
    let busy = container.doing.is_some() || container.state == "pending";
    container.node == node && (containers::is_running(container) || busy)
}

#[cfg(test)]
mod tests {
    use super::{super::containers::tests::container, *};
    use serde_json::json;

    #[test]
    fn what_ended_keeps_no_drain_waiting() {
        let left = |state: &str, more| is_left(&container("web", 1, state, more), "n");
        assert!(left("healthy", json!({})));
        assert!(left("pending", json!({})));
        assert!(left("stopped", json!({"doing": "removing"})));
        assert!(!left("stopped", json!({})));
        assert!(!left("failed", json!({})));
        assert!(!left("running", json!({"node": "other"})));
        assert!(!left("running", json!({"node_state": "dead"})));
    }
}
