//! A unit's placement, and why it is so.

use std::sync::Arc;

use super::{
    objection::Objection,
    site::{Sites, Standing},
    spot::Scene,
    spread::Spread,
    together::Together,
    unit::{Count, Demand, Holder, Pending, Placement, Post, Unit, Why},
    usage::Usage,
};
use crate::model::{NodeId, ServiceName, Slot};

/// Places a unit. The same nodes, usage and holders give the same placement everywhere, in whatever
/// order they are handed in.
///
/// `usage` says what has been decided so far: the caller adds what comes out before it places the next
/// unit, so that two units do not take the same memory. What it says of the unit's own services does
/// not count.
#[must_use]
pub fn place(unit: &Unit<'_>, sites: &Sites, usage: &Usage) -> Placement {
    let mut placement = Placement::default();
    for scene in scenes(unit, sites, usage) {
        Case::of(&scene).tell(&mut placement);
    }
    placement.sorted()
}

/// What a service has on a node, or what speaks against the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Which node.
    pub node: NodeId,
    /// What people call it.
    pub name: String,
    /// The service's slots there.
    pub slots: Vec<(Slot, Why)>,
    /// What speaks against one more there. None, and no slots: it would do, and others have the better
    /// claim.
    pub objections: Vec<Objection>,
}

/// Says of each node what a service of a unit has there, and why or why not.
#[must_use]
pub fn explain(
    unit: &Unit<'_>,
    service: &ServiceName,
    sites: &Sites,
    usage: &Usage,
) -> Vec<Verdict> {
    for scene in scenes(unit, sites, usage) {
        let asked = scene.demands.iter().position(|it| it.service.service == *service);
        if let Some(asked) = asked {
            return Case::of(&scene).verdicts(asked);
        }
    }
    Vec::new()
}

/// What is placed in one go: all, or each service by itself.
pub(super) fn scenes<'a>(unit: &'a Unit<'a>, sites: &'a Sites, usage: &'a Usage) -> Vec<Scene<'a>> {
    let mut demands: Vec<&Demand<'_>> = unit.demands.iter().collect();
    demands.sort_unstable_by_key(|it| it.service);
    if unit.together {
        return vec![Scene::new(demands, true, sites, usage)];
    }
    demands.into_iter().map(|it| Scene::new(vec![it], false, sites, usage)).collect()
}

/// A scene, settled.
struct Case<'s, 'a> {
    scene: &'s Scene<'a>,
    kind: Kind<'s, 'a>,
}

enum Kind<'s, 'a> {
    Spread(&'a Demand<'a>, Spread<'s, 'a>),
    /// For each node whether it has one, and whether it should.
    Each(&'a Demand<'a>, Vec<Each>),
    Together(Together<'s, 'a>, Option<(usize, Why)>),
}

/// One node and a service that runs on each.
#[derive(Clone, Debug, PartialEq)]
enum Each {
    Has(Why),
    /// It should have one, and cannot for now.
    Lacks(Objection),
    /// It is not one of those that should have one.
    Not,
}

impl<'s, 'a> Case<'s, 'a> {
    fn of(scene: &'s Scene<'a>) -> Self {
        let kind = match (scene.together, scene.demands.first()) {
            (false, Some(demand)) => match demand.count {
                Count::Slots(_) => Kind::Spread(demand, Spread::run(scene, demand)),
                Count::EachNode => Kind::Each(demand, each_node(scene, demand)),
            },
            (true, _) | (false, None) => {
                let together = Together::new(scene);
                let node = together.node();
                Kind::Together(together, node)
            }
        };
        Self { scene, kind }
    }

    fn id(&self, index: usize) -> NodeId {
        self.scene.sites.places()[index].site.id
    }

    /// The first objection of each node.
    fn firsts(&self, against: impl Fn(usize) -> Vec<Objection>) -> Arc<Vec<(NodeId, Objection)>> {
        let nodes = 0..self.scene.sites.places().len();
        let first = |it| Some((self.id(it), against(it).into_iter().next()?));
        Arc::new(nodes.filter_map(first).collect())
    }

