//! What each node and each label to spread over has of a service, and what it may have.
//!
//! A node's share is the load bound of consistent hashing with bounded loads (Mirrokni, Thorup,
//! Zadimoghaddam: "Consistent hashing with bounded loads", 2018) with no slack: with the `k`th replica no
//! node has more than `k * weight / sum of weights`, rounded up. So four replicas on three equal nodes
//! are 2, 1 and 1. Over the values of a label replicas are spread evenly, whatever the nodes behind each
//! weigh, as Docker does it; the nodes of a value then share what it got.

use std::{cmp::Ordering, collections::BTreeMap};

use super::{hash::Score, spot::Scene, unit::Demand};

/// What each node and each label to spread over has of a service.
pub(super) struct Shares {
    /// The nodes that may have the service, in the order of their ids.
    pub(super) nodes: Vec<NodeShare>,
    /// Those with room for one more, as positions among them.
    pub(super) free: Vec<usize>,
    /// For each label to spread over how many each group of nodes has: those that agree in the labels
    /// so far.
    levels: Vec<Vec<u64>>,
    /// The groups of the last level, or one of all nodes: how many are on their nodes, and what these
    /// weigh.
    pools: Vec<Pool>,
    /// Whether something would have to leave some node.
    disturbing: bool,
}

#[derive(Clone, Default)]
struct Pool {
    count: u64,
    weight: u64,
}

/// What a node has.
pub(super) struct NodeShare {
    /// Its position among all nodes.
    pub(super) index: usize,
    seed: u64,
    weight: u64,
    count: u64,
    /// Whether something would have to leave.
    disturbs: bool,
    /// Its group on each level.
    groups: Vec<usize>,
    pool: usize,
}

