//! Questions and answers: who is probed when, and what silence comes to.

use super::{
    Swim,
    agenda::Due,
    config::{Config, ILL_MAX},
    members::period_of,
    message::{Claim, Incarnation, Kind, Rumour},
};
use crate::model::{Millis, Moment, NodeId, NodeState, Now, mix};

/// Questions that wait for an answer at most; further ones are not asked.
const PROBES_MAX: usize = 16_384;

/// How ill a member thinks itself that was not woken in time.
const ILL_AFTER_SLEEP: u64 = 2;

/// How many of the others that were dead are tried at once when one of them came back, and the pause
/// until the next.
const HEALED_AT_ONCE: usize = 64;
const HEALING_PAUSE: Millis = Millis(10);

/// How often the living try the dead within `dead_interval`, all together.
const DEAD_TRIES_TOGETHER: u64 = 20;

/// A question that waits for an answer.
#[derive(Clone, Debug)]
pub(super) struct Probe {
    pub(super) target: NodeId,
    pub(super) due: Moment,
    purpose: Purpose,
    sent: Moment,
    tries: u8,
    nacks: u8,
}

impl Due for Probe {
    fn due(&self) -> Option<Moment> {
        Some(self.due)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// It is its turn; so many others were asked to try, too.
    Turn { asked: usize },
    /// For another member, and its number of the question.
    Errand { asker: NodeId, number: u16 },
    /// It is missed, or dead: perhaps it answers this time.
    Hope,
    /// It is dead; where it answers, others that are may, too.
    Reunion,
}

/// What comes by the clock.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    phase: u64,
    turn: Moment,
    dead: Moment,
    /// Dead members that are to be tried now, because another came back.
    healing: Vec<NodeId>,
    heal: Moment,
    /// When this member was to be woken.
    expected: Moment,
}

impl Schedule {
    pub(super) fn new(me: NodeId, config: &Config, now: Now) -> Self {
        let phase = mix((me.0 >> 64) as u64) % config.period.0;
        let mut schedule = Self {
            phase,
            turn: now.moment,
            dead: now.moment + Millis(mix(me.0 as u64) % config.dead_interval.0),
            healing: vec![],
            heal: now.moment,
            expected: now.moment + config.period,
        };
        schedule.next_turn(config, 0, now);
        schedule
    }

    pub(super) fn due(&self) -> Moment {
        let due = self.turn.min(self.dead);
        if self.healing.is_empty() { due } else { due.min(self.heal) }
    }

    pub(super) fn expect(&mut self, at: Moment) {
        self.expected = at;
    }

    /// The next turn is at this member's own time within the next period. One that is ill leaves some out.
    fn next_turn(&mut self, config: &Config, ill: u64, now: Now) -> u64 {
        let (period, into) = period_of(now.wall, config.period.0, self.phase);
        let left = config.period.0 - into;
        // A timer that fired a little early would give this period a second turn.
        let left = if left < config.period.0 / 8 { left + config.period.0 } else { left };
        self.turn = now.moment + Millis(left + ill * config.period.0);
        period
    }
}

impl Swim {
    /// Everything that is due.
    pub(super) fn probes_due(&mut self, now: Now) {
        for number in self.probes.due(now.moment) {
            self.probe_due(number, now);
        }
        if self.schedule.turn <= now.moment {
            let period = self.schedule.next_turn(&self.config, self.ill, now);
            if let Some(target) = self.members.target(period) {
                self.probe(target, Purpose::Turn { asked: 0 }, now);
            }
        }
        if self.schedule.dead <= now.moment {
            self.schedule.dead = now.moment + self.config.dead_interval;
            if self.try_dead(now) {
                self.hurry_to_the_dead(now);
            }
        }
        if self.schedule.heal <= now.moment && !self.schedule.healing.is_empty() {
            self.schedule.heal = now.moment + HEALING_PAUSE;
            let rest = self.schedule.healing.len().saturating_sub(HEALED_AT_ONCE);
            for node in self.schedule.healing.split_off(rest) {
                if self.state(node) == Some(NodeState::Dead) {
                    self.try_again(node, now);
                }
            }
        }
    }

    /// What was to be done while this member slept, stopped or starved, says nothing of the others.
    pub(super) fn notice_sleep(&mut self, now: Now) {
        let slept = now.moment - self.schedule.expected;
        if slept.0 <= self.config.period.0 / 2 {
            return;
        }
        self.ill = self.ill.max(ILL_AFTER_SLEEP);
        self.probes.clear();
        self.doubts.change_all(|it| it.postpone(slept));
        self.forget_silence(now);
        self.schedule.next_turn(&self.config, 0, now);
    }

