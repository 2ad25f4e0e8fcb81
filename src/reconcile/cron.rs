//! Runs by the clock: at each tick of a service's schedule one run of it.
//!
//! Whoever stands for the service writes which tick is due. The run has its tick's number as its slot and
//! is placed like any replica, so that it is one run, whoever wrote that it is due, and however often. Two
//! parts of a cluster that do not hear each other have each their run.

use std::collections::{BTreeMap, BTreeSet};

use super::{Post, Runs, Share, job, slot};
use crate::{
    model::{
        ContainerState, Millis, Slot, Tick, WallTime,
        spec::{ConcurrencyPolicy, CronSpec, MissedRunPolicy, RestartSpec},
    },
    state::{ContainerRecord, ServiceRecord, Ticks},
};

/// How many of the last runs are kept, of those that completed and of those that failed.
const KEPT_MAX: usize = 3;

/// How late a tick is not missed: by then the members know who writes now for a steward that died.
const LATE_MAX: Millis = Millis::from_secs(60);

/// How far ahead of the clock the last tick may be: another clock wrote it. More is a clock that was wrong.
const AHEAD_MAX_MINUTES: u32 = 60;

/// How far a service is, once somebody has looked at the clock. `goes_on`: a run has not ended; `begun`: the
/// ticks whose runs are recorded.
#[must_use]
pub fn advance(
    known: Ticks,
    cron: &CronSpec,
    now: WallTime,
    goes_on: bool,
    begun: &[Tick],
) -> Ticks {
    let minute = Tick::of(now);
    let due = known.due.filter(|it| !begun.contains(it));
    let counts = |it: &Tick| it.0 <= minute.0.saturating_add(AHEAD_MAX_MINUTES);
    let seen = Some(known.seen).filter(counts).unwrap_or(minute);
    // A write by somebody who had not heard of the last tick may have won.
    let seen = begun.iter().copied().filter(counts).fold(seen, Tick::max);
    let Some(tick) = cron.schedule.last(&cron.zone, minute).filter(|it| seen < *it) else {
        return Ticks { seen, due };
    };
    let late = Millis(now.0.saturating_sub(tick.time().0));
    let is_missed = LATE_MAX < late && cron.missed == MissedRunPolicy::Skip;
    let is_barred = goes_on && cron.concurrency == ConcurrencyPolicy::Forbid;
    let runs = !is_missed && !is_barred && !begun.contains(&tick);
    Ticks { seen: tick, due: if runs { Some(tick) } else { due } }
}

/// Whether a run has ended for good.
pub(super) fn is_over(it: &ContainerRecord, restart: RestartSpec) -> bool {
    let again = slot::restarts_by_itself(it, restart) || slot::is_replaced(it, restart);
    let ended = match it.state {
        ContainerState::Failed => !again,
        // A person's signal ended it. What only had to stop goes on, here or elsewhere.
        ContainerState::Stopped => it.held && it.exit_code != Some(0),
        ContainerState::Pending
        | ContainerState::Running
        | ContainerState::Healthy
        | ContainerState::Unhealthy => false,
    };
    Tick::of_slot(it.slot).is_some() && (ended || job::has_completed(it))
}

/// The runs that are to be: those that go on, and the last of those that are over.
pub(super) fn runs<'a>(
    service: &ServiceRecord,
    cron: &CronSpec,
    restart: RestartSpec,
    containers: impl Iterator<Item = &'a ContainerRecord>,
) -> Runs {
    let due = service.ticks.and_then(|it| it.due).filter(|_| service.replicas != 0);
    let mut open: BTreeSet<Slot> = due.map(Tick::slot).into_iter().collect();
    let mut over: BTreeMap<Slot, &ContainerRecord> = BTreeMap::new();
    let all = containers.filter(|it| it.one_off.is_none() && Tick::of_slot(it.slot).is_some());
    for it in all {
        if !is_over(it, restart) {
            open.insert(it.slot);
            continue;
        }
        let known = over.entry(it.slot).or_insert(it);
        let order = |it: &ContainerRecord| (!job::has_completed(it), it.created, it.id);
        if order(it) < order(known) {
            *known = it;
        }
    }
    let last = open.iter().chain(over.keys()).max().copied();
    let replaces = cron.concurrency == ConcurrencyPolicy::Replace;
    open.retain(|it| !over.contains_key(it) && !(replaces && Some(*it) < last));
    let kept = |completed: bool| {
        let of_kind = over.values().rev().filter(move |it| job::has_completed(it) == completed);
        of_kind.take(KEPT_MAX).map(|it| Post { slot: it.slot, node: it.node })
    };
    let mut over: Vec<Post> = kept(true).chain(kept(false)).collect();
    over.sort();
    Runs { open: open.into_iter().collect(), over }
}

/// Whether a run must wait until the one that it replaces has ended.
pub(super) fn must_wait(share: &Share<'_>, post: Post) -> bool {
    let cron = share.spec.extension.cron.as_ref();
    let replaces = cron.is_some_and(|it| it.concurrency == ConcurrencyPolicy::Replace);
    replaces && share.instances.iter().any(|it| it.alive && it.record.slot < post.slot)
}
