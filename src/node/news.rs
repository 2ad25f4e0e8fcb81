//! What is told of deployments and nodes: each change of their records once, and in the same words on
//! whichever node wrote it and on those that heard of it.

use std::{collections::BTreeMap, sync::Arc};

use super::{Node, Subject};
use crate::{
    model::{NodeId, ProjectName},
    state::{Availability, ClusterState, DeploymentRecord, NodeRecord, Step, Touched},
};

/// What was told last.
#[derive(Debug)]
pub(super) struct News {
    deployments: BTreeMap<ProjectName, Arc<DeploymentRecord>>,
    nodes: BTreeMap<NodeId, Stance>,
}

/// What users want of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stance {
    labels: BTreeMap<String, String>,
    availability: Availability,
}

impl Stance {
    fn of(record: &NodeRecord) -> Self {
        Self { labels: record.all_labels(), availability: record.availability }
    }
}

impl News {
    /// What a node knows when it starts is no news.
    pub(super) fn none_of(state: &ClusterState) -> Self {
        let deployments = state.deployments().iter().map(|(name, it)| (name.clone(), it.clone()));
        let nodes = state.nodes().iter().map(|(id, it)| (*id, Stance::of(it)));
        Self { deployments: deployments.collect(), nodes: nodes.collect() }
    }
}

impl Node {
    /// Tells of the deployments and nodes that are other since a step.
    pub(super) fn tell_of(&mut self, step: &Step) {
        for touched in step.touched() {
            match touched {
                Touched::Project(name) => self.tell_of_deployment(name),
                Touched::Node(id) => self.tell_of_node(id),
                Touched::Revision(_)
                | Touched::Secret(_)
                | Touched::Container(_)
                | Touched::Address(_) => {}
            }
        }
    }

    /// A step touches a project by its services too: only what the deployment itself is counts.
    fn tell_of_deployment(&mut self, name: &ProjectName) {
        let now = self.state.deployments().get(name);
        let before = self.news.deployments.get(name);
        let same = match (before, now) {
            (Some(before), Some(now)) => Arc::ptr_eq(before, now) || before == now,
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        if same {
            return;
        }
        let (kind, state) = match now {
            None => ("deployment.removed", None),
            Some(it) if it.removal.is_some() => ("deployment.removing", Some(it.version)),
            Some(it) => ("deployment.changed", Some(it.version)),
        };
        match now.cloned() {
            Some(now) => drop(self.news.deployments.insert(name.clone(), now)),
            None => drop(self.news.deployments.remove(name)),
        }
        let state = state.map(|it| it.to_string());
        self.notify(kind, Subject::Project(name.clone()), state, None);
    }

    /// That a node came or went is told as its state.
    fn tell_of_node(&mut self, id: NodeId) {
        let Some(record) = self.state.nodes().get(&id) else {
            self.news.nodes.remove(&id);
            return;
        };
        let (stance, name) = (Stance::of(record), record.name.clone());
        let (state, is_member) = (record.availability.to_string(), record.is_member());
        let before = self.news.nodes.insert(id, stance.clone());
        if is_member && before.is_some_and(|it| it != stance) {
            let subject = if id == self.me { Subject::Node } else { Subject::Peer(id, name) };
            self.notify("node.changed", subject, Some(state), None);
        }
    }
}
