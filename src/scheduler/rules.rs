//! The rules of one service, worked out once from its definition.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    objection::Objection,
    site::{Place, architecture},
    usage::{Charge, HostPort},
};
use crate::model::{
    ServiceKey, ServiceName,
    spec::{
        Constraint, MountKind, NodeFact, PartitionMode, ProjectSpec, PublishedPorts,
        ResourceLimits, ServiceSpec, is_on_one_node,
    },
};

/// Where one service may run, and what a container of it takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    pub(super) constraints: Vec<Constraint>,
    /// Node labels that must be equal.
    pub(super) labels: BTreeMap<String, String>,
    /// Names of nodes; none is any.
    pub(super) nodes: Vec<String>,
    pub(super) platform: Platform,
    /// Labels to spread over.
    pub(super) spread: Vec<String>,
    pub(super) per_node_max: Option<u32>,
    /// Services that must be on the same node.
    pub(super) near: Vec<ServiceKey>,
    /// Services that must not be.
    pub(super) apart: Vec<ServiceKey>,
    /// Services that would have to leave its nodes.
    pub(super) shunned_by: Vec<ServiceKey>,
    charge: Arc<Charge>,
    /// Volumes that are on one node only, by their names in the runtime.
    pub(super) volumes: Vec<String>,
    /// Volumes that some nodes may have already.
    pub(super) external: Vec<String>,
    partition: Option<PartitionMode>,
}

/// The operating system and the architecture that are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Platform {
    os: Option<String>,
    /// As Docker names it.
    architecture: Option<String>,
    text: String,
}

impl Rules {
    /// The rules of a service of a project.
    #[must_use]
    pub fn of(spec: &ServiceSpec, project: &ProjectSpec) -> Self {
        let key = |service: &ServiceName| ServiceKey {
            project: project.name.clone(),
            service: service.clone(),
        };
        let placement = &spec.deploy.placement;
        let shuns = |of: &ServiceSpec, whom: &ServiceName| {
            of.extension.affinities.iter().any(|it| !it.near && it.service == *whom)
        };
        let others = || project.services.values().filter(|it| it.name != spec.name);
        let alone = shuns(spec, &spec.name).then_some(1);
        Self {
            constraints: placement.constraints.clone(),
            labels: spec.extension.node_labels.clone(),
            nodes: spec.extension.nodes.clone(),
            platform: Platform::of(spec.container.platform.as_deref()),
            spread: placement.spread.iter().map(|it| it.0.clone()).collect(),
            per_node_max: placement.per_node_max.into_iter().chain(alone).min(),
            near: near(&spec.name, project).iter().map(key).collect(),
            apart: others().map(|it| &it.name).filter(|it| shuns(spec, it)).map(key).collect(),
            shunned_by: others()
                .filter(|it| shuns(it, &spec.name))
                .map(|it| key(&it.name))
                .collect(),
            charge: Arc::new(charge(spec)),
            volumes: volumes(spec, project, false),
            external: volumes(spec, project, true),
            partition: spec.extension.partition.or(project.extension.partition),
        }
    }

    /// What one container takes of its node.
    #[must_use]
    pub fn charge(&self) -> &Arc<Charge> {
        &self.charge
    }

    /// What the file says about partitions, if anything.
    #[must_use]
    pub fn partition(&self) -> Option<PartitionMode> {
        self.partition
    }

    /// The volumes that it makes and that only one node will have, by their names in the runtime.
    pub fn volumes(&self) -> impl Iterator<Item = &str> {
        self.volumes.iter().map(String::as_str)
    }

    /// The volumes that tie the service to the nodes that have them.
    pub fn ties(&self) -> impl Iterator<Item = &String> {
        self.volumes.iter().chain(&self.external)
    }

    /// Whether a dead node that has one of its volumes keeps the service from running elsewhere.
    pub(super) fn waits_for_the_dead(&self) -> bool {
        self.partition != Some(PartitionMode::Available)
    }

