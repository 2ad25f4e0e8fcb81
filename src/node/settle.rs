//! Settles what is wanted against what is: asks `reconcile` for the steps and turns them into
//! effects.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Activity, Clearing, Effect, Launch, Node, Now, RuntimeStatus, Subject, definition,
    local::{Local, Operation},
};
use crate::{
    model::{
        ContainerId, ContainerName, ContainerState, NodeId, ProjectName, ServiceKey, ServiceName,
        Slot,
        spec::{ContainerSpec, PullPolicy, ServiceSpec},
    },
    reconcile::{self, Cause, Instance, Outcome, Owners, Project, Share, Step},
    scheduler,
    state::{Change, ContainerRecord, ServiceRecord},
};

/// A recorded container's launch is planned in the pass after the record, and no step of that pass
/// records again.
const PASSES_MAX: usize = 3;

impl Node {
    /// Settles every project.
    pub(super) fn settle(&mut self, now: Now) {
        let projects: Vec<ProjectName> = self.projects.keys().cloned().collect();
        match self.runtime {
            RuntimeStatus::Unknown => {}
            // Nothing can be done, but what is wanted may have changed.
            RuntimeStatus::Down(_) => {
                for project in projects {
                    let outcome = self.outcome(&project, now);
                    self.judge(&project, &outcome);
                }
            }
            RuntimeStatus::Up => {
                for project in projects {
                    self.settle_project(&project, now);
                }
                self.remove_unread(now);
                self.collect_garbage(now);
            }
        }
    }

    fn settle_project(&mut self, project: &ProjectName, now: Now) {
        self.note_started(project, now);
        let home = self.home(project);
        let mut outcome = self.outcome(project, now);
        for _ in 0..PASSES_MAX {
            let steps = std::mem::take(&mut outcome.steps);
            self.stop_waiting(project, &steps);
            if steps.is_empty() {
                break;
            }
            let mut recorded = false;
            for (service, step) in steps {
                let key = ServiceKey { project: project.clone(), service };
                recorded |= matches!(step, Step::Record(_));
                self.perform(&key, step, now);
            }
            // What is tried again is no longer judged by how it failed before.
            outcome = self.outcome(project, now);
            if !recorded {
                break;
            }
        }
        let seen = match home {
            Some(home) if home != self.me => self.outcome_at(project, home, now),
            Some(_) | None => outcome,
        };
        self.judge(project, &seen);
        let gone = if home == Some(self.me) { seen.gone } else { vec![] };
        let forgets = !gone.is_empty();
        for service in gone {
            let key = ServiceKey { project: project.clone(), service };
            self.forget_service(key, now);
        }
        if forgets {
            self.decode(project);
        }
        self.clear(project, now);
    }

    fn forget_service(&mut self, key: ServiceKey, now: Now) {
        self.commit(Change::Service(key.clone(), None), now);
        self.ready.remove(&key);
        self.stuck.remove(&key);
        self.notify("service.removed", Subject::Service(key), None, None);
    }

    /// A container that runs has followed every request to start it: its end is not to be undone by one
    /// from before.
    fn note_started(&mut self, project: &ProjectName, now: Now) {
        let behind = self.state.containers().filter(|it| {
            let starts = self.state.services().get(&it.service).map_or(0, |it| it.starts);
            let runs = |it: &Local| it.alive && it.operation.is_none();
            it.service.project == *project
                && it.starts < starts
                && it.state.is_up()
                && !it.held
                && self.local.get(&it.id).is_some_and(runs)
        });
        let behind: Vec<ContainerId> = behind.map(|it| it.id).collect();
        for id in behind {
            self.follow(id, false, now);
        }
    }

    /// Notes that a container has followed every request to start it, and to restart it too if so.
    fn follow(&mut self, id: ContainerId, restarts: bool, now: Now) {
        let Some(record) = self.state.container(id) else { return };
        let Some(service) = self.state.services().get(&record.service).cloned() else { return };
        self.amend(id, now, |record| {
            record.starts = service.starts;
            if restarts {
                record.restarts = service.restarts;
            }
        });
    }

    /// Deployments that this version cannot read can still be removed, without their order and their
    /// grace periods.
    fn remove_unread(&mut self, now: Now) {
        let going = self
            .state
            .deployments()
            .iter()
            .filter(|(name, it)| it.removal.is_some() && !self.projects.contains_key(*name));
        let going: Vec<ProjectName> = going.map(|(name, _)| name.clone()).collect();
        for name in going {
            let keys: Vec<ServiceKey> =
                self.state.services_of(&name).map(|(key, _)| key.clone()).collect();
            for key in keys {
                self.forget_service(key, now);
            }
            self.clear(&name, now);
        }
    }

