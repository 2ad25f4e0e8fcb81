//! Blobs in containerd's store.

use std::{
    collections::BTreeMap,
    io,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use futures_util::{
    StreamExt,
    stream::{self, BoxStream, Fuse},
};

use super::{
    connect::{Connection, LAYER_MAX},
    errors::Refusal,
    messages::{BlobInfo, FieldMask, GetBlob, ReadBlob, UpdateBlob, WriteAction, WriteBlob},
    oci::DOCUMENT_BYTES_MAX,
};

/// A document, as a whole.
pub(super) async fn read(connection: &Connection, digest: &str) -> Result<Vec<u8>, Refusal> {
    let call = ReadBlob { digest: digest.to_owned(), offset: 0, size: 0 };
    let mut parts = pin!(connection.listen(call).await?);
    let mut bytes = Vec::new();
    while let Some(part) = parts.next().await {
        bytes.extend(part?.data);
        if bytes.len() > DOCUMENT_BYTES_MAX {
            let bound = DOCUMENT_BYTES_MAX >> 20;
            return Err(Refusal::Said(format!("{digest} is longer than {bound} MiB")));
        }
    }
    Ok(bytes)
}

/// A document as what it says.
pub(super) async fn document<T: serde::de::DeserializeOwned>(
    connection: &Connection,
    digest: &str,
) -> Result<T, Refusal> {
    let bytes = read(connection, digest).await?;
    let read = serde_json::from_slice(&bytes);
    read.map_err(|error| Refusal::Said(format!("{digest} is not understood: {error}")))
}

/// Whether a blob is there.
pub(super) async fn is_there(connection: &Connection, digest: &str) -> Result<bool, Refusal> {
    match connection.ask(GetBlob { digest: digest.to_owned() }).await {
        Ok(_) => Ok(true),
        Err(Refusal::Missing(_)) => Ok(false),
        Err(refusal) => Err(refusal),
    }
}

/// Gives a blob a label, beside those that it has.
pub(super) async fn label(
    connection: &Connection,
    digest: &str,
    name: &str,
    value: &str,
) -> Result<(), Refusal> {
    let labels = [(name.to_owned(), value.to_owned())].into();
    let info = BlobInfo { digest: digest.to_owned(), size: 0, labels };
    let update_mask = Some(FieldMask { paths: vec![format!("labels.{name}")] });
    connection.ask(UpdateBlob { info: Some(info), update_mask }).await.map(drop)
}

/// Keeps a blob as it comes; containerd checks what it is.
pub(super) async fn write(
    connection: &Connection,
    digest: &str,
    size: i64,
    labels: BTreeMap<String, String>,
    lease: &str,
    parts: BoxStream<'static, io::Result<Bytes>>,
) -> Result<(), Refusal> {
    let broken = Arc::new(Mutex::new(None));
    // One that is written twice at once is kept once.
    let name = format!("fizz-{}-{digest}", super::random_id());
    let writing =
        Writing { name, size, parts: parts.fuse(), offset: 0, broken: Arc::clone(&broken) };
    let (expected, total) = (digest.to_owned(), size);
    let steps = stream::unfold(Some(writing), async |writing| {
        let mut writing = writing?;
        let (step, goes_on) = writing.next().await?;
        Some((step, goes_on.then_some(writing)))
    });
    let steps = steps.map(move |step| WriteBlob {
        total,
        expected: expected.clone(),
        labels: labels.clone(),
        ..step
    });
    let written = async {
        let mut answers = pin!(connection.talk(steps.boxed(), Some(lease)).await?);
        while let Some(answer) = answers.next().await {
            answer?;
        }
        Ok(())
    };
    let written = tokio::time::timeout(LAYER_MAX, written).await;
    let broken = broken.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (written, broken) {
        // It is there, whoever was faster.
        (Ok(Err(Refusal::Taken(_))), _) => Ok(()),
        (_, Some(why)) | (Ok(Err(Refusal::NotNow(why))), None) => Err(Refusal::Said(why)),
        (Ok(done), None) => done,
        (Err(_), None) => Err(Refusal::Said(format!("{digest} took too long"))),
    }
}

/// A blob on its way.
struct Writing {
    name: String,
    size: i64,
    parts: Fuse<BoxStream<'static, io::Result<Bytes>>>,
    offset: i64,
    /// Why there is no more of it.
    broken: Arc<Mutex<Option<String>>>,
}

impl Writing {
    /// The next step, and whether it is not the last. Without one the blob is given up.
    async fn next(&mut self) -> Option<(WriteBlob, bool)> {
        let why = match self.parts.next().await {
            Some(Ok(bytes)) => {
                let step = step(WriteAction::Write, &self.name, self.offset, bytes.to_vec());
                self.offset += i64::try_from(step.data.len()).unwrap_or(i64::MAX);
                return Some((step, true));
            }
            None if self.offset == self.size => {
                return Some((step(WriteAction::Commit, &self.name, self.size, Vec::new()), false));
            }
            None => format!("it ended after {} of {} bytes", self.offset, self.size),
            Some(Err(error)) => error.to_string(),
        };
        *self.broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
        None
    }
}

/// One step of writing a blob.
fn step(action: WriteAction, name: &str, offset: i64, data: Vec<u8>) -> WriteBlob {
    WriteBlob {
        action: action.into(),
        name: name.to_owned(),
        total: 0,
        expected: String::new(),
        offset,
        data,
        labels: BTreeMap::new(),
    }
}
