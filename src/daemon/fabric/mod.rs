//! The mesh of this node: makes the kernel, the firewall and the names match what is agreed.
//!
//! Level, not edge: whenever what is agreed changes, and now and then though nothing does, all is said anew, and
//! what fits stays as it is. A daemon that starts finds everything as the last one left it; containers lose no
//! packet by that.

mod endpoints;
mod ingress;
mod names;
mod underlay;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ipnet::IpNet;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, Interval, MissedTickBehavior, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{
    config::{ClusterSettings, Config, NetworkDriver},
    disk::DiskError,
    identity::{self, IdentityError, MeshKey},
    tasks::{self, Tasks},
};
use crate::{
    gossip::Epoch,
    model::{ClusterId, ContainerId, NodeId},
    network::{
        Gateway, Namespace, NetworkError, Port,
        dns::DnsError,
        firewall::{self, FirewallError, Rules},
        host,
        wireguard::{self, Chosen, Device, PeerSeen, SecretKey, Userspace, Wanted},
    },
    node::{Event, MeshSeat, View},
    state::ClusterState,
    topology::{
        Known, MTU_BYTES_MIN, Mesh, Plan, PlanError, Pool, Published, WIREGUARD_BYTES, gateway,
        zone::Order,
    },
};
pub(super) use ingress::Carried;
use ingress::{Steering, SteeringError};
use names::Names;
pub(super) use names::{Answering, RESOLV_CONF};
use underlay::Watch;

/// The links that are this node's own.
const GATEWAY: &str = "fizz0";
pub(super) const MESH: &str = "fizz-mesh";

/// What the names of containers' links begin with.
const PORTS: &str = "fz";

/// Stands for any container's link.
pub(super) const ANY_PORT: &str = "fz...";

/// How long changes are collected before they are made.
const COLLECTED: Duration = Duration::from_millis(20);

/// Between two looks at all that somebody may have changed.
const MEND_INTERVAL: Duration = Duration::from_secs(60);

/// Between two questions to replicas that did not answer.
const ASK_INTERVAL: Duration = Duration::from_millis(500);

/// How long a container waits for its place before it is not started.
const PLACE_MAX: Duration = Duration::from_secs(15);

/// Whoever is silent for so long is sent something, so that what is between goes on letting it through.
const KEEPALIVE_SECONDS: u16 = 25;

