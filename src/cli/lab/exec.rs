//! `fizz lab exec`: a command on a node.

use std::{
    io,
    os::unix::process::ExitStatusExt,
    process::{Command, ExitStatus},
};

use clap::Args;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::sync::oneshot;

use super::{
    LabOption, boot, cgroups,
    faults::among,
    machine::search_path,
    namespaces,
    plan::{LabNode, Role},
    record::Home,
};
use crate::cli::{Invocation, attached::Stop, error::CliError, output::Output};

/// `fizz lab exec`.
#[derive(Args, Debug)]
pub(in crate::cli) struct ExecArgs {
    #[command(flatten)]
    lab: LabOption,
    /// The node
    node: LabNode,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// `fizz lab exec`. The command has this one's terminal, and its status becomes this one's.
pub(super) async fn exec(invocation: &Invocation, args: ExecArgs) -> Result<(), CliError> {
    let home = Home::of(args.lab.name);
    let record = home.made()?;
    let node = among(args.node, &record.nodes()).map_err(CliError::Usage)?;
    let machine = boot::running(&home)?.0.remove(&Role::Node(node)).ok_or_else(|| {
        CliError::Failed(format!("node {node} is off; start it with `fizz lab start {node}`"))
    })?;
    cgroups::join(&home.name, node)?;
    let words = args.command;
    let name = words.first().cloned().unwrap_or_default();
    let (tell, started) = oneshot::channel();
    // Once there, this binary is not found by way of /proc any more.
    let path = search_path();
    let work = move || {
        namespaces::in_machine(machine, || {
            let mut command = Command::new(words.first().map_or("", String::as_str));
            command.args(words.get(1..).unwrap_or_default());
            command.env("PATH", path).env("FIZZ_HOST", home.host(node));
            command.envs(record.runtime.environment(&home, node));
            let run = |mut command: Command| {
                let mut child = command.spawn()?;
                // Nobody listens if this command is ending.
                let _ = tell.send(child.id());
                child.wait()
            };
            Ok(run(command))
        })
    };
    let mut stop = Stop::new()?;
    let mut work = tokio::task::spawn_blocking(work);
    let mut started = Some(started);
    let mut child = None;
    let status = loop {
        tokio::select! {
            done = &mut work => break done.map_err(|why| CliError::Failed(why.to_string()))??,
            Ok(pid) = async { match &mut started {
                Some(started) => started.await,
                None => std::future::pending().await,
            } } => {
                child = i32::try_from(pid).ok().map(Pid::from_raw);
                started = None;
            }
            signal = stop.next() => pass_on(signal, child),
        }
    };
    end_as(&invocation.output, &name, status)
}

/// The terminal's interrupt goes to the command anyway; what is sent to this process alone is passed
/// on. The command may have ended already.
fn pass_on(status: u8, to: Option<Pid>) {
    let signal = match status {
        143 => Signal::SIGTERM,
        129 => Signal::SIGHUP,
        _ => return,
    };
    if let Some(to) = to {
        let _ = kill(to, signal);
    }
}

/// With the statuses that a shell has for what did not run or was killed.
fn end_as(output: &Output, name: &str, status: io::Result<ExitStatus>) -> Result<(), CliError> {
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => {
            let code = status.code().unwrap_or(128 + status.signal().unwrap_or(0));
            Err(CliError::Exit(u8::try_from(code).unwrap_or(1)))
        }
        Err(why) => {
            let code = if why.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
            output.error(&CliError::io(format!("can't run `{name}` on the node"))(why));
            Err(CliError::Exit(code))
        }
    }
}
