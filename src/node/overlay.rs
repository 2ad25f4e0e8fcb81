//! Addresses of the overlay: the blocks that this node claims, and what it gives of them to its containers.
//!
//! A node gives addresses of its own blocks only, and uses a block only once the others can have heard of its
//! claim. Where two halves of a cluster have claimed one block, [`Blocks`] says on every node who keeps it; the
//! other gives its containers new addresses, and they go on running.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    sync::Arc,
};

use ipnet::Ipv4Net;

use super::{Activity, Effect, Node, Now, Reception, Underlay, local::Local};
use crate::{
    gossip::Input,
    model::{
        ContainerId, Millis, Moment, NodeId, ObservedPort, Random, Slot,
        spec::{ContainerSpec, NetworkMode, PortSpec, ProjectSpec, PublishedPorts},
    },
    state::{Change, IpAllocation, MeshRecord, NodeRecord},
    topology::{self, Blocks, Plan, decided, places},
};

/// How long a claim is told of before it is used: a few rounds of gossip.
const CLAIM_SETTLES: Millis = Millis(1_000);

/// The ports of which one is chosen where a service names none (RFC 6335, section 6: the dynamic ones).
const ANY_FIRST: u16 = 49_152;
const ANY_LAST: u16 = 65_535;

/// What a container waits for that gets none.
const NO_ADDRESS: &str = "an address of the overlay";

/// This node's part in the overlay.
#[derive(Debug)]
pub(super) struct Overlay {
    pub(super) plan: Plan,
    blocks: Blocks,
    /// Blocks that this node has just claimed, and when it may use them.
    ripening: BTreeMap<Ipv4Net, Moment>,
    /// A node's record has changed, so that the blocks are to be decided anew.
    pub(super) stale: bool,
    /// Containers have addresses that are not this node's to give.
    strays: bool,
}

impl Overlay {
    pub(super) fn new(plan: Plan) -> Self {
        Self {
            plan,
            blocks: Blocks::default(),
            ripening: BTreeMap::new(),
            stale: true,
            strays: false,
        }
    }

    /// The blocks that addresses may be given of now.
    fn usable(&self, me: NodeId, now: Moment) -> Vec<Ipv4Net> {
        let ripe = |it: &Ipv4Net| self.ripening.get(it).is_none_or(|at| *at <= now);
        self.blocks.of_node(me).filter(ripe).collect()
    }
}

impl Node {
    /// Whether networks can span the nodes: all of them are in the mesh.
    pub(super) fn is_meshed(&self) -> bool {
        self.why_not_meshed().is_none()
    }

    /// Why they cannot.
    pub(super) fn why_not_meshed(&self) -> Option<String> {
        if self.cluster.is_none() {
            return Some("this node is in no cluster, so that there is no mesh".to_owned());
        }
        if self.overlay.is_none() {
            return Some("`network.driver` is `bridge` here, so that there is no mesh".to_owned());
        }
        let mut members = self
            .state
            .nodes()
            .iter()
            .filter(|(id, it)| **id != self.me && it.is_member() && !self.state.has_left(**id));
        let (_, outside) = members.find(|(_, it)| it.mesh.is_none())?;
        Some(format!(
            "node `{}` is not in the mesh yet: its log says why, or `network.driver` is `bridge` there",
            outside.name
        ))
    }

    /// Sees to it that this node has a block, and that its containers have addresses of its blocks.
    pub(super) fn tend_overlay(&mut self, now: Now) {
        if !self.may_write() || self.state.has_left(self.me) {
            return;
        }
        let Some(overlay) = &mut self.overlay else { return };
        if overlay.stale {
            overlay.stale = false;
            overlay.blocks = decided(&overlay.plan, &places(&self.state));
            overlay.strays = true;
        }
        overlay.ripening.retain(|_, at| now.moment < *at);
        if overlay.blocks.of_node(self.me).next().is_none() {
            self.claim(now);
        }
        if self.overlay.as_ref().is_some_and(|it| it.strays) {
            self.take_back(now);
            self.renumber(now);
        }
    }

    /// How a container takes what this node leads to it. One that says nothing may be on a node that does not: that
    /// node is asked at once, and not only when its turn comes. Whether anything is to be settled.
    pub(super) fn received_so(&mut self, id: ContainerId, how: Reception, now: Now) -> bool {
        let Some(node) = self.state.container(id).map(|it| it.node) else { return false };
        let (state, reason) = match how {
            Reception::Open => ("open", None),
            Reception::Refused => ("refused", Some("it refused a connection")),
            Reception::Silent => ("silent", Some("it left a connection unanswered")),
        };
        if let Some(subject) = self.subject(id) {
            self.notify("ingress.state", subject, Some(state.to_owned()), reason.map(Into::into));
        }
        how == Reception::Silent && node != self.me && self.converse(Input::Doubt(node), now)
    }