    /// Has a member's turn come now, unless it is under way: what else was not answered is no reason to miss it, and
    /// reason enough to ask.
    pub(super) fn doubt(&mut self, target: NodeId, now: Now) {
        let state = self.members.get(target).map(|it| it.state);
        let is_asked =
            |it: &Probe| it.target == target && matches!(it.purpose, Purpose::Turn { .. });
        if state == Some(NodeState::Alive) && !self.probes.iter().any(|(_, it)| is_asked(it)) {
            self.probe(target, Purpose::Turn { asked: 0 }, now);
        }
    }

    /// Tries a member that is missed or dead.
    pub(super) fn try_again(&mut self, target: NodeId, now: Now) {
        self.probe(target, Purpose::Hope, now);
    }

    /// Tries a member that is dead, and others if it answers.
    pub(super) fn try_reunion(&mut self, target: NodeId, now: Now) {
        self.probe(target, Purpose::Reunion, now);
    }

    /// A member came back from the dead by itself: the others may, too.
    pub(super) fn heal(&mut self) {
        let dead = self.members.iter().filter(|(_, it)| it.state == NodeState::Dead);
        let mut dead: Vec<NodeId> = dead.map(|(id, _)| id).collect();
        // Not all members in the same order.
        for last in (1..dead.len()).rev() {
            dead.swap(last, self.random.below(last + 1));
        }
        self.schedule.healing = dead;
    }

    /// The living try the dead so often together, and one that is alone does by itself: who comes back is met at
    /// once, in a small cluster as in a large one.
    pub(super) fn hurry_to_the_dead(&mut self, now: Now) {
        let living = self.members.ring().len() as u64;
        let wait = self.config.dead_interval.0 * living / DEAD_TRIES_TOGETHER;
        self.schedule.dead = self.schedule.dead.min(now.moment + Millis(wait));
    }

    /// Tries one of the dead. Whether there is any.
    fn try_dead(&mut self, now: Now) -> bool {
        let recent = |since: Moment| now.moment - since <= self.config.dead_probed;
        let dead: Vec<NodeId> = self
            .members
            .iter()
            .filter(|(_, it)| it.state == NodeState::Dead && recent(it.since))
            .map(|(id, _)| id)
            .collect();
        let chosen = dead.get(self.random.below(dead.len())).copied();
        if let Some(node) = chosen {
            self.try_reunion(node, now);
        }
        chosen.is_some()
    }

    fn probe(&mut self, target: NodeId, purpose: Purpose, now: Now) {
        if PROBES_MAX <= self.probes.len() {
            return;
        }
        while self.probes.contains(self.numbers) {
            self.numbers = self.numbers.wrapping_add(1);
        }
        let number = self.numbers;
        self.numbers = self.numbers.wrapping_add(1);
        let due = now.moment + self.patience(target);
        let probe = Probe { target, due, purpose, sent: now.moment, tries: 1, nacks: 0 };
        self.probes.insert(number, probe);
        self.ping(target, number);
    }

    fn ping(&mut self, target: NodeId, number: u16) {
        let missed = self.members.get(target).and_then(|it| match it.state {
            NodeState::Suspicious | NodeState::Dead | NodeState::Left => Some(it.incarnation),
            NodeState::Alive if self.doubts.contains(target) => Some(it.incarnation),
            NodeState::Alive | NodeState::Joining | NodeState::Failed => None,
        });
        let incarnation = self.incarnation;
        self.send(target, Kind::Ping { number, incarnation, missed });
    }

    /// How long a member's answer may take.
    fn patience(&self, target: NodeId) -> Millis {
        let known = self.members.get(target).and_then(|it| it.trip.patience());
        let wait = known.or(self.trips.patience()).unwrap_or(self.config.answer_max.0);
        self.stretched(Millis(wait.clamp(self.config.answer_min.0, self.config.answer_max.0)))
    }

