//! What must hold of what runs where.

use std::collections::{BTreeMap, BTreeSet};

use fizz::{
    model::{ContainerState, NodeId, ProjectName, RuntimeState, ServiceKey, Slot},
    node::{Node, Places},
    state::{Change, ClusterState, ContainerRecord, Intent, ServiceRecord, Stage, Write},
};

use crate::{
    engine::{BAD, CRASHING, Deed, UNMAKEABLE},
    guarantees::has_completed,
    machine::Machine,
    stacks::Kind,
    world::World,
};

/// Images of which nothing becomes well.
const BAD_ONES: &[&str] = &[BAD, CRASHING, UNMAKEABLE];

/// How many nodes are asked where everything should be: all of all but the largest clusters.
const WITNESSES_MAX: usize = 32;

impl World {
    /// Notes that something is begun for a deployment.
    pub(crate) fn note_begun(&mut self, at: usize, deed: &Deed) {
        let container = match deed {
            Deed::Make(launch, _) | Deed::Run(launch, _) => launch.container,
            Deed::End(container, _) | Deed::Remove(container, _) => *container,
            Deed::Check(..) | Deed::Look(..) | Deed::Die(..) => return,
        };
        let Some(run) = &self.machines[at].run else { return };
        let Some(record) = run.node.state().container(container) else { return };
        let (id, record) = (self.machines[at].id, record.clone());
        if self.log {
            let what = match deed {
                Deed::Make(launch, _) => format!("make (start: {})", !launch.no_start),
                Deed::Run(..) => "start".into(),
                Deed::End(..) => "stop".into(),
                Deed::Remove(..) => "remove".into(),
                Deed::Check(..) | Deed::Look(..) | Deed::Die(..) => String::new(),
            };
            self.say(|| format!("n{at} {id}: {what} {} of {}", record.name, record.revision));
        }
        let project = record.service.project.clone();
        let orchestra = self.orchestra();
        match deed {
            Deed::Make(..) => orchestra.effort.made(&project),
            Deed::End(..) => orchestra.effort.stopped(&project),
            Deed::Run(..) | Deed::Remove(..) => {}
            Deed::Check(..) | Deed::Look(..) | Deed::Die(..) => {}
        }
        *orchestra.begun.entry(project).or_default() += 1;
    }

    /// Notes a write of a deployment.
    pub(crate) fn note_write(&mut self, at: usize, write: &Write) {
        // Others only take it in.
        if self.orchestra.is_none() || write.dot.replica != self.machines[at].disk.replica {
            return;
        }
        let project = match &write.change {
            Change::Service(key, record) => {
                self.say(|| {
                    let it = record.as_ref();
                    let short = it.map(|it| (it.replicas, &it.rollout, it.intent, image(it)));
                    format!("n{at} {key} is {short:?}")
                });
                match record.as_ref().map(|it| it.rollout.stage) {
                    Some(Stage::Returning) => self.tally.count("changes that went back"),
                    Some(Stage::Paused) => self.tally.count("changes that stopped"),
                    Some(Stage::Done | Stage::Going | Stage::Canary) | None => {}
                }
                key.project.clone()
            }
            Change::Deployment(name, _) => name.clone(),
            Change::Container(id, record) => {
                self.say(|| match record {
                    Some(it) => {
                        let words = (it.state, it.attempts, it.given_up, it.reason.as_deref());
                        format!("n{at} {} {id}: {words:?}", it.name)
                    }
                    None => format!("n{at} {id} is gone"),
                });
                let Some(record) = record else { return };
                self.note_record(record);
                let project = record.service.project.clone();
                if record.given_up {
                    self.orchestra().effort.failed(&project);
                }
                project
            }
            Change::IpAllocation(_, given) => {
                let what = if given.is_some() { "addresses given" } else { "addresses taken back" };
                self.tally.count(what);
                self.orchestra().written += 1;
                return;
            }
            Change::Node(..) | Change::Secret(..) | Change::Revision(..) => {
                self.orchestra().written += 1;
                return;
            }
        };
        *self.orchestra().begun.entry(project).or_default() += 1;
    }

    /// How many of each deployment's web servers are well. What will end or sicken for certain is not.
    pub(crate) fn well(&self) -> BTreeMap<ProjectName, u32> {
        let mut well: BTreeMap<&ProjectName, BTreeSet<Slot>> = BTreeMap::new();
        for machine in self.machines.iter().filter(|it| it.is_member()) {
            let Some(run) = &machine.run else { continue };
            for it in run.node.state().containers().filter(|it| it.node == machine.id) {
                let is_bad = machine.containers.values().any(|seen| {
                    seen.container == it.id && BAD_ONES.iter().any(|bad| seen.image.0.contains(bad))
                });
                let serves = is_well(it) && runs(machine, it) && !is_bad;
                if serves && it.service.service.to_string() == "web" {
                    well.entry(&it.service.project).or_default().insert(it.slot);
                }
            }
        }
        well.into_iter().map(|(name, them)| (name.clone(), them.len() as u32)).collect()
    }

