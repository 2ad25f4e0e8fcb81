//! A container runtime that obeys at once.

use std::collections::BTreeMap;

use fizz::{
    model::{ContainerId, ImageId, Observed, RuntimeId, RuntimeState, WallTime},
    node::{Effect, Event, Launch, ProbeResult, Sight},
};

type Containers = BTreeMap<RuntimeId, Observed>;

/// Does what a node wants done to its containers; what it is to hear of that.
pub(crate) fn obey(all: &mut Containers, effect: Effect, now: WallTime) -> Option<Event> {
    let finished = |container, all: &Containers| {
        let there = all.values().find(|it| it.container == container).cloned().map(Box::new);
        let sight = Sight { container: there, image_health: None };
        Some(Event::Finished(container, Ok(()), Some(sight)))
    };
    match effect {
        Effect::Launch(launch) if launch.no_start => {
            let id = RuntimeId(format!("{}", launch.container).into());
            all.entry(id.clone()).or_insert_with(|| made(id, &launch, now));
            finished(launch.container, all)
        }
        Effect::Launch(launch) | Effect::Start(launch) => {
            let id = RuntimeId(format!("{}", launch.container).into());
            let state = RuntimeState::Running { since: now, paused: false };
            all.entry(id.clone()).or_insert_with(|| made(id, &launch, now)).state = state;
            finished(launch.container, all)
        }
        Effect::Halt { container, .. } => {
            end(all, container, now);
            finished(container, all)
        }
        Effect::Signal { container, .. } | Effect::Look(container, _) => {
            let there = all.values().find(|it| it.container == container).cloned().map(Box::new);
            Some(Event::Seen(container, Sight { container: there, image_health: None }))
        }
        Effect::Discard { container, .. } => {
            all.retain(|_, it| it.container != container);
            finished(container, all)
        }
        Effect::Clear { project, .. } => Some(Event::Cleared(project, Ok(()))),
        Effect::Probe { container, .. } => {
            let result = ProbeResult { passed: true, output: "ok".into() };
            Some(Event::Probed(container, Some(result)))
        }
        Effect::Persist(_)
        | Effect::Reply(..)
        | Effect::Notify(_)
        | Effect::Send { .. }
        | Effect::Fetch(_)
        | Effect::Unwrap(..)
        | Effect::Place { .. }
        | Effect::Wrap(..)
        | Effect::Gone => None,
    }
}

fn end(all: &mut Containers, container: ContainerId, at: WallTime) {
    for it in all.values_mut().filter(|it| it.container == container) {
        it.state = RuntimeState::Exited { code: 143, oom_killed: false, at };
    }
}

pub(crate) fn made(id: RuntimeId, launch: &Launch, now: WallTime) -> Observed {
    Observed {
        command: String::new(),
        runtime_id: id,
        name: launch.name.to_string(),
        container: launch.container,
        project: launch.service.project.clone(),
        service: launch.service.service.clone(),
        slot: launch.slot,
        revision: launch.revision,
        one_off: launch.one_off,
        image: ImageId(format!("sha256:{}", launch.spec.image).into()),
        state: RuntimeState::Created,
        created: now,
        addresses: BTreeMap::new(),
        ports: vec![],
        shares: vec![],
    }
}
