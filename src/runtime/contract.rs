//! What every container runtime does for Fizz.
//!
//! All calls are idempotent where the world allows it: starting what runs, stopping what is
//! stopped and removing what is gone succeed. Every stream ends when its receiver is dropped.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use bytes::Bytes;
use futures_util::{future::BoxFuture, stream::BoxStream};
use tokio::sync::mpsc;

use crate::model::{
    ContainerId, ContainerName, ImageId, Millis, NodeId, Observed, ProjectName, Revision,
    RuntimeId, RuntimeState, ServiceName, Slot, WallTime,
    spec::{ContainerSpec, NetworkAttachment, NetworkSpec, VolumeSpec},
};

/// Labels by which containers, networks and volumes are known again after a restart of the daemon.
pub mod labels {
    /// The node that made it: [`crate::model::NodeId`].
    pub const NODE: &str = "fizz.node";
    /// The container: [`crate::model::ContainerId`].
    pub const CONTAINER: &str = "fizz.container";
    /// The project.
    pub const PROJECT: &str = "fizz.project";
    /// The service.
    pub const SERVICE: &str = "fizz.service";
    /// The slot, from one.
    pub const SLOT: &str = "fizz.slot";
    /// The revision.
    pub const REVISION: &str = "fizz.revision";
    /// `true` on a container of `fizz run`, which is nobody's replica.
    pub const ONE_OFF: &str = "fizz.one-off";
    /// The container that holds the network namespace of the one that bears this.
    pub const SANDBOX: &str = "fizz.sandbox";
    /// On a container that only holds a network namespace: for which container of ours.
    pub const SANDBOX_OF: &str = "fizz.sandbox-of";
    /// A network's or volume's key in its Compose file.
    pub const RESOURCE: &str = "fizz.resource";
}

/// The answer to a call.
pub type Reply<'a, T> = BoxFuture<'a, Result<T, RuntimeError>>;

/// Why a runtime did not do what it was told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuntimeError {
    /// It cannot be reached, or did not answer in time. Worth waiting for.
    #[error(
        "{runtime} at {address} does not answer: {why}; {} or set `runtime.socket`",
        how_to_start(runtime)
    )]
    Unreachable {
        /// Which runtime.
        runtime: &'static str,
        /// Where.
        address: String,
        /// What the system said.
        why: String,
    },
    /// None answers where they usually are. Worth waiting for, too.
    #[error(
        "no container runtime answers ({0}); install one, like docker.io, or podman with `systemctl enable --now podman.socket`, or set `runtime.socket` to where one is; for containerd, restart fizz after that"
    )]
    Absent(String),
    /// What was named is not there.
    #[error("{what} `{name}` is not there")]
    NotFound {
        /// `image`, `container`, `network`, `volume`.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// Something else has the name, or is in the way.
    #[error("{0}")]
    Conflict(String),
    /// The registry wants other credentials.
    #[error("{registry} refused {image}: {why}; log in with `docker login {registry}`")]
    Unauthorized {
        /// The registry.
        registry: String,
        /// The image.
        image: String,
        /// What it said.
        why: String,
    },
    /// It cannot do this at all: too old, or another kind of system.
    #[error("{0}")]
    Unsupported(String),
    /// It refused or failed, in its own words.
    #[error("{doing}: {why}")]
    Failed {
        /// What was being done: `create container shop-web-1`.
        doing: String,
        /// What it said.
        why: String,
    },
}

impl RuntimeError {
    /// Whether the runtime did not answer, which says nothing about what it was asked for.
    #[must_use]
    pub fn is_silence(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Absent(_) => true,
            Self::NotFound { .. }
            | Self::Conflict(_)
            | Self::Unauthorized { .. }
            | Self::Unsupported(_)
            | Self::Failed { .. } => false,
        }
    }
}

/// Docker's service starts with the machine; the others' may have to be asked to.
fn how_to_start(runtime: &str) -> &'static str {
    match runtime {
        "podman" => "start it by `systemctl enable --now podman.socket`",
        "containerd" => "start it by `systemctl enable --now containerd`",
        _ => "start it",
    }
}

