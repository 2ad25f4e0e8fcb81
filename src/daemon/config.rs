//! What the daemon is told: flags before `FIZZ_*` variables before the file before the defaults.
//!
//! `examples/config.yaml` documents every key; a test below holds it against the types here.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use ipnet::Ipv4Net;
use serde::{Deserialize, Deserializer};

use super::{args::DaemonArgs, facts, membership::MembershipFile};
use crate::{
    model::{ClusterId, NodeName, check_label},
    swim,
    topology::{MTU_BYTES_MIN, Plan, zone::Order},
};

/// Where the file is looked for when none is named.
pub const DEFAULT_PATH: &str = "/etc/fizz/config.yaml";

/// Where members reach one another, unless told otherwise.
const CLUSTER_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 7780);

/// Containers' addresses, the blocks that nodes take of them, and where the mesh's device listens, unless told
/// otherwise.
const OVERLAY: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(10, 100, 0, 0), 16);
const NODE_PREFIX: u8 = 24;
const NETWORK_PORT: u16 = 7781;

/// The largest packets that a mesh may have.
const MTU_BYTES: std::ops::RangeInclusive<u32> = MTU_BYTES_MIN..=65_455;

/// The longest file, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Why the daemon does not know what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("can't read {}: {why}; name another with --config", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        why: io::Error,
    },
    /// The file says something wrong.
    #[error("{place}: {why}; every key is explained in examples/config.yaml")]
    Wrong {
        /// `file:line:column`.
        place: String,
        /// What and why.
        why: String,
    },
    /// Together, the settings make no sense.
    #[error("{0}")]
    Unfit(String),
}

/// Everything that is set, complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// This node.
    pub node: NodeSettings,
    /// The cluster.
    pub cluster: ClusterSettings,
    /// Containers' networks.
    pub network: NetworkSettings,
    /// The container runtime.
    pub runtime: RuntimeSettings,
    /// The API.
    pub api: Api,
    /// Where the state is.
    pub data_dir: PathBuf,
    /// Where secrets are while containers use them.
    pub run_dir: PathBuf,
    /// What is logged.
    pub logging: Logging,
}

/// This node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSettings {
    /// Its name.
    pub name: NodeName,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// The cluster, and how its other members reach this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterSettings {
    /// Its name, where it is set: a cluster keeps the name that it was made with.
    pub name: Option<String>,
    /// Where this node listens for other members.
    pub listen: SocketAddr,
    /// What they dial, where that differs from what this node's own addresses say.
    pub advertise: Option<SocketAddr>,
    /// How patient this node is with them.
    pub membership: swim::Config,
}

/// Containers' networks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkSettings {
    /// How they are made.
    pub driver: NetworkDriver,
    /// The addresses of all containers of the cluster.
    pub overlay: Ipv4Net,
    /// How long the prefix of the blocks is that nodes take of it.
    pub node_prefix: u8,
    /// Where the mesh's device listens.
    pub port: u16,
    /// The mesh's largest packet, where it is not found out.
    pub mtu: Option<u32>,
    /// Which of a service's addresses come first, for containers of this node.
    pub dns_order: DnsOrder,
}

/// The container runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeSettings {
    /// Which.
    pub kind: RuntimeKind,
    /// Where, if not where its package puts it.
    pub socket: Option<PathBuf>,
}

/// The API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Api {
    /// Where.
    pub socket: PathBuf,
    /// Whose members may use it.
    pub group: String,
    /// With which mode.
    pub mode: u32,
}

/// What is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logging {
    /// How much.
    pub level: LogLevel,
    /// How.
    pub format: LogFormat,
}

/// How containers' networks are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkDriver {
    /// On a single node as `bridge`; in a cluster by the kernel's WireGuard, else as `userspace`.
    #[default]
    Auto,
    /// By the runtime's own bridges, each of one node.
    Bridge,
    /// Over all nodes, by the kernel's WireGuard.
    Wireguard,
    /// Over all nodes, by a WireGuard process: slower, for kernels that have none.
    Userspace,
}

/// Which of a service's addresses come first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DnsOrder {
    /// Each in its turn.
    #[default]
    Rotated,
    /// Those on the asker's node.
    NearestFirst,
}

