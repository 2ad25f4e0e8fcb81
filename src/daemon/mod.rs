//! `fizz daemon`: the shell around a [`Node`].
//!
//! One [loop](core) turns. Around it, each at the other end of a bounded queue: the API that asks, the
//! [observer] that follows the container runtime, the [executor] and the [prober] that carry out what
//! the node decides. Stopping or killing the daemon touches no container: the next one finds them by
//! their labels and goes on.
//!
//! Signals: SIGTERM and SIGINT stop it. SIGHUP is said to do nothing: configuration is read at the
//! start only, and a restart costs no container anything.

pub mod args;
mod carrier;
pub mod clock;
mod commands;
mod commits;
pub mod config;
mod core;
mod disk;
pub mod doctor;
mod executor;
mod fabric;
pub mod facts;
pub mod identity;
mod logging;
mod members;
mod membership;
mod notices;
mod observer;
mod prober;
mod sight;
pub mod socket;
pub mod store;
pub mod stream;
mod systemd;
pub mod tasks;

use std::{io::Write as _, net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use rand_core::{OsRng, RngCore};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
};
use tracing::{info, warn};

use self::core::{Core, Ended};
use crate::{
    api::{self, Backend, EventLog, Limits, Metrics, Sealer},
    node::{Event, Node, Now, Seat, View},
    runtime::{self, Containerd, Docker, Flavour, NoRuntime, Runtime},
    secrets::Vault,
    state::ClusterState,
};
use args::DaemonArgs;
use carrier::Carrier;
use clock::Clock;
use commits::Commits;
use config::{Config, ConfigError, RuntimeKind};
use disk::{DirectoryLock, DiskError};
use doctor::{Doctor, Inside};
use executor::{Executor, Means};
use fabric::Fabric;
use identity::{Identity, IdentityError, MEMBER_KEY_FILE, SECRETS_KEY_FILE};
use members::{Line, Listener, Members, MembersError, Office};
use observer::Observer;
use prober::Prober;
use sight::Eyes;
use socket::SocketError;
use store::{Credentials, Store, StoreError};
use tasks::Tasks;

/// Threads that tasks run on, and threads for what blocks: commits and small files.
const WORKER_THREADS: usize = 2;
const BLOCKING_THREADS_MAX: usize = 8;

/// Tasks that last as long as the daemon.
const LASTING_TASKS_MAX: usize = 16;

/// Requests and events that wait for the node.
const ASKS_QUEUED_MAX: usize = 64;
const EVENTS_QUEUED_MAX: usize = 1024;

/// Datagrams that wait for the node; more are lost.
const DATAGRAMS_QUEUED_MAX: usize = 2048;

/// Streams of other members that wait for the API.
const STREAMS_QUEUED_MAX: usize = 16;

/// How long the daemon's tasks may take to end.
const STOP_MAX: Duration = Duration::from_secs(10);

