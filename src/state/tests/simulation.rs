//! A few members over a bad network, each crashing now and then, from one seed.
//!
//! A member answers only from its disk: what it has not synchronised it tells nobody, and a crash
//! takes it back. Messages are lost, doubled, late and cut; halves are parted for a while. In the end
//! everyone has the same, and everything that was ever durable stands, or somebody who knew it has
//! written over it.

use super::*;

const MEMBERS: u64 = 4;
const TURNS: u64 = 1_500;
const SEEDS: u64 = 24;

/// A generator of numbers that look random (Steele, Lea, Flood, 2014, "SplitMix").
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut it = self.0;
        it = (it ^ (it >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        it = (it ^ (it >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (it ^ (it >> 31)) % bound
    }

    fn one_in(&mut self, of: u64) -> bool {
        self.below(of) == 0
    }
}

/// A process, its disk and what it knows of the others.
struct Process {
    state: ClusterState,
    disk: Member,
    unsynced: Vec<Step>,
    acknowledged: BTreeMap<ReplicaId, Arc<VersionVector>>,
}

#[derive(Clone)]
enum Message {
    /// Some writes, as they are spread.
    Gossip(Vec<Vec<u8>>),
    /// What has the sender seen?
    Ask(Vec<u8>),
    /// What the asker lacks, and whose vector ends it; without an end it was cut.
    Delta(Vec<Vec<u8>>, Option<Vec<u8>>),
}

struct Letter {
    due: u64,
    from: usize,
    to: usize,
    message: Message,
}

/// How often each fault happened.
#[derive(Default)]
struct Faults {
    lost: u64,
    doubled: u64,
    cut: u64,
    parted: u64,
    forgot: u64,
    collected: u64,
}

struct Simulation {
    chance: Chance,
    now: u64,
    processes: Vec<Process>,
    letters: Vec<Letter>,
    /// Which half each is in, while they are parted.
    halves: Option<u64>,
    faults: Faults,
    /// Every write that became durable where it was made, and what its writer knew.
    durable: BTreeMap<Dot, (Write, BTreeSet<Dot>)>,
    /// Every write that is not durable yet.
    made: BTreeMap<Dot, (Write, BTreeSet<Dot>)>,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let others = |id| (1..=MEMBERS).filter(move |it| *it != id);
        let process = |id| Process {
            state: ClusterState::new(ReplicaId(id)),
            disk: Member::new(id),
            unsynced: vec![],
            acknowledged: others(id).map(|it| (ReplicaId(it), <_>::default())).collect(),
        };
        Self {
            chance: Chance(seed),
            now: 0,
            processes: (1..=MEMBERS).map(process).collect(),
            letters: vec![],
            halves: None,
            faults: Faults::default(),
            durable: BTreeMap::new(),
            made: BTreeMap::new(),
        }
    }

    fn anyone(&mut self) -> usize {
        usize::try_from(self.chance.below(MEMBERS)).unwrap()
    }

    fn turn(&mut self) {
        self.now += 1;
        self.deliver();
        let who = self.anyone();
        match self.chance.below(20) {
            0..=6 => self.write(who),
            7..=10 => self.sync(who),
            11..=14 => self.ask(who),
            15 => self.collect(who),
            16 if self.chance.one_in(3) => self.crash(who),
            17 if self.chance.one_in(8) => self.part(),
            18 if self.chance.one_in(4) => self.halves = None,
            _ => {}
        }
    }

    fn write(&mut self, who: usize) {
        let key = u8::try_from(self.chance.below(6)).unwrap();
        let key = match self.chance.below(3) {
            0 => Key::Secret(key),
            1 => Key::Container(key),
            _ => Key::Address(key),
        };
        let value = (!self.chance.one_in(3)).then_some(7);
        // Clocks that are up to two seconds off.
        let wall = WallTime(1_000 + self.now + 500 * who as u64);
        let process = &mut self.processes[who];
        let change = change(key, value);
        let place = change.place();
        let mut known = BTreeSet::new();
        for (dot, (it, before)) in self.durable.iter().chain(&self.made) {
            let mine = !self.made.contains_key(dot) || dot.replica == process.state.replica();
            if mine && it.change.place() == place && process.state.context.has(*dot) {
                known.extend(before.iter().chain([dot]).copied());
            }
        }
        let step = process.state.commit(change, wall);
        let write = step.writes()[0].clone();
        self.made.insert(write.dot, (write, known));
        process.unsynced.push(step);
    }

    /// What waits becomes durable, and only then is told.
    fn sync(&mut self, who: usize) {
        let process = &mut self.processes[who];
        let steps = std::mem::take(&mut process.unsynced);
        for row in steps.iter().flat_map(|it| encode(it).unwrap()) {
            match row.value {
                Some(value) => process.disk.rows.insert(row.key, value),
                None => process.disk.rows.remove(&row.key),
            };
        }
        process.disk.state = process.state.clone();
        let me = process.state.replica();
        let writes: Vec<Write> = steps.iter().flat_map(|it| it.writes().to_vec()).collect();
        for write in writes.iter().filter(|it| it.dot.replica == me) {
            self.durable.insert(write.dot, self.made.remove(&write.dot).unwrap());
        }
        let bytes: Vec<Vec<u8>> = writes.iter().map(|it| encode_write(it).unwrap()).collect();
        for to in (0..self.processes.len()).filter(|it| *it != who) {
            self.send(who, to, Message::Gossip(bytes.clone()));
        }
    }

    fn crash(&mut self, who: usize) {
        let process = &mut self.processes[who];
        self.faults.forgot +=
            process.unsynced.iter().map(|it| it.writes().len() as u64).sum::<u64>();
        process.unsynced.clear();
        let me = process.state.replica();
        self.made.retain(|dot, _| dot.replica != me);
        process.state = process.disk.read_back();
        assert_eq!(process.state, process.disk.state, "the disk is another state");
        // What others are known to have is learned anew.
        process.acknowledged.values_mut().for_each(|it| *it = Arc::default());
    }

    fn part(&mut self) {
        self.faults.parted += 1;
        self.halves = Some(self.chance.below(1 << MEMBERS));
    }

    fn ask(&mut self, who: usize) {
        let to = self.anyone();
        let seen = encode_vector(self.processes[who].disk.state.seen()).unwrap();
        self.send(who, to, Message::Ask(seen));
    }

    fn collect(&mut self, who: usize) {
        let process = &mut self.processes[who];
        let step = process.state.collect(&process.acknowledged);
        if !step.is_empty() {
            self.faults.collected += 1;
            process.unsynced.push(step);
        }
    }

    fn send(&mut self, from: usize, to: usize, message: Message) {
        let parted = self.halves.is_some_and(|it| (it >> from) & 1 != (it >> to) & 1);
        if from == to || parted || self.chance.one_in(4) {
            self.faults.lost += u64::from(from != to);
            return;
        }
        if self.chance.one_in(6) {
            self.faults.doubled += 1;
            self.letters.push(Letter {
                due: self.now + self.chance.below(60),
                from,
                to,
                message: message.clone(),
            });
        }
        self.letters.push(Letter { due: self.now + self.chance.below(20), from, to, message });
    }

    fn deliver(&mut self) {
        let now = self.now;
        let due = |it: &mut Letter| it.due <= now;
        for Letter { from, to, message, .. } in self.letters.extract_if(.., due).collect::<Vec<_>>()
        {
            match message {
                Message::Gossip(writes) => drop(self.take(to, &writes)),
                Message::Ask(seen) => self.answer(to, from, &seen),
                Message::Delta(writes, end) => {
                    let took_all = self.take(to, &writes);
                    if let (true, Some(end)) = (took_all, end) {
                        let step = self.processes[to].state.join(&decode_vector(&end).unwrap());
                        self.processes[to].unsynced.push(step);
                    }
                }
            }
        }
    }

    /// Takes in writes, and says whether it could take them all.
    fn take(&mut self, who: usize, writes: &[Vec<u8>]) -> bool {
        let wall = WallTime(1_000 + self.now);
        let process = &mut self.processes[who];
        let mut took_all = true;
        for write in writes {
            match process.state.apply(decode_write(write).unwrap(), wall) {
                Applied::New(step) => process.unsynced.push(step),
                Applied::Known => {}
                Applied::Refused => took_all = false,
            }
        }
        took_all
    }

    /// Answers from the disk, and remembers what the asker has durably seen.
    fn answer(&mut self, who: usize, asker: usize, seen: &[u8]) {
        let seen = decode_vector(seen).unwrap();
        let state = &self.processes[who].disk.state;
        assert!(state.can_serve(&seen), "a member was not waited for");
        let mut writes: Vec<Vec<u8>> =
            state.delta_since(&seen).map(|it| encode_write(&it).unwrap()).collect();
        let mut end = Some(encode_vector(state.seen()).unwrap());
        if self.chance.one_in(5) {
            self.faults.cut += 1;
            writes.truncate(writes.len() / 2);
            end = None;
        }
        let id = self.processes[asker].state.replica();
        self.processes[who].acknowledged.insert(id, Arc::new(seen));
        self.send(who, asker, Message::Delta(writes, end));
    }

    /// The network is whole, and everyone learns everything.
    fn heal(&mut self) {
        self.letters.clear();
        for _ in 0..2 {
            for (who, whom) in pairs(self.processes.len()) {
                self.sync(who);
                self.sync(whom);
                self.letters.clear();
                let sender = self.processes[whom].disk.state.clone();
                let disk = &mut self.processes[who].disk;
                disk.pull(&sender, 1_000 + self.now);
                self.processes[who].state = self.processes[who].disk.state.clone();
            }
        }
    }

    fn check(&self) {
        let first = &self.processes[0].state;
        for process in &self.processes {
            assert!(!process.state.has_gaps());
            assert_eq!(process.state.seen(), first.seen());
            assert_eq!(process.state.digest(), first.digest());
            assert_eq!(process.state.content_hash(), first.content_hash());
        }
        let shown: BTreeSet<Dot> = visible(first).into_values().flat_map(|it| it.1).collect();
        for (dot, (write, _)) in &self.durable {
            let over = || self.durable.values().any(|(_, known)| known.contains(dot));
            assert!(first.seen().has(*dot), "{dot:?} was lost");
            assert!(write.change.is_removal() || shown.contains(dot) || over(), "{dot:?} was lost");
        }
        let dead = shown.iter().filter(|dot| self.durable.values().any(|it| it.1.contains(dot)));
        assert_eq!(dead.count(), 0, "something came back");
    }
}

#[test]
fn everyone_agrees_in_the_end_and_nothing_that_was_durable_is_lost() {
    let mut faults = [0; 6];
    for seed in 0..SEEDS {
        let mut simulation = Simulation::new(seed);
        for _ in 0..TURNS {
            simulation.turn();
        }
        simulation.heal();
        simulation.check();
        let Faults { lost, doubled, cut, parted, forgot, collected } = simulation.faults;
        for (sum, it) in faults.iter_mut().zip([lost, doubled, cut, parted, forgot, collected]) {
            *sum += it;
        }
    }
    assert!(faults.iter().all(|it| SEEDS < *it), "a fault did not happen: {faults:?}");
}
