//! Writes as rows of a durable store: a row for each key of a map and each element of a set, and one
//! for each writer's count. The value is a version byte and a postcard document.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    clock::{Dot, ReplicaId, Stamp},
    cluster::{Change, ClusterState, Write},
    damage::{CodecError, VERSION},
    forms::{ContainerForm, DeploymentForm, IpAllocationForm, NodeForm, SecretForm, ServiceForm},
    records::{IpAllocation, SealedSecret, SecretPath},
};
use crate::model::{ContainerId, NodeId, ProjectName, ServiceKey, WallTime};

/// One row to put, or to delete when it has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Where.
    pub key: Vec<u8>,
    /// What.
    pub value: Option<Vec<u8>>,
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn secret() -> Write {
        let mut state = ClusterState::new(ReplicaId(5));
        let path = SecretPath::Registry("docker.io".into());
        let sealed = SealedSecret { ciphertext: vec![1, 2, 3], fingerprint: [9; 16] };
        state.commit(Change::Secret(path, Some(Arc::new(sealed))), WallTime(77))
    }

    #[test]
    fn a_write_reads_back_as_it_was_with_its_dot_and_stamp() {
        let rows = encode(&secret()).unwrap();
        let mut state = ClusterState::new(ReplicaId(5));
        for row in &rows {
            decode(&mut state, &row.key, row.value.as_ref().unwrap()).unwrap();
        }
        let path = SecretPath::Registry("docker.io".into());
        assert_eq!(state.secrets().get(&path).unwrap().ciphertext, [1, 2, 3]);
        let next = state.commit(Change::Secret(path, None), WallTime(1));
        assert_eq!(next.dot.sequence, 2);
        assert!(secret().stamp < next.stamp, "even when the wall clock stepped back");
    }

    #[test]
    fn an_address_that_is_freed_leaves_its_number_behind() {
        let mut state = ClusterState::new(ReplicaId(5));
        let address = "10.100.0.2".parse().unwrap();
        let taken = IpAllocation { address, container: ContainerId(1) };
        let add = state.commit(Change::IpAllocation(Some(Arc::new(taken)), vec![]), WallTime(1));
        let end = state.commit(Change::IpAllocation(None, vec![add.dot]), WallTime(2));
        assert_eq!(state.ip_allocations().count(), 0);
        let rows = encode(&end).unwrap();
        assert!(rows.iter().any(|row| row.value.is_none()));
        let mut again = ClusterState::new(ReplicaId(5));
        for row in rows.iter().filter_map(|row| Some((&row.key, row.value.as_ref()?))) {
            decode(&mut again, row.0, row.1).unwrap();
        }
        assert_eq!(again.seen(), state.seen());
    }

    #[test]
    fn a_row_of_a_later_fizz_is_refused_with_what_to_do() {
        let error = decode(&mut ClusterState::default(), &[9, 0], &[1]).unwrap_err();
        assert!(error.to_string().contains("upgrade fizz"), "{error}");
    }

    proptest! {
        #[test]
        fn damaged_rows_are_refused_and_never_panic(
            key in proptest::collection::vec(any::<u8>(), 0..40),
            value in proptest::collection::vec(any::<u8>(), 0..80),
        ) {
            let key: Vec<u8> = [VERSION].into_iter().chain(key).collect();
            let value: Vec<u8> = [VERSION].into_iter().chain(value).collect();
            let mut state = ClusterState::default();
            if decode(&mut state, &key, &value).is_err() {
                prop_assert_eq!(state, ClusterState::default());
            }
        }
    }
}
