//! `up` that stays: the output of the services until they end, or until a person ends them.

use std::{collections::BTreeSet, time::Duration};

use super::{
    Invocation,
    actions::act,
    attached::Stop,
    client::{Lines, Route},
    containers::exit_with,
    error::CliError,
    follow::{LineStyle, LineWriter, write_arrived},
    output::Output,
    progress::{self, Waiting},
    up::UpArgs,
    watch::{self, Snapshot, Verdict, Wanted, Watch, snapshot},
};
use crate::{
    api::wire::{Deployed, Event, LogLine, ServiceAction},
    model::WallTime,
};

/// How long the last lines of ended containers are waited for.
const LAST_LINES: Duration = Duration::from_millis(300);

/// How often the whole is looked at when nothing happens.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// What ends everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Abort {
    /// Only a person, or the end of all containers.
    Never,
    /// The end of any container.
    OnExit,
    /// The end of any container with a status other than 0.
    OnFailure,
}

impl Abort {
    /// What the options say.
    #[must_use]
    pub(super) fn of(args: &UpArgs) -> Self {
        match (
            args.abort_on_container_exit || args.exit_code_from.is_some(),
            args.abort_on_container_failure,
        ) {
            (true, _) => Self::OnExit,
            (false, true) => Self::OnFailure,
            (false, false) => Self::Never,
        }
    }

    fn ends(self, code: i64) -> bool {
        match self {
            Self::Never => false,
            Self::OnExit => true,
            Self::OnFailure => code != 0,
        }
    }
}

/// Why everything is being stopped, if it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It is not.
    Running,
    /// A container ended with this status.
    Aborting(i64),
    /// A person asked, and the command exits with this status.
    Interrupted(u8),
    /// They asked twice.
    Killing(u8),
}

/// A project in the foreground.
pub(super) struct Foreground<'a> {
    /// Whom to ask.
    pub(super) invocation: &'a Invocation,
    /// The project.
    pub(super) project: &'a str,
    /// The services whose output is shown.
    pub(super) attached: BTreeSet<String>,
    /// How long containers may take to stop.
    pub(super) timeout_ms: Option<u64>,
    /// What ends everything.
    pub(super) abort: Abort,
    /// The service whose status becomes the command's.
    pub(super) exit_code_from: Option<String>,
    /// How lines are written.
    pub(super) style: LineStyle,
}

