//! Who is alive: SWIM with Lifeguard, as a value.
//!
//! SWIM (Das, Gupta, Motivala, 2002): probes, detours through others before anyone is accused, suspicion
//! that the accused can refute, news piggybacked on probes. Lifeguard (Dadgar, Phillips, Currey, 2018): a
//! member that may itself be ill waits longer and accuses less; who is doubted hears it first.
//!
//! What is different here. *Rotation*: members take turns so that each is probed once a period (see
//! `members`). *Two tiers*: a member that several others miss is *suspicious* within a second or two,
//! which only steers traffic away; it is *dead* only after it had time to speak up, which moves its
//! containers. *Watchers*: an unreachable member is tried over and over by a few others that all
//! agree on, and only who tried and failed declares it dead. *No one is forgotten*: dead members are
//! still tried now and then and keep their identity, so a partition of any length heals by itself.
//!
//! Who is a member is not decided here: that is replicated state. This room is told, and says how each
//! one is.

mod agenda;
mod config;
mod doubts;
mod members;
mod message;
mod news;
mod probes;
mod silence;

pub use config::{Config, ConfigError};
pub use message::{Claim, Incarnation, Kind, Message, Rumour};

use crate::model::{Millis, Moment, NodeEvent, NodeId, NodeState, Now, Random};
use agenda::Agenda;
use config::RUMOURS_ON_PROBE_MAX;
use doubts::Doubt;
use members::{Member, Members, Trip};
use news::News;
use probes::{Probe, Schedule};
use silence::Hearing;

/// What happens to the membership.
#[derive(Clone, Debug)]
pub enum Input {
    /// This node is a member, says the state, and began at this incarnation.
    Learned(NodeId, Incarnation),
    /// It is none any more.
    Forgotten(NodeId),
    /// A member said something to this one.
    Heard(NodeId, Message),
    /// News that was spread.
    Rumoured(Vec<Rumour>),
    /// Ask these now whether they are there.
    Try(Vec<NodeId>),
    /// Something else was not answered by this one: it is its turn now.
    Doubt(NodeId),
    /// This member leaves.
    Leave,
    /// Time has passed.
    Tick,
}

/// What the membership wants done or known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Say this to that member.
    Send(NodeId, Message),
    /// Spread this to everyone.
    Spread(Vec<Rumour>),
    /// A member is like that now.
    Changed(NodeId, NodeState),
}

/// A member's view of who is alive.
#[derive(Clone, Debug)]
pub struct Swim {
    me: NodeId,
    config: Config,
    incarnation: Incarnation,
    members: Members,
    /// How fast members answer, for those that have not answered yet.
    trips: Trip,
    /// Lifeguard's local health: 0 is well.
    ill: u64,
    probes: Agenda<u16, Probe>,
    numbers: u16,
    doubts: Agenda<NodeId, Doubt>,
    news: News,
    schedule: Schedule,
    random: Random,
    spread: Vec<Rumour>,
    outputs: Vec<Output>,
    left: bool,
    /// When any other said anything to this one.
    last_heard: Moment,
    hearing: Hearing,
}

impl Swim {
    /// A member that knows nobody yet. Its incarnation must be above all it had in earlier runs: the
    /// seconds of its start.
    #[must_use]
    pub fn new(me: NodeId, incarnation: Incarnation, config: Config, seed: u64, now: Now) -> Self {
        Self {
            me,
            schedule: Schedule::new(me, &config, now),
            config,
            incarnation,
            members: Members::new(me),
            trips: Trip::default(),
            ill: 0,
            probes: Agenda::default(),
            numbers: 0,
            doubts: Agenda::default(),
            news: News::default(),
            random: Random::new(seed),
            spread: vec![],
            outputs: vec![],
            left: false,
            last_heard: now.moment,
            hearing: Hearing::Well,
        }
    }

