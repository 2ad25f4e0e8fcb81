//! What the engine answers, sorted into [`RuntimeError`]s that say what to do.
//!
//! The engine's statuses are coarse (a missing network at start is a 404, a taken port a 500), so its
//! words decide where they are known. All knowledge of its wording is in this file.

use bollard::errors::Error;

use crate::runtime::RuntimeError;

/// What the engine did instead of what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No answer, or none in time.
    Silent(String),
    /// An error of its own.
    Said {
        /// The HTTP status; 0 for an error within a stream.
        status: u16,
        /// Its words.
        message: String,
    },
}

/// What a call is about, for its error.
#[derive(Clone, Debug)]
pub(super) struct About {
    what: &'static str,
    name: String,
    doing: &'static str,
}

/// What a call is about: doing `doing` to the `what` called `name`.
pub(super) fn about(doing: &'static str, what: &'static str, name: impl Into<String>) -> About {
    About { what, name: name.into(), doing }
}

/// Which engine said so, or kept silent.
#[derive(Clone, Debug)]
pub(super) struct Whose {
    /// As `runtime.kind` has it.
    pub(super) runtime: &'static str,
    /// Its socket.
    pub(super) address: String,
}

impl Refusal {
    pub(super) fn said(message: impl Into<String>) -> Self {
        Self::Said { status: 0, message: message.into() }
    }

    pub(super) fn status(&self) -> Option<u16> {
        match self {
            Self::Silent(_) => None,
            Self::Said { status, .. } => Some(*status),
        }
    }

    pub(super) fn message(&self) -> &str {
        match self {
            Self::Silent(message) | Self::Said { message, .. } => message,
        }
    }

    /// Whether what was asked for is not there.
    pub(super) fn is_missing(&self) -> bool {
        self.status() == Some(404)
    }

    /// The engine's refusal as the error that the caller sees.
    pub(super) fn into_error(self, whose: &Whose, about: About) -> RuntimeError {
        match self {
            Self::Silent(why) => whose.unreachable(why),
            Self::Said { status, message } => classify(status, message, about),
        }
    }

    /// The same for an image from a registry, which has reasons of its own.
    pub(super) fn into_image_error(self, whose: &Whose, image: &str, about: About) -> RuntimeError {
        let lower = self.message().to_lowercase();
        let said = |words: &[&str]| words.iter().any(|word| lower.contains(word));
        let from_registry = matches!(self, Self::Said { .. });
        if from_registry && said(&DENIED) {
            return RuntimeError::Unauthorized {
                registry: super::images::registry(image).to_owned(),
                image: image.to_owned(),
                why: self.message().to_owned(),
            };
        }
        if from_registry && said(&UNKNOWN) {
            return RuntimeError::NotFound { what: "image", name: image.to_owned() };
        }
        self.into_error(whose, about)
    }
}

/// How registries and the engine say that credentials are missing or wrong. Docker Hub answers so for
/// repositories that do not exist, too.
const DENIED: [&str; 5] = [
    "pull access denied",
    "no basic auth credentials",
    "unauthorized",
    "authentication required",
    "access to the resource is denied",
];

/// How they say that there is no such image.
const UNKNOWN: [&str; 4] =
    ["manifest unknown", "name unknown", "repository name not known", "no such image"];

impl Whose {
    pub(super) fn unreachable(&self, why: impl Into<String>) -> RuntimeError {
        let Self { runtime, address } = self;
        RuntimeError::Unreachable { runtime, address: address.clone(), why: why.into() }
    }
}

fn classify(status: u16, message: String, about: About) -> RuntimeError {
    let About { what, name, doing } = about;
    let lower = message.to_lowercase();
    let has = |words: &str| lower.contains(words);
    let failed =
        |why: String| RuntimeError::Failed { doing: format!("{doing} {what} {name}"), why };
    if has("port is already allocated") || has("address already in use") {
        return RuntimeError::Conflict(format!(
            "{what} {name} wants a port of this node that is taken: {message}; stop what uses it or publish another port"
        ));
    }
    if has("bind source path does not exist") {
        return failed(format!(
            "{message}; make that path on this node, or let it be made with `create_host_path: true`"
        ));
    }
    if has("configured logging driver does not support reading")
        || has("log driver, cannot read logs")
    {
        return RuntimeError::Unsupported(format!(
            "the logging driver of {what} {name} cannot be read from: {message}; use `json-file`, `local` or `journald`"
        ));
    }
    if let Some(missing) = missing(&message, &lower) {
        return missing;
    }
    // Podman's way to say that a container is not in a state for it, or an image not free to go.
    if has("container state improper") || has("with more than one tag") {
        return RuntimeError::Conflict(format!("{doing} {what} {name}: {message}"));
    }
    match status {
        404 if doing != "start" && doing != "create" => RuntimeError::NotFound { what, name },
        409 => RuntimeError::Conflict(format!("{doing} {what} {name}: {message}")),
        501 => RuntimeError::Unsupported(format!("{doing} {what} {name}: {message}")),
        _ => failed(message),
    }
}

