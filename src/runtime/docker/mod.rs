//! Docker, through bollard, from 20.10 (API 1.41, Debian 12's) to the newest; and Podman, from 4.0, whose
//! service answers to the same API.
//!
//! Each file is one noun of the engine. What an engine is too old for is refused with its version and
//! the one that is needed; nothing is dropped silently. Every wait has a bound, after which the engine
//! is [`RuntimeError::Unreachable`]; streams may be silent as long as what they tell of is.

mod archive;
mod build;
mod connect;
mod containers;
mod create;
mod errors;
mod events;
mod flavour;
mod frames;
mod images;
mod logs;
mod networks;
mod observed;
mod podman;
mod sandbox;
mod sessions;
mod stats;
mod timestamps;
mod volumes;
mod wire;

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, sync::Arc};

use bytes::Bytes;
use futures_util::stream::BoxStream;
use tokio::sync::mpsc;

use self::{
    connect::{ANSWER_MAX, Connection},
    errors::about,
    flavour::Wanted,
};
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

pub use self::flavour::Flavour;

/// An engine on this node that answers to Docker's API.
#[derive(Clone, Debug)]
pub struct Docker {
    connection: Arc<Connection>,
}

impl Docker {
    /// The engine behind a Unix socket, whichever it is. It is greeted at the first call.
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self::find(None, Some(socket.into()))
    }

    /// The engine of this kind, or the first that answers, behind this socket or where its package puts it.
    /// It is looked for at the first call.
    #[must_use]
    pub fn find(flavour: Option<Flavour>, socket: Option<PathBuf>) -> Self {
        Self { connection: Arc::new(Connection::new(Wanted::new(flavour, socket))) }
    }
}

