//! From facts to a zone.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map},
    net::IpAddr,
    sync::Arc,
};

use super::{
    Addresses, DOMAIN, Entry, Facts, Known, Listed, Member, Net, NetworkName, Owner, Service, What,
    Zone, name::fits,
};
use crate::model::{ServiceKey, ServiceName};

/// A zone in the making.
struct Builder<'a> {
    zone: Zone,
    numbers: BTreeMap<&'a NetworkName, Net>,
    services: BTreeMap<&'a ServiceKey, usize>,
}

pub(super) fn build(facts: &Facts) -> Zone {
    let zone = Zone {
        here: facts.here,
        order: facts.order,
        ranges: facts.ranges.clone(),
        replicas: Vec::with_capacity(facts.replicas.len()),
        services: vec![],
        hosts: vec![],
        names: BTreeMap::new(),
        nodes: BTreeMap::new(),
        aliases: vec![],
        containers: BTreeMap::new(),
        owners: facts.own.iter().map(|it| (it.to_canonical(), Owner::Own)).collect(),
        nameless: BTreeSet::new(),
    };
    let mut builder = Builder { zone, numbers: BTreeMap::new(), services: BTreeMap::new() };
    builder.hosts(facts);
    let networks = builder.networks(facts);
    builder.services(facts, networks);
    builder.replicas(facts);
    builder.zone
}

impl<'a> Builder<'a> {
    fn hosts(&mut self, facts: &Facts) {
        for host in &facts.hosts {
            let number = self.zone.hosts.len();
            let name = host.name.as_str().to_ascii_lowercase();
            let full = self.full(&name);
            if full.is_some() {
                self.zone.nodes.insert(name.into(), number);
            }
            let addresses: BTreeSet<IpAddr> =
                host.addresses.iter().map(IpAddr::to_canonical).collect();
            self.zone.owners.extend(addresses.iter().map(|it| (*it, Owner::Member(number))));
            self.zone.hosts.push(Member { full, addresses });
        }
    }

    /// Numbers the networks and the services; on which networks each service is.
    fn networks(&mut self, facts: &'a Facts) -> Vec<BTreeSet<Net>> {
        let mut networks: Vec<BTreeSet<Net>> = vec![];
        let declared = facts.services.iter().map(|it| (&it.key, it.networks.keys().collect()));
        let real = facts.replicas.iter().map(|it| (&it.key, it.networks.keys().collect()));
        for (key, names) in declared.chain(real) {
            let names: Vec<&NetworkName> = names;
            let next = self.services.len();
            let number = *self.services.entry(key).or_insert(next);
            if number == next {
                self.zone.services.push(Listed::default());
                networks.push(BTreeSet::new());
            }
            for name in names {
                let next = self.numbers.len();
                networks[number].insert(*self.numbers.entry(name).or_insert(next));
            }
        }
        self.zone.aliases.resize_with(self.numbers.len(), BTreeMap::new);
        networks
    }

    fn services(&mut self, facts: &'a Facts, networks: Vec<BTreeSet<Net>>) {
        let all = std::mem::take(&mut self.services);
        for (key, number) in &all {
            let name = before(key);
            if self.full(&name).is_some() {
                self.enter(&name, &networks[*number], What::Service(*number));
            }
        }
        self.services = all;
        for service in &facts.services {
            let Some(number) = self.services.get(&service.key).copied() else { continue };
            self.aliases(service, number);
            self.own_ways(service, number);
            for port in &service.ports {
                let by_number = Some(port.number.to_string());
                for label in [by_number, port.name.clone()].into_iter().flatten() {
                    let name = format!("_{label}._{}.{}", port.protocol, before(&service.key));
                    let name = name.to_ascii_lowercase();
                    let what = What::Port { service: number, number: port.number };
                    if self.full(&name).is_some() {
                        self.enter(&name, &networks[number], what);
                    }
                }
            }
        }
    }

    fn aliases(&mut self, service: &Service, number: usize) {
        for (network, names) in &service.networks {
            let Some(network) = self.numbers.get(network).copied() else { continue };
            for name in names {
                let name = name.to_ascii_lowercase().into_boxed_str();
                if self.full(&name).is_some() {
                    self.zone.aliases[network].entry(name).or_default().push(number);
                }
            }
        }
    }

