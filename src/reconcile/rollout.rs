//! How a service's containers change from one template to another, or from one node to another, while
//! the others serve: which replicas may change now, and what the change comes to.
//!
//! Nobody leads. Which replicas may change is a function of what all nodes know; the replicas' order
//! decides, so that a node that has not heard the latest is behind, and never ahead. What the change
//! came to is written once, by whoever stands for the service, as no state of the containers could
//! tell it later.

use std::{collections::BTreeMap, sync::Arc};

use super::{Instance, Post, Replica, Share};
use crate::{
    model::{
        ContainerState, Millis,
        spec::{FailureAction, PublishedPorts, UpdateOrder, UpdateSpec},
    },
    state::{Intent, Rollout, ServiceRecord, Stage, Template},
};

/// What a change came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All have changed, and are well.
    Proven,
    /// Too many failed: no more change, for this reason.
    Pause(Arc<str>),
    /// Too many failed: they change back, for this reason.
    Return(Arc<str>),
}

/// What a service's record says of a change to `template` that begins now: what to go back to, and how it
/// goes on. `is_ready`: its containers are as wanted now.
#[must_use]
pub fn begin(
    known: Option<&ServiceRecord>,
    template: &Template,
    has_canary: bool,
    is_ready: bool,
) -> (Option<Arc<Template>>, Rollout) {
    let Some(known) = known else { return (None, Rollout { stage: Stage::Going, failed: None }) };
    if known.template.is_same(template) {
        return (known.previous.clone(), known.rollout.clone());
    }
    let proven = match known.rollout.stage {
        Stage::Done | Stage::Returning => Some(Arc::new(known.template.clone())),
        Stage::Going if is_ready => Some(Arc::new(known.template.clone())),
        Stage::Going | Stage::Canary | Stage::Paused => known.previous.clone(),
    };
    let proven = proven.filter(|it| !it.is_same(template));
    let stage = if has_canary && proven.is_some() { Stage::Canary } else { Stage::Going };
    (proven, Rollout { stage, failed: None })
}

/// Changes a service's record back to what its containers were made from before, if that is known.
/// `why`: what failed, if that is the reason.
pub fn go_back(record: &mut ServiceRecord, why: Option<Arc<str>>) {
    let Some(previous) = record.previous.take() else { return };
    let failed = why.map(|why| (record.template.revision, why));
    record.template = (*previous).clone();
    record.rollout = Rollout { stage: Stage::Returning, failed };
}

/// The replicas of a service and their containers.
pub(super) type ByReplica<'a> = BTreeMap<Replica, Vec<Instance<'a>>>;

/// What a replica is made from, and whether it may change now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    /// It has changed to what is wanted, or may now; else it stays what it was.
    pub(super) changes: bool,
    /// A new container may be made for it although another lives.
    pub(super) may_begin: bool,
    /// It may be without a container that is well.
    pub(super) may_stop: bool,
    /// How long a new container must have been well before it can be relied on.
    pub(super) monitor: Millis,
}

/// How a service's change stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    pub(super) turns: BTreeMap<Replica, Turn>,
    /// In how long to look again, if nothing happens before.
    pub(super) wake: Option<Millis>,
}

/// How a replica stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Its container is as it should be, and has been so for so long.
    Settled(Millis),
    /// Its new container is there, and not there yet.
    Begun,
    /// It has only what it had before.
    Waiting,
    /// It has nothing that lives.
    Vacant,
}

/// The rules of the change that goes on.
pub(super) fn rules<'a>(share: &Share<'a>) -> &'a UpdateSpec {
    match share.record.rollout.stage {
        Stage::Returning => &share.spec.deploy.rollback,
        Stage::Done | Stage::Going | Stage::Canary | Stage::Paused => &share.spec.deploy.update,
    }
}

/// Whether the old container stops before the new one starts: as asked, or where two cannot, or must
/// not, be at once.
pub(super) fn stops_first(share: &Share<'_>) -> bool {
    let container = &share.spec.container;
    let taken = container.ports.iter().any(|it| matches!(it.published, PublishedPorts::One(_)));
    let named = !share.each_node && share.spec.container_name.is_some();
    rules(share).order == UpdateOrder::StopFirst
        || share.gate.is_some()
        || taken
        || named
        || !super::peers(share.spec).is_empty()
}

