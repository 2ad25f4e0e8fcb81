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

    /// Takes in an add that was not seen before, and ends those that it replaces.
    pub fn add(&mut self, dot: Dot, element: Arc<T>, replaces: &[Dot]) {
        self.remove(replaces);
        self.0.insert(dot, element);
    }

    /// Takes in a removal.
    pub fn remove(&mut self, dots: &[Dot]) {
        for dot in dots {
            self.0.remove(dot);
        }
    }
}
