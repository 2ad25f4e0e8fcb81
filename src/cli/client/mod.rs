//! The daemon's HTTP interface, from the client's side: HTTP/1.1 over a Unix socket, JSON,
//! newline-delimited JSON, server-sent events, tar streams, and upgraded sessions.

mod connection;
mod route;
mod session;
mod stream;

use std::{path::PathBuf, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use hyper::{Method, Request, StatusCode, header};
use serde::{Serialize, de::DeserializeOwned};

pub(in crate::cli) use connection::{Reply, Sent, whole};
pub(in crate::cli) use route::Route;
pub(in crate::cli) use session::{Frame, Session, SessionWriter};
pub(in crate::cli) use stream::Lines;

use super::error::CliError;
use crate::api::wire;
use stream::{SseParser, malformed, next_event};

/// Where the daemon listens unless told otherwise.
pub(in crate::cli) const SOCKET_DEFAULT: &str = "/run/fizz/fizz.sock";

/// The longest JSON answer that is taken.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// How often a broken event stream is taken up again before the daemon counts as gone, and the first
/// pause, which doubles.
const RECONNECTS_MAX: u32 = 8;
const RECONNECT_PAUSE: Duration = Duration::from_millis(50);

/// A client of one daemon.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Client {
    socket: PathBuf,
}

impl Client {
    /// The client for `--host`, `FIZZ_HOST` or the default.
    pub(in crate::cli) fn new(host: Option<&str>) -> Result<Self, CliError> {
        let host = host.unwrap_or(SOCKET_DEFAULT);
        let path = host.strip_prefix("unix://").unwrap_or(host);
        if host.contains("://") && !host.starts_with("unix://") || !path.starts_with('/') {
            return Err(CliError::Usage(format!(
                "`{host}` can't be a daemon's address: use unix:///absolute/path"
            )));
        }
        Ok(Self { socket: path.into() })
    }

    /// Asks.
    pub(in crate::cli) async fn get<T: DeserializeOwned>(
        &self,
        route: &Route,
    ) -> Result<T, CliError> {
        let reply = self.send(Method::GET, route, "", whole("")).await?;
        self.answer(reply).await
    }

    /// Asks for what several nodes have a part of; also why parts are missing.
    pub(in crate::cli) async fn get_of_all<T: DeserializeOwned>(
        &self,
        route: &Route,
    ) -> Result<(T, Vec<String>), CliError> {
        let reply = self.send(Method::GET, route, "", whole("")).await?;
        let warnings = reply.headers(wire::header::WARNING);
        Ok((self.answer(reply).await?, warnings))
    }

    /// Tells, and reads the answer.
    pub(in crate::cli) async fn post<T: DeserializeOwned>(
        &self,
        route: &Route,
        body: &impl Serialize,
    ) -> Result<T, CliError> {
        let reply = self.send(Method::POST, route, "application/json", json(body)?).await?;
        self.answer(reply).await
    }

    /// Removes; an answer without a body reads as null.
    pub(in crate::cli) async fn delete<T: DeserializeOwned>(
        &self,
        route: &Route,
    ) -> Result<T, CliError> {
        let reply = self.send(Method::DELETE, route, "", whole("")).await?;
        self.answer(reply).await
    }

    /// Asks for documents, a line each.
    pub(in crate::cli) async fn lines<T: DeserializeOwned>(
        &self,
        route: &Route,
    ) -> Result<Lines<T>, CliError> {
        Ok(Lines::new(self.send(Method::GET, route, "", whole("")).await?))
    }

    /// Tells, and reads the answer as documents, a line each.
    pub(in crate::cli) async fn post_lines<T: DeserializeOwned>(
        &self,
        route: &Route,
        body: &impl Serialize,
    ) -> Result<Lines<T>, CliError> {
        let reply = self.send(Method::POST, route, "application/json", json(body)?).await?;
        Ok(Lines::new(reply))
    }

    /// Sends a tar stream.
    pub(in crate::cli) async fn upload(
        &self,
        method: Method,
        route: &Route,
        tar: Sent,
    ) -> Result<Reply, CliError> {
        self.send(method, route, "application/x-tar", tar).await
    }

    /// Sends the context of a build, and the credentials that its base images may need.
    pub(in crate::cli) async fn build(
        &self,
        route: &Route,
        context: Sent,
        credentials: &[wire::RegistryCredentials],
    ) -> Result<Reply, CliError> {
        let list = serde_json::to_vec(credentials).map_err(|why| malformed(&why.to_string()))?;
        let request = self
            .request(Method::POST, route)
            .header(header::CONTENT_TYPE, "application/x-tar")
            .header(wire::header::CREDENTIALS, BASE64.encode(list));
        self.finish(request, context).await
    }

    /// Asks for a stream of bytes.
    pub(in crate::cli) async fn download(&self, route: &Route) -> Result<Reply, CliError> {
        self.send(Method::GET, route, "", whole("")).await
    }

    /// Watches events after `since`, or from now on.
    #[must_use]
    pub(in crate::cli) fn events(&self, project: Option<&str>, since: Option<u64>) -> Events {
        let route = Route::to(&["events"]).with_some("project", project);
        Events { client: self.clone(), route, last: since, stream: None, failures: 0 }
    }

