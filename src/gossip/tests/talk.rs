//! A few members that hear each other at once, and whose disks are as fast.

use std::sync::Arc;

use crate::{
    gossip::{Fetched, Gossip, Input, Output, Packet},
    model::{Millis, Moment, NodeId, NodeState, Now, WallTime},
    state::{
        Change, ClusterState, NodeRecord, ReplicaId, SealedSecret, SecretPath, Step, Touched,
        VersionVector,
    },
    swim::{Config, Incarnation},
};

struct Member {
    id: NodeId,
    gossip: Gossip,
    state: Arc<ClusterState>,
}

pub(super) struct Talk {
    members: Vec<Member>,
    now: Now,
    lost: fn(&Packet) -> bool,
    lives: u32,
    /// Everything that was said, what was lost included.
    pub(super) said: Vec<Packet>,
    pub(super) fetched: usize,
    pub(super) streams_work: bool,
    pub(super) vouches: bool,
}

pub(super) fn writes_in(packet: &Packet) -> usize {
    match packet {
        Packet::Writes { writes, .. } => writes.len(),
        Packet::Swim(..)
        | Packet::Spread(..)
        | Packet::Compare { .. }
        | Packet::Differ { .. }
        | Packet::Refer { .. } => 0,
    }
}

fn path(name: &str) -> SecretPath {
    SecretPath::Registry(name.to_owned())
}

fn record(index: usize) -> NodeRecord {
    let name = format!("n{index}").parse().unwrap();
    NodeRecord {
        replica: replica(index),
        version: "0".into(),
        cpus: 1,
        memory_bytes: 1,
        architecture: "x86_64".into(),
        kernel: "6".into(),
        ..NodeRecord::unmeasured(name, NodeState::Alive, WallTime(0))
    }
}

fn id(index: usize) -> NodeId {
    NodeId((index as u128 + 1) << 96)
}

fn replica(index: usize) -> ReplicaId {
    ReplicaId((index as u64 + 1) << 56)
}

impl Talk {
    /// So many members that know each other, and are ready.
    pub(super) fn of(count: usize) -> Self {
        let now = Now { moment: Moment(1_000), wall: WallTime(1_000_000) };
        let mut steps: Vec<Step> = vec![];
        for index in 0..count {
            let mut state = ClusterState::new(replica(index));
            let change = Change::Node(id(index), Some(Arc::new(record(index))));
            steps.push(state.commit(change, now.wall));
        }
        let member = |index| {
            let mut state = ClusterState::new(replica(index));
            for write in steps.iter().flat_map(Step::writes) {
                assert!(state.apply(write.clone(), now.wall).step().is_some());
            }
            let gossip = Gossip::new(id(index), Incarnation(1), Config::lan(), &state, 1, now);
            Member { id: id(index), gossip, state: Arc::new(state) }
        };
        let mut talk = Self {
            members: (0..count).map(member).collect(),
            now,
            lost: |_| false,
            lives: 1,
            said: vec![],
            fetched: 0,
            streams_work: true,
            vouches: true,
        };
        talk.pass(2_000);
        assert!((0..count).all(|it| talk.is_ready(it)));
        talk.said.clear();
        talk
    }

    pub(super) fn lose(&mut self, lost: fn(&Packet) -> bool) {
        self.lost = lost;
        self.said.clear();
    }

    pub(super) fn write(&mut self, by: usize, name: &str, bytes: usize) {
        let sealed = SealedSecret { ciphertext: vec![7; bytes], fingerprint: [0; 16] };
        let change = Change::Secret(path(name), Some(Arc::new(sealed)));
        let state = Arc::make_mut(&mut self.members[by].state);
        let step = state.commit(change, self.now.wall);
        self.tell(by, Input::Wrote(step.writes().to_vec()));
    }

    /// A member writes that it was started.
    pub(super) fn introduce(&mut self, index: usize) {
        let record = NodeRecord { incarnation: self.lives, ..record(index) };
        let change = Change::Node(id(index), Some(Arc::new(record)));
        let step = Arc::make_mut(&mut self.members[index].state).commit(change, self.now.wall);
        self.tell(index, Input::Wrote(step.writes().to_vec()));
    }

    /// All begin anew with what they have.
    pub(super) fn restart_all(&mut self) {
        (0..self.members.len()).for_each(|it| self.restart(it));
    }

    fn restart(&mut self, index: usize) {
        self.lives += 1;
        let (lives, now) = (self.lives, self.now);
        let member = &mut self.members[index];
        let (incarnation, seed) = (Incarnation(lives), u64::from(lives));
        let state = &member.state;
        member.gossip = Gossip::new(member.id, incarnation, Config::lan(), state, seed, now);
    }

