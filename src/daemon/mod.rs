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
pub mod clock;
pub mod config;
mod core;
mod commands;
mod disk;
mod executor;
pub mod facts;
pub mod identity;
mod logging;
mod notices;
mod observer;
mod prober;
mod sight;
pub mod socket;
pub mod store;
mod systemd;
pub mod tasks;

use std::{io::Write as _, process::ExitCode, sync::Arc, time::Duration};

use rand_core::{OsRng, RngCore};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
};
use tracing::{info, warn};

use self::core::Core;
use crate::{
    api::{self, Backend, EventLog, Limits, Metrics, Sealer},
    model::NodeId,
    node::Node,
    runtime::{Docker, NoRuntime, Runtime},
    secrets::Vault,
    state::ClusterState,
};
use args::DaemonArgs;
use clock::Clock;
use config::{Config, ConfigError, RuntimeKind};
use disk::{DirectoryLock, DiskError};
use executor::{Executor, Means};
use identity::IdentityError;
use observer::Observer;
use prober::Prober;
use sight::Eyes;
use socket::SocketError;
use store::{Store, StoreError};
use tasks::Tasks;

/// Threads that tasks run on, and threads for what blocks: commits and small files.
const WORKER_THREADS: usize = 2;
const BLOCKING_THREADS_MAX: usize = 8;

/// Tasks that last as long as the daemon.
const LASTING_TASKS_MAX: usize = 16;

/// Requests and events that wait for the node.
const ASKS_QUEUED_MAX: usize = 64;
const EVENTS_QUEUED_MAX: usize = 1024;

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
    logging::start(&config.logging);
    let threads = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_name("fizz")
        .enable_all()
        .build()?;
    threads.block_on(live(&config))
}

async fn live(config: &Config) -> Result<(), DaemonError> {
    let clock = Clock::start();
    let (home, state) = Home::open(config)?;
    let socket = socket::listen(&config.api)?;
    let me = home.me;
    let tasks = Tasks::new(LASTING_TASKS_MAX);
    let (core, backend, observer) = assemble(config, &home, state, clock, &tasks);
    tasks.spawn("observer", observer.run());
    let shutdown = tasks.stopping().cancelled_owned();
    tasks.spawn_to_end("api", api::serve(socket.listener, backend, Limits::default(), shutdown));
    listen_for_signals(&tasks)?;
    info!(
        node = %me,
        name = %config.node.name,
        cluster = config.cluster.name,
        runtime = %config.runtime.socket.display(),
        socket = %config.api.socket.display(),
        version = env!("CARGO_PKG_VERSION"),
        "fizz runs"
    );
    systemd::ready(&format!("node {}", config.node.name));
    let result = core.run(tasks.stopping()).await;
    systemd::stopping();
    tasks.stop(STOP_MAX).await;
    info!("fizz has stopped; containers go on");
    Ok(result?)
}

/// What the data directory holds.
struct Home {
    me: NodeId,
    vault: Arc<Vault>,
    store: Arc<Store>,
    _lock: DirectoryLock,
}

impl Home {
    fn open(config: &Config) -> Result<(Self, ClusterState), DaemonError> {
        disk::make_directory(&config.data_dir, 0o700)?;
        let lock = DirectoryLock::take(&config.data_dir)?;
        let me = identity::load_or_make(&config.data_dir)?;
        let vault = Arc::new(identity::load_or_make_vault(&config.data_dir, &config.cluster.name)?);
        let (store, state) = Store::open(&config.data_dir, &config.cluster.name)?;
        Ok((Self { me, vault, store: Arc::new(store), _lock: lock }, state))
    }
}

/// Joins the node, what carries out its decisions, and what it hears, by bounded queues.
fn assemble(
    config: &Config,
    home: &Home,
    state: ClusterState,
    clock: Clock,
    tasks: &Tasks,
) -> (Core, Backend, Observer) {
    let (me, now, runtime) = (home.me, clock.now().wall, runtime(config));
    let (name, labels) = (config.node.name.clone(), config.node.labels.clone());
    let facts = facts::measure(name.clone(), labels, None, now);
    let node = Node::new(me, facts, state, OsRng.next_u64());
    let (view, picture) = watch::channel(Arc::new(node.view()));
    let (asks, asked) = mpsc::channel(ASKS_QUEUED_MAX);
    let (events, happened) = mpsc::channel(EVENTS_QUEUED_MAX);
    // Above all ids of earlier daemons, which had fewer than a thousand events a millisecond.
    let log = Arc::new(EventLog::new(now.0.saturating_mul(1000)));
    let metrics = Arc::new(Metrics::new());
    let eyes = Arc::new(Eyes::new(Arc::clone(&runtime)));
    let means = Means {
        node: me,
        runtime: Arc::clone(&runtime),
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
    let core = Core {
        node,
        name,
        store: Arc::clone(&home.store),
        executor: Executor::new(means, tasks),
        prober: Prober::new(Arc::clone(&runtime), events.clone(), tasks),
        view,
        log: Arc::clone(&log),
        metrics: Arc::clone(&metrics),
        clock,
        asks: asked,
        events: happened,
        watchdog: systemd::watchdog_interval(),
    };
    let vault = Arc::clone(&home.vault);
    let seal: Sealer =
        Arc::new(move |path, value| vault.seal(path, value).map_err(|error| error.to_string()));
    let observer = Observer { node: me, runtime: Arc::clone(&runtime), eyes, events };
    (core, Backend { asks, view: picture, events: log, runtime, seal, metrics }, observer)
}

fn runtime(config: &Config) -> Arc<dyn Runtime> {
    match config.runtime.kind {
        RuntimeKind::Auto | RuntimeKind::Docker => {
            Arc::new(Docker::new(config.runtime.socket.clone()))
        }
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
