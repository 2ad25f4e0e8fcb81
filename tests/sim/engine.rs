//! A container runtime that takes its time: to make, to start and to stop. It runs while its node is
//! away, and ends with its machine. An image's name says how it behaves.

use fizz::{
    model::{ContainerId, RuntimeId, RuntimeState, WallTime, spec::PublishedPorts},
    node::{Effect, Event, Failure, Launch, ProbeResult, Sight},
};

use crate::{
    queue::{MILLI, Micros, SECOND},
    runtime::made,
    world::{What, World},
};

/// An image that cannot be made into a container.
pub(crate) const UNMAKEABLE: &str = "unmakeable";
/// One whose container ends by itself after a while.
pub(crate) const CRASHING: &str = "crashing";
/// One whose container never passes a health check.
pub(crate) const BAD: &str = "bad";
/// One whose container does something, and ends.
pub(crate) const TASK: &str = "task";

/// How long a task takes at most.
const TASK_MAX: Micros = 4 * SECOND;

/// How long a stop may take where nobody says.
const GRACE_DEFAULT: Micros = 2 * SECOND;

/// A part of a runtime's work that is done. The number is the life of the node that wanted it.
pub(crate) enum Deed {
    Make(Box<Launch>, u64),
    Run(Box<Launch>, u64),
    End(ContainerId, u64),
    Remove(ContainerId, u64),
    Check(ContainerId, u64),
    Look(ContainerId, u64),
    /// A process ends by itself, with this status: the one that began then.
    Die(RuntimeId, WallTime, i64),
}

impl World {
    /// A node wants something of its runtime.
    pub(crate) fn begin_deed(&mut self, at: usize, run: u64, effect: Effect) {
        let (deed, most) = match effect {
            Effect::Launch(launch) => (Deed::Make(launch, run), 1_500 * MILLI),
            Effect::Start(launch) => (Deed::Run(launch, run), 300 * MILLI),
            Effect::Halt { container, grace, .. } => {
                let grace = grace.map_or(GRACE_DEFAULT, |it| it.0 * MILLI);
                let quick = self.random.below(3) != 0;
                (Deed::End(container, run), if quick { 200 * MILLI } else { grace.max(MILLI) })
            }
            Effect::Discard { container, .. } => (Deed::Remove(container, run), 200 * MILLI),
            Effect::Probe { container, .. } => (Deed::Check(container, run), 50 * MILLI),
            Effect::Signal { container, .. } | Effect::Look(container, _) => {
                (Deed::Look(container, run), 50 * MILLI)
            }
            Effect::Clear { project, .. } => {
                let when = self.soon(200 * MILLI);
                let event = Event::Cleared(project, Ok(()));
                return self.queue.put(when, What::Tell(at, run, event));
            }
            Effect::Persist(_)
            | Effect::Reply(..)
            | Effect::Notify(_)
            | Effect::Send { .. }
            | Effect::Fetch(_)
            | Effect::Unwrap(..)
            | Effect::Place { .. }
            | Effect::Wrap(..)
            | Effect::Gone => return,
        };
        self.note_begun(at, &deed);
        self.put_deed(at, deed, most);
    }

    fn put_deed(&mut self, at: usize, deed: Deed, most: Micros) {
        let when = self.soon(most);
        self.queue.put(when, What::Deed(at, self.machines[at].outages, deed));
    }

    pub(crate) fn deed(&mut self, at: usize, outages: u64, deed: Deed) {
        if self.machines[at].outages != outages {
            return;
        }
        self.note(outages);
        match deed {
            Deed::Make(launch, run) => self.make(at, launch, run),
            Deed::Run(launch, run) => self.run(at, &launch, run),
            Deed::End(container, run) => {
                let code = [0, 143][self.random.below(2)];
                self.end(at, code, |it| it.container == container);
                self.finish(at, run, container, None);
            }
            Deed::Remove(container, run) => {
                self.machines[at].containers.retain(|_, it| it.container != container);
                self.finish(at, run, container, None);
            }
            Deed::Check(container, run) => {
                let result = self.checked(at, container);
                self.tell(at, run, Event::Probed(container, result));
            }
            Deed::Look(container, run) => {
                let sight = self.sight(at, container);
                self.tell(at, run, Event::Seen(container, sight));
            }
            Deed::Die(id, since, code) => {
                let runs = RuntimeState::Running { since, paused: false };
                let dies = |it: &&fizz::model::Observed| it.state == runs;
                let Some(it) = self.machines[at].containers.get(&id).filter(dies) else { return };
                let (container, project) = (it.container, it.project.clone());
                if code != 0 {
                    self.tally.count("containers that ended by themselves");
                    self.orchestra().effort.failed(&project);
                }
                self.end(at, code, |it| it.runtime_id == id);
                let run = self.machines[at].run.as_ref().map(|it| it.number);
                let sight = self.sight(at, container);
                if let Some(run) = run {
                    self.tell(at, run, Event::Seen(container, sight));
                }
            }
        }
    }

