//! What travels between the API and its clients, as JSON. Field names are the API's contract:
//! they may be added to, never renamed. Every type is in the OpenAPI document. What a client sends
//! must be known: a field that the daemon does not have is refused, never dropped.
//!
//! Times are milliseconds since the Unix epoch (`..._ms`), spans are milliseconds, sizes are bytes.

mod cluster;
mod doctor;
mod images;
mod ingress;
mod mesh;
mod rollouts;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

pub use cluster::{
    Admission, Cluster, CreateToken, Founded, Join, Joined, Labels, Leave, NewToken, RemoveNode,
    Rotated, Token,
};
pub use doctor::{Check, Examination, Finding, Sight, SightOf};
pub use images::{Build, Image, Progress, Pull};
pub use ingress::{IngressPort, IngressReplica, NodeIngress};
pub use mesh::{NameAnswer, NameRecord, NodeMesh};
pub use rollouts::{
    Availability, Explanation, FailedChange, Migrate, Move, NodeVerdict, Rebalance, ReplicaPlace,
    Revision, RevisionChange, Rollback, RolloutAction, ServiceNode,
};

/// An error as RFC 9457 has it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// A stable name of the kind of error: `urn:fizz:not-found`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What is wrong, in a few words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong and why, in full.
    pub detail: String,
    /// What to do next.
    pub hint: String,
    /// Several problems of one document, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// Versions of the daemon and of what is under it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Version {
    /// Fizz's version.
    pub version: String,
    /// The API's version: `v1`.
    pub api: String,
    /// The container runtime: `docker 28.2.2`; absent while it cannot be reached.
    pub runtime: Option<String>,
    /// The kernel's release.
    pub kernel: String,
    /// `x86_64`.
    pub architecture: String,
}

/// A node.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Node {
    /// Its id, 32 hexadecimal digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `joining`, `alive`, `suspicious`, `dead`, `left`, `failed`: how the node that answers sees it.
    pub state: String,
    /// `open`, `cordoned` (it takes no new containers) or `draining` (what it has goes elsewhere).
    #[serde(default = "open")]
    pub availability: String,
    /// Where its peers reach it.
    pub address: Option<String>,
    /// Fizz's version on it.
    pub version: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Cores.
    pub cpus: u32,
    /// Memory.
    pub memory_bytes: u64,
    /// `x86_64`.
    pub architecture: String,
    /// The kernel's release.
    pub kernel: String,
    /// The container runtime and its version; absent while it cannot be reached.
    pub runtime: Option<String>,
    /// Why the runtime cannot be reached, while it cannot.
    pub runtime_problem: Option<String>,
    /// Since when it is in its state.
    pub since_ms: u64,
    /// Containers on it that run.
    pub containers: u32,
    /// Whether this is the node that answers.
    pub is_self: bool,
    /// How long it takes to answer the node that answers.
    #[serde(default)]
    pub round_trip_ms: Option<u64>,
    /// The newest of the cluster's keys that it has.
    #[serde(default)]
    pub key_epoch: u32,
    /// How it came into the cluster; absent for the node that made it.
    #[serde(default)]
    pub admission: Option<Admission>,
    /// Its place in the mesh, if it has one.
    #[serde(default)]
    pub mesh: Option<NodeMesh>,
}

fn open() -> String {
    "open".to_owned()
}

