//! Where the replicas are to be, as this node sees the cluster.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Explained, Node, Now, Refusal, Response, layout::Layout};
use crate::{
    model::{ContainerState, NodeId, NodeState, ProjectName, ServiceKey, ServiceName, Slot},
    reconcile::{Post, Runs},
    scheduler::{
        self, Count, Demand, Holder, Objection, Placement, Rules, Site, Sites, Standing, Unit,
    },
    state::{Availability, Change, ContainerRecord, Intent, NodeRecord, ServiceRecord},
};

/// Why a job's replica is where it was.
const DONE: &str = "it has completed there";

/// Where a project's replicas are to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    posts: BTreeMap<ServiceName, Vec<Post>>,
    unplaced: BTreeMap<ServiceName, Vec<(Slot, Arc<str>)>>,
}

impl Places {
    /// Where a service's replicas are to be, in order.
    #[must_use]
    pub fn posts(&self, service: &ServiceName) -> &[Post] {
        self.posts.get(service).map_or(&[], Vec::as_slice)
    }

    /// A service's replicas that are nowhere to be, and why.
    #[must_use]
    pub fn unplaced(&self, service: &ServiceName) -> &[(Slot, Arc<str>)] {
        self.unplaced.get(service).map_or(&[], Vec::as_slice)
    }

    /// Where all replicas are to be.
    pub(super) fn all(&self) -> impl Iterator<Item = (&ServiceName, &Post)> {
        self.posts.iter().flat_map(|(service, posts)| posts.iter().map(move |it| (service, it)))
    }

    /// Whether any replica is nowhere to be.
    pub(super) fn lacks_any(&self) -> bool {
        !self.unplaced.is_empty()
    }
}

impl Node {
    /// Where a project's replicas were to be when this node last looked, for whoever compares.
    #[must_use]
    pub fn places(&self, project: &ProjectName) -> Option<&Places> {
        self.places.get(project)
    }

    /// Where a project's replicas are to be now.
    #[must_use]
    pub fn place(&self, project: &ProjectName, now: Now) -> Places {
        let Some(layout) = self.layouts.get(project) else { return Places::default() };
        let mut places = Places::default();
        for unit in &layout.units {
            self.place_unit(project, layout, unit, &mut places, now);
        }
        places
    }

    fn place_unit(
        &self,
        project: &ProjectName,
        layout: &Layout,
        unit: &[ServiceName],
        places: &mut Places,
        now: Now,
    ) {
        let services = self.wanted(project, unit, now);
        let asked = asked(layout, &services, 1 < unit.len());
        let placement = self.placement(layout, &services, &asked);
        for post in placement.posts {
            let posts = places.posts.entry(post.service).or_default();
            posts.push(Post { slot: post.slot, node: post.node });
        }
        for lack in placement.pending {
            let why = self.words(&lack.why);
            places.unplaced.entry(lack.service).or_default().push((lack.slot, why.into()));
        }
        for it in services.iter().filter(|it| !it.over().is_empty()) {
            let posts = places.posts.entry(it.key.service.clone()).or_default();
            posts.extend_from_slice(it.over());
        }
        places.posts.values_mut().for_each(|it| it.sort());
    }

    /// Where the scheduler puts what is asked. What is done of a job is neither placed nor missing.
    fn placement(&self, layout: &Layout, services: &[Wanted], asked: &Unit<'_>) -> Placement {
        let mut placement = scheduler::place(asked, &self.sites, self.fleet.usage());
        let is_done = |service: &ServiceName, slot: Slot, node: Option<NodeId>| {
            let spec = layout.spec.services.get(service);
            let each_node = spec.is_some_and(|it| it.deploy.mode.is_on_each_node());
            let same = |it: &Post| if each_node { Some(it.node) == node } else { it.slot == slot };
            let known = services.iter().find(|it| it.key.service == *service);
            known.is_some_and(|it| it.over().iter().any(same))
        };
        placement.posts.retain(|it| !is_done(&it.service, it.slot, Some(it.node)));
        placement.pending.retain(|it| !is_done(&it.service, it.slot, it.node));
        placement
    }