impl Shares {
    /// Of a service, on these nodes, which have so many of it.
    pub(super) fn new<'a>(
        scene: &Scene<'a>,
        demand: &Demand<'a>,
        eligible: &[usize],
        count: impl Fn(usize) -> u64,
    ) -> Self {
        let places = scene.sites.places();
        let mut levels = Vec::new();
        let mut pool = vec![Some(0); places.len()];
        let mut groups = vec![Vec::new(); places.len()];
        for label in &demand.rules.spread {
            let value = |index: usize| places[index].site.labels.get(label).map(String::as_str);
            let mut children: BTreeMap<(Option<usize>, Option<&str>), usize> =
                eligible.iter().map(|it| ((pool[*it], value(*it)), 0)).collect();
            for (number, child) in children.values_mut().enumerate() {
                *child = number;
            }
            // What is kept on a node that takes no more counts for its label too.
            let mut counts = vec![0; children.len()];
            for index in 0..places.len() {
                pool[index] = children.get(&(pool[index], value(index))).copied();
                if let Some(child) = pool[index] {
                    counts[child] += count(index);
                    groups[index].push(child);
                }
            }
            levels.push(counts);
        }
        let mut shares = Self {
            nodes: Vec::new(),
            free: Vec::new(),
            levels,
            pools: Vec::new(),
            disturbing: false,
        };
        for index in eligible {
            let (place, pool) = (&places[*index], pool[*index].unwrap_or_default());
            let node = NodeShare {
                index: *index,
                seed: place.seed,
                weight: place.weight,
                count: count(*index),
                disturbs: scene.disturbs(demand, *index),
                groups: std::mem::take(&mut groups[*index]),
                pool,
            };
            let pools = shares.pools.len().max(pool + 1);
            shares.pools.resize(pools, Pool::default());
            shares.pools[pool].count += node.count;
            shares.pools[pool].weight += node.weight;
            shares.disturbing |= node.disturbs;
            shares.free.push(shares.nodes.len());
            shares.nodes.push(node);
        }
        shares
    }

    /// The node with the best claim to a slot, of those that have least of what they may have, the
    /// first label counting most; if possible one where nothing has to leave for it.
    pub(super) fn best(&self, slot: u64) -> Option<usize> {
        let mut nodes = self.free.clone();
        if self.disturbing && nodes.iter().any(|it| !self.nodes[*it].disturbs) {
            nodes.retain(|it| !self.nodes[*it].disturbs);
        }
        for (depth, counts) in self.levels.iter().enumerate() {
            let count = |it: &usize| counts[self.nodes[*it].groups[depth]];
            let least = nodes.iter().map(count).min()?;
            nodes.retain(|it| count(it) == least);
        }
        let mut best: Option<(u64, Score, usize)> = None;
        for number in nodes {
            let node = &self.nodes[number];
            let excess = self.excess(node);
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

    /// The node with the best claim to a slot, of those that have less than this; if possible one where
    /// nothing has to leave for it.
    pub(super) fn best_within(&self, slot: u64, quotas: &[u64]) -> Option<usize> {
        let below = |it: &usize| self.nodes[*it].count < quotas[*it];
        let mut nodes: Vec<usize> = self.free.iter().copied().filter(below).collect();
        if nodes.iter().any(|it| !self.nodes[*it].disturbs) {
            nodes.retain(|it| !self.nodes[*it].disturbs);
        }
        let claim = |it: &usize| Score::of(slot, self.nodes[*it].seed, self.nodes[*it].weight);
        nodes.into_iter().max_by(|a, b| claim(a).cmp(&claim(b)).then(b.cmp(a)))
    }

    /// What each node has.
    pub(super) fn counts(&self) -> Vec<u64> {
        self.nodes.iter().map(|it| it.count).collect()
    }

    /// By how much a node would be over its share with one more.
    fn excess(&self, node: &NodeShare) -> u64 {
        let pool = &self.pools[node.pool];
        let share = (pool.count + 1) * node.weight;
        // Without a division where there is no need for one.
        match node.count * pool.weight < share {
            true => 0,
            false => node.count + 1 - share.div_ceil(pool.weight),
        }
    }

    /// A node gets one more.
    pub(super) fn take(&mut self, node: usize) {
        self.change(node, |it| *it += 1);
    }

    /// A node has one less.
    pub(super) fn leave(&mut self, node: usize) {
        self.change(node, |it| *it -= 1);
    }

    fn change(&mut self, node: usize, change: impl Fn(&mut u64)) {
        let node = &mut self.nodes[node];
        change(&mut node.count);
        change(&mut self.pools[node.pool].count);
        for (counts, group) in self.levels.iter_mut().zip(&node.groups) {
            change(&mut counts[*group]);
        }
    }

    /// A node among those that may have the service, by its position among all.
    pub(super) fn position(&self, index: usize) -> Option<usize> {
        self.nodes.binary_search_by_key(&index, |it| it.index).ok()
    }

    /// What the two nodes' groups have on the first level on which they are not in the same.
    fn differ(&self, from: usize, to: usize) -> Option<(u64, u64)> {
        let [from, to] = [from, to].map(|it| &self.nodes[it].groups);
        let mut levels = self.levels.iter().zip(from.iter().zip(to));
        levels.find(|(_, (a, b))| a != b).map(|(counts, (a, b))| (counts[*a], counts[*b]))
    }

    /// Which of two nodes is fuller, the first label counting most.
    pub(super) fn fuller(&self, one: usize, other: usize) -> Ordering {
        if let Some((one, other)) = self.differ(one, other).filter(|(one, other)| one != other) {
            return one.cmp(&other);
        }
        let [one, other] = [one, other].map(|it| &self.nodes[it]);
        (one.count * other.weight).cmp(&(other.count * one.weight))
    }

    /// Whether it is more even if one goes from a node to another.
    pub(super) fn evens_out(&self, from: usize, to: usize) -> bool {
        if let Some((has, would)) = self.differ(from, to) {
            return would + 1 < has;
        }
        let [from, to] = [from, to].map(|it| &self.nodes[it]);
        (to.count + 1) * from.weight < from.count * to.weight
    }

    /// Whether it is no less even if one goes from a node to another.
    pub(super) fn bears(&self, from: usize, to: usize) -> bool {
        let node = &self.nodes[to];
        let pool = &self.pools[node.pool];
        let (fair, more) = match self.differ(from, to) {
            Some((has, would)) => (would < has, 1),
            None => (true, 0),
        };
        fair && node.count * pool.weight < (pool.count + more) * node.weight
    }
}
