//! The state as rows of a durable store: a row for each write that stands, and rows for the causal
//! context, the clock and the writer. A key and a value are each a version byte and a postcard
//! document.

use serde::{Deserialize, Serialize};

use super::{
    change::{Place, Write},
    clock::{Dot, HybridClock, ReplicaId},
    cluster::ClusterState,
    damage::{CodecError, VERSION},
    keys::{self, PlaceForm},
    step::Step,
    wire,
};
use crate::model::WallTime;

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
    Replica,
    Clock,
    Seen(u64),
    Cloud(u64, u64),
    Collected(u8, u64),
    Write(PlaceForm, u64, u64),
}

/// The rows that make a step durable, to be written in their order and together.
pub fn encode(step: &Step) -> Result<Vec<Row>, CodecError> {
    let mut rows = vec![];
    if let Some(replica) = step.replica {
        rows.push(row(&Key::Replica, &replica.0)?);
    }
    if let Some(clock) = step.clock {
        rows.push(row(&Key::Clock, &(clock.wall.0, clock.count))?);
    }
    for write in &step.writes {
        let key = write_key(&write.change.place(), write.dot);
        let value = Some(wire::body(write, vec![VERSION])?);
        rows.push(Row { key: bytes(&key)?, value });
    }
    for (place, dot) in &step.ended {
        rows.push(deletion(&write_key(place, *dot))?);
    }
    for dot in &step.seen {
        rows.push(row(&Key::Seen(dot.replica.0), &dot.sequence)?);
    }
    for dot in &step.clouded {
        rows.push(row(&Key::Cloud(dot.replica.0, dot.sequence), &())?);
    }
    for dot in &step.filled {
        rows.push(deletion(&Key::Cloud(dot.replica.0, dot.sequence))?);
    }
    for (kind, dot) in &step.collected {
        let key = Key::Collected(keys::kind_number(*kind), dot.replica.0);
        rows.push(row(&key, &dot.sequence)?);
    }
    Ok(rows)
}

/// Takes a stored row into a state.
pub fn decode(state: &mut ClusterState, key: &[u8], value: &[u8]) -> Result<(), CodecError> {
    let value = wire::unversioned(value)?;
    match wire::whole(wire::unversioned(key)?)? {
        Key::Replica => state.restore_replica(ReplicaId(wire::whole(value)?)),
        Key::Clock => {
            let (wall, count) = wire::whole(value)?;
            state.restore_clock(HybridClock { wall: WallTime(wall), count });
        }
        Key::Seen(replica) => state.restore_seen(keys::dot(replica, wire::whole(value)?)?),
        Key::Cloud(replica, sequence) => {
            wire::whole::<()>(value)?;
            state.restore_cloud(keys::dot(replica, sequence)?);
        }
        Key::Collected(kind, replica) => {
            let dot = keys::dot(replica, wire::whole(value)?)?;
            state.restore_collected(keys::kind_of(kind)?, dot);
        }
        Key::Write(place, replica, sequence) => {
            let write: Write =
                wire::write(place.into_place()?, keys::dot(replica, sequence)?, value)?;
            state.restore_write(&write);
        }
    }
    Ok(())
}

fn write_key(place: &Place, dot: Dot) -> Key {
    Key::Write(PlaceForm::from(place), dot.replica.0, dot.sequence)
}

fn row(key: &Key, value: &impl Serialize) -> Result<Row, CodecError> {
    Ok(Row { key: bytes(key)?, value: Some(bytes(value)?) })
}

fn deletion(key: &Key) -> Result<Row, CodecError> {
    Ok(Row { key: bytes(key)?, value: None })
}

fn bytes(value: &impl Serialize) -> Result<Vec<u8>, CodecError> {
    wire::to_bytes(vec![VERSION], value)
}