/// What a runtime is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeInfo {
    /// `docker`, `podman`.
    pub name: &'static str,
    /// Its version.
    pub version: String,
    /// Its API's version.
    pub api_version: String,
    /// `linux`.
    pub os: String,
    /// `x86_64`.
    pub architecture: String,
    /// Cores.
    pub cpus: u32,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Containers go on while the runtime restarts (Docker's `live-restore`).
    pub live_restore: bool,
    /// Where it keeps its data.
    pub root: String,
}

/// Something happened to a container of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeEvent {
    /// Which, in the runtime's terms.
    pub runtime_id: RuntimeId,
    /// Which, in ours.
    pub container: ContainerId,
    /// What.
    pub kind: RuntimeEventKind,
}

/// What happened to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuntimeEventKind {
    /// Its process began, or it was taken out of a pause.
    Started,
    /// Its process ended.
    Ended,
    /// It is gone.
    Removed,
    /// Anything else worth a look: paused, renamed, joined to a network.
    Changed,
}

/// Everything a runtime needs to make one container.
#[derive(Clone, Debug)]
pub struct CreateContainer {
    /// The node that makes it, for its label.
    pub node: NodeId,
    /// Ours.
    pub container: ContainerId,
    /// Its name in the runtime.
    pub name: ContainerName,
    /// Its project.
    pub project: ProjectName,
    /// Its service.
    pub service: ServiceName,
    /// Its slot.
    pub slot: Slot,
    /// Its revision.
    pub revision: Revision,
    /// A container of `fizz run`.
    pub one_off: bool,
    /// What it is.
    pub spec: ContainerSpec,
    /// Its project's networks that it joins, in the order of joining.
    pub networks: Vec<ResolvedNetwork>,
    /// The network namespace that the container's process is started in, as a path that the runtime sees:
    /// made and wired by whoever calls, and there again at every start. The runtime then sets up no network,
    /// no ports and no names: `network`, `networks`, `ports` and `mac_address` mean nothing to it. `dns`,
    /// `dns_search`, `dns_opt`, `extra_hosts` and `hostname` hold as ever.
    pub network_namespace: Option<PathBuf>,
    /// The runtime's names of the project's volumes, by their key in the file.
    pub volumes: BTreeMap<String, String>,
    /// Files of the node to mount read-only: configs and secrets.
    pub files: Vec<MountedFile>,
    /// The runtime's containers that `service:NAME` in network, ipc, pid and volumes_from means.
    pub peers: BTreeMap<ServiceName, RuntimeId>,
    /// Names of running containers for legacy `links`: service to its containers' names.
    pub links: BTreeMap<ServiceName, Vec<String>>,
}

impl CreateContainer {
    /// The labels by which the container is known again.
    pub(super) fn own_labels(&self) -> BTreeMap<String, String> {
        [
            (labels::NODE, self.node.to_string()),
            (labels::CONTAINER, self.container.to_string()),
            (labels::PROJECT, self.project.to_string()),
            (labels::SERVICE, self.service.to_string()),
            (labels::SLOT, self.slot.to_string()),
            (labels::REVISION, self.revision.to_string()),
            (labels::ONE_OFF, self.one_off.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }
}

/// A container as its labels tell of it, and nothing else; `None` if it is none of ours.
pub(super) fn labelled<'a>(label: impl Fn(&str) -> Option<&'a str>) -> Option<Observed> {
    Some(Observed {
        runtime_id: RuntimeId("".into()),
        name: String::new(),
        container: label(labels::CONTAINER)?.parse().ok()?,
        project: label(labels::PROJECT)?.parse().ok()?,
        service: label(labels::SERVICE)?.parse().ok()?,
        slot: Slot(label(labels::SLOT)?.parse().ok()?),
        revision: label(labels::REVISION)?.parse().ok()?,
        one_off: label(labels::ONE_OFF) == Some("true"),
        image: ImageId("".into()),
        command: String::new(),
        state: RuntimeState::Broken,
        created: WallTime::default(),
        addresses: BTreeMap::new(),
        ports: Vec::new(),
        shares: Vec::new(),
    })
}

/// What is asked for a network namespace for a container, beyond its processes' lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxRequest {
    /// For which container.
    pub container: ContainerId,
    /// The name that it has there.
    pub hostname: String,
    /// The NIS domain.
    pub domain_name: Option<String>,
    /// The resolvers' addresses.
    pub dns: Vec<String>,
    /// The domains that are searched.
    pub dns_search: Vec<String>,
    /// Options for the resolver.
    pub dns_options: Vec<String>,
    /// Further lines for `/etc/hosts`: name and address.
    pub extra_hosts: Vec<(String, String)>,
}

