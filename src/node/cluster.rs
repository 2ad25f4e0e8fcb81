//! A node's part in its cluster: datagrams in and out, and what they change.
//!
//! [`Gossip`] converses; here its packets are sealed and opened, members' addresses kept, and what it
//! takes into the state is handed to the rest of the node.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
};

use super::{
    Effect, Event, Node, Now, Refusal, Subject,
    effect::Fetch,
    quorum::SETTLE,
    view::{ClusterView, Contact, Standing, Traffic},
};
use crate::{
    gossip::{Epoch, Gossip, Input, Key, Keyring, Opener, Output, Packet, Peer, Rejected, Sealer},
    model::{
        CLOCK_ERROR_MAX, ContainerId, Millis, Moment, NodeId, NodeState, ProjectName, PublicKey,
        WallTime, mix,
    },
    state::{Digest, NodeRecord, ReplicaId, SecretPath, Step, Touched},
    swim::{self, Incarnation},
    topology::Plan,
};

/// How long who came back from the dead is listened to at most, where what it has does not come.
const LISTEN_MAX: Millis = Millis::from_secs(15);

/// What a node says that is to run no containers.
pub const NO_RUNTIME: &str = "none";

/// Places from which somebody else speaks as a member does that are remembered.
const STRAYS_MAX: usize = 4;

/// Beyond so many events that wait until the node may write, users are refused.
const ASKED_HELD_MAX: usize = 1_024;

/// What a node needs to take part in a cluster.
#[derive(Clone, Debug)]
pub struct Seat {
    /// The cluster's keys.
    pub keys: Keyring,
    /// The number of this start. No two starts may bear one number: the shell keeps it on disk.
    pub life: u32,
    /// How patient it is.
    pub config: swim::Config,
    /// Its place in the mesh, if it is to be in one.
    pub mesh: Option<MeshSeat>,
}

/// What a node needs to take part in the mesh.
#[derive(Clone, Debug)]
pub struct MeshSeat {
    /// Where addresses come from.
    pub plan: Plan,
    /// The key of its device.
    pub key: PublicKey,
    /// Where its device may be reached, the likeliest first.
    pub endpoints: Vec<SocketAddr>,
    /// A process speaks WireGuard, as its kernel does not, and slower.
    pub degraded: bool,
}

/// A node's part in its cluster.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) gossip: Gossip,
    pub(super) keys: Keyring,
    sealer: Sealer,
    opener: Opener,
    /// Who may speak to this node, sorted.
    peers: Vec<Peer>,
    /// Where members were last heard from.
    endpoints: BTreeMap<NodeId, SocketAddr>,
    /// When they were, and from where else somebody spoke as they do.
    contacts: BTreeMap<NodeId, Contact>,
    /// How members are, and since when.
    standings: BTreeMap<NodeId, (NodeState, WallTime)>,
    /// What becomes durable with which group of steps.
    undurable: VecDeque<(u64, Digest, bool)>,
    /// What waits until the node may write.
    held: Vec<Event>,
    /// Keys that are being unwrapped.
    unwrapping: BTreeSet<Epoch>,
    pub(super) tidied: Moment,
    /// Since when something stands here that only others can explain, who are gone.
    pub(super) orphaned: Option<Moment>,
    /// When it was started.
    pub(super) began: Moment,
    /// When another was last seen to have what this node has.
    agreed: Moment,
    /// Members that came back from the dead, and until when they are listened to: what they have made meanwhile
    /// has not come here yet.
    returned: BTreeMap<NodeId, Moment>,
    traffic: Traffic,
}

impl Cluster {
    pub(super) fn new(node: &Node, seat: Seat, seed: u64, now: Now) -> Self {
        let incarnation = Incarnation(seat.life);
        let gossip = Gossip::new(node.me, incarnation, seat.config, &node.state, seed, now);
        let mut cluster = Self {
            gossip,
            keys: seat.keys,
            sealer: Sealer::new(node.me, seat.life),
            opener: Opener::new(node.me),
            peers: vec![],
            endpoints: BTreeMap::new(),
            contacts: BTreeMap::new(),
            standings: BTreeMap::new(),
            undurable: VecDeque::new(),
            held: vec![],
            unwrapping: BTreeSet::new(),
            tidied: now.moment,
            orphaned: None,
            began: now.moment,
            agreed: now.moment,
            returned: BTreeMap::new(),
            traffic: Traffic::default(),
        };
        cluster.gossip.durable(node.state.digest(), node.state.is_vouched());
        cluster
    }