impl From<DnsOrder> for Order {
    fn from(it: DnsOrder) -> Self {
        match it {
            DnsOrder::Rotated => Self::Rotated,
            DnsOrder::NearestFirst => Self::NearestFirst,
        }
    }
}

/// Which container runtime.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RuntimeKind {
    /// The first that answers of Docker and Podman; containerd where neither is on the node.
    #[default]
    Auto,
    /// Docker.
    Docker,
    /// Podman.
    Podman,
    /// containerd.
    Containerd,
    /// None: a member that runs no containers.
    None,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What failed.
    Error,
    /// And what may.
    Warn,
    /// And what a user would notice.
    #[default]
    Info,
    /// And how it came about.
    Debug,
    /// And everything else, libraries included.
    Trace,
}

/// How logs look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON document a line.
    Json,
}

/// The file as written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    #[serde(deserialize_with = "section")]
    node: NodeFile,
    #[serde(deserialize_with = "section")]
    cluster: ClusterFile,
    #[serde(deserialize_with = "section")]
    network: NetworkFile,
    #[serde(deserialize_with = "section")]
    runtime: RuntimeFile,
    #[serde(deserialize_with = "section")]
    api: ApiFile,
    #[serde(deserialize_with = "absolute")]
    data_dir: Option<PathBuf>,
    #[serde(deserialize_with = "absolute")]
    run_dir: Option<PathBuf>,
    #[serde(deserialize_with = "section")]
    logging: LoggingFile,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct NodeFile {
    #[serde(deserialize_with = "parsed")]
    name: Option<NodeName>,
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ClusterFile {
    name: Option<String>,
    #[serde(deserialize_with = "address")]
    listen: Option<SocketAddr>,
    #[serde(deserialize_with = "address")]
    advertise: Option<SocketAddr>,
    #[serde(deserialize_with = "section")]
    membership: MembershipFile,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct NetworkFile {
    driver: Option<NetworkDriver>,
    #[serde(deserialize_with = "range")]
    overlay: Option<Ipv4Net>,
    node_prefix: Option<u8>,
    port: Option<u16>,
    mtu: Option<u32>,
    dns_order: Option<DnsOrder>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RuntimeFile {
    kind: Option<RuntimeKind>,
    #[serde(deserialize_with = "absolute")]
    socket: Option<PathBuf>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ApiFile {
    #[serde(deserialize_with = "absolute")]
    socket: Option<PathBuf>,
    group: Option<String>,
    #[serde(deserialize_with = "octal")]
    mode: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LoggingFile {
    level: Option<LogLevel>,
    format: Option<LogFormat>,
}

impl Config {
    /// Reads the file, if there is one, and lays the flags and variables over it.
    pub fn load(args: &DaemonArgs) -> Result<Self, ConfigError> {
        let file = match &args.config {
            Some(path) => read(path)?,
            None => match read(Path::new(DEFAULT_PATH)) {
                Err(ConfigError::Read { why, .. }) if why.kind() == io::ErrorKind::NotFound => {
                    File::default()
                }
                other => other?,
            },
        };
        Self::new(file, args)
    }

    fn new(file: File, args: &DaemonArgs) -> Result<Self, ConfigError> {
        let args = args.clone();
        let absolute = |path: PathBuf| {
            std::path::absolute(&path)
                .map_err(|why| ConfigError::Unfit(format!("`{}`: {why}", path.display())))
        };
        let path = |flag: Option<PathBuf>, file: Option<PathBuf>, default: &str| {
            absolute(flag.or(file).unwrap_or_else(|| default.into()))
        };
        let name =
            args.node_name.or(file.node.name).or_else(facts::host_name).ok_or_else(|| {
                ConfigError::Unfit("the host name makes no node name: set `node.name`".to_owned())
            })?;
        let mut labels = file.node.labels.unwrap_or_default();
        labels.extend(args.labels);
        for key in labels.keys() {
            check_label(key, None).map_err(ConfigError::Unfit)?;
        }
        Ok(Self {
            node: NodeSettings { name, labels },
            cluster: ClusterSettings {
                name: args.cluster_name.or(file.cluster.name),
                listen: args.cluster_listen.or(file.cluster.listen).unwrap_or(CLUSTER_LISTEN),
                advertise: args.cluster_advertise.or(file.cluster.advertise),
                membership: file
                    .cluster
                    .membership
                    .complete()
                    .map_err(|error| ConfigError::Unfit(error.to_string()))?,
            }
            .fit()?,
            network: NetworkSettings {
                driver: args.network_driver.or(file.network.driver).unwrap_or_default(),
                overlay: args.network_overlay.or(file.network.overlay).unwrap_or(OVERLAY),
                node_prefix: args
                    .network_node_prefix
                    .or(file.network.node_prefix)
                    .unwrap_or(NODE_PREFIX),
                port: args.network_port.or(file.network.port).unwrap_or(NETWORK_PORT),
                mtu: args.network_mtu.or(file.network.mtu),
                dns_order: args.network_dns_order.or(file.network.dns_order).unwrap_or_default(),
            }
            .fit()?,
            runtime: RuntimeSettings {
                kind: args.runtime.or(file.runtime.kind).unwrap_or_default(),
                socket: args.runtime_socket.or(file.runtime.socket).map(absolute).transpose()?,
            },
            api: Api {
                socket: path(args.api_socket, file.api.socket, "/run/fizz/fizz.sock")?,
                group: args.api_group.or(file.api.group).unwrap_or_else(|| "fizz".to_owned()),
                mode: args.api_mode.or(file.api.mode).unwrap_or(0o660),
            },
            data_dir: path(args.data_dir, file.data_dir, "/var/lib/fizz")?,
            run_dir: path(args.run_dir, file.run_dir, "/run/fizz")?,
            logging: Logging {
                level: args.log_level.or(file.logging.level).unwrap_or_default(),
                format: args.log_format.or(file.logging.format).unwrap_or_default(),
            },
        })
    }
}

impl NetworkSettings {
    /// Itself, if it makes sense.
    fn fit(self) -> Result<Self, ConfigError> {
        if self.port == 0 {
            let why = "`network.port` is what other members send to: it must be from 1 to 65535";
            return Err(ConfigError::Unfit(why.to_owned()));
        }
        if self.mtu.is_some_and(|it| !MTU_BYTES.contains(&it)) {
            return Err(ConfigError::Unfit(format!(
                "`network.mtu` must be from {} bytes, which IPv6 needs, to {}",
                MTU_BYTES.start(),
                MTU_BYTES.end()
            )));
        }
        match Plan::new(ClusterId(0), self.overlay, self.node_prefix) {
            Ok(_) => Ok(self),
            Err(why) => Err(ConfigError::Unfit(why.to_string())),
        }
    }
}

impl ClusterSettings {
    /// Itself, if it makes sense.
    fn fit(self) -> Result<Self, ConfigError> {
        if self.name.as_ref().is_some_and(|it| it.is_empty() || it.len() > 128) {
            let why = "`cluster.name` must have 1 to 128 characters";
            return Err(ConfigError::Unfit(why.to_owned()));
        }
        match self.advertise {
            Some(it) if it.ip().is_unspecified() || it.port() == 0 => {
                Err(ConfigError::Unfit(format!(
                    "`cluster.advertise` is what other members dial, and nobody can dial {it}: write this node's own address, like 10.0.0.5:7780"
                )))
            }
            Some(_) | None => Ok(self),
        }
    }
}

fn read(path: &Path) -> Result<File, ConfigError> {
    let refused = |why| ConfigError::Read { path: path.to_owned(), why };
    let bytes = std::fs::metadata(path).map_err(refused)?.len();
    if bytes > FILE_BYTES_MAX {
        let why = format!("it has {bytes} bytes, and {FILE_BYTES_MAX} are allowed");
        return Err(ConfigError::Wrong { place: path.display().to_string(), why });
    }
    parse(&std::fs::read_to_string(path).map_err(refused)?, &path.display().to_string())
}

fn parse(text: &str, name: &str) -> Result<File, ConfigError> {
    let file: Option<File> = serde_saphyr::from_str(text).map_err(|error| {
        let place = match error.location() {
            Some(at) => format!("{name}:{}:{}", at.line(), at.column()),
            None => name.to_owned(),
        };
        ConfigError::Wrong { place, why: plain(&error) }
    })?;
    Ok(file.unwrap_or_default())
}

/// The error in one line, without the place that we say ourselves.
fn plain(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let line = text.lines().next().unwrap_or_default();
    line.split(" at line ").next().unwrap_or(line).to_owned()
}

/// A section that may be there without a key in it.
fn section<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    from: D,
) -> Result<T, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

fn parsed<'de, D: Deserializer<'de>>(from: D) -> Result<Option<NodeName>, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

fn address<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SocketAddr>, D::Error> {
    socket_address(&String::deserialize(from)?).map(Some).map_err(serde::de::Error::custom)
}

fn range<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Ipv4Net>, D::Error> {
    address_range(&String::deserialize(from)?).map(Some).map_err(serde::de::Error::custom)
}

fn octal<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    mode(&String::deserialize(from)?).map(Some).map_err(serde::de::Error::custom)
}

fn absolute<'de, D: Deserializer<'de>>(from: D) -> Result<Option<PathBuf>, D::Error> {
    let path = PathBuf::from(String::deserialize(from)?);
    if path.is_absolute() {
        return Ok(Some(path));
    }
    let why = format!("`{}` must be a path that begins with `/`", path.display());
    Err(serde::de::Error::custom(why))
}

/// An address with its port.
pub(super) fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!(
            "`{text}` is not an address with a port: write one like 10.0.0.5:7780 or [fd00::5]:7780"
        )
    })
}

