//! A container's network of its own: made, or held by another container, and wired before its process begins.

use std::{net::Ipv4Addr, path::PathBuf};

use super::{Inner, failure, fault};
use crate::{
    daemon::fabric::Fabric,
    model::{ContainerId, spec::NetworkMode},
    network::Namespace,
    node::{Failure, Launch},
    runtime::{CreateContainer, RuntimeError, Sandbox, SandboxRequest, labels},
};

/// What a resolver's `options` say of names: each is asked for as it is before a domain is added to it, as the
/// names of services have no dot.
const NO_DOTS: &str = "ndots:0";

/// In a Compose file, the host as its containers reach it.
const HOST_GATEWAY: &str = "host-gateway";

/// The name of a namespace that is made here.
fn name_of(container: ContainerId) -> String {
    format!("fizz-{container}")
}

/// The namespace that a container is started in, made if it is not there.
fn given(container: ContainerId) -> Result<PathBuf, Failure> {
    Namespace::named(&name_of(container)).map_err(|error| fault(error.to_string()))
}

/// What a container's network is to be like, and where it is to be wired.
struct Wanted<'a> {
    request: SandboxRequest,
    address: Ipv4Addr,
    fabric: &'a Fabric,
}

impl Inner {
    /// Has a container that is to be made begin in its own network.
    pub(super) async fn put_into_sandbox(
        &self,
        launch: &Launch,
        request: &mut CreateContainer,
    ) -> Result<(), Failure> {
        let Some(Wanted { request: wanted, .. }) = self.sandbox_of(launch)? else { return Ok(()) };
        request.networks.clear();
        request.spec.ports.clear();
        request.spec.mac_address = None;
        // The node's server knows them.
        request.spec.links.clear();
        request.spec.external_links.clear();
        request.links.clear();
        match self.means.runtime.sandbox(&wanted).await.map_err(failure)? {
            Sandbox::Given => {
                request.network_namespace = Some(given(launch.container)?);
                request.spec.dns = wanted.dns;
                request.spec.dns_options = wanted.dns_options;
                request.spec.extra_hosts = wanted.extra_hosts;
                request.spec.hostname = Some(wanted.hostname);
            }
            Sandbox::Held(held) => {
                // All that is the network's is the other container's.
                request.spec.network = NetworkMode::Container(held.id.to_string());
                request.spec.labels.insert(labels::SANDBOX.to_owned(), held.id.to_string());
                request.spec.expose.clear();
                request.spec.dns.clear();
                request.spec.dns_search.clear();
                request.spec.dns_options.clear();
                request.spec.extra_hosts.clear();
                (request.spec.hostname, request.spec.domain_name) = (None, None);
            }
        }
        Ok(())
    }

    /// Has a container's network there and wired: its process begins next.
    pub(super) async fn wire(&self, launch: &Launch) -> Result<(), Failure> {
        let Some(wanted) = self.sandbox_of(launch)? else { return Ok(()) };
        let sandbox = self.means.runtime.sandbox(&wanted.request).await.map_err(failure)?;
        let namespace = match sandbox {
            Sandbox::Given => given(launch.container)?,
            Sandbox::Held(held) => held.namespace,
        };
        let placed = wanted.fabric.place(launch.container, wanted.address, &namespace).await;
        // The network may be ready soon.
        placed.map_err(|reason| Failure { reason: reason.into(), passing: true })
    }

    /// Gives a container that runs its place anew.
    pub(super) async fn place_anew(
        &self,
        container: ContainerId,
        address: Ipv4Addr,
    ) -> Result<(), String> {
        let Some(fabric) = &self.means.fabric else { return Ok(()) };
        let namespace = self.network_of(container).await.map_err(|error| error.to_string())?;
        fabric.place(container, address, &namespace).await
    }

    /// Where the network of a container that runs is.
    pub(super) async fn network_of(&self, container: ContainerId) -> Result<PathBuf, RuntimeError> {
        let held = self.means.runtime.held_sandbox(container).await?;
        Ok(held.map_or_else(|| Namespace::path_of(&name_of(container)), |it| it.namespace))
    }

    /// Lets go of a container's network, if it has one of its own.
    pub(super) async fn leave_sandbox(&self, container: ContainerId) -> Result<(), Failure> {
        if self.means.fabric.is_none() {
            return Ok(());
        }
        self.means.runtime.let_sandbox_go(container).await.map_err(failure)?;
        Namespace::unname(&name_of(container)).map_err(|error| fault(error.to_string()))
    }

    /// What a container's network is to be like, if it is to have one of its own.
    fn sandbox_of(&self, launch: &Launch) -> Result<Option<Wanted<'_>>, Failure> {
        let Some(address) = launch.address else { return Ok(None) };
        let Some(fabric) = &self.means.fabric else {
            return Err(fault(
                "it has an address of the mesh, and this node is in none (network.driver: bridge)",
            ));
        };
        let (spec, gateway) = (&launch.spec, fabric.gateway_of(address).to_string());
        let mut options = spec.dns_options.clone();
        if !options.iter().any(|it| it.starts_with("ndots:")) {
            options.push(NO_DOTS.to_owned());
        }
        let host = |(name, at): &(String, String)| {
            let at = if at == HOST_GATEWAY { gateway.clone() } else { at.clone() };
            (name.clone(), at)
        };
        let short = || launch.container.short().to_string();
        let request = SandboxRequest {
            container: launch.container,
            hostname: spec.hostname.clone().unwrap_or_else(short),
            domain_name: spec.domain_name.clone(),
            dns: vec![gateway.clone()],
            dns_search: spec.dns_search.clone(),
            dns_options: options,
            extra_hosts: spec.extra_hosts.iter().map(host).collect(),
        };
        Ok(Some(Wanted { request, address, fabric }))
    }
}
