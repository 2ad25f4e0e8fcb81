//! How many containers of a service there are, where, and how they are replaced.

use super::PlacementSpec;
use crate::model::Millis;

/// How many, where, and how they are replaced.
#[derive(Clone, Debug, PartialEq)]
pub struct DeploySpec {
    /// Replicas, one a node, or jobs.
    pub mode: Mode,
    /// `deploy.labels`: on the service, not on its containers.
    pub labels: std::collections::BTreeMap<String, String>,
    /// Where they may run.
    pub placement: PlacementSpec,
    /// What happens when a container ends.
    pub restart: RestartSpec,
    /// How a new revision replaces the old.
    pub update: UpdateSpec,
    /// How a rollback replaces the new.
    pub rollback: UpdateSpec,
}

/// How many replicas a service may have. What one cluster is meant to run in all, so that a slip of the
/// keyboard asks for no more.
pub const REPLICAS_MAX: u32 = 10_000;

/// How many containers there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// This many in the whole cluster.
    Replicated(u32),
    /// One on each node that may run it.
    Global,
    /// This many runs to completion.
    ReplicatedJob(u32),
    /// One run to completion on each node.
    GlobalJob,
}

impl Mode {
    /// Whether there is one container on each node.
    #[must_use]
    pub fn is_on_each_node(self) -> bool {
        match self {
            Self::Global | Self::GlobalJob => true,
            Self::Replicated(_) | Self::ReplicatedJob(_) => false,
        }
    }

    /// Whether its containers run to completion, once.
    #[must_use]
    pub fn is_job(self) -> bool {
        match self {
            Self::ReplicatedJob(_) | Self::GlobalJob => true,
            Self::Replicated(_) | Self::Global => false,
        }
    }
}

/// What a service waits for before it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// Until when.
    pub condition: Condition,
    /// Restart with it.
    pub restart: bool,
    /// Whether its absence is an error.
    pub required: bool,
}

/// Until when to wait for a dependency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It runs.
    Started,
    /// It is healthy.
    Healthy,
    /// It ended with status 0.
    Completed,
}

/// What happens when a container ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartSpec {
    /// When it is started again.
    pub condition: RestartCondition,
    /// The first delay; it doubles up to a bound. 100 ms when not set, as Docker does.
    pub delay: Option<Millis>,
    /// How often in `window` before it stays down.
    pub attempts_max: Option<u32>,
    /// How long it must run for its attempts to be forgotten.
    pub window: Option<Millis>,
}

/// When an ended container is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartCondition {
    /// The file is silent: not when it ended, but replaced when its health check gives up.
    Unset,
    /// Never, whatever the health check says.
    Never,
    /// When its status was not 0.
    OnFailure,
    /// Always, unless a person stopped it.
    Always,
}

/// How one revision replaces another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UpdateSpec {
    /// How many at a time; 0 is all.
    pub parallelism: u32,
    /// Between groups.
    pub delay: Millis,
    /// What to do when a new container fails.
    pub failure_action: FailureAction,
    /// How long a new container is watched for failure.
    pub monitor: Millis,
    /// How many may fail, in millionths.
    pub failure_ratio_max_ppm: u32,
    /// Whether the old stops before the new starts.
    pub order: UpdateOrder,
}

/// What to do when a new container fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureAction {
    /// Stop replacing.
    Pause,
    /// Go on.
    Continue,
    /// Go back to the previous revision.
    Rollback,
}

/// Whether the old stops before the new starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateOrder {
    /// The old stops first.
    StopFirst,
    /// The new starts first.
    StartFirst,
}

impl Default for UpdateSpec {
    /// The Compose specification's defaults.
    fn default() -> Self {
        Self {
            parallelism: 1,
            delay: Millis(0),
            failure_action: FailureAction::Pause,
            monitor: Millis::from_secs(5),
            failure_ratio_max_ppm: 0,
            order: UpdateOrder::StopFirst,
        }
    }
}

impl Default for RestartSpec {
    fn default() -> Self {
        Self { condition: RestartCondition::Unset, delay: None, attempts_max: None, window: None }
    }
}

impl Default for DeploySpec {
    fn default() -> Self {
        Self {
            mode: Mode::Replicated(1),
            labels: std::collections::BTreeMap::new(),
            placement: PlacementSpec::default(),
            restart: RestartSpec::default(),
            update: UpdateSpec::default(),
            rollback: UpdateSpec::default(),
        }
    }
}
