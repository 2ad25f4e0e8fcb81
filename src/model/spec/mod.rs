//! What a user asked for, checked and complete: a Compose project as types.
//!
//! `compose::decode` makes these from the canonical model. Units are in the types or in the names;
//! an `Option` is `None` where the file is silent and the runtime's or the image's own default holds.

mod container;
mod deploy;
mod extension;
mod placement;
mod resource;

use std::collections::BTreeMap;

pub use container::{
    Bind, BlkioSpec, ByteRate, CommandLine, ContainerSpec, DeviceRequest, DeviceSpec, FileMount,
    GatewayPriority, HealthSpec, HealthTest, HookSpec, IoRate, IoWeight, LoggingSpec, Mount,
    MountKind, NamespaceMode, NetworkAttachment, NetworkMode, PortSpec, Propagation, Protocol,
    PublishedPorts, ResourceLimits, Security, Ulimit,
};
pub use deploy::{
    Condition, Dependency, DeploySpec, FailureAction, Mode, REPLICAS_MAX, RestartCondition,
    RestartSpec, UpdateOrder, UpdateSpec,
};
pub use extension::{
    Affinity, ConcurrencyPolicy, CronSpec, HttpCheck, IngressSpec, JobSpec, MissedRunPolicy,
    PartitionMode, ProjectExtension, ServiceExtension, TcpCheck,
};
pub use placement::{Constraint, InvalidPlacement, NodeFact, PlacementSpec, SpreadLabel};
pub use resource::{
    ConfigSpec, IpamPool, IpamSpec, NetworkSpec, SecretSpec, VolumeSpec, is_on_one_node,
};

use super::{ContainerName, ProjectName, ServiceName};

/// A project: everything that one Compose file, or several merged, asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct ProjectSpec {
    /// Its name.
    pub name: ProjectName,
    /// Its services.
    pub services: BTreeMap<ServiceName, ServiceSpec>,
    /// Its networks, by their key in the file.
    pub networks: BTreeMap<String, NetworkSpec>,
    /// Its volumes, by their key in the file.
    pub volumes: BTreeMap<String, VolumeSpec>,
    /// Its configs, by their key in the file.
    pub configs: BTreeMap<String, ConfigSpec>,
    /// Its secrets, by their key in the file.
    pub secrets: BTreeMap<String, SecretSpec>,
    /// `x-fizz` at the top level.
    pub extension: ProjectExtension,
}

/// One service: how many containers, where, how they are replaced, and what each is.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceSpec {
    /// Its name.
    pub name: ServiceName,
    /// `container_name`, which allows one replica only.
    pub container_name: Option<ContainerName>,
    /// What it waits for, and until when.
    pub depends_on: BTreeMap<ServiceName, Dependency>,
    /// How many, where, and how they are replaced.
    pub deploy: DeploySpec,
    /// When the runtime asks the registry for the image.
    pub pull: PullPolicy,
    /// Whether `build:` is there; the command line has built the image before it deploys.
    pub has_build: bool,
    /// `attach: false` leaves the service's output out of `fizz up`.
    pub attach: bool,
    /// What each container is.
    pub container: ContainerSpec,
    /// `x-fizz` of the service.
    pub extension: ServiceExtension,
}

/// When to ask the registry for an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PullPolicy {
    /// When the node does not have it.
    #[default]
    Missing,
    /// At each `fizz up`.
    Always,
    /// Never.
    Never,
    /// Never; `fizz up` builds it each time.
    Build,
    /// When the node's copy is older than this many seconds.
    OlderThanSeconds(u64),
}
