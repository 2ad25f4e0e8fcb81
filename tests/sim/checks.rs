//! What must hold always, and what must come to hold once all faults are over.

use std::collections::{BTreeMap, BTreeSet};

use fizz::{
    model::{NodeId, NodeState},
    node::View,
    state::VersionVector,
};

use crate::{
    ledger::key_of,
    machine::{Machine, Place},
    network::Network,
    queue::{MILLI, SECOND},
    world::{What, World},
};

const LOOK_INTERVAL: u64 = 100 * MILLI;

impl World {
    /// Looks at all nodes.
    pub(crate) fn look(&mut self) {
        self.queue.put(self.queue.now + LOOK_INTERVAL, What::Look);
        self.count_the_well();
        for at in 0..self.machines.len() {
            let Some(run) = self.machines[at].run.as_mut() else { continue };
            let state = run.node.state().clone();
            if *state.seen() == run.looked {
                continue;
            }
            let grew = state.seen().covers(&run.looked);
            run.looked = state.seen().clone();
            if !grew {
                return self.complain(format!("n{at} has seen less than before"));
            }
            let view = run.view.clone();
            let compared = self.ledger.compare(&view);
            self.held(compared, at);
            let secrets = state.secrets();
            let conflicts = secrets.iter().map(|(key, _)| secrets.conflicts(key).count());
            self.tally.add("conflicts", conflicts.sum::<usize>() as u64);
        }
    }

    /// Counts what a node did in its life, and looks how much it keeps.
    pub(crate) fn account(&mut self, view: &View) {
        let Some(cluster) = &view.cluster else { return };
        self.tally.add("exchanges", cluster.traffic.comparisons);
        let members = view.state.nodes().iter().count();
        if members < cluster.standings.len() || members < cluster.endpoints.len() {
            self.complain(format!("{} keeps more than its members", view.me));
        }
    }

    /// All faults end.
    pub(crate) fn calm(&mut self) {
        self.say(|| "calm".to_owned());
        self.quiet = true;
        self.network = Network::default();
        for at in 0..self.machines.len() {
            let machine = &mut self.machines[at];
            (machine.skew, machine.drift, machine.commit_max) = (0, 0, 4 * MILLI);
            machine.paused_until = 0;
            self.queue.put(self.queue.now, What::GoOn(at));
            let when = self.soon(SECOND);
            self.queue.put(when, What::Boot(at));
        }
    }

    /// Waits until all agree, and holds what they agree on against all that ever happened.
    pub(crate) fn settle(&mut self) {
        let members = self.machines.len() as u64;
        let end = self.queue.now + (90 + 8 * members) * SECOND;
        let mut why = None;
        while self.complaint.is_none() && self.queue.now < end {
            self.pass(SECOND);
            self.let_in_the_waiting();
            why = self.unsettled();
            if why.is_none() {
                break;
            }
        }
        if let Some(why) = why {
            self.describe();
            self.complain(format!("they do not come to agree: {why}"));
        }
        if self.complaint.is_some() {
            return;
        }
        self.tally.count("stories");
        self.tally.add("virtual seconds", self.queue.now / SECOND);
        let states = self.machines.iter().filter_map(|it| Some(it.run.as_ref()?.view.clone()));
        let states: Vec<_> = states.collect();
        let all: Vec<_> = states.iter().map(AsRef::as_ref).collect();
        let kept = self.ledger.kept(&all);
        self.held(kept, 0);
        let removals = self.ledger.removals();
        self.tally.add("removals collected", removals);
        for at in 0..self.machines.len() {
            let Some(run) = &self.machines[at].run else { continue };
            // What is on its way to the own disk is not in the books yet.
            let (state, view) = (run.view.clone(), run.node.view());
            let checked = self.ledger.check(&state);
            self.held(checked, at);
            self.account(&view);
        }
    }

