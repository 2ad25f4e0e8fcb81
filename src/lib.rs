//! Fizz: a container orchestrator with no leader.
//!
//! Rooms are listed in reading order. A room may use only the rooms above it; `tests/tidy.rs`
//! holds the table. The first rooms are pure: no clock, no sockets, no files, no tasks. They decide;
//! the rooms below them only carry.

// Pure rooms.
pub mod model;
pub mod compose;
pub mod state;
pub mod swim;
pub mod gossip;
pub mod scheduler;
pub mod health;
pub mod topology;
pub mod doctor;
pub mod reconcile;
pub mod secrets;
pub mod node;

// Rooms that touch the world.
pub mod runtime;
pub mod network;
pub mod api;
pub mod daemon;
pub mod cli;
