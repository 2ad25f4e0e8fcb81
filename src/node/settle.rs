//! Settles what is wanted against what is: places the replicas, asks `reconcile` for this node's steps,
//! and has them carried out.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Activity, Clearing, Effect, Node, Now, RuntimeStatus, Subject, local::Local, placement::Places,
};
use crate::{
    model::{ContainerId, Millis, ProjectName, ServiceKey, ServiceName},
    reconcile::{self, Instance, Outcome, Owners, Post, Project, Share, Step, Verdict},
    state::{Change, ContainerRecord, Intent, Removal, Rollout, Stage},
};

/// A recorded container's launch is planned in the pass after the record, and no step of that pass
/// records again.
const PASSES_MAX: usize = 3;

impl Node {
    /// Settles what something happened to.
    pub(super) fn settle(&mut self, now: Now) {
        if self.sites_stale {
            self.sites_stale = false;
            self.survey();
        }
        let due = match self.agenda.take(now.moment) {
            Some(due) => due,
            None => self.all_projects(),
        };
        for project in due {
            match self.runtime {
                RuntimeStatus::Unknown => {}
                // Nothing can be done, but what is wanted may have changed.
                RuntimeStatus::Down(_) => {
                    let outcome = self.outcome(&project, now);
                    self.judge(&project, &outcome);
                    self.forget_left(&project, now);
                }
                RuntimeStatus::Up => {
                    self.settle_project(&project, now);
                    self.forget_left(&project, now);
                    self.remove_unread(&project, now);
                    self.collect_garbage(&project, now);
                }
            }
        }
    }

    fn all_projects(&self) -> BTreeSet<ProjectName> {
        let deployed = self.state.deployments().iter().map(|(name, _)| name);
        let services = self.state.services().iter().map(|(key, _)| &key.project);
        deployed.chain(services).chain(self.fleet.projects()).cloned().collect()
    }

    fn settle_project(&mut self, project: &ProjectName, now: Now) {
        if !self.layouts.contains_key(project) {
            return;
        }
        self.stop_parted(project, now);
        self.note_started(project, now);
        self.end_overdue(project, now);
        let mut outcome = self.outcome(project, now);
        let listens = self.listens_until(now.moment);
        let mut held_back = false;
        for _ in 0..PASSES_MAX {
            let steps = std::mem::take(&mut outcome.steps);
            self.stop_waiting(project, &steps);
            if steps.is_empty() {
                break;
            }
            let mut recorded = false;
            for (service, step) in steps {
                let key = ServiceKey { project: project.clone(), service };
                let is_new = matches!(step, Step::Record(..));
                if is_new && listens.is_some() {
                    held_back = true;
                    continue;
                }
                recorded |= is_new;
                self.perform(&key, step, now);
            }
            // What is tried again is no longer judged by how it failed before.
            outcome = self.outcome(project, now);
            if !recorded {
                break;
            }
        }
        self.judge(project, &outcome);
        let look = self.next_look_at_clock(project, now);
        let wake = outcome.wake.map(|it| now.moment + it.max(Millis(1)));
        let heard = listens.filter(|_| held_back);
        self.agenda.again(project, wake.into_iter().chain(look).chain(heard).min());
        // What is written for all from here on is to be settled too, though nothing else may happen.
        self.agenda.looked_at(project);
        if self.has_a_say(project, &outcome) && self.stands_for(project) {
            self.speak_for(project, outcome, now);
        }
        self.clear(project, now);
    }

    /// Whether there is anything that one must write for all. Most looks at a project come to nothing of the
    /// kind, and who would write it takes a look at every member.
    fn has_a_say(&self, project: &ProjectName, outcome: &Outcome) -> bool {
        let removed = self.removal_of(project).is_some();
        let wishes = || self.state.services_of(project).any(|(_, it)| !it.moves.is_empty());
        removed || !outcome.gone.is_empty() || !outcome.verdicts.is_empty() || wishes()
    }

    /// Writes what one must write for all.
    fn speak_for(&mut self, project: &ProjectName, outcome: Outcome, now: Now) {
        let changes = !outcome.gone.is_empty() || !outcome.verdicts.is_empty();
        for service in outcome.gone {
            let key = ServiceKey { project: project.clone(), service };
            self.forget_service(key, now);
        }
        for (service, verdict) in outcome.verdicts {
            let key = ServiceKey { project: project.clone(), service };
            self.rule(&key, verdict, now);
        }
        if changes {
            self.decode(project);
        }
        self.take_all_along(project, now);
        self.drop_wishes(project, now);
    }

    /// Who wanted something of a service when a deployment was to go had not heard of that yet: whoever
    /// has is refused. The deployment goes, and all of its services with it.
    fn take_all_along(&mut self, project: &ProjectName, now: Now) {
        let Some(removal) = self.removal_of(project).cloned() else { return };
        let stay = self.state.services_of(project);
        let stay = stay.filter(|(_, it)| !matches!(it.intent, Intent::Forget { .. }));
        let stay: Vec<ServiceKey> = stay.map(|(key, _)| key.clone()).collect();
        for key in stay {
            self.note(&key, now, |record| {
                record.intent = Intent::Forget { volumes: removal.volumes };
                record.grace = removal.grace;
            });
        }
    }

