//! Applying a model: what changes, and the writes that make it so.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::Value;

use super::{
    DeployRequest, Node, Now, Planned, PlannedAction, PlannedService, Refusal, Response,
    definition, layout::Layout,
};
use crate::{
    compose::diff,
    model::{
        ImageId, Millis, ProjectName, Revision, ServiceKey, ServiceName, Slot,
        spec::{ProjectSpec, ServiceSpec},
    },
    reconcile,
    state::{
        Change, DeploymentRecord, Intent, RevisionKey, Rollout, SealedSecret, SecretPath,
        ServiceRecord, Template,
    },
};

/// What one service comes to.
pub(super) struct Decision {
    pub(super) plan: PlannedService,
    pub(super) record: ServiceRecord,
}

/// What a deployment becomes, but for its services.
pub(super) struct Next<'a> {
    pub(super) model: &'a Value,
    pub(super) working_dir: &'a str,
    pub(super) files: &'a [String],
    pub(super) version: u64,
    /// The version that this is a return to.
    pub(super) returns_to: Option<u64>,
    /// Its networks span the nodes.
    pub(super) overlay: bool,
    pub(super) grace: Option<Millis>,
}

impl Node {
    /// Plans a deployment, and applies it unless that was all that was asked.
    pub(super) fn deploy(
        &mut self,
        request: &DeployRequest,
        now: Now,
    ) -> Result<Response, Refusal> {
        let project = definition::decoded(&request.model)?;
        let name = project.name.clone();
        let known = self.state.deployments().get(&name).cloned();
        let version = known.as_ref().map_or(0, |it| it.version);
        self.refuse_while_removed(&name)?;
        if let Some(planned) = request.if_version.filter(|it| *it != version) {
            return Err(Refusal::Overtaken { project: name, version, planned });
        }
        let selected = selected(&project, request)?;
        // Those that stay as they are would not reach the others any more.
        let all = selected.len() == project.services.len() && !request.no_recreate;
        let overlay = known.as_ref().is_some_and(|it| it.overlay) || (all && self.is_meshed());
        let definitions = definition::definitions(&request.model);
        let mut decisions = vec![];
        for service in &selected {
            let Some(definition) = definitions.get(service.as_str()) else { continue };
            decisions.push(self.decide(&project, service, definition, request, overlay, now)?);
        }
        let (orphans, removed) = self.orphans(&project, request.remove_orphans);
        let networks = project.networks.iter().filter(|(_, it)| !it.external);
        let volumes = project.volumes.iter().filter(|(_, it)| !it.external);
        let before = self.layouts.get(&name).map(|it| it.spec.clone());
        let is_new = |key: &String, known: fn(&ProjectSpec) -> Vec<&String>| {
            before.as_ref().is_none_or(|it| !known(it).contains(&key))
        };
        let mut services: Vec<PlannedService> =
            decisions.iter().map(|it| it.plan.clone()).collect();
        services.extend(removed.iter().map(|key| removal_of(key, &self.state)));
        let planned = Planned {
            version_before: version,
            version: version + 1,
            services,
            networks: networks
                .map(|(key, _)| key)
                .filter(|key| is_new(key, |it| it.networks.keys().collect()))
                .cloned()
                .collect(),
            volumes: volumes
                .map(|(key, _)| key)
                .filter(|key| is_new(key, |it| it.volumes.keys().collect()))
                .cloned()
                .collect(),
            orphans,
            overlay,
        };
        if !request.dry_run {
            self.keep_secrets(&name, request, now);
            let next = Next {
                model: &request.model,
                working_dir: &request.working_dir,
                files: &request.files,
                version: version + 1,
                returns_to: None,
                overlay,
                grace: request.grace,
            };
            self.apply(&name, &next, decisions, &removed, now);
        }
        Ok(Response::Planned(Box::new(planned)))
    }

