//! Looks at this machine, and asks the other members, for what [`doctor`] judges.
//!
//! The daemon looks where one runs, as it sees what it works with. Without one the command does, by the same
//! code, and has nobody to ask about other members. Nothing that is done here changes anything that lasts.

mod addresses;
mod machine;
mod peers;
pub(super) mod ports;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use nix::unistd::geteuid;
use rand_core::{OsRng, RngCore};
use tokio::sync::mpsc;

use super::{
    args::DaemonArgs,
    clock::Clock,
    config::{Config, NetworkDriver},
    fabric::Fabric,
    members::Office,
};
use crate::{
    api::{self, wire},
    doctor::{self, Facts, Finding, Looked, MeshWanted},
    model::NodeId,
    node::Event,
    runtime::Runtime,
};

/// What only root is shown.
const ONLY_ROOT: &str = "only root can look at this: run it with sudo";

/// Looks what is wrong.
pub struct Doctor {
    config: Config,
    runtime: Arc<dyn Runtime>,
    node: Option<Inside>,
}

/// What a daemon knows beside its machine.
pub(super) struct Inside {
    me: NodeId,
    office: Arc<Office>,
    fabric: Option<Fabric>,
    events: mpsc::Sender<Event>,
    clock: Clock,
    /// A name for this run of the daemon that no other has.
    run: String,
}

/// Looks at this machine, which need not have a daemon, for what these settings ask of it.
pub fn examine_here(args: DaemonArgs) -> BoxFuture<'static, Result<wire::Examination, String>> {
    Box::pin(async move {
        let config = Config::load(&args).map_err(|error| error.to_string())?;
        Ok(Doctor::outside(config).look().await)
    })
}

impl Inside {
    pub(super) fn new(
        me: NodeId,
        office: &Arc<Office>,
        fabric: Option<Fabric>,
        events: mpsc::Sender<Event>,
        clock: Clock,
    ) -> Self {
        let run = format!("{:016x}", OsRng.next_u64());
        Self { me, office: Arc::clone(office), fabric, events, clock, run }
    }
}

impl Doctor {
    /// For a machine of whose daemon nothing is known.
    #[must_use]
    pub fn outside(config: Config) -> Self {
        let runtime = super::runtime(&config);
        Self { config, runtime, node: None }
    }

    /// For a node, by itself.
    pub(super) fn inside(config: Config, runtime: Arc<dyn Runtime>, node: Inside) -> Self {
        Self { config, runtime, node: Some(node) }
    }

    async fn look(&self) -> wire::Examination {
        let (facts, node) = (self.facts().await, self.node.as_ref());
        wire::Examination {
            node: node.map(|_| self.config.node.name.to_string()),
            id: node.map(|it| it.me.to_string()),
            by: if node.is_some() { "daemon" } else { "command" }.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            checks: doctor::examine(&facts).into_iter().map(check).collect(),
        }
    }

    async fn facts(&self) -> Facts {
        let config = &self.config;
        let fabric = self.node.as_ref().and_then(|it| it.fabric.as_ref());
        // Each waits for something, and none for another.
        let (peers, runtime, names, wireguard) = tokio::join!(
            self.peers(),
            machine::runtime(config, &*self.runtime),
            addresses::names(fabric),
            addresses::wireguard(config, self.mesh()),
        );
        let (mtu, range, forwarding) = tokio::join!(
            addresses::mtu(config),
            addresses::range(config),
            addresses::forwarding(fabric.is_some()),
        );
        let degraded = match fabric {
            Some(fabric) => fabric.degraded().await,
            None => None,
        };
        let ahead_ms = self.node.as_ref().and_then(Inside::clock_error_ms);
        Facts {
            ports: ports::look(config, self.mesh()),
            peers,
            mtu,
            wireguard,
            bpf: machine::bpf(degraded),
            clock: doctor::ClockFacts { kept: machine::clock_is_kept(), ahead_ms },
            range,
            identity: doctor::IdentityFacts { machine: machine::id() },
            disks: machine::disks(config, &runtime.1),
            runtime: runtime.0,
            forwarding,
            names,
        }
    }

    fn mesh(&self) -> MeshWanted {
        match self.config.network.driver {
            NetworkDriver::Bridge => MeshWanted::No,
            NetworkDriver::Auto => MeshWanted::Any,
            NetworkDriver::Wireguard => MeshWanted::Kernel,
            NetworkDriver::Userspace => MeshWanted::Process,
        }
    }

    async fn peers(&self) -> Looked<Vec<doctor::Peer>> {
        match &self.node {
            Some(node) => node.peers().await,
            None => Err("no daemon was asked about other members".to_owned()),
        }
    }
}

impl api::Doctor for Doctor {
    fn examine(&self) -> BoxFuture<'_, wire::Examination> {
        Box::pin(self.look())
    }

    fn sight(&self, of: NodeId) -> BoxFuture<'_, Result<wire::Sight, String>> {
        Box::pin(async move {
            let node = self.node.as_ref().ok_or("no daemon knows of other members")?;
            node.sight(&self.config, of).await
        })
    }
}

/// Whether this process may look at everything.
fn is_root() -> bool {
    geteuid().is_root()
}

fn check(it: doctor::Check) -> wire::Check {
    wire::Check {
        check: it.name.to_owned(),
        state: it.grade.name().to_owned(),
        summary: it.summary,
        findings: it.findings.into_iter().map(finding).collect(),
    }
}

fn finding(it: Finding) -> wire::Finding {
    let Finding { grade, fault, seen, why, cure } = it;
    wire::Finding { state: grade.name().to_owned(), fault, seen, why, cure }
}
