//! Who waits for whom within a project.

use std::sync::Arc;

use super::{Project, Share};
use crate::{
    model::{
        ContainerState, ServiceName,
        spec::{Condition, NamespaceMode, NetworkMode, RestartCondition, ServiceSpec},
    },
    state::Intent,
};

/// How a service stands towards those that wait for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The condition holds.
    Met,
    /// Not yet: for this.
    Waiting(Arc<str>),
    /// It will not hold without help, for this reason.
    Broken(Arc<str>),
}

/// Why a service's containers do not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blocked {
    /// What they wait for: `db to be healthy`.
    pub(super) waiting: Arc<str>,
    /// It will not come about without help.
    pub(super) broken: bool,
}

/// What keeps a service from starting, if anything.
pub(super) fn blocked(project: &Project<'_>, spec: &ServiceSpec) -> Option<Blocked> {
    let mut waiting = None;
    for (name, dependency) in &spec.depends_on {
        let standing = match project.get(name) {
            Some(share) => standing(name, share, dependency.condition),
            None if dependency.required => {
                Standing::Broken(format!("{name}, which is not deployed").into())
            }
            None => Standing::Met,
        };
        match standing {
            Standing::Met => {}
            Standing::Broken(_) if !dependency.required => {}
            Standing::Broken(waiting) => return Some(Blocked { waiting, broken: true }),
            Standing::Waiting(what) => waiting = Some(Blocked { waiting: what, broken: false }),
        }
    }
    waiting.or_else(|| unmade_peer(project, spec))
}

/// Namespaces and volumes can be shared only with containers that are there.
fn unmade_peer(project: &Project<'_>, spec: &ServiceSpec) -> Option<Blocked> {
    let made = |name: &ServiceName| {
        let share = project.get(name)?;
        let running = share.instances.iter().any(|it| it.alive);
        (!running).then(|| Blocked { waiting: format!("{name} to run").into(), broken: false })
    };
    peers(spec).iter().find_map(made)
}

/// The services whose namespaces or volumes a service's containers share.
#[must_use]
pub fn peers(spec: &ServiceSpec) -> Vec<ServiceName> {
    let container = &spec.container;
    let mut peers = vec![];
    if let NetworkMode::Service(name) = &container.network {
        peers.push(name.clone());
    }
    for mode in [&container.security.ipc, &container.security.pid] {
        if let Some(NamespaceMode::Service(name)) = mode {
            peers.push(name.clone());
        }
    }
    for entry in &container.volumes_from {
        let name = entry.strip_prefix("service:").unwrap_or(entry);
        if !name.starts_with("container:") {
            peers.extend(name.split(':').next().and_then(|it| it.parse().ok()));
        }
    }
    peers
}

/// How a service stands towards a condition.
fn standing(name: &ServiceName, share: &Share<'_>, condition: Condition) -> Standing {
    let wait = match condition {
        Condition::Started => format!("{name} to start"),
        Condition::Healthy => format!("{name} to be healthy"),
        Condition::Completed => format!("{name} to complete"),
    };
    let restart = share.spec.deploy.restart.condition;
    let mut met = 0;
    for it in share.instances.iter().filter(|it| it.record.one_off.is_none()) {
        let (state, code) = (it.record.state, it.record.exit_code);
        // One that is about to be replaced or run again says nothing of how that will end.
        let current = it.is_current(share.record, restart)
            && share.record.restarts <= it.record.restarts
            && (state.is_up() || share.record.starts <= it.record.starts);
        if !current {
            continue;
        }
        let holds = match condition {
            Condition::Started => state.is_up() || it.is_completed(),
            Condition::Healthy if state == ContainerState::Running && !it.checked => {
                let why = format!("{name} to be healthy, but it has no health check");
                return Standing::Broken(why.into());
            }
            Condition::Healthy => state == ContainerState::Healthy,
            Condition::Completed => it.is_completed(),
        };
        let ended = state == ContainerState::Failed
            || (state == ContainerState::Stopped && condition == Condition::Healthy);
        if holds {
            met += 1;
        } else if ended && !it.busy && !comes_back(share) {
            let code = code.map(|it| format!(" with status {it}")).unwrap_or_default();
            return Standing::Broken(format!("{wait}, but it ended{code}").into());
        }
    }
    if share.slots.len() <= met {
        return Standing::Met;
    }
    if share.record.intent != Intent::Run {
        return Standing::Broken(format!("{wait}, but it is stopped").into());
    }
    Standing::Waiting(wait.into())
}

/// Whether a service's failed containers are tried again.
fn comes_back(share: &Share<'_>) -> bool {
    let restart = share.spec.deploy.restart;
    let tries = |it: &super::Instance<'_>| {
        let left = restart.attempts_max.is_none_or(|max| it.record.attempts < max);
        let asked = it.record.starts < share.record.starts;
        asked
            || match restart.condition {
                RestartCondition::Never => false,
                RestartCondition::Unset => it.record.given_up,
                RestartCondition::OnFailure | RestartCondition::Always => left && !it.record.held,
            }
    };
    share.instances.iter().all(tries)
}

/// Whether containers of services that depend on `name`, and are to go as well, still run: they go
/// first.
pub(super) fn needed(project: &Project<'_>, name: &ServiceName) -> bool {
    project.values().any(|other| {
        let depends = other.spec.depends_on.contains_key(name) || peers(other.spec).contains(name);
        let going = other.record.intent != Intent::Run;
        depends && going && other.instances.iter().any(|it| it.alive)
    })
}
