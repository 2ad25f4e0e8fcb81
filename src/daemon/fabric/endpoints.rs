//! Where devices can be reached: this node's own endpoints, which of a peer's are tried, and what the others are to
//! know of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tokio::time::Instant;
use tracing::{debug, info};

use super::{Inner, MESH};
use crate::{
    model::{NodeId, PublicKey, WallTime},
    network::{echo, host, wireguard::PeerSeen},
    topology::{Mesh, Peer, Plan},
};

/// How many endpoints a node tells of.
const OWN_MAX: usize = 8;

/// How long an endpoint has: WireGuard sends the first packet of a handshake every five seconds (the paper,
/// section 6.4).
const TRY: Duration = Duration::from_secs(6);

/// How long a peer may take until it is heard for the first time. Nobody waits for one that has to be let in from
/// behind its NAT, by who is behind one, too.
const FIRST_MAX: Duration = Duration::from_secs(8);

/// For how long a new peer is looked at often.
const SOON_MAX: Duration = Duration::from_secs(60);

/// How long nothing may come from a peer. Its keepalives are 25 s apart (`KEEPALIVE_SECONDS`), but not every device
/// counts them: it is asked for something before.
const SILENCE_MAX: Duration = Duration::from_secs(35);
const ASKED_AFTER: Duration = Duration::from_secs(20);

/// How long a peer may take to answer that others hear elsewhere of late.
const DOUBT_MAX: Duration = Duration::from_secs(3);

/// Where this node's device may be reached: where members reach the node first, then at each address of its own.
pub(super) fn own(advertised: Option<IpAddr>, port: u16, plan: &Plan) -> Vec<SocketAddr> {
    let mut all: Vec<IpAddr> = advertised.into_iter().collect();
    for it in host::addresses().filter(|it| !plan.contains(*it)) {
        if !all.contains(&it) {
            all.push(it);
        }
    }
    all.into_iter().take(OWN_MAX).map(|it| SocketAddr::new(it, port)).collect()
}

/// What this node's device knows of the others that they are to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Where it hears those that are not where they say.
    pub(super) heard: BTreeMap<NodeId, SocketAddr>,
    /// Those that it does not hear, though they are there.
    pub(super) missed: BTreeSet<NodeId>,
}

/// How each peer is reached.
#[derive(Debug, Default)]
pub(super) struct Endpoints(BTreeMap<PublicKey, Reached>);

/// How a peer is reached.
#[derive(Debug)]
struct Reached {
    /// Since when it is a peer that is there.
    begun: Instant,
    /// Nobody reaches it now.
    absent: bool,
    /// When it was last seen that something had come from it.
    heard: Option<Instant>,
    /// Since when others hear it elsewhere, and nothing came from it.
    doubted: Option<Instant>,
    received_bytes: u64,
    handshake: Option<WallTime>,
    /// The endpoints that it was to have at the last look.
    endpoints: Vec<SocketAddr>,
    /// Which of them is tried, and since when.
    tried: usize,
    since: Instant,
}

impl Endpoints {
    /// Looks at the peers, and tries the next endpoint of each that one was tried of in vain. What is known of
    /// them now, of which `known` was before; of those that nobody reaches nothing new.
    pub(super) async fn tend(
        &mut self,
        fabric: &Inner,
        mesh: &Mesh,
        known: &Found,
        unreachable: &BTreeSet<NodeId>,
    ) -> Option<Found> {
        let seen = fabric.device.peers(&fabric.host, MESH).await.ok()?;
        self.0.retain(|key, _| mesh.peers.contains_key(key));
        let mut found = Found::default();
        for it in seen {
            let Some(peer) = mesh.peers.get(&it.key) else { continue };
            let now = Instant::now();
            let before = known.missed.contains(&peer.node);
            let reached =
                self.0.entry(it.key).or_insert_with(|| Reached::new(peer, &it, before, now));
            reached.note(&it, now);
            let live = reached.is_live(now);
            if let Some(endpoint) = reached.next(peer, &it, live, now) {
                point(fabric, mesh, peer, endpoint).await;
            }
            if live && peer.by.is_none() && reached.is_to_be_asked(now) {
                ask(fabric, peer.node).await;
            }
            let elsewhere = it.endpoint.filter(|at| live && !peer.told.contains(at));
            found.heard.extend(elsewhere.map(|at| (peer.node, at)));
            reached.absent = unreachable.contains(&peer.node);
            let missed = if reached.absent {
                // Once it is back, it has as long as a new one.
                (reached.begun, reached.heard) = (now, reached.heard.filter(|_| live));
                before
            } else {
                !live && (before || reached.took_too_long(mesh, peer, now))
            };
            if missed {
                found.missed.insert(peer.node);
            }
            if missed != before {
                info!(node = %peer.node, directly = !missed, "a member's device is reached otherwise");
            }
        }
        Some(found)
    }