    /// Takes one step.
    pub fn handle(&mut self, input: Input, now: Now) -> Vec<Output> {
        if self.left {
            return vec![];
        }
        self.notice_sleep(now);
        match input {
            Input::Learned(node, incarnation) => self.learned(node, incarnation, now),
            Input::Forgotten(node) => self.forgotten(node),
            Input::Heard(from, message) => self.heard(from, message, now),
            Input::Rumoured(rumours) => {
                self.hear_something(now);
                self.take_in(rumours, now);
            }
            Input::Try(nodes) => nodes.into_iter().for_each(|it| self.try_unless_asked(it, now)),
            Input::Doubt(node) => self.doubt(node, now),
            Input::Leave => self.leave(),
            Input::Tick => {}
        }
        if !self.left {
            self.probes_due(now);
            self.silence_due(now);
            self.doubts_due(now);
        }
        self.schedule.expect(self.next_wake());
        if !self.spread.is_empty() {
            let spread = std::mem::take(&mut self.spread);
            self.outputs.push(Output::Spread(spread));
        }
        std::mem::take(&mut self.outputs)
    }

    /// When it wants the next [`Input::Tick`], if nothing happens before.
    #[must_use]
    pub fn next_wake(&self) -> Moment {
        let due =
            [self.probes.next(), self.doubts.next(), self.hearing.due()].into_iter().flatten();
        due.fold(self.schedule.due(), Moment::min)
    }

    /// Those that are alive or may be, this one among them, in the order of ids.
    #[must_use]
    pub fn ring(&self) -> &[NodeId] {
        self.members.ring()
    }

    /// How another member is.
    #[must_use]
    pub fn state(&self, node: NodeId) -> Option<NodeState> {
        self.members.get(node).map(|it| it.state)
    }

    /// When the last question was sent that a member has answered itself: until then at least it heard
    /// this one, and this one it.
    #[must_use]
    pub fn answered(&self, node: NodeId) -> Option<Moment> {
        self.members.get(node)?.heard
    }

    /// Since when another member is as it is.
    #[must_use]
    pub fn since(&self, node: NodeId) -> Option<Moment> {
        self.members.get(node).map(|it| it.since)
    }

    /// How every other member is, and since when.
    pub fn states(&self) -> impl Iterator<Item = (NodeId, NodeState, Moment)> {
        self.members.iter().map(|(id, it)| (id, it.state, it.since))
    }

    /// What a newcomer has to be told: all that is not as the state says.
    #[must_use]
    pub fn verdicts(&self) -> Vec<Rumour> {
        let claim = |it: &Member| match it.state {
            NodeState::Suspicious => Some(Claim::Missed { by: self.me, seconded: 0 }),
            NodeState::Dead => Some(Claim::Dead),
            NodeState::Left => Some(Claim::Left),
            NodeState::Alive => (it.born < it.incarnation).then_some(Claim::Alive),
            NodeState::Joining | NodeState::Failed => None,
        };
        let rumour = |(about, it): (NodeId, &Member)| {
            let (incarnation, claim) = (it.incarnation, claim(it)?);
            Some(Rumour { about, incarnation, claim })
        };
        self.members.iter().filter_map(rumour).collect()
    }

    /// How long a member takes to answer, once known.
    #[must_use]
    pub fn round_trip(&self, node: NodeId) -> Option<Millis> {
        self.members.get(node)?.trip.millis().map(Millis)
    }

    /// How ill this member thinks it is itself: 0 is well, 8 as ill as can be.
    #[must_use]
    pub fn illness(&self) -> u64 {
        self.ill
    }

