//! What the runtime shows, turned into the containers' lives.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Activity, Effect, Failure, Node, Now, RuntimeStatus, Sight, Subject,
    local::{Local, Operation, RAN_WELL},
};
use crate::{
    model::{
        ContainerEvent, ContainerId, ContainerName, ContainerState, ImageId, Millis, Observed,
        ProjectName, RuntimeState, ServiceKey, WallTime,
        spec::{HealthSpec, RestartCondition},
    },
    state::{Change, ContainerRecord, Intent},
};

/// A process's end as the runtime tells it.
#[derive(Clone, Copy)]
struct End {
    code: i64,
    oom_killed: bool,
    at: WallTime,
}

impl Node {
    /// Takes in all containers of this node at once: also what is missing. A list may be older than
    /// what is known of one container, so what it lacks is looked at by itself before anything is
    /// concluded.
    pub(super) fn observed(
        &mut self,
        list: Vec<Observed>,
        health: &BTreeMap<ImageId, HealthSpec>,
        now: Now,
    ) {
        let first = self.runtime == RuntimeStatus::Unknown;
        if self.runtime != RuntimeStatus::Up {
            self.runtime = RuntimeStatus::Up;
            let state = Some("up".to_owned());
            self.notify("runtime.state", Subject::Node, state, None);
        }
        let listed: BTreeSet<ContainerId> = list.iter().map(|it| it.container).collect();
        for seen in list {
            if first {
                self.strangers.insert(seen.container);
            }
            let image_health = health.get(&seen.image).cloned();
            self.look(seen.container, Some(seen), image_health, now);
        }
        if first {
            self.strangers.clear();
        }
        let mine = self.state.containers().filter(|it| it.node == self.me);
        let missing = mine.filter(|it| !listed.contains(&it.id));
        let looks = missing.filter_map(|it| Some(Effect::Look(it.id, it.runtime_id.clone()?)));
        self.effects.extend(looks);
    }

    /// Takes in one container, seen by itself.
    pub(super) fn seen(&mut self, id: ContainerId, sight: Sight, now: Now) {
        self.look(id, sight.container.map(|it| *it), sight.image_health, now);
    }

    /// The runtime went away. What it runs goes on, so nothing is concluded from that.
    pub(super) fn runtime_lost(&mut self, why: Arc<str>) {
        if self.runtime != RuntimeStatus::Down(why.clone()) {
            self.runtime = RuntimeStatus::Down(why.clone());
            let state = Some("down".to_owned());
            self.notify("runtime.state", Subject::Node, state, Some(why));
        }
        self.facts.runtime = None;
    }

    /// Notes how far an operation is.
    pub(super) fn progressed(&mut self, id: ContainerId, activity: Activity) {
        let Some(local) = self.local.get_mut(&id).filter(|it| it.operation.is_some()) else {
            return;
        };
        if local.activity.as_ref() != Some(&activity) {
            let words = activity.words();
            local.activity = Some(activity);
            if let Some(subject) = self.subject(id) {
                self.notify("container.doing", subject, Some(words), None);
            }
        }
    }

    /// An operation is over.
    pub(super) fn finished(
        &mut self,
        id: ContainerId,
        result: Result<(), Failure>,
        sight: Option<Sight>,
        now: Now,
    ) {
        let Some(local) = self.local.get_mut(&id) else { return };
        let operation = local.operation.take();
        local.activity = None;
        let gone = sight.as_ref().is_some_and(|it| it.container.is_none());
        match (operation, result) {
            (Some(Operation::Discard), Ok(())) => return self.discarded(id, now),
            (None, _) => {}
            (Some(_), Ok(())) => local.stalls = 0,
            (Some(Operation::Halt), Err(_)) => local.stall(now.moment),
            (Some(Operation::Discard), Err(_)) => return local.stall(now.moment),
            (Some(Operation::Launch | Operation::Start), Err(failure)) => {
                self.sight_of(id, sight, now);
                return self.could_not_run(id, &failure, now);
            }
        }
        if gone && operation == Some(Operation::Halt) {
            return self.forget(id, now);
        }
        self.sight_of(id, sight, now);
        if operation == Some(Operation::Halt)
            && let Some(local) = self.local.get_mut(&id)
        {
            local.told_to_stop = false;
        }
    }

