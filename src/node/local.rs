//! What a node knows of its containers and need not remember: it is seen again after a restart.

use std::{collections::VecDeque, net::Ipv4Addr, sync::Arc};

use super::{Activity, CheckResult, Now};
use crate::{
    health::Monitor,
    model::{Millis, Moment, RuntimeId, WallTime, spec::HealthSpec},
};

/// How many health checks a container's listing shows.
const CHECKS_KEPT_MAX: usize = 5;

/// The first pause before a restart, as Docker has it.
const PAUSE_FIRST: Millis = Millis(100);
/// The longest pause before a restart, as Docker has it.
const PAUSE_MAX: Millis = Millis::from_secs(60);
/// The first pause before a container that was given up is replaced.
pub(super) const PAUSE_REPLACED: Millis = Millis::from_secs(1);
/// How long a container must run for its earlier attempts to be forgotten, as Docker has it.
pub(super) const RAN_WELL: Millis = Millis::from_secs(10);

/// What is under way for a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// It is made, and perhaps started.
    Launch,
    /// It is started.
    Start,
    /// It is stopped.
    Halt,
    /// It is removed.
    Discard,
}

/// What a node knows of one of its containers.
#[derive(Clone, Debug, Default)]
pub(super) struct Local {
    /// What is under way.
    pub(super) operation: Option<Operation>,
    /// How far it is.
    pub(super) activity: Option<Activity>,
    /// Its address in the overlay, if it is there.
    pub(super) address: Option<Ipv4Addr>,
    /// Its process lives.
    pub(super) alive: bool,
    /// Its process is kept from running, by somebody's `docker pause`.
    pub(super) paused: bool,
    /// Since when, on this node's clock.
    pub(super) alive_since: Moment,
    /// When its process began, by the runtime's account: tells a late look from a new run.
    pub(super) began: WallTime,
    /// Containers whose namespaces it runs in.
    pub(super) shares: Vec<RuntimeId>,
    /// An end that was told and is older than that: late, or by a clock that was set back.
    pub(super) doubted: Option<WallTime>,
    /// Its health check.
    pub(super) monitor: Option<Monitor>,
    /// Its image's own health check.
    pub(super) image_health: Option<HealthSpec>,
    /// Its last health checks.
    pub(super) checks: VecDeque<CheckResult>,
    /// Its run may take until then, so long in all.
    pub(super) run_ends: Option<(Moment, Millis)>,
    /// Its run took longer than this, and is to end.
    pub(super) overdue: Option<Millis>,
    /// It may not be tried again before.
    pub(super) rest_until: Option<Moment>,
    /// An operation failed and may work later: not before.
    pub(super) stalled_until: Option<Moment>,
    /// How often in a row an operation failed.
    pub(super) stalls: u32,
    /// It was told to stop, so that its end is no crash.
    pub(super) told_to_stop: bool,
    /// It is removed, and only the rest of its project is not.
    pub(super) gone: bool,
    /// It waits for somebody to attach.
    pub(super) held_back: bool,
    /// It has run, and while it did this node could be sure that it may.
    pub(super) upheld: bool,
    /// Since when it must not run, because this node could not be sure any more that it may.
    pub(super) parted: Option<Moment>,
}

impl Local {
    /// Whether nothing new may be begun for it.
    pub(super) fn is_busy(&self, now: Moment) -> bool {
        self.operation.is_some() || self.stalled_until.is_some_and(|until| now < until)
    }

    /// Whether it must wait before it is tried again.
    pub(super) fn is_resting(&self, now: Moment) -> bool {
        self.rest_until.is_some_and(|until| now < until)
    }

    /// Whether a health check could tell anything.
    pub(super) fn is_checkable(&self) -> bool {
        self.alive && !self.paused && !self.told_to_stop
    }

    /// Keeps it from being tried again for a while, longer each time.
    pub(super) fn rest(&mut self, first: Option<Millis>, attempts: u32, now: Moment) {
        let pause = pause(first.unwrap_or(PAUSE_FIRST), attempts);
        self.rest_until = Some(now + pause);
        self.activity = Some(Activity::BackingOff(pause));
    }

    /// Keeps a failed operation from being tried again for a while, longer each time.
    pub(super) fn stall(&mut self, now: Moment) {
        self.stalled_until = Some(now + pause(Millis(500), self.stalls));
        self.stalls = self.stalls.saturating_add(1);
    }

    /// Notes a health check.
    pub(super) fn note(&mut self, passed: bool, output: Arc<str>, now: Now) {
        if CHECKS_KEPT_MAX <= self.checks.len() {
            self.checks.pop_front();
        }
        self.checks.push_back(CheckResult { at: now.wall, passed, output });
    }

    /// When something about it is due.
    pub(super) fn due(&self) -> Option<Moment> {
        let monitor = self.monitor.as_ref().filter(|_| self.is_checkable());
        let check = monitor.and_then(Monitor::due);
        let run_ends = self.run_ends.map(|(end, _)| end);
        [check, self.rest_until, self.stalled_until, run_ends].into_iter().flatten().min()
    }

    /// Forgets pauses that are over.
    pub(super) fn wake(&mut self, now: Moment) {
        if self.rest_until.is_some_and(|until| until <= now) {
            self.rest_until = None;
            if matches!(self.activity, Some(Activity::BackingOff(_))) {
                self.activity = None;
            }
        }
        if self.stalled_until.is_some_and(|until| until <= now) {
            self.stalled_until = None;
        }
        if let Some((_, limit)) = self.run_ends.filter(|(end, _)| *end <= now) {
            (self.run_ends, self.overdue) = (None, Some(limit));
        }
    }
}

fn pause(first: Millis, attempts: u32) -> Millis {
    let factor = 1_u64.checked_shl(attempts.min(32)).unwrap_or(u64::MAX);
    Millis(first.0.saturating_mul(factor).min(PAUSE_MAX.0.max(first.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute() {
        assert_eq!(pause(PAUSE_FIRST, 0), Millis(100));
        assert_eq!(pause(PAUSE_FIRST, 3), Millis(800));
        assert_eq!(pause(PAUSE_FIRST, 40), PAUSE_MAX);
        assert_eq!(pause(Millis(90_000), 5), Millis(90_000));
    }
}
