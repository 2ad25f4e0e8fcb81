//! `x-fizz`: what Compose has no words for.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use crate::model::{Millis, Schedule, ServiceName, Zone};

/// `x-fizz` at the top level of a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProjectExtension {
    /// The partition mode of services that set none.
    pub partition: Option<PartitionMode>,
}

/// `x-fizz` of a service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServiceExtension {
    /// Node labels that must be equal: `placement.labels`.
    pub node_labels: BTreeMap<String, String>,
    /// Nodes by name that it may run on: `placement.nodes`; empty is any.
    pub nodes: Vec<String>,
    /// Services to be near to or away from: `placement.affinity`, `placement.anti_affinity`.
    pub affinities: Vec<Affinity>,
    /// What happens to it in a partition.
    pub partition: Option<PartitionMode>,
    /// How the world reaches it.
    pub ingress: Option<IngressSpec>,
    /// `update.canary`: how many replicas of a new revision run before it is promoted.
    pub canary: Option<u32>,
    /// `health.failed_after`: failures in a row after which an unhealthy container is given up;
    /// twice the health check's retries when not set.
    pub failed_after: Option<u32>,
    /// Runs to completion.
    pub job: Option<JobSpec>,
    /// Runs by the clock.
    pub cron: Option<CronSpec>,
    /// `pre_deploy.service`: the job that completes for each version of the service before that is rolled
    /// out.
    pub pre_deploy: Option<ServiceName>,
}

/// Nearness to another service's containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Affinity {
    /// The other service, of the same project.
    pub service: ServiceName,
    /// Near (`true`) or away (`false`).
    pub near: bool,
}

/// What happens to a service while the cluster is split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionMode {
    /// Both sides keep it running; there may be duplicates.
    Available,
    /// It never runs twice; the side that cannot be sure stops it.
    Singleton,
}

/// How the world reaches a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IngressSpec {
    /// Prefer replicas on the node that the connection entered.
    pub local_first: bool,
    /// `affinity: source`: all connections of a client's address go to one replica.
    pub affinity: bool,
    /// Who may come in; anyone if it is empty.
    pub allow: BTreeSet<IpNet>,
    /// How long open connections may go on when a container is replaced.
    pub drain: Option<Millis>,
}

/// `health.http`: well is an answer with a status of 200 to 399.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCheck {
    /// The container's port.
    pub port: u16,
    /// The path and query; `/` when not set.
    pub path: String,
    /// The status that is well, when exactly one is.
    pub status: Option<u16>,
    /// The `Host` header.
    pub host: Option<String>,
}

/// `health.tcp`: well is an accepted connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpCheck {
    /// The container's port.
    pub port: u16,
}

/// `job`: runs to completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobSpec {
    /// How often it may fail.
    pub retries: u32,
    /// How long it may take.
    pub timeout: Option<Millis>,
}

/// `cron`: runs by the clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronSpec {
    /// When.
    pub schedule: Schedule,
    /// What clock it goes by; UTC when not set.
    pub zone: Zone,
    /// What to do when the last run has not ended.
    pub concurrency: ConcurrencyPolicy,
    /// What to do with a tick that nobody ran.
    pub missed: MissedRunPolicy,
}

/// What to do at a tick when the last run has not ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConcurrencyPolicy {
    /// Skip the tick.
    #[default]
    Forbid,
    /// Run both.
    Allow,
    /// End the last run.
    Replace,
}

/// What to do with a tick that nobody ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissedRunPolicy {
    /// Forget it.
    #[default]
    Skip,
    /// Run once, late.
    RunOnce,
}
