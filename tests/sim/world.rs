//! The world: machines, the network between them, and everything that is due, from one seed.
//!
//! What a node wants done is carried out as `src/daemon/core.rs` does it: prompt datagrams at once, all else
//! once the writes before it are durable.

use std::collections::{BTreeMap, VecDeque};

use fizz::{
    gossip::{Epoch, Key},
    model::{NodeId, NodeState, Random, mix},
    node::{Effect, Event, Fetch, Request, RequestId},
    state::{Change, ReplicaId, SealedSecret, SecretPath, Write},
};

use crate::{
    addresses,
    engine::Deed,
    ledger::{self, Ledger},
    machine::{Disk, Machine, Outcome, Place},
    network::Network,
    orchestra::Orchestra,
    queue::{MILLI, Micros, Queue},
    runtime,
    scenario::Plan,
    tally::Tally,
    users::{self, Pending, Purpose},
};

/// The shortest time between two ticks, as the daemon has it.
const TICK_INTERVAL: Micros = 2 * MILLI;

/// How often a node may look around at one time until nothing is due: each look does what the one before led to.
const LOOKS_MAX: usize = 8;

/// What is due.
pub(crate) enum What {
    Datagram {
        from: usize,
        to: usize,
        datagram: Vec<u8>,
        kind: Kind,
    },
    Wake(usize, u64),
    Commit(usize, u64),
    /// A node hears of what was begun for it.
    Tell(usize, u64, Event),
    /// A piece of a stream.
    Piece {
        client: usize,
        run: u64,
        stream: u64,
        server: (usize, u64),
        event: Event,
    },
    /// A member asks for state.
    Serve {
        client: usize,
        run: u64,
        stream: u64,
        server: usize,
        fetch: Box<Fetch>,
    },
    /// Nothing came by a stream for long.
    Silence {
        client: usize,
        run: u64,
        stream: u64,
    },
    /// A newcomer is at the door.
    Knock {
        newcomer: usize,
        introducer: usize,
    },
    /// It was not let in.
    TurnAway(usize, ReplicaId),
    /// The newcomer's disk has all.
    Come(usize, Box<Disk>),
    Boot(usize),
    /// A machine that is no member any more gives up its disk.
    Wipe(usize),
    /// The scenario goes on.
    Act,
    /// The network is whole again.
    Mend,
    /// Everything is looked at.
    Look,
    /// A machine that was stopped goes on, unless it was stopped again.
    GoOn(usize),
    /// A runtime has done a part of its work. Which machine, how often its power was cut before, and what.
    Deed(usize, u64, Deed),
}

/// What a datagram is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// As a member sent it.
    Genuine,
    /// Nobody sent it so.
    Bad,
    /// It came before. If its receiver took it, in which life that was: what did not open, as its sender was
    /// a stranger then, is new once it does.
    Again(Option<u64>),
}

/// A datagram that somebody took down.
pub(crate) struct Captured {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) taken: Option<u64>,
    pub(crate) datagram: Vec<u8>,
}

pub(crate) struct World {
    pub(crate) queue: Queue<What>,
    pub(crate) machines: Vec<Machine>,
    pub(crate) network: Network,
    pub(crate) random: Random,
    pub(crate) tally: Tally,
    pub(crate) ledger: Ledger,
    pub(crate) captured: VecDeque<Captured>,
    pub(crate) pending: BTreeMap<(u64, RequestId), Pending>,
    /// Streams that are open, and who serves them.
    pub(crate) open: BTreeMap<u64, NodeId>,
    pub(crate) streams: u64,
    pub(crate) runs: u64,
    /// What may happen here, and when the faults end.
    pub(crate) plan: Plan,
    /// A member left, or was put out.
    pub(crate) somebody_was_put_out: bool,
    /// All faults are over.
    pub(crate) quiet: bool,
    /// What is deployed, in a story about that.
    pub(crate) orchestra: Option<Box<Orchestra>>,
    /// What went wrong first.
    pub(crate) complaint: Option<String>,
    /// Everything that happened, in one number.
    pub(crate) trace: u64,
    pub(crate) log: bool,
}

impl World {
    pub(crate) fn new(machines: usize, seed: u64) -> Self {
        let mut random = Random::new(mix(seed ^ 0x5eed_0ff1_2200));
        // In every other world networks span the nodes.
        let plan = seed.is_multiple_of(2).then(addresses::plan);
        let machines = (0..machines).map(|it| Machine::new(it, plan, &mut random));
        let machines: Vec<Machine> = machines.collect();
        Self {
            queue: Queue::new(),
            machines,
            network: Network::default(),
            random,
            tally: Tally::default(),
            ledger: Ledger::default(),
            captured: VecDeque::new(),
            pending: BTreeMap::new(),
            open: BTreeMap::new(),
            streams: 0,
            runs: 0,
            plan: Plan::default(),
            somebody_was_put_out: false,
            quiet: false,
            orchestra: None,
            complaint: None,
            trace: 0,
            log: false,
        }
    }

