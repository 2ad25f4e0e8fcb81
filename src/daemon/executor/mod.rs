//! Carries out what the node decides, by the runtime and on the disk.
//!
//! Nothing here decides, nothing is remembered: every step may be repeated, so that a daemon killed at
//! any point is followed by one that begins again. Each operation on a container ends in exactly one
//! [`Event::Finished`], unless the daemon stops.

mod clear;
mod farewell;
mod files;
mod launch;
mod locks;
mod pull;
mod request;
mod sandbox;

use std::{path::PathBuf, sync::Arc};

use tokio::sync::{Semaphore, mpsc, watch};

use super::{clock::Clock, fabric::Fabric, members::Line, sight::Eyes, store::Store, tasks::Tasks};
use crate::{
    api::EventLog,
    model::{ContainerId, Millis, NodeId, RuntimeId, spec::HookSpec},
    node::{Effect, Event, Failure, Sight, View},
    runtime::{Runtime, RuntimeError},
    secrets::Vault,
};
use files::MountFiles;
use locks::Locks;
use pull::Pulls;

/// How many operations are under way at a time; most of them wait for images or for containers to
/// stop.
const OPERATIONS_MAX: usize = 512;

/// How many containers are made, started or removed at a time.
const WORKERS_MAX: usize = 32;

/// What the executor works with.
pub(super) struct Means {
    /// This node.
    pub(super) node: NodeId,
    /// The runtime.
    pub(super) runtime: Arc<dyn Runtime>,
    /// The mesh, if this node is in one.
    pub(super) fabric: Option<Fabric>,
    /// Asks the other members.
    pub(super) line: Line,
    /// Looks at containers.
    pub(super) eyes: Arc<Eyes>,
    /// Opens secrets.
    pub(super) vault: Arc<Vault>,
    /// Where sealed secrets are.
    pub(super) view: watch::Receiver<Arc<View>>,
    /// Remembers pulls.
    pub(super) store: Arc<Store>,
    /// Hears of pulls and of what is removed.
    pub(super) log: Arc<EventLog>,
    /// The node's ear.
    pub(super) events: mpsc::Sender<Event>,
    /// The time.
    pub(super) clock: Clock,
    /// Where configs are written.
    pub(super) data_dir: PathBuf,
    /// Where secrets are written.
    pub(super) run_dir: PathBuf,
}

/// Carries out effects. Cheap to clone.
#[derive(Clone)]
pub(super) struct Executor(Arc<Inner>);

struct Inner {
    means: Means,
    files: MountFiles,
    pulls: Pulls,
    /// One operation at a time for each container.
    containers: Locks<ContainerId>,
    /// One hand at a time on each network and volume.
    resources: Locks<String>,
    workers: Semaphore,
    tasks: Tasks,
}

/// What is done to a container.
enum Operation {
    Launch(Box<crate::node::Launch>),
    Start(Box<crate::node::Launch>),
    Halt { id: RuntimeId, hooks: Vec<HookSpec>, grace: Option<Millis>, drain: Option<Millis> },
    Discard { id: Option<RuntimeId>, volumes: bool },
}

impl Executor {
    pub(super) fn new(means: Means, tasks: &Tasks) -> Self {
        let files = MountFiles::new(&means.data_dir, &means.run_dir);
        Self(Arc::new(Inner {
            means,
            files,
            pulls: Pulls::default(),
            containers: Locks::default(),
            resources: Locks::default(),
            workers: Semaphore::new(WORKERS_MAX),
            tasks: tasks.group(OPERATIONS_MAX),
        }))
    }

