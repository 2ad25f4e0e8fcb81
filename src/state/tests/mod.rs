//! The laws of the replicated state, on random histories of a few members.
//!
//! A [`Member`] is a state and its disk. Whatever it takes from others passes through the forms of the
//! wire, and after every step its disk is read back and must be the very same state.

mod collection;
mod forms;
mod laws;
mod oracle;
mod simulation;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use proptest::prelude::*;

use super::{
    Applied, Change, ClusterState, ContainerRecord, Dot, IpAllocation, ReplicaId, SealedSecret,
    SecretPath, Step, VersionVector, Write, change::Place, decode, decode_inventory, decode_vector,
    decode_write, encode, encode_inventory, encode_vector, encode_write,
};
use crate::model::{ContainerId, ContainerState, NodeId, Revision, ServiceKey, Slot, WallTime};

/// How many keys a history has in each of the collections that it uses.
const KEYS: u8 = 2;

/// A quarter of the usual number of cases: each reads a disk back after every step. `PROPTEST_CASES`
/// asks for more.
fn config() -> ProptestConfig {
    let usual = ProptestConfig::default();
    ProptestConfig { cases: usual.cases.div_ceil(4), ..usual }
}

/// A key of one of three collections: a map, a set of records and a set of keys alone.
#[derive(Clone, Copy, Debug)]
enum Key {
    Secret(u8),
    Container(u8),
    Address(u8),
}

fn key() -> impl Strategy<Value = Key> {
    prop_oneof![
        2 => (0..KEYS).prop_map(Key::Secret),
        1 => (0..KEYS).prop_map(Key::Container),
        1 => (0..KEYS).prop_map(Key::Address),
    ]
}

/// The change that gives a key a value, or takes it away.
fn change(key: Key, value: Option<u8>) -> Change {
    match key {
        Key::Secret(key) => {
            let sealed =
                |it| Arc::new(SealedSecret { ciphertext: vec![it; 3], fingerprint: [it; 16] });
            Change::Secret(path(key), value.map(sealed))
        }
        Key::Container(key) => {
            let id = ContainerId(u128::from(key));
            Change::Container(id, value.map(|it| Arc::new(container(id, it))))
        }
        Key::Address(key) => {
            let taken = IpAllocation {
                address: [10, 100, 0, key].into(),
                container: ContainerId(u128::from(key)),
            };
            Change::IpAllocation(taken, value.map(|_| Arc::new(())))
        }
    }
}

fn path(key: u8) -> SecretPath {
    SecretPath::Project("shop".parse().unwrap(), format!("key{key}"))
}

fn container(id: ContainerId, value: u8) -> ContainerRecord {
    let service = ServiceKey { project: "shop".parse().unwrap(), service: "web".parse().unwrap() };
    ContainerRecord {
        slot: Slot(u32::from(value)),
        name: "shop-web-1".parse().unwrap(),
        command: "sleep".to_owned(),
        state: ContainerState::Running,
        since: WallTime(u64::from(value)),
        reason: Some("because".into()),
        exit_code: Some(-1),
        runs: 1,
        addresses: BTreeMap::from([("net".to_owned(), "10.0.0.2".to_owned())]),
        ..ContainerRecord::unmade(id, NodeId(7), service, Revision(3), WallTime(2))
    }
}