/// Asks for a deployment: the canonical model and how to apply it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Deploy {
    /// The canonical model, as `fizz config --format json` prints it (with `$` single), configs'
    /// contents attached.
    #[schema(value_type = Object)]
    pub model: Value,
    /// The bytes of the file and environment secrets, by their key, in base64.
    #[serde(default)]
    pub secrets: BTreeMap<String, String>,
    /// Registry credentials that its images may need.
    #[serde(default)]
    pub credentials: Vec<RegistryCredentials>,
    /// Where the file was, for listings.
    #[serde(default)]
    pub working_dir: String,
    /// The files it came from, for listings.
    #[serde(default)]
    pub files: Vec<String>,
    /// Only these services (and what they depend on, unless `no_deps`); empty is all.
    #[serde(default)]
    pub services: Vec<String>,
    /// Leave the dependencies of `services` alone.
    #[serde(default)]
    pub no_deps: bool,
    /// Replace containers even if nothing changed.
    #[serde(default)]
    pub force_recreate: bool,
    /// Keep containers even if something changed.
    #[serde(default)]
    pub no_recreate: bool,
    /// Remove services of the project that the model does not have.
    #[serde(default)]
    pub remove_orphans: bool,
    /// Make everything, start nothing (`fizz up --no-start`, `fizz create`).
    #[serde(default)]
    pub no_start: bool,
    /// Replicas by service, over the model's.
    #[serde(default)]
    pub scale: BTreeMap<String, u32>,
    /// The image id that each service's containers must run, where the image is on the node already.
    #[serde(default)]
    pub images: BTreeMap<String, String>,
    /// How long replaced containers may take to stop.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
    /// New anonymous volumes for replaced containers.
    #[serde(default)]
    pub renew_anon_volumes: bool,
    /// Refuse if the deployment is no longer at this version (see [`Plan::version`]).
    #[serde(default)]
    pub if_version: Option<u64>,
    /// Only answer with the plan.
    #[serde(default)]
    pub dry_run: bool,
}

/// Credentials of a registry.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegistryCredentials {
    /// The registry's host: `docker.io`, `127.0.0.1:5000`.
    pub registry: String,
    /// The user.
    #[serde(default)]
    pub username: String,
    /// The password.
    #[serde(default)]
    pub password: String,
    /// Or a token that stands for both.
    #[serde(default)]
    pub identity_token: String,
}

impl std::fmt::Debug for RegistryCredentials {
    /// Never shows the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RegistryCredentials({}@{})", self.username, self.registry)
    }
}

/// What a deployment changes.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Plan {
    /// The project.
    pub project: String,
    /// The deployment's version before the change; 0 when there is none. Goes into
    /// [`Deploy::if_version`].
    pub version: u64,
    /// Service by service.
    pub services: Vec<ServicePlan>,
    /// Networks that are made.
    pub networks: Vec<String>,
    /// Volumes that are made.
    pub volumes: Vec<String>,
    /// Services of the project that the model does not have and that stay.
    pub orphans: Vec<String>,
    /// Whether the project's networks span the nodes.
    pub overlay: bool,
}

/// What a deployment changes about one service.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct ServicePlan {
    /// The service.
    pub service: String,
    /// `create`, `replace`, `update` (without touching containers), `scale`, `start`, `keep` or `remove`.
    pub action: String,
    /// Replicas before.
    pub replicas_before: u32,
    /// Replicas after.
    pub replicas_after: u32,
    /// Field by field.
    pub changes: Vec<FieldChange>,
}

/// One field that changes.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FieldChange {
    /// Its path in the service: `environment.LOG_LEVEL`.
    pub path: String,
    /// The value before; absent when it was not set.
    #[schema(value_type = Option<Object>)]
    pub before: Option<Value>,
    /// The value after; absent when it is removed.
    #[schema(value_type = Option<Object>)]
    pub after: Option<Value>,
}

/// A deployment was taken over and is durable.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Deployed {
    /// The deployment's version now.
    pub version: u64,
    /// What changes.
    pub plan: Plan,
    /// The last event before the change: watch `/v1/events` from here.
    pub event: u64,
}

/// A deployed project.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Deployment {
    /// Its name.
    pub name: String,
    /// How often it was changed.
    pub version: u64,
    /// Where its file was.
    pub working_dir: String,
    /// The files it came from.
    pub files: Vec<String>,
    /// When it was last changed.
    pub updated_ms: u64,
    /// Its services.
    pub services: Vec<Service>,
    /// Whether it is being removed.
    pub removing: bool,
}

