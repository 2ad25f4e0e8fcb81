//! A lab's nodes, by `fizz lab`, and the command line against each of them.

use std::{
    fs::File,
    io::Write,
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread::{self, sleep},
    time::Duration,
};

use nix::sched::{CloneFlags, setns};
use serde_json::Value;

use crate::harness::Kind;

/// How long something may take: 2400 looks of 50 ms.
const LOOKS_MAX: u32 = 2400;
const LOOK: Duration = Duration::from_millis(50);

/// A lab of a test's own. It goes with its test.
pub(crate) struct Nodes {
    pub(crate) name: String,
    /// What runs their containers, if anything does.
    pub(crate) engine: Kind,
}

impl Nodes {
    /// Nodes that are one cluster.
    pub(crate) fn together(count: u8, runtime: &str) -> Self {
        Self::up(count, Kind::Docker, &["--runtime", runtime])
    }

    /// The same with containers by this engine.
    pub(crate) fn with(count: u8, engine: Kind) -> Self {
        Self::up(count, engine, &["--runtime", engine.name()])
    }

    /// Nodes that are each on its own, with containers.
    pub(crate) fn apart_with(count: u8, engine: Kind) -> Self {
        Self::up(count, engine, &["--runtime", engine.name(), "--no-cluster"])
    }

    /// Nodes that are each on its own, and run no containers.
    pub(crate) fn apart(count: u8) -> Self {
        Self::up(count, Kind::Docker, &["--runtime", "none", "--no-cluster"])
    }

    fn up(count: u8, engine: Kind, words: &[&str]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let nodes = Self { name: format!("e2e-cluster-{}-{number}", std::process::id()), engine };
        nodes.lab("up", &[&["--nodes", &count.to_string()], words].concat());
        nodes
    }

    /// `fizz lab`; it must succeed.
    pub(crate) fn lab(&self, command: &str, words: &[&str]) -> String {
        let output = self.lab_command(command, words).output().unwrap();
        said(output, &format!("lab {command} {words:?}")).0
    }

    /// The same, to be started by the caller.
    pub(crate) fn lab_command(&self, command: &str, words: &[&str]) -> Command {
        let mut fizz = Command::new(env!("CARGO_BIN_EXE_fizz"));
        fizz.args(["lab", command, "--name", &self.name]).args(words);
        fizz
    }

    /// A command against a node.
    pub(crate) fn fizz(&self, node: &str, words: &[&str]) -> Command {
        let mut fizz = Command::new(env!("CARGO_BIN_EXE_fizz"));
        let host = format!("unix:///run/fizz-lab/{}/{node}/fizz.sock", self.name);
        fizz.args(["--host", &host]).args(words).env_remove("FIZZ_TOKEN").stdin(Stdio::null());
        fizz
    }

    /// What it prints; it must succeed.
    pub(crate) fn ok(&self, node: &str, words: &[&str]) -> String {
        let output = self.fizz(node, words).output().unwrap();
        said(output, &format!("{node}: {words:?}")).0
    }

    /// What it says about its work; it must succeed.
    pub(crate) fn note(&self, node: &str, words: &[&str]) -> String {
        let output = self.fizz(node, words).output().unwrap();
        said(output, &format!("{node}: {words:?}")).1
    }

    /// Why it fails, without the hint; it must fail.
    pub(crate) fn refused(&self, node: &str, words: &[&str]) -> String {
        let output = self.fizz(node, words).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{node}: {words:?} succeeded: {text}");
        let reason = text.strip_prefix("error: ").unwrap_or(&text);
        reason.split("\n  hint: ").next().unwrap_or(reason).trim_end().to_owned()
    }

    /// What it prints when it reads this; it must succeed.
    pub(crate) fn fed(&self, node: &str, words: &[&str], input: &str) -> String {
        let mut fizz = self.fizz(node, words);
        let fizz = fizz.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut fizz = fizz.spawn().unwrap();
        fizz.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        said(fizz.wait_with_output().unwrap(), &format!("{node}: {words:?}")).0
    }

    /// A listing as JSON.
    pub(crate) fn json(&self, node: &str, words: &[&str]) -> Value {
        serde_json::from_str(&self.ok(node, &[words, &["-o", "json"]].concat())).unwrap()
    }