    fn wanted(&self, project: &ProjectName, unit: &[ServiceName], now: Now) -> Vec<Wanted> {
        let wanted = unit.iter().filter_map(|service| {
            let key = ServiceKey { project: project.clone(), service: service.clone() };
            let record = self.state.services().get(&key)?.clone();
            let holders = self.holders(&key, &record);
            let runs = self.runs(&key, &record, now);
            let only = runs.as_ref().map(|it| self.asked_of(&key, it));
            Some(Wanted { key, record, holders, runs, only })
        });
        wanted.collect()
    }

    /// Which of a job's slots the scheduler is asked for: also those that are done, as long as they are not runs
    /// by the clock. They hold their nodes' shares, so that who does not know yet where the others are expects
    /// them where they were put before.
    fn asked_of(&self, key: &ServiceKey, runs: &Runs) -> Vec<Slot> {
        let timed = self.spec_of(key).is_some_and(|it| it.extension.cron.is_some());
        let over = runs.over.iter().map(|it| it.slot).filter(|_| !timed);
        let slots: BTreeSet<Slot> = runs.open.iter().copied().chain(over).collect();
        slots.into_iter().collect()
    }

    /// Gives nodes that came late their share: says what moves, and wishes for it unless that was all.
    pub(super) fn rebalance(&mut self, dry_run: bool, now: Now) -> Response {
        let node = &*self;
        let services = node.layouts.iter().flat_map(|(name, layout)| {
            layout.units.iter().map(move |unit| (layout, node.wanted(name, unit, now)))
        });
        let services: Vec<(&Layout, Vec<Wanted>)> = services.collect();
        let units = services.iter().map(|(layout, wanted)| asked(layout, wanted, 1 < wanted.len()));
        let units: Vec<Unit<'_>> = units.collect();
        let moves = scheduler::rebalance(&units, &node.sites, node.fleet.usage());
        if !dry_run {
            for it in &moves {
                self.intend(&it.service, now, |record| {
                    record.moves.insert(it.slot, it.to);
                });
            }
        }
        Response::Moves(moves)
    }

    /// Drops wishes that came true, or that cannot: a replica is not to go back when its node does.
    pub(super) fn drop_wishes(&mut self, project: &ProjectName, now: Now) {
        let wishes = self
            .state
            .services_of(project)
            .flat_map(|(key, it)| it.moves.iter().map(move |(slot, to)| (key.clone(), *slot, *to)));
        let over = |(key, slot, to): &(ServiceKey, Slot, NodeId)| {
            let replicas = || {
                let all = self.fleet.of(project);
                all.filter(|it| it.service == *key && it.slot == *slot && it.one_off.is_none())
            };
            let open = self.sites.get(*to).is_some_and(|it| it.standing == Standing::Open);
            !open || (replicas().all(|it| it.node == *to) && replicas().next().is_some())
        };
        let over: Vec<_> = wishes.filter(over).collect();
        for (key, slot, _) in over {
            self.note(&key, now, |record| {
                record.moves.remove(&slot);
            });
        }
    }

    /// What speaks against nodes, for people.
    fn words(&self, why: &[(NodeId, Objection)]) -> String {
        let name = |id: NodeId| {
            let site = self.sites.get(id);
            site.map_or_else(|| id.to_string(), |it| it.name.clone())
        };
        if why.is_empty() {
            return "there is no node".to_owned();
        }
        let words = why.iter().map(|(id, objection)| format!("{}: {objection}", name(*id)));
        words.collect::<Vec<_>>().join("; ")
    }

    /// Says why a service's replicas are where they are.
    pub(super) fn explain(&self, key: &ServiceKey, now: Now) -> Result<Response, Refusal> {
        let missing = || Refusal::NotFound { what: "service", name: key.to_string() };
        let layout = self.layouts.get(&key.project).ok_or_else(missing)?;
        self.state.services().get(key).ok_or_else(missing)?;
        let unit = layout.unit_of(&key.service);
        let services = self.wanted(&key.project, unit, now);
        let asked = asked(layout, &services, 1 < unit.len());
        let placement = self.placement(layout, &services, &asked);
        let done = services.iter().find(|it| it.key == *key).map_or(&[][..], Wanted::over);
        let mut told = Explained::default();
        let posts = placement.posts.iter().filter(|it| it.service == key.service);
        told.posts = posts.map(|it| (it.slot, it.node, it.why.to_string())).collect();
        told.posts.extend(done.iter().map(|it| (it.slot, it.node, DONE.to_owned())));
        let pending = placement.pending.iter().filter(|it| it.service == key.service);
        told.unplaced = pending.map(|it| (it.slot, self.words(&it.why))).collect();
        let verdicts = scheduler::explain(&asked, &key.service, &self.sites, self.fleet.usage());
        let words = |it: &Objection| it.to_string();
        told.nodes = verdicts
            .iter()
            .map(|it| (it.node, it.objections.iter().map(words).collect()))
            .collect();
        told.with = unit.iter().filter(|it| **it != key.service).cloned().collect();
        Ok(Response::Explained(Box::new(told)))
    }

