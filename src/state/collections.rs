//! The collections side by side: each thing that is done to one of them, by place.

use std::sync::Arc;

use super::{
    change::{Change, Kind, Place, Write},
    clock::{Dot, ReplicaId},
    dotted_map::{DottedMap, Fate, Sibling},
    lww_map::LwwMap,
    or_set::OrSet,
    records::{
        ContainerRecord, DeploymentRecord, IpAllocation, NodeRecord, RevisionKey, RevisionRecord,
        SealedSecret, SecretPath, ServiceRecord,
    },
    vector::VersionVector,
};
use crate::model::{ContainerId, NodeId, ProjectName, ServiceKey};

/// The six collections of the architecture, and beside the deployments what they were before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Collections {
    pub(super) nodes: LwwMap<NodeId, NodeRecord>,
    pub(super) services: LwwMap<ServiceKey, ServiceRecord>,
    pub(super) deployments: LwwMap<ProjectName, DeploymentRecord>,
    pub(super) revisions: LwwMap<RevisionKey, RevisionRecord>,
    pub(super) secrets: LwwMap<SecretPath, SealedSecret>,
    pub(super) containers: OrSet<ContainerId, ContainerRecord>,
    pub(super) ip_allocations: OrSet<IpAllocation, ()>,
}

impl Collections {
    /// What would become of a write that was not seen before.
    pub(super) fn foresee(&self, write: &Write) -> Fate {
        let (dot, past) = (write.dot, &write.past);
        match &write.change {
            Change::Node(key, _) => self.nodes.0.foresee(key, dot, past),
            Change::Service(key, _) => self.services.0.foresee(key, dot, past),
            Change::Deployment(key, _) => self.deployments.0.foresee(key, dot, past),
            Change::Revision(key, _) => self.revisions.0.foresee(key, dot, past),
            Change::Secret(key, _) => self.secrets.0.foresee(key, dot, past),
            Change::Container(key, _) => self.containers.0.foresee(key, dot, past),
            Change::IpAllocation(key, _) => self.ip_allocations.0.foresee(key, dot, past),
        }
    }

    /// Puts a write beside its siblings.
    pub(super) fn put(&mut self, write: &Write) {
        match &write.change {
            Change::Node(key, it) => self.nodes.0.put(*key, sibling(write, it)),
            Change::Service(key, it) => self.services.0.put(key.clone(), sibling(write, it)),
            Change::Deployment(key, it) => self.deployments.0.put(key.clone(), sibling(write, it)),
            Change::Revision(key, it) => self.revisions.0.put(key.clone(), sibling(write, it)),
            Change::Secret(key, it) => self.secrets.0.put(key.clone(), sibling(write, it)),
            Change::Container(key, it) => self.containers.0.put(*key, sibling(write, it)),
            Change::IpAllocation(key, it) => self.ip_allocations.0.put(*key, sibling(write, it)),
        }
    }

    /// Takes a write away.
    pub(super) fn end(&mut self, place: &Place, dot: Dot) {
        match place {
            Place::Node(key) => self.nodes.0.end(key, dot),
            Place::Service(key) => self.services.0.end(key, dot),
            Place::Deployment(key) => self.deployments.0.end(key, dot),
            Place::Revision(key) => self.revisions.0.end(key, dot),
            Place::Secret(key) => self.secrets.0.end(key, dot),
            Place::Container(key) => self.containers.0.end(key, dot),
            Place::IpAllocation(key) => self.ip_allocations.0.end(key, dot),
        }
    }

    /// What the next write of a key by `writer` follows.
    pub(super) fn past_of(&self, place: &Place, writer: ReplicaId) -> VersionVector {
        match place {
            Place::Node(key) => self.nodes.past_of(key, writer),
            Place::Service(key) => self.services.past_of(key, writer),
            Place::Deployment(key) => self.deployments.past_of(key, writer),
            Place::Revision(key) => self.revisions.past_of(key, writer),
            Place::Secret(key) => self.secrets.past_of(key, writer),
            Place::Container(key) => self.containers.0.past_of(key, writer),
            Place::IpAllocation(key) => self.ip_allocations.0.past_of(key, writer),
        }
    }

