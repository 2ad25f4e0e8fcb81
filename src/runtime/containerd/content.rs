//! Blobs in containerd's store.

use std::{collections::BTreeMap, pin::pin};

use futures_util::{StreamExt, stream};

use super::{
    connect::Connection,
    errors::Refusal,
    messages::{BlobInfo, FieldMask, GetBlob, ReadBlob, UpdateBlob, WriteAction, WriteBlob},
    oci::DOCUMENT_BYTES_MAX,
};

/// How much of a blob is sent at once.
pub(super) const PART_BYTES: usize = 1 << 20;

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

/// Whether a blob is there, and with what labels.
pub(super) async fn info(
    connection: &Connection,
    digest: &str,
) -> Result<Option<BlobInfo>, Refusal> {
    match connection.ask(GetBlob { digest: digest.to_owned() }).await {
        Ok(answer) => Ok(answer.info),
        Err(Refusal::Missing(_)) => Ok(None),
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

/// Keeps a document.
pub(super) async fn write(
    connection: &Connection,
    digest: &str,
    bytes: &[u8],
    labels: BTreeMap<String, String>,
    lease: &str,
) -> Result<(), Refusal> {
    let size = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
    let name = format!("fizz-{digest}");
    let mut steps: Vec<WriteBlob> = Vec::new();
    let mut offset = 0;
    for part in bytes.chunks(PART_BYTES) {
        steps.push(step(WriteAction::Write, &name, offset, part.to_vec()));
        offset += i64::try_from(part.len()).unwrap_or(i64::MAX);
    }
    let end = step(WriteAction::Commit, &name, size, Vec::new());
    steps.push(WriteBlob { total: size, expected: digest.to_owned(), labels, ..end });
    let mut answers = pin!(connection.talk(stream::iter(steps).boxed(), Some(lease)).await?);
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(_) => {}
            Err(Refusal::Taken(_)) => return Ok(()),
            Err(refusal) => return Err(refusal),
        }
    }
    Ok(())
}

/// One step of writing a blob.
pub(super) fn step(action: WriteAction, name: &str, offset: i64, data: Vec<u8>) -> WriteBlob {
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
