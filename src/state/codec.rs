//! Writes as rows of a durable store: a row for each key of a map and each element of a set, and one
//! for each writer's count. The value is a version byte and a postcard document.
//!
//! Records are not serialisable themselves: the forms here are, and they are what must stay readable.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    clock::{Dot, ReplicaId, Stamp},
    cluster::{Change, ClusterState, Write},
    records::{
        ContainerRecord, DeploymentRecord, Intent, IpAllocation, NodeRecord, Removal, SealedSecret,
        SecretPath, ServiceRecord,
    },
};
use crate::model::{
    ContainerId, ContainerState, ImageId, InvalidName, Millis, NodeId, NodeState, ObservedPort,
    ProjectName, Revision, RuntimeId, ServiceKey, Slot, WallTime,
};

/// The version of the forms below.
const VERSION: u8 = 1;

/// One row to put, or to delete when it has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Where.
    pub key: Vec<u8>,
    /// What.
    pub value: Option<Vec<u8>>,
}

/// A row that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Written by a later Fizz.
    #[error("a stored row has version {0}, and this fizz reads up to {VERSION}: upgrade fizz")]
    Version(u8),
    /// Not what was written.
    #[error("a stored row is damaged ({0}): restore the data directory or start with a new one")]
    Damaged(String),
}

impl From<InvalidName> for CodecError {
    fn from(error: InvalidName) -> Self {
        Self::Damaged(error.to_string())
    }
}

/// A row's place.
#[derive(Serialize, Deserialize)]
enum Key {
    Seen(u64),
    Node(u128),
    Service(String, String),
    Deployment(String),
    ProjectSecret(String, String),
    RegistrySecret(String),
    Container(u64, u64),
    IpAllocation(u64, u64),
}

/// A row's content: dot, stamp, and the value, `None` for a tombstone.
#[derive(Serialize, Deserialize)]
struct Register<T> {
    replica: u64,
    sequence: u64,
    wall: u64,
    count: u32,
    value: Option<T>,
}

