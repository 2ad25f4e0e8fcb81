//! What users want of services that are deployed: down, start, stop, restart, kill, remove, scale,
//! run.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    DownRequest, Effect, Node, Now, Refusal, Request, Response, RunRequest, ServiceVerb,
    cron::count_ticks_from, definition, local::Operation,
};
use crate::{
    model::{
        ContainerId, ContainerName, ContainerState, Millis, ProjectName, ServiceKey, ServiceName,
    },
    state::{Change, DeploymentRecord, Intent, OneOff, Removal, ServiceRecord},
};

impl Node {
    /// Carries out a request.
    pub(super) fn asked(&mut self, request: Request, now: Now) -> Result<Response, Refusal> {
        if request.is_a_users()
            && let Some(why) = self.clock_is_wrong()
        {
            return Err(Refusal::Conflict(why));
        }
        match request {
            Request::Admit(request) => self.admit(*request, now),
            Request::Readmit(node, replica) => self.readmit(node, replica, now),
            Request::RemoveNode { node, force, rotation } => {
                self.remove_node(node, force, rotation.map(|it| *it), now)
            }
            Request::Rotate(rotation) => self.rotate(*rotation, now),
            Request::Keep(path, sealed) => self.keep(path, sealed, now),
            Request::Label(labels) => self.label(labels, now),
            Request::Dropped(volume) => Ok(self.dropped(&volume)),
            Request::Leave => self.leave(),
            Request::Deploy(request) => self.deploy(&request, now),
            Request::Down(request) => self.down(&request, now),
            Request::Services(project, services, verb) => {
                self.services(&project, &services, verb, now)
            }
            Request::Rollout(project, services, verb) => self.steer(&project, &services, verb, now),
            Request::Rollback(request) => self.roll_back(&request, now),
            Request::Migrate(request) => self.migrate(&request, now),
            Request::Explain(key) => self.explain(&key, now),
            Request::Rebalance { dry_run } => Ok(self.rebalance(dry_run, now)),
            Request::Avail(availability) => Ok(self.take_only(availability, now)),
            Request::Run(request) => self.run_one_off(*request, now),
            Request::Release(container) => self.release(container),
            Request::Remove { container, force, volumes } => self.remove(container, force, volumes),
        }
    }

    /// Changes a service's record.
    pub(super) fn intend(
        &mut self,
        key: &ServiceKey,
        now: Now,
        change: impl FnOnce(&mut ServiceRecord),
    ) {
        if let Some(record) = self.changed(key, change) {
            self.commit(Change::Service(key.clone(), Some(record)), now);
        }
    }

    /// Notes in a service's record what came of what users want. Should a user want something else
    /// at the same time, elsewhere, that stands.
    pub(super) fn note(
        &mut self,
        key: &ServiceKey,
        now: Now,
        change: impl FnOnce(&mut ServiceRecord),
    ) {
        if let Some(record) = self.changed(key, change) {
            self.conclude(Change::Service(key.clone(), Some(record)), now);
        }
    }

    fn changed(
        &self,
        key: &ServiceKey,
        change: impl FnOnce(&mut ServiceRecord),
    ) -> Option<Arc<ServiceRecord>> {
        let known = self.state.services().get(key)?;
        let mut record = (**known).clone();
        change(&mut record);
        (record != **known).then(|| Arc::new(record))
    }

    fn down(&mut self, request: &DownRequest, now: Now) -> Result<Response, Refusal> {
        let keys = self.keys(&request.project, &request.services)?;
        let forget = Intent::Forget { volumes: request.volumes };
        if request.services.is_empty() {
            let images = self.images_of(&keys, request.images.as_deref());
            let removal = Removal { volumes: request.volumes, images, grace: request.grace };
            self.amend_deployment(&request.project, now, |it| it.removal = Some(removal));
        }
        for key in keys {
            self.intend(&key, now, |record| {
                (record.intent, record.grace) = (forget, request.grace);
            });
        }
        Ok(Response::Done)
    }

    /// The images to remove with services: `all`, or the `local` ones, which the file does not name.
    fn images_of(&self, keys: &[ServiceKey], which: Option<&str>) -> Vec<String> {
        let named = |key: &ServiceKey| {
            let definition = &self.state.services().get(key)?.template.definition;
            let definition: serde_json::Value = serde_json::from_str(definition).ok()?;
            Some(definition.get("image").is_some())
        };
        let wanted = |key: &&ServiceKey| match which {
            Some("all") => true,
            Some("local") => named(key) == Some(false),
            Some(_) | None => false,
        };
        let specs = keys.iter().filter(wanted).filter_map(|key| self.spec_of(key));
        let images: BTreeSet<String> = specs.map(|it| it.container.image.clone()).collect();
        images.into_iter().collect()
    }

    fn amend_deployment(
        &mut self,
        name: &ProjectName,
        now: Now,
        change: impl FnOnce(&mut DeploymentRecord),
    ) {
        let Some(known) = self.state.deployments().get(name) else { return };
        let mut record = (**known).clone();
        change(&mut record);
        (record.version, record.updated) = (record.version + 1, now.wall);
        self.commit(Change::Deployment(name.clone(), Some(Arc::new(record))), now);
    }