/// A service of a deployment.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Service {
    /// Its project.
    pub project: String,
    /// Its name.
    pub name: String,
    /// `run`, `stop` or `remove`: what is wanted.
    pub intent: String,
    /// The image's reference.
    pub image: String,
    /// `replicated`, `global`, `replicated-job` or `global-job`.
    pub mode: String,
    /// How many are wanted.
    pub replicas: u32,
    /// How many run.
    pub running: u32,
    /// How many are well: healthy, or running without a health check.
    pub healthy: u32,
    /// Whether everything wanted is as wanted: converged.
    pub ready: bool,
    /// What cannot be reached without help, if anything: the reason.
    pub stuck: Option<String>,
    /// When it runs, if it runs by the clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<Cron>,
    /// Its revision.
    pub revision: String,
    /// What it was made from before, while the change from it goes on.
    #[serde(default)]
    pub previous: Option<String>,
    /// How far the change is: `done`, `going`, `canary` (a person promotes it, or aborts it), `paused` or
    /// `returning` (they change back).
    #[serde(default)]
    pub stage: String,
    /// How many containers are of its revision, and well.
    #[serde(default)]
    pub updated: u32,
    /// How many containers of its revision are in trouble.
    #[serde(default)]
    pub failing: u32,
    /// How many replicas of a new revision run before a person promotes it.
    #[serde(default)]
    pub canaries: Option<u32>,
    /// The last change that failed, until another is applied.
    #[serde(default)]
    pub failed: Option<FailedChange>,
    /// The nodes that its containers are on.
    #[serde(default)]
    pub nodes: Vec<ServiceNode>,
    /// The canonical definition.
    #[schema(value_type = Object)]
    pub definition: Value,
}

/// When a service runs that runs by the clock.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Cron {
    /// As the file says it.
    pub schedule: String,
    /// The tick that comes next, in milliseconds since 1970; not while it is suspended.
    pub next_ms: Option<u64>,
    /// The tick of the last run that is known.
    pub last_ms: Option<u64>,
}

/// A container.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Container {
    /// Its id, 32 hexadecimal digits.
    pub id: String,
    /// Its name in the runtime.
    pub name: String,
    /// Its id in the runtime, once it has one.
    pub runtime_id: Option<String>,
    /// The node that runs it.
    pub node: String,
    /// That node's name.
    pub node_name: String,
    /// `suspicious` or `dead`, if the node is out of reach: all else is what was last heard of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_state: Option<String>,
    /// Its project.
    pub project: String,
    /// Its service.
    pub service: String,
    /// Its slot, from one.
    pub slot: u32,
    /// A container of `fizz run`.
    pub one_off: bool,
    /// The image's reference.
    pub image: String,
    /// The image's id, once known.
    pub image_id: Option<String>,
    /// `pending`, `running`, `healthy`, `unhealthy`, `stopped` or `failed`.
    pub state: String,
    /// What is being done to it, if anything: `pulling`, `creating`, `starting`, `stopping`, `removing`,
    /// `waiting for db to be healthy`, `restarting in 3s`.
    pub doing: Option<String>,
    /// Why it is in its state, where that is worth a word.
    pub reason: Option<String>,
    /// Its last status.
    pub exit_code: Option<i64>,
    /// How often it was started again.
    pub restarts: u32,
    /// Its revision.
    pub revision: String,
    /// When it was recorded.
    pub created_ms: u64,
    /// Since when it is in its state.
    pub since_ms: u64,
    /// Its command.
    pub command: String,
    /// Its published ports.
    pub ports: Vec<Port>,
    /// Its addresses, by network.
    pub addresses: BTreeMap<String, String>,
    /// Its last health checks, newest last.
    #[serde(default)]
    pub health: Vec<HealthResult>,
}

/// One health check's result.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct HealthResult {
    /// When it ended.
    pub at_ms: u64,
    /// Whether it passed.
    pub passed: bool,
    /// What it said, cut to 4 KiB.
    pub output: String,
}

/// A published port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Port {
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
    /// In the container.
    pub target: u16,
    /// The host's address.
    pub host_ip: String,
    /// On the host.
    pub published: u16,
}

