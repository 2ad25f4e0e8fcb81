//! The `fizz` command.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    fizz::cli::run(fizz::cli::Cli::parse())
}
