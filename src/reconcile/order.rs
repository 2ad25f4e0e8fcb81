//! Who waits for whom within a project.

use std::{collections::BTreeSet, sync::Arc};

use super::{Instance, Project, Share, slot};
use crate::{
    model::{
        ContainerState, ServiceName,
        spec::{Condition, NamespaceMode, NetworkMode, ServiceSpec},
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
        let standing = match project.services.get(name) {
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
    waiting.or_else(|| idle_peer(project, spec))
}

/// Namespaces can be entered only while their container runs.
fn idle_peer(project: &Project<'_>, spec: &ServiceSpec) -> Option<Blocked> {
    let idle = |name: &ServiceName| {
        let share = project.services.get(name)?;
        let running = share.instances.iter().any(|it| it.alive && it.record.node == project.me);
        (!running).then(|| Blocked { waiting: format!("{name} to run").into(), broken: false })
    };
    peers(spec).iter().find_map(idle)
}

/// What keeps a service's containers even from being made: they name those whose namespaces or volumes
/// they share.
pub(super) fn unmade_peer(project: &Project<'_>, spec: &ServiceSpec) -> Option<Arc<str>> {
    let unmade = |name: &ServiceName| {
        let share = project.services.get(name)?;
        let made = share
            .instances
            .iter()
            .filter(|it| it.record.node == project.me)
            .any(|it| it.record.one_off.is_none() && it.record.runtime_id.is_some());
        (!made).then(|| format!("{name} to be made").into())
    };
    peers(spec).iter().find_map(unmade)
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

/// Whether a service's containers share namespaces with a container that is no service's.
#[must_use]
pub fn enters_foreign(spec: &ServiceSpec) -> bool {
    let security = &spec.container.security;
    matches!(spec.container.network, NetworkMode::Container(_))
        || [&security.ipc, &security.pid]
            .iter()
            .any(|it| matches!(it, Some(NamespaceMode::Container(_))))
}

/// How a service stands towards a condition.
fn standing(name: &ServiceName, share: &Share<'_>, condition: Condition) -> Standing {
    let wait = match condition {
        Condition::Started => format!("{name} to start"),
        Condition::Healthy => format!("{name} to be healthy"),
        Condition::Completed => format!("{name} to complete"),
    };
    let restart = share.spec.deploy.restart;
    if share.spec.extension.cron.is_some() {
        // It is there as soon as it waits for its time; complete it is once a run of it is.
        let holds = match condition {
            Condition::Started => true,
            Condition::Healthy | Condition::Completed => {
                share.instances.iter().any(Instance::is_completed)
            }
        };
        return if holds { Standing::Met } else { Standing::Waiting(wait.into()) };
    }
    let mut met = 0;
    // What is about to be replaced or started again says nothing of what comes after it.
    let current = share.instances.iter().filter(|it| {
        it.record.one_off.is_none()
            && share.has_post(it.record)
            && it.is_current(&share.record.template, restart)
            && it.has_followed(share.record)
    });
    for it in current {
        let (state, code) = (it.record.state, it.record.exit_code);
        let up = state.is_up() && it.alive;
        let holds = match condition {
            Condition::Started => up || it.is_completed(),
            Condition::Healthy if up && state == ContainerState::Running && !it.checked => {
                let why = format!("{name} to be healthy, but it has no health check");
                return Standing::Broken(why.into());
            }
            Condition::Healthy => up && state == ContainerState::Healthy,
            Condition::Completed => it.is_completed(),
        };
        if holds {
            met += 1;
        } else if slot::is_final(it, share.record, restart) {
            let code = code.map(|it| format!(" with status {it}")).unwrap_or_default();
            return Standing::Broken(format!("{wait}, but it ended{code}").into());
        }
    }
    if share.unplaced.is_empty() && share.posts.len() <= met {
        return Standing::Met;
    }
    if share.record.intent != Intent::Run {
        return Standing::Broken(format!("{wait}, but it is stopped").into());
    }
    Standing::Waiting(wait.into())
}

/// Whether containers of services that depend on `name`, and are to go as well, still run: they go
/// first. Services that came to need each other do not wait for each other.
pub(super) fn needed(project: &Project<'_>, name: &ServiceName) -> bool {
    let runs = |share: &Share<'_>| {
        let one_offs = match share.record.intent {
            Intent::Run => return false,
            Intent::Stop | Intent::Remove { .. } => false,
            Intent::Forget { .. } => true,
        };
        share.instances.iter().any(|it| it.alive && (one_offs || it.record.one_off.is_none()))
    };
    project.services.iter().any(|(other, share)| {
        runs(share) && needs(share).contains(name) && !reaches(project, name, other)
    })
}

/// What a service waits for or shares with.
fn needs(share: &Share<'_>) -> Vec<ServiceName> {
    let mut needs = peers(share.spec);
    needs.extend(share.spec.depends_on.keys().cloned());
    needs
}

/// Whether a service needs another, by whatever others.
fn reaches(project: &Project<'_>, from: &ServiceName, to: &ServiceName) -> bool {
    let mut seen = BTreeSet::new();
    let mut open = vec![from.clone()];
    while let Some(name) = open.pop() {
        if name == *to {
            return true;
        }
        if let Some(share) = project.services.get(&name).filter(|_| seen.insert(name)) {
            open.extend(needs(share));
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use super::*;
    use crate::compose::{decode, json, problem::Problems};
    use crate::model::NodeId;

    fn services(services: &Value) -> Vec<ServiceSpec> {
        let model = json!({"name": "shop", "services": services});
        let project = decode::part(&json::to_tree(&model), &mut Problems::default()).unwrap();
        project.services.into_values().collect()
    }

    #[test]
    fn peers_are_those_whose_namespaces_or_volumes_are_shared() {
        let spec = services(&json!({"web": {
            "image": "web", "network_mode": "service:vpn", "ipc": "service:shm", "pid": "host",
            "volumes_from": ["service:data:ro", "other", "container:foreign"],
        }}));
        let names: Vec<String> = peers(&spec[0]).iter().map(ToString::to_string).collect();
        assert_eq!(names, ["vpn", "shm", "data", "other"]);
        assert!(!enters_foreign(&spec[0]));
        let foreign = json!({"web": {"image": "web", "pid": "container:foreign"}});
        assert!(enters_foreign(&services(&foreign)[0]));
    }

    #[test]
    fn what_is_required_and_not_deployed_is_waited_for_in_vain_and_what_is_not_required_is_not() {
        let on = |required: bool| {
            let depends = json!({"db": {"condition": "service_started", "required": required}});
            services(&json!({"web": {"image": "web", "depends_on": depends}})).remove(0)
        };
        let nothing = Project { me: NodeId(1), services: BTreeMap::new() };
        let blocked = blocked(&nothing, &on(true)).unwrap();
        assert_eq!((&*blocked.waiting, blocked.broken), ("db, which is not deployed", true));
        assert_eq!(super::blocked(&nothing, &on(false)), None);
    }
}