    /// How a member is; `None` for whom this node has not heard of.
    pub(super) fn standing(&self, id: NodeId) -> Option<NodeState> {
        self.gossip.membership().state(id)
    }

    pub(super) fn is_ready(&self) -> bool {
        self.gossip.is_ready()
    }

    pub(super) fn next_wake(&self) -> Moment {
        self.gossip.next_wake()
    }

    /// Another node may speak to this one, if it is there.
    fn admit(&mut self, id: NodeId, record: Option<&NodeRecord>) {
        let place = self.peers.binary_search_by_key(&id, |it| it.id);
        let peer = record.map(|it| Peer { id, epoch: Epoch(it.key_epoch) });
        match (place, peer) {
            (Ok(at), Some(peer)) => self.peers[at] = peer,
            (Err(at), Some(peer)) => self.peers.insert(at, peer),
            (Ok(at), None) => {
                self.peers.remove(at);
                self.endpoints.remove(&id);
                self.contacts.remove(&id);
                self.opener.forget(id);
            }
            (Err(_), None) => {}
        }
    }

    /// The newest key that a member is known to have: by its record, or because it spoke under it.
    fn epoch_of(&self, node: NodeId) -> Epoch {
        let recorded = self.peers.binary_search_by_key(&node, |it| it.id).ok();
        let recorded = recorded.map_or(Epoch(0), |at| self.peers[at].epoch);
        recorded.max(self.opener.epoch_of(node).unwrap_or_default())
    }

    /// Under which key a member is spoken to: the newest that both have. Who has not spoken yet may have a
    /// newer one than this node has heard of, and none of the older ones any more; that need not be this
    /// node's newest, either, as where its directory was set back and its keys, beside it, were not. So each
    /// that it may have has its turn then.
    fn epoch_for(&self, to: NodeId) -> Epoch {
        let (theirs, newest) = (self.epoch_of(to), self.keys.newest());
        if self.opener.epoch_of(to).is_some() {
            return if self.keys.contains(theirs) { theirs } else { newest };
        }
        let may_have = self.keys.iter().map(|(epoch, _)| epoch).filter(|it| theirs <= *it);
        let may_have: Vec<Epoch> = may_have.collect();
        let turn = mix(self.traffic.sent).checked_rem(may_have.len() as u64).unwrap_or_default();
        usize::try_from(turn).ok().and_then(|it| may_have.get(it)).copied().unwrap_or(newest)
    }

    /// A packet as a datagram for a member.
    fn seal(&mut self, to: NodeId, packet: &Packet) -> Option<Vec<u8>> {
        let epoch = self.epoch_for(to);
        let datagram = self.sealer.seal(to, &packet.encode().ok()?, &self.keys, epoch)?;
        self.traffic.sent += 1;
        self.traffic.comparisons += u64::from(matches!(packet, Packet::Compare { .. }));
        self.traffic.sent_bytes += datagram.len() as u64;
        Some(datagram)
    }

    fn open(&mut self, from: SocketAddr, datagram: &[u8], now: Moment) -> Option<(NodeId, Packet)> {
        self.traffic.received += 1;
        self.traffic.received_bytes += datagram.len() as u64;
        let opened = self.opener.open(datagram, &self.peers, &self.keys);
        let (node, bytes) = match opened {
            Ok(opened) => opened,
            Err(why) => {
                self.traffic.reject(why);
                if why == Rejected::Repeated {
                    self.note_stray(from, datagram, now);
                }
                return None;
            }
        };
        self.contacts.entry(node).or_default().heard = Some(now);
        // Who is authentic is where it speaks from: members may move.
        self.endpoints.insert(node, from);
        if let Ok(packet) = Packet::decode(&bytes) {
            return Some((node, packet));
        }
        self.traffic.reject(Rejected::Foreign);
        None
    }

