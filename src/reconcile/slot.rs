//! One slot of one service: from its containers to their next steps.
//!
//! A container that is out of date is replaced so that the least time passes without one: the new one
//! is made while the old one runs, then the old one stops and goes, then the new one starts.

use std::sync::Arc;

use super::{Gate, Post, gate::may_run, rollout::Turn};
use crate::{
    model::{
        ContainerId, ContainerState, Millis, NodeId, Slot, WallTime,
        spec::{RestartCondition, RestartSpec},
    },
    state::{ContainerRecord, Intent, ServiceRecord, Template},
};

/// A container and what only its node knows of it.
#[derive(Clone, Copy, Debug)]
pub struct Instance<'a> {
    /// The container.
    pub record: &'a ContainerRecord,
    /// For how long it is in its state, as far as this node saw.
    pub stood: Millis,
    /// A step of it is under way.
    pub busy: bool,
    /// It must wait before it is tried again.
    pub resting: bool,
    /// Its process lives, whatever its state says.
    pub alive: bool,
    /// It has a health check.
    pub checked: bool,
    /// Its service is a job: what has completed is not started again because a start was asked for.
    pub once: bool,
    /// It must not start until somebody has attached to it.
    pub held_back: bool,
    /// Where it must never run twice: it has run here, and this node could be sure of that ever since.
    pub upheld: bool,
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
    /// Record a new container for a slot, made from this template.
    Record(Slot, Which),
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

/// Which of a service's templates a container is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The one that is wanted.
    Current,
    /// The one before, which proved itself.
    Previous,
}

/// What the rest of the project says about a replica.
#[derive(Clone, Copy, Debug)]
pub(super) struct Around<'a> {
    /// The node that looks, and does its own part only.
    pub(super) me: NodeId,
    /// What the service waits for, if anything.
    pub(super) blocked: Option<&'a Arc<str>>,
    /// What it must see before it can even be made, if anything.
    pub(super) unmade: Option<&'a Arc<str>>,
    /// Services that use this one still run.
    pub(super) needed: bool,
    /// Whether and how it changes.
    pub(super) turn: Turn,
    /// The old container stops before the new one starts.
    pub(super) stops_first: bool,
    /// What its restart policy says.
    pub(super) restart: RestartSpec,
    /// Where it must never run twice: what must hold before it starts.
    pub(super) gate: Option<&'a Gate>,
}

impl Instance<'_> {
    /// Whether it is made from what is wanted.
    pub(super) fn is_made_from(&self, wanted: &Template) -> bool {
        self.record.is_made_from(wanted)
    }

    /// Whether it is made from what is wanted, and not to be replaced because it was given up or those
    /// whose namespaces it shares are gone.
    pub(super) fn is_current(&self, wanted: &Template, restart: RestartSpec) -> bool {
        self.is_made_from(wanted) && self.is_usable(restart)
    }

    /// Whether it is not to be replaced because it was given up or those whose namespaces it shares are
    /// gone.
    pub(super) fn is_usable(&self, restart: RestartSpec) -> bool {
        // What is done needs its owners no more.
        let lost = self.owners == Owners::Gone && !(self.once && self.is_completed());
        !is_replaced(self.record, restart) && !lost
    }

    /// Whether it has followed every request to start and to restart it.
    pub(super) fn has_followed(&self, wanted: &ServiceRecord) -> bool {
        let done = self.once && self.is_completed();
        let started = done || wanted.starts <= self.record.starts || self.record.state.is_up();
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

    /// Whether it is as well as it can be, and will be: it is not being stopped.
    pub(super) fn serves(&self) -> bool {
        self.is_ready() && self.record.starts != 0
    }

    /// The oldest first; of several that are as old, always the same.
    pub(super) fn age(&self) -> (WallTime, ContainerId) {
        (self.record.created, self.record.id)
    }

    /// Whether it ended with status 0 of its own. A job that was asked to stop, and did so politely, has
    /// not done what it was there for.
    #[must_use]
    pub fn is_completed(&self) -> bool {
        let ended = self.record.state == ContainerState::Stopped;
        ended
            && self.record.exit_code == Some(0)
            && self.record.starts != 0
            && !(self.once && self.record.held)
    }
}

