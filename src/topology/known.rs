//! What is agreed, and what it comes to for one node: its mesh, who may speak to its containers, the ports that
//! it publishes, and the names that it answers.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use ipnet::IpNet;

use super::{
    Plan,
    addresses::gateway,
    mesh::{Mesh, Place, decided},
    zone::{Addresses, Facts, Host, NetworkName, Order, Replica, Service, ServicePort},
};
use crate::{
    model::{
        ContainerId, ContainerState, NodeId, ProjectName, ServiceKey,
        spec::{ContainerSpec, NetworkAttachment, NetworkMode, ProjectSpec, Protocol, ServiceSpec},
    },
    state::{ClusterState, ContainerRecord, NodeRecord},
};

/// What the topology of a node is made from, and what all that comes of it needs.
#[derive(Clone, Debug)]
pub struct Known<'a> {
    plan: Plan,
    me: NodeId,
    state: &'a ClusterState,
    projects: &'a BTreeMap<ProjectName, Arc<ProjectSpec>>,
    unreachable: &'a BTreeSet<NodeId>,
    mesh: Mesh,
    addresses: BTreeMap<ContainerId, Ipv4Addr>,
    fixed: BTreeMap<NetworkName, BTreeMap<IpAddr, Ipv4Addr>>,
    nodes: BTreeMap<NodeId, BTreeSet<Ipv4Addr>>,
}

/// Who may speak to whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Isolation {
    /// Everyone on each network that somebody here is on, on whichever node.
    pub networks: BTreeMap<NetworkName, BTreeSet<Ipv4Addr>>,
    /// This node's containers, and the networks that each is on.
    pub here: BTreeMap<Ipv4Addr, BTreeSet<NetworkName>>,
    /// Those of them that are to reach nothing outside: all their networks are internal.
    pub confined: BTreeSet<Ipv4Addr>,
    /// Addresses that a file gives to containers of these networks, and whose each is.
    pub fixed: BTreeMap<NetworkName, BTreeMap<IpAddr, Ipv4Addr>>,
    /// The nodes themselves, as their containers' gateways.
    pub nodes: BTreeSet<Ipv4Addr>,
}

/// How well a container stands to have an address that several are to have: the greatest has it.
type Standing = (bool, bool, bool, Reverse<ContainerId>);

/// The nodes as the mesh knows them.
#[must_use]
pub fn places(state: &ClusterState) -> Vec<Place> {
    let members = state.nodes().iter().filter(|(id, _)| !state.has_left(**id));
    let place = |(id, it): (&NodeId, &Arc<NodeRecord>)| {
        let Some(mesh) = &it.mesh else { return Place::new(*id) };
        Place {
            id: *id,
            key: Some(mesh.key),
            endpoints: mesh.endpoints.clone(),
            heard: mesh.heard.clone(),
            missed: mesh.missed.clone(),
            claims: mesh.claims.clone(),
        }
    };
    members.map(place).collect()
}

/// Whether others hear a node elsewhere than it tells: it is behind a NAT, where nobody reaches it first.
#[must_use]
pub fn is_translated(state: &ClusterState, node: NodeId) -> bool {
    let mut heard = state.nodes().iter().filter_map(|(_, it)| Some(&it.mesh.as_ref()?.heard));
    heard.any(|it| it.contains_key(&node))
}

impl<'a> Known<'a> {
    /// What node `me` makes of what is agreed, with the deployments' specs, and but for the members that it does
    /// not reach.
    #[must_use]
    pub fn new(
        plan: Plan,
        me: NodeId,
        state: &'a ClusterState,
        projects: &'a BTreeMap<ProjectName, Arc<ProjectSpec>>,
        unreachable: &'a BTreeSet<NodeId>,
    ) -> Self {
        let places = places(state);
        let blocks = decided(&plan, &places);
        let given = state.ip_allocations().filter_map(|it| {
            let (address, record) = (it.v4()?, state.container(it.container)?);
            // What is of another node's block is being given up.
            let mut theirs = blocks.of_node(record.node);
            theirs.any(|block| block.contains(&address)).then_some((it.container, address))
        });
        let gateways = |it: &Place| {
            // A claim that another has is being given up.
            let theirs = blocks.of_node(it.id).map(gateway);
            (it.id, theirs.collect::<BTreeSet<_>>())
        };
        let nodes = places.iter().map(gateways).collect();
        let mut known = Self {
            plan,
            me,
            state,
            projects,
            unreachable,
            mesh: Mesh::of(&plan, me, &places, unreachable),
            addresses: given.collect(),
            fixed: BTreeMap::new(),
            nodes,
        };
        known.fixed = known.all_fixed();
        known
    }

