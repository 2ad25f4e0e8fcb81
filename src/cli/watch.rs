//! Watches a project until it is where a command wants it: events show the way, and what is judged
//! is always the whole as it is now, so that a missed event delays and never deceives.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    Invocation,
    attached::Stop,
    board::Board,
    client::{Events, Route},
    containers, deployments,
    error::CliError,
    format,
    output::{FAINT, styled},
    progress,
    screen::Screen,
};
use crate::{
    api::wire::{Container, LogLine, Service},
    model::WallTime,
};

/// How often the whole is looked at when nothing happens.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// How many of the last log lines of a failed container are shown.
const LAST_LINES: usize = 10;

/// How long a process that nobody checks must have run to be there: one that cannot work mostly ends
/// sooner.
const SETTLED_MS: u64 = 1000;

/// How long a failure must last where nodes may still go back by themselves.
const MAY_GO_BACK: Duration = Duration::from_secs(3);

/// A project as it is now; empty when it is not deployed.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    /// When it was taken.
    pub(super) at: WallTime,
    /// Whether it is deployed at all, be it on its way out.
    pub(super) deployed: bool,
    /// Its services.
    pub(super) services: Vec<Service>,
    /// Its containers, also the ended ones.
    pub(super) containers: Vec<Container>,
    /// Those that ended before the watch began, and have not moved since.
    pub(super) resting: BTreeSet<String>,
}

/// Where a project is on the way to where it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Not there yet.
    Waiting,
    /// There.
    Done,
    /// It will not get there.
    Failed {
        /// Because of this service.
        service: String,
        /// For this reason.
        why: String,
    },
}

/// The services that a command is about; empty is all.
pub(super) type Wanted = BTreeSet<String>;

impl Snapshot {
    /// Those of its services that a command is about.
    pub(super) fn services<'a>(&'a self, wanted: &'a Wanted) -> impl Iterator<Item = &'a Service> {
        self.services.iter().filter(move |it| wanted.is_empty() || wanted.contains(&it.name))
    }

    /// Whether a service's change goes on, and the nodes would go back should it fail.
    fn may_go_back(&self, service: &str) -> bool {
        self.services.iter().filter(|it| it.name == service).any(|it| match it.stage.as_str() {
            "going" | "canary" => it.previous.is_some(),
            stage => stage == "returning",
        })
    }

    fn containers_of<'a>(&'a self, service: &'a str) -> impl Iterator<Item = &'a Container> {
        self.containers.iter().filter(move |it| it.service == service && !it.one_off)
    }
}

/// Every container of the wanted services was started, and those of older revisions are gone.
#[must_use]
pub(super) fn started(now: &Snapshot, wanted: &Wanted) -> Verdict {
    let mut waiting = now.services(wanted).filter(|it| it.intent == "run" && !is_started(now, it));
    verdict(&mut waiting)
}

/// Everything wanted is as wanted.
#[must_use]
pub(super) fn ready(now: &Snapshot, wanted: &Wanted) -> Verdict {
    let unready = |it: &&Service| it.intent == "run" && !it.ready;
    for service in now.services(wanted).filter(unready) {
        let given_up = |it: &&Container| {
            it.revision == service.revision && it.state == "failed" && it.doing.is_none()
        };
        if let Some(container) = now.containers_of(&service.name).find(given_up) {
            let code = container.exit_code.map(|it| format!(" ({it})")).unwrap_or_default();
            let why = container.reason.as_ref().map(|it| format!(": {it}")).unwrap_or_default();
            let why = format!("container {} failed{code}{why}", container.name);
            return Verdict::Failed { service: service.name.clone(), why };
        }
    }
    verdict(&mut now.services(wanted).filter(unready))
}

