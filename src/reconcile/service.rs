//! A whole project: from its services to their containers' steps, and how each service stands.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Instance, Project, Share, Step, Verdict, job,
    order::{self, Blocked},
    rollout::{self, ByReplica, Progress},
    slot::{self, Around},
};
use crate::{
    model::{ContainerState, Millis, NodeId, ServiceName, spec::RestartCondition},
    state::{Intent, Stage},
};

/// What a look at a project comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What to do.
    pub steps: Vec<(ServiceName, Step)>,
    /// Services that are as wanted.
    pub ready: Vec<ServiceName>,
    /// Services that will not become as wanted without help, and why.
    pub stuck: BTreeMap<ServiceName, Arc<str>>,
    /// What services' changes came to.
    pub verdicts: Vec<(ServiceName, Verdict)>,
    /// In how long to look again, if nothing happens before.
    pub wake: Option<Millis>,
    /// Services that are to be forgotten, once nothing of any of them is left here.
    pub gone: Vec<ServiceName>,
}

/// Looks at a project.
#[must_use]
pub fn plan(project: &Project<'_>) -> Outcome {
    let mut outcome = Outcome::default();
    for (name, share) in &project.services {
        let blocked = order::blocked(project, share.spec);
        let around = Waits {
            blocked: blocked.as_ref(),
            unmade: order::unmade_peer(project, share.spec),
            needed: order::needed(project, name),
        };
        let by_replica = by_replica(share);
        let progress = match share.spec.deploy.mode.is_job() {
            true => job::progress(share, &by_replica),
            false => rollout::progress(share, &by_replica),
        };
        let steps = steps(project.me, share, &around, &by_replica, &progress);
        outcome.steps.extend(steps.into_iter().map(|step| (name.clone(), step)));
        let gate = share.gate.as_ref().and_then(|it| it.wake_for(project.me, &share.instances));
        outcome.wake = outcome.wake.into_iter().chain(progress.wake).chain(gate).min();
        if let Some(verdict) = rollout::verdict(share, &by_replica) {
            outcome.verdicts.push((name.clone(), verdict));
        }
        if is_ready(share) {
            outcome.ready.push(name.clone());
        } else if let Some(why) = stuck(share, blocked.as_ref()) {
            outcome.stuck.insert(name.clone(), why);
        }
    }
    outcome.gone = gone(project);
    outcome
}

/// Services name one another, and a project that names one that is not there cannot be read: so those
/// that are to be forgotten go together.
fn gone(project: &Project<'_>) -> Vec<ServiceName> {
    let leaving = || {
        let services = project.services.iter();
        services.filter(|(_, it)| matches!(it.record.intent, Intent::Forget { .. }))
    };
    if leaving().any(|(_, it)| !it.instances.is_empty()) {
        return vec![];
    }
    leaving().map(|(name, _)| name.clone()).collect()
}

/// What a service waits for.
struct Waits<'a> {
    /// Before it starts.
    blocked: Option<&'a Blocked>,
    /// Before it is made.
    unmade: Option<Arc<str>>,
    /// Before it stops: others use it.
    needed: bool,
}

fn steps(
    me: NodeId,
    share: &Share<'_>,
    waits: &Waits<'_>,
    by_replica: &ByReplica<'_>,
    progress: &Progress,
) -> Vec<Step> {
    let mut steps = vec![];
    let stops_first = rollout::stops_first(share);
    for &post in &share.posts {
        let replica = share.replica(post.slot, post.node);
        let Some(&turn) = progress.turns.get(&replica) else { continue };
        let around = Around {
            me,
            blocked: waits.blocked.map(|it| &it.waiting),
            unmade: waits.unmade.as_ref(),
            needed: waits.needed,
            turn,
            stops_first,
            restart: share.spec.deploy.restart,
            gate: share.gate.as_ref(),
        };
        let instances = by_replica.get(&replica).map_or(&[][..], Vec::as_slice);
        steps.extend(match share.spec.deploy.mode.is_job() {
            true => job::wanted(post, share, instances, around),
            false => slot::wanted(post, share.record, instances, around),
        });
    }
    let volumes = match share.record.intent {
        Intent::Run | Intent::Stop => false,
        Intent::Remove { volumes } | Intent::Forget { volumes } => volumes,
    };
    let kept = |it: &Instance<'_>| {
        let replica = share.replica(it.record.slot, it.record.node);
        // What has no place now keeps the one that it had.
        let waits = share.unplaced.iter().any(|(slot, _)| *slot == it.record.slot);
        progress.turns.contains_key(&replica) || (waits && share.record.intent == Intent::Run)
    };
    for it in replicas(share, |it| it.record.node == me && !kept(it)) {
        steps.extend(slot::clear(&it, volumes, waits.needed));
    }
    for it in share.instances.iter().filter(|it| it.record.one_off.is_some()) {
        if it.record.node == me {
            steps.extend(one_off(share, it, waits));
        }
    }
    steps
}