    /// The network under the mesh is now like this.
    pub(super) fn moved(&mut self, to: Underlay) {
        let Underlay { address, key, endpoints, heard, missed } = to;
        self.facts.address = address;
        if let Some(mesh) = &mut self.facts.mesh {
            (mesh.key, mesh.endpoints, mesh.heard, mesh.missed) = (key, endpoints, heard, missed);
        }
    }

    /// Claims one more block.
    fn claim(&mut self, now: Now) {
        let alone = self.state.nodes().iter().all(|(id, _)| *id == self.me);
        let (Some(overlay), Some(mesh)) = (&mut self.overlay, &mut self.facts.mesh) else { return };
        let Some(block) = overlay.blocks.choose(&overlay.plan, self.me, &mut self.random) else {
            return;
        };
        mesh.claims.insert(block, now.wall);
        if !alone {
            overlay.ripening.insert(block, now.moment + CLAIM_SETTLES);
        }
        self.introduce(now);
        // It is the only claim to it that this node knows of.
        if let Some(overlay) = &mut self.overlay {
            overlay.stale = true;
        }
        self.tend_overlay(now);
    }

    /// Takes back what is given to containers that are no more, and gives up the blocks that others have, once
    /// nothing has an address of theirs.
    fn take_back(&mut self, now: Now) {
        let Some(overlay) = &self.overlay else { return };
        let mine = |it: &IpAllocation| {
            let mut blocks = overlay.blocks.of_node(self.me);
            it.v4().is_some_and(|it| blocks.any(|block| block.contains(&it)))
        };
        let gone = |it: &IpAllocation| self.state.container(it.container).is_none();
        let gone: Vec<_> = self.state.ip_allocations().filter(|it| mine(it) && gone(it)).collect();
        let used: BTreeSet<Ipv4Addr> = self.local.values().filter_map(|it| it.address).collect();
        let lost = overlay.blocks.lost_by(self.me);
        let lost: Vec<Ipv4Net> =
            lost.filter(|block| !used.iter().any(|it| block.contains(it))).collect();
        for it in gone {
            self.commit(Change::IpAllocation(it, None), now);
        }
        let known = self.state.nodes().get(&self.me).cloned();
        let (Some(mesh), Some(known)) = (&mut self.facts.mesh, known) else { return };
        let before = mesh.claims.len();
        mesh.claims.retain(|block, _| !lost.contains(block));
        if mesh.claims.len() < before {
            let record = NodeRecord { mesh: Some(mesh.clone()), ..(*known).clone() };
            self.commit(Change::Node(self.me, Some(Arc::new(record))), now);
        }
    }

    /// Gives new addresses to those whose block another has.
    fn renumber(&mut self, now: Now) {
        let Some(overlay) = &self.overlay else { return };
        let mine: Vec<Ipv4Net> = overlay.blocks.of_node(self.me).collect();
        let is_stray = |(id, it): (&ContainerId, &Local)| {
            let address = it.address?;
            (!mine.iter().any(|block| block.contains(&address))).then_some((*id, address))
        };
        let strays: Vec<_> = self.local.iter().filter_map(is_stray).collect();
        let mut left = false;
        for (id, old) in strays {
            if self.give_address(id, now) {
                let address = self.local.get(&id).and_then(|it| it.address);
                self.effects
                    .extend(address.map(|address| Effect::Place { container: id, address }));
                let taken = IpAllocation::of(old, id);
                self.commit(Change::IpAllocation(taken, None), now);
            } else {
                left = true;
            }
        }
        if let Some(overlay) = &mut self.overlay {
            overlay.strays = left;
        }
    }

    /// Whether a container may be made: it has an address, or needs none. Else it waits for one.
    pub(super) fn has_address(&mut self, id: ContainerId, now: Now) -> bool {
        let known = self.local.get(&id).is_some_and(|it| it.address.is_some());
        if known || !self.is_on_overlay(id) || self.give_address(id, now) {
            return true;
        }
        let local = self.local.entry(id).or_default();
        local.activity = Some(Activity::Waiting(NO_ADDRESS.into()));
        local.stalled_until = Some(now.moment + CLAIM_SETTLES);
        false
    }

    /// Whether a container that is yet to be made is to have an address of the overlay.
    fn is_on_overlay(&self, id: ContainerId) -> bool {
        let Some(record) = self.state.container(id).filter(|it| it.runtime_id.is_none()) else {
            return false;
        };
        let deployment = self.state.deployments().get(&record.service.project);
        self.overlay.is_some()
            && deployment.is_some_and(|it| it.overlay)
            && self.made_from(record).is_some_and(|it| !networks_of(it.0, &it.2).is_empty())
    }

