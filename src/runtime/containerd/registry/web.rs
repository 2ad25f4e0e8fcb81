//! Requests by HTTP, with TLS unless the address says otherwise. A connection is driven by whoever reads
//! from it: no task outlives its answer.

use std::{io, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{
    FutureExt, StreamExt,
    future::{BoxFuture, Fuse},
    stream::{self, BoxStream},
};
use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode, Uri,
    body::Incoming,
    client::conn::http1,
    header::{AUTHORIZATION, HOST, HeaderValue, LOCATION, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::OnceCell,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

/// The longest wait for an answer to begin.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// The longest silence within an answer: a registry that hangs is given up.
const SILENCE_MAX: Duration = Duration::from_secs(120);

/// How often an answer may point elsewhere.
const REDIRECTS_MAX: usize = 5;

/// Where Docker and containerd take further certificates of a registry from: `HOST/ca.crt` below.
const CERTIFICATES: [&str; 2] = ["/etc/docker/certs.d", "/etc/containerd/certs.d"];

type Driver = Fuse<BoxFuture<'static, hyper::Result<()>>>;

trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// A client for one registry, and for where that points.
#[derive(Default)]
pub(super) struct Web {
    /// Read once, and only where it is needed.
    tls: OnceCell<Arc<ClientConfig>>,
    /// The registry whose own certificates are taken too.
    registry: String,
}

/// What is asked, and what with.
pub(super) struct Question {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// An answer whose body is still to be read.
pub(in super::super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    body: Incoming,
    driver: Driver,
}

impl Web {
    pub(super) fn new(registry: &str) -> Self {
        Self { tls: OnceCell::new(), registry: registry.to_owned() }
    }

    /// Asks, and goes where it is pointed to. Who we are is told to nobody else.
    pub(super) async fn ask(&self, mut question: Question) -> Result<Answer, String> {
        for _ in 0..=REDIRECTS_MAX {
            let sent = tokio::time::timeout(ANSWER_MAX, self.send(&question)).await;
            let answer = sent
                .unwrap_or_else(|_| Err(format!("no answer in {} s", ANSWER_MAX.as_secs())))
                .map_err(|why| format!("{}: {why}", authority(&question.uri)))?;
            if !answer.status.is_redirection() {
                return Ok(answer);
            }
            let to = answer.headers.get(LOCATION).and_then(|it| it.to_str().ok());
            let to = to.and_then(|it| target(&question.uri, it));
            let to = to.ok_or_else(|| format!("{} points nowhere", authority(&question.uri)))?;
            if question.uri.scheme_str() == Some("https") && to.scheme_str() != Some("https") {
                return Err(format!(
                    "{} points to {to}, which is not safe",
                    authority(&question.uri)
                ));
            }
            if authority(&to) != authority(&question.uri) {
                question.headers.remove(AUTHORIZATION);
            }
            question.uri = to;
        }
        Err(format!("{} points elsewhere again and again", authority(&question.uri)))
    }

    async fn send(&self, question: &Question) -> Result<Answer, String> {
        let stream = self.connect(&question.uri).await?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|it| with_causes(&it))?;
        let mut driver = connection.boxed().fuse();
        let path = question.uri.path_and_query().map_or("/", |it| it.as_str());
        let mut request = Request::builder().method(&question.method).uri(path);
        if let Some(headers) = request.headers_mut() {
            headers.extend(question.headers.clone());
            let host = HeaderValue::from_str(authority(&question.uri));
            headers.insert(HOST, host.map_err(|it| it.to_string())?);
            headers.insert(USER_AGENT, HeaderValue::from_static("fizz"));
        }
        let request = request.body(Full::new(question.body.clone()));
        let request = request.map_err(|error| error.to_string())?;
        let mut answer = std::pin::pin!(sender.send_request(request));
        let answer: Response<Incoming> = loop {
            tokio::select! {
                answer = &mut answer => break answer.map_err(|it| with_causes(&it))?,
                _ = &mut driver => {}
            }
        };
        let (parts, body) = answer.into_parts();
        Ok(Answer { status: parts.status, headers: parts.headers, body, driver })
    }

    async fn connect(&self, uri: &Uri) -> Result<Box<dyn Connection>, String> {
        let is_safe = uri.scheme_str() == Some("https");
        let host = uri.host().ok_or("an address without a host")?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = uri.port_u16().unwrap_or(if is_safe { 443 } else { 80 });
        let stream = TcpStream::connect((host.as_str(), port)).await;
        let stream = stream.map_err(|error| error.to_string())?;
        if !is_safe {
            return Ok(Box::new(stream));
        }
        let tls = self.tls.get_or_try_init(|| async { settings(&self.registry) }).await?;
        let name = ServerName::try_from(host).map_err(|error| error.to_string())?;
        let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await;
        Ok(Box::new(stream.map_err(|error| error.to_string())?))
    }
}

/// Whom this machine trusts, and those whom it trusts for this registry.
fn settings(registry: &str) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    // One that is not understood proves nothing; without any, nobody is trusted.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for directory in CERTIFICATES {
        let file = Path::new(directory).join(registry).join("ca.crt");
        let Ok(certificates) = CertificateDer::pem_file_iter(file) else { continue };
        roots.add_parsable_certificates(certificates.flatten());
    }
    if roots.is_empty() {
        return Err("this node trusts no certificates; install ca-certificates".to_owned());
    }
    let settings = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(Arc::new(settings.with_root_certificates(roots).with_no_client_auth()))
}

