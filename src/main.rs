//! The `fizz` command.

use std::process::ExitCode;

use clap::{Args as _, Command, CommandFactory as _, FromArgMatches as _};

use fizz::{
    cli::{self, Cli},
    daemon::{self, args::DaemonArgs},
};

fn main() -> ExitCode {
    let daemon = Command::new("daemon");
    let matches = Cli::command().subcommand(DaemonArgs::augment_args(daemon)).get_matches();
    let outcome = match matches.subcommand() {
        Some(("daemon", own)) => DaemonArgs::from_arg_matches(own).map(|it| daemon::run(&it)),
        Some(_) | None => Cli::from_arg_matches(&matches).map(cli::run),
    };
    outcome.unwrap_or_else(|error| error.exit())
}
