//! One service over the nodes: what is somewhere stays, and the rest goes where its claim is best and
//! its share is not used up.
//!
//! The share is the load bound of consistent hashing with bounded loads (Mirrokni, Thorup,
//! Zadimoghaddam, 2018) with no slack: of `n` replicas a node takes `n * weight / sum of weights`,
//! rounded up, before any takes more.

use std::collections::BTreeMap;

use super::{
    hash::{Score, service_seed, slot_seed},
    objection::Objection,
    spot::{Scene, Spot},
    unit::{Demand, Holder, Why},
};
use crate::model::{NodeId, Slot};

/// One service while it is being placed.
pub(super) struct Spread<'s, 'a> {
    scene: &'s Scene<'a>,
    demand: &'a Demand<'a>,
    /// By the node's position; none where nothing was asked yet.
    spots: Vec<Option<Spot<'a>>>,
    /// By slot: the node's position.
    pub(super) posts: Vec<Option<(usize, Why)>>,
}

impl<'s, 'a> Spread<'s, 'a> {
    /// Places a service's slots.
    pub(super) fn run(scene: &'s Scene<'a>, demand: &'a Demand<'a>, slots: u32) -> Self {
        let spots = scene.sites.places().iter().map(|_| None).collect();
        let posts = vec![None; slots as usize];
        let mut spread = Self { scene, demand, spots, posts };
        let mut holders: Vec<&Holder> =
            demand.holders.iter().filter(|it| (1..=slots).contains(&it.slot.0)).collect();
        holders.sort_unstable_by_key(|it| (it.slot, !it.rank, it.created, it.id));
        let groups = || holders.chunk_by(|a, b| a.slot == b.slot);
        for group in groups().filter(|it| !demand.wishes.contains_key(&it[0].slot)) {
            spread.keep(group);
        }
        for (slot, node) in demand.wishes.iter().filter(|it| (1..=slots).contains(&it.0.0)) {
            let group = groups().find(|it| it[0].slot == *slot).unwrap_or_default();
            spread.heed(*slot, *node, group);
        }
        spread.choose();
        for group in groups() {
            spread.strand(group);
        }
        spread
    }

    fn is_open(&self, slot: Slot) -> bool {
        self.posts[slot.0 as usize - 1].is_none()
    }

    fn post(&mut self, slot: Slot, index: usize, why: Why) {
        self.posts[slot.0 as usize - 1] = Some((index, why));
        let (scene, demand) = (self.scene, self.demand);
        self.spots[index].get_or_insert_with(|| scene.spot(index)).take(demand, slot);
    }

    fn fits(&mut self, index: usize, held: Option<&Holder>) -> bool {
        let (scene, demand) = (self.scene, self.demand);
        let spot = self.spots[index].get_or_insert_with(|| scene.spot(index));
        scene.fits(demand, spot, held)
    }

    /// A slot stays with the best of its holders that may have it.
    fn keep(&mut self, holders: &[&Holder]) {
        let best = holders.iter().find_map(|holder| {
            let index = self.scene.sites.index(holder.node)?;
            self.may_stay(holder, index).then_some((holder.slot, index))
        });
        if let Some((slot, index)) = best {
            self.post(slot, index, Why::Kept);
        }
    }

    fn may_stay(&mut self, holder: &Holder, index: usize) -> bool {
        self.scene.sites.places()[index].site.standing.keeps()
            && self.scene.admits(self.demand, index)
            && !self.is_far_from_its_volume(holder, index)
            && self.fits(index, Some(holder))
    }

    /// Nothing was started yet, and the volume turns out to be elsewhere. Of several replicas each has
    /// its own volume, of which the first to start is the first to have one.
    fn is_far_from_its_volume(&self, holder: &Holder, index: usize) -> bool {
        holder.rank == 0
            && self.posts.len() == 1
            && self.scene.volume_elsewhere(self.demand, index).is_some()
    }

    /// Whether a node may have something new of the service, as far as that lasts.
    fn is_eligible(&self, index: usize) -> bool {
        self.scene.is_open(index)
            && self.scene.admits(self.demand, index)
            && self.scene.volume_elsewhere(self.demand, index).is_none()
    }

