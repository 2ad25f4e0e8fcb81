//! What goes wrong, and when: drawn from the seed.

use std::collections::BTreeMap;

use fizz::{
    gossip::{Epoch, Key, Keyring, Sealer},
    model::NodeId,
    node::{Request, Rotation},
    state::{ClusterState, SealedSecret},
};

use crate::{
    machine::{Disk, Place},
    network::Network,
    queue::{MILLI, Micros, SECOND},
    users::{self, Purpose},
    world::{Kind, What, World},
};

/// Something that a scenario does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Wish,
    Crash,
    Pause,
    Part,
    PartOneWay,
    Weather,
    SlowDisk,
    Clock,
    Join,
    Leave,
    Remove,
    Rotate,
    Backup,
    SetBack,
    Forge,
    Replay,
    Outage,
    BreakStreams,
    CutOff,
    Play,
}

const ACTS: &[Act] = &[
    Act::Crash,
    Act::Pause,
    Act::Part,
    Act::PartOneWay,
    Act::Weather,
    Act::SlowDisk,
    Act::Clock,
    Act::Join,
    Act::Leave,
    Act::Remove,
    Act::Rotate,
    Act::SetBack,
    Act::Forge,
    Act::Replay,
    Act::Outage,
    Act::BreakStreams,
];

/// What goes wrong in a story about what runs where.
const WILD: &[Act] = &[
    Act::Crash,
    Act::Pause,
    Act::Part,
    Act::PartOneWay,
    Act::Weather,
    Act::SlowDisk,
    Act::Join,
    Act::Leave,
    Act::Remove,
    Act::Outage,
    Act::BreakStreams,
    Act::CutOff,
    Act::CutOff,
];

/// What services that must never run twice are proof against, together: daemons live, members are not
/// put out on one side of a split, and runtimes obey in time (`docs/decisions/015-singleton.md`).
const FENCED: &[Act] =
    &[Act::Part, Act::PartOneWay, Act::Weather, Act::BreakStreams, Act::CutOff, Act::CutOff];

/// What may happen in one scenario.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    acts: Vec<Act>,
    /// Between two of them at most.
    pause: Micros,
    pub(crate) end: Micros,
    /// A member that was set back finds out until then.
    sheltered: Micros,
}

impl World {
    /// One whole story: a cluster comes together, everything goes wrong, and then nothing any more.
    pub(crate) fn story(&mut self) {
        let large = 10 < self.machines.len();
        let last = self.machines.len() - 1;
        let first = if large { last } else { 1 + self.random.below(last.min(8)) };
        self.found();
        for newcomer in 1..=first {
            self.pass(200 * MILLI);
            self.join(newcomer, 0);
        }
        self.pass(SECOND);
        // Few kinds of faults at a time, so that each is also seen alone.
        let most = if self.random.below(4) == 0 { ACTS.len() } else { 5 };
        let mut acts = vec![Act::Wish; 4];
        for _ in 0..most {
            acts.push(ACTS[self.random.below(ACTS.len())]);
        }
        if acts.contains(&Act::SetBack) {
            acts.push(Act::Backup);
        }
        let pause = (200 + self.random.below(1_000) as Micros) * MILLI;
        let length = if large { 15 } else { 10 + self.random.below(40) as Micros };
        self.plan = Plan { acts, pause, end: self.queue.now + length * SECOND, sheltered: 0 };
        self.say(|| format!("{} members, {:?}", first + 1, self.plan));
        self.queue.put(self.queue.now, What::Act);
        self.queue.put(self.queue.now, What::Look);
        self.pass(length * SECOND);
        self.calm();
        self.settle();
    }

