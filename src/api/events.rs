//! What happened lately, numbered, for whoever listens now or comes back.

use std::{collections::VecDeque, sync::Mutex};

use tokio::sync::broadcast;

use super::wire::Event;

/// How many events a client that was away can still read.
pub const EVENTS_KEPT_MAX: usize = 4096;

/// How many events a slow client may lag before it has to resume by id.
const EVENTS_QUEUED_MAX: usize = 1024;

/// The last events, and who listens.
#[derive(Debug)]
pub struct EventLog {
    kept: Mutex<VecDeque<Event>>,
    live: broadcast::Sender<Event>,
}

impl EventLog {
    /// An empty log whose first event has the id after `last`.
    #[must_use]
    pub fn new(last: u64) -> Self {
        let _ = last;
        Self { kept: Mutex::new(VecDeque::new()), live: broadcast::channel(EVENTS_QUEUED_MAX).0 }
    }
}
