//! A mesh device in a process of its own: `fizz wireguard-device`. The daemon starts it, and speaks to it over
//! its socket; what goes through it does not end with the daemon.
//!
//! gotatun does the cryptography and the sessions. Its own socket is not used: a change to a peer would make
//! it anew there, without its session, where `Device::write` changes what there is
//! (docs/decisions/019-userspace-wireguard.md).
//!
//! Beside the socket are the process's number, in a file that is locked for as long as it lives (flock(2)), and
//! its log.

use std::{
    fs::{self, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
    process::ExitCode,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::future::join_all;
use gotatun::{
    device::{
        self, Device, DeviceBuilder,
        configure::{DeviceRead, DeviceWrite, PeerStats},
    },
    udp::socket::UdpSocketFactory,
    x25519,
};
use ipnet::IpNet;
use ipnetwork::IpNetwork;
use nix::{
    fcntl::{Flock, FlockArg},
    libc,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    time::{MissedTickBehavior, interval, timeout},
};
use tracing::{error, info, warn};
use zeroize::{Zeroize, Zeroizing};

use super::{
    PeerSeen,
    diff::{Change, PeerChange, PeerSet, Seen},
    tun::Tun,
    uapi::{self, MESSAGE_BYTES_MAX, Request},
};
use crate::model::{PublicKey, WallTime};

/// What the device's UDP socket holds in each direction, as far as the kernel lets it.
const SOCKET_BYTES: usize = 4 << 20;

/// More threads would wait for one another.
const THREADS_MAX: usize = 4;

/// How often it is looked whether the link is there, and how large a packet may be.
const LOOK_EVERY: Duration = Duration::from_secs(3);

/// How often a handshake is tried with peers that did not answer one for so long that it was given up. The
/// kernel's keepalives do that by themselves.
const REVIVE_EVERY: Duration = Duration::from_secs(25);

/// How long whoever asks may take to say the next of it, and to read the answer: less than the daemon waits for
/// one, which comes behind others.
const PARTNER_MAX: Duration = Duration::from_secs(2);

/// How long the first packet of a handshake may take to be sent.
const SENDING_MAX: Duration = Duration::from_millis(20);

type Transports = (UdpSocketFactory, Tun, Tun);

/// Is the device, until its link is taken away.
#[must_use]
pub fn serve(name: &str, control: &Path) -> ExitCode {
    // gotatun says something for each packet that it cannot send.
    let filter = tracing_subscriber::EnvFilter::new("off,fizz=info");
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(false)
        .init();
    // No terminal and no service manager is to take it for a part of whoever started it; a process that is the
    // first of its session already stays so.
    let _ = nix::unistd::setsid();
    let threads = std::thread::available_parallelism().map_or(1, |it| it.get().min(THREADS_MAX));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    match runtime.and_then(|it| it.block_on(run(name, control))) {
        Ok(()) => {
            info!(name, "ended: the link is gone");
            ExitCode::SUCCESS
        }
        Err(why) => {
            error!(name, %why, "ended");
            ExitCode::FAILURE
        }
    }
}

async fn run(name: &str, control: &Path) -> io::Result<()> {
    let record = control.with_extension("pid");
    let _lock = lock(&record)?;
    let tun = Tun::new(name)
        .map_err(|why| io::Error::new(why.kind(), format!("can't make the TUN device: {why}")))?;
    let udp = UdpSocketFactory {
        recv_buffer_size: Some(SOCKET_BYTES),
        send_buffer_size: Some(SOCKET_BYTES),
    };
    let device = DeviceBuilder::new().with_udp(udp).with_ip(tun.clone()).build().await;
    let device = device.map_err(io::Error::other)?;
    let listener = listen(control)?;
    info!(name, control = %control.display(), "started");
    let outcome = attend(device, &tun, &listener).await;
    fs::remove_file(control)?;
    fs::remove_file(record)?;
    outcome
}

/// Whoever has the lock is the device's process.
fn lock(record: &Path) -> io::Result<Flock<fs::File>> {
    let mut options = OpenOptions::new();
    options.create(true).write(true).truncate(false).mode(0o600);
    let file = options.open(record)?;
    let mut lock = Flock::lock(file, FlockArg::LockExclusiveNonblock)
        .map_err(|(_, why)| io::Error::new(io::Error::from(why).kind(), "one runs already"))?;
    lock.set_len(0)?;
    lock.write_all(std::process::id().to_string().as_bytes())?;
    Ok(lock)
}

fn listen(control: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(control) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
        Ok(()) | Err(_) => {}
    }
    // Nobody else is to connect in between.
    let before = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o177));
    let listener = UnixListener::bind(control);
    nix::sys::stat::umask(before);
    fs::set_permissions(control, Permissions::from_mode(0o600))?;
    listener
}

