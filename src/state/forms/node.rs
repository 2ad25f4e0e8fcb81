//! Nodes' forms.

use std::net::{Ipv4Addr, SocketAddr};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::pairs;
use crate::{
    model::{NodeId, NodeState, PublicKey, TokenId, WallTime},
    state::{
        clock::ReplicaId,
        damage::CodecError,
        lists::List,
        records::{Admission, Availability, MeshRecord, NodeRecord},
    },
};

/// By whom, when, and with which token of how many uses.
type AdmissionForm = (u128, u64, Option<(u64, u16)>);

#[derive(Serialize, Deserialize)]
pub(in crate::state) struct NodeForm {
    name: String,
    state: u8,
    since: u64,
    address: Option<SocketAddr>,
    replica: u64,
    incarnation: u32,
    admission: Option<AdmissionForm>,
    recipient: String,
    key_epoch: u32,
    version: String,
    labels: List<(String, String)>,
    assigned: List<(String, String)>,
    availability: u8,
    volumes: List<String>,
    cpus: u32,
    memory_bytes: u64,
    architecture: String,
    kernel: String,
    runtime: Option<String>,
    mesh: Option<MeshForm>,
}

#[derive(Serialize, Deserialize)]
struct MeshForm {
    key: [u8; 32],
    endpoints: List<SocketAddr>,
    heard: List<(u128, SocketAddr)>,
    missed: List<u128>,
    degraded: bool,
    claims: List<(Ipv4Addr, u8, u64)>,
}

impl From<&NodeRecord> for NodeForm {
    fn from(it: &NodeRecord) -> Self {
        let state = match it.state {
            NodeState::Joining => 0,
            NodeState::Alive => 1,
            NodeState::Suspicious => 2,
            NodeState::Dead => 3,
            NodeState::Left => 4,
            NodeState::Failed => 5,
        };
        Self {
            name: it.name.to_string(),
            state,
            since: it.since.0,
            address: it.address,
            replica: it.replica.0,
            incarnation: it.incarnation,
            admission: it
                .admission
                .as_ref()
                .map(|it| (it.by.0, it.at.0, it.token.map(|(token, uses)| (token.0, uses)))),
            recipient: it.recipient.clone(),
            key_epoch: it.key_epoch,
            version: it.version.clone(),
            labels: pairs(&it.labels),
            assigned: pairs(&it.assigned),
            availability: match it.availability {
                Availability::Open => 0,
                Availability::Cordoned => 1,
                Availability::Draining => 2,
            },
            volumes: List(it.volumes.iter().cloned().collect()),
            cpus: it.cpus,
            memory_bytes: it.memory_bytes,
            architecture: it.architecture.clone(),
            kernel: it.kernel.clone(),
            runtime: it.runtime.clone(),
            mesh: it.mesh.as_ref().map(mesh_form),
        }
    }
}

fn mesh_form(it: &MeshRecord) -> MeshForm {
    let claim = |(it, since): (&Ipv4Net, &WallTime)| (it.addr(), it.prefix_len(), since.0);
    MeshForm {
        key: it.key.0,
        endpoints: List(it.endpoints.clone()),
        heard: List(it.heard.iter().map(|(id, at)| (id.0, *at)).collect()),
        missed: List(it.missed.iter().map(|id| id.0).collect()),
        degraded: it.degraded,
        claims: List(it.claims.iter().map(claim).collect()),
    }
}

fn mesh_record(it: MeshForm) -> Result<MeshRecord, CodecError> {
    let claim = |(address, prefix, since): (Ipv4Addr, u8, u64)| {
        let block = Ipv4Net::new(address, prefix);
        let block = block.map_err(|_| CodecError::Damaged(format!("prefix length {prefix}")))?;
        Ok((block, WallTime(since)))
    };
    Ok(MeshRecord {
        key: PublicKey(it.key),
        endpoints: it.endpoints.0,
        heard: it.heard.0.into_iter().map(|(id, at)| (NodeId(id), at)).collect(),
        missed: it.missed.0.into_iter().map(NodeId).collect(),
        degraded: it.degraded,
        claims: it.claims.0.into_iter().map(claim).collect::<Result<_, CodecError>>()?,
    })
}

impl NodeForm {
    pub(in crate::state) fn into_record(self) -> Result<NodeRecord, CodecError> {
        let state = match self.state {
            0 => NodeState::Joining,
            1 => NodeState::Alive,
            2 => NodeState::Suspicious,
            3 => NodeState::Dead,
            4 => NodeState::Left,
            5 => NodeState::Failed,
            other => return Err(CodecError::Damaged(format!("node state {other}"))),
        };
        let availability = match self.availability {
            0 => Availability::Open,
            1 => Availability::Cordoned,
            2 => Availability::Draining,
            other => return Err(CodecError::Damaged(format!("availability {other}"))),
        };
        Ok(NodeRecord {
            name: self.name.parse()?,
            state,
            since: WallTime(self.since),
            address: self.address,
            replica: ReplicaId(self.replica),
            incarnation: self.incarnation,
            admission: self.admission.map(|(by, at, token)| Admission {
                by: NodeId(by),
                at: WallTime(at),
                token: token.map(|(token, uses)| (TokenId(token), uses)),
            }),
            recipient: self.recipient,
            key_epoch: self.key_epoch,
            version: self.version,
            labels: self.labels.0.into_iter().collect(),
            assigned: self.assigned.0.into_iter().collect(),
            availability,
            volumes: self.volumes.0.into_iter().collect(),
            cpus: self.cpus,
            memory_bytes: self.memory_bytes,
            architecture: self.architecture,
            kernel: self.kernel,
            runtime: self.runtime,
            mesh: self.mesh.map(mesh_record).transpose()?,
        })
    }
}
