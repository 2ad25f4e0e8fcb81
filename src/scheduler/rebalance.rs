//! Moves that give nodes their share of what runs already.
//!
//! Nothing moves because a node came: what runs stays. Only when somebody asks does this say what to
//! move, and it says as little as makes a difference. A service that has more on a node, or on a label's
//! value, than its share moves the surplus. A node that has less than half of its share of everything is
//! filled up to it, from nodes that have more than theirs, first with what it has the best claim to.
//! Below that, uneven hashes are no reason to move anything.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use super::{
    hash::{Gain, Score, service_seed, slot_seed},
    place::{place, scenes},
    shares::Shares,
    site::{Sites, Standing},
    spread::Spread,
    together::Together,
    unit::{Count, Demand, Unit, Why},
    usage::{Tenant, Usage},
};
use crate::model::{NodeId, ServiceKey, Slot, WallTime};

/// A slot that is to go from one node to another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Move {
    /// Of which service.
    pub service: ServiceKey,
    /// Which of its slots.
    pub slot: Slot,
    /// Where it is.
    pub from: NodeId,
    /// Where it is to be.
    pub to: NodeId,
}

/// What to move so that every node has its share, in the order of services and slots. Nothing if
/// nothing is to be gained.
#[must_use]
pub fn rebalance(units: &[Unit<'_>], sites: &Sites, usage: &Usage) -> Vec<Move> {
    let mut balance = Balance::new(units, sites, usage);
    balance.even_out();
    balance.fill_up();
    let mut moves = balance.moves;
    moves.sort_unstable();
    moves
}

/// A share is counted in parts of a replica, as many as this.
const WHOLE: u64 = 1 << 20;

struct Balance<'a> {
    sites: &'a Sites,
    /// With what was moved so far.
    usage: Usage,
    parts: Vec<Part<'a>>,
    /// For each node, how many replicas it has, and how many would be its share, in parts.
    loads: Vec<u64>,
    targets: Vec<u64>,
    moves: Vec<Move>,
}

/// What is placed in one go.
struct Part<'a> {
    demands: Vec<Demand<'a>>,
    together: bool,
    /// Each service's wishes, with the moves so far.
    wishes: Vec<BTreeMap<Slot, NodeId>>,
    /// What may move: each slot by itself, or all together.
    loose: Vec<Loose>,
    /// The shares of a service that is spread.
    shares: Option<Shares>,
}

/// What can move only as a whole.
#[derive(Clone, Debug)]
struct Loose {
    /// For its scores.
    thing: u64,
    /// Each with its service's number.
    slots: Vec<(usize, Slot)>,
    /// The node's position.
    at: usize,
}

