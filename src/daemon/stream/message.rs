//! Whole messages in a stream: postcard documents, each after its length in four bytes.
//!
//! For one reader and one writer, one message after the other. A read or write that is dropped in the
//! middle leaves the stream between two messages, so the stream must go with it.

use std::io;

use serde::{Serialize, de::DeserializeOwned};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use zeroize::Zeroizing;

/// What is asked for at first: more only as it comes.
const READ_BYTES: usize = 64 << 10;

/// Why there is no message.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// The stream has ended properly, and no message has begun.
    #[error("the other side has ended the stream")]
    Ended,
    /// The stream is of no use.
    #[error(transparent)]
    Stream(#[from] io::Error),
    /// More than may be.
    #[error("a message of {bytes} bytes, over the {bytes_max} that may be")]
    TooLong {
        /// How long it is, or says that it is.
        bytes: usize,
        /// How long it may be.
        bytes_max: usize,
    },
    /// Not a message of this kind.
    #[error("a message that makes no sense ({0}): is the other node's fizz of another version?")]
    Damaged(String),
}

/// Sends a message, all the way.
pub async fn write_message(
    stream: &mut (impl AsyncWrite + Unpin + Send),
    message: &(impl Serialize + Sync),
    bytes_max: usize,
) -> Result<(), MessageError> {
    let document = Zeroizing::new(postcard::to_stdvec(message).map_err(damaged)?);
    let bytes = document.len();
    let Some(length) = u32::try_from(bytes).ok().filter(|_| bytes <= bytes_max) else {
        return Err(MessageError::TooLong { bytes, bytes_max });
    };
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(&document).await?;
    Ok(stream.flush().await?)
}

/// Waits for a message, all of which must be used.
pub async fn read_message<Message: DeserializeOwned>(
    stream: &mut (impl AsyncRead + Unpin + Send),
    bytes_max: usize,
) -> Result<Message, MessageError> {
    let mut length = [0; 4];
    let (first, rest) = length.split_at_mut(1);
    if stream.read(first).await? == 0 {
        return Err(MessageError::Ended);
    }
    stream.read_exact(rest).await?;
    let bytes = u32::from_be_bytes(length);
    if bytes_max < bytes as usize {
        return Err(MessageError::TooLong { bytes: bytes as usize, bytes_max });
    }
    let mut document = Zeroizing::new(Vec::with_capacity((bytes as usize).min(READ_BYTES)));
    stream.take(u64::from(bytes)).read_to_end(&mut document).await?;
    if document.len() < bytes as usize {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    match postcard::take_from_bytes(&document).map_err(damaged)? {
        (message, []) => Ok(message),
        (_, rest) => Err(MessageError::Damaged(format!("{} bytes too many", rest.len()))),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to map_err")]
fn damaged(error: postcard::Error) -> MessageError {
    MessageError::Damaged(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn written(message: &(impl Serialize + Sync)) -> Vec<u8> {
        let mut bytes = vec![];
        write_message(&mut bytes, message, 1_000).await.unwrap();
        bytes
    }

    async fn read(mut bytes: &[u8]) -> Result<(u32, String), MessageError> {
        read_message(&mut bytes, 20).await
    }

    #[tokio::test]
    async fn messages_come_one_after_the_other_until_the_stream_ends() {
        let mut bytes = written(&(1, "one")).await;
        assert_eq!(bytes, b"\0\0\0\x05\x02\x03one");
        bytes.extend(written(&(2, "two")).await);
        let mut stream = &bytes[..];
        for expected in [(1, "one".to_owned()), (2, "two".to_owned())] {
            assert_eq!(read_message::<(i32, String)>(&mut stream, 20).await.unwrap(), expected);
        }
        let end = read_message::<(i32, String)>(&mut stream, 20).await.unwrap_err();
        assert!(matches!(end, MessageError::Ended));
    }

    #[tokio::test]
    async fn what_is_too_long_cut_off_or_no_message_is_refused() {
        let mut long = written(&(1_u32, "x".repeat(30))).await;
        let error = read(&long).await.unwrap_err().to_string();
        assert_eq!(error, "a message of 32 bytes, over the 20 that may be");
        long.truncate(4);
        long[0] = 0xff;
        assert!(matches!(read(&long).await, Err(MessageError::TooLong { bytes: 0xff00_0020, .. })));
        let right = written(&(1_u32, "one")).await;
        for length in 1..right.len() {
            let error = read(&right[..length]).await.unwrap_err();
            let cut = matches!(&error, MessageError::Stream(it) if it.kind() == io::ErrorKind::UnexpectedEof);
            assert!(cut, "{length}: {error}");
        }
        for wrong in [&b"\0\0\0\x01\x01"[..], b"\0\0\0\x03\x01\0\0", b"\0\0\0\x02\x01\x02"] {
            assert!(matches!(read(wrong).await, Err(MessageError::Damaged(_))), "{wrong:?}");
        }
        let too_long = write_message(&mut vec![], &vec![0_u8; 9], 9).await;
        assert!(matches!(too_long, Err(MessageError::TooLong { bytes: 10, bytes_max: 9 })));
    }
}
