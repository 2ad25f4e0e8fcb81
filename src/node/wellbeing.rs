//! Health checks: when they are due, and what their results do.

use std::sync::Arc;

use super::{Effect, Node, Now, ProbeResult, local::PAUSE_REPLACED};
use crate::{
    health::{Check, Monitor, Verdict},
    model::{ContainerEvent, ContainerId, ContainerState, Millis, ProjectName},
};

impl Node {
    /// The check of a container, from its service and its image.
    pub(super) fn check_of(&self, id: ContainerId) -> Option<Check> {
        let record = self.state.container(id)?;
        let image = self.local.get(&id).and_then(|local| local.image_health.as_ref());
        let spec = self.spec_from(&record.service, record.revision)?;
        Check::new(spec.container.health.as_ref(), image, spec.extension.failed_after)
    }

    /// Begins to watch a container whose process begins.
    pub(super) fn watch(&mut self, id: ContainerId, now: Now) {
        let check = self.check_of(id);
        let Some(local) = self.local.get_mut(&id) else { return };
        local.monitor = check.map(|check| Monitor::new(check, now.moment));
    }

    /// Watches a container that has run for a while by the check that its service and its image have
    /// now, unless it is watched by that one already.
    pub(super) fn watch_on(&mut self, id: ContainerId, ran: Millis, now: Now) {
        let Some(state) = self.state.container(id).map(|it| it.state) else { return };
        let check = self.check_of(id);
        let Some(local) = self.local.get_mut(&id) else { return };
        let same = local.monitor.as_ref().map(Monitor::check) == check.as_ref();
        if state.is_up() && local.alive && !same {
            let starting = state == ContainerState::Running;
            let resumed = |check| Monitor::resumed(check, starting, ran, now.moment);
            local.monitor = check.map(resumed);
        }
    }

    /// A project's definitions may have changed: a check is followed without a restart.
    pub(super) fn watch_all_on(&mut self, project: &ProjectName, now: Now) {
        let mine = self.fleet.of(project).filter(|it| it.node == self.me);
        let mine: Vec<ContainerId> = mine.map(|it| it.id).collect();
        for id in mine {
            let checked = self.check_of(id).is_some();
            self.amend(id, now, |record| record.checked = checked);
            let since = self.local.get(&id).map_or(now.moment, |it| it.alive_since);
            self.watch_on(id, now.moment - since, now);
        }
    }

    /// Has every check made that is due.
    pub(super) fn probe(&mut self, now: Now) {
        for (&container, local) in &mut self.local {
            let checkable = local.is_checkable();
            let Some(monitor) = &mut local.monitor else { continue };
            let due = monitor.due().is_some_and(|due| due <= now.moment);
            let record = self.state.container(container);
            let Some(runtime_id) = record.and_then(|it| it.runtime_id.clone()) else { continue };
            if due && checkable {
                monitor.begin();
                let (test, timeout) = (monitor.check().test.clone(), monitor.check().timeout);
                let address = local.address;
                self.effects.push(Effect::Probe { container, runtime_id, address, test, timeout });
            }
        }
    }

    /// Takes in a check's result.
    pub(super) fn probed(&mut self, id: ContainerId, result: Option<ProbeResult>, now: Now) {
        let Some(local) = self.local.get_mut(&id) else { return };
        let checkable = local.is_checkable();
        let Some(monitor) = &mut local.monitor else { return };
        // A check of a container that was paused or told to stop meanwhile says nothing of it.
        let result = result.filter(|it| it.passed || checkable);
        let Some(ProbeResult { passed, output }) = result else {
            monitor.skip(now.moment);
            return;
        };
        let verdict = monitor.result(passed, now.moment);
        local.note(passed, output.clone(), now);
        let why: Arc<str> = format!("health check failed: {}", output.trim()).into();
        // Nobody replaces a container of `fizz run`: its end is its own.
        let one_off = self.state.container(id).is_some_and(|it| it.one_off.is_some());
        match verdict {
            Verdict::GaveUp if one_off => {
                self.transition(id, ContainerEvent::Sickened, Some(why), now);
            }
            Verdict::Unsure => {}
            Verdict::Passed => self.transition(id, ContainerEvent::Passed, None, now),
            Verdict::Sickened => self.transition(id, ContainerEvent::Sickened, Some(why), now),
            Verdict::GaveUp => self.give_up(id, &why, now),
        }
        if let Some(subject) = self.subject(id) {
            let state = if passed { "passed" } else { "failed" };
            self.notify("container.health", subject, Some(state.to_owned()), Some(output));
        }
    }

    /// A container stayed unhealthy: it failed, and will be replaced after a pause.
    fn give_up(&mut self, id: ContainerId, why: &Arc<str>, now: Now) {
        self.transition(id, ContainerEvent::GaveUp, Some(why.clone()), now);
        self.amend(id, now, |record| record.given_up = true);
        let attempts = self.state.container(id).map_or(0, |record| record.attempts);
        if let Some(local) = self.local.get_mut(&id) {
            local.monitor = None;
            local.rest(Some(PAUSE_REPLACED), attempts, now.moment);
        }
    }
}
