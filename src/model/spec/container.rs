//! What one container is made from: the part of a service that a running container cannot change.

use std::{collections::BTreeMap, net::IpAddr};

use crate::model::{Millis, ServiceName};

/// Everything a runtime needs to make a container of a service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContainerSpec {
    /// The image's reference, as written or as the build names it.
    pub image: String,
    /// `linux/arm64/v8`, where a particular one is asked for.
    pub platform: Option<String>,
    /// Replaces the image's command.
    pub command: CommandLine,
    /// Replaces the image's entrypoint.
    pub entrypoint: CommandLine,
    /// Environment variables; a `None` value removes the image's own.
    pub environment: BTreeMap<String, Option<String>>,
    /// `working_dir`.
    pub working_dir: Option<String>,
    /// `user`: `name`, `uid` or `uid:gid`.
    pub user: Option<String>,
    /// Supplementary groups.
    pub group_add: Vec<String>,
    /// `hostname`.
    pub hostname: Option<String>,
    /// `domainname`.
    pub domain_name: Option<String>,
    /// Labels on the container.
    pub labels: BTreeMap<String, String>,
    /// OCI annotations.
    pub annotations: BTreeMap<String, String>,
    /// Keeps standard input open.
    pub stdin_open: bool,
    /// Gives it a terminal.
    pub tty: bool,
    /// Runs an init process as PID 1.
    pub init: Option<bool>,
    /// The OCI runtime, as the container runtime names it.
    pub oci_runtime: Option<String>,
    /// The signal that asks it to stop.
    pub stop_signal: Option<String>,
    /// How long it may take to stop before it is killed; ten seconds when not set.
    pub stop_grace: Option<Millis>,
    /// Its health check.
    pub health: Option<HealthSpec>,
    /// How it is joined to networks.
    pub network: NetworkMode,
    /// Published ports.
    pub ports: Vec<PortSpec>,
    /// Exposed ports that are not published: `8080` or `8080-8090/udp`.
    pub expose: Vec<String>,
    /// DNS servers.
    pub dns: Vec<String>,
    /// DNS options.
    pub dns_options: Vec<String>,
    /// DNS search domains.
    pub dns_search: Vec<String>,
    /// Lines for `/etc/hosts`: name and address, which may be `host-gateway`.
    pub extra_hosts: Vec<(String, String)>,
    /// Legacy links: service and alias.
    pub links: Vec<(ServiceName, String)>,
    /// Links to containers outside the project: container and alias.
    pub external_links: Vec<(String, String)>,
    /// A MAC address for the container as a whole (deprecated form).
    pub mac_address: Option<String>,
    /// Volumes, bind mounts, tmpfs and images.
    pub mounts: Vec<Mount>,
    /// `tmpfs`: path and options as written.
    pub tmpfs: Vec<(String, String)>,
    /// `volumes_from`: `service:NAME[:ro]` or `container:NAME[:ro]`, as written.
    pub volumes_from: Vec<String>,
    /// Configs as files.
    pub configs: Vec<FileMount>,
    /// Secrets as files.
    pub secrets: Vec<FileMount>,
    /// Capabilities, privileges, isolation.
    pub security: Security,
    /// Limits and reservations.
    pub resources: ResourceLimits,
    /// Where its output goes.
    pub logging: Option<LoggingSpec>,
    /// Driver-specific storage options.
    pub storage_options: BTreeMap<String, String>,
    /// Commands run in it after each start.
    pub post_start: Vec<HookSpec>,
    /// Commands run in it before each stop.
    pub pre_stop: Vec<HookSpec>,
}

/// A command line that may replace the image's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CommandLine {
    /// The image's own.
    #[default]
    Image,
    /// This one; empty clears the image's.
    Words(Vec<String>),
}

/// How well-being is found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthSpec {
    /// What to do; `None` takes the image's own test with the timings given here.
    pub test: Option<HealthTest>,
    /// Between the end of one check and the next; 30 s when not set.
    pub interval: Option<Millis>,
    /// After which a check has failed; 30 s when not set.
    pub timeout: Option<Millis>,
    /// Failures in a row that make it unhealthy; 3 when not set.
    pub retries: Option<u32>,
    /// In which failures do not count; 0 when not set.
    pub start_period: Option<Millis>,
    /// Between checks in the start period; 5 s when not set.
    pub start_interval: Option<Millis>,
}

/// One health check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthTest {
    /// None, not even the image's.
    Disabled,
    /// A command in the container; status 0 is well.
    Command(Vec<String>),
    /// A line for the container's shell.
    Shell(String),
    /// An HTTP request to the container (`x-fizz`).
    Http(super::HttpCheck),
    /// A TCP connection to the container (`x-fizz`).
    Tcp(super::TcpCheck),
}

/// How a container is joined to networks.
#[derive(Clone, Debug, PartialEq)]
pub enum NetworkMode {
    /// To the project's networks, by their key in the file.
    Networks(BTreeMap<String, NetworkAttachment>),
    /// To none.
    None,
    /// To the host's own.
    Host,
    /// To the runtime's default bridge.
    Bridge,
    /// In the network namespace of another service's container.
    Service(ServiceName),
    /// In the network namespace of a container by name or id.
    Container(String),
    /// To a network of the runtime by name.
    Named(String),
}