    /// Nobody has answered.
    fn probe_due(&mut self, number: u16, now: Now) {
        let Some(probe) = self.probes.get(number) else { return };
        let (target, purpose, tries) = (probe.target, probe.purpose, probe.tries);
        let patience = self.patience(target);
        match (purpose, tries) {
            (Purpose::Hope | Purpose::Reunion, _) => drop(self.probes.remove(number)),
            (Purpose::Errand { .. }, 1) => self.ask_again(number, purpose, now.moment + patience),
            (Purpose::Errand { asker, number: theirs }, _) => {
                self.probes.remove(number);
                self.send(asker, Kind::Nack { number: theirs });
            }
            (Purpose::Turn { .. }, 1) => {
                let helpers = self.members.some(self.config.helpers, target, &mut self.random);
                let purpose = Purpose::Turn { asked: helpers.len() };
                // They try twice, and are some way off themselves.
                let due = now.moment + Millis(patience.0 * 3);
                self.ask_again(number, purpose, due);
                for helper in helpers {
                    self.send(helper, Kind::Ask { number, target });
                }
            }
            (Purpose::Turn { asked }, _) => self.not_answered(number, asked, now),
        }
    }

    fn ask_again(&mut self, number: u16, purpose: Purpose, due: Moment) {
        let target = self.probes.change(number, |probe| {
            (probe.purpose, probe.due) = (purpose, due);
            probe.tries += 1;
            probe.target
        });
        if let Some(target) = target {
            self.ping(target, number);
        }
    }

    fn not_answered(&mut self, number: u16, asked: usize, now: Now) {
        let Some(probe) = self.probes.remove(number) else { return };
        // Helpers that say nothing at all are a sign that it is this member who hears nothing.
        if 0 < asked && probe.nacks == 0 {
            self.ill = (self.ill + 1).min(ILL_MAX);
        }
        if self.last_heard < probe.sent {
            self.mind_the_silence();
        }
        let Some(member) = self.members.get(probe.target) else { return };
        let unreachable_before = member.state == NodeState::Suspicious;
        let rumour = Rumour {
            about: probe.target,
            incarnation: member.incarnation,
            claim: Claim::Missed { by: self.me, seconded: probe.nacks },
        };
        // That one more misses what all know to be unreachable is not worth a word to everyone.
        if self.believe(rumour, now) && !unreachable_before {
            self.announce(rumour);
        }
    }

    /// Takes in what a member said to this one.
    pub(super) fn hear(&mut self, from: NodeId, kind: Kind, now: Now) {
        match kind {
            Kind::Ping { number, incarnation, missed } => {
                if let Some(missed) = missed {
                    self.refute(missed);
                }
                let incarnation_mine = self.incarnation;
                self.send(from, Kind::Ack { number, incarnation: incarnation_mine });
                self.lives(from, incarnation, now);
            }
            Kind::Ack { number, incarnation } => self.acknowledged(from, number, incarnation, now),
            Kind::Ask { number, target } => {
                if target != self.me && self.members.get(target).is_some() {
                    self.probe(target, Purpose::Errand { asker: from, number }, now);
                }
            }
            Kind::Vouch { number, incarnation } => {
                if let Some(probe) = self.probes.get(number)
                    && matches!(probe.purpose, Purpose::Turn { .. })
                {
                    let target = probe.target;
                    self.probes.remove(number);
                    self.ill = self.ill.saturating_sub(1);
                    self.lives(target, incarnation, now);
                }
            }
            Kind::Nack { number } => {
                self.probes.change(number, |probe| {
                    if matches!(probe.purpose, Purpose::Turn { .. }) {
                        probe.nacks = probe.nacks.saturating_add(1);
                    }
                });
            }
        }
    }

    fn acknowledged(&mut self, from: NodeId, number: u16, incarnation: Incarnation, now: Now) {
        if self.probes.get(number).is_none_or(|it| it.target != from) {
            return;
        }
        let Some(probe) = self.probes.remove(number) else { return };
        // The answer to a question that was asked twice does not say which (Karn's rule).
        if probe.tries == 1
            && let Some(member) = self.members.get_mut(from)
        {
            let millis = (now.moment - probe.sent).0;
            member.trip.learn(millis);
            self.trips.learn(millis);
        }
        if let Some(member) = self.members.get_mut(from) {
            member.heard = member.heard.max(Some(probe.sent));
        }
        self.ill = self.ill.saturating_sub(1);
        if let Purpose::Errand { asker, number } = probe.purpose {
            self.send(asker, Kind::Vouch { number, incarnation });
        }
        self.lives(from, incarnation, now);
        // That it lives may have come here by others before its answer.
        if probe.purpose == Purpose::Reunion && self.schedule.healing.is_empty() {
            self.heal();
        }
    }
}
