//! That a container is stopped only once no node leads anybody to it: who stops it asks all the others.

use std::time::Duration;

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use tracing::{debug, warn};

use super::{
    Line,
    sync::{receive, send},
};
use crate::{
    daemon::stream::{Purpose, SecureStream},
    model::{ContainerId, NodeId, NodeState},
};

/// How long it may take until all have let go: what is written reaches all within a second or two.
const LET_GO_MAX: Duration = Duration::from_secs(10);

/// Which container is to be let go of.
#[derive(Serialize, Deserialize)]
struct Question(u128);

/// Whether it is.
#[derive(Serialize, Deserialize)]
struct Answer(bool);

impl Line {
    /// Waits until neither this node nor any other that lives leads anybody to a container.
    pub(in crate::daemon) async fn let_go(&self, container: ContainerId) {
        let Some(fabric) = &self.fabric else { return };
        let others = self.living();
        let theirs = join_all(others.into_iter().map(async |node| {
            let asked = timeout(LET_GO_MAX, self.ask_to_let_go(node, container)).await;
            match asked.unwrap_or_else(|_| Err("it took too long".to_owned())) {
                Ok(()) => true,
                Err(why) => {
                    debug!(%node, %container, %why, "a member did not say that it lets go");
                    false
                }
            }
        }));
        let own = timeout(LET_GO_MAX, fabric.let_go(container));
        let (own, theirs) = tokio::join!(own, theirs);
        let missing = theirs.iter().filter(|it| !**it).count() + usize::from(own.is_err());
        if missing != 0 {
            warn!(%container, missing, "it is stopped although some nodes may still lead to it");
        }
    }

    /// The other members that may lead somebody to a container.
    fn living(&self) -> Vec<NodeId> {
        let view = self.office.view();
        let standings = view.cluster.iter().flat_map(|it| &it.standings);
        let living = standings.filter(|(_, it)| match it.state {
            NodeState::Alive | NodeState::Suspicious => true,
            NodeState::Joining | NodeState::Dead | NodeState::Left | NodeState::Failed => false,
        });
        living.map(|(id, _)| *id).filter(|it| *it != view.me).collect()
    }

    async fn ask_to_let_go(&self, node: NodeId, container: ContainerId) -> Result<(), String> {
        let mut stream = self.office.open_to_member(node, Purpose::LetGo).await?;
        send(&mut stream, &Question(container.0)).await?;
        let Answer(is_so) = receive(&mut stream).await?;
        if is_so { Ok(()) } else { Err("it still leads there".to_owned()) }
    }
}

/// Answers a member that is about to stop a container.
pub(super) async fn serve(line: &Line, mut stream: SecureStream) -> Result<(), String> {
    let Question(container) = receive(&mut stream).await?;
    let is_so = match &line.fabric {
        Some(fabric) => timeout(LET_GO_MAX, fabric.let_go(ContainerId(container))).await.is_ok(),
        // What is in no mesh leads to nobody elsewhere.
        None => true,
    };
    send(&mut stream, &Answer(is_so)).await
}