async fn attend(
    mut device: Device<Transports>,
    tun: &Tun,
    listener: &UnixListener,
) -> io::Result<()> {
    let (mut look, mut revival) = (interval(LOOK_EVERY), interval(REVIVE_EVERY));
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    revival.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = device.wait() => return Ok(()),
            _ = look.tick() => match tun.look() {
                Ok(()) => {}
                Err(why) if why.raw_os_error() == Some(libc::ENODEV) => return Ok(()),
                Err(why) => warn!(%why, "can't look at the link"),
            },
            _ = revival.tick() => revive(&device).await,
            connection = listener.accept() => {
                let (stream, _) = connection?;
                tun.look()?;
                match converse(&device, stream).await {
                    Ok(()) => {}
                    Err(Trouble::Asking(why)) => warn!(%why, "a request was not answered"),
                    Err(Trouble::Device(why)) => return Err(why),
                }
            }
        }
    }
}

/// What can go wrong with a request.
enum Trouble {
    /// It was not understood, or whoever asked went away.
    Asking(io::Error),
    /// The device does not work after it.
    Device(io::Error),
}

impl From<io::Error> for Trouble {
    fn from(why: io::Error) -> Self {
        Self::Asking(why)
    }
}

/// Answers requests until there is none any more.
async fn converse(device: &Device<Transports>, mut stream: UnixStream) -> Result<(), Trouble> {
    // As large as it gets: what grows leaves its secrets where it was.
    let mut text = Zeroizing::new(Vec::with_capacity(MESSAGE_BYTES_MAX));
    loop {
        let end = text.windows(2).position(|it| it == b"\n\n");
        let Some(end) = end else {
            if text.len() == text.capacity() {
                return Err(io::Error::from(io::ErrorKind::FileTooLarge).into());
            }
            let room = text.capacity() - text.len();
            let mut more = (&mut stream).take(room as u64);
            if in_time(more.read_buf(&mut *text)).await? == 0 {
                return Ok(());
            }
            continue;
        };
        let request = std::str::from_utf8(&text[..=end]).map_err(io::Error::other);
        let request = request.and_then(|it| Ok(Request::parse(it)?));
        let mut broken = None;
        let answer = match request {
            Ok(Request::Get) => uapi::seen_text(&device.read(async |it| seen(it).await).await),
            Ok(Request::Set(change)) => match apply(device, change).await {
                Ok(()) => uapi::outcome_text(0),
                Err(why) => {
                    let errno = why.raw_os_error().unwrap_or(libc::EIO);
                    broken = Some(why).filter(|_| errno != libc::EINVAL);
                    uapi::outcome_text(errno)
                }
            },
            Err(why) => {
                warn!(%why, "a request was not understood");
                uapi::outcome_text(libc::EPROTO)
            }
        };
        in_time(stream.write_all(answer.as_bytes())).await?;
        if let Some(why) = broken {
            // Half of a device, which cannot listen, would never mend.
            return Err(Trouble::Device(why));
        }
        text[..end + 2].zeroize();
        text.drain(..end + 2);
    }
}

