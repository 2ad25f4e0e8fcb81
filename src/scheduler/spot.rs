//! One node while a unit is being placed: what others have of it, and what the unit got so far.

use std::collections::BTreeMap;

use super::{
    objection::Objection,
    site::{Place, Sites, Standing},
    unit::{Count, Demand, Holder},
    usage::{HostPort, Share, Usage},
};
use crate::model::{NodeId, ServiceKey, Slot};

/// What all questions about services that are placed in one go have in common.
#[derive(Debug)]
pub(super) struct Scene<'a> {
    /// In the order of their names.
    pub(super) demands: Vec<&'a Demand<'a>>,
    /// Whether all must be on one node.
    pub(super) together: bool,
    pub(super) sites: &'a Sites,
    usage: &'a Usage,
    /// Whether any of them reserves anything; else nobody asks what is reserved.
    reserves: bool,
    /// What they have reserved by the usage.
    shares: Vec<&'a BTreeMap<NodeId, Share>>,
}

/// One node while a unit is being placed.
#[derive(Clone, Debug)]
pub(super) struct Spot<'a> {
    place: &'a Place,
    /// What others reserve and what the unit got.
    cpus_milli: u64,
    memory_bytes: u64,
    /// The host ports that the unit got, and whose they are.
    ports: Vec<(HostPort, &'a ServiceKey, Slot)>,
    /// How many containers of the service that is being placed it got.
    pub(super) count: u32,
}

impl<'a> Scene<'a> {
    pub(super) fn new(
        demands: Vec<&'a Demand<'a>>,
        together: bool,
        sites: &'a Sites,
        usage: &'a Usage,
    ) -> Self {
        let reserves = demands.iter().any(|it| it.rules.charge().reserves());
        let shares = match reserves {
            true => demands.iter().filter_map(|it| usage.of(it.service)).collect(),
            false => Vec::new(),
        };
        Self { demands, together, sites, usage, reserves, shares }
    }

