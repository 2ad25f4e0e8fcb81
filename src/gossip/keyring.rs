//! The cluster's secrets, by epoch, and the keys that come from them.
//!
//! The *root* of an epoch is 256 random bits. It keys nothing itself: each use has a key of its own, by
//! HKDF-SHA-256 (RFC 5869) with an info that names the use, so that one that leaks says nothing about the
//! others. The newest epoch seals; the others still open what members send that do not have it yet. A root
//! is forgotten once every member has a newer one.

use std::collections::BTreeMap;

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

use crate::model::NodeId;

/// Each separates one use of a root from all others.
const GOSSIP_INFO: &[u8] = b"fizz gossip v1";
const JOIN_INFO: &[u8] = b"fizz join v1";
const ENTRY_INFO: &[u8] = b"fizz entry v1";
const STREAM_INFO: &[u8] = b"fizz stream v1";

/// Separates a member's datagram keys from other uses of a gossip key.
const SEAL_INFO: &[u8] = b"fizz gossip datagram v1";

/// Roots that are kept at most: the oldest goes.
const ROOTS_MAX: usize = 8;

/// Which of the cluster's roots, counted by its rotations. In a datagram its last eight bits stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(pub u32);

/// A key of 256 bits that overwrites itself.
pub type Key = Zeroizing<[u8; 32]>;

/// The cluster's roots.
#[derive(Clone)]
pub struct Keyring(BTreeMap<Epoch, Key>);

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Keyring").field(&self.0.keys()).finish()
    }
}

impl std::fmt::Display for Epoch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl Keyring {
    /// A ring with one root.
    #[must_use]
    pub fn new(epoch: Epoch, root: Key) -> Self {
        Self(BTreeMap::from([(epoch, root)]))
    }

    /// Takes in a root, whose keys open from now on, and seal if it is the newest.
    pub fn add(&mut self, epoch: Epoch, root: Key) {
        self.0.entry(epoch).or_insert(root);
        if ROOTS_MAX < self.0.len() {
            self.0.pop_first();
        }
    }

    /// Forgets all roots before one.
    pub fn forget_before(&mut self, epoch: Epoch) {
        let newest = self.newest();
        self.0.retain(|it, _| epoch <= *it || *it == newest);
    }

    /// The one that seals.
    #[must_use]
    pub fn newest(&self) -> Epoch {
        self.0.keys().next_back().copied().unwrap_or_default()
    }

    /// Whether it has an epoch's root.
    #[must_use]
    pub fn contains(&self, epoch: Epoch) -> bool {
        self.0.contains_key(&epoch)
    }

    /// An epoch's root, to be stored or handed to another member.
    #[must_use]
    pub fn get(&self, epoch: Epoch) -> Option<&Key> {
        self.0.get(&epoch)
    }

    /// All roots, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (Epoch, &Key)> {
        self.0.iter().map(|(epoch, root)| (*epoch, root))
    }

    /// What tokens' secrets come from.
    #[must_use]
    pub fn join_key(&self, epoch: Epoch) -> Option<Key> {
        self.use_of(epoch, JOIN_INFO)
    }

    /// What a stream with a member is opened with by whoever has the root itself, and is no member yet.
    #[must_use]
    pub fn entry_key(&self, epoch: Epoch) -> Option<Key> {
        self.0.get(&epoch).map(entry_key)
    }

    /// What members open streams between them with.
    #[must_use]
    pub fn stream_key(&self, epoch: Epoch) -> Option<Key> {
        self.use_of(epoch, STREAM_INFO)
    }

    /// The epoch that ends in these bits.
    pub(super) fn ending(&self, bits: u8) -> Option<Epoch> {
        self.0.keys().rev().find(|it| it.0 & 0xff == u32::from(bits)).copied()
    }

    /// The key under which one member seals datagrams in one of its lives.
    pub(super) fn derive(&self, epoch: Epoch, sender: NodeId, life: u32) -> Option<Key> {
        let gossip = self.use_of(epoch, GOSSIP_INFO)?;
        let info = [SEAL_INFO, &sender.0.to_be_bytes(), &life.to_be_bytes()];
        Some(expand(&*gossip, &info))
    }

    fn use_of(&self, epoch: Epoch, info: &[u8]) -> Option<Key> {
        Some(expand(&**self.0.get(&epoch)?, &[info]))
    }
}

