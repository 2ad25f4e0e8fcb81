//! The records' serialisable forms. Records are not serialisable themselves: these are what must
//! stay readable, so fields are only ever added, in a new version.

use std::{collections::BTreeMap, net::SocketAddr};

use serde::{Deserialize, Serialize};

use super::{
    clock::ReplicaId,
    damage::CodecError,
    lists::{Bytes, List},
    records::{
        Admission, ContainerRecord, DeploymentRecord, Intent, NodeRecord, OneOff, Removal,
        SealedSecret, ServiceRecord,
    },
};
use crate::model::{
    ContainerId, ContainerState, ImageId, Millis, NodeId, NodeState, ObservedPort, Revision,
    RuntimeId, ServiceKey, Slot, TokenId, WallTime,
};

#[derive(Serialize, Deserialize)]
pub(super) struct NodeForm {
    name: String,
    state: u8,
    since: u64,
    address: Option<SocketAddr>,
    replica: u64,
    incarnation: u32,
    admission: Option<(u128, u64, Option<(u64, u16)>)>,
    recipient: String,
    key_epoch: u32,
    version: String,
    labels: List<(String, String)>,
    assigned: List<(String, String)>,
    draining: bool,
    cpus: u32,
    memory_bytes: u64,
    architecture: String,
    kernel: String,
    runtime: Option<String>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct ServiceForm {
    definition: String,
    base: u128,
    revision: u128,
    image: Option<String>,
    replicas: u32,
    intent: IntentForm,
    restarts: u64,
    starts: u64,
    grace: Option<u64>,
    renew_volumes: bool,
}

#[derive(Serialize, Deserialize)]
pub(super) enum IntentForm {
    Run,
    Stop,
    Remove(bool),
    Forget(bool),
}

#[derive(Serialize, Deserialize)]
pub(super) struct DeploymentForm {
    version: u64,
    model: String,
    working_dir: String,
    files: List<String>,
    updated: u64,
    removal: Option<(bool, List<String>, Option<u64>)>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct SecretForm {
    ciphertext: Bytes,
    fingerprint: [u8; 16],
}

#[derive(Serialize, Deserialize)]
pub(super) struct ContainerForm {
    node: u128,
    project: String,
    service: String,
    slot: u32,
    name: String,
    revision: u128,
    one_off: Option<(String, bool, bool)>,
    image: Option<String>,
    command: String,
    runtime_id: Option<String>,
    state: u8,
    since: u64,
    created: u64,
    reason: Option<String>,
    exit_code: Option<i64>,
    runs: u32,
    attempts: u32,
    restarts: u64,
    starts: u64,
    given_up: bool,
    held: bool,
    ports: List<(String, u16, String, u16)>,
    addresses: List<(String, String)>,
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
            draining: it.draining,
            cpus: it.cpus,
            memory_bytes: it.memory_bytes,
            architecture: it.architecture.clone(),
            kernel: it.kernel.clone(),
            runtime: it.runtime.clone(),
        }
    }
}

impl NodeForm {
    pub(super) fn into_record(self) -> Result<NodeRecord, CodecError> {
        let state = match self.state {
            0 => NodeState::Joining,
            1 => NodeState::Alive,
            2 => NodeState::Suspicious,
            3 => NodeState::Dead,
            4 => NodeState::Left,
            5 => NodeState::Failed,
            other => return Err(CodecError::Damaged(format!("node state {other}"))),
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
            draining: self.draining,
            cpus: self.cpus,
            memory_bytes: self.memory_bytes,
            architecture: self.architecture,
            kernel: self.kernel,
            runtime: self.runtime,
        })
    }
}

impl From<&ServiceRecord> for ServiceForm {
    fn from(it: &ServiceRecord) -> Self {
        let intent = match it.intent {
            Intent::Run => IntentForm::Run,
            Intent::Stop => IntentForm::Stop,
            Intent::Remove { volumes } => IntentForm::Remove(volumes),
            Intent::Forget { volumes } => IntentForm::Forget(volumes),
        };
        Self {
            definition: it.definition.to_string(),
            base: it.base.0,
            revision: it.revision.0,
            image: it.image.as_ref().map(ToString::to_string),
            replicas: it.replicas,
            intent,
            restarts: it.restarts,
            starts: it.starts,
            grace: it.grace.map(|it| it.0),
            renew_volumes: it.renew_volumes,
        }
    }
}

impl ServiceForm {
    #[expect(clippy::unnecessary_wraps, reason = "all forms are read alike")]
    pub(super) fn into_record(self) -> Result<ServiceRecord, CodecError> {
        let intent = match self.intent {
            IntentForm::Run => Intent::Run,
            IntentForm::Stop => Intent::Stop,
            IntentForm::Remove(volumes) => Intent::Remove { volumes },
            IntentForm::Forget(volumes) => Intent::Forget { volumes },
        };
        Ok(ServiceRecord {
            definition: self.definition.into(),
            base: Revision(self.base),
            revision: Revision(self.revision),
            image: self.image.map(|it| ImageId(it.into())),
            replicas: self.replicas,
            intent,
            restarts: self.restarts,
            starts: self.starts,
            grace: self.grace.map(Millis),
            renew_volumes: self.renew_volumes,
        })
    }
}

