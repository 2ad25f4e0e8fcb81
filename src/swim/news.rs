//! News that travels along with probes and answers: what was spread may have been lost on its way.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, btree_map::Entry},
};

use super::message::Rumour;
use crate::model::NodeId;

/// How much news waits at most; the most repeated makes room.
const NEWS_MAX: usize = 4_096;

/// News that is still repeated: by how often it still is, and of that the latest first.
#[derive(Clone, Debug, Default)]
pub(super) struct News {
    items: BTreeMap<Turn, Rumour>,
    turns: BTreeMap<NodeId, Turn>,
    count: u64,
}

type Turn = (Reverse<u8>, Reverse<u64>);

impl News {
    /// Takes in what is new, in place of what was said of the same member before.
    pub(super) fn add(&mut self, rumour: Rumour, repeats: u8) {
        self.forget(rumour.about);
        if repeats == 0 {
            return;
        }
        if NEWS_MAX <= self.items.len()
            && let Some((_, last)) = self.items.pop_last()
        {
            self.turns.remove(&last.about);
        }
        self.count += 1;
        self.put(rumour, (Reverse(repeats), Reverse(self.count)));
    }

    /// So much of it, and notes that it was repeated; what was repeated least comes first.
    pub(super) fn some(&mut self, count: usize) -> Vec<Rumour> {
        let next = (0..count).map_while(|_| self.items.pop_first());
        let chosen: Vec<(Turn, Rumour)> = next.collect();
        for ((Reverse(left), order), rumour) in &chosen {
            match left.checked_sub(1).filter(|left| 0 < *left) {
                Some(left) => self.put(*rumour, (Reverse(left), *order)),
                None => drop(self.turns.remove(&rumour.about)),
            }
        }
        chosen.into_iter().map(|(_, rumour)| rumour).collect()
    }

    pub(super) fn forget(&mut self, about: NodeId) {
        if let Entry::Occupied(turn) = self.turns.entry(about) {
            self.items.remove(&turn.remove());
        }
    }

    fn put(&mut self, rumour: Rumour, turn: Turn) {
        self.items.insert(turn, rumour);
        self.turns.insert(rumour.about, turn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swim::{Claim, Incarnation};

    fn rumour(about: u128, incarnation: u32) -> Rumour {
        Rumour { about: NodeId(about), incarnation: Incarnation(incarnation), claim: Claim::Alive }
    }

    #[test]
    fn news_is_repeated_so_often_and_then_no_more() {
        let mut news = News::default();
        news.add(rumour(1, 1), 2);
        assert_eq!(news.some(8), [rumour(1, 1)]);
        news.add(rumour(2, 1), 2);
        assert_eq!(news.some(1), [rumour(2, 1)], "the freshest first");
        assert_eq!(news.some(8).len(), 2);
        assert!(news.some(8).is_empty());
    }

    #[test]
    fn later_news_of_a_member_takes_the_place_of_earlier() {
        let mut news = News::default();
        news.add(rumour(1, 1), 4);
        news.add(rumour(1, 2), 4);
        assert_eq!(news.some(8), [rumour(1, 2)]);
    }
}