    /// A slot goes where somebody wants it, if it can; else it stays.
    fn heed(&mut self, slot: Slot, node: NodeId, holders: &[&Holder]) {
        let there: Vec<&Holder> = holders.iter().copied().filter(|it| it.node == node).collect();
        self.keep(&there);
        if !self.is_open(slot) {
            return;
        }
        match self.scene.sites.index(node) {
            Some(index) if self.is_eligible(index) && self.fits(index, None) => {
                self.post(slot, index, Why::Wished);
            }
            Some(_) | None => self.keep(holders),
        }
    }

    /// Slots without a node get one.
    fn choose(&mut self) {
        let open: Vec<Slot> = (1..).map(Slot).take(self.posts.len()).collect();
        let open: Vec<Slot> = open.into_iter().filter(|it| self.is_open(*it)).collect();
        if open.is_empty() {
            return;
        }
        let mut shares = self.shares();
        shares.free.retain(|it| self.fits(shares.nodes[*it].index, None));
        let service = service_seed(self.demand.service);
        for slot in open {
            let Some(best) = shares.best(slot_seed(service, slot)) else { return };
            let index = shares.nodes[best].index;
            self.post(slot, index, Why::Chosen);
            shares.take(best);
            if !self.fits(index, None) {
                shares.free.retain(|it| *it != best);
            }
        }
    }

    /// What is on a node that is to be emptied stays there when there is no other.
    fn strand(&mut self, holders: &[&Holder]) {
        use super::site::Standing;
        if !self.is_open(holders[0].slot) {
            return;
        }
        let stays = holders.iter().find_map(|holder| {
            let index = self.scene.sites.index(holder.node)?;
            let is_draining = self.scene.sites.places()[index].site.standing == Standing::Draining;
            let stays = is_draining
                && self.scene.admits(self.demand, index)
                && self.fits(index, Some(holder));
            stays.then_some((holder.slot, index))
        });
        if let Some((slot, index)) = stays {
            self.post(slot, index, Why::Stranded);
        }
    }

    /// What speaks against one more at a node.
    pub(super) fn against(&self, index: usize) -> Vec<Objection> {
        let mut found = self.scene.barred(self.demand, index);
        let new = || self.scene.spot(index);
        let spot = self.spots[index].clone().unwrap_or_else(new);
        found.extend(self.scene.objections(self.demand, &spot));
        found
    }

    /// How many are on a node.
    fn count(&self, index: usize) -> u32 {
        self.spots[index].as_ref().map_or(0, |it| it.count)
    }

    /// Each node's and each label's share, and what they have of it.
    pub(super) fn shares(&self) -> Shares {
        let places = self.scene.sites.places();
        let eligible: Vec<usize> = (0..places.len()).filter(|it| self.is_eligible(*it)).collect();
        let mut shares = Shares { nodes: Vec::new(), free: Vec::new(), levels: Vec::new() };
        // Groups of nodes that agree in the labels so far; first there is one, of all.
        let mut bounds = vec![self.posts.len() as u64];
        let mut group: Vec<Option<usize>> = vec![Some(0); places.len()];
        let mut groups_of = vec![Vec::new(); places.len()];
        for label in &self.demand.rules.spread {
            let value = |index: usize| places[index].site.labels.get(label).map(String::as_str);
            let mut children: BTreeMap<(usize, Option<&str>), usize> = BTreeMap::new();
            for index in &eligible {
                let parent = group[*index].unwrap_or_default();
                children.entry((parent, value(*index))).or_default();
            }
            let mut siblings = vec![0; bounds.len()];
            for (number, ((parent, _), child)) in children.iter_mut().enumerate() {
                *child = number;
                siblings[*parent] += 1;
            }
            let split = |(parent, _): &(usize, _)| bounds[*parent].div_ceil(siblings[*parent]);
            let split: Vec<u64> = children.keys().map(split).collect();
            let mut level = Level { counts: vec![0; split.len()], bounds: split.clone() };
            for index in 0..places.len() {
                group[index] =
                    group[index].and_then(|it| children.get(&(it, value(index)))).copied();
                if let Some(child) = group[index] {
                    level.counts[child] += u64::from(self.count(index));
                    groups_of[index].push(child);
                }
            }
            shares.levels.push(level);
            bounds = split;
        }
        let mut weights = vec![0; bounds.len()];
        for index in &eligible {
            weights[group[*index].unwrap_or_default()] += places[*index].weight;
        }
        for index in eligible {
            let (place, group) = (&places[index], group[index].unwrap_or_default());
            shares.free.push(shares.nodes.len());
            shares.nodes.push(NodeShare {
                index,
                seed: place.seed,
                weight: place.weight,
                count: u64::from(self.count(index)),
                bound: (bounds[group] * place.weight).div_ceil(weights[group]),
                disturbs: self.scene.disturbs(self.demand, index),
                groups: std::mem::take(&mut groups_of[index]),
            });
        }
        shares
    }
}

