//! The memory of a daemon that knows many containers.
//!
//! `cargo bench --bench memory`; no root. For each size a data directory is filled through the crate's own
//! doors (a `Node` takes the deployments, its steps go to the store), then a real daemon starts on it, and
//! the kernel says what it holds. Ten replicas a service, ten services a project, 100 nodes that have them;
//! the daemon is told nothing more of these, and has no container runtime: it keeps what it knows, and
//! does nothing.
#![allow(clippy::print_stdout, reason = "a bench is run for what it prints")]
#![allow(clippy::unwrap_used, reason = "a bench may panic")]
#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]
#![allow(clippy::cast_precision_loss, reason = "figures for people")]

use std::{
    fs,
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    thread::sleep,
    time::{Duration, Instant},
};

use fizz::{
    daemon::store::Store,
    model::{
        ContainerId, ContainerState, ImageId, Moment, NodeId, NodeState, ProjectName, RuntimeId,
        ServiceKey, Slot, WallTime, mix,
    },
    node::{DeployRequest, Effect, Event, NO_RUNTIME, Node, Now, Request, RequestId},
    state::{Change, ClusterState, ContainerRecord, NodeRecord, Step},
};
use serde_json::json;

#[path = "goals.rs"]
#[allow(dead_code, reason = "shared with benches that have tables")]
mod goals;

const NODES: u64 = 100;
const SERVICES_A_PROJECT: u32 = 10;
const REPLICAS: u32 = 10;
const WALL: WallTime = WallTime(1_790_000_000_000);

/// What a daemon may hold that is idle, in MB.
const RSS_MAX: f64 = 40.0;

/// How long the daemon may take to answer, and how long it is then left alone.
const ANSWER_MAX: Duration = Duration::from_secs(60);
const REST: Duration = Duration::from_secs(5);

fn main() {
    println!("memory of a daemon, MB, {REPLICAS} replicas a service, on {NODES} nodes");
    println!(
        "  containers  services   on disk   starts s     RSS    anonymous   bytes a container   after all were asked for"
    );
    let mut empty = None;
    for containers in [0, 1_000, 10_000] {
        let home = Home::filled(containers / REPLICAS);
        let begun = Instant::now();
        let daemon = Daemon::start(&home);
        let took = begun.elapsed().as_secs_f64();
        sleep(REST);
        let [rss, anonymous] = daemon.memory();
        let before = *empty.get_or_insert(anonymous);
        let each = (anonymous - before) * 1e6 / f64::from(containers.max(1));
        let listed = daemon.get("/v1/containers").matches("\"runtime_id\"").count();
        assert_eq!(listed, containers as usize, "it keeps what it knows");
        sleep(REST);
        println!(
            "  {containers:>10} {:>9} {:>9.1} {took:>10.2} {rss:>7.1} {anonymous:>12.1} {each:>19.0} {:>12.1}   goal {RSS_MAX} MB: {}",
            containers / REPLICAS,
            home.on_disk(),
            daemon.memory()[0],
            goals::verdict(rss, RSS_MAX)
        );
    }
}

/// A data directory.
struct Home(PathBuf);

impl Home {
    /// With so many services, all of whose replicas run.
    fn filled(services: u32) -> Self {
        let dir = std::env::temp_dir().join(format!("fizz-memory-{}", std::process::id()));
        let home = Self(dir);
        fs::create_dir_all(home.0.join("data")).unwrap();
        let (store, state) = Store::open(&home.0.join("data"), None).unwrap();
        let mut writer = Writer::new(store, state);
        for number in 0..services / SERVICES_A_PROJECT {
            writer.deploy(number);
        }
        writer.run_all();
        home
    }

    fn socket(&self) -> PathBuf {
        self.0.join("fizz.sock")
    }