/// Something to do to services of a project. The answer comes when it is durable.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceAction {
    /// `start`, `stop`, `restart`, `kill`, `remove` (containers of stopped services; with `force`, of any) or `scale`.
    pub action: String,
    /// Which; empty is all.
    #[serde(default)]
    pub services: Vec<String>,
    /// For `stop`, `restart` and `remove`: how long containers may take to stop.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
    /// For `kill`.
    #[serde(default)]
    pub signal: Option<String>,
    /// For `remove`: stop what runs.
    #[serde(default)]
    pub force: bool,
    /// For `remove`: with anonymous volumes.
    #[serde(default)]
    pub volumes: bool,
    /// For `restart`: leave services that depend on it with `restart: true` alone.
    #[serde(default)]
    pub no_deps: bool,
    /// For `scale`: replicas by service.
    #[serde(default)]
    pub scale: BTreeMap<String, u32>,
}

/// A change was taken over and is durable.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Accepted {
    /// The last event before the change: watch `/v1/events` from here.
    pub event: u64,
}

/// How to remove a deployment (query).
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct RemoveDeployment {
    /// With its volumes: named ones of the file and anonymous ones.
    #[serde(default)]
    pub volumes: bool,
    /// With images: `local` (those without a name of a registry, that is, built) or `all`.
    #[serde(default)]
    pub images: Option<String>,
    /// How long containers may take to stop.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
    /// Only these services, comma-separated; empty is all.
    #[serde(default)]
    pub services: String,
    /// Services that the given model no longer has go too; they always go when `services` is empty.
    #[serde(default)]
    pub remove_orphans: bool,
}

/// Asks for a container of a service beside its replicas: `fizz run`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RunOneOff {
    /// The command; empty is the service's.
    #[serde(default)]
    pub command: Vec<String>,
    /// Over the service's.
    #[serde(default)]
    pub entrypoint: Option<Vec<String>>,
    /// The container's name; one is made when not set.
    #[serde(default)]
    pub name: Option<String>,
    /// Over the service's: `NAME=value`.
    #[serde(default)]
    pub environment: Vec<String>,
    /// Over the service's.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Over the service's.
    #[serde(default)]
    pub user: Option<String>,
    /// Over the service's.
    #[serde(default)]
    pub working_dir: Option<String>,
    /// With a terminal.
    #[serde(default)]
    pub tty: bool,
    /// With standard input.
    #[serde(default)]
    pub stdin: bool,
    /// Publish the service's ports.
    #[serde(default)]
    pub service_ports: bool,
    /// Publish these instead, in the long syntax.
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    pub publish: Vec<Value>,
    /// Further mounts, in the long syntax.
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    pub volumes: Vec<Value>,
    /// Use the service's network aliases.
    #[serde(default)]
    pub use_aliases: bool,
    /// Remove it when it has ended.
    #[serde(default)]
    pub remove: bool,
    /// Do not start what it depends on.
    #[serde(default)]
    pub no_deps: bool,
    /// Start at once. Otherwise it starts when `POST /v1/containers/{id}/attach` has attached.
    #[serde(default)]
    pub detach: bool,
}

/// A container was recorded.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Created {
    /// Its id.
    pub container: String,
}

/// How a container ended.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Ended {
    /// Its status.
    pub exit_code: i64,
}

/// A line of output (one JSON document a line, `application/x-ndjson`).
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// The container's id.
    pub container: String,
    /// Its name.
    pub name: String,
    /// Its service.
    pub service: String,
    /// `stdout` or `stderr`; `warning` is no container's: `line` says why there are none of the node
    /// `name`.
    pub stream: String,
    /// When, in nanoseconds since the Unix epoch, as text since JSON's numbers end at 2^53.
    pub at_ns: String,
    /// The line; bytes that are not UTF-8 are replaced.
    pub line: String,
}

/// What to run in a container.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Exec {
    /// Its words.
    pub command: Vec<String>,
    /// As whom.
    #[serde(default)]
    pub user: Option<String>,
    /// Where.
    #[serde(default)]
    pub working_dir: Option<String>,
    /// `NAME=value`.
    #[serde(default)]
    pub environment: Vec<String>,
    /// With a terminal.
    #[serde(default)]
    pub tty: bool,
    /// The terminal's columns.
    #[serde(default)]
    pub columns: u16,
    /// The terminal's rows.
    #[serde(default)]
    pub rows: u16,
    /// With standard input.
    #[serde(default)]
    pub stdin: bool,
    /// With all privileges.
    #[serde(default)]
    pub privileged: bool,
    /// Do not wait for it.
    #[serde(default)]
    pub detach: bool,
}