    /// For a while things go wrong while users go on.
    pub(crate) fn go_wild(&mut self, length: Micros, is_fenced: bool, seed: usize) {
        let kinds = if is_fenced { FENCED } else { WILD };
        let most = if self.random.below(4) == 0 { kinds.len() } else { 3 };
        let mut acts = vec![Act::Play; 3];
        // By its number too, so that a few dozen seeds have all.
        acts.push(kinds[seed % kinds.len()]);
        for _ in 0..most {
            acts.push(kinds[self.random.below(kinds.len())]);
        }
        let pause = (300 + self.random.below(3_000) as Micros) * MILLI;
        self.plan = Plan { acts, pause, end: self.queue.now + length, sheltered: 0 };
        self.say(|| format!("{:?}", self.plan));
        self.queue.put(self.queue.now, What::Act);
        self.pass(length);
    }

    /// The first member makes the cluster.
    pub(crate) fn found(&mut self) {
        let key = Key::new(self.secret());
        let machine = &mut self.machines[0];
        machine.place = Place::Member;
        machine.disk.keys = Keyring::new(Epoch(0), key);
        self.boot(0);
    }

    fn secret(&mut self) -> [u8; 32] {
        let mut secret = [0; 32];
        secret.chunks_mut(8).for_each(|it| it.copy_from_slice(&self.random.bits().to_be_bytes()));
        secret
    }

    pub(crate) fn act(&mut self) {
        if self.plan.end <= self.queue.now {
            return;
        }
        let next = self.soon(self.plan.pause);
        self.queue.put(next, What::Act);
        let act = self.plan.acts[self.random.below(self.plan.acts.len())];
        let Some(at) = self.some(|it| it.is_member() && it.is_running()) else { return };
        if self.queue.now < self.plan.sheltered
            && !matches!(act, Act::Wish | Act::Forge | Act::Join)
        {
            return;
        }
        if let Some(orchestra) = &mut self.orchestra {
            orchestra.effort.shock();
        }
        match act {
            Act::Wish => {
                let (request, key) = users::wish(self.machines[at].id, &mut self.random);
                self.ask(at, request, Purpose::Write { key });
            }
            Act::Crash => {
                self.crash(at);
                let when = self.soon(15 * SECOND);
                self.queue.put(when, What::Boot(at));
            }
            Act::Pause => {
                self.tally.count("members paused");
                self.machines[at].paused_until = self.soon(8 * SECOND);
            }
            Act::Part => self.part(),
            Act::PartOneWay => self.part_one_way(at),
            Act::Weather => self.change_weather(),
            Act::SlowDisk => {
                self.tally.count("disks slow");
                let most = [4 * MILLI, 100 * MILLI, SECOND, 6 * SECOND];
                self.machines[at].commit_max = most[self.random.below(most.len())];
            }
            Act::Clock => self.set_clock(at),
            Act::Join => {
                if let Some(newcomer) = self.some(|it| it.place == Place::Outside) {
                    self.join(newcomer, at);
                }
            }
            Act::Leave => self.put_out(at, true),
            Act::Remove => self.put_out(at, false),
            Act::Rotate => self.rotate(at),
            Act::Backup => self.machines[at].backup = Some(self.machines[at].disk.clone()),
            Act::SetBack => self.set_back(),
            Act::Forge => self.forge(at),
            Act::Replay => self.replay(),
            Act::Outage => self.cut_power(),
            Act::CutOff => {
                self.cut_off(at);
                let when = self.soon(20 * SECOND);
                self.queue.put(when, What::Boot(at));
            }
            Act::Play => self.play_wildly(),
            Act::BreakStreams => self.network.broken = [0, 200, 700][self.random.below(3)],
        }
    }

    fn some(&mut self, is_one: impl Fn(&crate::machine::Machine) -> bool) -> Option<usize> {
        let all = self.machines.iter().filter(|it| is_one(it));
        let all: Vec<usize> = all.map(|it| it.index).collect();
        all.get(self.random.below(all.len())).copied()
    }

    fn part(&mut self) {
        self.tally.count("partitions");
        let sides: Vec<bool> = self.machines.iter().map(|_| self.random.below(2) == 0).collect();
        for from in 0..sides.len() {
            for to in (0..sides.len()).filter(|to| sides[from] != sides[*to]) {
                self.network.cut.insert((from, to));
            }
        }
        self.mend_later();
    }