    /// What one service comes to.
    fn decide(
        &self,
        project: &ProjectSpec,
        service: &ServiceName,
        definition: &Value,
        request: &DeployRequest,
        overlay: bool,
        now: Now,
    ) -> Result<Decision, Refusal> {
        let key = ServiceKey { project: project.name.clone(), service: service.clone() };
        let Some(spec) = project.services.get(service) else {
            return Err(Refusal::NotFound { what: "service", name: service.to_string() });
        };
        definition::container_name(&key, Slot(u32::MAX), spec)
            .map_err(|error| Refusal::Invalid(vec![format!("services.{service}: {error}")]))?;
        let known = self.state.services().get(&key);
        let base = self.base_revision(project, spec, definition, request);
        let base = if overlay { definition::spanning(base, spec) } else { base };
        let in_file = definition::replicas(spec.deploy.mode);
        let replicas = request.scale.get(service).copied().unwrap_or(in_file);
        if request.scale.contains_key(service) {
            definition::scalable(spec, replicas)?;
        }
        let kept = known.filter(|it| request.no_recreate || it.template.base == base);
        let revision = match (request.force_recreate, kept) {
            (Some(nonce), _) => definition::forced(base, nonce),
            (None, Some(known)) => known.template.revision,
            (None, None) => base,
        };
        let image = self.pin(&key, spec, request);
        let template = Template {
            definition: definition.to_string().into(),
            base: kept.map_or(base, |it| it.template.base),
            revision,
            image,
        };
        // Creating does not stop what runs as it is wanted.
        let runs =
            known.is_some_and(|it| it.intent == Intent::Run && it.template.is_same(&template));
        let intent = if request.no_start && !runs { Intent::Stop } else { Intent::Run };
        let starts = known.map_or(0, |it| it.starts);
        let gone = |it: &&Arc<ServiceRecord>| matches!(it.intent, Intent::Forget { .. });
        let before = known.filter(|it| !gone(it)).map(AsRef::as_ref);
        let has_canary = spec.extension.canary.is_some();
        let (previous, rollout) = self.change_to(&key, spec, before, &template, has_canary);
        let done = before.filter(|it| it.template.is_same(&template)).map(|it| it.done.clone());
        let record = ServiceRecord {
            template,
            previous,
            rollout,
            moves: known.map(|it| it.moves.clone()).unwrap_or_default(),
            ticks_after: self.ticks_after(&key, spec, now),
            done: done.unwrap_or_default(),
            replicas,
            intent,
            restarts: known.map_or(0, |it| it.restarts),
            starts: starts + u64::from(!(request.no_start && runs)),
            grace: request.grace,
            renew_volumes: request.renew_volumes,
        };
        let plan = self.plan_of(&key, known.map(AsRef::as_ref), &record, definition);
        Ok(Decision { plan, record })
    }

    /// What a service's record says of a change to a template that begins now.
    pub(super) fn change_to(
        &self,
        key: &ServiceKey,
        spec: &ServiceSpec,
        known: Option<&ServiceRecord>,
        template: &Template,
        has_canary: bool,
    ) -> (Option<Arc<Template>>, Rollout) {
        let is_job = spec.deploy.mode.is_job();
        let is_ready = self.ready.contains(key);
        let (previous, rollout) =
            reconcile::begin(known, template, has_canary && !is_job, is_ready);
        // Of a job, what has run is nothing to go back to; and runs by the clock are each what they were
        // made from.
        let is_timed = spec.extension.cron.is_some();
        let rollout = if is_timed { Rollout::default() } else { rollout };
        (previous.filter(|_| !is_job), rollout)
    }

    /// The image by digest or id that a service is to run: the one that is asked for, or the one before while
    /// its name stays.
    fn pin(
        &self,
        key: &ServiceKey,
        spec: &ServiceSpec,
        request: &DeployRequest,
    ) -> Option<ImageId> {
        let known = self.state.services().get(key);
        let before = known.and_then(|it| it.template.image.clone());
        if request.no_recreate && known.is_some() {
            return before;
        }
        let same = self.spec_of(key).is_some_and(|it| it.container.image == spec.container.image);
        request.images.get(&key.service).cloned().or(before.filter(|_| same))
    }

    /// What a service's definition, configs and secrets come to; of a job that is to complete before
    /// others are rolled out also what theirs come to, as it runs anew for each of their versions.
    fn base_revision(
        &self,
        project: &ProjectSpec,
        spec: &ServiceSpec,
        definition: &Value,
        request: &DeployRequest,
    ) -> Revision {
        let definitions = definition::definitions(&request.model);
        let after = project
            .services
            .values()
            .filter(|it| it.extension.pre_deploy.as_ref() == Some(&spec.name));
        let after = after.filter_map(|it| Some((it, *definitions.get(it.name.as_str())?)));
        let after: Vec<String> = after
            .map(|(it, definition)| self.own_revision(project, it, definition, request, &[]))
            .map(|it| it.to_string())
            .collect();
        self.own_revision(project, spec, definition, request, &after)
    }