    pub(crate) fn complain(&mut self, what: String) {
        let at = self.queue.now / MILLI;
        self.complaint.get_or_insert_with(|| format!("at {at} ms: {what}"));
    }

    pub(crate) fn held(&mut self, result: Result<(), String>, whose: usize) {
        if let Err(what) = result {
            self.complain(format!("n{whose}: {what}"));
        }
    }

    pub(crate) fn say(&self, what: impl FnOnce() -> String) {
        if self.log {
            use std::io::Write as _;
            let line = format!("{:>9} {}\n", self.queue.now / MILLI, what());
            std::io::stdout().write_all(line.as_bytes()).unwrap();
        }
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, micros: Micros) {
        let until = self.queue.now + micros;
        while self.complaint.is_none()
            && let Some(what) = self.queue.next(until)
        {
            self.happen(what);
        }
    }

    pub(crate) fn soon(&mut self, most: Micros) -> Micros {
        self.queue.now + 1 + self.random.below(usize::try_from(most).unwrap()) as Micros
    }

    pub(crate) fn note(&mut self, number: u64) {
        self.trace = mix(self.trace ^ number).wrapping_add(self.queue.now);
    }

    /// When a machine that is stopped goes on.
    fn is_paused(&self, at: usize) -> Option<Micros> {
        let until = self.machines[at].paused_until;
        (self.queue.now < until).then_some(until)
    }

    fn happen(&mut self, what: What) {
        let Some(at) = who_handles(&what) else { return self.carry_on(what) };
        match (self.is_paused(at), what) {
            (Some(until), what @ What::Wake(..)) => {
                if let Some(run) = &mut self.machines[at].run {
                    run.wake = until;
                }
                self.queue.put(until, what);
            }
            (Some(until), what) => {
                self.machines[at].backlog.push_back(what);
                self.queue.put(until, What::GoOn(at));
            }
            (None, what) => {
                self.go_on(at);
                self.carry_on(what);
            }
        }
    }

    /// What came while a machine was stopped, in the order in which it came: streams stay in order.
    fn go_on(&mut self, at: usize) {
        if self.is_paused(at).is_some() {
            return;
        }
        while let Some(what) = self.machines[at].backlog.pop_front() {
            self.carry_on(what);
        }
    }

    fn carry_on(&mut self, what: What) {
        match what {
            What::Datagram { from, to, datagram, kind } => self.arrive(from, to, datagram, kind),
            What::Wake(at, number) => self.wake(at, number),
            What::Commit(at, number) => self.committed(at, number),
            What::Tell(at, number, event) => {
                if self.runs_as(at, number) {
                    self.turn(at, event);
                }
            }
            What::Piece { client, run, stream, server, event } => {
                self.piece(client, run, stream, server, event);
            }
            What::Serve { client, run, stream, server, fetch } => {
                self.serve(client, run, stream, server, &fetch);
            }
            What::Silence { client, run, stream } => self.break_off(client, run, stream),
            What::Knock { newcomer, introducer } => self.knock(newcomer, introducer),
            What::TurnAway(at, replica) => {
                let machine = &mut self.machines[at];
                if machine.place == Place::Joining && machine.disk.replica == replica {
                    machine.place = Place::Outside;
                }
            }
            What::Come(at, disk) => self.come(at, *disk),
            What::Boot(at) => self.boot(at),
            What::Wipe(at) => self.wipe(at),
            What::Act => self.act(),
            What::Mend => self.mend(),
            What::Look => self.look(),
            What::GoOn(at) => self.go_on(at),
            What::Deed(at, outages, deed) => self.deed(at, outages, deed),
        }
    }

    pub(crate) fn runs_as(&self, at: usize, number: u64) -> bool {
        self.machines[at].run.as_ref().is_some_and(|it| it.number == number)
    }

    fn wake(&mut self, at: usize, number: u64) {
        let now = self.queue.now;
        let Some(run) = self.machines[at].run.as_mut() else { return };
        if run.number == number && run.wake == now {
            run.wake = Micros::MAX;
            self.turn(at, Event::Tick);
        }
    }

