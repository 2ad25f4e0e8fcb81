//! What others answered, for as long as their records say (RFC 1035, 7.4; RFC 2308, 5).

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use hickory_resolver::proto::rr::Record;

use super::message::{Request, Response};
use crate::{
    model::{Millis, Moment},
    topology::zone::{DnsName, Resolvers},
};

/// How many answers are remembered at most.
pub(super) const ANSWERS_MAX: usize = 10_000;

/// How long at most, whatever the records say: an answer, and that there is none (RFC 2308, 5).
const SECONDS_MAX: u32 = 3600;
const NEGATIVE_SECONDS_MAX: u32 = 300;

/// What was asked, and of whom: what resolvers say of a name may differ, and is not for others.
type Key = (Arc<DnsName>, u16, Option<Arc<[IpAddr]>>);

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
    pub(super) fn get(&self, request: &Request, of: &Resolvers, now: Moment) -> Option<Response> {
        let kept = self.kept.get(&key(request, of)).filter(|it| now < it.until)?;
        let Millis(passed) = now - kept.since;
        let mut response = kept.response.clone();
        for record in records(&mut response) {
            let passed = u32::try_from(passed / 1000).unwrap_or(u32::MAX);
            record.ttl = record.ttl.saturating_sub(passed);
        }
        Some(response)
    }

    /// Remembers an answer; for no time, if it says so. Where there is no room, what would end first goes.
    pub(super) fn keep(
        &mut self,
        request: &Request,
        of: &Resolvers,
        mut response: Response,
        now: Moment,
    ) {
        let most = if response.answers.is_empty() { NEGATIVE_SECONDS_MAX } else { SECONDS_MAX };
        let Some(seconds) = records(&mut response).map(|it| it.ttl).min() else { return };
        let seconds = seconds.min(most);
        if seconds == 0 {
            return;
        }
        let (key, until) = (key(request, of), now + Millis::from_secs(seconds.into()));
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

fn key(request: &Request, of: &Resolvers) -> Key {
    let own = match of {
        Resolvers::Hosts => None,
        Resolvers::Own(own) => Some(Arc::clone(own)),
    };
    (Arc::new(request.question.name.clone()), request.query.query_type().into(), own)
}

#[cfg(test)]
mod tests {
    use hickory_resolver::proto::{
        op::{Message, Query, ResponseCode},
        rr::{Name, RData, RecordType, rdata::A},
    };

    use super::*;
    use crate::network::dns::message::{DATAGRAM_BYTES_MAX, Parsed, parse};

    fn request(number: u32) -> Request {
        let mut message = Message::query();
        let name = Name::from_ascii(format!("n{number}.example.com.")).unwrap();
        message.add_query(Query::query(name, RecordType::A));
        match parse(&message.to_vec().unwrap(), DATAGRAM_BYTES_MAX) {
            Parsed::Right(request) => request,
            Parsed::Silence | Parsed::Wrong(_) => panic!("it is refused"),
        }
    }

    fn response(ttls: &[u32]) -> Response {
        let record =
            |ttl: &u32| Record::from_rdata(Name::root(), *ttl, RData::A(A::new(192, 0, 2, 1)));
        let answers = ttls.iter().map(record).collect();
        Response { answers, ..Response::empty(ResponseCode::NoError) }
    }

    fn left(cache: &Cache, number: u32, seconds: u64) -> Option<Vec<u32>> {
        let response = cache.get(&request(number), &Resolvers::Hosts, Moment(seconds * 1000))?;
        Some(response.answers.iter().map(|it| it.ttl).collect())
    }

    impl Cache {
        fn keep_hosts(&mut self, request: Request, response: Response, now: Moment) {
            self.keep(&request, &Resolvers::Hosts, response, now);
        }
    }

    #[test]
    fn what_one_resolver_said_is_not_told_to_who_asks_another() {
        let mut cache = Cache::default();
        let own = Resolvers::Own(["192.0.2.53".parse().unwrap()].into());
        cache.keep(&request(1), &own, response(&[60]), Moment(0));
        assert!(cache.get(&request(1), &own, Moment(0)).is_some());
        assert_eq!(left(&cache, 1, 0), None);
    }

    #[test]
    fn an_answer_is_kept_for_the_shortest_of_its_times_and_says_what_is_left() {
        let mut cache = Cache::default();
        cache.keep_hosts(request(1), response(&[30, 60]), Moment(0));
        assert_eq!(left(&cache, 1, 0), Some(vec![30, 60]));
        assert_eq!(left(&cache, 1, 29), Some(vec![1, 31]));
        assert_eq!((left(&cache, 1, 30), left(&cache, 2, 0)), (None, None));
        cache.keep_hosts(request(1), response(&[10]), Moment(40_000));
        assert_eq!(left(&cache, 1, 45), Some(vec![5]));
        cache.keep_hosts(request(2), response(&[0, 60]), Moment(0));
        cache.keep_hosts(request(3), response(&[]), Moment(0));
        assert_eq!((left(&cache, 2, 0), left(&cache, 3, 0)), (None, None), "no time, no record");
        cache.keep_hosts(request(4), response(&[1 << 30]), Moment(0));
        assert_eq!(left(&cache, 4, 3600), None);
        cache.clear();
        assert_eq!(left(&cache, 1, 45), None);
    }

    #[test]
    fn where_there_is_no_room_what_would_end_first_goes() {
        let mut cache = Cache::default();
        let most = u32::try_from(ANSWERS_MAX).unwrap();
        for number in 0..most + 50 {
            cache.keep_hosts(request(number), response(&[1000 + number % 7]), Moment(0));
        }
        assert_eq!((cache.kept.len(), cache.ends.len()), (ANSWERS_MAX, ANSWERS_MAX));
        assert_eq!(left(&cache, 0, 0), None);
        assert!(left(&cache, 6, 0).is_some() && left(&cache, most + 49, 0).is_some());
    }
}