    /// Writes what a service's change came to.
    fn rule(&mut self, key: &ServiceKey, verdict: Verdict, now: Now) {
        let (state, why) = match &verdict {
            Verdict::Proven => ("done", None),
            Verdict::Pause(why) => ("paused", Some(why.clone())),
            Verdict::Return(why) => ("returning", Some(why.clone())),
        };
        self.note(key, now, |record| match verdict {
            Verdict::Proven => {
                record.previous = None;
                record.rollout.stage = Stage::Done;
            }
            Verdict::Pause(why) => {
                let failed = Some((record.template.revision, why));
                record.rollout = Rollout { stage: Stage::Paused, failed };
            }
            Verdict::Return(why) => reconcile::go_back(record, Some(why)),
        });
        self.notify("service.rollout", Subject::Service(key.clone()), Some(state.to_owned()), why);
    }

    fn forget_service(&mut self, key: ServiceKey, now: Now) {
        self.commit(Change::Service(key.clone(), None), now);
        self.ready.remove(&key);
        self.stuck.remove(&key);
        self.notify("service.removed", Subject::Service(key), None, None);
    }

    /// A container that runs has followed every request to start it: its end is not to be undone by one
    /// from before.
    fn note_started(&mut self, project: &ProjectName, now: Now) {
        let behind = self.fleet.of(project).filter(|it| {
            let starts = self.state.services().get(&it.service).map_or(0, |it| it.starts);
            let runs = |it: &Local| it.alive && it.operation.is_none();
            it.node == self.me
                && it.starts < starts
                && it.state.is_up()
                && !it.held
                && self.local.get(&it.id).is_some_and(runs)
        });
        let behind: Vec<ContainerId> = behind.map(|it| it.id).collect();
        for id in behind {
            self.follow(id, false, now);
        }
    }