    fn arrive(&mut self, from: usize, to: usize, datagram: Vec<u8>, kind: Kind) {
        if kind != Kind::Genuine {
            self.do_what_is_due(to);
        }
        let Some(run) = &self.machines[to].run else { return };
        let (number, before) = (run.number, run.node.state().digest());
        self.note(ledger::hash(&datagram));
        let again = kind == Kind::Again(Some(number));
        let is_captured = kind == Kind::Genuine && self.random.below(50) == 0;
        let copy = is_captured.then(|| (datagram.clone(), self.refused(to)));
        let address = self.machines[from].address;
        let said = self.turn(to, Event::Datagram(address, datagram));
        if let Some((datagram, refused)) = copy {
            if self.captured.len() == 64 {
                self.captured.pop_front();
            }
            let taken = (self.refused(to) == refused).then_some(number);
            self.captured.push_back(Captured { from, to, taken, datagram });
        }
        if kind == Kind::Bad || again {
            let after = self.machines[to].run.as_ref().map(|it| it.node.state().digest());
            if said || after != Some(before) {
                self.complain(format!("n{to}: a datagram that is {kind:?} changed something"));
            }
        }
    }

    /// What is due anyway is not what comes next's doing. What a node writes of itself makes it look around
    /// once more.
    fn do_what_is_due(&mut self, at: usize) {
        for _ in 0..LOOKS_MAX {
            self.turn(at, Event::Tick);
            let now = self.machines[at].now(self.queue.now).moment;
            let next = self.machines[at].run.as_ref().and_then(|it| it.node.next_wake());
            if next.is_none_or(|it| now < it) {
                break;
            }
        }
    }

    /// How many datagrams a node did not open.
    fn refused(&self, at: usize) -> Option<u64> {
        let cluster = self.machines[at].run.as_ref()?.node.view().cluster?;
        Some(cluster.traffic.rejected.values().sum())
    }

    /// Lets a node take an event, and carries out what it wants. Whether it said anything.
    pub(crate) fn turn(&mut self, at: usize, event: Event) -> bool {
        let now = self.queue.now;
        let time = self.machines[at].now(now);
        let Some(run) = self.machines[at].run.as_mut() else { return false };
        let number = run.number;
        let effects = run.node.handle(event, time);
        let (mut later, mut sends, mut wrote, mut said) = (vec![], vec![], vec![], false);
        for effect in effects {
            said |= matches!(effect, Effect::Send { .. });
            if let Effect::Persist(steps) = effect {
                run.commits.persist(&steps);
                wrote.extend(steps.iter().flat_map(|it| it.writes().iter().cloned()));
                later.push(Outcome::View(run.node.state().clone()));
            } else if matches!(effect, Effect::Send { once_durable: false, .. }) {
                sends.push(effect);
            } else {
                later.push(Outcome::Effect(effect));
            }
        }
        self.note_wrote(number, &later, &wrote);
        sends.into_iter().for_each(|it| self.carry(at, it));
        for outcome in later {
            let Some(run) = self.machines[at].run.as_mut() else { return said };
            if let Some(outcome) = run.commits.then(outcome) {
                self.carry_out(at, outcome);
            }
        }
        self.begin_commit(at);
        self.set_alarm(at);
        said
    }

    /// Notes which write each answered request came to.
    fn note_wrote(&mut self, number: u64, later: &[Outcome], wrote: &[Write]) {
        for outcome in later {
            let Outcome::Effect(Effect::Reply(id, Ok(_))) = outcome else { continue };
            let Some(pending) = self.pending.get_mut(&(number, *id)) else { continue };
            if let Purpose::Write { key } = &pending.purpose {
                pending.wrote = wrote.iter().rev().find(|it| users::is_of(it, key)).cloned();
            }
        }
    }

    fn begin_commit(&mut self, at: usize) {
        let Some(run) = self.machines[at].run.as_mut() else { return };
        if run.commits.begin() {
            let (number, most) = (run.number, self.machines[at].commit_max);
            let done = self.soon(most);
            self.queue.put(done, What::Commit(at, number));
        }
    }

    fn set_alarm(&mut self, at: usize) {
        let now = self.queue.now;
        let Some(run) = self.machines[at].run.as_mut() else { return };
        let Some(due) = run.node.next_wake() else { return };
        let due = (due.0 * MILLI).max(now + TICK_INTERVAL);
        if due != run.wake {
            run.wake = due;
            let number = run.number;
            self.queue.put(due, What::Wake(at, number));
        }
    }

    fn committed(&mut self, at: usize, number: u64) {
        if !self.runs_as(at, number) {
            return;
        }
        let Some(run) = self.machines[at].run.as_mut() else { return };
        let Some((groups, contents)) = run.commits.done() else { return };
        let due = run.commits.due(groups);
        for group in contents {
            self.store(at, group.rows, &group.writes);
        }
        due.into_iter().for_each(|it| self.carry_out(at, it));
        if self.runs_as(at, number) {
            self.turn(at, Event::Persisted(groups));
        }
    }

    /// A group is durable.
    pub(crate) fn store(&mut self, at: usize, rows: Vec<fizz::state::Row>, writes: &[Write]) {
        self.machines[at].disk.put(rows);
        for write in writes {
            self.note(write.dot.sequence);
            let noted = self.ledger.note(write);
            self.held(noted, at);
            self.heed_farewell(write);
            self.note_write(at, write);
        }
    }