/// This node's steps for a replica that is to be somewhere.
pub(super) fn wanted(
    post: Post,
    service: &ServiceRecord,
    instances: &[Instance<'_>],
    around: Around<'_>,
) -> Vec<Step> {
    match service.intent {
        Intent::Run => run(post, service, instances, around),
        Intent::Stop => keep(post, service, instances, around),
        Intent::Remove { volumes } | Intent::Forget { volumes } => {
            mine(instances, around).filter_map(|it| clear(it, volumes, around.needed)).collect()
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

fn mine<'i, 'a>(
    instances: &'i [Instance<'a>],
    around: Around<'_>,
) -> impl Iterator<Item = &'i Instance<'a>> {
    instances.iter().filter(move |it| it.record.node == around.me)
}

/// The steps of a replica whose container is to be there, and not to run.
fn keep(
    post: Post,
    service: &ServiceRecord,
    instances: &[Instance<'_>],
    around: Around<'_>,
) -> Vec<Step> {
    if instances.iter().any(|it| it.alive) {
        let free = mine(instances, around).filter(|it| it.alive && !it.busy && !around.needed);
        return free.map(|it| Step::Halt(it.record.id)).collect();
    }
    let made = instances.iter().filter(|it| it.is_made_from(&service.template));
    let here = post.node == around.me;
    let Some(current) = made.filter(|it| it.record.node == post.node).min_by_key(|it| it.age())
    else {
        return if here { vec![Step::Record(post.slot, Which::Current)] } else { vec![] };
    };
    if current.record.runtime_id.is_none() {
        let again = make(current.record.id, false, Cause::Wanted, around.unmade);
        let asked = !current.record.state.is_over() || current.record.starts < service.starts;
        return if here && asked && !current.busy { vec![again] } else { vec![] };
    }
    let others = mine(instances, around).filter(|it| it.record.id != current.record.id);
    others.filter_map(|it| clear(it, service.renew_volumes, false)).collect()
}

fn run(
    post: Post,
    service: &ServiceRecord,
    instances: &[Instance<'_>],
    around: Around<'_>,
) -> Vec<Step> {
    let here = post.node == around.me;
    let right = |it: &&Instance<'_>| {
        it.record.node == post.node
            && it.is_usable(around.restart)
            && (it.is_made_from(&service.template) || !around.turn.changes)
    };
    // What is elsewhere too, as after a partition, has nothing to wait for once it is well here.
    let serves_there = instances.iter().any(|it| it.record.node == post.node && it.serves());
    let surplus = |it: &&Instance<'_>| !here && serves_there && it.record.node == around.me;
    // The oldest that is right stays: it has run longest.
    let Some(keeper) = instances.iter().filter(right).min_by_key(|it| it.age()) else {
        if instances.iter().any(|it| surplus(&it)) {
            let surplus = instances.iter().filter(surplus);
            return surplus.filter_map(|it| clear(it, service.renew_volumes, false)).collect();
        }
        // One that was given up is replaced by another of its kind only after a pause.
        let kind = |it: &Instance<'_>| it.is_made_from(&service.template) || !around.turn.changes;
        let resting = instances.iter().any(|it| it.resting && kind(it));
        let vacant = instances.iter().all(|it| !it.alive || !it.is_usable(around.restart));
        let begins = here && !resting && (around.turn.may_begin || vacant);
        let which = match (around.turn.changes, &service.previous) {
            (false, Some(_)) => Which::Previous,
            (true, _) | (false, None) => Which::Current,
        };
        return if begins { vec![Step::Record(post.slot, which)] } else { vec![] };
    };
    let others = || instances.iter().filter(|it| it.record.id != keeper.record.id);
    // On one node they have one name, so that the old one must be gone altogether.
    let in_the_way = |it: &Instance<'_>| {
        let may = around.gate.is_some() && may_run(it.record);
        it.alive || it.record.node == post.node || may
    };
    let lives = others().any(in_the_way);
    let mut steps: Vec<Step> = vec![];
    if keeper.record.node == around.me {
        let step = match (lives, around.stops_first) {
            // Beside one that lives it is only made, until that one has stopped.
            (true, true) => prepare(keeper, service, around),
            (true, false) | (false, _) => alone(keeper, service, around),
        };
        steps.extend(step);
    }
    let made = keeper.record.runtime_id.is_some();
    let waits = around.blocked.is_some() && !keeper.is_ready();
    for it in others().filter(|it| it.record.node == around.me) {
        // The old one serves until the new one can.
        let may_stop = if around.stops_first {
            made && !waits && (around.turn.may_stop || !it.is_ready())
        } else {
            // What is well for a moment may yet fail: until then the old one can go on.
            let relied_on = keeper.serves() && around.turn.monitor <= keeper.stood;
            relied_on || keeper.is_completed() || !it.is_usable(around.restart)
        };
        if surplus(&it) || (made && (may_stop || !it.alive)) {
            steps.extend(clear(it, service.renew_volumes, false));
        }
    }
    steps
}

/// The step of a slot's only container, which is made from what is wanted.
pub(super) fn alone(
    it: &Instance<'_>,
    service: &ServiceRecord,
    around: Around<'_>,
) -> Option<Step> {
    let (record, container) = (it.record, it.record.id);
    if it.busy {
        return None;
    }
    let barred = around.gate.and_then(|gate| gate.bars(it));
    match record.state {
        ContainerState::Pending if it.resting => None,
        ContainerState::Pending => {
            Some(begin(it, barred.as_ref().or(around.blocked), around.unmade))
        }
        ContainerState::Running | ContainerState::Healthy | ContainerState::Unhealthy => {
            // It starts again once it has stopped.
            let anew = record.restarts < service.restarts || it.owners == Owners::BeganAnew;
            anew.then_some(Step::Halt(container))
        }
        ContainerState::Stopped | ContainerState::Failed if it.alive => Some(Step::Halt(container)),
        ContainerState::Stopped | ContainerState::Failed => {
            match (again(it, service, around)?, around.blocked, barred) {
                (_, _, Some(barred)) => Some(Step::Wait(container, barred)),
                (Cause::Wanted, Some(blocked), None) => {
                    Some(Step::Wait(container, blocked.clone()))
                }
                (cause, _, None) => Some(Step::Start(container, cause)),
            }
        }
    }
}

/// The step of a container that is to be made beside the one that it replaces.
fn prepare(it: &Instance<'_>, service: &ServiceRecord, around: Around<'_>) -> Option<Step> {
    if it.record.runtime_id.is_some() {
        let waits = around.blocked.filter(|_| it.record.state == ContainerState::Pending);
        return waits.map(|blocked| Step::Wait(it.record.id, blocked.clone()));
    }
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
pub(super) fn is_replaced(record: &ContainerRecord, restart: RestartSpec) -> bool {
    record.given_up && restart.condition != RestartCondition::Never
}

/// Whether the restart policy begins another run of an ended container.
pub(super) fn restarts_by_itself(record: &ContainerRecord, restart: RestartSpec) -> bool {
    let tries_left = restart.attempts_max.is_none_or(|max| record.attempts < max);
    let ended = match restart.condition {
        RestartCondition::Unset | RestartCondition::Never => false,
        RestartCondition::OnFailure => record.state == ContainerState::Failed,
        RestartCondition::Always => true,
    };
    ended && tries_left && !record.held
}