    /// The nodes that a node lists, each with its state, by name.
    pub(crate) fn seen_by(&self, node: &str) -> Vec<(String, String)> {
        let list = self.json(node, &["nodes", "-a"]);
        let text = |it: &Value| it.as_str().unwrap().to_owned();
        let mut seen: Vec<_> = list
            .as_array()
            .unwrap()
            .iter()
            .map(|it| (text(&it["name"]), text(&it["state"])))
            .collect();
        seen.sort();
        seen
    }

    /// Waits until a node sees these states of these nodes, and lists no others but such that have left.
    pub(crate) fn until_seen(&self, by: &str, expected: &[(&str, &str)]) {
        self.until(&format!("{by} sees {expected:?}"), || {
            let mut seen = self.seen_by(by);
            seen.retain(|it| it.1 != "left" || expected.contains(&(it.0.as_str(), "left")));
            let seen: Vec<_> = seen.iter().map(|it| (it.0.as_str(), it.1.as_str())).collect();
            seen == expected
        });
    }

    pub(crate) fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        for _ in 0..LOOKS_MAX {
            if is_so() {
                return;
            }
            sleep(LOOK);
        }
        let logs = format!("/run/fizz-lab/{}/a/fizz.log", self.name);
        let log = std::fs::read_to_string(logs).unwrap_or_default();
        let last: Vec<_> = log.lines().rev().take(40).collect();
        panic!(
            "it never came that {what}:\n{}",
            last.into_iter().rev().collect::<Vec<_>>().join("\n")
        );
    }

    /// What a node counts.
    pub(crate) fn metrics(&self, node: &str) -> String {
        let mut curl = Command::new("curl");
        let socket = format!("/run/fizz-lab/{}/{node}/fizz.sock", self.name);
        let curl = curl.args(["-sS", "--unix-socket", &socket, "http://fizz/metrics"]);
        said(curl.output().unwrap(), "metrics").0
    }

    /// Where members reach the node that answers.
    pub(crate) fn address(&self, node: &str) -> String {
        let list = self.json(node, &["nodes"]);
        let me = list.as_array().unwrap().iter().find(|it| it["is_self"] == true).unwrap();
        me["address"].as_str().unwrap().to_owned()
    }

    /// What a shell line on a node prints; it must succeed.
    pub(crate) fn on(&self, node: &str, line: &str) -> String {
        self.lab("exec", &[node, "--", "sh", "-c", line])
    }

    /// A node's daemon's data.
    pub(crate) fn data(&self, node: &str) -> PathBuf {
        ["/var/lib/fizz-lab", &self.name, node, "fizz"].iter().collect()
    }

    /// The configuration of a node's daemon.
    pub(crate) fn config(&self, node: &str) -> PathBuf {
        ["/run/fizz-lab", &self.name, node, "config.yaml"].iter().collect()
    }

    /// A command in the network of the switch between the nodes.
    pub(crate) fn on_the_switch(&self, words: &[&str]) -> String {
        let holder = format!("lab machine {} switch", self.name);
        let pid = Command::new("pgrep").args(["-f", &holder]).output().unwrap();
        let pid = said(pid, "pgrep").0;
        let mut command = Command::new("nsenter");
        said(command.args(["-n", "-t", &pid]).args(words).output().unwrap(), "nsenter").0
    }

    /// What `fizz lab status` says of a node: `pid`, `daemon`, `address`.
    pub(crate) fn lab_node(&self, node: &str) -> Value {
        let status: Value = serde_json::from_str(&self.lab("status", &["-o", "json"])).unwrap();
        let nodes = status["nodes"].as_array().unwrap();
        nodes.iter().find(|it| it["name"] == node).unwrap().clone()
    }

    /// A node's own network.
    pub(crate) fn lab_network(&self, node: &str) -> File {
        File::open(format!("/proc/{}/ns/net", self.lab_node(node)["pid"])).unwrap()
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        let mut fizz = Command::new(env!("CARGO_BIN_EXE_fizz"));
        drop(fizz.args(["lab", "down", "--name", &self.name]).output());
    }
}

/// Does something in another network, on a thread of its own.
pub(crate) fn within<T: Send>(network: &File, deed: impl FnOnce() -> T + Send) -> T {
    thread::scope(|threads| {
        let thread = threads.spawn(|| {
            setns(network, CloneFlags::CLONE_NEWNET).unwrap();
            deed()
        });
        thread.join().unwrap()
    })
}

/// What a command said, on both outputs; it must have succeeded.
fn said(output: Output, what: &str) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{what}: {}\n{out}\n{err}", output.status);
    (out, err)
}
