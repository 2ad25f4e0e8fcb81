//! The connection to containerd: a limit on every wait, and its version, which is asked for first.
//!
//! Nothing is asked before it is needed, so that Fizz starts without containerd. All that Fizz makes is
//! in a namespace of its own there, so that it is in nobody's way, and nobody in its.

use std::{
    path::{Path, PathBuf},
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{Stream, StreamExt, stream::BoxStream};
use hyper::http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use tokio::net::UnixStream;
use tonic::{
    Request,
    client::Grpc,
    metadata::MetadataValue,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

use super::{
    errors::{self, About, Refusal, about},
    messages::{Call, CreateNamespace, GetVersion, Namespace},
};
use crate::runtime::RuntimeError;

/// Where Debian's package and everybody else's puts it.
pub(in crate::runtime) const SOCKET: &str = "/run/containerd/containerd.sock";

/// Ours among containerd's namespaces.
pub(super) const NAMESPACE: &str = "fizz";

/// The snapshotter: which kind of layered file system containers have.
pub(super) const SNAPSHOTTER: &str = "overlayfs";

/// The longest wait for an answer that needs no work.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(30);

/// The longest wait for work on containers.
pub(super) const WORK_MAX: Duration = Duration::from_secs(180);

/// The longest wait for a layer to be unpacked.
pub(super) const LAYER_MAX: Duration = Duration::from_secs(1800);

/// The longest message that is taken.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// The oldest that is spoken with: Debian 12's.
const OLDEST: (u32, u32) = (1, 6);

/// Containers are locked by their id; a few share a lock.
const LOCKS: usize = 32;

/// Where containerd is, and what is known about it.
#[derive(Debug)]
pub(super) struct Connection {
    socket: PathBuf,
    /// Made at the first call: it needs a runtime to be made in.
    channel: OnceLock<Channel>,
    /// Its version, once it was greeted.
    version: Mutex<Option<String>>,
    /// It was silent since: to be greeted anew.
    stale: AtomicBool,
    /// Held by who makes or renames a container, as containerd knows nothing of names.
    pub(super) names: tokio::sync::Mutex<()>,
    locks: [tokio::sync::Mutex<()>; LOCKS],
    /// Where Fizz keeps what containerd has no place for.
    pub(super) root: PathBuf,
    /// The program that writes logs: Fizz itself.
    pub(super) program: PathBuf,
}

impl Connection {
    pub(super) fn new(socket: PathBuf, root: PathBuf, program: PathBuf) -> Self {
        Self {
            socket,
            channel: OnceLock::new(),
            version: Mutex::new(None),
            stale: AtomicBool::new(false),
            names: tokio::sync::Mutex::new(()),
            locks: std::array::from_fn(|_| tokio::sync::Mutex::new(())),
            root,
            program,
        }
    }

    /// Its version; it is greeted if it is not known or was silent.
    pub(super) async fn version(&self) -> Result<String, RuntimeError> {
        let known = self.version.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(version) = known
            && !self.stale.load(Ordering::Relaxed)
        {
            return Ok(version);
        }
        let greeting = about("greet", "containerd at", self.address());
        let answer = self.send(GetVersion {}, ANSWER_MAX, None).await;
        let version = answer.map_err(|it| self.error(it, &greeting))?.version;
        accept(&version, &self.address())?;
        let namespace = Namespace { name: NAMESPACE.to_owned(), ..Namespace::default() };
        match self.send(CreateNamespace { namespace: Some(namespace) }, ANSWER_MAX, None).await {
            Ok(_) | Err(Refusal::Taken(_)) => {}
            Err(refusal) => {
                return Err(self.error(refusal, &about("make", "namespace", NAMESPACE)));
            }
        }
        *self.version.lock().unwrap_or_else(PoisonError::into_inner) = Some(version.clone());
        self.stale.store(false, Ordering::Relaxed);
        Ok(version)
    }

    /// Asks for something that needs no work.
    pub(super) async fn ask<C: Call>(&self, call: C) -> Result<C::Answer, Refusal> {
        self.ask_within(call, ANSWER_MAX, None).await
    }

    /// Asks for work.
    pub(super) async fn work<C: Call>(&self, call: C) -> Result<C::Answer, Refusal> {
        self.ask_within(call, WORK_MAX, None).await
    }

    /// Asks, and waits for so long; what is made is kept by the lease, if there is one.
    pub(super) async fn ask_within<C: Call>(
        &self,
        call: C,
        limit: Duration,
        lease: Option<&str>,
    ) -> Result<C::Answer, Refusal> {
        if let Err(error) = self.version().await {
            return Err(match error {
                RuntimeError::Unreachable { why, .. } => Refusal::Silent(why),
                RuntimeError::Absent(_)
                | RuntimeError::NotFound { .. }
                | RuntimeError::Conflict(_)
                | RuntimeError::Unauthorized { .. }
                | RuntimeError::Unsupported(_)
                | RuntimeError::Failed { .. } => Refusal::Said(error.to_string()),
            });
        }
        self.send(call, limit, lease).await
    }

    async fn send<C: Call>(
        &self,
        call: C,
        limit: Duration,
        lease: Option<&str>,
    ) -> Result<C::Answer, Refusal> {
        let sent = async {
            let mut client = self.client().await?;
            let codec = ProstCodec::<C, C::Answer>::default();
            let path = PathAndQuery::from_static(C::PATH);
            let answer = client.unary(request(call, lease), path, codec).await?;
            Ok(answer.into_inner())
        };
        let answer = tokio::time::timeout(limit, sent).await;
        let answer = answer.unwrap_or_else(|_| Err(no_answer(limit)));
        answer.inspect_err(|refusal| self.heard(refusal))
    }

    /// Asks for something that is answered in parts. Parts may be as far apart as they like.
    pub(super) async fn listen<C: Call>(
        &self,
        call: C,
    ) -> Result<impl Stream<Item = Result<C::Answer, Refusal>> + Send + use<C>, Refusal> {
        let sent = async {
            let mut client = self.client().await?;
            let codec = ProstCodec::<C, C::Answer>::default();
            let path = PathAndQuery::from_static(C::PATH);
            let answer = client.server_streaming(request(call, None), path, codec).await?;
            Ok(answer.into_inner().map(|part| part.map_err(Refusal::from)))
        };
        let answer = tokio::time::timeout(ANSWER_MAX, sent).await;
        let answer = answer.unwrap_or_else(|_| Err(no_answer(ANSWER_MAX)));
        answer.inspect_err(|refusal| self.heard(refusal))
    }

    /// Says something in parts, each answered by one.
    pub(super) async fn talk<C: Call>(
        &self,
        calls: BoxStream<'static, C>,
        lease: Option<&str>,
    ) -> Result<impl Stream<Item = Result<C::Answer, Refusal>> + Send + use<C>, Refusal> {
        let mut client = self.client().await?;
        let codec = ProstCodec::<C, C::Answer>::default();
        let path = PathAndQuery::from_static(C::PATH);
        let answer = client.streaming(request(calls, lease), path, codec).await?;
        Ok(answer.into_inner().map(|part| part.map_err(Refusal::from)))
    }

    async fn client(&self) -> Result<Grpc<Channel>, Refusal> {
        let channel = self.channel.get_or_init(|| channel(&self.socket)).clone();
        let mut client = Grpc::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let ready = client.ready().await;
        ready.map_err(|error| Refusal::from(tonic::Status::from_error(Box::new(error))))?;
        Ok(client)
    }

    /// Marks containerd as one to greet anew if it was silent.
    pub(super) fn heard(&self, refusal: &Refusal) {
        if matches!(refusal, Refusal::Silent(_)) {
            self.stale.store(true, Ordering::Relaxed);
        }
    }

    /// A refusal as the error that the caller sees.
    pub(super) fn error(&self, refusal: Refusal, about: &About) -> RuntimeError {
        self.heard(&refusal);
        errors::error(&self.address(), refusal, about)
    }

    /// Which capabilities containerd may give to others: those that it could have itself, by their bits
    /// (capabilities(7)). Where it cannot be seen, all are tried.
    pub(super) fn bounding_set(&self) -> u64 {
        let read = || {
            let stream = std::os::unix::net::UnixStream::connect(&self.socket).ok()?;
            let whose = getsockopt(&stream, PeerCredentials).ok()?;
            let status = std::fs::read_to_string(format!("/proc/{}/status", whose.pid())).ok()?;
            let set = status.lines().find_map(|it| it.strip_prefix("CapBnd:"))?;
            u64::from_str_radix(set.trim(), 16).ok()
        };
        read().unwrap_or(u64::MAX)
    }

    pub(super) fn address(&self) -> String {
        self.socket.display().to_string()
    }

    /// Nobody else changes the container while this is held.
    pub(super) async fn lock(&self, id: &str) -> tokio::sync::MutexGuard<'_, ()> {
        self.locks[slot(id)].lock().await
    }

    /// The same, if nobody has it: for what can be left to whoever has.
    pub(super) fn try_lock(&self, id: &str) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        self.locks[slot(id)].try_lock().ok()
    }

    /// Where a container's own files are.
    pub(super) fn directory(&self, id: &str) -> PathBuf {
        self.root.join("containers").join(id)
    }

    /// The directory of volumes.
    pub(super) fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }

    /// Where short-lived mounts and pipes are.
    pub(super) fn scratch(&self) -> PathBuf {
        self.root.join("tmp")
    }
}

