//! What is promised of services that must never run twice, and of those that run to completion.

use std::collections::{BTreeMap, BTreeSet};

use fizz::{
    model::{
        ContainerId, ContainerState, NodeId, ProjectName, Revision, RuntimeState, ServiceKey, Slot,
        Tick,
    },
    state::ContainerRecord,
};

use crate::{
    queue::{Micros, SECOND},
    stacks::Kind,
    world::World,
};

/// How long after a minute its run has completed for certain, where nothing goes wrong.
const RUN_MAX: Micros = 20 * SECOND;

/// What was seen of runs that must be once.
#[derive(Default)]
pub(crate) struct Guarantees {
    /// Where what must never run twice ran last.
    ran_last: BTreeMap<(ProjectName, Slot), usize>,
    /// The containers that completed what each replica was there for.
    completed: BTreeMap<Task, BTreeSet<ContainerId>>,
    /// Since when each deployment that runs by the clock is there.
    pub(crate) timed_since: BTreeMap<ProjectName, Tick>,
}

/// A replica that runs to completion; where each node has one, a node's.
type Task = (ProjectName, Slot, Option<NodeId>, Revision);

impl Guarantees {
    /// A deployment changes: what has run may run again.
    pub(crate) fn renew(&mut self, project: &ProjectName) {
        self.completed.retain(|it, _| it.0 != *project);
    }
}

impl World {
    /// The kind of a service that stories are about.
    pub(crate) fn kind_of(&self, key: &ServiceKey) -> Kind {
        let orchestra = self.orchestra.as_ref();
        let stack = orchestra.and_then(|it| it.stacks.iter().find(|it| it.key() == *key));
        stack.map_or(Kind::Replicated, |it| it.style.kind)
    }

    /// A container has begun to run.
    pub(crate) fn note_run(&mut self, at: usize, container: ContainerId) {
        let all = self.machines[at].containers.values();
        let Some(it) = all.into_iter().find(|it| it.container == container) else { return };
        let key = ServiceKey { project: it.project.clone(), service: it.service.clone() };
        let (slot, name) = (it.slot, it.name.clone());
        if self.kind_of(&key) != Kind::Singleton {
            return;
        }
        let running = self.machines.iter().flat_map(|machine| {
            let same = machine.containers.values().filter(|it| {
                let runs = matches!(it.state, RuntimeState::Running { .. });
                runs && it.project == key.project && it.service == key.service && it.slot == slot
            });
            same.map(|_| machine.index)
        });
        let running: Vec<usize> = running.collect();
        let orchestra = self.orchestra();
        let last = orchestra.guarantees.ran_last.insert((key.project, slot), at);
        let is_kept = orchestra.is_fenced;
        self.tally.count("singletons started");
        if last.is_some_and(|it| it != at) {
            self.tally.count("singletons moved");
        }
        if is_kept && 1 < running.len() {
            self.complain(format!("{name} must never run twice, and does on {running:?}"));
        }
    }

    /// A node has written of one of its containers.
    pub(crate) fn note_record(&mut self, it: &ContainerRecord) {
        let kind = self.kind_of(&it.service);
        if it.given_up {
            self.tally.count("containers given up");
        }
        if !kind.is_job() || !has_completed(it) {
            return;
        }
        let project = it.service.project.clone();
        let node = kind.is_on_each().then_some(it.node);
        let orchestra = self.orchestra();
        let task = (project, it.slot, node, it.revision);
        let completed = orchestra.guarantees.completed.entry(task).or_default();
        if !completed.insert(it.id) {
            return;
        }
        let twice = orchestra.is_calm && 1 < completed.len();
        self.tally.count(match kind {
            Kind::Timed => "ticks run",
            Kind::JobOnEach => "jobs completed on each node",
            Kind::Job | Kind::Replicated | Kind::Global | Kind::Singleton => "jobs completed",
        });
        if twice {
            self.complain(format!("{} was done, and ran again", it.name));
        }
    }

    /// The deployments that run by the clock are there: from now on they run each minute.
    pub(crate) fn await_ticks(&mut self) {
        let tick = Tick::of(self.machines[0].now(self.queue.now).wall);
        let orchestra = self.orchestra();
        let timed = orchestra.stacks.iter().filter(|it| it.style.kind == Kind::Timed);
        orchestra.guarantees.timed_since = timed.map(|it| (it.name.clone(), tick)).collect();
    }

    /// Nothing has gone wrong so far: each tick has run, and all had a place to run.
    pub(crate) fn count_ticks(&mut self) {
        let end = self.machines[0].now(self.queue.now.saturating_sub(RUN_MAX)).wall;
        let end = Tick::of(end);
        let Some(orchestra) = &self.orchestra else { return };
        let guarantees = &orchestra.guarantees;
        let ran = |project: &ProjectName, tick: Tick| {
            guarantees.completed.keys().any(|it| it.0 == *project && it.1 == tick.slot())
        };
        for (project, since) in &guarantees.timed_since {
            let missing = (since.0 + 1..=end.0).find(|it| !ran(project, Tick(*it)));
            if let Some(tick) = missing {
                return self.complain(format!("{project} did not run at {tick}"));
            }
        }
    }
}

/// Whether a container of a job has done what it was there for.
pub(crate) fn has_completed(it: &ContainerRecord) -> bool {
    it.state == ContainerState::Stopped && it.exit_code == Some(0) && !it.held
}
