//! This node's published ports: by programs in the kernel where it takes them, else by the firewall.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use futures_util::future::join_all;
use tokio::{net::TcpStream, time::timeout};
use tracing::{error, info, warn};

use super::{Inner, MESH, PORTS, is_ours, link_of};
use crate::{
    daemon::{doctor::ports, tasks},
    doctor::Holder,
    model::{NodeId, spec::Protocol},
    network::{
        NetworkError,
        host::{self, HostLink},
        ingress::{Down, Ingress, IngressError, Place, Role, Seen, Standing, Wanted},
    },
    node::{Reception, View},
    topology::{Known, Pool, Published},
};

/// How many ways of connections are kept in mind, two for each. Some 20 MB.
const FLOWS_MAX: u32 = 131_072;

/// How long a replica may leave a connection's first packet unanswered, beside what the way there takes.
const PATIENCE: Duration = Duration::from_millis(100);

/// How many that do not answer are asked at a time.
const ASKED_MAX: usize = 64;

/// Steps of what the way takes, so that not each measurement changes something.
const PATIENCE_STEP_MS: u64 = 50;

/// The programs of this node, if its kernel takes them. Until it was asked, the firewall carries all.
#[derive(Default)]
pub(super) struct Steering {
    programs: Option<Ingress>,
    network: u64,
    /// The ports of which it is known whether anybody else has them.
    looked_at: BTreeSet<Published>,
    /// Those that the programs have left out, as far as it was told.
    out: BTreeMap<SocketAddr, Standing>,
    /// Why there are no programs, where there could be.
    why_none: Option<String>,
    /// The sockets of the host's own processes have none: what they send to a published port is the firewall's.
    past_sockets: bool,
}

impl Steering {
    /// Has the kernel take the programs. Where it does not, all is the firewall's.
    pub(super) async fn open() -> Self {
        let opened = tasks::blocking(open).await;
        match opened {
            Ok(Ok((programs, network, past_sockets))) => {
                info!("published ports are carried by programs in the kernel");
                Self { programs: Some(programs), network, past_sockets, ..Self::default() }
            }
            Ok(Err(why)) => {
                // Those of a daemon before this one would go on with what was true then.
                if let Err(why) = Ingress::remove() {
                    error!(%why, "the programs of an earlier daemon are still there");
                }
                Self::without(&why.to_string())
            }
            Err(why) => Self::without(&why.to_string()),
        }
    }

    fn without(why: &str) -> Self {
        warn!(%why, "published ports are carried by the firewall, slower and without the clients' addresses");
        Self { why_none: Some(why.to_owned()), ..Self::default() }
    }

    /// Why there are no programs, though there could be.
    pub(super) fn degraded(&self) -> Option<String> {
        self.why_none.clone()
    }

    /// What carries these ports, and what came there.
    pub(super) fn carried(&self, pools: BTreeMap<Published, Pool>) -> Carried {
        let Some(programs) = &self.programs else {
            let degraded = self.degraded();
            return Carried { pools, degraded, ..Carried::default() };
        };
        let found = programs.seen().and_then(|seen| Ok((seen, programs.dropped()?)));
        let (seen, dropped) = found.unwrap_or_else(|why| {
            warn!(%why, "what came to the published ports is not known");
            <_>::default()
        });
        Carried { pools, by_programs: true, degraded: None, seen, dropped }
    }

    /// What of the published ports is the firewall's.
    pub(super) fn rest(&self, pools: &BTreeMap<Published, Pool>) -> BTreeMap<Published, Pool> {
        let all = self.programs.is_some() && !self.past_sockets;
        let carried = |it: &Published| all && Ingress::carries(it);
        let rest = pools.iter().filter(|it| !carried(it.0));
        rest.map(|(port, pool)| (port.clone(), pool.clone())).collect()
    }

    /// Makes it so.
    pub(super) async fn follow(
        &mut self,
        inner: &Inner,
        view: &View,
        known: &Known<'_>,
        pools: BTreeMap<Published, Pool>,
    ) -> Result<(), SteeringError> {
        if self.programs.is_some() {
            self.name_holders(&pools).await;
        }
        let Some(programs) = &mut self.programs else { return Ok(()) };
        let links = host::all_links(&inner.host).await?;
        let indexes: BTreeMap<&str, u32> =
            links.iter().map(|it| (it.name.as_str(), it.index)).collect();
        let index = |name: &str| indexes.get(name).copied();
        let ends = known.addresses().iter();
        let ends: BTreeMap<Ipv4Addr, u32> =
            ends.filter_map(|(id, it)| Some((*it, index(&link_of(*id))?))).collect();
        let places: BTreeSet<Place> = links.iter().filter_map(place).collect();
        let wanted = Wanted {
            plan: *known.plan(),
            here: inner.me,
            network: self.network,
            mesh: (index(MESH).unwrap_or(0), inner.device.mtu(inner.mtu)),
            gateways: known.gateways().clone(),
            locals: host::own_addresses().filter(|it| !it.is_loopback()).collect(),
            pools,
            links: ends,
            patience: patience(view),
        };
        let steered = programs.place(&places).and_then(|()| programs.apply(&wanted));
        if let Err(why) = steered {
            // Half of it would be worse than none: from the next look on all is the firewall's.
            *self = Self::without(&why.to_string());
            Ingress::remove()?;
            return Err(why.into());
        }
        Ok(())
    }