impl From<&DeploymentRecord> for DeploymentForm {
    fn from(it: &DeploymentRecord) -> Self {
        let removal = it.removal.as_ref();
        Self {
            version: it.version,
            model: it.model.to_string(),
            working_dir: it.working_dir.clone(),
            files: it.files.clone().into(),
            updated: it.updated.0,
            removal: removal
                .map(|it| (it.volumes, it.images.clone().into(), it.grace.map(|it| it.0))),
        }
    }
}

impl DeploymentForm {
    #[expect(clippy::unnecessary_wraps, reason = "all forms are read alike")]
    pub(super) fn into_record(self) -> Result<DeploymentRecord, CodecError> {
        let removal = self.removal.map(|(volumes, images, grace)| Removal {
            volumes,
            images: images.0,
            grace: grace.map(Millis),
        });
        Ok(DeploymentRecord {
            version: self.version,
            model: self.model.into(),
            working_dir: self.working_dir,
            files: self.files.0,
            updated: WallTime(self.updated),
            removal,
        })
    }
}

impl From<&SealedSecret> for SecretForm {
    fn from(it: &SealedSecret) -> Self {
        Self { ciphertext: Bytes(it.ciphertext.clone()), fingerprint: it.fingerprint }
    }
}

impl SecretForm {
    #[expect(clippy::unnecessary_wraps, reason = "all forms are read alike")]
    pub(super) fn into_record(self) -> Result<SealedSecret, CodecError> {
        Ok(SealedSecret { ciphertext: self.ciphertext.0, fingerprint: self.fingerprint })
    }
}

impl From<&ContainerRecord> for ContainerForm {
    fn from(it: &ContainerRecord) -> Self {
        let state = match it.state {
            ContainerState::Pending => 0,
            ContainerState::Running => 1,
            ContainerState::Healthy => 2,
            ContainerState::Unhealthy => 3,
            ContainerState::Stopped => 4,
            ContainerState::Failed => 5,
        };
        let port =
            |it: &ObservedPort| (it.protocol.clone(), it.target, it.host_ip.clone(), it.published);
        Self {
            node: it.node.0,
            project: it.service.project.to_string(),
            service: it.service.service.to_string(),
            slot: it.slot.0,
            name: it.name.to_string(),
            revision: it.revision.0,
            one_off: it
                .one_off
                .as_ref()
                .map(|it| (it.definition.to_string(), it.remove, it.no_deps)),
            image: it.image.as_ref().map(ToString::to_string),
            command: it.command.clone(),
            runtime_id: it.runtime_id.as_ref().map(ToString::to_string),
            state,
            since: it.since.0,
            created: it.created.0,
            reason: it.reason.as_ref().map(ToString::to_string),
            exit_code: it.exit_code,
            runs: it.runs,
            attempts: it.attempts,
            restarts: it.restarts,
            starts: it.starts,
            given_up: it.given_up,
            held: it.held,
            ports: List(it.ports.iter().map(port).collect()),
            addresses: pairs(&it.addresses),
        }
    }
}

impl ContainerForm {
    pub(super) fn into_record(self, id: ContainerId) -> Result<ContainerRecord, CodecError> {
        let state = match self.state {
            0 => ContainerState::Pending,
            1 => ContainerState::Running,
            2 => ContainerState::Healthy,
            3 => ContainerState::Unhealthy,
            4 => ContainerState::Stopped,
            5 => ContainerState::Failed,
            other => return Err(CodecError::Damaged(format!("container state {other}"))),
        };
        let port = |(protocol, target, host_ip, published)| ObservedPort {
            protocol,
            target,
            host_ip,
            published,
        };
        Ok(ContainerRecord {
            id,
            node: NodeId(self.node),
            service: ServiceKey { project: self.project.parse()?, service: self.service.parse()? },
            slot: Slot(self.slot),
            name: self.name.parse()?,
            revision: Revision(self.revision),
            one_off: self.one_off.map(|(definition, remove, no_deps)| OneOff {
                definition: definition.into(),
                remove,
                no_deps,
            }),
            image: self.image.map(|it| ImageId(it.into())),
            command: self.command,
            runtime_id: self.runtime_id.map(|it| RuntimeId(it.into())),
            state,
            since: WallTime(self.since),
            created: WallTime(self.created),
            reason: self.reason.map(Into::into),
            exit_code: self.exit_code,
            runs: self.runs,
            attempts: self.attempts,
            restarts: self.restarts,
            starts: self.starts,
            given_up: self.given_up,
            held: self.held,
            ports: self.ports.0.into_iter().map(port).collect(),
            addresses: self.addresses.0.into_iter().collect(),
        })
    }
}

fn pairs(map: &BTreeMap<String, String>) -> List<(String, String)> {
    List(map.iter().map(|(key, value)| (key.clone(), value.clone())).collect())
}
