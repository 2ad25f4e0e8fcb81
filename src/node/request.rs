//! What users and tools can ask a node for.

use std::collections::BTreeMap;

use super::membership::{AdmitRequest, Rotation};
use crate::{
    compose::diff::Change,
    model::{
        ContainerId, ContainerName, ImageId, Millis, NodeId, ProjectName, ServiceKey, ServiceName,
        Slot,
    },
    scheduler::Move,
    state::{Availability, ReplicaId, SealedSecret, SecretPath, Stage},
};

/// A request, for matching its answer; the shell numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// What users and tools can ask for. Reading needs no request: see [`super::View`].
#[derive(Clone, Debug)]
pub enum Request {
    /// Apply a model.
    Deploy(Box<DeployRequest>),
    /// Remove a deployment or some services of it.
    Down(DownRequest),
    /// Do something to services of a project; none named is all.
    Services(ProjectName, Vec<ServiceName>, ServiceVerb),
    /// Do something to changes of services that go on; none named is all.
    Rollout(ProjectName, Vec<ServiceName>, RolloutVerb),
    /// Go back to what a deployment was.
    Rollback(Box<RollbackRequest>),
    /// Have a deployment's networks span the nodes.
    Migrate(MigrateRequest),
    /// Say why a service's replicas are where they are.
    Explain(ServiceKey),
    /// Give nodes that came late their share.
    Rebalance {
        /// Only say what would move.
        dry_run: bool,
    },
    /// Which containers this node takes.
    Avail(Availability),
    /// Record a container beside a service's replicas.
    Run(Box<RunRequest>),
    /// Start a container that [`RunRequest::waits`].
    Release(ContainerId),
    /// Remove a one-off or an ended container; with force, one that runs.
    Remove {
        /// Which.
        container: ContainerId,
        /// Even if it runs.
        force: bool,
        /// With anonymous volumes.
        volumes: bool,
    },
    /// Let a node into the cluster.
    Admit(Box<AdmitRequest>),
    /// Let a member in again that goes on as another writer.
    Readmit(NodeId, ReplicaId),
    /// Put a node out of the cluster.
    RemoveNode {
        /// Which.
        node: NodeId,
        /// Even if it is alive.
        force: bool,
        /// With a new key that it does not get.
        rotation: Option<Box<Rotation>>,
    },
    /// Take another key.
    Rotate(Box<Rotation>),
    /// Keep a sealed value at its place, or drop it.
    Keep(SecretPath, Option<SealedSecret>),
    /// Give this node labels, or take them.
    Label(BTreeMap<String, Option<String>>),
    /// Know that a volume was removed here.
    Dropped(String),
    /// Leave the cluster.
    Leave,
}

impl Request {
    /// Whether it says what a user wants, which stamps must order rightly among all nodes.
    #[must_use]
    pub fn is_a_users(&self) -> bool {
        match self {
            Self::Deploy(_)
            | Self::Down(_)
            | Self::Services(..)
            | Self::Rollout(..)
            | Self::Rollback(_)
            | Self::Migrate(_)
            | Self::Rebalance { .. }
            | Self::Avail(_)
            | Self::Run(_)
            | Self::Remove { .. }
            | Self::RemoveNode { .. }
            | Self::Rotate(_)
            | Self::Keep(..)
            | Self::Label(_) => true,
            Self::Explain(_)
            | Self::Release(_)
            | Self::Admit(_)
            | Self::Readmit(..)
            | Self::Dropped(_)
            | Self::Leave => false,
        }
    }
}

/// A model, and how to apply it.
#[derive(Clone, Debug, Default)]
pub struct DeployRequest {
    /// The canonical model.
    pub model: serde_json::Value,
    /// Its secrets, by their key in the file.
    pub secrets: BTreeMap<String, SealedSecret>,
    /// Registries' credentials, by host.
    pub credentials: BTreeMap<String, SealedSecret>,
    /// Where its file was.
    pub working_dir: String,
    /// The files it came from.
    pub files: Vec<String>,
    /// Only these; empty is all.
    pub services: Vec<ServiceName>,
    /// Leave their dependencies alone.
    pub no_deps: bool,
    /// Replace containers even if nothing changed: a number never used before makes the revision new.
    pub force_recreate: Option<u64>,
    /// Keep containers even if something changed.
    pub no_recreate: bool,
    /// Remove services that the model does not have.
    pub remove_orphans: bool,
    /// Make everything, start nothing.
    pub no_start: bool,
    /// Replicas by service.
    pub scale: BTreeMap<ServiceName, u32>,
    /// Images by service.
    pub images: BTreeMap<ServiceName, ImageId>,
    /// How long replaced containers may take to stop.
    pub grace: Option<Millis>,
    /// New anonymous volumes for replaced containers.
    pub renew_volumes: bool,
    /// Refuse if the deployment is no longer at this version.
    pub if_version: Option<u64>,
    /// Only plan.
    pub dry_run: bool,
}

/// What to remove.
#[derive(Clone, Debug)]
pub struct DownRequest {
    /// Whose.
    pub project: ProjectName,
    /// Only these services; empty is everything.
    pub services: Vec<ServiceName>,
    /// With volumes.
    pub volumes: bool,
    /// `local` or `all` images.
    pub images: Option<String>,
    /// How long containers may take to stop.
    pub grace: Option<Millis>,
}

/// What to do to services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceVerb {
    /// Let their containers run.
    Start,
    /// Stop them and keep them.
    Stop(Option<Millis>),
    /// Stop and start them.
    Restart {
        /// How long they may take to stop.
        grace: Option<Millis>,
        /// Leave services that restart with them alone.
        no_deps: bool,
    },
    /// Send them a signal; they are not started again if they end by it.
    Kill(String),
    /// Remove stopped ones.
    Remove {
        /// Also running ones.
        force: bool,
        /// With anonymous volumes.
        volumes: bool,
    },
    /// So many of each.
    Scale(BTreeMap<ServiceName, u32>),
}