    fn services(
        &mut self,
        project: &ProjectName,
        services: &[ServiceName],
        verb: ServiceVerb,
        now: Now,
    ) -> Result<Response, Refusal> {
        if let ServiceVerb::Kill(signal) = &verb {
            for key in self.keys(project, services)? {
                self.kill(&key, signal, now);
            }
            return Ok(Response::Done);
        }
        self.refuse_while_removed(project)?;
        if let ServiceVerb::Scale(scale) = &verb {
            let names: Vec<ServiceName> = scale.keys().cloned().collect();
            return self.scale(project, &names, scale, now);
        }
        let time = self.time_of_day(now);
        for key in self.keys(project, services)? {
            let intent = self.state.services().get(&key).map(|it| it.intent);
            if matches!(intent, Some(Intent::Forget { .. })) {
                continue;
            }
            match &verb {
                ServiceVerb::Start => self.intend(&key, now, |record| {
                    count_ticks_from(time, record);
                    record.intent = Intent::Run;
                    record.starts += 1;
                }),
                // What was removed stays so.
                ServiceVerb::Stop(_) if matches!(intent, Some(Intent::Remove { .. })) => {}
                ServiceVerb::Stop(grace) => self.intend(&key, now, |record| {
                    (record.intent, record.grace) = (Intent::Stop, *grace);
                }),
                ServiceVerb::Restart { grace, .. } => self.intend(&key, now, |record| {
                    count_ticks_from(time, record);
                    (record.intent, record.grace) = (Intent::Run, *grace);
                    record.restarts += 1;
                    record.done.clear();
                }),
                ServiceVerb::Remove { force, volumes } => {
                    let up =
                        self.state.containers().any(|it| it.service == key && it.state.is_up());
                    if *force || !up {
                        let intent = Intent::Remove { volumes: *volumes };
                        self.intend(&key, now, |record| record.intent = intent);
                    }
                }
                ServiceVerb::Scale(_) | ServiceVerb::Kill(_) => {}
            }
        }
        if let ServiceVerb::Restart { grace, no_deps: false } = verb {
            let restarted = services.iter().cloned().collect();
            self.restart_dependents(project, &restarted, grace, now);
        }
        Ok(Response::Done)
    }

    /// What is being removed takes no other wishes: they would keep it half there.
    pub(super) fn refuse_while_removed(&self, project: &ProjectName) -> Result<(), Refusal> {
        if self.removal_of(project).is_some() {
            let why =
                format!("`{project}` is being removed; wait until it is gone, then try again");
            return Err(Refusal::Conflict(why));
        }
        Ok(())
    }

    fn scale(
        &mut self,
        project: &ProjectName,
        names: &[ServiceName],
        scale: &std::collections::BTreeMap<ServiceName, u32>,
        now: Now,
    ) -> Result<Response, Refusal> {
        if names.is_empty() {
            let why = "nothing to scale: say SERVICE=REPLICAS".to_owned();
            return Err(Refusal::Conflict(why));
        }
        let keys = self.keys(project, names)?;
        for key in &keys {
            let replicas = scale.get(&key.service).copied().unwrap_or(1);
            if let Some(spec) = self.spec_of(key) {
                definition::scalable(spec, replicas)?;
            }
        }
        let time = self.time_of_day(now);
        for key in keys {
            let replicas = scale.get(&key.service).copied().unwrap_or(1);
            self.intend(&key, now, |record| {
                record.starts += u64::from(record.intent != Intent::Run);
                count_ticks_from(time, record);
                (record.replicas, record.intent) = (replicas, Intent::Run);
            });
        }
        Ok(Response::Done)
    }

    /// Sends a signal to every container of a service that runs on this node. Nothing starts them again by
    /// itself if they end by it, as Docker has it. A signal is no wish that lasts: whoever wants others'
    /// containers killed asks those nodes.
    fn kill(&mut self, key: &ServiceKey, signal: &str, now: Now) {
        let mine = self.state.containers().filter(|it| it.node == self.me);
        let up = mine.filter(|it| it.service == *key && it.state.is_up());
        let up: Vec<_> = up.filter_map(|it| Some((it.id, it.runtime_id.clone()?))).collect();
        for (container, runtime_id) in up {
            self.amend(container, now, |record| record.held = true);
            let signal = signal.to_owned();
            self.effects.push(Effect::Signal { container, runtime_id, signal });
        }
    }

    /// Services that are to restart with those that were.
    pub(super) fn restart_dependents(
        &mut self,
        project: &ProjectName,
        restarted: &BTreeSet<ServiceName>,
        grace: Option<Millis>,
        now: Now,
    ) {
        let Some(spec) = self.layouts.get(project).map(|it| it.spec.clone()) else { return };
        let mut reached = restarted.clone();
        let mut open: Vec<&ServiceName> = restarted.iter().collect();
        while let Some(name) = open.pop() {
            for (service, it) in &spec.services {
                let follows = it.depends_on.get(name).is_some_and(|it| it.restart);
                if follows && reached.insert(service.clone()) {
                    open.push(service);
                }
            }
        }
        for service in reached.difference(restarted) {
            let key = ServiceKey { project: project.clone(), service: service.clone() };
            self.intend(&key, now, |record| {
                record.restarts += 1;
                record.done.clear();
                record.grace = grace;
            });
        }
    }