    /// Takes only these containers from now on.
    pub(super) fn take_only(&mut self, availability: Availability, now: Now) -> Response {
        if let Some(known) = self.state.nodes().get(&self.me)
            && known.availability != availability
        {
            let record = NodeRecord { availability, ..(**known).clone() };
            self.commit(Change::Node(self.me, Some(Arc::new(record))), now);
        }
        Response::Done
    }

    /// The containers that hold the slots of a service now.
    fn holders(&self, key: &ServiceKey, service: &ServiceRecord) -> Vec<Holder> {
        let mine = self.fleet.of(&key.project).filter(|it| it.service == *key);
        let holds = mine.filter(|it| it.one_off.is_none() && !it.given_up);
        match self.is_singleton(key) {
            true => singly(&holds.collect::<Vec<_>>(), service),
            false => holds.map(|it| holder(it, service)).collect(),
        }
    }

    /// Looks at the nodes anew: what they are, and whether they are there.
    pub(super) fn survey(&mut self) {
        let sites: Vec<Site> = if self.is_clustered() {
            let members = self.state.nodes().iter().filter(|(id, it)| {
                it.is_member() && (!self.state.has_left(**id) || **id == self.me)
            });
            members.map(|(id, it)| self.site(*id, it)).collect()
        } else {
            let mine = self.state.nodes().get(&self.me).map_or(&self.facts, |it| it);
            vec![Site { standing: Standing::Open, ..self.site(self.me, mine) }]
        };
        let sites = Sites::new(sites);
        let nodes = self.state.nodes().iter();
        let standings: BTreeMap<NodeId, _> =
            nodes.map(|(id, _)| (*id, (self.standing(*id), self.state.has_left(*id)))).collect();
        // A node's record says much that no project stands on, and a volume matters to few.
        match sites.volumes_since(&self.sites).filter(|_| standings == self.standings) {
            None => self.agenda.stir_all(),
            Some(volumes) => {
                let ties = |it: &Rules| it.ties().any(|it| volumes.contains(it.as_str()));
                let tied = self.layouts.iter().filter(|(_, it)| it.rules.values().any(ties));
                tied.for_each(|(name, _)| self.agenda.stir(name));
            }
        }
        (self.sites, self.standings) = (sites, standings);
    }

    fn site(&self, id: NodeId, record: &NodeRecord) -> Site {
        let runtime = record.runtime.as_deref().and_then(|it| it.split(' ').next());
        Site {
            id,
            name: record.name.to_string(),
            labels: record.all_labels(),
            architecture: record.architecture.clone(),
            cpus_milli: u64::from(record.cpus) * 1000,
            memory_bytes: record.memory_bytes,
            runtime: runtime != Some(super::NO_RUNTIME),
            standing: self.standing_of(id, record),
            volumes: record.volumes.clone(),
        }
    }

    fn standing_of(&self, id: NodeId, record: &NodeRecord) -> Standing {
        let there = if id == self.me { Some(NodeState::Alive) } else { self.standing(id) };
        match there {
            Some(NodeState::Alive) => match record.availability {
                Availability::Open => Standing::Open,
                Availability::Cordoned => Standing::Cordoned,
                Availability::Draining => Standing::Draining,
            },
            Some(NodeState::Suspicious) if record.availability == Availability::Draining => {
                Standing::Draining
            }
            Some(NodeState::Suspicious) => Standing::Unreachable,
            Some(NodeState::Dead | NodeState::Joining | NodeState::Left | NodeState::Failed)
            | None => Standing::Dead,
        }
    }

