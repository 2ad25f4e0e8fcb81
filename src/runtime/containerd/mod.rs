//! containerd, from 1.6 (Debian 12's) to the newest, through its gRPC interface.
//!
//! containerd keeps images and runs processes. What else a runtime does for Fizz is done here: names,
//! volumes, log files, `/etc/hosts`, users by name. Each file is one noun. What there is nothing for is
//! refused by name; nothing is dropped silently. Every wait has a bound, after which containerd is
//! [`RuntimeError::Unreachable`]; streams may be silent as long as what they tell of is.
//!
//! Fizz and containerd must be on one machine and see the same files and processes: output, input and
//! volumes are files and pipes that both open.

mod connect;
mod content;
mod create;
mod errors;
mod events;
mod files;
mod hosts;
mod images;
mod life;
mod log;
mod messages;
mod oci;
mod pull;
mod record;
mod reference;
mod registry;
mod rootfs;
mod sessions;
mod spec;
mod stats;
mod unpack;
mod users;
mod volumes;

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, process::ExitCode, sync::Arc};

use bytes::Bytes;
use futures_util::stream::BoxStream;
use rand_core::{OsRng, RngCore};
use tokio::sync::mpsc;

pub(super) use self::connect::SOCKET;

use self::{connect::Connection, errors::unsupported};
use super::memory_bytes;
use super::{
    AttachRequest, BuildRequest, ContainerStats, CreateContainer, Credentials, ExecRequest,
    ExecSession, Held, ImageInfo, LogLine, LogsRequest, Observed, ProcessList, Progress, Reply,
    Runtime, RuntimeError, RuntimeEvent, RuntimeId, RuntimeInfo, Sandbox, SandboxRequest, Session,
    VolumeInfo,
};
use crate::model::{
    ContainerId, ContainerName, ImageId, Millis, NodeId,
    spec::{NetworkSpec, VolumeSpec},
};

/// containerd on this node.
#[derive(Clone, Debug)]
pub struct Containerd {
    connection: Arc<Connection>,
}

impl Containerd {
    /// containerd behind this socket or where its package puts it. `root` is where Fizz keeps what
    /// containerd has no place for, and `program` is Fizz itself, which writes logs. Nothing is asked
    /// before the first call.
    #[must_use]
    pub fn new(socket: Option<PathBuf>, root: PathBuf, program: PathBuf) -> Self {
        let socket = socket.unwrap_or_else(|| connect::SOCKET.into());
        Self { connection: Arc::new(Connection::new(socket, root, program)) }
    }
}

/// What Fizz does when it is started for a container: its arguments begin with a hidden word. `None` if
/// they do not.
#[must_use]
pub fn helper(arguments: &[String]) -> Option<ExitCode> {
    let (word, rest) = arguments.split_first()?;
    match word.as_str() {
        log::WRITE => Some(log::write_log(rest)),
        log::WRITE_BESIDE => Some(log::write_log_beside(rest)),
        files::COPY => Some(files::copy_files(rest)),
        _ => None,
    }
}

