//! What the cluster has agreed: six collections, replicated without a leader.
//!
//! Delta-state CRDTs (Almeida, Shoker, Baquero, 2018) over one causal context: last-writer-wins maps
//! and observed-remove sets whose every write carries a [`Dot`], its writer's next number, and a
//! [`Stamp`] of hybrid logical time (Kulkarni et al., 2014). A write leaves this node only after it
//! is durable.

mod clock;
mod cluster;
mod codec;
mod damage;
mod forms;
mod lww_map;
mod or_set;
mod records;

pub use clock::{Dot, HybridClock, ReplicaId, Stamp, VersionVector};
pub use cluster::{Change, ClusterState, Write};
pub use codec::{Row, decode, encode};
pub use damage::CodecError;
pub use lww_map::{LwwMap, Register};
pub use or_set::OrSet;
pub use records::{
    ContainerRecord, DeploymentRecord, Intent, IpAllocation, NodeRecord, OneOff, Removal,
    SealedSecret, SecretPath, ServiceRecord,
};
