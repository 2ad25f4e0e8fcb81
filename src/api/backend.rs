//! What the API stands on: the node's picture for reading, its ear for asking, the runtime for
//! streaming.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use super::{events::EventLog, metrics::Metrics};
use crate::{
    node::{Refusal, Request, Response, View},
    runtime::Runtime,
    state::{SealedSecret, SecretPath},
};

/// A request on its way to the node, and where its answer goes.
pub struct Ask {
    /// What.
    pub request: Request,
    /// Where the answer goes, once it is durable.
    pub reply: oneshot::Sender<Result<Response, Refusal>>,
}

/// Seals a secret to this node's cluster and to its own place, so that it opens nowhere else.
pub type Sealer = Arc<dyn Fn(&SecretPath, &[u8]) -> Result<SealedSecret, String> + Send + Sync>;

/// Everything that the routes use. Cheap to clone.
#[derive(Clone)]
pub struct Backend {
    /// Asks the node.
    pub asks: mpsc::Sender<Ask>,
    /// The node's picture.
    pub view: watch::Receiver<Arc<View>>,
    /// What happened.
    pub events: Arc<EventLog>,
    /// The container runtime.
    pub runtime: Arc<dyn Runtime>,
    /// Seals secrets at the door.
    pub seal: Sealer,
    /// What is counted, for `/metrics`.
    pub metrics: Arc<Metrics>,
}

impl Backend {
    /// The node's picture as it is now.
    pub(super) fn now(&self) -> Arc<View> {
        self.view.borrow().clone()
    }
}
