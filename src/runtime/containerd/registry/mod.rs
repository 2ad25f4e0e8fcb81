//! A registry of images: the OCI distribution specification 1.1, as far as it is about fetching.
//!
//! containerd 1.6 leaves fetching to its clients. Only registries on this machine are asked without TLS, as
//! with Docker.

mod challenge;
mod web;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use hyper::{
    HeaderMap, Method, StatusCode, Uri,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE},
};
use serde::Deserialize;
use tokio::sync::Mutex;

use self::{
    challenge::Challenge,
    web::{Answer, Question, Web},
};
use super::{
    log::encoded,
    oci::{DOCUMENT_BYTES_MAX, INDEXES, MANIFESTS},
    reference::{Reference, is_loopback},
};
use crate::runtime::{Credentials, RuntimeError, digest::sha256};

/// The longest token and complaint that is read.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// What a registry did instead of giving what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It wants other credentials.
    Unauthorized(String),
    /// It has no such thing.
    Missing,
    /// Anything else.
    Failed(String),
}

impl Fault {
    /// As the error that the caller sees.
    pub(super) fn error(self, reference: &Reference, image: &str) -> RuntimeError {
        match self {
            Self::Unauthorized(why) => RuntimeError::Unauthorized {
                registry: reference.registry.clone(),
                image: image.to_owned(),
                why,
            },
            Self::Missing => RuntimeError::NotFound { what: "image", name: image.to_owned() },
            Self::Failed(why) => RuntimeError::Failed { doing: format!("pull image {image}"), why },
        }
    }
}

/// A document of an image.
pub(super) struct Manifest {
    pub(super) media_type: String,
    pub(super) digest: String,
    pub(super) bytes: Bytes,
}

/// A registry, asked about one repository of it.
pub(super) struct Registry<'a> {
    reference: &'a Reference,
    credentials: Option<Credentials>,
    web: Web,
    /// What was right the last time.
    authorization: Mutex<Option<HeaderValue>>,
}

impl<'a> Registry<'a> {
    pub(super) fn new(reference: &'a Reference, credentials: Option<Credentials>) -> Self {
        let web = Web::new(&reference.registry);
        Self { reference, credentials, web, authorization: Mutex::new(None) }
    }

    /// A manifest or a list of them, by tag or digest.
    pub(super) async fn manifest(&self, version: &str) -> Result<Manifest, Fault> {
        let accept = INDEXES.iter().chain(&MANIFESTS).copied().collect::<Vec<_>>().join(", ");
        let answer = self.get(&format!("manifests/{version}"), &accept).await?;
        let kind = answer.headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
        let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_owned();
        let bytes = answer.whole(DOCUMENT_BYTES_MAX).await.map_err(Fault::Failed)?;
        let digest = sha256(&bytes);
        if version.starts_with("sha256:") && version != digest {
            return Err(Fault::Failed(format!("it gave {digest} for {version}")));
        }
        Ok(Manifest { media_type: kind, digest, bytes })
    }

    /// A layer or a configuration.
    pub(super) async fn blob(&self, digest: &str) -> Result<Answer, Fault> {
        self.get(&format!("blobs/{digest}"), "*/*").await
    }

    async fn get(&self, path: &str, accept: &str) -> Result<Answer, Fault> {
        let scheme = if self.reference.is_on_loopback() { "http" } else { "https" };
        let (host, repository) = (self.reference.host(), &self.reference.repository);
        let uri = format!("{scheme}://{host}/v2/{repository}/{path}");
        let uri: Uri = uri.parse().map_err(|error| Fault::Failed(format!("{uri}: {error}")))?;
        let mut headers = HeaderMap::new();
        let accept = HeaderValue::from_str(accept);
        headers.insert(ACCEPT, accept.map_err(|error| Fault::Failed(error.to_string()))?);
        let mut tried = false;
        loop {
            if let Some(right) = self.authorization.lock().await.clone() {
                headers.insert(AUTHORIZATION, right);
            }
            let question = Question {
                method: Method::GET,
                uri: uri.clone(),
                headers: headers.clone(),
                body: Bytes::new(),
            };
            let answer = self.web.ask(question).await.map_err(Fault::Failed)?;
            // A token may have ended since it was given.
            if answer.status == StatusCode::UNAUTHORIZED && !tried {
                let right = self.authorize(&answer.headers).await?;
                *self.authorization.lock().await = Some(right);
                tried = true;
                continue;
            }
            return accepted(answer).await;
        }
    }

