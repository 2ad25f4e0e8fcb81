//! Whole members in a virtual network: real `Node`s without containers, sealing and all.
//!
//! The shell around each is modelled. *Disk*: one commit at a time, durable after a millisecond; it takes
//! all that came meanwhile. *Streams* (`stream`): three round trips to open, then pieces of 64 KiB as fast
//! as a link of 1 Gbit/s carries them; a crossing that is lost comes 200 ms later, the least of Linux's
//! retransmission timeouts.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use fizz::{
    gossip::{Epoch, Key, Keyring},
    model::{Moment, NodeId, NodeState, Random, WallTime},
    node::{AdmitRequest, Effect, Event, Node, Now, Request, RequestId, Seat, Subject},
    state::{Admission, Change, ClusterState, Digest, NodeRecord, ReplicaId, SecretPath, Step},
    swim::Config,
};

use super::stream::{self, Parcel};
use crate::network::{Micros, Network, What};

/// The wall clock at the start, in milliseconds.
const WALL: u64 = 1_790_000_000_000;

/// How long a commit takes.
const DISK: Micros = 1_000;

/// What is on its way.
#[derive(Debug)]
pub(crate) enum Item {
    /// A datagram.
    Datagram(Vec<u8>),
    /// The disk is done.
    Persisted,
    /// Something that comes, or is sent, by stream.
    Stream(Parcel),
}

/// A node and the shell around it.
struct Machine {
    node: Node,
    /// Groups of steps that were handed to the disk, how many of them the commit under way has, and
    /// how many are there.
    handed: u64,
    under_way: Option<u64>,
    durable: u64,
    waiting: VecDeque<(u64, Effect)>,
    /// The others that it sees alive.
    alive: BTreeSet<NodeId>,
}

/// The cluster.
pub(crate) struct Cluster {
    pub(crate) network: Network<Item>,
    pub(crate) random: Random,
    /// When each member took in a secret.
    pub(crate) secrets: BTreeMap<(usize, String), Micros>,
    /// How many pairs see each other, each counted twice.
    pub(crate) acquaintances: usize,
    /// Streams that were opened.
    pub(crate) streams: u64,
    /// What newcomers were told so far.
    pub(crate) newcomers: BTreeMap<usize, Arc<ClusterState>>,
    machines: Vec<Option<Machine>>,
    ids: Vec<NodeId>,
}