/// What a root's stream is opened with by who is no member yet.
pub(super) fn entry_key(root: &Key) -> Key {
    expand(&**root, &[ENTRY_INFO])
}

/// HKDF-SHA-256 without a salt, as what is expanded is random or comes from what is. Its first block is all
/// that a key takes: the HMAC, keyed by what was extracted, of the info and a 1. HMAC is what extraction
/// does, and unlike expansion, which must look at a length, it cannot fail.
pub(super) fn expand(from: &[u8], info: &[&[u8]]) -> Key {
    let (mut extracted, _) = Hkdf::<Sha256>::extract(None, from);
    let message = [&info.concat()[..], &[1]].concat();
    let (mut block, _) = Hkdf::<Sha256>::extract(Some(extracted.as_slice()), &message);
    let key = Zeroizing::new(block.into());
    extracted.as_mut_slice().zeroize();
    block.as_mut_slice().zeroize();
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> Key {
        Zeroizing::new([byte; 32])
    }

    fn hex(key: Option<Key>) -> String {
        key.unwrap().iter().map(|it| format!("{it:02x}")).collect()
    }

    #[test]
    fn the_newest_seals_and_the_oldest_of_too_many_goes() {
        let mut ring = Keyring::new(Epoch(1), key(1));
        (2..20).for_each(|it| ring.add(Epoch(it), key(7)));
        assert_eq!((ring.newest(), ring.0.len()), (Epoch(19), ROOTS_MAX));
        ring.add(Epoch(18), key(9));
        assert_eq!(*ring.0[&Epoch(18)], [7; 32], "a root of an epoch never changes");
        ring.forget_before(Epoch(99));
        assert_eq!((ring.newest(), ring.0.len()), (Epoch(19), 1), "one is always left");
    }

    #[test]
    fn what_was_stored_makes_the_same_ring() {
        let mut ring = Keyring::new(Epoch(3), key(3));
        ring.add(Epoch(1), key(1));
        let stored: Vec<_> = ring.iter().map(|(epoch, root)| (epoch, root.clone())).collect();
        assert_eq!(stored, [(Epoch(1), key(1)), (Epoch(3), key(3))]);
        assert_eq!((ring.get(Epoch(3)), ring.get(Epoch(2))), (Some(&key(3)), None));
        assert!(ring.contains(Epoch(1)) && !ring.contains(Epoch(0)));
    }

    #[test]
    fn each_member_and_life_and_epoch_has_a_key_of_its_own() {
        let mut ring = Keyring::new(Epoch(1), key(1));
        ring.add(Epoch(2), key(2));
        let all = [(1, 5, 9), (1, 5, 10), (1, 6, 9), (2, 5, 9)];
        let keys: std::collections::BTreeSet<[u8; 32]> = all
            .iter()
            .map(|&(epoch, node, life)| *ring.derive(Epoch(epoch), NodeId(node), life).unwrap())
            .collect();
        assert_eq!(keys.len(), all.len());
        assert!(ring.derive(Epoch(3), NodeId(5), 9).is_none());
    }

    /// By Python's `hmac`, from RFC 5869's definition.
    #[test]
    fn keys_are_what_they_were() {
        let ring = Keyring::new(Epoch(7), key(3));
        let keys = [
            ring.join_key(Epoch(7)),
            ring.entry_key(Epoch(7)),
            ring.stream_key(Epoch(7)),
            ring.derive(Epoch(7), NodeId(1 << 100), 5),
        ];
        assert_eq!(
            keys.map(hex),
            [
                "12128a74a3bdf8b023392170e129d3da921f043c6e5c2eac22764112f7d39bc0",
                "a98eb67fc9f927bfd3751b27f289619c8056e438ad82f797f0c0cafd767186db",
                "24849c99087674499156d27b5000fa53f455c0816a46f36a28671240a2aa1c84",
                "f4e1f606e376922a148436a134145efbcb3422baeb299917f654f6ed9c5062aa",
            ]
        );
        assert_eq!(ring.stream_key(Epoch(8)), None);
    }

    #[test]
    fn a_ring_does_not_print_its_roots() {
        let said = format!("{:?}", Keyring::new(Epoch(1), key(231)));
        assert!(!said.contains("231"), "{said}");
    }
}
