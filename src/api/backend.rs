//! What the API stands on: the node's picture for reading, its ear for asking, the runtime for
//! streaming.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use zeroize::Zeroizing;

use tokio::sync::{mpsc, oneshot, watch};

use super::{events::EventLog, metrics::Metrics, wire};
use crate::{
    gossip::Epoch,
    model::{ClusterId, Millis, NodeId, TokenId, WallTime},
    node::{Now, Refusal, Request, Response, View},
    runtime::Runtime,
    state::{SealedSecret, SecretPath},
    topology::zone::Order,
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

/// Tells the time by both of the daemon's clocks.
pub type Clock = Arc<dyn Fn() -> Now + Send + Sync>;

/// A stream to another member, over which its API answers.
pub type MemberStream = Box<dyn Stream>;

/// What bytes go through, both ways.
pub trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for S {}

/// A token that was just made.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// Which.
    pub id: TokenId,
    /// As it is shown, this once.
    pub text: Zeroizing<String>,
}

/// How a token stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenStanding {
    /// Which.
    pub id: TokenId,
    /// When it was made.
    pub created: WallTime,
    /// Which node made it.
    pub by: NodeId,
    /// From when on it is of no use.
    pub expires: WallTime,
    /// How many nodes may come with it; 0: any number.
    pub uses: u16,
    /// How many have.
    pub used: usize,
    /// It is of no use any more: somebody said so.
    pub revoked: bool,
    /// It is of no use any more: the cluster's keys were changed.
    pub stale: bool,
    /// It is of no use any more: its time is over.
    pub expired: bool,
}

/// What concerns the cluster itself and needs its keys.
pub trait Cluster: Send + Sync {
    /// The cluster's name, and its id if this node is in one.
    fn which(&self) -> (String, Option<ClusterId>);

    /// Makes a cluster of this node alone. Its secret comes back, this once. Takes effect with
    /// [`Cluster::begin_anew`].
    fn init(&self) -> BoxFuture<'_, Result<(ClusterId, Zeroizing<String>), Refusal>>;

    /// Comes into a cluster by one of its members, with a token or the cluster's secret. Its name comes
    /// back. Takes effect with [`Cluster::begin_anew`].
    fn join<'a>(
        &'a self,
        address: &'a str,
        ticket: &'a str,
    ) -> BoxFuture<'a, Result<String, Refusal>>;

    /// Lets the daemon begin anew: every connection to it ends.
    fn begin_anew(&self);

    /// Goes out of the cluster, once what runs here has moved, for which it waits so long; with force at
    /// once, and also where no member can take the farewell. The daemon begins anew by itself.
    fn leave(&self, force: bool, patience: Millis) -> BoxFuture<'_, Result<(), Refusal>>;

    /// Makes a token.
    fn create_token(&self, ttl: Millis, uses: u16) -> BoxFuture<'_, Result<NewToken, Refusal>>;

    /// All tokens.
    fn tokens(&self) -> Vec<TokenStanding>;

    /// Makes a token useless.
    fn revoke_token(&self, id: TokenId) -> BoxFuture<'_, Result<(), Refusal>>;

    /// Gives the cluster another key, and tells which.
    fn rotate(&self) -> BoxFuture<'_, Result<Epoch, Refusal>>;

    /// Puts a node out of the cluster; with another key for the others, unless not.
    fn remove(&self, node: NodeId, force: bool, rotate: bool)
    -> BoxFuture<'_, Result<(), Refusal>>;

    /// Opens a stream to another member's API.
    fn dial(&self, node: NodeId) -> BoxFuture<'_, Result<MemberStream, String>>;
}

/// Looks what is wrong with this node and its machine.
pub trait Doctor: Send + Sync {
    /// All checks.
    fn examine(&self) -> BoxFuture<'_, wire::Examination>;

    /// What this node hears of another member; why not, where it is in no cluster.
    fn sight(&self, of: NodeId) -> BoxFuture<'_, Result<wire::Sight, String>>;
}

/// Carries what comes to this node's published ports.
pub trait Ingress: Send + Sync {
    /// The ports, who takes what comes there, and what came.
    fn carried(&self) -> BoxFuture<'_, wire::NodeIngress>;
}

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
    /// The cluster itself.
    pub cluster: Arc<dyn Cluster>,
    /// The time.
    pub clock: Clock,
    /// What is counted, for `/metrics`.
    pub metrics: Arc<Metrics>,
    /// What is wrong here.
    pub doctor: Arc<dyn Doctor>,
    /// What comes to the published ports.
    pub ingress: Arc<dyn Ingress>,
    /// Which of a service's addresses its DNS server has first.
    pub order: Order,
}

impl Backend {
    /// The node's picture as it is now.
    pub(super) fn now(&self) -> Arc<View> {
        self.view.borrow().clone()
    }
}
