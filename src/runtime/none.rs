//! No container runtime: for a member that only carries the cluster's state, and for trying Fizz where
//! no runtime is installed.
//!
//! What is asked of what is there gets the truth, which is nothing, so that whoever follows the runtime
//! waits for an event that never comes instead of trying again and again. Whatever would need a
//! container is refused, with the setting that makes it so.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::{
    FutureExt, StreamExt,
    stream::{self, BoxStream},
};
use tokio::sync::mpsc;

use super::contract::{
    AttachRequest, BuildRequest, ContainerStats, CreateContainer, Credentials, ExecRequest,
    ExecSession, Held, ImageInfo, LogLine, LogsRequest, ProcessList, Progress, Reply, Runtime,
    RuntimeError, RuntimeEvent, RuntimeInfo, Sandbox, SandboxRequest, Session, VolumeInfo,
};
use crate::model::{
    ContainerId, ContainerName, ImageId, Millis, NodeId, Observed, RuntimeId,
    spec::{NetworkSpec, VolumeSpec},
};

/// No container runtime.
#[derive(Clone, Copy, Debug)]
pub struct NoRuntime;

fn refusal() -> RuntimeError {
    RuntimeError::Unsupported(
        "this node has no container runtime (runtime.kind: none); set `runtime.kind` and restart fizz to run containers on it"
            .to_owned(),
    )
}

fn refused<'a, T: Send + 'a>() -> Reply<'a, T> {
    std::future::ready(Err(refusal())).boxed()
}

fn refused_stream<T: Send + 'static>() -> BoxStream<'static, Result<T, RuntimeError>> {
    stream::iter([Err(refusal())]).boxed()
}

fn answer<'a, T: Send + 'a>(it: T) -> Reply<'a, T> {
    std::future::ready(Ok(it)).boxed()
}

