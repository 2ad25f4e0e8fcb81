//! Carries `reconcile`'s steps out: as records, and as effects for the shell.

use std::sync::Arc;

use super::{Activity, Effect, Launch, Node, Now, definition, local::Operation};
use crate::{
    model::{
        ContainerId, ContainerState, Millis, Revision, ServiceKey, Slot,
        spec::{ContainerSpec, ProjectSpec, PullPolicy, ServiceSpec},
    },
    reconcile::{Cause, Step, Which},
    state::{Change, ContainerRecord, Intent, ServiceRecord, Template},
};

/// How long the connections of a container that stops may go on, where its file does not say.
const DRAIN: Millis = Millis::from_secs(10);

impl Node {
    pub(super) fn perform(&mut self, key: &ServiceKey, step: Step, now: Now) {
        match step {
            Step::Record(slot, which) => self.record(key, slot, which, now),
            Step::Launch { container, start, cause } => self.launch(container, start, cause, now),
            Step::Start(container, cause) => self.start(container, cause, now),
            Step::Halt(container) => {
                self.say_going(key, container, now);
                self.halt(container);
            }
            Step::Discard { container, volumes } => self.discard(container, volumes),
            Step::Wait(container, reason) => self.wait(container, reason),
        }
    }

    /// What stops though its service is to run says so at once, not only once it has stopped: others
    /// count on it until then, and might stop theirs as well. Having followed no request to start yet, it
    /// starts again where it is still wanted.
    fn say_going(&mut self, key: &ServiceKey, container: ContainerId, now: Now) {
        let intent = self.state.services().get(key).map(|it| it.intent);
        // What was given up is over already, by its record.
        let is_up = self.state.container(container).is_some_and(|it| it.state.is_up());
        if intent == Some(Intent::Run) && is_up {
            self.amend(container, now, |record| record.starts = 0);
        }
    }

    /// Records a new container for a slot.
    fn record(&mut self, key: &ServiceKey, slot: Slot, which: Which, now: Now) {
        let Some(service) = self.state.services().get(key).cloned() else { return };
        let template = match (which, &service.previous) {
            (Which::Previous, Some(previous)) => previous,
            (Which::Current | Which::Previous, _) => &service.template,
        };
        let Some(spec) = self.spec_from(key, template.revision) else { return };
        let Ok(name) = definition::container_name(key, slot, spec) else { return };
        let id = ContainerId(self.random.id());
        let mut record = self.blank(id, key, &service, template, now);
        let replaced = self.fleet.of(&key.project).filter(|it| {
            let same = it.service == *key && it.slot == slot && it.revision == template.revision;
            same && it.one_off.is_none() && it.given_up
        });
        record.attempts = replaced.map(|it| it.attempts.saturating_add(1)).max().unwrap_or(0);
        (record.slot, record.name) = (slot, name);
        self.commit(Change::Container(record.id, Some(Arc::new(record))), now);
        self.tell(id, ContainerState::Pending, None);
        self.uphold(now);
    }

    /// A record of a container that is not there yet.
    pub(super) fn blank(
        &self,
        id: ContainerId,
        key: &ServiceKey,
        service: &ServiceRecord,
        template: &Template,
        now: Now,
    ) -> ContainerRecord {
        ContainerRecord {
            wanted_image: template.image.clone(),
            since: now.wall,
            restarts: service.restarts,
            starts: service.starts,
            ..ContainerRecord::unmade(id, self.me, key.clone(), template.revision, now.wall)
        }
    }