    /// A container is gone. The last that a node has of a project that goes still counts until that node's
    /// networks and volumes of it are gone, too: then all know that they are.
    fn discarded(&mut self, id: ContainerId, now: Now) {
        let project = self.state.container(id).map(|it| &it.service.project);
        let is_last = project.is_some_and(|it| {
            let mut others = self.fleet.of(it).filter(|it| it.node == self.me && it.id != id);
            self.removal_of(it).is_some() && others.next().is_none()
        });
        let local = self.local.get_mut(&id).filter(|_| is_last);
        match local {
            Some(local) => (local.operation, local.gone) = (Some(Operation::Discard), true),
            None => self.forget(id, now),
        }
    }

    /// Forgets containers that are gone, and waited for the rest of their project.
    pub(super) fn forget_gone(&mut self, project: &ProjectName, now: Now) {
        let is_gone = |it: &ContainerId| self.local.get(it).is_some_and(|it| it.gone);
        let gone: Vec<ContainerId> =
            self.fleet.of(project).map(|it| it.id).filter(is_gone).collect();
        gone.into_iter().for_each(|it| self.forget(it, now));
    }

    fn sight_of(&mut self, id: ContainerId, sight: Option<Sight>, now: Now) {
        if let Some(sight) = sight {
            self.seen(id, sight, now);
        }
    }

    /// A container could not be made or started, or not made ready once started.
    fn could_not_run(&mut self, id: ContainerId, failure: &Failure, now: Now) {
        let Some(record) = self.state.container(id) else { return };
        let (attempts, first) = (record.attempts, self.pause_of(record));
        let spec = self.spec_from(&record.service, record.revision);
        let restart = spec.map_or(RestartCondition::Never, |it| it.deploy.restart.condition);
        let Some(local) = self.local.get_mut(&id) else { return };
        local.monitor = None;
        if failure.passing {
            local.stall(now.moment);
            self.amend(id, now, |record| record.reason = Some(failure.reason.clone()));
        } else {
            if restarts(restart, ContainerEvent::Crashed) {
                local.rest(first, attempts, now.moment);
            }
            self.transition(id, ContainerEvent::Crashed, Some(failure.reason.clone()), now);
        }
    }

    fn look(
        &mut self,
        id: ContainerId,
        seen: Option<Observed>,
        image_health: Option<HealthSpec>,
        now: Now,
    ) {
        match seen {
            None => self.look_at_nothing(id, now),
            Some(seen) => {
                if self.state.container(id).is_none() && !self.adopt(&seen, now) {
                    return;
                }
                let local = self.local.entry(id).or_default();
                local.image_health = image_health.or(local.image_health.take());
                local.shares.clone_from(&seen.shares);
                // On the overlay it is this node, and not the runtime, that gives addresses and ports.
                let is_wired = local.address.is_some();
                self.amend(id, now, |record| {
                    record.runtime_id = Some(seen.runtime_id.clone());
                    record.image = Some(seen.image.clone());
                    record.command.clone_from(&seen.command);
                    if !is_wired {
                        record.ports.clone_from(&seen.ports);
                        record.addresses.clone_from(&seen.addresses);
                    }
                });
                match seen.state {
                    RuntimeState::Created => {}
                    RuntimeState::Running { since, paused } => {
                        self.look_at_running(id, since, paused, now);
                    }
                    RuntimeState::Exited { code, oom_killed, at } => {
                        self.look_at_end(id, End { code, oom_killed, at }, now);
                    }
                    RuntimeState::Broken => {
                        self.look_at_end(
                            id,
                            End { code: -1, oom_killed: false, at: now.wall },
                            now,
                        );
                    }
                }
            }
        }
    }

