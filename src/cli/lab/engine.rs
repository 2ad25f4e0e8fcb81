//! A node's container runtime: the program that serves it, told to keep everything on the node's own
//! disk.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    plan::{Engine, LabNode},
    record::Home,
};
use crate::cli::error::CliError;

/// Where programs are looked for when root's own path does not name them: nothing is in here for
/// ordinary users.
const SBIN: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Without what Kubernetes needs of it, and without a directory that all nodes would share.
const CONTAINERD: &str = r#"# Written by `fizz lab up`.
version = 2
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
"#;

impl Engine {
    /// The programs that it needs, and the package that has each.
    pub(super) fn needs(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Docker => &[
                ("dockerd", "docker.io (Debian, Ubuntu), moby-engine (Fedora) or docker (Arch)"),
                ("iptables", "iptables"),
            ],
            Self::Podman => &[("podman", "podman")],
            Self::Containerd => &[("containerd", "containerd"), ("runc", "runc")],
            Self::None => &[],
        }
    }

    /// The daemon's `runtime.kind`.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
            Self::Containerd => "containerd",
            Self::None => "none",
        }
    }

    /// The program that serves it, if there is one.
    pub(super) fn program(self) -> Option<&'static str> {
        match self {
            Self::Docker => Some("dockerd"),
            Self::Podman => Some("podman"),
            Self::Containerd => Some("containerd"),
            Self::None => None,
        }
    }

    /// Directories whose place it will not be told: each node has its own there, until it loses its power.
    /// They hold caches, leases of addresses that would outlive the containers that had them, and locks.
    pub(super) fn own_places(self) -> &'static [&'static str] {
        match self {
            Self::Podman => &["/var/lib/cni", "/var/lib/containers", "/dev/shm"],
            Self::Docker | Self::Containerd | Self::None => &[],
        }
    }

    /// What the program reads instead of the machine's own settings.
    pub(super) fn settings(self) -> Option<&'static str> {
        match self {
            Self::Containerd => Some(CONTAINERD),
            Self::Docker | Self::Podman | Self::None => None,
        }
    }

    /// What a command on the node is told, for the runtime's own command line to find it.
    pub(super) fn environment(self, home: &Home, node: LabNode) -> Vec<(&'static str, String)> {
        let socket = home.runtime_socket(node).display().to_string();
        match self {
            Self::Docker | Self::Podman => vec![("DOCKER_HOST", format!("unix://{socket}"))],
            Self::Containerd => vec![
                ("CONTAINERD_ADDRESS", socket),
                // Where Fizz has its containers and images.
                ("CONTAINERD_NAMESPACE", "fizz".to_owned()),
            ],
            Self::None => Vec::new(),
        }
    }

    /// The program and its arguments, for a process on the node.
    pub(super) fn command(self, home: &Home, node: LabNode) -> Option<Command> {
        let socket = format!("unix://{}", home.runtime_socket(node).display());
        let data = home.node_data(node).join(self.to_string());
        let mut command = Command::new(find(self.program()?)?);
        match self {
            Self::Docker => command
                .arg("--data-root")
                .arg(data)
                .args(["--exec-root", "/run/docker", "--pidfile", "/run/docker.pid"])
                .args(["--host", &socket, "--bip", &format!("172.30.{}.1/24", node.number())])
                .args(["--cgroup-parent", "/docker", "--log-level", "warn"]),
            Self::Podman => command
                .arg("--root")
                .arg(data)
                .args(["--runroot", "/run/podman", "--tmpdir", "/run/libpod"])
                .arg("--network-config-dir")
                .arg(home.node_data(node).join("networks"))
                .args(["--cgroup-manager", "cgroupfs", "--events-backend", "file"])
                .args(low_level_runtime())
                .args(["system", "service", "--time", "0", &socket]),
            Self::Containerd => command
                .arg("--config")
                .arg(home.runtime_settings(node))
                .arg("--root")
                .arg(data)
                .args(["--state", "/run/containerd", "--log-level", "warn", "--address"])
                .arg(home.runtime_socket(node)),
            Self::None => return None,
        };
        Some(command)
    }
}

/// crun refuses machines that have both versions of control groups; runc takes them.
fn low_level_runtime() -> Vec<PathBuf> {
    let both = !Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    match find("runc") {
        Some(runc) if both => vec!["--runtime".into(), runc],
        Some(_) | None => Vec::new(),
    }
}

/// Where a program is.
pub(super) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(SBIN.iter().map(PathBuf::from));
    let mut found = places.map(|it| it.join(program)).filter(|it| {
        fs::metadata(it).is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
    });
    found.next()
}

/// Refuses to go on without a program.
pub(super) fn need(all: &[(&str, &str)], what_for: &str) -> Result<(), CliError> {
    let missing: Vec<String> = all
        .iter()
        .filter(|(program, _)| find(program).is_none())
        .map(|(program, package)| format!("`{program}` is not installed; its package is {package}"))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(CliError::Failed(format!(
        "{what_for} needs what is not there:\n  {}",
        missing.join("\n  ")
    )))
}
