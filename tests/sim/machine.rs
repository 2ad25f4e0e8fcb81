//! A machine: its disk, its containers, its clock, and the node that runs on it. Its disk works as
//! `src/daemon/commits.rs` has it: one commit at a time, and what waits for it.

use std::{
    collections::{BTreeMap, VecDeque},
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use fizz::{
    gossip::Keyring,
    model::{Moment, NodeId, NodeName, NodeState, Now, Observed, Random, RuntimeId, WallTime},
    node::{Effect, Node, Seat},
    state::{self, ClusterState, NodeRecord, ReplicaId, Row, Step, VersionVector, Write},
    swim::Config,
    topology::Plan,
};

use crate::{
    queue::{MILLI, Micros, SECOND},
    world::What,
};

/// Where wall clocks begin: a time in 2026, in milliseconds.
const WALL: u64 = 1_780_000_000_000;

/// Whether a machine is in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// It never was, or has left and may come again.
    Outside,
    /// It asks to be let in.
    Joining,
    /// It is a member.
    Member,
    /// It was told to leave, or was put out, and still runs.
    Leaving,
}

pub(crate) struct Machine {
    pub(crate) index: usize,
    pub(crate) id: NodeId,
    pub(crate) name: NodeName,
    pub(crate) address: SocketAddr,
    /// Where addresses come from, in a world that has a mesh.
    pub(crate) plan: Option<Plan>,
    pub(crate) place: Place,
    pub(crate) disk: Disk,
    /// Earlier rows, as a backup has them.
    pub(crate) backup: Option<Disk>,
    /// Its disk was set back since it last ran.
    pub(crate) set_back: bool,
    pub(crate) run: Option<Run>,
    pub(crate) containers: BTreeMap<RuntimeId, Observed>,
    /// How often its power was cut: what was under way then never comes to an end.
    pub(crate) outages: u64,
    /// Its processors, its memory, and what it is called by.
    pub(crate) cpus: u32,
    pub(crate) memory_bytes: u64,
    pub(crate) labels: BTreeMap<String, String>,
    /// How far its wall clock is ahead, in milliseconds, and by how much more each second, in
    /// microseconds.
    pub(crate) skew: i64,
    pub(crate) drift: i64,
    /// How long a commit takes at most.
    pub(crate) commit_max: Micros,
    /// It does nothing until then, as after SIGSTOP.
    pub(crate) paused_until: Micros,
    /// What came meanwhile.
    pub(crate) backlog: VecDeque<What>,
    /// Its last life; not even a backup takes it back.
    life: u32,
}

/// What is durable.
#[derive(Clone)]
pub(crate) struct Disk {
    pub(crate) rows: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) replica: ReplicaId,
    pub(crate) keys: Keyring,
}

/// One life of a node.
pub(crate) struct Run {
    /// No two have one number.
    pub(crate) number: u64,
    pub(crate) node: Node,
    pub(crate) commits: Commits,
    /// What others may read: it is durable.
    pub(crate) view: Arc<ClusterState>,
    /// When it is to be woken.
    pub(crate) wake: Micros,
    pub(crate) requests: u64,
    /// What it had seen when it was last looked at.
    pub(crate) looked: VersionVector,
}

/// A group of steps, as rows, and what others may hear of once they are durable.
pub(crate) struct Group {
    pub(crate) rows: Vec<Row>,
    pub(crate) writes: Vec<Write>,
}

/// Something that waits for the disk.
pub(crate) enum Outcome {
    View(Arc<ClusterState>),
    Effect(Effect),
}

/// Groups on their way to the disk, and what waits for them.
#[derive(Default)]
pub(crate) struct Commits {
    groups: Vec<Group>,
    handed: u64,
    under_way: Option<(u64, Vec<Group>)>,
    waiting: VecDeque<(u64, Outcome)>,
}

impl Commits {
    pub(crate) fn persist(&mut self, steps: &[Step]) {
        self.handed += 1;
        let rows = steps.iter().flat_map(|it| state::encode(it).unwrap()).collect();
        let writes = steps.iter().flat_map(|it| it.writes().iter().cloned()).collect();
        self.groups.push(Group { rows, writes });
    }

    /// What may happen once all that was handed in is durable: returned at once if it is.
    pub(crate) fn then(&mut self, what: Outcome) -> Option<Outcome> {
        if self.groups.is_empty() && self.under_way.is_none() {
            return Some(what);
        }
        self.waiting.push_back((self.handed, what));
        None
    }

