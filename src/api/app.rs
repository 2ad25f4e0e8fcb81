//! What every handler has: the backend, the limits, and what they share while the server runs.

use std::{fmt::Display, sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use serde::Serialize;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{
    backend::{Ask, Backend},
    problem::{Answer, Failure},
};
use crate::node::{Request, Response as NodeResponse};

/// The server's bounds.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at a time; one more is told so and closed. At least twice `streams_max`, so that
    /// streams never use up what short requests need.
    pub connections_max: usize,
    /// Open streams at a time: logs, events, stats, sessions, transfers.
    pub streams_max: usize,
    /// The bytes of a request's line and headers together; at least 8192.
    pub head_bytes_max: usize,
    /// A request's headers.
    pub headers_max: usize,
    /// How long a client may take for a request's head, and how long it may keep a connection open
    /// without asking anything.
    pub head_max: Duration,
    /// The bytes of a JSON body.
    pub json_bytes_max: usize,
    /// How long a client may take for a JSON body.
    pub body_max: Duration,
    /// How long a client may send nothing of a tar stream.
    pub transfer_idle: Duration,
    /// How long the node may take for an answer.
    pub node_answer: Duration,
    /// How long requests in flight may take when the server stops.
    pub closing_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 2048,
            streams_max: 1024,
            head_bytes_max: 64 << 10,
            headers_max: 64,
            head_max: Duration::from_secs(30),
            json_bytes_max: 16 << 20,
            body_max: Duration::from_secs(60),
            transfer_idle: Duration::from_secs(60),
            node_answer: Duration::from_secs(30),
            closing_max: Duration::from_secs(5),
        }
    }
}

/// What every handler has.
#[derive(Clone)]
pub(super) struct App {
    pub(super) backend: Backend,
    pub(super) limits: Arc<Limits>,
    pub(super) closing: CancellationToken,
    pub(super) document: Arc<str>,
    streams: Arc<Semaphore>,
}

impl App {
    pub(super) fn new(backend: Backend, limits: Limits, document: Arc<str>) -> Self {
        let streams = Arc::new(Semaphore::new(limits.streams_max));
        let closing = CancellationToken::new();
        Self { backend, limits: Arc::new(limits), closing, document, streams }
    }

    /// Asks the node, and waits for its answer.
    pub(super) async fn ask(&self, request: Request) -> Answer<NodeResponse> {
        let (reply, answer) = oneshot::channel();
        let asked = async {
            let sent = self.backend.asks.send(Ask { request, reply }).await;
            sent.map_err(|_| Failure::NodeGone)?;
            answer.await.map_err(|_| Failure::NodeGone)?.map_err(Failure::Refused)
        };
        let patience = self.limits.node_answer;
        timeout(patience, asked).await.map_err(|_| Failure::NodeSlow(patience.as_secs()))?
    }

    /// Asks the node for something that has no answer but that it is done; returns the last event
    /// before.
    pub(super) async fn tell(&self, request: Request) -> Answer<u64> {
        let event = self.backend.events.last();
        match self.ask(request).await? {
            NodeResponse::Done
            | NodeResponse::Planned(_)
            | NodeResponse::Recorded(_)
            | NodeResponse::Explained(_)
            | NodeResponse::Moves(_) => Ok(event),
        }
    }

    /// A place for a stream, held for as long as it is open.
    pub(super) fn place(&self) -> Answer<OwnedSemaphorePermit> {
        let place = Arc::clone(&self.streams).try_acquire_owned();
        place.map_err(|_| Failure::TooManyStreams(self.limits.streams_max))
    }

    /// How many streams are open.
    pub(super) fn streams_open(&self) -> usize {
        self.limits.streams_max.saturating_sub(self.streams.available_permits())
    }

    /// Keeps the place until the stream is dropped, and ends the stream when the server stops.
    pub(super) fn hold<S: Stream>(
        &self,
        place: OwnedSemaphorePermit,
        stream: S,
    ) -> impl Stream<Item = S::Item> + use<S> {
        let closing = self.closing.clone().cancelled_owned();
        stream
            .map(move |item| {
                let _held = &place;
                item
            })
            .take_until(closing)
    }

    /// Answers with documents, a line each. An error breaks the answer off, so that the client can
    /// tell it from the end.
    pub(super) fn lines<T: Serialize, E: Display>(
        &self,
        place: OwnedSemaphorePermit,
        items: impl Stream<Item = Result<T, E>> + Send + 'static,
    ) -> Response {
        let lines = items.map(|item| match item {
            Ok(item) => serde_json::to_vec(&item).map_err(axum::Error::new).map(|mut line| {
                line.push(b'\n');
                Bytes::from(line)
            }),
            Err(why) => {
                debug!(%why, "a stream broke off");
                Err(axum::Error::new(std::io::Error::other(why.to_string())))
            }
        });
        streamed("application/x-ndjson", Body::from_stream(self.hold(place, lines)))
    }
}

/// An answer with a streamed body of this type.
pub(super) fn streamed(kind: &'static str, body: Body) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static(kind))], body).into_response()
}
