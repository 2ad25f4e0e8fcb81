//! From a question to its answer.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use ipnet::IpNet;

use super::{
    ADDRESSES_MAX, Answer, Apex, Data, Entry, Kind, Known, Net, Order, Owner, Question, Resolvers,
    What, Zone, name::reversed,
};
use crate::model::NodeId;

/// Of replicas elsewhere, where those on the asker's node go first.
const FAR: u16 = 10;

/// Who asks.
#[derive(Clone, Copy)]
pub(super) enum Asker {
    /// A member of the cluster, which sees everything.
    Host,
    Container(usize),
}

pub(super) fn who(zone: &Zone, address: IpAddr) -> Option<Asker> {
    let address = address.to_canonical();
    if address.is_loopback() {
        return Some(Asker::Host);
    }
    match zone.owners.get(&address)? {
        Owner::Member(_) | Owner::Own => Some(Asker::Host),
        Owner::Container(replica) => Some(Asker::Container(*replica)),
        Owner::Disputed => None,
    }
}

pub(super) fn answer(zone: &Zone, asker: IpAddr, question: &Question, rotation: usize) -> Answer {
    let Some(asker) = who(zone, asker) else { return Answer::Stranger };
    let view = View { zone, asker, kind: question.kind, rotation };
    if let Some(before) = question.name.within_domain() {
        return view.domain(before);
    }
    let reversed = reversed(question.name.as_str()).filter(|it| view.is_ours(it.0));
    if let Some((net, strange)) = reversed {
        return view.reverse(net, strange);
    }
    match asker {
        Asker::Host => Answer::Forward(Resolvers::Hosts),
        Asker::Container(replica) => view
            .short(question.name.as_str(), &zone.replicas[replica])
            .unwrap_or_else(|| beyond(zone, &zone.replicas[replica])),
    }
}

/// What becomes of a container's question that is none of the cluster's.
fn beyond(zone: &Zone, asker: &Known) -> Answer {
    let own = asker.service.and_then(|it| zone.services[it].resolvers.clone());
    let is_here = |it: &IpAddr| zone.ranges.iter().any(|range| range.contains(it));
    match own {
        Some(own) if !asker.confined || own.iter().all(is_here) => {
            Answer::Forward(Resolvers::Own(own))
        }
        None if !asker.confined => Answer::Forward(Resolvers::Hosts),
        // Not that it is refused: some resolvers take that for silence, and wait.
        Some(_) | None => Answer::NoName(Apex::Root),
    }
}

/// The zone as one asker sees it, for one kind of record.
struct View<'a> {
    zone: &'a Zone,
    asker: Asker,
    kind: Kind,
    rotation: usize,
}

/// What addresses are asked of.
#[derive(Clone, Copy)]
enum Subject {
    Service(usize),
    /// By a name that it has in this network only.
    Alias(usize, Net),
    Replica(usize),
}

