//! The HTTP API in front of a real engine: what streams out of and into containers.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod files;
mod images;
mod logs;
mod sessions;
mod usage;

#[path = "../../api/client.rs"]
mod client;
#[path = "../../api/no_cluster.rs"]
mod no_cluster;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use client::Client;
use fizz::{
    api::{Ask, Backend, EventLog, Limits, Metrics, serve, wire},
    model::{ContainerState, Moment, NodeState, RuntimeId, ServiceKey, Slot, WallTime},
    node::{Now, Refusal, Request, Response, RuntimeStatus, View},
    runtime::{CreateContainer, Docker, Runtime, RuntimeState},
    state::{Change, ClusterState, ContainerRecord, NodeRecord, OneOff, ReplicaId, SealedSecret},
};
use no_cluster::{NoCluster, doctor};
use tokio::{
    net::UnixListener,
    sync::{mpsc, watch},
    task::JoinSet,
};

use crate::harness::Lab;

/// The API in front of a corner of the engine. Its picture is a real cluster state, in which the
/// stories record what a node would.
struct Front {
    lab: Lab,
    picture: Arc<Picture>,
    client: Client,
    directory: PathBuf,
    _tasks: JoinSet<()>,
}

struct Picture {
    state: Mutex<ClusterState>,
    shown: watch::Sender<Arc<View>>,
    log: Arc<EventLog>,
    me: fizz::model::NodeId,
}

impl Front {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let lab = Lab::new();
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = lab.engine.dir().join(format!("api-{number}"));
        std::fs::create_dir_all(&directory).unwrap();
        let listener = UnixListener::bind(directory.join("socket")).unwrap();
        let runtime: Arc<dyn Runtime> = Arc::new(Docker::new(lab.engine.socket()));
        let mut state = ClusterState::new(ReplicaId(1));
        let _ = state.commit(Change::Node(lab.node, Some(Arc::new(node()))), WallTime(1));
        let (shown, view) = watch::channel(Arc::new(view(lab.node, &state)));
        let log = Arc::new(EventLog::new(0));
        let (state, me) = (Mutex::new(state), lab.node);
        let picture = Arc::new(Picture { state, shown, log: Arc::clone(&log), me });
        let (asks, asked) = mpsc::channel(8);
        let mut tasks = JoinSet::new();
        tasks.spawn(answer(asked, Arc::clone(&picture), Arc::clone(&runtime)));
        let backend = Backend {
            asks,
            view,
            events: log,
            runtime,
            seal: Arc::new(|_, _| Ok(SealedSecret { ciphertext: vec![], fingerprint: [0; 16] })),
            cluster: Arc::new(NoCluster),
            clock: Arc::new(|| Now { moment: Moment(1), wall: WallTime(1) }),
            metrics: Arc::new(Metrics::new()),
            doctor: Arc::new(doctor(&directory)),
            ingress: Arc::new(NoCluster),
            order: fizz::topology::zone::Order::default(),
        };
        // Nobody else is there.
        let (_, members) = mpsc::channel(1);
        let never = std::future::pending();
        tasks.spawn(serve(listener, members, backend, Limits::default(), never));
        let client = Client::new(directory.join("socket"));
        Self { lab, picture, client, directory, _tasks: tasks }
    }

    /// Makes and starts a container, and records it as running.
    async fn run(&self, change: impl FnOnce(&mut CreateContainer)) -> (String, RuntimeId) {
        let request = self.lab.with(change);
        let id = self.lab.run(&request).await;
        self.picture.record(&request, &id, ContainerState::Running, None);
        (request.name.to_string(), id)
    }

    /// Makes a container of `fizz run`, which waits for somebody to attach.
    async fn prepare(&self, change: impl FnOnce(&mut CreateContainer)) -> String {
        let request = self.lab.with(|request| {
            request.one_off = true;
            change(request);
        });
        let id = self.lab.runtime.create(&request).await.unwrap();
        let definition = serde_json::json!({"image": "busybox", "tty": request.spec.tty});
        let definition = definition.to_string().into();
        let one_off = OneOff { definition, remove: true, no_deps: true };
        self.picture.record(&request, &id, ContainerState::Pending, Some(one_off));
        request.name.to_string()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.directory));
    }
}

