//! The clock, for services that run by it.

use super::{Node, Now};
use crate::{
    model::{Millis, Moment, ProjectName, ServiceKey, Tick, WallTime, spec::ServiceSpec},
    state::{Intent, ServiceRecord},
};

/// How long not to look at the clock at most: somebody may set it.
const LOOK_INTERVAL: Millis = Millis::from_secs(30);

impl Node {
    /// The time of day. Where this node's clock is known to differ from the others', theirs counts.
    pub(super) fn time_of_day(&self, now: Now) -> WallTime {
        match self.clock_error_ms() {
            Some(error) => WallTime(now.wall.0.saturating_add_signed(error.saturating_neg())),
            None => now.wall,
        }
    }

    /// When to look at the clock again for the services of a project.
    pub(super) fn next_look_at_clock(&self, project: &ProjectName, now: Now) -> Option<Moment> {
        let layout = self.layouts.get(project)?;
        let time = self.time_of_day(now);
        let next = self.state.services_of(project).filter_map(|(key, record)| {
            let cron = layout.spec.services.get(&key.service)?.extension.cron.as_ref()?;
            let goes = record.intent == Intent::Run && record.replicas != 0;
            let next = cron.schedule.next(&cron.zone, Tick::of(time)).filter(|_| goes)?;
            Some(Millis(next.time().0.saturating_sub(time.0)))
        });
        Some(now.moment + next.min()?.clamp(Millis(1), LOOK_INTERVAL))
    }

    /// The last tick that is none of a service's, which is applied now. If it goes on as it was, that stays.
    pub(super) fn ticks_after(
        &self,
        key: &ServiceKey,
        spec: &ServiceSpec,
        now: Now,
    ) -> Option<Tick> {
        let cron = spec.extension.cron.as_ref()?;
        let known = self.state.services().get(key).filter(|it| it.intent == Intent::Run);
        let same = self.spec_of(key).and_then(|it| it.extension.cron.as_ref()) == Some(cron);
        let kept = known.and_then(|it| it.ticks_after).filter(|_| same);
        Some(kept.unwrap_or_else(|| Tick::of(self.time_of_day(now))))
    }
}

/// What runs by the clock missed nothing while it was not to run.
pub(super) fn count_ticks_from(time: WallTime, record: &mut ServiceRecord) {
    if record.intent != Intent::Run || record.replicas == 0 {
        record.ticks_after = record.ticks_after.map(|_| Tick::of(time));
    }
}
