//! Runs by the clock: at each tick of a service's schedule one run of it.
//!
//! Nobody has to say that a tick has come: every member looks at the clock, and comes to the same. The run
//! has its tick's number as its slot and is placed like any replica, so that it is one run, and its record
//! says to all that it has begun. Two parts of a cluster that do not hear each other have each their run.

use std::collections::{BTreeMap, BTreeSet};

use super::{Post, Runs, Share, job, slot};
use crate::{
    model::{
        ContainerState, Millis, Slot, Tick, WallTime,
        spec::{ConcurrencyPolicy, CronSpec, MissedRunPolicy, RestartSpec},
    },
    state::{ContainerRecord, Intent, ServiceRecord},
};

/// How many of the last runs are kept, of those that completed and of those that failed.
const KEPT_MAX: usize = 3;

/// How late a tick is not missed: by then the members know of a node that died when it was to run it.
const LATE_MAX: Millis = Millis::from_secs(60);

/// How far ahead of the clock the last tick may be, by another's clock. More is a clock that was wrong.
const AHEAD_MAX_MINUTES: u32 = 60;

/// The tick whose run is to begin now. `after`: the last one that is none of the service's; `begun`: those
/// whose runs are recorded; `goes_on`: a run has not ended.
fn due(
    cron: &CronSpec,
    after: Tick,
    begun: impl Iterator<Item = Tick>,
    goes_on: bool,
    now: WallTime,
) -> Option<Tick> {
    let minute = Tick::of(now);
    let counts = |it: &Tick| it.0 <= minute.0.saturating_add(AHEAD_MAX_MINUTES);
    let seen = begun.chain([after]).filter(counts).max();
    let tick = cron.schedule.last(&cron.zone, minute).filter(|it| seen < Some(*it))?;
    let late = Millis(now.0.saturating_sub(tick.time().0));
    let is_missed = LATE_MAX < late && cron.missed == MissedRunPolicy::Skip;
    let is_barred = goes_on && cron.concurrency == ConcurrencyPolicy::Forbid;
    (!is_missed && !is_barred).then_some(tick)
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

/// The runs that are to be: the one that is due, those that go on, and the last of those that are over.
/// What is over stays known for longer where another of the same tick, of which nobody may hear any more, had
/// begun: it would have to be run again.
pub(super) fn runs<'a>(
    service: &ServiceRecord,
    cron: &CronSpec,
    restart: RestartSpec,
    containers: impl Iterator<Item = &'a ContainerRecord>,
    now: WallTime,
) -> Runs {
    let mut open: BTreeSet<Slot> = BTreeSet::new();
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
    let doubled: Vec<&ContainerRecord> =
        open.iter().filter_map(|it| over.get(it)).copied().collect();
    open.retain(|it| !over.contains_key(it));
    if let Some(after) = service.ticks_after
        && service.intent == Intent::Run
        && service.replicas != 0
    {
        let begun = open.iter().chain(over.keys()).map(|it| Tick(it.0));
        let due = due(cron, after, begun, !open.is_empty(), now);
        open.extend(due.map(Tick::slot));
    }
    let last = open.iter().chain(over.keys()).max().copied();
    let replaces = cron.concurrency == ConcurrencyPolicy::Replace;
    open.retain(|it| !(replaces && Some(*it) < last));
    let last_of = |completed: bool| {
        let of_kind = over.values().rev().filter(move |it| job::has_completed(it) == completed);
        of_kind.take(KEPT_MAX).copied()
    };
    let kept = last_of(true).chain(last_of(false)).chain(doubled);
    let kept: BTreeSet<Post> = kept.map(|it| Post { slot: it.slot, node: it.node }).collect();
    let over: Vec<Post> = kept.into_iter().collect();
    Runs { open: open.into_iter().collect(), over }
}

/// Whether a run must wait until the one that it replaces has ended.
pub(super) fn must_wait(share: &Share<'_>, post: Post) -> bool {
    let cron = share.spec.extension.cron.as_ref();
    let replaces = cron.is_some_and(|it| it.concurrency == ConcurrencyPolicy::Replace);
    replaces && share.instances.iter().any(|it| it.alive && it.record.slot < post.slot)
}
