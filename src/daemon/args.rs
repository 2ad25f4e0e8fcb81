//! `fizz daemon`: its flags, each of which is a key of the configuration file too.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;
use ipnet::Ipv4Net;

use super::config::{
    DnsOrder, LogFormat, LogLevel, NetworkDriver, RuntimeKind, address_range, label, mode,
    socket_address,
};
use crate::model::NodeName;

/// Runs this machine's part of the cluster.
///
/// A flag goes before an environment variable, and that before the configuration file.
#[derive(Args, Clone, Debug, Default)]
pub struct DaemonArgs {
    /// Configuration file [default: /etc/fizz/config.yaml, if it is there]
    #[arg(long, value_name = "FILE", env = "FIZZ_CONFIG")]
    pub config: Option<PathBuf>,

    /// Name of this node
    #[arg(long, value_name = "NAME", env = "FIZZ_NODE_NAME")]
    pub node_name: Option<NodeName>,

    /// Label of this node, beside or over those of the file
    #[arg(long = "label", value_name = "KEY=VALUE", env = "FIZZ_NODE_LABELS", value_delimiter = ',',
          value_parser = label)]
    pub labels: Vec<(String, String)>,

    /// Name of the cluster
    #[arg(long, value_name = "NAME", env = "FIZZ_CLUSTER_NAME")]
    pub cluster_name: Option<String>,

    /// Address and port on which other members are listened to
    #[arg(long, value_name = "IP:PORT", env = "FIZZ_CLUSTER_LISTEN", value_parser = socket_address)]
    pub cluster_listen: Option<SocketAddr>,

    /// Address and port that other members dial
    #[arg(long, value_name = "IP:PORT", env = "FIZZ_CLUSTER_ADVERTISE",
          value_parser = socket_address)]
    pub cluster_advertise: Option<SocketAddr>,

    /// How containers' networks are made
    #[arg(long, value_name = "DRIVER", env = "FIZZ_NETWORK_DRIVER")]
    pub network_driver: Option<NetworkDriver>,

    /// Addresses of the cluster's containers, the same on all nodes
    #[arg(long, value_name = "RANGE", env = "FIZZ_NETWORK_OVERLAY", value_parser = address_range)]
    pub network_overlay: Option<Ipv4Net>,

    /// Length of the prefix of the blocks that nodes take of them, the same on all nodes
    #[arg(long, value_name = "BITS", env = "FIZZ_NETWORK_NODE_PREFIX")]
    pub network_node_prefix: Option<u8>,

    /// Port on which the mesh's device listens
    #[arg(long, value_name = "PORT", env = "FIZZ_NETWORK_PORT")]
    pub network_port: Option<u16>,

    /// Largest packet of the mesh, where it is not to be found out
    #[arg(long, value_name = "BYTES", env = "FIZZ_NETWORK_MTU")]
    pub network_mtu: Option<u32>,

    /// Which of a service's addresses names lead to first
    #[arg(long, value_name = "ORDER", env = "FIZZ_NETWORK_DNS_ORDER")]
    pub network_dns_order: Option<DnsOrder>,

    /// Container runtime
    #[arg(long, value_name = "KIND", env = "FIZZ_RUNTIME_KIND")]
    pub runtime: Option<RuntimeKind>,

    /// Socket of the container runtime
    #[arg(long, value_name = "PATH", env = "FIZZ_RUNTIME_SOCKET")]
    pub runtime_socket: Option<PathBuf>,

    /// Socket of the API
    #[arg(long, value_name = "PATH", env = "FIZZ_API_SOCKET")]
    pub api_socket: Option<PathBuf>,

    /// Group that may use the API
    #[arg(long, value_name = "GROUP", env = "FIZZ_API_GROUP")]
    pub api_group: Option<String>,

    /// Mode of the API's socket
    #[arg(long, value_name = "MODE", env = "FIZZ_API_MODE", value_parser = mode)]
    pub api_mode: Option<u32>,

    /// Directory of the state
    #[arg(long, value_name = "DIR", env = "FIZZ_DATA_DIR")]
    pub data_dir: Option<PathBuf>,

    /// Directory of what a reboot may take
    #[arg(long, value_name = "DIR", env = "FIZZ_RUN_DIR")]
    pub run_dir: Option<PathBuf>,

    /// What to log
    #[arg(long, value_name = "LEVEL", env = "FIZZ_LOGGING_LEVEL")]
    pub log_level: Option<LogLevel>,

    /// How to log
    #[arg(long, value_name = "FORMAT", env = "FIZZ_LOGGING_FORMAT")]
    pub log_format: Option<LogFormat>,
}
