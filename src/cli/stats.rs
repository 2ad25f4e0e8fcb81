//! What containers use: `stats`.

use std::{collections::BTreeMap, io::IsTerminal};

use clap::Args;

use super::{
    Invocation,
    attached::Stop,
    client::Route,
    containers,
    error::{CliError, EXIT_INTERRUPTED},
    format::{binary_bytes, decimal_bytes},
    output::{ListFormat, Listing},
    table::columns,
};
use crate::api::wire::Stats;

/// `fizz stats`.
#[derive(Args, Debug)]
pub(super) struct StatsArgs {
    /// The service; all by default
    pub(super) service: Option<String>,
    /// Show all containers (default shows just running)
    #[arg(short, long)]
    pub(super) all: bool,
    /// Disable streaming stats and only pull the first result
    #[arg(long)]
    pub(super) no_stream: bool,
    /// Do not truncate output
    #[arg(long)]
    pub(super) no_trunc: bool,
    #[command(flatten)]
    pub(super) listing: Listing,
}

/// Back to the top left, and everything below away (ECMA-48, CUP and ED).
const CLEAR: &str = "\x1b[H\x1b[J";

/// `fizz stats`: on a terminal the table stays in place; elsewhere each line is printed as it comes.
pub(super) async fn stats(invocation: &Invocation, args: StatsArgs) -> Result<(), CliError> {
    let project = invocation.project_name()?;
    let services: Vec<String> = args.service.iter().cloned().collect();
    let listed = containers::of_services(&invocation.client, &project, &services, args.all).await?;
    let mut seen: BTreeMap<String, Option<Stats>> = BTreeMap::new();
    if args.all {
        seen.extend(listed.iter().map(|it| (it.name.clone(), None)));
    }
    let route = Route::to(&["stats"])
        .with("project", &project)
        .with_some("service", args.service.as_ref())
        .with("stream", !args.no_stream);
    let mut lines = invocation.client.lines::<Stats>(&route).await?;
    let mut stop = Stop::new()?;
    let output = &invocation.output;
    let lively = !args.no_stream
        && std::io::stdout().is_terminal()
        && args.listing.format == ListFormat::Table;
    loop {
        let next = tokio::select! {
            next = lines.next() => next?,
            status = stop.next() => return match status {
                EXIT_INTERRUPTED => Ok(()),
                status => Err(CliError::Exit(status)),
            },
        };
        let Some(stats) = next else { break };
        if let Some(warning) = &stats.warning {
            output.warn(warning);
            continue;
        }
        if args.listing.format == ListFormat::Json && !args.no_stream {
            let text = serde_json::to_string(&stats).unwrap_or_default();
            output.line(&text)?;
            continue;
        }
        seen.insert(stats.name.clone(), Some(stats));
        if lively {
            output.line(&format!("{CLEAR}{}", stats_table(&seen, args.no_trunc)))?;
        }
    }
    match args.listing.format {
        ListFormat::Json if args.no_stream => {
            output.json(&seen.into_values().flatten().collect::<Vec<_>>())
        }
        ListFormat::Json => Ok(()),
        ListFormat::Table if lively => Ok(()),
        ListFormat::Table => output.line(&stats_table(&seen, args.no_trunc)),
    }
}

fn stats_table(seen: &BTreeMap<String, Option<Stats>>, no_trunc: bool) -> String {
    let rows = seen.iter().map(|(name, stats)| match stats {
        Some(it) => [
            if no_trunc { it.container.clone() } else { it.container.chars().take(12).collect() },
            name.clone(),
            percent(it.cpu_hundredths_percent),
            format!("{} / {}", binary_bytes(it.memory_bytes), binary_bytes(it.memory_limit_bytes)),
            percent(
                it.memory_bytes
                    .saturating_mul(10_000)
                    .checked_div(it.memory_limit_bytes)
                    .unwrap_or(0),
            ),
            format!(
                "{} / {}",
                decimal_bytes(it.network_rx_bytes),
                decimal_bytes(it.network_tx_bytes)
            ),
            format!(
                "{} / {}",
                decimal_bytes(it.block_read_bytes),
                decimal_bytes(it.block_write_bytes)
            ),
            it.pids.to_string(),
        ],
        None => ["--", name.as_str(), "--", "-- / --", "--", "--", "--", "--"].map(str::to_owned),
    });
    let heads = [
        "CONTAINER ID",
        "NAME",
        "CPU %",
        "MEM USAGE / LIMIT",
        "MEM %",
        "NET I/O",
        "BLOCK I/O",
        "PIDS",
    ];
    columns(heads, rows)
}

fn percent(hundredths: u64) -> String {
    format!("{}.{:02}%", hundredths / 100, hundredths % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_shown_beside_its_bound() {
        let stats = Stats {
            container: "0123456789abcdef".into(),
            name: "shop-web-1".into(),
            cpu_hundredths_percent: 1234,
            memory_bytes: 1 << 20,
            memory_limit_bytes: 1 << 24,
            network_rx_bytes: 1500,
            network_tx_bytes: 0,
            block_read_bytes: 0,
            block_write_bytes: 4_000_000,
            pids: 3,
            warning: None,
        };
        let seen = BTreeMap::from([("shop-web-1".into(), Some(stats)), ("shop-x-1".into(), None)]);
        let expected = "\
CONTAINER ID   NAME         CPU %    MEM USAGE / LIMIT   MEM %   NET I/O       BLOCK I/O   PIDS
0123456789ab   shop-web-1   12.34%   1MiB / 16MiB        6.25%   1.50kB / 0B   0B / 4MB    3
--             shop-x-1     --       -- / --             --      --            --          --";
        assert_eq!(stats_table(&seen, false), expected);
    }
}
