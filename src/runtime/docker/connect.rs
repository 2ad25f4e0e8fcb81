//! The connection to an engine: which version it speaks, and a limit on every wait.
//!
//! Nothing is asked of the engine before it is needed, so that Fizz starts without it. Its version is
//! found out at the first call, and again after it was silent: it may have been upgraded meanwhile.
//! The quirks of bollard and of engines that hold for every call are in this file.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bollard::{BollardRequest, ClientVersion};
use tracing::info;

use super::{
    errors::{About, Refusal, Whose},
    flavour::{Flavour, Greeting, Wanted},
    wire,
};
use crate::runtime::RuntimeError;

/// The longest wait for an answer that needs no work.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(30);

/// The longest wait for work on containers, networks and volumes.
pub(super) const WORK_MAX: Duration = Duration::from_secs(180);

/// The newest API whose meaning is known here; a newer engine is spoken to in this one.
const API_NEWEST: ApiVersion = ApiVersion(1, 53);

/// The oldest: Docker 20.10, in Debian 11 and 12.
const API_OLDEST: ApiVersion = ApiVersion(1, 41);

/// Where Podman's own API is, in the version that every Podman since the oldest speaks.
pub(super) const LIBPOD: &str = "/v4.0.0/libpod";

/// bollard's limit is for a request's head only and the same for all: ours are around it.
const BOLLARD_SECONDS_MAX: u64 = 24 * 3600;

/// A version of the engine's API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ApiVersion(pub(super) u32, pub(super) u32);

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl ApiVersion {
    fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        Some(Self(major.parse().ok()?, minor.parse().ok()?))
    }
}

/// An engine that answered.
#[derive(Debug)]
pub(super) struct Engine {
    /// For typed calls, with every quirk taken care of.
    pub(super) client: bollard::Docker,
    /// Which it is.
    pub(super) flavour: Flavour,
    /// Its own version: `20.10.24`.
    pub(super) version: String,
    /// The API's version that is spoken with it.
    pub(super) api: ApiVersion,
    /// Its socket.
    pub(super) socket: PathBuf,
    /// It was silent since: to be greeted anew.
    stale: AtomicBool,
}

/// Where an engine is, and what is known about it.
#[derive(Debug)]
pub(super) struct Connection {
    wanted: Wanted,
    engine: Mutex<Option<Arc<Engine>>>,
}

impl Connection {
    pub(super) fn new(wanted: Wanted) -> Self {
        Self { wanted, engine: Mutex::new(None) }
    }

    /// The engine, greeted if it is not known or was silent. The one that was found first is kept to: what
    /// runs there would be nobody's if another took its place while it is away.
    pub(super) async fn engine(&self) -> Result<Arc<Engine>, RuntimeError> {
        let known = self.engine.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let engine = match known {
            Some(engine) if !engine.stale.load(Ordering::Relaxed) => return Ok(engine),
            Some(engine) => {
                let same = Wanted::new(Some(engine.flavour), Some(engine.socket.clone()));
                greet(&engine.socket, &same).await?
            }
            None => find(&self.wanted).await?,
        };
        let engine = Arc::new(engine);
        *self.engine.lock().unwrap_or_else(PoisonError::into_inner) = Some(engine.clone());
        Ok(engine)
    }
}

/// The first that answers where it is looked for.
async fn find(wanted: &Wanted) -> Result<Engine, RuntimeError> {
    let mut silent = Vec::new();
    for socket in &wanted.sockets {
        match greet(socket, wanted).await {
            Ok(engine) => {
                let Engine { flavour, version, .. } = &engine;
                let (socket, why) = (socket.display(), wanted.why(&silent));
                info!(runtime = flavour.name(), version, %socket, why, "found the container runtime");
                return Ok(engine);
            }
            Err(RuntimeError::Unreachable { address, why, .. }) if wanted.sockets.len() > 1 => {
                silent.push(format!("{address}: {why}"));
            }
            Err(error) => return Err(error),
        }
    }
    Err(RuntimeError::Absent(silent.join("; ")))
}

impl Engine {
    /// Waits for an answer, but not for ever.
    pub(super) async fn ask<T>(
        &self,
        limit: Duration,
        call: impl Future<Output = Result<T, bollard::errors::Error>>,
    ) -> Result<T, Refusal> {
        let answer = match tokio::time::timeout(limit, call).await {
            Ok(answer) => answer.map_err(Refusal::from),
            Err(_) => Err(Refusal::Silent(no_answer(limit))),
        };
        answer.inspect_err(|refusal| self.heard(refusal))
    }

