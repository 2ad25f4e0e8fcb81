//! A further process in a running container: `exec`.

use clap::Args;
use serde_json::Value;

use super::{
    Invocation,
    attached::{End, Join, carry},
    client::Route,
    containers::{self, exit_with},
    error::CliError,
    terminal,
};
use crate::api::wire::Exec;

/// `fizz exec`.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct ExecArgs {
    /// Detached mode: Run command in the background
    #[arg(short, long)]
    pub(super) detach: bool,
    /// Set environment variables
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub(super) env: Vec<String>,
    /// Index of the container if service has multiple replicas
    #[arg(long)]
    pub(super) index: Option<u32>,
    /// Keep STDIN open even if not attached (always on; for old habits)
    #[arg(short, long, hide = true)]
    pub(super) interactive: bool,
    /// Allocate a pseudo-TTY (on when standard output is a terminal; for old habits)
    #[arg(short, long, hide = true, overrides_with = "no_tty")]
    pub(super) tty: bool,
    /// Disable pseudo-TTY allocation
    #[arg(short = 'T', long = "no-tty", visible_alias = "no-TTY")]
    pub(super) no_tty: bool,
    /// Give extended privileges to the process
    #[arg(long)]
    pub(super) privileged: bool,
    /// Run the command as this user
    #[arg(short, long)]
    pub(super) user: Option<String>,
    /// Path to workdir directory for this command
    #[arg(short, long)]
    pub(super) workdir: Option<String>,
    /// The service
    pub(super) service: String,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub(super) command: Vec<String>,
}

/// `fizz exec`.
pub(super) async fn exec(invocation: &Invocation, args: ExecArgs) -> Result<(), CliError> {
    let project = invocation.project_name()?;
    let container =
        containers::one(&invocation.client, &project, &args.service, args.index).await?;
    let tty = !args.no_tty && !args.detach && terminal::is_interactive();
    let request = exec_request(&args, tty, terminal::size());
    let route = Route::to(&["containers", &container.id, "exec"]);
    if args.detach {
        return invocation.client.post::<Value>(&route, &request).await.map(|_| ());
    }
    let session = invocation.client.session(&route, &request).await?;
    match carry(session, Join { tty, stdin: true }, &invocation.output).await? {
        End::Exited(code) => exit_with(code),
        End::Signalled(status) => Err(CliError::Exit(status)),
    }
}

/// What to ask for. A variable without a value takes ours.
fn exec_request(args: &ExecArgs, tty: bool, size: Option<(u16, u16)>) -> Exec {
    let (columns, rows) = size.filter(|_| tty).unwrap_or_default();
    Exec {
        command: args.command.clone(),
        user: args.user.clone(),
        working_dir: args.workdir.clone(),
        environment: variables(&args.env),
        tty,
        columns,
        rows,
        stdin: !args.detach,
        privileged: args.privileged,
        detach: args.detach,
    }
}

/// `NAME` alone takes the value that it has here, if it has one.
#[must_use]
pub(super) fn variables(given: &[String]) -> Vec<String> {
    let resolved = given.iter().filter_map(|one| match one.contains('=') {
        true => Some(one.clone()),
        false => std::env::var(one).ok().map(|value| format!("{one}={value}")),
    });
    resolved.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_become_the_request() {
        let args = ExecArgs {
            env: vec!["A=1".into(), "FIZZ_TEST_NOT_SET".into()],
            user: Some("www".into()),
            workdir: Some("/srv".into()),
            privileged: true,
            command: vec!["ls".into(), "-l".into()],
            ..ExecArgs::default()
        };
        let request = exec_request(&args, true, Some((80, 24)));
        assert_eq!(request.command, ["ls", "-l"]);
        assert_eq!(request.environment, ["A=1"]);
        assert_eq!(
            (request.columns, request.rows, request.tty, request.stdin),
            (80, 24, true, true)
        );
        let piped = exec_request(&args, false, Some((80, 24)));
        assert_eq!((piped.columns, piped.rows, piped.tty), (0, 0, false));
        let detached = ExecArgs { detach: true, ..args };
        assert!(!exec_request(&detached, false, None).stdin);
    }
}
