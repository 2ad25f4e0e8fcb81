//! What containers take of their nodes that others cannot have too, and who has to look again when that
//! changes.

use std::{collections::BTreeSet, sync::Arc};

use super::{Node, placement::Places};
use crate::{
    model::{ContainerId, Moment, NodeId, ProjectName, Slot},
    scheduler::Charge,
    state::ContainerRecord,
};

/// What a container takes, and of which node.
type Taken = Option<(NodeId, Arc<Charge>)>;

impl Node {
    /// Takes in what is agreed of a container now. What was known of it before.
    pub(super) fn note_container(
        &mut self,
        id: ContainerId,
        now: Moment,
    ) -> Option<Arc<ContainerRecord>> {
        let taken = self.fleet.taken(id);
        let record = self.state.container(id);
        let charged = record.map(|it| (it, self.charge_of(it)));
        let before = self.fleet.note(id, charged, now);
        let touched = [before.as_ref(), self.state.container(id)];
        for record in touched.into_iter().flatten() {
            self.agenda.stir(&record.service.project);
        }
        self.stir_rivals(taken, self.fleet.taken(id));
        before
    }

    /// Works out anew what the containers of a project take.
    pub(super) fn charge_anew(&mut self, project: &ProjectName) {
        let charges: Vec<(ContainerId, Arc<Charge>)> =
            self.fleet.of(project).map(|it| (it.id, self.charge_of(it))).collect();
        for (id, charge) in charges {
            let taken = self.fleet.taken(id);
            self.fleet.charge(id, charge);
            self.stir_rivals(taken, self.fleet.taken(id));
        }
    }

    /// What a container takes of its node that others cannot have too.
    fn charge_of(&self, it: &ContainerRecord) -> Arc<Charge> {
        if self.is_over(it) {
            return Arc::default();
        }
        let layout = self.layouts.get(&it.service.project);
        let rules = layout.and_then(|layout| layout.rules.get(&it.service.service));
        rules.map(|it| it.charge().clone()).unwrap_or_default()
    }

    /// A container takes this, and took that before: others that want the same and do not have it yet may
    /// have to go elsewhere now, or have waited for it. Those that have what they want stay as they are, so
    /// that what happens to one project does not cost what all are.
    fn stir_rivals(&mut self, before: Taken, after: Taken) {
        if before == after {
            return;
        }
        let taken: Vec<Arc<Charge>> =
            [before, after].into_iter().flatten().map(|it| it.1).collect();
        if taken.iter().all(|it| **it == Charge::default()) {
            return;
        }
        for (name, places) in &self.places {
            let Some(layout) = self.layouts.get(name) else { continue };
            let charges = || layout.rules.values().map(|it| it.charge());
            let meets = charges().any(|it| taken.iter().any(|other| it.meets(other)));
            let rivals = charges().any(|it| taken.iter().any(|other| it.rivals(other)));
            if meets || (rivals && (places.lacks_any() || self.is_yet_to_come(name, places))) {
                self.agenda.stir(name);
            }
        }
    }

    /// Whether a replica of a project is not made yet where it is to be.
    fn is_yet_to_come(&self, project: &ProjectName, places: &Places) -> bool {
        let made = self.fleet.of(project).filter(|it| it.runtime_id.is_some());
        let made: BTreeSet<(_, Slot, NodeId)> =
            made.map(|it| (&it.service.service, it.slot, it.node)).collect();
        places.all().any(|(service, post)| !made.contains(&(service, post.slot, post.node)))
    }
}
