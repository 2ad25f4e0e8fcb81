//! One slot of one service: from its containers to their next steps.
//!
//! A container that is out of date is replaced so that the least time passes without one: the new one
//! is made while the old one runs, then the old one stops and goes, then the new one starts.

use std::sync::Arc;

use crate::{
    model::{ContainerId, ContainerState, Slot, spec::RestartCondition},
    state::{ContainerRecord, Intent, ServiceRecord},
};

/// A container and what only its node knows of it.
#[derive(Clone, Copy, Debug)]
pub struct Instance<'a> {
    /// The container.
    pub record: &'a ContainerRecord,
    /// A step of it is under way.
    pub busy: bool,
    /// It must wait before it is tried again.
    pub resting: bool,
    /// Its process lives, whatever its state says.
    pub alive: bool,
    /// It has a health check.
    pub checked: bool,
    /// It must not start until somebody has attached to it.
    pub held_back: bool,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Record a new container for a slot, which replaces these.
    Record(Slot),
    /// Make it, and start it if so.
    Launch {
        /// Which.
        container: ContainerId,
        /// Start it too.
        start: bool,
    },
    /// Begin its first run, or a new one for this reason.
    Start(ContainerId, Cause),
    /// Stop it.
    Halt(ContainerId),
    /// Remove it.
    Discard {
        /// Which.
        container: ContainerId,
        /// With anonymous volumes.
        volumes: bool,
    },
    /// It would start, but for this.
    Wait(ContainerId, Arc<str>),
}

/// Why a run begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It is wanted.
    Wanted,
    /// The restart policy says so.
    Policy,
}

/// What the rest of the project says about a slot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Around<'a> {
    /// What the service waits for, if anything.
    pub(super) blocked: Option<&'a Arc<str>>,
    /// Services that use this one still run.
    pub(super) needed: bool,
    /// One more slot may be in the middle of a replacement.
    pub(super) may_replace: bool,
    /// What its restart policy says.
    pub(super) restart: RestartCondition,
    /// How often the policy may try.
    pub(super) attempts_max: Option<u32>,
}

impl Instance<'_> {
    /// Whether it is made from what is wanted, and not given up.
    pub(super) fn is_current(&self, wanted: &ServiceRecord, restart: RestartCondition) -> bool {
        let image = |image| self.record.image.as_ref().is_none_or(|mine| mine == image);
        let replaceable = self.record.given_up && restart != RestartCondition::Never;
        self.record.revision == wanted.revision
            && wanted.image.as_ref().is_none_or(image)
            && !replaceable
    }

    /// Whether it is as well as it can be.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        match self.record.state {
            ContainerState::Healthy => true,
            ContainerState::Running => !self.checked,
            ContainerState::Pending
            | ContainerState::Unhealthy
            | ContainerState::Stopped
            | ContainerState::Failed => false,
        }
    }

    /// Whether it ended with status 0 of its own.
    #[must_use]
    pub fn is_completed(&self) -> bool {
        self.record.state == ContainerState::Stopped && self.record.exit_code == Some(0)
    }
}