    /// Which life and how many refutations of it this is.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    fn learned(&mut self, node: NodeId, incarnation: Incarnation, now: Now) {
        if node == self.me {
            return;
        }
        if let Some(member) = self.members.get_mut(node) {
            member.born = member.born.max(incarnation);
            // A record that says nothing newer is no sign of life: it may be another's word.
            if member.incarnation < incarnation {
                self.lives(node, incarnation, now);
            }
            return;
        }
        let member = Member {
            born: incarnation,
            incarnation,
            state: NodeState::Alive,
            since: now.moment,
            trip: Trip::default(),
            heard: None,
        };
        self.members.insert(node, member);
        self.outputs.push(Output::Changed(node, NodeState::Alive));
    }

    fn forgotten(&mut self, node: NodeId) {
        self.members.remove(node);
        self.doubts.remove(node);
        let of_it =
            self.probes.iter().filter(|(_, it)| it.target == node).map(|(number, _)| number);
        let of_it: Vec<u16> = of_it.collect();
        for number in of_it {
            self.probes.remove(number);
        }
        self.news.forget(node);
    }

    fn heard(&mut self, from: NodeId, message: Message, now: Now) {
        if self.members.get(from).is_none() {
            return;
        }
        self.hear_something(now);
        self.take_in(message.rumours, now);
        self.hear(from, message.kind, now);
    }

    fn take_in(&mut self, rumours: Vec<Rumour>, now: Now) {
        for rumour in rumours {
            if self.believe(rumour, now) {
                self.news.add(rumour, self.config.repeats);
            }
        }
    }

    fn leave(&mut self) {
        self.left = true;
        let (about, incarnation) = (self.me, self.incarnation);
        self.outputs.push(Output::Spread(vec![Rumour { about, incarnation, claim: Claim::Left }]));
    }

    /// A wait, as long as this member's own health makes it: who may be ill waits longer.
    fn stretched(&self, wait: Millis) -> Millis {
        Millis(wait.0 * (1 + self.ill))
    }

    /// Something that this member found out: for everyone.
    fn announce(&mut self, rumour: Rumour) {
        self.spread.push(rumour);
        self.news.add(rumour, self.config.repeats);
    }

    fn send(&mut self, to: NodeId, kind: Kind) {
        let rumours = match kind {
            Kind::Ping { .. } | Kind::Ack { .. } => self.news.some(RUMOURS_ON_PROBE_MAX),
            Kind::Ask { .. } | Kind::Vouch { .. } | Kind::Nack { .. } => vec![],
        };
        self.outputs.push(Output::Send(to, Message { kind, rumours }));
    }

    /// Moves a member along the lifecycle, and tells.
    fn become_state(&mut self, node: NodeId, state: NodeState, now: Now) {
        let Some(member) = self.members.get_mut(node) else { return };
        let Some(reached) = walk(member.state, state) else { return };
        (member.state, member.since) = (reached, now.moment);
        self.members.place(node);
        self.outputs.push(Output::Changed(node, reached));
    }
}

/// Leads from a state to another along the arrows of the lifecycle, which may take two where one was not
/// heard of. Who is back from the dead joins again. `None`: it is there already.
fn walk(from: NodeState, to: NodeState) -> Option<NodeState> {
    use NodeEvent as E;
    let back = match from {
        NodeState::Dead | NodeState::Left | NodeState::Failed => Some(E::Joined),
        NodeState::Joining | NodeState::Alive | NodeState::Suspicious => None,
    };
    let start = if back.is_some() { NodeState::Joining } else { from };
    let steps: &[E] = match (from, to) {
        _ if from == to => return None,
        (NodeState::Suspicious, NodeState::Left) => &[E::Refuted, E::Departed],
        (NodeState::Suspicious, NodeState::Alive) => &[E::Refuted],
        (NodeState::Suspicious, _) => &[E::Confirmed],
        (_, NodeState::Suspicious) => &[E::Missed],
        (_, NodeState::Dead) => &[E::Missed, E::Confirmed],
        (_, NodeState::Left) => &[E::Departed],
        (_, NodeState::Alive | NodeState::Joining | NodeState::Failed) => &[],
    };
    let mut events = back.into_iter().chain(steps.iter().copied());
    events.try_fold(start, |state, event| state.next(event).ok())
}