    /// What only its own containers call others, and whom they have asked.
    fn own_ways(&mut self, service: &Service, number: usize) {
        let linked = |(name, to): &(String, ServiceName)| {
            let key = ServiceKey { project: service.key.project.clone(), service: to.clone() };
            let to = self.services.get(&key).copied()?;
            Some((name.to_ascii_lowercase().into_boxed_str(), to))
        };
        let links = service.links.iter().filter_map(linked).collect();
        let resolvers = service.resolvers.as_slice();
        let listed = &mut self.zone.services[number];
        listed.links = links;
        listed.resolvers = (!resolvers.is_empty()).then(|| resolvers.into());
    }

    fn replicas(&mut self, facts: &Facts) {
        for replica in &facts.replicas {
            let number = self.zone.replicas.len();
            let place = |(name, addresses): (&NetworkName, &Addresses)| {
                Some((self.numbers.get(name).copied()?, *addresses))
            };
            let places: Vec<(Net, Addresses)> = replica.networks.iter().filter_map(place).collect();
            for address in places.iter().flat_map(|it| it.1.each()) {
                self.own(address, number);
            }
            let ready = replica.healthy && replica.reachable;
            let networks: BTreeSet<Net> = places.iter().map(|it| it.0).collect();
            let confined = replica.networks.keys().all(|it| facts.internal.contains(it));
            let service = self.services.get(&replica.key).copied();
            let mut full = None;
            if let Some(slot) = replica.slot {
                let name = format!("{slot}.{}", before(&replica.key));
                full = self.full(&name);
                if full.is_some() {
                    self.enter(&name, &networks, What::Replicas(vec![number]));
                }
                for network in networks.iter().filter(|_| ready) {
                    let Some(service) = service else { break };
                    let listed = &mut self.zone.services[service].ready;
                    listed.entry(*network).or_default().push(number);
                }
            }
            let name = replica.name.as_str().to_ascii_lowercase();
            let reverse = full.clone().unwrap_or_else(|| name.as_str().into());
            if self.full(&name).is_some() {
                self.zone.containers.entry(name.into()).or_default().push(number);
            }
            let project = replica.key.project.as_str().into();
            let node = replica.node;
            let known = Known { node, project, service, places, confined, ready, full, reverse };
            self.zone.replicas.push(known);
        }
    }

    /// Makes an address a container's. Whatever else has it, a node or a container, neither is believed.
    fn own(&mut self, address: IpAddr, container: usize) {
        match self.zone.owners.entry(address) {
            btree_map::Entry::Vacant(entry) => {
                entry.insert(Owner::Container(container));
            }
            btree_map::Entry::Occupied(mut entry) => {
                if *entry.get() != Owner::Container(container) {
                    entry.insert(Owner::Disputed);
                }
            }
        }
    }

    /// Enters a name, and all that are between it and the domain, for who is on these networks.
    fn enter(&mut self, name: &str, networks: &BTreeSet<Net>, what: What) {
        match self.zone.names.get_mut(name) {
            None => {
                let entry = Entry { networks: networks.clone(), what };
                self.zone.names.insert(name.into(), entry);
            }
            Some(entry) => {
                entry.networks.extend(networks);
                match (&mut entry.what, what) {
                    (What::Replicas(these), What::Replicas(more)) => these.extend(more),
                    (it @ What::Between, what) => *it = what,
                    // Names that differ by case only: the first has it.
                    (What::Service(_) | What::Replicas(_) | What::Port { .. }, _) => {}
                }
            }
        }
        let mut rest = name;
        while let Some((_, above)) = rest.split_once('.') {
            if let Some(entry) = self.zone.names.get_mut(above) {
                // Then all that is above that is known to them too.
                if networks.is_subset(&entry.networks) {
                    return;
                }
                entry.networks.extend(networks);
            } else {
                let entry = Entry { networks: networks.clone(), what: What::Between };
                self.zone.names.insert(above.into(), entry);
            }
            rest = above;
        }
    }

    /// The whole of a name within the domain, or a note that it is too long for one.
    fn full(&mut self, before: &str) -> Option<Arc<str>> {
        if fits(before) {
            return Some(format!("{before}.{DOMAIN}").into());
        }
        self.zone.nameless.insert(before.to_owned());
        None
    }
}

/// A service's name within the domain.
fn before(key: &ServiceKey) -> String {
    format!("{}.{}", key.service, key.project).to_ascii_lowercase()
}
