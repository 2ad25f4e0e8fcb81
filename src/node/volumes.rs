//! Which local volumes this node holds, for all to know: what needs one of them runs here.

use std::collections::BTreeSet;

use super::{Node, Response};

/// The local volumes that the runtime has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Those that a deployment made.
    pub ours: BTreeSet<String>,
    /// Those that were there before. Of them the others hear only what a project asks for.
    pub others: BTreeSet<String>,
}

impl Node {
    /// The runtime has these volumes.
    pub(super) fn holds(&mut self, holdings: Holdings) {
        self.holdings = Some(holdings);
        self.note_volumes();
    }

    /// A volume was removed at this node, by the API.
    pub(super) fn dropped(&mut self, volume: &str) -> Response {
        if let Some(holdings) = &mut self.holdings {
            holdings.ours.remove(volume);
            holdings.others.remove(volume);
        }
        self.note_volumes();
        Response::Done
    }

    /// Works out what others are to know. Until the runtime has told, what they know from before stands.
    pub(super) fn note_volumes(&mut self) {
        let Some(holdings) = &self.holdings else { return };
        let mut volumes = holdings.ours.clone();
        if !holdings.others.is_empty() {
            let all = self.layouts.values().flat_map(|it| it.spec.volumes.values());
            let asked = all.filter(|it| it.external && holdings.others.contains(&it.name));
            volumes.extend(asked.map(|it| it.name.clone()));
        }
        self.facts.volumes = volumes;
    }
}