    /// The node that has a project. Where it runs it stays; of several that think so, as after a
    /// partition, the one that began last.
    pub(super) fn home(&self, project: &ProjectName) -> Option<NodeId> {
        if !self.is_clustered() {
            return Some(self.me);
        }
        let may = |id: &NodeId| self.may_have_containers(*id);
        let running = self
            .state
            .containers()
            .filter(|it| it.service.project == *project && it.one_off.is_none() && may(&it.node));
        let runs = running.max_by_key(|it| (it.created, it.node)).map(|it| it.node);
        runs.or_else(|| {
            scheduler::home(project, self.state.nodes().iter().map(|(id, _)| *id).filter(may))
        })
    }

    /// Looks at a project as it is now: at this node's part.
    fn outcome(&self, name: &ProjectName, now: Now) -> Outcome {
        self.outcome_at(name, self.me, now)
    }

    fn outcome_at(&self, name: &ProjectName, node: NodeId, now: Now) -> Outcome {
        let is_home = self.home(name) == Some(node);
        let Some(specs) = self.projects.get(name) else { return Outcome::default() };
        let mut project: Project<'_> = BTreeMap::new();
        for (key, record) in self.state.services_of(name) {
            let Some(spec) = specs.services.get(&key.service) else { continue };
            let slots = if is_home { (1..=record.replicas).map(Slot).collect() } else { vec![] };
            project.insert(key.service.clone(), Share { record, spec, slots, instances: vec![] });
        }
        for record in self.state.containers().filter(|it| it.node == node) {
            if record.service.project == *name
                && let Some(share) = project.get_mut(&record.service.service)
            {
                share.instances.push(self.instance(record, now));
            }
        }
        reconcile::plan(&project)
    }