    fn on_disk(&self) -> f64 {
        mega(fs::metadata(self.0.join("data/state.redb")).unwrap().len())
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Writes a state as a member without a runtime does.
struct Writer {
    store: Store,
    node: Node,
    asked: u64,
}

impl Writer {
    fn new(store: Store, state: ClusterState) -> Self {
        Self { store, node: Node::new(node(0), facts(0), state, 1), asked: 0 }
    }

    /// A project as people have them: an image, some environment, a check, limits.
    fn deploy(&mut self, number: u32) {
        let service = |it: u32| {
            let service = json!({
                "image": format!("registry.example.com/team-{number}/service-{it}:1.2.{it}"),
                "command": null,
                "entrypoint": null,
                "environment": {"DATABASE_URL": "postgres://db.internal:5432/app", "LOG_LEVEL": "info", "WORKERS": "4"},
                "healthcheck": {"test": ["CMD", "wget", "-q", "-O", "-", "http://127.0.0.1:8080/health"], "interval": "10s"},
                "networks": {"default": null},
                "deploy": {"replicas": REPLICAS, "resources": {"limits": {"memory": "536870912"}}},
            });
            (format!("service-{it}"), service)
        };
        let services: serde_json::Map<_, _> = (0..SERVICES_A_PROJECT).map(service).collect();
        let model = json!({
            "name": project(number).as_str(),
            "services": services,
            "networks": {"default": {"name": format!("{}_default", project(number))}},
        });
        self.asked += 1;
        let request = DeployRequest { model, ..DeployRequest::default() };
        let request = Request::Deploy(Box::new(request));
        let now = Now { moment: Moment(self.asked), wall: WallTime(WALL.0 + self.asked) };
        let mut steps: Vec<Step> = Vec::new();
        for effect in self.node.handle(Event::Asked(RequestId(self.asked), request), now) {
            if let Effect::Persist(more) = effect {
                steps.extend(more);
            } else if let Effect::Reply(_, answer) = effect {
                answer.unwrap();
            }
        }
        self.store.commit(&steps).unwrap();
    }

    /// Every replica of everything runs, each on the next node.
    fn run_all(self) {
        let mut state = ClusterState::clone(&self.node.view().state);
        let services: Vec<_> =
            state.services().iter().map(|(key, it)| (key.clone(), it.template.revision)).collect();
        let mut changes: Vec<Change> = Vec::new();
        if !services.is_empty() {
            let nodes = (1..=NODES).map(|it| Change::Node(node(it), Some(Arc::new(facts(it)))));
            changes.extend(nodes);
        }
        for (key, revision) in services {
            for slot in 1..=REPLICAS {
                let record = container(&key, Slot(slot), revision, changes.len() as u64);
                changes.push(Change::Container(record.id, Some(Arc::new(record))));
            }
        }
        let steps: Vec<Step> = changes.into_iter().map(|it| state.commit(it, WALL)).collect();
        self.store.commit(&steps).unwrap();
    }
}

fn project(number: u32) -> ProjectName {
    format!("project-{number}").parse().unwrap()
}

fn id(number: u64) -> u128 {
    u128::from(mix(number)) << 64 | u128::from(mix(number + (1 << 32)))
}

fn node(number: u64) -> NodeId {
    NodeId(id(number))
}

fn facts(number: u64) -> NodeRecord {
    let name = format!("node-{number}").parse().unwrap();
    NodeRecord {
        address: Some(format!("10.0.0.{number}:7780").parse().unwrap()),
        recipient: "age1".to_owned() + &"q".repeat(58),
        version: "0.1.0".to_owned(),
        cpus: 16,
        memory_bytes: 64 << 30,
        architecture: "x86_64".to_owned(),
        kernel: "6.1.0-28-amd64".to_owned(),
        runtime: Some(NO_RUNTIME.to_owned()),
        ..NodeRecord::unmeasured(name, NodeState::Alive, WALL)
    }
}

/// As it is once it runs and is well: all that is told of it is there.
fn container(
    key: &ServiceKey,
    slot: Slot,
    revision: fizz::model::Revision,
    number: u64,
) -> ContainerRecord {
    let network = format!("{}_default", key.project);
    let (id, node) = (ContainerId(id(number + (1 << 33))), node(number % NODES + 1));
    ContainerRecord {
        slot,
        name: format!("{}-{}-{}", key.project, key.service, slot.0).parse().unwrap(),
        image: Some(ImageId(format!("sha256:{:064x}", revision.0).into())),
        command: "/usr/local/bin/server --listen 0.0.0.0:8080".to_owned(),
        runtime_id: Some(RuntimeId(format!("{:064x}", self::id(number)).into())),
        state: ContainerState::Healthy,
        checked: true,
        addresses: [(network, format!("172.18.{}.{}", number >> 8 & 255, number & 255))].into(),
        ..ContainerRecord::unmade(id, node, key.clone(), revision, WALL)
    }
}

/// A daemon on a data directory.
struct Daemon {
    process: Child,
    socket: PathBuf,
}

impl Daemon {
    /// Starts it, and waits until it answers.
    fn start(home: &Home) -> Self {
        let log = fs::File::create(home.0.join("fizz.log")).unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_fizz"))
            .args(["daemon", "--config", "/dev/null", "--node-name", "bench"])
            .args(["--runtime", "none", "--api-socket"])
            .arg(home.socket())
            .arg("--data-dir")
            .arg(home.0.join("data"))
            .arg("--run-dir")
            .arg(home.0.join("run"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut daemon = Self { process, socket: home.socket() };
        let begun = Instant::now();
        while !answers(&daemon.socket) {
            let ended = daemon.process.try_wait().unwrap();
            let log = || fs::read_to_string(home.0.join("fizz.log")).unwrap();
            assert!(ended.is_none() && begun.elapsed() < ANSWER_MAX, "no answer: {}", log());
            sleep(Duration::from_millis(10));
        }
        daemon
    }

    fn get(&self, path: &str) -> String {
        get(&self.socket, path).unwrap()
    }

    /// All that it holds, and what of it is not its program.
    fn memory(&self) -> [f64; 2] {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let kib = |name: &str| {
            let line = status.lines().find_map(|it| it.strip_prefix(name)).unwrap();
            line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap()
        };
        ["VmRSS:", "RssAnon:"].map(|it| mega(kib(it) * 1024))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn answers(socket: &Path) -> bool {
    get(socket, "/healthz").is_ok_and(|it| it.starts_with("HTTP/1.1 200"))
}

/// The whole answer.
fn get(socket: &Path, path: &str) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: fizz\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn mega(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
