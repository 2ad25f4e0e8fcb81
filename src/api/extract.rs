//! What handlers take out of requests. Every refusal is a [`Failure`], never plain text.

use std::io;

use axum::{
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    http::{HeaderMap, header, request::Parts},
};
use bytes::Bytes;
use futures_util::{StreamExt, stream::BoxStream};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::{app::App, problem::Failure};

/// The content type of JSON.
pub(super) const JSON: &str = "application/json";

/// The content type of tar streams.
pub(super) const TAR: &str = "application/x-tar";

/// The path's parts.
pub(super) struct At<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<App> for At<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let path = Path::from_request_parts(parts, app).await;
        path.map(|Path(it)| Self(it)).map_err(|why| Failure::Address(why.body_text()))
    }
}

/// The query.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<App> for Params<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Failure> {
        let query = Query::try_from_uri(&parts.uri);
        query.map(|Query(it)| Self(it)).map_err(|why| Failure::Address(why.body_text()))
    }
}

/// A JSON body, within bounds of size and time.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<App> for Json<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, app: &App) -> Result<Self, Failure> {
        is_of(request.headers(), JSON)?;
        let limits = &app.limits;
        let whole = Limited::new(request.into_body(), limits.json_bytes_max).collect();
        let bytes = match timeout(limits.body_max, whole).await {
            Err(_) => return Err(Failure::TooSlow(limits.body_max.as_secs())),
            Ok(Err(why)) if why.is::<LengthLimitError>() => {
                return Err(Failure::TooLarge(limits.json_bytes_max));
            }
            Ok(Err(why)) => return Err(Failure::BrokenOff(why.to_string())),
            Ok(Ok(body)) => body.to_bytes(),
        };
        serde_json::from_slice(&bytes).map(Self).map_err(|why| Failure::Body(why.to_string()))
    }
}

/// A tar stream, of any length: it goes through, part by part, as fast as its reader takes it. A
/// client that sends nothing for too long is given up.
pub(super) struct Tar(pub(super) BoxStream<'static, io::Result<Bytes>>);

impl FromRequest<App> for Tar {
    type Rejection = Failure;

    async fn from_request(request: Request, app: &App) -> Result<Self, Failure> {
        is_of(request.headers(), TAR)?;
        let idle = app.limits.transfer_idle;
        let parts = Box::pin(request.into_body().into_data_stream());
        let within = futures_util::stream::unfold(Some(parts), move |parts| async move {
            let mut parts = parts?;
            match timeout(idle, parts.next()).await {
                Ok(Some(Ok(part))) => Some((Ok(part), Some(parts))),
                Ok(Some(Err(why))) => Some((Err(io::Error::other(why)), None)),
                Ok(None) => None,
                Err(_) => Some((Err(io::Error::new(io::ErrorKind::TimedOut, STALLED)), None)),
            }
        });
        Ok(Self(within.boxed()))
    }
}

const STALLED: &str = "the client sent nothing for too long";

/// That the body says it is of this type; parameters such as `charset` do not matter.
fn is_of(headers: &HeaderMap, wanted: &'static str) -> Result<(), Failure> {
    let found = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = found.and_then(|value| value.split(';').next()).map(str::trim);
    if essence.is_some_and(|essence| essence.eq_ignore_ascii_case(wanted)) {
        return Ok(());
    }
    let found = found.map_or_else(|| "nothing".to_owned(), |value| format!("`{value}`"));
    Err(Failure::ContentType { wanted, found })
}
