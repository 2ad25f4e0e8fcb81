//! What users want of changes: to go back, to wait, to go on.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::Value;

use super::{
    Node, Now, Planned, Refusal, Response, RollbackRequest, RolloutVerb, definition,
    deploy::{Decision, Next},
};
use crate::{
    compose::diff,
    model::{ProjectName, Revision, ServiceKey, ServiceName, spec::ServiceSpec},
    reconcile,
    state::{
        Change, DeploymentRecord, Intent, RevisionKey, RevisionRecord, Rollout, ServiceRecord,
        Stage, Template,
    },
};

/// How many versions of a deployment are kept.
pub(super) const REVISIONS_KEPT_MAX: usize = 10;

impl Node {
    /// Does something to changes that go on.
    pub(super) fn steer(
        &mut self,
        project: &ProjectName,
        services: &[ServiceName],
        verb: RolloutVerb,
        now: Now,
    ) -> Result<Response, Refusal> {
        self.refuse_while_removed(project)?;
        let keys = self.keys(project, services)?;
        let stage = |key: &ServiceKey| self.state.services().get(key).map(|it| it.rollout.stage);
        let can = |key: &&ServiceKey| stage(key).is_some_and(|it| verb.applies_to(it));
        let keys: Vec<ServiceKey> = keys.iter().filter(can).cloned().collect();
        if keys.is_empty() {
            let why = format!("no service of `{project}` {}; see `fizz ps`", verb.wants());
            return Err(Refusal::Conflict(why));
        }
        for key in keys {
            self.intend(&key, now, |record| match verb {
                RolloutVerb::Pause => record.rollout.stage = Stage::Paused,
                RolloutVerb::Resume | RolloutVerb::Promote => {
                    record.rollout = Rollout { stage: Stage::Going, failed: None };
                }
                RolloutVerb::Abort => reconcile::go_back(record, None),
            });
        }
        self.decode(project);
        Ok(Response::Done)
    }

    /// Goes back to what a deployment, or a service of it, was.
    pub(super) fn roll_back(
        &mut self,
        request: &RollbackRequest,
        now: Now,
    ) -> Result<Response, Refusal> {
        let name = &request.project;
        self.refuse_while_removed(name)?;
        let keys = self.keys(name, request.service.as_slice())?;
        let deployment = self.deployment_at(name, request.if_version)?;
        let (target, record) = self.target(request, &keys)?;
        let services = record.services.iter().map(|(name, it)| (name.clone(), &*it.definition));
        let then = definition::assemble(&record.model, services)?;
        let mut decisions = vec![];
        for (service, template) in &record.services {
            let asked = request.service.as_ref().is_none_or(|it| it == service);
            if let Some(spec) = then.services.get(service).filter(|_| asked) {
                let key = ServiceKey { project: name.clone(), service: service.clone() };
                decisions.push(self.decide_back(&key, template, spec, now));
            }
        }
        let planned = Planned {
            version_before: deployment.version,
            version: deployment.version + 1,
            services: decisions.iter().map(|it| it.plan.clone()).collect(),
            overlay: deployment.overlay,
            ..Planned::default()
        };
        if !request.dry_run {
            let mut model: Value = record.model.parse().unwrap_or_default();
            definition::carry_over(&mut model, &deployment.model);
            let next = Next {
                model: &model,
                working_dir: &deployment.working_dir,
                files: &deployment.files,
                version: deployment.version + 1,
                returns_to: Some(target.version),
                overlay: deployment.overlay,
                grace: None,
            };
            self.apply(name, &next, decisions, &[], now);
        }
        Ok(Response::Planned(Box::new(planned)))
    }

    /// A deployment, if it is still at the version that the plan was about.
    pub(super) fn deployment_at(
        &self,
        name: &ProjectName,
        planned: Option<u64>,
    ) -> Result<Arc<DeploymentRecord>, Refusal> {
        let Some(deployment) = self.state.deployments().get(name).cloned() else {
            return Err(Refusal::NotFound { what: "deployment", name: name.to_string() });
        };
        let version = deployment.version;
        match planned.filter(|it| *it != version) {
            Some(planned) => Err(Refusal::Overtaken { project: name.clone(), version, planned }),
            None => Ok(deployment),
        }
    }

