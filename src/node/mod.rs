//! A member of the cluster as a value: events go in, effects come out.
//!
//! [`Node::handle`] is the whole orchestrator. It owns no clock, no socket, no file and no task; the
//! daemon carries its effects out and brings back what happened. Whatever the event, the tail is the
//! same: settle what is wanted against what is, and check the health that is due.

mod definition;
mod deploy;
mod effect;
mod event;
mod intent;
mod local;
mod peers;
mod request;
mod settle;
mod sight;
#[cfg(test)]
mod tests;
mod view;
mod wellbeing;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

pub use crate::model::Now;
pub use effect::{Activity, Effect, Launch, Notice, Subject};
pub use event::{Event, Failure, ProbeResult, Sight};
pub use request::{
    DeployRequest, DownRequest, Planned, PlannedAction, PlannedService, Refusal, Request,
    RequestId, Response, RunRequest, ServiceVerb,
};
pub use view::{CheckResult, RuntimeStatus, View};

use crate::{
    model::{
        ContainerEvent, ContainerId, ContainerState, Moment, NodeId, NodeState, ProjectName,
        Random, ServiceKey, spec::ProjectSpec,
    },
    state::{Change, ClusterState, ContainerRecord, NodeRecord, Step},
};
use local::Local;

/// A member of the cluster.
#[derive(Debug)]
pub struct Node {
    me: NodeId,
    facts: NodeRecord,
    state: ClusterState,
    random: Random,
    projects: BTreeMap<ProjectName, Arc<ProjectSpec>>,
    local: BTreeMap<ContainerId, Local>,
    /// Containers that nobody remembers and that are being looked at again.
    strangers: BTreeSet<ContainerId>,
    clearing: BTreeMap<ProjectName, Clearing>,
    stuck: BTreeMap<ServiceKey, Arc<str>>,
    ready: BTreeSet<ServiceKey>,
    runtime: RuntimeStatus,
    steps: Vec<Step>,
    effects: Vec<Effect>,
}

/// How far the removal of a project's networks and volumes is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clearing {
    /// Under way.
    Begun,
    /// It failed and may work later.
    Stalled(Moment),
}

impl Node {
    /// A node that knows what its disk knew. `facts` is its own record as measured now; `seed` makes
    /// its random choices. A deployment on disk that this version cannot read is reported as stuck,
    /// and its containers are left alone.
    #[must_use]
    pub fn new(me: NodeId, facts: NodeRecord, state: ClusterState, seed: u64) -> Self {
        let mut node = Self {
            me,
            facts: NodeRecord { state: NodeState::Alive, ..facts },
            state,
            random: Random::new(seed),
            projects: BTreeMap::new(),
            local: BTreeMap::new(),
            strangers: BTreeSet::new(),
            clearing: BTreeMap::new(),
            stuck: BTreeMap::new(),
            ready: BTreeSet::new(),
            runtime: RuntimeStatus::Unknown,
            steps: vec![],
            effects: vec![],
        };
        let names: Vec<ProjectName> =
            node.state.deployments().iter().map(|(name, _)| name.clone()).collect();
        for name in names {
            node.decode(&name);
        }
        node
    }

    /// Takes one step.
    pub fn handle(&mut self, event: Event, now: Now) -> Vec<Effect> {
        self.introduce(now);
        match event {
            Event::Asked(id, request) => {
                let answer = self.asked(request, now);
                self.effects.push(Effect::Reply(id, answer));
            }
            Event::RuntimeFound(what) => self.facts.runtime = Some(what.to_string()),
            Event::Observed(list, health) => self.observed(list, &health, now),
            Event::RuntimeLost(why) => self.runtime_lost(why),
            Event::Seen(container, sight) => self.seen(container, sight, now),
            Event::Progressed(container, activity) => self.progressed(container, activity),
            Event::Finished(container, result, sight) => {
                self.finished(container, result, sight, now);
            }
            Event::Cleared(project, result) => self.cleared(&project, result, now),
            Event::Probed(container, result) => self.probed(container, result, now),
            Event::Tick => {}
        }
        for local in self.local.values_mut() {
            local.wake(now.moment);
        }
        self.clearing.retain(|_, it| match it {
            Clearing::Begun => true,
            Clearing::Stalled(until) => now.moment < *until,
        });
        self.introduce(now);
        self.settle(now);
        self.probe(now);
        self.answer()
    }

