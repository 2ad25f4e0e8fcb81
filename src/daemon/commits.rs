//! What waits for the disk: steps on their way to it, and what may happen only once they are there.
//!
//! One commit is under way at a time. What comes meanwhile goes with the next, so that a slow disk makes
//! groups larger and nothing else slower: a member whose disk stalls still answers the others.

use std::{collections::VecDeque, future::Future, pin::Pin, sync::Arc};

use tokio::time::Instant;

use super::{
    store::{Store, StoreError},
    tasks,
};
use crate::{api::Metrics, state::Step};

type Commit = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>;

/// Steps, and those that wait for them.
pub(super) struct Commits<T> {
    store: Arc<Store>,
    metrics: Arc<Metrics>,
    steps: Vec<Step>,
    /// Groups of steps that were handed in, and how many of them the commit under way has.
    handed: u64,
    under_way: Option<(u64, Commit)>,
    waiting: VecDeque<(u64, T)>,
}

impl<T> Commits<T> {
    pub(super) fn new(store: Arc<Store>, metrics: Arc<Metrics>) -> Self {
        let (steps, waiting) = (vec![], VecDeque::new());
        Self { store, metrics, steps, handed: 0, under_way: None, waiting }
    }

    /// Takes a group of steps.
    pub(super) fn persist(&mut self, steps: Vec<Step>) {
        self.handed += 1;
        self.steps.extend(steps);
    }

    /// What may happen once all that was handed in is durable: returned at once if it is.
    pub(super) fn then(&mut self, what: T) -> Option<T> {
        if self.steps.is_empty() && self.under_way.is_none() {
            return Some(what);
        }
        self.waiting.push_back((self.handed, what));
        None
    }

    /// Begins a commit if there is something to commit and none is under way.
    pub(super) fn begin(&mut self) {
        if self.under_way.is_some() || self.steps.is_empty() {
            return;
        }
        let (steps, store) = (std::mem::take(&mut self.steps), Arc::clone(&self.store));
        let (metrics, begun) = (Arc::clone(&self.metrics), Instant::now());
        let commit = async move {
            let result = tasks::blocking({
                let store = Arc::clone(&store);
                move || store.commit(&steps)
            });
            match result.await {
                Ok(result) => {
                    metrics.committed(begun.elapsed());
                    result
                }
                Err(panic) => Err(store.failed("write", &panic)),
            }
        };
        self.under_way = Some((self.handed, Box::pin(commit)));
    }

    /// Waits for the commit under way: how many groups are durable now. Pending while there is none.
    /// A node whose disk takes no writes has nothing to say: what it knows would be lost. It ends, and
    /// begins again from what is durable.
    pub(super) async fn done(&mut self) -> Result<u64, StoreError> {
        let Some((groups, commit)) = &mut self.under_way else {
            return std::future::pending().await;
        };
        let (groups, result) = (*groups, commit.await);
        self.under_way = None;
        result.map(|()| groups)
    }

    /// What waited for the groups up to a number.
    pub(super) fn due(&mut self, groups: u64) -> Vec<T> {
        let count = self.waiting.partition_point(|(group, _)| *group <= groups);
        self.waiting.drain(..count).map(|(_, what)| what).collect()
    }
}
