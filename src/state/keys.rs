//! The serialisable form of places, which name rows on disk and writes on the wire.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{
    change::{Kind, Place},
    clock::{Dot, ReplicaId},
    damage::CodecError,
    lists::List,
    records::{IpAllocation, RevisionKey, SecretPath},
    vector::VersionVector,
};
use crate::model::{ContainerId, NodeId, Revision, ServiceKey, TokenId};

/// The greatest number of a write. Leaves room to count on from whatever a peer says.
pub(super) const SEQUENCE_MAX: u64 = u64::MAX >> 1;

#[derive(Serialize, Deserialize)]
pub(super) enum PlaceForm {
    Node(u128),
    Service(String, String),
    Deployment(String),
    ProjectSecret(String, String),
    RegistrySecret(String),
    Container(u128),
    IpAllocation(IpAddr, u128),
    Token(u64),
    ClusterKey(u32, u128),
    Revision(String, u64, u128),
}

impl From<&Place> for PlaceForm {
    fn from(place: &Place) -> Self {
        match place {
            Place::Node(id) => Self::Node(id.0),
            Place::Service(key) => Self::Service(key.project.to_string(), key.service.to_string()),
            Place::Deployment(name) => Self::Deployment(name.to_string()),
            Place::Revision(key) => {
                Self::Revision(key.project.to_string(), key.version, key.content.0)
            }
            Place::Secret(SecretPath::Project(project, key)) => {
                Self::ProjectSecret(project.to_string(), key.clone())
            }
            Place::Secret(SecretPath::Registry(registry)) => Self::RegistrySecret(registry.clone()),
            Place::Secret(SecretPath::Token(id)) => Self::Token(id.0),
            Place::Secret(SecretPath::ClusterKey(epoch, node)) => Self::ClusterKey(*epoch, node.0),
            Place::Container(id) => Self::Container(id.0),
            Place::IpAllocation(it) => Self::IpAllocation(it.address, it.container.0),
        }
    }
}

impl PlaceForm {
    pub(super) fn into_place(self) -> Result<Place, CodecError> {
        Ok(match self {
            Self::Node(id) => Place::Node(NodeId(id)),
            Self::Service(project, service) => {
                Place::Service(ServiceKey { project: project.parse()?, service: service.parse()? })
            }
            Self::Deployment(name) => Place::Deployment(name.parse()?),
            Self::Revision(project, version, content) => {
                let (project, content) = (project.parse()?, Revision(content));
                Place::Revision(RevisionKey { project, version, content })
            }
            Self::ProjectSecret(project, key) => {
                Place::Secret(SecretPath::Project(project.parse()?, key))
            }
            Self::RegistrySecret(registry) => Place::Secret(SecretPath::Registry(registry)),
            Self::Token(id) => Place::Secret(SecretPath::Token(TokenId(id))),
            Self::ClusterKey(epoch, node) => {
                Place::Secret(SecretPath::ClusterKey(epoch, NodeId(node)))
            }
            Self::Container(id) => Place::Container(ContainerId(id)),
            Self::IpAllocation(address, id) => {
                Place::IpAllocation(IpAllocation { address, container: ContainerId(id) })
            }
        })
    }
}

pub(super) fn kind_number(kind: Kind) -> u8 {
    match kind {
        Kind::Nodes => 0,
        Kind::Services => 1,
        Kind::Deployments => 2,
        Kind::Secrets => 3,
        Kind::Containers => 4,
        Kind::IpAllocations => 5,
        Kind::Revisions => 6,
    }
}

pub(super) fn kind_of(number: u8) -> Result<Kind, CodecError> {
    let kind = Kind::ALL.into_iter().find(|it| kind_number(*it) == number);
    kind.ok_or_else(|| CodecError::Damaged(format!("collection {number}")))
}

/// A dot as it is stored and sent.
pub(super) fn dot(replica: u64, sequence: u64) -> Result<Dot, CodecError> {
    if (1..=SEQUENCE_MAX).contains(&sequence) {
        return Ok(Dot { replica: ReplicaId(replica), sequence });
    }
    Err(CodecError::Damaged(format!("a write has the number {sequence}")))
}

/// A version vector as it is stored and sent: writers and numbers, sorted by writer.
pub(super) type VectorForm = List<(u64, u64)>;

pub(super) fn vector_form(vector: &VersionVector) -> VectorForm {
    List(vector.iter().map(|it| (it.replica.0, it.sequence)).collect())
}

pub(super) fn vector(form: VectorForm) -> Result<VersionVector, CodecError> {
    let dots: Result<_, _> = form.0.into_iter().map(|(it, last)| dot(it, last)).collect();
    let vector = VersionVector::from_sorted(dots?);
    vector.ok_or_else(|| CodecError::Damaged("a version vector is not sorted".to_owned()))
}
