//! The way to the other members: datagrams for what is short and often, streams for what is long.
//!
//! Both at one port. A datagram that cannot be sent, or that nobody has room for, is lost, as any may be:
//! what matters is found again by anti-entropy.

mod join;
mod letting_go;
mod office;
mod sync;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use nix::sys::socket::{setsockopt, sockopt};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream, UdpSocket},
    sync::{Semaphore, mpsc},
};
use tracing::{debug, warn};

pub(super) use office::Office;

use super::{
    config::{ClusterSettings, Config},
    fabric::Fabric,
    stream::{self, Purpose},
    tasks::Tasks,
};
use crate::{
    api::MemberStream,
    gossip::{Epoch, PACKET_BYTES_MAX, SEAL_BYTES},
    model::NodeId,
    network::host,
    node::{Event, Fetch},
    state::{ClusterState, SealedSecret},
};

/// Streams to and from other members at a time.
const STREAMS_MAX: usize = 256;
const FETCHES_MAX: usize = 16;

/// Connections that wait to be taken.
const BACKLOG: u32 = 1_024;

/// How long to wait after a connection could not be taken.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why other members cannot reach this node.
#[derive(Debug, thiserror::Error)]
pub enum MembersError {
    /// The port is taken, or not this machine's.
    #[error(
        "can't listen for other members at {address} ({protocol}): {why}; set `cluster.listen` to a free \
         port and an address of this machine"
    )]
    Listen {
        /// Where.
        address: SocketAddr,
        /// `UDP`, `TCP`.
        protocol: &'static str,
        /// What the system said.
        why: io::Error,
    },
}

/// What all that is said between members needs.
#[derive(Clone)]
pub(super) struct Line {
    /// Keys, identity, and what is agreed.
    pub(super) office: Arc<Office>,
    /// The node's ear.
    pub(super) events: mpsc::Sender<Event>,
    /// Where this node leads its clients, if it is in a mesh.
    pub(super) fabric: Option<Fabric>,
}

/// The way out.
pub(super) struct Members {
    line: Line,
    socket: Arc<UdpSocket>,
    fetches: Tasks,
}

/// The way in, for streams.
pub(super) struct Listener {
    line: Line,
    tcp: Vec<TcpListener>,
}

/// Opens both. Streams come in by the mesh, too, where the node has this address there: so those are reached that
/// are behind a NAT.
pub(super) async fn open(
    config: &Config,
    mesh: Option<Ipv6Addr>,
    line: Line,
    datagrams: mpsc::Sender<(SocketAddr, Vec<u8>)>,
    tasks: &Tasks,
) -> Result<(Members, Listener), MembersError> {
    let address = config.cluster.listen;
    let refused = |protocol| move |why: io::Error| MembersError::Listen { address, protocol, why };
    let socket = Arc::new(UdpSocket::bind(address).await.map_err(refused("UDP"))?);
    let mut tcp = vec![TcpListener::bind(address).await.map_err(refused("TCP"))?];
    if let Some(mesh) = mesh.filter(|_| address.ip() != IpAddr::V6(Ipv6Addr::UNSPECIFIED)) {
        let address = SocketAddr::from((mesh, address.port()));
        let listener = listen_early(address);
        tcp.push(listener.map_err(|why| MembersError::Listen { address, protocol: "TCP", why })?);
    }
    tasks.spawn("datagrams", receive(Arc::clone(&socket), datagrams));
    let members = Members { line: line.clone(), socket, fetches: tasks.group(FETCHES_MAX) };
    Ok((members, Listener { line, tcp }))
}

/// Listens at an address that this machine may have later only (ip(7), `IP_FREEBIND`).
fn listen_early(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v6()?;
    socket.set_reuseaddr(true)?;
    setsockopt(&socket, sockopt::IpFreebind, &true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn receive(socket: Arc<UdpSocket>, datagrams: mpsc::Sender<(SocketAddr, Vec<u8>)>) {
    let mut buffer = vec![0; PACKET_BYTES_MAX + SEAL_BYTES + 1];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((bytes, from)) if bytes < buffer.len() => {
                // A queue that is full loses it, as the network may.
                let _ = datagrams.try_send((from, buffer[..bytes].to_vec()));
            }
            Ok(_) => {}
            // An ICMP error of an earlier datagram.
            Err(error) => debug!(%error, "no datagram"),
        }
    }
}

impl Members {
    /// Sends a datagram, if the system takes it at once.
    pub(super) fn send(&self, to: SocketAddr, datagram: &[u8]) {
        if let Err(error) = self.socket.try_send_to(datagram, to) {
            debug!(%to, %error, "a datagram was not sent");
        }
    }

    /// Fetches state from a member; what comes goes to the node.
    pub(super) fn fetch(&self, fetch: Fetch) {
        let line = self.line.clone();
        self.fetches.spawn("fetch", async move {
            let from = fetch.from;
            let how = match sync::fetch(&line, fetch).await {
                Ok(how) => Some(how),
                Err(error) => {
                    debug!(node = %from, %error, "the state was not fetched");
                    None
                }
            };
            line.tell(Event::FetchEnded(from, how)).await;
        });
    }

