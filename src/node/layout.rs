//! A deployment as the orchestrator works with it: decoded once when it changes, and kept.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Refusal, definition};
use crate::{
    model::{
        ProjectName, Revision, ServiceName,
        spec::{NetworkMode, ProjectSpec, ServiceSpec},
    },
    reconcile,
    scheduler::Rules,
    state::{ClusterState, Template},
};

/// A deployment, decoded.
#[derive(Debug)]
pub(super) struct Layout {
    /// Its services as they are wanted.
    pub(super) spec: Arc<ProjectSpec>,
    /// Services as they were before, while what is wanted did not prove itself.
    previous: BTreeMap<ServiceName, (Revision, Arc<ProjectSpec>)>,
    /// Where they may run.
    pub(super) rules: BTreeMap<ServiceName, Rules>,
    /// Services that must be on one node, together.
    pub(super) units: Vec<Vec<ServiceName>>,
}

impl Layout {
    /// Decodes a deployment as it is agreed; `None` if it is not there.
    pub(super) fn of(state: &ClusterState, name: &ProjectName) -> Option<Result<Self, Refusal>> {
        let deployment = state.deployments().get(name)?;
        let services = || state.services_of(name).map(|(key, it)| (key.service.clone(), it));
        let wanted = services().map(|(name, it)| (name, &*it.template.definition));
        let spec = match definition::assemble(&deployment.model, wanted) {
            Ok(spec) => spec,
            Err(refusal) => return Some(Err(refusal)),
        };
        let before = |template: &Template, service: &ServiceName| {
            let one = [(service.clone(), &*template.definition)];
            let spec = definition::assemble(&deployment.model, one.into_iter()).ok()?;
            Some((template.revision, Arc::new(spec)))
        };
        let previous = services().filter_map(|(name, it)| {
            let spec = before(it.previous.as_deref()?, &name)?;
            Some((name, spec))
        });
        let previous = previous.collect();
        let rules = spec.services.iter().map(|(name, it)| (name.clone(), Rules::of(it, &spec)));
        let rules: BTreeMap<ServiceName, Rules> = rules.collect();
        let units = units(&spec, &rules, deployment.overlay);
        Some(Ok(Self { spec: Arc::new(spec), previous, rules, units }))
    }

    /// A project and in it a service as a container of this revision is made from it. Of a revision that is
    /// neither wanted nor the one before nothing is known; it goes soon.
    pub(super) fn made_from(
        &self,
        service: &ServiceName,
        revision: Revision,
    ) -> Option<(&Arc<ProjectSpec>, &ServiceSpec)> {
        let before = self.previous.get(service).filter(|(it, _)| *it == revision);
        let project = before.map_or(&self.spec, |(_, project)| project);
        Some((project, project.services.get(service)?))
    }

    /// Those that must be on the same node as a service, itself among them.
    pub(super) fn unit_of(&self, service: &ServiceName) -> &[ServiceName] {
        let found = self.units.iter().find(|it| it.contains(service));
        found.map_or(&[], Vec::as_slice)
    }
}

/// Services that share what only one node has: namespaces, volumes of that node, and networks that do not span
/// the nodes.
fn units(
    project: &ProjectSpec,
    rules: &BTreeMap<ServiceName, Rules>,
    overlay: bool,
) -> Vec<Vec<ServiceName>> {
    let mut units: Vec<(BTreeSet<String>, Vec<ServiceName>)> = vec![];
    for (name, service) in &project.services {
        let mut shares = shared(service, rules.get(name), overlay);
        shares.insert(format!("service {name}"));
        let mut members = vec![name.clone()];
        // All that it shares something with become one with it.
        units.retain_mut(|(theirs, names)| {
            let apart = shares.is_disjoint(theirs);
            if !apart {
                shares.append(theirs);
                members.append(names);
            }
            apart
        });
        members.sort();
        units.push((shares, members));
    }
    let mut units: Vec<Vec<ServiceName>> = units.into_iter().map(|(_, names)| names).collect();
    units.sort();
    units
}

fn shared(service: &ServiceSpec, rules: Option<&Rules>, overlay: bool) -> BTreeSet<String> {
    let peers = reconcile::peers(service).into_iter().map(|it| format!("service {it}"));
    let volumes = rules.into_iter().flat_map(Rules::volumes).map(|it| format!("volume {it}"));
    let networks = match &service.container.network {
        NetworkMode::Networks(networks) if !overlay => {
            networks.keys().map(|it| format!("network {it}")).collect()
        }
        NetworkMode::Networks(_)
        | NetworkMode::None
        | NetworkMode::Host
        | NetworkMode::Bridge
        | NetworkMode::Service(_)
        | NetworkMode::Container(_)
        | NetworkMode::Named(_) => vec![],
    };
    peers.chain(volumes).chain(networks).collect()
}