    fn own_revision(
        &self,
        project: &ProjectSpec,
        spec: &ServiceSpec,
        definition: &Value,
        request: &DeployRequest,
        after: &[String],
    ) -> Revision {
        let configs = spec.container.configs.iter();
        let configs = configs.filter_map(|it| project.configs.get(&it.source)?.content.as_deref());
        let secrets = spec.container.secrets.iter().filter_map(|it| {
            let sealed = request.secrets.get(&it.source);
            let path = SecretPath::Project(project.name.clone(), it.source.clone());
            let sealed = sealed.or_else(|| self.state.secrets().get(&path).map(AsRef::as_ref));
            sealed.map(|it| it.fingerprint.as_slice())
        });
        let after = after.iter().map(|it| it.as_bytes());
        diff::revision(definition, configs.chain(secrets).chain(after))
    }

    pub(super) fn plan_of(
        &self,
        key: &ServiceKey,
        known: Option<&ServiceRecord>,
        record: &ServiceRecord,
        definition: &Value,
    ) -> PlannedService {
        let known = known.filter(|it| !matches!(it.intent, Intent::Forget { .. }));
        let old = known.and_then(|it| serde_json::from_str(&it.template.definition).ok());
        let changes = old.map(|old: Value| diff::changes(&old, definition)).unwrap_or_default();
        let image_changes = record.template.image.as_ref().is_some_and(|wanted| {
            let mut mine = self.fleet.of(&key.project).filter(|it| it.service == *key);
            mine.any(|it| !it.is_for_image(wanted))
        });
        let action = match known {
            None => PlannedAction::Create,
            Some(known) if known.template.revision != record.template.revision || image_changes => {
                PlannedAction::Replace
            }
            Some(known) if known.intent != record.intent => PlannedAction::Start,
            Some(known) if known.replicas != record.replicas => PlannedAction::Scale,
            Some(_) if !changes.is_empty() => PlannedAction::Update,
            Some(_) => PlannedAction::Keep,
        };
        PlannedService {
            service: key.service.clone(),
            action,
            replicas_before: known.map_or(0, |it| it.replicas),
            replicas_after: record.replicas,
            changes,
        }
    }

    /// Services of the project that the model does not have: those that stay, and those that go.
    fn orphans(&self, project: &ProjectSpec, remove: bool) -> (Vec<ServiceName>, Vec<ServiceKey>) {
        let known = self.state.services_of(&project.name);
        let orphans = known.filter(|(key, record)| {
            let going = matches!(record.intent, Intent::Forget { .. });
            !project.services.contains_key(&key.service) && !going
        });
        let orphans: Vec<ServiceKey> = orphans.map(|(key, _)| key.clone()).collect();
        if remove {
            (vec![], orphans)
        } else {
            (orphans.into_iter().map(|key| key.service).collect(), vec![])
        }
    }

    fn keep_secrets(&mut self, name: &ProjectName, request: &DeployRequest, now: Now) {
        let secret = |key: &String| SecretPath::Project(name.clone(), key.clone());
        let secrets = request.secrets.iter().map(|(key, sealed)| (secret(key), sealed));
        let registry = |host: &String| SecretPath::Registry(host.clone());
        let registries = request.credentials.iter().map(|(host, sealed)| (registry(host), sealed));
        let sealed: Vec<(SecretPath, SealedSecret)> =
            secrets.chain(registries).map(|(path, it)| (path, it.clone())).collect();
        for (path, sealed) in sealed {
            // The same secret sealed again is other bytes; its fingerprint tells that it is the same.
            let known = self.state.secrets().get(&path);
            if known.is_none_or(|it| it.fingerprint != sealed.fingerprint) {
                self.commit(Change::Secret(path, Some(Arc::new(sealed))), now);
            }
        }
    }

