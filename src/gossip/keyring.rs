//! The cluster's gossip keys, by epoch.
//!
//! The newest seals; the others still open what members send that do not have it yet. A key is forgotten
//! once every member has a newer one.

use std::collections::BTreeMap;

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::model::NodeId;

/// Separates this use of a key from all others.
const SEAL_INFO: &[u8] = b"fizz gossip datagram v1";

/// Keys that are kept at most: the oldest goes.
const KEYS_MAX: usize = 8;

/// Which of the cluster's keys, counted by its rotations. On the wire its last eight bits stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(pub u32);

/// A key of 256 bits that overwrites itself.
pub type Key = Zeroizing<[u8; 32]>;

/// The cluster's keys.
#[derive(Clone)]
pub struct Keyring(BTreeMap<Epoch, Key>);

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Keyring").field(&self.0.keys()).finish()
    }
}

impl Keyring {
    /// A ring with one key.
    #[must_use]
    pub fn new(epoch: Epoch, key: Key) -> Self {
        Self(BTreeMap::from([(epoch, key)]))
    }

    /// Takes in a key, which opens from now on, and seals if it is the newest.
    pub fn add(&mut self, epoch: Epoch, key: Key) {
        self.0.entry(epoch).or_insert(key);
        if KEYS_MAX < self.0.len() {
            self.0.pop_first();
        }
    }

    /// Forgets all keys before one.
    pub fn forget_before(&mut self, epoch: Epoch) {
        let newest = self.newest();
        self.0.retain(|it, _| epoch <= *it || *it == newest);
    }

    /// Whether a key is there.
    #[must_use]
    pub fn contains(&self, epoch: Epoch) -> bool {
        self.0.contains_key(&epoch)
    }

    /// The one that seals.
    #[must_use]
    pub fn newest(&self) -> Epoch {
        self.0.keys().next_back().copied().unwrap_or_default()
    }

    /// The epoch that ends in these bits.
    pub(super) fn ending(&self, bits: u8) -> Option<Epoch> {
        self.0.keys().rev().find(|it| it.0 & 0xff == u32::from(bits)).copied()
    }

    /// The key under which one member seals in one of its lives.
    pub(super) fn derive(&self, epoch: Epoch, sender: NodeId, life: u32) -> Option<Key> {
        let mut key = Zeroizing::new([0; 32]);
        let info = [SEAL_INFO, &sender.0.to_be_bytes(), &life.to_be_bytes()].concat();
        Hkdf::<Sha256>::new(None, self.0.get(&epoch)?.as_slice()).expand(&info, &mut *key).ok()?;
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> Key {
        Zeroizing::new([byte; 32])
    }

    #[test]
    fn the_newest_seals_and_the_oldest_of_too_many_goes() {
        let mut ring = Keyring::new(Epoch(1), key(1));
        (2..20).for_each(|it| ring.add(Epoch(it), key(7)));
        assert_eq!((ring.newest(), ring.0.len()), (Epoch(19), KEYS_MAX));
        ring.add(Epoch(18), key(9));
        assert_eq!(*ring.0[&Epoch(18)], [7; 32], "a key of an epoch never changes");
        ring.forget_before(Epoch(99));
        assert_eq!((ring.newest(), ring.0.len()), (Epoch(19), 1), "one is always left");
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

    #[test]
    fn a_ring_does_not_print_its_keys() {
        let said = format!("{:?}", Keyring::new(Epoch(1), key(231)));
        assert!(!said.contains("231"), "{said}");
    }
}
