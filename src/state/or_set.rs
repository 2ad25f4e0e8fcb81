//! A set in which an add wins over a removal that had not seen it.
//!
//! Observed-remove set without tombstones (Bieniusa et al., 2012): every element lives under the
//! [`Dot`] of its add; a removal names the dots that it has seen, and the causal context remembers
//! that they are over.

use std::{collections::BTreeMap, sync::Arc};

use super::clock::Dot;

/// An observed-remove set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrSet<T>(BTreeMap<Dot, Arc<T>>);

impl<T> Default for OrSet<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> OrSet<T> {
    /// Every element and the add that it lives under.
    pub fn iter(&self) -> impl Iterator<Item = (Dot, &Arc<T>)> {
        self.0.iter().map(|(&dot, element)| (dot, element))
    }

    /// The element of an add, if it is not over.
    #[must_use]
    pub fn get(&self, dot: Dot) -> Option<&Arc<T>> {
        self.0.get(&dot)
    }

    /// Takes in an add.
    pub fn add(&mut self, dot: Dot, element: Arc<T>) {
        self.0.insert(dot, element);
    }

    /// Takes in the end of an add, and returns what lived under it.
    pub fn remove(&mut self, dot: Dot) -> Option<Arc<T>> {
        self.0.remove(&dot)
    }
}