#[derive(Serialize, Deserialize)]
struct NodeForm {
    name: String,
    state: u8,
    since: u64,
    address: Option<String>,
    version: String,
    labels: BTreeMap<String, String>,
    cpus: u32,
    memory_bytes: u64,
    architecture: String,
    kernel: String,
    runtime: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct ServiceForm {
    definition: String,
    revision: u128,
    image: Option<String>,
    replicas: u32,
    intent: IntentForm,
    restarts: u64,
    grace: Option<u64>,
    renew_volumes: bool,
}

#[derive(Serialize, Deserialize)]
enum IntentForm {
    Run,
    Stop,
    Remove(bool),
    Forget(bool),
}

#[derive(Serialize, Deserialize)]
struct DeploymentForm {
    version: u64,
    model: String,
    working_dir: String,
    files: Vec<String>,
    updated: u64,
    removal: Option<(bool, Option<String>, Option<u64>)>,
}

#[derive(Serialize, Deserialize)]
struct SecretForm {
    ciphertext: Vec<u8>,
    fingerprint: [u8; 16],
}

#[derive(Serialize, Deserialize)]
struct ContainerForm {
    id: u128,
    node: u128,
    project: String,
    service: String,
    slot: u32,
    name: String,
    revision: u128,
    one_off: Option<String>,
    image: Option<String>,
    runtime_id: Option<String>,
    state: u8,
    since: u64,
    created: u64,
    reason: Option<String>,
    exit_code: Option<i64>,
    runs: u32,
    restarts: u64,
    ports: Vec<(String, u16, String, u16)>,
    addresses: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct IpAllocationForm {
    address: IpAddr,
    container: u128,
}

/// The rows that make a write durable.
pub fn encode(write: &Write) -> Result<Vec<Row>, CodecError> {
    let (dot, stamp) = (write.dot, write.stamp);
    let mut rows = vec![row(&Key::Seen(dot.replica.0), &dot.sequence)?];
    match &write.change {
        Change::Node(id, value) => {
            let form = value.as_deref().map(NodeForm::from);
            rows.push(row(&Key::Node(id.0), &register(dot, stamp, form))?);
        }
        Change::Service(key, value) => {
            let form = value.as_deref().map(ServiceForm::from);
            let key = Key::Service(key.project.to_string(), key.service.to_string());
            rows.push(row(&key, &register(dot, stamp, form))?);
        }
        Change::Deployment(name, value) => {
            let form = value.as_deref().map(DeploymentForm::from);
            rows.push(row(&Key::Deployment(name.to_string()), &register(dot, stamp, form))?);
        }
        Change::Secret(path, value) => {
            let form = value.as_deref().map(|it| SecretForm {
                ciphertext: it.ciphertext.clone(),
                fingerprint: it.fingerprint,
            });
            rows.push(row(&secret_key(path), &register(dot, stamp, form))?);
        }
        Change::Container(value, ends) => {
            if let Some(form) = value.as_deref().map(ContainerForm::from) {
                let key = Key::Container(dot.replica.0, dot.sequence);
                rows.push(row(&key, &register(dot, stamp, Some(form)))?);
            }
            for end in ends {
                rows.push(deletion(&Key::Container(end.replica.0, end.sequence))?);
            }
        }
        Change::IpAllocation(value, ends) => {
            if let Some(it) = value.as_deref() {
                let form = IpAllocationForm { address: it.address, container: it.container.0 };
                let key = Key::IpAllocation(dot.replica.0, dot.sequence);
                rows.push(row(&key, &register(dot, stamp, Some(form)))?);
            }
            for end in ends {
                rows.push(deletion(&Key::IpAllocation(end.replica.0, end.sequence))?);
            }
        }
    }
    Ok(rows)
}

/// Takes a stored row into a state.
pub fn decode(state: &mut ClusterState, key: &[u8], value: &[u8]) -> Result<(), CodecError> {
    let change = match read::<Key>(key)? {
        Key::Seen(replica) => {
            let dot = Dot { replica: ReplicaId(replica), sequence: read(value)? };
            state.restore_seen(dot);
            return Ok(());
        }
        Key::Node(id) => {
            let it = read::<Register<NodeForm>>(value)?;
            it.with(|form| Ok(Change::Node(NodeId(id), present(form, NodeForm::into_record)?)))?
        }
        Key::Service(project, service) => {
            let key = ServiceKey { project: project.parse()?, service: service.parse()? };
            let it = read::<Register<ServiceForm>>(value)?;
            it.with(|form| Ok(Change::Service(key, present(form, ServiceForm::into_record)?)))?
        }
        Key::Deployment(name) => {
            let name: ProjectName = name.parse()?;
            let it = read::<Register<DeploymentForm>>(value)?;
            it.with(|form| Ok(Change::Deployment(name, present(form, |it| Ok(it.into_record()))?)))?
        }
        Key::ProjectSecret(project, key) => {
            secret(SecretPath::Project(project.parse()?, key), value)?
        }
        Key::RegistrySecret(registry) => secret(SecretPath::Registry(registry), value)?,
        Key::Container(..) => {
            let it = read::<Register<ContainerForm>>(value)?;
            it.with(|form| {
                Ok(Change::Container(present(form, ContainerForm::into_record)?, vec![]))
            })?
        }
        Key::IpAllocation(..) => {
            let it = read::<Register<IpAllocationForm>>(value)?;
            let record = |it: IpAllocationForm| {
                Ok(IpAllocation { address: it.address, container: ContainerId(it.container) })
            };
            it.with(|form| Ok(Change::IpAllocation(present(form, record)?, vec![])))?
        }
    };
    state.restore(&change);
    Ok(())
}

fn secret(path: SecretPath, value: &[u8]) -> Result<Write, CodecError> {
    let record = |it: SecretForm| {
        Ok(SealedSecret { ciphertext: it.ciphertext, fingerprint: it.fingerprint })
    };
    read::<Register<SecretForm>>(value)?
        .with(|form| Ok(Change::Secret(path, present(form, record)?)))
}

fn secret_key(path: &SecretPath) -> Key {
    match path {
        SecretPath::Project(project, key) => Key::ProjectSecret(project.to_string(), key.clone()),
        SecretPath::Registry(registry) => Key::RegistrySecret(registry.clone()),
    }
}

impl<T> Register<T> {
    /// The write that this row kept, its change made from the value.
    fn with(
        self,
        change: impl FnOnce(Option<T>) -> Result<Change, CodecError>,
    ) -> Result<Write, CodecError> {
        let replica = ReplicaId(self.replica);
        let dot = Dot { replica, sequence: self.sequence };
        let stamp = Stamp { wall: WallTime(self.wall), count: self.count, replica };
        Ok(Write { dot, stamp, change: change(self.value)? })
    }
}

fn register<T>(dot: Dot, stamp: Stamp, value: Option<T>) -> Register<T> {
    Register {
        replica: dot.replica.0,
        sequence: dot.sequence,
        wall: stamp.wall.0,
        count: stamp.count,
        value,
    }
}

fn present<T, R>(
    form: Option<T>,
    record: impl FnOnce(T) -> Result<R, CodecError>,
) -> Result<Option<Arc<R>>, CodecError> {
    form.map(record).transpose().map(|it| it.map(Arc::new))
}

fn row(key: &Key, value: &impl Serialize) -> Result<Row, CodecError> {
    Ok(Row { key: bytes(key)?, value: Some(bytes(value)?) })
}

fn deletion(key: &Key) -> Result<Row, CodecError> {
    Ok(Row { key: bytes(key)?, value: None })
}

fn bytes(value: &impl Serialize) -> Result<Vec<u8>, CodecError> {
    postcard::to_extend(value, vec![VERSION]).map_err(damaged)
}

fn read<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> Result<T, CodecError> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => postcard::from_bytes(rest).map_err(damaged),
        Some((&version, _)) => Err(CodecError::Version(version)),
        None => Err(CodecError::Damaged("it is empty".to_owned())),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to map_err")]
fn damaged(error: postcard::Error) -> CodecError {
    CodecError::Damaged(error.to_string())
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
            address: it.address.clone(),
            version: it.version.clone(),
            labels: it.labels.clone(),
            cpus: it.cpus,
            memory_bytes: it.memory_bytes,
            architecture: it.architecture.clone(),
            kernel: it.kernel.clone(),
            runtime: it.runtime.clone(),
        }
    }
}

