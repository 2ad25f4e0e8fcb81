//! What is to change about a device for it to be as it is wanted.
//!
//! WireGuard's routing is a table from prefixes to peers (the paper, section 2): a prefix that is given to a
//! second peer is taken from the first without a word. So what a peer is to lose is taken before anything
//! is given, and at no moment is a prefix meant to be at two. Only what differs is touched: replacing all
//! peers would end their sessions.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use ipnet::IpNet;

use super::{PeerSeen, Wanted, key::SecretKey};
use crate::model::PublicKey;

/// Peers in one change. A netlink attribute's length has 16 bits, and all peers are in one attribute.
pub(super) const PEERS_MAX: usize = 128;

/// Allowed addresses in one change: at most 40 bytes each, which leaves 25 kB for the peers themselves.
pub(super) const ALLOWED_MAX: usize = 1_000;

/// A device as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// The public part of its key; none yet.
    pub(super) key: Option<PublicKey>,
    /// Where it listens.
    pub(super) port: u16,
    /// The mark on what it sends; 0 is none.
    pub(super) mark: u32,
    /// Its peers.
    pub(super) peers: BTreeMap<PublicKey, PeerSeen>,
}

/// What is said to a device at once.
#[derive(Clone, Debug, Default)]
pub(super) struct Change {
    /// Its key.
    pub(super) secret: Option<SecretKey>,
    /// Where it listens.
    pub(super) port: Option<u16>,
    /// The mark on what it sends; 0 is none.
    pub(super) mark: Option<u32>,
    /// One after the other; a peer may come twice.
    pub(super) peers: Vec<(PublicKey, PeerChange)>,
}

/// What is said about a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PeerChange {
    /// It is none any more.
    Remove,
    /// It is one, and this is so; the rest stays.
    Set(PeerSet),
}

/// What is to be so of a peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PeerSet {
    /// Only if it is a peer already.
    pub(super) only_if_there: bool,
    /// Where it is.
    pub(super) endpoint: Option<SocketAddr>,
    /// After how many seconds of silence it is sent something; 0 is never.
    pub(super) keepalive: Option<u16>,
    /// Whether all that it has is taken first.
    pub(super) replace: bool,
    /// What it is given.
    pub(super) allowed: BTreeSet<IpNet>,
}

/// All that differs, in the order in which it is to be said.
pub(super) fn differences(seen: &Seen, wanted: &Wanted<'_>) -> Vec<Change> {
    let mut peers = vec![];
    for key in seen.peers.keys().filter(|it| !wanted.mesh.peers.contains_key(it)) {
        peers.push((*key, PeerChange::Remove));
    }
    let nothing = PeerSeen::default();
    let mut given = vec![];
    for (key, peer) in &wanted.mesh.peers {
        let allowed: BTreeSet<IpNet> = peer.allowed.iter().map(IpNet::trunc).collect();
        let there = seen.peers.get(key);
        let had = &there.unwrap_or(&nothing).allowed;
        let stays: BTreeSet<IpNet> = had.intersection(&allowed).copied().collect();
        if stays != *had {
            let taken = PeerSet { replace: true, allowed: stays, ..PeerSet::default() };
            peers.push((*key, PeerChange::Set(taken)));
        }
        let set = PeerSet {
            // An endpoint is where the peer's last packet came from; the device knows that best.
            endpoint: if there.is_some_and(|it| it.endpoint.is_some()) {
                None
            } else {
                peer.endpoints.first().copied()
            },
            keepalive: Some(wanted.keepalive_seconds)
                .filter(|it| there.is_none_or(|there| there.keepalive_seconds != *it)),
            allowed: allowed.difference(had).copied().collect(),
            ..PeerSet::default()
        };
        if there.is_none() || set != PeerSet::default() {
            given.push((*key, PeerChange::Set(set)));
        }
    }
    peers.extend(given);
    let secret = Some(wanted.secret).filter(|it| seen.key != Some(it.public()));
    let device = Change {
        secret: secret.cloned(),
        port: Some(wanted.port).filter(|it| seen.port != *it),
        mark: Some(0).filter(|_| seen.mark != 0),
        peers: vec![],
    };
    batches(device, peers)
}