    /// Begins a commit if there is something to commit and none is under way.
    pub(crate) fn begin(&mut self) -> bool {
        if self.under_way.is_some() || self.groups.is_empty() {
            return false;
        }
        self.under_way = Some((self.handed, std::mem::take(&mut self.groups)));
        true
    }

    /// The commit under way is done.
    pub(crate) fn done(&mut self) -> Option<(u64, Vec<Group>)> {
        self.under_way.take()
    }

    pub(crate) fn due(&mut self, groups: u64) -> Vec<Outcome> {
        let count = self.waiting.partition_point(|(group, _)| *group <= groups);
        self.waiting.drain(..count).map(|(_, what)| what).collect()
    }

    /// All that is not durable.
    pub(crate) fn lost(self) -> Vec<Group> {
        let under_way = self.under_way.map(|(_, groups)| groups).unwrap_or_default();
        under_way.into_iter().chain(self.groups).collect()
    }
}

impl Disk {
    pub(crate) fn new(replica: ReplicaId, keys: Keyring) -> Self {
        Self { rows: BTreeMap::new(), replica, keys }
    }

    pub(crate) fn put(&mut self, rows: Vec<Row>) {
        for row in rows {
            match row.value {
                Some(value) => drop(self.rows.insert(row.key, value)),
                None => drop(self.rows.remove(&row.key)),
            }
        }
    }

    pub(crate) fn state(&self) -> ClusterState {
        let mut state = ClusterState::new(self.replica);
        for (key, value) in &self.rows {
            state::decode(&mut state, key, value).unwrap();
        }
        state
    }
}

impl Machine {
    pub(crate) fn new(index: usize, plan: Option<Plan>, random: &mut Random) -> Self {
        let [high, low] = u16::try_from(index).unwrap().to_be_bytes();
        let keys = Keyring::new(fizz::gossip::Epoch(0), fizz::gossip::Key::default());
        Self {
            index,
            id: NodeId(random.id()),
            name: format!("n{index}").parse().unwrap(),
            address: SocketAddr::new(Ipv4Addr::new(10, 0, high, low).into(), 7_946),
            plan,
            place: Place::Outside,
            disk: Disk::new(ReplicaId(random.bits()), keys),
            backup: None,
            set_back: false,
            run: None,
            containers: BTreeMap::new(),
            outages: 0,
            cpus: 1,
            memory_bytes: 1,
            labels: BTreeMap::new(),
            skew: 0,
            drift: 0,
            commit_max: 4 * MILLI,
            paused_until: 0,
            backlog: VecDeque::new(),
            life: 0,
        }
    }

    pub(crate) fn now(&self, now: Micros) -> Now {
        let (millis, seconds) = (now / MILLI, i64::try_from(now / SECOND).unwrap());
        let off = self.skew + self.drift * seconds / 1000;
        Now { moment: Moment(millis), wall: WallTime((WALL + millis).saturating_add_signed(off)) }
    }

    /// Starts the node with what the disk has.
    pub(crate) fn boot(&mut self, number: u64, seed: u64, now: Micros) {
        let time = self.now(now);
        let seconds = u32::try_from(time.wall.0 / 1000).unwrap();
        self.life = seconds.max(self.life + 1);
        let state = self.disk.state();
        let view = Arc::new(state.clone());
        let looked = state.seen().clone();
        let node = Node::new(self.id, self.facts(time), state, seed);
        let (keys, config) = (self.disk.keys.clone(), Config::lan());
        let mesh = self.mesh_seat();
        let node = node.seated(Seat { keys, life: self.life, config, mesh }, time);
        self.paused_until = 0;
        self.run = Some(Run {
            number,
            node,
            commits: Commits::default(),
            view,
            wake: Micros::MAX,
            requests: 0,
            looked,
        });
    }

    fn facts(&self, now: Now) -> NodeRecord {
        NodeRecord {
            address: Some(self.address),
            replica: self.disk.replica,
            version: "0".into(),
            cpus: self.cpus,
            memory_bytes: self.memory_bytes,
            labels: self.labels.clone(),
            architecture: "x86_64".into(),
            kernel: "6".into(),
            ..NodeRecord::unmeasured(self.name.clone(), NodeState::Alive, now.wall)
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.run.is_some()
    }

    pub(crate) fn is_member(&self) -> bool {
        self.place == Place::Member
    }
}