    /// Who was put out is, also where the one that was asked to crashed before it said so.
    fn heed_farewell(&mut self, write: &Write) {
        let Change::Node(id, Some(record)) = &write.change else { return };
        let node = self.machines.iter().find(|it| it.id == *id && it.is_member());
        let node = node.filter(|it| it.disk.state().replica() == record.replica);
        if let Some(node) = node.map(|it| it.index).filter(|_| record.state == NodeState::Left) {
            self.part_with(node, false);
        }
    }

    fn carry_out(&mut self, at: usize, outcome: Outcome) {
        match outcome {
            Outcome::View(view) => {
                if let Some(run) = self.machines[at].run.as_mut() {
                    run.view = view;
                }
            }
            Outcome::Effect(effect) => self.carry(at, effect),
        }
    }

    fn carry(&mut self, at: usize, effect: Effect) {
        let Some(number) = self.machines[at].run.as_ref().map(|it| it.number) else { return };
        match effect {
            Effect::Persist(_) => {}
            Effect::Notify(notice) => {
                // What a node believes of another changed.
                if notice.kind == "node.state"
                    && let Some(orchestra) = &mut self.orchestra
                {
                    orchestra.effort.shock();
                }
            }
            Effect::Reply(id, answer) => self.answered(at, number, id, answer),
            Effect::Send { to, datagram, .. } => {
                let to = self.machines.iter().position(|it| it.address == to);
                if let Some(to) = to {
                    self.send(at, to, datagram);
                }
            }
            Effect::Fetch(fetch) => self.fetch(at, number, fetch),
            Effect::Unwrap(epoch, sealed) => self.unwrap(at, number, epoch, &sealed),
            Effect::Wrap(epoch, node, _) => {
                self.tally.count("keys wrapped later");
                let key = self.machines[at].disk.keys.get(epoch).map(|it| it.to_vec());
                let sealed = SealedSecret { ciphertext: key.unwrap(), fingerprint: [0; 16] };
                let path = SecretPath::ClusterKey(epoch.0, node);
                self.ask(at, Request::Keep(path, Some(sealed)), Purpose::Nothing);
            }
            Effect::Place { .. } => self.tally.count("containers that got another address"),
            Effect::Gone => self.wipe(at),
            effect @ (Effect::Launch(_)
            | Effect::Start(_)
            | Effect::Halt { .. }
            | Effect::Signal { .. }
            | Effect::Discard { .. }
            | Effect::Clear { .. }
            | Effect::Probe { .. }
            | Effect::Look(..)) => {
                if matches!(effect, Effect::Launch(_)) {
                    self.tally.count("containers made");
                }
                if self.orchestra.is_some() {
                    return self.begin_deed(at, number, effect);
                }
                let wall = self.machines[at].now(self.queue.now).wall;
                let event = runtime::obey(&mut self.machines[at].containers, effect, wall);
                let when = self.soon(200 * MILLI);
                if let Some(event) = event {
                    self.queue.put(when, What::Tell(at, number, event));
                }
            }
        }
    }

    pub(crate) fn send(&mut self, from: usize, to: usize, datagram: Vec<u8>) {
        self.tally.count("datagrams sent");
        let (random, tally) = (&mut self.random, &mut self.tally);
        for copy in self.network.carry(from, to, datagram, random, tally) {
            let kind = if copy.damaged { Kind::Bad } else { Kind::Genuine };
            let what = What::Datagram { from, to, datagram: copy.datagram, kind };
            self.queue.put(self.queue.now + copy.after, what);
        }
    }

    fn unwrap(&mut self, at: usize, number: u64, epoch: Epoch, sealed: &SealedSecret) {
        let key: [u8; 32] = sealed.ciphertext.as_slice().try_into().unwrap();
        let key = Key::new(key);
        self.tally.count("keys unwrapped");
        self.machines[at].disk.keys.add(epoch, key.clone());
        let when = self.soon(20 * MILLI);
        self.queue.put(when, What::Tell(at, number, Event::Unwrapped(epoch, Some(key))));
    }
}

/// The machine whose processor it takes; `None` where none has to run for it.
fn who_handles(what: &What) -> Option<usize> {
    match what {
        What::Datagram { to, .. } => Some(*to),
        What::Wake(at, _) | What::Commit(at, _) | What::Tell(at, ..) => Some(*at),
        What::Piece { client, .. } | What::Silence { client, .. } => Some(*client),
        What::Serve { server, .. } => Some(*server),
        What::Knock { introducer, .. } => Some(*introducer),
        What::TurnAway(..)
        | What::Come(..)
        | What::Boot(_)
        | What::Wipe(_)
        | What::Act
        | What::Mend
        | What::Look
        | What::GoOn(_)
        // Containers live on while their node is stopped.
        | What::Deed(..) => None,
    }
}