    /// Writes down where everything is to run.
    fn tell(&self, placement: &mut Placement) {
        match &self.kind {
            Kind::Spread(demand, spread) => {
                let mut whys = None;
                for (&slot, post) in spread.slots.iter().zip(&spread.posts) {
                    let service = demand.service.service.clone();
                    match post {
                        Some((index, why)) => {
                            let node = self.id(*index);
                            placement.posts.push(Post { service, slot, node, why: *why });
                        }
                        None => {
                            let why =
                                whys.get_or_insert_with(|| self.firsts(|it| spread.against(it)));
                            let why = Arc::clone(why);
                            placement.pending.push(Pending { service, slot, node: None, why });
                        }
                    }
                }
            }
            Kind::Each(demand, nodes) => {
                for (index, each) in nodes.iter().enumerate() {
                    let (service, slot) = (demand.service.service.clone(), Slot(1));
                    let node = self.id(index);
                    match each {
                        Each::Has(why) => {
                            placement.posts.push(Post { service, slot, node, why: *why });
                        }
                        Each::Lacks(objection) => {
                            let why = Arc::new(vec![(node, objection.clone())]);
                            let node = Some(node);
                            placement.pending.push(Pending { service, slot, node, why });
                        }
                        Each::Not => {}
                    }
                }
            }
            Kind::Together(together, node) => self.tell_together(together, *node, placement),
        }
    }

    fn tell_together(
        &self,
        together: &Together<'s, 'a>,
        node: Option<(usize, Why)>,
        placement: &mut Placement,
    ) {
        let name = |number: usize| self.scene.demands[number].service.service.clone();
        let Some((index, why)) = node else {
            for (number, demand) in self.scene.demands.iter().enumerate() {
                let whys = self.firsts(|it| together.against(it, number));
                for slot in demand.slots() {
                    let (service, why) = (name(number), Arc::clone(&whys));
                    placement.pending.push(Pending { service, slot, node: None, why });
                }
            }
            return;
        };
        let (room, node) = (together.room(index), self.id(index));
        for (number, slot) in room.posts {
            // On the node that all stay on, a slot that was not there is new.
            let is_here = |it: &Holder| it.slot == slot && it.node == node;
            let is_new =
                why == Why::Kept && !self.scene.demands[number].holders.iter().any(is_here);
            let why = if is_new { Why::Chosen } else { why };
            placement.posts.push(Post { service: name(number), slot, node, why });
        }
        for (number, slot, objection) in room.left {
            let why = Arc::new(vec![(node, objection)]);
            placement.pending.push(Pending { service: name(number), slot, node: None, why });
        }
    }

    fn verdicts(&self, asked: usize) -> Vec<Verdict> {
        let mut placement = Placement::default();
        self.tell(&mut placement);
        let service = &self.scene.demands[asked].service.service;
        let places = self.scene.sites.places();
        let verdict = |index: usize| {
            let site = &places[index].site;
            let here = placement.posts.iter();
            let here = here.filter(|it| it.node == site.id && it.service == *service);
            let slots: Vec<(Slot, Why)> = here.map(|it| (it.slot, it.why)).collect();
            let objections = match &self.kind {
                Kind::Spread(_, spread) => spread.against(index),
                Kind::Each(..) if !slots.is_empty() => Vec::new(),
                Kind::Each(demand, _) => {
                    let mut found = self.scene.barred(demand, index);
                    found.extend(self.scene.objections(demand, &self.scene.spot(index)));
                    found
                }
                Kind::Together(..) if !slots.is_empty() => Vec::new(),
                Kind::Together(together, _) => together.against(index, asked),
            };
            Verdict { node: site.id, name: site.name.clone(), slots, objections }
        };
        (0..places.len()).map(verdict).collect()
    }
}

/// A service that runs on each node: on each open one that it fits, and where it is already on those
/// that keep what they have.
fn each_node<'a>(scene: &Scene<'a>, demand: &'a Demand<'a>) -> Vec<Each> {
    let at = |index: usize| {
        let site = &scene.sites.places()[index].site;
        let (keeps, is_open) = (site.standing.keeps(), site.standing == Standing::Open);
        if !keeps || !scene.admits(demand, index) {
            return Each::Not;
        }
        let spot = scene.spot(index);
        let mut here = demand.holders.iter().filter(|it| it.node == site.id);
        if here.any(|it| scene.fits(demand, &spot, Some(it))) {
            return Each::Has(Why::Kept);
        }
        match scene.objection(demand, &spot, None) {
            _ if !is_open => Each::Not,
            None => Each::Has(Why::Chosen),
            Some(objection) => Each::Lacks(objection),
        }
    };
    (0..scene.sites.places().len()).map(at).collect()
}