/// Which replicas may change now.
pub(super) fn progress(share: &Share<'_>, by_replica: &ByReplica<'_>) -> Progress {
    let rules = rules(share);
    let stage = share.record.rollout.stage;
    let monitor = if stage == Stage::Done { Millis(0) } else { rules.monitor };
    let posts: Vec<(Replica, Standing, &[Instance<'_>])> = share
        .posts
        .iter()
        .map(|post| {
            let replica = share.replica(post.slot, post.node);
            let instances = by_replica.get(&replica).map_or(&[][..], Vec::as_slice);
            (replica, standing(share, *post, instances, monitor), instances)
        })
        .collect();
    let mut progress = Progress { wake: wake(share, by_replica, monitor), ..Progress::default() };
    let all = posts.len();
    let at_once = if rules.parallelism == 0 { all } else { rules.parallelism as usize };
    let serving = posts.iter().filter(|(_, _, them)| them.iter().any(Instance::serves)).count();
    let forgiven = forgiven(share, by_replica, rules, all);
    let begun = posts.iter().filter(|(_, standing, _)| *standing == Standing::Begun).count();
    let mut room = at_once.saturating_sub(begun.saturating_sub(forgiven));
    if let Some(left) = pause_left(&posts, rules, monitor, stage) {
        room = 0;
        progress.wake = Some(progress.wake.map_or(left, |it| it.min(left)));
    }
    let canaries = share.spec.extension.canary.map_or(all, |it| it as usize);
    for (at, (replica, standing, instances)) in posts.into_iter().enumerate() {
        let serves = instances.iter().any(Instance::serves);
        let begun = instances.iter().any(|it| it.is_made_from(&share.record.template));
        let open = match stage {
            Stage::Done | Stage::Going | Stage::Returning => true,
            Stage::Canary => at < canaries,
            Stage::Paused => false,
        };
        // What never proved itself is nothing to go back to, nor worth waiting for.
        let free = share.record.previous.is_none() && !serves;
        let takes = match standing {
            Standing::Settled(_) | Standing::Begun => false,
            Standing::Waiting => true,
            Standing::Vacant => share.record.previous.is_some() && !begun,
        };
        let granted = !takes || free || (0 < room && (open || begun));
        if granted && takes && !free {
            room -= 1;
        }
        let turn = Turn {
            changes: begun || free || (granted && open),
            may_begin: granted,
            may_stop: !serves || all.saturating_sub(at_once + forgiven) < serving,
            monitor,
        };
        progress.turns.insert(replica, turn);
    }
    progress
}

fn standing(
    share: &Share<'_>,
    post: Post,
    instances: &[Instance<'_>],
    monitor: Millis,
) -> Standing {
    let restart = share.spec.deploy.restart;
    let keeper = instances
        .iter()
        .filter(|it| it.record.node == post.node && it.is_current(&share.record.template, restart))
        .min_by_key(|it| it.record.created);
    let Some(keeper) = keeper else {
        let lives = instances.iter().any(|it| it.alive);
        return if lives { Standing::Waiting } else { Standing::Vacant };
    };
    let others = instances.iter().any(|it| it.alive && it.record.id != keeper.record.id);
    let well = keeper.is_ready() && monitor <= keeper.stood;
    if !others && (well || keeper.is_completed() || share.record.rollout.stage == Stage::Done) {
        return Standing::Settled(keeper.stood);
    }
    Standing::Begun
}

/// How much is left of the pause between two groups.
fn pause_left(
    posts: &[(Replica, Standing, &[Instance<'_>])],
    rules: &UpdateSpec,
    monitor: Millis,
    stage: Stage,
) -> Option<Millis> {
    if rules.delay == Millis(0) || stage == Stage::Done {
        return None;
    }
    let settled = posts.iter().filter_map(|(_, standing, _)| match standing {
        Standing::Settled(stood) => Some(monitor + rules.delay - *stood),
        Standing::Begun | Standing::Waiting | Standing::Vacant => None,
    });
    settled.max().filter(|it| *it != Millis(0))
}

/// In how long the next container that is well has been so for long enough.
fn wake(share: &Share<'_>, by_replica: &ByReplica<'_>, monitor: Millis) -> Option<Millis> {
    let current =
        by_replica.values().flatten().filter(|it| it.is_made_from(&share.record.template));
    let left = current.filter(|it| it.is_ready()).map(|it| monitor - it.stood);
    left.filter(|it| *it != Millis(0)).min()
}

/// What a change came to, if it came to anything.
pub(super) fn verdict(share: &Share<'_>, by_replica: &ByReplica<'_>) -> Option<Verdict> {
    let (record, stage) = (share.record, share.record.rollout.stage);
    match stage {
        Stage::Done | Stage::Paused => return None,
        Stage::Going | Stage::Canary | Stage::Returning if record.intent != Intent::Run => {
            return None;
        }
        Stage::Going | Stage::Canary | Stage::Returning => {}
    }
    let rules = rules(share);
    // What has no place can neither change nor fail.
    let all = share.posts.len();
    if let Some(why) = failure(share, by_replica, rules, all) {
        match (rules.failure_action, stage) {
            // It is proven all the same, once what failed is well again.
            (FailureAction::Continue, _) => {}
            (FailureAction::Rollback, Stage::Going | Stage::Canary) => {
                return Some(Verdict::Return(why));
            }
            (FailureAction::Pause | FailureAction::Rollback, _) => {
                return Some(Verdict::Pause(why));
            }
        }
    }
    let settled = |post: &Post| {
        let instances = by_replica.get(&share.replica(post.slot, post.node));
        let standing = standing(share, *post, instances?, rules.monitor);
        matches!(standing, Standing::Settled(_)).then_some(())
    };
    // Replicas that have no place say nothing against those that have one.
    let proven = stage != Stage::Canary
        && (share.unplaced.is_empty() || !share.posts.is_empty())
        && share.posts.iter().all(|it| settled(it).is_some());
    proven.then_some(Verdict::Proven)
}

/// How many replicas have failed, where so many may: the change goes on without them.
fn forgiven(
    share: &Share<'_>,
    by_replica: &ByReplica<'_>,
    rules: &UpdateSpec,
    all: usize,
) -> usize {
    let goes_on = rules.failure_action == FailureAction::Continue
        || failure(share, by_replica, rules, all).is_none();
    let may_fail = goes_on && share.record.rollout.stage != Stage::Done;
    let failed = |them: &&Vec<Instance<'_>>| them.iter().any(|it| has_failed(it, share.record));
    if may_fail { by_replica.values().filter(failed).count() } else { 0 }
}

/// Why a change is judged to have failed: more replicas failed than may.
fn failure(
    share: &Share<'_>,
    by_replica: &ByReplica<'_>,
    rules: &UpdateSpec,
    all: usize,
) -> Option<Arc<str>> {
    let record = share.record;
    // There must be something to go back to, or to have gone back to.
    if record.previous.is_none() && record.rollout.stage != Stage::Returning {
        return None;
    }
    let failed =
        by_replica.values().filter_map(|them| them.iter().find(|it| has_failed(it, record)));
    let failed: Vec<&Instance<'_>> = failed.collect();
    let first = failed.first()?;
    let allowed = u128::from(rules.failure_ratio_max_ppm) * all as u128;
    if failed.len() as u128 * 1_000_000 <= allowed {
        return None;
    }
    let reason = first.record.reason.as_deref().unwrap_or("it ended again and again");
    Some(format!("{}: {reason}", first.record.name).into())
}

/// Whether a container that is made from what is wanted speaks against it.
fn has_failed(it: &Instance<'_>, wanted: &ServiceRecord) -> bool {
    let record = it.record;
    let ill = match record.state {
        ContainerState::Failed | ContainerState::Unhealthy => true,
        ContainerState::Pending | ContainerState::Running => 0 < record.attempts,
        ContainerState::Healthy | ContainerState::Stopped => false,
    };
    it.is_made_from(&wanted.template) && !record.held && (ill || record.given_up)
}
