//! One slot of one service: from its containers to their next steps.
//!
//! A container that is out of date is replaced so that the least time passes without one: the new one
//! is made while the old one runs, then the old one stops and goes, then the new one starts.

use std::sync::Arc;

use crate::{
    model::{
        ContainerId, ContainerState, Slot,
        spec::{RestartCondition, RestartSpec},
    },
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
    /// How those whose namespaces it shares stand to it.
    pub owners: Owners,
}

/// How those stand to a container whose namespaces it shares; the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owners {
    /// They have the namespaces that it is in, or it is in none of theirs.
    Keep,
    /// One began anew, in new namespaces: this one is left alone in the old ones.
    BeganAnew,
    /// One is gone, and this one can never start again.
    Gone,
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
        /// Why again, where an earlier attempt failed.
        cause: Cause,
    },
    /// Begin its first run, or a new one for this reason.
    Start(ContainerId, Cause),
    /// Stop it.
    Halt(ContainerId),
    /// Stop it, so that it starts again.
    Again(ContainerId),
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
    /// What it must see before it can even be made, if anything.
    pub(super) unmade: Option<&'a Arc<str>>,
    /// Services that use this one still run.
    pub(super) needed: bool,
    /// One more slot may be in the middle of a replacement.
    pub(super) may_replace: bool,
    /// What its restart policy says.
    pub(super) restart: RestartSpec,
}

impl Instance<'_> {
    /// Whether it is made from what is wanted.
    pub(super) fn is_made_from(&self, wanted: &ServiceRecord) -> bool {
        let image = |image| self.record.image.as_ref().is_none_or(|mine| mine == image);
        self.record.revision == wanted.revision && wanted.image.as_ref().is_none_or(image)
    }

    /// Whether it is made from what is wanted, and not to be replaced because it was given up or those
    /// whose namespaces it shares are gone.
    pub(super) fn is_current(&self, wanted: &ServiceRecord, restart: RestartSpec) -> bool {
        self.is_made_from(wanted)
            && !is_replaced(self.record, restart)
            && self.owners != Owners::Gone
    }

    /// Whether it has followed every request to start and to restart it.
    pub(super) fn has_followed(&self, wanted: &ServiceRecord) -> bool {
        let started = wanted.starts <= self.record.starts || self.record.state.is_up();
        started && wanted.restarts <= self.record.restarts
    }

    /// Whether it is as well as it can be. What nobody checks any more is as well as what nobody ever
    /// checked.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        match self.record.state {
            ContainerState::Healthy => self.alive,
            ContainerState::Running | ContainerState::Unhealthy => self.alive && !self.checked,
            ContainerState::Pending | ContainerState::Stopped | ContainerState::Failed => false,
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
        Intent::Stop => keep(slot, service, instances, around),
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

/// The steps of a slot whose container is to be there, and not to run.
fn keep(
    slot: Slot,
    service: &ServiceRecord,
    instances: &[Instance<'_>],
    around: Around<'_>,
) -> Vec<Step> {
    if instances.iter().any(|it| it.alive) {
        let free = instances.iter().filter(|it| it.alive && !it.busy && !around.needed);
        return free.map(|it| Step::Halt(it.record.id)).collect();
    }
    let made = instances.iter().filter(|it| it.is_made_from(service));
    let Some(current) = made.min_by_key(|it| it.record.created) else {
        return vec![Step::Record(slot)];
    };
    if current.record.runtime_id.is_none() {
        let again = make(current.record.id, false, Cause::Wanted, around.unmade);
        let asked = !current.record.state.is_over() || current.record.starts < service.starts;
        return if asked && !current.busy { vec![again] } else { vec![] };
    }
    let others = instances.iter().filter(|it| it.record.id != current.record.id);
    others.filter_map(|it| clear(it, service.renew_volumes, false)).collect()
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
        // One that was given up is replaced by another of its kind only after a pause.
        let resting = instances.iter().any(|it| it.resting && it.is_made_from(service));
        let replace = instances.is_empty() || (around.may_replace && !resting);
        return if replace { vec![Step::Record(slot)] } else { vec![] };
    };
    let others: Vec<&Instance<'_>> =
        instances.iter().filter(|it| it.record.id != current.record.id).collect();
    if others.is_empty() {
        return alone(current, service, around).into_iter().collect();
    }
    if current.record.runtime_id.is_none() {
        return prepare(current, service, around).into_iter().collect();
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
        ContainerState::Pending => Some(begin(it, around.blocked, around.unmade)),
        ContainerState::Running | ContainerState::Healthy | ContainerState::Unhealthy => {
            match (record.restarts < service.restarts, it.owners) {
                (true, _) => Some(Step::Halt(container)),
                (false, Owners::BeganAnew) => Some(Step::Again(container)),
                (false, Owners::Keep | Owners::Gone) => None,
            }
        }
        ContainerState::Stopped | ContainerState::Failed if it.alive => Some(Step::Halt(container)),
        ContainerState::Stopped | ContainerState::Failed => {
            match (again(it, service, around)?, around.blocked) {
                (Cause::Wanted, Some(blocked)) => Some(Step::Wait(container, blocked.clone())),
                (cause, _) => Some(Step::Start(container, cause)),
            }
        }
    }
}