/// What to do to changes that go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RolloutVerb {
    /// No more replicas change.
    Pause,
    /// They go on.
    Resume,
    /// All replicas change, as the canaries did.
    Promote,
    /// They change back.
    Abort,
}

impl RolloutVerb {
    /// Whether it changes anything at a stage.
    #[must_use]
    pub fn applies_to(self, stage: Stage) -> bool {
        match (self, stage) {
            (Self::Pause, Stage::Going | Stage::Canary | Stage::Returning)
            | (Self::Resume, Stage::Paused)
            | (Self::Promote, Stage::Canary)
            | (Self::Abort, Stage::Going | Stage::Canary | Stage::Paused) => true,
            (Self::Pause, Stage::Done | Stage::Paused)
            | (Self::Resume, Stage::Done | Stage::Going | Stage::Canary | Stage::Returning)
            | (Self::Promote, Stage::Done | Stage::Going | Stage::Paused | Stage::Returning)
            | (Self::Abort, Stage::Done | Stage::Returning) => false,
        }
    }

    /// What must be so for it to change anything, for people.
    pub(super) fn wants(self) -> &'static str {
        match self {
            Self::Pause | Self::Abort => "is being updated",
            Self::Resume => "has a paused update",
            Self::Promote => "waits with canaries",
        }
    }
}

/// What to go back to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RollbackRequest {
    /// Whose.
    pub project: ProjectName,
    /// Only this service.
    pub service: Option<ServiceName>,
    /// The version; the last that was different when not set.
    pub version: Option<u64>,
    /// Of several of one version the one whose content begins so.
    pub content: Option<String>,
    /// Refuse if the deployment is no longer at this version.
    pub if_version: Option<u64>,
    /// Only plan.
    pub dry_run: bool,
}

/// Whose networks are to span the nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrateRequest {
    /// Whose.
    pub project: ProjectName,
    /// Refuse if the deployment is no longer at this version.
    pub if_version: Option<u64>,
    /// Only plan.
    pub dry_run: bool,
}

/// A container beside a service's replicas.
#[derive(Clone, Debug)]
pub struct RunRequest {
    /// Whose.
    pub project: ProjectName,
    /// Whose.
    pub service: ServiceName,
    /// Its name; one is made when not set.
    pub name: Option<ContainerName>,
    /// Changes the service's container into this one's: applied to the canonical definition, as JSON.
    pub definition: serde_json::Value,
    /// Do not start what it depends on.
    pub no_deps: bool,
    /// Remove it when it has ended.
    pub remove: bool,
    /// Wait for [`Request::Release`] before starting, so that somebody can attach first.
    pub waits: bool,
}

/// A request was carried out, and is durable.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    /// Nothing to tell.
    Done,
    /// A deployment was planned, and applied unless that was all.
    Planned(Box<Planned>),
    /// A container was recorded.
    Recorded(ContainerId),
    /// Why replicas are where they are.
    Explained(Box<Explained>),
    /// Which replicas move.
    Moves(Vec<Move>),
}

/// Why a service's replicas are where they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explained {
    /// Where each is to be, and why there.
    pub posts: Vec<(Slot, NodeId, String)>,
    /// Those that are nowhere to be, and why.
    pub unplaced: Vec<(Slot, String)>,
    /// What speaks against each node; nothing: it may have one.
    pub nodes: Vec<(NodeId, Vec<String>)>,
    /// With which services it is always on one node.
    pub with: Vec<ServiceName>,
}

/// What a deployment changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Planned {
    /// The deployment's version before.
    pub version_before: u64,
    /// And after.
    pub version: u64,
    /// Service by service.
    pub services: Vec<PlannedService>,
    /// Keys of networks that are made.
    pub networks: Vec<String>,
    /// Keys of volumes that are made.
    pub volumes: Vec<String>,
    /// Services that the model does not have and that stay.
    pub orphans: Vec<ServiceName>,
    /// Whether its networks span the nodes.
    pub overlay: bool,
}

/// What a deployment changes about one service.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedService {
    /// Which.
    pub service: ServiceName,
    /// What happens.
    pub action: PlannedAction,
    /// Replicas before.
    pub replicas_before: u32,
    /// Replicas after.
    pub replicas_after: u32,
    /// Field by field.
    pub changes: Vec<Change>,
}

/// What happens to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlannedAction {
    /// It is new.
    Create,
    /// Its containers are replaced.
    Replace,
    /// Its definition changes, its containers stay.
    Update,
    /// Only their number changes.
    Scale,
    /// It was stopped and is started.
    Start,
    /// Nothing.
    Keep,
    /// It goes.
    Remove,
}

/// Why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such thing.
    #[error("{what} `{name}` is not there")]
    NotFound {
        /// `deployment`, `service`, `container`.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// The model is wrong; every problem, a line each.
    #[error("the model has {} problem(s)", .0.len())]
    Invalid(Vec<String>),
    /// Another change came first.
    #[error("`{project}` is at version {version} now, and the plan was made for version {planned}")]
    Overtaken {
        /// The project.
        project: ProjectName,
        /// Its version.
        version: u64,
        /// The plan's.
        planned: u64,
    },
    /// Another node has the project, and must be asked.
    #[error("the project is at node {0}: ask that one")]
    Elsewhere(NodeId),
    /// It cannot be done as things are.
    #[error("{0}")]
    Conflict(String),
}
