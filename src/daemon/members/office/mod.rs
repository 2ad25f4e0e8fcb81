//! What concerns the cluster itself and needs its keys: founding, joining, leaving, new keys, tokens.

mod leaving;
mod tokens;

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use futures_util::future::BoxFuture;
use rand_core::{OsRng, RngCore};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::join::{self, Ticket};
use crate::{
    api::{self, Ask, MemberStream, NewToken, TokenStanding},
    daemon::{
        Home,
        clock::Clock,
        config::Config,
        identity::Identity,
        store::{Credentials, Store, StoreError},
        stream::{self, Credential, Prelude, Purpose, Refusal as StreamRefusal, SecureStream},
        tasks::{self, Tasks},
    },
    gossip::{ClusterHash, ClusterSecret, Epoch, Key, Keyring},
    model::{ClusterId, Millis, NodeId, NodeState, TokenId},
    node::{Refusal, Request, Response, Rotation, View},
    secrets::Vault,
    state::{ClusterState, SealedSecret, SecretPath},
    topology::is_translated,
};

/// How many ask at a time for this node to leave.
const LEAVING_MAX: usize = 4;

/// Keys, identity, and what is agreed.
#[derive(Clone)]
pub(in crate::daemon) struct Office {
    config: Config,
    identity: Arc<Identity>,
    own: Arc<Vault>,
    vault: Arc<Vault>,
    store: Arc<Store>,
    credentials: Option<Credentials>,
    view: watch::Receiver<Arc<View>>,
    asks: mpsc::Sender<Ask>,
    clock: Clock,
    anew: CancellationToken,
    tasks: Tasks,
}

impl Office {
    pub(in crate::daemon) fn new(
        config: &Config,
        home: &Home,
        view: watch::Receiver<Arc<View>>,
        asks: mpsc::Sender<Ask>,
        clock: Clock,
        tasks: &Tasks,
    ) -> Self {
        Self {
            config: config.clone(),
            identity: Arc::clone(&home.identity),
            own: Arc::clone(&home.own),
            vault: Arc::clone(&home.vault),
            store: Arc::clone(&home.store),
            credentials: home.credentials.clone(),
            view,
            asks,
            clock,
            anew: CancellationToken::new(),
            tasks: tasks.group(LEAVING_MAX),
        }
    }

