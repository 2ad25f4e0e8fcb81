//! The `fizz` command.

use std::process::ExitCode;

use fizz::cli::{self, Invoked};

fn main() -> ExitCode {
    match cli::invoke(std::env::args_os()) {
        Invoked::Done(code) => code,
        Invoked::Daemon(args) => fizz::daemon::run(args),
    }
}
