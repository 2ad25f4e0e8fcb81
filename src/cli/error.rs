//! Everything that can end a command early, what it says and the status it exits with.

use std::io;

use crate::{
    api::wire,
    compose::problem::{Problems, Severity},
};

/// The status of a command that a person interrupted: 128 and SIGINT's number.
pub(super) const EXIT_INTERRUPTED: u8 = 130;

/// The status of a command whose reader went away: 128 and SIGPIPE's number.
const EXIT_PIPE: u8 = 141;

/// Why a command ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    /// The command makes no sense as given.
    #[error("{0}")]
    Usage(String),
    /// The daemon refused; it said what, why and what to do.
    #[error("{}", problem_text(.0))]
    Refused(Box<wire::Problem>),
    /// The daemon cannot be reached, or what answers is no daemon of ours.
    #[error("{what}\n  hint: {hint}")]
    Daemon {
        /// What happened, and where.
        what: String,
        /// What to do next.
        hint: String,
    },
    /// The Compose files are wrong.
    #[error("{}", listed(.0))]
    Compose(Box<Problems>),
    /// There is no Compose file.
    #[error("{0}")]
    NoComposeFile(String),
    /// A file, a directory or a terminal failed.
    #[error("{what}: {why}")]
    Io {
        /// What was tried: "can't read ./Dockerfile".
        what: String,
        /// The system's reason.
        why: io::Error,
    },
    /// Whatever was waited for did not come about.
    #[error("{0}")]
    Failed(String),
    /// Everything is said; this is the status.
    #[error("exit status {0}")]
    Exit(u8),
    /// A person interrupted.
    #[error("interrupted")]
    Interrupted,
    /// The reader of our output is gone.
    #[error("the reader of the output is gone")]
    Pipe,
}

impl CliError {
    /// A failure of a file, with what was tried.
    pub(super) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |why| Self::Io { what: what.into(), why }
    }

    /// The command's exit status, as `docker compose` has it.
    #[must_use]
    pub(super) fn status(&self) -> u8 {
        match self {
            Self::Exit(status) => *status,
            Self::Interrupted => EXIT_INTERRUPTED,
            Self::Pipe => EXIT_PIPE,
            Self::Usage(_)
            | Self::Refused(_)
            | Self::Daemon { .. }
            | Self::Compose(_)
            | Self::NoComposeFile(_)
            | Self::Io { .. }
            | Self::Failed(_) => 1,
        }
    }

    /// What a person reads on standard error, if there is anything to say.
    #[must_use]
    pub(super) fn message(&self) -> Option<String> {
        match self {
            Self::Exit(_) | Self::Interrupted | Self::Pipe => None,
            Self::Usage(_)
            | Self::Refused(_)
            | Self::Daemon { .. }
            | Self::Compose(_)
            | Self::NoComposeFile(_)
            | Self::Io { .. }
            | Self::Failed(_) => Some(self.to_string()),
        }
    }

    /// Whether the daemon refused for a reason of this name.
    #[must_use]
    pub(super) fn is_kind(&self, kind: &str) -> bool {
        matches!(self, Self::Refused(problem) if problem.kind.strip_prefix("urn:fizz:") == Some(kind))
    }

    /// Whether the daemon says that it has no such thing.
    #[must_use]
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused(problem) if problem.status == 404)
    }
}

/// A problem as lines: what, every single fault, what to do.
#[must_use]
pub(super) fn problem_text(problem: &wire::Problem) -> String {
    let mut text = match problem.detail.is_empty() {
        true => problem.title.clone(),
        false => problem.detail.clone(),
    };
    for line in &problem.problems {
        text.push_str(&format!("\n  {line}"));
    }
    if !problem.hint.is_empty() {
        text.push_str(&format!("\n  hint: {}", problem.hint));
    }
    text
}

/// Problems of Compose files as lines, warnings marked as such.
#[must_use]
pub(super) fn listed(problems: &Problems) -> String {
    let lines = problems.sorted().into_iter().map(|it| match it.severity {
        Severity::Error => problems.line(it),
        Severity::Warning => format!("warning: {}", problems.line(it)),
    });
    let mut lines: Vec<String> = lines.collect();
    lines.extend(problems.unlisted().map(|it| format!("and {it} more problems")));
    lines.join("\n")
}

/// What a process's status is to a shell, which knows eight bits.
#[must_use]
pub(super) fn shell_status(exit_code: i64) -> u8 {
    u8::try_from(exit_code).unwrap_or(if exit_code == 0 { 0 } else { 255 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_every_fault_and_what_to_do() {
        let problem = wire::Problem {
            kind: "urn:fizz:invalid".into(),
            title: "the model is not valid".into(),
            status: 422,
            detail: "2 services can't be read".into(),
            hint: "mend them".into(),
            problems: vec!["services.a: x".into(), "services.b: y".into()],
        };
        assert_eq!(
            problem_text(&problem),
            "2 services can't be read\n  services.a: x\n  services.b: y\n  hint: mend them"
        );
    }

    #[test]
    fn a_status_that_a_shell_cannot_hold_is_still_a_failure() {
        assert_eq!(shell_status(0), 0);
        assert_eq!(shell_status(137), 137);
        assert_eq!(shell_status(256), 255);
        assert_eq!(shell_status(-1), 255);
    }
}