    fn part_one_way(&mut self, from: usize) {
        self.tally.count("partitions of one way");
        for to in 0..self.machines.len() {
            if self.random.below(2) == 0 {
                self.network.cut.insert((from, to));
            }
        }
        self.mend_later();
    }

    fn mend_later(&mut self) {
        let when = self.soon(20 * SECOND);
        self.queue.put(when, What::Mend);
    }

    pub(crate) fn mend(&mut self) {
        self.network.cut.clear();
    }

    fn change_weather(&mut self) {
        let random = &mut self.random;
        let mut bad = |most: usize| if random.below(2) == 0 { random.below(most) } else { 0 };
        let (loss, doubled, corrupted, late) = (bad(300), bad(200), bad(100), bad(200));
        let network = &mut self.network;
        (network.loss, network.doubled) = (loss, doubled);
        (network.corrupted, network.late) = (corrupted, late);
    }

    fn set_clock(&mut self, at: usize) {
        self.tally.count("clocks wrong");
        let far = [400, 3_000, 200_000][self.random.below(3)];
        let skew = self.random.below(2 * far) as i64 - far as i64;
        let drift = self.random.below(20_000) as i64 - 10_000;
        (self.machines[at].skew, self.machines[at].drift) = (skew, drift);
    }

    /// A member leaves, or is put out by another.
    fn put_out(&mut self, node: usize, leaves: bool) {
        let members = self.machines.iter().filter(|it| it.is_member()).count();
        let by = self.some(|it| it.is_member() && it.is_running() && it.index != node);
        let Some(by) = by.filter(|by| 2 < members && self.network.connects(node, *by)) else {
            return;
        };
        let id = self.machines[node].id;
        let rotation = if leaves { None } else { self.rotation(by, Some(id)).map(Box::new) };
        let request = Request::RemoveNode { node: id, force: true, rotation };
        self.ask(by, request, Purpose::Remove { node, leaves });
    }

    pub(crate) fn rotate(&mut self, at: usize) {
        if let Some(rotation) = self.rotation(at, None) {
            self.ask(at, Request::Rotate(Box::new(rotation)), Purpose::Nothing);
        }
    }

    /// A new key, if nobody else is making one: two halves of a cluster must not.
    fn rotation(&mut self, at: usize, but: Option<NodeId>) -> Option<Rotation> {
        let newest = self.machines.iter().filter(|it| it.place != Place::Outside);
        let newest = newest.map(|it| it.disk.keys.newest()).max()?;
        let key = self.secret();
        let machine = &mut self.machines[at];
        let run = machine.run.as_ref()?;
        if machine.disk.keys.newest() != newest || run.node.view().cluster?.keys.newest() != newest
        {
            return None;
        }
        let epoch = Epoch(newest.0 + 1);
        // Eight keys are kept: who has none of them any more is cut off.
        let members = run.view.nodes().iter().filter(|(id, _)| !run.view.has_left(**id));
        let oldest = members.map(|(_, it)| it.key_epoch).min()?;
        if oldest + 6 < epoch.0 {
            return None;
        }
        let others = run.view.nodes().iter().map(|(id, _)| *id);
        let others =
            others.filter(|it| Some(*it) != but && *it != machine.id && !run.view.has_left(*it));
        let sealed = SealedSecret { ciphertext: key.to_vec(), fingerprint: [0; 16] };
        let wrapped: BTreeMap<_, _> = others.map(|it| (it, sealed.clone())).collect();
        machine.disk.keys.add(epoch, Key::new(key));
        self.tally.count("rotations");
        Some(Rotation { epoch, key: Key::new(key), wrapped })
    }

