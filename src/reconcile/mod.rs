//! What to do here next: the difference between what is wanted and what is, as steps.
//!
//! Pure and level-triggered: the same facts give the same steps, however they came about, and a step
//! that is already under way is not given again. One container has at most one step at a time. A node
//! looks at a whole project, wherever it runs, and does its own part of what that comes to; so all
//! that must be agreed, such as which replica is replaced next, is a function of what all know.

mod cron;
mod job;
mod gate;
mod order;
mod rollout;
mod service;
mod slot;
#[cfg(test)]
mod tests;

pub use gate::Gate;
pub use job::{Runs, is_over, runs};
pub use order::{enters_foreign, peers};
pub use rollout::{Verdict, begin, go_back};
pub use service::{Outcome, plan};
pub use slot::{Cause, Instance, Owners, Step, Which};

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    model::{NodeId, ServiceName, Slot, spec::ServiceSpec},
    state::{ContainerRecord, ServiceRecord},
};

/// A project as a node sees it.
#[derive(Debug)]
pub struct Project<'a> {
    /// The node that looks.
    pub me: NodeId,
    /// Its services.
    pub services: BTreeMap<ServiceName, Share<'a>>,
}

/// One service of a project.
#[derive(Debug)]
pub struct Share<'a> {
    /// What is agreed.
    pub record: &'a ServiceRecord,
    /// The definition, decoded.
    pub spec: &'a ServiceSpec,
    /// One replica on each node, rather than so many.
    pub each_node: bool,
    /// Where it must never run twice: what must hold before it starts.
    pub gate: Option<Gate>,
    /// Where its replicas are to be, in order.
    pub posts: Vec<Post>,
    /// Replicas that are nowhere to be, and why.
    pub unplaced: Vec<(Slot, Arc<str>)>,
    /// Its containers on the nodes that are there, and of a job those that are done, wherever they were.
    pub instances: Vec<Instance<'a>>,
}

/// Where a replica is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Post {
    /// Which.
    pub slot: Slot,
    /// Where.
    pub node: NodeId,
}

/// One of a service's replicas: the one with a number, or, where each node has one, that of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Replica {
    Numbered(Slot),
    Of(NodeId),
}

impl Share<'_> {
    /// Whether a container is where its replica is to be.
    fn has_post(&self, it: &ContainerRecord) -> bool {
        self.posts.binary_search(&Post { slot: it.slot, node: it.node }).is_ok()
    }

    fn replica(&self, slot: Slot, node: NodeId) -> Replica {
        if self.each_node { Replica::Of(node) } else { Replica::Numbered(slot) }
    }
}