impl Runtime for Docker {
    fn info(&self) -> Reply<'_, RuntimeInfo> {
        Box::pin(async {
            let engine = self.connection.engine().await?;
            let info = engine.ask(ANSWER_MAX, engine.client.info()).await;
            let info = info
                .map_err(|it| engine.error(it, about("ask", "engine", engine.whose().address)))?;
            let outlived = match engine.flavour {
                Flavour::Docker => info.live_restore_enabled.unwrap_or(false),
                // Each has a monitor of its own, and needs no service.
                Flavour::Podman => true,
            };
            Ok(RuntimeInfo {
                name: engine.flavour.name(),
                version: info.server_version.unwrap_or_else(|| engine.version.clone()),
                api_version: engine.api.to_string(),
                os: info.os_type.unwrap_or_default(),
                architecture: info.architecture.unwrap_or_default(),
                cpus: info.ncpu.and_then(|it| u32::try_from(it).ok()).unwrap_or(0),
                memory_bytes: images::bytes(info.mem_total).unwrap_or(0),
                live_restore: outlived,
                root: info.docker_root_dir.unwrap_or_default(),
            })
        })
    }

    fn list(&self, node: NodeId) -> Reply<'_, Vec<Observed>> {
        Box::pin(async move { containers::list(&*self.connection.engine().await?, node).await })
    }

    fn observe(&self, id: &RuntimeId) -> Reply<'_, Option<Observed>> {
        let id = id.clone();
        Box::pin(async move { containers::observe(&*self.connection.engine().await?, &id.0).await })
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
            let engine = self.connection.engine().await?;
            images::pull(&engine, &image, platform.as_deref(), credentials, progress).await
        })
    }

    fn build(
        &self,
        request: BuildRequest,
        context: BoxStream<'static, Result<Bytes, std::io::Error>>,
        credentials: Vec<Credentials>,
        progress: mpsc::Sender<Progress>,
    ) -> Reply<'_, ImageId> {
        Box::pin(async move {
            let engine = self.connection.engine().await?;
            build::build(&engine, request, context, credentials, progress).await
        })
    }

    fn image(&self, reference: &str) -> Reply<'_, Option<ImageInfo>> {
        let reference = reference.to_owned();
        Box::pin(async move { images::image(&*self.connection.engine().await?, &reference).await })
    }

    fn remove_image(&self, reference: &str) -> Reply<'_, ()> {
        let reference = reference.to_owned();
        Box::pin(async move { images::remove(&*self.connection.engine().await?, &reference).await })
    }

    fn ensure_network(
        &self,
        spec: &NetworkSpec,
        labels: &BTreeMap<String, String>,
    ) -> Reply<'_, ()> {
        let (spec, labels) = (spec.clone(), labels.clone());
        Box::pin(async move {
            networks::ensure(&*self.connection.engine().await?, &spec, &labels).await
        })
    }

    fn remove_network(&self, name: &str) -> Reply<'_, ()> {
        let name = name.to_owned();
        Box::pin(async move { networks::remove(&*self.connection.engine().await?, &name).await })
    }

    fn networks(&self, label: &str, value: &str) -> Reply<'_, Vec<String>> {
        let (label, value) = (label.to_owned(), value.to_owned());
        Box::pin(
            async move { networks::list(&*self.connection.engine().await?, &label, &value).await },
        )
    }

    fn ensure_volume(&self, spec: &VolumeSpec, labels: &BTreeMap<String, String>) -> Reply<'_, ()> {
        let (spec, labels) = (spec.clone(), labels.clone());
        Box::pin(
            async move { volumes::ensure(&*self.connection.engine().await?, &spec, &labels).await },
        )
    }

    fn remove_volume(&self, name: &str) -> Reply<'_, ()> {
        let name = name.to_owned();
        Box::pin(async move { volumes::remove(&*self.connection.engine().await?, &name).await })
    }

    fn volumes(&self, label: Option<(&str, &str)>) -> Reply<'_, Vec<VolumeInfo>> {
        let label = label.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Box::pin(async move { volumes::list(&*self.connection.engine().await?, label).await })
    }

    fn create(&self, request: &CreateContainer) -> Reply<'_, RuntimeId> {
        let request = request.clone();
        Box::pin(
            async move { containers::create(&*self.connection.engine().await?, &request).await },
        )
    }

    fn start(&self, id: &RuntimeId) -> Reply<'_, ()> {
        let id = id.clone();
        Box::pin(async move { containers::start(&*self.connection.engine().await?, &id.0).await })
    }

    fn stop(&self, id: &RuntimeId, grace: Option<Millis>) -> Reply<'_, ()> {
        let id = id.clone();
        Box::pin(
            async move { containers::stop(&*self.connection.engine().await?, &id.0, grace).await },
        )
    }

    fn kill(&self, id: &RuntimeId, signal: &str) -> Reply<'_, ()> {
        let (id, signal) = (id.clone(), signal.to_owned());
        Box::pin(async move {
            containers::kill(&*self.connection.engine().await?, &id.0, &signal).await
        })
    }

    fn remove(&self, id: &RuntimeId, anonymous_volumes: bool) -> Reply<'_, ()> {
        let id = id.clone();
        Box::pin(async move {
            containers::remove(&*self.connection.engine().await?, &id.0, anonymous_volumes).await
        })
    }

    fn rename(&self, id: &RuntimeId, name: &ContainerName) -> Reply<'_, ()> {
        let (id, name) = (id.clone(), name.clone());
        Box::pin(async move {
            containers::rename(&*self.connection.engine().await?, &id.0, &name).await
        })
    }

    fn inspect(&self, id: &RuntimeId) -> Reply<'_, serde_json::Value> {
        let id = id.clone();
        Box::pin(
            async move { containers::inspect_all(&*self.connection.engine().await?, &id.0).await },
        )
    }

    fn logs(
        &self,
        id: &RuntimeId,
        request: LogsRequest,
    ) -> BoxStream<'static, Result<LogLine, RuntimeError>> {
        logs::logs(self.connection.clone(), id.clone(), request)
    }

    fn exec(&self, id: &RuntimeId, request: ExecRequest) -> Reply<'_, ExecSession> {
        let id = id.clone();
        Box::pin(async move { sessions::exec(self.connection.engine().await?, &id, request).await })
    }

    fn attach(&self, id: &RuntimeId, request: AttachRequest) -> Reply<'_, Session> {
        let id = id.clone();
        Box::pin(
            async move { sessions::attach(self.connection.engine().await?, &id, request).await },
        )
    }

    fn stats(&self, id: &RuntimeId) -> BoxStream<'static, Result<ContainerStats, RuntimeError>> {
        stats::stats(self.connection.clone(), id.clone())
    }

    fn top(&self, id: &RuntimeId, ps_arguments: &str) -> Reply<'_, ProcessList> {
        let (id, arguments) = (id.clone(), ps_arguments.to_owned());
        Box::pin(async move {
            containers::top(&*self.connection.engine().await?, &id.0, arguments).await
        })
    }

    fn copy_out(
        &self,
        id: &RuntimeId,
        path: &str,
    ) -> BoxStream<'static, Result<Bytes, RuntimeError>> {
        archive::copy_out(self.connection.clone(), id.clone(), path.to_owned())
    }

    fn copy_in(
        &self,
        id: &RuntimeId,
        directory: &str,
        tar: BoxStream<'static, Result<Bytes, std::io::Error>>,
    ) -> Reply<'_, ()> {
        let (id, directory) = (id.clone(), directory.to_owned());
        Box::pin(async move { archive::copy_in(&self.connection, &id, &directory, tar).await })
    }

    fn sandbox(&self, request: &SandboxRequest) -> Reply<'_, Sandbox> {
        let request = request.clone();
        Box::pin(async move {
            let engine = self.connection.engine().await?;
            match engine.flavour {
                Flavour::Docker => Ok(Sandbox::Held(sandbox::hold(&engine, &request).await?)),
                Flavour::Podman => Ok(Sandbox::Given),
            }
        })
    }

    fn held_sandbox(&self, container: ContainerId) -> Reply<'_, Option<Held>> {
        Box::pin(async move {
            let engine = self.connection.engine().await?;
            match engine.flavour {
                Flavour::Docker => sandbox::held(&engine, container).await,
                Flavour::Podman => Ok(None),
            }
        })
    }

    fn let_sandbox_go(&self, container: ContainerId) -> Reply<'_, ()> {
        Box::pin(async move {
            let engine = self.connection.engine().await?;
            match engine.flavour {
                Flavour::Docker => sandbox::let_go(&engine, container).await,
                Flavour::Podman => Ok(()),
            }
        })
    }

    fn address(&self, id: &RuntimeId) -> Reply<'_, Option<IpAddr>> {
        let id = id.clone();
        Box::pin(async move { containers::address(&*self.connection.engine().await?, &id.0).await })
    }
}