    /// Begins an effect; what comes of it goes to the node. Effects that need no runtime are the loop's.
    pub(super) fn begin(&self, effect: Effect) {
        match effect {
            Effect::Launch(launch) => self.operate(launch.container, Operation::Launch(launch)),
            Effect::Start(launch) => self.operate(launch.container, Operation::Start(launch)),
            Effect::Halt { container, runtime_id: id, hooks, grace, drain } => {
                self.operate(container, Operation::Halt { id, hooks, grace, drain });
            }
            Effect::Signal { container, runtime_id: id, signal } => {
                let inner = Arc::clone(&self.0);
                self.0.tasks.spawn("signal", async move {
                    // It takes no turn: a stop that hangs holds that.
                    if let Err(error) = inner.means.runtime.kill(&id, &signal).await {
                        tracing::warn!(%container, signal, %error, "the signal was not sent");
                    }
                    if let Ok(sight) = inner.means.eyes.look(&id).await {
                        inner.tell(Event::Seen(container, sight)).await;
                    }
                });
            }
            Effect::Discard { container, runtime_id: id, volumes } => {
                self.operate(container, Operation::Discard { id, volumes });
            }
            Effect::Clear { project, volumes, images } => {
                let inner = Arc::clone(&self.0);
                self.0.tasks.spawn("clear", async move {
                    let result = inner.clear(&project, volumes, &images).await;
                    inner.tell(Event::Cleared(project, result)).await;
                });
            }
            Effect::Place { container, address } => {
                let inner = Arc::clone(&self.0);
                self.0.tasks.spawn("place", async move {
                    let _turn = inner.containers.lock(container).await;
                    match inner.place_anew(container, address).await {
                        Ok(()) => tracing::info!(%container, %address, "it has another address"),
                        Err(error) => tracing::warn!(%container, %error, "it has no new address"),
                    }
                });
            }
            Effect::Look(container, id) => {
                let inner = Arc::clone(&self.0);
                self.0.tasks.spawn("look", async move {
                    // A runtime that is away is the observer's to tell.
                    if let Ok(sight) = inner.means.eyes.look(&id).await {
                        inner.tell(Event::Seen(container, sight)).await;
                    }
                });
            }
            Effect::Persist(_)
            | Effect::Reply(..)
            | Effect::Notify(_)
            | Effect::Probe { .. }
            | Effect::Send { .. }
            | Effect::Fetch(_)
            | Effect::Unwrap(..)
            | Effect::Wrap(..)
            | Effect::Gone => {}
        }
    }

    fn operate(&self, container: ContainerId, operation: Operation) {
        let inner = Arc::clone(&self.0);
        self.0.tasks.spawn("operation", async move {
            let _turn = inner.containers.lock(container).await;
            let (result, sight) = inner.carry_out(container, operation).await;
            inner.tell(Event::Finished(container, result, sight)).await;
        });
    }
}

impl Inner {
    async fn carry_out(
        self: &Arc<Self>,
        container: ContainerId,
        operation: Operation,
    ) -> (Result<(), Failure>, Option<Sight>) {
        let runtime = &self.means.runtime;
        let (id, result) = match operation {
            Operation::Launch(launch) => {
                let mut id = launch.runtime_id.clone();
                let result = self.launch(&launch, &mut id).await;
                (id, result)
            }
            Operation::Start(launch) => {
                let result = match &launch.runtime_id {
                    Some(id) => self.start(&launch, id).await,
                    None => Err(fault("it is not in the runtime yet")),
                };
                (launch.runtime_id.clone(), result)
            }
            Operation::Halt { id, hooks, grace, drain } => {
                if let Some(drain) = drain {
                    self.let_go(container, drain).await;
                }
                self.pre_stop(&id, &hooks, grace).await;
                let result = runtime.stop(&id, grace).await.or_else(gone_is_fine).map_err(failure);
                (Some(id), result)
            }
            Operation::Discard { id, volumes } => {
                let result = self.discard(container, id, volumes).await;
                let gone = result.is_ok().then(Sight::default);
                return (result, gone);
            }
        };
        let sight = match id {
            Some(id) => self.means.eyes.look(&id).await.ok(),
            None => None,
        };
        (result, sight)
    }

    async fn discard(
        &self,
        container: ContainerId,
        id: Option<RuntimeId>,
        volumes: bool,
    ) -> Result<(), Failure> {
        let _worker = self.workers.acquire().await;
        let runtime = &self.means.runtime;
        let id = match id {
            Some(id) => Some(id),
            None => {
                let all = runtime.list(self.means.node).await.map_err(failure)?;
                all.into_iter().find(|it| it.container == container).map(|it| it.runtime_id)
            }
        };
        if let Some(id) = id {
            runtime.remove(&id, volumes).await.or_else(gone_is_fine).map_err(failure)?;
        }
        self.leave_sandbox(container).await?;
        self.files.remove(container).await
    }

    /// Tells the node which volumes there are, where some came or went.
    async fn tell_volumes(&self) {
        // A runtime that is away is the observer's to tell.
        if let Ok(holdings) = self.means.eyes.volumes().await {
            self.tell(Event::Volumes(holdings)).await;
        }
    }

    async fn tell(&self, event: Event) {
        // Nobody listens when the daemon stops, and nobody has to.
        let _ = self.means.events.send(event).await;
    }
}

/// A runtime's error as the node's. What only the runtime's absence caused may pass.
fn failure(error: RuntimeError) -> Failure {
    let passing = error.is_silence();
    Failure { reason: error.to_string().into(), passing }
}

/// What will not pass by itself.
fn fault(reason: impl AsRef<str>) -> Failure {
    Failure { reason: reason.as_ref().into(), passing: false }
}

/// Removing what is gone is done.
fn gone_is_fine(error: RuntimeError) -> Result<(), RuntimeError> {
    if matches!(error, RuntimeError::NotFound { .. }) { Ok(()) } else { Err(error) }
}
