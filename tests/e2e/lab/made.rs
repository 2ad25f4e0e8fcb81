//! A lab that a story has for itself, and everything by which one could tell that it is there.

use std::{
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{
        Once,
        atomic::{AtomicU32, Ordering},
    },
    thread::sleep,
    time::Duration,
};

use serde_json::Value;

/// How long something may take: 4800 looks of 25 ms.
const LOOKS_MAX: u32 = 4800;
const LOOK: Duration = Duration::from_millis(25);

/// The beginning of the names of all labs of ours.
const PREFIX: &str = "e2e-";

/// A lab, removed when dropped.
pub(super) struct Made {
    pub(super) name: String,
}

impl Made {
    /// A name for a lab that is not there yet.
    pub(super) fn planned() -> Self {
        static CLEARED: Once = Once::new();
        CLEARED.call_once(clear_leftovers);
        static COUNT: AtomicU32 = AtomicU32::new(1);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self { name: format!("{PREFIX}{}-{count}", std::process::id()) }
    }

    /// A lab of nodes that are on their own.
    pub(super) fn up(nodes: u8, runtime: &str) -> Self {
        let lab = Self::planned();
        let nodes = nodes.to_string();
        lab.ok(&["up", "--no-cluster", "--nodes", &nodes, "--runtime", runtime]);
        lab
    }

    /// `fizz lab WORDS`, about this lab.
    pub(super) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fizz"));
        command.arg("lab").args(words).env("FIZZ_LAB", &self.name).stdin(Stdio::null());
        command
    }

    /// What `fizz lab WORDS` prints; it must succeed.
    pub(super) fn ok(&self, words: &[&str]) -> String {
        let output = self.command(words).output().unwrap();
        assert!(output.status.success(), "lab {words:?}: {}", said(&output));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// What `fizz lab WORDS` says; it must fail with 1.
    pub(super) fn refused(&self, words: &[&str]) -> String {
        let output = self.command(words).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "lab {words:?}: {}", said(&output));
        String::from_utf8_lossy(&output.stderr).trim_end().to_owned()
    }

    /// A shell line on a node; it must succeed.
    pub(super) fn on(&self, node: &str, line: &str) -> String {
        self.ok(&["exec", node, "--", "sh", "-c", line])
    }

    /// A command on a node, with something to read; it must succeed.
    pub(super) fn fed(&self, node: &str, words: &[&str], input: &[u8]) -> String {
        let mut command = self
            .command(&["exec", node, "--"])
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        command.stdin.take().unwrap().write_all(input).unwrap();
        let output = command.wait_with_output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", said(&output));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// A command on a node that goes on beside the story, and is told what to read.
    pub(super) fn beside(&self, node: &str, words: &[&str]) -> Beside {
        let mut command = self.command(&["exec", node, "--"]);
        Beside(command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap())
    }

    /// How many of some pings to another node are answered.
    pub(super) fn pings(&self, from: &str, to: &str, count: u32) -> u32 {
        let line = format!("busybox ping -q -c {count} -i 0.01 -W 1 {} || true", self.address(to));
        let text = self.on(from, &line);
        let received = text.split(", ").find_map(|it| it.strip_suffix(" packets received"));
        received.unwrap_or_else(|| panic!("{text}")).parse().unwrap()
    }

    /// How many pings a node has heard.
    pub(super) fn heard(&self, node: &str) -> u32 {
        let text = self.on(node, "grep ^Icmp: /proc/net/snmp");
        let mut lines = text.lines().map(|it| it.split(' '));
        let (mut names, mut values) = (lines.next().unwrap(), lines.next().unwrap());
        let at = names.position(|it| it == "InEchos").unwrap();
        values.nth(at).unwrap().parse().unwrap()
    }

    pub(super) fn status(&self) -> Value {
        serde_json::from_str(&self.ok(&["status", "-o", "json"])).unwrap()
    }

    /// What `status` says of a node: `state`, `pid`, `daemon`, `address`, `host`.
    pub(super) fn node(&self, name: &str) -> Value {
        let status = self.status();
        let nodes = status["nodes"].as_array().unwrap();
        nodes.iter().find(|it| it["name"] == name).unwrap().clone()
    }

    pub(super) fn address(&self, node: &str) -> String {
        self.node(node)["address"].as_str().unwrap().to_owned()
    }

    /// Every node's state.
    pub(super) fn states(&self) -> Vec<String> {
        let status = self.status();
        let nodes = status["nodes"].as_array().unwrap();
        nodes.iter().map(|it| it["state"].as_str().unwrap().to_owned()).collect()
    }

    pub(super) fn run_dir(&self) -> PathBuf {
        Path::new("/run/fizz-lab").join(&self.name)
    }

    /// Every trace of the lab on this machine.
    pub(super) fn traces(&self) -> Vec<String> {
        let mut found = self.processes();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let ours = |it: &&str| it.contains(&format!("fizz-lab/{}", self.name));
        found.extend(mounts.lines().filter(ours).map(str::to_owned));
        let mut places = vec![self.run_dir(), Path::new("/var/lib/fizz-lab").join(&self.name)];
        let hierarchies = fs::read_dir("/sys/fs/cgroup").unwrap().flatten().map(|it| it.path());
        let hierarchies = hierarchies.chain([PathBuf::from("/sys/fs/cgroup")]);
        places.extend(hierarchies.map(|it| it.join("fizz-lab").join(&self.name)));
        found.extend(places.iter().filter(|it| it.exists()).map(|it| it.display().to_string()));
        found
    }

    /// The command lines of the lab's processes.
    pub(super) fn processes(&self) -> Vec<String> {
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let pids = entries.filter_map(|it| it.file_name().to_str()?.parse::<u32>().ok());
        let words = pids.filter_map(|pid| {
            let words = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            Some(String::from_utf8_lossy(&words).replace('\0', " "))
        });
        let ours = |it: &String| {
            it.contains(&format!("lab machine {} ", self.name))
                || it.contains(&format!("fizz-lab/{}/", self.name))
        };
        words.filter(ours).collect()
    }

    /// Waits for something that comes about by itself.
    pub(super) fn wait_until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        for _ in 0..LOOKS_MAX {
            if is_so(self) {
                return;
            }
            sleep(LOOK);
        }
        panic!("it never came that {what}: {}", self.ok(&["status"]));
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let _ = self.command(&["down"]).output();
    }
}

/// A command that goes on, ended when dropped.
pub(super) struct Beside(Child);

impl Beside {
    pub(super) fn tell(&mut self, text: &str) {
        self.0.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    pub(super) fn hear(&mut self, bytes: usize) -> String {
        let mut text = vec![0; bytes];
        self.0.stdout.as_mut().unwrap().read_exact(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(super) fn said(output: &Output) -> String {
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{} {out}{err}", output.status)
}

/// Clears up after runs whose process is gone.
fn clear_leftovers() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_fizz")).args(["lab", "ls", "-o", "json"]).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let labs: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    for name in labs.iter().filter_map(|it| it["name"].as_str()) {
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        // Labs of clusters have one more word before the number.
        let mut words = rest.split('-');
        let Some(owner) = words.find(|it| it.parse::<u32>().is_ok()) else { continue };
        if !Path::new("/proc").join(owner).exists() {
            drop(Made { name: name.to_owned() });
        }
    }
}
