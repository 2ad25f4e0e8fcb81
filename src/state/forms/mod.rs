//! The records' serialisable forms. Records are not serialisable themselves: these are what must
//! stay readable, so fields are only ever added, in a new version.

mod node;

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    damage::CodecError,
    lists::{Bytes, List},
    records::{
        ContainerRecord, DeploymentRecord, Intent, OneOff, Removal, RevisionRecord, Rollout,
        SealedSecret, ServiceRecord, Stage, Template,
    },
};
pub(super) use node::NodeForm;

use crate::model::{
    ContainerId, ContainerState, ImageId, Millis, NodeId, ObservedPort, Revision, RuntimeId,
    ServiceKey, Slot, Tick, WallTime,
};

#[derive(Serialize, Deserialize)]
pub(super) struct ServiceForm {
    template: TemplateForm,
    previous: Option<TemplateForm>,
    stage: u8,
    failed: Option<(u128, String)>,
    moves: List<(u32, u128)>,
    ticks_after: Option<u32>,
    done: List<u32>,
    replicas: u32,
    intent: IntentForm,
    restarts: u64,
    starts: u64,
    grace: Option<u64>,
    renew_volumes: bool,
}

#[derive(Serialize, Deserialize)]
pub(super) struct TemplateForm {
    definition: String,
    base: u128,
    revision: u128,
    image: Option<String>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct RevisionForm {
    at: u64,
    by: u128,
    returns_to: Option<u64>,
    model: String,
    services: List<(String, TemplateForm)>,
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
    overlay: bool,
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
    wanted_image: Option<String>,
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
    checked: bool,
    ports: List<(String, u16, String, u16)>,
    addresses: List<(String, String)>,
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
            template: (&it.template).into(),
            previous: it.previous.as_deref().map(Into::into),
            stage: match it.rollout.stage {
                Stage::Done => 0,
                Stage::Going => 1,
                Stage::Canary => 2,
                Stage::Paused => 3,
                Stage::Returning => 4,
            },
            failed: it.rollout.failed.as_ref().map(|(it, why)| (it.0, why.to_string())),
            moves: List(it.moves.iter().map(|(slot, node)| (slot.0, node.0)).collect()),
            ticks_after: it.ticks_after.map(|it| it.0),
            done: List(it.done.iter().map(|it| it.0).collect()),
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
    pub(super) fn into_record(self) -> Result<ServiceRecord, CodecError> {
        let stage = match self.stage {
            0 => Stage::Done,
            1 => Stage::Going,
            2 => Stage::Canary,
            3 => Stage::Paused,
            4 => Stage::Returning,
            other => return Err(CodecError::Damaged(format!("rollout stage {other}"))),
        };
        let intent = match self.intent {
            IntentForm::Run => Intent::Run,
            IntentForm::Stop => Intent::Stop,
            IntentForm::Remove(volumes) => Intent::Remove { volumes },
            IntentForm::Forget(volumes) => Intent::Forget { volumes },
        };
        Ok(ServiceRecord {
            template: self.template.into(),
            previous: self.previous.map(|it| Arc::new(it.into())),
            rollout: Rollout {
                stage,
                failed: self.failed.map(|(it, why)| (Revision(it), why.into())),
            },
            moves: self.moves.0.into_iter().map(|(slot, id)| (Slot(slot), NodeId(id))).collect(),
            ticks_after: self.ticks_after.map(Tick),
            done: self.done.0.into_iter().map(Slot).collect(),
            replicas: self.replicas,
            intent,
            restarts: self.restarts,
            starts: self.starts,
            grace: self.grace.map(Millis),
            renew_volumes: self.renew_volumes,
        })
    }
}

impl From<&Template> for TemplateForm {
    fn from(it: &Template) -> Self {
        Self {
            definition: it.definition.to_string(),
            base: it.base.0,
            revision: it.revision.0,
            image: it.image.as_ref().map(ToString::to_string),
        }
    }
}

impl From<TemplateForm> for Template {
    fn from(it: TemplateForm) -> Self {
        Self {
            definition: it.definition.into(),
            base: Revision(it.base),
            revision: Revision(it.revision),
            image: it.image.map(|it| ImageId(it.into())),
        }
    }
}

impl From<&RevisionRecord> for RevisionForm {
    fn from(it: &RevisionRecord) -> Self {
        let services = it.services.iter().map(|(name, it)| (name.to_string(), it.into()));
        Self {
            at: it.at.0,
            by: it.by.0,
            returns_to: it.returns_to,
            model: it.model.to_string(),
            services: List(services.collect()),
        }
    }
}

impl RevisionForm {
    pub(super) fn into_record(self) -> Result<RevisionRecord, CodecError> {
        let mut services = BTreeMap::new();
        for (name, template) in self.services.0 {
            services.insert(name.parse()?, template.into());
        }
        Ok(RevisionRecord {
            at: WallTime(self.at),
            by: NodeId(self.by),
            returns_to: self.returns_to,
            model: self.model.into(),
            services,
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
            overlay: it.overlay,
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
            overlay: self.overlay,
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
            wanted_image: it.wanted_image.as_ref().map(ToString::to_string),
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
            checked: it.checked,
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
            wanted_image: self.wanted_image.map(|it| ImageId(it.into())),
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
            checked: self.checked,
            ports: self.ports.0.into_iter().map(port).collect(),
            addresses: self.addresses.0.into_iter().collect(),
        })
    }
}

fn pairs(map: &BTreeMap<String, String>) -> List<(String, String)> {
    List(map.iter().map(|(key, value)| (key.clone(), value.clone())).collect())
}