/// What a container uses (one JSON document a line).
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Stats {
    /// The container's id.
    pub container: String,
    /// Its name.
    pub name: String,
    /// CPU in hundredths of a percent of one core.
    pub cpu_hundredths_percent: u64,
    /// Memory.
    pub memory_bytes: u64,
    /// Its bound.
    pub memory_limit_bytes: u64,
    /// Received.
    pub network_rx_bytes: u64,
    /// Sent.
    pub network_tx_bytes: u64,
    /// Read from devices.
    pub block_read_bytes: u64,
    /// Written to devices.
    pub block_write_bytes: u64,
    /// Processes.
    pub pids: u64,
    /// This is no measurement: the node `name` cannot tell what its containers use, for this reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// A container's processes.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Top {
    /// The container's name.
    pub name: String,
    /// The columns' names.
    pub titles: Vec<String>,
    /// One row a process.
    pub processes: Vec<Vec<String>>,
}

/// A volume.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// Its project, if it is one's.
    pub project: Option<String>,
    /// Its key in the file, if it is a project's.
    pub resource: Option<String>,
    /// The node that has it.
    pub node: String,
    /// That node's name.
    #[serde(default)]
    pub node_name: String,
    /// Its driver.
    pub driver: String,
    /// Where it is on the node.
    pub mountpoint: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its driver's options.
    pub options: BTreeMap<String, String>,
    /// When it was made.
    pub created_ms: Option<u64>,
}

/// Something that happened. Server-sent: `id:` is `id`, `event:` is `kind`, `data:` is all of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Grows by one each; ids begin anew when the daemon starts, above all earlier ones.
    pub id: u64,
    /// When.
    pub at_ms: u64,
    /// `deployment.changed`, `deployment.removing`, `deployment.removed`, `service.changed`,
    /// `service.removed`, `container.state`, `container.doing`, `container.removed`, `container.health`,
    /// `ingress.state`, `image.progress`, `node.state`, `node.changed`, `node.set_back`, `cluster.key`, `runtime.state`, `resource.created`, `resource.removed`, `resource.failed`; and `gap`, where
    /// events that were asked for are no longer kept: read everything again, then go on from its id.
    pub kind: String,
    /// The project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// The service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The container's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The container's, network's, volume's, image's or node's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The state or the activity now; of a deployment its version, of a node that was changed which
    /// containers it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// A container's status at its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    /// Of a pull.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
}

/// Headers of the API's own.
pub mod header {
    /// With `POST /v1/images/build`: credentials that the base images may need, a JSON list of
    /// [`super::RegistryCredentials`] in base64.
    pub const CREDENTIALS: &str = "fizz-credentials";

    /// With a list of what several nodes have: why a part is missing. May be there several times.
    pub const WARNING: &str = "fizz-warning";
}

/// The frames of an upgraded connection (`Upgrade: fizz-session`), for exec and attach: one byte of
/// kind, four bytes of length (big endian), then so many bytes, at most [`frame::BYTES_MAX`].
pub mod frame {
    /// Client to daemon: bytes for standard input.
    pub const STDIN: u8 = 0;
    /// Daemon to client: bytes of standard output.
    pub const STDOUT: u8 = 1;
    /// Daemon to client: bytes of standard error.
    pub const STDERR: u8 = 2;
    /// Client to daemon: the terminal's new columns and rows, two big-endian `u16`.
    pub const RESIZE: u8 = 3;
    /// Client to daemon: standard input has ended. Empty.
    pub const STDIN_END: u8 = 4;
    /// Daemon to client: the process ended; its status as a big-endian `i64`. The last frame.
    pub const EXIT: u8 = 5;
    /// Daemon to client: it cannot go on; a [`super::Problem`] as JSON. The last frame.
    pub const ERROR: u8 = 6;
    /// The longest payload.
    pub const BYTES_MAX: usize = 64 << 10;
    /// What the `Upgrade` header says.
    pub const PROTOCOL: &str = "fizz-session";
}
