//! Network namespaces (network_namespaces(7)), and the way to work in one.
//!
//! A netlink socket belongs to the namespace of the thread that made it, and then works from any thread. So
//! a thread of its own enters the namespace, makes the socket there and ends; no other thread of the daemon
//! is ever anywhere else.

use std::{
    fs::{self, File},
    io,
    os::fd::{AsRawFd, RawFd},
    path::{Path, PathBuf},
    thread,
};

use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, setns, unshare},
    sys::statfs::{FsType, statfs},
};
use rtnetlink::Handle;
use tokio::runtime;

use super::error::{Fault, NetworkError};

/// Where namespaces have names.
const NAMED: &str = "/run/netns";

/// The file system that namespaces' files are of (`NSFS_MAGIC` of linux/magic.h).
const NAMESPACES: FsType = FsType(0x6e73_6673);

/// A network namespace that is held open.
#[derive(Debug)]
pub struct Namespace(File);

impl Namespace {
    /// The one that a path names: `/run/netns/NAME`, `/proc/PID/ns/net`.
    pub fn open(path: &Path) -> Result<Self, NetworkError> {
        let doing = || format!("open the network namespace {}", path.display());
        File::open(path).map(Self).map_err(|why| NetworkError::Refused { doing: doing(), why })
    }

    /// Where the one that has this name is.
    #[must_use]
    pub fn path_of(name: &str) -> PathBuf {
        Path::new(NAMED).join(name)
    }

    /// The one that has this name in `/run/netns` (ip-netns(8)), made if it is not there. It lasts until it is
    /// [taken away](Self::unname), whoever runs in it, or the machine restarts.
    pub fn named(name: &str) -> Result<PathBuf, NetworkError> {
        let doing = format!("make the network namespace {name}");
        let path = Self::path_of(name);
        let made = thread::scope(|scope| {
            let make = || {
                fs::create_dir_all(NAMED)?;
                if is_namespace(&path)? {
                    return Ok(());
                }
                File::create(&path)?;
                unshare(CloneFlags::CLONE_NEWNET)?;
                let own = Some("/proc/thread-self/ns/net");
                Ok(mount(own, &path, None::<&str>, MsFlags::MS_BIND, None::<&str>)?)
            };
            let thread = thread::Builder::new().name("netns".to_owned());
            let thread = thread.spawn_scoped(scope, make)?;
            thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
        });
        made.map_err(|why| NetworkError::Refused { doing, why })?;
        Ok(path)
    }

    /// Takes a name away: with the last process in it the namespace goes, too.
    pub fn unname(name: &str) -> Result<(), NetworkError> {
        let path = Self::path_of(name);
        let refused = |why: io::Error| {
            let doing = format!("remove the network namespace {name}");
            NetworkError::Refused { doing, why }
        };
        match umount2(&path, MntFlags::MNT_DETACH) {
            // It is not mounted, or not there.
            Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {}
            Err(why) => return Err(refused(why.into())),
        }
        match fs::remove_file(&path) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => Err(refused(why)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The one that this thread is in.
    pub fn here() -> Result<Self, NetworkError> {
        Self::open(Path::new("/proc/thread-self/ns/net"))
    }

    pub(super) fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Does something on a thread that is in this namespace, and ends with it.
    pub(super) fn inside<T: Send>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send,
    ) -> io::Result<T> {
        let reactor = runtime::Handle::current();
        thread::scope(|scope| {
            let work = || {
                setns(&self.0, CloneFlags::CLONE_NEWNET)?;
                let _reactor = reactor.enter();
                work()
            };
            let thread = thread::Builder::new().name("netns".to_owned());
            let thread = thread.spawn_scoped(scope, work)?;
            thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
        })
    }

    /// Works on the links of this namespace. The connection to the kernel lives as long as the work.
    pub(super) async fn work<T>(
        &self,
        doing: &str,
        work: impl AsyncFnOnce(&Handle) -> Result<T, Fault>,
    ) -> Result<T, NetworkError> {
        let refused = |why| NetworkError::Refused { doing: doing.to_owned(), why };
        let (connection, links, _) = self.inside(rtnetlink::new_connection).map_err(refused)?;
        let result = tokio::select! {
            result = work(&links) => result,
            () = connection => Err(rtnetlink::Error::RequestFailed.into()),
        };
        result.map_err(|why| why.while_doing(doing))
    }
}

/// Whether a namespace is mounted there, and not just the file that one was mounted on.
fn is_namespace(path: &Path) -> io::Result<bool> {
    match statfs(path) {
        Ok(found) => Ok(found.filesystem_type() == NAMESPACES),
        Err(Errno::ENOENT) => Ok(false),
        Err(why) => Err(why.into()),
    }
}