/// A name that nothing else has.
fn random_id() -> String {
    let mut bytes = [0; 16];
    OsRng.fill_bytes(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Runtime for Containerd {
    fn info(&self) -> Reply<'_, RuntimeInfo> {
        Box::pin(async {
            let version = self.connection.version().await?;
            let mut numbers = version.trim_start_matches('v').split(['.', '-', '~', '+']);
            let api = [numbers.next(), numbers.next()].map(Option::unwrap_or_default).join(".");
            let cpus = std::thread::available_parallelism().map_or(1, usize::from);
            Ok(RuntimeInfo {
                name: "containerd",
                api_version: api,
                os: std::env::consts::OS.to_owned(),
                architecture: std::env::consts::ARCH.to_owned(),
                cpus: u32::try_from(cpus).unwrap_or(u32::MAX),
                memory_bytes: memory_bytes().unwrap_or(0),
                // Each has a shim of its own, and needs neither containerd nor Fizz.
                live_restore: true,
                root: self.connection.root.display().to_string(),
                version,
            })
        })
    }

    fn list(&self, node: NodeId) -> Reply<'_, Vec<Observed>> {
        Box::pin(record::list(&self.connection, node))
    }

    fn observe(&self, id: &RuntimeId) -> Reply<'_, Option<Observed>> {
        let id = id.clone();
        Box::pin(async move { record::observe(&self.connection, &id.0).await })
    }

    fn events(&self, node: NodeId) -> BoxStream<'static, Result<RuntimeEvent, RuntimeError>> {
        events::events(self.connection.clone(), node)
    }

    fn pull(
        &self,
        image: &str,
        platform: Option<&str>,
        credentials: Option<Credentials>,
        progress: mpsc::Sender<Progress>,
    ) -> Reply<'_, ImageId> {
        let (image, platform) = (image.to_owned(), platform.map(str::to_owned));
        Box::pin(async move {
            let platform = platform.as_deref();
            pull::pull(&self.connection, &image, platform, credentials, progress).await
        })
    }

    fn build(
        &self,
        request: BuildRequest,
        _context: BoxStream<'static, Result<Bytes, std::io::Error>>,
        _credentials: Vec<Credentials>,
        _progress: mpsc::Sender<Progress>,
    ) -> Reply<'_, ImageId> {
        Box::pin(async move {
            let name = request.tags.first().map_or("", String::as_str);
            Err(unsupported(
                format!("builder, so that {name} cannot be built here"),
                "build it on a node with Docker or Podman, push it to a registry and name it by `image`",
            ))
        })
    }

    fn image(&self, reference: &str) -> Reply<'_, Option<ImageInfo>> {
        let reference = reference.to_owned();
        Box::pin(async move { images::image(&self.connection, &reference).await })
    }

    fn remove_image(&self, reference: &str) -> Reply<'_, ()> {
        let reference = reference.to_owned();
        Box::pin(async move { images::remove(&self.connection, &reference).await })
    }

    fn ensure_network(
        &self,
        spec: &NetworkSpec,
        _labels: &BTreeMap<String, String>,
    ) -> Reply<'_, ()> {
        let name = spec.name.clone();
        Box::pin(async move { Err(spec::no_networks(format!("network `{name}`"))) })
    }

    fn remove_network(&self, _name: &str) -> Reply<'_, ()> {
        // There is none.
        Box::pin(std::future::ready(Ok(())))
    }

    fn networks(&self, _label: &str, _value: &str) -> Reply<'_, Vec<String>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn ensure_volume(&self, spec: &VolumeSpec, labels: &BTreeMap<String, String>) -> Reply<'_, ()> {
        Box::pin(std::future::ready(volumes::ensure(&self.connection, spec, labels)))
    }

    fn remove_volume(&self, name: &str) -> Reply<'_, ()> {
        let name = name.to_owned();
        Box::pin(async move { volumes::remove(&self.connection, &name).await })
    }

    fn volumes(&self, label: Option<(&str, &str)>) -> Reply<'_, Vec<VolumeInfo>> {
        let label = label.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Box::pin(std::future::ready(volumes::list(&self.connection, label)))
    }

    fn create(&self, request: &CreateContainer) -> Reply<'_, RuntimeId> {
        let request = request.clone();
        Box::pin(async move { create::create(&self.connection, &request).await })
    }

    fn start(&self, id: &RuntimeId) -> Reply<'_, ()> {
        let id = id.clone();
        Box::pin(async move { life::start(&self.connection, &id.0).await })
    }

    fn stop(&self, id: &RuntimeId, grace: Option<Millis>) -> Reply<'_, ()> {
        let id = id.clone();
        Box::pin(async move { life::stop(&self.connection, &id.0, grace).await })
    }

    fn kill(&self, id: &RuntimeId, signal: &str) -> Reply<'_, ()> {
        let (id, signal) = (id.clone(), signal.to_owned());
        Box::pin(async move { life::kill(&self.connection, &id.0, &signal).await })
    }

    fn remove(&self, id: &RuntimeId, anonymous_volumes: bool) -> Reply<'_, ()> {
        let id = id.clone();
        Box::pin(async move { life::remove(&self.connection, &id.0, anonymous_volumes).await })
    }

    fn rename(&self, id: &RuntimeId, name: &ContainerName) -> Reply<'_, ()> {
        let (id, name) = (id.clone(), name.clone());
        Box::pin(async move { life::rename(&self.connection, &id.0, &name).await })
    }

    fn inspect(&self, id: &RuntimeId) -> Reply<'_, serde_json::Value> {
        let id = id.clone();
        Box::pin(async move { life::inspect(&self.connection, &id.0).await })
    }

    fn logs(
        &self,
        id: &RuntimeId,
        request: LogsRequest,
    ) -> BoxStream<'static, Result<LogLine, RuntimeError>> {
        log::logs(self.connection.clone(), id.clone(), request)
    }

    fn exec(&self, id: &RuntimeId, request: ExecRequest) -> Reply<'_, ExecSession> {
        let id = id.clone();
        Box::pin(async move { sessions::exec(self.connection.clone(), &id, request).await })
    }

    fn attach(&self, id: &RuntimeId, request: AttachRequest) -> Reply<'_, Session> {
        let id = id.clone();
        Box::pin(async move { sessions::attach(self.connection.clone(), &id, request).await })
    }

    fn stats(&self, id: &RuntimeId) -> BoxStream<'static, Result<ContainerStats, RuntimeError>> {
        stats::stats(self.connection.clone(), id.clone())
    }

    fn top(&self, id: &RuntimeId, ps_arguments: &str) -> Reply<'_, ProcessList> {
        let (id, arguments) = (id.clone(), ps_arguments.to_owned());
        Box::pin(async move { life::top(&self.connection, &id.0, &arguments).await })
    }

    fn copy_out(
        &self,
        id: &RuntimeId,
        path: &str,
    ) -> BoxStream<'static, Result<Bytes, RuntimeError>> {
        files::copy_out(self.connection.clone(), id.clone(), path.to_owned())
    }

    fn copy_in(
        &self,
        id: &RuntimeId,
        directory: &str,
        tar: BoxStream<'static, Result<Bytes, std::io::Error>>,
    ) -> Reply<'_, ()> {
        let (id, directory) = (id.clone(), directory.to_owned());
        Box::pin(async move { files::copy_in(&self.connection, &id, &directory, tar).await })
    }

    fn sandbox(&self, _: &SandboxRequest) -> Reply<'_, Sandbox> {
        Box::pin(std::future::ready(Ok(Sandbox::Given)))
    }

    fn held_sandbox(&self, _: ContainerId) -> Reply<'_, Option<Held>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn let_sandbox_go(&self, _: ContainerId) -> Reply<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn address(&self, id: &RuntimeId) -> Reply<'_, Option<IpAddr>> {
        let id = id.clone();
        Box::pin(async move { life::address(&self.connection, &id.0).await })
    }
}