    /// What speaks against a node whatever runs there.
    pub(super) fn breaches<'a>(&'a self, place: &'a Place) -> impl Iterator<Item = Breach<'a>> {
        let runtime = (!place.site.runtime).then_some(Breach::Runtime);
        let platform = (!self.platform.runs_on(place)).then_some(Breach::Platform);
        let named = self.nodes.is_empty() || self.nodes.contains(&place.site.name);
        let name = (!named).then_some(Breach::Name);
        let labels =
            self.labels.iter().filter(|(key, value)| place.site.labels.get(*key) != Some(value));
        let constraints = self.constraints.iter().filter(|it| !holds(it, place));
        runtime
            .into_iter()
            .chain(platform)
            .chain(name)
            .chain(labels.map(|(key, value)| Breach::Label(key, value)))
            .chain(constraints.map(Breach::Constraint))
    }
}

/// What speaks against a node whatever runs there, as long as nobody asks.
#[derive(Clone, Copy)]
pub(super) enum Breach<'a> {
    Runtime,
    Platform,
    Name,
    Label(&'a str, &'a str),
    Constraint(&'a Constraint),
}

impl Breach<'_> {
    /// In words that last.
    pub(super) fn objection(self, rules: &Rules, place: &Place) -> Objection {
        let has = |label: &str| place.site.labels.get(label).cloned();
        match self {
            Self::Runtime => Objection::NoRuntime,
            Self::Platform => Objection::Platform {
                asked: rules.platform.text.clone(),
                has: format!("linux/{}", place.architecture),
            },
            Self::Name => Objection::Name { allowed: rules.nodes.clone() },
            Self::Label(label, wanted) => Objection::Label {
                label: label.to_owned(),
                has: has(label),
                wanted: wanted.to_owned(),
            },
            Self::Constraint(constraint) => Objection::Constraint {
                constraint: constraint.clone(),
                has: match &constraint.fact {
                    NodeFact::Id => Some(place.site.id.to_string()),
                    NodeFact::Hostname => Some(place.site.name.clone()),
                    NodeFact::Role => Some("manager and worker".to_owned()),
                    NodeFact::Os => Some("linux".to_owned()),
                    NodeFact::Architecture => Some(place.architecture.clone()),
                    NodeFact::Label(label) => has(label),
                    NodeFact::Unknown(_) => None,
                },
            },
        }
    }
}

/// Whether a constraint holds on a node. swarmkit compares without regard to case; what it does not
/// know never holds.
fn holds(constraint: &Constraint, place: &Place) -> bool {
    let Constraint { fact, equal, value } = constraint;
    let is = |text: &str| text.eq_ignore_ascii_case(value);
    let found = match fact {
        NodeFact::Id => is(&place.site.id.to_string()) || is(&place.site.id.short()),
        NodeFact::Hostname => is(&place.site.name),
        NodeFact::Role => is("manager") || is("worker"),
        NodeFact::Os => is("linux"),
        NodeFact::Architecture => architecture(value) == place.architecture,
        NodeFact::Label(label) => place.site.labels.get(label).is_some_and(|it| is(it)),
        NodeFact::Unknown(_) => return false,
    };
    found == *equal
}

impl Platform {
    /// `os`, `architecture`, `os/architecture` or `os/architecture/variant`.
    fn of(text: Option<&str>) -> Self {
        let Some(text) = text else { return Self::default() };
        let lower = text.to_ascii_lowercase();
        let parts: Vec<&str> = lower.split('/').collect();
        let (os, arch) = match parts[..] {
            [one] if ["linux", "windows", "darwin", "freebsd"].contains(&one) => (Some(one), None),
            [one] => (None, Some(one)),
            [os, arch, ..] => (Some(os), Some(arch)),
            [] => (None, None),
        };
        let os = os.map(str::to_owned);
        Self { os, architecture: arch.map(architecture), text: text.to_owned() }
    }

    /// Whether a node runs it by itself. 64-bit machines run their 32-bit kin's programs, as
    /// containerd takes it (`platforms.Only`).
    fn runs_on(&self, place: &Place) -> bool {
        let Some(asked) = &self.architecture else { return self.is_linux() };
        let has = place.architecture.as_str();
        let kin = matches!((has, asked.as_str()), ("arm64", "arm") | ("amd64", "386"));
        self.is_linux() && (has.is_empty() || has == asked || kin)
    }