    /// When it wants the next [`Event::Tick`], if nothing happens before.
    #[must_use]
    pub fn next_wake(&self) -> Option<Moment> {
        let containers = self.local.values().filter_map(Local::due);
        let clearing = self.clearing.values().filter_map(|it| match it {
            Clearing::Begun => None,
            Clearing::Stalled(until) => Some(*until),
        });
        containers.chain(clearing).min()
    }

    /// What others may read now.
    #[must_use]
    pub fn view(&self) -> View {
        let doing = |(&id, local): (&ContainerId, &Local)| Some((id, local.activity.clone()?));
        let checks = |(&id, local): (&ContainerId, &Local)| {
            (!local.checks.is_empty()).then(|| (id, local.checks.iter().cloned().collect()))
        };
        View {
            me: self.me,
            state: Arc::new(self.state.clone()),
            projects: self.projects.clone(),
            doing: self.local.iter().filter_map(doing).collect(),
            checks: self.local.iter().filter_map(checks).collect(),
            stuck: self.stuck.clone(),
            ready: self.ready.clone(),
            runtime: self.runtime.clone(),
        }
    }

    /// Writes this node's own record if it is not as it should be.
    fn introduce(&mut self, now: Now) {
        let known = self.state.nodes().get(&self.me);
        let since = known.filter(|it| it.state == self.facts.state).map_or(now.wall, |it| it.since);
        let record = NodeRecord { since, ..self.facts.clone() };
        if known.is_none_or(|known| **known != record) {
            let state = Some(record.state.to_string());
            self.commit(Change::Node(self.me, Some(Arc::new(record))), now);
            self.notify("node.state", Subject::Node, state, None);
        }
    }

    /// What this step comes to: its writes first.
    fn answer(&mut self) -> Vec<Effect> {
        let effects = std::mem::take(&mut self.effects);
        let mut steps = std::mem::take(&mut self.steps);
        if steps.is_empty() {
            return effects;
        }
        // There are no other members yet, who would have to know of what was removed.
        let collected = self.state.collect(&BTreeMap::new());
        if !collected.is_empty() {
            steps.push(collected);
        }
        let mut all = vec![Effect::Persist(steps)];
        all.extend(effects);
        all
    }

    fn commit(&mut self, change: Change, now: Now) {
        let step = self.state.commit(change, now.wall);
        self.steps.push(step);
    }

    /// Changes a container's record, if that changes anything.
    fn amend(&mut self, id: ContainerId, now: Now, change: impl FnOnce(&mut ContainerRecord)) {
        let Some(known) = self.state.container(id) else { return };
        let mut record = (**known).clone();
        change(&mut record);
        if record != **known {
            self.commit(Change::Container(id, Some(Arc::new(record))), now);
        }
    }

    /// Moves a container along its life. An event that its state does not allow changes nothing: the
    /// world may report late.
    fn transition(
        &mut self,
        id: ContainerId,
        event: ContainerEvent,
        reason: Option<Arc<str>>,
        now: Now,
    ) {
        let Some(record) = self.state.container(id) else { return };
        if (record.state, event) == (ContainerState::Healthy, ContainerEvent::Crashed) {
            // What has crashed is not healthy; the architecture has no arrow past that.
            self.transition(id, ContainerEvent::Sickened, reason.clone(), now);
        }
        let Some(record) = self.state.container(id) else { return };
        let Ok(state) = record.state.next(event) else { return };
        if state == record.state {
            return;
        }
        self.amend(id, now, |record| {
            (record.state, record.since, record.reason) = (state, now.wall, reason.clone());
        });
        self.tell(id, state, reason);
    }

    fn tell(&mut self, id: ContainerId, state: ContainerState, reason: Option<Arc<str>>) {
        let Some(record) = self.state.container(id) else { return };
        let subject = Subject::Container(id, record.service.clone(), record.name.clone());
        let exit_code = record.exit_code.filter(|_| state.is_over());
        let notice = Notice::container_state(subject, state, reason, exit_code);
        self.effects.push(Effect::Notify(notice));
    }

    fn notify(
        &mut self,
        kind: &'static str,
        subject: Subject,
        state: Option<String>,
        reason: Option<Arc<str>>,
    ) {
        self.effects.push(Effect::Notify(Notice { kind, subject, state, reason, exit_code: None }));
    }

    fn subject(&self, id: ContainerId) -> Option<Subject> {
        let record = self.state.container(id)?;
        Some(Subject::Container(id, record.service.clone(), record.name.clone()))
    }
}
