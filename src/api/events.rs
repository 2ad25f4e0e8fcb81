//! What happened lately, numbered, for whoever listens now or comes back.
//!
//! There is one ring of the last events, and every listener is only a place in it. A slow listener
//! costs nothing and resumes where it was; one that was away for longer than the ring is told of the
//! [gap](Heard::Gap) and reads everything again.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use super::wire::Event;

/// How many events a client that was away can still read.
pub const EVENTS_KEPT_MAX: usize = 4096;

/// The last events.
#[derive(Debug)]
pub struct EventLog {
    kept: Mutex<Ring>,
    last: watch::Sender<u64>,
}

/// The kept events: their ids follow one another and end with `last`.
#[derive(Debug)]
struct Ring {
    events: VecDeque<Arc<Event>>,
    last: u64,
}

/// Somebody's place in the log.
#[derive(Debug)]
pub struct Listener {
    log: Arc<EventLog>,
    last: watch::Receiver<u64>,
    next: u64,
}

/// What a listener hears.
#[derive(Clone, Debug)]
pub enum Heard {
    /// The next event.
    Event(Arc<Event>),
    /// Events are missing: the next one that is still kept, or the next to come, has the id after
    /// this one.
    Gap(u64),
}

impl EventLog {
    /// An empty log whose first event has the id after `last`.
    #[must_use]
    pub fn new(last: u64) -> Self {
        let ring = Ring { events: VecDeque::new(), last };
        Self { kept: Mutex::new(ring), last: watch::channel(last).0 }
    }

    /// The last event's id.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.ring().last
    }

    /// Takes an event in, gives it the next id, and tells everybody. Returns the id.
    pub fn append(&self, mut event: Event) -> u64 {
        let mut ring = self.ring();
        ring.last += 1;
        event.id = ring.last;
        if ring.events.len() == EVENTS_KEPT_MAX {
            ring.events.pop_front();
        }
        ring.events.push_back(Arc::new(event));
        // Told under the lock, so that ids are told in their order.
        self.last.send_replace(ring.last);
        ring.last
    }

    /// Listens to everything after the event with this id, or from now on.
    #[must_use]
    pub fn listen(self: &Arc<Self>, since: Option<u64>) -> Listener {
        let next = since.unwrap_or_else(|| self.last()).saturating_add(1);
        Listener { log: Arc::clone(self), last: self.last.subscribe(), next }
    }

    /// A panic elsewhere leaves the ring whole: every change to it is complete before the next line.
    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    /// What is heard at this place; `None` while it is yet to come.
    fn at(&self, id: u64) -> Option<Heard> {
        let first = self.last + 1 - self.events.len() as u64;
        if id < first {
            return Some(Heard::Gap(first - 1));
        }
        if id > self.last + 1 {
            // An id that this log never gave: its giver's log was another one.
            return Some(Heard::Gap(self.last));
        }
        let index = usize::try_from(id - first).ok()?;
        self.events.get(index).cloned().map(Heard::Event)
    }
}

impl Listener {
    /// What comes next. Nothing is lost when the caller stops waiting.
    pub async fn next(&mut self) -> Heard {
        loop {
            self.last.mark_unchanged();
            if let Some(heard) = self.ready() {
                return heard;
            }
            if self.last.changed().await.is_err() {
                // Cannot be while `log` is held; waiting for ever is then right, too.
                std::future::pending::<()>().await;
            }
        }
    }

    /// What comes next, if it is there.
    pub fn ready(&mut self) -> Option<Heard> {
        let heard = self.log.ring().at(self.next)?;
        self.next = match &heard {
            Heard::Event(event) => event.id + 1,
            Heard::Gap(id) => id + 1,
        };
        Some(heard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str) -> Event {
        Event { kind: kind.to_owned(), ..Event::default() }
    }

    fn id_of(heard: Heard) -> u64 {
        match heard {
            Heard::Event(event) => event.id,
            Heard::Gap(id) => panic!("a gap up to {id}"),
        }
    }

    #[tokio::test]
    async fn a_listener_that_comes_back_hears_what_it_missed_and_nothing_twice() {
        let log = Arc::new(EventLog::new(100));
        for _ in 0..5 {
            log.append(event("node.state"));
        }
        let mut listener = log.listen(Some(102));
        for id in 103..=105 {
            assert_eq!(id_of(listener.next().await), id);
        }
        assert!(listener.ready().is_none());
        assert_eq!(log.append(event("node.state")), 106);
        assert_eq!(id_of(listener.next().await), 106);
    }

    #[tokio::test]
    async fn a_listener_that_was_away_too_long_is_told_of_the_gap_and_goes_on() {
        let log = Arc::new(EventLog::new(0));
        let mut slow = log.listen(None);
        for _ in 0..EVENTS_KEPT_MAX + 10 {
            log.append(event("container.state"));
        }
        assert!(matches!(slow.next().await, Heard::Gap(10)));
        assert_eq!(id_of(slow.next().await), 11);
        for _ in 0..EVENTS_KEPT_MAX - 1 {
            slow.next().await;
        }
        assert!(slow.ready().is_none());
    }

    #[tokio::test]
    async fn an_id_from_another_log_is_a_gap() {
        let log = Arc::new(EventLog::new(1000));
        assert!(matches!(log.listen(Some(3)).next().await, Heard::Gap(1000)));
        assert!(matches!(log.listen(Some(u64::MAX)).next().await, Heard::Gap(1000)));
        assert!(log.listen(Some(1000)).ready().is_none());
    }

    #[tokio::test]
    async fn whoever_waits_is_woken() {
        let log = Arc::new(EventLog::new(0));
        let mut listener = log.listen(None);
        let (heard, _) = tokio::join!(listener.next(), async { log.append(event("x")) });
        assert_eq!(id_of(heard), 1);
    }
}