    /// The fixed addresses of all networks. Of several containers that are to have one, as while one takes the
    /// other's place, the one that is best off has it.
    fn all_fixed(&self) -> BTreeMap<NetworkName, BTreeMap<IpAddr, Ipv4Addr>> {
        let mut best: BTreeMap<(NetworkName, IpAddr), (Standing, Ipv4Addr)> = BTreeMap::new();
        for (id, address) in &self.addresses {
            let Some(record) = self.state.container(*id) else { continue };
            let Some(project) = self.projects.get(&record.service.project) else { continue };
            let Some(service) = project.services.get(&record.service.service) else { continue };
            let NetworkMode::Networks(wanted) = &service.container.network else { continue };
            for (key, attachment) in wanted {
                let Some(network) = project.networks.get(key) else { continue };
                let name = NetworkName(network.name.as_str().into());
                let standing = self.standing(*id, record);
                for fixed in [attachment.ipv4, attachment.ipv6].into_iter().flatten() {
                    let known = best.entry((name.clone(), fixed)).or_insert((standing, *address));
                    *known = (*known).max((standing, *address));
                }
            }
        }
        let mut all: BTreeMap<NetworkName, BTreeMap<IpAddr, Ipv4Addr>> = BTreeMap::new();
        for ((network, fixed), (_, address)) in best {
            all.entry(network).or_default().insert(fixed, address);
        }
        all
    }

    fn standing(&self, id: ContainerId, record: &ContainerRecord) -> Standing {
        let is_reachable = !self.unreachable.contains(&record.node);
        (is_reachable, is_well(record), record.state.is_up(), Reverse(id))
    }

    /// Where addresses come from.
    #[must_use]
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// This node's mesh.
    #[must_use]
    pub const fn mesh(&self) -> &Mesh {
        &self.mesh
    }

    /// The containers' addresses.
    #[must_use]
    pub const fn addresses(&self) -> &BTreeMap<ContainerId, Ipv4Addr> {
        &self.addresses
    }

    /// Who may speak to this node's containers.
    #[must_use]
    pub fn isolation(&self) -> Isolation {
        let nodes = self.nodes.values().flatten().copied().collect();
        let mut isolation = Isolation { nodes, ..Isolation::default() };
        let internal = self.internal();
        let mut members: BTreeMap<NetworkName, BTreeSet<Ipv4Addr>> = BTreeMap::new();
        for (id, address) in &self.addresses {
            let Some(record) = self.state.container(*id) else { continue };
            let networks: BTreeSet<NetworkName> = networks_of(record).collect();
            for network in &networks {
                members.entry(network.clone()).or_default().insert(*address);
            }
            if record.node != self.me {
                continue;
            }
            if networks.is_subset(&internal) {
                isolation.confined.insert(*address);
            }
            isolation.here.insert(*address, networks);
        }
        let mine: BTreeSet<&NetworkName> = isolation.here.values().flatten().collect();
        members.retain(|it, _| mine.contains(it));
        isolation.fixed = self.fixed.clone();
        isolation.fixed.retain(|it, _| mine.contains(it));
        isolation.networks = members;
        isolation
    }

    /// The networks with no way out.
    fn internal(&self) -> BTreeSet<NetworkName> {
        let networks = self.projects.values().flat_map(|it| it.networks.values());
        networks.filter(|it| it.internal).map(|it| NetworkName(it.name.as_str().into())).collect()
    }

    /// By which addresses packets from one node reach another through the mesh: the gateways of its blocks.
    #[must_use]
    pub const fn gateways(&self) -> &BTreeMap<NodeId, BTreeSet<Ipv4Addr>> {
        &self.nodes
    }

    pub(super) fn container(&self, id: ContainerId) -> Option<&ContainerRecord> {
        self.state.container(id).map(|it| &**it)
    }

    pub(super) fn service(&self, key: &ServiceKey) -> Option<&ServiceSpec> {
        self.projects.get(&key.project)?.services.get(&key.service)
    }

    pub(super) fn reaches(&self, node: NodeId) -> bool {
        !self.unreachable.contains(&node)
    }

