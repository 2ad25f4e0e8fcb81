//! A member of the cluster as a value: events go in, effects come out.
//!
//! [`Node::handle`] is the whole orchestrator. It owns no clock, no socket, no file and no task; the
//! daemon carries its effects out and brings back what happened.

mod effect;
mod event;
mod request;
mod view;

pub use effect::{Activity, Effect, Launch, Notice, Subject};
pub use event::{Event, Failure, Now, ProbeResult, Sight};
pub use request::{
    DeployRequest, DownRequest, Planned, PlannedAction, PlannedService, Refusal, Request,
    RequestId, Response, RunRequest, ServiceVerb,
};
pub use view::{CheckResult, RuntimeStatus, View};

use crate::{
    model::{Moment, NodeId},
    state::{ClusterState, NodeRecord},
};

/// A member of the cluster.
#[derive(Debug)]
pub struct Node {
    me: NodeId,
    state: ClusterState,
}

impl Node {
    /// A node that knows what its disk knew. `facts` is its own record as measured now; `seed` makes
    /// its random choices.
    #[must_use]
    pub fn new(me: NodeId, facts: NodeRecord, state: ClusterState, seed: u64) -> Self {
        let _ = (facts, seed);
        Self { me, state }
    }

    /// Takes one step.
    pub fn handle(&mut self, event: Event, now: Now) -> Vec<Effect> {
        let _ = (event, now);
        vec![]
    }

    /// When it wants the next [`Event::Tick`], if nothing happens before.
    #[must_use]
    pub fn next_wake(&self) -> Option<Moment> {
        None
    }

    /// What others may read now.
    #[must_use]
    pub fn view(&self) -> View {
        View {
            me: self.me,
            state: std::sync::Arc::new(self.state.clone()),
            projects: std::collections::BTreeMap::new(),
            doing: std::collections::BTreeMap::new(),
            checks: std::collections::BTreeMap::new(),
            stuck: std::collections::BTreeMap::new(),
            ready: std::collections::BTreeSet::new(),
            runtime: RuntimeStatus::Unknown,
        }
    }
}
