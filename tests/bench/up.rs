//! `fizz up --wait` against `docker-compose up --wait`, and what the daemon costs when it is idle.
//!
//!     sudo env PATH="$PATH" cargo bench --bench up
//!
//! Needs what `tests/e2e` needs, and a docker-compose of version 2 or later: the one in PATH, or the
//! program that `DOCKER_COMPOSE` names. Both tools get the same file and the same engine in turns,
//! round by round; what counts is the ratio of the medians, since machines are noisy.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench may panic, and prints")]
#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]
#![allow(dead_code, unused_imports, reason = "the harness serves other tests too")]

#[path = "../e2e/harness/mod.rs"]
mod harness;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use harness::Lab;

const ROUNDS: usize = 9;
const IDLE: Duration = Duration::from_secs(30);
const SERVICES: usize = 10;

fn main() {
    let lab = Lab::with_live_restore();
    let dir = lab.engine.dir().to_owned();
    let file = dir.join("bench.yaml");
    fs::write(&file, compose_file()).unwrap();
    let daemon = start_daemon(&lab);
    let fizz = Tool::fizz(&lab, &file);
    let peer = Tool::docker_compose(&lab, &file);
    let mut times = [vec![], vec![]];
    for round in 0..ROUNDS {
        for (tool, times) in [&fizz, &peer].into_iter().zip(&mut times) {
            let time = tool.up();
            tool.down();
            println!("round {round}: {:<16} {:>7.0} ms", tool.name, time.as_secs_f64() * 1000.0);
            times.push(time);
        }
    }
    let [ours, theirs] = times.map(median);
    println!("fizz up --wait            {:>7.0} ms (median of {ROUNDS})", ours * 1000.0);
    println!("docker-compose up --wait  {:>7.0} ms", theirs * 1000.0);
    println!("ratio                     {:>7.2} (goal: at most 1.1)", ours / theirs);
    fizz.up();
    idle(&lab, daemon);
    fizz.down();
    let size = fs::metadata(env!("CARGO_BIN_EXE_fizz")).unwrap().len();
    println!("binary                    {:>7.1} MB (goal: at most 30)", mega(size));
    lab.engine.inside(&format!("kill -TERM {daemon}"));
}

/// Ten services: a database with a health check, three that wait for it, six that wait for nothing.
fn compose_file() -> String {
    let mut file = String::from("name: bench\nservices:\n");
    for number in 0..SERVICES {
        file += &format!(
            "  s{number}:\n    image: busybox:latest\n    command: [sleep, '1000']\n    init: true\n"
        );
        match number {
            0 => file += "    healthcheck: {test: [CMD, 'true'], interval: 500ms}\n",
            1..=3 => file += "    depends_on: {s0: {condition: service_healthy}}\n",
            _ => {}
        }
    }
    file
}

struct Tool<'a> {
    name: &'static str,
    lab: &'a Lab,
    program: PathBuf,
    words: Vec<String>,
}

impl<'a> Tool<'a> {
    fn fizz(lab: &'a Lab, file: &Path) -> Self {
        let words = ["-f", file.to_str().unwrap()].map(str::to_owned).to_vec();
        Self { name: "fizz", lab, program: env!("CARGO_BIN_EXE_fizz").into(), words }
    }

    fn docker_compose(lab: &'a Lab, file: &Path) -> Self {
        let program = std::env::var("DOCKER_COMPOSE").unwrap_or_else(|_| "docker-compose".into());
        let words = ["-f", file.to_str().unwrap()].map(str::to_owned).to_vec();
        let tool = Self { name: "docker-compose", lab, program: program.into(), words };
        let version = tool.command().arg("version").output().unwrap();
        let version = String::from_utf8_lossy(&version.stdout).into_owned();
        assert!(version.contains(" v2") || version.contains(" 2"), "needs version 2: {version}");
        println!("{}", version.trim());
        tool
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        let engine = self.lab.engine;
        command
            .env("DOCKER_HOST", format!("unix://{}", engine.socket().display()))
            .env("FIZZ_HOST", format!("unix://{}", engine.dir().join("fizz.sock").display()))
            .env("HOME", engine.dir());
        command
    }

    fn run(&self, words: &[&str]) -> Duration {
        let began = Instant::now();
        let output = self.command().args(&self.words).args(words).output().unwrap();
        let time = began.elapsed();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} {words:?}: {said}", self.name);
        time
    }

    fn up(&self) -> Duration {
        self.run(&["up", "--wait"])
    }

    fn down(&self) {
        self.run(&["down", "-v", "-t", "1"]);
    }
}

/// Starts a daemon beside the engine; gives its process id.
fn start_daemon(lab: &Lab) -> u32 {
    let dir = lab.engine.dir();
    let socket = dir.join("fizz.sock");
    let pid = lab.engine.inside(&format!(
        "{} daemon --config /dev/null --node-name bench --runtime-socket {} --api-socket {} \
         --data-dir {} >{} 2>&1 </dev/null & echo $!",
        env!("CARGO_BIN_EXE_fizz"),
        lab.engine.socket().display(),
        socket.display(),
        dir.join("fizz").display(),
        dir.join("fizz.log").display(),
    ));
    for _ in 0..200 {
        if socket.exists() {
            break;
        }
        sleep(Duration::from_millis(50));
    }
    pid.trim().parse().unwrap()
}

/// What the daemon uses while ten containers run and nobody asks anything.
fn idle(lab: &Lab, pid: u32) {
    sleep(Duration::from_secs(5));
    let ticks = || {
        let stat = lab.engine.inside(&format!("cat /proc/{pid}/stat"));
        let fields: Vec<u64> = stat
            .rsplit(')')
            .next()
            .unwrap()
            .split_whitespace()
            .filter_map(|it| it.parse().ok())
            .collect();
        // utime and stime, the 14th and 15th field, are the 10th and 11th number after the state.
        fields[10] + fields[11]
    };
    let before = ticks();
    sleep(IDLE);
    let used = ticks() - before;
    let status = lab.engine.inside(&format!("grep VmRSS /proc/{pid}/status"));
    let rss: u64 = status.split_whitespace().nth(1).unwrap().parse().unwrap();
    // A tick is 10 ms.
    println!(
        "idle CPU                  {:>7.2} % of a core (goal: at most 1)",
        used as f64 / IDLE.as_secs_f64()
    );
    println!("idle RSS                  {:>7.1} MB (goal: at most 40)", mega(rss * 1024));
}

fn mega(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64()
}