    /// A member begins anew with an earlier state.
    pub(super) fn set_back(&mut self, index: usize, backup: ClusterState) {
        self.members[index].state = Arc::new(backup);
        self.restart(index);
    }

    pub(super) fn pass(&mut self, millis: u64) {
        let end = self.now.moment + Millis(millis);
        while self.now.moment < end {
            self.now.moment = self.now.moment + Millis(1);
            self.now.wall.0 += 1;
            for index in 0..self.members.len() {
                if self.members[index].gossip.next_wake() <= self.now.moment {
                    self.tell(index, Input::Tick);
                }
            }
        }
    }

    fn tell(&mut self, index: usize, input: Input) {
        let now = self.now;
        let member = &mut self.members[index];
        let outputs = member.gossip.handle(input, &mut member.state, now);
        member.gossip.durable(member.state.digest(), self.vouches);
        let from = member.id;
        for output in outputs {
            match output {
                Output::Send(to, packet) | Output::SendDurable(to, packet) => {
                    assert!(packet.encode().is_ok(), "{packet:?}");
                    self.said.push(packet.clone());
                    if !(self.lost)(&packet) {
                        self.tell(self.index_of(to), Input::Packet(from, packet));
                    }
                }
                Output::Took(step) => {
                    let nodes = step.touched().filter_map(|it| match it {
                        Touched::Node(id) => Some(id),
                        Touched::Project(_)
                        | Touched::Revision(_)
                        | Touched::Secret(_)
                        | Touched::Container(_)
                        | Touched::Address(_) => None,
                    });
                    self.tell(index, Input::MembersChanged(nodes.collect()));
                }
                Output::Changed(..) | Output::Agreed | Output::CaughtUp(_) | Output::Ready => {}
                Output::Fetch(from) => self.fetch(index, from, false),
                Output::Enter(from) => self.fetch(index, from, true),
                Output::SetBack => {
                    let state = Arc::make_mut(&mut self.members[index].state);
                    assert!(!state.take_new_replica(ReplicaId(77)).is_empty());
                }
            }
        }
    }

    fn fetch(&mut self, index: usize, from: NodeId, enters: bool) {
        if !self.streams_work {
            return self.tell(index, Input::FetchEnded(from, None));
        }
        self.fetched += 1;
        let seen = self.members[index].state.seen().clone();
        let teller = self.members[self.index_of(from)].state.clone();
        let writes = teller.delta_since(&seen).collect();
        self.tell(index, Input::Fetched(from, writes));
        let full = enters || !teller.can_serve(&seen);
        let how = if full {
            Fetched::Full(teller.inventory())
        } else {
            Fetched::Delta(VersionVector::clone(teller.seen()))
        };
        self.tell(index, Input::FetchEnded(from, Some(how)));
    }

    fn index_of(&self, id: NodeId) -> usize {
        self.members.iter().position(|it| it.id == id).unwrap()
    }

    pub(super) fn count(&self, is_one: impl Fn(&Packet) -> bool) -> usize {
        self.said.iter().filter(|it| is_one(it)).count()
    }

    pub(super) fn all_have(&self, name: &str) -> bool {
        self.members.iter().all(|it| it.state.secrets().get(&path(name)).is_some())
    }

    pub(super) fn agree(&self) -> bool {
        let first = &self.members[0].state;
        let whole = |it: &Member| !it.state.has_gaps() && it.state.digest() == first.digest();
        self.members.iter().all(whole)
    }

    pub(super) fn is_ready(&self, index: usize) -> bool {
        self.members[index].gossip.is_ready()
    }

    pub(super) fn state(&self, index: usize) -> ClusterState {
        (*self.members[index].state).clone()
    }

    /// How many writes of another one relies on that it has itself.
    pub(super) fn relied_on(&self, one: usize, other: usize) -> u64 {
        let other = &self.members[other];
        let known = self.members[one].gossip.acknowledged(other.id);
        known.map_or(0, |it| it.last(other.state.replica()))
    }

    /// Whether one may rely on that another has a write.
    pub(super) fn knows_that_it_has(&self, one: usize, other: usize, name: &str) -> bool {
        let dot = self.members[one].state.secrets().dot(&path(name)).unwrap();
        let known = self.members[one].gossip.acknowledged(self.members[other].id);
        known.is_some_and(|it| it.has(dot))
    }
}
