//! The API's other end for the stories: a real [`Node`] whose containers run as soon as it starts
//! them, behind a real socket; and clients.

use std::{
    collections::{BTreeMap, VecDeque},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
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
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Method, Request, StatusCode, body::Incoming};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::timeout,
};

const ME: NodeId = NodeId(7);

/// Longer than anything here may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

static WORLDS: AtomicU32 = AtomicU32::new(0);

/// A node, and the API in front of it.
pub(crate) struct World {
    pub(crate) log: Arc<EventLog>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) happens: mpsc::Sender<Event>,
    directory: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    server: JoinSet<()>,
    node: JoinSet<()>,
    clients: JoinSet<()>,
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|why| panic!("{why}: {:?}", self.body))
    }

    /// That it is a problem of this kind, in full.
    #[track_caller]
    pub(crate) fn is_problem(&self, status: u16, kind: &str) -> wire::Problem {
        assert_eq!(self.headers["content-type"], "application/problem+json", "{:?}", self.body);
        let problem: wire::Problem = serde_json::from_slice(&self.body).unwrap();
        assert_eq!((self.status.as_u16(), problem.status), (status, status), "{problem:?}");
        assert_eq!(problem.kind, format!("urn:fizz:{kind}"), "{problem:?}");
        assert!(
            !problem.title.is_empty() && !problem.detail.is_empty() && !problem.hint.is_empty()
        );
        problem
    }
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
            metrics: Arc::clone(&metrics),
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let (mut node, mut server) = (JoinSet::new(), JoinSet::new());
        node.spawn(member.live(asked, happened, shown));
        server.spawn(serve(listener, backend, limits, async {
            drop(stopped.await);
        }));
        let clients = JoinSet::new();
        Self { log, metrics, happens, directory, stop: Some(stop), server, node, clients }
    }

    pub(crate) async fn connect(&self) -> UnixStream {
        UnixStream::connect(self.directory.join("socket")).await.unwrap()
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        let io = TokioIo::new(self.connect().await);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        let exchange = async move {
            let response = sender.send_request(request).await.unwrap();
            let (head, body) = response.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            Answer { status: head.status, headers: head.headers, body }
        };
        let both = async { tokio::join!(connection, exchange).1 };
        timeout(PATIENCE, both).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(request(Method::GET, path, None)).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(request(Method::POST, path, Some(body))).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(request(Method::DELETE, path, None)).await
    }

    /// Sends bytes as they are and reads until the server closes.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        let mut answer = Vec::new();
        let talk = async {
            // The server may close before it has read everything: that is what some stories are about.
            drop(stream.write_all(bytes).await);
            drop(stream.read_to_end(&mut answer).await);
        };
        timeout(PATIENCE, talk).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Opens a stream of lines.
    pub(crate) async fn stream(&mut self, request: Request<Full<Bytes>>) -> Lines {
        let io = TokioIo::new(self.connect().await);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        self.clients.spawn(async {
            drop(connection.await);
        });
        let response = timeout(PATIENCE, sender.send_request(request)).await.unwrap().unwrap();
        assert_eq!(response.status(), 200);
        Lines { body: response.into_body(), buffer: Vec::new(), _sender: sender }
    }

    pub(crate) async fn events(&mut self, path: &str, last: Option<u64>) -> Lines {
        let mut request = request(Method::GET, path, None);
        if let Some(last) = last {
            request.headers_mut().insert("last-event-id", last.into());
        }
        self.stream(request).await
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

    /// The server is still there, and quick.
    pub(crate) async fn is_well(&self) {
        let answer = timeout(Duration::from_secs(5), self.get("/healthz")).await.unwrap();
        assert_eq!(answer.status, 200);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.directory));
    }
}

pub(crate) fn request(method: Method, path: &str, body: Option<Value>) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(path).header("host", "fizz");
    if body.is_some() {
        request = request.header("content-type", "application/json");
    }
    let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
    request.body(Full::new(body.into())).unwrap()
}

/// A streamed answer, line by line.
pub(crate) struct Lines {
    body: Incoming,
    buffer: Vec<u8>,
    _sender: hyper::client::conn::http1::SendRequest<Full<Bytes>>,
}

impl Lines {
    /// The next line; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(String::from_utf8(line).unwrap().trim_end().to_owned());
            }
            let frame = timeout(PATIENCE, self.body.frame()).await.unwrap()?;
            if let Ok(data) = frame.ok()?.into_data() {
                self.buffer.extend_from_slice(&data);
            }
        }
    }

    /// The next server-sent event's id, kind and data.
    pub(crate) async fn event(&mut self) -> (u64, String, Value) {
        let (mut id, mut kind, mut data) = (0, String::new(), Value::Null);
        loop {
            let line = self.next().await.expect("the stream goes on");
            match line.split_once(": ") {
                Some(("id", it)) => id = it.parse().unwrap(),
                Some(("event", it)) => kind = it.to_owned(),
                Some(("data", it)) => data = serde_json::from_str(it).unwrap(),
                Some(_) => {}
                None if line.is_empty() && !data.is_null() => return (id, kind, data),
                None => {}
            }
        }
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
            name: "here".parse().unwrap(),
            state: NodeState::Alive,
            since: WallTime(0),
            address: None,
            version: "0.1.0".into(),
            labels: BTreeMap::new(),
            cpus: 2,
            memory_bytes: 1 << 30,
            architecture: "x86_64".into(),
            kernel: "6.18".into(),
            runtime: None,
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
            Effect::Persist(_) | Effect::Probe { .. } | Effect::Look(..) => None,
            Effect::Reply(id, answer) => {
                // The client may have gone.
                waiting.remove(&id).map(|reply| drop(reply.send(answer)));
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
        image: ImageId("sha256:0".into()),
        state: if launch.no_start { RuntimeState::Created } else { running },
        created: WallTime(1),
        addresses: BTreeMap::new(),
        ports: vec![],
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