impl View<'_> {
    fn domain(&self, before: &str) -> Answer {
        if before.is_empty() {
            return self.denied_but_for(Kind::Soa, Data::Soa, Apex::Domain);
        }
        let entry = self.zone.names.get(before).filter(|it| self.sees(it));
        let node = self.zone.nodes.get(before).map(|it| &self.zone.hosts[*it]);
        match (node, entry) {
            (Some(node), _) => {
                let all = node.addresses.iter().filter_map(|it| self.wanted(*it)).collect();
                self.found(all, vec![], Apex::Domain)
            }
            (None, Some(entry)) => self.entry(entry, Apex::Domain),
            (None, None) => Answer::NoName(Apex::Domain),
        }
    }

    fn entry(&self, entry: &Entry, apex: Apex) -> Answer {
        match &entry.what {
            What::Between => self.found(vec![], vec![], apex),
            What::Service(service) => self.addresses(&[Subject::Service(*service)], apex),
            What::Replicas(replicas) => {
                let subjects: Vec<Subject> =
                    replicas.iter().map(|it| Subject::Replica(*it)).collect();
                self.addresses(&subjects, apex)
            }
            What::Port { service, number } => self.listeners(*service, *number, apex),
        }
    }

    /// A name without the domain: what the asker's service calls another; in its own project, of its networks, of
    /// a container; else with the project in it. One that exists and is not for the asker does not exist, rather
    /// than that its name is told to the world. `None`: it is nothing here.
    fn short(&self, name: &str, asker: &Known) -> Option<Answer> {
        let mut subjects = vec![];
        let linked = asker.service.and_then(|it| self.zone.services[it].links.get(name));
        subjects.extend(linked.map(|it| Subject::Service(*it)));
        let own = self.zone.names.get(format!("{name}.{}", asker.project).as_str());
        let mut exists = false;
        match own.map(|it| (it, &it.what)) {
            None | Some((_, What::Between)) => {}
            Some((entry, What::Port { .. })) if self.sees(entry) => {
                return Some(self.entry(entry, Apex::Root));
            }
            Some((_, What::Port { .. })) => exists = true,
            Some((entry, what)) => {
                exists = true;
                if self.sees(entry) {
                    what.add_to(&mut subjects);
                }
            }
        }
        for network in self.networks() {
            let services = self.zone.aliases[network].get(name).into_iter().flatten();
            subjects.extend(services.map(|it| Subject::Alias(*it, network)));
        }
        for replica in self.zone.containers.get(name).into_iter().flatten() {
            exists = true;
            if self.zone.replicas[*replica].places.iter().any(|it| self.is_on(it.0)) {
                subjects.push(Subject::Replica(*replica));
            }
        }
        if !subjects.is_empty() {
            return Some(self.addresses(&subjects, Apex::Root));
        }
        match self.zone.names.get(name).map(|it| (it, &it.what)) {
            None | Some((_, What::Between)) => exists.then_some(Answer::NoName(Apex::Root)),
            Some((entry, _)) if self.sees(entry) => Some(self.entry(entry, Apex::Root)),
            Some(_) => Some(Answer::NoName(Apex::Root)),
        }
    }

    fn is_ours(&self, net: IpNet) -> bool {
        self.zone.ranges.iter().any(|it| it.contains(&net))
    }

    fn reverse(&self, net: IpNet, strange: bool) -> Answer {
        let apex = if net.addr().is_ipv4() { Apex::Reverse4 } else { Apex::Reverse6 };
        if strange {
            return Answer::NoName(apex);
        }
        if net.prefix_len() != net.max_prefix_len() {
            // Of part of a range it is enough to say that there may be something below.
            return self.found(vec![], vec![], apex);
        }
        let name = match self.zone.owners.get(&net.addr()) {
            Some(Owner::Container(replica)) => {
                let known = &self.zone.replicas[*replica];
                let seen = known.places.iter().any(|(network, addresses)| {
                    addresses.each().any(|it| it == net.addr()) && self.is_on(*network)
                });
                seen.then(|| Arc::clone(&known.reverse))
            }
            Some(Owner::Member(number)) => self.zone.hosts[*number].full.clone(),
            Some(Owner::Own | Owner::Disputed) | None => None,
        };
        match name {
            Some(name) => self.denied_but_for(Kind::Ptr, Data::Ptr(name), apex),
            None => Answer::NoName(apex),
        }
    }

    /// The addresses of what is ready, each once.
    fn addresses(&self, subjects: &[Subject], apex: Apex) -> Answer {
        if !matches!(self.kind, Kind::A | Kind::Aaaa) {
            return self.found(vec![], vec![], apex);
        }
        let mut all: Vec<(NodeId, Data)> = vec![];
        for (replica, network) in subjects.iter().flat_map(|it| self.places(*it)) {
            let known = &self.zone.replicas[replica];
            let Some((_, at)) = known.places.iter().find(|it| it.0 == network) else { continue };
            for address in at.each() {
                all.extend(self.wanted(address).map(|it| (known.node, it)));
            }
        }
        let mut told = BTreeSet::new();
        all.retain(|it| told.insert(it.1.clone()));
        let all = self.in_order(all).into_iter().map(|it| it.1).collect();
        self.found(all, vec![], apex)
    }

    /// Where a service listens, and the addresses there.
    fn listeners(&self, service: usize, port: u16, apex: Apex) -> Answer {
        if self.kind != Kind::Srv {
            return self.found(vec![], vec![], apex);
        }
        let replicas: BTreeSet<usize> =
            self.places(Subject::Service(service)).into_iter().map(|it| it.0).collect();
        let all = replicas.into_iter().map(|it| (self.zone.replicas[it].node, it)).collect();
        let (mut records, mut further) = (vec![], vec![]);
        for (node, replica) in self.in_order(all) {
            let known = &self.zone.replicas[replica];
            let Some(target) = &known.full else { continue };
            let priority = if self.is_near(node) { 0 } else { FAR };
            records.push(Data::Srv { priority, port, target: Arc::clone(target) });
            for (_, at) in known.places.iter().filter(|it| self.is_on(it.0)) {
                let addresses = [at.v4.map(Data::A), at.v6.map(Data::Aaaa)].into_iter().flatten();
                further.extend(addresses.map(|it| (Arc::clone(target), it)));
            }
        }
        further.dedup();
        self.found(records, further, apex)
    }

    /// Where what is asked about is ready, as far as the asker shares the network.
    fn places(&self, subject: Subject) -> Vec<(usize, Net)> {
        match subject {
            Subject::Service(service) => {
                let ready = &self.zone.services[service].ready;
                let seen = ready.iter().filter(|it| self.is_on(*it.0));
                seen.flat_map(|(net, all)| all.iter().map(|it| (*it, *net))).collect()
            }
            Subject::Alias(service, net) => {
                let ready = self.zone.services[service].ready.get(&net).into_iter().flatten();
                ready.map(|it| (*it, net)).collect()
            }
            Subject::Replica(replica) => {
                let known = &self.zone.replicas[replica];
                let seen = known.places.iter().filter(|it| known.ready && self.is_on(it.0));
                seen.map(|it| (replica, it.0)).collect()
            }
        }
    }

    /// Each is the first in its turn, those nearby before the others where that is wanted.
    fn in_order<T>(&self, all: Vec<(NodeId, T)>) -> Vec<(NodeId, T)> {
        let (mut near, mut far): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|it| self.is_near(it.0));
        for part in [&mut near, &mut far] {
            let by = self.rotation.checked_rem(part.len()).unwrap_or(0);
            part.rotate_left(by);
        }
        near.append(&mut far);
        near.truncate(ADDRESSES_MAX);
        near
    }

    /// Where the order has no regard for it, all are as near.
    fn is_near(&self, node: NodeId) -> bool {
        match (self.zone.order, self.asker) {
            (Order::Rotated, _) => true,
            (Order::NearestFirst, Asker::Host) => node == self.zone.here,
            (Order::NearestFirst, Asker::Container(me)) => node == self.zone.replicas[me].node,
        }
    }

    fn sees(&self, entry: &Entry) -> bool {
        match self.asker {
            Asker::Host => true,
            Asker::Container(_) => self.networks().any(|it| entry.networks.contains(&it)),
        }
    }

    fn is_on(&self, network: Net) -> bool {
        match self.asker {
            Asker::Host => true,
            Asker::Container(_) => self.networks().any(|it| it == network),
        }
    }

    /// The networks of a container that asks.
    fn networks(&self) -> impl Iterator<Item = Net> {
        let places = match self.asker {
            Asker::Host => &[][..],
            Asker::Container(me) => &self.zone.replicas[me].places[..],
        };
        places.iter().map(|it| it.0)
    }

    /// An address as a record, where it is of the family that was asked for.
    fn wanted(&self, address: IpAddr) -> Option<Data> {
        match (self.kind, address) {
            (Kind::A, IpAddr::V4(it)) => Some(Data::A(it)),
            (Kind::Aaaa, IpAddr::V6(it)) => Some(Data::Aaaa(it)),
            (
                Kind::A | Kind::Aaaa | Kind::Srv | Kind::Ptr | Kind::Soa | Kind::Any | Kind::Other,
                _,
            ) => None,
        }
    }

    fn denied_but_for(&self, kind: Kind, data: Data, apex: Apex) -> Answer {
        let records = if self.kind == kind { vec![data] } else { vec![] };
        self.found(records, vec![], apex)
    }

    /// The answer about a name that exists.
    fn found(&self, records: Vec<Data>, further: Vec<(Arc<str>, Data)>, apex: Apex) -> Answer {
        if self.kind == Kind::Any {
            return Answer::Found { records: vec![Data::Minimal], further: vec![] };
        }
        if records.is_empty() { Answer::NoData(apex) } else { Answer::Found { records, further } }
    }
}

impl What {
    fn add_to(&self, subjects: &mut Vec<Subject>) {
        match self {
            Self::Service(service) => subjects.push(Subject::Service(*service)),
            Self::Replicas(all) => subjects.extend(all.iter().map(|it| Subject::Replica(*it))),
            Self::Between | Self::Port { .. } => {}
        }
    }
}
