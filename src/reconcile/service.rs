//! A whole project: from its services to their containers' steps, and how each service stands.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Instance, Project, Share, Step,
    order::{self, Blocked},
    slot::{self, Around},
};
use crate::{
    model::{ContainerState, ServiceName, Slot, spec::RestartCondition},
    state::Intent,
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
    /// Services that are to be forgotten, once nothing of any of them is left here.
    pub gone: Vec<ServiceName>,
}

/// Looks at a project.
#[must_use]
pub fn plan(project: &Project<'_>) -> Outcome {
    let mut outcome = Outcome::default();
    for (name, share) in project {
        let blocked = order::blocked(project, share.spec);
        let needed = order::needed(project, name);
        let unmade = order::unmade_peer(project, share.spec);
        let steps = steps(share, blocked.as_ref(), unmade.as_ref(), needed);
        outcome.steps.extend(steps.into_iter().map(|step| (name.clone(), step)));
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
    let leaving =
        || project.iter().filter(|(_, it)| matches!(it.record.intent, Intent::Forget { .. }));
    if leaving().any(|(_, it)| !it.instances.is_empty()) {
        return vec![];
    }
    leaving().map(|(name, _)| name.clone()).collect()
}

fn steps(
    share: &Share<'_>,
    blocked: Option<&Blocked>,
    unmade: Option<&Arc<str>>,
    needed: bool,
) -> Vec<Step> {
    let restart = share.spec.deploy.restart;
    let by_slot = by_slot(share);
    let mut room = replacements_free(share, &by_slot);
    let mut steps = vec![];
    for &slot in &share.slots {
        let instances = by_slot.get(&slot).map_or(&[][..], Vec::as_slice);
        let around = Around {
            blocked: blocked.map(|it| &it.waiting),
            unmade,
            needed,
            may_replace: 0 < room,
            restart,
        };
        let next = slot::wanted(slot, share.record, instances, around);
        if next.contains(&Step::Record(slot)) && !instances.is_empty() {
            room = room.saturating_sub(1);
        }
        steps.extend(next);
    }
    let volumes = match share.record.intent {
        Intent::Run | Intent::Stop => false,
        Intent::Remove { volumes } | Intent::Forget { volumes } => volumes,
    };
    for it in replicas(share, |it| share.slots.binary_search(&it.record.slot).is_err()) {
        steps.extend(slot::clear(&it, volumes, needed));
    }
    for it in share.instances.iter().filter(|it| it.record.one_off.is_some()) {
        steps.extend(one_off(share, it, blocked, unmade, needed));
    }
    steps
}

/// The step of a container of `fizz run`.
fn one_off(
    share: &Share<'_>,
    it: &Instance<'_>,
    blocked: Option<&Blocked>,
    unmade: Option<&Arc<str>>,
    needed: bool,
) -> Option<Step> {
    let one_off = it.record.one_off.as_ref()?;
    let over = it.record.state.is_over();
    match share.record.intent {
        Intent::Forget { volumes } => slot::clear(it, volumes, needed),
        Intent::Run | Intent::Stop | Intent::Remove { .. } if it.busy => None,
        Intent::Run | Intent::Stop | Intent::Remove { .. } if over => {
            one_off.remove.then(|| slot::clear(it, true, false)).flatten()
        }
        Intent::Run | Intent::Stop | Intent::Remove { .. } => {
            let pending = it.record.state == ContainerState::Pending && !it.resting;
            let waits = it.held_back && it.record.runtime_id.is_some();
            let blocked = blocked.filter(|_| !one_off.no_deps).map(|it| &it.waiting);
            (pending && !waits).then(|| slot::begin(it, blocked, unmade))
        }
    }
}

fn replicas<'a>(share: &Share<'a>, which: impl Fn(&Instance<'a>) -> bool) -> Vec<Instance<'a>> {
    let replicas = share.instances.iter().filter(|it| it.record.one_off.is_none());
    replicas.filter(|it| which(it)).copied().collect()
}

/// The replicas by slot: looked through once, as a service may have hundreds.
fn by_slot<'a>(share: &Share<'a>) -> BTreeMap<Slot, Vec<Instance<'a>>> {
    let mut by_slot: BTreeMap<Slot, Vec<Instance<'a>>> = BTreeMap::new();
    for it in replicas(share, |_| true) {
        by_slot.entry(it.record.slot).or_default().push(it);
    }
    by_slot
}

/// How many more slots may begin a replacement: the update's parallelism less those in the middle
/// of one, or whose new container is not well yet.
fn replacements_free(share: &Share<'_>, by_slot: &BTreeMap<Slot, Vec<Instance<'_>>>) -> u32 {
    let parallelism = match share.spec.deploy.update.parallelism {
        0 => u32::MAX,
        some => some,
    };
    let restart = share.spec.deploy.restart;
    let in_flux = share.slots.iter().filter_map(|slot| by_slot.get(slot)).filter(|mine| {
        let current = mine.iter().find(|it| it.is_current(share.record, restart));
        current.is_some_and(|it| !(it.is_ready() || it.is_completed()))
    });
    parallelism.saturating_sub(u32::try_from(in_flux.count()).unwrap_or(u32::MAX))
}

/// Whether every container is as the user wants it.
fn is_ready(share: &Share<'_>) -> bool {
    let all = replicas(share, |_| true);
    match share.record.intent {
        Intent::Run => {
            let right = |it: &Instance<'_>| {
                it.is_current(share.record, share.spec.deploy.restart)
                    && (it.is_ready() || is_done(share, it))
                    && it.has_followed(share.record)
            };
            all.len() == share.slots.len() && all.iter().all(right)
        }
        Intent::Stop => {
            let kept =
                |it: &Instance<'_>| it.is_made_from(share.record) && it.record.runtime_id.is_some();
            let still = |it: &Instance<'_>| !it.alive && !it.busy && kept(it);
            all.len() == share.slots.len() && all.iter().all(still)
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
    let current = |it: &Instance<'_>| it.is_made_from(share.record);
    if let Some(it) = replicas(share, |it| current(it) && lost(it)).first() {
        let reason = it.record.reason.clone().unwrap_or_else(|| "it failed".into());
        return Some(format!("{}: {reason}", it.record.name).into());
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
