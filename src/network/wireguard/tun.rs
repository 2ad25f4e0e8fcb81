//! A TUN device (the kernel's `Documentation/networking/tuntap.rst`): what is sent to the link is read from a
//! file, and what is written there comes from the link. It goes when the file is closed.
//!
//! This is what the `tun` crate does too, which comes with a licence of its own and a packet at a time.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::{
        fd::{AsRawFd, RawFd},
        unix::fs::OpenOptionsExt,
    },
    path::Path,
    sync::Arc,
};

use gotatun::{
    packet::{Ip, Packet, PacketBufPool},
    tun::{IpRecv, IpSend, MtuWatcher},
};
use nix::{
    libc,
    sys::socket::{AddressFamily, SockFlag, SockType, socket},
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::watch,
};

/// Where such devices come from.
pub(super) const CLONE_DEVICE: &str = "/dev/net/tun";

/// Packets that are read before they are worked on.
const BURST_PACKETS_MAX: usize = 64;

/// A TUN device. All clones are the same.
#[derive(Clone)]
pub(super) struct Tun {
    name: Arc<str>,
    file: Arc<AsyncFd<File>>,
    mtu: Arc<watch::Sender<u16>>,
}

impl Tun {
    /// Makes one, in the network that this thread is in. One of the name must not be there.
    pub(super) fn new(name: &str) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC);
        let file = options.open(Path::new(CLONE_DEVICE))?;
        let flags = libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_TUN_EXCL;
        let mut request = Request::new(name)?;
        // The kernel has a short there, of which IFF_TUN_EXCL is the sign.
        request.value[..2].copy_from_slice(&flags.to_ne_bytes()[..2]);
        request.send(file.as_raw_fd(), libc::TUNSETIFF)?;
        // SAFETY: a `File` has one descriptor, which is open until it is dropped, and nobody takes it out.
        let file = unsafe { AsyncFd::register(file) }.map_err(io::Error::from)?;
        let tun =
            Self { name: name.into(), file: Arc::new(file), mtu: Arc::new(watch::Sender::new(0)) };
        tun.look()?;
        Ok(tun)
    }

    /// Takes note of how large a packet may be. Fails when the link is gone.
    pub(super) fn look(&self) -> io::Result<()> {
        let any = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
        let mut request = Request::new(&self.name)?;
        request.send(any.as_raw_fd(), libc::SIOCGIFMTU)?;
        let [a, b, c, d, ..] = request.value;
        let mtu = u16::try_from(i32::from_ne_bytes([a, b, c, d])).unwrap_or(u16::MAX);
        self.mtu.send_if_modified(|it| std::mem::replace(it, mtu) != mtu);
        Ok(())
    }
}

/// What is asked of a link: `struct ifreq` (netdevice(7)).
#[repr(C)]
struct Request {
    name: [u8; libc::IFNAMSIZ],
    value: [u8; 24],
}

impl Request {
    fn new(of: &str) -> io::Result<Self> {
        let mut name = [0; libc::IFNAMSIZ];
        if name.len() <= of.len() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the name is too long"));
        }
        name[..of.len()].copy_from_slice(of.as_bytes());
        Ok(Self { name, value: [0; 24] })
    }

    fn send(&mut self, to: RawFd, number: libc::Ioctl) -> io::Result<()> {
        // SAFETY: both numbers that it is called with read and write a `struct ifreq`, which is as large as this
        // is, for as long as the call takes; the kernel copies, and so nothing has to be aligned.
        let outcome = unsafe { libc::ioctl(to, number, std::ptr::from_mut(self)) };
        if outcome < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// The link is gone: EBADFD, which has no name in Rust.
fn is_gone(why: &io::Error) -> bool {
    matches!(why.raw_os_error(), Some(libc::EBADFD | libc::EBADF | libc::ENODEV))
}

impl IpSend for Tun {
    async fn send(&mut self, packet: Packet<Ip>) -> io::Result<()> {
        let packet = packet.into_bytes();
        loop {
            let mut ready = self.file.ready(Interest::WRITABLE | Interest::ERROR).await?;
            match ready.try_io(|it| it.get_ref().write(&packet)) {
                Ok(Err(why)) if is_gone(&why) => return Err(why),
                // A link that is down takes nothing, and the kernel not everything: only this packet is lost.
                Ok(_) => return Ok(()),
                Err(_) => {}
            }
        }
    }
}

impl IpRecv for Tun {
    async fn recv<'a>(
        &'a mut self,
        pool: &mut PacketBufPool,
    ) -> io::Result<impl Iterator<Item = Packet<Ip>> + 'a> {
        let mut packets = Vec::with_capacity(BURST_PACKETS_MAX);
        while packets.is_empty() {
            let mut ready = self.file.ready(Interest::READABLE | Interest::ERROR).await?;
            while packets.len() < BURST_PACKETS_MAX {
                let mut packet = pool.get();
                match ready.try_io(|it| it.get_ref().read(&mut packet)) {
                    Ok(Ok(length)) => {
                        packet.truncate(length);
                        // What is no IP packet has nowhere to go.
                        packets.extend(packet.try_into_ip());
                    }
                    Ok(Err(why)) if packets.is_empty() => return Err(why),
                    Ok(Err(_)) | Err(_) => break,
                }
            }
        }
        Ok(packets.into_iter())
    }

    fn mtu(&self) -> MtuWatcher {
        self.mtu.subscribe().into()
    }
}
