//! A node that is in no cluster.

use std::path::Path;

use fizz::{
    api::{Cluster, Ingress, MemberStream, NewToken, TokenStanding, wire},
    daemon::{args::DaemonArgs, config::Config, doctor::Doctor},
    gossip::Epoch,
    model::{ClusterId, Millis, NodeId, TokenId},
    node::Refusal,
};
use futures_util::{FutureExt, future::BoxFuture};
use zeroize::Zeroizing;

/// A node that is in no cluster: there is nobody to ask, and nothing to make tokens with. What a cluster
/// does is told in `tests/e2e/cluster`, with real ones.
pub(crate) struct NoCluster;

/// What looks at this machine, for a daemon that keeps its data here and has no runtime.
pub(crate) fn doctor(directory: &Path) -> Doctor {
    let args = DaemonArgs {
        config: Some("/dev/null".into()),
        data_dir: Some(directory.to_owned()),
        runtime_socket: Some(directory.join("no-docker")),
        ..DaemonArgs::default()
    };
    Doctor::outside(Config::load(&args).unwrap())
}

type Answer<'a, T> = BoxFuture<'a, Result<T, Refusal>>;

fn refused<'a, T: Send + 'a>() -> Answer<'a, T> {
    let why = Refusal::Conflict("this node is in no cluster".to_owned());
    async { Err(why) }.boxed()
}

impl Ingress for NoCluster {
    fn carried(&self) -> BoxFuture<'_, wire::NodeIngress> {
        let (node, carried_by) = (NodeId(7).to_string(), "runtime".to_owned());
        let (node_name, degraded) = ("here".to_owned(), None);
        let (ports, dropped) = <_>::default();
        let told = wire::NodeIngress { node, node_name, carried_by, degraded, ports, dropped };
        async { told }.boxed()
    }
}

impl Cluster for NoCluster {
    fn which(&self) -> (String, Option<ClusterId>) {
        ("fizz".to_owned(), None)
    }

    fn init(&self) -> Answer<'_, (ClusterId, Zeroizing<String>)> {
        refused()
    }

    fn join<'a>(&'a self, _: &'a str, _: &'a str) -> Answer<'a, String> {
        refused()
    }

    fn begin_anew(&self) {}

    fn leave(&self, _: bool, _: Millis) -> Answer<'_, ()> {
        refused()
    }

    fn create_token(&self, _: Millis, _: u16) -> Answer<'_, NewToken> {
        refused()
    }

    fn tokens(&self) -> Vec<TokenStanding> {
        vec![]
    }

    fn revoke_token(&self, id: TokenId) -> Answer<'_, ()> {
        async move { Err(Refusal::NotFound { what: "token", name: id.to_string() }) }.boxed()
    }

    fn rotate(&self) -> Answer<'_, Epoch> {
        refused()
    }

    fn remove(&self, _: NodeId, _: bool, _: bool) -> Answer<'_, ()> {
        refused()
    }

    fn dial(&self, node: NodeId) -> BoxFuture<'_, Result<MemberStream, String>> {
        async move { Err(format!("{node} is no member of this cluster")) }.boxed()
    }
}