    /// Notes from where else somebody speaks as a member does.
    fn note_stray(&mut self, from: SocketAddr, datagram: &[u8], now: Moment) {
        let Some(node) = Opener::claimed(datagram, &self.peers) else { return };
        if self.endpoints.get(&node) == Some(&from) {
            return;
        }
        let strays = &mut self.contacts.entry(node).or_default().strays;
        strays.insert(from, now);
        if STRAYS_MAX < strays.len() {
            let oldest = strays.iter().min_by_key(|(_, at)| **at).map(|(address, _)| *address);
            oldest.map(|it| strays.remove(&it));
        }
    }
}

impl Node {
    /// A datagram came. Whether anything is to be settled.
    pub(super) fn received(&mut self, from: SocketAddr, datagram: &[u8], now: Now) -> bool {
        let Some(cluster) = &mut self.cluster else { return false };
        let Some((node, packet)) = cluster.open(from, datagram, now.moment) else { return false };
        self.converse(Input::Packet(node, packet), now)
    }

    /// So many groups of steps are durable.
    pub(super) fn persisted(&mut self, groups: u64) {
        let Some(cluster) = &mut self.cluster else { return };
        while let Some((group, digest, vouched)) = cluster.undurable.front().copied()
            && group <= groups
        {
            cluster.undurable.pop_front();
            cluster.gossip.durable(digest, vouched);
        }
    }

    /// One of the cluster's keys was unwrapped for this node, and is on its disk.
    pub(super) fn unwrapped(&mut self, epoch: Epoch, key: Option<Key>) {
        let Some(cluster) = &mut self.cluster else { return };
        match key {
            Some(key) => cluster.keys.add(epoch, key),
            // It may be written anew.
            None => drop(cluster.unwrapping.remove(&epoch)),
        }
    }

    /// Says something to the conversation, and does what it leads to. Whether anything is to be settled.
    pub(super) fn converse(&mut self, input: Input, now: Now) -> bool {
        let Some(cluster) = &mut self.cluster else { return false };
        let outputs = cluster.gossip.handle(input, &mut self.state, now);
        self.carry(outputs.into(), now)
    }

    /// Does what the conversation leads to.
    fn carry(&mut self, mut outputs: VecDeque<Output>, now: Now) -> bool {
        let mut stirred = false;
        while let Some(output) = outputs.pop_front() {
            match output {
                Output::Send(to, packet) => self.send(to, &packet, false),
                Output::SendDurable(to, packet) => self.send(to, &packet, true),
                Output::Took(step) => {
                    stirred = true;
                    let more = self.took(step, now);
                    outputs.extend(more);
                }
                Output::Changed(id, state) => {
                    stirred = true;
                    self.member_changed(id, state, now);
                }
                Output::Fetch(from) => self.fetch(from, None),
                Output::SetBack => {
                    stirred = true;
                    self.set_back();
                }
                Output::Enter(from) => self.fetch(from, Some(self.state.replica())),
                Output::Agreed => {
                    if let Some(cluster) = &mut self.cluster {
                        cluster.agreed = now.moment;
                    }
                }
                Output::CaughtUp(with) => stirred |= self.caught_up(with, now),
                Output::Ready => stirred = true,
            }
        }
        stirred
    }

    /// Whether an event must wait until the node may write.
    pub(super) fn must_wait(&self, event: &Event) -> bool {
        let waits = match event {
            Event::Asked(..)
            | Event::RuntimeFound(_)
            | Event::Observed(..)
            | Event::Volumes(_)
            | Event::RuntimeLost(_)
            | Event::Seen(..)
            | Event::Progressed(..)
            | Event::Finished(..)
            | Event::Cleared(..)
            | Event::Probed(..) => true,
            Event::Datagram(..)
            | Event::Persisted(_)
            | Event::Fetched(..)
            | Event::FetchEnded(..)
            | Event::Unwrapped(..)
            | Event::Underlay(_)
            | Event::Seek(_)
            | Event::Reception(..)
            | Event::Tick => false,
        };
        waits && !self.may_write()
    }