    fn launch(&mut self, id: ContainerId, start: bool, cause: Cause, now: Now) {
        let Some(record) = self.state.container(id) else { return };
        // What must never run twice starts when it is made, if it still may then: images can take long.
        let start = start && !(record.one_off.is_none() && self.is_singleton(&record.service));
        let is_over = record.state.is_over();
        if !self.has_address(id, now) {
            return;
        }
        if is_over {
            self.begin_run(id, cause == Cause::Policy, now);
        } else if start {
            self.follow(id, true, now);
        }
        let Some(launch) = self.launch_of(id, !start) else { return };
        self.begin(id, Operation::Launch, Effect::Launch(Box::new(launch)));
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

    pub(super) fn halt(&mut self, container: ContainerId) {
        let Some(record) = self.state.container(container) else { return };
        let Some(runtime_id) = record.runtime_id.clone() else { return };
        let asked = self.state.services().get(&record.service).and_then(|it| it.grace);
        let going = self.removal_of(&record.service.project).and_then(|it| it.grace);
        let spec = self.spec_from(&record.service, record.revision).map(|it| &it.container);
        let grace = asked.or(going).or_else(|| spec?.stop_grace);
        let hooks = spec.map(|it| it.pre_stop.clone()).unwrap_or_default();
        let drain = self.drain_of(container);
        let effect = Effect::Halt { container, runtime_id, hooks, grace, drain };
        self.begin(container, Operation::Halt, effect);
    }

    /// How long a container's connections may go on, if it stops while others of its service go on.
    fn drain_of(&self, container: ContainerId) -> Option<Millis> {
        let record = self.state.container(container)?;
        let intent = self.state.services().get(&record.service).map(|it| it.intent);
        let is_well = match record.state {
            ContainerState::Running | ContainerState::Healthy => true,
            ContainerState::Pending
            | ContainerState::Unhealthy
            | ContainerState::Stopped
            | ContainerState::Failed => false,
        };
        let spec = self.spec_from(&record.service, record.revision)?;
        let drain = spec.extension.ingress.as_ref().and_then(|it| it.drain).unwrap_or(DRAIN);
        (intent == Some(Intent::Run) && is_well).then_some(drain)
    }

    pub(super) fn discard(&mut self, container: ContainerId, volumes: bool) {
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
        let (project, service, spec) = self.made_from(record)?;
        let wanted = self.state.services().get(&record.service)?;
        // A name that belongs to another project or to a container of `fizz run` is theirs.
        let namesakes: Vec<_> = self
            .fleet
            .of(&record.service.project)
            .filter(|it| {
                let replicas = it.one_off.is_none() && record.one_off.is_none();
                it.node == self.me && replicas && it.name == record.name && it.id != id
            })
            .collect();
        let replaced = namesakes.iter().find(|it| it.runtime_id.is_some());
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
            image: record.wanted_image.clone(),
            address: self.local.get(&id).and_then(|it| it.address),
            runtime_id: record.runtime_id.clone(),
            beside: !namesakes.is_empty(),
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

    /// What a container is made from: a project, in it its service, and what it is itself.
    pub(super) fn made_from(
        &self,
        record: &ContainerRecord,
    ) -> Option<(&Arc<ProjectSpec>, &ServiceSpec, Arc<ContainerSpec>)> {
        let layout = self.layouts.get(&record.service.project)?;
        let (project, service) = layout.made_from(&record.service.service, record.revision)?;
        let spec = match &record.one_off {
            Some(one_off) => self.one_off_spec(&record.service, &one_off.definition)?,
            None => Arc::new(service.container.clone()),
        };
        Some((project, service, spec))
    }

    /// What a service's containers are to be.
    pub(super) fn spec_of(&self, key: &ServiceKey) -> Option<&ServiceSpec> {
        self.layouts.get(&key.project)?.spec.services.get(&key.service)
    }

    /// What a service's containers of a revision are.
    pub(super) fn spec_from(&self, key: &ServiceKey, revision: Revision) -> Option<&ServiceSpec> {
        Some(self.layouts.get(&key.project)?.made_from(&key.service, revision)?.1)
    }

    /// Notes that a container has followed every request to start it, and to restart it too if so.
    pub(super) fn follow(&mut self, id: ContainerId, restarts: bool, now: Now) {
        let Some(record) = self.state.container(id) else { return };
        let Some(service) = self.state.services().get(&record.service).cloned() else { return };
        self.amend(id, now, |record| {
            record.starts = service.starts;
            if restarts {
                record.restarts = service.restarts;
            }
        });
    }
}
