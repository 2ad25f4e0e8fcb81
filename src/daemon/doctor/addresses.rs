//! What the network of this machine tells: WireGuard, the largest packet, routes, filters, resolvers.

use std::{collections::BTreeSet, fs, io, net::IpAddr, path::Path};

use futures_util::future::join_all;
use ipnet::Ipv4Net;
use serde_json::Value;

use super::{ONLY_ROOT, is_root};
use crate::{
    daemon::{
        config::Config,
        fabric::{ANY_PORT, Fabric, MESH, RESOLV_CONF, is_ours},
    },
    doctor::{
        Barrier, ForwardingFacts, Looked, MeshWanted, MtuFacts, NamesFacts, RangeFacts, Resolver,
        Route, WireguardFacts, barriers, legacy_barriers,
    },
    network::{
        Namespace, NetworkError, dns,
        firewall::{self, FirewallError},
        host::{self, Way},
        wireguard::{self, Userspace},
    },
};

/// Where Docker is told which ranges it may take.
const DOCKER_CONFIG: &str = "/etc/docker/daemon.json";

/// Who could speak WireGuard.
pub(super) async fn wireguard(config: &Config, wanted: MeshWanted) -> WireguardFacts {
    let nowhere = |why: String| WireguardFacts { wanted, kernel: Err(why), process: Ok(()) };
    if wanted == MeshWanted::No {
        return nowhere("it is not wanted".to_owned());
    }
    let host = match Namespace::here() {
        Ok(host) if is_root() => host,
        Ok(_) => return nowhere(ONLY_ROOT.to_owned()),
        Err(why) => return nowhere(why.to_string()),
    };
    let userspace = Userspace::new("/proc/self/exe", config.run_dir.join("wireguard"));
    let (kernel, process) = wireguard::probe(&userspace, &host).await;
    let text = |it: NetworkError| it.to_string();
    WireguardFacts { wanted, kernel: Ok(kernel.map_err(text)), process: process.map_err(text) }
}

/// What only root is shown of the network.
async fn as_root<T>(look: impl Future<Output = Result<T, NetworkError>>) -> Looked<T> {
    if is_root() { look.await.map_err(|why| why.to_string()) } else { Err(ONLY_ROOT.to_owned()) }
}

/// The largest packets.
pub(super) async fn mtu(config: &Config) -> MtuFacts {
    let outward = async { host::mtu_outward(&Namespace::here()?).await };
    MtuFacts { outward: as_root(outward).await, set: config.network.mtu }
}

/// Containers' addresses, and who else may want them.
pub(super) async fn range(config: &Config) -> RangeFacts {
    let ways = async { host::ways(&Namespace::here()?, is_ours).await };
    let routes = as_root(ways).await;
    let route = |it: Way| Route { to: it.to, link: it.link, own: it.own };
    RangeFacts {
        overlay: config.network.overlay,
        node_prefix: config.network.node_prefix,
        routes: routes.map(|it| it.into_iter().map(route).collect()),
        pools: pools(&fs::read_to_string(DOCKER_CONFIG).unwrap_or_default()),
    }
}

/// The ranges that Docker takes networks from, where its configuration says so. Its own are none of those that
/// the mesh takes unless told to.
fn pools(text: &str) -> Vec<Ipv4Net> {
    let config: Value = serde_json::from_str(text).unwrap_or_default();
    let pools = config["default-address-pools"].as_array();
    let base = |it: &Value| it["base"].as_str()?.parse().ok();
    pools.into_iter().flatten().filter_map(base).collect()
}

/// Whether packets are led on.
pub(super) async fn forwarding(meshed: bool) -> ForwardingFacts {
    let barriers = if is_root() { filters().await } else { Err(ONLY_ROOT.to_owned()) };
    ForwardingFacts {
        meshed,
        v4: switch("/proc/sys/net/ipv4/ip_forward").map(|it| it.unwrap_or(false)),
        v6: switch("/proc/sys/net/ipv6/conf/all/forwarding"),
        barriers,
        iptables: installed("iptables"),
    }
}

fn switch(path: &str) -> Looked<Option<bool>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.trim() != "0")),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(why) => Err(why.to_string()),
    }
}

async fn filters() -> Looked<Result<Vec<Barrier>, String>> {
    let links = [ANY_PORT, MESH];
    let mut found = match firewall::ruleset().await {
        Ok(json) => barriers(&json, &links)?,
        Err(error @ FirewallError::Program { .. }) => return Ok(Err(error.to_string())),
        Err(error) => return Err(error.to_string()),
    };
    for (family, rules) in firewall::legacy_rules().await.map_err(|error| error.to_string())? {
        found.extend(legacy_barriers(family, &rules, &links));
    }
    Ok(Ok(found))
}

fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|it| it.join(program).is_file())
}

/// The host's resolvers.
pub(super) async fn names(fabric: Option<&Fabric>) -> NamesFacts {
    let answering = fabric.map(Fabric::answering).unwrap_or_default();
    let loops = answering.loops.map(|it| it.now()).unwrap_or_default();
    let listed = dns::resolvers(Path::new(RESOLV_CONF)).map_err(|why| why.to_string());
    let listed = match listed {
        Ok(listed) => listed,
        Err(why) => return NamesFacts { resolvers: Err(why), serving: false },
    };
    let all = join_all(listed.iter().map(|it| resolver(*it, &answering.at, &loops))).await;
    NamesFacts { resolvers: Ok(all), serving: !answering.at.is_empty() }
}

async fn resolver(address: IpAddr, own: &BTreeSet<IpAddr>, loops: &BTreeSet<IpAddr>) -> Resolver {
    let (own, loops) = (own.contains(&address), loops.contains(&address));
    let answers = own || loops || dns::answers(address).await;
    Resolver { address, own, loops, answers }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ranges_of_dockers_configuration_are_read_and_nothing_else() {
        let text = r#"{"live-restore": true, "default-address-pools": [
            {"base": "10.100.0.0/14", "size": 24}, {"base": "fd00::/48", "size": 64}, {}]}"#;
        assert_eq!(pools(text), ["10.100.0.0/14".parse::<Ipv4Net>().unwrap()]);
        assert!(pools("").is_empty() && pools("[1]").is_empty());
    }
}