    /// Upgrades the connection to a session.
    pub(in crate::cli) async fn session(
        &self,
        route: &Route,
        body: &impl Serialize,
    ) -> Result<Session, CliError> {
        let request = self
            .request(Method::POST, route)
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, wire::frame::PROTOCOL)
            .header(header::CONTENT_TYPE, "application/json");
        let reply = self.finish(request, json(body)?).await?;
        if reply.status != StatusCode::SWITCHING_PROTOCOLS {
            return Err(malformed("it did not switch to a session"));
        }
        Ok(Session::new(reply.upgraded().await?))
    }

    /// Reads an answer that may have no body.
    pub(in crate::cli) async fn answer<T: DeserializeOwned>(
        &self,
        mut reply: Reply,
    ) -> Result<T, CliError> {
        let bytes = reply.whole(ANSWER_BYTES_MAX).await?;
        let bytes = if bytes.is_empty() { b"null".as_slice() } else { &bytes };
        serde_json::from_slice(bytes).map_err(|why| malformed(&why.to_string()))
    }

    fn request(&self, method: Method, route: &Route) -> hyper::http::request::Builder {
        Request::builder()
            .method(method)
            .uri(route.as_str())
            .header(header::HOST, "fizz")
            .header(header::USER_AGENT, concat!("fizz/", env!("CARGO_PKG_VERSION")))
    }

    async fn send(
        &self,
        method: Method,
        route: &Route,
        content_type: &str,
        body: Sent,
    ) -> Result<Reply, CliError> {
        let mut request = self.request(method, route);
        if !content_type.is_empty() {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        self.finish(request, body).await
    }

    async fn finish(
        &self,
        request: hyper::http::request::Builder,
        body: Sent,
    ) -> Result<Reply, CliError> {
        let request = request
            .body(body)
            .map_err(|why| CliError::Usage(format!("this can't be asked of the daemon: {why}")))?;
        let mut reply = connection::exchange(&self.socket, request).await?;
        if reply.status.is_success() || reply.status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(reply);
        }
        let body = reply.whole(ANSWER_BYTES_MAX).await?;
        match serde_json::from_slice(&body) {
            Ok(problem) => Err(CliError::Refused(Box::new(problem))),
            Err(_) => Err(self.foreign(reply.status).await),
        }
    }

    /// An error that is no problem document: another version of Fizz, or no Fizz at all.
    async fn foreign(&self, status: StatusCode) -> CliError {
        let Ok(request) = self.request(Method::GET, &Route::to(&["version"])).body(whole(""))
        else {
            return connection::not_a_daemon(&self.socket, &status);
        };
        let version = match connection::exchange(&self.socket, request).await {
            Ok(reply) if reply.status.is_success() => {
                self.answer::<wire::Version>(reply).await.ok()
            }
            Ok(_) | Err(_) => None,
        };
        match version {
            Some(version) => CliError::Daemon {
                what: format!(
                    "the daemon (Fizz {}, API {}) does not know what this command (Fizz {}) asks: {status}",
                    version.version,
                    version.api,
                    env!("CARGO_PKG_VERSION"),
                ),
                hint: "use the same version of Fizz for both; restart the daemon after an upgrade"
                    .into(),
            },
            None => connection::not_a_daemon(&self.socket, &status),
        }
    }
}

fn json(body: &impl Serialize) -> Result<Sent, CliError> {
    let bytes = serde_json::to_vec(body)
        .map_err(|why| CliError::Usage(format!("this can't be asked of the daemon: {why}")))?;
    Ok(whole(bytes))
}

/// Events as they happen, also across a restart of the daemon.
#[derive(Debug)]
pub(in crate::cli) struct Events {
    client: Client,
    route: Route,
    last: Option<u64>,
    stream: Option<(Reply, SseParser)>,
    failures: u32,
}

impl Events {
    /// The next event. Nothing is lost when the caller stops waiting.
    pub(in crate::cli) async fn next(&mut self) -> Result<wire::Event, CliError> {
        loop {
            match self.try_next().await {
                Ok(Some(event)) => {
                    self.last = Some(event.id);
                    self.failures = 0;
                    return Ok(event);
                }
                Err(error @ CliError::Refused(_)) => return Err(error),
                Err(error) if self.failures >= RECONNECTS_MAX => return Err(error),
                Ok(None) | Err(_) => {
                    self.stream = None;
                    let pause = RECONNECT_PAUSE * 2_u32.saturating_pow(self.failures.min(6));
                    self.failures = (self.failures + 1).min(RECONNECTS_MAX);
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// Connects, so that no event after this is missed.
    pub(in crate::cli) async fn connect(&mut self) -> Result<(), CliError> {
        if self.stream.is_none() {
            let mut request = self
                .client
                .request(Method::GET, &self.route)
                .header(header::ACCEPT, "text/event-stream");
            if let Some(last) = self.last {
                request = request.header("Last-Event-ID", last);
            }
            let reply = self.client.finish(request, whole("")).await?;
            self.stream = Some((reply, SseParser::default()));
        }
        Ok(())
    }

    async fn try_next(&mut self) -> Result<Option<wire::Event>, CliError> {
        self.connect().await?;
        match &mut self.stream {
            Some((reply, parser)) => next_event(reply, parser).await,
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests;