    /// A container that should be there is not: somebody else removed it. Its slot is free again.
    fn look_at_nothing(&mut self, id: ContainerId, now: Now) {
        self.strangers.remove(&id);
        let Some(record) = self.state.container(id) else { return };
        let busy = self.local.get(&id).is_some_and(|it| it.operation.is_some());
        if self.is_over(record) && !busy {
            // Somebody tidied up. What is done stays done.
            return self.amend(id, now, |record| record.runtime_id = None);
        }
        if record.runtime_id.is_some() && !busy {
            self.transition(id, ContainerEvent::Crashed, Some("it was removed".into()), now);
            self.forget(id, now);
        }
    }

    fn look_at_running(&mut self, id: ContainerId, since: WallTime, paused: bool, now: Now) {
        let Some(record) = self.state.container(id) else { return };
        let Some(local) = self.local.get_mut(&id) else { return };
        let late = record.state.is_over() && !local.alive && local.began == since;
        if late {
            return;
        }
        (local.paused, local.doubted) = (paused, None);
        if local.alive && local.began == since {
            let ran = now.moment - local.alive_since;
            return self.watch_on(id, ran, now);
        }
        let found = !local.alive && record.state.is_up();
        let ran = if found { Millis(now.wall.0.saturating_sub(since.0)) } else { Millis(0) };
        (local.alive, local.alive_since, local.began) = (true, now.moment, since);
        self.limit_run(id, ran, now);
        // Before it counts as running: else others might take it for well without a check.
        let checked = self.check_of(id).is_some();
        self.amend(id, now, |record| record.checked = checked);
        let Some(record) = self.state.container(id) else { return };
        let Some(local) = self.local.get(&id) else { return };
        match record.state {
            ContainerState::Pending => {
                self.transition(id, ContainerEvent::Started, None, now);
                self.watch(id, now);
            }
            ContainerState::Running | ContainerState::Healthy | ContainerState::Unhealthy => {
                if found {
                    self.watch_on(id, ran, now);
                } else {
                    self.watch(id, now);
                }
            }
            ContainerState::Stopped | ContainerState::Failed => {
                let ending = record.given_up || local.operation == Some(Operation::Halt);
                if !ending {
                    self.begin_run(id, false, now);
                    self.transition(id, ContainerEvent::Started, None, now);
                    self.watch(id, now);
                }
            }
        }
    }

    fn look_at_end(&mut self, id: ContainerId, end: End, now: Now) {
        let Some(record) = self.state.container(id).cloned() else { return };
        let intent = self.state.services().get(&record.service).map(|it| it.intent);
        let first = self.pause_of(&record);
        let spec = self.spec_from(&record.service, record.revision);
        let restart = spec.map_or(RestartCondition::Never, |it| it.deploy.restart.condition);
        let is_job = spec.is_some_and(|it| it.deploy.mode.is_job()) && record.one_off.is_none();
        let Some(local) = self.local.get_mut(&id) else { return };
        // The last run's end, told late, or this one's by a clock that was set back: the runtime knows.
        if local.alive && end.at < local.began && local.doubted != Some(end.at) {
            local.doubted = Some(end.at);
            let look = record.runtime_id.clone().map(|it| Effect::Look(id, it));
            return self.effects.extend(look);
        }
        // However long a job ran before it failed, it failed.
        let ran_well = local.alive && RAN_WELL <= now.moment - local.alive_since && !is_job;
        (local.alive, local.monitor, local.run_ends) = (false, None, None);
        let overdue = local.overdue.take();
        // An end before this run began is the last run's.
        let of_this_run = record.state.is_up()
            || (record.state == ContainerState::Pending && record.since < end.at);
        if !of_this_run {
            return;
        }
        let told = local.told_to_stop || record.held || intent.is_none_or(|it| it != Intent::Run);
        let told = told && overdue.is_none();
        let attempts = if ran_well { 0 } else { record.attempts };
        let (event, reason) = match (overdue, end.code) {
            (Some(limit), _) => (ContainerEvent::Crashed, format!("timed out after {limit}")),
            _ if end.oom_killed => (ContainerEvent::Crashed, "killed for want of memory".into()),
            (None, 0) => (ContainerEvent::Ended, "completed".into()),
            (None, code) if told => (ContainerEvent::Ended, format!("stopped with status {code}")),
            (None, code) => (ContainerEvent::Crashed, format!("ended with status {code}")),
        };
        if !told && restarts(restart, event) {
            local.rest(first, attempts, now.moment);
        }
        // It was replaced, or is to start again. Should it be wanted after all, it has yet to start; and
        // its end is no completion.
        let replaced = told && local.told_to_stop && intent == Some(Intent::Run);
        self.amend(id, now, |record| {
            (record.exit_code, record.attempts) = (Some(end.code), attempts);
            // A job that was asked to stop has not completed, however politely it did.
            record.held |= is_job && told && end.code == 0;
            if replaced {
                record.starts = 0;
            }
        });
        self.transition(id, ContainerEvent::Started, None, now);
        self.transition(id, event, Some(reason.into()), now);
    }