impl Picture {
    fn record(
        &self,
        request: &CreateContainer,
        runtime_id: &RuntimeId,
        state: ContainerState,
        one_off: Option<OneOff>,
    ) {
        let service =
            ServiceKey { project: request.project.clone(), service: request.service.clone() };
        let created = WallTime(u64::try_from(request.container.0 & 0xffff).unwrap());
        let (id, revision) = (request.container, request.revision);
        self.write(ContainerRecord {
            slot: Slot(1),
            name: request.name.clone(),
            one_off,
            runtime_id: Some(runtime_id.clone()),
            state,
            since: WallTime(1),
            ..ContainerRecord::unmade(id, self.me, service, revision, created)
        });
    }

    /// Changes what is recorded of a container.
    fn change(&self, name: &str, change: impl FnOnce(&mut ContainerRecord)) {
        let record = {
            let state = self.state.lock().unwrap();
            let found = state.containers().find(|it| it.name.as_str() == name).cloned();
            found.unwrap()
        };
        let mut record = (*record).clone();
        change(&mut record);
        self.write(record);
    }

    fn write(&self, record: ContainerRecord) {
        let mut state = self.state.lock().unwrap();
        let _ = state.commit(Change::Container(record.id, Some(Arc::new(record))), WallTime(2));
        self.shown.send_replace(Arc::new(view(self.me, &state)));
    }

    fn forget(&self, id: fizz::model::ContainerId) {
        let mut state = self.state.lock().unwrap();
        let _ = state.commit(Change::Container(id, None), WallTime(3));
        self.shown.send_replace(Arc::new(view(self.me, &state)));
    }
}

/// Starts what is released; when it ends it is told and removed, as `fizz run --rm` has it.
async fn answer(mut asked: mpsc::Receiver<Ask>, picture: Arc<Picture>, runtime: Arc<dyn Runtime>) {
    while let Some(ask) = asked.recv().await {
        let Request::Release(id) = ask.request else {
            drop(ask.reply.send(Err(Refusal::Conflict("no story asks for this".into()))));
            continue;
        };
        let record = picture.state.lock().unwrap().container(id).cloned().unwrap();
        let runtime_id = record.runtime_id.clone().unwrap();
        runtime.start(&runtime_id).await.unwrap();
        picture.change(record.name.as_str(), |it| it.state = ContainerState::Running);
        drop(ask.reply.send(Ok(Response::Done)));
        let code = loop {
            let seen = runtime.observe(&runtime_id).await.unwrap().unwrap();
            if let RuntimeState::Exited { code, .. } = seen.state {
                break code;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        };
        picture.log.append(wire::Event {
            kind: "container.state".into(),
            container: Some(id.to_string()),
            exit_code: Some(code),
            ..wire::Event::default()
        });
        picture.forget(id);
    }
}

fn view(me: fizz::model::NodeId, state: &ClusterState) -> View {
    View {
        me,
        state: Arc::new(state.clone()),
        projects: BTreeMap::new(),
        doing: BTreeMap::new(),
        checks: BTreeMap::new(),
        stuck: BTreeMap::new(),
        ready: BTreeSet::new(),
        runtime: RuntimeStatus::Up,
        overlay: None,
        cluster: None,
    }
}

fn node() -> NodeRecord {
    NodeRecord {
        replica: ReplicaId(1),
        version: "0".into(),
        cpus: 1,
        memory_bytes: 1,
        architecture: "x86_64".into(),
        kernel: "6".into(),
        ..NodeRecord::unmeasured("here".parse().unwrap(), NodeState::Alive, WallTime(0))
    }
}