/// Everything wanted is as wanted, and has been for a moment where nothing but the process itself says
/// that it is well.
#[must_use]
pub(super) fn settled(now: &Snapshot, wanted: &Wanted) -> Verdict {
    let fresh = |it: &Container| {
        it.state == "running" && !it.one_off && now.at.0.abs_diff(it.since_ms) < SETTLED_MS
    };
    let any_fresh = now.services(wanted).any(|service| now.containers_of(&service.name).any(fresh));
    let verdict = ready(now, wanted);
    if verdict == Verdict::Done && any_fresh { Verdict::Waiting } else { verdict }
}

/// Everything is made, whether it runs or not.
#[must_use]
pub(super) fn created(now: &Snapshot, wanted: &Wanted) -> Verdict {
    let mut waiting = now.services(wanted).filter(|it| {
        let made = now
            .containers_of(&it.name)
            .filter(|one| one.revision == it.revision && one.runtime_id.is_some());
        it.intent != "remove" && !has_all(it, made.count())
    });
    verdict(&mut waiting)
}

/// No container of the wanted services runs, or is about to.
#[must_use]
pub(super) fn stopped(now: &Snapshot, wanted: &Wanted) -> Verdict {
    let runs = |it: &Container| {
        (wanted.is_empty() || wanted.contains(&it.service))
            && !it.one_off
            && (containers::is_running(it) || it.doing.as_deref() == Some("stopping"))
    };
    if now.containers.iter().any(runs) { Verdict::Waiting } else { Verdict::Done }
}

/// Nothing of the wanted services is left.
#[must_use]
pub(super) fn gone(now: &Snapshot, wanted: &Wanted) -> Verdict {
    let counts = |name: &String| wanted.is_empty() || wanted.contains(name);
    let left = now.services.iter().any(|it| counts(&it.name))
        || now.containers.iter().any(|it| counts(&it.service) && !it.one_off);
    // A whole project is gone when its networks and volumes are gone, too.
    if left || (wanted.is_empty() && now.deployed) { Verdict::Waiting } else { Verdict::Done }
}

fn is_started(now: &Snapshot, service: &Service) -> bool {
    if service.ready {
        return true;
    }
    let current = |it: &&Container| it.revision == service.revision;
    let started = now
        .containers_of(&service.name)
        .filter(current)
        .filter(|it| it.state != "pending" && !now.resting.contains(&it.id));
    let mut old = now.containers_of(&service.name).filter(|it| !current(it));
    has_all(service, started.count()) && !old.any(containers::is_running)
}

fn has_all(service: &Service, count: usize) -> bool {
    u32::try_from(count).is_ok_and(|count| count >= service.replicas)
}

/// Done when nothing is waited for; failed when something of that is stuck.
fn verdict(waiting: &mut dyn Iterator<Item = &Service>) -> Verdict {
    let mut verdict = Verdict::Done;
    for service in waiting {
        verdict = Verdict::Waiting;
        if let Some(why) = &service.stuck {
            return Verdict::Failed { service: service.name.clone(), why: why.clone() };
        }
    }
    verdict
}

/// A project under watch.
pub(super) struct Watch<'a> {
    invocation: &'a Invocation,
    project: String,
    /// Since when each container that had ended was at its end when the watch began.
    ended: BTreeMap<String, u64>,
    board: Board,
    /// Say so, should a person interrupt.
    goes_on: bool,
    /// Since when something is failing that may yet go back.
    failing: Option<Instant>,
    /// Where progress is seen.
    pub(super) screen: Screen,
}

impl<'a> Watch<'a> {
    /// Takes in what there is before anything changes.
    pub(super) async fn begin(invocation: &'a Invocation, project: &str) -> Result<Self, CliError> {
        let (mut board, mut ended) = (Board::default(), BTreeMap::new());
        for container in containers::list(&invocation.client, project, true).await? {
            board.know(&container);
            if is_over(&container) {
                ended.insert(container.id, container.since_ms);
            }
        }
        let screen = Screen::new(invocation.output);
        let project = project.to_owned();
        Ok(Self { invocation, project, ended, board, goes_on: false, failing: None, screen })
    }