    /// Whether all peers are heard, or were not for long: then nothing changes soon.
    pub(super) fn are_settled(&self) -> bool {
        let late = |it: &Reached| SOON_MAX <= it.begun.elapsed();
        let settled = |it: &Reached| it.absent || it.heard.is_some() || late(it);
        self.0.values().all(|it| settled(it) && it.doubted.is_none())
    }
}

async fn point(fabric: &Inner, mesh: &Mesh, peer: &Peer, endpoint: SocketAddr) {
    debug!(node = %peer.node, %endpoint, "another endpoint is tried");
    let key = fabric.key();
    let wanted = fabric.wanted(mesh, &key.secret);
    if let Err(error) = fabric.device.point(&fabric.host, &wanted, peer.key, endpoint).await {
        debug!(node = %peer.node, %error, "it was not tried");
    }
}

async fn ask(fabric: &Inner, node: NodeId) {
    let (from, to) = (fabric.plan.of_node(fabric.me), fabric.plan.of_node(node));
    if let Err(error) = echo::ask(from, to).await {
        debug!(%node, %error, "it was asked for nothing");
    }
}

impl Reached {
    /// Whoever had sent something when this daemon was started is believed to be there, unless it was missed.
    fn new(peer: &Peer, seen: &PeerSeen, missed: bool, now: Instant) -> Self {
        Self {
            begun: now,
            absent: false,
            heard: seen.handshake.filter(|_| !missed).map(|_| now),
            doubted: None,
            received_bytes: seen.received_bytes,
            handshake: seen.handshake,
            endpoints: peer.endpoints.clone(),
            tried: 0,
            since: now,
        }
    }

    fn note(&mut self, seen: &PeerSeen, now: Instant) {
        if (seen.received_bytes, seen.handshake) != (self.received_bytes, self.handshake) {
            (self.heard, self.doubted) = (Some(now), None);
            (self.received_bytes, self.handshake) = (seen.received_bytes, seen.handshake);
        }
    }

    fn is_live(&self, now: Instant) -> bool {
        self.heard.is_some_and(|at| now - at <= SILENCE_MAX)
            && self.doubted.is_none_or(|at| now - at <= DOUBT_MAX)
    }

    fn is_to_be_asked(&self, now: Instant) -> bool {
        self.doubted.is_some() || self.heard.is_some_and(|at| ASKED_AFTER <= now - at)
    }

    fn took_too_long(&self, mesh: &Mesh, peer: &Peer, now: Instant) -> bool {
        let both = mesh.translated && peer.translated;
        self.heard.is_some() || both || FIRST_MAX <= now - self.begun
    }