    /// The writes of a key that stand beside one another.
    pub(super) fn writes_of(&self, place: &Place) -> Vec<Write> {
        match place {
            Place::Node(key) => writes(self.nodes.0.of(key), |it| Change::Node(*key, it)),
            Place::Service(key) => {
                writes(self.services.0.of(key), |it| Change::Service(key.clone(), it))
            }
            Place::Deployment(key) => {
                writes(self.deployments.0.of(key), |it| Change::Deployment(key.clone(), it))
            }
            Place::Revision(key) => {
                writes(self.revisions.0.of(key), |it| Change::Revision(key.clone(), it))
            }
            Place::Secret(key) => {
                writes(self.secrets.0.of(key), |it| Change::Secret(key.clone(), it))
            }
            Place::Container(key) => {
                writes(self.containers.0.of(key), |it| Change::Container(*key, it))
            }
            Place::IpAllocation(key) => {
                writes(self.ip_allocations.0.of(key), |it| Change::IpAllocation(*key, it))
            }
        }
    }

    /// Whether a key holds nothing but removals.
    pub(super) fn has_bare(&self) -> bool {
        self.nodes.0.has_bare()
            || self.services.0.has_bare()
            || self.deployments.0.has_bare()
            || self.revisions.0.has_bare()
            || self.secrets.0.has_bare()
            || self.containers.0.has_bare()
            || self.ip_allocations.0.has_bare()
    }

    /// The keys that hold nothing but removals for which `is_stable` holds, with those.
    pub(super) fn collectable(
        &self,
        is_stable: &dyn Fn(Dot, &VersionVector) -> bool,
    ) -> Vec<(Place, VersionVector)> {
        let mut found = vec![];
        collectable(&self.nodes.0, is_stable, |it| Place::Node(*it), &mut found);
        collectable(&self.services.0, is_stable, |it| Place::Service(it.clone()), &mut found);
        collectable(&self.deployments.0, is_stable, |it| Place::Deployment(it.clone()), &mut found);
        collectable(&self.revisions.0, is_stable, |it| Place::Revision(it.clone()), &mut found);
        collectable(&self.secrets.0, is_stable, |it| Place::Secret(it.clone()), &mut found);
        collectable(&self.containers.0, is_stable, |it| Place::Container(*it), &mut found);
        collectable(&self.ip_allocations.0, is_stable, |it| Place::IpAllocation(*it), &mut found);
        found
    }

    /// What was collected in a collection.
    pub(super) fn collected(&self, kind: Kind) -> &VersionVector {
        match kind {
            Kind::Nodes => self.nodes.0.collected(),
            Kind::Services => self.services.0.collected(),
            Kind::Deployments => self.deployments.0.collected(),
            Kind::Revisions => self.revisions.0.collected(),
            Kind::Secrets => self.secrets.0.collected(),
            Kind::Containers => self.containers.0.collected(),
            Kind::IpAllocations => self.ip_allocations.0.collected(),
        }
    }

    /// Notes writes as collected in a collection.
    pub(super) fn note_collected(&mut self, kind: Kind, writes: &VersionVector) {
        match kind {
            Kind::Nodes => self.nodes.0.note_collected(writes),
            Kind::Services => self.services.0.note_collected(writes),
            Kind::Deployments => self.deployments.0.note_collected(writes),
            Kind::Revisions => self.revisions.0.note_collected(writes),
            Kind::Secrets => self.secrets.0.note_collected(writes),
            Kind::Containers => self.containers.0.note_collected(writes),
            Kind::IpAllocations => self.ip_allocations.0.note_collected(writes),
        }
    }

    /// The write of a key that stands.
    pub(super) fn standing(&self, place: &Place) -> Option<Write> {
        self.writes_of(place).into_iter().max_by_key(|it| (it.stamp, it.dot))
    }
}

fn sibling<V>(write: &Write, value: &Option<Arc<V>>) -> Sibling<V> {
    let (dot, stamp, past) = (write.dot, write.stamp, write.past.clone());
    Sibling { dot, stamp, past, value: value.clone() }
}

fn writes<V>(siblings: &[Sibling<V>], change: impl Fn(Option<Arc<V>>) -> Change) -> Vec<Write> {
    let write = |it: &Sibling<V>| Write {
        dot: it.dot,
        stamp: it.stamp,
        past: it.past.clone(),
        change: change(it.value.clone()),
    };
    siblings.iter().map(write).collect()
}

fn collectable<K: Ord + Clone, V>(
    map: &DottedMap<K, V>,
    is_stable: &dyn Fn(Dot, &VersionVector) -> bool,
    place: impl Fn(&K) -> Place,
    found: &mut Vec<(Place, VersionVector)>,
) {
    for (key, siblings) in map.collectable(is_stable) {
        let mut over = VersionVector::default();
        for it in siblings {
            over.see(it.dot);
            over.join(&it.past);
        }
        found.push((place(key), over));
    }
}