impl Cluster {
    /// So many places for nodes, of which none runs.
    pub(crate) fn empty(count: usize, seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x6669_7a7a);
        let ids = (0..count).map(|_| NodeId(random.id())).collect();
        Self {
            network: Network::new(count, seed),
            random,
            secrets: BTreeMap::new(),
            acquaintances: 0,
            streams: 0,
            newcomers: BTreeMap::new(),
            machines: (0..count).map(|_| None).collect(),
            ids,
        }
    }

    /// So many members that agree, and have been at rest for a while. `fill` adds to what they agree on.
    pub(crate) fn formed(count: usize, seed: u64, fill: impl Fn(&mut ClusterState)) -> Self {
        let mut cluster = Self::empty(count, seed);
        let state = cluster.agreed(fill);
        for place in 0..count {
            cluster.boot(place, state.clone());
        }
        // Not all begin with the clock.
        cluster.pass(3_000_000 + seed * 53_123);
        assert_eq!(cluster.acquaintances, count * (count - 1), "seed {seed}");
        cluster
    }

    /// A state that has all these nodes' own records, as they would write them, and more.
    pub(crate) fn agreed(&self, fill: impl Fn(&mut ClusterState)) -> ClusterState {
        let mut state = ClusterState::new(replica(0));
        fill(&mut state);
        for (place, id) in self.ids.iter().enumerate() {
            let record = Some(Arc::new(self.facts(place)));
            let mut theirs = ClusterState::new(replica(place));
            if place == 0 {
                drop(state.commit(Change::Node(*id, record), self.now().wall));
                continue;
            }
            let step = theirs.commit(Change::Node(*id, record), self.now().wall);
            for write in step.writes() {
                drop(state.apply(write.clone(), self.now().wall));
            }
        }
        state
    }

    /// Starts a member with what its disk holds.
    pub(crate) fn boot(&mut self, place: usize, mut state: ClusterState) {
        if state.replica() != replica(place) {
            drop(state.take_new_replica(replica(place)));
        }
        let (now, seed) = (self.now(), self.random.bits());
        let keys = Keyring::new(Epoch(1), Key::new([7; 32]));
        let seat = Seat { keys, life: life(now), config: Config::lan(), mesh: None };
        let node = Node::new(self.ids[place], self.facts(place), state, seed).seated(seat, now);
        // Those that it knows from its disk are no news.
        let known = node.view().cluster.map(|it| it.standings).unwrap_or_default();
        let alive: BTreeSet<NodeId> = known.into_keys().collect();
        self.acquaintances += alive.len();
        self.machines[place] = Some(Machine {
            node,
            handed: 0,
            under_way: None,
            durable: 0,
            waiting: VecDeque::new(),
            alive,
        });
        self.handle(place, Event::Tick);
    }

    /// A user asks a member something.
    pub(crate) fn ask(&mut self, place: usize, request: Request) {
        self.handle(place, Event::Asked(RequestId(0), request));
    }

    /// A newcomer knocks at a member, its introducer, and comes in.
    pub(crate) fn join(&mut self, place: usize, introducer: usize) {
        stream::knock(self, place, introducer);
    }

    /// The introducer writes the newcomer's record.
    pub(crate) fn admit(&mut self, place: usize, introducer: usize) {
        let facts = self.facts(place);
        let admission = Admission { by: self.ids[introducer], at: self.now().wall, token: None };
        let request = AdmitRequest {
            node: self.ids[place],
            name: facts.name,
            version: facts.version,
            replica: replica(place),
            recipient: facts.recipient,
            address: address(place),
            admission,
        };
        self.ask(introducer, Request::Admit(Box::new(request)));
    }

    /// What a member agreed to last.
    pub(crate) fn state(&self, place: usize) -> Option<Arc<ClusterState>> {
        Some(self.machines[place].as_ref()?.node.view().state)
    }

    /// What a member's version vector comes to.
    pub(crate) fn digest(&self, place: usize) -> Option<Digest> {
        Some(self.state(place)?.digest())
    }

    /// Lets so much time pass.
    pub(crate) fn pass(&mut self, micros: Micros) {
        let until = self.network.now + micros;
        while self.step(until) {}
    }

    /// Lets time pass until something is so, at most so long; when.
    pub(crate) fn until(&mut self, micros: Micros, so: impl Fn(&Self) -> bool) -> Option<Micros> {
        let until = self.network.now + micros;
        while !so(self) {
            if !self.step(until) {
                return None;
            }
        }
        Some(self.network.now)
    }

    /// One event; whether there was one.
    pub(crate) fn step(&mut self, until: Micros) -> bool {
        let Some(what) = self.network.next(until) else { return false };
        match what {
            What::Wake(place) => self.handle(place, Event::Tick),
            What::Packet { from, to, packet } => match packet {
                Item::Datagram(bytes) => self.handle(to, Event::Datagram(address(from), bytes)),
                Item::Persisted => self.persisted(to),
                Item::Stream(parcel) => stream::arrive(self, from, to, parcel),
            },
        }
        true
    }

    pub(crate) fn handle(&mut self, place: usize, event: Event) {
        let now = self.now();
        let Some(machine) = self.machines[place].as_mut() else { return };
        let effects = machine.node.handle(event, now);
        let wake = machine.node.next_wake();
        for effect in effects {
            self.carry(place, effect);
        }
        self.begin_commit(place);
        if let Some(at) = wake {
            self.network.wake(place, (at.0 * 1_000).max(self.network.now));
        }
    }

    fn carry(&mut self, place: usize, effect: Effect) {
        let Some(machine) = self.machines[place].as_mut() else { return };
        if let Effect::Persist(steps) = effect {
            machine.handed += 1;
            self.note_secrets(place, &steps);
        } else if let Effect::Send { to, datagram, once_durable: false } = effect {
            self.send(place, to, datagram);
        } else if let Effect::Notify(notice) = effect {
            if let Subject::Peer(id, _) = notice.subject {
                let before = machine.alive.len();
                match notice.state.as_deref() {
                    Some("alive") => drop(machine.alive.insert(id)),
                    Some(_) | None => drop(machine.alive.remove(&id)),
                }
                self.acquaintances = self.acquaintances + machine.alive.len() - before;
            }
        } else if machine.handed != machine.durable {
            let group = machine.handed;
            machine.waiting.push_back((group, effect));
        } else {
            self.carry_durable(place, effect);
        }
    }

    /// Does what had to wait for the disk.
    fn carry_durable(&mut self, place: usize, effect: Effect) {
        if let Effect::Send { to, datagram, .. } = effect {
            self.send(place, to, datagram);
        } else if let Effect::Reply(_, answer) = effect {
            drop(answer.expect("nothing is refused here"));
        } else if let Effect::Fetch(fetch) = effect {
            stream::fetch(self, place, fetch);
        } else {
            unreachable!("without containers and keys: {effect:?}");
        }
    }

    fn note_secrets(&mut self, place: usize, steps: &[Step]) {
        for write in steps.iter().flat_map(Step::writes) {
            if let Change::Secret(SecretPath::Registry(name), Some(_)) = &write.change {
                self.secrets.entry((place, name.clone())).or_insert(self.network.now);
            }
        }
    }

    fn send(&mut self, place: usize, to: SocketAddr, datagram: Vec<u8>) {
        let bytes = datagram.len() as u64;
        self.network.send(place, place_of(to), Item::Datagram(datagram), bytes);
    }

    fn begin_commit(&mut self, place: usize) {
        let Some(machine) = self.machines[place].as_mut() else { return };
        if machine.under_way.is_none() && machine.handed != machine.durable {
            machine.under_way = Some(machine.handed);
            self.network.later(place, Item::Persisted, DISK);
        }
    }

    fn persisted(&mut self, place: usize) {
        let Some(machine) = self.machines[place].as_mut() else { return };
        let Some(groups) = machine.under_way.take() else { return };
        machine.durable = groups;
        let due = machine.waiting.partition_point(|(group, _)| *group <= groups);
        let due: Vec<Effect> = machine.waiting.drain(..due).map(|(_, it)| it).collect();
        due.into_iter().for_each(|it| self.carry_durable(place, it));
        self.handle(place, Event::Persisted(groups));
    }

    pub(crate) fn now(&self) -> Now {
        let millis = self.network.now / 1_000;
        Now { moment: Moment(millis), wall: WallTime(WALL + millis) }
    }

    pub(crate) fn place(&self, id: NodeId) -> usize {
        self.ids.iter().position(|it| *it == id).unwrap()
    }

    pub(crate) fn id(&self, place: usize) -> NodeId {
        self.ids[place]
    }

    /// Whether somebody is there to connect to.
    pub(crate) fn reaches(&self, from: usize, to: usize) -> bool {
        let side = |it: usize| self.network.sides.get(&it).copied().unwrap_or(0);
        self.machines[to].is_some() && side(from) == side(to)
    }

    fn facts(&self, place: usize) -> NodeRecord {
        let name = format!("node-{place}").parse().unwrap();
        NodeRecord {
            address: Some(address(place)),
            replica: replica(place),
            incarnation: life(self.now()),
            recipient: format!("age1{place:058}"),
            key_epoch: 1,
            version: "0.1.0".into(),
            cpus: 2,
            memory_bytes: 8 << 30,
            architecture: "x86_64".into(),
            kernel: "6.12.0-generic".into(),
            ..NodeRecord::unmeasured(name, NodeState::Alive, self.now().wall)
        }
    }
}

/// Lives are numbered by the second of their start.
fn life(now: Now) -> u32 {
    u32::try_from(now.wall.0 / 1_000).unwrap()
}

/// As whom a node writes.
pub(crate) fn replica(place: usize) -> ReplicaId {
    ReplicaId(Random::new(0x7265_706c ^ place as u64).bits())
}

fn address(place: usize) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::from_bits(0x0a00_0000 + place as u32), 7_946))
}

fn place_of(address: SocketAddr) -> usize {
    match address {
        SocketAddr::V4(it) => (it.ip().to_bits() - 0x0a00_0000) as usize,
        SocketAddr::V6(_) => unreachable!("all are IPv4"),
    }
}