/// Another endpoint for a peer, and something sent there at once: silence that ends is broken
/// (`persistent_keepalive` in the kernel's `drivers/net/wireguard/netlink.c`).
pub(super) fn pointed(key: PublicKey, endpoint: SocketAddr, keepalive_seconds: u16) -> Change {
    let set = |endpoint, seconds| {
        let set =
            PeerSet { only_if_there: true, endpoint, keepalive: Some(seconds), ..<_>::default() };
        (key, PeerChange::Set(set))
    };
    let mut peers = vec![set(Some(endpoint), 0), set(None, keepalive_seconds.max(1))];
    if keepalive_seconds == 0 {
        peers.push(set(None, 0));
    }
    Change { peers, ..Change::default() }
}

/// Cuts what is to be said about peers into what may be said at once.
fn batches(device: Change, peers: Vec<(PublicKey, PeerChange)>) -> Vec<Change> {
    let mut all = vec![device];
    let mut room = ALLOWED_MAX;
    for (key, change) in peers.into_iter().flat_map(parts) {
        let addresses = match &change {
            PeerChange::Remove => 0,
            PeerChange::Set(set) => set.allowed.len(),
        };
        if all.last().is_none_or(|it| it.peers.len() == PEERS_MAX) || room < addresses {
            all.push(Change::default());
            room = ALLOWED_MAX;
        }
        room -= addresses;
        if let Some(last) = all.last_mut() {
            last.peers.push((key, change));
        }
    }
    all.retain(|it| !it.is_nothing());
    all
}

/// A peer with more addresses than may be said at once is given them one part after the other.
fn parts((key, change): (PublicKey, PeerChange)) -> Vec<(PublicKey, PeerChange)> {
    match change {
        PeerChange::Set(set) if ALLOWED_MAX < set.allowed.len() => {
            let allowed: Vec<IpNet> = set.allowed.iter().copied().collect();
            let part = |(at, allowed): (usize, &[IpNet])| {
                let allowed = allowed.iter().copied().collect();
                let part = match at {
                    0 => PeerSet { allowed, ..set.clone() },
                    _ => PeerSet { only_if_there: true, allowed, ..PeerSet::default() },
                };
                (key, PeerChange::Set(part))
            };
            allowed.chunks(ALLOWED_MAX).enumerate().map(part).collect()
        }
        PeerChange::Set(_) | PeerChange::Remove => vec![(key, change)],
    }
}

impl Change {
    /// Whether it changes more than peers.
    pub(super) fn is_about_the_device(&self) -> bool {
        self.secret.is_some() || self.port.is_some() || self.mark.is_some()
    }

    fn is_nothing(&self) -> bool {
        !self.is_about_the_device() && self.peers.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        model::NodeId,
        topology::{Mesh, Peer},
    };

    const KEEPALIVE: u16 = 25;

    fn key(id: u8) -> PublicKey {
        PublicKey([id; 32])
    }

    fn net(number: u32) -> IpNet {
        format!("10.100.{}.0/24", number % 256).parse().unwrap()
    }

