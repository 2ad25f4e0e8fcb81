//! The containers of the whole cluster, as a node keeps track of them: by project, and for how long it
//! has seen each in its state. Civil clocks differ; how long something has been so is for each node
//! to see by itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    model::{ContainerId, Millis, Moment, NodeId, ProjectName},
    scheduler::{Charge, Tenant, Usage},
    state::ContainerRecord,
};

/// The containers of the whole cluster.
#[derive(Debug, Default)]
pub(super) struct Fleet {
    seen: BTreeMap<ContainerId, Seen>,
    by_project: BTreeMap<ProjectName, BTreeSet<ContainerId>>,
    usage: Usage,
}

#[derive(Debug)]
struct Seen {
    record: Arc<ContainerRecord>,
    since: Moment,
    charge: Arc<Charge>,
}

impl Seen {
    fn tenant(&self) -> Tenant<'_> {
        let it = &*self.record;
        Tenant { service: &it.service, slot: it.slot, created: it.created, charge: &self.charge }
    }
}

impl Fleet {
    /// Takes in what is agreed of a container now, and what it takes of its node. What was known of it
    /// before.
    pub(super) fn note(
        &mut self,
        id: ContainerId,
        record: Option<(&Arc<ContainerRecord>, Arc<Charge>)>,
        now: Moment,
    ) -> Option<Arc<ContainerRecord>> {
        let before = self.seen.remove(&id);
        if let Some(before) = &before {
            self.usage.remove(before.record.node, before.tenant());
            if record.as_ref().is_none_or(|(it, _)| it.service != before.record.service) {
                self.leave(&before.record);
            }
        }
        if let Some((record, charge)) = record {
            let same = before.as_ref().filter(|it| it.record.state == record.state);
            let since = same.map_or(now, |it| it.since);
            let seen = Seen { record: record.clone(), since, charge };
            self.usage.add(record.node, seen.tenant());
            self.seen.insert(id, seen);
            self.by_project.entry(record.service.project.clone()).or_default().insert(id);
        }
        before.map(|it| it.record)
    }

    /// Notes that a container takes something else of its node than was known.
    pub(super) fn charge(&mut self, id: ContainerId, charge: Arc<Charge>) {
        if let Some(seen) = self.seen.get_mut(&id) {
            self.usage.remove(seen.record.node, seen.tenant());
            seen.charge = charge;
            self.usage.add(seen.record.node, seen.tenant());
        }
    }

    /// What a container takes, and of which node.
    pub(super) fn taken(&self, id: ContainerId) -> Option<(NodeId, Arc<Charge>)> {
        let seen = self.seen.get(&id)?;
        Some((seen.record.node, seen.charge.clone()))
    }

    fn leave(&mut self, record: &ContainerRecord) {
        let project = &record.service.project;
        if let Some(ids) = self.by_project.get_mut(project) {
            ids.remove(&record.id);
            if ids.is_empty() {
                self.by_project.remove(project);
            }
        }
    }

    /// The containers of a project.
    pub(super) fn of<'a>(
        &'a self,
        project: &ProjectName,
    ) -> impl Iterator<Item = &'a Arc<ContainerRecord>> {
        let ids = self.by_project.get(project).into_iter().flatten();
        ids.filter_map(|id| Some(&self.seen.get(id)?.record))
    }

    /// What all of them take of their nodes.
    pub(super) fn usage(&self) -> &Usage {
        &self.usage
    }

    /// The projects that have containers.
    pub(super) fn projects(&self) -> impl Iterator<Item = &ProjectName> {
        self.by_project.keys()
    }

    /// For how long a container has been seen in its state.
    pub(super) fn stood(&self, id: ContainerId, now: Moment) -> Millis {
        self.seen.get(&id).map_or(Millis(0), |it| now - it.since)
    }
}
