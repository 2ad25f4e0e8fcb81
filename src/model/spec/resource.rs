//! Networks, volumes, configs and secrets of a project.

use std::collections::BTreeMap;

/// A network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkSpec {
    /// Its name in the runtime.
    pub name: String,
    /// It exists already and is not ours.
    pub external: bool,
    /// The driver; `bridge` when not set.
    pub driver: Option<String>,
    /// Options for the driver.
    pub driver_options: BTreeMap<String, String>,
    /// Cut off from the outside.
    pub internal: bool,
    /// Containers outside the project may join.
    pub attachable: bool,
    /// IPv4 addresses are given.
    pub enable_ipv4: Option<bool>,
    /// IPv6 addresses are given.
    pub enable_ipv6: Option<bool>,
    /// Address management.
    pub ipam: IpamSpec,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// Address management of a network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IpamSpec {
    /// The driver; `default` when not set.
    pub driver: Option<String>,
    /// Subnets.
    pub pools: Vec<IpamPool>,
    /// Options for the driver.
    pub options: BTreeMap<String, String>,
}

/// One subnet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IpamPool {
    /// In CIDR form.
    pub subnet: Option<String>,
    /// The gateway's address.
    pub gateway: Option<String>,
    /// The part of the subnet that addresses are taken from, in CIDR form.
    pub ip_range: Option<String>,
    /// Addresses that are taken: name and address.
    pub reserved: BTreeMap<String, String>,
}

/// File systems that a `local` volume mounts over the network, so that each node has the same.
const SHARED: [&str; 6] = ["nfs", "nfs4", "cifs", "smb3", "ceph", "glusterfs"];

/// Whether the data of a volume with this driver and these options is on one node only.
#[must_use]
pub fn is_on_one_node(driver: Option<&str>, options: &BTreeMap<String, String>) -> bool {
    let kind = options.get("type").map(String::as_str);
    driver.is_none_or(|it| it == "local") && !kind.is_some_and(|it| SHARED.contains(&it))
}

/// A volume.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumeSpec {
    /// Its name in the runtime.
    pub name: String,
    /// It exists already and is not ours.
    pub external: bool,
    /// The driver; `local` when not set.
    pub driver: Option<String>,
    /// Options for the driver.
    pub driver_options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// A config: bytes that containers get as a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigSpec {
    /// Its name outside the file.
    pub name: String,
    /// The bytes. The command line has read `file:` and `environment:`. `None`: external.
    pub content: Option<Vec<u8>>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// A secret: bytes that only containers see. They travel beside the model, never in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretSpec {
    /// Its name outside the file.
    pub name: String,
    /// It exists already and is not ours.
    pub external: bool,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}