    /// What is watched is carried out by the nodes, whether anybody watches or not. A person who
    /// interrupts is told so.
    pub(super) fn goes_on(&mut self) {
        self.goes_on = true;
    }

    /// Shows what happens from now on until the judge is satisfied.
    pub(super) async fn of_now(
        &mut self,
        judge: impl Fn(&Snapshot) -> Verdict,
    ) -> Result<Snapshot, CliError> {
        let events = self.invocation.client.events(Some(&self.project), None);
        let watched = self.watch(events, judge).await;
        self.screen.finish();
        watched
    }

    /// Shows what happens after an event until the judge is satisfied.
    pub(super) async fn until(
        &mut self,
        event: u64,
        timeout: Option<Duration>,
        judge: impl Fn(&Snapshot) -> Verdict,
    ) -> Result<Snapshot, CliError> {
        let events = self.invocation.client.events(Some(&self.project), Some(event));
        let timeout = timeout.unwrap_or(Duration::from_secs(u64::from(u32::MAX)));
        let watched = tokio::time::timeout(timeout, self.watch(events, judge)).await;
        self.screen.finish();
        watched.unwrap_or_else(|_| {
            Err(CliError::Failed(format!(
                "timeout: project {} is not there after {} s\n  hint: `fizz ps -a -p {0}` shows what \
                 is missing, `fizz logs -p {0}` why; the work goes on",
                self.project,
                timeout.as_secs()
            )))
        })
    }

    async fn watch(
        &mut self,
        mut events: Events,
        judge: impl Fn(&Snapshot) -> Verdict,
    ) -> Result<Snapshot, CliError> {
        let mut stop = Stop::new()?;
        loop {
            let mut now = snapshot(self.invocation, &self.project).await?;
            let rests =
                |it: &&Container| is_over(it) && self.ended.get(&it.id) == Some(&it.since_ms);
            now.resting = now.containers.iter().filter(rests).map(|it| it.id.clone()).collect();
            self.show_changes(&now);
            let verdict = judge(&now);
            match self.in_the_end(&now, verdict) {
                Verdict::Waiting => {}
                Verdict::Done => {
                    self.catch_up(&now);
                    return Ok(now);
                }
                Verdict::Failed { service, why } => {
                    self.catch_up(&now);
                    self.screen.finish();
                    explain(self.invocation, &now, &service).await;
                    let mut text = format!("service {service}: {why}");
                    if let Some(it) = now.services.iter().find(|it| it.name == service) {
                        text += &progress::aftermath(self.invocation, &self.project, it).await;
                    }
                    return Err(CliError::Failed(text));
                }
            }
            self.something_happens(&mut events, &mut stop).await?;
        }
    }

    fn show_changes(&mut self, now: &Snapshot) {
        for service in &now.services {
            if let Some(row) = self.board.change(service) {
                self.screen.show(&row);
            }
        }
    }

    /// A failure counts at once, unless the nodes may yet go back because of it: that says more.
    fn in_the_end(&mut self, now: &Snapshot, verdict: Verdict) -> Verdict {
        let may_go_back = match &verdict {
            Verdict::Waiting | Verdict::Done => false,
            Verdict::Failed { service, .. } => now.may_go_back(service),
        };
        if !may_go_back {
            self.failing = None;
            return verdict;
        }
        let since = *self.failing.get_or_insert_with(Instant::now);
        if since.elapsed() < MAY_GO_BACK { Verdict::Waiting } else { verdict }
    }