impl Runtime for NoRuntime {
    fn info(&self) -> Reply<'_, RuntimeInfo> {
        answer(RuntimeInfo {
            name: "none",
            version: String::new(),
            api_version: String::new(),
            os: std::env::consts::OS.to_owned(),
            architecture: std::env::consts::ARCH.to_owned(),
            cpus: 0,
            memory_bytes: 0,
            live_restore: false,
            root: String::new(),
        })
    }

    fn sandbox(&self, _: &SandboxRequest) -> Reply<'_, Sandbox> {
        refused()
    }

    fn held_sandbox(&self, _: ContainerId) -> Reply<'_, Option<Held>> {
        answer(None)
    }

    fn let_sandbox_go(&self, _: ContainerId) -> Reply<'_, ()> {
        answer(())
    }

    fn list(&self, _: NodeId) -> Reply<'_, Vec<Observed>> {
        answer(Vec::new())
    }

    fn observe(&self, _: &RuntimeId) -> Reply<'_, Option<Observed>> {
        answer(None)
    }

    fn events(&self, _: NodeId) -> BoxStream<'static, Result<RuntimeEvent, RuntimeError>> {
        stream::pending().boxed()
    }

    fn pull(
        &self,
        _: &str,
        _: Option<&str>,
        _: Option<Credentials>,
        _: mpsc::Sender<Progress>,
    ) -> Reply<'_, ImageId> {
        refused()
    }

    fn build(
        &self,
        _: BuildRequest,
        _: BoxStream<'static, Result<Bytes, std::io::Error>>,
        _: Vec<Credentials>,
        _: mpsc::Sender<Progress>,
    ) -> Reply<'_, ImageId> {
        refused()
    }

    fn image(&self, _: &str) -> Reply<'_, Option<ImageInfo>> {
        refused()
    }

    fn remove_image(&self, _: &str) -> Reply<'_, ()> {
        refused()
    }

    fn ensure_network(&self, _: &NetworkSpec, _: &BTreeMap<String, String>) -> Reply<'_, ()> {
        refused()
    }

    /// Gone already, like everything that is to be removed here: what is left of a project whose node had
    /// a runtime once can be cleared.
    fn remove_network(&self, _: &str) -> Reply<'_, ()> {
        answer(())
    }

    fn networks(&self, _: &str, _: &str) -> Reply<'_, Vec<String>> {
        answer(Vec::new())
    }

    fn ensure_volume(&self, _: &VolumeSpec, _: &BTreeMap<String, String>) -> Reply<'_, ()> {
        refused()
    }

    fn remove_volume(&self, _: &str) -> Reply<'_, ()> {
        answer(())
    }

    fn volumes(&self, _: Option<(&str, &str)>) -> Reply<'_, Vec<VolumeInfo>> {
        answer(Vec::new())
    }

    fn create(&self, _: &CreateContainer) -> Reply<'_, RuntimeId> {
        refused()
    }

    fn start(&self, _: &RuntimeId) -> Reply<'_, ()> {
        refused()
    }

    fn stop(&self, _: &RuntimeId, _: Option<Millis>) -> Reply<'_, ()> {
        answer(())
    }

    fn kill(&self, _: &RuntimeId, _: &str) -> Reply<'_, ()> {
        refused()
    }

    fn remove(&self, _: &RuntimeId, _: bool) -> Reply<'_, ()> {
        answer(())
    }

    fn rename(&self, _: &RuntimeId, _: &ContainerName) -> Reply<'_, ()> {
        refused()
    }

    fn inspect(&self, _: &RuntimeId) -> Reply<'_, serde_json::Value> {
        refused()
    }

    fn logs(
        &self,
        _: &RuntimeId,
        _: LogsRequest,
    ) -> BoxStream<'static, Result<LogLine, RuntimeError>> {
        refused_stream()
    }

    fn exec(&self, _: &RuntimeId, _: ExecRequest) -> Reply<'_, ExecSession> {
        refused()
    }

    fn attach(&self, _: &RuntimeId, _: AttachRequest) -> Reply<'_, Session> {
        refused()
    }

    fn stats(&self, _: &RuntimeId) -> BoxStream<'static, Result<ContainerStats, RuntimeError>> {
        refused_stream()
    }

    fn top(&self, _: &RuntimeId, _: &str) -> Reply<'_, ProcessList> {
        refused()
    }

    fn copy_out(&self, _: &RuntimeId, _: &str) -> BoxStream<'static, Result<Bytes, RuntimeError>> {
        refused_stream()
    }

    fn copy_in(
        &self,
        _: &RuntimeId,
        _: &str,
        _: BoxStream<'static, Result<Bytes, std::io::Error>>,
    ) -> Reply<'_, ()> {
        refused()
    }

    fn address(&self, _: &RuntimeId) -> Reply<'_, Option<std::net::IpAddr>> {
        answer(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const SAYS: &str = "this node has no container runtime (runtime.kind: none)";

    #[tokio::test]
    async fn nothing_is_there_and_nothing_happens() {
        let node = NodeId(1);
        assert_eq!(NoRuntime.info().await.unwrap().name, "none");
        assert_eq!(NoRuntime.list(node).await.unwrap(), []);
        assert_eq!(NoRuntime.volumes(None).await.unwrap(), []);
        let next = tokio::time::timeout(Duration::from_millis(1), async {
            NoRuntime.events(node).next().await
        });
        assert!(next.await.is_err(), "an event of nothing");
    }

    #[tokio::test]
    async fn what_would_need_a_container_is_refused_with_the_setting_that_makes_it_so() {
        let (progress, _) = mpsc::channel(1);
        let pull = NoRuntime.pull("busybox", None, None, progress).await.unwrap_err();
        assert!(pull.to_string().starts_with(SAYS), "{pull}");
        let id = RuntimeId("x".into());
        let start = NoRuntime.start(&id).await.unwrap_err();
        assert!(start.to_string().starts_with(SAYS), "{start}");
        let log = NoRuntime.logs(&id, LogsRequest::default()).next().await.unwrap().unwrap_err();
        assert!(log.to_string().starts_with(SAYS), "{log}");
    }
}
