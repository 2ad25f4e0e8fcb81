//! Tells what comes to this node's published ports, and who takes it.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::fabric::{Carried, Fabric};
use crate::{
    api::{self, wire},
    model::{ContainerId, NodeId, ServiceKey},
    network::ingress::{Seen, Standing},
    node::View,
    state::ContainerRecord,
    topology::{Backend, Pool, Published},
};

/// What carries the published ports.
pub(super) struct Carrier {
    view: watch::Receiver<Arc<View>>,
    fabric: Option<Fabric>,
}

impl Carrier {
    pub(super) fn new(view: watch::Receiver<Arc<View>>, fabric: Option<Fabric>) -> Self {
        Self { view, fabric }
    }

    async fn look(&self) -> wire::NodeIngress {
        let view = self.view.borrow().clone();
        let (carried_by, carried, ports) = match &self.fabric {
            Some(fabric) => {
                let carried = fabric.carried(&view).await;
                let by = if carried.by_programs { "programs" } else { "firewall" };
                let ports = carried.pools.iter().map(|(port, pool)| {
                    let open = pool.open.iter().map(|it| (it, true));
                    let all = open.chain(pool.closed.iter().map(|it| (it, false)));
                    let replicas =
                        all.map(|(it, is_open)| replica(&view, &carried, port, it, is_open));
                    port_of(port, pool, replicas.collect())
                });
                let ports = ports.collect();
                (by, carried, ports)
            }
            None => ("runtime", Carried::default(), of_the_runtime(&view)),
        };
        let dropped = carried.dropped.into_iter().map(|(why, count)| (why.to_owned(), count));
        wire::NodeIngress {
            node: view.me.to_string(),
            node_name: name_of(&view, view.me),
            carried_by: carried_by.to_owned(),
            degraded: carried.degraded,
            ports,
            dropped: dropped.collect(),
        }
    }
}

impl api::Ingress for Carrier {
    fn carried(&self) -> BoxFuture<'_, wire::NodeIngress> {
        Box::pin(self.look())
    }
}

fn port_of(
    port: &Published,
    pool: &Pool,
    replicas: Vec<wire::IngressReplica>,
) -> wire::IngressPort {
    wire::IngressPort {
        port: port.port,
        protocol: port.protocol.name().to_owned(),
        host_ip: port.host_ip.map(|it| it.to_string()),
        services: pool.services.iter().map(ServiceKey::to_string).collect(),
        local_first: pool.local_first,
        affinity: pool.affinity,
        allowed: pool.allowed.iter().map(ToString::to_string).collect(),
        replicas,
    }
}

fn replica(
    view: &View,
    carried: &Carried,
    port: &Published,
    backend: &Backend,
    is_open: bool,
) -> wire::IngressReplica {
    let at = SocketAddr::from((backend.address, backend.port));
    let seen = carried.seen.get(&(port.protocol, at)).copied().unwrap_or_default();
    let state = match seen.standing {
        _ if !is_open => "closed",
        Standing::Well => "open",
        Standing::Refused => "refused",
        Standing::Silent => "silent",
    };
    told(view, backend.container, backend.node, at.to_string(), state, seen)
}

/// The ports that this node's runtime publishes, each for a container of its own.
fn of_the_runtime(view: &View) -> Vec<wire::IngressPort> {
    let mut ports: BTreeMap<Published, (Pool, Vec<wire::IngressReplica>)> = BTreeMap::new();
    let is_here = |it: &&Arc<ContainerRecord>| it.node == view.me && it.state.is_up();
    for record in view.state.containers().filter(is_here) {
        for port in &record.ports {
            let key = Published::of(port);
            let (pool, replicas) = ports.entry(key).or_default();
            pool.services.insert(record.service.clone());
            let at = record.addresses.values().next();
            let at = at.map_or_else(String::new, |it| format!("{it}:{}", port.target));
            replicas.push(told(view, record.id, view.me, at, "open", Seen::default()));
        }
    }
    ports.into_iter().map(|(port, (pool, replicas))| port_of(&port, &pool, replicas)).collect()
}

fn told(
    view: &View,
    container: ContainerId,
    node: NodeId,
    address: String,
    state: &str,
    seen: Seen,
) -> wire::IngressReplica {
    let record = view.state.container(container);
    wire::IngressReplica {
        container: container.to_string(),
        name: record.map(|it| it.name.to_string()).unwrap_or_default(),
        node_name: name_of(view, node),
        address,
        state: state.to_owned(),
        open: seen.open,
        taken: seen.taken,
        refused: seen.refused,
        silent: seen.silent,
        resets: seen.resets,
    }
}

fn name_of(view: &View, node: NodeId) -> String {
    view.state.nodes().get(&node).map_or_else(|| node.to_string(), |it| it.name.to_string())
}