/// A range of addresses.
pub(super) fn address_range(text: &str) -> Result<Ipv4Net, String> {
    text.parse().map_err(|_| {
        format!("`{text}` is not a range of IPv4 addresses: write one like 10.100.0.0/16")
    })
}

/// A socket's mode, in octal.
pub(super) fn mode(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| mode & !0o777 == 0)
        .ok_or_else(|| format!("`{text}` is not a file mode: write three octal digits, like 0660"))
}

/// A label, as `KEY=VALUE`.
pub(super) fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .ok_or_else(|| format!("`{text}` is not a label: write `key=value`, like `zone=cellar`"))?;
    check_label(key, None)?;
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    /// Options whose default depends on the machine are written `#key: value` there.
    fn example(with_options: bool) -> String {
        let text = include_str!("../../examples/config.yaml");
        let line = |line: &str| {
            let indent = line.len() - line.trim_start().len();
            let option = line.trim_start().strip_prefix('#').filter(|it| !it.starts_with(' '));
            match option {
                Some(option) if with_options => format!("{}{option}\n", &line[..indent]),
                Some(_) | None => format!("{line}\n"),
            }
        };
        text.lines().map(line).collect()
    }

    fn wrong(text: &str) -> String {
        let file = parse(text, "config.yaml");
        file.and_then(|it| Config::new(it, &DaemonArgs::default())).unwrap_err().to_string()
    }

    #[test]
    fn the_example_has_every_key() {
        let File { node, cluster, network, runtime, api, data_dir, run_dir, logging } =
            parse(&example(true), "examples/config.yaml").unwrap();
        let NodeFile { name: Some(_), labels: Some(_) } = node else { panic!("{node:?}") };
        let ClusterFile { name: Some(_), listen: Some(_), advertise: Some(_), membership } =
            cluster
        else {
            panic!("{cluster:?}")
        };
        let all = MembershipFile { profile: membership.profile, ..membership.clone() };
        assert_eq!(all.complete(), Ok(swim::Config::lan()), "what is written is the default");
        let said = format!("{membership:?}");
        assert!(!said.contains("None"), "{said}");
        let NetworkFile {
            driver: Some(_),
            overlay: Some(_),
            node_prefix: Some(_),
            port: Some(_),
            mtu: Some(_),
            dns_order: Some(_),
        } = network
        else {
            panic!("{network:?}")
        };
        let RuntimeFile { kind: Some(_), socket: Some(_) } = runtime else { panic!("{runtime:?}") };
        let ApiFile { socket: Some(_), group: Some(_), mode: Some(_) } = api else {
            panic!("{api:?}")
        };
        let LoggingFile { level: Some(_), format: Some(_) } = logging else {
            panic!("{logging:?}")
        };
        assert!(data_dir.is_some() && run_dir.is_some());
    }

    #[test]
    fn the_examples_values_are_the_defaults() {
        let args = DaemonArgs::default();
        let written = Config::new(parse(&example(false), "example").unwrap(), &args).unwrap();
        let mut silent = Config::new(parse("", "nothing").unwrap(), &args).unwrap();
        // What a new state is called where nothing says otherwise.
        silent.cluster.name = Some(super::super::store::UNNAMED.to_owned());
        assert_eq!(written, silent);
    }

    #[test]
    fn a_mistake_is_told_with_its_place_and_what_to_do() {
        let unknown = wrong("node:\n  name: a\nlogging:\n  levle: info\n");
        assert!(unknown.starts_with("config.yaml:4:3: "), "{unknown}");
        assert!(unknown.contains("levle") && unknown.contains("examples/config.yaml"), "{unknown}");
        let value = wrong("logging:\n  level: loud\n");
        assert!(value.starts_with("config.yaml:2:10: ") && value.contains("loud"), "{value}");
        let kind = wrong("node:\n  labels: 3\n");
        assert!(kind.starts_with("config.yaml:2:11: "), "{kind}");
        let mode = wrong("api:\n  mode: 0999\n");
        assert!(mode.starts_with("config.yaml:2:9: ") && mode.contains("octal"), "{mode}");
        let name = wrong("node:\n  name: a b\n");
        assert!(name.starts_with("config.yaml:2:9: ") && name.contains("letters"), "{name}");
        let path = wrong("data_dir: here\n");
        assert!(path.starts_with("config.yaml:1:11: ") && path.contains("begins with"), "{path}");
        let twice = wrong("data_dir: /a\ndata_dir: /b\n");
        assert!(twice.starts_with("config.yaml:2:1: "), "{twice}");
        let broken = wrong("node: [\n");
        assert!(broken.starts_with("config.yaml:"), "{broken}");
        assert!(wrong("node:\n  labels: {'a b': c}\n").contains("`a b` can't be a label's key"));
        let listen = wrong("cluster:\n  listen: here\n");
        assert!(listen.starts_with("config.yaml:2:11: `here` is not an address with"), "{listen}");
        let overlay = wrong("network:\n  overlay: here\n");
        assert!(overlay.starts_with("config.yaml:2:12: `here` is not a range"), "{overlay}");
        let public = wrong("network:\n  overlay: 8.8.0.0/16\n");
        assert!(public.contains("not a private range"), "{public}");
        for mtu in ["1279", "70000"] {
            let wrong = wrong(&format!("network:\n  mtu: {mtu}\n"));
            assert!(wrong.starts_with("`network.mtu` must be from 1280 bytes"), "{wrong}");
        }
        let nobody = wrong("cluster:\n  advertise: 0.0.0.0:7780\n");
        assert!(nobody.starts_with("`cluster.advertise` is what other members dial"), "{nobody}");
    }

    #[test]
    fn what_does_not_work_yet_is_not_accepted() {
        for text in ["api:\n  listen: 0.0.0.0:1\n", "runtime:\n  kind: crio\n"] {
            assert!(wrong(text).starts_with("config.yaml:2:"), "{}", wrong(text));
        }
    }

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: DaemonArgs,
    }

    #[test]
    fn a_flag_goes_before_the_file() {
        let line = "fizz --data-dir /flag --label zone=b --api-mode 600 --cluster-listen [::]:3";
        let line = line.split(' ');
        let args = Line::try_parse_from(line).unwrap_or_else(|it| panic!("{it}")).args;
        let file = "data_dir: /file\nrun_dir: /file\nnode: {labels: {zone: a, disk: ssd}}\n\
                    cluster: {listen: '10.0.0.5:1', advertise: '10.0.0.5:2'}\n";
        let config = Config::new(parse(file, "file").unwrap(), &args).unwrap();
        assert_eq!(config.data_dir, Path::new("/flag"));
        assert_eq!(config.run_dir, Path::new("/file"));
        assert_eq!((config.api.mode, config.node.labels["zone"].as_str()), (0o600, "b"));
        assert_eq!(config.node.labels["disk"], "ssd");
        assert_eq!(config.cluster.listen, "[::]:3".parse().unwrap());
        assert_eq!(config.cluster.advertise, Some("10.0.0.5:2".parse().unwrap()));
    }
}
