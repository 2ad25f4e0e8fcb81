//! `/v1/containers/{id}/archive`: files in and out of containers, as tar streams.

use axum::{body::Body, extract::State, http::StatusCode, response::Response};
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::api::{
    app::{App, streamed},
    extract::{At, Params, TAR, Tar},
    lookup,
    problem::{Answer, Failure},
};

/// Where in the container.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Place {
    /// The path; for unpacking, a directory.
    path: String,
}

pub(super) async fn get(
    State(app): State<App>,
    At(id): At<String>,
    Params(at): Params<Place>,
) -> Answer<Response> {
    let place = app.place()?;
    let view = app.backend.now();
    let id = lookup::runtime_id(&view, &*lookup::container(&view, &id)?)?;
    let mut parts = app.backend.runtime.copy_out(&id, &at.path);
    // The first part tells whether there is anything: until then an error can still be an answer.
    let first = parts.next().await.transpose()?;
    let parts = stream::iter(first.map(Ok)).chain(parts);
    Ok(streamed(TAR, Body::from_stream(app.hold(place, parts))))
}

pub(super) async fn put(
    State(app): State<App>,
    At(id): At<String>,
    Params(at): Params<Place>,
    Tar(tar): Tar,
) -> Answer<StatusCode> {
    let _place = app.place()?;
    let view = app.backend.now();
    let id = lookup::runtime_id(&view, &*lookup::container(&view, &id)?)?;
    tokio::select! {
        unpacked = app.backend.runtime.copy_in(&id, &at.path, tar) => unpacked?,
        () = app.closing.cancelled() => return Err(Failure::Closing),
    }
    Ok(StatusCode::NO_CONTENT)
}