    fn run_one_off(&mut self, request: RunRequest, now: Now) -> Result<Response, Refusal> {
        let key = ServiceKey { project: request.project, service: request.service };
        self.refuse_while_removed(&key.project)?;
        let service = self.keys(&key.project, std::slice::from_ref(&key.service))?;
        let Some(record) = service.first().and_then(|it| self.state.services().get(it)).cloned()
        else {
            return Err(Refusal::NotFound { what: "service", name: key.to_string() });
        };
        if let Some(node) = self.place_beside(&key).filter(|it| *it != self.me) {
            return Err(Refusal::Elsewhere(node));
        }
        let definition: Arc<str> = request.definition.to_string().into();
        if let Some(deployment) = self.state.deployments().get(&key.project) {
            let services = [(key.service.clone(), &*definition)];
            definition::assemble(&deployment.model, services.into_iter())?;
        }
        let id = ContainerId(self.random.id());
        let made = format!("{}-{}-run-{}", key.project, key.service, id.short());
        let name: ContainerName = match request.name {
            Some(name) => name,
            None => made.parse().map_err(|error| Refusal::Invalid(vec![format!("{error}")]))?,
        };
        if self.state.containers().any(|it| it.name == name) {
            let why = format!("a container `{name}` is there already: choose another `--name`");
            return Err(Refusal::Conflict(why));
        }
        if !request.no_deps {
            self.start_dependencies(&key, now);
        }
        let mut container = self.blank(id, &key, &record, &record.template, now);
        container.name = name;
        container.one_off =
            Some(OneOff { definition, remove: request.remove, no_deps: request.no_deps });
        self.commit(Change::Container(container.id, Some(Arc::new(container))), now);
        self.local.entry(id).or_default().held_back = request.waits;
        self.tell(id, ContainerState::Pending, None);
        Ok(Response::Recorded(id))
    }

    /// Everything that a service depends on is to run.
    fn start_dependencies(&mut self, key: &ServiceKey, now: Now) {
        let mut open = vec![key.service.clone()];
        let mut seen = BTreeSet::new();
        while let Some(service) = open.pop() {
            let key = ServiceKey { project: key.project.clone(), service };
            let Some(spec) = self.spec_of(&key) else { continue };
            let needs: Vec<ServiceName> = spec.depends_on.keys().cloned().collect();
            for name in needs.into_iter().filter(|name| seen.insert(name.clone())) {
                let key = ServiceKey { project: key.project.clone(), service: name.clone() };
                self.intend(&key, now, |record| {
                    record.intent = Intent::Run;
                    record.starts += 1;
                });
                open.push(name);
            }
        }
    }

    fn release(&mut self, container: ContainerId) -> Result<Response, Refusal> {
        if self.state.container(container).is_none() {
            return Err(Refusal::NotFound { what: "container", name: container.to_string() });
        }
        if let Some(local) = self.local.get_mut(&container) {
            local.held_back = false;
        }
        Ok(Response::Done)
    }

    fn remove(
        &mut self,
        container: ContainerId,
        force: bool,
        volumes: bool,
    ) -> Result<Response, Refusal> {
        let name = container.to_string();
        let Some(record) = self.state.container(container) else {
            return Err(Refusal::NotFound { what: "container", name });
        };
        if record.node != self.me {
            return Err(Refusal::Elsewhere(record.node));
        }
        let name = record.name.clone();
        let runtime_id = record.runtime_id.clone();
        let local = self.local.entry(container).or_default();
        if local.alive && !force {
            let why = format!("`{name}` runs: stop it first, or remove it with force");
            return Err(Refusal::Conflict(why));
        }
        if local.operation.is_some() {
            return Err(Refusal::Conflict(format!("`{name}` is busy: try again in a moment")));
        }
        let effect = Effect::Discard { container, runtime_id, volumes };
        self.begin(container, Operation::Discard, effect);
        Ok(Response::Done)
    }

    /// The named services of a project, or all.
    pub(super) fn keys(
        &self,
        project: &ProjectName,
        services: &[ServiceName],
    ) -> Result<Vec<ServiceKey>, Refusal> {
        if self.state.deployments().get(project).is_none() {
            return Err(Refusal::NotFound { what: "deployment", name: project.to_string() });
        }
        let all: Vec<ServiceKey> =
            self.state.services_of(project).map(|(key, _)| key.clone()).collect();
        for service in services {
            if !all.iter().any(|key| key.service == *service) {
                return Err(Refusal::NotFound { what: "service", name: service.to_string() });
            }
        }
        let named = |key: &ServiceKey| services.is_empty() || services.contains(&key.service);
        Ok(all.into_iter().filter(named).collect())
    }
}