/// How a container comes into a network namespace that the runtime has not wired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sandbox {
    /// It is started in one that its caller has made, by [`CreateContainer::network_namespace`].
    Given,
    /// It joins the one that this container holds.
    Held(Held),
}

/// A network namespace that a container holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The container, in the runtime's terms.
    pub id: RuntimeId,
    /// The namespace.
    pub namespace: PathBuf,
}

/// A network to join.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolvedNetwork {
    /// Its name in the runtime.
    pub name: String,
    /// How to join it; aliases include the service's name.
    pub attachment: NetworkAttachment,
}

/// A file of the node that a container gets read-only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountedFile {
    /// Where it is on the node.
    pub source: PathBuf,
    /// Where it is in the container.
    pub target: String,
}

/// A registry's credentials, as `docker login` keeps them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The registry's host.
    pub registry: String,
    /// The user.
    pub username: String,
    /// The password.
    pub password: String,
    /// Or a token that stands for both.
    pub identity_token: String,
}

impl fmt::Debug for Credentials {
    /// Never shows the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({}@{})", self.username, self.registry)
    }
}

/// One step of a pull or a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The layer, when it is about one.
    pub layer: Option<String>,
    /// What is being done: `Downloading`, or a line of the build's output.
    pub status: String,
    /// Bytes done, when counted.
    pub current_bytes: Option<u64>,
    /// Bytes in all, when known.
    pub total_bytes: Option<u64>,
}

/// An image of the node.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageInfo {
    /// Its id.
    pub id: ImageId,
    /// Its names.
    pub references: Vec<String>,
    /// Its names by digest: `docker.io/library/redis@sha256:...`.
    pub digests: Vec<String>,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// When it was made.
    pub created: WallTime,
    /// `linux/amd64`.
    pub platform: String,
    /// Its own health check, for services that set none.
    pub health: Option<crate::model::spec::HealthSpec>,
    /// Its stop signal.
    pub stop_signal: Option<String>,
    /// Its entrypoint and command, for listings.
    pub command: Vec<String>,
}

/// What to build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildRequest {
    /// The names that the image gets; the first is the service's.
    pub tags: Vec<String>,
    /// The Dockerfile's path in the context.
    pub dockerfile: Option<String>,
    /// Build arguments.
    pub args: BTreeMap<String, Option<String>>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// The stage to stop at.
    pub target: Option<String>,
    /// Images whose layers may be reused.
    pub cache_from: Vec<String>,
    /// Do not reuse layers.
    pub no_cache: bool,
    /// Ask the registry for base images.
    pub pull: bool,
    /// The platform.
    pub platform: Option<String>,
    /// The network during the build.
    pub network: Option<String>,
    /// `/dev/shm` in bytes.
    pub shm_bytes: Option<u64>,
    /// Lines for `/etc/hosts`: name and address.
    pub extra_hosts: Vec<(String, String)>,
    /// Resource limits by name: soft and hard.
    pub ulimits: BTreeMap<String, (i64, i64)>,
    /// With all privileges. The classic builder cannot: refused by it.
    pub privileged: bool,
}

/// Which log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogsRequest {
    /// Go on as they come.
    pub follow: bool,
    /// Only this many of the last; all when not set.
    pub tail: Option<u64>,
    /// Not before.
    pub since: Option<WallTime>,
    /// Not after.
    pub until: Option<WallTime>,
}

/// A line of a container's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// From where.
    pub stream: StreamKind,
    /// When, as the runtime wrote it, in nanoseconds since the Unix epoch.
    pub at_ns: u64,
    /// The line without its end. Bytes, as containers write what they like.
    pub line: Bytes,
}

