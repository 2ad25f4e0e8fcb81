//! News that travels along with probes and answers: what was spread may have been lost on its way.

use super::message::Rumour;
use crate::model::NodeId;

/// How much news waits at most; the most repeated makes room.
const NEWS_MAX: usize = 4_096;

/// News that is still repeated.
#[derive(Clone, Debug, Default)]
pub(super) struct News(Vec<Item>);

#[derive(Clone, Copy, Debug)]
struct Item {
    rumour: Rumour,
    left: u8,
}

impl News {
    /// Takes in what is new, in place of what was said of the same member before.
    pub(super) fn add(&mut self, rumour: Rumour, repeats: u8) {
        self.forget(rumour.about);
        if repeats == 0 {
            return;
        }
        if NEWS_MAX <= self.0.len() {
            self.0.pop();
        }
        self.0.insert(0, Item { rumour, left: repeats });
    }

    /// So much of it, and notes that it was repeated; what was repeated least comes first.
    pub(super) fn some(&mut self, count: usize) -> Vec<Rumour> {
        let count = count.min(self.0.len());
        if count == 0 {
            return vec![];
        }
        let chosen: Vec<Rumour> = self.0.iter().take(count).map(|it| it.rumour).collect();
        self.0.iter_mut().take(count).for_each(|it| it.left -= 1);
        self.0.retain(|it| 0 < it.left);
        self.0.sort_by_key(|it| std::cmp::Reverse(it.left));
        chosen
    }

    pub(super) fn forget(&mut self, about: NodeId) {
        self.0.retain(|it| it.rumour.about != about);
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
