//! Jobs: services whose replicas run to completion, once. A replica that has completed is done, whatever
//! becomes of the node that ran it; it runs again only when its definition changes or a person restarts
//! it. One that failed is tried again as its restart policy has it, and elsewhere if its node dies.

use std::collections::BTreeMap;

use super::{
    Instance, Post, Replica, Share, Step, cron,
    gate::may_run,
    rollout::{ByReplica, Progress, Turn},
    slot::{self, Around, Which},
};
use crate::{
    model::{ContainerState, Millis, NodeId, Slot, WallTime, spec::ServiceSpec},
    state::{ContainerRecord, Intent, ServiceRecord},
};

/// What there is to run of a job, and what has run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runs {
    /// The numbered replicas that want a place, in order.
    pub open: Vec<Slot>,
    /// Those that are done, each where it was, in order: nothing of them is to be anywhere else.
    pub over: Vec<Post>,
}

/// Whether a container has done what it is there for, so that nothing of its replica is to run again. A
/// run by the clock that failed for good is over too: the next tick brings the next.
#[must_use]
pub fn is_over(it: &ContainerRecord, service: &ServiceRecord, spec: &ServiceSpec) -> bool {
    if !spec.deploy.mode.is_job() || it.one_off.is_some() {
        return false;
    }
    if spec.extension.cron.is_some() {
        return cron::is_over(it, spec.deploy.restart);
    }
    has_completed(it) && it.is_made_from(&service.template) && service.restarts <= it.restarts
}

/// Whether it ended with status 0 of its own: what was asked to stop may do so politely.
pub(super) fn has_completed(it: &ContainerRecord) -> bool {
    it.state == ContainerState::Stopped && it.exit_code == Some(0) && !it.held
}

/// What there is to run of a service, and what has run; `None`: it is no job. `containers`: all of the
/// service, also those on nodes that are dead. `now`: for what runs by the clock.
#[must_use]
pub fn runs<'a>(
    service: &ServiceRecord,
    spec: &ServiceSpec,
    containers: impl Iterator<Item = &'a ContainerRecord>,
    now: WallTime,
) -> Option<Runs> {
    if !spec.deploy.mode.is_job() {
        return None;
    }
    match service.intent {
        Intent::Run | Intent::Stop => {}
        Intent::Remove { .. } | Intent::Forget { .. } => return Some(Runs::default()),
    }
    if let Some(timed) = &spec.extension.cron {
        return Some(cron::runs(service, timed, spec.deploy.restart, containers, now));
    }
    let each_node = spec.deploy.mode.is_on_each_node();
    let wanted = |slot: Slot| each_node || (1..=service.replicas).contains(&slot.0);
    // In a partition both sides may have run it: then the older counts, as everywhere.
    let mut over: BTreeMap<Replica, &ContainerRecord> = BTreeMap::new();
    for it in containers.filter(|it| wanted(it.slot) && is_over(it, service, spec)) {
        let replica = if each_node { Replica::Of(it.node) } else { Replica::Numbered(it.slot) };
        let known = over.entry(replica).or_insert(it);
        if (it.created, it.id) < (known.created, known.id) {
            *known = it;
        }
    }
    let slots = (1..=if each_node { 0 } else { service.replicas }).map(Slot);
    let is_done =
        |it: &Slot| over.contains_key(&Replica::Numbered(*it)) || service.done.contains(it);
    let open = slots.filter(|it| !is_done(it)).collect();
    let mut over: Vec<Post> =
        over.values().map(|it| Post { slot: it.slot, node: it.node }).collect();
    over.sort();
    Some(Runs { open, over })
}

/// Which of a job's replicas may begin now: as many run at a time as its update settings say, the first
/// first. Whatever of them is out of date is no use any more, but for runs by the clock, which stay what they
/// were made from.
pub(super) fn progress(share: &Share<'_>, by_replica: &ByReplica<'_>) -> Progress {
    let at_once = match share.spec.deploy.update.parallelism {
        0 => share.posts.len(),
        some => some as usize,
    };
    let restart = share.spec.deploy.restart;
    let timed = share.spec.extension.cron.is_some();
    let is_right = |it: &Instance<'_>| timed || it.is_made_from(&share.record.template);
    let goes_on = |it: &Instance<'_>| {
        is_right(it)
            && !is_over(it.record, share.record, share.spec)
            && !it.is_completed()
            && !slot::is_final(it, share.record, restart)
    };
    let them = |replica: &Replica| by_replica.get(replica).map_or(&[][..], Vec::as_slice);
    let replicas = share.posts.iter().map(|it| share.replica(it.slot, it.node));
    let replicas: Vec<Replica> = replicas.collect();
    let begun = |it: &&Replica| them(it).iter().any(goes_on);
    let mut room = at_once.saturating_sub(replicas.iter().filter(begun).count());
    let mut progress = Progress::default();
    for replica in replicas {
        let fresh = !them(&replica).iter().any(is_right);
        let may_begin = !fresh || 0 < room;
        room -= usize::from(fresh && may_begin);
        let turn = Turn { changes: true, may_begin, may_stop: true, monitor: Millis(0) };
        progress.turns.insert(replica, turn);
    }
    progress
}

