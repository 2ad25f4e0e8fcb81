//! The API's other end for the stories: a real [`Node`] whose containers run as soon as it starts
//! them, behind a real socket; and clients.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::{Deref, DerefMut},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use fizz::{
    api::{Ask, Backend, EventLog, Limits, Metrics, serve, wire},
    model::{
        ContainerId, ImageId, Moment, NodeId, NodeState, Observed, RuntimeId, RuntimeState,
        WallTime,
    },
    node::{Effect, Event, Launch, Node, Notice, Now, RequestId, Sight, Subject, View},
    runtime::Docker,
    state::{ClusterState, NodeRecord, ReplicaId, SealedSecret},
};
use serde_json::{Value, json};
use tokio::{
    net::UnixListener,
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::timeout,
};

use crate::{
    client::{Client, PATIENCE},
    no_cluster::{NoCluster, doctor},
};

const ME: NodeId = NodeId(7);

static WORLDS: AtomicU32 = AtomicU32::new(0);

/// A node, and the API in front of it.
pub(crate) struct World {
    pub(crate) log: Arc<EventLog>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) happens: mpsc::Sender<Event>,
    client: Client,
    directory: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    server: JoinSet<()>,
    node: JoinSet<()>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Limits::default())
    }

    pub(crate) fn with(limits: Limits) -> Self {
        let number = WORLDS.fetch_add(1, Ordering::Relaxed);
        let directory =
            std::env::temp_dir().join(format!("fizz-api-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let listener = UnixListener::bind(directory.join("socket")).unwrap();
        let (asks, asked) = mpsc::channel(64);
        let (happens, happened) = mpsc::channel(64);
        let log = Arc::new(EventLog::new(1000));
        let member = Member::new(Arc::clone(&log));
        let (shown, view) = watch::channel(Arc::new(member.node.view()));
        let metrics = Arc::new(Metrics::new());
        let backend = Backend {
            asks,
            view,
            events: Arc::clone(&log),
            // The runtime is away: what streams with it is told in `tests/e2e`.
            runtime: Arc::new(Docker::new(directory.join("no-docker"))),
            seal: Arc::new(|_, bytes| {
                let ciphertext = bytes.iter().map(|byte| byte ^ 0x55).collect();
                Ok(SealedSecret { ciphertext, fingerprint: [0; 16] })
            }),
            cluster: Arc::new(NoCluster),
            clock: Arc::new(|| Now { moment: Moment(2_000_000), wall: WallTime(2_000_000) }),
            metrics: Arc::clone(&metrics),
            doctor: Arc::new(doctor(&directory)),
            ingress: Arc::new(NoCluster),
            order: fizz::topology::zone::Order::default(),
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let (mut node, mut server) = (JoinSet::new(), JoinSet::new());
        node.spawn(member.live(asked, happened, shown));
        // Nobody else is there.
        let (_, members) = mpsc::channel(1);
        server.spawn(serve(listener, members, backend, limits, async {
            drop(stopped.await);
        }));
        let client = Client::new(directory.join("socket"));
        Self { log, metrics, happens, client, directory, stop: Some(stop), server, node }
    }

    /// Deploys a project of these services and waits until they run.
    pub(crate) async fn up(&self, project: &str, services: Value) {
        let model = json!({"name": project, "services": services,
            "networks": {"default": {"name": format!("{project}_default")}}});
        let answer = self.post("/v1/deployments", json!({"model": model})).await;
        assert_eq!(answer.status, 202, "{:?}", answer.body);
        let settled = async {
            loop {
                let found = self.get(&format!("/v1/services?project={project}")).await.json();
                if found.as_array().unwrap().iter().all(|it| it["ready"] == true) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, settled).await.unwrap();
    }

    /// Stops the server and waits until it has.
    pub(crate) async fn stop(&mut self) {
        drop(self.stop.take());
        timeout(PATIENCE, self.server.join_next()).await.unwrap().unwrap().unwrap();
    }

    /// Ends the node's loop, as a crash of it would.
    pub(crate) async fn lose_node(&mut self) {
        self.node.shutdown().await;
    }
}

impl Deref for World {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for World {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

impl Drop for World {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.directory));
    }
}

/// A node, and a world that obeys it at once.
struct Member {
    node: Node,
    log: Arc<EventLog>,
    time: u64,
    images: BTreeMap<RuntimeId, Observed>,
}

impl Member {
    fn new(log: Arc<EventLog>) -> Self {
        let facts = NodeRecord {
            replica: ReplicaId(1),
            version: "0.1.0".into(),
            cpus: 2,
            memory_bytes: 1 << 30,
            architecture: "x86_64".into(),
            kernel: "6.18".into(),
            ..NodeRecord::unmeasured("here".parse().unwrap(), NodeState::Alive, WallTime(0))
        };
        let node = Node::new(ME, facts, ClusterState::new(ReplicaId(1)), 1);
        let mut member = Self { node, log, time: 1_000_000, images: BTreeMap::new() };
        member.step(Event::RuntimeFound("docker 28".into()), &mut BTreeMap::new());
        member.step(Event::Observed(vec![], BTreeMap::new()), &mut BTreeMap::new());
        member
    }

    async fn live(
        mut self,
        mut asked: mpsc::Receiver<Ask>,
        mut happened: mpsc::Receiver<Event>,
        shown: watch::Sender<Arc<View>>,
    ) {
        let (mut waiting, mut number) = (BTreeMap::new(), 0);
        loop {
            let event = tokio::select! {
                Some(ask) = asked.recv() => {
                    number += 1;
                    waiting.insert(RequestId(number), ask.reply);
                    Event::Asked(RequestId(number), ask.request)
                }
                Some(event) = happened.recv() => event,
                else => return,
            };
            self.step(event, &mut waiting);
            shown.send_replace(Arc::new(self.node.view()));
        }
    }

    fn step(&mut self, event: Event, waiting: &mut BTreeMap<RequestId, ReplyTo>) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            self.time += 1;
            let now = Now { moment: Moment(self.time), wall: WallTime(self.time) };
            for effect in self.node.handle(event, now) {
                events.extend(self.carry(effect, waiting));
            }
        }
    }

    fn carry(
        &mut self,
        effect: Effect,
        waiting: &mut BTreeMap<RequestId, ReplyTo>,
    ) -> Option<Event> {
        match effect {
            Effect::Persist(_)
            | Effect::Probe { .. }
            | Effect::Look(..)
            | Effect::Send { .. }
            | Effect::Fetch(_)
            | Effect::Unwrap(..)
            | Effect::Place { .. }
            | Effect::Wrap(..)
            | Effect::Gone => None,
            Effect::Reply(id, answer) => {
                // The client may have gone.
                if let Some(reply) = waiting.remove(&id) {
                    drop(reply.send(answer));
                }
                None
            }
            Effect::Notify(notice) => {
                self.log.append(told(notice));
                None
            }
            Effect::Launch(launch) | Effect::Start(launch) => {
                let seen = observed(&launch);
                self.images.insert(seen.runtime_id.clone(), seen.clone());
                Some(finished(launch.container, Some(seen)))
            }
            Effect::Halt { container, runtime_id, .. }
            | Effect::Signal { container, runtime_id, .. } => {
                let seen = self.images.get_mut(&runtime_id)?;
                let at = WallTime(self.time);
                seen.state = RuntimeState::Exited { code: 0, oom_killed: false, at };
                Some(finished(container, Some(seen.clone())))
            }
            Effect::Discard { container, .. } => Some(finished(container, None)),
            Effect::Clear { project, .. } => Some(Event::Cleared(project, Ok(()))),
        }
    }
}