/// Which of a process's outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamKind {
    /// Standard output, and everything of a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A command in a running container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecRequest {
    /// Its words.
    pub command: Vec<String>,
    /// As whom.
    pub user: Option<String>,
    /// Where.
    pub working_dir: Option<String>,
    /// With these variables: `NAME=value`.
    pub environment: Vec<String>,
    /// With a terminal of this many columns and rows.
    pub tty: Option<(u16, u16)>,
    /// With standard input.
    pub stdin: bool,
    /// With all privileges.
    pub privileged: bool,
    /// Do not wait for it, nor for its output.
    pub detach: bool,
}

/// Being joined to a container's own process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttachRequest {
    /// With standard input.
    pub stdin: bool,
    /// Whether the container has a terminal.
    pub tty: bool,
}

/// A conversation with a process.
pub struct Session {
    /// What it writes; ends when it does.
    pub output: BoxStream<'static, Result<SessionOutput, RuntimeError>>,
    /// What it reads. Dropping it closes the process's standard input.
    pub input: mpsc::Sender<SessionInput>,
}

/// A running command in a container.
pub struct ExecSession {
    /// The conversation; no output when detached.
    pub session: Session,
    /// Its status once it has ended; `None` when detached.
    pub exit_code: BoxFuture<'static, Result<Option<i64>, RuntimeError>>,
}

/// Something a process wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionOutput {
    /// Where to.
    pub stream: StreamKind,
    /// What.
    pub bytes: Bytes,
}

/// Something for a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionInput {
    /// To read.
    Bytes(Bytes),
    /// Its terminal now has this many columns and rows.
    Resize(u16, u16),
}

/// What a container uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContainerStats {
    /// CPU in hundredths of a percent of one core, since the last reading.
    pub cpu_hundredths_percent: u64,
    /// Memory in bytes, without the page cache.
    pub memory_bytes: u64,
    /// Its bound in bytes.
    pub memory_limit_bytes: u64,
    /// Bytes received.
    pub network_rx_bytes: u64,
    /// Bytes sent.
    pub network_tx_bytes: u64,
    /// Bytes read from devices.
    pub block_read_bytes: u64,
    /// Bytes written to devices.
    pub block_write_bytes: u64,
    /// Processes.
    pub pids: u64,
}

/// A container's processes, as ps(1) lists them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessList {
    /// The columns' names.
    pub titles: Vec<String>,
    /// One row a process.
    pub processes: Vec<Vec<String>>,
}

/// A volume of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeInfo {
    /// Its name.
    pub name: String,
    /// Its driver.
    pub driver: String,
    /// Where it is on the node.
    pub mountpoint: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its driver's options.
    pub options: BTreeMap<String, String>,
    /// When it was made.
    pub created: Option<WallTime>,
}

