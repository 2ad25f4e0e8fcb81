//! Which engine is behind a socket, where each is looked for, and how old it may be.
//!
//! Podman answers to Docker's API beside one of its own. What differs is asked for by [`Flavour`] in the
//! file that it is about; what only Podman's own API has is in [`super::podman`].

use std::{fmt, path::PathBuf};

use hyper::HeaderMap;
use serde::Deserialize;

use crate::runtime::RuntimeError;

/// The oldest Podman whose answers are known here: the first with several networks for each container.
const PODMAN_OLDEST: u32 = 4;

/// Which of the engines that answer to Docker's API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// Docker, or Moby, which is the same.
    Docker,
    /// Podman's service.
    Podman,
}

impl Flavour {
    /// As `runtime.kind` has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }

    /// Where its package puts its socket.
    #[must_use]
    pub fn socket(self) -> PathBuf {
        match self {
            Self::Docker => "/var/run/docker.sock",
            Self::Podman => "/run/podman/podman.sock",
        }
        .into()
    }
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Docker => "Docker",
            Self::Podman => "Podman",
        })
    }
}

/// What is looked for, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Which it must be; `None`: whichever answers.
    pub(super) flavour: Option<Flavour>,
    /// In this order.
    pub(super) sockets: Vec<PathBuf>,
}

impl Wanted {
    /// The engine of this kind, or any, behind this socket or where it usually is: Docker before Podman.
    pub(super) fn new(flavour: Option<Flavour>, socket: Option<PathBuf>) -> Self {
        let sockets = match (socket, flavour) {
            (Some(socket), _) => vec![socket],
            (None, Some(flavour)) => vec![flavour.socket()],
            (None, None) => vec![Flavour::Docker.socket(), Flavour::Podman.socket()],
        };
        Self { flavour, sockets }
    }

    /// What an error calls it before it has said itself what it is.
    pub(super) fn name(&self) -> &'static str {
        self.flavour.map_or("the container runtime", Flavour::name)
    }

    /// Whether an engine that answered at `address` will do.
    pub(super) fn accept(&self, address: &str, greeting: &Greeting) -> Result<(), RuntimeError> {
        let (flavour, version) = (greeting.flavour, &greeting.version);
        if let Some(wanted) = self.flavour.filter(|it| *it != flavour) {
            return Err(RuntimeError::Unsupported(format!(
                "{flavour} {version} answers at {address}, and {wanted} is wanted; set `runtime.kind: {}`, or `runtime.socket` to where {wanted} is, and restart fizz",
                flavour.name(),
            )));
        }
        let major = version.split('.').next().and_then(|it| it.parse::<u32>().ok());
        if flavour == Flavour::Podman && major.is_some_and(|it| it < PODMAN_OLDEST) {
            return Err(RuntimeError::Unsupported(format!(
                "Podman {version} at {address} is too old: Fizz works with Podman {PODMAN_OLDEST}.0 or newer; upgrade it, or use Docker",
            )));
        }
        Ok(())
    }

    /// Why this engine was taken, for people.
    pub(super) fn why(&self, passed_over: &[String]) -> String {
        match self.flavour {
            Some(flavour) => format!("`runtime.kind` is `{}`", flavour.name()),
            None if self.sockets.len() == 1 => "it is what answers at `runtime.socket`".to_owned(),
            None if passed_over.is_empty() => "it is the first that is looked for".to_owned(),
            None => format!("nothing answers before it: {}", passed_over.join("; ")),
        }
    }
}

/// What an engine says of itself.
pub(super) struct Greeting {
    pub(super) flavour: Flavour,
    pub(super) version: String,
    pub(super) api_version: String,
    /// Podman leaves no older API out that is spoken here.
    pub(super) api_version_min: Option<String>,
}

impl Greeting {
    /// From the head of any of Podman's answers; `None`: that it is Podman's is not said.
    pub(super) fn from_head(head: &HeaderMap) -> Option<Self> {
        let text = |name: &str| head.get(name)?.to_str().ok().map(str::to_owned);
        Some(Self {
            flavour: Flavour::Podman,
            version: text("Libpod-API-Version")?,
            api_version: text("API-Version")?,
            api_version_min: None,
        })
    }

    /// From the answer to `GET /version`.
    pub(super) fn from_version(answer: &[u8]) -> Result<Self, serde_json::Error> {
        let Version { version, api_version, api_version_min } = serde_json::from_slice(answer)?;
        Ok(Self { flavour: Flavour::Docker, version, api_version, api_version_min })
    }
}

/// The part of `GET /version` that every engine gives.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Version {
    version: String,
    api_version: String,
    #[serde(default)]
    #[serde(rename = "MinAPIVersion")]
    api_version_min: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn podman(version: &'static str) -> Greeting {
        let mut head = HeaderMap::new();
        assert!(Greeting::from_head(&head).is_none());
        head.insert("api-version", "1.41".parse().unwrap());
        assert!(Greeting::from_head(&head).is_none(), "it may be Docker's");
        head.insert("libpod-api-version", version.parse().unwrap());
        Greeting::from_head(&head).unwrap()
    }

    fn docker() -> Greeting {
        let answer = br#"{"Version": "20.10.24", "ApiVersion": "1.41", "MinAPIVersion": "1.12"}"#;
        Greeting::from_version(answer).unwrap()
    }

    #[test]
    fn docker_is_looked_for_before_podman_and_only_where_told() {
        let sockets = |flavour, socket: Option<&str>| {
            let found = Wanted::new(flavour, socket.map(PathBuf::from)).sockets;
            found.iter().map(|it| it.display().to_string()).collect::<Vec<_>>()
        };
        let (docker, podman) = ("/var/run/docker.sock", "/run/podman/podman.sock");
        assert_eq!(sockets(None, None), [docker, podman]);
        assert_eq!(sockets(Some(Flavour::Podman), None), [podman]);
        assert_eq!(sockets(Some(Flavour::Docker), None), [docker]);
        assert_eq!(sockets(None, Some("/a")), ["/a"]);
        assert_eq!(sockets(Some(Flavour::Podman), Some("/a")), ["/a"]);
    }

    #[test]
    fn what_is_too_old_or_another_is_refused_with_what_to_do() {
        let any = Wanted::new(None, None);
        assert_eq!(any.accept("/a", &podman("4.0.0")), Ok(()));
        assert_eq!(any.accept("/a", &podman("5.6.1-dev")), Ok(()));
        assert_eq!(any.accept("/a", &docker()), Ok(()));
        let old = any.accept("/a", &podman("3.4.4")).unwrap_err().to_string();
        assert!(old.starts_with("Podman 3.4.4 at /a is too old") && old.contains("4.0"), "{old}");
        let docker = Wanted::new(Some(Flavour::Docker), None);
        let other = docker.accept("/a", &podman("4.3.1")).unwrap_err();
        let other = other.to_string();
        assert!(other.contains("set `runtime.kind: podman`"), "{other}");
    }
}