    /// As long as nothing goes wrong, enough of each service are well.
    pub(crate) fn count_the_well(&mut self) {
        let Some(orchestra) = &self.orchestra else { return };
        if !orchestra.is_calm || orchestra.floors.is_empty() {
            return;
        }
        let well = self.well();
        let short = orchestra.floors.iter().find_map(|(project, floor)| {
            let count = well.get(project).copied().unwrap_or_default();
            (count < *floor)
                .then(|| format!("{project} has {count} that are well, and must have {floor}"))
        });
        if let Some(short) = short {
            self.describe_services();
            self.complain(short);
        }
    }

    /// Deployments that something is wrong with by their own fault.
    pub(crate) fn troubled(&self) -> BTreeSet<ProjectName> {
        let nodes = self.playing();
        let Some(node) = nodes.first().and_then(|it| node(it)) else { return BTreeSet::new() };
        let all = node.state().services().iter();
        all.filter(|(_, it)| is_troubled(it)).map(|(key, _)| key.project.clone()).collect()
    }

    /// Deployments of which a replica is nowhere: room for it may come from whatever happens to others.
    pub(crate) fn lacking(&self) -> BTreeSet<ProjectName> {
        let nodes = self.playing();
        let Some(node) = nodes.first().and_then(|it| node(it)) else { return BTreeSet::new() };
        let lacks = |key: &ServiceKey| {
            node.places(&key.project).is_some_and(|it| !it.unplaced(&key.service).is_empty())
        };
        let all = node.state().services().iter().map(|(key, _)| key);
        all.filter(|it| lacks(it)).map(|it| it.project.clone()).collect()
    }

    /// Services whose last change is over.
    pub(crate) fn done(&self) -> BTreeSet<ServiceKey> {
        let nodes = self.playing();
        let Some(node) = nodes.first().and_then(|it| node(it)) else { return BTreeSet::new() };
        let all = node.state().services().iter();
        all.filter(|(_, it)| it.rollout.stage == Stage::Done).map(|(key, _)| key.clone()).collect()
    }

    fn playing(&self) -> Vec<&Machine> {
        self.machines.iter().filter(|it| it.is_member() && it.is_running()).collect()
    }

    /// Why something does not run as it should.
    pub(crate) fn discord(&self) -> Option<String> {
        let machines = self.playing();
        let first = node(machines.first()?)?;
        let state = first.state();
        for machine in &machines {
            let theirs = node(machine)?.state();
            let same = theirs.digest() == state.digest();
            if !same && theirs.content_hash() != state.content_hash() {
                return Some(format!("n{} knows something else", machine.index));
            }
        }
        if let Some(why) = self.misaddressed(state) {
            return Some(why);
        }
        // Of many, some are asked where everything should be.
        let step = machines.len().div_ceil(WITNESSES_MAX);
        let machines: Vec<&Machine> = machines.into_iter().step_by(step).collect();
        for (name, deployment) in state.deployments().iter() {
            if deployment.removal.is_some() {
                return Some(format!("{name} is still being removed"));
            }
            let places = first.place(name, machines[0].now(self.queue.now));
            for machine in &machines {
                let (at, node) = (machine.index, node(machine)?);
                let theirs = node.place(name, machine.now(self.queue.now));
                if theirs != places {
                    return Some(format!("n{at} places {name} by itself: {theirs:?}"));
                }
                if node.places(name) != Some(&places) {
                    return Some(format!("n{at} did not look at {name} again: {places:?}"));
                }
            }
            let troubled = state.services_of(name).any(|(_, it)| is_troubled(it));
            for (key, record) in state.services_of(name) {
                let found = if troubled {
                    self.doubled(state, key)
                } else {
                    self.misplaced(state, key, record, &places)
                };
                if let Some(why) = found {
                    return Some(format!("{key}: {why}"));
                }
            }
        }
        self.surplus(state).or_else(|| self.broken_promise(state))
    }

    /// What is wrong with a service that should be well.
    fn misplaced(
        &self,
        state: &ClusterState,
        key: &ServiceKey,
        record: &ServiceRecord,
        places: &Places,
    ) -> Option<String> {
        let (posts, unplaced) = (places.posts(&key.service), places.unplaced(&key.service));
        if record.intent != Intent::Run {
            return Some(format!("it is {:?}", record.intent));
        }
        // What is nowhere cannot prove itself.
        let can_prove = unplaced.is_empty() || !posts.is_empty();
        if record.rollout.stage != Stage::Done && can_prove {
            return Some(format!("its change is {:?}", record.rollout));
        }
        if unplaced.iter().any(|(_, why)| why.is_empty()) {
            return Some("a replica is nowhere, for no reason".into());
        }
        let kind = self.kind_of(key);
        let mut seen: BTreeSet<(Slot, NodeId)> = BTreeSet::new();
        for it in state.containers().filter(|it| it.service == *key) {
            let place = (it.slot, it.node);
            if !posts.iter().any(|post| (post.slot, post.node) == place) {
                // What has no place now keeps the one that it had.
                if unplaced.iter().any(|(slot, _)| *slot == it.slot) {
                    continue;
                }
                return Some(format!("{} is on {} and should not", it.name, it.node));
            }
            if !seen.insert(place) {
                return Some(format!("{} is there twice", it.name));
            }
            // A run by the clock stays what it was made from.
            if it.revision != record.template.revision && kind != Kind::Timed {
                return Some(format!("{} is what it was before", it.name));
            }
            if kind.is_job() {
                // A run that failed for good is over, too: the next tick brings the next.
                let failed = kind == Kind::Timed && it.state == ContainerState::Failed;
                if !has_completed(it) && !failed {
                    return Some(format!("{} is {}, {:?}", it.name, it.state, it.reason));
                }
                continue;
            }
            if !is_well(it) {
                return Some(format!("{} is {}, {:?}", it.name, it.state, it.reason));
            }
            let machine = self.machines.iter().find(|machine| machine.id == it.node)?;
            if !runs(machine, it) {
                return Some(format!("{} is said to run, and does not", it.name));
            }
        }
        let lacks = posts.iter().find(|it| !seen.contains(&(it.slot, it.node)));
        lacks.map(|it| format!("{} should be on {}", it.slot, it.node))
    }