    /// Whether this node may write: it has compared itself with the others.
    pub(super) fn may_write(&self) -> bool {
        self.cluster.as_ref().is_none_or(|it| it.is_ready())
    }

    /// Until when this node listens before it makes anything new: parts of a cluster that meet tell each other
    /// what is wanted, what there is of it and who lives in any order, and what runs in the other part is not to be
    /// made anew.
    pub(super) fn listens_until(&self, now: Moment) -> Option<Moment> {
        let ends = self.cluster.as_ref()?.returned.values().copied();
        ends.filter(|it| now < *it).max()
    }

    /// Nothing of what a member had is still to come, and the others of its part hardly had more: but that they
    /// live, too, may be heard a little later. Whether anything changes by it.
    fn caught_up(&mut self, with: NodeId, now: Now) -> bool {
        let Some(cluster) = &mut self.cluster else { return false };
        let soon = now.moment + SETTLE;
        if cluster.returned.get(&with).is_none_or(|it| *it <= soon) {
            return false;
        }
        cluster.returned.values_mut().for_each(|it| *it = soon.min(*it));
        // What was held back is looked at again by then.
        self.agenda.stir_all();
        true
    }

    /// Keeps an event until then. Of what users want only so much; of what the runtime says there is no
    /// more than what runs here.
    pub(super) fn hold(&mut self, event: Event) {
        let Some(cluster) = &mut self.cluster else { return };
        if let Event::Asked(id, _) = event
            && ASKED_HELD_MAX <= cluster.held.len()
        {
            let why = "this node compares its state with the others' before it takes wishes, and \
                           too many wait already: try again";
            let refusal = Refusal::Conflict(why.to_owned());
            return self.effects.push(Effect::Reply(id, Err(refusal)));
        }
        cluster.held.push(event);
    }

    /// What waited until the node may write.
    pub(super) fn released(&mut self) -> Vec<Event> {
        match &mut self.cluster {
            Some(cluster) if cluster.is_ready() => std::mem::take(&mut cluster.held),
            Some(_) | None => vec![],
        }
    }

    /// Why this node takes no wishes from users now, if so.
    pub(super) fn clock_is_wrong(&self) -> Option<String> {
        let error = self.cluster.as_ref()?.gossip.clock_error()?;
        let off = error.unsigned_abs();
        (CLOCK_ERROR_MAX.0 < off).then(|| {
            let seconds = off as f64 / 1000.0;
            let way = if error < 0 { "behind" } else { "ahead of" };
            format!(
                "this node's clock is {seconds:.1} s {way} the others': what it writes could lose \
                 against what is older, or win against what is newer. Set its clock (`timedatectl`, \
                 chrony), or ask another node"
            )
        })
    }

    /// How far this node's clock is ahead of the others'.
    pub(super) fn clock_error_ms(&self) -> Option<i64> {
        self.cluster.as_ref()?.gossip.clock_error()
    }

    /// What is durable with a group of steps.
    pub(super) fn note_undurable(&mut self, group: u64) {
        let Some(cluster) = &mut self.cluster else { return };
        cluster.undurable.push_back((group, self.state.digest(), self.state.is_vouched()));
    }

    /// Nodes in the state have changed here: looks who is there.
    pub(super) fn meet(&mut self, now: Now) {
        let nodes = std::mem::take(&mut self.nodes_changed);
        if let Some(overlay) = &mut self.overlay {
            overlay.stale = true;
        }
        let outputs = self.members_changed(nodes, now);
        self.carry(outputs.into(), now);
    }

    pub(super) fn standing(&self, id: NodeId) -> Option<NodeState> {
        self.cluster.as_ref()?.standing(id)
    }

    pub(super) fn is_clustered(&self) -> bool {
        self.cluster.is_some()
    }

    /// Whether a member is there, as far as this node knows.
    pub(super) fn is_alive(&self, id: NodeId) -> bool {
        matches!(self.standing(id), Some(NodeState::Alive | NodeState::Suspicious))
    }

    /// The newest of the cluster's keys.
    pub(super) fn key_epoch(&self) -> Epoch {
        self.cluster.as_ref().map_or(Epoch(0), |it| it.keys.newest())
    }