    /// A node before anything of these is there. What they take by the usage does not count, as it is
    /// what is being placed.
    pub(super) fn spot(&self, index: usize) -> Spot<'a> {
        let place = &self.sites.places()[index];
        let id = place.site.id;
        let (mut cpus_milli, mut memory_bytes) = match self.reserves {
            true => self.usage.reserved(id),
            false => (0, 0),
        };
        for share in self.shares.iter().filter_map(|it| it.get(&id)) {
            cpus_milli = cpus_milli.saturating_sub(share.cpus_milli);
            memory_bytes = memory_bytes.saturating_sub(share.memory_bytes);
        }
        Spot { place, cpus_milli, memory_bytes, ports: Vec::new(), count: 0 }
    }

    /// Whether a node takes something new.
    pub(super) fn is_open(&self, index: usize) -> bool {
        self.sites.places()[index].site.standing == Standing::Open
    }

    /// Whether nothing that lasts speaks against a node for a service.
    pub(super) fn admits(&self, demand: &Demand<'a>, index: usize) -> bool {
        demand.rules.breaches(&self.sites.places()[index]).next().is_none()
    }

    /// All that lasts and speaks against a node for a service.
    pub(super) fn barred(&self, demand: &Demand<'a>, index: usize) -> Vec<Objection> {
        let place = &self.sites.places()[index];
        let breaches = demand.rules.breaches(place);
        let mut found: Vec<_> = breaches.map(|it| it.objection(demand.rules, place)).collect();
        found.extend((!self.is_open(index)).then_some(Objection::Closed(place.site.standing)));
        found.extend(self.volume_elsewhere(demand, index));
        found
    }

    /// A volume of a service that other nodes have and this one has not. A service that runs on each
    /// node has a volume on each.
    pub(super) fn volume_elsewhere(&self, demand: &Demand<'a>, index: usize) -> Option<Objection> {
        let rules = demand.rules;
        if rules.ties().next().is_none() || (!self.together && demand.count == Count::EachNode) {
            return None;
        }
        let site = |it: usize| &self.sites.places()[it].site;
        let counts = |it: usize| rules.waits_for_the_dead() || site(it).standing != Standing::Dead;
        rules.ties().find_map(|volume| {
            let on = self.sites.with_volume(volume);
            let elsewhere = !on.contains(&index) && on.iter().any(|it| counts(*it));
            elsewhere.then(|| Objection::Volume {
                volume: volume.clone(),
                on: on
                    .iter()
                    .filter(|it| counts(**it))
                    .map(|it| (site(*it).name.clone(), site(*it).standing))
                    .collect(),
            })
        })
    }

    /// Whether one more of a service may be at a node: as something new, or as what holds a slot
    /// there already.
    pub(super) fn fits(&self, demand: &Demand<'a>, spot: &Spot<'a>, held: Option<&Holder>) -> bool {
        self.objection(demand, spot, held).is_none()
    }

    /// The first thing that keeps one more of a service from a node as long as everything is as it is.
    pub(super) fn objection(
        &self,
        demand: &Demand<'a>,
        spot: &Spot<'a>,
        held: Option<&Holder>,
    ) -> Option<Objection> {
        self.want(demand, spot, held)
            .or_else(|| self.taken_port(demand, spot, held))
            .or_else(|| self.company(demand, spot, held))
    }

    /// All of that.
    pub(super) fn objections(
        &self,
        demand: &Demand<'a>,
        spot: &Spot<'a>,
    ) -> impl Iterator<Item = Objection> {
        let want = self.want(demand, spot, None).into_iter();
        let port = self.taken_port(demand, spot, None).into_iter();
        want.chain(port).chain(self.company(demand, spot, None))
    }

    /// Too many there, or too little free.
    fn want(
        &self,
        demand: &Demand<'a>,
        spot: &Spot<'a>,
        held: Option<&Holder>,
    ) -> Option<Objection> {
        let rules = demand.rules;
        if let Some(most) = rules.per_node_max.filter(|it| *it <= spot.count) {
            return Some(Objection::Full { most });
        }
        let (charge, site) = (rules.charge(), &spot.place.site);
        if !charge.reserves() {
            return None;
        }
        let free_milli = site.cpus_milli.saturating_sub(spot.cpus_milli);
        let free_bytes = site.memory_bytes.saturating_sub(spot.memory_bytes);
        let short = (free_milli < charge.cpus_milli, free_bytes < charge.memory_bytes);
        if short == (false, false) || held.is_some_and(|it| self.is_counted(demand, spot, it)) {
            return None;
        }
        Some(match short.0 {
            true => Objection::Cpus {
                asked_milli: charge.cpus_milli,
                free_milli,
                total_milli: site.cpus_milli,
            },
            false => Objection::Memory {
                asked_bytes: charge.memory_bytes,
                free_bytes,
                total_bytes: site.memory_bytes,
            },
        })
    }

    /// Whether what a running container asks for was already given to its service at this node. A
    /// node that turns out to be smaller than it was thought to be does not lose what runs.
    fn is_counted(&self, demand: &Demand<'a>, spot: &Spot<'a>, held: &Holder) -> bool {
        let share = self.usage.of(demand.service).and_then(|it| it.get(&spot.place.site.id));
        let charge = demand.rules.charge();
        let all = u64::from(spot.count) + 1;
        0 < held.rank
            && share.is_some_and(|it| {
                charge.cpus_milli.saturating_mul(all) <= it.cpus_milli
                    && charge.memory_bytes.saturating_mul(all) <= it.memory_bytes
            })
    }

    /// Somebody has a host port. Of two that have it the older keeps it.
    fn taken_port(
        &self,
        demand: &Demand<'a>,
        spot: &Spot<'a>,
        held: Option<&Holder>,
    ) -> Option<Objection> {
        let ports = &demand.rules.charge().ports;
        ports.iter().find_map(|port| {
            if let Some((_, by, slot)) = spot.ports.iter().find(|it| it.0.meets(port)) {
                return Some(Objection::Port { port: port.port, by: (*by).clone(), slot: *slot });
            }
            let owner = self.usage.owner(spot.place.site.id, port, |owner| {
                let older = held.is_none_or(|it| {
                    (owner.created, &owner.service) < (it.created, demand.service)
                });
                older && !self.is_ours(&owner.service)
            });
            owner.map(|it| Objection::Port {
                port: port.port,
                by: it.service.clone(),
                slot: it.slot,
            })
        })
    }

    /// What it is to be near to is elsewhere, or what it is to be away from is there. What holds a
    /// slot does not leave because the other has gone from everywhere; and of two that both want to be
    /// apart and are not, only the second by name leaves.
    fn company(
        &self,
        demand: &Demand<'a>,
        spot: &Spot<'a>,
        held: Option<&Holder>,
    ) -> Option<Objection> {
        let id = spot.place.site.id;
        let there = |key: &ServiceKey| self.usage.of(key).is_some_and(|it| it.contains_key(&id));
        let near = demand.rules.near.iter().find(|&key| {
            let nowhere = self.usage.of(key).is_none();
            let stays = held.is_some() && nowhere;
            !(self.is_ours(key) || there(key) || stays)
        });
        if let Some(key) = near {
            return Some(Objection::Near(key.service.clone()));
        }
        let apart = demand.rules.apart.iter().find(|&key| {
            let leaves = key < demand.service || !demand.rules.shunned_by.contains(key);
            match self.is_ours(key) {
                true => leaves && self.is_wanted(key),
                false => there(key) && (leaves || held.is_none()),
            }
        });
        apart.map(|key| Objection::Apart(key.service.clone()))
    }

    /// Whether something would have to leave a node for a service.
    pub(super) fn disturbs(&self, demand: &Demand<'a>, index: usize) -> bool {
        let id = self.sites.places()[index].site.id;
        let there = |key: &ServiceKey| self.usage.of(key).is_some_and(|it| it.contains_key(&id));
        demand.rules.shunned_by.iter().any(there)
    }

    /// Whether a service is one of those that are being placed.
    fn is_ours(&self, key: &ServiceKey) -> bool {
        self.demands.iter().any(|it| it.service == key)
    }

    fn is_wanted(&self, key: &ServiceKey) -> bool {
        self.demands.iter().any(|it| it.service == key && it.wants_any())
    }
}

impl<'a> Spot<'a> {
    /// The node gets one more of a service.
    pub(super) fn take(&mut self, demand: &Demand<'a>, slot: Slot) {
        let charge = demand.rules.charge();
        self.cpus_milli = self.cpus_milli.saturating_add(charge.cpus_milli);
        self.memory_bytes = self.memory_bytes.saturating_add(charge.memory_bytes);
        self.ports.extend(charge.ports.iter().map(|it| (*it, demand.service, slot)));
        self.count += 1;
    }
}
