//! Numbers for what the programs know by numbers: the same as long as it is there, and given again as late as may be.

use std::collections::{BTreeMap, VecDeque};

use super::IngressError;

/// The numbers of what has keys.
#[derive(Clone, Debug)]
pub(super) struct Numbers<K> {
    what: &'static str,
    most: usize,
    given: BTreeMap<K, u32>,
    /// Those that were given back, the one that was given back first in front.
    free: VecDeque<u32>,
    /// The first that was never given.
    next: u32,
}

impl<K: Ord + Copy> Numbers<K> {
    /// With those that are given already.
    pub(super) fn new(what: &'static str, most: usize, given: BTreeMap<K, u32>) -> Self {
        let next = given.values().max().map_or(0, |it| it + 1);
        let mut taken = vec![false; next as usize];
        given.values().for_each(|it| taken[*it as usize] = true);
        let free = (0..next).filter(|it| !taken[*it as usize]).collect();
        Self { what, most, given, free, next }
    }

    pub(super) fn get(&self, key: &K) -> Option<u32> {
        self.given.get(key).copied()
    }

    /// Has numbers for these keys. Those of others stay given until [`keep`](Self::keep).
    pub(super) fn give(&mut self, keys: impl IntoIterator<Item = K>) -> Result<(), IngressError> {
        for key in keys {
            if self.given.contains_key(&key) {
                continue;
            }
            let fresh = (self.next as usize) < self.most;
            let number = match self.free.pop_front() {
                // One that was never given cannot be mistaken for another.
                Some(used) if fresh => {
                    self.free.push_front(used);
                    self.take_next()
                }
                Some(used) => used,
                None if fresh => self.take_next(),
                None => {
                    let (what, most) = (self.what, self.most);
                    return Err(IngressError::Full { what, most, wanted: self.given.len() + 1 });
                }
            };
            self.given.insert(key, number);
        }
        Ok(())
    }

    fn take_next(&mut self) -> u32 {
        self.next += 1;
        self.next - 1
    }

    /// Takes back the numbers of all but these.
    pub(super) fn keep(&mut self, is_kept: impl Fn(&K) -> bool) {
        let free = &mut self.free;
        self.given.retain(|key, number| {
            let kept = is_kept(key);
            if !kept {
                free.push_back(*number);
            }
            kept
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_given_again_only_when_all_were_and_the_oldest_first() {
        let mut numbers = Numbers::new("letters", 4, BTreeMap::from([('a', 0), ('c', 2)]));
        numbers.give(['a', 'd']).unwrap();
        assert_eq!((numbers.get(&'a'), numbers.get(&'d')), (Some(0), Some(3)));
        numbers.keep(|it| *it == 'a');
        assert_eq!(numbers.get(&'d'), None);
        numbers.give(['e', 'f']).unwrap();
        assert_eq!((numbers.get(&'e'), numbers.get(&'f')), (Some(1), Some(2)));
        numbers.give(['g']).unwrap();
        let full = numbers.give(['h']).unwrap_err().to_string();
        assert_eq!(full, "letters: there is room for 4, and 5 are wanted");
        assert_eq!(numbers.get(&'a'), Some(0));
    }
}