async fn in_time<T>(partner: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(PARTNER_MAX, partner).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn apply(device: &Device<Transports>, change: Change) -> io::Result<()> {
    let Change { secret, port, mark: _, peers } = change;
    let spoken_to = nudged(&peers);
    let written = device.write(async |it| {
        if let Some(secret) = secret {
            it.set_private_key(x25519::StaticSecret::from(*secret.bytes())).await;
        }
        if let Some(port) = port {
            it.set_listen_port(port);
        }
        if it.private_key().is_none() && !peers.is_empty() {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        for (key, change) in peers {
            change_peer(it, x25519::PublicKey::from(key.0), change).await;
        }
        Ok(())
    });
    match written.await {
        Ok(done) => done?,
        Err(device::Error::Bind(why, _) | device::Error::IoError(why)) => return Err(why),
        Err(why) => return Err(io::Error::other(why)),
    }
    let begun = spoken_to.iter().map(|it| device.force_handshake(it));
    // What is waited for is the answer, and that is for the device to see.
    let _ = timeout(SENDING_MAX, join_all(begun)).await;
    Ok(())
}

/// The peers whose keepalive is turned off and on again, to have something sent at once. With a session the
/// device sends it at its next tick; without one it may have given up.
fn nudged(peers: &[(PublicKey, PeerChange)]) -> Vec<x25519::PublicKey> {
    let keepalive = |(key, change): &(PublicKey, PeerChange)| match change {
        PeerChange::Set(PeerSet { keepalive, .. }) => Some((*key, (*keepalive)?)),
        PeerChange::Remove => None,
    };
    let all: Vec<(PublicKey, u16)> = peers.iter().filter_map(keepalive).collect();
    let on_again = |it: &&[(PublicKey, u16)]| it[0].0 == it[1].0 && it[0].1 == 0 && it[1].1 != 0;
    all.windows(2).filter(on_again).map(|it| x25519::PublicKey::from(it[0].0.0)).collect()
}

async fn change_peer(
    device: &mut DeviceWrite<'_, Transports>,
    key: x25519::PublicKey,
    change: PeerChange,
) {
    let set = match change {
        PeerChange::Remove => {
            device.remove_peer(&key).await;
            return;
        }
        PeerChange::Set(set) => set,
    };
    let allowed =
        set.allowed.iter().filter_map(|it| IpNetwork::new(it.addr(), it.prefix_len()).ok());
    let changed = device.modify_peer(&key, |peer| {
        if set.replace {
            peer.clear_allowed_ips();
        }
        peer.add_allowed_ips(allowed.clone());
        if set.endpoint.is_some() {
            peer.set_endpoint(set.endpoint);
        }
        if set.keepalive.is_some() {
            peer.set_keepalive(set.keepalive);
        }
    });
    if !changed.await && !set.only_if_there {
        let mut peer = device::Peer::new(key).with_allowed_ips(allowed);
        peer.endpoint = set.endpoint;
        peer.keepalive = set.keepalive;
        device.add_peer(peer);
    }
}

async fn seen(device: &DeviceRead<'_, Transports>) -> Seen {
    let peers = device.peers().await.into_iter().map(|it| peer_seen(&it));
    Seen {
        key: device.private_key().map(|it| PublicKey(x25519::PublicKey::from(it).to_bytes())),
        port: device.listen_port(),
        mark: device.fwmark().unwrap_or_default(),
        peers: peers.map(|it| (it.key, it)).collect(),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the protocol says when, and the device how long ago"
)]
fn peer_seen(PeerStats { peer, stats, .. }: &PeerStats) -> PeerSeen {
    let at = |ago| SystemTime::now().checked_sub(ago)?.duration_since(UNIX_EPOCH).ok();
    let millis = |it: Duration| u64::try_from(it.as_millis()).ok();
    let net = |it: &IpNetwork| IpNet::new(it.network(), it.prefix()).ok();
    PeerSeen {
        key: PublicKey(peer.public_key.to_bytes()),
        endpoint: peer.endpoint,
        handshake: stats.last_handshake.and_then(at).and_then(millis).map(WallTime),
        received_bytes: stats.rx_bytes as u64,
        sent_bytes: stats.tx_bytes as u64,
        allowed: peer.allowed_ips.iter().filter_map(net).collect(),
        keepalive_seconds: peer.keepalive.unwrap_or_default(),
    }
}

/// Speaks to those that are to be spoken to, and with whom there is no session.
async fn revive(device: &Device<Transports>) {
    let silent = device.peers().await.into_iter().filter(|it| {
        it.peer.keepalive.is_some()
            && it.peer.endpoint.is_some()
            && it.stats.last_handshake.is_none()
    });
    let silent: Vec<x25519::PublicKey> = silent.map(|it| it.peer.public_key).collect();
    let begun = silent.iter().map(|it| device.force_handshake(it));
    let _ = timeout(SENDING_MAX, join_all(begun)).await;
}
