//! What peers send one another: writes, version vectors and inventories, in the forms of the rows on
//! disk.
//!
//! A version byte, then postcard. What is read comes from elsewhere: nothing is believed of it that
//! was not checked, and it costs no more memory than a few times its size (see [`super::lists`]).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    change::{Change, Place, Write},
    clock::{Dot, ReplicaId, Stamp},
    damage::{CodecError, VERSION},
    exchange::Inventory,
    forms::{ContainerForm, DeploymentForm, NodeForm, RevisionForm, SecretForm, ServiceForm},
    keys::{self, PlaceForm, VectorForm},
    lists::{List, LongList},
    vector::VersionVector,
};
use crate::model::WallTime;

/// The longest write. The API takes 16 MiB of a deployment; its forms say some of it twice.
pub const WRITE_BYTES_MAX: usize = 24 << 20;

/// The longest version vector.
pub const VECTOR_BYTES_MAX: usize = 1 << 20;

/// The longest inventory: some two million writes that stand.
pub const INVENTORY_BYTES_MAX: usize = 4 << 20;

/// What belongs to a write's key: stamp, past, and the value, `None` for a removal. The stamp's
/// writer is the dot's.
#[derive(Serialize, Deserialize)]
struct Body<T> {
    wall: u64,
    count: u32,
    past: VectorForm,
    value: Option<T>,
}

#[derive(Serialize, Deserialize)]
struct InventoryForm {
    seen: VectorForm,
    /// For each writer its writes, each as the distance from the one before.
    live: List<(u64, LongList<u64>)>,
    collected: List<(u8, VectorForm)>,
}

/// A write as it is sent.
pub fn encode_write(write: &Write) -> Result<Vec<u8>, CodecError> {
    let place = PlaceForm::from(&write.change.place());
    let bytes = to_bytes(vec![VERSION], &(place, write.dot.replica.0, write.dot.sequence))?;
    bounded(body(write, bytes)?, WRITE_BYTES_MAX)
}

/// A write as it was sent.
pub fn decode_write(bytes: &[u8]) -> Result<Write, CodecError> {
    let rest = content(bytes, WRITE_BYTES_MAX)?;
    let ((place, replica, sequence), rest) =
        postcard::take_from_bytes::<(PlaceForm, u64, u64)>(rest).map_err(damaged)?;
    write(place.into_place()?, keys::dot(replica, sequence)?, rest)
}

/// A version vector as it is sent.
pub fn encode_vector(vector: &VersionVector) -> Result<Vec<u8>, CodecError> {
    bounded(to_bytes(vec![VERSION], &keys::vector_form(vector))?, VECTOR_BYTES_MAX)
}

/// A version vector as it was sent.
pub fn decode_vector(bytes: &[u8]) -> Result<VersionVector, CodecError> {
    keys::vector(whole(content(bytes, VECTOR_BYTES_MAX)?)?)
}

/// An inventory as it is sent.
pub fn encode_inventory(inventory: &Inventory) -> Result<Vec<u8>, CodecError> {
    let mut live: Vec<(u64, LongList<u64>)> = vec![];
    let mut before = Dot { replica: ReplicaId(0), sequence: 0 };
    for &dot in &inventory.live {
        if live.is_empty() || dot.replica != before.replica {
            live.push((dot.replica.0, LongList(vec![])));
            before = Dot { sequence: 0, ..dot };
        }
        if let Some((_, distances)) = live.last_mut() {
            distances.0.push(dot.sequence - before.sequence);
        }
        before = dot;
    }
    let collected = inventory.collected.iter();
    let form = InventoryForm {
        seen: keys::vector_form(&inventory.seen),
        live: List(live),
        collected: List(
            collected.map(|(&it, list)| (keys::kind_number(it), keys::vector_form(list))).collect(),
        ),
    };
    bounded(to_bytes(vec![VERSION], &form)?, INVENTORY_BYTES_MAX)
}

/// An inventory as it was sent.
pub fn decode_inventory(bytes: &[u8]) -> Result<Inventory, CodecError> {
    let form: InventoryForm = whole(content(bytes, INVENTORY_BYTES_MAX)?)?;
    let mut inventory = Inventory { seen: keys::vector(form.seen)?, ..Inventory::default() };
    for (replica, distances) in form.live.0 {
        let mut sequence = 0u64;
        for distance in distances.0 {
            sequence = sequence.saturating_add(distance);
            inventory.live.insert(keys::dot(replica, sequence)?);
        }
    }
    for (kind, vector) in form.collected.0 {
        inventory.collected.insert(keys::kind_of(kind)?, keys::vector(vector)?);
    }
    Ok(inventory)
}

