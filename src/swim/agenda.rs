//! Things that are due at some time each, found without looking at all of them.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::Moment;

/// Something that is due.
pub(super) trait Due {
    /// When, if ever.
    fn due(&self) -> Option<Moment>;
}

/// Things by key, and by when they are due.
#[derive(Clone, Debug)]
pub(super) struct Agenda<K, T> {
    items: BTreeMap<K, T>,
    order: BTreeSet<(Moment, K)>,
}

impl<K, T> Default for Agenda<K, T> {
    fn default() -> Self {
        Self { items: BTreeMap::new(), order: BTreeSet::new() }
    }
}

impl<K: Ord + Copy, T: Due> Agenda<K, T> {
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn contains(&self, key: K) -> bool {
        self.items.contains_key(&key)
    }

    pub(super) fn get(&self, key: K) -> Option<&T> {
        self.items.get(&key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (K, &T)> {
        self.items.iter().map(|(key, item)| (*key, item))
    }

    /// Puts something in the place of what had its key.
    pub(super) fn insert(&mut self, key: K, item: T) {
        self.remove(key);
        self.order.extend(item.due().map(|at| (at, key)));
        self.items.insert(key, item);
    }

    pub(super) fn remove(&mut self, key: K) -> Option<T> {
        let item = self.items.remove(&key)?;
        if let Some(at) = item.due() {
            self.order.remove(&(at, key));
        }
        Some(item)
    }

    /// Changes something, and when it is due with it.
    pub(super) fn change<R>(&mut self, key: K, change: impl FnOnce(&mut T) -> R) -> Option<R> {
        let item = self.items.get_mut(&key)?;
        let before = item.due();
        let result = change(item);
        let after = item.due();
        if before != after {
            if let Some(at) = before {
                self.order.remove(&(at, key));
            }
            self.order.extend(after.map(|at| (at, key)));
        }
        Some(result)
    }

    /// Changes everything.
    pub(super) fn change_all(&mut self, change: impl Fn(&mut T)) {
        let keys: Vec<K> = self.items.keys().copied().collect();
        for key in keys {
            self.change(key, &change);
        }
    }

    pub(super) fn clear(&mut self) {
        self.items.clear();
        self.order.clear();
    }

    /// What is due, by key: the order of deeds does not depend on that of their times.
    pub(super) fn due(&self, now: Moment) -> Vec<K> {
        let mut due: Vec<K> =
            self.order.iter().take_while(|(at, _)| *at <= now).map(|(_, key)| *key).collect();
        due.sort_unstable();
        due
    }

    /// When the next is.
    pub(super) fn next(&self) -> Option<Moment> {
        self.order.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    impl Due for Option<u64> {
        fn due(&self) -> Option<Moment> {
            self.map(Moment)
        }
    }

    proptest! {
        #[test]
        fn what_is_due_is_what_a_look_at_all_would_find(
            deeds in proptest::collection::vec((0..4_u8, 0..8_u8, proptest::option::of(0..9_u64)), 0..60),
        ) {
            let mut agenda: Agenda<u8, Option<u64>> = Agenda::default();
            for (deed, key, due) in deeds {
                match deed {
                    0 => agenda.insert(key, due),
                    1 => drop(agenda.remove(key)),
                    2 => {
                        agenda.change(key, |it| *it = due);
                    }
                    _ => agenda.change_all(|it| *it = it.map(|at| at + 1)),
                }
                let found: Vec<u8> =
                    agenda.iter().filter(|(_, it)| it.is_some_and(|at| at <= 5)).map(|it| it.0).collect();
                prop_assert_eq!(agenda.due(Moment(5)), found);
                let next = agenda.iter().filter_map(|(_, it)| *it).min();
                prop_assert_eq!(agenda.next(), next.map(Moment));
            }
        }
    }
}