    /// Unwraps one of the cluster's keys, and keeps it.
    pub(super) fn unwrap(&self, epoch: Epoch, sealed: Arc<SealedSecret>) {
        let line = self.line.clone();
        self.fetches.spawn("unwrap", async move {
            let key = line.office.unwrap(epoch, &sealed).await;
            if let Err(error) = &key {
                warn!(%epoch, %error, "one of the cluster's keys is not for this node");
            }
            line.tell(Event::Unwrapped(epoch, key.ok())).await;
        });
    }
}

impl Members {
    /// Wraps one of the cluster's keys for a member that was left out.
    pub(super) fn wrap(&self, epoch: Epoch, node: NodeId, recipient: String) {
        let line = self.line.clone();
        self.fetches.spawn("wrap", async move {
            if let Err(error) = line.office.wrap(epoch, node, &recipient).await {
                warn!(%epoch, %node, %error, "a member did not get one of the cluster's keys");
            }
        });
    }
}

impl Line {
    async fn tell(&self, event: Event) {
        // A node that is gone needs to be told nothing.
        let _ = self.events.send(event).await;
    }
}

impl Listener {
    /// Takes streams until the daemon stops.
    pub(super) fn start(self, api: &mpsc::Sender<(MemberStream, NodeId)>, tasks: &Tasks) {
        let streams = tasks.group(STREAMS_MAX);
        let handshakes = Arc::new(Semaphore::new(stream::HANDSHAKES_MAX));
        for tcp in self.tcp {
            let (line, api) = (self.line.clone(), api.clone());
            let (streams, handshakes) = (streams.clone(), Arc::clone(&handshakes));
            tasks.spawn("members", async move {
                loop {
                    let (line, api) = (line.clone(), api.clone());
                    take_next(&tcp, line, api, &streams, &handshakes).await;
                }
            });
        }
    }
}

async fn take_next(
    listener: &TcpListener,
    line: Line,
    api: mpsc::Sender<(MemberStream, NodeId)>,
    streams: &Tasks,
    handshakes: &Arc<Semaphore>,
) {
    let tcp = match listener.accept().await {
        Ok((tcp, _)) => tcp,
        Err(error) => {
            debug!(%error, "no connection");
            return tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    };
    let Ok(permit) = Arc::clone(handshakes).try_acquire_owned() else {
        return stream::turn_away(tcp);
    };
    streams.spawn("stream", async move {
        serve(line, api, tcp, permit).await;
    });
}

async fn serve(
    line: Line,
    api: mpsc::Sender<(MemberStream, NodeId)>,
    tcp: TcpStream,
    handshake: tokio::sync::OwnedSemaphorePermit,
) {
    let office = &line.office;
    let accepted = stream::accept(tcp, office.identity(), |prelude| office.psk(prelude)).await;
    drop(handshake);
    let (secure, peer, prelude) = match accepted {
        Ok(accepted) => accepted,
        Err(error) => return debug!(%error, "a stream was not taken"),
    };
    let done = match prelude.purpose {
        Purpose::Join => join::introduce(&line, secure, &peer, &prelude).await,
        Purpose::Sync if office.knows(peer.id) => sync::serve(&line, secure, &peer).await,
        Purpose::Api if office.knows(peer.id) => {
            let stream: MemberStream = Box::new(secure);
            api.send((stream, peer.id)).await.map_err(|_| "the daemon is stopping".to_owned())
        }
        Purpose::LetGo if office.knows(peer.id) => letting_go::serve(&line, secure).await,
        Purpose::Sync | Purpose::Api | Purpose::LetGo => Err("it is no member".to_owned()),
    };
    if let Err(error) = done {
        debug!(node = %peer.id, %error, "a stream ended early");
    }
}

/// Where other members reach this node, as far as that can be told.
pub(super) fn advertised(
    settings: &ClusterSettings,
    state: &ClusterState,
    me: NodeId,
) -> Option<SocketAddr> {
    let listen = settings.listen;
    if let Some(address) = settings.advertise {
        return Some(address);
    }
    if !listen.ip().is_unspecified() {
        return Some(listen);
    }
    let known = state.nodes().get(&me).and_then(|it| it.address).map(|it| it.ip());
    let ip = known.filter(|it| is_mine(*it)).or_else(outward)?;
    Some(SocketAddr::new(ip, listen.port()))
}

/// Whether an address is one of this machine's: then it can be listened at.
fn is_mine(ip: IpAddr) -> bool {
    std::net::UdpSocket::bind(SocketAddr::new(ip, 0)).is_ok()
}

/// The address that this machine would use towards the outside; without a way there, the first that is
/// not for itself alone. Nothing is sent.
fn outward() -> Option<IpAddr> {
    let towards = |from: IpAddr, to: IpAddr| {
        let socket = std::net::UdpSocket::bind(SocketAddr::new(from, 0)).ok()?;
        socket.connect(SocketAddr::new(to, 9)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    // Addresses that are kept for documents (RFC 5737, RFC 3849): nobody has them.
    let v4 = towards(Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into());
    let v6 = || {
        let to = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
        towards(Ipv6Addr::UNSPECIFIED.into(), to.into())
    };
    v4.or_else(v6).or_else(|| host::addresses().next())
}