fn channel(socket: &Path) -> Channel {
    let path = socket.to_owned();
    let connector = tower::service_fn(move |_| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    // The address is for the protocol's sake only.
    Endpoint::from_static("http://containerd").connect_with_connector_lazy(connector)
}

/// Which lock is a container's.
fn slot(id: &str) -> usize {
    id.bytes().fold(0, |sum: usize, byte| sum.wrapping_add(usize::from(byte))) % LOCKS
}

fn request<T>(content: T, lease: Option<&str>) -> Request<T> {
    let mut request = Request::new(content);
    let metadata = request.metadata_mut();
    metadata.insert("containerd-namespace", MetadataValue::from_static(NAMESPACE));
    if let Some(Ok(lease)) = lease.map(MetadataValue::try_from) {
        metadata.insert("containerd-lease", lease);
    }
    request
}

fn no_answer(limit: Duration) -> Refusal {
    Refusal::Silent(format!("no answer in {} s", limit.as_secs()))
}

/// Refuses what is too old: `1.6.20~ds1`, `v2.1.0`.
fn accept(version: &str, address: &str) -> Result<(), RuntimeError> {
    let mut numbers = version.trim_start_matches('v').split(['.', '-', '~', '+']);
    let mut number = || numbers.next()?.parse::<u32>().ok();
    let there = number().zip(number());
    // A build without a version is somebody's own, and new.
    if there.is_none_or(|it| it >= OLDEST) {
        return Ok(());
    }
    let (major, minor) = OLDEST;
    Err(RuntimeError::Unsupported(format!(
        "containerd {version} at {address} is too old: upgrade it to {major}.{minor} or newer"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_taken_and_what_is_older_is_not() {
        for version in ["1.6.20~ds1", "v2.1.0-rc.1", "v1.10.0", "(devel)"] {
            accept(version, "/s").unwrap();
        }
        let error = accept("1.5.18", "/s").unwrap_err().to_string();
        assert!(error.contains("1.5.18") && error.contains("1.6 or newer"), "{error}");
    }
}
