//! How news travels: who tells whom, in which bytes, and sealed so that only members can.
//!
//! [`Gossip`] is one member's side of it, as a value. Of who is alive it knows by [`Swim`], whose packets
//! it carries. New writes it *spreads* ([`spread`]): they cross the cluster in a few network delays. What
//! was lost on the way, *anti-entropy* finds ([`exchange`]): answers carry a digest of what the answerer
//! has seen, and where two differ, they compare. What is too much for packets is *fetched* by stream.
//!
//! With what one becomes a member is here, too: tokens, and the cluster's secret as text.
//!
//! What a member says of what it has seen, and its own writes, leave only once they are durable here.
//! What others wrote may be passed on before: its writer has it.

mod armour;
mod dialogue;
mod exchange;
mod fetches;
mod keyring;
mod packet;
mod seal;
mod secret;
mod spread;
mod start;
#[cfg(test)]
mod tests;
mod token;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

pub use armour::{ArmourError, Kind as ArmourKind};
pub use dialogue::{Answer, Hello, Next, Told, Want, Welcome};
pub use keyring::{Epoch, Key, Keyring};
pub use packet::{Clock, News, PACKET_BYTES_MAX, Packet, PacketError, Part, Sum, Vitals};
pub use seal::{Opener, Peer, Rejected, SEAL_BYTES, Sealer};
pub use secret::ClusterSecret;
pub use spread::{FAN_OUT, PASSES, Span, cut, delegates};
pub use token::{ClusterHash, FIELDS_BYTES, Role, Token, TokenFields, psk_for};

use crate::{
    model::{Millis, Moment, NodeId, NodeState, Now, Random},
    state::{
        Applied, ClusterState, Digest, Dot, Inventory, ReplicaId, Step, VersionVector, Write,
        decode_write,
    },
    swim::{self, Config, Incarnation, Kind, Swim},
};
use exchange::{Exchanges, Mine, Talk, Turn, by_length};
use fetches::Fetches;
use start::{COMPARE_FRESH_INTERVAL, Standing, standing_of};

/// Between two comparisons that this member begins, however many digests differ.
const COMPARE_INTERVAL: Millis = Millis(1_000);

/// How soon it may begin one where nothing new came for that long: what is still missing was lost.
const COMPARE_QUIET: Millis = Millis(100);

/// What happens to the conversation.
#[derive(Clone, Debug)]
pub enum Input {
    /// A member sent this.
    Packet(NodeId, Packet),
    /// This member wrote something.
    Wrote(Vec<Write>),
    /// These nodes' records in the state have changed.
    MembersChanged(BTreeSet<NodeId>),
    /// Writes that were fetched from a member.
    Fetched(NodeId, Vec<Write>),
    /// All that there was to fetch came, or it did not work.
    FetchEnded(NodeId, Option<Fetched>),
    /// Ask these members now whether they are there.
    Try(Vec<NodeId>),
    /// Something else was not answered by this member: ask it at once.
    Doubt(NodeId),
    /// This member leaves.
    Leave,
    /// Time has passed.
    Tick,
}

/// How a fetch ends: what the sender had seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// A delta came.
    Delta(VersionVector),
    /// Everything came.
    Full(Inventory),
}

/// What the conversation leads to.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send this at once.
    Send(NodeId, Packet),
    /// Send this once all that was taken in so far is durable.
    SendDurable(NodeId, Packet),
    /// The state has changed.
    Took(Step),
    /// A member is like that now.
    Changed(NodeId, NodeState),
    /// Fetch what this member lacks from that one, by stream.
    Fetch(NodeId),
    /// Others know of more writes of this member than it does itself: its data directory was set back.
    /// It is to take a new replica id.
    SetBack,
    /// Enter the cluster again with that one: be let in under the new replica id, and fetch everything.
    Enter(NodeId),
    /// A member was seen to have just what this one has.
    Agreed,
    /// All that a member had when they compared has come here.
    CaughtUp(NodeId),
    /// This member has compared its state with another's, or nobody was there to compare with: it may
    /// write.
    Ready,
}