    /// A machine gets an earlier state of its disk. Keys are files beside it, which stay.
    fn set_back(&mut self) {
        let Some(at) = self.some(|it| it.is_member() && it.backup.is_some()) else { return };
        // Nobody may be about to put it out, on a disk that is slow: it would be a stranger to all.
        let ends = |it: &Purpose| matches!(it, Purpose::Remove { node, .. } if *node == at);
        if self.pending.values().any(|it| ends(&it.purpose)) {
            return;
        }
        // Whom it knew must still be there: who came later, or came again, is a stranger to it.
        let Some(knew) = self.machines[at].backup.as_ref().map(Disk::state) else { return };
        let others = self.machines.iter().filter(|it| it.is_member() && it.index != at);
        let mut others = others.filter_map(|it| Some((it.id, it.run.as_ref()?)));
        let came = |state: &ClusterState, id| {
            let record = state.nodes().get(&id).filter(|_| !state.has_left(id));
            record.map(|it| it.admission.clone())
        };
        if others.any(|(id, run)| came(&knew, id).is_none_or(|it| Some(it) != came(&run.view, id)))
        {
            return;
        }
        if self.machines.iter().filter(|it| it.is_member() && it.is_running()).count() < 2 {
            return;
        }
        self.say(|| format!("n{at} is set back"));
        self.tally.count("data directories set back");
        self.crash(at);
        // It must meet somebody before it gives up waiting: see `docs/PROTOCOL.md`, "Set back".
        self.network = Network::default();
        self.plan.sheltered = self.queue.now + 12 * SECOND;
        for other in 0..self.machines.len() {
            self.machines[other].paused_until = 0;
            self.queue.put(self.queue.now, What::GoOn(other));
            self.machines[other].commit_max = 4 * MILLI;
            if other != at {
                self.boot(other);
            }
        }
        self.ledger.lost.insert(self.machines[at].disk.state().replica());
        let machine = &mut self.machines[at];
        if let Some(mut backup) = machine.backup.clone() {
            self.ledger.lost.insert(backup.state().replica());
            backup.keys = machine.disk.keys.clone();
            machine.disk = backup;
            machine.set_back = true;
        }
        let when = self.queue.now + 5 * SECOND;
        self.queue.put(when, What::Boot(at));
    }

    /// A datagram that nobody sent.
    fn forge(&mut self, to: usize) {
        self.tally.count("datagrams forged");
        let from = self.random.below(self.machines.len());
        let (id, target) = (self.machines[from].id, self.machines[to].id);
        let keys = Keyring::new(self.machines[to].disk.keys.newest(), Key::new(self.secret()));
        let packet = fizz::gossip::Packet::Refer { number: 1 }.encode().unwrap();
        let life = u32::MAX - self.random.below(1_000) as u32;
        let sealed = Sealer::new(id, life).seal(target, &packet, &keys, keys.newest());
        let noise = self.random.below(1_300);
        let noise = (0..noise).map(|_| self.random.bits() as u8).collect();
        let datagram = if self.random.below(2) == 0 { noise } else { sealed.unwrap() };
        let what = What::Datagram { from, to, datagram, kind: Kind::Bad };
        self.queue.put(self.queue.now, what);
    }

    /// A datagram comes again, perhaps at another member.
    fn replay(&mut self) {
        let Some(captured) = self.captured.get(self.random.below(self.captured.len())) else {
            return;
        };
        let (from, datagram) = (captured.from, captured.datagram.clone());
        let (right, taken) = (captured.to, captured.taken);
        self.tally.count("datagrams replayed");
        let other = self.random.below(self.machines.len());
        let astray = self.random.below(3) == 0 && other != right;
        let (to, kind) = if astray { (other, Kind::Bad) } else { (right, Kind::Again(taken)) };
        let what = What::Datagram { from, to, datagram, kind };
        self.queue.put(self.queue.now, what);
    }

    fn cut_power(&mut self) {
        self.tally.count("outages of the whole cluster");
        for at in 0..self.machines.len() {
            self.crash(at);
            let when = self.soon(SECOND);
            self.queue.put(when, What::Boot(at));
        }
    }
}
