//! Asking another member's API, over a stream that both have proved themselves on.
//!
//! The connection has no task of its own: it is polled together with what is awaited on it, and ends when
//! that is dropped. So whoever goes away takes with it what was asked on its behalf.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::BodyExt;
use hyper::{
    Request, Response,
    body::{Body as HttpBody, Frame, Incoming, SizeHint},
    client::conn::http1::{self, SendRequest},
    header,
};
use hyper_util::rt::TokioIo;
use tokio::{sync::OwnedSemaphorePermit, time::timeout};

use super::{app::App, backend::MemberStream, wire};
use crate::{
    model::{NodeId, NodeState},
    node::View,
};

/// The name that members call each other by in requests.
pub(super) const HOST: &str = "member";

/// The longest answer that is read whole.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// How long it may take until there is a stream to another member.
const DIAL_MAX: Duration = Duration::from_secs(5);

/// Resolves when it is no use to wait for a member any more, to the reason.
pub(super) type Over = BoxFuture<'static, String>;

type Driver = BoxFuture<'static, ()>;

/// The connection of an exchange.
pub(super) struct Connection {
    driver: Option<Driver>,
    over: Over,
    // The exchange is over when the sender is dropped.
    _sender: SendRequest<Body>,
    _place: Option<OwnedSemaphorePermit>,
}

/// An answer's body as it comes.
pub(super) struct Carried {
    body: Incoming,
    connection: Connection,
}

/// Opens a stream to another member.
pub(super) async fn dial(app: &App, node: NodeId) -> Result<MemberStream, String> {
    let mut over = over(app, node);
    let dialled = tokio::select! {
        biased;
        why = &mut over => return Err(why),
        dialled = timeout(DIAL_MAX, app.backend.cluster.dial(node)) => dialled,
    };
    dialled.unwrap_or_else(|_| Err(format!("no answer within {} s", DIAL_MAX.as_secs())))
}

/// Resolves when a member is lost, or this daemon stops.
pub(super) fn over(app: &App, node: NodeId) -> Over {
    let (mut view, closing) = (app.backend.view.clone(), app.closing.clone());
    let stopping = || "this daemon is stopping".to_owned();
    Box::pin(async move {
        let lost = async {
            loop {
                if let Some(why) = lost(&view.borrow_and_update(), node) {
                    return why;
                }
                if view.changed().await.is_err() {
                    return stopping();
                }
            }
        };
        tokio::select! {
            why = lost => why,
            () = closing.cancelled() => stopping(),
        }
    })
}

/// Why a member will not answer. One that is only suspected may.
fn lost(view: &View, node: NodeId) -> Option<String> {
    let standing = view.cluster.as_ref().and_then(|it| it.standings.get(&node));
    match standing.map(|it| it.state) {
        Some(state @ (NodeState::Dead | NodeState::Left | NodeState::Failed)) => {
            Some(format!("it is {state}"))
        }
        Some(NodeState::Joining | NodeState::Alive | NodeState::Suspicious) | None => None,
    }
}

/// Sends a request and waits for the head of the answer.
pub(super) async fn exchange(
    stream: MemberStream,
    request: Request<Body>,
    over: Over,
    place: Option<OwnedSemaphorePermit>,
) -> Result<(Response<Incoming>, Connection), String> {
    let io = TokioIo::new(stream);
    let (mut sender, driver) = http1::handshake(io).await.map_err(|error| error.to_string())?;
    let driver: Driver = Box::pin(async move {
        // Its failure shows in whatever is awaited on it.
        if let Err(error) = driver.with_upgrades().await {
            tracing::debug!(%error, "a connection to another member failed");
        }
    });
    let mut answer = Box::pin(sender.send_request(request));
    let (mut driver, mut over) = (Some(driver), over);
    let response = poll_fn(|cx| {
        drive(&mut driver, cx);
        if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
            return Poll::Ready(answer.map_err(|error| error.to_string()));
        }
        over.as_mut().poll(cx).map(Err)
    })
    .await?;
    drop(answer);
    Ok((response, Connection { driver, over, _sender: sender, _place: place }))
}

fn drive(driver: &mut Option<Driver>, cx: &mut Context<'_>) {
    if driver.as_mut().is_some_and(|it| it.as_mut().poll(cx).is_ready()) {
        *driver = None;
    }
}

impl Connection {
    /// Moves the connection on while something is awaited on it.
    pub(super) async fn until<T>(&mut self, awaited: impl Future<Output = T>) -> Result<T, String> {
        let mut awaited = std::pin::pin!(awaited);
        poll_fn(|cx| {
            drive(&mut self.driver, cx);
            match awaited.as_mut().poll(cx) {
                Poll::Ready(it) => Poll::Ready(Ok(it)),
                Poll::Pending => self.over.as_mut().poll(cx).map(Err),
            }
        })
        .await
    }

    /// The body of an answer on it.
    pub(super) fn carry(self, body: Incoming) -> Carried {
        Carried { body, connection: self }
    }
}

impl HttpBody for Carried {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let it = &mut *self;
        drive(&mut it.connection.driver, cx);
        match Pin::new(&mut it.body).poll_frame(cx) {
            Poll::Ready(frame) => Poll::Ready(frame.map(|it| it.map_err(io::Error::other))),
            Poll::Pending => {
                it.connection.over.as_mut().poll(cx).map(|why| Some(Err(io::Error::other(why))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A request for something that has no body.
pub(super) fn plain(method: &str, path: &str) -> Result<Request<Body>, String> {
    let request = Request::builder().method(method).uri(path).header(header::HOST, HOST);
    let request = request.header(header::CONNECTION, "close").body(Body::empty());
    request.map_err(|error| error.to_string())
}

/// The problem that an answer tells.
pub(super) async fn problem(status: hyper::StatusCode, body: Carried) -> String {
    let body = http_body_util::Limited::new(body, ANSWER_BYTES_MAX).collect().await;
    let body = body.map(|it| it.to_bytes()).unwrap_or_default();
    let problem: Option<wire::Problem> = serde_json::from_slice(&body).ok();
    problem.map_or_else(|| status.to_string(), |it| it.detail)
}

/// Asks for a document.
pub async fn get_of_member<T: serde::de::DeserializeOwned>(
    stream: MemberStream,
    path: &str,
) -> Result<T, String> {
    let never: Over = Box::pin(std::future::pending());
    let (answer, connection) = exchange(stream, plain("GET", path)?, never, None).await?;
    let status = answer.status();
    let body = connection.carry(answer.into_body());
    if !status.is_success() {
        return Err(problem(status, body).await);
    }
    let body = http_body_util::Limited::new(body, ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(|error| error.to_string())?.to_bytes();
    serde_json::from_slice(&body).map_err(|why| format!("its answer is not understood: {why}"))
}

/// Asks for something that has no body, and of whose answer only matters whether it was done.
pub async fn ask_member(stream: MemberStream, method: &str, path: &str) -> Result<(), String> {
    let never: Over = Box::pin(std::future::pending());
    let (answer, connection) = exchange(stream, plain(method, path)?, never, None).await?;
    let status = answer.status();
    let body = connection.carry(answer.into_body());
    if status.is_success() { Ok(()) } else { Err(problem(status, body).await) }
}