    /// Who writes for all what one must: of those that are there, the first by the project's name.
    pub(super) fn stands_for(&self, project: &ProjectName) -> bool {
        let there = self.state.nodes().iter().map(|(id, _)| *id);
        let there = there.filter(|it| *it == self.me || self.is_alive(*it));
        let there = there.filter(|it| !self.state.has_left(*it));
        scheduler::steward(project, there).is_none_or(|it| it == self.me)
    }

    /// Where a container beside a service's replicas is to be: with those that it must be with, else here
    /// if there is a runtime here.
    pub(super) fn place_beside(&self, key: &ServiceKey) -> Option<NodeId> {
        let layout = self.layouts.get(&key.project)?;
        let places = self.places.get(&key.project)?;
        let unit = layout.unit_of(&key.service);
        let posts = || unit.iter().flat_map(|it| places.posts(it));
        let has_runtime = self.sites.get(self.me).is_some_and(|it| it.runtime);
        if posts().any(|it| it.node == self.me) || (unit.len() < 2 && has_runtime) {
            return Some(self.me);
        }
        posts().next().map(|it| it.node).or(Some(self.me))
    }
}

/// Of what must never run twice the last to start had reason to: what is told of another that is up is from
/// before its node was cut off, or its daemon killed.
fn singly(records: &[&Arc<ContainerRecord>], service: &ServiceRecord) -> Vec<Holder> {
    let started = |it: &ContainerRecord| it.state.is_up().then_some((it.since, it.id));
    let is_last = |it: &ContainerRecord| {
        let same = records.iter().filter(|other| other.slot == it.slot);
        same.filter_map(|other| started(other)).max() == started(it)
    };
    let holder = |it: &&Arc<ContainerRecord>| {
        let of = holder(it, service);
        let rank = if is_last(it) { of.rank } else { of.rank.min(RANK_OVER) };
        Holder { rank, ..of }
    };
    records.iter().map(holder).collect()
}

/// The highest rank of what has run, and does not now.
const RANK_OVER: u8 = 5;

/// A service, and what holds its slots.
struct Wanted {
    key: ServiceKey,
    record: Arc<ServiceRecord>,
    holders: Vec<Holder>,
    /// Of a job: what there is to run.
    runs: Option<Runs>,
    /// Of a job: the slots that are placed.
    only: Option<Vec<Slot>>,
}

impl Wanted {
    /// Of a job: where it is done.
    fn over(&self) -> &[Post] {
        self.runs.as_ref().map_or(&[], |it| it.over.as_slice())
    }
}

/// What the scheduler is asked of services that are placed in one go.
fn asked<'a>(layout: &'a Layout, services: &'a [Wanted], together: bool) -> Unit<'a> {
    Unit { demands: services.iter().filter_map(|it| demand(layout, it)).collect(), together }
}

fn demand<'a>(layout: &'a Layout, wanted: &'a Wanted) -> Option<Demand<'a>> {
    let Wanted { key, record, holders, only, .. } = wanted;
    let spec = layout.spec.services.get(&key.service)?;
    let count = match record.intent {
        Intent::Run | Intent::Stop if spec.deploy.mode.is_on_each_node() => Count::EachNode,
        Intent::Run | Intent::Stop => Count::Slots(record.replicas),
        Intent::Remove { .. } | Intent::Forget { .. } => Count::Slots(0),
    };
    let rules = layout.rules.get(&key.service)?;
    let only = only.as_deref();
    Some(Demand { service: key, rules, count, only, holders, wishes: &record.moves })
}

fn holder(it: &ContainerRecord, service: &ServiceRecord) -> Holder {
    let standing = match it.state {
        ContainerState::Pending if it.runtime_id.is_none() => 0,
        // It is being stopped for another's sake, or was.
        _ if it.starts == 0 => 1,
        ContainerState::Pending | ContainerState::Stopped | ContainerState::Failed => 2,
        ContainerState::Unhealthy => 3,
        ContainerState::Running | ContainerState::Healthy => 4,
    };
    // Of two that are as well, the one that need not be replaced stays.
    let rank = match standing {
        0 => 0,
        _ => 2 * standing + u8::from(it.revision == service.template.revision),
    };
    Holder { slot: it.slot, node: it.node, rank, created: it.created, id: it.id }
}
