//! From the runtime's own networks to those that span the nodes, for what was deployed before there were any.

use std::sync::Arc;

use super::{
    MigrateRequest, Node, Now, Planned, Refusal, Response, definition,
    deploy::{Decision, Next},
};
use crate::{
    model::{ServiceKey, spec::ServiceSpec},
    state::{Intent, ServiceRecord, Template},
};

impl Node {
    /// Has a deployment's networks span the nodes. Each service is replaced as with any other change of it; what is
    /// stopped stays so, and a job runs there the next time that it does.
    pub(super) fn migrate(
        &mut self,
        request: &MigrateRequest,
        now: Now,
    ) -> Result<Response, Refusal> {
        let name = &request.project;
        self.refuse_while_removed(name)?;
        let deployment = self.deployment_at(name, request.if_version)?;
        let version = deployment.version;
        if deployment.overlay {
            let why = format!("the networks of `{name}` span the nodes already");
            return Err(Refusal::Conflict(why));
        }
        if let Some(why) = self.why_not_meshed() {
            return Err(Refusal::Conflict(why));
        }
        let services = self.state.services_of(name);
        let services = services.filter(|(_, it)| !matches!(it.intent, Intent::Forget { .. }));
        let services: Vec<(ServiceKey, Arc<ServiceRecord>)> =
            services.map(|(key, it)| (key.clone(), Arc::clone(it))).collect();
        let spec = self.layouts.get(name).map(|it| it.spec.clone());
        let decisions = services.iter().filter_map(|(key, known)| {
            let spec = spec.as_ref()?.services.get(&key.service)?;
            Some(self.decide_there(key, known, spec, now))
        });
        let decisions: Vec<Decision> = decisions.collect();
        let planned = Planned {
            version_before: version,
            version: version + 1,
            services: decisions.iter().map(|it| it.plan.clone()).collect(),
            overlay: true,
            ..Planned::default()
        };
        if !request.dry_run {
            let next = Next {
                model: &deployment.model.parse().unwrap_or_default(),
                working_dir: &deployment.working_dir,
                files: &deployment.files,
                version: version + 1,
                returns_to: None,
                overlay: true,
                grace: None,
            };
            self.apply(name, &next, decisions, &[], now);
        }
        Ok(Response::Planned(Box::new(planned)))
    }

    fn decide_there(
        &self,
        key: &ServiceKey,
        known: &ServiceRecord,
        spec: &ServiceSpec,
        now: Now,
    ) -> Decision {
        let is_job = spec.deploy.mode.is_job();
        let before = &known.template;
        let revision = match is_job {
            true => before.revision,
            false => definition::spanning(before.revision, spec),
        };
        let template = Template { revision, ..before.clone() };
        let mut decision = self.decide_back(key, &template, spec, now);
        decision.record.intent = known.intent;
        decision.record.starts = known.starts;
        decision
    }
}