/// A container runtime.
pub trait Runtime: Send + Sync + 'static {
    /// What it is; also tells whether it answers.
    fn info(&self) -> Reply<'_, RuntimeInfo>;

    /// Every container that bears this node's label, running or not.
    fn list(&self, node: NodeId) -> Reply<'_, Vec<Observed>>;

    /// One container, if it is there.
    fn observe(&self, id: &RuntimeId) -> Reply<'_, Option<Observed>>;

    /// What happens from now on to containers that bear this node's label. Ends with an error when the
    /// runtime goes away.
    fn events(&self, node: NodeId) -> BoxStream<'static, Result<RuntimeEvent, RuntimeError>>;

    /// Fetches an image and returns its id.
    fn pull(
        &self,
        image: &str,
        platform: Option<&str>,
        credentials: Option<Credentials>,
        progress: mpsc::Sender<Progress>,
    ) -> Reply<'_, ImageId>;

    /// Builds an image from a context, a tar stream, and returns its id.
    fn build(
        &self,
        request: BuildRequest,
        context: BoxStream<'static, Result<Bytes, std::io::Error>>,
        credentials: Vec<Credentials>,
        progress: mpsc::Sender<Progress>,
    ) -> Reply<'_, ImageId>;

    /// An image by any of its names, if the node has it.
    fn image(&self, reference: &str) -> Reply<'_, Option<ImageInfo>>;

    /// Removes an image; one that is used stays and is a conflict.
    fn remove_image(&self, reference: &str) -> Reply<'_, ()>;

    /// Makes sure that a network is there. An external one must be. One of ours that differs from the
    /// spec and has no containers is made anew; with containers it is a conflict.
    fn ensure_network(
        &self,
        spec: &NetworkSpec,
        labels: &BTreeMap<String, String>,
    ) -> Reply<'_, ()>;

    /// Removes a network.
    fn remove_network(&self, name: &str) -> Reply<'_, ()>;

    /// The names of the networks that bear this label.
    fn networks(&self, label: &str, value: &str) -> Reply<'_, Vec<String>>;

    /// Makes sure that a volume is there. An external one must be.
    fn ensure_volume(&self, spec: &VolumeSpec, labels: &BTreeMap<String, String>) -> Reply<'_, ()>;

    /// Removes a volume; one that is used stays and is a conflict.
    fn remove_volume(&self, name: &str) -> Reply<'_, ()>;

    /// The volumes, all or those that bear a label.
    fn volumes(&self, label: Option<(&str, &str)>) -> Reply<'_, Vec<VolumeInfo>>;

    /// Makes a container; its image must be there. A container of ours that has the name already and
    /// bears the same [`ContainerId`] is returned as it is.
    fn create(&self, request: &CreateContainer) -> Reply<'_, RuntimeId>;

    /// Starts a container.
    fn start(&self, id: &RuntimeId) -> Reply<'_, ()>;

    /// Asks it to stop by its stop signal, and kills it after `grace`.
    fn stop(&self, id: &RuntimeId, grace: Option<Millis>) -> Reply<'_, ()>;

    /// Sends it a signal.
    fn kill(&self, id: &RuntimeId, signal: &str) -> Reply<'_, ()>;

    /// Removes it, killing it first if it runs, with its anonymous volumes if asked to.
    fn remove(&self, id: &RuntimeId, anonymous_volumes: bool) -> Reply<'_, ()>;

    /// Gives it another name.
    fn rename(&self, id: &RuntimeId, name: &ContainerName) -> Reply<'_, ()>;

    /// Everything the runtime tells about it, in the runtime's own form.
    fn inspect(&self, id: &RuntimeId) -> Reply<'_, serde_json::Value>;

    /// Its output.
    fn logs(
        &self,
        id: &RuntimeId,
        request: LogsRequest,
    ) -> BoxStream<'static, Result<LogLine, RuntimeError>>;

    /// Runs a command in it.
    fn exec(&self, id: &RuntimeId, request: ExecRequest) -> Reply<'_, ExecSession>;

    /// Joins its own process, from now on.
    fn attach(&self, id: &RuntimeId, request: AttachRequest) -> Reply<'_, Session>;

    /// What it uses, about once a second.
    fn stats(&self, id: &RuntimeId) -> BoxStream<'static, Result<ContainerStats, RuntimeError>>;

    /// Its processes.
    fn top(&self, id: &RuntimeId, ps_arguments: &str) -> Reply<'_, ProcessList>;

    /// A path in it as a tar stream.
    fn copy_out(
        &self,
        id: &RuntimeId,
        path: &str,
    ) -> BoxStream<'static, Result<Bytes, RuntimeError>>;

    /// Unpacks a tar stream into a directory in it.
    fn copy_in(
        &self,
        id: &RuntimeId,
        directory: &str,
        tar: BoxStream<'static, Result<Bytes, std::io::Error>>,
    ) -> Reply<'_, ()>;

    /// How a container is to come into a network namespace; where another container has to hold that, it does
    /// so from now on.
    fn sandbox(&self, request: &SandboxRequest) -> Reply<'_, Sandbox>;

    /// The network namespace that is held for a container, if one is.
    fn held_sandbox(&self, container: ContainerId) -> Reply<'_, Option<Held>>;

    /// Lets go of the network namespace that is held for a container, if one is.
    fn let_sandbox_go(&self, container: ContainerId) -> Reply<'_, ()>;

    /// Its process's id on the node, and the address by which the node reaches it, for probes.
    fn address(&self, id: &RuntimeId) -> Reply<'_, Option<std::net::IpAddr>>;
}
