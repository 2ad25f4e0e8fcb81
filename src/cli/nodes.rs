//! Nodes: `nodes`.

use clap::Args;

use super::{
    Invocation, client::Route, error::CliError, format::binary_bytes, output::ListFormat,
    table::columns,
};
use crate::api::wire::Node;

/// `fizz nodes`.
#[derive(Args, Debug)]
pub(super) struct NodesArgs {
    /// Only display ids
    #[arg(short, long)]
    pub(super) quiet: bool,
    /// Output format
    #[arg(
        short = 'o',
        long = "output",
        visible_alias = "format",
        value_name = "FORMAT",
        default_value = "table"
    )]
    pub(super) format: ListFormat,
}

/// `fizz nodes`.
pub(super) async fn nodes(invocation: &Invocation, args: NodesArgs) -> Result<(), CliError> {
    let list: Vec<Node> = invocation.client.get(&Route::to(&["nodes"])).await?;
    let output = &invocation.output;
    if args.quiet {
        return list.iter().try_for_each(|it| output.line(&it.id));
    }
    match args.format {
        ListFormat::Json => output.json(&list),
        ListFormat::Table => output.line(&nodes_table(&list)),
    }
}

/// Nodes as a table; `*` marks the one that answered.
#[must_use]
pub(super) fn nodes_table(list: &[Node]) -> String {
    let rows = list.iter().map(|it| {
        let runtime = match (&it.runtime, &it.runtime_problem) {
            (_, Some(problem)) => format!("unreachable: {problem}"),
            (Some(runtime), None) => runtime.clone(),
            (None, None) => "unreachable".into(),
        };
        [
            if it.is_self { format!("{} *", it.name) } else { it.name.clone() },
            it.id.chars().take(12).collect(),
            it.state.clone(),
            it.address.clone().unwrap_or_else(|| "-".into()),
            it.containers.to_string(),
            it.cpus.to_string(),
            binary_bytes(it.memory_bytes),
            runtime,
            it.version.clone(),
        ]
    });
    let heads =
        ["NAME", "ID", "STATE", "ADDRESS", "CONTAINERS", "CPUS", "MEMORY", "RUNTIME", "VERSION"];
    columns(heads, rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_node_without_its_runtime_says_why() {
        let node: Node = serde_json::from_value(json!({
            "id": "0123456789abcdef0123456789abcdef", "name": "one", "state": "alive",
            "version": "0.1.0", "labels": {}, "cpus": 2, "memory_bytes": 25_769_803_776_u64,
            "architecture": "x86_64", "kernel": "6.1", "runtime_problem": "no socket", "since_ms": 0,
            "containers": 3, "is_self": true,
        }))
        .unwrap();
        let expected = "\
NAME    ID             STATE   ADDRESS   CONTAINERS   CPUS   MEMORY   RUNTIME                  VERSION
one *   0123456789ab   alive   -         3            2      24GiB    unreachable: no socket   0.1.0";
        assert_eq!(nodes_table(&[node]), expected);
    }
}
