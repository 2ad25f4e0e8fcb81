//! What containers wrote: `logs`.

use clap::Args;

use super::{
    Invocation,
    attached::Stop,
    client::Route,
    containers,
    error::{CliError, EXIT_INTERRUPTED},
    follow::{LineStyle, LineWriter, write_arrived},
    format::{now, parse_time},
};
use crate::{api::wire::LogLine, model::WallTime};

/// `fizz logs`.
#[derive(Args, Debug)]
pub(super) struct LogsArgs {
    /// Services; all by default
    pub(super) services: Vec<String>,
    /// Follow log output
    #[arg(short, long)]
    pub(super) follow: bool,
    /// Index of the container if service has multiple replicas
    #[arg(long)]
    pub(super) index: Option<u32>,
    /// Show logs since a time (2026-01-02T13:23:37Z) or a span before now (42m)
    #[arg(long, value_name = "TIME")]
    pub(super) since: Option<String>,
    /// Show logs before a time (2026-01-02T13:23:37Z) or a span before now (42m)
    #[arg(long, value_name = "TIME")]
    pub(super) until: Option<String>,
    /// Number of lines to show from the end of the logs of each container, or `all`
    #[arg(short = 'n', long, default_value = "all", value_name = "LINES")]
    pub(super) tail: String,
    /// Show timestamps
    #[arg(short, long)]
    pub(super) timestamps: bool,
    /// Produce monochrome output
    #[arg(long)]
    pub(super) no_color: bool,
    /// Don't print prefix in logs
    #[arg(long)]
    pub(super) no_log_prefix: bool,
}

/// `fizz logs`.
pub(super) async fn logs(invocation: &Invocation, args: LogsArgs) -> Result<(), CliError> {
    let project = invocation.project_name()?;
    if args.index.is_some() && args.services.len() != 1 {
        return Err(CliError::Usage("--index needs exactly one service".into()));
    }
    let containers =
        containers::of_services(&invocation.client, &project, &args.services, true).await?;
    let container = args.index.map(|index| {
        let found = containers.iter().find(|it| it.slot == index && !it.one_off);
        found.map(|it| it.id.clone()).ok_or_else(|| {
            CliError::Failed(format!(
                "service \"{}\" has no container with index {index}",
                args.services[0]
            ))
        })
    });
    let route = logs_route(&args, &project, container.transpose()?.as_deref(), now())?;
    let mut lines = invocation.client.lines::<LogLine>(&route).await?;
    let style = LineStyle {
        prefix: !args.no_log_prefix,
        timestamps: args.timestamps,
        colour: invocation.output.colour && !args.no_color,
        project,
    };
    let names = containers.iter().filter(|it| !it.one_off).map(|it| it.name.as_str());
    let mut writer = LineWriter::new(style, names);
    let mut stop = Stop::new()?;
    loop {
        tokio::select! {
            more = write_arrived(&mut lines, &mut writer, &invocation.output) => {
                if !more? {
                    return Ok(());
                }
            }
            status = stop.next() => return match status {
                EXIT_INTERRUPTED => Err(CliError::Interrupted),
                status => Err(CliError::Exit(status)),
            },
        }
    }
}

/// What to ask for.
fn logs_route(
    args: &LogsArgs,
    project: &str,
    container: Option<&str>,
    now: WallTime,
) -> Result<Route, CliError> {
    let tail = match args.tail.as_str() {
        "all" | "-1" => None,
        text => Some(text.parse::<u64>().map_err(|_| {
            CliError::Usage(format!("`{text}` is no number of lines: use --tail 100 or --tail all"))
        })?),
    };
    let time = |text: &Option<String>| text.as_deref().map(|it| parse_time(it, now)).transpose();
    let services = (!args.services.is_empty()).then(|| args.services.join(","));
    Ok(Route::to(&["logs"])
        .with("project", project)
        .with_some("service", services.filter(|_| container.is_none()))
        .with_some("container", container)
        .with_flag("follow", args.follow)
        .with_some("tail", tail)
        .with_some("since_ms", time(&args.since)?.map(|it| it.0))
        .with_some("until_ms", time(&args.until)?.map(|it| it.0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: LogsArgs,
    }

    fn route(line: &str) -> Result<String, CliError> {
        let args = Line::parse_from(line.split_whitespace()).args;
        logs_route(&args, "shop", None, WallTime(120_000)).map(|it| it.as_str().to_owned())
    }

    #[test]
    fn options_become_the_query() {
        assert_eq!(route("logs").unwrap(), "/v1/logs?project=shop");
        assert_eq!(
            route("logs -f -n 5 --since 1m --until 100 web").unwrap(),
            "/v1/logs?project=shop&service=web&follow=true&tail=5&since_ms=60000&until_ms=100000"
        );
        assert_eq!(route("logs a b").unwrap(), "/v1/logs?project=shop&service=a%2Cb");
        assert!(route("logs --tail many").is_err());
        assert!(route("logs --since tomorrow").is_err());
    }
}
