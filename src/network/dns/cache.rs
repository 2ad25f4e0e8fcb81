//! What others answered, for as long as their records say (RFC 1035, 7.4; RFC 2308, 5).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use hickory_resolver::proto::rr::Record;

use super::message::{Request, Response};
use crate::{
    model::{Millis, Moment},
    topology::zone::DnsName,
};

/// How many answers are remembered at most.
pub(super) const ANSWERS_MAX: usize = 10_000;

/// How long at most, whatever the records say: an answer, and that there is none (RFC 2308, 5).
const SECONDS_MAX: u32 = 3600;
const NEGATIVE_SECONDS_MAX: u32 = 300;

type Key = (Arc<DnsName>, u16);

/// Answers by what was asked.
#[derive(Debug, Default)]
pub(super) struct Cache {
    kept: BTreeMap<Key, Kept>,
    /// The same by when they end, the next to go first.
    ends: BTreeSet<(Moment, Key)>,
}

#[derive(Debug)]
struct Kept {
    response: Response,
    since: Moment,
    until: Moment,
}

impl Cache {
    /// What is known, with what is left of its time.
    pub(super) fn get(&self, request: &Request, now: Moment) -> Option<Response> {
        let kept = self.kept.get(&key(request)).filter(|it| now < it.until)?;
        let Millis(passed) = now - kept.since;
        let mut response = kept.response.clone();
        for record in records(&mut response) {
            let passed = u32::try_from(passed / 1000).unwrap_or(u32::MAX);
            record.ttl = record.ttl.saturating_sub(passed);
        }
        Some(response)
    }

    /// Remembers an answer; for no time, if it says so. Where there is no room, what would end first goes.
    pub(super) fn keep(&mut self, request: &Request, mut response: Response, now: Moment) {
        let most = if response.answers.is_empty() { NEGATIVE_SECONDS_MAX } else { SECONDS_MAX };
        let Some(seconds) = records(&mut response).map(|it| it.ttl).min() else { return };
        let seconds = seconds.min(most);
        if seconds == 0 {
            return;
        }
        let (key, until) = (key(request), now + Millis::from_secs(seconds.into()));
        if let Some(old) = self.kept.remove(&key) {
            self.ends.remove(&(old.until, key.clone()));
        }
        while ANSWERS_MAX <= self.kept.len() {
            let Some((_, first)) = self.ends.pop_first() else { break };
            self.kept.remove(&first);
        }
        self.ends.insert((until, key.clone()));
        self.kept.insert(key, Kept { response, since: now, until });
    }

    /// Forgets everything: others are asked from now on, and may see it differently.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

fn records(response: &mut Response) -> impl Iterator<Item = &mut Record> {
    response.answers.iter_mut().chain(&mut response.authorities).chain(&mut response.further)
}

fn key(request: &Request) -> Key {
    (Arc::new(request.question.name.clone()), request.query.query_type().into())
}
