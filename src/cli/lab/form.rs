//! Making one cluster of a lab's nodes, with the commands that anybody would use.

use std::time::Duration;

use tokio::{process::Command, time::Instant};

use super::{
    machine::program,
    plan::LabNode,
    record::{Home, Record},
};
use crate::{
    api::wire::Node,
    cli::{
        client::{Client, Route},
        error::CliError,
    },
};

/// How long the members may take to know one another, and how often they are asked.
const TOGETHER_MAX: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(50);

/// How long one answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Makes the cluster on the first node, and joins the others to it.
pub(super) async fn form(home: &Home, record: Record) -> Result<(), CliError> {
    let first = LabNode::FIRST;
    fizz(home, first, &["init"]).await?;
    if record.nodes == 1 {
        return Ok(());
    }
    let token = fizz(home, first, &["token", "create", "--uses", "0", "--ttl", "1h"]).await?;
    let address = first.cluster_address(record.number).to_string();
    for node in record.nodes().into_iter().filter(|it| *it != first) {
        fizz(home, node, &["join", &address, "--token", token.trim()]).await?;
    }
    Ok(())
}

/// Waits until every node sees every node alive.
pub(super) async fn together(home: &Home, record: Record) -> Result<(), CliError> {
    let end = Instant::now() + TOGETHER_MAX;
    for node in record.nodes() {
        let client = Client::new(Some(&home.host(node)))?;
        loop {
            let route = Route::to(&["nodes"]);
            let seen = tokio::time::timeout(ANSWER_MAX, client.get::<Vec<Node>>(&route)).await;
            let seen = seen.unwrap_or_else(|_| Ok(Vec::new()))?;
            let alive = seen.iter().filter(|it| it.state == "alive").count();
            if alive == usize::from(record.nodes) {
                break;
            }
            if end < Instant::now() {
                return Err(CliError::Failed(format!(
                    "node {node} sees {alive} of {} nodes alive after {} s; its log is {}",
                    record.nodes,
                    TOGETHER_MAX.as_secs(),
                    home.log(node, "fizz").display()
                )));
            }
            tokio::time::sleep(LOOK).await;
        }
    }
    Ok(())
}

/// Runs a command of ours against a node, and returns what it printed.
async fn fizz(home: &Home, node: LabNode, words: &[&str]) -> Result<String, CliError> {
    // A token is nobody's business.
    let shown = words.iter().take_while(|it| **it != "--token").copied().collect::<Vec<_>>();
    let what = format!("`fizz {}` on node {node}", shown.join(" "));
    let output = Command::new(program())
        .arg("--host")
        .arg(home.host(node))
        .args(words)
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(CliError::io(format!("can't run {what}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(CliError::Failed(format!("{what} failed, {}: {said}", output.status)))
}