    /// Shows events until one may have changed the whole, or some time has passed.
    async fn something_happens(
        &mut self,
        events: &mut Events,
        stop: &mut Stop,
    ) -> Result<(), CliError> {
        let pause = tokio::time::sleep(LOOK_AGAIN);
        tokio::pin!(pause);
        loop {
            tokio::select! {
                event = events.next() => {
                    let event = event?;
                    if let Some(row) = self.board.happened(&event) {
                        self.screen.show(&row);
                    }
                    if !matches!(event.kind.as_str(), "image.progress" | "container.doing") {
                        return Ok(());
                    }
                }
                () = &mut pause => return Ok(()),
                status = stop.next() => {
                    self.screen.finish();
                    if self.goes_on {
                        self.invocation.output.note(&goes_on(&self.project));
                    }
                    return Err(interrupted(status));
                }
            }
        }
    }

    /// Shows what no event told.
    fn catch_up(&mut self, now: &Snapshot) {
        for container in &now.containers {
            if let Some(row) = self.board.see(container) {
                self.screen.show(&row);
            }
        }
    }
}

fn is_over(container: &Container) -> bool {
    matches!(container.state.as_str(), "stopped" | "failed")
}

/// What a person who interrupts must know.
#[must_use]
pub(super) fn goes_on(project: &str) -> String {
    format!("The nodes go on with it; `fizz watch {project}` shows it again.")
}

/// A signal came that ends a command.
pub(super) fn interrupted(status: u8) -> CliError {
    match status {
        super::error::EXIT_INTERRUPTED => CliError::Interrupted,
        status => CliError::Exit(status),
    }
}

/// The project as it is now.
pub(super) async fn snapshot(invocation: &Invocation, project: &str) -> Result<Snapshot, CliError> {
    let client = &invocation.client;
    let containers = containers::list(client, project, true);
    let route = Route::to(&["deployments", project]);
    let (deployment, containers) =
        tokio::join!(deployments::get_optional(client, &route), containers);
    let deployment = deployment?;
    let deployed = deployment.is_some();
    let services = deployment.map(|it| it.services).unwrap_or_default();
    let (at, containers) = (format::now(), containers?);
    Ok(Snapshot { at, deployed, services, containers, resting: BTreeSet::new() })
}

/// Shows the last lines of the containers of a service that did not do well.
async fn explain(invocation: &Invocation, now: &Snapshot, service: &str) {
    let troubled = |it: &&Container| {
        matches!(it.state.as_str(), "failed" | "unhealthy")
            || it.exit_code.is_some_and(|code| code != 0)
    };
    let output = &invocation.output;
    for container in now.containers_of(service).filter(troubled).take(3) {
        let lines = last_lines(invocation, container).await.unwrap_or_default();
        if !lines.is_empty() {
            output.note(&format!("The last lines of {}:", container.name));
        }
        for line in lines {
            output.note(&format!("{} {}", styled(output.colour_err, FAINT, "  |"), line.line));
        }
        if let Some(check) = container.health.iter().rev().find(|it| !it.passed) {
            output.note(&format!("Its last health check said: {}", check.output.trim_end()));
        }
    }
}

async fn last_lines(
    invocation: &Invocation,
    container: &Container,
) -> Result<Vec<LogLine>, CliError> {
    let route = Route::to(&["logs"]).with("container", &container.id).with("tail", LAST_LINES);
    let mut lines = invocation.client.lines(&route).await?;
    let mut all = Vec::new();
    while let Some(line) = lines.next().await? {
        all.push(line);
    }
    Ok(all)
}

/// Services of a test.
#[cfg(test)]
pub(super) mod tests {
    use super::{super::containers::tests::container, *};
    use serde_json::{Value, json};

    /// A service with what matters to a test.
    pub(in crate::cli) fn service(name: &str, more: Value) -> Service {
        let mut all = json!({
            "project": "shop", "name": name, "intent": "run", "image": "x", "mode": "replicated",
            "replicas": 1, "running": 0, "healthy": 0, "ready": false, "revision": "r1",
            "definition": {},
        });
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(all).unwrap()
    }

    fn now(services: Vec<Service>, containers: Vec<Container>) -> Snapshot {
        Snapshot { deployed: true, services, containers, ..Snapshot::default() }
    }