/// Appends what belongs to a write's key.
pub(super) fn body(write: &Write, bytes: Vec<u8>) -> Result<Vec<u8>, CodecError> {
    match &write.change {
        Change::Node(_, it) => append(write, it.as_deref().map(NodeForm::from), bytes),
        Change::Service(_, it) => append(write, it.as_deref().map(ServiceForm::from), bytes),
        Change::Deployment(_, it) => append(write, it.as_deref().map(DeploymentForm::from), bytes),
        Change::Revision(_, it) => append(write, it.as_deref().map(RevisionForm::from), bytes),
        Change::Secret(_, it) => append(write, it.as_deref().map(SecretForm::from), bytes),
        Change::Container(_, it) => append(write, it.as_deref().map(ContainerForm::from), bytes),
        Change::IpAllocation(_, it) => append(write, it.as_deref(), bytes),
    }
}

fn append(
    write: &Write,
    value: Option<impl Serialize>,
    bytes: Vec<u8>,
) -> Result<Vec<u8>, CodecError> {
    let (wall, count) = (write.stamp.wall.0, write.stamp.count);
    to_bytes(bytes, &Body { wall, count, past: keys::vector_form(&write.past), value })
}

/// The write of a place and a dot, from what belongs to them.
pub(super) fn write(place: Place, dot: Dot, bytes: &[u8]) -> Result<Write, CodecError> {
    match place {
        Place::Node(key) => read(dot, bytes, NodeForm::into_record, |it| Change::Node(key, it)),
        Place::Service(key) => {
            read(dot, bytes, ServiceForm::into_record, |it| Change::Service(key, it))
        }
        Place::Deployment(key) => {
            read(dot, bytes, DeploymentForm::into_record, |it| Change::Deployment(key, it))
        }
        Place::Revision(key) => {
            read(dot, bytes, RevisionForm::into_record, |it| Change::Revision(key, it))
        }
        Place::Secret(key) => {
            read(dot, bytes, SecretForm::into_record, |it| Change::Secret(key, it))
        }
        Place::Container(key) => {
            let record = |it: ContainerForm| it.into_record(key);
            read(dot, bytes, record, |it| Change::Container(key, it))
        }
        Place::IpAllocation(key) => {
            read(dot, bytes, |()| Ok(()), |it| Change::IpAllocation(key, it))
        }
    }
}

fn read<F: for<'a> Deserialize<'a>, V>(
    dot: Dot,
    bytes: &[u8],
    record: impl FnOnce(F) -> Result<V, CodecError>,
    change: impl FnOnce(Option<Arc<V>>) -> Change,
) -> Result<Write, CodecError> {
    let body: Body<F> = whole(bytes)?;
    let stamp = Stamp { wall: WallTime(body.wall), count: body.count, replica: dot.replica };
    let past = keys::vector(body.past)?;
    if past.last(dot.replica) != 0 {
        return Err(CodecError::Damaged("a write's past has its writer".to_owned()));
    }
    let value = body.value.map(record).transpose()?.map(Arc::new);
    Ok(Write { dot, stamp, past, change: change(value) })
}

/// What follows the version byte of a message that is not too long.
fn content(bytes: &[u8], bytes_max: usize) -> Result<&[u8], CodecError> {
    if bytes_max < bytes.len() {
        return Err(CodecError::TooLong { bytes: bytes.len(), bytes_max });
    }
    unversioned(bytes)
}

/// What follows the version byte.
pub(super) fn unversioned(bytes: &[u8]) -> Result<&[u8], CodecError> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => Ok(rest),
        Some((&version, _)) => Err(CodecError::Version(version)),
        None => Err(CodecError::Damaged("it is empty".to_owned())),
    }
}

/// A value that takes all of the bytes.
pub(super) fn whole<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> Result<T, CodecError> {
    match postcard::take_from_bytes(bytes).map_err(damaged)? {
        (value, []) => Ok(value),
        (_, more) => Err(CodecError::Damaged(format!("{} bytes too many", more.len()))),
    }
}

pub(super) fn to_bytes(bytes: Vec<u8>, value: &impl Serialize) -> Result<Vec<u8>, CodecError> {
    postcard::to_extend(value, bytes).map_err(damaged)
}

fn bounded(bytes: Vec<u8>, bytes_max: usize) -> Result<Vec<u8>, CodecError> {
    if bytes_max < bytes.len() {
        return Err(CodecError::TooLong { bytes: bytes.len(), bytes_max });
    }
    Ok(bytes)
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to map_err")]
fn damaged(error: postcard::Error) -> CodecError {
    CodecError::Damaged(error.to_string())
}