    /// A container bears this node's label, and nobody remembers it: the data directory is older than
    /// it. It is taken in as it is; whether it is wanted is settled like any other's. It may also have
    /// been removed by now, and be told of late: unless this is the node's first look, it is looked at
    /// again before.
    fn adopt(&mut self, seen: &Observed, now: Now) -> bool {
        if self.strangers.insert(seen.container) {
            self.effects.push(Effect::Look(seen.container, seen.runtime_id.clone()));
            return false;
        }
        self.strangers.remove(&seen.container);
        let name = seen.name.parse().unwrap_or_else(|_| ContainerName::of(seen.container));
        let service = ServiceKey { project: seen.project.clone(), service: seen.service.clone() };
        let wanted = self.state.services().get(&service).cloned();
        let record = ContainerRecord {
            slot: seen.slot,
            name,
            image: Some(seen.image.clone()),
            runtime_id: Some(seen.runtime_id.clone()),
            since: WallTime(0),
            restarts: wanted.as_ref().map_or(0, |it| it.restarts),
            starts: wanted.as_ref().map_or(0, |it| it.starts),
            ..ContainerRecord::unmade(seen.container, self.me, service, seen.revision, seen.created)
        };
        self.commit(Change::Container(record.id, Some(Arc::new(record))), now);
        true
    }

    /// Removes a container's record: it is gone.
    pub(super) fn forget(&mut self, id: ContainerId, now: Now) {
        let subject = self.subject(id);
        if self.state.container(id).is_some() {
            self.commit(Change::Container(id, None), now);
        }
        self.release_address(id, now);
        self.local.remove(&id);
        if let Some(subject) = subject {
            self.notify("container.removed", subject, None, None);
        }
    }

    /// A project's networks and volumes are gone, or could not be removed.
    pub(super) fn cleared(&mut self, project: &ProjectName, result: Result<(), Failure>, now: Now) {
        self.clearing.remove(project);
        match result {
            Err(failure) if failure.passing => {
                let until = now.moment + super::local::PAUSE_REPLACED;
                self.clearing.insert(project.clone(), super::Clearing::Stalled(until));
                return;
            }
            Err(failure) => {
                let subject = Subject::Project(project.clone());
                self.notify("resource.failed", subject, None, Some(failure.reason));
            }
            Ok(()) => {}
        }
        self.clearing.insert(project.clone(), super::Clearing::Done);
        self.forget_gone(project, now);
        self.forget_cleared(project, now);
    }

    /// The first pause before a container is started again, where its service sets one.
    fn pause_of(&self, record: &ContainerRecord) -> Option<Millis> {
        self.spec_from(&record.service, record.revision)?.deploy.restart.delay
    }

    /// Notes an operation as under way, and has it carried out.
    pub(super) fn begin(&mut self, id: ContainerId, operation: Operation, effect: Effect) {
        let local: &mut Local = self.local.entry(id).or_default();
        local.operation = Some(operation);
        local.told_to_stop = operation == Operation::Halt;
        self.effects.push(effect);
    }
}

/// Whether a container that ended so is started again by its restart policy.
fn restarts(condition: RestartCondition, end: ContainerEvent) -> bool {
    match condition {
        RestartCondition::Unset | RestartCondition::Never => false,
        RestartCondition::OnFailure => end == ContainerEvent::Crashed,
        RestartCondition::Always => true,
    }
}