    /// Deployments that this version cannot read can still be removed, without their order and their
    /// grace periods.
    fn remove_unread(&mut self, name: &ProjectName, now: Now) {
        if self.removal_of(name).is_none() || self.layouts.contains_key(name) {
            return;
        }
        let keys: Vec<ServiceKey> =
            self.state.services_of(name).map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.forget_service(key, now);
        }
        self.clear(name, now);
    }

    /// Looks at a project as it is now: at this node's part, and at how the whole stands.
    fn outcome(&mut self, name: &ProjectName, now: Now) -> Outcome {
        let places = self.place(name, now);
        let outcome = self.outcome_at(name, &places, now);
        self.places.insert(name.clone(), places);
        outcome
    }

    fn outcome_at(&self, name: &ProjectName, places: &Places, now: Now) -> Outcome {
        let Some(layout) = self.layouts.get(name) else { return Outcome::default() };
        let mut services = BTreeMap::new();
        for (key, record) in self.state.services_of(name) {
            let service = &key.service;
            let Some(spec) = layout.spec.services.get(service) else { continue };
            let share = Share {
                record,
                spec,
                each_node: spec.deploy.mode.is_on_each_node(),
                posts: places.posts(service).to_vec(),
                unplaced: places.unplaced(service).to_vec(),
                gate: self.gate(key, now),
                instances: vec![],
            };
            services.insert(service.clone(), share);
        }
        for record in self.fleet.of(name) {
            let post = Post { slot: record.slot, node: record.node };
            let is_kept = || places.posts(&record.service.service).binary_search(&post).is_ok();
            let there = record.node == self.me
                || self.is_alive(record.node)
                || (self.is_over(record) && is_kept());
            if let Some(share) = services.get_mut(&record.service.service).filter(|_| there) {
                share.instances.push(self.instance(record, now));
            }
        }
        reconcile::plan(&Project { me: self.me, services })
    }

    fn instance<'a>(&self, record: &'a ContainerRecord, now: Now) -> Instance<'a> {
        let stood = self.fleet.stood(record.id, now.moment);
        let mine = record.node == self.me;
        let local = self.local.get(&record.id).filter(|_| mine);
        Instance {
            record,
            stood,
            busy: local.is_some_and(|it| it.is_busy(now.moment)),
            resting: local.is_some_and(|it| it.is_resting(now.moment)),
            alive: if mine { local.is_some_and(|it| it.alive) } else { record.state.is_up() },
            once: self.is_once(record),
            checked: if mine { self.check_of(record.id).is_some() } else { record.checked },
            held_back: local.is_some_and(|it| it.held_back),
            upheld: local.is_some_and(|it| it.upheld),
            owners: local.map_or(Owners::Keep, |it| self.owners_of(it, &record.service)),
        }
    }

    /// Notes how the services stand, and tells of what changed.
    fn judge(&mut self, project: &ProjectName, outcome: &Outcome) {
        let keys: Vec<ServiceKey> =
            self.state.services_of(project).map(|(key, _)| key.clone()).collect();
        for key in keys {
            let ready = outcome.ready.contains(&key.service);
            let stuck = outcome.stuck.get(&key.service).cloned();
            let was_ready = self.ready.contains(&key);
            if was_ready == ready && self.stuck.get(&key) == stuck.as_ref() {
                continue;
            }
            if ready {
                self.ready.insert(key.clone());
            } else {
                self.ready.remove(&key);
            }
            match stuck.clone() {
                Some(why) => self.stuck.insert(key.clone(), why),
                None => self.stuck.remove(&key),
            };
            let state = match (ready, &stuck) {
                (true, _) => "ready",
                (false, Some(_)) => "stuck",
                (false, None) => "settling",
            };
            let subject = Subject::Service(key);
            self.notify("service.changed", subject, Some(state.to_owned()), stuck);
        }
    }

    /// Drops what is said of containers on nodes that have left. Who put such a node out did so already, but
    /// the node may not have known yet, and have written of them once more.
    fn forget_left(&mut self, project: &ProjectName, now: Now) {
        let left = |it: &&Arc<ContainerRecord>| it.node != self.me && self.state.has_left(it.node);
        let theirs: Vec<ContainerId> =
            self.fleet.of(project).filter(left).map(|it| it.id).collect();
        if theirs.is_empty() || !self.stands_for(project) {
            return;
        }
        self.remember_done(&theirs, now);
        theirs.into_iter().for_each(|it| self.forget(it, now));
    }

    /// Containers that no longer wait say so.
    fn stop_waiting(&mut self, project: &ProjectName, steps: &[(ServiceName, Step)]) {
        for record in self.fleet.of(project) {
            let Some(local) = self.local.get_mut(&record.id) else { continue };
            let waits = |step: &Step| matches!(step, Step::Wait(it, _) if *it == record.id);
            if matches!(local.activity, Some(Activity::Waiting(_)))
                && !steps.iter().any(|(_, step)| waits(step))
            {
                local.activity = None;
            }
        }
    }

    /// Removes containers of services that nobody wants, and of which nothing is known.
    fn collect_garbage(&mut self, project: &ProjectName, now: Now) {
        let deployment = self.state.deployments().get(project);
        let unreadable = deployment.is_some_and(|it| it.removal.is_none())
            && !self.layouts.contains_key(project);
        if unreadable {
            return;
        }
        let unwanted = self
            .fleet
            .of(project)
            .filter(|it| it.node == self.me && self.state.services().get(&it.service).is_none());
        let unwanted: Vec<ContainerId> = unwanted.map(|it| it.id).collect();
        for id in unwanted {
            let local = self.local.entry(id).or_default();
            match (local.is_busy(now.moment), local.alive) {
                (true, _) => {}
                (false, true) => self.halt(id),
                (false, false) => self.discard(id, false),
            }
        }
    }

    /// When nothing else is left here of a project that is to go, this node's networks and volumes of it go.
    fn clear(&mut self, name: &ProjectName, now: Now) {
        // It may be deployed again since.
        let Some(removal) = self.removal_of(name).cloned() else {
            return self.forget_gone(name, now);
        };
        let mine = || self.fleet.of(name).filter(|it| it.node == self.me);
        let is_gone = |id| self.local.get(&id).is_some_and(|it| it.gone);
        if mine().any(|it| !is_gone(it.id)) {
            return;
        }
        match self.clearing.get(name) {
            Some(Clearing::Begun) => return,
            Some(Clearing::Stalled(until)) if now.moment < *until => return,
            // Who had not heard yet that it goes wanted something of it, and what was made for that goes, too.
            Some(Clearing::Done) if mine().next().is_none() => {
                return self.forget_cleared(name, now);
            }
            Some(Clearing::Stalled(_) | Clearing::Done) | None => {}
        }
        self.clearing.insert(name.clone(), Clearing::Begun);
        let (project, volumes, images) = (name.clone(), removal.volumes, removal.images);
        self.effects.push(Effect::Clear { project, volumes, images });
    }

    /// How a project is to go, if it is.
    pub(super) fn removal_of(&self, project: &ProjectName) -> Option<&Removal> {
        self.state.deployments().get(project)?.removal.as_ref()
    }

    /// Every node clears what it has of a project. That it is gone is said once, when nothing is left of
    /// it anywhere; should who says it be lost meanwhile, by the next.
    pub(super) fn forget_cleared(&mut self, name: &ProjectName, now: Now) {
        let removed = self.removal_of(name).is_some();
        let left = self.state.services_of(name).next().is_some()
            || self.fleet.of(name).any(|it| it.node == self.me || self.is_alive(it.node));
        if removed && !left && self.stands_for(name) {
            self.clearing.remove(name);
            self.forget_deployment(name, now);
        }
    }
}
