//! What the cluster has agreed: six collections, replicated without a leader.
//!
//! Delta-state CRDTs (Almeida, Shoker, Baquero, 2018) over one causal context. Every write carries a
//! [`Dot`], its writer's next number; a [`Stamp`] of hybrid logical time (Kulkarni et al., 2014); and
//! what its writer had seen of the key. One storage, [`DottedMap`], keeps what no other write has
//! ended; last-writer-wins maps and observed-remove sets are two ways to read it. Writes may come in
//! any order and more than once. A write leaves this node only after it is durable.
//!
//! What always holds, and why, is in `docs/PROTOCOL.md`.

mod change;
mod clock;
mod cluster;
mod codec;
mod collections;
mod content;
mod context;
mod damage;
mod digest;
mod dotted_map;
mod exchange;
mod forms;
mod keys;
mod lists;
mod lww_map;
mod or_set;
mod records;
mod step;
#[cfg(test)]
mod tests;
mod vector;
mod wire;

pub use change::{Change, Write};
pub use clock::{Dot, HybridClock, ReplicaId, Stamp};
pub use cluster::ClusterState;
pub use codec::{Row, decode, encode};
pub use context::CLOUD_DOTS_MAX;
pub use damage::CodecError;
pub use digest::{BUCKETS, Buckets, Digest, bucket_of};
pub use dotted_map::{DottedMap, Sibling};
pub use exchange::Inventory;
pub use lww_map::LwwMap;
pub use or_set::OrSet;
pub use records::{
    Admission, Availability, ContainerRecord, DeploymentRecord, Intent, IpAllocation, MeshRecord,
    NodeRecord, OneOff, Removal, RevisionKey, RevisionRecord, Rollout, SealedSecret, SecretPath,
    ServiceRecord, Stage, Template,
};
pub use step::{Applied, Step, Touched};
pub use vector::VersionVector;
pub use wire::{
    INVENTORY_BYTES_MAX, VECTOR_BYTES_MAX, WRITE_BYTES_MAX, decode_inventory, decode_vector,
    decode_write, encode_inventory, encode_vector, encode_write,
};
