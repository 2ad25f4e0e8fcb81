//! Requests whose answers are streams of bytes: logs, attach, exec.
//!
//! bollard decodes these itself, keeps a terminal's line in memory until it ends, however long it is,
//! and takes a terminal's control characters for frame headers. Here every buffer has a bound.
//! A connection is driven by whoever reads from it: no task outlives its stream.

use std::path::Path;

use bytes::Bytes;
use futures_util::{
    FutureExt, Stream, StreamExt,
    future::{BoxFuture, Fuse},
    stream,
};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode, body::Incoming, client::conn::http1,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::UnixStream,
};

use super::errors::{Refusal, with_causes};

/// The longest answer that is read as a whole.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

type Driver = Fuse<BoxFuture<'static, Result<(), hyper::Error>>>;

/// A small answer.
pub(super) async fn get(socket: &Path, path: &str) -> Result<Bytes, Refusal> {
    let (response, mut driver) = send(socket, Method::GET, path, Bytes::new(), false).await?;
    collect(response, &mut driver).await
}

/// What an engine says of itself in the heads of its answers.
pub(super) async fn ping(socket: &Path) -> Result<HeaderMap, Refusal> {
    let (response, _) = send(socket, Method::GET, "/_ping", Bytes::new(), false).await?;
    Ok(response.into_parts().0.headers)
}

/// Something is to go; the answer says no more than that it did.
pub(super) async fn delete(socket: &Path, path: &str) -> Result<(), Refusal> {
    let (response, mut driver) = send(socket, Method::DELETE, path, Bytes::new(), false).await?;
    collect(response, &mut driver).await.map(drop)
}

/// An answer as it comes.
pub(super) async fn stream(
    socket: &Path,
    path: &str,
) -> Result<impl Stream<Item = Result<Bytes, Refusal>> + Send + use<>, Refusal> {
    let (response, mut driver) = send(socket, Method::GET, path, Bytes::new(), false).await?;
    let mut body = response.into_body().into_data_stream();
    Ok(stream::poll_fn(move |context| {
        // The body tells how the connection ended.
        let _ = driver.poll_unpin(context);
        body.poll_next_unpin(context)
    })
    .map(|item| item.map_err(|error| silent(&error))))
}

/// A conversation: the connection itself, once the engine has handed it over.
pub(super) async fn upgrade(
    socket: &Path,
    path: &str,
    body: Bytes,
) -> Result<impl AsyncRead + AsyncWrite + Send + Unpin + use<>, Refusal> {
    let (response, mut driver) = send(socket, Method::POST, path, body, true).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(Refusal::said(format!("it answered {} and no stream", response.status())));
    }
    let mut upgraded = std::pin::pin!(hyper::upgrade::on(response));
    let upgraded = loop {
        tokio::select! {
            upgraded = &mut upgraded => break upgraded,
            _ = &mut driver => {}
        }
    };
    Ok(TokioIo::new(upgraded.map_err(|error| silent(&error))?))
}

async fn send(
    socket: &Path,
    method: Method,
    path: &str,
    body: Bytes,
    upgrade: bool,
) -> Result<(Response<Incoming>, Driver), Refusal> {
    let stream = UnixStream::connect(socket).await.map_err(|error| silent(&error))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| silent(&error))?;
    let mut driver = connection.with_upgrades().boxed().fuse();
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("Host", "docker")
        .header("Content-Type", "application/json");
    if upgrade {
        request = request.header("Connection", "Upgrade").header("Upgrade", "tcp");
    }
    let request =
        request.body(Full::new(body)).map_err(|error| Refusal::said(error.to_string()))?;
    let mut answer = std::pin::pin!(sender.send_request(request));
    let response = loop {
        tokio::select! {
            answer = &mut answer => break answer.map_err(|error| silent(&error))?,
            _ = &mut driver => {}
        }
    };
    let status = response.status();
    if status.is_success() || status == StatusCode::SWITCHING_PROTOCOLS {
        return Ok((response, driver));
    }
    let answer = collect(response, &mut driver).await?;
    Err(Refusal::Said { status: status.as_u16(), message: message(&answer) })
}

async fn collect(response: Response<Incoming>, driver: &mut Driver) -> Result<Bytes, Refusal> {
    let mut body = std::pin::pin!(Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect());
    loop {
        tokio::select! {
            body = &mut body => {
                return body.map(|it| it.to_bytes()).map_err(|error| silent(error.as_ref()));
            }
            _ = &mut *driver => {}
        }
    }
}

/// The engine's words in its error document, or the document.
fn message(answer: &[u8]) -> String {
    let document: Option<serde_json::Value> = serde_json::from_slice(answer).ok();
    let words = document.as_ref().and_then(|it| it.get("message")).and_then(|it| it.as_str());
    words.map_or_else(|| String::from_utf8_lossy(answer).trim().to_owned(), str::to_owned)
}

fn silent(error: &dyn std::error::Error) -> Refusal {
    Refusal::Silent(with_causes(error))
}