    /// A small answer in the engine's own form.
    pub(super) async fn get(&self, path: &str) -> Result<bytes::Bytes, Refusal> {
        self.get_whole(format!("/v{}{path}", self.api)).await
    }

    /// The same of Podman's own API.
    pub(super) async fn get_libpod(&self, path: &str) -> Result<bytes::Bytes, Refusal> {
        self.get_whole(format!("{LIBPOD}{path}")).await
    }

    /// Work for Podman's own API.
    pub(super) async fn delete_libpod(&self, path: &str) -> Result<(), Refusal> {
        let path = format!("{LIBPOD}{path}");
        let answer = tokio::time::timeout(WORK_MAX, wire::delete(&self.socket, &path)).await;
        answer
            .unwrap_or_else(|_| Err(Refusal::Silent(no_answer(WORK_MAX))))
            .inspect_err(|refusal| self.heard(refusal))
    }

    async fn get_whole(&self, path: String) -> Result<bytes::Bytes, Refusal> {
        let answer = tokio::time::timeout(ANSWER_MAX, wire::get(&self.socket, &path)).await;
        answer
            .unwrap_or_else(|_| Err(Refusal::Silent(no_answer(ANSWER_MAX))))
            .inspect_err(|refusal| self.heard(refusal))
    }

    /// Marks the engine as one to greet anew if it was silent.
    pub(super) fn heard(&self, refusal: &Refusal) {
        if matches!(refusal, Refusal::Silent(_)) {
            self.stale.store(true, Ordering::Relaxed);
        }
    }

    /// A refusal as the error that the caller sees.
    pub(super) fn error(&self, refusal: Refusal, about: About) -> RuntimeError {
        self.heard(&refusal);
        refusal.into_error(&self.whose(), about)
    }

    /// Who it is, for errors.
    pub(super) fn whose(&self) -> Whose {
        Whose { runtime: self.flavour.name(), address: self.socket.display().to_string() }
    }

    /// Refuses what this engine is too old for.
    pub(super) fn require(
        &self,
        feature: &str,
        api: ApiVersion,
        since: &str,
    ) -> Result<(), RuntimeError> {
        if self.api >= api {
            return Ok(());
        }
        let needs = format!("{feature} needs Docker {since} or newer (API {api}); this node has");
        Err(RuntimeError::Unsupported(match self.flavour {
            Flavour::Docker => {
                format!("{needs} {} (API {}): upgrade it or leave it out", self.version, self.api)
            }
            Flavour::Podman => {
                format!(
                    "{needs} Podman {}: leave it out, or run this on a node with Docker",
                    self.version
                )
            }
        }))
    }

    /// The client for one request that bollard has no fields for: `query` is added to its address,
    /// `body` replaces its own.
    pub(super) fn client_with(&self, query: String, body: Option<Vec<u8>>) -> bollard::Docker {
        let version = self.api;
        self.client.clone().with_request_modifier(move |request| {
            let mut request = pinned(request, version, &query);
            if let Some(body) = &body {
                *request.body_mut() = bollard::body_full(body.clone().into());
            }
            request
        })
    }
}

fn no_answer(limit: Duration) -> String {
    format!("no answer in {} s", limit.as_secs())
}

/// What is behind a socket. Podman says it in the head of every answer; its `/version` also has the packages
/// of its helpers, for which it asks the system's package manager at each call: seconds of a processor on
/// Debian, and a busy machine that is asked again goes on with them all.
async fn introduction(socket: &Path) -> Result<Greeting, Refusal> {
    if let Some(podman) = Greeting::from_head(&wire::ping(socket).await?) {
        return Ok(podman);
    }
    Greeting::from_version(&wire::get(socket, "/version").await?)
        .map_err(|error| Refusal::Silent(format!("it is no container engine: {error}")))
}

