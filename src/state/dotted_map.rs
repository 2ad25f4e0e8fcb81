//! The one storage under every collection: for each key, the writes that no other has overwritten.
//!
//! Dotted version vectors (Preguiça, Baquero, Almeida, Fonte, Gonçalves, 2010 and 2012): a write names
//! itself by its [`Dot`] and carries as `past` what its writer had seen of the key. Of two writes one
//! follows the other, and ends it, if its past has the other's dot; else they are concurrent, and
//! both stay as siblings. That says nothing of clocks: who had seen a write beats it.

use std::{collections::BTreeSet, sync::Arc};

use rpds::RedBlackTreeMapSync;

use super::{
    clock::{Dot, ReplicaId, Stamp},
    vector::VersionVector,
};

/// A write of a key that none has ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Sibling<V> {
    /// Which write.
    pub dot: Dot,
    /// When.
    pub stamp: Stamp,
    /// What its writer had seen of the key, of others. Its own earlier writes go without saying.
    pub past: VersionVector,
    /// What; `None` is a removal.
    pub value: Option<Arc<V>>,
}

/// What becomes of a write and of those beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fate {
    /// Whether it stays: no sibling had seen it.
    pub(super) kept: bool,
    /// The siblings that it ends: it had seen them.
    pub(super) ended: Vec<Dot>,
}

/// Keys and their siblings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DottedMap<K: Ord, V> {
    /// Shared with every copy of the state that was handed out; a write copies the path to its key.
    siblings: RedBlackTreeMapSync<K, Vec<Sibling<V>>>,
    /// The keys that hold nothing but removals.
    bare: BTreeSet<K>,
    /// The removals that were collected, and all that they had seen.
    collected: VersionVector,
}

/// Of any value, as it is shared.
impl<V> Clone for Sibling<V> {
    fn clone(&self) -> Self {
        let Self { dot, stamp, ref past, ref value } = *self;
        Self { dot, stamp, past: past.clone(), value: value.clone() }
    }
}

impl<V> Sibling<V> {
    /// Whether its writer had seen a write of the same key.
    fn follows(&self, dot: Dot) -> bool {
        follows(self.dot, &self.past, dot)
    }
}

fn follows(writer: Dot, past: &VersionVector, dot: Dot) -> bool {
    let own = dot.replica == writer.replica && dot.sequence < writer.sequence;
    own || past.has(dot)
}

impl<K: Ord, V> Default for DottedMap<K, V> {
    fn default() -> Self {
        let (siblings, bare) = (RedBlackTreeMapSync::new_sync(), BTreeSet::new());
        Self { siblings, bare, collected: VersionVector::default() }
    }
}

impl<K: Ord + Clone, V> DottedMap<K, V> {
    /// The siblings of a key.
    #[must_use]
    pub fn of(&self, key: &K) -> &[Sibling<V>] {
        self.siblings.get(key).map_or(&[], Vec::as_slice)
    }

    /// Every key and its siblings.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &[Sibling<V>])> {
        self.siblings.iter().map(|(key, siblings)| (key, siblings.as_slice()))
    }

    /// Every key from this one on, and its siblings.
    pub fn from(&self, first: K) -> impl Iterator<Item = (&K, &[Sibling<V>])> {
        self.siblings.range(first..).map(|(key, siblings)| (key, siblings.as_slice()))
    }

    /// What would become of a write that was not seen before.
    pub(super) fn foresee(&self, key: &K, dot: Dot, past: &VersionVector) -> Fate {
        let siblings = self.of(key);
        let ended = siblings.iter().map(|it| it.dot).filter(|&it| follows(dot, past, it)).collect();
        Fate { kept: !siblings.iter().any(|it| it.follows(dot)), ended }
    }

    /// Puts a write beside its siblings.
    pub(super) fn put(&mut self, key: K, sibling: Sibling<V>) {
        let mut siblings = self.of(&key).to_vec();
        let at = siblings.partition_point(|it| it.dot < sibling.dot);
        siblings.insert(at, sibling);
        self.set(key, siblings);
    }

    /// Takes a write away, and the key with its last.
    pub(super) fn end(&mut self, key: &K, dot: Dot) {
        let others = self.of(key).iter().filter(|it| it.dot != dot).cloned().collect();
        self.set(key.clone(), others);
    }

    fn set(&mut self, key: K, siblings: Vec<Sibling<V>>) {
        if !siblings.is_empty() && siblings.iter().all(|it| it.value.is_none()) {
            self.bare.insert(key.clone());
        } else {
            self.bare.remove(&key);
        }
        if siblings.is_empty() {
            self.siblings.remove_mut(&key);
        } else {
            self.siblings.insert_mut(key, siblings);
        }
    }

    /// What this state has seen of a key, as the past of the next write of it by `writer`.
    pub(super) fn past_of(&self, key: &K, writer: ReplicaId) -> VersionVector {
        let mut past = VersionVector::default();
        for sibling in self.of(key) {
            past.join(&sibling.past);
            past.see(sibling.dot);
        }
        past.leave_out(writer);
        past
    }

    /// Whether a key holds nothing but removals.
    pub(super) fn has_bare(&self) -> bool {
        !self.bare.is_empty()
    }

    /// The keys that hold nothing but removals for which `is_stable` holds.
    pub(super) fn collectable(
        &self,
        is_stable: &dyn Fn(Dot, &VersionVector) -> bool,
    ) -> impl Iterator<Item = (&K, &[Sibling<V>])> {
        let keys = self.bare.iter().map(|key| (key, self.of(key)));
        keys.filter(move |(_, siblings)| siblings.iter().all(|it| is_stable(it.dot, &it.past)))
    }

    /// The removals that were collected, and all that they had seen.
    pub(super) fn collected(&self) -> &VersionVector {
        &self.collected
    }

    /// Notes writes as collected.
    pub(super) fn note_collected(&mut self, writes: &VersionVector) {
        self.collected.join(writes);
    }
}