impl NodeForm {
    fn into_record(self) -> Result<NodeRecord, CodecError> {
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
            version: self.version,
            labels: self.labels,
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
            revision: it.revision.0,
            image: it.image.as_ref().map(ToString::to_string),
            replicas: it.replicas,
            intent,
            restarts: it.restarts,
            grace: it.grace.map(|it| it.0),
            renew_volumes: it.renew_volumes,
        }
    }
}

impl ServiceForm {
    #[expect(clippy::unnecessary_wraps, reason = "all forms are read alike")]
    fn into_record(self) -> Result<ServiceRecord, CodecError> {
        let intent = match self.intent {
            IntentForm::Run => Intent::Run,
            IntentForm::Stop => Intent::Stop,
            IntentForm::Remove(volumes) => Intent::Remove { volumes },
            IntentForm::Forget(volumes) => Intent::Forget { volumes },
        };
        Ok(ServiceRecord {
            definition: self.definition.into(),
            revision: Revision(self.revision),
            image: self.image.map(|it| ImageId(it.into())),
            replicas: self.replicas,
            intent,
            restarts: self.restarts,
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
            files: it.files.clone(),
            updated: it.updated.0,
            removal: removal.map(|it| (it.volumes, it.images.clone(), it.grace.map(|it| it.0))),
        }
    }
}

impl DeploymentForm {
    fn into_record(self) -> DeploymentRecord {
        let removal = self.removal.map(|(volumes, images, grace)| Removal {
            volumes,
            images,
            grace: grace.map(Millis),
        });
        DeploymentRecord {
            version: self.version,
            model: self.model.into(),
            working_dir: self.working_dir,
            files: self.files,
            updated: WallTime(self.updated),
            removal,
        }
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
            id: it.id.0,
            node: it.node.0,
            project: it.service.project.to_string(),
            service: it.service.service.to_string(),
            slot: it.slot.0,
            name: it.name.to_string(),
            revision: it.revision.0,
            one_off: it.one_off.as_ref().map(ToString::to_string),
            image: it.image.as_ref().map(ToString::to_string),
            runtime_id: it.runtime_id.as_ref().map(ToString::to_string),
            state,
            since: it.since.0,
            created: it.created.0,
            reason: it.reason.as_ref().map(ToString::to_string),
            exit_code: it.exit_code,
            runs: it.runs,
            restarts: it.restarts,
            ports: it.ports.iter().map(port).collect(),
            addresses: it.addresses.clone(),
        }
    }
}

impl ContainerForm {
    fn into_record(self) -> Result<ContainerRecord, CodecError> {
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
            id: ContainerId(self.id),
            node: NodeId(self.node),
            service: ServiceKey { project: self.project.parse()?, service: self.service.parse()? },
            slot: Slot(self.slot),
            name: self.name.parse()?,
            revision: Revision(self.revision),
            one_off: self.one_off.map(Into::into),
            image: self.image.map(|it| ImageId(it.into())),
            runtime_id: self.runtime_id.map(|it| RuntimeId(it.into())),
            state,
            since: WallTime(self.since),
            created: WallTime(self.created),
            reason: self.reason.map(Into::into),
            exit_code: self.exit_code,
            runs: self.runs,
            restarts: self.restarts,
            ports: self.ports.into_iter().map(port).collect(),
            addresses: self.addresses,
        })
    }
}