    /// Cancelled when the daemon is to begin anew.
    pub(in crate::daemon) fn anew(&self) -> CancellationToken {
        self.anew.clone()
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    pub(super) fn clock(&self) -> Clock {
        self.clock
    }

    pub(super) fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    pub(super) fn recipient(&self) -> String {
        self.own.recipient()
    }

    pub(super) fn vault_identity(&self) -> Zeroizing<String> {
        self.vault.identity()
    }

    pub(super) fn state(&self) -> Arc<ClusterState> {
        Arc::clone(&self.view.borrow().state)
    }

    pub(super) fn cluster_hash(&self) -> ClusterHash {
        ClusterHash::of(self.credentials.as_ref().map_or(ClusterId(0), |it| it.id))
    }

    /// The cluster's keys as they are now.
    pub(super) fn keys(&self) -> Keyring {
        let view = self.view.borrow();
        let keys = view.cluster.as_ref().map(|it| &it.keys);
        let stored = || self.credentials.as_ref().map(|it| it.keys.clone());
        keys.cloned().or_else(stored).unwrap_or_else(|| Keyring::new(Epoch(0), Key::default()))
    }

    /// Whether a node is a member.
    pub(super) fn knows(&self, node: NodeId) -> bool {
        let state = self.state();
        state.nodes().get(&node).is_some() && !state.has_left(node)
    }

    /// The key of a stream that somebody opens. Newcomers must have the newest.
    pub(super) fn psk(&self, prelude: &Prelude) -> Result<Key, StreamRefusal> {
        let keys = self.keys();
        let stale = match prelude.credential {
            Credential::Token(fields) => fields.epoch != keys.newest(),
            Credential::Secret { epoch, .. } => epoch != keys.newest(),
            Credential::Member { .. } => false,
        };
        let key = prelude.credential.psk(self.cluster_hash(), &keys)?;
        if stale { Err(StreamRefusal::UnknownEpoch) } else { Ok(key) }
    }

    /// The newest key that this node and a member both have.
    fn stream_key(&self, with: NodeId) -> Option<(Epoch, Key)> {
        let keys = self.keys();
        let view = self.view.borrow();
        let theirs = view.cluster.as_ref().and_then(|it| it.epochs.get(&with).copied());
        let shared = theirs.filter(|it| keys.contains(*it) && *it < keys.newest());
        let epoch = shared.unwrap_or_else(|| keys.newest());
        Some((epoch, keys.stream_key(epoch)?))
    }

    /// Asks the node.
    pub(super) async fn ask(&self, request: Request) -> Result<Response, Refusal> {
        let gone = || Refusal::Conflict("the daemon is stopping".to_owned());
        let (reply, answer) = oneshot::channel();
        self.asks.send(Ask { request, reply }).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Unwraps one of the cluster's keys, and keeps it.
    pub(super) async fn unwrap(&self, epoch: Epoch, sealed: &SealedSecret) -> Result<Key, String> {
        let path = SecretPath::ClusterKey(epoch.0, self.identity.id());
        let root = self.own.open(&path, sealed).map_err(|error| error.to_string())?;
        let root: [u8; 32] = root.as_slice().try_into().map_err(|_| "its length is wrong")?;
        let key = Zeroizing::new(root);
        self.keep_key(epoch, &key).await.map(|()| key)
    }

    /// Wraps one of the cluster's keys for a member, for all to keep.
    pub(super) async fn wrap(
        &self,
        epoch: Epoch,
        node: NodeId,
        recipient: &str,
    ) -> Result<(), String> {
        let keys = self.keys();
        let root = keys.get(epoch).ok_or("this node does not have it")?;
        let path = SecretPath::ClusterKey(epoch.0, node);
        let sealed = self.own.seal_for(recipient, &path, &**root);
        let sealed = sealed.map_err(|error| error.to_string())?;
        let kept = self.ask(Request::Keep(path, Some(sealed))).await;
        kept.map(drop).map_err(|refusal| refusal.to_string())
    }

    async fn keep_key(&self, epoch: Epoch, key: &Key) -> Result<(), String> {
        let mut keys = self.keys();
        keys.add(epoch, key.clone());
        self.in_store(move |store| store.keep_keys(&keys)).await
    }

    /// Does something with the disk, on a thread that may wait for it.
    async fn in_store(
        &self,
        deed: impl FnOnce(&Store) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<(), String> {
        let store = Arc::clone(&self.store);
        let done = tasks::blocking(move || deed(&store)).await;
        done.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }

    /// A new key, wrapped for all members but one.
    async fn rotation(&self, but: Option<NodeId>) -> Result<Rotation, Refusal> {
        let wrong = Refusal::Conflict;
        let epoch = Epoch(self.keys().newest().0 + 1);
        let mut root = Zeroizing::new([0; 32]);
        OsRng.fill_bytes(root.as_mut());
        let state = self.state();
        let mut wrapped = BTreeMap::new();
        for (&id, node) in state.nodes().iter() {
            if Some(id) == but || id == self.identity.id() || state.has_left(id) {
                continue;
            }
            let path = SecretPath::ClusterKey(epoch.0, id);
            let sealed = self.own.seal_for(&node.recipient, &path, &*root);
            wrapped.insert(id, sealed.map_err(|error| wrong(error.to_string()))?);
        }
        self.keep_key(epoch, &root).await.map_err(wrong)?;
        Ok(Rotation { epoch, key: root, wrapped })
    }

    /// A key that the cluster did not take does not stay on the disk, where the next start would find it.
    async fn or_drop_key(&self, taken: Result<Response, Refusal>) -> Result<Response, Refusal> {
        if taken.is_err() {
            let keys = self.keys();
            if self.in_store(move |store| store.keep_keys(&keys)).await.is_err() {
                tracing::warn!("a key that the cluster did not take is still on this node's disk");
            }
        }
        taken
    }

    fn in_a_cluster(&self) -> Result<&Credentials, Refusal> {
        let why = "this node is in no cluster: make one with `fizz init`, or come into one with `fizz join`";
        self.credentials.as_ref().ok_or_else(|| Refusal::Conflict(why.to_owned()))
    }

    fn in_no_cluster(&self) -> Result<(), Refusal> {
        match &self.credentials {
            None => Ok(()),
            Some(it) => Err(Refusal::Conflict(format!(
                "this node is in the cluster `{}` already: `fizz leave` it first",
                it.name
            ))),
        }
    }

    async fn found(&self) -> Result<(ClusterId, Zeroizing<String>), Refusal> {
        self.in_no_cluster()?;
        let wrong = Refusal::Conflict;
        let mut root = Zeroizing::new([0; 32]);
        OsRng.fill_bytes(root.as_mut());
        let id = ClusterId(u128::from(OsRng.next_u64()) << 64 | u128::from(OsRng.next_u64()));
        let name = self.store.cluster().map_err(|error| wrong(error.to_string()))?;
        let keys = Keyring::new(Epoch(0), root);
        let secret = ClusterSecret::of(id, &keys).map(|it| it.text()).unwrap_or_default();
        let credentials = Credentials { id, name, keys, vault: None };
        self.in_store(move |store| store.keep_credentials(&credentials)).await.map_err(wrong)?;
        Ok((id, secret))
    }

    async fn come_in(&self, address: &str, ticket: &str) -> Result<String, Refusal> {
        self.in_no_cluster()?;
        let wrong = Refusal::Conflict;
        let deployed: Vec<String> =
            self.state().deployments().iter().map(|(name, _)| name.to_string()).collect();
        if !deployed.is_empty() {
            return Err(wrong(format!(
                "this node has deployments of its own ({}), which would not come along: take them down \
                 first (`fizz down -p NAME`), and bring them up in the cluster",
                deployed.join(", ")
            )));
        }
        let ticket = if ticket.trim_start().to_ascii_lowercase().starts_with("fizz-secret-") {
            Ticket::Secret(ticket.parse().map_err(|error| wrong(format!("{error}")))?)
        } else {
            Ticket::Token(ticket.parse().map_err(|error| wrong(format!("{error}")))?)
        };
        join::join(self, address, ticket).await.map_err(wrong)
    }

    async fn go(&self, force: bool, patience: Millis) -> Result<(), Refusal> {
        self.in_a_cluster()?;
        let me = self.identity.id();
        let peers = self.living_peers();
        if peers.is_empty() && !force {
            return Err(Refusal::Conflict(
                "no other member is within reach: what this node knows would be lost to the cluster, and \
                 the others would go on counting it; use --force to leave all the same"
                    .to_owned(),
            ));
        }
        if !force {
            self.empty(patience).await?;
        }
        let mut last = None;
        for peer in peers {
            match self.ask_to_be_removed(peer).await {
                Ok(()) => {
                    last = None;
                    break;
                }
                Err(error) => last = Some(error),
            }
        }
        if let Some(error) = last.filter(|_| !force) {
            return Err(Refusal::Conflict(format!(
                "no member took the farewell, and the others would go on counting this node: {error}. If it \
                 was put out of the cluster already, use --force"
            )));
        }
        tracing::info!(node = %me, "this node leaves its cluster");
        self.ask(Request::Leave).await.map(drop)
    }

    fn living_peers(&self) -> Vec<NodeId> {
        let view = self.view.borrow();
        let standings = view.cluster.iter().flat_map(|it| it.standings.iter());
        let alive = standings.filter(|(_, it)| it.state == NodeState::Alive);
        alive.map(|(id, _)| *id).collect()
    }

    async fn ask_to_be_removed(&self, peer: NodeId) -> Result<(), String> {
        let stream = self.api_of(peer).await?;
        let path = format!("/v1/nodes/{}?force=true&rotate=false", self.identity.id());
        api::ask_member(stream, "DELETE", &path).await
    }

    /// Where a stream to a member may be opened, the likeliest first: at its address, and through the mesh, by which
    /// those are reached that are behind a NAT.
    pub(in crate::daemon) fn ways_to(
        &self,
        node: NodeId,
        address: Option<SocketAddr>,
    ) -> Vec<SocketAddr> {
        let view = self.view.borrow();
        let record = view.state.nodes().get(&node);
        let meshed = record.filter(|it| it.mesh.is_some()).and_then(|it| it.address);
        let through = view.overlay.zip(meshed);
        let through = through.map(|(plan, it)| SocketAddr::from((plan.of_node(node), it.port())));
        let mut ways: Vec<SocketAddr> = address.into_iter().chain(through).collect();
        if is_translated(&view.state, node) {
            ways.reverse();
        }
        ways
    }

    /// Opens a stream to a member, which is at this address, or else is reached through the mesh.
    pub(super) async fn open_to_any(
        &self,
        node: NodeId,
        address: Option<SocketAddr>,
        purpose: Purpose,
    ) -> Result<SecureStream, String> {
        let mut failed = None;
        for way in self.ways_to(node, address) {
            match self.open_to(node, Some(way), purpose).await {
                Ok(stream) => return Ok(stream),
                // That of the likeliest way says most.
                Err(why) => failed = failed.or(Some(why)),
            }
        }
        Err(failed.unwrap_or_else(|| "nobody knows where it is".to_owned()))
    }

    /// Opens a stream to a member, which is at this address.
    async fn open_to(
        &self,
        node: NodeId,
        address: Option<SocketAddr>,
        purpose: Purpose,
    ) -> Result<SecureStream, String> {
        let address = address.ok_or("nobody knows where it is")?.to_string();
        let (epoch, psk) = self.stream_key(node).ok_or("this node has no keys")?;
        let credential = Credential::Member { cluster: self.cluster_hash(), epoch };
        let prelude = Prelude { purpose, credential };
        let opened = stream::connect(&address, prelude, &psk, &self.identity, Some(node)).await;
        opened.map(|(stream, _)| stream).map_err(|error| error.to_string())
    }

    /// The node's picture as it is now.
    pub(in crate::daemon) fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.borrow())
    }

    /// Waits for the node's next picture.
    pub(in crate::daemon) async fn next_view(&self) {
        let mut view = self.view.clone();
        view.mark_unchanged();
        // A node that is gone shows nothing more.
        let _ = view.changed().await;
    }

    /// Opens a stream to the API of a member, which is to be at this address.
    pub(in crate::daemon) async fn dial_at(
        &self,
        node: NodeId,
        address: Option<SocketAddr>,
    ) -> Result<MemberStream, String> {
        Ok(Box::new(self.open_to(node, address, Purpose::Api).await?))
    }

    async fn api_of(&self, node: NodeId) -> Result<MemberStream, String> {
        Ok(Box::new(self.open_to_member(node, Purpose::Api).await?))
    }

    /// Opens a stream to a member, wherever it is.
    pub(in crate::daemon) async fn open_to_member(
        &self,
        node: NodeId,
        purpose: Purpose,
    ) -> Result<SecureStream, String> {
        let (address, known) = {
            let view = self.view.borrow();
            let seen = view.cluster.as_ref().and_then(|it| it.endpoints.get(&node).copied());
            let record = view.state.nodes().get(&node).cloned();
            let own = record.as_ref().and_then(|it| it.address);
            // Datagrams come from where the node listens, so streams go there, too.
            (seen.or(own), record.is_some())
        };
        if !known {
            return Err(format!("{node} is no member of this cluster"));
        }
        self.open_to_any(node, address, purpose).await
    }
}

impl api::Cluster for Office {
    fn which(&self) -> (String, Option<ClusterId>) {
        match &self.credentials {
            Some(it) => (it.name.clone(), Some(it.id)),
            // A name that cannot be read is nobody's trouble before there is a cluster.
            None => (self.store.cluster().unwrap_or_default(), None),
        }
    }

