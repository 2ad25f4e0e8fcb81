//! Why replicas are where they are: `explain`.

use clap::Args;

use super::{
    Invocation,
    client::Route,
    error::CliError,
    format,
    output::{ListFormat, Listing},
    table::columns,
};
use crate::{
    api::wire::{Cron, Explanation, NodeVerdict, ReplicaPlace},
    model::{Millis, WallTime},
};

/// `fizz explain`.
#[derive(Args, Debug)]
pub(super) struct ExplainArgs {
    /// The service
    pub(super) service: String,
    #[command(flatten)]
    pub(super) listing: Listing,
}

/// `fizz explain`.
pub(super) async fn explain(invocation: &Invocation, args: ExplainArgs) -> Result<(), CliError> {
    let project = invocation.project_name()?;
    let told = get(invocation, &project, &args.service).await?;
    match args.listing.format {
        ListFormat::Json => invocation.output.json(&told),
        ListFormat::Table => invocation.output.line(&text(&told, format::now())),
    }
}

/// Why a service's replicas are where they are.
pub(super) async fn get(
    invocation: &Invocation,
    project: &str,
    service: &str,
) -> Result<Explanation, CliError> {
    let route = Route::to(&["deployments", project, "services", service, "explain"]);
    invocation.client.get(&route).await
}

fn text(told: &Explanation, now: WallTime) -> String {
    let replicas = told.replicas.iter().map(|it| {
        let name = format!("{}-{}", told.service, it.slot);
        [name, it.node_name.clone().unwrap_or_else(|| "-".into()), why(it)]
    });
    let nodes = told.nodes.iter().map(|it| {
        let more = if it.objections.is_empty() { "yes" } else { "no" };
        [it.name.clone(), more.to_owned(), it.objections.join("; ")]
    });
    let mut parts = Vec::new();
    parts.extend(told.cron.as_ref().map(|it| clock(it, now)));
    if !told.replicas.is_empty() {
        parts.push(columns(["REPLICA", "NODE", "WHY"], replicas));
    }
    parts.push(columns(["NODE", "ONE MORE", "WHY NOT"], nodes));
    if !told.with.is_empty() {
        parts.push(format!("It is always on one node with {}.", told.with.join(", ")));
    }
    parts.join("\n\n")
}

/// When a service ran last by the clock, and when it does next.
fn clock(cron: &Cron, now: WallTime) -> String {
    let last = cron.last_ms.map_or_else(|| "-".to_owned(), |it| format::ago(now, it));
    let ahead = |it: u64| format::rough_span(Millis(it.saturating_sub(now.0)));
    let next = cron.next_ms.map_or_else(|| "suspended".to_owned(), ahead);
    columns(["SCHEDULE", "LAST RUN", "NEXT RUN IN"], [[cron.schedule.clone(), last, next]])
}

fn why(replica: &ReplicaPlace) -> String {
    // What speaks against each node is in the table of the nodes.
    let why = if replica.node.is_some() { &replica.why } else { "no node may have it" };
    let elsewhere = replica.runs_on.iter().filter(|it| Some(*it) != replica.node_name.as_ref());
    let elsewhere: Vec<&str> = elsewhere.map(String::as_str).collect();
    match elsewhere.is_empty() {
        true => why.to_owned(),
        false => format!("{why}; now it runs on {}", elsewhere.join(", ")),
    }
}

/// Why a replica stays on a node that is to be left, if it does.
#[must_use]
pub(super) fn why_it_stays(told: &Explanation, node: &str, slot: u32) -> Option<String> {
    let post =
        told.replicas.iter().find(|it| it.slot == slot && it.node.as_deref() == Some(node))?;
    let other = |it: &&NodeVerdict| it.node != node && !it.objections.is_empty();
    let others = told.nodes.iter().filter(other);
    let others: Vec<String> =
        others.map(|it| format!("{}: {}", it.name, it.objections.join(", "))).collect();
    Some(match others.is_empty() {
        true => post.why.clone(),
        false => format!("{} ({})", post.why, others.join("; ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn told(replicas: Value, nodes: Value, with: Value) -> Explanation {
        serde_json::from_value(json!({"project": "shop", "service": "web", "replicas": replicas,
            "nodes": nodes, "with": with}))
        .unwrap()
    }

    #[test]
    fn what_runs_by_the_clock_says_when() {
        let mut told = told(json!([]), json!([]), json!([]));
        let hours = |it: u64| WallTime(it * 3_600_000);
        let (last_ms, next_ms) = (Some(hours(2).0), Some(hours(6).0));
        told.cron = Some(Cron { schedule: "0 * * * *".into(), next_ms, last_ms });
        let expected = "\
SCHEDULE    LAST RUN      NEXT RUN IN
0 * * * *   2 hours ago   2 hours";
        assert!(text(&told, hours(4)).starts_with(expected), "{}", text(&told, hours(4)));
    }

    #[test]
    fn each_replica_and_each_node_says_why() {
        let told = told(
            json!([
                {"slot": 1, "node": "a", "node_name": "one", "why": "it is there already",
                    "runs_on": ["one"]},
                {"slot": 2, "node": "b", "node_name": "two", "why": "it was moved there",
                    "runs_on": ["one"]},
                {"slot": 3, "node": null, "node_name": null, "why": "one: full", "runs_on": []},
            ]),
            json!([
                {"node": "a", "name": "one", "objections": ["cordoned", "it has no label disk"]},
                {"node": "b", "name": "two", "objections": []},
            ]),
            json!(["app", "db"]),
        );
        let expected = "\
REPLICA   NODE   WHY
web-1     one    it is there already
web-2     two    it was moved there; now it runs on one
web-3     -      no node may have it

NODE   ONE MORE   WHY NOT
one    no         cordoned; it has no label disk
two    yes

It is always on one node with app, db.";
        assert_eq!(text(&told, WallTime(0)), expected);
    }

    #[test]
    fn what_stays_on_a_draining_node_says_what_keeps_it() {
        let told = told(
            json!([{"slot": 1, "node": "a", "node_name": "one", "why": "it should leave",
                "runs_on": ["one"]}]),
            json!([
                {"node": "a", "name": "one", "objections": ["draining"]},
                {"node": "b", "name": "two", "objections": ["its volume data is on one"]},
            ]),
            json!([]),
        );
        let why = why_it_stays(&told, "a", 1).unwrap();
        assert_eq!(why, "it should leave (two: its volume data is on one)");
        assert_eq!(why_it_stays(&told, "b", 1), None);
        assert_eq!(why_it_stays(&told, "a", 2), None);
    }
}
