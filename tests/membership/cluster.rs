//! A cluster of real [`Swim`] values on a virtual network, with packets in their real encoding.

use std::collections::BTreeMap;

use fizz::{
    gossip::{Clock, News, PASSES, Packet, SEAL_BYTES, Span, Vitals, cut, delegates},
    model::{Moment, NodeId, NodeState, Now, Random, WallTime},
    swim::{Config, Incarnation, Input, Kind, Message, Output, Swim},
};

use crate::network::{Micros, Network, What};

/// Where wall clocks begin: a time in 2026, in milliseconds.
const WALL: u64 = 1_780_000_000_000;

/// A node, as long as it runs.
pub(crate) struct Machine {
    pub(crate) id: NodeId,
    pub(crate) swim: Swim,
    random: Random,
    /// It does nothing until then, as after SIGSTOP.
    stopped_until: Micros,
    held: Vec<(usize, Packet)>,
    /// How far its wall clock is ahead, in milliseconds.
    pub(crate) skew: i64,
}

/// What one node said of another, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    pub(crate) at: Micros,
    pub(crate) by: usize,
    pub(crate) about: usize,
    pub(crate) state: NodeState,
}

pub(crate) struct Cluster {
    pub(crate) network: Network<Packet>,
    pub(crate) machines: Vec<Option<Machine>>,
    pub(crate) changes: Vec<Change>,
    ids: Vec<NodeId>,
    places: BTreeMap<NodeId, usize>,
    config: Config,
    seed: u64,
    boots: u32,
    /// When each node last began, as the state has it.
    born: Vec<Option<Incarnation>>,
    /// What answers carry, so that their size is right.
    vitals: Vitals,
}

impl Cluster {
    /// So many nodes that all know each other and have just begun.
    pub(crate) fn new(count: usize, seed: u64, config: Config) -> Self {
        let mut random = Random::new(seed);
        let ids: Vec<NodeId> = (0..count).map(|_| NodeId(random.id())).collect();
        let places = ids.iter().enumerate().map(|(place, id)| (*id, place)).collect();
        let mut cluster = Self {
            network: Network::new(count, seed),
            machines: (0..count).map(|_| None).collect(),
            changes: vec![],
            ids,
            places,
            config,
            seed,
            boots: 0,
            born: vec![None; count],
            vitals: Vitals { digest: [7; 16], vouched: true, clock: Clock([1, 2, 3]) },
        };
        (0..count).for_each(|node| cluster.boot(node));
        cluster.changes.clear();
        cluster
    }

    /// Starts a node, which reads from its disk who the members are.
    pub(crate) fn boot(&mut self, node: usize) {
        self.boots += 1;
        let seconds = WALL / 1000 + self.network.now / 1_000_000;
        let incarnation = Incarnation(u32::try_from(seconds).unwrap());
        let seed = self.seed.wrapping_mul(31).wrapping_add(u64::from(self.boots));
        let (id, now) = (self.ids[node], self.now_at(0));
        let swim = Swim::new(id, incarnation, self.config.clone(), seed, now);
        self.machines[node] = Some(Machine {
            id,
            swim,
            random: Random::new(!seed),
            stopped_until: 0,
            held: vec![],
            skew: 0,
        });
        self.born[node] = Some(incarnation);
        // The state tells everyone who is a member, and since when.
        for other in 0..self.ids.len() {
            if let Some(theirs) = self.born[other] {
                self.input(node, Input::Learned(self.ids[other], theirs));
                self.input(other, Input::Learned(id, incarnation));
            }
        }
        // And whoever takes it in, how they are.
        let sponsor = self.running().find(|it| it.0 != node);
        let verdicts = sponsor.map(|(_, it)| it.swim.verdicts()).unwrap_or_default();
        self.input(node, Input::Rumoured(verdicts));
    }

    /// A node ends without a word.
    pub(crate) fn crash(&mut self, node: usize) {
        self.machines[node] = None;
    }

    /// A node was not answered by another in something else.
    pub(crate) fn doubt(&mut self, by: usize, about: usize) {
        let about = self.ids[about];
        self.input(by, Input::Doubt(about));
    }

    /// A node leaves.
    pub(crate) fn leave(&mut self, node: usize) {
        self.input(node, Input::Leave);
    }

    /// A node does nothing for a while; what is sent to it waits.
    pub(crate) fn stop(&mut self, node: usize, for_micros: Micros) {
        let until = self.network.now + for_micros;
        self.machines[node].as_mut().unwrap().stopped_until = until;
        self.network.wake(node, until);
    }

    /// Two sides that do not hear each other: the first so many nodes, and the rest.
    pub(crate) fn part(&mut self, first: usize) {
        self.network.sides = (0..first).map(|it| (it, 1)).collect();
    }

    pub(crate) fn mend(&mut self) {
        self.network.sides.clear();
    }

    /// Lets so much time pass.
    pub(crate) fn pass(&mut self, micros: Micros) {
        let until = self.network.now + micros;
        while self.step(until) {}
    }