type ReplyTo = oneshot::Sender<Result<fizz::node::Response, fizz::node::Refusal>>;

fn finished(container: ContainerId, seen: Option<Observed>) -> Event {
    let sight = Sight { container: seen.map(Box::new), image_health: None };
    Event::Finished(container, Ok(()), Some(sight))
}

fn observed(launch: &Launch) -> Observed {
    let running = RuntimeState::Running { since: WallTime(1), paused: false };
    Observed {
        runtime_id: RuntimeId(format!("rt-{}", launch.name).into()),
        name: launch.name.to_string(),
        container: launch.container,
        project: launch.service.project.clone(),
        service: launch.service.service.clone(),
        slot: launch.slot,
        revision: launch.revision,
        one_off: launch.one_off,
        command: String::new(),
        image: ImageId("sha256:0".into()),
        state: if launch.no_start { RuntimeState::Created } else { running },
        created: WallTime(1),
        addresses: BTreeMap::new(),
        ports: vec![],
        shares: vec![],
    }
}

fn told(notice: Notice) -> wire::Event {
    let mut event = wire::Event {
        kind: notice.kind.to_owned(),
        state: notice.state,
        exit_code: notice.exit_code,
        ..wire::Event::default()
    };
    match notice.subject {
        Subject::Node => {}
        Subject::Peer(_, name) => event.name = Some(name.to_string()),
        Subject::Project(project) => event.project = Some(project.to_string()),
        Subject::Service(key) => event.project = Some(key.project.to_string()),
        Subject::Container(id, key, name) => {
            event.project = Some(key.project.to_string());
            event.container = Some(id.to_string());
            event.name = Some(name.to_string());
        }
    }
    event
}
