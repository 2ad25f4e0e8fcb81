//! What must hold before a container starts that must never run twice.

use std::sync::Arc;

use super::Instance;
use crate::{
    model::{Millis, NodeId},
    state::ContainerRecord,
};

/// What keeps containers of a service that must never run twice from starting here. An open one keeps
/// none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gate {
    /// What all of them wait for.
    pub all: Option<Arc<str>>,
    /// What those wait for that have not run here yet: another node may still run one.
    pub first: Option<Arc<str>>,
    /// For how long those must have been there to see before they start, so that all have heard of them.
    pub claim: Millis,
    /// In how long to look again, if nothing happens before.
    pub wake: Option<Millis>,
    /// Nothing runs here any more, until other nodes answer again.
    pub is_shut: bool,
}

impl Gate {
    /// What a container waits for, if anything.
    pub(super) fn bars(&self, it: &Instance<'_>) -> Option<Arc<str>> {
        if self.all.is_some() || it.upheld {
            return self.all.clone();
        }
        let unheard = || (it.stood < self.claim).then(|| "all nodes to have heard of it".into());
        self.first.clone().or_else(unheard)
    }

    /// In how long to look again at this node's containers.
    pub(super) fn wake_for(&self, me: NodeId, instances: &[Instance<'_>]) -> Option<Millis> {
        let mine = instances.iter().filter(|it| it.record.node == me && !it.upheld);
        let left = mine.map(|it| self.claim - it.stood).filter(|it| *it != Millis(0));
        left.chain(self.wake).min()
    }
}

/// Whether a container on another node keeps one that must never run twice from starting: it runs, or
/// may be about to.
pub(super) fn may_run(it: &ContainerRecord) -> bool {
    !it.state.is_over()
}
