//! Makes health checks: commands in the container, HTTP requests and TCP connections to it from its
//! node.
//!
//! A check that takes too long has failed. A runtime that does not answer says nothing about the
//! container: the check then has no result, and the node makes it again.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Empty;
use hyper::{Request, header::HOST};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::mpsc, time::timeout};
use tracing::debug;

use super::{commands, tasks::Tasks};
use crate::{
    model::{
        ContainerId, Millis, RuntimeId,
        spec::{HealthTest, HttpCheck},
    },
    node::{Event, ProbeResult},
    runtime::{ExecRequest, Runtime, RuntimeError},
};

/// How many checks are made at a time.
const PROBES_MAX: usize = 32;

/// How long a runtime may take to show that it was the check that hung, and not it.
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// Makes health checks.
#[derive(Clone)]
pub(super) struct Prober {
    runtime: Arc<dyn Runtime>,
    events: mpsc::Sender<Event>,
    tasks: Tasks,
}

/// Whom a check is about.
pub(super) struct Subject {
    /// Which container.
    pub(super) container: ContainerId,
    /// Which, for the runtime.
    pub(super) id: RuntimeId,
    /// Its address in the overlay, if it is there.
    pub(super) address: Option<Ipv4Addr>,
}

/// What a check came to.
enum Outcome {
    Passed(String),
    Failed(String),
}

impl Prober {
    pub(super) fn new(
        runtime: Arc<dyn Runtime>,
        events: mpsc::Sender<Event>,
        tasks: &Tasks,
    ) -> Self {
        Self { runtime, events, tasks: tasks.group(PROBES_MAX) }
    }

    /// Begins a check; its result goes to the node.
    pub(super) fn begin(&self, whom: Subject, test: HealthTest, limit: Millis) {
        let prober = self.clone();
        self.tasks.spawn("probe", async move {
            let container = whom.container;
            let result = prober.probe(&whom, test, limit).await;
            // The node may have stopped listening: the daemon is stopping.
            let _ = prober.events.send(Event::Probed(container, result)).await;
        });
    }

    async fn probe(&self, whom: &Subject, test: HealthTest, limit: Millis) -> Option<ProbeResult> {
        let outcome = match timeout(Duration::from_millis(limit.0), self.check(whom, test)).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) if error.is_silence() => {
                debug!(%error, "health check without a result");
                return None;
            }
            Ok(Err(error)) => Outcome::Failed(error.to_string()),
            Err(_) if self.runtime_answers().await => {
                Outcome::Failed(format!("it took longer than {limit}"))
            }
            Err(_) => return None,
        };
        let (passed, output) = match outcome {
            Outcome::Passed(output) => (true, output),
            Outcome::Failed(output) => (false, output),
        };
        Some(ProbeResult { passed, output: commands::cut(output).into() })
    }

    async fn runtime_answers(&self) -> bool {
        timeout(ANSWER_MAX, self.runtime.info()).await.is_ok_and(|it| it.is_ok())
    }

    async fn check(&self, whom: &Subject, test: HealthTest) -> Result<Outcome, RuntimeError> {
        let id = &whom.id;
        match test {
            HealthTest::Disabled => Ok(Outcome::Passed(String::new())),
            HealthTest::Command(words) => self.command(id, words).await,
            HealthTest::Shell(line) => {
                self.command(id, vec!["/bin/sh".to_owned(), "-c".to_owned(), line]).await
            }
            HealthTest::Http(check) => self.reach(whom, check.port, |to| http(to, &check)).await,
            HealthTest::Tcp(check) => self.reach(whom, check.port, tcp).await,
        }
    }

    async fn command(&self, id: &RuntimeId, command: Vec<String>) -> Result<Outcome, RuntimeError> {
        let request = ExecRequest { command, ..ExecRequest::default() };
        let ended = commands::run(self.runtime.as_ref(), id, request).await?;
        Ok(match ended.status {
            Some(0) => Outcome::Passed(ended.output),
            Some(status) if ended.output.trim().is_empty() => {
                Outcome::Failed(format!("it ended with status {status}"))
            }
            Some(_) => Outcome::Failed(ended.output),
            None => Outcome::Failed("its status is not known".to_owned()),
        })
    }

    async fn reach<F: Future<Output = Outcome>>(
        &self,
        whom: &Subject,
        port: u16,
        check: impl FnOnce(SocketAddr) -> F,
    ) -> Result<Outcome, RuntimeError> {
        let address = match whom.address {
            Some(address) => Some(IpAddr::V4(address)),
            None => self.runtime.address(&whom.id).await?,
        };
        match address {
            Some(address) => Ok(check(SocketAddr::new(address, port)).await),
            None => Ok(Outcome::Failed(
                "the container has no address that its node can reach: give it a network, or check \
                 it by a command"
                    .to_owned(),
            )),
        }
    }
}