/// A state and its disk.
#[derive(Clone, Debug)]
struct Member {
    state: ClusterState,
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Member {
    fn new(replica: u64) -> Self {
        Self { state: ClusterState::new(ReplicaId(replica)), rows: BTreeMap::new() }
    }

    /// What a process that begins now would know.
    fn read_back(&self) -> ClusterState {
        let mut state = ClusterState::new(self.state.replica());
        for (key, value) in &self.rows {
            decode(&mut state, key, value).unwrap();
        }
        state
    }

    fn keep(&mut self, step: &Step) {
        for row in encode(step).unwrap() {
            match row.value {
                Some(value) => self.rows.insert(row.key, value),
                None => self.rows.remove(&row.key),
            };
        }
        assert_eq!(self.read_back(), self.state, "the disk is another state");
    }

    fn commit(&mut self, change: Change, now: u64) -> Write {
        let step = self.state.commit(change, WallTime(now));
        self.keep(&step);
        step.writes()[0].clone()
    }

    fn apply(&mut self, write: &Write, now: u64) {
        let write = decode_write(&encode_write(write).unwrap()).unwrap();
        match self.state.apply(write, WallTime(now)) {
            Applied::New(step) => self.keep(&step),
            Applied::Known => {}
            Applied::Refused => panic!("a few writes fill no cloud"),
        }
    }

    fn take_delta(&mut self, sender: &ClusterState, now: u64) {
        let seen = decode_vector(&encode_vector(self.state.seen()).unwrap()).unwrap();
        let delta: Vec<Write> = sender.delta_since(&seen).collect();
        for write in &delta {
            self.apply(write, now);
        }
    }

    /// Learns everything that another knows.
    fn pull(&mut self, sender: &ClusterState, now: u64) {
        let enough = sender.can_serve(self.state.seen());
        self.take_delta(sender, now);
        let step = if enough {
            self.state.join(sender.seen())
        } else {
            self.state.join_all(&inventory(sender))
        };
        self.keep(&step);
    }

    /// Enters the cluster through one of its members.
    fn enter(&mut self, sender: &ClusterState, now: u64) -> Vec<Write> {
        self.take_delta(sender, now);
        let step = self.state.enter(&inventory(sender), WallTime(now));
        self.keep(&step);
        step.writes().to_vec()
    }

    fn hash(&self) -> [u8; 32] {
        self.state.content_hash().unwrap()
    }
}

fn inventory(sender: &ClusterState) -> super::Inventory {
    decode_inventory(&encode_inventory(&sender.inventory()).unwrap()).unwrap()
}

/// What can be seen of a state: the dots of its values by place, and whether a removal stands.
fn visible(state: &ClusterState) -> BTreeMap<Place, (bool, BTreeSet<Dot>)> {
    let mut shown = BTreeMap::new();
    for place in state.context.live().values() {
        let writes = state.collections.writes_of(place);
        let values = writes.iter().filter(|it| !it.change.is_removal());
        let values: BTreeSet<Dot> = values.map(|it| it.dot).collect();
        let removed = state.collections.standing(place).unwrap().change.is_removal();
        if !values.is_empty() {
            shown.insert(place.clone(), (place.kind().is_map() && removed, values));
        }
    }
    shown
}

/// Something that happens in a history of `members` members.
#[derive(Clone, Debug)]
enum Happening {
    /// A member gives a key a value or takes it away, by a clock that says this.
    Write(usize, Key, Option<u8>, u64),
    /// One of all writes so far reaches a member.
    Hear(usize, prop::sample::Index),
    /// A member learns everything that another knows.
    Pull(usize, usize),
    /// A member learns what another has seen.
    Acknowledge(usize, usize),
    /// A member collects.
    Collect(usize),
    /// Everyone learns everything, and knows that everyone has.
    Round,
}

fn happenings(members: usize, most: usize) -> impl Strategy<Value = Vec<Happening>> {
    let who = move || 0..members;
    let value = prop::option::weighted(0.6, any::<u8>());
    let one = prop_oneof![
        6 => (who(), key(), value, 0..3_000u64).prop_map(|(a, b, c, d)| Happening::Write(a, b, c, d)),
        4 => (who(), any::<prop::sample::Index>()).prop_map(|(a, b)| Happening::Hear(a, b)),
        3 => (who(), who()).prop_map(|(a, b)| Happening::Pull(a, b)),
        3 => (who(), who()).prop_map(|(a, b)| Happening::Acknowledge(a, b)),
        4 => who().prop_map(Happening::Collect),
        1 => Just(Happening::Round),
    ];
    prop::collection::vec(one, 0..most)
}

/// Members, everything they ever wrote, and what they know of one another's disks.
struct History {
    members: Vec<Member>,
    writes: Vec<Write>,
    /// By member and other member.
    acknowledged: Vec<BTreeMap<ReplicaId, Arc<VersionVector>>>,
    /// For each write, the writes of its key that its writer had taken in.
    known: BTreeMap<Dot, BTreeSet<Dot>>,
    /// For each member, the writes that it took in, be it by what ended them.
    taken: Vec<BTreeSet<Dot>>,
    collecting: bool,
    /// How many of the members, from the first, are in the cluster.
    inside: usize,
}

impl History {
    fn new(members: usize, collecting: bool) -> Self {
        let ids = || (1..).take(members);
        let others =
            |id| ids().filter(move |it| *it != id).map(|it| (ReplicaId(it), <_>::default()));
        Self {
            members: ids().map(Member::new).collect(),
            writes: vec![],
            acknowledged: ids().map(|it| others(it).collect()).collect(),
            known: BTreeMap::new(),
            taken: vec![BTreeSet::new(); members],
            collecting,
            inside: members,
        }
    }