    /// The version to go back to: the one that was asked for, or the last that was different.
    fn target(
        &self,
        request: &RollbackRequest,
        keys: &[ServiceKey],
    ) -> Result<(RevisionKey, Arc<RevisionRecord>), Refusal> {
        let name = &request.project;
        let asked = |key: &RevisionKey| {
            request.version.is_none_or(|it| it == key.version)
                && request.content.as_ref().is_none_or(|it| key.content.to_string().starts_with(it))
        };
        let kept: Vec<_> =
            self.state.revisions_of(name).map(|(key, it)| (key.clone(), it.clone())).collect();
        let found: Vec<_> = kept.iter().filter(|(key, _)| asked(key)).cloned().collect();
        let Some(version) = request.version else {
            let differs = |it: &RevisionRecord| {
                keys.iter().any(|key| {
                    let now = self.state.services().get(key).map(|it| it.template.revision);
                    let then = it.services.get(&key.service).map(|it| it.revision);
                    then.is_some() && now != then
                })
            };
            let last = kept.into_iter().rev().find(|(_, it)| differs(it));
            return last.ok_or_else(|| {
                let why = format!("`{name}` was never anything else: see `fizz history {name}`");
                Refusal::Conflict(why)
            });
        };
        match found.as_slice() {
            [one] => Ok(one.clone()),
            [] => Err(Refusal::NotFound { what: "version", name: format!("{name} {version}") }),
            several => {
                let names = several.iter().map(|(key, _)| format!("{version}.{}", key.short()));
                let names: Vec<String> = names.collect();
                let why = format!(
                    "version {version} of `{name}` was applied in two parts of the cluster at the \
                     same time: say which, {}",
                    names.join(" or ")
                );
                Err(Refusal::Conflict(why))
            }
        }
    }

    pub(super) fn decide_back(
        &self,
        key: &ServiceKey,
        template: &Template,
        spec: &ServiceSpec,
        now: Now,
    ) -> Decision {
        let known = self.state.services().get(key).map(AsRef::as_ref);
        let definition: Value = template.definition.parse().unwrap_or_default();
        let (previous, rollout) = self.change_to(key, spec, known, template, false);
        let fresh = ServiceRecord {
            template: template.clone(),
            previous,
            rollout,
            moves: BTreeMap::new(),
            ticks_after: self.ticks_after(key, spec, now),
            done: BTreeSet::new(),
            replicas: definition::replicas(spec.deploy.mode),
            intent: Intent::Run,
            restarts: 0,
            starts: 1,
            grace: None,
            renew_volumes: false,
        };
        let record = match known {
            None => fresh,
            Some(known) => ServiceRecord {
                moves: known.moves.clone(),
                done: match known.template.is_same(template) {
                    true => known.done.clone(),
                    false => BTreeSet::new(),
                },
                replicas: known.replicas,
                restarts: known.restarts,
                starts: known.starts + 1,
                ..fresh
            },
        };
        let plan = self.plan_of(key, known, &record, &definition);
        Decision { plan, record }
    }

    /// Keeps what a deployment is now among its versions, and forgets the oldest.
    pub(super) fn keep_revision(&mut self, name: &ProjectName, returns_to: Option<u64>, now: Now) {
        let Some(deployment) = self.state.deployments().get(name) else { return };
        let services = self.state.services_of(name);
        let services = services.filter(|(_, it)| !matches!(it.intent, Intent::Forget { .. }));
        let record = RevisionRecord {
            at: now.wall,
            by: self.me,
            returns_to,
            model: deployment.model.clone(),
            services: services
                .map(|(key, it)| (key.service.clone(), it.template.clone()))
                .collect(),
        };
        let content = content_of(&record);
        let key = RevisionKey { project: name.clone(), version: deployment.version, content };
        self.commit(Change::Revision(key, Some(Arc::new(record))), now);
        let kept: Vec<RevisionKey> =
            self.state.revisions_of(name).map(|(key, _)| key.clone()).collect();
        let over = kept.len().saturating_sub(REVISIONS_KEPT_MAX);
        for key in kept.into_iter().take(over) {
            self.commit(Change::Revision(key, None), now);
        }
    }
}

/// What a version comes to: the same of the same, wherever it was applied.
fn content_of(record: &RevisionRecord) -> Revision {
    let services = record.services.iter();
    let parts = services.map(|(name, it)| format!("{name} {} {:?}", it.revision, it.image));
    let parts: Vec<String> = parts.chain([record.model.to_string()]).collect();
    diff::revision(&Value::Null, parts.iter().map(|it| it.as_bytes()))
}
