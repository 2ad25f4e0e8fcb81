//! How large a packet may be that comes through to another host and back: echoes (RFC 4443, section 4) that no
//! one on the way may cut into pieces.

use std::{
    io,
    net::{Ipv6Addr, SocketAddr, SocketAddrV6},
    os::fd::AsRawFd,
    time::Duration,
};

use nix::{
    libc,
    sys::socket::{
        AddressFamily, SockFlag, SockProtocol, SockType, SockaddrIn6, bind, setsockopt, socket,
        sockopt,
    },
};
use rand_core::{OsRng, RngCore};
use tokio::{net::UdpSocket, time::timeout};

/// IPv6's header.
const IPV6_BYTES: u32 = 40;

/// A packet that passes wherever anything does, and the smallest that IPv6 works with (RFC 8200, section 5).
const SMALL_BYTES: u32 = 100;

/// How exactly the largest is found out.
const STEP_BYTES: u32 = 4;

/// How long an answer may take, and how often it is asked for: a packet may be lost.
const ANSWER_MAX: Duration = Duration::from_millis(700);
const TRIES: u32 = 3;

/// Types of messages (RFC 4443, sections 4.1 and 4.2).
const ECHO: u8 = 128;
const REPLY: u8 = 129;

/// The longest answer that is looked at: all that tells whose it is stands at its beginning.
const ANSWER_BYTES: usize = 64;

/// The largest packet, up to `bytes_max`, that comes through from one of this host's addresses to another one and
/// back; `None`: not even a small one does.
pub async fn largest(from: Ipv6Addr, to: Ipv6Addr, bytes_max: u32) -> io::Result<Option<u32>> {
    let echoes = Echoes::new(from, to)?;
    if !echoes.passes(SMALL_BYTES).await? {
        return Ok(None);
    }
    if echoes.passes(bytes_max).await? {
        return Ok(Some(bytes_max));
    }
    let (mut passes, mut fails) = (SMALL_BYTES, bytes_max);
    while STEP_BYTES < fails - passes {
        let middle = u32::midpoint(passes, fails);
        if echoes.passes(middle).await? {
            passes = middle;
        } else {
            fails = middle;
        }
    }
    Ok(Some(passes))
}

/// Has another host answer, and waits for nothing: that something comes from it is seen elsewhere.
pub async fn ask(from: Ipv6Addr, to: Ipv6Addr) -> io::Result<()> {
    Echoes::new(from, to)?.send(SMALL_BYTES, [0; 4]).await.map(drop)
}

/// tokio's sockets of datagrams ask the kernel for nothing that a raw one has not, too.
struct Echoes {
    socket: UdpSocket,
    to: SocketAddr,
}

impl Echoes {
    fn new(from: Ipv6Addr, to: Ipv6Addr) -> io::Result<Self> {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let icmp = Some(SockProtocol::IcmpV6);
        let socket = socket(AddressFamily::Inet6, SockType::Raw, flags, icmp)?;
        setsockopt(&socket, sockopt::Ipv6DontFrag, &true)?;
        bind(socket.as_raw_fd(), &SockaddrIn6::from(SocketAddrV6::new(from, 0, 0, 0)))?;
        let socket = UdpSocket::from_std(socket.into())?;
        Ok(Self { socket, to: SocketAddr::new(to.into(), 0) })
    }

    /// Whether a packet of this size comes back.
    async fn passes(&self, bytes: u32) -> io::Result<bool> {
        for _ in 0..TRIES {
            let mut mark = [0; 4];
            OsRng.fill_bytes(&mut mark);
            match self.send(bytes, mark).await {
                Ok(_) => {}
                // This host itself has learnt that it is too large.
                Err(why) if why.raw_os_error() == Some(libc::EMSGSIZE) => return Ok(false),
                // As where the device is not up.
                Err(why) => return Err(why),
            }
            if timeout(ANSWER_MAX, self.answered(mark)).await.is_ok_and(|it| it.is_ok()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn send(&self, bytes: u32, mark: [u8; 4]) -> io::Result<usize> {
        let [a, b, c, d] = mark;
        // The kernel puts the checksum in (RFC 3542, section 3.1).
        let mut message = vec![ECHO, 0, 0, 0, a, b, c, d];
        message.resize(bytes.saturating_sub(IPV6_BYTES) as usize, 0);
        self.socket.send_to(&message, self.to).await
    }

    /// Waits for the answer that has this mark.
    async fn answered(&self, mark: [u8; 4]) -> io::Result<()> {
        loop {
            let mut answer = [0; ANSWER_BYTES];
            self.socket.recv(&mut answer).await?;
            if answer[0] == REPLY && answer[4..8] == mark {
                return Ok(());
            }
        }
    }
}