    fn of(members: usize, happenings: &[Happening]) -> Self {
        let mut history = Self::new(members, false);
        for it in happenings {
            history.happens(it);
        }
        history
    }

    fn happens(&mut self, it: &Happening) {
        match it {
            Happening::Write(who, key, value, now) => {
                self.write(*who, change(*key, *value), *now);
            }
            Happening::Hear(who, which) if !self.writes.is_empty() => {
                let write = which.get(&self.writes).clone();
                self.members[*who].apply(&write, 1_000);
                self.taken[*who].insert(write.dot);
            }
            Happening::Hear(..) => {}
            Happening::Pull(who, whom) if who != whom => {
                let sender = self.members[*whom].state.clone();
                self.members[*who].pull(&sender, 1_000);
                let theirs = self.taken[*whom].clone();
                self.taken[*who].extend(theirs);
            }
            Happening::Pull(..) => {}
            Happening::Acknowledge(who, whom) if who != whom => {
                let state = &self.members[*whom].state;
                self.acknowledged[*who].insert(state.replica(), state.seen_shared());
            }
            Happening::Acknowledge(..) => {}
            Happening::Collect(who) if self.collecting => {
                let step = self.members[*who].state.collect(&self.acknowledged[*who]);
                self.members[*who].keep(&step);
            }
            Happening::Collect(_) => {}
            Happening::Round => {
                self.settle();
                for (who, whom) in pairs(self.inside) {
                    self.happens(&Happening::Acknowledge(who, whom));
                }
            }
        }
    }

    fn write(&mut self, who: usize, change: Change, now: u64) {
        let write = self.members[who].commit(change, now);
        self.note(who, write);
    }

    /// Notes what the writer of a write knew: what it had taken in of the key, and what the writers
    /// of that had known.
    fn note(&mut self, who: usize, write: Write) {
        let place = write.change.place();
        let of_place = self.writes.iter().filter(|it| it.change.place() == place);
        let taken: Vec<Dot> =
            of_place.map(|it| it.dot).filter(|dot| self.taken[who].contains(dot)).collect();
        let known = taken.iter().flat_map(|dot| self.known[dot].iter().chain([dot]));
        self.known.insert(write.dot, known.copied().collect());
        self.taken[who].insert(write.dot);
        self.writes.push(write);
    }

    /// Everyone in the cluster learns everything.
    fn settle(&mut self) {
        for _ in 0..2 {
            for (who, whom) in pairs(self.inside) {
                self.happens(&Happening::Pull(who, whom));
            }
        }
    }

    /// What a member must show, from nothing but who had taken in what: every value of which it has
    /// taken in no write that knew it.
    fn expected(&self, who: usize) -> BTreeMap<Place, (bool, BTreeSet<Dot>)> {
        let taken: Vec<&Write> =
            self.writes.iter().filter(|it| self.taken[who].contains(&it.dot)).collect();
        let mut stand: BTreeMap<Place, Vec<&Write>> = BTreeMap::new();
        for write in &taken {
            if !taken.iter().any(|it| self.known[&it.dot].contains(&write.dot)) {
                stand.entry(write.change.place()).or_default().push(write);
            }
        }
        let mut shown = BTreeMap::new();
        for (place, writes) in stand {
            let last = writes.iter().max_by_key(|it| (it.stamp, it.dot)).unwrap();
            let removed = place.kind().is_map() && last.change.is_removal();
            let values = writes.iter().filter(|it| !it.change.is_removal());
            let values: BTreeSet<Dot> = values.map(|it| it.dot).collect();
            if !values.is_empty() {
                shown.insert(place, (removed, values));
            }
        }
        shown
    }
}

fn pairs(members: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..members).flat_map(move |a| (0..members).map(move |b| (a, b))).filter(|(a, b)| a != b)
}
