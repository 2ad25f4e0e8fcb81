//! The six collections, and how one write changes them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    clock::{Dot, HybridClock, ReplicaId, Stamp, VersionVector},
    lww_map::{LwwMap, Register},
    or_set::OrSet,
    records::{
        ContainerRecord, DeploymentRecord, IpAllocation, NodeRecord, SealedSecret, SecretPath,
        ServiceRecord,
    },
};
use crate::model::{ContainerId, NodeId, ProjectName, ServiceKey, WallTime};

/// What one write says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A node is so, or forgotten.
    Node(NodeId, Option<Arc<NodeRecord>>),
    /// A service is wanted so, or no longer.
    Service(ServiceKey, Option<Arc<ServiceRecord>>),
    /// A deployment is wanted so, or no longer.
    Deployment(ProjectName, Option<Arc<DeploymentRecord>>),
    /// A secret is this, or gone.
    Secret(SecretPath, Option<Arc<SealedSecret>>),
    /// A container is so, instead of what these adds said; or it is gone.
    Container(Option<Arc<ContainerRecord>>, Vec<Dot>),
    /// An address is taken, instead of what these adds said; or it is free.
    IpAllocation(Option<Arc<IpAllocation>>, Vec<Dot>),
}

/// A change, and who made it when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Which write of whom.
    pub dot: Dot,
    /// When.
    pub stamp: Stamp,
    /// What.
    pub change: Change,
}

/// Everything the cluster has agreed, as this node knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterState {
    replica: ReplicaId,
    clock: HybridClock,
    seen: VersionVector,
    nodes: LwwMap<NodeId, NodeRecord>,
    services: LwwMap<ServiceKey, ServiceRecord>,
    deployments: LwwMap<ProjectName, DeploymentRecord>,
    secrets: LwwMap<SecretPath, SealedSecret>,
    containers: OrSet<ContainerRecord>,
    adds: BTreeMap<ContainerId, BTreeSet<Dot>>,
    ip_allocations: OrSet<IpAllocation>,
}

impl ClusterState {
    /// An empty state that this replica will write to.
    #[must_use]
    pub fn new(replica: ReplicaId) -> Self {
        Self { replica, ..Self::default() }
    }

    /// Makes a change here and now. The write that results must be durable before anyone else hears
    /// of it.
    pub fn commit(&mut self, change: Change, now: WallTime) -> Write {
        let sequence = self.seen.last(self.replica) + 1;
        let dot = Dot { replica: self.replica, sequence };
        let stamp = self.clock.stamp(now, self.replica);
        let write = Write { dot, stamp, change };
        self.seen.see(dot);
        self.apply(&write);
        write
    }

    /// Takes in a write read back from this node's disk.
    pub fn restore(&mut self, write: &Write) {
        self.clock.resume(write.stamp);
        self.apply(write);
    }

    /// Takes in what the disk says was seen of a writer, which outlives removed elements.
    pub fn restore_seen(&mut self, dot: Dot) {
        self.seen.see(dot);
    }

    fn apply(&mut self, write: &Write) {
        let (dot, stamp) = (write.dot, write.stamp);
        match &write.change {
            Change::Node(key, value) => {
                self.nodes.merge(*key, Register { dot, stamp, value: value.clone() });
            }
            Change::Service(key, value) => {
                self.services.merge(key.clone(), Register { dot, stamp, value: value.clone() });
            }
            Change::Deployment(key, value) => {
                self.deployments.merge(key.clone(), Register { dot, stamp, value: value.clone() });
            }
            Change::Secret(key, value) => {
                self.secrets.merge(key.clone(), Register { dot, stamp, value: value.clone() });
            }
            Change::Container(element, ends) => {
                self.end_containers(ends);
                if let Some(element) = element {
                    self.adds.entry(element.id).or_default().insert(dot);
                    self.containers.add(dot, element.clone());
                }
            }
            Change::IpAllocation(element, ends) => {
                for &end in ends {
                    self.ip_allocations.remove(end);
                }
                if let Some(element) = element {
                    self.ip_allocations.add(dot, element.clone());
                }
            }
        }
    }

    fn end_containers(&mut self, ends: &[Dot]) {
        for &end in ends {
            let Some(element) = self.containers.remove(end) else { continue };
            if let Some(adds) = self.adds.get_mut(&element.id) {
                adds.remove(&end);
                if adds.is_empty() {
                    self.adds.remove(&element.id);
                }
            }
        }
    }

    /// What was seen of every writer.
    #[must_use]
    pub fn seen(&self) -> &VersionVector {
        &self.seen
    }

    /// Every node.
    #[must_use]
    pub fn nodes(&self) -> &LwwMap<NodeId, NodeRecord> {
        &self.nodes
    }

    /// Every service.
    #[must_use]
    pub fn services(&self) -> &LwwMap<ServiceKey, ServiceRecord> {
        &self.services
    }

    /// The services of a project.
    pub fn services_of<'a>(
        &'a self,
        project: &'a ProjectName,
    ) -> impl Iterator<Item = (&'a ServiceKey, &'a Arc<ServiceRecord>)> {
        self.services.iter().filter(move |(key, _)| key.project == *project)
    }

    /// Every deployment.
    #[must_use]
    pub fn deployments(&self) -> &LwwMap<ProjectName, DeploymentRecord> {
        &self.deployments
    }

    /// Every secret, sealed.
    #[must_use]
    pub fn secrets(&self) -> &LwwMap<SecretPath, SealedSecret> {
        &self.secrets
    }

    /// Every container.
    pub fn containers(&self) -> impl Iterator<Item = &Arc<ContainerRecord>> {
        self.containers.iter().map(|(_, element)| element)
    }

    /// A container; its latest account of itself, should there be several.
    #[must_use]
    pub fn container(&self, id: ContainerId) -> Option<&Arc<ContainerRecord>> {
        self.containers.get(*self.adds.get(&id)?.last()?)
    }

    /// The adds that a container lives under, which a change of it ends.
    #[must_use]
    pub fn adds_of(&self, id: ContainerId) -> Vec<Dot> {
        self.adds.get(&id).map(|adds| adds.iter().copied().collect()).unwrap_or_default()
    }

    /// Every taken address.
    pub fn ip_allocations(&self) -> impl Iterator<Item = &Arc<IpAllocation>> {
        self.ip_allocations.iter().map(|(_, element)| element)
    }
}