/// What the engine says is not there, when it names it.
fn missing(message: &str, lower: &str) -> Option<RuntimeError> {
    for (words, what) in [
        ("no such container: ", "container"),
        ("no such image: ", "image"),
        ("no such volume: ", "volume"),
        // Podman's words.
        ("no container with name or id ", "container"),
        ("unable to find network with name or id ", "network"),
        ("no volume with name ", "volume"),
    ] {
        if let Some(at) = lower.find(words) {
            let name = message.get(at + words.len()..)?.split_whitespace().next()?;
            let name = name.trim_matches('"').trim_end_matches(':').to_owned();
            return Some(RuntimeError::NotFound { what, name });
        }
    }
    // `network shop_default not found`, and with a prefix at start.
    let network = lower.find("network ").filter(|_| lower.trim_end().ends_with("not found"))?;
    let name = message.get(network + "network ".len()..)?.split_whitespace().next()?;
    Some(RuntimeError::NotFound { what: "network", name: name.to_owned() })
}

impl From<Error> for Refusal {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "bollard's errors differ by feature; what is not the engine's answer is a failed connection"
    )]
    fn from(error: Error) -> Self {
        match error {
            Error::DockerResponseServerError { status_code, message } => {
                Self::Said { status: status_code, message: message.trim().to_owned() }
            }
            Error::DockerStreamError { error } => Self::said(error),
            Error::DockerContainerWaitError { error, .. } => Self::said(error),
            Error::JsonDataError { message, .. } => {
                Self::said(format!("its answer is not understood: {message}"))
            }
            Error::JsonSerdeError { err } => {
                Self::said(format!("its answer is not understood: {err}"))
            }
            other => Self::Silent(with_causes(&other)),
        }
    }
}

/// An error and what caused it, in one line; the outermost alone is often only "client error".
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whose() -> Whose {
        Whose { runtime: "docker", address: "/s".to_owned() }
    }

    fn said(status: u16, message: &str) -> Refusal {
        Refusal::Said { status, message: message.to_owned() }
    }

    #[test]
    fn a_taken_port_says_what_to_do() {
        let message = "driver failed programming external connectivity on endpoint a: Bind for 0.0.0.0:80 failed: port is already allocated";
        let error = said(500, message).into_error(&whose(), about("start", "container", "web"));
        assert!(
            matches!(&error, RuntimeError::Conflict(text) if text.contains("publish another")),
            "{error}"
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let gone = said(404, "network shop_back not found")
            .into_error(&whose(), about("start", "container", "web"));
        assert_eq!(gone, RuntimeError::NotFound { what: "network", name: "shop_back".into() });
        let gone = said(404, "No such image: nix:latest")
            .into_error(&whose(), about("create", "container", "web"));
        assert_eq!(gone, RuntimeError::NotFound { what: "image", name: "nix:latest".into() });
    }

    #[test]
    fn a_registrys_no_is_told_from_a_missing_image() {
        let about = || about("pull", "image", "r.example:5000/app:1");
        let error = said(500, "Get https://r/: no basic auth credentials").into_image_error(
            &whose(),
            "r.example:5000/app:1",
            about(),
        );
        assert!(
            matches!(error, RuntimeError::Unauthorized { registry, .. } if registry == "r.example:5000")
        );
        let error = said(404, "manifest for r.example:5000/app:1 not found: manifest unknown: x")
            .into_image_error(&whose(), "r.example:5000/app:1", about());
        assert!(matches!(error, RuntimeError::NotFound { what: "image", .. }));
        let error = Refusal::Silent("unauthorized".into()).into_image_error(&whose(), "x", about());
        assert!(matches!(error, RuntimeError::Unreachable { .. }));
    }
}
