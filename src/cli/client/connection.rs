//! One HTTP/1.1 exchange over the Unix socket.
//!
//! A connection carries one request. The connection is polled together with what is awaited on it,
//! so that an exchange needs no task of its own and ends when it is dropped.

use std::{
    future::poll_fn,
    io,
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{
    Request, StatusCode,
    body::{Body, Incoming},
    client::conn::http1::{self, SendRequest},
    upgrade::Upgraded,
};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use crate::cli::error::CliError;

/// A request's body.
pub(in crate::cli) type Sent = UnsyncBoxBody<Bytes, io::Error>;

/// A body that is in memory.
pub(in crate::cli) fn whole(bytes: impl Into<Bytes>) -> Sent {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

type Driver = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

/// An answer whose body is still on its way.
pub(in crate::cli) struct Reply {
    /// The status.
    pub(in crate::cli) status: StatusCode,
    /// `Content-Type`, or nothing.
    pub(in crate::cli) content_type: String,
    response: hyper::Response<Incoming>,
    driver: Option<Driver>,
    // The exchange is over when the sender is dropped.
    _sender: SendRequest<Sent>,
    socket: PathBuf,
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reply({}, {})", self.status, self.content_type)
    }
}

/// Sends a request and waits for the head of the answer.
pub(in crate::cli) async fn exchange(
    socket: &Path,
    request: Request<Sent>,
) -> Result<Reply, CliError> {
    let stream = UnixStream::connect(socket).await.map_err(|why| unreachable(socket, &why))?;
    let lost = |why: hyper::Error| not_a_daemon(socket, &why);
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
    let mut driver: Option<Driver> = Some(Box::pin(connection.with_upgrades()));
    let response = {
        let mut answer = Box::pin(sender.send_request(request));
        poll_fn(|cx| {
            drive(&mut driver, cx);
            answer.as_mut().poll(cx)
        })
        .await
        .map_err(lost)?
    };
    let content_type = response.headers().get(hyper::header::CONTENT_TYPE);
    Ok(Reply {
        status: response.status(),
        content_type: content_type.and_then(|it| it.to_str().ok()).unwrap_or_default().to_owned(),
        response,
        driver,
        _sender: sender,
        socket: socket.to_owned(),
    })
}

/// Moves the connection on. Its failure shows in whatever is awaited on it.
fn drive(driver: &mut Option<Driver>, cx: &mut Context<'_>) {
    if driver.as_mut().is_some_and(|it| it.as_mut().poll(cx).is_ready()) {
        *driver = None;
    }
}

impl Reply {
    /// The values of a header.
    pub(in crate::cli) fn headers(&self, name: &str) -> Vec<String> {
        let values = self.response.headers().get_all(name).iter();
        values.map(|it| String::from_utf8_lossy(it.as_bytes()).into_owned()).collect()
    }

    /// The next part of the body; `None` at its end.
    pub(in crate::cli) async fn chunk(&mut self) -> Result<Option<Bytes>, CliError> {
        loop {
            let frame = poll_fn(|cx| {
                drive(&mut self.driver, cx);
                let body = Pin::new(self.response.body_mut());
                match body.poll_frame(cx) {
                    // The connection may have become ready to give more while it was polled.
                    Poll::Pending => Poll::Pending,
                    ready => ready,
                }
            })
            .await;
            match frame {
                None => return Ok(None),
                Some(Err(why)) => return Err(broken_off(&self.socket, &why)),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// The whole body, if it is at most `bytes_max` long.
    pub(in crate::cli) async fn whole(&mut self, bytes_max: usize) -> Result<Vec<u8>, CliError> {
        let mut all = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if all.len() + chunk.len() > bytes_max {
                return Err(CliError::Daemon {
                    what: format!("the daemon's answer is longer than {bytes_max} bytes"),
                    hint: "ask for less: one project, one service, one container".into(),
                });
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all)
    }

    /// The connection itself, after `101 Switching Protocols`.
    pub(in crate::cli) async fn upgraded(mut self) -> Result<TokioIo<Upgraded>, CliError> {
        let mut upgrade = Box::pin(hyper::upgrade::on(&mut self.response));
        let driver = &mut self.driver;
        let upgraded = poll_fn(|cx| {
            drive(driver, cx);
            upgrade.as_mut().poll(cx)
        })
        .await;
        upgraded.map(TokioIo::new).map_err(|why| not_a_daemon(&self.socket, &why))
    }
}

/// Why nobody answers at the socket, and what to start.
fn unreachable(socket: &Path, why: &io::Error) -> CliError {
    let at = socket.display();
    let start = "start it with `sudo systemctl start fizz` or `sudo fizz daemon`, or name another \
                 socket with `--host unix:///path` or FIZZ_HOST";
    let join = "join the group `fizz` (`sudo usermod -aG fizz \"$USER\"`, then log in again), or use \
                sudo";
    let is = |kind| why.kind() == kind;
    let (what, hint) = if is(io::ErrorKind::NotFound) {
        (format!("the Fizz daemon does not run: there is no socket {at}"), start)
    } else if is(io::ErrorKind::ConnectionRefused) {
        (format!("the Fizz daemon does not run: nobody listens at {at}"), start)
    } else if is(io::ErrorKind::PermissionDenied) {
        (format!("you may not talk to the Fizz daemon: no permission for {at}"), join)
    } else {
        (format!("can't reach the Fizz daemon at {at}: {why}"), start)
    };
    CliError::Daemon { what, hint: hint.to_owned() }
}

/// Something answers, but not as Fizz does.
pub(in crate::cli) fn not_a_daemon(socket: &Path, why: &dyn std::fmt::Display) -> CliError {
    CliError::Daemon {
        what: format!(
            "what answers at {} is not a Fizz daemon, or it broke off: {why}",
            socket.display()
        ),
        hint: "see that `--host` or FIZZ_HOST names Fizz's socket (by default \
               unix:///run/fizz/fizz.sock), and the daemon's log (`journalctl -u fizz`)"
            .into(),
    }
}

fn broken_off(socket: &Path, why: &hyper::Error) -> CliError {
    CliError::Daemon {
        what: format!(
            "the daemon at {} broke off in the middle of an answer: {why}",
            socket.display()
        ),
        hint: "see whether it stopped or restarted: `journalctl -u fizz`".into(),
    }
}