    /// Lets time pass until something is so, at most so long. Whether it came to be, and when.
    pub(crate) fn until(
        &mut self,
        micros: Micros,
        is_so: impl Fn(&Self) -> bool,
    ) -> Option<Micros> {
        let until = self.network.now + micros;
        let (mut seen, mut looked) = (usize::MAX, 0);
        loop {
            // A look at all takes longer than a step, so one a millisecond must do.
            if seen != self.changes.len() && looked + 1_000 <= self.network.now {
                (seen, looked) = (self.changes.len(), self.network.now);
                if is_so(self) {
                    return Some(self.network.now);
                }
            }
            if !self.step(until) {
                return None;
            }
        }
    }

    /// Whether every running node sees a node so.
    pub(crate) fn all_see(&self, about: usize, state: NodeState) -> bool {
        let id = self.ids[about];
        self.running().all(|(_, it)| it.id == id || it.swim.state(id) == Some(state))
    }

    /// Whether every running node sees every running node alive.
    pub(crate) fn is_whole(&self) -> bool {
        self.running().all(|(_, viewer)| {
            self.running().all(|(_, it)| {
                it.id == viewer.id || viewer.swim.state(it.id) == Some(NodeState::Alive)
            })
        })
    }

    pub(crate) fn running(&self) -> impl Iterator<Item = (usize, &Machine)> {
        self.machines.iter().enumerate().filter_map(|(node, it)| Some((node, it.as_ref()?)))
    }

    /// When each running node first saw a node so since a time, sorted.
    pub(crate) fn first_seen(&self, about: usize, state: NodeState, since: Micros) -> Vec<Micros> {
        let mut first: BTreeMap<usize, Micros> = BTreeMap::new();
        for it in &self.changes {
            if it.about == about && it.state == state && since <= it.at {
                first.entry(it.by).or_insert(it.at - since);
            }
        }
        let mut times: Vec<Micros> = first.into_values().collect();
        times.sort_unstable();
        times
    }

    fn step(&mut self, until: Micros) -> bool {
        let Some(what) = self.network.next(until) else { return false };
        match what {
            What::Wake(node) => self.wake(node),
            What::Packet { from, to, packet } => self.arrive(from, to, packet),
        }
        true
    }

    fn wake(&mut self, node: usize) {
        let now = self.network.now;
        let Some(machine) = self.machines[node].as_mut() else { return };
        if now < machine.stopped_until {
            let until = machine.stopped_until;
            return self.network.wake(node, until);
        }
        let held = std::mem::take(&mut machine.held);
        self.input(node, Input::Tick);
        for (from, packet) in held {
            self.arrive(from, node, packet);
        }
    }

    fn arrive(&mut self, from: usize, to: usize, packet: Packet) {
        let now = self.network.now;
        let sender = self.ids[from];
        let Some(machine) = self.machines[to].as_mut() else { return };
        if now < machine.stopped_until {
            return machine.held.push((from, packet));
        }
        match packet {
            Packet::Swim(message, _) => self.input(to, Input::Heard(sender, message)),
            Packet::Spread(span, news) => {
                self.pass_on(to, span, &news);
                self.input(to, Input::Rumoured(news.rumours));
            }
            Packet::Compare { .. }
            | Packet::Differ { .. }
            | Packet::Writes { .. }
            | Packet::Refer { .. } => unreachable!("nobody here has a state"),
        }
    }

    fn input(&mut self, node: usize, input: Input) {
        let Some(skew) = self.machines[node].as_ref().map(|it| it.skew) else { return };
        let now = self.now_at(skew);
        let Some(machine) = self.machines[node].as_mut() else { return };
        let outputs = machine.swim.handle(input, now);
        let wake = machine.swim.next_wake();
        for output in outputs {
            match output {
                Output::Send(to, message) => self.say(node, self.places[&to], message),
                Output::Spread(rumours) => {
                    for news in cut(News { rumours, ..News::default() }) {
                        for _ in 0..PASSES {
                            let machine = self.machines[node].as_mut().unwrap();
                            let span = Span::all(machine.swim.ring(), &mut machine.random);
                            self.pass_on(node, span, &news);
                        }
                    }
                }
                Output::Changed(about, state) => {
                    let (at, about) = (self.network.now, self.places[&about]);
                    self.changes.push(Change { at, by: node, about, state });
                }
            }
        }
        self.network.wake(node, wake.0 * 1000);
    }

    fn say(&mut self, from: usize, to: usize, message: Message) {
        let answers = matches!(message.kind, Kind::Ack { .. });
        let packet = Packet::Swim(message, answers.then_some(self.vitals));
        let bytes = packet.encode().unwrap().len() + SEAL_BYTES;
        self.network.send(from, to, packet, bytes as u64);
    }

    fn pass_on(&mut self, node: usize, span: Span, news: &News) {
        let machine = self.machines[node].as_mut().unwrap();
        let parts = delegates(machine.swim.ring(), machine.id, span, &mut machine.random);
        for (to, span) in parts {
            let packet = Packet::Spread(span, news.clone());
            let bytes = packet.encode().unwrap().len() + SEAL_BYTES;
            self.network.send(node, self.places[&to], packet, bytes as u64);
        }
    }

    fn now_at(&self, skew: i64) -> Now {
        let millis = self.network.now / 1000;
        let wall = WallTime((WALL + millis).saturating_add_signed(skew));
        Now { moment: Moment(millis), wall }
    }
}
