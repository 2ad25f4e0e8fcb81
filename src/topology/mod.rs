//! Who reaches whom: from what is agreed to addresses, blocks and peers.
//!
//! One derivation, the same on every node. The shell makes the kernel match what it comes to; nothing here
//! asks the kernel anything. Two rules make it safe where two halves of a cluster meet again: of two claims
//! to one block one holds, by a rule that all evaluate alike, and that is decided *before* a kernel hears of
//! it (WireGuard gives a prefix to the peer that was set last, without an error); and no two peers that this
//! room derives are ever given the same prefix.

mod addresses;
mod blocks;
mod ingress;
mod known;
mod maglev;
mod mesh;
mod plan;
mod relays;
pub mod zone;

pub use addresses::{allocate, gateway, room};
pub use blocks::{Blocks, Claim};
pub use ingress::{Backend, Pool, Published};
pub use known::{Isolation, Known, is_translated, places};
pub use maglev::SLOTS;
pub use mesh::{MTU_BYTES_MIN, Mesh, Peer, Place, WIREGUARD_BYTES, decided, heard};
pub use plan::{Plan, PlanError};
pub use relays::relays;
