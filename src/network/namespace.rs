//! Network namespaces (network_namespaces(7)), and the way to work in one.
//!
//! A netlink socket belongs to the namespace of the thread that made it, and then works from any thread. So
//! a thread of its own enters the namespace, makes the socket there and ends; no other thread of the daemon
//! is ever anywhere else.

use std::{
    fs::File,
    io,
    os::fd::{AsRawFd, RawFd},
    path::Path,
    thread,
};

use nix::sched::{CloneFlags, setns};
use rtnetlink::Handle;
use tokio::runtime;

use super::error::{Fault, NetworkError};

/// A network namespace that is held open.
#[derive(Debug)]
pub struct Namespace(File);

impl Namespace {
    /// The one that a path names: `/run/netns/NAME`, `/proc/PID/ns/net`.
    pub fn open(path: &Path) -> Result<Self, NetworkError> {
        let doing = || format!("open the network namespace {}", path.display());
        File::open(path).map(Self).map_err(|why| NetworkError::Refused { doing: doing(), why })
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