/// This node's steps for a job's replica.
pub(super) fn wanted(
    post: Post,
    share: &Share<'_>,
    instances: &[Instance<'_>],
    around: Around<'_>,
) -> Vec<Step> {
    let timed = share.spec.extension.cron.is_some();
    match share.record.intent {
        Intent::Run => run(post, share, instances, around),
        // What was to run at a time is not made for later.
        Intent::Stop if timed => {
            let mine = instances.iter().filter(|it| it.record.node == around.me);
            let runs = mine.filter(|it| it.alive && !it.busy);
            runs.map(|it| Step::Halt(it.record.id)).collect()
        }
        Intent::Stop | Intent::Remove { .. } | Intent::Forget { .. } => {
            slot::wanted(post, share.record, instances, around)
        }
    }
}

fn run(post: Post, share: &Share<'_>, instances: &[Instance<'_>], around: Around<'_>) -> Vec<Step> {
    let (me, service) = (around.me, share.record);
    let over = |it: &Instance<'_>| is_over(it.record, service, share.spec);
    // A run by the clock is what it was made from.
    let timed = share.spec.extension.cron.is_some();
    let is_right = |it: &Instance<'_>| timed || it.is_made_from(&service.template);
    let right = instances.iter().filter(|it| {
        it.record.node == post.node && is_right(it) && (over(it) || it.is_usable(around.restart))
    });
    // What is done counts before what began anew, unheard of that.
    let keeper = right.min_by_key(|it| (!over(it), it.age()));
    let others = || {
        let keeper = keeper.map(|it| it.record.id);
        instances.iter().filter(move |it| Some(it.record.id) != keeper)
    };
    // What was given up says how often until its successor is there.
    let stays = |it: &Instance<'_>| {
        keeper.is_none() && !it.alive && it.record.node == post.node && is_right(it)
    };
    let mine = others().filter(|it| it.record.node == me && !stays(it));
    let mut steps: Vec<Step> =
        mine.filter_map(|it| slot::clear(it, service.renew_volumes, false)).collect();
    // One run has ended, and on one node its name is free, before the next begins.
    let in_the_way = |it: &Instance<'_>| {
        let may = around.gate.is_some() && may_run(it.record);
        it.alive || it.record.node == post.node || may
    };
    let waits = others().any(|it| in_the_way(it) && !stays(it)) || cron::must_wait(share, post);
    match keeper {
        Some(it) if it.record.node != me || over(it) => {}
        Some(it) if waits && !it.alive => {}
        Some(it) => steps.extend(slot::alone(it, service, around)),
        None => {
            let resting = others().any(|it| it.resting && stays(it));
            if post.node == me && !waits && !resting && around.turn.may_begin {
                steps.push(Step::Record(post.slot, Which::Current));
            }
        }
    }
    steps
}

/// Whether every replica of a job has run, or runs, as the user wants it.
pub(super) fn is_ready(share: &Share<'_>) -> bool {
    let restart = share.spec.deploy.restart;
    let right = |it: &Instance<'_>| {
        it.is_current(&share.record.template, restart)
            && (it.is_ready() || it.is_completed())
            && it.has_followed(share.record)
    };
    let replicas = || share.instances.iter().filter(|it| it.record.one_off.is_none());
    if share.spec.extension.cron.is_some() {
        // It is as wanted while it waits for its time, and however its runs came out.
        return share.unplaced.is_empty();
    }
    let at = |node: NodeId, slot: Slot| {
        replicas().any(|it| it.record.node == node && it.record.slot == slot && right(it))
    };
    share.unplaced.is_empty()
        && share.posts.iter().all(|it| at(it.node, it.slot))
        && replicas().all(|it| !it.alive || (share.has_post(it.record) && right(it)))
}
