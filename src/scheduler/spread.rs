//! One service over the nodes: what is somewhere stays, and the rest goes where its claim is best and
//! its share is not used up.
//!
//! What a node's share is `shares` says.

use std::cmp::Reverse;

use super::{
    hash::{service_seed, slot_seed},
    objection::Objection,
    shares::Shares,
    site::Standing,
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
    /// In order.
    pub(super) slots: Vec<Slot>,
    /// By slot: the node's position.
    pub(super) posts: Vec<Option<(usize, Why)>>,
}

impl<'s, 'a> Spread<'s, 'a> {
    /// Places a service's slots.
    pub(super) fn run(scene: &'s Scene<'a>, demand: &'a Demand<'a>) -> Self {
        let spots = scene.sites.places().iter().map(|_| None).collect();
        let slots = demand.slots();
        let posts = vec![None; slots.len()];
        let mut spread = Self { scene, demand, spots, slots, posts };
        let mut holders: Vec<&Holder> =
            demand.holders.iter().filter(|it| demand.wants(it.slot)).collect();
        holders.sort_unstable_by_key(|it| (it.slot, Reverse((it.rank, it.created)), it.id));
        let groups = || holders.chunk_by(|a, b| a.slot == b.slot);
        for group in groups().filter(|it| !demand.wishes.contains_key(&it[0].slot)) {
            spread.keep(group);
        }
        for (slot, node) in demand.wishes.iter().filter(|it| demand.wants(*it.0)) {
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
        self.slots.binary_search(&slot).is_ok_and(|at| self.posts[at].is_none())
    }

    fn post(&mut self, slot: Slot, index: usize, why: Why) {
        let Ok(at) = self.slots.binary_search(&slot) else { return };
        self.posts[at] = Some((index, why));
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
        let posts = self.slots.iter().zip(&self.posts);
        let open: Vec<Slot> = posts.filter(|it| it.1.is_none()).map(|it| *it.0).collect();
        if open.is_empty() {
            return;
        }
        let quotas = self.quotas();
        let mut shares = self.shares();
        shares.free.retain(|it| self.fits(shares.nodes[*it].index, None));
        let service = service_seed(self.demand.service);
        for slot in open {
            let seed = slot_seed(service, slot);
            let best = shares.best_within(seed, &quotas).or_else(|| shares.best(seed));
            let Some(best) = best else { return };
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

    /// How many of the service each node that may have it would have if all its slots were placed anew. That
    /// does not depend on which are placed already: so a node that has heard of some that others placed
    /// places the rest as they do.
    fn quotas(&self) -> Vec<u64> {
        let eligible: Vec<usize> =
            (0..self.spots.len()).filter(|it| self.is_eligible(*it)).collect();
        let kept = |index: usize| match self.is_eligible(index) {
            true => 0,
            false => self.spots[index].as_ref().map_or(0, |it| u64::from(it.count)),
        };
        let elsewhere: u64 = (0..self.spots.len()).map(kept).sum();
        let mut shares = Shares::new(self.scene, self.demand, &eligible, kept);
        let mut spots: Vec<Spot<'_>> =
            shares.nodes.iter().map(|it| self.scene.spot(it.index)).collect();
        shares.free.retain(|it| self.scene.fits(self.demand, &spots[*it], None));
        let service = service_seed(self.demand.service);
        for slot in elsewhere..self.posts.len() as u64 {
            let Some(best) = shares.best(service) else { break };
            shares.take(best);
            spots[best].take(self.demand, Slot(u32::try_from(slot).unwrap_or(u32::MAX)));
            if !self.scene.fits(self.demand, &spots[best], None) {
                shares.free.retain(|it| *it != best);
            }
        }
        shares.counts()
    }

    /// What every node and label has of the service.
    pub(super) fn shares(&self) -> Shares {
        let nodes = 0..self.spots.len();
        let eligible: Vec<usize> = nodes.filter(|it| self.is_eligible(*it)).collect();
        let count = |index: usize| self.spots[index].as_ref().map_or(0, |it| u64::from(it.count));
        Shares::new(self.scene, self.demand, &eligible, count)
    }
}
