//! Services that must share one node: all of them go to the same.

use std::{cmp::Reverse, collections::BTreeMap};

use super::{
    hash::{Score, service_seed, slot_seed},
    objection::Objection,
    site::Standing,
    spot::Scene,
    unit::{Demand, Holder, Why},
};
use crate::model::{ContainerId, NodeId, Slot, WallTime};

/// Services that share a node, with what holds their slots.
pub(super) struct Together<'s, 'a> {
    scene: &'s Scene<'a>,
    /// For each service its holders, the best of each slot first.
    holders: Vec<Vec<&'a Holder>>,
}

/// What there is room for at one node.
#[derive(Default)]
pub(super) struct Room {
    /// The slots that have a place there, each with its service's number.
    pub(super) posts: Vec<(usize, Slot)>,
    /// Those that have none, and why.
    pub(super) left: Vec<(usize, Slot, Objection)>,
}

impl<'s, 'a> Together<'s, 'a> {
    pub(super) fn new(scene: &'s Scene<'a>) -> Self {
        let sorted = |demand: &&'a Demand<'a>| {
            let mut holders: Vec<&Holder> =
                demand.holders.iter().filter(|it| demand.wants(it.slot)).collect();
            holders.sort_unstable_by_key(|it| (it.slot, Reverse((it.rank, it.created)), it.id));
            holders
        };
        Self { scene, holders: scene.demands.iter().map(sorted).collect() }
    }

    /// The node for all of them, as its position, and why it.
    pub(super) fn node(&self) -> Option<(usize, Why)> {
        let wished = self.wished().map(|it| (it, Why::Wished));
        let kept = || self.held(Standing::keeps, true).map(|it| (it, Why::Kept));
        let chosen = || self.chosen().map(|it| (it, Why::Chosen));
        let stranded = || {
            let is_draining = |it: Standing| it == Standing::Draining;
            self.held(is_draining, false).map(|it| (it, Why::Stranded))
        };
        wished.or_else(kept).or_else(chosen).or_else(stranded)
    }

    /// Where the first wish that can be fulfilled wants them.
    fn wished(&self) -> Option<usize> {
        let nodes = self.scene.demands.iter().flat_map(|it| it.wishes.values());
        let mut indices = nodes.filter_map(|it| self.scene.sites.index(*it));
        let index = indices.find(|it| self.is_eligible(*it) && self.room(*it).left.is_empty())?;
        (self.held(Standing::keeps, true) != Some(index)).then_some(index)
    }

    /// Where most of their slots are; of several such nodes where the newest container is.
    fn held(&self, keeps: impl Fn(Standing) -> bool, by_volume: bool) -> Option<usize> {
        type Claim = (u32, (WallTime, Reverse<ContainerId>));
        let mut claims: BTreeMap<usize, Claim> = BTreeMap::new();
        let mut judged: BTreeMap<NodeId, Option<usize>> = BTreeMap::new();
        for holders in &self.holders {
            for group in holders.chunk_by(|a, b| a.slot == b.slot) {
                let best = group.iter().find_map(|holder| {
                    let index = *judged.entry(holder.node).or_insert_with(|| {
                        let index = self.scene.sites.index(holder.node)?;
                        let standing = self.scene.sites.places()[index].site.standing;
                        (keeps(standing) && self.admits(index)).then_some(index)
                    });
                    let started = !by_volume || holder.rank != 0;
                    index.filter(|it| started || !self.is_far_from_a_volume(*it)).zip(Some(holder))
                });
                let Some((index, holder)) = best else { continue };
                let age = (holder.created, Reverse(holder.id));
                let claim = claims.entry(index).or_insert((0, age));
                *claim = (claim.0 + 1, claim.1.max(age));
            }
        }
        claims.into_iter().max_by_key(|(_, claim)| *claim).map(|(index, _)| index)
    }

    /// The node with the best claim that has room for all; if none has, the one that has room for most.
    fn chosen(&self) -> Option<usize> {
        let thing = slot_seed(service_seed(self.scene.demands.first()?.service), Slot(0));
        let places = self.scene.sites.places();
        let mut nodes: Vec<(Score, usize)> = (0..places.len())
            .filter(|it| self.is_eligible(*it))
            .map(|it| (Score::of(thing, places[it].seed, places[it].weight), it))
            .collect();
        nodes.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut best: Option<(usize, usize)> = None;
        for (_, index) in nodes {
            let Room { posts, left } = self.room(index);
            if left.is_empty() {
                return Some(index);
            }
            if best.is_none_or(|(most, _)| most < posts.len()) {
                best = Some((posts.len(), index));
            }
        }
        best.filter(|(most, _)| *most != 0).map(|(_, index)| index)
    }

    /// Whether nothing that lasts speaks against a node for any of them.
    fn admits(&self, index: usize) -> bool {
        self.scene.demands.iter().all(|it| self.scene.admits(it, index))
    }

    fn is_far_from_a_volume(&self, index: usize) -> bool {
        self.scene.demands.iter().any(|it| self.scene.volume_elsewhere(it, index).is_some())
    }

    /// Whether they may come to a node, as far as that lasts.
    pub(super) fn is_eligible(&self, index: usize) -> bool {
        self.scene.is_open(index) && self.admits(index) && !self.is_far_from_a_volume(index)
    }

    /// What there is room for at a node. What is there already goes first.
    pub(super) fn room(&self, index: usize) -> Room {
        let (mut room, mut spot) = (Room::default(), self.scene.spot(index));
        let id = self.scene.sites.places()[index].site.id;
        for (number, demand) in self.scene.demands.iter().enumerate() {
            spot.count = 0;
            let holders = &self.holders[number];
            let held = |slot: Slot| {
                let first = holders.partition_point(|it| it.slot < slot);
                holders[first..].iter().take_while(|it| it.slot == slot).find(|it| it.node == id)
            };
            let all = || demand.slots().into_iter().map(|it| (it, held(it).copied()));
            let there = all().filter(|it| it.1.is_some());
            for (slot, holder) in there.chain(all().filter(|it| it.1.is_none())) {
                match self.scene.objection(demand, &spot, holder) {
                    None => {
                        spot.take(demand, slot);
                        room.posts.push((number, slot));
                    }
                    Some(objection) => room.left.push((number, slot, objection)),
                }
            }
        }
        room
    }

    /// What speaks against a node, of which one service is told.
    pub(super) fn against(&self, index: usize, asked: usize) -> Vec<Objection> {
        let told = |number: usize, objection: Objection| {
            // That a node takes nothing new is nobody's in particular.
            if number == asked || matches!(objection, Objection::Closed(_)) {
                return objection;
            }
            let service = self.scene.demands[number].service.service.clone();
            Objection::Together(service, Box::new(objection))
        };
        let demands = self.scene.demands.iter().enumerate();
        let barred = demands.flat_map(|(number, demand)| {
            let all = self.scene.barred(demand, index);
            all.into_iter().map(move |it| told(number, it))
        });
        let mut found: Vec<Objection> = Vec::new();
        let left = self.room(index).left.into_iter().map(|(number, _, it)| told(number, it));
        for objection in barred.chain(left) {
            if !found.contains(&objection) {
                found.push(objection);
            }
        }
        found
    }
}
