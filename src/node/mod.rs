//! A member of the cluster as a value: events go in, effects come out.
//!
//! [`Node::handle`] is the whole orchestrator. It owns no clock, no socket, no file and no task; the
//! daemon carries its effects out and brings back what happened. Whatever the event, the tail is the
//! same: settle what is wanted against what is, and check the health that is due.

mod agenda;
mod cluster;
mod cron;
mod definition;
mod deploy;
mod effect;
mod event;
mod fleet;
mod intent;
mod job;
mod layout;
mod local;
mod membership;
mod migrate;
mod news;
mod overlay;
mod peers;
mod perform;
mod placement;
mod quorum;
mod request;
mod rivals;
mod rollout;
mod settle;
mod sight;
mod singleton;
#[cfg(test)]
mod tests;
mod upkeep;
mod view;
mod volumes;
mod wellbeing;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

pub use crate::model::Now;
pub use cluster::{MeshSeat, NO_RUNTIME, Seat};
pub use effect::{Activity, Effect, Fetch, Launch, Notice, Subject};
pub use event::{Event, Failure, ProbeResult, Reception, Sight, Underlay};
pub use membership::{AdmitRequest, Rotation};
pub use placement::Places;
pub use request::{
    DeployRequest, DownRequest, Explained, MigrateRequest, Planned, PlannedAction, PlannedService,
    Refusal, Request, RequestId, Response, RollbackRequest, RolloutVerb, RunRequest, ServiceVerb,
};
pub use view::{CheckResult, ClusterView, Contact, RuntimeStatus, Standing, Traffic, View};
pub use volumes::Holdings;

use crate::{
    gossip::Input,
    model::{
        ContainerEvent, ContainerId, ContainerState, Moment, NodeId, NodeState, ProjectName,
        Random, ServiceKey, WallTime,
    },
    scheduler::Sites,
    state::{
        Change, ClusterState, ContainerRecord, MeshRecord, NodeRecord, SecretPath, Step, Write,
    },
};
use agenda::Agenda;
use cluster::Cluster;
use fleet::Fleet;
use layout::Layout;
use local::Local;
use news::News;
use overlay::Overlay;
use quorum::Quorum;

/// A member of the cluster.
#[derive(Debug)]
pub struct Node {
    me: NodeId,
    facts: NodeRecord,
    /// What volumes are here, once the runtime has told.
    holdings: Option<Holdings>,
    state: Arc<ClusterState>,
    cluster: Option<Box<Cluster>>,
    random: Random,
    layouts: BTreeMap<ProjectName, Layout>,
    /// Where replicas were to be when they were last looked at.
    places: BTreeMap<ProjectName, Places>,
    sites: Sites,
    /// How the nodes stood when they were last looked at, and which had left.
    standings: BTreeMap<NodeId, (Option<NodeState>, bool)>,
    sites_stale: bool,
    agenda: Agenda,
    fleet: Fleet,
    local: BTreeMap<ContainerId, Local>,
    /// Containers that nobody remembers and that are being looked at again.
    strangers: BTreeSet<ContainerId>,
    clearing: BTreeMap<ProjectName, Clearing>,
    stuck: BTreeMap<ServiceKey, Arc<str>>,
    ready: BTreeSet<ServiceKey>,
    /// Projects with services that must never run twice.
    singletons: BTreeSet<ProjectName>,
    quorum: Quorum,
    runtime: RuntimeStatus,
    steps: Vec<Step>,
    wrote: Vec<Write>,
    nodes_changed: BTreeSet<NodeId>,
    /// Its part in the overlay, if there is one.
    overlay: Option<Overlay>,
    news: News,
    leaving: bool,
    persists: u64,
    effects: Vec<Effect>,
}