/// Why this node can't be in the mesh.
#[derive(Debug, thiserror::Error)]
pub enum FabricError {
    /// The ranges do not do.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The kernel would not, or nothing speaks WireGuard.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The tables could not be set.
    #[error(transparent)]
    Firewall(#[from] FirewallError),
    /// Published ports lead nowhere, or elsewhere.
    #[error("published ports are not as agreed: {0}")]
    Ingress(#[from] SteeringError),
    /// Names are not answered.
    #[error("containers find no names: {0}")]
    Names(#[from] DnsError),
    /// There is no key.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A directory cannot be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The host does not forward.
    #[error("can't have this host forward packets: {0}")]
    Forward(std::io::Error),
}

/// This node's part of the mesh. Cheap to clone.
#[derive(Clone)]
pub(super) struct Fabric(Arc<Inner>);

struct Inner {
    me: NodeId,
    plan: Plan,
    /// Where its key is kept.
    data_dir: PathBuf,
    key: Mutex<MeshKey>,
    settings: ClusterSettings,
    /// Which of a service's addresses come first.
    order: Order,
    device: Device,
    /// It is slower than this host could be.
    degraded: bool,
    host: Namespace,
    mtu: u32,
    port: u16,
    /// The ports by which members speak to each other.
    members: BTreeSet<u16>,
    /// The containers that have their place: what is set up knows them.
    placed: watch::Sender<BTreeSet<Ipv4Addr>>,
    /// What carries the published ports.
    steering: tokio::sync::Mutex<Steering>,
    /// What is agreed, as far as this node does as it says.
    followed: watch::Sender<Option<Arc<ClusterState>>>,
    /// Where names are answered, and which resolvers ask there in turn.
    answering: Mutex<Answering>,
}

impl Fabric {
    /// Chooses a device and looks whether the ranges do, before anything is changed. `None`: this node is to be
    /// in no mesh.
    pub(super) async fn open(
        config: &Config,
        cluster: ClusterId,
        newest: Epoch,
        me: NodeId,
    ) -> Result<Option<Self>, FabricError> {
        let driver = match config.network.driver {
            NetworkDriver::Bridge => return Ok(None),
            NetworkDriver::Auto => wireguard::Driver::Auto,
            NetworkDriver::Wireguard => wireguard::Driver::Wireguard,
            NetworkDriver::Userspace => wireguard::Driver::Userspace,
        };
        let plan = Plan::new(cluster, config.network.overlay, config.network.node_prefix)?;
        let host = Namespace::here()?;
        let routes = host::ways(&host, is_ours).await?.into_iter().filter(|it| !it.own);
        plan.check(routes.map(|it| it.to))?;
        let key = Mutex::new(identity::load_or_make_mesh_key(&config.data_dir, newest)?);
        let folder = config.run_dir.join("wireguard");
        let userspace = Userspace::new("/proc/self/exe", folder);
        let Chosen { device, degraded } = wireguard::choose(driver, userspace, &host).await?;
        let found =
            host::mtu_outward(&host).await?.saturating_sub(WIREGUARD_BYTES).max(MTU_BYTES_MIN);
        let mtu = config.network.mtu.unwrap_or(found);
        host::forward().map_err(FabricError::Forward)?;
        match (&device, degraded) {
            (Device::Kernel, _) => info!(mtu, "the mesh is the kernel's WireGuard"),
            (Device::Userspace(_), false) => info!(mtu, "the mesh is a WireGuard process"),
            (Device::Userspace(_), true) => warn!(
                mtu,
                "the mesh is a WireGuard process, as this kernel has no WireGuard: it is slower; install a kernel with the module `wireguard`"
            ),
        }
        let port = config.network.port;
        let members = [config.cluster.listen.port(), port].into();
        let placed = watch::Sender::new(BTreeSet::new());
        let (followed, answering) = (watch::Sender::new(None), Mutex::default());
        let inner = Inner {
            me,
            plan,
            data_dir: config.data_dir.clone(),
            key,
            settings: config.cluster.clone(),
            order: config.network.dns_order.into(),
            device,
            degraded,
            host,
            mtu,
            port,
            members,
            placed,
            steering: tokio::sync::Mutex::default(),
            followed,
            answering,
        };
        Ok(Some(Self(Arc::new(inner))))
    }

    /// What the node needs to know.
    pub(super) fn seat(&self, advertised: Option<SocketAddr>) -> MeshSeat {
        MeshSeat {
            plan: self.0.plan,
            key: self.0.key().secret.public(),
            endpoints: endpoints::own(advertised.map(|it| it.ip()), self.0.port, &self.0.plan),
            degraded: self.0.degraded,
        }
    }

    /// Where a container asks for names, and its way out.
    pub(super) fn gateway_of(&self, address: Ipv4Addr) -> Ipv4Addr {
        gateway(self.0.plan.block_of(address))
    }

    /// Gives a container its place, once all that it needs to work there is set up.
    pub(super) async fn place(
        &self,
        container: ContainerId,
        address: Ipv4Addr,
        namespace: &Path,
    ) -> Result<(), String> {
        let mut placed = self.0.placed.subscribe();
        let there = timeout(PLACE_MAX, placed.wait_for(|it| it.contains(&address))).await;
        let there = there.is_ok_and(|it| it.is_ok());
        if !there {
            return Err(format!(
                "this node's network is not ready for {address}: its log says why"
            ));
        }
        let inside = Namespace::open(namespace).map_err(|error| error.to_string())?;
        let port = self.port_of(container, address);
        port.ensure(&self.0.host, &inside).await.map_err(|error| error.to_string())
    }

    /// The published ports, and what carries them and came there.
    pub(super) async fn carried(&self, view: &View) -> Carried {
        let unreachable: BTreeSet<NodeId> = view.unreachable().collect();
        let known = Known::new(self.0.plan, self.0.me, &view.state, &view.projects, &unreachable);
        self.0.steering.lock().await.carried(known.ingress())
    }

    /// Why the firewall carries the published ports, though programs were to.
    pub(super) async fn degraded(&self) -> Option<String> {
        self.0.steering.lock().await.degraded()
    }

    /// Waits until this node leads nobody to a container any more: neither by its names nor by its ports.
    pub(super) async fn let_go(&self, container: ContainerId) {
        let leads = |state: &ClusterState| {
            state.container(container).is_some_and(|it| it.state.is_up() && !it.is_leaving())
        };
        let mut followed = self.0.followed.subscribe();
        let is_so = |it: &Option<Arc<ClusterState>>| it.as_ref().is_some_and(|it| !leads(it));
        // It lives as long as this does.
        let _ = followed.wait_for(is_so).await;
    }

    fn port_of(&self, container: ContainerId, address: Ipv4Addr) -> Port {
        let (plan, way_out) = (self.0.plan, self.gateway_of(address));
        Port {
            name: link_of(container),
            inside: "eth0".to_owned(),
            addresses: [IpAddr::V4(address), IpAddr::V6(plan.v6(address))].map(IpNet::from).into(),
            gateways: [IpAddr::V4(way_out), IpAddr::V6(plan.v6(way_out))].into(),
            mtu: self.0.mtu,
        }
    }

    /// Follows what is agreed until it is told to stop, and tells the node what changes under the mesh.
    pub(super) async fn run(
        self,
        mut view: watch::Receiver<Arc<View>>,
        events: mpsc::Sender<Event>,
        tasks: Tasks,
        stop: CancellationToken,
    ) {
        let mut made = Made::default();
        let mut names = Names::new(tasks, self.0.order);
        // The kernel takes its time to look at the programs: the mesh is there first.
        let mut opened = false;
        let mut watch = Watch::new(&self.0.host);
        let mut mend = every(MEND_INTERVAL);
        let mut ask = every(ASK_INTERVAL);
        loop {
            let seen = view.borrow_and_update().clone();
            self.renew_key(&seen, &mut made).await;
            match self.follow(&seen, &mut made, &mut names).await {
                Ok(()) => made.complaint = None,
                Err(why) => {
                    made.known = None;
                    let why = why.to_string();
                    // Once, and not with each attempt.
                    if made.complaint.as_ref() != Some(&why) {
                        error!(%why, "the network is not as it should be; trying again");
                    }
                    made.complaint = Some(why);
                }
            }
            if !opened {
                *self.0.steering.lock().await = Steering::open().await;
                (opened, made.known) = (true, None);
                continue;
            }
            if made.next_look.is_none_or(|at| at <= Instant::now()) {
                self.look_under(&seen, &made, &mut watch, &events).await;
                made.next_look = Some(Instant::now() + watch.until_next());
            }
            let next_look = made.next_look.unwrap_or_else(Instant::now);
            tokio::select! {
                () = stop.cancelled() => return,
                changed = view.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    tokio::time::sleep(COLLECTED).await;
                }
                () = tokio::time::sleep_until(next_look) => {}
                () = watch.moved() => made.next_look = None,
                _ = ask.tick() => self.ask(&seen, &events).await,
                _ = mend.tick() => {
                    let Made { complaint, next_look, .. } = made;
                    made = Made { complaint, next_look, ..Made::default() };
                }
            }
        }
    }

    /// Asks replicas that did not take connections, and tells the node how they take them now.
    async fn ask(&self, view: &View, events: &mpsc::Sender<Event>) {
        let changes = self.0.steering.lock().await.ask().await.unwrap_or_else(|why| {
            warn!(%why, "replicas that did not answer are not asked");
            vec![]
        });
        for (at, how) in changes {
            let mut given = view.state.ip_allocations();
            let Some(found) = given.find(|it| it.v4().map(IpAddr::V4) == Some(at.ip())) else {
                continue;
            };
            // A node that is gone needs to be told nothing.
            let _ = events.send(Event::Reception(found.container, how)).await;
        }
    }

    /// With each of the cluster's keys the device gets another, too.
    async fn renew_key(&self, view: &View, made: &mut Made) {
        let inner = &*self.0;
        let record = view.state.nodes().get(&inner.me);
        let newest = record.map_or(Epoch(0), |it| Epoch(it.key_epoch));
        if newest <= inner.key().epoch {
            return;
        }
        let folder = inner.data_dir.clone();
        let renewed =
            tasks::blocking(move || identity::load_or_make_mesh_key(&folder, newest)).await;
        match renewed {
            Ok(Ok(key)) => {
                info!(epoch = %newest, "the mesh's device has another key");
                *inner.key.lock().unwrap_or_else(PoisonError::into_inner) = key;
                (made.mesh, made.known, made.next_look) = (None, None, None);
            }
            Ok(Err(error)) => warn!(%error, "the mesh's device keeps its key"),
            Err(error) => warn!(%error, "the mesh's device keeps its key"),
        }
    }

    /// Tells the node what has changed under the mesh.
    async fn look_under(
        &self,
        view: &View,
        made: &Made,
        watch: &mut Watch,
        events: &mpsc::Sender<Event>,
    ) {
        let Some(mesh) = &made.mesh else { return };
        let unreachable: BTreeSet<NodeId> = view.unreachable().collect();
        if let Some(underlay) = watch.look(&self.0, mesh, view, &unreachable).await {
            // A node that is gone needs to be told nothing.
            let _ = events.send(Event::Underlay(Box::new(underlay))).await;
        }
    }

    /// Makes all as it is agreed.
    async fn follow(
        &self,
        view: &View,
        made: &mut Made,
        names: &mut Names,
    ) -> Result<(), FabricError> {
        let inner = &*self.0;
        let unreachable: BTreeSet<NodeId> = view.unreachable().collect();
        // Most pictures of a node differ in what is nothing to the network.
        let same = |(state, those): &(Arc<ClusterState>, BTreeSet<NodeId>)| {
            Arc::ptr_eq(state, &view.state) && *those == unreachable
        };
        if made.known.as_ref().is_some_and(same) {
            return Ok(());
        }
        let known = Known::new(inner.plan, inner.me, &view.state, &view.projects, &unreachable);
        // The ways to containers begin at the gateways' addresses, and go with them.
        let gateways = made.mesh.as_ref().map(|it| &it.gateways);
        let anew = gateways != Some(&known.mesh().gateways);
        if made.mesh.as_ref() != Some(known.mesh()) {
            self.ensure_links(known.mesh()).await?;
            (made.mesh, made.next_look) = (Some(known.mesh().clone()), None);
        }
        let pools = known.ingress();
        let mut steering = inner.steering.lock().await;
        let rules = self.rules(&known, steering.rest(&pools));
        let here: BTreeSet<Ipv4Addr> = rules.isolation.here.keys().copied().collect();
        for (id, address) in known.addresses().iter().filter(|it| anew && here.contains(it.1)) {
            self.port_of(*id, *address).ensure_at_node(&inner.host).await?;
        }
        if made.rules.as_ref() != Some(&rules) {
            firewall::apply(&rules).await?;
            if made.rules.is_none() {
                firewall::let_pass(&[&format!("{PORTS}+"), MESH]).await?;
            }
            made.rules = Some(rules);
        }
        let steered = steering.follow(inner, view, &known, pools).await;
        drop(steering);
        let named = names.follow(&known).await;
        *inner.answering.lock().unwrap_or_else(PoisonError::into_inner) = names.answering();
        // One that finds no names is better than none.
        inner.placed.send_if_modified(|it| {
            let changed = *it != here;
            *it = here;
            changed
        });
        named?;
        steered?;
        inner.followed.send_replace(Some(Arc::clone(&view.state)));
        made.known = Some((Arc::clone(&view.state), unreachable));
        Ok(())
    }

    fn rules(&self, known: &Known<'_>, published: BTreeMap<Published, Pool>) -> Rules {
        let isolation = known.isolation();
        let links = known.addresses().iter().filter(|(_, it)| isolation.here.contains_key(it));
        let links = links.map(|(id, it)| (*it, link_of(*id))).collect();
        Rules {
            plan: self.0.plan,
            ports: PORTS,
            mesh: MESH.to_owned(),
            gateway: known.mesh().blocks.first().copied().map(gateway),
            members: self.0.members.clone(),
            isolation,
            published,
            links,
        }
    }

    async fn ensure_links(&self, mesh: &Mesh) -> Result<(), FabricError> {
        let inner = &*self.0;
        let (name, addresses) = (GATEWAY.to_owned(), mesh.gateways.clone());
        Gateway { name, addresses, mtu: inner.mtu }.ensure(&inner.host).await?;
        inner.device.ensure(&inner.host, &inner.wanted(mesh, &inner.key().secret)).await?;
        host::lead_on(MESH).map_err(FabricError::Forward)
    }

    /// Where names are answered, and which resolvers ask there in turn.
    pub(super) fn answering(&self) -> Answering {
        self.0.answering.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What its device says of the others, by their keys.
    pub(super) async fn peers(&self) -> Result<Vec<PeerSeen>, NetworkError> {
        self.0.device.peers(&self.0.host, MESH).await
    }

    /// Where the node of this id is in the mesh, and the largest packet to there.
    pub(super) fn way_to(&self, node: NodeId) -> (Ipv6Addr, u32) {
        (self.0.plan.of_node(node), self.0.device.mtu(self.0.mtu))
    }

    /// Takes all away: this node is out of its cluster.
    pub(super) async fn close(&self) {
        let inner = &*self.0;
        let closed = async {
            inner.device.remove(&inner.host, MESH).await?;
            Gateway::remove(GATEWAY, &inner.host).await?;
            firewall::remove().await?;
            Steering::close().map_err(SteeringError::Ingress)?;
            Ok::<(), FabricError>(())
        };
        if let Err(error) = closed.await {
            warn!(%error, "the mesh's links are left behind");
        }
    }
}

impl Inner {
    /// The device's key as it is now.
    fn key(&self) -> MeshKey {
        self.key.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn wanted<'a>(&self, mesh: &'a Mesh, secret: &'a SecretKey) -> Wanted<'a> {
        Wanted {
            name: MESH,
            secret,
            port: self.port,
            mtu: self.mtu,
            mesh,
            keepalive_seconds: KEEPALIVE_SECONDS,
        }
    }
}

/// What was made last, as far as nobody else can have changed it since.
#[derive(Default)]
struct Made {
    /// From what: what was agreed, and who could not be reached.
    known: Option<(Arc<ClusterState>, BTreeSet<NodeId>)>,
    mesh: Option<Mesh>,
    rules: Option<Rules>,
    complaint: Option<String>,
    /// When peers are to be looked at next; now where not set.
    next_look: Option<Instant>,
}

/// Ticks from the first interval's end on; those that were missed are left out.
fn every(interval: Duration) -> Interval {
    let mut ticks = tokio::time::interval_at(Instant::now() + interval, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Whether a link of the host is this node's own.
pub(super) fn is_ours(link: &str) -> bool {
    [GATEWAY, MESH].contains(&link) || link.starts_with(PORTS)
}

/// The host's end of a container's link: a name of at most 15 bytes (`IFNAMSIZ` of linux/if.h).
fn link_of(container: ContainerId) -> String {
    format!("{PORTS}{:012x}", container.0 & 0xffff_ffff_ffff)
}