    /// A service that cannot become well still has no replica twice.
    fn doubled(&self, state: &ClusterState, key: &ServiceKey) -> Option<String> {
        let mut seen = BTreeSet::new();
        let up = state.containers().filter(|it| it.service == *key && it.state.is_up());
        let each = self.kind_of(key).is_on_each();
        let node = |it: &ContainerRecord| each.then_some(it.node);
        let mut up = up.filter(|it| !seen.insert((it.slot, it.revision, node(it))));
        up.next().map(|it| format!("{} runs twice", it.name))
    }

    /// A container that nobody wants.
    fn surplus(&self, state: &ClusterState) -> Option<String> {
        for it in state.containers() {
            if state.services().get(&it.service).is_none() {
                return Some(format!("{} is nobody's", it.name));
            }
        }
        for machine in self.playing() {
            for it in machine.containers.values() {
                let known = state.container(it.container);
                if known.is_none_or(|known| known.node != machine.id) {
                    return Some(format!("n{} runs {} and none knows", machine.index, it.name));
                }
            }
        }
        None
    }

    /// What a user was told would be so, and is not.
    fn broken_promise(&self, state: &ClusterState) -> Option<String> {
        let orchestra = self.orchestra.as_ref()?;
        for stack in orchestra.stacks.iter().filter(|_| orchestra.is_calm) {
            let key = stack.key();
            let Some(record) = state.services().get(&key) else {
                return Some(format!("{key} is not there"));
            };
            if let Some(certain) = &stack.certain
                && image(record) != *certain
            {
                return Some(format!("{key} is {} and not {certain}", image(record)));
            }
            if stack.fails && stack.certain.is_some() && record.rollout.failed.is_none() {
                return Some(format!("{key} does not say that its change failed"));
            }
            if stack.style.kind.is_counted() && record.replicas != stack.replicas {
                return Some(format!("{key} has {} and not {}", record.replicas, stack.replicas));
            }
        }
        None
    }

    /// What runs where, for whoever has to find out.
    pub(crate) fn describe_services(&self) {
        for machine in self.playing() {
            let Some(node) = node(machine) else { continue };
            self.say(|| format!("n{} {}", machine.index, machine.id));
            for (key, record) in node.state().services().iter() {
                let places = node.place(&key.project, machine.now(self.queue.now));
                self.say(|| {
                    format!(
                        "  {key} {} x{} {:?} {:?} {:?} moves {:?}\n      posts {:?} unplaced {:?}",
                        image(record),
                        record.replicas,
                        record.intent,
                        record.rollout,
                        record.previous.is_some(),
                        record.moves,
                        places.posts(&key.service),
                        places.unplaced(&key.service)
                    )
                });
            }
            for it in node.state().containers() {
                self.say(|| {
                    format!(
                        "    {} {} on {} {} of {} attempts {} given up {} {:?}",
                        it.name,
                        it.id,
                        it.node,
                        it.state,
                        it.revision,
                        it.attempts,
                        it.given_up,
                        it.reason
                    )
                });
            }
        }
    }
}

fn node(machine: &Machine) -> Option<&Node> {
    Some(&machine.run.as_ref()?.node)
}

fn is_well(it: &ContainerRecord) -> bool {
    it.state == ContainerState::Healthy || (it.state == ContainerState::Running && !it.checked)
}

fn runs(machine: &Machine, it: &ContainerRecord) -> bool {
    let mut all = machine.containers.values().filter(|seen| seen.container == it.id);
    all.any(|it| matches!(it.state, RuntimeState::Running { .. }))
}

/// Whether a service cannot become well, or stays as it is.
fn is_troubled(it: &ServiceRecord) -> bool {
    let image = image(it);
    let stays = matches!(it.rollout.stage, Stage::Paused | Stage::Canary);
    stays || BAD_ONES.iter().any(|it| image.contains(it))
}

fn image(it: &ServiceRecord) -> String {
    let definition: serde_json::Value = it.template.definition.parse().unwrap();
    definition["image"].as_str().unwrap_or_default().to_owned()
}
