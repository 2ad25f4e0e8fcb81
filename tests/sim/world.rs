//! The world: machines, the network between them, and everything that is due, from one seed.
//!
//! What a node wants done is carried out as `src/daemon/core.rs` does it: prompt datagrams at once, all else
//! once the writes before it are durable.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use fizz::{
    gossip::{Epoch, Key},
    model::{NodeId, Random, mix},
    node::{Effect, Event, Fetch, Refusal, Request, RequestId, Response},
    state::{ReplicaId, SealedSecret, SecretPath, Write},
};

use crate::{
    ledger::{self, Ledger, Promise},
    machine::{Disk, Machine, Outcome, Place},
    network::Network,
    queue::{MILLI, Micros, Queue, SECOND},
    runtime,
    scenario::Plan,
    tally::Tally,
    users::{self, Pending, Purpose},
};

/// The shortest time between two ticks, as the daemon has it.
const TICK_INTERVAL: Micros = 2 * MILLI;

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
}

/// What a datagram is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// As a member sent it.
    Genuine,
    /// Nobody sent it so.
    Bad,
    /// It came before, in this life of its receiver.
    Again(u64),
}

/// A datagram that somebody took down.
pub(crate) struct Captured {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) run: u64,
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
    /// Whom somebody was asked to put out. If that node crashed, nobody knows whether it did.
    pub(crate) put_out: BTreeSet<usize>,
    /// All faults are over.
    pub(crate) quiet: bool,
    /// What went wrong first.
    pub(crate) complaint: Option<String>,
    /// Everything that happened, in one number.
    pub(crate) trace: u64,
    pub(crate) log: bool,
}

