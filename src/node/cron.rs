//! The clock: what is due of the services that run by it. Of those members that are there one looks, for all.

use super::{Node, Now};
use crate::{
    model::{Millis, Moment, ProjectName, ServiceKey, Tick, WallTime, spec::ServiceSpec},
    reconcile,
    state::{Intent, Ticks},
};

/// How long not to look at the clock at most: somebody may set it.
const LOOK_INTERVAL: Millis = Millis::from_secs(30);

impl Node {
    /// Looks at the clock for the services of a project, if this is the node that does. When to look
    /// again.
    pub(super) fn look_at_clock(&mut self, project: &ProjectName, now: Now) -> Option<Moment> {
        let layout = self.layouts.get(project)?;
        let timed = layout.spec.services.iter().filter(|(_, it)| it.extension.cron.is_some());
        let timed: Vec<ServiceKey> = timed
            .map(|(name, _)| ServiceKey { project: project.clone(), service: name.clone() })
            .collect();
        if timed.is_empty() || !self.stands_for(project) {
            return None;
        }
        // The others' clocks count, where this one is known to differ.
        let wall = match self.clock_error_ms() {
            Some(error) => WallTime(now.wall.0.saturating_add_signed(error.saturating_neg())),
            None => now.wall,
        };
        let next = timed.iter().filter_map(|key| self.look_at_clock_for(key, wall, now)).min()?;
        Some(now.moment + next.min(LOOK_INTERVAL))
    }

    /// Notes what is due of a service. In how long its next tick is.
    fn look_at_clock_for(&mut self, key: &ServiceKey, wall: WallTime, now: Now) -> Option<Millis> {
        let record = self.state.services().get(key)?.clone();
        let cron = self.spec_of(key)?.extension.cron.clone()?;
        if record.intent != Intent::Run || record.replicas == 0 {
            return None;
        }
        let runs = self.runs(key, &record).unwrap_or_default();
        let ticks = self.fleet.of(&key.project).filter(|it| it.service == *key);
        let begun: Vec<Tick> = ticks.filter_map(|it| Tick::of_slot(it.slot)).collect();
        let known = record.ticks.unwrap_or(Ticks { seen: Tick::of(wall), due: None });
        let goes_on = !runs.open.is_empty();
        let ticks = reconcile::advance(known, &cron, wall, goes_on, &begun);
        self.intend(key, now, |record| record.ticks = Some(ticks));
        let next = cron.schedule.next(&cron.zone, Tick::of(wall).max(ticks.seen))?;
        Some(Millis(next.time().0.saturating_sub(wall.0)))
    }

    /// How far a service is, if it goes on as it was; else it begins anew.
    pub(super) fn ticks_kept(&self, key: &ServiceKey, spec: &ServiceSpec) -> Option<Ticks> {
        let known = self.state.services().get(key).filter(|it| it.intent == Intent::Run)?;
        let same = self.spec_of(key)?.extension.cron == spec.extension.cron;
        known.ticks.filter(|_| same)
    }
}