impl Default for NetworkMode {
    fn default() -> Self {
        Self::Networks(BTreeMap::new())
    }
}

/// How a container is joined to one network.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NetworkAttachment {
    /// Further names in this network, beside the service's and the container's.
    pub aliases: Vec<String>,
    /// A fixed IPv4 address.
    pub ipv4: Option<IpAddr>,
    /// A fixed IPv6 address.
    pub ipv6: Option<IpAddr>,
    /// Link-local addresses.
    pub link_local: Vec<IpAddr>,
    /// A fixed MAC address.
    pub mac_address: Option<String>,
    /// The interface's name in the container.
    pub interface_name: Option<String>,
    /// Options for the network's driver.
    pub driver_options: BTreeMap<String, String>,
    /// Networks are joined in the order of falling priority.
    pub priority: i64,
    /// The network with the highest gives the default gateway.
    pub gateway_priority: Option<GatewayPriority>,
}

/// `gw_priority`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GatewayPriority(pub i64);

/// One published port, or a range of host ports to choose from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortSpec {
    /// The port in the container.
    pub target: u16,
    /// The ports on the host.
    pub published: PublishedPorts,
    /// The host's address to bind; all when not set.
    pub host_ip: Option<IpAddr>,
    /// TCP, UDP or SCTP.
    pub protocol: Protocol,
    /// `mode: host` publishes on the node that runs the container only.
    pub host_mode: bool,
    /// A name for people.
    pub name: Option<String>,
    /// What is spoken on it, for people: `http`.
    pub app_protocol: Option<String>,
}

/// Which host ports a container port is published on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishedPorts {
    /// One that the runtime chooses.
    Any,
    /// This one.
    One(u16),
    /// One of these, both ends included.
    Range(u16, u16),
}

/// A transport protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// All that there are.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Sctp];

    /// As Compose files and runtimes write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }

    /// As packets have it (IANA, Protocol Numbers).
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }

    /// The one that packets have so.
    #[must_use]
    pub fn numbered(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.number() == number)
    }

    /// The one that is written so.
    #[must_use]
    pub fn named(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == text)
    }
}

/// One mount.
#[derive(Clone, Debug, PartialEq)]
pub struct Mount {
    /// What is mounted.
    pub kind: MountKind,
    /// Where in the container.
    pub target: String,
    /// Whether the container cannot write.
    pub read_only: bool,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq)]
pub enum MountKind {
    /// A volume of the project by its key in the file, or an anonymous one.
    Volume {
        /// The key under `volumes:`; `None` is anonymous.
        name: Option<String>,
        /// Do not copy the image's content into a new volume.
        no_copy: bool,
        /// A path inside the volume.
        subpath: Option<String>,
        /// Labels for an anonymous volume.
        labels: BTreeMap<String, String>,
    },
    /// A path of the node.
    Bind(Bind),
    /// Memory.
    Tmpfs {
        /// Its bound in bytes.
        size_bytes: Option<u64>,
        /// Its file mode.
        mode: Option<u32>,
    },
    /// The file system of an image.
    Image {
        /// The image's reference.
        image: String,
        /// A path inside it.
        subpath: Option<String>,
    },
}

/// A path of the node in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// The path on the node.
    pub source: String,
    /// Make a missing path as a directory.
    pub create_host_path: bool,
    /// How mounts below it spread.
    pub propagation: Option<Propagation>,
    /// SELinux relabelling: `z` or `Z`.
    pub selinux: Option<char>,
    /// `recursive`: `enabled`, `disabled`, `writable` or `readonly`.
    pub recursive: Option<String>,
}

/// mount(2)'s propagation types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// `private`
    Private,
    /// `rprivate`
    RPrivate,
    /// `shared`
    Shared,
    /// `rshared`
    RShared,
    /// `slave`
    Slave,
    /// `rslave`
    RSlave,
}

/// A config or a secret as a file in the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileMount {
    /// Its key under `configs:` or `secrets:`.
    pub source: String,
    /// Where in the container: absolute.
    pub target: String,
    /// The file's owner; 0 when not set.
    pub uid: Option<u32>,
    /// The file's group; 0 when not set.
    pub gid: Option<u32>,
    /// The file's mode; 0444 when not set.
    pub mode: Option<u32>,
}

/// Capabilities, privileges, isolation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Security {
    /// Everything is allowed.
    pub privileged: bool,
    /// The root file system cannot be written.
    pub read_only: bool,
    /// Capabilities added.
    pub cap_add: Vec<String>,
    /// Capabilities dropped.
    pub cap_drop: Vec<String>,
    /// `security_opt`.
    pub options: Vec<String>,
    /// IPC namespace.
    pub ipc: Option<NamespaceMode>,
    /// PID namespace.
    pub pid: Option<NamespaceMode>,
    /// `uts: host`.
    pub uts_host: bool,
    /// `userns_mode`.
    pub userns: Option<String>,
    /// `cgroup`: `host` or `private`.
    pub cgroup: Option<String>,
    /// `cgroup_parent`.
    pub cgroup_parent: Option<String>,
    /// Kernel parameters of its namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// `isolation`.
    pub isolation: Option<String>,
}