/// One member's side of the conversation.
#[derive(Debug)]
pub struct Gossip {
    me: NodeId,
    swim: Swim,
    random: Random,
    exchanges: Exchanges,
    fetches: Fetches,
    /// What others are known to have durably seen.
    acknowledged: BTreeMap<NodeId, Arc<VersionVector>>,
    /// As whom they write, and since which start.
    writers: BTreeMap<NodeId, (ReplicaId, Incarnation)>,
    /// How far others' clocks are ahead of this one's.
    clocks: BTreeMap<NodeId, i64>,
    /// What is durable here.
    durable: Digest,
    vouched: bool,
    changed_at: Moment,
    compared_at: Option<Moment>,
    began: Moment,
    standing: Standing,
    /// With whom it has compared, and taken in all that was to be had.
    compared: BTreeSet<NodeId>,
    /// Who has said which of its writes it has seen.
    told: BTreeSet<NodeId>,
    /// The last of its own writes that the disk held.
    own_last: u64,
    left: bool,
    outputs: Vec<Output>,
}

impl Gossip {
    /// Of a member that was just started, with what its disk holds.
    #[must_use]
    pub fn new(
        me: NodeId,
        incarnation: Incarnation,
        config: Config,
        state: &ClusterState,
        seed: u64,
        now: Now,
    ) -> Self {
        let mut gossip = Self {
            me,
            swim: Swim::new(me, incarnation, config, seed, now),
            random: Random::new(!seed),
            exchanges: Exchanges::default(),
            fetches: Fetches::default(),
            acknowledged: BTreeMap::new(),
            writers: BTreeMap::new(),
            clocks: BTreeMap::new(),
            durable: state.digest(),
            vouched: false,
            changed_at: now.moment,
            compared_at: None,
            began: now.moment,
            standing: standing_of(me, state),
            compared: BTreeSet::new(),
            told: BTreeSet::new(),
            own_last: state.seen().last(state.replica()),
            left: false,
            outputs: vec![],
        };
        let all = state.nodes().iter().map(|(id, _)| *id).collect();
        gossip.members_changed(&all, state, now);
        gossip
    }

    /// Takes one step.
    pub fn handle(&mut self, input: Input, state: &mut Arc<ClusterState>, now: Now) -> Vec<Output> {
        if self.left {
            return vec![];
        }
        match input {
            Input::Packet(from, packet) => self.heard(from, packet, state, now),
            Input::Wrote(writes) => self.tell_all(&writes),
            Input::MembersChanged(nodes) => self.members_changed(&nodes, state, now),
            Input::Fetched(from, writes) => self.fetched(from, writes, state, now),
            Input::FetchEnded(from, how) => self.fetch_ended(from, how, state, now),
            Input::Leave => {
                self.swim(swim::Input::Leave, now);
                self.left = true;
            }
            Input::Try(nodes) => self.swim(swim::Input::Try(nodes), now),
            Input::Doubt(node) => self.swim(swim::Input::Doubt(node), now),
            Input::Tick => self.swim(swim::Input::Tick, now),
        }
        self.prepare(state, now);
        self.pass_on_what_came(state);
        std::mem::take(&mut self.outputs)
    }

    /// When it wants the next [`Input::Tick`], if nothing happens before.
    #[must_use]
    pub fn next_wake(&self) -> Moment {
        let mine = match (self.standing, self.compared_at) {
            (Standing::Ready, _) => None,
            (Standing::Comparing | Standing::Entering, None) => Some(self.began),
            (Standing::Comparing | Standing::Entering, Some(at)) => {
                Some(at + COMPARE_FRESH_INTERVAL)
            }
        };
        mine.into_iter().fold(self.swim.next_wake(), Moment::min)
    }

    /// Everything up to here is durable.
    pub fn durable(&mut self, digest: Digest, vouched: bool) {
        (self.durable, self.vouched) = (digest, vouched);
    }