    pub(super) fn take_key(&mut self, epoch: Epoch, key: Key) {
        if let Some(cluster) = &mut self.cluster {
            cluster.keys.add(epoch, key);
        }
    }

    fn send(&mut self, to: NodeId, packet: &Packet, once_durable: bool) {
        let Some(cluster) = &mut self.cluster else { return };
        let known = cluster.endpoints.get(&to).copied();
        let Some(address) = known.or_else(|| self.state.nodes().get(&to)?.address) else { return };
        if let Some(datagram) = cluster.seal(to, packet) {
            self.effects.push(Effect::Send { to: address, datagram, once_durable });
        }
    }

    /// The state took something in from others.
    fn took(&mut self, step: Step, now: Now) -> Vec<Output> {
        let mut nodes = BTreeSet::new();
        let mut projects: BTreeSet<ProjectName> = BTreeSet::new();
        let mut containers = BTreeSet::new();
        let mut keys = BTreeSet::new();
        for touched in step.touched() {
            match touched {
                Touched::Node(id) => drop(nodes.insert(id)),
                Touched::Project(name) => drop(projects.insert(name.clone())),
                Touched::Container(id) => drop(containers.insert(id)),
                Touched::Secret(SecretPath::ClusterKey(epoch, node)) if *node == self.me => {
                    keys.insert(Epoch(*epoch));
                }
                Touched::Secret(SecretPath::Project(name, _)) => self.agenda.stir(name),
                Touched::Secret(_) | Touched::Revision(_) | Touched::Address(_) => {}
            }
        }
        self.tell_of(&step);
        self.steps.push(step);
        for name in projects {
            self.decode(&name);
            self.agenda.stir(&name);
        }
        for id in containers {
            self.container_elsewhere(id, now);
        }
        keys.into_iter().for_each(|it| self.unwrap_key(it));
        self.sites_stale |= !nodes.is_empty();
        if nodes.is_empty() { vec![] } else { self.members_changed(nodes, now) }
    }

    /// Tells of another node's container.
    fn container_elsewhere(&mut self, id: ContainerId, now: Now) {
        let before = self.note_container(id, now.moment);
        let before = before.filter(|it| it.node != self.me);
        let record = self.state.container(id).filter(|it| it.node != self.me).cloned();
        match record {
            Some(record) => {
                if before.is_none_or(|it| it.state != record.state) {
                    self.tell(id, record.state, record.reason.clone());
                }
            }
            None => {
                if let Some(record) = before {
                    let subject =
                        Subject::Container(id, record.service.clone(), record.name.clone());
                    self.notify("container.removed", subject, None, None);
                }
            }
        }
    }

    /// These nodes in the state have changed.
    fn members_changed(&mut self, nodes: BTreeSet<NodeId>, now: Now) -> Vec<Output> {
        let Some(cluster) = &mut self.cluster else { return vec![] };
        let mut left = vec![];
        for &id in nodes.iter().filter(|it| **it != self.me) {
            let record = self.state.nodes().get(&id);
            cluster.admit(id, record.filter(|_| !self.state.has_left(id)).map(|it| &**it));
            if !record.is_some_and(|it| it.is_member())
                && let Some((state, _)) = cluster.standings.remove(&id)
                && state != NodeState::Left
            {
                left.push(id);
            }
        }
        let outputs = cluster.gossip.handle(Input::MembersChanged(nodes), &mut self.state, now);
        left.into_iter().for_each(|id| self.notify_peer(id, NodeState::Left));
        outputs
    }

    /// At the start: who is there, and which keys wait.
    pub(super) fn take_seat(&mut self, now: Now) {
        let all: BTreeSet<NodeId> = self.state.nodes().iter().map(|(id, _)| *id).collect();
        let (mut outputs, mut known) = (VecDeque::new(), BTreeMap::new());
        for output in self.members_changed(all, now) {
            if let Output::Changed(id, state) = output {
                // That is no news: they were there before, and are thought well until heard otherwise.
                known.insert(id, (state, now.wall));
            } else {
                outputs.push_back(output);
            }
        }
        if let Some(cluster) = &mut self.cluster {
            cluster.standings = known;
        }
        self.carry(outputs, now);
        let paths = self.state.secrets().iter().map(|(path, _)| path);
        let epochs = paths.filter_map(|path| match path {
            SecretPath::ClusterKey(epoch, node) if *node == self.me => Some(Epoch(*epoch)),
            SecretPath::ClusterKey(..)
            | SecretPath::Project(..)
            | SecretPath::Registry(_)
            | SecretPath::Token(_) => None,
        });
        let epochs: Vec<Epoch> = epochs.collect();
        epochs.into_iter().for_each(|it| self.unwrap_key(it));
    }

