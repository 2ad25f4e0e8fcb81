//! The names: a zone made from what is agreed, and the server that answers from it, at the addresses that the
//! node has now.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

use ipnet::IpNet;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{
    daemon::tasks::Tasks,
    network::dns::{Config, DnsError, Loops, Server, Sockets, Zones},
    topology::{
        Known,
        zone::{Order, Zone},
    },
};

/// The port that names are asked at (RFC 1035, section 4.2).
const PORT: u16 = 53;

/// The host's list of resolvers.
pub(in crate::daemon) const RESOLV_CONF: &str = "/etc/resolv.conf";

/// The names of this node.
pub(super) struct Names {
    tasks: Tasks,
    order: Order,
    running: Option<Running>,
}

struct Running {
    at: BTreeSet<IpAddr>,
    zones: Zones,
    loops: Loops,
    stop: CancellationToken,
    /// Closed once it has let go of where it was.
    ended: oneshot::Receiver<()>,
}

/// Where names are answered, and which resolvers ask there in turn.
#[derive(Clone, Debug, Default)]
pub(in crate::daemon) struct Answering {
    /// The addresses; none while nothing is answered.
    pub(in crate::daemon) at: BTreeSet<IpAddr>,
    /// The resolvers.
    pub(in crate::daemon) loops: Option<Loops>,
}

impl Names {
    /// How it is now.
    pub(super) fn answering(&self) -> Answering {
        let running = self.running.as_ref();
        running.map_or_else(Answering::default, |it| Answering {
            at: it.at.clone(),
            loops: Some(it.loops.clone()),
        })
    }

    pub(super) fn new(tasks: Tasks, order: Order) -> Self {
        Self { tasks, order, running: None }
    }

    /// Answers from what is agreed now, where the node is now.
    pub(super) async fn follow(&mut self, known: &Known<'_>) -> Result<(), DnsError> {
        let zone = Arc::new(Zone::new(&known.facts(self.order)));
        let (plan, mesh) = (known.plan(), known.mesh());
        let gateways = mesh.gateways.iter().map(IpNet::addr);
        let at: BTreeSet<IpAddr> = gateways.chain(mesh.addresses.iter().copied()).collect();
        if let Some(running) = self.running.as_ref().filter(|it| it.at == at) {
            running.zones.set(zone);
            return Ok(());
        }
        if let Some(before) = self.running.take() {
            before.stop.cancel();
            drop(before.ended.await);
        }
        let addresses: Vec<SocketAddr> = at.iter().map(|it| SocketAddr::new(*it, PORT)).collect();
        let sockets = Sockets::bind(&addresses).await?;
        let config = Config {
            sockets,
            askers: vec![plan.overlay().into(), plan.local().into()],
            resolv_conf: PathBuf::from(RESOLV_CONF),
        };
        let (server, zones) = Server::new(config, zone);
        let loops = server.loops();
        let stop = self.tasks.stopping().child_token();
        let (end, ended) = oneshot::channel::<()>();
        let told = stop.clone();
        self.tasks.spawn("dns", async move {
            server.run(told).await;
            drop(end);
        });
        info!(?at, "answers names");
        self.running = Some(Running { at, zones, loops, stop, ended });
        Ok(())
    }
}