    /// Gives a container an address of this node's blocks, in the place of one that it may have. Whether there
    /// was one to give; else this node claims another block.
    fn give_address(&mut self, id: ContainerId, now: Now) -> bool {
        let Some(overlay) = &self.overlay else { return false };
        let usable = overlay.usable(self.me, now.moment);
        let taken = self.state.ip_allocations();
        let taken = taken.filter_map(|it| Some((it.v4()?, it.container)));
        let taken = taken.filter(|(it, _)| usable.iter().any(|block| block.contains(it)));
        let taken: BTreeMap<Ipv4Addr, ContainerId> = taken.collect();
        let Some(address) = topology::allocate(&usable, &taken, id, &mut self.random) else {
            if overlay.ripening.is_empty() {
                self.claim(now);
            }
            return false;
        };
        let Some(record) = self.state.container(id).cloned() else { return false };
        let made = self.made_from(&record);
        let made = made.map(|(project, _, spec)| (networks_of(project, &spec), spec));
        let (networks, spec) = made.unwrap_or_default();
        // Where its ports are is decided once.
        let is_new = record.addresses.is_empty();
        let ports =
            if is_new { published_by(&spec, record.slot, &mut self.random) } else { vec![] };
        let given = IpAllocation::of(address, id);
        self.commit(Change::IpAllocation(given, Some(Arc::new(()))), now);
        self.amend(id, now, |record| {
            record.addresses = networks.into_iter().map(|it| (it, address.to_string())).collect();
            if is_new {
                record.ports = ports;
            }
        });
        self.local.entry(id).or_default().address = Some(address);
        true
    }

    /// A container is gone: its address is free.
    pub(super) fn release_address(&mut self, id: ContainerId, now: Now) {
        let Some(local) = self.local.get_mut(&id) else { return };
        let Some(address) = local.address.take() else { return };
        let taken = IpAllocation::of(address, id);
        self.commit(Change::IpAllocation(taken, None), now);
    }

    /// What containers of a member that is put out had.
    pub(super) fn release_addresses_of(&mut self, gone: &[ContainerId], now: Now) {
        let theirs = self.state.ip_allocations().filter(|it| gone.contains(&it.container));
        let theirs: Vec<IpAllocation> = theirs.collect();
        for it in theirs {
            self.commit(Change::IpAllocation(it, None), now);
        }
    }

    /// Which addresses this node's containers had before it was started.
    pub(super) fn recall_addresses(&mut self) {
        for it in self.state.ip_allocations() {
            let mine = self.state.container(it.container).is_some_and(|it| it.node == self.me);
            if mine {
                self.local.entry(it.container).or_default().address = it.v4();
            }
        }
    }

    /// This node's place in the mesh as it is to be written: with the claims that it made, whoever wrote its
    /// record last.
    pub(super) fn mesh_record(&self) -> Option<MeshRecord> {
        let mut mesh = self.facts.mesh.clone()?;
        let known = self.state.nodes().get(&self.me).and_then(|it| it.mesh.as_ref());
        for (block, since) in known.iter().flat_map(|it| &it.claims) {
            mesh.claims.entry(*block).or_insert(*since);
        }
        Some(mesh)
    }
}

/// The networks that a container is joined to, by the names that all projects know them by.
fn networks_of(project: &ProjectSpec, spec: &ContainerSpec) -> Vec<String> {
    let NetworkMode::Networks(wanted) = &spec.network else { return vec![] };
    let names = wanted.keys().filter_map(|it| project.networks.get(it));
    names.map(|it| it.name.clone()).collect()
}

/// The ports of all nodes that lead to a container. Of a range each replica has its own, in turn.
fn published_by(spec: &ContainerSpec, slot: Slot, random: &mut Random) -> Vec<ObservedPort> {
    let turn = slot.0.saturating_sub(1);
    let published = |it: &PortSpec| ObservedPort {
        protocol: it.protocol.name().to_owned(),
        target: it.target,
        host_ip: it.host_ip.map_or_else(|| "0.0.0.0".to_owned(), |it| it.to_string()),
        published: match it.published {
            PublishedPorts::One(port) => port,
            PublishedPorts::Range(first, last) => {
                let many = u32::from(last.saturating_sub(first)) + 1;
                first + u16::try_from(turn % many).unwrap_or(0)
            }
            PublishedPorts::Any => {
                let chosen = random.below(usize::from(ANY_LAST - ANY_FIRST) + 1);
                ANY_FIRST + u16::try_from(chosen).unwrap_or(0)
            }
        },
    };
    let mut ports: Vec<ObservedPort> = spec.ports.iter().map(published).collect();
    ports.sort();
    ports
}
