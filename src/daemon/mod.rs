//! `fizz daemon`: the shell around a [`Node`](crate::node::Node).

pub mod args;
pub mod clock;
pub mod config;
mod disk;
pub mod facts;
pub mod identity;
mod logging;
pub mod socket;
pub mod store;
mod systemd;
pub mod tasks;