    #[test]
    fn a_service_is_started_when_all_its_replicas_were_and_the_old_ones_rest() {
        let two = || vec![service("web", json!({"replicas": 2}))];
        let one = container("web", 1, "running", json!({}));
        let all = Wanted::new();
        assert_eq!(started(&now(two(), vec![one.clone()]), &all), Verdict::Waiting);
        let ended = container("web", 2, "stopped", json!({"exit_code": 0}));
        assert_eq!(started(&now(two(), vec![one.clone(), ended.clone()]), &all), Verdict::Done);
        let old = container("web", 3, "running", json!({"revision": "r0"}));
        assert_eq!(started(&now(two(), vec![one, ended, old]), &all), Verdict::Waiting);
    }

    #[test]
    fn what_ended_before_was_not_started_by_us() {
        let ended = container("web", 1, "stopped", json!({"exit_code": 143}));
        let mut now = now(vec![service("web", json!({}))], vec![ended]);
        assert_eq!(started(&now, &Wanted::new()), Verdict::Done);
        now.resting.insert("web1".into());
        assert_eq!(started(&now, &Wanted::new()), Verdict::Waiting);
    }

    #[test]
    fn only_the_wanted_services_are_waited_for() {
        let services =
            vec![service("a", json!({"ready": true})), service("b", json!({"stuck": "x"}))];
        let wanted = Wanted::from(["a".to_owned()]);
        assert_eq!(ready(&now(services.clone(), vec![]), &wanted), Verdict::Done);
        let failed = Verdict::Failed { service: "b".into(), why: "x".into() };
        assert_eq!(ready(&now(services, vec![]), &Wanted::new()), failed);
    }

    #[test]
    fn what_nobody_checks_is_there_once_it_ran_for_a_moment() {
        let since = |state: &str| container("web", 1, state, json!({"since_ms": 5000}));
        let at = |ms: u64, container: Container| Snapshot {
            at: WallTime(ms),
            ..now(vec![service("web", json!({"ready": true}))], vec![container])
        };
        let all = Wanted::new();
        assert_eq!(settled(&at(5900, since("running")), &all), Verdict::Waiting);
        assert_eq!(settled(&at(6000, since("running")), &all), Verdict::Done);
        assert_eq!(settled(&at(5001, since("healthy")), &all), Verdict::Done);
        assert_eq!(settled(&at(5001, since("stopped")), &all), Verdict::Done);
    }

    #[test]
    fn a_container_that_was_given_up_ends_the_wait_and_one_that_restarts_does_not() {
        let all = Wanted::new();
        let restarting = container("web", 1, "failed", json!({"doing": "restarting in 1s"}));
        let services = || vec![service("web", json!({}))];
        assert_eq!(ready(&now(services(), vec![restarting]), &all), Verdict::Waiting);
        let failed = container("web", 1, "failed", json!({"exit_code": 2, "reason": "no luck"}));
        let why = "container shop-web-1 failed (2): no luck".to_owned();
        let verdict = Verdict::Failed { service: "web".into(), why };
        assert_eq!(ready(&now(services(), vec![failed]), &all), verdict);
    }

    #[test]
    fn stopped_and_gone_are_told_apart() {
        let all = Wanted::new();
        let rests =
            now(vec![service("a", json!({}))], vec![container("a", 1, "stopped", json!({}))]);
        assert_eq!(stopped(&rests, &all), Verdict::Done);
        assert_eq!(gone(&rests, &all), Verdict::Waiting);
        assert_eq!(gone(&Snapshot::default(), &all), Verdict::Done);
        assert_eq!(gone(&now(vec![], vec![]), &all), Verdict::Waiting);
        assert_eq!(gone(&now(vec![], vec![]), &Wanted::from(["a".to_owned()])), Verdict::Done);
        let stopping = container("a", 1, "running", json!({"doing": "stopping"}));
        assert_eq!(stopped(&now(vec![], vec![stopping]), &all), Verdict::Waiting);
    }
}