    /// The endpoint that is to be tried now in the place of the one that the device has.
    fn next(
        &mut self,
        peer: &Peer,
        seen: &PeerSeen,
        live: bool,
        now: Instant,
    ) -> Option<SocketAddr> {
        let anew = self.endpoints != peer.endpoints;
        let before = std::mem::replace(&mut self.endpoints, peer.endpoints.clone());
        // Whom the device followed to a place that nobody tells of is there.
        let left = |at: SocketAddr| before.contains(&at) && !peer.endpoints.contains(&at);
        if anew && peer.translated {
            // Or is not any more, where its router lets in only what it was sent before.
            self.doubted = self.doubted.or(Some(now));
        }
        if anew && (!live || seen.endpoint.is_some_and(left)) {
            self.tried = 0;
        } else if !live && TRY <= now - self.since {
            self.tried = (self.tried + 1).checked_rem(peer.endpoints.len()).unwrap_or(0);
        } else {
            return None;
        }
        self.since = now;
        let endpoint = peer.endpoints.get(self.tried).copied();
        endpoint.filter(|it| seen.endpoint != Some(*it))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn peer(endpoints: &[&str]) -> Peer {
        Peer {
            node: NodeId(2),
            key: PublicKey([2; 32]),
            endpoints: endpoints.iter().map(|it| at(it)).collect(),
            told: vec![],
            translated: false,
            allowed: BTreeSet::new(),
            by: None,
        }
    }

    fn seen(endpoint: &str) -> PeerSeen {
        PeerSeen { endpoint: Some(at(endpoint)), ..PeerSeen::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn endpoints_take_turns_until_one_answers() {
        let begun = Instant::now();
        let two = peer(&["192.0.2.1:1", "192.0.2.2:2"]);
        let mut reached = Reached::new(&two, &seen("192.0.2.1:1"), false, begun);
        assert_eq!(reached.next(&two, &seen("192.0.2.1:1"), false, begun), None);
        let later = begun + TRY;
        assert_eq!(reached.next(&two, &seen("192.0.2.1:1"), false, later), Some(at("192.0.2.2:2")));
        assert_eq!(reached.next(&two, &seen("192.0.2.2:2"), true, later + TRY), None, "it answers");
        assert_eq!(
            reached.next(&two, &seen("192.0.2.2:2"), false, later + TRY),
            Some(at("192.0.2.1:1"))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_tells_of_other_endpoints_is_tried_there_at_once_unless_it_is_followed_already()
    {
        let begun = Instant::now();
        let (old, new) = (peer(&["192.0.2.1:1"]), peer(&["192.0.2.9:1"]));
        let moved = |from: &str, live: bool| {
            let seen = seen(from);
            Reached::new(&old, &seen, false, begun).next(&new, &seen, live, begun)
        };
        assert_eq!(moved("192.0.2.1:1", true), Some(at("192.0.2.9:1")), "it left");
        assert_eq!(moved("203.0.113.1:7", true), None, "the device followed it");
        assert_eq!(moved("203.0.113.1:7", false), Some(at("192.0.2.9:1")));
        assert_eq!(moved("192.0.2.9:1", true), None, "it is there already");
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_behind_a_nat_does_not_wait_for_who_is_behind_another() {
        let begun = Instant::now();
        let mut far = peer(&["192.0.2.1:1"]);
        let mut mesh = Mesh::default();
        let reached = Reached::new(&far, &seen("192.0.2.1:1"), false, begun);
        assert!(!reached.took_too_long(&mesh, &far, begun));
        assert!(reached.took_too_long(&mesh, &far, begun + FIRST_MAX));
        (far.translated, mesh.translated) = (true, true);
        assert!(reached.took_too_long(&mesh, &far, begun));
    }

    #[tokio::test(start_paused = true)]
    async fn whom_others_hear_elsewhere_is_to_answer_soon() {
        let begun = Instant::now();
        let (old, mut new) = (peer(&["192.0.2.1:1"]), peer(&["192.0.2.1:1", "192.0.2.9:1"]));
        new.translated = true;
        let known = PeerSeen { handshake: Some(WallTime(1)), ..seen("192.0.2.1:1") };
        let mut reached = Reached::new(&old, &known, false, begun);
        assert!(reached.is_live(begun) && !reached.is_to_be_asked(begun));
        assert_eq!(reached.next(&new, &known, true, begun), None);
        let late = begun + DOUBT_MAX + Duration::from_millis(1);
        assert!(reached.is_to_be_asked(begun) && reached.is_live(begun) && !reached.is_live(late));
        reached.note(&PeerSeen { received_bytes: 1, ..known }, late);
        assert!(reached.is_live(late) && !reached.is_to_be_asked(late), "it has answered");
    }
}