    fn instance<'a>(&self, record: &'a ContainerRecord, now: Now) -> Instance<'a> {
        if record.node != self.me {
            let checked = self.check_of(record.id).is_some();
            let alive = record.state.is_up();
            let (busy, resting, held_back) = (false, false, false);
            return Instance {
                record,
                busy,
                resting,
                alive,
                checked,
                held_back,
                owners: Owners::Keep,
            };
        }
        let local = self.local.get(&record.id);
        Instance {
            record,
            busy: local.is_some_and(|it| it.is_busy(now.moment)),
            resting: local.is_some_and(|it| it.is_resting(now.moment)),
            alive: local.is_some_and(|it| it.alive),
            checked: self.check_of(record.id).is_some(),
            held_back: local.is_some_and(|it| it.held_back),
            owners: local.map_or(Owners::Keep, |it| self.owners_of(it, &record.service)),
        }
    }

    /// Notes how the services stand, and tells of what changed.
    fn judge(&mut self, project: &ProjectName, outcome: &Outcome) {
        let keys: Vec<ServiceKey> =
            self.state.services_of(project).map(|(key, _)| key.clone()).collect();
        for key in keys {
            let ready = outcome.ready.contains(&key.service);
            let stuck = outcome.stuck.get(&key.service).cloned();
            let was_ready = self.ready.contains(&key);
            if was_ready == ready && self.stuck.get(&key) == stuck.as_ref() {
                continue;
            }
            if ready {
                self.ready.insert(key.clone());
            } else {
                self.ready.remove(&key);
            }
            match stuck.clone() {
                Some(why) => self.stuck.insert(key.clone(), why),
                None => self.stuck.remove(&key),
            };
            let state = match (ready, &stuck) {
                (true, _) => "ready",
                (false, Some(_)) => "stuck",
                (false, None) => "settling",
            };
            let subject = Subject::Service(key);
            self.notify("service.changed", subject, Some(state.to_owned()), stuck);
        }
    }

    /// Containers that no longer wait say so.
    fn stop_waiting(&mut self, project: &ProjectName, steps: &[(ServiceName, Step)]) {
        for (id, local) in &mut self.local {
            if !matches!(local.activity, Some(Activity::Waiting(_))) {
                continue;
            }
            let mine = self.state.container(*id).is_some_and(|it| it.service.project == *project);
            let waits = steps.iter().any(|(_, step)| matches!(step, Step::Wait(it, _) if it == id));
            if mine && !waits {
                local.activity = None;
            }
        }
    }

    fn perform(&mut self, key: &ServiceKey, step: Step, now: Now) {
        match step {
            Step::Record(slot) => self.record(key, slot, now),
            Step::Launch { container, start, cause } => self.launch(container, start, cause, now),
            Step::Start(container, cause) => self.start(container, cause, now),
            Step::Halt(container) => self.halt(container),
            Step::Again(container) => {
                // It has followed no request to start yet: so it will, once it has stopped.
                self.amend(container, now, |record| record.starts = 0);
                self.halt(container);
            }
            Step::Discard { container, volumes } => self.discard(container, volumes),
            Step::Wait(container, reason) => self.wait(container, reason),
        }
    }

    /// Records a new container for a slot.
    fn record(&mut self, key: &ServiceKey, slot: Slot, now: Now) {
        let Some(service) = self.state.services().get(key).cloned() else { return };
        let Some(spec) = self.spec_of(key) else { return };
        let Ok(name) = definition::container_name(key, slot, spec) else { return };
        let id = ContainerId(self.random.id());
        let mut record = self.blank(id, key, &service, now);
        let replaced = self.state.containers().filter(|it| {
            it.service == *key && it.slot == slot && it.one_off.is_none() && it.given_up
        });
        record.attempts = replaced.map(|it| it.attempts.saturating_add(1)).max().unwrap_or(0);
        (record.slot, record.name) = (slot, name);
        self.commit(Change::Container(record.id, Some(Arc::new(record))), now);
        self.tell(id, ContainerState::Pending, None);
    }

    /// A record of a container that is not there yet.
    pub(super) fn blank(
        &self,
        id: ContainerId,
        key: &ServiceKey,
        service: &ServiceRecord,
        now: Now,
    ) -> ContainerRecord {
        ContainerRecord {
            id,
            node: self.me,
            service: key.clone(),
            slot: Slot(0),
            name: ContainerName::of(id),
            revision: service.revision,
            one_off: None,
            image: None,
            command: String::new(),
            runtime_id: None,
            state: ContainerState::Pending,
            since: now.wall,
            created: now.wall,
            reason: None,
            exit_code: None,
            runs: 0,
            attempts: 0,
            restarts: service.restarts,
            starts: service.starts,
            given_up: false,
            held: false,
            ports: vec![],
            addresses: BTreeMap::new(),
        }
    }

    fn launch(&mut self, id: ContainerId, start: bool, cause: Cause, now: Now) {
        let Some(record) = self.state.container(id) else { return };
        if record.state.is_over() {
            self.begin_run(id, cause == Cause::Policy, now);
        } else if start {
            self.follow(id, true, now);
        }
        let Some(launch) = self.launch_of(id, !start) else { return };
        let pin = launch.image.clone();
        self.begin(id, Operation::Launch, Effect::Launch(Box::new(launch)));
        if let Some(local) = self.local.get_mut(&id) {
            local.pin = pin;
        }
    }

    fn start(&mut self, id: ContainerId, cause: Cause, now: Now) {
        let Some(record) = self.state.container(id) else { return };
        if record.runtime_id.is_none() {
            return self.launch(id, true, cause, now);
        }
        if record.state.is_over() {
            self.begin_run(id, cause == Cause::Policy, now);
        } else {
            self.follow(id, true, now);
        }
        let Some(launch) = self.launch_of(id, false) else { return };
        self.begin(id, Operation::Start, Effect::Start(Box::new(launch)));
    }

    /// Begins a new run of an ended container.
    pub(super) fn begin_run(&mut self, id: ContainerId, by_policy: bool, now: Now) {
        let Some(record) = self.state.container(id) else { return };
        let service = self.state.services().get(&record.service);
        let (restarts, starts) = service.map_or((0, 0), |it| (it.restarts, it.starts));
        self.amend(id, now, |record| {
            record.state = ContainerState::Pending;
            (record.since, record.reason, record.exit_code) = (now.wall, None, None);
            record.runs = record.runs.saturating_add(1);
            record.attempts = if by_policy { record.attempts.saturating_add(1) } else { 0 };
            (record.restarts, record.starts) = (restarts, starts);
            (record.given_up, record.held) = (false, false);
        });
        if let Some(local) = self.local.get_mut(&id) {
            (local.rest_until, local.monitor) = (None, None);
        }
        self.tell(id, ContainerState::Pending, None);
    }

    fn halt(&mut self, container: ContainerId) {
        let Some(record) = self.state.container(container) else { return };
        let Some(runtime_id) = record.runtime_id.clone() else { return };
        let asked = self.state.services().get(&record.service).and_then(|it| it.grace);
        let going = self.state.deployments().get(&record.service.project);
        let going = going.and_then(|it| it.removal.as_ref()?.grace);
        let spec = self.spec_of(&record.service).map(|it| &it.container);
        let grace = asked.or(going).or_else(|| spec?.stop_grace);
        let hooks = spec.map(|it| it.pre_stop.clone()).unwrap_or_default();
        let effect = Effect::Halt { container, runtime_id, hooks, grace };
        self.begin(container, Operation::Halt, effect);
    }

    fn discard(&mut self, container: ContainerId, volumes: bool) {
        let Some(record) = self.state.container(container) else { return };
        let runtime_id = record.runtime_id.clone();
        let effect = Effect::Discard { container, runtime_id, volumes };
        self.begin(container, Operation::Discard, effect);
    }

    fn wait(&mut self, id: ContainerId, reason: Arc<str>) {
        let local = self.local.entry(id).or_default();
        let activity = Activity::Waiting(reason);
        if local.activity.as_ref() != Some(&activity) {
            let words = activity.words();
            local.activity = Some(activity);
            if let Some(subject) = self.subject(id) {
                self.notify("container.doing", subject, Some(words), None);
            }
        }
    }

    /// What it takes to make or start a container.
    fn launch_of(&self, id: ContainerId, no_start: bool) -> Option<Launch> {
        let record = self.state.container(id)?;
        let project = self.projects.get(&record.service.project)?;
        let service = project.services.get(&record.service.service)?;
        let wanted = self.state.services().get(&record.service)?;
        let spec = match &record.one_off {
            Some(one_off) => self.one_off_spec(&record.service, &one_off.definition)?,
            None => Arc::new(service.container.clone()),
        };
        // A name that belongs to another project or to a container of `fizz run` is theirs.
        let replaced = self.state.containers().find(|it| {
            let replicas = it.one_off.is_none() && record.one_off.is_none();
            it.node == self.me
                && it.service.project == record.service.project
                && replicas
                && it.name == record.name
                && it.id != id
                && it.runtime_id.is_some()
        });
        Some(Launch {
            container: id,
            name: record.name.clone(),
            service: record.service.clone(),
            slot: record.slot,
            revision: record.revision,
            one_off: record.one_off.is_some(),
            no_start,
            spec,
            project: project.clone(),
            // `fizz up` has asked the registry where the policy wants it; a node alone fetches what
            // it does not have.
            pull: match service.pull {
                PullPolicy::Never => PullPolicy::Never,
                PullPolicy::Missing
                | PullPolicy::Always
                | PullPolicy::Build
                | PullPolicy::OlderThanSeconds(_) => PullPolicy::Missing,
            },
            image: wanted.image.clone(),
            runtime_id: record.runtime_id.clone(),
            replaces: replaced.and_then(|it| it.runtime_id.clone()),
            keep_volumes: !wanted.renew_volumes,
            peers: self.peers_of(&record.service.project, service),
            links: self.links_of(&record.service.project, service),
        })
    }

    fn one_off_spec(&self, key: &ServiceKey, definition: &str) -> Option<Arc<ContainerSpec>> {
        let deployment = self.state.deployments().get(&key.project)?;
        let services = [(key.service.clone(), definition)];
        let project = definition::assemble(&deployment.model, services.into_iter()).ok()?;
        project.services.get(&key.service).map(|it| Arc::new(it.container.clone()))
    }

    pub(super) fn spec_of(&self, key: &ServiceKey) -> Option<&ServiceSpec> {
        self.projects.get(&key.project)?.services.get(&key.service)
    }

    /// Removes containers of services that nobody wants, and of which nothing is known.
    fn collect_garbage(&mut self, now: Now) {
        let unwanted = self.state.containers().filter(|it| {
            let deployment = self.state.deployments().get(&it.service.project);
            let unreadable = deployment.is_some_and(|it| it.removal.is_none())
                && !self.projects.contains_key(&it.service.project);
            let wanted = self.state.services().get(&it.service).is_some();
            it.node == self.me && !wanted && !unreadable
        });
        let unwanted: Vec<ContainerId> = unwanted.map(|it| it.id).collect();
        for id in unwanted {
            let local = self.local.entry(id).or_default();
            match (local.is_busy(now.moment), local.alive) {
                (true, _) => {}
                (false, true) => self.halt(id),
                (false, false) => self.discard(id, false),
            }
        }
    }

    /// When nothing else is left of a project that is to go, its networks and volumes go.
    fn clear(&mut self, name: &ProjectName, now: Now) {
        let Some(deployment) = self.state.deployments().get(name) else { return };
        let Some(removal) = deployment.removal.clone() else { return };
        let left = self.state.services_of(name).next().is_some()
            || self.state.containers().any(|it| {
                it.service.project == *name && (it.node == self.me || self.is_alive(it.node))
            });
        let waits = match self.clearing.get(name) {
            None => false,
            Some(Clearing::Begun) => true,
            Some(Clearing::Stalled(until)) => now.moment < *until,
        };
        if left || waits {
            return;
        }
        self.clearing.insert(name.clone(), Clearing::Begun);
        let (project, volumes, images) = (name.clone(), removal.volumes, removal.images);
        self.effects.push(Effect::Clear { project, volumes, images });
    }
}