impl<'a> Balance<'a> {
    fn new(units: &'a [Unit<'a>], sites: &'a Sites, usage: &'a Usage) -> Self {
        // What others are near to would take them along.
        let demands = units.iter().flat_map(|it| &it.demands);
        let anchors: BTreeSet<&ServiceKey> = demands.flat_map(|it| &it.rules.near).collect();
        let nodes = sites.places().len();
        let mut balance = Self {
            sites,
            usage: usage.clone(),
            parts: Vec::new(),
            loads: vec![0; nodes],
            targets: vec![0; nodes],
            moves: Vec::new(),
        };
        for unit in units {
            for scene in scenes(unit, sites, usage) {
                let demands = scene.demands.iter().map(|it| **it).collect();
                let wishes = scene.demands.iter().map(|it| it.wishes.clone()).collect();
                let together = scene.together;
                let mut part = Part { demands, together, wishes, loose: Vec::new(), shares: None };
                if together {
                    balance.weigh_together(&Together::new(&scene), &mut part);
                } else if let [demand] = scene.demands[..]
                    && let Count::Slots(_) = demand.count
                {
                    balance.weigh_spread(&Spread::run(&scene, demand), demand, &mut part);
                }
                if part.demands.iter().any(|it| anchors.contains(it.service)) {
                    part.loose.clear();
                }
                balance.parts.push(part);
            }
        }
        balance.parts.sort_by(|a, b| {
            let first = |it: &Part<'a>| it.demands.first().map(|it| it.service);
            first(a).cmp(&first(b))
        });
        balance
    }

    fn weigh_spread(&mut self, spread: &Spread<'_, 'a>, demand: &Demand<'a>, part: &mut Part<'a>) {
        let service = service_seed(demand.service);
        let posts = spread.slots.iter().zip(&spread.posts);
        let posts = posts.filter_map(|(&slot, post)| post.map(|(at, why)| (slot, at, why)));
        let mut placed = 0;
        for (slot, at, why) in posts {
            placed += 1;
            self.loads[at] += 1;
            if self.may_leave(at, why) {
                let thing = slot_seed(service, slot);
                part.loose.push(Loose { thing, slots: vec![(0, slot)], at });
            }
        }
        let shares = spread.shares();
        let eligible: Vec<usize> = shares.nodes.iter().map(|it| it.index).collect();
        self.aim(&eligible, placed);
        part.shares = Some(shares);
    }

    fn weigh_together(&mut self, together: &Together<'_, 'a>, part: &mut Part<'a>) {
        let Some((at, why)) = together.node() else { return };
        let slots = together.room(at).posts;
        let Some(first) = part.demands.first() else { return };
        let thing = slot_seed(service_seed(first.service), Slot(0));
        let placed = slots.len() as u64;
        self.loads[at] += placed;
        if self.may_leave(at, why) && !slots.is_empty() {
            part.loose.push(Loose { thing, slots, at });
        }
        let nodes = 0..self.loads.len();
        let eligible: Vec<usize> = nodes.filter(|it| together.is_eligible(*it)).collect();
        self.aim(&eligible, placed);
    }

    /// Only what runs where it may stay is moved by this; all else is on its way already.
    fn may_leave(&self, at: usize, why: Why) -> bool {
        why == Why::Kept && self.sites.places()[at].site.standing == Standing::Open
    }

    /// So many replicas are to be on these nodes, by their weight.
    fn aim(&mut self, nodes: &[usize], replicas: u64) {
        let weight = |it: usize| u128::from(self.sites.places()[it].weight);
        let total: u128 = nodes.iter().map(|it| weight(*it)).sum();
        for node in nodes {
            // Rounded up, or ten tenths would be less than one.
            let share = (u128::from(replicas * WHOLE) * weight(*node)).div_ceil(total);
            self.targets[*node] += share as u64;
        }
    }

    /// Every service moves what makes it more even.
    fn even_out(&mut self) {
        for number in 0..self.parts.len() {
            let Some(mut shares) = self.parts[number].shares.take() else { continue };
            let mut refused = BTreeSet::new();
            while let Some((loose, to)) = self.evener(number, &shares, &refused) {
                let ends = shares.position(loose.at).zip(shares.position(to));
                if self.try_move(number, &loose, to)
                    && let Some((from, to)) = ends
                {
                    shares.leave(from);
                    shares.take(to);
                } else {
                    refused.insert((loose.thing, to));
                }
            }
            self.parts[number].shares = Some(shares);
        }
    }

    /// A slot that should go, from where most are to where fewest are, and is the best of these there.
    fn evener(
        &self,
        number: usize,
        shares: &Shares,
        refused: &BTreeSet<(u64, usize)>,
    ) -> Option<(Loose, usize)> {
        let mut best: Option<(&Loose, usize, usize)> = None;
        for loose in &self.parts[number].loose {
            let Some(from) = shares.position(loose.at) else { continue };
            for (to, node) in shares.nodes.iter().enumerate() {
                if !shares.evens_out(from, to) || refused.contains(&(loose.thing, node.index)) {
                    continue;
                }
                let better = best.is_none_or(|(other, other_from, other_to)| {
                    let fuller = shares.fuller(from, other_from);
                    let emptier = shares.fuller(other_to, to);
                    let gain =
                        |it: &Loose, to: usize| self.score(it, to).over(self.score(it, it.at));
                    let gains = || gain(loose, node.index);
                    let others = || gain(other, shares.nodes[other_to].index);
                    fuller.then(emptier).then_with(|| gains().cmp(&others())).is_gt()
                });
                if better {
                    best = Some((loose, from, to));
                }
            }
        }
        best.map(|(loose, _, to)| (loose.clone(), shares.nodes[to].index))
    }

    /// Nodes that have less than half of their share get it.
    fn fill_up(&mut self) {
        for to in 0..self.loads.len() {
            let share = self.targets[to] / WHOLE;
            if share <= self.loads[to] * 2 || self.loads[to] == share {
                continue;
            }
            let mut found: Vec<(Reverse<Gain>, usize, Loose)> = Vec::new();
            for (number, part) in self.parts.iter().enumerate() {
                let movable = part.loose.iter().filter(|it| it.at != to);
                found.extend(movable.map(|it| {
                    let gain = self.score(it, to).over(self.score(it, it.at));
                    (Reverse(gain), number, it.clone())
                }));
            }
            // Parts and slots are in their order already.
            found.sort_by_key(|it| it.0);
            for (_, number, it) in found {
                let size = it.slots.len() as u64;
                let gives = self.targets[it.at] / WHOLE + size <= self.loads[it.at];
                if gives
                    && self.loads[to] + size <= share
                    && self.bears(number, it.at, to)
                    && self.try_move(number, &it, to)
                {
                    self.note(number, it.at, to);
                }
            }
        }
    }

    /// Whether a service is no less even for it.
    fn bears(&self, number: usize, from: usize, to: usize) -> bool {
        self.parts[number].shares.as_ref().is_none_or(|it| {
            let ends = it.position(from).zip(it.position(to));
            ends.is_some_and(|(from, to)| it.bears(from, to))
        })
    }

    /// One of a service that is spread has moved.
    fn note(&mut self, number: usize, from: usize, to: usize) {
        let Some(shares) = &mut self.parts[number].shares else { return };
        if let (Some(from), Some(to)) = (shares.position(from), shares.position(to)) {
            shares.leave(from);
            shares.take(to);
        }
    }

    fn score(&self, loose: &Loose, at: usize) -> Score {
        let place = &self.sites.places()[at];
        Score::of(loose.thing, place.seed, place.weight)
    }

    /// Moves something if it can be placed there, and nothing else leaves its place for it.
    fn try_move(&mut self, number: usize, loose: &Loose, to: usize) -> bool {
        let node = self.sites.places()[to].site.id;
        let part = &mut self.parts[number];
        let mut wishes = part.wishes.clone();
        for (demand, slot) in &loose.slots {
            wishes[*demand].insert(*slot, node);
        }
        let before = part.placed(&part.wishes, self.sites, &self.usage);
        let after = part.placed(&wishes, self.sites, &self.usage);
        let moved = |it: &(usize, Slot)| after.get(it) == Some(&node);
        let others = before.iter().filter(|(it, _)| !loose.slots.contains(it));
        let others_stay = others.into_iter().all(|(it, at)| after.get(it) == Some(at));
        if !loose.slots.iter().all(moved) || !others_stay {
            return false;
        }
        part.wishes = wishes;
        part.loose.retain(|it| it.slots != loose.slots);
        for (demand, slot) in &loose.slots {
            let Demand { service, rules, .. } = part.demands[*demand];
            let created = WallTime(u64::MAX);
            let tenant = Tenant { service, slot: *slot, created, charge: rules.charge() };
            self.usage.add(node, tenant);
            let from = self.sites.places()[loose.at].site.id;
            self.moves.push(Move { service: service.clone(), slot: *slot, from, to: node });
        }
        let size = loose.slots.len() as u64;
        self.loads[loose.at] -= size;
        self.loads[to] += size;
        true
    }
}

impl Part<'_> {
    /// Where everything would be with these wishes.
    fn placed(
        &self,
        wishes: &[BTreeMap<Slot, NodeId>],
        sites: &Sites,
        usage: &Usage,
    ) -> BTreeMap<(usize, Slot), NodeId> {
        let demands = self.demands.iter().zip(wishes);
        let demands = demands.map(|(demand, wishes)| Demand { wishes, ..*demand }).collect();
        let placement = place(&Unit { demands, together: self.together }, sites, usage);
        let number = |service| self.demands.iter().position(|it| it.service.service == service);
        let posts = placement.posts.into_iter();
        posts.filter_map(|it| Some(((number(it.service)?, it.slot), it.node))).collect()
    }
}
