//! Serves the API on a Unix socket, and to other members over their streams: HTTP/1.1 with upgrades, each
//! connection on its own, everything bounded by [`Limits`].
//!
//! A connection that is upgraded to a session stays with its task and its place among the
//! connections: the handler leaves the conversation in [`Afterwards`], and the task goes on with it. What
//! is to be done once an answer is with its client waits there, too.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{MatchedPath, Request, State},
    http::{Method, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
};
use futures_util::future::BoxFuture;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{UnixListener, UnixStream, unix::UCred},
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tower::ServiceExt;
use tracing::{debug, info, warn};

use super::{
    app::{App, Limits},
    backend::{Backend, MemberStream},
    pass_on::pass_on,
    problem::Failure,
    routes, table,
};
use crate::model::NodeId;

/// How long to wait when the system has no file descriptor for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What is said to one connection too many, without a task or a buffer for it.
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
Content-Type: application/problem+json\r\nConnection: close\r\nContent-Length: 193\r\n\r\n\
{\"type\":\"urn:fizz:too-many-connections\",\"title\":\"busy\",\"status\":503,\
\"detail\":\"the daemon has as many connections as it takes\",\
\"hint\":\"close connections, or ask again in a moment\",\"problems\":[]}";

/// What a connection goes on with after it was upgraded, or after its last answer.
#[derive(Clone, Default)]
pub(super) struct Afterwards(Arc<Mutex<Option<BoxFuture<'static, ()>>>>);

impl Afterwards {
    pub(super) fn set(&self, conversation: BoxFuture<'static, ()>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(conversation);
    }

    fn take(&self) -> Option<BoxFuture<'static, ()>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug)]
pub(super) enum Peer {
    /// A process of this machine, as the kernel tells.
    Local(Option<UCred>),
    /// Another member.
    Member(NodeId),
}

/// Serves until `shutdown`, then lets requests in flight finish within [`Limits::closing_max`]. Streams
/// end at once.
pub async fn serve(
    listener: UnixListener,
    mut members: mpsc::Receiver<(MemberStream, NodeId)>,
    backend: Backend,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) {
    let (router, document) = table::build(routes::table());
    let document = document.to_json().unwrap_or_default().into();
    let app = App::new(backend, limits, document);
    let router = finish(router, &app);
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            Some((stream, node)) = members.recv() => {
                if connections.len() < app.limits.connections_max {
                    let peer = Peer::Member(node);
                    connections.spawn(connection(stream, peer, router.clone(), app.clone()));
                }
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if connections.len() < app.limits.connections_max => {
                    let peer = Peer::Local(stream.peer_cred().ok());
                    connections.spawn(connection(stream, peer, router.clone(), app.clone()));
                }
                Ok((stream, _)) => turn_away(&stream),
                Err(why) => {
                    warn!(%why, "no connection could be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    app.closing.cancel();
    let all = async { while connections.join_next().await.is_some() {} };
    if timeout(app.limits.closing_max, all).await.is_err() {
        info!(connections = connections.len(), "gave up waiting for requests in flight");
    }
    connections.shutdown().await;
}

/// A full socket buffer cannot be: nothing was sent yet. If it is, the client sees a closed connection.
fn turn_away(stream: &UnixStream) {
    if let Err(why) = stream.try_write(BUSY) {
        debug!(%why, "a connection too many was closed without a word");
    }
}

/// The router with what holds for all routes.
fn finish(router: Router<App>, app: &App) -> Router {
    router
        .fallback(no_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(app.clone(), pass_on))
        .layer(from_fn_with_state(app.clone(), observe))
        .with_state(app.clone())
}

async fn no_route(request: Request) -> Failure {
    Failure::NoRoute(request.uri().path().to_owned())
}

async fn wrong_method(request: Request) -> Failure {
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    Failure::WrongMethod { method, path }
}

/// Turns web pages away, counts, and logs who changed what.
async fn observe(State(app): State<App>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let matched = request.extensions().get::<MatchedPath>();
    let route = matched.map_or_else(|| "none".to_owned(), |it| it.as_str().to_owned());
    let (peer, node) = match request.extensions().get::<Peer>() {
        Some(Peer::Local(peer)) => (*peer, None),
        Some(Peer::Member(node)) => (None, Some(node.to_string())),
        None => (None, None),
    };
    let response = match request.headers().get(header::ORIGIN) {
        Some(origin) => {
            Failure::Origin(String::from_utf8_lossy(origin.as_bytes()).into_owned()).into_response()
        }
        None => next.run(request).await,
    };
    let status = response.status().as_u16();
    // Methods are as many as clients make up; a label must not be.
    let label = if route == "none" { "any" } else { method.as_str() };
    app.backend.metrics.answered(&route, label, status, begun.elapsed());
    if method != Method::GET && method != Method::HEAD {
        let (uid, gid) = (peer.map(|it| it.uid()), peer.map(|it| it.gid()));
        let pid = peer.and_then(|it| it.pid());
        info!(%method, path, status, uid, gid, pid, node, "asked");
    }
    response
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    peer: Peer,
    router: Router,
    app: App,
) {
    let afterwards = Afterwards::default();
    let conversation = afterwards.clone();
    let service = router.map_request(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(conversation.clone());
        request.map(Body::new)
    });
    let service = TowerToHyperService::new(service.map_err(|never: Infallible| match never {}));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(app.limits.head_max)
        .max_buf_size(app.limits.head_bytes_max)
        .max_headers(app.limits.headers_max)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = app.closing.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(why) = ended {
        debug!(%why, "a connection ended early");
    }
    if let Some(conversation) = afterwards.take() {
        conversation.await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_connection_too_many_is_told_so_in_whole() {
        let text = std::str::from_utf8(BUSY).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{}", body.len());
        let problem: crate::api::wire::Problem = serde_json::from_str(body).unwrap();
        assert_eq!(problem.status, 503);
    }
}
