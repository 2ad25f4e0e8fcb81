//! What a container that stops is owed while others go on for it: that nobody is led to it any more, and time for who
//! is connected.

use std::{path::Path, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info};

use super::Inner;
use crate::{
    daemon::tasks,
    model::{ContainerId, Millis},
    network::{Namespace, sockets},
    node::View,
    state::{ContainerRecord, Intent},
};

/// How often its connections are counted.
const LOOK: Duration = Duration::from_millis(100);

impl Inner {
    /// Waits until no node leads anybody to it, and then until nobody is connected, for so long at most; and not at all
    /// once nobody is to go on for it.
    pub(super) async fn let_go(&self, container: ContainerId, drain: Millis) {
        tokio::select! {
            () = self.take_leave(container, drain) => {}
            () = self.service_ends(container) => {}
        }
    }

    async fn take_leave(&self, container: ContainerId, drain: Millis) {
        self.means.line.let_go(container).await;
        // Who is refused by the last one meanwhile is not helped by its staying.
        if !self.others_go_on(container) {
            return;
        }
        let Ok(inside) = self.network_of(container).await else { return };
        let began = Instant::now();
        let none_left = async {
            while self.is_connected(&inside).await {
                sleep(LOOK).await;
            }
        };
        match timeout(Duration::from_millis(drain.0), none_left).await {
            Ok(()) => debug!(%container, after = ?began.elapsed(), "nobody is connected to it"),
            Err(_) => info!(%container, after = %drain, "it is stopped with connections open"),
        }
    }

    /// Resolves when its service is not to run any more.
    async fn service_ends(&self, container: ContainerId) {
        let is_over = |view: &Arc<View>| {
            let service = view.state.container(container).map(|it| &it.service);
            let wanted = service.and_then(|it| view.state.services().get(it));
            wanted.is_none_or(|it| it.intent != Intent::Run)
        };
        // A node that is gone shows nothing more.
        let _ = self.means.view.clone().wait_for(is_over).await;
    }

    /// Whether anybody else of its service takes what comes.
    fn others_go_on(&self, container: ContainerId) -> bool {
        let view = self.means.view.borrow();
        let Some(own) = view.state.container(container) else { return false };
        let mut others = view.state.containers().filter(|it| it.service == own.service);
        let goes_on =
            |it: &ContainerRecord| it.one_off.is_none() && it.state.is_up() && !it.is_leaving();
        others.any(|it| it.id != container && goes_on(it))
    }

    async fn is_connected(&self, inside: &Path) -> bool {
        let inside = inside.to_owned();
        let count = tasks::blocking(move || sockets::incoming(&Namespace::open(&inside)?)).await;
        // What has no network any more has no connections.
        matches!(count, Ok(Ok(count)) if count != 0)
    }
}