/// Each node's and each label's share of a service.
pub(super) struct Shares {
    /// The nodes that may have the service, in the order of their ids.
    pub(super) nodes: Vec<NodeShare>,
    /// Those with room for one more, as positions among them.
    free: Vec<usize>,
    /// For each label to spread over.
    levels: Vec<Level>,
}

/// A node's share.
pub(super) struct NodeShare {
    /// Its position among all nodes.
    pub(super) index: usize,
    seed: u64,
    weight: u64,
    /// What it has.
    count: u64,
    /// What it takes before any takes more.
    bound: u64,
    /// Whether something would have to leave.
    disturbs: bool,
    /// Its group on each level.
    groups: Vec<usize>,
}

/// The values of a label, each below a value of the label before.
struct Level {
    counts: Vec<u64>,
    bounds: Vec<u64>,
}

impl Level {
    /// By how much a group would be over its share with one more.
    fn excess(&self, group: usize) -> u64 {
        (self.counts[group] + 1).saturating_sub(self.bounds[group])
    }
}

impl Shares {
    /// The node with the best claim to a slot, of those that are least over their shares, the first
    /// label's share counting most; if possible one where nothing has to leave for it.
    fn best(&self, slot: u64) -> Option<usize> {
        let mut nodes = self.free.clone();
        if nodes.iter().any(|it| !self.nodes[*it].disturbs) {
            nodes.retain(|it| !self.nodes[*it].disturbs);
        }
        for (depth, level) in self.levels.iter().enumerate() {
            let excess = |it: &usize| level.excess(self.nodes[*it].groups[depth]);
            let least = nodes.iter().map(excess).min()?;
            nodes.retain(|it| excess(it) == least);
        }
        let mut best: Option<(u64, Score, usize)> = None;
        for number in nodes {
            let node = &self.nodes[number];
            let excess = (node.count + 1).saturating_sub(node.bound);
            if best.is_some_and(|it| it.0 < excess) {
                continue;
            }
            let score = Score::of(slot, node.seed, node.weight);
            if best.is_none_or(|it| excess < it.0 || it.1 < score) {
                best = Some((excess, score, number));
            }
        }
        best.map(|it| it.2)
    }

    /// A node gets one more.
    pub(super) fn take(&mut self, node: usize) {
        let Self { nodes, levels, free: _ } = self;
        nodes[node].count += 1;
        for (level, group) in levels.iter_mut().zip(&nodes[node].groups) {
            level.counts[*group] += 1;
        }
    }

    /// A node has one less.
    pub(super) fn leave(&mut self, node: usize) {
        let Self { nodes, levels, free: _ } = self;
        nodes[node].count -= 1;
        for (level, group) in levels.iter_mut().zip(&nodes[node].groups) {
            level.counts[*group] -= 1;
        }
    }

    /// A node among those that may have the service, by its position among all.
    pub(super) fn position(&self, index: usize) -> Option<usize> {
        self.nodes.binary_search_by_key(&index, |it| it.index).ok()
    }

    /// Whether a node, or a label's value that it has, has more than its share.
    pub(super) fn is_over(&self, node: usize) -> bool {
        let NodeShare { count, bound, groups, .. } = &self.nodes[node];
        let over = |(level, group): (&Level, &usize)| level.bounds[*group] < level.counts[*group];
        bound < count || self.levels.iter().zip(groups).any(over)
    }

    /// Whether one more is within its share.
    pub(super) fn has_room(&self, node: usize) -> bool {
        let NodeShare { count, bound, groups, .. } = &self.nodes[node];
        let full = |(level, group): (&Level, &usize)| level.excess(*group) != 0;
        count < bound && !self.levels.iter().zip(groups).any(full)
    }

    /// The node with the best claim to a slot, of those that have not got their share.
    pub(super) fn within(&self, slot: u64) -> Option<usize> {
        let nodes = (0..self.nodes.len()).filter(|it| self.has_room(*it));
        let score = |it: &usize| Score::of(slot, self.nodes[*it].seed, self.nodes[*it].weight);
        nodes.max_by(|a, b| score(a).cmp(&score(b)).then(b.cmp(a)))
    }
}
