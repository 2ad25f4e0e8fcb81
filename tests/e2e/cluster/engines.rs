//! The containers of a lab's nodes as their engines know them, by each engine's own command line.

use std::{
    fs::File,
    io::Write,
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use super::nodes::Nodes;
use crate::harness::{Kind, image_archive, image_tar};

impl Nodes {
    /// Gives nodes one image, with the same id on all.
    pub(crate) fn give_busybox(&self, names: &[String]) {
        match self.engine {
            Kind::Docker => {
                // Made on the first, and copied to the others.
                let import = ["import", "-c", r#"CMD ["sh"]"#, "-", "busybox:latest"];
                feed(self.docker("a", &import), &image_tar());
                let image = self.docker("a", &["save", "busybox:latest"]).output().unwrap();
                for name in names.iter().filter(|it| *it != "a") {
                    feed(self.docker(name, &["load"]), &image.stdout);
                }
            }
            Kind::Podman => {
                let archive = image_archive();
                names.iter().for_each(|it| feed(self.docker(it, &["load"]), &archive));
            }
            Kind::Containerd => {
                let archive = image_archive();
                let import = ["images", "import", "-"];
                names.iter().for_each(|it| feed(self.ctr(it, &import), &archive));
            }
        }
    }

    /// The containers of a service that run on a node, by their engine's ids.
    pub(crate) fn running(&self, node: &str, service: &str) -> Vec<String> {
        let (label, filter);
        let mut list = match self.engine {
            Kind::Docker | Kind::Podman => {
                label = format!("label=fizz.service={service}");
                self.docker(node, &["ps", "-q", "--no-trunc", "--filter", &label])
            }
            Kind::Containerd => {
                filter = format!("labels.\"fizz.service\"=={service}");
                self.ctr(node, &["containers", "ls", "-q", &filter])
            }
        };
        let listed = lines(&mut list);
        if self.engine != Kind::Containerd {
            return listed;
        }
        let tasks = lines(&mut self.ctr(node, &["tasks", "ls"]));
        let runs = |id: &String| tasks.iter().any(|it| it.contains(id) && it.contains("RUNNING"));
        listed.into_iter().filter(runs).collect()
    }

    /// What a shell line in the only container of a service on a node prints; `None` where it fails.
    pub(crate) fn inside(&self, node: &str, service: &str, line: &str) -> Option<String> {
        self.inside_of(node, &self.running(node, service).pop()?, line)
    }

    /// The same in a container by its id.
    pub(crate) fn inside_of(&self, node: &str, id: &str, line: &str) -> Option<String> {
        let output = self.exec(node, id, line).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        output.status.success().then_some(text)
    }

    /// A shell line in a container.
    pub(crate) fn exec(&self, node: &str, id: &str, line: &str) -> Command {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = format!("e2e-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let mut exec = match self.engine {
            Kind::Docker | Kind::Podman => self.docker(node, &["exec", id, "sh", "-c", line]),
            Kind::Containerd => {
                self.ctr(node, &["tasks", "exec", "--exec-id", &number, id, "sh", "-c", line])
            }
        };
        exec.stdin(Stdio::null());
        exec
    }

    /// A container's first process, as its node numbers it: another one where it was restarted. `None` where it
    /// has gone.
    pub(crate) fn process(&self, node: &str, id: &str) -> Option<String> {
        match self.engine {
            Kind::Docker | Kind::Podman => {
                let mut inspect = self.docker(node, &["inspect", "-f", "{{.State.Pid}}", id]);
                let output = inspect.output().unwrap();
                let text = String::from_utf8(output.stdout).unwrap().trim().to_owned();
                output.status.success().then_some(text)
            }
            Kind::Containerd => {
                let tasks = lines(&mut self.ctr(node, &["tasks", "ls"]));
                let task = tasks.iter().find(|it| it.starts_with(id));
                task?.split_whitespace().nth(1).map(str::to_owned)
            }
        }
    }

    /// The network of the only container of a service on a node.
    pub(crate) fn network(&self, node: &str, service: &str) -> File {
        let id = self.running(node, service).pop().unwrap();
        let process = self.process(node, &id).unwrap();
        let machine = self.lab_node(node)["pid"].to_string();
        File::open(format!("/proc/{machine}/root/proc/{process}/ns/net")).unwrap()
    }

    /// Docker's command line on a node, for Podman too.
    pub(crate) fn docker(&self, node: &str, words: &[&str]) -> Command {
        let mut docker = Command::new("docker");
        let socket = format!("unix:///run/fizz-lab/{}/{node}/runtime.sock", self.name);
        docker.args(["-H", &socket]).args(words);
        docker
    }

    /// containerd's command line on a node: it opens the same pipes as what it tells.
    fn ctr(&self, node: &str, words: &[&str]) -> Command {
        let mut fizz = Command::new(env!("CARGO_BIN_EXE_fizz"));
        fizz.args(["lab", "exec", "--name", &self.name, node, "--", "ctr"]).args(words);
        fizz
    }
}

fn feed(mut command: Command, input: &[u8]) {
    let mut command = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    command.stdin.take().unwrap().write_all(input).unwrap();
    assert!(command.wait().unwrap().success());
}

fn lines(command: &mut Command) -> Vec<String> {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}
