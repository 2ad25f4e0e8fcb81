//! The only place that starts tasks: every one has a name, runs within a bound, and is joined.

use std::{future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, error, warn};

/// The daemon's tasks.
#[derive(Clone, Debug)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
    slots: Arc<Semaphore>,
}

impl Tasks {
    /// Tasks of which so many run at a time; further ones wait for their turn.
    #[must_use]
    pub fn new(running_max: usize) -> Self {
        Self {
            tracker: TaskTracker::new(),
            stop: CancellationToken::new(),
            slots: Arc::new(Semaphore::new(running_max)),
        }
    }

    /// The same daemon's tasks, with a bound of their own.
    #[must_use]
    pub fn group(&self, running_max: usize) -> Self {
        Self { slots: Arc::new(Semaphore::new(running_max)), ..self.clone() }
    }

    /// Cancelled when the daemon stops.
    #[must_use]
    pub fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Starts a task that is dropped where it stands when the daemon stops.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.spawn_to_end(name, async move {
            if stop.run_until_cancelled(task).await.is_none() {
                debug!(name, "task dropped at stop");
            }
        });
    }

    /// Starts a task that sees to its own end once [`Tasks::stopping`] is cancelled. A panic in it
    /// stops the daemon: half of one would be worse than a restart.
    pub fn spawn_to_end(
        &self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let (stop, slots) = (self.stop.clone(), Arc::clone(&self.slots));
        self.tracker.spawn(async move {
            let Ok(_slot) = slots.acquire().await else { return };
            if AssertUnwindSafe(task).catch_unwind().await.is_err() {
                error!(name, "task panicked; stopping");
                stop.cancel();
            }
        });
    }

    /// Tells every task to end, and waits for so long until they have.
    pub async fn stop(&self, grace: Duration) {
        self.stop.cancel();
        self.tracker.close();
        if tokio::time::timeout(grace, self.tracker.wait()).await.is_err() {
            warn!(tasks = self.tracker.len(), "some tasks did not end in time; leaving them");
        }
    }
}

/// Runs something that blocks on a thread of its own.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, tokio::task::JoinError> {
    tokio::task::spawn_blocking(work).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn no_more_tasks_run_at_a_time_than_the_bound() {
        let tasks = Tasks::new(3);
        let (now, most, all) = <(Arc<AtomicUsize>, Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
        for _ in 0..20 {
            let (now, most, all) = (Arc::clone(&now), Arc::clone(&most), Arc::clone(&all));
            tasks.spawn_to_end("counted", async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(1)).await;
                now.fetch_sub(1, Ordering::SeqCst);
                all.fetch_add(1, Ordering::SeqCst);
            });
        }
        tasks.stop(Duration::from_secs(10)).await;
        assert_eq!((most.load(Ordering::SeqCst), all.load(Ordering::SeqCst)), (3, 20));
    }

    #[tokio::test]
    async fn a_stop_drops_what_would_never_end() {
        let tasks = Tasks::new(3);
        tasks.spawn("endless", std::future::pending());
        tasks.stop(Duration::from_secs(10)).await;
        assert!(tasks.tracker.is_empty());
    }

    #[tokio::test]
    async fn a_panic_in_a_task_stops_the_daemon() {
        let tasks = Tasks::new(3);
        tasks.spawn("wrong", async { panic!("as this test wants it") });
        tasks.stopping().cancelled().await;
    }
}