/// The steps of the containers of one slot that is wanted here.
pub(super) fn wanted(
    slot: Slot,
    service: &ServiceRecord,
    instances: &[Instance<'_>],
    around: Around<'_>,
) -> Vec<Step> {
    match service.intent {
        Intent::Run => run(slot, service, instances, around),
        Intent::Stop => {
            let alive = instances.iter().filter(|it| it.alive && !it.busy && !around.needed);
            alive.map(|it| Step::Halt(it.record.id)).collect()
        }
        Intent::Remove { volumes } | Intent::Forget { volumes } => {
            instances.iter().filter_map(|it| clear(it, volumes, around.needed)).collect()
        }
    }
}

/// The step of a container that is not wanted: stop it, then remove it.
pub(super) fn clear(it: &Instance<'_>, volumes: bool, needed: bool) -> Option<Step> {
    let container = it.record.id;
    match (it.busy, it.alive) {
        (true, _) => None,
        (false, true) => (!needed).then_some(Step::Halt(container)),
        (false, false) => Some(Step::Discard { container, volumes }),
    }
}

fn run(
    slot: Slot,
    service: &ServiceRecord,
    instances: &[Instance<'_>],
    around: Around<'_>,
) -> Vec<Step> {
    let is_current = |it: &&Instance<'_>| it.is_current(service, around.restart);
    // The oldest that is current stays: it has run longest.
    let Some(current) = instances.iter().filter(is_current).min_by_key(|it| it.record.created)
    else {
        let resting = instances.iter().any(|it| it.resting && it.record.given_up);
        let replace = instances.is_empty() || (around.may_replace && !resting);
        return if replace { vec![Step::Record(slot)] } else { vec![] };
    };
    let others: Vec<&Instance<'_>> =
        instances.iter().filter(|it| it.record.id != current.record.id).collect();
    if others.is_empty() {
        return alone(current, service, around).into_iter().collect();
    }
    if current.record.runtime_id.is_none() {
        let prepare = Step::Launch { container: current.record.id, start: false };
        let ready = !current.busy && !current.resting;
        return if ready && may_begin(current, service, around) { vec![prepare] } else { vec![] };
    }
    if let Some(blocked) = around.blocked.filter(|_| others.iter().any(|it| it.alive)) {
        // The old one serves until the new one can.
        return vec![Step::Wait(current.record.id, blocked.clone())];
    }
    others.iter().filter_map(|it| clear(it, service.renew_volumes, false)).collect()
}

/// The step of a slot's only container, which is made from what is wanted.
fn alone(it: &Instance<'_>, service: &ServiceRecord, around: Around<'_>) -> Option<Step> {
    let (record, container) = (it.record, it.record.id);
    if it.busy {
        return None;
    }
    match record.state {
        ContainerState::Pending if it.resting => None,
        ContainerState::Pending => Some(begin(it, around.blocked)),
        ContainerState::Running | ContainerState::Healthy | ContainerState::Unhealthy => {
            (record.restarts < service.restarts).then_some(Step::Halt(container))
        }
        ContainerState::Stopped | ContainerState::Failed if it.alive => Some(Step::Halt(container)),
        ContainerState::Stopped | ContainerState::Failed => {
            let asked = record.restarts < service.restarts || record.starts < service.starts;
            match around.blocked {
                Some(blocked) if asked => Some(Step::Wait(container, blocked.clone())),
                _ if asked => Some(Step::Start(container, Cause::Wanted)),
                _ if it.resting || !restarts_by_itself(record, around) => None,
                _ => Some(Step::Start(container, Cause::Policy)),
            }
        }
    }
}

/// The first step of a container that never ran in this run.
pub(super) fn begin(it: &Instance<'_>, blocked: Option<&Arc<str>>) -> Step {
    let container = it.record.id;
    match (blocked, &it.record.runtime_id) {
        (None, None) => Step::Launch { container, start: !it.held_back },
        (None, Some(_)) => Step::Start(container, Cause::Wanted),
        (Some(_), None) => Step::Launch { container, start: false },
        (Some(blocked), Some(_)) => Step::Wait(container, blocked.clone()),
    }
}

/// Whether a container that could not be made may be tried (again).
fn may_begin(it: &Instance<'_>, service: &ServiceRecord, around: Around<'_>) -> bool {
    match it.record.state {
        ContainerState::Pending => true,
        ContainerState::Stopped | ContainerState::Failed => {
            it.record.starts < service.starts || restarts_by_itself(it.record, around)
        }
        ContainerState::Running | ContainerState::Healthy | ContainerState::Unhealthy => false,
    }
}

/// Whether the restart policy begins another run of an ended container.
pub(super) fn restarts_by_itself(record: &ContainerRecord, around: Around<'_>) -> bool {
    let tries_left = around.attempts_max.is_none_or(|max| record.attempts < max);
    let ended = match around.restart {
        RestartCondition::Unset | RestartCondition::Never => false,
        RestartCondition::OnFailure => record.state == ContainerState::Failed,
        RestartCondition::Always => true,
    };
    ended && tries_left && !record.held
}
