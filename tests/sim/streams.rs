//! Streams, as `src/daemon/members/sync.rs` and `join.rs` have them: what is told is one durable picture, in
//! pieces, and may break off anywhere.

use std::sync::Arc;

use fizz::{
    gossip::Fetched,
    node::{AdmitRequest, Event, Fetch, Request},
    state::{
        self, Admission, Applied, ClusterState, ReplicaId, VersionVector, decode_inventory,
        decode_vector, decode_write, encode_inventory, encode_vector, encode_write,
    },
};

use crate::{
    machine::{Disk, Place},
    queue::{MILLI, SECOND},
    users::Purpose,
    world::{What, World},
};

/// How long the other side may say nothing.
const SILENCE_MAX: u64 = 15 * SECOND;

/// How far two clocks may be apart when one joins.
const CLOCK_ERROR_MS_MAX: u64 = 10_000;

impl World {
    /// A node wants what another has.
    pub(crate) fn fetch(&mut self, client: usize, run: u64, fetch: Fetch) {
        self.streams += 1;
        let stream = self.streams;
        self.open.insert(stream, fetch.from);
        self.tally.count("fetches");
        if fetch.enter.is_some() {
            self.tally.count("fetches to enter again");
        }
        let server = self.machines.iter().position(|it| Some(it.address) == fetch.address);
        self.say(|| format!("n{client} fetches from {server:?}, enters as {:?}", fetch.enter));
        let Some(server) = server else { return self.break_off_soon(client, run, stream) };
        let when = self.soon(5 * MILLI);
        let fetch = Box::new(fetch);
        self.queue.put(when, What::Serve { client, run, stream, server, fetch });
        let silence = self.queue.now + SILENCE_MAX;
        self.queue.put(silence, What::Silence { client, run, stream });
    }

    fn break_off_soon(&mut self, client: usize, run: u64, stream: u64) {
        let when = self.soon(3 * SECOND);
        self.queue.put(when, What::Silence { client, run, stream });
    }

    /// A stream is over, and all did not come.
    pub(crate) fn break_off(&mut self, client: usize, run: u64, stream: u64) {
        let Some(from) = self.open.remove(&stream) else { return };
        if self.runs_as(client, run) {
            self.tally.count("fetches broken off");
            self.turn(client, Event::FetchEnded(from, None));
        }
    }

    /// Whether two nodes can open a stream: both ways work, and they have a key in common.
    fn opens(&self, client: usize, server: usize) -> bool {
        let (Some(mine), Some(theirs)) = (&self.machines[client].run, &self.machines[server].run)
        else {
            return false;
        };
        let (Some(ours), Some(others)) = (mine.node.view().cluster, theirs.node.view().cluster)
        else {
            return false;
        };
        let known = ours.epochs.get(&self.machines[server].id).copied();
        let newest = ours.keys.newest();
        let shared = known.filter(|it| ours.keys.contains(*it) && *it < newest);
        let epoch = shared.unwrap_or(newest);
        let (me, view) = (self.machines[client].id, &theirs.view);
        let knows = view.nodes().get(&me).is_some() && !view.has_left(me);
        self.network.connects(client, server) && others.keys.contains(epoch) && knows
    }

    pub(crate) fn serve(
        &mut self,
        client: usize,
        run: u64,
        stream: u64,
        server: usize,
        fetch: &Fetch,
    ) {
        if !self.runs_as(client, run) {
            return;
        }
        if !self.opens(client, server) || self.machines[server].id != fetch.from {
            return self.break_off_soon(client, run, stream);
        }
        let seen = Arc::new(decode_vector(&encode_vector(&fetch.seen).unwrap()).unwrap());
        if let Some(replica) = fetch.enter {
            let purpose = Purpose::Readmit { client, run, stream, seen };
            let request = Request::Readmit(self.machines[client].id, replica);
            return self.ask(server, request, purpose);
        }
        self.tell_all(client, run, stream, server, &seen, false);
    }