async fn tcp(to: SocketAddr) -> Outcome {
    match TcpStream::connect(to).await {
        Ok(_) => Outcome::Passed(format!("{to} accepts connections")),
        Err(error) => Outcome::Failed(format!("{to}: {error}")),
    }
}

/// One request, without following redirects: those are well by themselves.
async fn http(to: SocketAddr, check: &HttpCheck) -> Outcome {
    match status(to, check).await {
        Ok(status) => {
            let well = check.status.map_or((200..400).contains(&status), |it| it == status);
            let said = format!("{to}{} answered with status {status}", check.path);
            if well { Outcome::Passed(said) } else { Outcome::Failed(said) }
        }
        Err(error) => Outcome::Failed(format!("{to}: {error}")),
    }
}

async fn status(
    to: SocketAddr,
    check: &HttpCheck,
) -> Result<u16, Box<dyn std::error::Error + Send + Sync>> {
    let stream = TokioIo::new(TcpStream::connect(to).await?);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
    let path = if check.path.is_empty() { "/" } else { &check.path };
    let host = check.host.clone().unwrap_or_else(|| authority(to));
    let request = Request::get(path).header(HOST, host).header("user-agent", "fizz-health");
    let request = request.body(Empty::<Bytes>::new())?;
    let mut connection = pin!(connection);
    let mut answer = pin!(sender.send_request(request));
    tokio::select! {
        answer = &mut answer => Ok(answer?.status().as_u16()),
        ended = &mut connection => {
            ended?;
            Ok(answer.await?.status().as_u16())
        }
    }
}

fn authority(to: SocketAddr) -> String {
    match to.ip() {
        IpAddr::V4(ip) => format!("{ip}:{}", to.port()),
        IpAddr::V6(ip) => format!("[{ip}]:{}", to.port()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// A server for one request; returns the request and what the check said of the answer.
    async fn served(answer: &'static str, check: HttpCheck) -> (String, bool, String) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap();
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 1024];
            let bytes = stream.read(&mut request).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8(request[..bytes].to_vec()).unwrap()
        };
        let (request, outcome) = tokio::join!(serve, http(to, &check));
        match outcome {
            Outcome::Passed(said) => (request, true, said),
            Outcome::Failed(said) => (request, false, said),
        }
    }

    fn check(status: Option<u16>, host: Option<&str>) -> HttpCheck {
        HttpCheck { port: 0, path: "/up?x=1".to_owned(), status, host: host.map(str::to_owned) }
    }

    #[tokio::test]
    async fn an_answer_from_200_to_399_is_well_and_a_redirect_is_not_followed() {
        let moved =
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
        let (request, passed, said) = served(moved, check(None, Some("shop.example"))).await;
        assert!(passed, "{said}");
        assert!(request.starts_with("GET /up?x=1 HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("host: shop.example\r\n"), "{request}");
        let sick = "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n";
        let (_, passed, said) = served(sick, check(None, None)).await;
        assert!(!passed && said.contains("status 500"), "{said}");
    }

    #[tokio::test]
    async fn where_one_status_is_well_no_other_is() {
        let fine = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        assert!(!served(fine, check(Some(204), None)).await.1);
        assert!(served(fine, check(Some(200), None)).await.1);
    }

    #[tokio::test]
    async fn what_does_not_speak_http_is_not_well() {
        assert!(!served("hello?\r\n", check(None, None)).await.1);
        assert!(!served("", check(None, None)).await.1);
    }

    #[tokio::test]
    async fn a_port_is_well_when_it_accepts() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap();
        assert!(matches!(tcp(to).await, Outcome::Passed(_)));
        drop(listener);
        assert!(matches!(tcp(to).await, Outcome::Failed(_)));
    }
}