/// How far the removal of a project's networks and volumes is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clearing {
    /// Under way.
    Begun,
    /// It failed and may work later.
    Stalled(Moment),
    /// This node's part is gone; the deployment is for its home to forget.
    Done,
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
            holdings: None,
            news: News::none_of(&state),
            state: Arc::new(state),
            cluster: None,
            random: Random::new(seed),
            layouts: BTreeMap::new(),
            places: BTreeMap::new(),
            sites: Sites::default(),
            standings: BTreeMap::new(),
            sites_stale: true,
            agenda: Agenda::default(),
            fleet: Fleet::default(),
            local: BTreeMap::new(),
            strangers: BTreeSet::new(),
            clearing: BTreeMap::new(),
            stuck: BTreeMap::new(),
            ready: BTreeSet::new(),
            singletons: BTreeSet::new(),
            quorum: Quorum::default(),
            runtime: RuntimeStatus::Unknown,
            steps: vec![],
            wrote: vec![],
            nodes_changed: BTreeSet::new(),
            overlay: None,
            leaving: false,
            persists: 0,
            effects: vec![],
        };
        let names: Vec<ProjectName> =
            node.state.deployments().iter().map(|(name, _)| name.clone()).collect();
        for name in names {
            node.decode(&name);
        }
        let containers: Vec<ContainerId> = node.state.containers().map(|it| it.id).collect();
        for id in containers {
            node.note_container(id, Moment::default());
        }
        node.recall_addresses();
        node
    }

    /// The same node as a member of a cluster.
    #[must_use]
    pub fn seated(mut self, seat: Seat, now: Now) -> Self {
        let seed = self.random.bits();
        self.facts.incarnation = seat.life;
        if let Some(MeshSeat { plan, key, endpoints, degraded }) = seat.mesh.clone() {
            self.overlay = Some(Overlay::new(plan));
            // What was found out stays until something else is.
            let known = self.state.nodes().get(&self.me).and_then(|it| it.mesh.clone());
            let (heard, missed, claims) =
                known.map(|it| (it.heard, it.missed, it.claims)).unwrap_or_default();
            self.facts.mesh = Some(MeshRecord { key, endpoints, heard, missed, degraded, claims });
        }
        self.cluster = Some(Box::new(Cluster::new(&self, seat, seed, now)));
        self.take_seat(now);
        self
    }

    /// Takes one step.
    pub fn handle(&mut self, event: Event, now: Now) -> Vec<Effect> {
        if self.must_wait(&event) {
            self.hold(event);
            return self.answer(now);
        }
        let due = self.local_wake().is_some_and(|it| it <= now.moment);
        let mut stirred = self.take(event, now) | due;
        for event in self.released() {
            stirred |= self.take(event, now);
        }
        if stirred && self.may_write() {
            self.look_around(now);
        }
        self.tidy(now);
        self.answer(now)
    }

    /// Takes an event in. Whether anything is to be settled.
    fn take(&mut self, event: Event, now: Now) -> bool {
        self.stir_by(&event);
        match event {
            Event::Datagram(from, datagram) => return self.received(from, &datagram, now),
            Event::Persisted(groups) => {
                self.persisted(groups);
                return false;
            }
            Event::Fetched(from, writes) => {
                return self.converse(Input::Fetched(from, writes), now);
            }
            Event::FetchEnded(from, how) => {
                return self.converse(Input::FetchEnded(from, how), now);
            }
            Event::Unwrapped(epoch, key) => self.unwrapped(epoch, key),
            Event::Underlay(it) => self.moved(*it),
            Event::Seek(nodes) => return self.converse(Input::Try(nodes), now),
            Event::Reception(container, how) => return self.received_so(container, how, now),
            Event::Tick if self.cluster.is_some() => return self.converse(Input::Tick, now),
            Event::Tick => {}
            Event::Asked(id, request) => {
                self.introduce(now);
                let answer = self.asked(request, now);
                self.effects.push(Effect::Reply(id, answer));
            }
            Event::RuntimeFound(what) => self.facts.runtime = Some(what.to_string()),
            Event::Observed(list, health) => self.observed(list, &health, now),
            Event::Volumes(holdings) => self.holds(holdings),
            Event::RuntimeLost(why) => self.runtime_lost(why),
            Event::Seen(container, sight) => self.seen(container, sight, now),
            Event::Progressed(container, activity) => self.progressed(container, activity),
            Event::Finished(container, result, sight) => {
                self.finished(container, result, sight, now);
            }
            Event::Cleared(project, result) => self.cleared(&project, result, now),
            Event::Probed(container, result) => self.probed(container, result, now),
        }
        true
    }

    /// Notes what an event that others did not write may change.
    fn stir_by(&mut self, event: &Event) {
        match event {
            Event::Observed(..) | Event::RuntimeLost(_) | Event::RuntimeFound(_) => {
                self.agenda.stir_all();
            }
            Event::Seen(container, _)
            | Event::Progressed(container, _)
            | Event::Finished(container, ..)
            | Event::Probed(container, _)
            | Event::Asked(_, Request::Release(container) | Request::Remove { container, .. }) => {
                if let Some(record) = self.state.container(*container) {
                    self.agenda.stir(&record.service.project);
                }
            }
            Event::Cleared(project, _) => self.agenda.stir(project),
            Event::Asked(..)
            | Event::Volumes(_)
            | Event::Datagram(..)
            | Event::Persisted(_)
            | Event::Fetched(..)
            | Event::FetchEnded(..)
            | Event::Unwrapped(..)
            | Event::Underlay(_)
            | Event::Seek(_)
            | Event::Reception(..)
            | Event::Tick => {}
        }
    }

    /// Whatever happened: settles what is wanted against what is, and checks the health that is due.
    fn look_around(&mut self, now: Now) {
        self.uphold(now);
        for (id, local) in &mut self.local {
            if local.due().is_some_and(|it| it <= now.moment) {
                local.wake(now.moment);
                if let Some(record) = self.state.container(*id) {
                    self.agenda.stir(&record.service.project);
                }
            }
        }
        let deployments = self.state.deployments();
        let is_removed =
            |name: &ProjectName| deployments.get(name).is_some_and(|it| it.removal.is_some());
        let agenda = &mut self.agenda;
        self.clearing.retain(|name, it| match it {
            Clearing::Begun => true,
            Clearing::Stalled(until) if now.moment < *until => true,
            Clearing::Stalled(_) => {
                agenda.stir(name);
                false
            }
            Clearing::Done => is_removed(name),
        });
        if !self.nodes_changed.is_empty() {
            self.meet(now);
        }
        self.tend_overlay(now);
        self.settle(now);
        self.introduce(now);
        self.probe(now);
    }

    /// When it wants the next [`Event::Tick`], if nothing happens before.
    #[must_use]
    pub fn next_wake(&self) -> Option<Moment> {
        let cluster = self.cluster.as_ref().map(|it| it.next_wake());
        self.local_wake().into_iter().chain(cluster).min()
    }

    fn local_wake(&self) -> Option<Moment> {
        let containers = self.local.values().filter_map(Local::due);
        let clearing = self.clearing.values().filter_map(|it| match it {
            Clearing::Begun | Clearing::Done => None,
            Clearing::Stalled(until) => Some(*until),
        });
        // The nodes are to be looked at anew: where this one wrote of itself last, nothing else may follow.
        let survey = self.sites_stale.then_some(Moment(0));
        // Until it may write, it settles nothing.
        let agenda = self.agenda.next().into_iter().chain(survey).min();
        let agenda = agenda.filter(|_| self.may_write());
        containers.chain(clearing).chain(agenda).chain(self.quorum.due()).min()
    }

    /// What the cluster has agreed, as this node knows it: also what is not durable yet.
    #[must_use]
    pub fn state(&self) -> &Arc<ClusterState> {
        &self.state
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
            state: self.state.clone(),
            projects: self
                .layouts
                .iter()
                .map(|(name, it)| (name.clone(), it.spec.clone()))
                .collect(),
            doing: self.local.iter().filter_map(doing).collect(),
            checks: self.local.iter().filter_map(checks).collect(),
            stuck: self.stuck.clone(),
            ready: self.ready.clone(),
            runtime: self.runtime.clone(),
            overlay: self.overlay.as_ref().map(|it| it.plan),
            cluster: self.cluster_view(),
        }
    }

    /// Writes this node's own record if it is not as it should be.
    fn introduce(&mut self, now: Now) {
        let known = self.state.nodes().get(&self.me);
        if self.state.has_left(self.me) || !self.may_write() {
            return;
        }
        let since = known.filter(|it| it.state == self.facts.state).map_or(now.wall, |it| it.since);
        let mut record = NodeRecord {
            since,
            replica: self.state.replica(),
            key_epoch: self.key_epoch().0,
            mesh: self.mesh_record(),
            ..self.facts.clone()
        };
        if let Some(known) = known {
            record.admission.clone_from(&known.admission);
            record.assigned.clone_from(&known.assigned);
            record.availability = known.availability;
            if self.holdings.is_none() {
                record.volumes.clone_from(&known.volumes);
            }
        }
        let is_news = known.is_none_or(|known| known.state != record.state);
        if known.is_none_or(|known| **known != record) {
            let state = Some(record.state.to_string());
            self.commit(Change::Node(self.me, Some(Arc::new(record))), now);
            if is_news {
                self.notify("node.state", Subject::Node, state, None);
            }
        }
    }

    /// What this step comes to: its writes first.
    fn answer(&mut self, now: Now) -> Vec<Effect> {
        if !self.nodes_changed.is_empty() {
            self.meet(now);
        }
        let wrote = std::mem::take(&mut self.wrote);
        if !wrote.is_empty() {
            self.converse(Input::Wrote(wrote), now);
        }
        if self.leaving {
            self.say_farewell(now);
        }
        let mut steps = std::mem::take(&mut self.steps);
        let effects = std::mem::take(&mut self.effects);
        if steps.is_empty() {
            return effects;
        }
        if self.cluster.is_none() {
            // There are no other members, who would have to know of what was removed.
            let collected = self.in_state().collect(&BTreeMap::new());
            if !collected.is_empty() {
                steps.push(collected);
            }
        }
        self.persists += 1;
        self.note_undurable(self.persists);
        let mut all = vec![Effect::Persist(steps)];
        all.extend(effects);
        all
    }

    fn in_state(&mut self) -> &mut ClusterState {
        Arc::make_mut(&mut self.state)
    }

    fn commit(&mut self, change: Change, now: Now) {
        self.write(change, now, ClusterState::commit);
    }

    /// Writes what has come of what users want: what they want meanwhile counts more.
    fn conclude(&mut self, change: Change, now: Now) {
        self.write(change, now, ClusterState::conclude);
    }

    fn write(
        &mut self,
        change: Change,
        now: Now,
        write: fn(&mut ClusterState, Change, WallTime) -> Step,
    ) {
        let container = match &change {
            Change::Node(id, _) => {
                self.nodes_changed.insert(*id);
                self.sites_stale = true;
                None
            }
            Change::Service(ServiceKey { project, .. }, _)
            | Change::Deployment(project, _)
            | Change::Secret(SecretPath::Project(project, _), _) => {
                self.agenda.stir(project);
                None
            }
            Change::Container(id, _) => Some(*id),
            Change::Secret(..) | Change::Revision(..) | Change::IpAllocation(..) => None,
        };
        let step = write(self.in_state(), change, now.wall);
        if let Some(id) = container {
            self.note_container(id, now.moment);
        }
        self.tell_of(&step);
        if self.cluster.is_some() {
            self.wrote.extend_from_slice(step.writes());
        }
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

    fn notify_peer(&mut self, node: NodeId, state: NodeState) {
        let name = self.state.nodes().get(&node).map(|it| it.name.clone());
        let Some(name) = name else { return };
        self.notify("node.state", Subject::Peer(node, name), Some(state.to_string()), None);
    }

    fn subject(&self, id: ContainerId) -> Option<Subject> {
        let record = self.state.container(id)?;
        Some(Subject::Container(id, record.service.clone(), record.name.clone()))
    }
}