    /// A process of the host's own that had a port before it was published keeps it: that is said once.
    async fn name_holders(&mut self, pools: &BTreeMap<Published, Pool>) {
        let new: Vec<Published> =
            pools.keys().filter(|it| !self.looked_at.contains(*it)).cloned().collect();
        self.looked_at = pools.keys().cloned().collect();
        if new.is_empty() {
            return;
        }
        let look = move || {
            let held = |it: &Published| Some((it.clone(), holder_of(it)?));
            new.iter().filter_map(held).collect::<Vec<_>>()
        };
        for (port, by) in tasks::blocking(look).await.unwrap_or_default() {
            let (number, protocol) = (port.port, port.protocol.name());
            error!(
                port = number,
                protocol,
                %by,
                "a published port of this node is taken: what comes to it here goes to no replica; stop that program, or publish another port"
            );
        }
    }

    /// Asks those that the programs have taken out whether they are well, and has those that are take connections
    /// again: a packet that was lost is no reason to do without a replica. What has changed since the last time.
    pub(super) async fn ask(&mut self) -> Result<Vec<(SocketAddr, Reception)>, IngressError> {
        let Some(programs) = &mut self.programs else { return Ok(vec![]) };
        let ask = async |(it, patience): (Down, Duration)| {
            let answer = timeout(patience + PATIENCE, TcpStream::connect(it.at)).await;
            matches!(answer, Ok(Ok(_))).then_some(it)
        };
        let down = programs.down()?;
        let mut out: BTreeMap<SocketAddr, Standing> =
            down.iter().map(|(it, _)| (it.at, it.standing)).collect();
        let mut changes = vec![];
        for (at, standing) in out.iter().filter(|(at, it)| self.out.get(*at) != Some(*it)) {
            changes.push((*at, reception(*standing)));
        }
        for it in join_all(down.into_iter().take(ASKED_MAX).map(ask)).await.into_iter().flatten() {
            programs.take_back(&it)?;
            out.remove(&it.at);
            changes.push((it.at, Reception::Open));
        }
        let back = self.out.keys().filter(|it| !out.contains_key(*it));
        let back: Vec<SocketAddr> = back.copied().collect();
        let told: BTreeSet<SocketAddr> = changes.iter().map(|it| it.0).collect();
        changes.extend(
            back.into_iter().filter(|it| !told.contains(it)).map(|it| (it, Reception::Open)),
        );
        self.out = out;
        Ok(changes)
    }

    /// Takes the programs and all that they hold away.
    pub(super) fn close() -> Result<(), IngressError> {
        Ingress::remove()
    }
}

/// The published ports, and what carries them and came there.
#[derive(Default)]
pub(in crate::daemon) struct Carried {
    /// Who takes what comes.
    pub(in crate::daemon) pools: BTreeMap<Published, Pool>,
    /// Programs in the kernel carry them; else the firewall.
    pub(in crate::daemon) by_programs: bool,
    /// Why it is the firewall.
    pub(in crate::daemon) degraded: Option<String>,
    /// What the programs found out about each replica.
    pub(in crate::daemon) seen: BTreeMap<(Protocol, SocketAddr), Seen>,
    /// How many packets they let go no further, by why.
    pub(in crate::daemon) dropped: BTreeMap<&'static str, u64>,
}

/// Why ports are not as they should be.
#[derive(Debug, thiserror::Error)]
pub enum SteeringError {
    /// What is there was not found out.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The programs do not know.
    #[error(transparent)]
    Ingress(#[from] IngressError),
}

fn reception(standing: Standing) -> Reception {
    match standing {
        Standing::Well => Reception::Open,
        Standing::Refused => Reception::Refused,
        Standing::Silent => Reception::Silent,
    }
}

/// The program that has a port of this host.
fn holder_of(port: &Published) -> Option<String> {
    let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let at = SocketAddr::new(port.host_ip.unwrap_or(any), port.port);
    let protocol = match port.protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
        Protocol::Sctp => return None,
    };
    match ports::holder(protocol, at) {
        Ok(Holder::Other(who)) => Some(who),
        Ok(Holder::Nobody | Holder::Fizz) | Err(_) => None,
    }
}

fn open() -> Result<(Ingress, u64, bool), IngressError> {
    let mut programs = Ingress::open(FLOWS_MAX)?;
    let network = host::cookie().map_err(IngressError::Groups)?;
    let sockets = groups().map(|it| programs.at_sockets(&it));
    let why = match &sockets {
        Some(Ok(())) => None,
        Some(Err(why)) => Some(why.to_string()),
        None => Some("no control groups of version 2 are mounted".to_owned()),
    };
    if let Some(why) = &why {
        warn!(%why, "what this host itself sends to published ports is the firewall's");
    }
    Ok((programs, network, why.is_some()))
}

/// The control groups of version 2 (cgroups(7)), where they are mounted last.
fn groups() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mut unified = mounts.lines().rev().filter(|it| it.contains(" - cgroup2 "));
    unified.next()?.split(' ').nth(4).map(PathBuf::from)
}

/// Which program a link has, if any.
fn place(link: &HostLink) -> Option<Place> {
    let role = if link.name == MESH {
        Role::Mesh
    } else if link.name.starts_with(PORTS) {
        Role::Container
    } else if link.loopback || link.enslaved || is_ours(&link.name) {
        return None;
    } else if link.framed {
        Role::Outside
    } else {
        Role::Flat
    };
    Some(Place { index: link.index, name: link.name.clone(), role })
}

fn patience(view: &View) -> BTreeMap<NodeId, Duration> {
    let standings = view.cluster.iter().flat_map(|it| &it.standings);
    let way = standings.map(|(id, it)| (*id, it.round_trip.map_or(0, |it| it.0)));
    let with_way = |(id, way): (NodeId, u64)| {
        let steps = (4 * way).div_ceil(PATIENCE_STEP_MS);
        (id, PATIENCE + Duration::from_millis(steps * PATIENCE_STEP_MS))
    };
    let mut all: BTreeMap<NodeId, Duration> = way.map(with_way).collect();
    all.insert(view.me, PATIENCE);
    all
}