    fn unwrap_key(&mut self, epoch: Epoch) {
        let Some(cluster) = &mut self.cluster else { return };
        let path = SecretPath::ClusterKey(epoch.0, self.me);
        let Some(sealed) = self.state.secrets().get(&path) else { return };
        if !cluster.keys.contains(epoch) && cluster.unwrapping.insert(epoch) {
            self.effects.push(Effect::Unwrap(epoch, sealed.clone()));
        }
    }

    fn member_changed(&mut self, id: NodeId, state: NodeState, now: Now) {
        let Some(cluster) = &mut self.cluster else { return };
        let known = cluster.standings.insert(id, (state, now.wall));
        self.sites_stale = true;
        match (known.map(|(it, _)| it), state) {
            (Some(NodeState::Alive), NodeState::Suspicious) => cluster.traffic.suspicions += 1,
            (Some(NodeState::Suspicious), NodeState::Alive) => cluster.traffic.refutations += 1,
            (Some(NodeState::Dead), NodeState::Alive) => {
                cluster.returned.retain(|_, until| now.moment < *until);
                cluster.returned.insert(id, now.moment + LISTEN_MAX);
            }
            (Some(_) | None, _) => {}
        }
        self.notify_peer(id, state);
    }

    fn fetch(&mut self, from: NodeId, enter: Option<ReplicaId>) {
        let Some(cluster) = &mut self.cluster else { return };
        cluster.traffic.fetches += 1;
        let known = cluster.endpoints.get(&from).copied();
        let address = known.or_else(|| self.state.nodes().get(&from)?.address);
        let seen = self.state.seen().clone();
        self.effects.push(Effect::Fetch(Fetch { from, address, seen, enter }));
    }

    /// This node's data directory was set back: it goes on as another writer.
    fn set_back(&mut self) {
        let replica = ReplicaId(self.random.bits());
        let step = self.in_state().take_new_replica(replica);
        self.steps.push(step);
        self.facts.replica = replica;
        let why = "this node's data directory was set back, as from a backup: it takes the cluster's \
                   state anew";
        self.notify("node.set_back", Subject::Node, None, Some(why.into()));
    }

    /// This node's last words.
    pub(super) fn say_farewell(&mut self, now: Now) {
        self.converse(Input::Leave, now);
        self.cluster = None;
        self.effects.push(Effect::Gone);
    }

    pub(super) fn cluster_view(&self) -> Option<ClusterView> {
        let cluster = self.cluster.as_ref()?;
        let membership = cluster.gossip.membership();
        let standing = |(id, (state, since)): (&NodeId, &(NodeState, WallTime))| {
            let standing =
                Standing { state: *state, since: *since, round_trip: membership.round_trip(*id) };
            (*id, standing)
        };
        let contact = |(id, it): (&NodeId, &Contact)| {
            (*id, Contact { answered: membership.answered(*id), ..it.clone() })
        };
        Some(ClusterView {
            standings: cluster.standings.iter().map(standing).collect(),
            keys: cluster.keys.clone(),
            ready: cluster.gossip.is_ready(),
            illness: membership.illness(),
            clock_error_ms: cluster.gossip.clock_error(),
            agreed: cluster.agreed,
            traffic: cluster.traffic.clone(),
            endpoints: cluster.endpoints.clone(),
            contacts: cluster.contacts.iter().map(contact).collect(),
            epochs: cluster.peers.iter().map(|it| (it.id, cluster.epoch_of(it.id))).collect(),
        })
    }
}

impl Traffic {
    fn reject(&mut self, why: Rejected) {
        *self.rejected.entry(why).or_default() += 1;
    }
}