    /// What this node's zone is made from.
    #[must_use]
    pub fn facts(&self, order: Order) -> Facts {
        let own = self.mesh.gateways.iter().map(IpNet::addr).collect();
        let members = self.state.nodes().iter().filter(|(id, _)| !self.state.has_left(**id));
        let host = |(id, it): (&NodeId, &Arc<NodeRecord>)| Host {
            id: *id,
            name: it.name.clone(),
            addresses: [IpAddr::V6(self.plan.of_node(*id))].into(),
        };
        Facts {
            here: self.me,
            own,
            ranges: vec![self.plan.overlay().into(), self.plan.local().into()],
            order,
            internal: self.internal(),
            hosts: members.filter(|(_, it)| it.mesh.is_some()).map(host).collect(),
            services: self.services(),
            replicas: self.replicas(),
        }
    }

    fn services(&self) -> Vec<Service> {
        let mut services = vec![];
        for (project, spec) in self.projects {
            let spans = self.state.deployments().get(project).is_some_and(|it| it.overlay);
            for (name, service) in spec.services.iter().filter(|_| spans) {
                let NetworkMode::Networks(wanted) = &service.container.network else { continue };
                let network = |(key, it): (&String, &NetworkAttachment)| {
                    let name = NetworkName(spec.networks.get(key)?.name.as_str().into());
                    Some((name, it.aliases.iter().cloned().collect()))
                };
                let networks = wanted.iter().filter_map(network).collect();
                let resolvers = self.resolvers(&service.container, &networks);
                let links = service.container.links.iter();
                services.push(Service {
                    key: ServiceKey { project: project.clone(), service: name.clone() },
                    networks,
                    links: links.map(|(to, name)| (name.clone(), to.clone())).collect(),
                    resolvers,
                    ports: ports_of(service),
                });
            }
        }
        services
    }

    /// Whom a service has asked, by addresses that lead there from any node.
    fn resolvers(
        &self,
        spec: &ContainerSpec,
        networks: &BTreeMap<NetworkName, BTreeSet<String>>,
    ) -> Vec<IpAddr> {
        let fixed = |it: IpAddr| {
            let mut known = networks.keys().filter_map(|name| self.fixed.get(name)?.get(&it));
            known.next().map_or(it, |it| IpAddr::V4(*it))
        };
        spec.dns.iter().filter_map(|it| it.parse().ok()).map(fixed).collect()
    }

    fn replicas(&self) -> Vec<Replica> {
        let replica = |(id, v4): (&ContainerId, &Ipv4Addr)| {
            let record = self.state.container(*id)?;
            let addresses = Addresses { v4: Some(*v4), v6: Some(self.plan.v6(*v4)) };
            Some(Replica {
                key: record.service.clone(),
                slot: record.one_off.is_none().then_some(record.slot),
                name: record.name.clone(),
                node: record.node,
                networks: networks_of(record).map(|it| (it, addresses)).collect(),
                healthy: is_well(record),
                reachable: !self.unreachable.contains(&record.node),
            })
        };
        self.addresses.iter().filter_map(replica).collect()
    }
}

/// The networks that a container is on, as its node wrote them.
fn networks_of(record: &ContainerRecord) -> impl Iterator<Item = NetworkName> + '_ {
    record.addresses.keys().map(|it| NetworkName(it.as_str().into()))
}

/// Whether it runs and goes on, and its health check, if there is one, says that it is well.
pub(super) fn is_well(record: &ContainerRecord) -> bool {
    match record.state {
        _ if record.is_leaving() => false,
        ContainerState::Running => !record.checked,
        ContainerState::Healthy => true,
        ContainerState::Pending
        | ContainerState::Unhealthy
        | ContainerState::Stopped
        | ContainerState::Failed => false,
    }
}

/// The ports that SRV names lead to: those that are published, and those that are only told of.
fn ports_of(service: &ServiceSpec) -> Vec<ServicePort> {
    let mut ports: BTreeSet<ServicePort> = BTreeSet::new();
    for it in &service.container.ports {
        let protocol = it.protocol.name();
        ports.insert(ServicePort { name: it.name.clone(), number: it.target, protocol });
    }
    for text in &service.container.expose {
        let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let protocol = Protocol::named(protocol).unwrap_or_default().name();
        // A range has no number of its own.
        let Ok(number) = number.parse() else { continue };
        if ports.iter().all(|it| (it.number, it.protocol) != (number, protocol)) {
            ports.insert(ServicePort { name: None, number, protocol });
        }
    }
    ports.into_iter().collect()
}
