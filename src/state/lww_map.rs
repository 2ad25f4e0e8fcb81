//! A map whose every key holds its last write.
//!
//! Merging takes the later [`Stamp`] for each key, so it is commutative, associative and idempotent.
//! A removal is a write of nothing, kept as a tombstone.

use std::{collections::BTreeMap, sync::Arc};

use super::clock::{Dot, Stamp};

/// One key's last write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Register<V> {
    /// Which write.
    pub dot: Dot,
    /// When.
    pub stamp: Stamp,
    /// What; `None` is a removal.
    pub value: Option<Arc<V>>,
}

/// A last-writer-wins map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LwwMap<K, V>(BTreeMap<K, Register<V>>);

impl<K, V> Default for LwwMap<K, V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord + Clone, V> LwwMap<K, V> {
    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&Arc<V>> {
        self.0.get(key)?.value.as_ref()
    }

    /// Every key that has a value.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &Arc<V>)> {
        self.0.iter().filter_map(|(key, register)| Some((key, register.value.as_ref()?)))
    }

    /// Takes in a write if it is later than what the key holds.
    pub fn merge(&mut self, key: K, register: Register<V>) {
        let later = self.0.get(&key).is_none_or(|known| known.stamp < register.stamp);
        if later {
            self.0.insert(key, register);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::WallTime, state::ReplicaId};
    use proptest::prelude::*;

    type Writes = Vec<(u8, Register<u8>)>;

    fn writes() -> impl Strategy<Value = Writes> {
        let write = (0..4u8, 0..3u64, 0..50u64, proptest::option::of(any::<u8>()));
        proptest::collection::vec(write, 0..20).prop_map(|list| {
            let register =
                |(sequence, (key, replica, wall, value)): (u32, (u8, u64, u64, Option<u8>))| {
                    let replica = ReplicaId(replica);
                    let stamp = Stamp { wall: WallTime(wall), count: sequence, replica };
                    let dot = Dot { replica, sequence: u64::from(sequence) };
                    (key, Register { dot, stamp, value: value.map(Arc::new) })
                };
            (0u32..).zip(list).map(register).collect()
        })
    }

    fn merged<'a>(writes: impl IntoIterator<Item = &'a (u8, Register<u8>)>) -> LwwMap<u8, u8> {
        let mut map = LwwMap::default();
        for (key, register) in writes {
            map.merge(*key, register.clone());
        }
        map
    }

    proptest! {
        #[test]
        fn the_order_and_repetition_of_writes_do_not_matter(writes in writes()) {
            let once = merged(&writes);
            prop_assert_eq!(&once, &merged(writes.iter().rev()));
            prop_assert_eq!(&once, &merged(writes.iter().chain(&writes)));
        }
    }
}
