//! Which runtime a node takes where its settings name none.
//!
//! Docker or Podman, whichever answers first. containerd only where neither is on the node: Docker stands on
//! containerd, which answers before it and goes on while Docker is away.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use tracing::info;

use super::{Containerd, Docker, Flavour, Runtime, containerd::SOCKET};

/// What is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    /// What answers to Docker's API.
    DockerOrPodman,
    /// containerd by itself.
    Containerd,
}

/// The runtime behind this socket, or of those that are on this node. `root` and `program` are as for
/// [`Containerd::new`].
#[must_use]
pub fn find(socket: Option<PathBuf>, root: PathBuf, program: PathBuf) -> Arc<dyn Runtime> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = |name: &str| std::env::split_paths(&path).any(|it| it.join(name).is_file());
    match take(socket.as_deref(), &|it| it.exists(), &installed) {
        Taken::DockerOrPodman => Arc::new(Docker::find(None, socket)),
        Taken::Containerd => {
            let why = "neither Docker nor Podman is on this node";
            info!(runtime = "containerd", why, "found the container runtime");
            Arc::new(Containerd::new(socket, root, program))
        }
    }
}

fn take(
    socket: Option<&Path>,
    there: &dyn Fn(&Path) -> bool,
    installed: &dyn Fn(&str) -> bool,
) -> Taken {
    if let Some(socket) = socket {
        // Every package names its socket so.
        let name = socket.file_name().unwrap_or_default();
        return if name == "containerd.sock" { Taken::Containerd } else { Taken::DockerOrPodman };
    }
    let others = [(Flavour::Docker, "dockerd"), (Flavour::Podman, "podman")];
    if others.into_iter().any(|(flavour, program)| there(&flavour.socket()) || installed(program)) {
        return Taken::DockerOrPodman;
    }
    if there(Path::new(SOCKET)) || installed("containerd") {
        return Taken::Containerd;
    }
    // It says that there is none, and what to do.
    Taken::DockerOrPodman
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containerd_is_taken_only_where_nothing_stands_on_it() {
        let on = |sockets: &[&str], programs: &[&str]| {
            take(None, &|it| sockets.iter().any(|at| it == Path::new(at)), &|it| {
                programs.contains(&it)
            })
        };
        assert_eq!(on(&[SOCKET], &["containerd"]), Taken::Containerd);
        assert_eq!(on(&[], &["containerd"]), Taken::Containerd, "it may be up later");
        assert_eq!(on(&[SOCKET], &["containerd", "dockerd"]), Taken::DockerOrPodman);
        assert_eq!(on(&[SOCKET, "/run/podman/podman.sock"], &[]), Taken::DockerOrPodman);
        assert_eq!(on(&[], &[]), Taken::DockerOrPodman);
    }

    #[test]
    fn a_socket_is_taken_for_what_it_is_called() {
        let at = |path: &str| take(Some(Path::new(path)), &|_| false, &|_| false);
        assert_eq!(at("/a/containerd.sock"), Taken::Containerd);
        assert_eq!(at("/a/docker.sock"), Taken::DockerOrPodman);
    }
}