    /// How each node sees the others, for whoever has to find out.
    fn describe(&self) {
        for machine in &self.machines {
            let Some(view) = machine.run.as_ref().map(|it| it.node.view()) else { continue };
            let name = |id: &NodeId| {
                let it = self.machines.iter().find(|it| it.id == *id);
                it.map_or(String::new(), |it| it.name.to_string())
            };
            let nodes = view.state.nodes().iter().map(|(id, it)| {
                let left = view.state.has_left(*id);
                format!(
                    "{} {:?} left={left} key={} as {:?}",
                    name(id),
                    it.state,
                    it.key_epoch,
                    it.replica
                )
            });
            let nodes: Vec<String> = nodes.collect();
            self.say(|| {
                format!("n{} {:?} as {:?}", machine.index, machine.place, view.state.replica())
            });
            self.say(|| format!("    {nodes:#?}"));
            if let Some(it) = view.cluster {
                let standings = it.standings.iter();
                let standings: Vec<_> = standings.map(|(id, it)| (name(id), it.state)).collect();
                self.say(|| format!("    ready {} keys {:?} {standings:?}", it.ready, it.keys));
                self.say(|| format!("    {:?}", it.traffic));
            }
            self.say(|| format!("    seen {:?} gaps {}", view.state.seen(), view.state.has_gaps()));
            let nothing = VersionVector::default();
            let removals = view.state.delta_since(&nothing).filter(|it| !key_of(&it.change).1);
            let removals: Vec<_> = removals.map(|it| (it.dot, it.past)).collect();
            self.say(|| format!("    removals {removals:?}"));
        }
    }

    /// Who was let in and did not get all asks again; a rotation that broke off is made again.
    pub(crate) fn let_in_the_waiting(&mut self) {
        let introducer = self.machines.iter().find(|it| it.is_member() && it.is_running());
        let Some(introducer) = introducer.map(|it| it.index) else { return };
        let Some(run) = &self.machines[introducer].run else { return };
        let state = run.node.state().clone();
        let waits = self.machines.iter().filter(|it| it.place == Place::Outside);
        let known =
            waits.filter(|it| state.nodes().get(&it.id).is_some() && !state.has_left(it.id));
        let known: Vec<usize> = known.map(|it| it.index).collect();
        known.into_iter().for_each(|it| self.join(it, introducer));
        self.part_with_the_uncounted();
        if (self.queue.now / SECOND).is_multiple_of(60) {
            let newest = self.machines.iter().filter(|it| it.is_member());
            let newest = newest.max_by_key(|it| it.disk.keys.newest()).map(|it| it.index);
            let alone = self.machines.iter().filter(|it| it.is_member());
            let epochs: BTreeSet<_> = alone.map(|it| it.disk.keys.newest()).collect();
            if let Some(at) = newest.filter(|_| 1 < epochs.len()) {
                self.rotate(at);
            }
        }
    }

    /// Who was put out and let in at the same time, or let in by a member that was put out, is not counted by
    /// all. Members of which none counts one of the others, and is counted by it, do not hear each other any
    /// more: of such parts the largest goes on, and the members of the others have to come again
    /// (`docs/PROTOCOL.md`, "What the rest must do", 7). Where nobody was put out, all must count all.
    fn part_with_the_uncounted(&mut self) {
        let mut machines = self.machines.iter();
        // Who leaves may yet pass on what it knows.
        if !self.somebody_was_put_out || machines.any(|it| it.place == Place::Leaving) {
            return;
        }
        // Who is let in is not counted yet; where that lasts, who let it in was put out meanwhile.
        let admitted_count = !(self.queue.now / SECOND).is_multiple_of(60);
        let parts = self.parts(admitted_count);
        let largest = parts.iter().map(Vec::len).max();
        let stays = parts.iter().position(|it| Some(it.len()) == largest);
        let parts = parts.into_iter().enumerate().filter(|(part, _)| Some(*part) != stays);
        for at in parts.flat_map(|(_, part)| part) {
            self.tally.count("members cut off by removals");
            self.part_with(at, false);
        }
    }

