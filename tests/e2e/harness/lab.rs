//! A test's own corner of the shared engine: a node, a project, containers.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use fizz::{
    model::{
        ContainerId, NodeId, Revision, Slot,
        spec::{CommandLine, ContainerSpec, NetworkAttachment, NetworkMode, NetworkSpec},
    },
    runtime::{
        Containerd, CreateContainer, Docker, ExecRequest, LogsRequest, ResolvedNetwork, Runtime,
        RuntimeError, RuntimeEvent, RuntimeEventKind, RuntimeId, RuntimeState, labels,
    },
};
use futures_util::{StreamExt, stream::BoxStream};

use super::{Dockerd, Kind, Options};

/// A registry where the engine is that wants a name: `plain` and `plain`.
pub(crate) const REGISTRY: &str = "127.0.0.1:5000";

/// One that lets anybody in.
pub(crate) const REGISTRY_OPEN: &str = "127.0.0.1:5001";

/// A test's own corner of an engine.
pub(crate) struct Lab {
    pub(crate) engine: &'static Dockerd,
    pub(crate) runtime: Box<dyn Runtime>,
    pub(crate) node: NodeId,
    pub(crate) project: String,
    containers: AtomicU32,
}

impl Lab {
    /// A corner of the shared engine.
    pub(crate) fn new() -> Self {
        Self::on(Dockerd::shared())
    }

    /// An engine of one's own, to be crashed, whose containers outlive it.
    pub(crate) fn with_live_restore() -> Self {
        let engine = Dockerd::start(Options { live_restore: true, ..Options::default() });
        super::image::load(&engine);
        // As long as the process, like the shared one; its keeper clears up.
        Self::on(Box::leak(Box::new(engine)))
    }

