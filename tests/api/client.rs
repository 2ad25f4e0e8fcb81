//! A client of the API, for tests.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::{path::PathBuf, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use fizz::api::wire::{self, frame};
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Method, Request, StatusCode, body::Incoming, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    task::JoinSet,
    time::timeout,
};

/// Longer than anything here may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A client of a socket.
pub(crate) struct Client {
    socket: PathBuf,
    connections: JoinSet<()>,
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|why| panic!("{why}: {:?}", self.body))
    }

    /// That it is a problem of this kind, in full.
    #[track_caller]
    pub(crate) fn is_problem(&self, status: u16, kind: &str) -> wire::Problem {
        assert_eq!(self.headers["content-type"], "application/problem+json", "{:?}", self.body);
        let problem: wire::Problem = serde_json::from_slice(&self.body).unwrap();
        assert_eq!((self.status.as_u16(), problem.status), (status, status), "{problem:?}");
        assert_eq!(problem.kind, format!("urn:fizz:{kind}"), "{problem:?}");
        assert!(
            !problem.title.is_empty() && !problem.detail.is_empty() && !problem.hint.is_empty()
        );
        problem
    }
}

impl Client {
    pub(crate) fn new(socket: PathBuf) -> Self {
        Self { socket, connections: JoinSet::new() }
    }

    pub(crate) async fn connect(&self) -> UnixStream {
        UnixStream::connect(&self.socket).await.unwrap()
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        let io = TokioIo::new(self.connect().await);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        let exchange = async move {
            let response = sender.send_request(request).await.unwrap();
            let (head, body) = response.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            Answer { status: head.status, headers: head.headers, body }
        };
        let both = async { tokio::join!(connection, exchange).1 };
        timeout(PATIENCE, both).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(request(Method::GET, path, None)).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(request(Method::POST, path, Some(body))).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(request(Method::DELETE, path, None)).await
    }

    /// Sends bytes as they are and reads until the server closes.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        let mut answer = Vec::new();
        let talk = async {
            // The server may close before it has read everything: that is what some stories are about.
            drop(stream.write_all(bytes).await);
            drop(stream.read_to_end(&mut answer).await);
        };
        timeout(PATIENCE, talk).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Opens a stream of lines.
    pub(crate) async fn stream(&mut self, request: Request<Full<Bytes>>) -> Lines {
        let io = TokioIo::new(self.connect().await);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        self.connections.spawn(async {
            drop(connection.await);
        });
        let response = timeout(PATIENCE, sender.send_request(request)).await.unwrap().unwrap();
        assert_eq!(response.status(), 200);
        Lines { body: response.into_body(), buffer: Vec::new(), _sender: sender }
    }

    pub(crate) async fn events(&mut self, path: &str, last: Option<u64>) -> Lines {
        let mut request = request(Method::GET, path, None);
        if let Some(last) = last {
            request.headers_mut().insert("last-event-id", last.into());
        }
        self.stream(request).await
    }

    /// Begins a session; the answer instead when there is none.
    pub(crate) async fn session(&mut self, path: &str, body: Option<Value>) -> Talk {
        let io = TokioIo::new(self.connect().await);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        let connection = connection.with_upgrades();
        self.connections.spawn(async {
            drop(connection.await);
        });
        let mut request = request(Method::POST, path, body);
        request.headers_mut().insert("connection", "Upgrade".parse().unwrap());
        request.headers_mut().insert("upgrade", frame::PROTOCOL.parse().unwrap());
        let response = timeout(PATIENCE, sender.send_request(request)).await.unwrap().unwrap();
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let body = response.into_body().collect().await.unwrap().to_bytes();
            panic!("no session: {body:?}");
        }
        Talk(TokioIo::new(hyper::upgrade::on(response).await.unwrap()))
    }

    /// The server is still there, and quick.
    pub(crate) async fn is_well(&self) {
        let answer = timeout(Duration::from_secs(5), self.get("/healthz")).await.unwrap();
        assert_eq!(answer.status, 200);
    }
}

pub(crate) fn request(method: Method, path: &str, body: Option<Value>) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(path).header("host", "fizz");
    if body.is_some() {
        request = request.header("content-type", "application/json");
    }
    let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
    request.body(Full::new(body.into())).unwrap()
}

/// A streamed answer, line by line.
pub(crate) struct Lines {
    body: Incoming,
    buffer: Vec<u8>,
    _sender: hyper::client::conn::http1::SendRequest<Full<Bytes>>,
}

impl Lines {
    /// The next line; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(String::from_utf8(line).unwrap().trim_end().to_owned());
            }
            let frame = timeout(PATIENCE, self.body.frame()).await.unwrap()?;
            if let Ok(data) = frame.ok()?.into_data() {
                self.buffer.extend_from_slice(&data);
            }
        }
    }

    /// The next server-sent event's id, kind and data.
    pub(crate) async fn event(&mut self) -> (u64, String, Value) {
        let (mut id, mut kind, mut data) = (0, String::new(), Value::Null);
        loop {
            let line = self.next().await.expect("the stream goes on");
            match line.split_once(": ") {
                Some(("id", it)) => id = it.parse().unwrap(),
                Some(("event", it)) => kind = it.to_owned(),
                Some(("data", it)) => data = serde_json::from_str(it).unwrap(),
                Some(_) => {}
                None if line.is_empty() && !data.is_null() => return (id, kind, data),
                None => {}
            }
        }
    }
}

/// The client's end of a session.
pub(crate) struct Talk(pub(crate) TokioIo<Upgraded>);

impl Talk {
    pub(crate) async fn say(&mut self, kind: u8, payload: &[u8]) {
        let mut bytes = BytesMut::new();
        bytes.put_u8(kind);
        bytes.put_u32(u32::try_from(payload.len()).unwrap());
        bytes.put_slice(payload);
        self.0.write_all(&bytes).await.unwrap();
        self.0.flush().await.unwrap();
    }

    /// The next frame; `None` at the end.
    pub(crate) async fn hear(&mut self) -> Option<(u8, Vec<u8>)> {
        let heard = async {
            let kind = self.0.read_u8().await.ok()?;
            let length = self.0.read_u32().await.unwrap() as usize;
            assert!(length <= frame::BYTES_MAX, "{length}");
            let mut payload = vec![0; length];
            self.0.read_exact(&mut payload).await.unwrap();
            Some((kind, payload))
        };
        timeout(PATIENCE, heard).await.unwrap()
    }

    /// Everything up to the last frame: standard output, standard error, and that frame.
    pub(crate) async fn rest(&mut self) -> (String, String, (u8, Vec<u8>)) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        loop {
            match self.hear().await.expect("a last frame") {
                (frame::STDOUT, bytes) => out.extend(bytes),
                (frame::STDERR, bytes) => err.extend(bytes),
                last => {
                    assert_eq!(self.hear().await, None, "nothing after the last frame");
                    let text = |bytes| String::from_utf8(bytes).unwrap();
                    return (text(out), text(err), last);
                }
            }
        }
    }

    /// The process's output and status.
    pub(crate) async fn ended(mut self) -> (String, String, i64) {
        let (out, err, (kind, payload)) = self.rest().await;
        assert_eq!(kind, frame::EXIT, "{}", String::from_utf8_lossy(&payload));
        (out, err, i64::from_be_bytes(payload.try_into().unwrap()))
    }

    /// Why the session was ended.
    pub(crate) async fn failed(mut self) -> wire::Problem {
        let (.., (kind, payload)) = self.rest().await;
        assert_eq!(kind, frame::ERROR);
        serde_json::from_slice(&payload).unwrap()
    }
}