    /// Tells all that who has seen this lacks.
    pub(crate) fn tell_all(
        &mut self,
        client: usize,
        run: u64,
        stream: u64,
        server: usize,
        seen: &VersionVector,
        enters: bool,
    ) {
        let Some(serving) = &self.machines[server].run else { return };
        let (state, number) = (serving.view.clone(), serving.number);
        let full = enters || !state.can_serve(seen);
        let from = self.machines[server].id;
        let writes: Vec<_> = state.delta_since(seen).map(|it| encode_write(&it).unwrap()).collect();
        let mut events = vec![];
        for piece in writes.chunks(1 + self.random.below(20)) {
            let writes = piece.iter().map(|it| decode_write(it).unwrap()).collect();
            events.push(Event::Fetched(from, writes));
        }
        let end = if full {
            self.tally.count("full fetches");
            let inventory = encode_inventory(&state.inventory()).unwrap();
            Fetched::Full(decode_inventory(&inventory).unwrap())
        } else {
            Fetched::Delta(decode_vector(&encode_vector(state.seen()).unwrap()).unwrap())
        };
        events.push(Event::FetchEnded(from, Some(end)));
        let breaks = self.random.below(1000) < self.network.broken;
        let last = if breaks { self.random.below(events.len()) } else { events.len() };
        let slow = if self.random.below(8) == 0 { 500 * MILLI } else { 5 * MILLI };
        let mut when = self.queue.now;
        for event in events.into_iter().take(last) {
            when += 1 + self.random.below(slow as usize) as u64;
            let server = (server, number);
            self.queue.put(when, What::Piece { client, run, stream, server, event });
        }
        if breaks {
            self.queue.put(when + 1, What::Silence { client, run, stream });
        }
    }

    pub(crate) fn piece(
        &mut self,
        client: usize,
        run: u64,
        stream: u64,
        server: (usize, u64),
        event: Event,
    ) {
        if !self.open.contains_key(&stream) || !self.runs_as(client, run) {
            return;
        }
        let flows = self.runs_as(server.0, server.1) && self.network.connects(client, server.0);
        if !flows {
            return self.break_off(client, run, stream);
        }
        if matches!(event, Event::FetchEnded(..)) {
            self.open.remove(&stream);
        }
        self.turn(client, event);
    }

    /// A machine wants to come in.
    pub(crate) fn join(&mut self, newcomer: usize, introducer: usize) {
        let replica = ReplicaId(self.random.bits());
        let machine = &mut self.machines[newcomer];
        machine.place = Place::Joining;
        machine.disk.replica = replica;
        let when = self.soon(5 * MILLI);
        self.queue.put(when, What::Knock { newcomer, introducer });
        self.queue.put(self.queue.now + SILENCE_MAX, What::TurnAway(newcomer, replica));
    }

    /// An introducer lets a newcomer in.
    pub(crate) fn knock(&mut self, newcomer: usize, introducer: usize) {
        let now = self.queue.now;
        let (one, other) = (&self.machines[newcomer], &self.machines[introducer]);
        let (one, other) = (one.now(now).wall, other.now(now).wall);
        let agree = one.0.abs_diff(other.0) <= CLOCK_ERROR_MS_MAX;
        let machine = &self.machines[introducer];
        let there = machine.is_running() && machine.is_member();
        let (new, by) = (&self.machines[newcomer], machine.id);
        let (replica, node) = (new.disk.replica, new.id);
        if !agree || !there || !self.network.connects(newcomer, introducer) {
            self.machines[newcomer].place = Place::Outside;
            return;
        }
        let request = AdmitRequest {
            node,
            name: new.name.clone(),
            version: "0".into(),
            replica,
            recipient: String::new(),
            address: new.address,
            admission: Admission { by, at: other, token: None },
        };
        let purpose = Purpose::Admit { newcomer, replica };
        self.ask(introducer, Request::Admit(Box::new(request)), purpose);
    }

    /// A newcomer is told everything, and puts it onto its disk.
    pub(crate) fn welcome(&mut self, newcomer: usize, replica: ReplicaId, introducer: usize) {
        let Some(run) = &self.machines[introducer].run else { return };
        let (view, cluster) = (run.view.clone(), run.node.view().cluster);
        let machine = &self.machines[newcomer];
        if machine.place != Place::Joining || machine.disk.replica != replica {
            return;
        }
        let Some(cluster) = cluster else { return };
        if self.random.below(1000) < self.network.broken {
            self.tally.count("joins broken off");
            self.machines[newcomer].place = Place::Outside;
            return;
        }
        let wall = machine.now(self.queue.now).wall;
        let mut state = ClusterState::new(replica);
        let mut disk = Disk::new(replica, cluster.keys);
        let nothing = VersionVector::default();
        for write in view.delta_since(&nothing) {
            match state.apply(write, wall) {
                Applied::New(step) => disk.put(state::encode(&step).unwrap()),
                Applied::Known | Applied::Refused => {
                    return self.complain("a newcomer takes not all".to_owned());
                }
            }
        }
        let step = state.enter(&view.inventory(), wall);
        disk.put(state::encode(&step).unwrap());
        let when = self.soon(100 * MILLI);
        self.queue.put(when, What::Come(newcomer, Box::new(disk)));
    }

    pub(crate) fn come(&mut self, newcomer: usize, disk: Disk) {
        let machine = &mut self.machines[newcomer];
        if machine.place != Place::Joining || machine.disk.replica != disk.replica {
            return;
        }
        machine.disk = disk;
        machine.place = Place::Member;
        self.tally.count("joins");
        self.boot(newcomer);
    }
}