    /// Whether this member may write.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.standing == Standing::Ready
    }

    /// Who is alive.
    #[must_use]
    pub fn membership(&self) -> &Swim {
        &self.swim
    }

    /// What a member is known to have durably seen.
    #[must_use]
    pub fn acknowledged(&self, node: NodeId) -> Option<&Arc<VersionVector>> {
        self.acknowledged.get(&node)
    }

    /// How far this node's wall clock is ahead of the median of those of its reachable peers, in
    /// milliseconds. Two clocks that differ do not tell which is wrong: it takes two peers.
    #[must_use]
    pub fn clock_error(&self) -> Option<i64> {
        let reachable = |it: &&NodeId| self.swim.state(**it) == Some(NodeState::Alive);
        let clocks = self.clocks.iter().filter(|(id, _)| reachable(id));
        let mut ahead: Vec<i64> = clocks.map(|(_, it)| *it).collect();
        ahead.sort_unstable();
        (2 <= ahead.len()).then(|| -ahead[ahead.len() / 2])
    }

    fn heard(&mut self, from: NodeId, packet: Packet, state: &mut Arc<ClusterState>, now: Now) {
        match packet {
            Packet::Swim(message, vitals) => {
                let answers = matches!(message.kind, Kind::Ack { .. });
                let begins = self.swim.state(from).is_none() && self.writers.contains_key(&from);
                self.swim(swim::Input::Heard(from, message), now);
                // It was let in, and its own word that it is there was lost: nobody probes it yet.
                let since = self.compared_at.is_none_or(|it| COMPARE_INTERVAL <= now.moment - it);
                if begins && since && self.is_ready() {
                    self.compare(from, state, now);
                }
                if let Some(vitals) = vitals.filter(|_| answers) {
                    self.looked_at(from, vitals, state, now);
                }
            }
            Packet::Spread(span, news) => self.told(from, span, news, state, now),
            Packet::Compare { number, fresh, sums } => {
                let talk = Talk::theirs(from, number);
                let mine = self.mine(state);
                let turn = self.exchanges.compared(talk, &sums, fresh, mine, now.moment);
                self.take_turn(from, turn, state, now);
                if fresh.is_some() {
                    self.tell_newcomer(from);
                }
            }
            Packet::Differ { number, part, more, yours } => {
                self.told.insert(from);
                self.look_whether_set_back(yours);
                let talk = Talk::mine(from, number);
                let turn = self.exchanges.differs(talk, &part, more, self.mine(state));
                if turn.packets.is_empty() && turn.knows.is_some() {
                    self.catch_up(from);
                }
                self.take_turn(from, turn, state, now);
            }
            Packet::Writes { number, back, index, of, part, writes } => {
                let talk = Talk::told(from, number, back);
                let mine = self.mine(state);
                let turn = self.exchanges.writes(talk, (index, of), part, writes, mine);
                if self.take_turn(from, turn, state, now) {
                    self.exchanges.refused(talk);
                }
                if let Some(seen) = self.exchanges.whole(talk) {
                    self.catch_up(from);
                    self.join(&seen, state, now);
                }
            }
            Packet::Refer { number } => {
                if self.exchanges.referred(from, number) {
                    self.fetch(from, now);
                }
            }
        }
    }

    /// What this member holds a peer's words against.
    fn mine<'a>(&self, state: &'a ClusterState) -> Mine<'a> {
        Mine { state, vouched: self.vouched }
    }

    /// Looks at what an answer says beside the answer.
    fn looked_at(&mut self, from: NodeId, vitals: Vitals, state: &Arc<ClusterState>, now: Now) {
        let half = self.swim.round_trip(from).map_or(0, |it| it.0 / 2);
        self.clocks.insert(from, vitals.clock.ahead_of(now.wall.0.saturating_sub(half)));
        let theirs = vitals.digest;
        if theirs == state.digest() {
            self.outputs.push(Output::Agreed);
            self.catch_up(from);
            self.knows(from, state.seen_shared(), vitals.vouched, state);
        } else if theirs != self.durable {
            let since = |it: Moment| now.moment - it;
            let waited = self.compared_at.is_none_or(|it| COMPARE_INTERVAL <= since(it));
            let lost = COMPARE_QUIET <= since(self.changed_at)
                && self.compared_at.is_none_or(|it| COMPARE_QUIET <= since(it));
            if self.is_ready() && (waited || lost) {
                self.compare(from, state, now);
            }
        }
    }

    fn catch_up(&mut self, with: NodeId) {
        self.compared.insert(with);
        self.outputs.push(Output::CaughtUp(with));
    }

    fn compare(&mut self, peer: NodeId, state: &ClusterState, now: Now) {
        let fresh = !self.is_ready();
        let packet = self.exchanges.begin(peer, fresh, state, now.moment);
        self.compared_at = Some(now.moment);
        self.outputs.push(Output::Send(peer, packet));
    }

    /// Whether something was not taken in.
    fn take_turn(
        &mut self,
        from: NodeId,
        turn: Turn,
        state: &mut Arc<ClusterState>,
        now: Now,
    ) -> bool {
        if let Some((seen, vouched)) = turn.knows {
            self.knows(from, Arc::new(seen), vouched, state);
        }
        let mut refused = false;
        for bytes in &turn.writes {
            refused |= !decode_write(bytes).is_ok_and(|it| self.take(it, state, now));
        }
        // What this says was seen may have just come.
        self.outputs.extend(turn.packets.into_iter().map(|it| Output::SendDurable(from, it)));
        if turn.fetch {
            self.fetch(from, now);
        }
        refused
    }

    /// A peer is known to have seen all this.
    fn knows(
        &mut self,
        peer: NodeId,
        seen: Arc<VersionVector>,
        vouched: bool,
        state: &ClusterState,
    ) {
        self.look_whether_set_back(seen.last(state.replica()));
        if vouched {
            let known = self.acknowledged.entry(peer).or_default();
            // In a quiet cluster all are the same, and one.
            if !Arc::ptr_eq(known, &seen) {
                if seen.covers(known) {
                    *known = seen;
                } else if !known.covers(&seen) {
                    Arc::make_mut(known).join(&seen);
                }
            }
        }
    }

    /// A member that was just started learns how the others are.
    fn tell_newcomer(&mut self, to: NodeId) {
        let rumours = self.swim.verdicts();
        for news in cut(News { rumours, ..News::default() }) {
            self.outputs.push(Output::Send(to, Packet::Spread(Span::nobody(), news)));
        }
    }

    /// News for everyone in a span.
    fn told(
        &mut self,
        from: NodeId,
        span: Span,
        news: News,
        state: &mut Arc<ClusterState>,
        now: Now,
    ) {
        // Whoever says a hint has what it is about; this member may not yet.
        let (have, lack): (Vec<Dot>, Vec<Dot>) =
            news.hints.iter().partition(|it| state.knows(**it));
        let onward = News { hints: have, ..news.clone() };
        self.pass_on(span, &onward, Output::Send);
        for dot in lack {
            self.fetches.hint(dot, span, now.moment);
            self.fetch(from, now);
        }
        for bytes in &news.writes {
            if let Ok(write) = decode_write(bytes) {
                self.take(write, state, now);
            }
        }
        if !news.rumours.is_empty() {
            self.swim(swim::Input::Rumoured(news.rumours), now);
        }
    }

    /// Tells everyone what this member wrote, once it is durable.
    fn tell_all(&mut self, writes: &[Write]) {
        let (writes, hints) = by_length(writes);
        self.spread(News { writes, hints, ..News::default() }, Output::SendDurable);
    }

    /// Spreads news to everyone, sent in this way.
    fn spread(&mut self, news: News, send: fn(NodeId, Packet) -> Output) {
        for news in cut(news) {
            for _ in 0..PASSES {
                let span = Span::all(self.swim.ring(), &mut self.random);
                self.pass_on(span, &news, send);
            }
        }
    }

    /// Tells those who are to pass news on within a span.
    fn pass_on(&mut self, span: Span, news: &News, send: fn(NodeId, Packet) -> Output) {
        if news.is_empty() {
            return;
        }
        for (to, span) in delegates(self.swim.ring(), self.me, span, &mut self.random) {
            self.outputs.push(send(to, Packet::Spread(span, news.clone())));
        }
    }

    /// Takes in a write; whether that worked.
    fn take(&mut self, write: Write, state: &mut Arc<ClusterState>, now: Now) -> bool {
        if state.knows(write.dot) {
            return true;
        }
        let mine = state.replica();
        let own =
            if write.dot.replica == mine { write.dot.sequence } else { write.past.last(mine) };
        self.look_whether_set_back(own);
        match Arc::make_mut(state).apply(write, now.wall) {
            Applied::New(step) => self.took(step, now),
            Applied::Known => {}
            Applied::Refused => return false,
        }
        true
    }

    fn join(&mut self, seen: &VersionVector, state: &mut Arc<ClusterState>, now: Now) {
        if !state.seen().covers(seen) {
            let step = Arc::make_mut(state).join(seen);
            self.took(step, now);
        }
    }

    fn took(&mut self, step: Step, now: Now) {
        if !step.is_empty() {
            self.changed_at = now.moment;
            self.outputs.push(Output::Took(step));
        }
    }

    fn fetch(&mut self, from: NodeId, now: Now) {
        if self.fetches.begin(from, now.moment) {
            self.outputs.push(Output::Fetch(from));
        }
    }

    fn fetched(
        &mut self,
        from: NodeId,
        writes: Vec<Write>,
        state: &mut Arc<ClusterState>,
        now: Now,
    ) {
        for write in writes {
            if !self.take(write, state, now) {
                self.fetches.refused(from);
            }
        }
    }

    fn fetch_ended(
        &mut self,
        from: NodeId,
        how: Option<Fetched>,
        state: &mut Arc<ClusterState>,
        now: Now,
    ) {
        let Some(fetch) = self.fetches.end(from) else { return };
        if how.is_some() && !fetch.refused {
            self.catch_up(from);
        }
        match how.filter(|_| !fetch.refused) {
            Some(Fetched::Delta(seen)) => {
                self.join(&seen, state, now);
                self.knows(from, Arc::new(seen), false, state);
            }
            Some(Fetched::Full(inventory)) if fetch.enters => {
                let step = Arc::make_mut(state).enter(&inventory, now.wall);
                let writes = step.writes().to_vec();
                self.took(step, now);
                self.become_ready();
                self.tell_all(&writes);
            }
            Some(Fetched::Full(inventory)) => {
                let step = Arc::make_mut(state).join_all(&inventory);
                self.took(step, now);
                self.knows(from, Arc::new(inventory.seen().clone()), false, state);
            }
            None => {}
        }
        if fetch.again {
            self.fetch(from, now);
        }
    }

    /// What was hinted at and has come meanwhile goes on.
    fn pass_on_what_came(&mut self, state: &ClusterState) {
        for (dot, spans) in self.fetches.came(|dot| state.knows(dot)) {
            let news = News { hints: vec![dot], ..News::default() };
            spans.into_iter().for_each(|it| self.pass_on(it, &news, Output::SendDurable));
        }
    }

    /// Brings the membership up to date with some nodes in the state.
    fn members_changed(&mut self, nodes: &BTreeSet<NodeId>, state: &ClusterState, now: Now) {
        let me = self.me;
        for &id in nodes.iter().filter(|it| **it != me) {
            let record = state.nodes().get(&id).filter(|_| !state.has_left(id));
            // What a member had seen as another writer, or before it was last started, it may have lost
            // since: its directory may have been set back. What it has now it says again.
            let writer = record.map(|it| (it.replica, Incarnation(it.incarnation)));
            if self.writers.get(&id).copied() != writer {
                self.acknowledged.remove(&id);
            }
            match writer {
                Some(writer) => drop(self.writers.insert(id, writer)),
                None => {
                    self.writers.remove(&id);
                    self.clocks.remove(&id);
                }
            }
            match record.filter(|it| it.is_member()) {
                Some(record) => {
                    let incarnation = Incarnation(record.incarnation);
                    self.swim(swim::Input::Learned(id, incarnation), now);
                }
                None if self.swim.state(id).is_some() => {
                    self.swim(swim::Input::Forgotten(id), now);
                }
                None => {}
            }
        }
    }

    fn swim(&mut self, input: swim::Input, now: Now) {
        for output in self.swim.handle(input, now) {
            match output {
                swim::Output::Send(to, message) => {
                    let answers = matches!(message.kind, Kind::Ack { .. });
                    let vitals = answers.then(|| self.vitals(now));
                    self.outputs.push(Output::Send(to, Packet::Swim(message, vitals)));
                }
                swim::Output::Spread(rumours) => {
                    self.spread(News { rumours, ..News::default() }, Output::Send);
                }
                swim::Output::Changed(id, state) => self.outputs.push(Output::Changed(id, state)),
            }
        }
    }

    fn vitals(&self, now: Now) -> Vitals {
        Vitals { digest: self.durable, vouched: self.vouched, clock: Clock::of(now.wall.0) }
    }
}