/// Whose namespace a container shares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamespaceMode {
    /// The host's.
    Host,
    /// A service's container's.
    Service(ServiceName),
    /// A container's, by name or id.
    Container(String),
    /// One of the runtime's own words: `private`, `shareable`, `none`.
    Other(String),
}

/// Limits and reservations, from the service's own keys and from `deploy.resources`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResourceLimits {
    /// CPU limit in billionths of a core.
    pub nano_cpus: Option<u64>,
    /// CPU reservation in billionths of a core, for placement.
    pub reserved_nano_cpus: Option<u64>,
    /// Relative CPU weight.
    pub cpu_shares: Option<i64>,
    /// CFS period in microseconds.
    pub cpu_period_us: Option<i64>,
    /// CFS quota in microseconds.
    pub cpu_quota_us: Option<i64>,
    /// Real-time period in microseconds.
    pub cpu_rt_period_us: Option<i64>,
    /// Real-time runtime in microseconds.
    pub cpu_rt_runtime_us: Option<i64>,
    /// Cores it may use: `0-3,5`.
    pub cpuset: Option<String>,
    /// Memory limit in bytes.
    pub memory_bytes: Option<u64>,
    /// Memory reservation in bytes, a soft limit and for placement.
    pub reserved_memory_bytes: Option<u64>,
    /// Memory and swap together in bytes; -1 is no limit on swap.
    pub memory_swap_bytes: Option<i64>,
    /// 0 to 100.
    pub memory_swappiness: Option<u8>,
    /// Processes; -1 is no limit.
    pub pids: Option<i64>,
    /// `/dev/shm` in bytes.
    pub shm_bytes: Option<u64>,
    /// Whether the out-of-memory killer spares it.
    pub oom_kill_disable: bool,
    /// -1000 to 1000.
    pub oom_score_adj: Option<i64>,
    /// Resource limits by name.
    pub ulimits: BTreeMap<String, Ulimit>,
    /// Block I/O.
    pub blkio: Option<BlkioSpec>,
    /// Devices of the node.
    pub devices: Vec<DeviceSpec>,
    /// Rules for the device cgroup.
    pub device_cgroup_rules: Vec<String>,
    /// Devices by capability: GPUs.
    pub device_requests: Vec<DeviceRequest>,
    /// Countable resources that a node declares, for placement: kind and count.
    pub generic: BTreeMap<String, i64>,
}

/// setrlimit(2)'s pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ulimit {
    /// The soft limit.
    pub soft: i64,
    /// The hard limit.
    pub hard: i64,
}

/// Block I/O weights and rates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlkioSpec {
    /// 10 to 1000.
    pub weight: Option<u16>,
    /// Weight by device.
    pub weight_device: Vec<IoWeight>,
    /// Bytes read a second, by device.
    pub read_bps: Vec<ByteRate>,
    /// Bytes written a second, by device.
    pub write_bps: Vec<ByteRate>,
    /// Reads a second, by device.
    pub read_iops: Vec<IoRate>,
    /// Writes a second, by device.
    pub write_iops: Vec<IoRate>,
}

/// A device's weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IoWeight {
    /// The device.
    pub path: String,
    /// 10 to 1000.
    pub weight: u16,
}

/// A device's bytes a second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByteRate {
    /// The device.
    pub path: String,
    /// Bytes a second.
    pub bytes: u64,
}

/// A device's operations a second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IoRate {
    /// The device.
    pub path: String,
    /// Operations a second.
    pub operations: u64,
}

/// A device of the node in the container, or a CDI device name as its source with no target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceSpec {
    /// The path on the node.
    pub source: String,
    /// The path in the container.
    pub target: String,
    /// Any of `r`, `w`, `m`.
    pub permissions: String,
}

/// Devices by capability.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRequest {
    /// The driver.
    pub driver: Option<String>,
    /// How many; -1 is all.
    pub count: Option<i64>,
    /// Or these ones.
    pub device_ids: Vec<String>,
    /// What they must be able to do.
    pub capabilities: Vec<String>,
    /// Options for the driver.
    pub options: BTreeMap<String, String>,
}

/// Where output goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggingSpec {
    /// The driver; the runtime's default when not set.
    pub driver: Option<String>,
    /// Its options.
    pub options: BTreeMap<String, String>,
}

/// A command run in a container at a point of its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookSpec {
    /// The command's words.
    pub command: Vec<String>,
    /// As whom.
    pub user: Option<String>,
    /// With all privileges.
    pub privileged: bool,
    /// Where.
    pub working_dir: Option<String>,
    /// With these variables besides the container's.
    pub environment: BTreeMap<String, Option<String>>,
}
