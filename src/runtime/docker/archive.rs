//! Files into containers and out of them, as tar streams.

use std::sync::{Arc, Mutex, PoisonError};

use bollard::query_parameters::{
    ContainerArchiveInfoOptions, DownloadFromContainerOptions, UploadToContainerOptions,
};
use bytes::Bytes;
use futures_util::{
    Stream, StreamExt,
    stream::{self, BoxStream},
};

use super::{
    connect::{ANSWER_MAX, Connection, Engine},
    errors::{Refusal, about},
    flavour::Flavour,
};
use crate::runtime::{RuntimeError, RuntimeId};

/// Why a stream that was being sent broke off. The engine only sees that it did.
#[derive(Clone, Default)]
pub(super) struct Cause(Arc<Mutex<Option<String>>>);

impl Cause {
    /// The error of what was being sent, if it was that which failed.
    pub(super) fn error(&self, doing: &str) -> Option<RuntimeError> {
        let why = self.0.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some(RuntimeError::Failed { doing: doing.to_owned(), why })
    }
}

/// A stream to send, and why it broke off if it does.
pub(super) fn watched(
    sent: BoxStream<'static, Result<Bytes, std::io::Error>>,
) -> (impl Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static, Cause) {
    let cause = Cause::default();
    let noted = cause.clone();
    let sent = sent.inspect(move |item| {
        if let Err(error) = item {
            *noted.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
        }
    });
    (sent, cause)
}

pub(super) fn copy_out(
    connection: Arc<Connection>,
    id: RuntimeId,
    path: String,
) -> BoxStream<'static, Result<Bytes, RuntimeError>> {
    let begin = async move {
        let engine = connection.engine().await?;
        let options = DownloadFromContainerOptions { path: path.clone() };
        let client = engine.client.clone();
        let bytes = client.download_from_container(&id.0, Some(options));
        let what = format!("{path} of {id}");
        Ok(bytes.map(move |item| {
            item.map_err(|error| engine.error(Refusal::from(error), about("copy", "path", &what)))
        }))
    };
    stream::once(begin)
        .flat_map(|begun: Result<_, RuntimeError>| match begun {
            Ok(bytes) => bytes.boxed(),
            Err(error) => stream::iter([Err(error)]).boxed(),
        })
        .boxed()
}

pub(super) async fn copy_in(
    connection: &Connection,
    id: &RuntimeId,
    directory: &str,
    tar: BoxStream<'static, Result<Bytes, std::io::Error>>,
) -> Result<(), RuntimeError> {
    let engine = connection.engine().await?;
    let options = UploadToContainerOptions {
        path: directory.to_owned(),
        ..UploadToContainerOptions::default()
    };
    match engine.flavour {
        Flavour::Docker => {}
        Flavour::Podman => must_be_there(&engine, id, directory).await?,
    }
    let (tar, cause) = watched(tar);
    let body = bollard::body_try_stream(tar);
    let sent = engine.client.upload_to_container(&id.0, Some(options), body).await;
    sent.map_err(|error| {
        cause.error("read what is to be copied").unwrap_or_else(|| {
            let name = format!("{directory} of {id}");
            engine.error(Refusal::from(error), about("copy into", "directory", name))
        })
    })
}

/// Podman takes what is for a directory that is not there, and says nothing.
async fn must_be_there(
    engine: &Engine,
    id: &RuntimeId,
    directory: &str,
) -> Result<(), RuntimeError> {
    let options = ContainerArchiveInfoOptions { path: directory.to_owned() };
    let call = engine.client.get_container_archive_info(&id.0, Some(options));
    let there = engine.ask(ANSWER_MAX, call).await;
    let name = format!("{directory} of {id}");
    there.map(drop).map_err(|it| engine.error(it, about("copy into", "directory", name)))
}
