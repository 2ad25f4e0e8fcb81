//! Jobs: which of their containers are done, and the end of runs that take too long.

use std::collections::{BTreeMap, BTreeSet};

use super::{Node, Now, local::Local};
use crate::{
    model::{ContainerId, Millis, ProjectName, ServiceKey, Slot, Tick, spec::ServiceSpec},
    reconcile::{self, Runs},
    state::{ContainerRecord, ServiceRecord},
};

impl Node {
    /// Whether a container has done what it is there for, so that nothing of its replica is to run again.
    pub(super) fn is_over(&self, it: &ContainerRecord) -> bool {
        let service = self.state.services().get(&it.service);
        let known = service.zip(self.spec_of(&it.service));
        known.is_some_and(|(service, spec)| reconcile::is_over(it, service, spec))
    }

    /// Whether a container is a job's, which runs to completion.
    pub(super) fn is_once(&self, it: &ContainerRecord) -> bool {
        let is_job = |it: &ServiceSpec| it.deploy.mode.is_job();
        it.one_off.is_none() && self.spec_of(&it.service).is_some_and(is_job)
    }

    /// Of a job: what there is to run, and what has run.
    pub(super) fn runs(&self, key: &ServiceKey, service: &ServiceRecord, now: Now) -> Option<Runs> {
        let mine = self.fleet.of(&key.project).filter(|it| it.service == *key);
        let time = self.time_of_day(now);
        reconcile::runs(service, self.spec_of(key)?, mine.map(AsRef::as_ref), time)
    }

    /// Notes what jobs have done on nodes that are put out of the cluster: of their containers nothing is known
    /// from then on.
    pub(super) fn remember_done(&mut self, containers: &[ContainerId], now: Now) {
        let mut done: BTreeMap<ServiceKey, BTreeSet<Slot>> = BTreeMap::new();
        let known = containers.iter().filter_map(|it| self.state.container(*it));
        for it in known.filter(|it| self.is_over(it)) {
            done.entry(it.service.clone()).or_default().insert(it.slot);
        }
        for (key, slots) in done {
            let each_node = self.spec_of(&key).is_none_or(|it| it.deploy.mode.is_on_each_node());
            let ticks = slots.iter().filter_map(|it| Tick::of_slot(*it)).max();
            self.note(&key, now, |record| match record.ticks_after {
                Some(after) => record.ticks_after = Some(ticks.map_or(after, |it| it.max(after))),
                None if each_node => {}
                None => record.done.extend(slots),
            });
        }
    }

    /// Notes until when a run that begins, or that has gone on for so long, may take.
    pub(super) fn limit_run(&mut self, id: ContainerId, ran: Millis, now: Now) {
        let Some(record) = self.state.container(id).filter(|it| it.one_off.is_none()) else {
            return;
        };
        let spec = self.spec_from(&record.service, record.revision);
        let limit = spec.and_then(|it| it.extension.job?.timeout);
        if let Some(local) = self.local.get_mut(&id) {
            let run_ends = limit.map(|it| (now.moment + (it - ran), it));
            (local.run_ends, local.overdue) = (run_ends, None);
        }
    }

    /// Stops runs that take too long. They have failed.
    pub(super) fn end_overdue(&mut self, project: &ProjectName, now: Now) {
        let mine = self.fleet.of(project).filter(|it| it.node == self.me);
        let stops = |it: &Local| it.alive && it.overdue.is_some() && !it.is_busy(now.moment);
        let overdue = mine.map(|it| it.id).filter(|it| self.local.get(it).is_some_and(stops));
        let overdue: Vec<ContainerId> = overdue.collect();
        overdue.into_iter().for_each(|it| self.halt(it));
    }
}
