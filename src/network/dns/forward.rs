//! What is for others to answer: remembered, counted, and asked of the host's resolvers.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hickory_resolver::{
    net::{DnsError, NetError},
    proto::{
        op::ResponseCode,
        rr::{RData, Record},
    },
};
use tokio::time::{Instant, timeout};
use tracing::debug;

use super::{
    cache::Cache,
    limits::{Limits, Refusal},
    message::{Request, Response},
    upstreams::{Loops, Upstreams},
};
use crate::{
    model::Moment,
    topology::zone::{DnsName, Resolvers},
};

/// How long a question waits for others: less than most askers wait (5 s) before they ask again.
const FORWARD_SECONDS_MAX: u64 = 4;

/// The way to others.
#[derive(Debug)]
pub(super) struct Forwarder {
    upstreams: Upstreams,
    cache: Mutex<Cache>,
    limits: Mutex<Limits>,
    began: Instant,
}

/// The right to have one question forwarded, for as long as it lives.
pub(super) struct Ticket<'a> {
    asker: IpAddr,
    forwarder: &'a Forwarder,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        lock(&self.forwarder.limits).end(self.asker);
    }
}

impl Forwarder {
    /// Which resolvers ask this server in turn.
    pub(super) fn loops(&self) -> Loops {
        self.upstreams.loops()
    }

    /// `own`: where this server itself can be asked.
    pub(super) fn new(resolv_conf: PathBuf, own: BTreeSet<IpAddr>) -> Self {
        Self {
            upstreams: Upstreams::new(resolv_conf, own),
            cache: Mutex::default(),
            limits: Mutex::default(),
            began: Instant::now(),
        }
    }

    /// Keeps to the host's list of resolvers, for ever.
    pub(super) async fn follow(&self) {
        loop {
            self.upstreams.changed().await;
            lock(&self.cache).clear();
        }
    }

    /// Whether somebody passed a question of ours back to us.
    pub(super) fn is_own_probe(&self, name: &DnsName) -> bool {
        self.upstreams.is_own_probe(name)
    }

    /// The answer, if it is known.
    pub(super) fn remembered(&self, request: &Request, resolvers: &Resolvers) -> Option<Response> {
        lock(&self.cache).get(request, resolvers, self.now())
    }

    /// Lets a question out, or says with which code it goes back.
    pub(super) fn admit(&self, asker: IpAddr) -> Result<Ticket<'_>, ResponseCode> {
        match lock(&self.limits).begin(asker, self.now()) {
            Ok(()) => Ok(Ticket { asker, forwarder: self }),
            Err(Refusal::AskerHadItsShare) => Err(ResponseCode::Refused),
            Err(Refusal::TooManyWait) => Err(ResponseCode::ServFail),
        }
    }

    /// Asks others.
    pub(super) async fn forward(&self, request: &Request, resolvers: &Resolvers) -> Response {
        let mut name = request.query.name().clone();
        name.set_fqdn(true);
        let asked = self.upstreams.ask(resolvers, &name, request.query.query_type());
        let deadline = Duration::from_secs(FORWARD_SECONDS_MAX);
        let response = match timeout(deadline, asked).await {
            Ok(Ok(found)) => {
                let (answers, authorities) = (found.answers(), found.authorities());
                Response {
                    answers: answers.to_vec(),
                    authorities: authorities.to_vec(),
                    ..Response::empty(ResponseCode::NoError)
                }
            }
            Ok(Err(NetError::Dns(DnsError::NoRecordsFound(none)))) => {
                let soa = none.soa.map(|it| {
                    // For so long, and no longer, there is none (RFC 2308, 3).
                    let ttl = it.ttl.min(it.data.minimum);
                    Record::from_rdata(it.name, ttl, RData::SOA(it.data))
                });
                let authorities = soa.into_iter().collect();
                Response { authorities, ..Response::empty(none.response_code) }
            }
            Ok(Err(NetError::Dns(DnsError::ResponseCode(code)))) => Response::empty(code),
            Ok(Err(why)) => {
                debug!(%why, "a forwarded question got no answer");
                Response::empty(ResponseCode::ServFail)
            }
            Err(_) => Response::empty(ResponseCode::ServFail),
        };
        let lasting = matches!(response.code, ResponseCode::NoError | ResponseCode::NXDomain);
        if lasting {
            lock(&self.cache).keep(request, resolvers, response.clone(), self.now());
        }
        response
    }

    fn now(&self) -> Moment {
        Moment(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

/// A panic elsewhere leaves counts and answers that are still right.
pub(super) fn lock<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}