    fn endpoint(id: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, id], 51820))
    }

    fn peer(id: u8, allowed: BTreeSet<IpNet>) -> Peer {
        Peer {
            node: NodeId(id.into()),
            key: key(id),
            endpoints: vec![endpoint(id)],
            told: vec![endpoint(id)],
            translated: false,
            allowed,
            by: None,
        }
    }

    fn mesh(peers: impl IntoIterator<Item = Peer>) -> Mesh {
        Mesh { peers: peers.into_iter().map(|it| (it.key, it)).collect(), ..Mesh::default() }
    }

    fn changes(seen: &Seen, mesh: &Mesh) -> Vec<Change> {
        let secret = SecretKey::new(&[9; 32]);
        differences(seen, &Wanted { mesh, ..wanted(&secret, mesh) })
    }

    fn wanted<'a>(secret: &'a SecretKey, mesh: &'a Mesh) -> Wanted<'a> {
        Wanted { name: "fizz1", secret, port: 7, mtu: 1420, mesh, keepalive_seconds: KEEPALIVE }
    }

    /// Does what a device does, and complains where a prefix would be at two peers.
    fn apply(seen: &mut Seen, change: &Change) {
        assert!(change.peers.len() <= PEERS_MAX);
        seen.key = change.secret.as_ref().map(SecretKey::public).or(seen.key);
        seen.port = change.port.unwrap_or(seen.port);
        seen.mark = change.mark.unwrap_or(seen.mark);
        let mut addresses = 0;
        for (key, change) in &change.peers {
            match change {
                PeerChange::Remove => drop(seen.peers.remove(key).unwrap()),
                PeerChange::Set(set) => {
                    assert!(!set.only_if_there || seen.peers.contains_key(key));
                    let peer = seen.peers.entry(*key).or_default();
                    peer.key = *key;
                    if set.replace {
                        peer.allowed.clear();
                    }
                    peer.allowed.extend(&set.allowed);
                    peer.endpoint = set.endpoint.or(peer.endpoint);
                    peer.keepalive_seconds = set.keepalive.unwrap_or(peer.keepalive_seconds);
                    addresses += set.allowed.len();
                }
            }
            let mut all = BTreeSet::new();
            assert!(seen.peers.values().flat_map(|it| &it.allowed).all(|it| all.insert(*it)));
        }
        assert!(addresses <= ALLOWED_MAX);
    }

    fn device(owners: &[(u32, u8)], silent: u8) -> Seen {
        let mut seen = Seen { port: 3, mark: 5, ..Seen::default() };
        for (number, id) in owners {
            let peer = seen.peers.entry(key(*id)).or_default();
            peer.key = key(*id);
            peer.allowed.insert(net(*number));
            peer.endpoint = Some(endpoint(100 + id)).filter(|_| *id != silent);
        }
        seen
    }

    proptest! {
        #[test]
        fn any_device_becomes_the_wanted_one_and_a_prefix_is_never_at_two_peers(
            had in proptest::collection::btree_map(0_u32..30, 1_u8..9, 0..30),
            given in proptest::collection::btree_map(0_u32..30, 1_u8..9, 0..30),
            silent in 1_u8..9,
        ) {
            let mut seen = device(&had.into_iter().collect::<Vec<_>>(), silent);
            let before = seen.clone();
            let mut allowed: BTreeMap<u8, BTreeSet<IpNet>> = BTreeMap::new();
            for (number, id) in given {
                allowed.entry(id).or_default().insert(net(number));
            }
            let mesh = mesh(allowed.into_iter().map(|(id, it)| peer(id, it)));
            for change in changes(&seen, &mesh) {
                apply(&mut seen, &change);
            }
            prop_assert_eq!(seen.key, Some(SecretKey::new(&[9; 32]).public()));
            prop_assert_eq!((seen.port, seen.mark), (7, 0));
            prop_assert!(seen.peers.keys().eq(mesh.peers.keys()));
            for (key, peer) in &mesh.peers {
                let there = &seen.peers[key];
                prop_assert_eq!(&there.allowed, &peer.allowed);
                prop_assert_eq!(there.keepalive_seconds, KEEPALIVE);
                let known = before.peers.get(key).and_then(|it| it.endpoint);
                prop_assert_eq!(there.endpoint, known.or(peer.endpoints.first().copied()));
            }
            prop_assert!(changes(&seen, &mesh).is_empty(), "saying it again changes nothing");
        }
    }

    #[test]
    fn many_peers_and_many_addresses_are_said_in_parts() {
        let many = (1..=255).map(|id| peer(id, [net(id.into())].into()));
        let nets = (0..3_000_u32)
            .map(|it| IpNet::from(std::net::IpAddr::from((it + (11 << 24)).to_be_bytes())));
        let large = Peer { key: PublicKey([0; 32]), ..peer(0, nets.collect()) };
        let mesh = mesh(many.chain([large]));
        let mut seen = Seen::default();
        let all = changes(&seen, &mesh);
        assert_eq!(all.len(), 5);
        all.iter().for_each(|it| apply(&mut seen, it));
        assert!(mesh.peers.iter().all(|(key, it)| seen.peers[key].allowed == it.allowed));
        assert!(changes(&seen, &mesh).is_empty());
    }

    #[test]
    fn another_endpoint_is_told_and_something_is_sent_there_at_once() {
        let mut seen = device(&[(1, 1)], 1);
        for (seconds, steps) in [(25, vec![0, 25]), (0, vec![0, 1, 0])] {
            let change = pointed(key(1), endpoint(7), seconds);
            let said = change.peers.iter().map(|(_, it)| match it {
                PeerChange::Set(set) => set.keepalive.unwrap(),
                PeerChange::Remove => panic!("it stays"),
            });
            assert_eq!(said.collect::<Vec<_>>(), steps);
            apply(&mut seen, &change);
            let peer = &seen.peers[&key(1)];
            assert_eq!((peer.endpoint, peer.keepalive_seconds), (Some(endpoint(7)), seconds));
        }
    }
}
