//! A set in which an add wins over a removal that had not seen it.
//!
//! Observed-remove set (Shapiro et al., 2011, section 3.3.5; optimised by Bieniusa et al., 2012): the
//! elements are the writes of [`DottedMap`] that have a value. A removal ends the adds that its
//! writer had seen; beside any other it has no say. An element that changes is the same key written
//! again, so its keys say which elements are the same thing.

use std::sync::Arc;

use super::dotted_map::{DottedMap, Sibling};

/// An observed-remove set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrSet<K: Ord, V>(pub(super) DottedMap<K, V>);

impl<K: Ord, V> Default for OrSet<K, V> {
    fn default() -> Self {
        Self(DottedMap::default())
    }
}

impl<K: Ord + Clone, V> OrSet<K, V> {
    /// Every element, with its key.
    pub fn elements(&self) -> impl Iterator<Item = (&K, &Arc<V>)> {
        self.0.iter().flat_map(|(key, siblings)| {
            siblings.iter().filter_map(move |it| Some((key, it.value.as_ref()?)))
        })
    }

    /// The latest element of every key.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &Arc<V>)> {
        self.0.iter().filter_map(|(key, siblings)| Some((key, latest(siblings)?)))
    }

    /// The latest element of a key.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&Arc<V>> {
        latest(self.0.of(key))
    }
}

fn latest<V>(siblings: &[Sibling<V>]) -> Option<&Arc<V>> {
    let adds = siblings.iter().filter(|it| it.value.is_some());
    adds.max_by_key(|it| (it.stamp, it.dot))?.value.as_ref()
}