    fn on(engine: &'static Dockerd) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Self {
            engine,
            runtime: runtime(engine),
            node: NodeId(u128::from(number) << 64),
            project: format!("p{number}"),
            containers: AtomicU32::new(1),
        }
    }

    /// A container of a service that waits, on no network.
    pub(crate) fn request(&self, service: &str) -> CreateContainer {
        let number = self.containers.fetch_add(1, Ordering::Relaxed);
        CreateContainer {
            node: self.node,
            container: ContainerId(self.node.0 + u128::from(number)),
            name: format!("{}-{service}-{number}", self.project).parse().unwrap(),
            project: self.project.parse().unwrap(),
            service: service.parse().unwrap(),
            slot: Slot(1),
            revision: Revision(7),
            one_off: false,
            spec: ContainerSpec {
                image: "busybox".to_owned(),
                command: words(&["sleep", "3600"]),
                network: NetworkMode::None,
                ..ContainerSpec::default()
            },
            networks: Vec::new(),
            network_namespace: None,
            volumes: BTreeMap::new(),
            files: Vec::new(),
            peers: BTreeMap::new(),
            links: BTreeMap::new(),
        }
    }

    /// Whether the engine is Podman: for what it has otherwise, or not at all.
    pub(crate) fn on_podman(&self) -> bool {
        self.engine.kind() == Kind::Podman
    }

    /// Whether it is containerd.
    pub(crate) fn on_containerd(&self) -> bool {
        self.engine.kind() == Kind::Containerd
    }

    /// Podman's own account of a container, which has what its Docker-like one lacks.
    pub(crate) fn libpod(&self, id: &RuntimeId, pointer: &str) -> serde_json::Value {
        let said = self.engine.inside(&format!(
            "curl -sf --unix-socket {} http://engine/v4.0.0/libpod/containers/{id}/json",
            self.engine.socket().display()
        ));
        let all: serde_json::Value = serde_json::from_str(&said).unwrap();
        all.pointer(pointer).unwrap_or_else(|| panic!("{pointer} in {all:#}")).clone()
    }

    /// The same, changed.
    pub(crate) fn with(&self, change: impl FnOnce(&mut CreateContainer)) -> CreateContainer {
        let mut request = self.request("web");
        change(&mut request);
        request
    }

    /// Makes and starts a container.
    pub(crate) async fn run(&self, request: &CreateContainer) -> RuntimeId {
        let id = self.runtime.create(request).await.unwrap();
        self.runtime.start(&id).await.unwrap();
        id
    }

    /// Makes and starts a container of a changed request.
    pub(crate) async fn run_with(&self, change: impl FnOnce(&mut CreateContainer)) -> RuntimeId {
        self.run(&self.with(change)).await
    }

    /// Runs a shell line in a container and returns what it wrote, and its status.
    pub(crate) async fn try_sh(&self, id: &RuntimeId, line: &str) -> (String, i64) {
        let command = ["sh", "-c", line].map(str::to_owned).to_vec();
        let request = ExecRequest { command, ..ExecRequest::default() };
        let mut exec = self.runtime.exec(id, request).await.unwrap();
        let mut output = Vec::new();
        while let Some(written) = exec.session.output.next().await {
            output.extend(written.unwrap().bytes);
        }
        (text(&output), exec.exit_code.await.unwrap().unwrap())
    }

    /// The same; it must succeed.
    pub(crate) async fn sh(&self, id: &RuntimeId, line: &str) -> String {
        let (output, status) = self.try_sh(id, line).await;
        assert_eq!(status, 0, "{line}: {output}");
        output
    }

    /// Waits for a container's end and returns its status.
    pub(crate) async fn ended(&self, id: &RuntimeId) -> i64 {
        for _ in 0..600 {
            if let RuntimeState::Exited { code, .. } = self.state(id).await {
                return code;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{id} did not end");
    }

    /// Waits until a container's first process is this program: what starts it may be there for a while yet.
    pub(crate) async fn until_runs(&self, id: &RuntimeId, program: &str) {
        let look = format!("grep -q {program} /proc/1/comm && exit; sleep 0.05");
        self.sh(id, &format!("for i in $(seq 600); do {look}; done; cat /proc/1/comm; exit 1"))
            .await;
    }

    /// Waits until a container's state is such.
    pub(crate) async fn until(
        &self,
        id: &RuntimeId,
        what: &str,
        is_so: impl Fn(&RuntimeState) -> bool,
    ) {
        for _ in 0..600 {
            if is_so(&self.state(id).await) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{id}: it never came that {what}: {:?}", self.state(id).await);
    }

    /// What happens to the node's containers from now on: the engine has told of one that came and went.
    pub(crate) async fn listen(&self) -> BoxStream<'static, Result<RuntimeEvent, RuntimeError>> {
        let mut events = self.runtime.events(self.node);
        for _ in 0..20 {
            let scout = self.request("scout");
            let comes_and_goes = async {
                let id = self.runtime.create(&scout).await.unwrap();
                self.runtime.remove(&id, true).await.unwrap();
            };
            let told = async {
                loop {
                    let event = events.next().await.unwrap().unwrap();
                    if (event.container, event.kind) == (scout.container, RuntimeEventKind::Removed)
                    {
                        return;
                    }
                }
            };
            let told = tokio::time::timeout(Duration::from_secs(3), told);
            if tokio::join!(told, comes_and_goes).0.is_ok() {
                return events;
            }
        }
        panic!("the engine tells of nothing that happens");
    }

    pub(crate) async fn state(&self, id: &RuntimeId) -> RuntimeState {
        self.runtime.observe(id).await.unwrap().unwrap().state
    }

    /// Everything that a container has written.
    pub(crate) async fn output(&self, id: &RuntimeId) -> String {
        let lines = self.runtime.logs(id, LogsRequest::default());
        let lines: Vec<_> = lines.map(|it| text(&it.unwrap().line)).collect().await;
        lines.join("\n")
    }

    /// A value of the engine's own account of a container: `/HostConfig/Memory`.
    pub(crate) async fn inspected(&self, id: &RuntimeId, pointer: &str) -> serde_json::Value {
        let all = self.runtime.inspect(id).await.unwrap();
        let pointer = if self.on_containerd() { in_the_specification(pointer) } else { pointer };
        all.pointer(pointer).unwrap_or_else(|| panic!("{pointer} in {all:#}")).clone()
    }

    /// This project's label.
    pub(crate) fn labels(&self) -> BTreeMap<String, String> {
        [(labels::PROJECT.to_owned(), self.project.clone())].into()
    }

    /// Makes a network of the project.
    pub(crate) async fn network(&self, key: &str, change: impl FnOnce(&mut NetworkSpec)) -> String {
        let mut spec =
            NetworkSpec { name: format!("{}_{key}", self.project), ..NetworkSpec::default() };
        change(&mut spec);
        self.runtime.ensure_network(&spec, &self.labels()).await.unwrap();
        spec.name
    }
}

/// Where containerd's account, which is the OCI runtime specification, has what Docker's has.
fn in_the_specification(pointer: &str) -> &str {
    match pointer {
        "/HostConfig/MemorySwap" => "/spec/linux/resources/memory/swap",
        "/HostConfig/MemorySwappiness" => "/spec/linux/resources/memory/swappiness",
        "/HostConfig/OomKillDisable" => "/spec/linux/resources/memory/disableOOMKiller",
        "/HostConfig/CpuShares" => "/spec/linux/resources/cpu/shares",
        "/HostConfig/CpuPeriod" => "/spec/linux/resources/cpu/period",
        "/HostConfig/CpuQuota" => "/spec/linux/resources/cpu/quota",
        "/HostConfig/CpuRealtimeRuntime" => "/spec/linux/resources/cpu/realtimeRuntime",
        "/Mounts/0/Name" => "/fizz/mounts/0/volume",
        "/Config/Labels" => "/fizz/labels",
        "/State/Pid" => "/task/pid",
        other => other,
    }
}

fn runtime(engine: &Dockerd) -> Box<dyn Runtime> {
    match engine.kind() {
        Kind::Docker | Kind::Podman => Box::new(Docker::new(engine.socket())),
        Kind::Containerd => {
            let (root, program) = (engine.dir().join("data"), env!("CARGO_BIN_EXE_fizz"));
            Box::new(Containerd::new(Some(engine.socket()), root, program.into()))
        }
    }
}

/// A container that joins networks by their name, under aliases.
pub(crate) fn joins(request: &mut CreateContainer, networks: &[(&str, &[&str])]) {
    request.spec.network = NetworkMode::default();
    request.networks = networks
        .iter()
        .map(|(name, aliases)| ResolvedNetwork {
            name: (*name).to_owned(),
            attachment: NetworkAttachment {
                aliases: aliases.iter().map(|it| (*it).to_owned()).collect(),
                ..NetworkAttachment::default()
            },
        })
        .collect();
}

/// A command line.
pub(crate) fn words(words: &[&str]) -> CommandLine {
    CommandLine::Words(words.iter().map(|it| (*it).to_owned()).collect())
}

/// Bytes as text, without the last line's end.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end().to_owned()
}