    /// What the registry wants to be told.
    async fn authorize(&self, headers: &HeaderMap) -> Result<HeaderValue, Fault> {
        let all = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|it| it.to_str().ok());
        let challenge = all.filter_map(challenge::parse).next();
        match challenge {
            None => Err(Fault::Unauthorized("it does not say how it wants to be asked".to_owned())),
            Some(Challenge::Basic) => self
                .basic()
                .ok_or_else(|| Fault::Unauthorized("it wants a name and a password".to_owned())),
            Some(Challenge::Bearer { realm, parameters }) => {
                self.token(&realm, parameters.into_iter().collect()).await
            }
        }
    }

    /// A name and a password as a header.
    fn basic(&self) -> Option<HeaderValue> {
        let credentials = self.credentials.as_ref().filter(|it| !it.username.is_empty())?;
        let pair = format!("{}:{}", credentials.username, credentials.password);
        secret(&format!("Basic {}", STANDARD.encode(pair)))
    }

    /// Asks whom the registry trusts for a token.
    async fn token(
        &self,
        realm: &str,
        mut parameters: Vec<(String, String)>,
    ) -> Result<HeaderValue, Fault> {
        if !parameters.iter().any(|(name, _)| name == "scope") {
            let scope = format!("repository:{}:pull", self.reference.repository);
            parameters.push(("scope".to_owned(), scope));
        }
        let host = realm.parse::<Uri>().ok().and_then(|it| it.host().map(str::to_owned));
        let is_safe = realm.starts_with("https://")
            || (self.reference.is_on_loopback() && host.is_some_and(|it| is_loopback(&it)));
        if !is_safe {
            return Err(Fault::Failed(format!("it wants a token of {realm}, which is not safe")));
        }
        let identity = self.credentials.as_ref().map(|it| it.identity_token.clone());
        let question = token_question(realm, parameters, identity, self.basic())?;
        let answer = accepted(self.web.ask(question).await.map_err(Fault::Failed)?).await;
        let answer = answer.map_err(|fault| match fault {
            Fault::Missing => Fault::Failed(format!("{realm} gives no tokens")),
            Fault::Unauthorized(_) | Fault::Failed(_) => fault,
        })?;
        let bytes = answer.whole(ANSWER_BYTES_MAX).await.map_err(Fault::Failed)?;
        let token: Token = serde_json::from_slice(&bytes)
            .map_err(|error| Fault::Failed(format!("{realm} gave no token: {error}")))?;
        let token =
            token.token.or(token.access_token).and_then(|it| secret(&format!("Bearer {it}")));
        token.ok_or_else(|| Fault::Failed(format!("{realm} gave no token")))
    }
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

/// An identity token goes the way of OAuth 2; else it is asked with a name and a password, or as anybody.
fn token_question(
    realm: &str,
    parameters: Vec<(String, String)>,
    identity: Option<String>,
    basic: Option<HeaderValue>,
) -> Result<Question, Fault> {
    let pairs = |pairs: &[(String, String)]| {
        let pairs = pairs.iter().map(|(name, value)| format!("{name}={}", encoded(value)));
        pairs.collect::<Vec<_>>().join("&")
    };
    let uri = |text: &str| text.parse::<Uri>().map_err(|it| Fault::Failed(format!("{text}: {it}")));
    let mut headers = HeaderMap::new();
    if let Some(identity) = identity.filter(|it| !it.is_empty()) {
        let own =
            [("grant_type", "refresh_token"), ("client_id", "fizz"), ("refresh_token", &identity)];
        let own = own.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(CONTENT_TYPE, form);
        let body = pairs(&own.into_iter().chain(parameters).collect::<Vec<_>>()).into();
        return Ok(Question { method: Method::POST, uri: uri(realm)?, headers, body });
    }
    if let Some(basic) = basic {
        headers.insert(AUTHORIZATION, basic);
    }
    let between = if realm.contains('?') { '&' } else { '?' };
    let uri = uri(&format!("{realm}{between}{}", pairs(&parameters)))?;
    Ok(Question { method: Method::GET, uri, headers, body: Bytes::new() })
}

/// A header that no log shows.
fn secret(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// An answer that is what was asked for.
async fn accepted(answer: Answer) -> Result<Answer, Fault> {
    let status = answer.status;
    if status.is_success() {
        return Ok(answer);
    }
    if status == StatusCode::NOT_FOUND {
        return Err(Fault::Missing);
    }
    let said = answer.whole(ANSWER_BYTES_MAX).await.map(|it| complaint(&it)).unwrap_or_default();
    let why = if said.is_empty() { status.to_string() } else { format!("{said} ({status})") };
    Err(match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Fault::Unauthorized(why),
        _ => Fault::Failed(why),
    })
}

/// A registry's words (distribution specification, "Error Codes").
fn complaint(answer: &[u8]) -> String {
    let document: serde_json::Value = serde_json::from_slice(answer).unwrap_or_default();
    let said = document["errors"].as_array().into_iter().flatten();
    let said: Vec<_> =
        said.filter_map(|it| it["message"].as_str().or(it["code"].as_str())).collect();
    said.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(identity: Option<&str>) -> Question {
        let parameters = vec![("scope".to_owned(), "repository:a/b:pull".to_owned())];
        let identity = identity.map(str::to_owned);
        token_question("https://auth/token?x=y", parameters, identity, secret("Basic x")).unwrap()
    }

    #[test]
    fn a_token_is_asked_for_with_a_password_or_with_a_token_that_stands_for_it() {
        let asked = question(None);
        assert_eq!(asked.uri, "https://auth/token?x=y&scope=repository%3Aa/b%3Apull");
        assert_eq!(asked.headers[AUTHORIZATION], "Basic x");
        let asked = question(Some("s+e"));
        assert_eq!((asked.method, asked.headers.get(AUTHORIZATION)), (Method::POST, None));
        let form = "grant_type=refresh_token&client_id=fizz&refresh_token=s%2Be&scope=repository%3Aa/b%3Apull";
        assert_eq!(asked.body, form);
    }

    #[test]
    fn a_registrys_words_are_told() {
        let said = br#"{"errors": [{"code": "TOOMANYREQUESTS", "message": "slow down"}, {"code": "DENIED"}]}"#;
        assert_eq!(complaint(said), "slow down; DENIED");
        assert_eq!(complaint(b"<html>"), "");
    }
}
