//! The `fizz` command.

use std::process::ExitCode;

use fizz::{
    cli::{self, Invoked},
    daemon::{self, args::DaemonArgs},
    network::wireguard,
};

fn main() -> ExitCode {
    match cli::invoke::<DaemonArgs>(std::env::args_os()) {
        Invoked::Done(code) => code,
        Invoked::Daemon(args) => daemon::run(&args),
        Invoked::WireguardDevice { name, control } => wireguard::serve(&name, &control),
    }
}
