//! A map whose every key has the value of its last write.
//!
//! Causality comes first, by construction: what a writer had seen is no sibling of its write (see
//! [`DottedMap`]). Among concurrent writes the greatest [`Stamp`](super::Stamp) stands, be it a value
//! or a removal (Shapiro, Preguiça, Baquero, Zawirski, 2011, section 3.2.2). The others are not lost:
//! they can be listed until the next write of the key, which has seen and ends them all.

use std::sync::Arc;

use super::{
    clock::{Dot, ReplicaId},
    dotted_map::{DottedMap, Sibling},
    vector::VersionVector,
};

/// A last-writer-wins map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LwwMap<K: Ord, V>(pub(super) DottedMap<K, V>);

impl<K: Ord, V> Default for LwwMap<K, V> {
    fn default() -> Self {
        Self(DottedMap::default())
    }
}

impl<K: Ord + Clone, V> LwwMap<K, V> {
    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&Arc<V>> {
        standing(self.0.of(key))?.value.as_ref()
    }

    /// The write that stands of a key.
    #[must_use]
    pub fn dot(&self, key: &K) -> Option<Dot> {
        standing(self.0.of(key)).map(|it| it.dot)
    }

    /// Every key that has a value.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &Arc<V>)> {
        self.0.iter().filter_map(|(key, siblings)| Some((key, standing(siblings)?.value.as_ref()?)))
    }

    /// Every key from this one on that has a value.
    pub fn from(&self, first: K) -> impl Iterator<Item = (&K, &Arc<V>)> {
        let found = self.0.from(first);
        found.filter_map(|(key, siblings)| Some((key, standing(siblings)?.value.as_ref()?)))
    }

    /// The values of a key that were written without knowing of the one that stands, and lost
    /// against it.
    pub fn conflicts(&self, key: &K) -> impl Iterator<Item = &Sibling<V>> {
        let siblings = self.0.of(key);
        let standing = standing(siblings).map(|it| it.dot);
        siblings.iter().filter(move |it| it.value.is_some() && Some(it.dot) != standing)
    }

    /// What the next write of a key follows: its siblings, and every removal that was collected,
    /// because others may still hold those, and would take the write to be concurrent with them.
    pub(super) fn past_of(&self, key: &K, writer: ReplicaId) -> VersionVector {
        let mut past = self.0.past_of(key, writer);
        past.join(self.0.collected());
        past.leave_out(writer);
        past
    }
}

/// The write that stands.
pub(super) fn standing<V>(siblings: &[Sibling<V>]) -> Option<&Sibling<V>> {
    siblings.iter().max_by_key(|it| (it.stamp, it.dot))
}