impl Answer {
    /// All of it, if it is not longer than that.
    pub(super) async fn whole(self, bytes_max: usize) -> Result<Bytes, String> {
        let mut whole = Vec::new();
        let mut parts = self.parts();
        while let Some(part) = parts.next().await {
            whole.extend(part.map_err(|error| error.to_string())?);
            if whole.len() > bytes_max {
                return Err(format!("its answer is longer than {} MiB", bytes_max >> 20));
            }
        }
        Ok(whole.into())
    }

    /// As it comes.
    pub(in super::super) fn parts(self) -> BoxStream<'static, io::Result<Bytes>> {
        let (mut body, mut driver) = (self.body.into_data_stream(), self.driver);
        let parts = stream::poll_fn(move |context| {
            // The body tells how the connection ended.
            let _ = driver.poll_unpin(context);
            body.poll_next_unpin(context)
        });
        stream::unfold(Some(parts), async |parts| {
            let mut parts = parts?;
            match tokio::time::timeout(SILENCE_MAX, parts.next()).await {
                Ok(None) => None,
                Ok(Some(Ok(bytes))) => Some((Ok(bytes), Some(parts))),
                Ok(Some(Err(error))) => Some((Err(io::Error::other(with_causes(&error))), None)),
                Err(_) => {
                    let why = format!("nothing came for {} s", SILENCE_MAX.as_secs());
                    Some((Err(io::Error::other(why)), None))
                }
            }
        })
        .boxed()
    }
}

/// `host:port`
pub(super) fn authority(uri: &Uri) -> &str {
    uri.authority().map_or("", |it| it.as_str())
}

/// Where an answer points: an address, or a path on the same host.
fn target(from: &Uri, to: &str) -> Option<Uri> {
    let to: Uri = to.parse().ok()?;
    if to.scheme().is_some() {
        return Some(to);
    }
    let mut parts = from.clone().into_parts();
    parts.path_and_query = Some(to.path_and_query()?.clone());
    Uri::from_parts(parts).ok()
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        said = format!("{said}: {error}");
        cause = error.source();
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_points_to_a_path_or_to_another_host() {
        let from = "https://r.example:5000/v2/a/blobs/b?x".parse().unwrap();
        for (to, wanted) in [
            ("/c?d=e", Some("https://r.example:5000/c?d=e")),
            ("https://cdn.example/x", Some("https://cdn.example/x")),
            ("", None),
        ] {
            assert_eq!(target(&from, to).map(|it| it.to_string()).as_deref(), wanted, "{to}");
        }
    }
}