/// Why the daemon did not start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Told something wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A directory cannot be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// No identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// No state.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// Other members cannot reach this node.
    #[error(transparent)]
    Members(#[from] MembersError),
    /// This node can't be in the mesh.
    #[error(
        "can't be in the cluster's mesh: {0}; set `network.driver: bridge` for a cluster whose networks are each of one node"
    )]
    Fabric(#[from] fabric::FabricError),
    /// The system would not.
    #[error("can't start: {0}")]
    System(#[from] std::io::Error),
}

/// Runs the daemon until it is told to stop.
#[must_use]
pub fn run(args: &DaemonArgs) -> ExitCode {
    match start(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error may be gone, and then nobody can be told.
            let _ = writeln!(std::io::stderr(), "fizz daemon: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: &DaemonArgs) -> Result<(), DaemonError> {
    let config = Config::load(args)?;
    let _flush = logging::start(&config.logging);
    let threads = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_name("fizz")
        .enable_all()
        .build()?;
    threads.block_on(live(&config))
}

/// One life of a node after the other: it begins anew when it comes into a cluster, or goes out of one.
async fn live(config: &Config) -> Result<(), DaemonError> {
    let clock = Clock::start();
    while let Ended::Anew = once(config, clock).await? {
        info!("begins anew");
    }
    info!("fizz has stopped; containers go on");
    Ok(())
}

async fn once(config: &Config, clock: Clock) -> Result<Ended, DaemonError> {
    let (home, state) = Home::open(config)?;
    let socket = socket::listen(&config.api)?;
    let me = home.identity.id();
    let tasks = Tasks::new(LASTING_TASKS_MAX);
    let assembly = assemble(config, &home, state, clock, &tasks).await?;
    let Assembly { core, backend, observer, office, listener, fabric, events, view } = assembly;
    tasks.spawn("observer", observer.run());
    if let Some(fabric) = fabric.clone() {
        tasks.spawn_to_end("fabric", fabric.run(view, events, tasks.clone(), tasks.stopping()));
    }
    let (streams, members) = mpsc::channel(STREAMS_QUEUED_MAX);
    if let Some(listener) = listener {
        listener.start(&streams, &tasks);
    }
    let shutdown = tasks.stopping().cancelled_owned();
    let api = api::serve(socket.listener, members, backend, Limits::default(), shutdown);
    tasks.spawn_to_end("api", api);
    listen_for_signals(&tasks)?;
    info!(
        node = %me,
        name = %config.node.name,
        cluster = home.store.cluster()?,
        runtime = ?config.runtime.kind,
        socket = %config.api.socket.display(),
        version = env!("CARGO_PKG_VERSION"),
        "fizz runs"
    );
    systemd::ready(&format!("node {}", config.node.name));
    let result = core.run(tasks.stopping(), office.anew()).await;
    if !matches!(result, Ok(Ended::Anew | Ended::Gone)) {
        systemd::stopping();
    }
    tasks.stop(STOP_MAX).await;
    match result? {
        Ended::Gone => {
            home.store.leave()?;
            if let Some(fabric) = fabric {
                fabric.close().await;
            }
            Ok(Ended::Anew)
        }
        ended @ (Ended::Stopped | Ended::Anew) => Ok(ended),
    }
}

/// What the data directory holds.
struct Home {
    identity: Arc<Identity>,
    /// Opens what is wrapped for this node alone.
    own: Arc<Vault>,
    vault: Arc<Vault>,
    store: Arc<Store>,
    credentials: Option<Credentials>,
    _lock: DirectoryLock,
}

impl Home {
    fn open(config: &Config) -> Result<(Self, ClusterState), DaemonError> {
        let data_dir = &config.data_dir;
        disk::make_directory(data_dir, 0o700)?;
        let lock = DirectoryLock::take(data_dir)?;
        let identity = Arc::new(identity::load_or_make(data_dir)?);
        let (store, state) = Store::open(data_dir, config.cluster.name.as_deref())?;
        let (cluster, credentials) = (store.cluster()?, store.credentials()?);
        let shared = credentials.as_ref().and_then(|it| it.vault.clone());
        let vault = match shared {
            Some(text) => identity::vault(&text, &cluster)?,
            None => identity::load_or_make_vault(data_dir, SECRETS_KEY_FILE, &cluster)?,
        };
        let own = Arc::new(identity::load_or_make_vault(data_dir, MEMBER_KEY_FILE, &cluster)?);
        let (vault, store) = (Arc::new(vault), Arc::new(store));
        Ok((Self { identity, own, vault, store, credentials, _lock: lock }, state))
    }
}

/// Everything that runs.
struct Assembly {
    core: Core,
    backend: Backend,
    observer: Observer,
    office: Arc<Office>,
    listener: Option<Listener>,
    fabric: Option<Fabric>,
    events: mpsc::Sender<Event>,
    view: watch::Receiver<Arc<View>>,
}

/// This node's part of the mesh, if its cluster has one.
async fn open_fabric(config: &Config, home: &Home) -> Result<Option<Fabric>, DaemonError> {
    let Some(credentials) = &home.credentials else { return Ok(None) };
    Ok(Fabric::open(config, credentials.id, credentials.keys.newest(), home.identity.id()).await?)
}

/// The node as its disk says that it is.
fn node_of(
    config: &Config,
    home: &Home,
    state: ClusterState,
    fabric: Option<&Fabric>,
    now: Now,
) -> Result<Node, DaemonError> {
    let (me, name) = (home.identity.id(), config.node.name.clone());
    let mut facts = facts::measure(name, config.node.labels.clone(), None, now.wall);
    facts.recipient = home.own.recipient();
    facts.address = members::advertised(&config.cluster, &state, me);
    let advertised = facts.address;
    let node = Node::new(me, facts, state, OsRng.next_u64());
    let Some(credentials) = &home.credentials else { return Ok(node) };
    let life = home.store.next_life(now.wall)?;
    let mesh = fabric.map(|it| it.seat(advertised));
    let (keys, config) = (credentials.keys.clone(), config.cluster.membership.clone());
    Ok(node.seated(Seat { keys, life, config, mesh }, now))
}

/// The way to the other members and from them, if this node is in a cluster.
async fn open_members(
    config: &Config,
    home: &Home,
    line: Line,
    datagrams: mpsc::Sender<(SocketAddr, Vec<u8>)>,
    tasks: &Tasks,
) -> Result<Option<(Members, Listener)>, DaemonError> {
    if home.credentials.is_none() {
        return Ok(None);
    }
    let mesh = line.fabric.as_ref().map(|it| it.way_to(home.identity.id()).0);
    Ok(Some(members::open(config, mesh, line, datagrams, tasks).await?))
}

fn sealer(vault: &Arc<Vault>) -> Sealer {
    let vault = Arc::clone(vault);
    Arc::new(move |path, value| vault.seal(path, value).map_err(|error| error.to_string()))
}

/// Joins the node, what carries out its decisions, and what it hears, by bounded queues.
async fn assemble(
    config: &Config,
    home: &Home,
    state: ClusterState,
    clock: Clock,
    tasks: &Tasks,
) -> Result<Assembly, DaemonError> {
    let (me, now, runtime) = (home.identity.id(), clock.now(), runtime(config));
    let fabric = open_fabric(config, home).await?;
    let node = node_of(config, home, state, fabric.as_ref(), now)?;
    let (view, picture) = watch::channel(Arc::new(node.view()));
    let (asks, asked) = mpsc::channel(ASKS_QUEUED_MAX);
    let (events, happened) = mpsc::channel(EVENTS_QUEUED_MAX);
    let (datagrams, arriving) = mpsc::channel(DATAGRAMS_QUEUED_MAX);
    // Above all ids of earlier daemons, which had fewer than a thousand events a millisecond.
    let log = Arc::new(EventLog::new(now.wall.0.saturating_mul(1000)));
    let metrics = Arc::new(Metrics::new());
    let eyes = Arc::new(Eyes::new(Arc::clone(&runtime)));
    let office = Arc::new(Office::new(config, home, picture.clone(), asks.clone(), clock, tasks));
    let line = Line { office: Arc::clone(&office), events: events.clone(), fabric: fabric.clone() };
    let means = Means {
        node: me,
        runtime: Arc::clone(&runtime),
        fabric: fabric.clone(),
        line: line.clone(),
        eyes: Arc::clone(&eyes),
        vault: Arc::clone(&home.vault),
        view: picture.clone(),
        store: Arc::clone(&home.store),
        log: Arc::clone(&log),
        events: events.clone(),
        clock,
        data_dir: config.data_dir.clone(),
        run_dir: config.run_dir.clone(),
    };
    let (members, listener) = open_members(config, home, line, datagrams, tasks).await?.unzip();
    let core = Core {
        node,
        name: config.node.name.clone(),
        commits: Commits::new(Arc::clone(&home.store), Arc::clone(&metrics)),
        members,
        executor: Executor::new(means, tasks),
        prober: Prober::new(Arc::clone(&runtime), events.clone(), tasks),
        view,
        log: Arc::clone(&log),
        metrics: Arc::clone(&metrics),
        clock,
        asks: asked,
        events: happened,
        datagrams: arriving,
        watchdog: systemd::watchdog_interval(),
    };
    let inside = Inside::new(me, &office, fabric.clone(), events.clone(), clock);
    let doctor = Arc::new(Doctor::inside(config.clone(), Arc::clone(&runtime), inside));
    let observer =
        Observer { node: me, runtime: Arc::clone(&runtime), eyes, events: events.clone() };
    let ingress = Arc::new(Carrier::new(picture.clone(), fabric.clone()));
    let (view, seen) = (picture.clone(), picture);
    let order = config.network.dns_order.into();
    let clock: api::Clock = Arc::new(move || clock.now());
    let backend = Backend {
        asks,
        view,
        events: log,
        runtime,
        seal: sealer(&home.vault),
        cluster: Arc::clone(&office) as _,
        clock,
        metrics,
        doctor,
        ingress,
        order,
    };
    Ok(Assembly { core, backend, observer, office, listener, fabric, events, view: seen })
}

fn runtime(config: &Config) -> Arc<dyn Runtime> {
    let socket = config.runtime.socket.clone();
    let root = config.data_dir.join("containerd");
    // Where this program was, if it was replaced since: the new one is there.
    let program = std::env::current_exe().unwrap_or_else(|_| "/usr/bin/fizz".into());
    match config.runtime.kind {
        RuntimeKind::Auto => runtime::find(socket, root, program),
        RuntimeKind::Docker => Arc::new(Docker::find(Some(Flavour::Docker), socket)),
        RuntimeKind::Podman => Arc::new(Docker::find(Some(Flavour::Podman), socket)),
        RuntimeKind::Containerd => Arc::new(Containerd::new(socket, root, program)),
        RuntimeKind::None => Arc::new(NoRuntime),
    }
}

/// Stops the daemon when told to.
fn listen_for_signals(tasks: &Tasks) -> Result<(), std::io::Error> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let stop = tasks.stopping();
    tasks.spawn("signals", async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hang_up.recv() => warn!(
                    "SIGHUP does nothing: restart fizz to read its configuration anew; containers go on"
                ),
            }
        }
        info!("stopping");
        stop.cancel();
    });
    Ok(())
}