/// The step of a container of `fizz run`.
fn one_off(share: &Share<'_>, it: &Instance<'_>, waits: &Waits<'_>) -> Option<Step> {
    let one_off = it.record.one_off.as_ref()?;
    let over = it.record.state.is_over();
    match share.record.intent {
        Intent::Forget { volumes } => slot::clear(it, volumes, waits.needed),
        Intent::Run | Intent::Stop | Intent::Remove { .. } if it.busy => None,
        Intent::Run | Intent::Stop | Intent::Remove { .. } if over => {
            one_off.remove.then(|| slot::clear(it, true, false)).flatten()
        }
        Intent::Run | Intent::Stop | Intent::Remove { .. } => {
            let pending = it.record.state == ContainerState::Pending && !it.resting;
            let held = it.held_back && it.record.runtime_id.is_some();
            let blocked = waits.blocked.filter(|_| !one_off.no_deps).map(|it| &it.waiting);
            (pending && !held).then(|| slot::begin(it, blocked, waits.unmade.as_ref()))
        }
    }
}

fn replicas<'a>(share: &Share<'a>, which: impl Fn(&Instance<'a>) -> bool) -> Vec<Instance<'a>> {
    let replicas = share.instances.iter().filter(|it| it.record.one_off.is_none());
    replicas.filter(|it| which(it)).copied().collect()
}

/// The containers by replica: looked through once, as a service may have hundreds.
fn by_replica<'a>(share: &Share<'a>) -> ByReplica<'a> {
    let mut by_replica = ByReplica::new();
    for it in replicas(share, |_| true) {
        let replica = share.replica(it.record.slot, it.record.node);
        by_replica.entry(replica).or_default().push(it);
    }
    by_replica
}

/// Whether every container is as the user wants it.
fn is_ready(share: &Share<'_>) -> bool {
    let all = replicas(share, |_| true);
    match share.record.intent {
        Intent::Run if share.spec.deploy.mode.is_job() => job::is_ready(share),
        Intent::Run => {
            let right = |it: &Instance<'_>| {
                it.is_current(&share.record.template, share.spec.deploy.restart)
                    && (it.is_ready() || is_done(share, it))
                    && it.has_followed(share.record)
                    && share.has_post(it.record)
            };
            let placed = share.unplaced.is_empty() && all.len() == share.posts.len();
            placed && all.iter().all(right)
        }
        Intent::Stop => {
            let kept = |it: &Instance<'_>| {
                it.is_made_from(&share.record.template) && it.record.runtime_id.is_some()
            };
            let still = |it: &Instance<'_>| !it.alive && !it.busy && kept(it);
            all.len() == share.posts.len() && all.iter().all(still)
        }
        Intent::Remove { .. } | Intent::Forget { .. } => all.is_empty(),
    }
}

/// Whether a container has completed what it was there for.
fn is_done(share: &Share<'_>, it: &Instance<'_>) -> bool {
    it.is_completed() && share.spec.deploy.restart.condition != RestartCondition::Always
}

/// Why a service that is not as wanted will not become so without help, if that is so.
fn stuck(share: &Share<'_>, blocked: Option<&Blocked>) -> Option<Arc<str>> {
    let restart = share.spec.deploy.restart;
    let lost = |it: &Instance<'_>| match share.record.intent {
        // What could not even be started will be tried again, but not without the user knowing. Once asked
        // to start anew, it is judged by what comes of that.
        Intent::Run if never_ran(it) => it.has_followed(share.record),
        Intent::Run => slot::is_final(it, share.record, restart) && !is_done(share, it),
        Intent::Stop => {
            let failed = it.record.state.is_over() && it.record.runtime_id.is_none();
            failed && !it.busy && it.has_followed(share.record)
        }
        Intent::Remove { .. } | Intent::Forget { .. } => false,
    };
    // A run by the clock that failed is followed by the next.
    let timed = share.spec.extension.cron.is_some();
    let current = |it: &Instance<'_>| !timed && it.is_made_from(&share.record.template);
    if let Some(it) = replicas(share, |it| current(it) && lost(it)).first() {
        let reason = it.record.reason.clone().unwrap_or_else(|| "it failed".into());
        return Some(format!("{}: {reason}", it.record.name).into());
    }
    if let Some(why) = share.gate.as_ref().filter(|it| it.is_shut).and_then(|it| it.all.as_ref()) {
        return Some(format!("waits for {why}").into());
    }
    if let Some((slot, why)) = share.unplaced.first().filter(|_| share.record.intent == Intent::Run)
    {
        return Some(format!("{}-{slot} has no place: {why}", share.spec.name).into());
    }
    if share.record.rollout.stage == Stage::Paused {
        let failed = share.record.rollout.failed.as_ref().map(|(_, why)| format!(": {why}"));
        let why = failed.unwrap_or_default();
        return Some(format!("its update is paused{why}").into());
    }
    let starts = !replicas(share, |it| !it.alive).is_empty() || share.instances.is_empty();
    let wanted = share.record.intent == Intent::Run;
    let blocked = blocked.filter(|it| it.broken && starts && wanted)?;
    Some(format!("waits for {}", blocked.waiting).into())
}

/// Whether its last run failed before there was a process.
fn never_ran(it: &Instance<'_>) -> bool {
    let record = it.record;
    record.state == ContainerState::Failed && record.exit_code.is_none() && !record.given_up
}
