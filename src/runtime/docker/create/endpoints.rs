//! How a container is joined to networks.
//!
//! Engines before 25.0 (API 1.44) take one network when a container is made; the others are joined
//! after that and before it starts. They know one MAC address, the first network's.

use bollard::models::{EndpointIpamConfig, EndpointSettings};

use super::super::{
    connect::{ApiVersion, Engine},
    flavour::Flavour,
    podman,
};
use crate::{
    model::spec::NetworkMode,
    runtime::{CreateContainer, ResolvedNetwork, RuntimeError},
};

/// Several networks at once, and a MAC address in each.
const SEVERAL: ApiVersion = ApiVersion(1, 44);

/// Whether a container is joined to all its networks when it is made.
fn takes_several(engine: &Engine) -> bool {
    match engine.flavour {
        Flavour::Docker => engine.api >= SEVERAL,
        Flavour::Podman => true,
    }
}

/// A network and how to be in it.
#[derive(Clone, Debug)]
pub(in super::super) struct Joined {
    /// The network's name.
    pub(in super::super) network: String,
    /// The container's place in it.
    pub(in super::super) settings: EndpointSettings,
}

/// How a container is joined to networks, in the engine's terms.
pub(super) struct Joining {
    /// `HostConfig.NetworkMode`.
    pub(super) mode: String,
    /// Joined when the container is made.
    pub(super) now: Vec<Joined>,
    /// Joined after that.
    pub(super) later: Vec<Joined>,
    /// Links of the default bridge, where networks have none of their own.
    pub(super) links: Option<Vec<String>>,
    /// The container's MAC address for an old engine.
    pub(super) mac_address: Option<String>,
}

pub(super) fn joining(engine: &Engine, request: &CreateContainer) -> Result<Joining, RuntimeError> {
    if let Some(path) = &request.network_namespace {
        return given(engine, &path.display().to_string());
    }
    let mut mac_address = request.spec.mac_address.clone();
    let mode = match &request.spec.network {
        NetworkMode::Networks(_) => return project_networks(engine, request, mac_address),
        NetworkMode::None => "none".to_owned(),
        NetworkMode::Host => "host".to_owned(),
        NetworkMode::Bridge => "bridge".to_owned(),
        NetworkMode::Named(name) => name.clone(),
        NetworkMode::Container(name) => format!("container:{name}"),
        NetworkMode::Service(service) => {
            format!("container:{}", super::security::peer(request, service)?)
        }
    };
    let links = links(request)?;
    let in_bridge = request.spec.network == NetworkMode::Bridge;
    let links_in_network = (!in_bridge && !links.is_empty()).then(|| links.clone());
    let mut now = Vec::new();
    let new_mac = if takes_several(engine) { mac_address.take() } else { None };
    if new_mac.is_some() || links_in_network.is_some() {
        let settings = EndpointSettings {
            mac_address: new_mac,
            links: links_in_network,
            ..EndpointSettings::default()
        };
        let network = match engine.flavour {
            Flavour::Podman if in_bridge => podman::DEFAULT_NETWORK.to_owned(),
            Flavour::Docker | Flavour::Podman => mode.clone(),
        };
        now.push(Joined { network, settings });
    }
    let links = (in_bridge && !links.is_empty()).then_some(links);
    Ok(Joining { mode, now, later: Vec::new(), links, mac_address })
}

/// In a network namespace that somebody else has made.
fn given(engine: &Engine, path: &str) -> Result<Joining, RuntimeError> {
    match engine.flavour {
        Flavour::Podman => Ok(Joining {
            mode: format!("ns:{path}"),
            now: Vec::new(),
            later: Vec::new(),
            links: None,
            mac_address: None,
        }),
        Flavour::Docker => Err(RuntimeError::Unsupported(format!(
            "Docker can't start a container in a network namespace that is there already ({path}); join it to the network of a container that holds one, by `network_mode: container:NAME`"
        ))),
    }
}

fn project_networks(
    engine: &Engine,
    request: &CreateContainer,
    mut mac_address: Option<String>,
) -> Result<Joining, RuntimeError> {
    let links = links(request)?;
    let mut joined = Vec::new();
    for (index, network) in request.networks.iter().enumerate() {
        let mut settings = settings(engine, network)?;
        if !links.is_empty() {
            settings.links = Some(links.clone());
        }
        if takes_several(engine) {
            if index == 0 && settings.mac_address.is_none() {
                settings.mac_address = mac_address.take();
            }
        } else if index == 0 {
            mac_address = settings.mac_address.take().or(mac_address);
        } else if settings.mac_address.is_some() {
            let feature = format!("`mac_address` in the further network `{}`", network.name);
            engine.require(&feature, SEVERAL, "25.0")?;
        }
        joined.push(Joined { network: network.name.clone(), settings });
    }
    let mode = joined.first().map_or_else(|| "none".to_owned(), |it| it.network.clone());
    let at_once = if takes_several(engine) { joined.len() } else { joined.len().min(1) };
    let later = joined.split_off(at_once);
    Ok(Joining { mode, now: joined, later, links: None, mac_address })
}

fn settings(engine: &Engine, network: &ResolvedNetwork) -> Result<EndpointSettings, RuntimeError> {
    let wanted = &network.attachment;
    let mut driver_options = wanted.driver_options.clone();
    if let Some(name) = &wanted.interface_name {
        engine.require("`interface_name`", ApiVersion(1, 49), "28.1")?;
        driver_options
            .entry("com.docker.network.endpoint.ifname".to_owned())
            .or_insert_with(|| name.clone());
    }
    if wanted.gateway_priority.is_some_and(|it| it.0 != 0) {
        engine.require("`gw_priority`", ApiVersion(1, 48), "28.0")?;
    }
    let text = |address: &std::net::IpAddr| address.to_string();
    let link_local: Vec<String> = wanted.link_local.iter().map(text).collect();
    let fixed = wanted.ipv4.is_some() || wanted.ipv6.is_some() || !link_local.is_empty();
    Ok(EndpointSettings {
        ipam_config: fixed.then(|| EndpointIpamConfig {
            ipv4_address: wanted.ipv4.as_ref().map(text),
            ipv6_address: wanted.ipv6.as_ref().map(text),
            link_local_ips: (!link_local.is_empty()).then_some(link_local),
        }),
        aliases: super::list(&wanted.aliases),
        mac_address: wanted.mac_address.clone(),
        driver_opts: super::some(driver_options),
        gw_priority: wanted.gateway_priority.map(|it| it.0).filter(|it| *it != 0),
        ..EndpointSettings::default()
    })
}

/// Legacy links: `container:alias`.
fn links(request: &CreateContainer) -> Result<Vec<String>, RuntimeError> {
    let mut links = Vec::new();
    for (service, alias) in &request.spec.links {
        let containers = request.links.get(service).filter(|it| !it.is_empty());
        let containers = containers.ok_or_else(|| RuntimeError::NotFound {
            what: "linked service's container",
            name: service.to_string(),
        })?;
        links.extend(containers.iter().map(|name| format!("{name}:{alias}")));
    }
    let outside = request.spec.external_links.iter();
    links.extend(outside.map(|(container, alias)| format!("{container}:{alias}")));
    Ok(links)
}
