//! The DNS server of a node: asks the zone, and for everything else the host's resolvers, or the asker's own.
//!
//! It is one future, which the daemon runs, over sockets that it is given: every wait in it ends when that
//! future is dropped. A name of the cluster is answered at once from the [`Zone`] that was set last. Anything
//! else is forwarded, with a bound for each asker and for all, and remembered for as long as its records say.
//! Who is not of the cluster gets no byte back.
//!
//! Messages: RFC 1035; over TCP RFC 7766; EDNS RFC 6891, with the size of RFC 9715 (1232 bytes: no fragments
//! on any path that IPv6 may take). No zone transfers (they are refused), ANY as in RFC 8482, and no DNSSEC:
//! what is forwarded is as the host's resolver vouches for it.

mod ask;
mod cache;
mod error;
mod forward;
mod limits;
mod message;
mod sockets;
mod tcp;
mod udp;
mod upstreams;

use std::{
    net::IpAddr,
    path::PathBuf,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures_util::future::join_all;
use hickory_resolver::proto::op::ResponseCode;
use ipnet::IpNet;
use tokio_util::sync::CancellationToken;

pub use ask::{answers, resolvers};
pub use error::DnsError;
pub use sockets::Sockets;
pub use upstreams::Loops;

use crate::topology::zone::{Answer, Resolvers, Zone};
use forward::{Forwarder, Ticket};
use message::{Parsed, Request, Response};

/// What a server needs beside a zone.
#[derive(Debug)]
pub struct Config {
    /// Where it listens.
    pub sockets: Sockets,
    /// Whose questions are answered, beside the loopback's: the ranges of the overlay and of the mesh.
    pub askers: Vec<IpNet>,
    /// The host's list of resolvers (resolv.conf(5)).
    pub resolv_conf: PathBuf,
}

/// A server that is ready to run.
#[derive(Debug)]
pub struct Server {
    sockets: Sockets,
    shared: Shared,
}

/// The way to give a running server another zone.
#[derive(Clone, Debug)]
pub struct Zones(Arc<RwLock<Arc<Zone>>>);

impl Zones {
    /// From now on, answers are from this zone.
    pub fn set(&self, zone: Arc<Zone>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = zone;
    }

    fn get(&self) -> Arc<Zone> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Server {
    /// A server that answers from a zone, and the way to give it another.
    #[must_use]
    pub fn new(config: Config, zone: Arc<Zone>) -> (Self, Zones) {
        let zones = Zones(Arc::new(RwLock::new(zone)));
        let forwarder = Forwarder::new(config.resolv_conf, config.sockets.addresses());
        let shared = Shared {
            zones: zones.clone(),
            askers: config.askers,
            turns: AtomicUsize::new(0),
            forwarder,
        };
        (Self { sockets: config.sockets, shared }, zones)
    }

    /// Which of the host's resolvers ask this server in turn.
    #[must_use]
    pub fn loops(&self) -> Loops {
        self.shared.forwarder.loops()
    }

    /// Answers until it is told to stop. Then all that it was waiting for is dropped.
    pub async fn run(self, stop: CancellationToken) {
        let Self { sockets, shared } = &self;
        let datagrams = join_all(sockets.udp.iter().map(|it| udp::serve(shared, it)));
        let streams = join_all(sockets.tcp.iter().map(|it| tcp::serve(shared, it)));
        tokio::select! {
            () = stop.cancelled() => {}
            _ = datagrams => {}
            _ = streams => {}
            () = shared.forwarder.follow() => {}
        }
    }
}

/// What all sockets of a server share.
#[derive(Debug)]
struct Shared {
    zones: Zones,
    askers: Vec<IpNet>,
    turns: AtomicUsize,
    forwarder: Forwarder,
}

/// What is to be done about a message.
enum Step<'a> {
    /// Nothing.
    Silence,
    /// This goes back.
    Reply(Vec<u8>),
    /// What comes of this goes back.
    Forward(Request, Resolvers, Ticket<'a>),
}

impl Shared {
    /// Whether anybody at this address gets a word.
    fn may_ask(&self, from: IpAddr) -> bool {
        let from = from.to_canonical();
        from.is_loopback() || self.askers.iter().any(|it| it.contains(&from))
    }

    /// One step, without waiting for anything.
    fn step(&self, bytes: &[u8], from: IpAddr, bytes_max: usize) -> Step<'_> {
        let request = match message::parse(bytes, bytes_max) {
            Parsed::Silence => return Step::Silence,
            Parsed::Wrong(reply) => return Step::Reply(reply),
            Parsed::Right(request) => request,
        };
        if self.forwarder.is_own_probe(&request.question.name) {
            return Step::Reply(request.reply(&Response::empty(ResponseCode::NXDomain)));
        }
        let zone = self.zones.get();
        let turn = self.turns.fetch_add(1, Ordering::Relaxed);
        match zone.answer(from, &request.question, turn) {
            Answer::Forward(resolvers) => self.forward(&zone, from, request, resolvers),
            answer @ (Answer::Found { .. }
            | Answer::NoData(_)
            | Answer::NoName(_)
            | Answer::Stranger) => Step::Reply(request.reply(&message::response(&request, answer))),
        }
    }

    fn forward(
        &self,
        zone: &Zone,
        from: IpAddr,
        request: Request,
        resolvers: Resolvers,
    ) -> Step<'_> {
        let remembered = || self.forwarder.remembered(&request, &resolvers);
        let known = request.minimal().or_else(remembered);
        if let Some(known) = known {
            return Step::Reply(request.reply(&known));
        }
        // Nobody wanted others to be asked (RFC 1035, 4.1.1: RD).
        if !request.recursion_desired {
            return Step::Reply(request.reply(&Response::empty(ResponseCode::Refused)));
        }
        let asker = zone.asker(from).unwrap_or(from);
        match self.forwarder.admit(asker) {
            Ok(ticket) => Step::Forward(request, resolvers, ticket),
            Err(code) => Step::Reply(request.reply(&Response::empty(code))),
        }
    }

    /// What comes of a question that is for others to answer.
    async fn finish(&self, request: Request, resolvers: Resolvers, ticket: Ticket<'_>) -> Vec<u8> {
        let response = self.forwarder.forward(&request, &resolvers).await;
        drop(ticket);
        request.reply(&response)
    }
}