async fn greet(socket: &Path, wanted: &Wanted) -> Result<Engine, RuntimeError> {
    let address = socket.display().to_string();
    let whose = Whose { runtime: wanted.name(), address: address.clone() };
    let greeting = tokio::time::timeout(ANSWER_MAX, introduction(socket))
        .await
        .unwrap_or_else(|_| Err(Refusal::Silent(no_answer(ANSWER_MAX))))
        .map_err(|it| it.into_error(&whose, super::errors::about("greet", "engine", &address)))?;
    let newest = ApiVersion::parse(&greeting.api_version).ok_or_else(|| {
        whose.unreachable(format!("its API version `{}` is none", greeting.api_version))
    })?;
    wanted.accept(&address, &greeting)?;
    let oldest = greeting.api_version_min.as_deref().and_then(ApiVersion::parse);
    if newest < API_OLDEST || oldest.is_some_and(|oldest| oldest > API_NEWEST) {
        return Err(RuntimeError::Unsupported(format!(
            "{} {} at {address} speaks API {}{newest}; Fizz speaks {API_OLDEST} to {API_NEWEST}: use Docker 20.10 or newer, or Podman 4.0 or newer",
            greeting.flavour,
            greeting.version,
            oldest.map(|it| format!("{it} to ")).unwrap_or_default(),
        )));
    }
    let api = newest.min(API_NEWEST);
    let version = ClientVersion { major_version: api.0 as usize, minor_version: api.1 as usize };
    let client = bollard::Docker::connect_with_unix(&address, BOLLARD_SECONDS_MAX, &version)
        .map_err(|error| whose.unreachable(error.to_string()))?
        .with_request_modifier(move |request| pinned(request, api, ""));
    let (flavour, version) = (greeting.flavour, greeting.version);
    let stale = AtomicBool::new(false);
    Ok(Engine { client, flavour, version, api, socket: socket.to_owned(), stale })
}

/// What bollard leaves undone for each request: it asks for no version of the API, so that an engine's
/// newest would be used, known or not; and it writes credentials in base64's standard alphabet, while
/// the engine reads the one for addresses and takes anything else for no credentials at all.
fn pinned(mut request: BollardRequest, api: ApiVersion, query: &str) -> BollardRequest {
    for name in ["x-registry-auth", "x-registry-config"] {
        let value = request.headers().get(name).and_then(|it| it.to_str().ok());
        let safe = value.map(|it| it.replace('+', "-").replace('/', "_"));
        if let Some(Ok(safe)) = safe.map(TryInto::try_into) {
            request.headers_mut().insert(name, safe);
        }
    }
    let uri = request.uri();
    let joint = match (query, uri.query()) {
        ("", None) => String::new(),
        (query, None) => format!("?{query}"),
        ("", Some(own)) => format!("?{own}"),
        (query, Some(own)) => format!("?{own}&{query}"),
    };
    let path = format!("/v{api}{}{joint}", uri.path());
    let mut parts = uri.clone().into_parts();
    // What was an address before is one with a longer path.
    if let Ok(path) = path.parse() {
        parts.path_and_query = Some(path);
    }
    if let Ok(uri) = hyper::Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(uri: &str) -> BollardRequest {
        hyper::Request::builder()
            .uri(uri)
            .header("X-Registry-Auth", "a+b/c=")
            .body(bollard::body_full(bytes::Bytes::new()))
            .unwrap()
    }

    #[test]
    fn every_request_names_its_version_and_safe_credentials() {
        let sent = pinned(request("unix://2f/build?q=false"), ApiVersion(1, 41), "ulimits=1");
        assert_eq!(sent.uri().path_and_query().unwrap(), "/v1.41/build?q=false&ulimits=1");
        assert_eq!(sent.headers()["x-registry-auth"], "a-b_c=");
        let sent = pinned(request("unix://2f/_ping"), ApiVersion(1, 53), "");
        assert_eq!(sent.uri().path_and_query().unwrap(), "/v1.53/_ping");
    }

    #[tokio::test(start_paused = true)]
    async fn an_engine_that_hangs_is_unreachable_after_a_while() {
        let dir = std::env::temp_dir().join(format!("fizz-hang-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        // Connections are taken in, and nobody answers them.
        let listener = tokio::net::UnixListener::bind(dir.join("sock")).unwrap();
        let connection = Connection::new(Wanted::new(None, Some(dir.join("sock"))));
        let error = connection.engine().await.unwrap_err();
        drop(listener);
        std::fs::remove_dir_all(&dir).unwrap();
        assert!(
            matches!(&error, RuntimeError::Unreachable { why, .. } if why.contains("no answer in 30 s")),
            "{error}"
        );
    }

    #[test]
    fn versions_compare_by_number() {
        assert!(ApiVersion::parse("1.100").unwrap() > ApiVersion::parse("1.44").unwrap());
        assert_eq!(ApiVersion::parse("new"), None);
    }
}