    fn make(&mut self, at: usize, launch: Box<Launch>, run: u64) {
        let container = launch.container;
        if launch.spec.image.contains(UNMAKEABLE) {
            let failure = Failure { reason: "there is no such image".into(), passing: false };
            self.tally.count("containers that could not be made");
            self.orchestra().effort.failed(&launch.service.project);
            return self.finish(at, run, container, Some(failure));
        }
        let wall = self.machines[at].now(self.queue.now).wall;
        let id = RuntimeId(format!("{container}").into());
        let all = &mut self.machines[at].containers;
        all.entry(id.clone()).or_insert_with(|| made(id, &launch, wall));
        if launch.no_start {
            return self.finish(at, run, container, None);
        }
        self.put_deed(at, Deed::Run(launch, run), 300 * MILLI);
    }

    fn run(&mut self, at: usize, launch: &Launch, run: u64) {
        let container = launch.container;
        let ports = |ports: &[fizz::model::spec::PortSpec]| {
            let fixed = ports.iter().filter_map(|it| match it.published {
                PublishedPorts::One(port) => Some(port),
                PublishedPorts::Range(..) | PublishedPorts::Any => None,
            });
            fixed.collect::<Vec<_>>()
        };
        let wanted = ports(&launch.spec.ports);
        let taken = self.machines[at].containers.values().any(|it| {
            let runs = matches!(it.state, RuntimeState::Running { .. });
            let theirs = it.ports.iter().any(|it| wanted.contains(&it.published));
            runs && theirs && it.container != container
        });
        if taken {
            self.tally.count("starts that met a taken port");
            let failure = Failure { reason: "the port is taken".into(), passing: false };
            self.orchestra().effort.failed(&launch.service.project);
            return self.finish(at, run, container, Some(failure));
        }
        let since = self.machines[at].now(self.queue.now).wall;
        let id = RuntimeId(format!("{container}").into());
        let Some(it) = self.machines[at].containers.get_mut(&id) else {
            self.orchestra().effort.failed(&launch.service.project);
            let failure = Failure { reason: "there is no such container".into(), passing: false };
            return self.finish(at, run, container, Some(failure));
        };
        if !matches!(it.state, RuntimeState::Running { .. }) {
            it.state = RuntimeState::Running { since, paused: false };
            it.ports = wanted.into_iter().map(port).collect();
            if it.image.0.contains(CRASHING) {
                self.put_deed(at, Deed::Die(id, since, 1), 400 * MILLI);
            } else if it.image.0.contains(TASK) {
                // Now and then it fails, and is tried again.
                let code = i64::from(self.random.below(4) == 0);
                self.put_deed(at, Deed::Die(id, since, code), TASK_MAX);
            }
            self.note_run(at, container);
        }
        self.finish(at, run, container, None);
    }

    /// Processes of a machine end.
    pub(crate) fn end(
        &mut self,
        at: usize,
        code: i64,
        which: impl Fn(&fizz::model::Observed) -> bool,
    ) {
        let wall = self.machines[at].now(self.queue.now).wall;
        for it in self.machines[at].containers.values_mut().filter(|it| which(it)) {
            if matches!(it.state, RuntimeState::Running { .. }) {
                it.state = RuntimeState::Exited { code, oom_killed: false, at: wall };
            }
        }
    }

    /// What a health check of a container says now.
    fn checked(&self, at: usize, container: ContainerId) -> Option<ProbeResult> {
        let it = self.machines[at].containers.values().find(|it| it.container == container)?;
        let RuntimeState::Running { since, .. } = it.state else { return None };
        let ran = self.machines[at].now(self.queue.now).wall.0.saturating_sub(since.0);
        let warm = u64::try_from(container.0 % 1_500).unwrap_or_default() <= ran;
        let passed = warm && !it.image.0.contains(BAD);
        Some(ProbeResult { passed, output: "checked".into() })
    }

    fn sight(&self, at: usize, container: ContainerId) -> Sight {
        let all = self.machines[at].containers.values();
        let there = all.into_iter().find(|it| it.container == container);
        Sight { container: there.cloned().map(Box::new), image_health: None }
    }

    fn finish(&mut self, at: usize, run: u64, container: ContainerId, failed: Option<Failure>) {
        let sight = Some(self.sight(at, container));
        let result = failed.map_or(Ok(()), Err);
        self.tell(at, run, Event::Finished(container, result, sight));
    }

    fn tell(&mut self, at: usize, run: u64, event: Event) {
        let when = self.soon(5 * MILLI);
        self.queue.put(when, What::Tell(at, run, event));
    }

    /// A machine loses its power, and all that runs on it.
    pub(crate) fn cut_off(&mut self, at: usize) {
        self.tally.count("machines without power");
        self.crash(at);
        self.machines[at].outages += 1;
        self.end(at, 137, |_| true);
    }
}

fn port(port: u16) -> fizz::model::ObservedPort {
    fizz::model::ObservedPort {
        protocol: "tcp".into(),
        target: port,
        host_ip: String::new(),
        published: port,
    }
}
