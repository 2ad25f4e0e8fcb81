//! What to do here next: the difference between what is wanted and what is, as steps.
//!
//! Pure and level-triggered: the same facts give the same steps, however they came about, and a step
//! that is already under way is not given again. One container has at most one step at a time.

mod order;
mod service;
mod slot;

pub use order::{enters_foreign, peers};
pub use service::{Outcome, plan};
pub use slot::{Cause, Instance, Owners, Step};

use std::collections::BTreeMap;

use crate::{
    model::{ServiceName, Slot, spec::ServiceSpec},
    state::ServiceRecord,
};

/// One service of a project as this node has to keep it.
#[derive(Debug)]
pub struct Share<'a> {
    /// What is agreed.
    pub record: &'a ServiceRecord,
    /// The definition, decoded.
    pub spec: &'a ServiceSpec,
    /// The slots that are placed on this node, in order.
    pub slots: Vec<Slot>,
    /// Its containers on this node.
    pub instances: Vec<Instance<'a>>,
}

/// A project as this node has to keep it.
pub type Project<'a> = BTreeMap<ServiceName, Share<'a>>;