    fn init(&self) -> BoxFuture<'_, Result<(ClusterId, Zeroizing<String>), Refusal>> {
        Box::pin(self.found())
    }

    fn join<'a>(
        &'a self,
        address: &'a str,
        ticket: &'a str,
    ) -> BoxFuture<'a, Result<String, Refusal>> {
        Box::pin(self.come_in(address, ticket))
    }

    fn begin_anew(&self) {
        self.anew.cancel();
    }

    fn leave(&self, force: bool, patience: Millis) -> BoxFuture<'_, Result<(), Refusal>> {
        Box::pin(self.leave_to_the_end(force, patience))
    }

    fn create_token(&self, ttl: Millis, uses: u16) -> BoxFuture<'_, Result<NewToken, Refusal>> {
        Box::pin(self.make_token(ttl, uses))
    }

    fn tokens(&self) -> Vec<TokenStanding> {
        self.all_tokens()
    }

    fn revoke_token(&self, id: TokenId) -> BoxFuture<'_, Result<(), Refusal>> {
        Box::pin(self.revoke(id))
    }

    fn rotate(&self) -> BoxFuture<'_, Result<Epoch, Refusal>> {
        Box::pin(async {
            self.in_a_cluster()?;
            let rotation = self.rotation(None).await?;
            let epoch = rotation.epoch;
            let rotated = self.ask(Request::Rotate(Box::new(rotation))).await;
            self.or_drop_key(rotated).await.map(|_| epoch)
        })
    }

    fn remove(
        &self,
        node: NodeId,
        force: bool,
        rotate: bool,
    ) -> BoxFuture<'_, Result<(), Refusal>> {
        Box::pin(async move {
            self.in_a_cluster()?;
            let rotation =
                if rotate { Some(Box::new(self.rotation(Some(node)).await?)) } else { None };
            let removed = self.ask(Request::RemoveNode { node, force, rotation }).await;
            self.or_drop_key(removed).await.map(drop)
        })
    }

    fn dial(&self, node: NodeId) -> BoxFuture<'_, Result<MemberStream, String>> {
        Box::pin(self.api_of(node))
    }
}
