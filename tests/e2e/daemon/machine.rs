//! A machine with an engine of its own and a daemon that can be killed.

use std::{
    fs,
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
    thread::sleep,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Value, json};

use crate::harness::{Dockerd, Lab, REGISTRY_OPEN, text};

/// How long something may take: 1200 looks of 50 ms.
const LOOKS_MAX: u32 = 2400;
const LOOK: Duration = Duration::from_millis(50);

/// A running container: its name, its id, since when.
pub(crate) type Running = (String, String, String);

pub(crate) struct Machine {
    lab: Lab,
    pid: u32,
}

impl Machine {
    /// An engine, and a daemon beside it.
    pub(crate) fn start() -> Self {
        let mut machine = Self { lab: Lab::with_live_restore(), pid: 0 };
        machine.up();
        machine
    }

    pub(crate) fn engine(&self) -> &'static Dockerd {
        self.lab.engine
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.engine().dir().join("fizz.sock")
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.engine().dir().join("fizz")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.engine().dir().join("fizz.log")
    }

    /// Starts the daemon and waits until it answers.
    pub(crate) fn up(&mut self) {
        let pid = self.engine().inside(&format!(
            "{} daemon --config /dev/null --node-name here --runtime-socket {} --api-socket {} \
             --data-dir {} --log-level debug >>{} 2>&1 </dev/null & echo $!",
            env!("CARGO_BIN_EXE_fizz"),
            self.engine().socket().display(),
            self.socket().display(),
            self.data_dir().display(),
            self.log().display(),
        ));
        self.pid = pid.parse().unwrap();
        self.wait_until("the daemon answers", |it| it.ask("GET", "/v1/nodes", None).is_ok());
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.signal("KILL");
    }

    /// SIGTERM.
    pub(crate) fn stop(&mut self) {
        self.signal("TERM");
    }

    /// The namespaces' first process reaps; until then a killed one is a zombie.
    fn signal(&self, signal: &str) {
        let pid = self.pid;
        self.engine().inside(&format!(
            "kill -{signal} {pid}; while grep -q '^State:.[^Z]' /proc/{pid}/status 2>/dev/null; \
             do sleep 0.01; done"
        ));
    }

    pub(crate) fn deploy(&self, file: &str, secrets: &[(&str, &str)]) {
        let path = self.engine().dir().join("compose.yaml");
        fs::write(&path, file).unwrap();
        let config = Command::new(env!("CARGO_BIN_EXE_fizz"))
            .args(["-f", path.to_str().unwrap(), "config", "--format", "json"])
            .env("SHOP_PASSWORD", "unused here")
            .output()
            .unwrap();
        assert!(config.status.success(), "{}", String::from_utf8_lossy(&config.stderr));
        let model: Value = serde_json::from_slice(&config.stdout).unwrap();
        let secrets: serde_json::Map<_, _> = secrets
            .iter()
            .map(|(key, value)| ((*key).to_owned(), BASE64.encode(value).into()))
            .collect();
        let body = json!({ "model": model, "secrets": secrets });
        self.ask("POST", "/v1/deployments", Some(&body)).unwrap();
    }

    pub(crate) fn down(&self, project: &str) {
        self.ask("DELETE", &format!("/v1/deployments/{project}?volumes=true&timeout_ms=500"), None)
            .unwrap();
    }

    pub(crate) fn is_there(&self, project: &str) -> bool {
        self.ask("GET", &format!("/v1/deployments/{project}"), None).is_ok()
    }

    /// Whether every service is as wanted.
    pub(crate) fn is_ready(&self, project: &str) -> bool {
        let Ok(deployment) = self.ask("GET", &format!("/v1/deployments/{project}"), None) else {
            return false;
        };
        deployment["services"].as_array().unwrap().iter().all(|it| it["ready"] == true)
    }

    pub(crate) fn wait_until_ready(&self, project: &str) {
        self.wait_until("the project is ready", |it| it.is_ready(project));
    }

    pub(crate) fn runtime_problem(&self) -> Option<String> {
        let nodes = self.ask("GET", "/v1/nodes", None).unwrap();
        nodes[0]["runtime_problem"].as_str().map(str::to_owned)
    }

    /// The states of a project's containers, as the daemon has them.
    pub(crate) fn states(&self, project: &str) -> Vec<String> {
        let all = self.ask("GET", &format!("/v1/containers?all=true&project={project}"), None);
        let state = |it: &Value| it["state"].as_str().unwrap().to_owned();
        all.unwrap().as_array().unwrap().iter().map(state).collect()
    }

    /// What is being done to a project's containers.
    pub(crate) fn doing(&self, project: &str) -> Vec<String> {
        let all = self.ask("GET", &format!("/v1/containers?all=true&project={project}"), None);
        let doing = |it: &Value| it["doing"].as_str().unwrap_or_default().to_owned();
        all.unwrap().as_array().unwrap().iter().map(doing).collect()
    }

    /// Puts an image into the open registry that takes a while to fetch, and gives its name.
    pub(crate) fn offer_large_image(&self) -> String {
        let image = format!("{REGISTRY_OPEN}/large:1");
        let (docker, socket) = ("docker -H unix://", self.engine().socket());
        let docker = format!("{docker}{}", socket.display());
        self.engine().inside(&format!(
            "printf 'FROM busybox\\nRUN head -c 120000000 /dev/urandom > /large\\n' | {docker} build -q -t {image} - \
             && {docker} push -q {image} && {docker} rmi {image} && {docker} image prune -f"
        ));
        image
    }

    /// A project's running containers, as the engine has them, by name.
    pub(crate) fn running(&self, project: &str) -> Vec<Running> {
        let label = format!("label=fizz.project={project}");
        let ids = self.engine().docker(&["ps", "-q", "--no-trunc", "--filter", &label]);
        let line = |id: &str| -> Option<Running> {
            let words = ["inspect", "-f", "{{.Name}} {{.State.StartedAt}}", id];
            let output = self.engine().command("docker").args(words).output().unwrap();
            // What has gone since it was listed does not run.
            let said = output.status.success().then(|| text(&output.stdout))?;
            let (name, since) = said.split_once(' ').unwrap();
            Some((name.trim_start_matches('/').to_owned(), id.to_owned(), since.to_owned()))
        };
        let mut running: Vec<_> = ids.lines().filter_map(line).collect();
        running.sort();
        running
    }

    pub(crate) fn wait_until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        for _ in 0..LOOKS_MAX {
            if is_so(self) {
                return;
            }
            sleep(LOOK);
        }
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let last: Vec<_> = log.lines().rev().take(60).collect();
        let all = self.engine().docker(&["ps", "-a"]);
        panic!(
            "it never came that {what}:\n{all}\n{}",
            last.into_iter().rev().collect::<Vec<_>>().join("\n")
        );
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, String> {
        ask(&self.socket(), method, path, body)
    }
}

/// One request, one connection.
fn ask(socket: &Path, method: &str, path: &str, body: Option<&Value>) -> Result<Value, String> {
    let body = body.map(Value::to_string).unwrap_or_default();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: fizz\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = UnixStream::connect(socket).map_err(|it| it.to_string())?;
    let mut answer = String::new();
    let mut converse = || {
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_bytes())?;
        stream.read_to_string(&mut answer)
    };
    converse().map_err(|it| it.to_string())?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    if !status.starts_with('2') {
        return Err(format!("{method} {path}: {status} {body}"));
    }
    if body.is_empty() {
        Ok(Value::Null)
    } else {
        serde_json::from_str(body).map_err(|it| it.to_string())
    }
}