    pub(super) fn apply(
        &mut self,
        name: &ProjectName,
        next: &Next<'_>,
        decisions: Vec<Decision>,
        removed: &[ServiceKey],
        now: Now,
    ) {
        let mut model = definition::without_services(next.model);
        let applied = |key: &ServiceKey| decisions.iter().any(|it| it.plan.service == key.service);
        if let Some(before) = self.state.deployments().get(name)
            && self.state.services_of(name).any(|(key, _)| !applied(key))
        {
            definition::carry_over(&mut model, &before.model);
        }
        let record = DeploymentRecord {
            version: next.version,
            model: model.to_string().into(),
            working_dir: next.working_dir.to_owned(),
            files: next.files.to_vec(),
            updated: now.wall,
            overlay: next.overlay,
            removal: None,
        };
        self.commit(Change::Deployment(name.clone(), Some(Arc::new(record))), now);
        let mut replaced = BTreeSet::new();
        for Decision { plan, record } in decisions {
            if plan.action == PlannedAction::Replace {
                replaced.insert(plan.service.clone());
            }
            let key = ServiceKey { project: name.clone(), service: plan.service };
            self.commit(Change::Service(key, Some(Arc::new(record))), now);
        }
        for key in removed {
            self.intend(key, now, |record| {
                (record.intent, record.grace) = (Intent::Forget { volumes: false }, next.grace);
            });
        }
        self.decode(name);
        self.watch_all_on(name, now);
        self.restart_dependents(name, &replaced, next.grace, now);
        self.keep_revision(name, next.returns_to, now);
    }

    /// Decodes a deployment as it is agreed now.
    pub(super) fn decode(&mut self, name: &ProjectName) {
        self.places.remove(name);
        match Layout::of(&self.state, name) {
            None => drop(self.layouts.remove(name)),
            Some(Ok(layout)) => drop(self.layouts.insert(name.clone(), layout)),
            Some(Err(refusal)) => {
                self.layouts.remove(name);
                let why: Arc<str> = format!("this fizz cannot read it: {refusal}").into();
                for (key, _) in self.state.services_of(name) {
                    self.stuck.insert(key.clone(), why.clone());
                }
            }
        }
        self.charge_anew(name);
        self.note_volumes();
        self.note_singletons(name);
    }

    /// Forgets a deployment of which nothing is left, and its secrets.
    pub(super) fn forget_deployment(&mut self, name: &ProjectName, now: Now) {
        let secrets = self.state.secrets().iter().map(|(path, _)| path);
        let mine = secrets.filter(|path| matches!(path, SecretPath::Project(it, _) if it == name));
        let mine: Vec<SecretPath> = mine.cloned().collect();
        for path in mine {
            self.commit(Change::Secret(path, None), now);
        }
        let kept: Vec<RevisionKey> =
            self.state.revisions_of(name).map(|(key, _)| key.clone()).collect();
        for key in kept {
            self.commit(Change::Revision(key, None), now);
        }
        self.commit(Change::Deployment(name.clone(), None), now);
        self.layouts.remove(name);
        self.note_volumes();
        self.note_singletons(name);
        self.places.remove(name);
        self.agenda.again(name, None);
        self.stuck.retain(|key, _| key.project != *name);
        self.ready.retain(|key| key.project != *name);
    }
}

/// The services to apply: those asked for and what they depend on, in the model's order.
fn selected(
    project: &ProjectSpec,
    request: &DeployRequest,
) -> Result<BTreeSet<ServiceName>, Refusal> {
    let asked = request.services.iter().chain(request.scale.keys());
    for service in asked {
        if !project.services.contains_key(service) {
            return Err(Refusal::NotFound { what: "service", name: service.to_string() });
        }
    }
    if request.services.is_empty() {
        return Ok(project.services.keys().cloned().collect());
    }
    let mut selected = BTreeSet::new();
    let mut open = request.services.clone();
    while let Some(service) = open.pop() {
        let Some(spec) = project.services.get(&service) else { continue };
        if selected.insert(service) && !request.no_deps {
            open.extend(spec.depends_on.keys().cloned());
        }
    }
    Ok(selected)
}

fn removal_of(key: &ServiceKey, state: &crate::state::ClusterState) -> PlannedService {
    PlannedService {
        service: key.service.clone(),
        action: PlannedAction::Remove,
        replicas_before: state.services().get(key).map_or(0, |it| it.replicas),
        replicas_after: 0,
        changes: vec![],
    }
}