impl Foreground<'_> {
    /// Shows the start, then the output.
    pub(super) async fn run(
        &self,
        watch: &mut Watch<'_>,
        deployed: &Deployed,
        since: WallTime,
        wanted: &Wanted,
        waiting: &Waiting,
    ) -> Result<(), CliError> {
        let there = |now: &Snapshot| waiting.judge(now, wanted, watch::started);
        let mut started = watch.until(deployed.event, None, there).await;
        let mut phase = Phase::Running;
        if let Err(CliError::Interrupted) = started {
            // What runs already is not stopped by who only wanted to change it.
            if deployed.plan.services.iter().any(|it| it.action == "replace") {
                self.invocation.output.note(&watch::goes_on(self.project));
                return Err(CliError::Interrupted);
            }
            phase = self.interrupted(phase, super::error::EXIT_INTERRUPTED, wanted).await?;
            started = snapshot(self.invocation, self.project).await;
        }
        let now = started?;
        let output = &self.invocation.output;
        progress::left_to_a_person(&now, wanted).iter().for_each(|it| output.note(it));
        let route = Route::to(&["logs"])
            .with("project", self.project)
            .with("service", self.shown().join(","))
            .with_flag("follow", true)
            .with("since_ms", since.0);
        let mut lines = match self.attached.is_empty() {
            true => None,
            false => Some(self.invocation.client.lines::<LogLine>(&route).await?),
        };
        let names = now.containers.iter().filter(|it| self.attached.contains(&it.service));
        let mut writer = LineWriter::new(self.style.clone(), names.map(|it| it.name.as_str()));
        self.invocation.output.note(&format!("Attaching to {}", self.shown().join(", ")));
        let phase = self.stay(&mut lines, &mut writer, deployed.event, wanted, phase).await?;
        self.last_lines(&mut lines, &mut writer).await?;
        self.end(phase).await
    }

    fn shown(&self) -> Vec<&str> {
        self.attached.iter().map(String::as_str).collect()
    }

    /// Carries lines until no container of the wanted services is left running.
    async fn stay(
        &self,
        lines: &mut Option<Lines<LogLine>>,
        writer: &mut LineWriter,
        since: u64,
        wanted: &Wanted,
        mut phase: Phase,
    ) -> Result<Phase, CliError> {
        let output = &self.invocation.output;
        let mut events = self.invocation.client.events(Some(self.project), Some(since));
        let mut stop = Stop::new()?;
        let mut look = tokio::time::interval(LOOK_AGAIN);
        loop {
            tokio::select! {
                more = arrived(lines, writer, output) => if !more? {
                    *lines = None;
                },
                event = events.next() => {
                    if let Some(code) = self.ended(&event?, wanted)
                        && phase == Phase::Running
                        && self.abort.ends(code)
                    {
                        output.note("Aborting on container exit...");
                        self.act("stop", wanted).await?;
                        phase = Phase::Aborting(code);
                    }
                }
                _ = look.tick() => {
                    if at_rest(&snapshot(self.invocation, self.project).await?, wanted) {
                        return Ok(phase);
                    }
                }
                status = stop.next() => phase = self.interrupted(phase, status, wanted).await?,
            }
        }
    }

    /// The status of a container of the wanted services that this event says has ended.
    fn ended(&self, event: &Event, wanted: &Wanted) -> Option<i64> {
        let ended = event.kind == "container.state"
            && matches!(event.state.as_deref(), Some("stopped" | "failed"))
            && event.service.as_ref().is_some_and(|it| wanted.contains(it));
        let code = event.exit_code.filter(|_| ended)?;
        let name = event.name.as_deref().unwrap_or_default();
        let short =
            name.strip_prefix(self.project).and_then(|it| it.strip_prefix('-')).unwrap_or(name);
        self.invocation.output.note(&format!("{short} exited with code {code}"));
        Some(code)
    }

    /// The first time asks for a graceful stop, the second kills, the third leaves.
    async fn interrupted(
        &self,
        phase: Phase,
        status: u8,
        wanted: &Wanted,
    ) -> Result<Phase, CliError> {
        let output = &self.invocation.output;
        match phase {
            Phase::Running | Phase::Aborting(_) => {
                output.note("Gracefully Stopping... press Ctrl+C again to force");
                self.act("stop", wanted).await?;
                Ok(Phase::Interrupted(status))
            }
            Phase::Interrupted(status) => {
                output.note("Killing...");
                self.act("kill", wanted).await?;
                Ok(Phase::Killing(status))
            }
            Phase::Killing(status) => Err(CliError::Exit(status)),
        }
    }

    async fn act(&self, name: &str, wanted: &Wanted) -> Result<(), CliError> {
        let action = ServiceAction {
            action: name.to_owned(),
            services: wanted.iter().cloned().collect(),
            timeout_ms: self.timeout_ms.filter(|_| name == "stop"),
            signal: (name == "kill").then(|| "SIGKILL".to_owned()),
            ..ServiceAction::default()
        };
        act(self.invocation, self.project, &action).await.map(|_| ())
    }

    async fn last_lines(
        &self,
        lines: &mut Option<Lines<LogLine>>,
        writer: &mut LineWriter,
    ) -> Result<(), CliError> {
        let output = &self.invocation.output;
        while let Ok(more) = tokio::time::timeout(LAST_LINES, arrived(lines, writer, output)).await
        {
            if !more? {
                break;
            }
        }
        Ok(())
    }

    /// The command's status.
    async fn end(&self, phase: Phase) -> Result<(), CliError> {
        match phase {
            Phase::Interrupted(status) | Phase::Killing(status) => Err(CliError::Exit(status)),
            Phase::Aborting(code) if self.exit_code_from.is_none() => exit_with(code),
            Phase::Running | Phase::Aborting(_) => match &self.exit_code_from {
                None => Ok(()),
                Some(service) => {
                    let now = snapshot(self.invocation, self.project).await?;
                    let of =
                        now.containers.iter().filter(|it| it.service == *service && !it.one_off);
                    exit_with(of.filter_map(|it| it.exit_code).next_back().unwrap_or_default())
                }
            },
        }
    }
}

/// Writes what has arrived; waits for ever where nothing is followed.
async fn arrived(
    lines: &mut Option<Lines<LogLine>>,
    writer: &mut LineWriter,
    output: &Output,
) -> Result<bool, CliError> {
    match lines {
        Some(lines) => write_arrived(lines, writer, output).await,
        None => std::future::pending().await,
    }
}

/// Nothing runs and nothing is about to.
fn at_rest(now: &Snapshot, wanted: &Wanted) -> bool {
    let busy = |it: &crate::api::wire::Container| {
        wanted.contains(&it.service) && !it.one_off && (it.doing.is_some() || it.state == "pending")
    };
    watch::stopped(now, wanted) == Verdict::Done && !now.containers.iter().any(busy)
}

#[cfg(test)]
mod tests {
    use super::{super::containers::tests::container, *};
    use serde_json::json;

    #[test]
    fn the_end_of_a_container_ends_all_only_where_that_was_asked_for() {
        assert!(!Abort::Never.ends(1));
        assert!(Abort::OnExit.ends(0));
        assert!(Abort::OnFailure.ends(1) && !Abort::OnFailure.ends(0));
    }

    #[test]
    fn a_container_that_restarts_is_not_at_rest() {
        let wanted = Wanted::from(["web".to_owned()]);
        let now = |state: &str, doing: serde_json::Value| Snapshot {
            deployed: true,
            containers: vec![
                container("web", 1, state, doing),
                container("other", 1, "running", json!({})),
            ],
            ..Snapshot::default()
        };
        assert!(at_rest(&now("stopped", json!({})), &wanted));
        assert!(!at_rest(&now("failed", json!({"doing": "restarting in 2s"})), &wanted));
        assert!(!at_rest(&now("running", json!({})), &wanted));
        assert!(!at_rest(&now("pending", json!({})), &wanted));
    }
}