    fn is_linux(&self) -> bool {
        self.os.as_ref().is_none_or(|it| it == "linux")
    }
}

/// The order in which to place services: first what others are to be near to or away from, else by
/// name.
#[must_use]
pub fn turns<'a>(
    services: impl IntoIterator<Item = (&'a ServiceKey, &'a Rules)>,
) -> Vec<&'a ServiceKey> {
    let services: BTreeMap<&ServiceKey, &Rules> = services.into_iter().collect();
    let (mut turns, mut seen) = (Vec::new(), BTreeSet::new());
    for first in services.keys() {
        // A service is entered twice: with it what goes before it, and then it itself.
        let mut open = vec![(*first, false)];
        while let Some((key, is_ready)) = open.pop() {
            if is_ready {
                turns.push(key);
            } else if let Some((key, rules)) =
                services.get_key_value(key).filter(|_| seen.insert(key))
            {
                open.push((key, true));
                open.extend(rules.near.iter().chain(&rules.apart).rev().map(|it| (it, false)));
            }
        }
    }
    turns
}

/// Services whose nodes it must be on. Those that are near one another in a circle gather around the
/// first of them by name, as else each would wait for the next.
fn near(name: &ServiceName, project: &ProjectSpec) -> BTreeSet<ServiceName> {
    let direct = named_near(name, project);
    if direct.is_empty() {
        return direct;
    }
    let reach = |from: &ServiceName| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from.clone()]);
        while let Some(next) = open.pop() {
            let further = named_near(&next, project);
            open.extend(further.into_iter().filter(|it| seen.insert(it.clone())));
        }
        seen
    };
    let reached = reach(name);
    let circle: BTreeSet<ServiceName> =
        reached.into_iter().filter(|it| reach(it).contains(name)).collect();
    let mut near: BTreeSet<_> = direct.into_iter().filter(|it| !circle.contains(it)).collect();
    near.extend(circle.first().filter(|it| *it != name).cloned());
    near
}

fn named_near(name: &ServiceName, project: &ProjectSpec) -> BTreeSet<ServiceName> {
    let spec = project.services.get(name);
    let affinities = spec.into_iter().flat_map(|it| &it.extension.affinities);
    let exists = |it: &ServiceName| project.services.contains_key(it);
    affinities.filter(|it| it.near).map(|it| it.service.clone()).filter(exists).collect()
}

const NANOS_A_MILLI: u64 = 1_000_000;

/// Only what is reserved counts: limits say what a container may take, not what it needs.
fn charge(spec: &ServiceSpec) -> Charge {
    let ResourceLimits { reserved_nano_cpus, reserved_memory_bytes, .. } = spec.container.resources;
    let fixed = spec.container.ports.iter().filter_map(|it| {
        let port = match it.published {
            PublishedPorts::One(port) => port,
            PublishedPorts::Range(first, last) if first == last => first,
            PublishedPorts::Range(..) | PublishedPorts::Any => return None,
        };
        Some(HostPort { address: it.host_ip, port, protocol: it.protocol })
    });
    Charge {
        cpus_milli: reserved_nano_cpus.unwrap_or(0).div_ceil(NANOS_A_MILLI),
        memory_bytes: reserved_memory_bytes.unwrap_or(0),
        ports: fixed.collect::<BTreeSet<_>>().into_iter().collect(),
    }
}

/// The service's volumes that only one node has; those that are there before the project, or those that
/// it makes. Of the former nobody knows what they are but the nodes, which tell only of local ones.
fn volumes(spec: &ServiceSpec, project: &ProjectSpec, external: bool) -> Vec<String> {
    let named = spec.container.mounts.iter().filter_map(|mount| match &mount.kind {
        MountKind::Volume { name, .. } => name.as_ref(),
        MountKind::Bind(_) | MountKind::Tmpfs { .. } | MountKind::Image { .. } => None,
    });
    let volumes = named.filter_map(|it| project.volumes.get(it));
    let local = volumes.filter(|it| {
        it.external == external && is_on_one_node(it.driver.as_deref(), &it.driver_options)
    });
    local.map(|it| it.name.clone()).collect::<BTreeSet<_>>().into_iter().collect()
}