    /// The members, by who counts whom, with or without those that others only know to be let in.
    fn parts(&self, admitted_count: bool) -> Vec<Vec<usize>> {
        let members = self.machines.iter().filter(|it| it.is_member());
        let state = |it: &Machine| match &it.run {
            Some(run) => run.node.state().clone(),
            None => it.disk.state().into(),
        };
        let states: BTreeMap<usize, _> = members.map(|it| (it.index, state(it))).collect();
        let counts = |one: usize, other: usize| {
            let id = self.machines[other].id;
            let record = states[&one].nodes().get(&id);
            let is_known = record.is_some_and(|it| admitted_count || it.is_member());
            is_known && !states[&one].has_left(id)
        };
        let mut rest: BTreeSet<usize> = states.keys().copied().collect();
        let mut parts = vec![];
        while let Some(first) = rest.pop_first() {
            let (mut part, mut looked_at) = (vec![first], 0);
            while let Some(&one) = part.get(looked_at) {
                looked_at += 1;
                let met = rest.iter().copied().filter(|it| counts(one, *it) && counts(*it, one));
                part.extend(met.collect::<Vec<_>>());
                rest.retain(|it| !part.contains(it));
            }
            parts.push(part);
        }
        parts
    }

    /// Why all do not agree yet.
    fn unsettled(&self) -> Option<String> {
        let members: Vec<_> = self.machines.iter().filter(|it| it.is_member()).collect();
        if self.machines.iter().any(|it| matches!(it.place, Place::Leaving | Place::Joining)) {
            return Some("some come or go".to_owned());
        }
        let ids: BTreeSet<NodeId> = members.iter().map(|it| it.id).collect();
        let first = members.first()?.run.as_ref()?.node.view();
        let newest = first.cluster.as_ref()?.keys.newest();
        for machine in &members {
            let at = machine.index;
            let Some(run) = &machine.run else { return Some(format!("n{at} is down")) };
            let view = run.node.view();
            let (state, cluster) = (&view.state, view.cluster.as_ref()?);
            if !cluster.ready {
                return Some(format!("n{at} is not ready"));
            }
            let known: BTreeSet<NodeId> = state.nodes().iter().map(|(id, _)| *id).collect();
            if known != ids {
                return Some(format!("n{at} counts {known:?} and not {ids:?}"));
            }
            for other in members.iter().filter(|it| it.id != machine.id) {
                let state = cluster.standings.get(&other.id).map(|it| it.state);
                if state != Some(NodeState::Alive) {
                    return Some(format!("to n{at}, n{} is {state:?}", other.index));
                }
            }
            if run.view.digest() != state.digest() {
                return Some(format!("n{at} has writes that are not durable"));
            }
            if state.digest() != first.state.digest() {
                return Some(format!("n{at} has seen other writes than n{}", members[0].index));
            }
            if !state.is_vouched() {
                return Some(format!("n{at} has writes that nobody can account for"));
            }
            if cluster.keys.newest() != newest || cluster.keys.iter().count() != 1 {
                return Some(format!("n{at} has {:?}, the newest is {newest:?}", cluster.keys));
            }
            let nothing = VersionVector::default();
            // Known to be kept for ever: what rests on a write of who is gone, before which others are missing.
            let stands = state.delta_since(&nothing).filter(|it| state.seen().covers(&it.past));
            let keys = stands.map(|it| key_of(&it.change));
            // Where a removal and a value did not know each other, both stay until the next write.
            let removals: Vec<_> = keys.filter(|(_, is_value)| !is_value).collect();
            let values = state.delta_since(&nothing).map(|it| key_of(&it.change));
            let values = values.filter(|(_, is_value)| *is_value);
            let values: BTreeSet<_> = values.map(|(key, _)| key).collect();
            if let Some((key, _)) = removals.iter().find(|it| !values.contains(&it.0)) {
                return Some(format!("n{at} still has the removal of {key}"));
            }
            if state.content_hash() != first.state.content_hash() {
                return Some(format!("n{at} shows something else"));
            }
        }
        None
    }
}