impl World {
    pub(crate) fn new(machines: usize, seed: u64) -> Self {
        let mut random = Random::new(mix(seed ^ 0x5eed_0f_f122));
        Self {
            queue: Queue::new(),
            machines: (0..machines).map(|it| Machine::new(it, &mut random)).collect(),
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
            put_out: BTreeSet::new(),
            quiet: false,
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

    fn note(&mut self, number: u64) {
        self.trace = mix(self.trace ^ number).wrapping_add(self.queue.now);
    }

    /// When a machine that is stopped goes on.
    fn is_paused(&self, at: usize) -> Option<Micros> {
        let until = self.machines[at].paused_until;
        (self.queue.now < until).then_some(until)
    }

    fn happen(&mut self, what: What) {
        let to = match &what {
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
            | What::Look => None,
        };
        if let Some((at, until)) = to.and_then(|at| Some((at, self.is_paused(at)?))) {
            if let (What::Wake(..), Some(run)) = (&what, &mut self.machines[at].run) {
                run.wake = until;
            }
            return self.queue.put(until, what);
        }
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
            // What is due anyway is not the datagram's.
            self.turn(to, Event::Tick);
        }
        let Some(run) = &self.machines[to].run else { return };
        let (number, before) = (run.number, run.node.state().digest());
        self.note(ledger::hash(&datagram));
        let again = matches!(kind, Kind::Again(run) if run == number);
        if kind == Kind::Genuine && self.random.below(50) == 0 {
            if self.captured.len() == 64 {
                self.captured.pop_front();
            }
            let datagram = datagram.clone();
            self.captured.push_back(Captured { from, to, run: number, datagram });
        }
        let address = self.machines[from].address;
        let said = self.turn(to, Event::Datagram(address, datagram));
        if kind == Kind::Bad || again {
            let after = self.machines[to].run.as_ref().map(|it| it.node.state().digest());
            if said || after != Some(before) {
                self.complain(format!("n{to}: a datagram that is {kind:?} changed something"));
            }
        }
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
            match effect {
                Effect::Persist(steps) => {
                    run.commits.persist(&steps);
                    wrote.extend(steps.iter().flat_map(|it| it.writes().iter().cloned()));
                    later.push(Outcome::View(run.node.state().clone()));
                }
                Effect::Send { to, datagram, once_durable } => {
                    said = true;
                    let effect = Effect::Send { to, datagram, once_durable };
                    if once_durable {
                        later.push(Outcome::Effect(effect));
                    } else {
                        sends.push(effect);
                    }
                }
                effect => later.push(Outcome::Effect(effect)),
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
            Effect::Persist(_) | Effect::Notify(_) => {}
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

    /// Asks a node for something.
    pub(crate) fn ask(&mut self, at: usize, request: Request, purpose: Purpose) {
        let Some(run) = self.machines[at].run.as_mut() else { return };
        run.requests += 1;
        let (number, id) = (run.number, RequestId(run.requests));
        self.say(|| format!("n{at} is asked: {}", short(&request)));
        self.pending.insert((number, id), Pending { purpose, wrote: None });
        self.queue.put(self.queue.now, What::Tell(at, number, Event::Asked(id, request)));
    }

    fn answered(
        &mut self,
        at: usize,
        number: u64,
        id: RequestId,
        answer: Result<Response, Refusal>,
    ) {
        let Some(pending) = self.pending.remove(&(number, id)) else {
            return self.complain(format!("n{at}: an answer that nobody waits for"));
        };
        self.note(id.0);
        let good = answer.is_ok();
        self.say(|| format!("n{at} answers: {:?}", answer.as_ref().map(|_| ())));
        match pending.purpose {
            Purpose::Write { key } => {
                let kind = if good { "user writes acknowledged" } else { "user writes refused" };
                self.tally.count(kind);
                if let Some(write) = pending.wrote {
                    self.ledger.promises.push(Promise { dot: write.dot, what: key });
                }
            }
            Purpose::Readmit { client, run, stream, seen } => {
                if good {
                    self.tell_all(client, run, stream, at, &seen, true);
                } else {
                    self.break_off(client, run, stream);
                }
            }
            Purpose::Admit { newcomer, replica } => {
                if good {
                    self.welcome(newcomer, replica, at);
                } else {
                    self.machines[newcomer].place = Place::Outside;
                }
            }
            Purpose::Remove { node, leaves } if good => self.part_with(node, leaves),
            Purpose::Remove { .. } | Purpose::Nothing => {}
        }
    }

    /// A node ends without a word, at any point of a commit.
    pub(crate) fn crash(&mut self, at: usize) {
        let Some(mut run) = self.machines[at].run.take() else { return };
        self.say(|| format!("n{at} crashes"));
        self.tally.count("crashes");
        self.account(&run.node.view());
        let groups = std::mem::take(&mut run.commits).lost();
        let kept = self.random.below(groups.len() + 1);
        for (number, group) in groups.into_iter().enumerate() {
            if number < kept {
                self.store(at, group.rows, &group.writes);
            } else if number == kept {
                self.tally.count("crashes that lost writes");
            }
        }
        // What was on the disk, and what others may have read, is there when it comes back.
        let seen = self.machines[at].disk.state();
        if !seen.seen().covers(run.view.seen()) {
            self.complain(format!("n{at}: the disk lost what was durable"));
        }
    }

    pub(crate) fn boot(&mut self, at: usize) {
        let machine = &mut self.machines[at];
        if machine.is_running() || matches!(machine.place, Place::Outside | Place::Joining) {
            return;
        }
        if std::mem::take(&mut machine.set_back) {
            let replica = machine.disk.replica;
            let others = self.machines.iter().filter(|it| it.is_member());
            let others = others.filter_map(|it| it.run.as_ref());
            let others: Vec<_> = others.map(|it| it.node.state().clone()).collect();
            let mine = self.machines[at].disk.state();
            self.ledger
                .forget(replica, |dot| mine.knows(dot) || others.iter().any(|it| it.knows(dot)));
        }
        let machine = &mut self.machines[at];
        self.runs += 1;
        let (number, seed) = (self.runs, self.random.bits());
        machine.boot(number, seed, self.queue.now);
        let list = machine.containers.values().cloned().collect();
        self.say(|| format!("n{at} begins"));
        self.turn(at, Event::RuntimeFound("docker 1".into()));
        self.turn(at, Event::Observed(list, BTreeMap::new()));
    }

    /// A machine is out of the cluster.
    pub(crate) fn wipe(&mut self, at: usize) {
        let replica = ReplicaId(self.random.bits());
        let machine = &mut self.machines[at];
        if machine.place != Place::Leaving {
            return;
        }
        self.ledger.lost.insert(machine.disk.replica);
        machine.run = None;
        machine.disk = Disk::new(replica, machine.disk.keys.clone());
        machine.backup = None;
        machine.containers.clear();
        machine.place = Place::Outside;
        self.say(|| format!("n{at} is out"));
    }

    pub(crate) fn part_with(&mut self, node: usize, leaves: bool) {
        self.machines[node].place = Place::Leaving;
        self.ledger.lost.insert(self.machines[node].disk.replica);
        self.tally.count(if leaves { "leaves" } else { "removals of members" });
        if leaves {
            self.ask(node, Request::Leave, Purpose::Nothing);
        }
        let when = self.soon(10 * SECOND);
        self.queue.put(when, What::Wipe(node));
    }
}

/// A request in a few words.
fn short(request: &Request) -> String {
    format!("{request:?}").chars().take(100).collect()
}
