//! What a write says, and where.

use std::sync::Arc;

use super::{
    clock::{Dot, Stamp},
    records::{
        ContainerRecord, DeploymentRecord, IpAllocation, NodeRecord, RevisionKey, RevisionRecord,
        SealedSecret, SecretPath, ServiceRecord,
    },
    vector::VersionVector,
};
use crate::model::{ContainerId, NodeId, ProjectName, ServiceKey};

/// What one write says: a key of a collection and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A node is so, or forgotten.
    Node(NodeId, Option<Arc<NodeRecord>>),
    /// A service is wanted so, or no longer.
    Service(ServiceKey, Option<Arc<ServiceRecord>>),
    /// A deployment is wanted so, or no longer.
    Deployment(ProjectName, Option<Arc<DeploymentRecord>>),
    /// A deployment was once applied so, or that is kept no longer.
    Revision(RevisionKey, Option<Arc<RevisionRecord>>),
    /// A secret is this, or gone.
    Secret(SecretPath, Option<Arc<SealedSecret>>),
    /// A container is so, or gone.
    Container(ContainerId, Option<Arc<ContainerRecord>>),
    /// An address is taken by a container, or no longer.
    IpAllocation(IpAllocation, Option<Arc<()>>),
}

/// A change, who made it when, and what they knew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Which write of whom.
    pub dot: Dot,
    /// When.
    pub stamp: Stamp,
    /// What its writer had seen of the key, of others.
    pub past: VersionVector,
    /// What.
    pub change: Change,
}

/// A key of one of the collections.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Node(NodeId),
    Service(ServiceKey),
    Deployment(ProjectName),
    Revision(RevisionKey),
    Secret(SecretPath),
    Container(ContainerId),
    IpAllocation(IpAllocation),
}

/// One of the collections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Nodes,
    Services,
    Deployments,
    Revisions,
    Secrets,
    Containers,
    IpAllocations,
}

impl Kind {
    pub(super) const ALL: [Self; 7] = [
        Self::Nodes,
        Self::Services,
        Self::Deployments,
        Self::Revisions,
        Self::Secrets,
        Self::Containers,
        Self::IpAllocations,
    ];

    /// Whether a removal can win over a value that it had not seen.
    pub(super) fn is_map(self) -> bool {
        match self {
            Self::Nodes | Self::Services | Self::Deployments | Self::Revisions | Self::Secrets => {
                true
            }
            Self::Containers | Self::IpAllocations => false,
        }
    }
}

impl Change {
    pub(super) fn place(&self) -> Place {
        match self {
            Self::Node(key, _) => Place::Node(*key),
            Self::Service(key, _) => Place::Service(key.clone()),
            Self::Deployment(key, _) => Place::Deployment(key.clone()),
            Self::Revision(key, _) => Place::Revision(key.clone()),
            Self::Secret(key, _) => Place::Secret(key.clone()),
            Self::Container(key, _) => Place::Container(*key),
            Self::IpAllocation(key, _) => Place::IpAllocation(*key),
        }
    }

    pub(super) fn is_removal(&self) -> bool {
        match self {
            Self::Node(_, value) => value.is_none(),
            Self::Service(_, value) => value.is_none(),
            Self::Deployment(_, value) => value.is_none(),
            Self::Revision(_, value) => value.is_none(),
            Self::Secret(_, value) => value.is_none(),
            Self::Container(_, value) => value.is_none(),
            Self::IpAllocation(_, value) => value.is_none(),
        }
    }
}

impl Place {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Node(_) => Kind::Nodes,
            Self::Service(_) => Kind::Services,
            Self::Deployment(_) => Kind::Deployments,
            Self::Revision(_) => Kind::Revisions,
            Self::Secret(_) => Kind::Secrets,
            Self::Container(_) => Kind::Containers,
            Self::IpAllocation(_) => Kind::IpAllocations,
        }
    }
}
