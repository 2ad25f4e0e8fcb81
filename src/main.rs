//! The `fizz` command.

use std::process::ExitCode;

use fizz::{
    cli::{self, Invoked},
    daemon::{self, args::DaemonArgs},
    network::wireguard,
    runtime,
};

fn main() -> ExitCode {
    // What containerd starts for a container is no command for people.
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|it| it.to_string_lossy().into_owned()).collect();
    if let Some(code) = runtime::helper(&arguments) {
        return code;
    }
    match cli::invoke::<DaemonArgs>(std::env::args_os(), daemon::doctor::examine_here) {
        Invoked::Done(code) => code,
        Invoked::Daemon(args) => daemon::run(&args),
        Invoked::WireguardDevice { name, control } => wireguard::serve(&name, &control),
    }
}