/// The step of a container that is to be made beside the one that it replaces.
fn prepare(it: &Instance<'_>, service: &ServiceRecord, around: Around<'_>) -> Option<Step> {
    let cause = match it.record.state {
        ContainerState::Pending => Cause::Wanted,
        ContainerState::Stopped | ContainerState::Failed => again(it, service, around)?,
        ContainerState::Running | ContainerState::Healthy | ContainerState::Unhealthy => {
            return None;
        }
    };
    let container = it.record.id;
    (!it.busy).then(|| make(container, false, cause, around.unmade))
}

/// Why an ended container is to run again now, if it is.
fn again(it: &Instance<'_>, service: &ServiceRecord, around: Around<'_>) -> Option<Cause> {
    if !it.has_followed(service) {
        return Some(Cause::Wanted);
    }
    let by_itself = !it.resting && restarts_by_itself(it.record, around.restart);
    by_itself.then_some(Cause::Policy)
}

/// The first step of a container that never ran in this run.
pub(super) fn begin(
    it: &Instance<'_>,
    blocked: Option<&Arc<str>>,
    unmade: Option<&Arc<str>>,
) -> Step {
    let container = it.record.id;
    match (blocked, &it.record.runtime_id) {
        (None, None) => make(container, !it.held_back, Cause::Wanted, unmade),
        (None, Some(_)) => Step::Start(container, Cause::Wanted),
        (Some(_), None) => make(container, false, Cause::Wanted, unmade),
        (Some(blocked), Some(_)) => Step::Wait(container, blocked.clone()),
    }
}

/// The step that makes a container, once those that it names are made.
fn make(container: ContainerId, start: bool, cause: Cause, unmade: Option<&Arc<str>>) -> Step {
    match unmade {
        Some(unmade) => Step::Wait(container, unmade.clone()),
        None => Step::Launch { container, start, cause },
    }
}

/// Whether a container's run is over and nothing will begin another.
pub(super) fn is_final(it: &Instance<'_>, service: &ServiceRecord, restart: RestartSpec) -> bool {
    it.record.state.is_over()
        && !it.busy
        && it.has_followed(service)
        && !is_replaced(it.record, restart)
        && !restarts_by_itself(it.record, restart)
}

/// Whether a container makes room for another of its kind.
fn is_replaced(record: &ContainerRecord, restart: RestartSpec) -> bool {
    record.given_up && restart.condition != RestartCondition::Never
}

/// Whether the restart policy begins another run of an ended container.
fn restarts_by_itself(record: &ContainerRecord, restart: RestartSpec) -> bool {
    let tries_left = restart.attempts_max.is_none_or(|max| record.attempts < max);
    let ended = match restart.condition {
        RestartCondition::Unset | RestartCondition::Never => false,
        RestartCondition::OnFailure => record.state == ContainerState::Failed,
        RestartCondition::Always => true,
    };
    ended && tries_left && !record.held
}
