//! A session with a process: frames over an upgraded connection (see [`wire::frame`]).

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};

use super::stream::malformed;
use crate::{
    api::wire::{self, frame},
    cli::error::CliError,
};

const HEAD_BYTES: usize = 5;

/// What the daemon says in a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Frame {
    /// Standard output.
    Stdout(Vec<u8>),
    /// Standard error.
    Stderr(Vec<u8>),
    /// The process ended with this status.
    Exit(i64),
    /// It cannot go on.
    Error(String),
}

/// Puts a frame together.
#[must_use]
pub(in crate::cli) fn encode(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(HEAD_BYTES + payload.len());
    bytes.push(kind);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// Takes a frame apart: it and its length, or `None` while it is not whole.
fn decode(bytes: &[u8]) -> Result<Option<(Frame, usize)>, CliError> {
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD_BYTES>() else { return Ok(None) };
    let [kind, length @ ..] = *head;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > frame::BYTES_MAX {
        return Err(malformed("a frame of the session is too long"));
    }
    let Some(payload) = rest.get(..length) else { return Ok(None) };
    let frame = match kind {
        frame::STDOUT => Frame::Stdout(payload.to_vec()),
        frame::STDERR => Frame::Stderr(payload.to_vec()),
        frame::EXIT => match payload.try_into() {
            Ok(status) => Frame::Exit(i64::from_be_bytes(status)),
            Err(_) => return Err(malformed("the session's exit status has no eight bytes")),
        },
        frame::ERROR => Frame::Error(match serde_json::from_slice::<wire::Problem>(payload) {
            Ok(problem) => crate::cli::error::problem_text(&problem),
            Err(_) => String::from_utf8_lossy(payload).into_owned(),
        }),
        _ => return Err(malformed(&format!("the session has a frame of the unknown kind {kind}"))),
    };
    Ok(Some((frame, HEAD_BYTES + length)))
}

/// The daemon's half of a session.
#[derive(Debug)]
pub(in crate::cli) struct Session {
    reader: ReadHalf<TokioIo<Upgraded>>,
    buffer: Vec<u8>,
    writer: Option<SessionWriter>,
}

impl Session {
    pub(super) fn new(io: TokioIo<Upgraded>) -> Self {
        let (reader, writer) = tokio::io::split(io);
        Self { reader, buffer: Vec::new(), writer: Some(SessionWriter(writer)) }
    }

    /// Our half, once.
    pub(in crate::cli) fn take_writer(&mut self) -> Option<SessionWriter> {
        self.writer.take()
    }

    /// The next frame; `None` when the daemon is gone. Nothing is lost when the caller stops waiting.
    pub(in crate::cli) async fn next(&mut self) -> Result<Option<Frame>, CliError> {
        loop {
            if let Some((frame, length)) = decode(&self.buffer)? {
                self.buffer.drain(..length);
                return Ok(Some(frame));
            }
            let read = self.reader.read_buf(&mut self.buffer).await;
            if read.map_err(CliError::io("the session broke off"))? == 0 {
                return Ok(None);
            }
        }
    }
}

/// Our half of a session.
#[derive(Debug)]
pub(in crate::cli) struct SessionWriter(WriteHalf<TokioIo<Upgraded>>);

impl SessionWriter {
    /// Bytes for standard input.
    pub(in crate::cli) async fn stdin(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        for part in bytes.chunks(frame::BYTES_MAX) {
            self.send(frame::STDIN, part).await?;
        }
        Ok(())
    }

    /// Standard input has ended.
    pub(in crate::cli) async fn stdin_end(&mut self) -> Result<(), CliError> {
        self.send(frame::STDIN_END, &[]).await
    }

    /// The terminal has a new size.
    pub(in crate::cli) async fn resize(&mut self, columns: u16, rows: u16) -> Result<(), CliError> {
        let payload = [columns.to_be_bytes(), rows.to_be_bytes()].concat();
        self.send(frame::RESIZE, &payload).await
    }

    async fn send(&mut self, kind: u8, payload: &[u8]) -> Result<(), CliError> {
        let sent = async {
            self.0.write_all(&encode(kind, payload)).await?;
            self.0.flush().await
        };
        sent.await.map_err(CliError::io("the session broke off"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_once_it_is_whole() {
        let bytes = encode(frame::STDOUT, b"hello");
        assert_eq!(bytes, [1, 0, 0, 0, 5, b'h', b'e', b'l', b'l', b'o']);
        for end in 0..bytes.len() {
            assert_eq!(decode(&bytes[..end]).unwrap(), None);
        }
        assert_eq!(decode(&bytes).unwrap(), Some((Frame::Stdout(b"hello".to_vec()), 10)));
    }

    #[test]
    fn the_exit_status_keeps_its_sign() {
        let bytes = encode(frame::EXIT, &(-1_i64).to_be_bytes());
        assert_eq!(decode(&bytes).unwrap(), Some((Frame::Exit(-1), 13)));
        assert!(decode(&encode(frame::EXIT, &[1])).is_err());
    }

    #[test]
    fn a_frame_beyond_the_bound_is_refused_before_it_is_read() {
        let length = u32::try_from(frame::BYTES_MAX + 1).unwrap();
        let mut head = vec![frame::STDOUT];
        head.extend_from_slice(&length.to_be_bytes());
        assert!(decode(&head).is_err());
        assert!(decode(&encode(9, b"")).is_err());
    }

    #[test]
    fn a_problem_in_a_session_reads_as_anywhere() {
        let problem = serde_json::json!({"type": "urn:fizz:x", "title": "gone", "status": 500,
            "detail": "the container ended", "hint": "start it"});
        let bytes = encode(frame::ERROR, problem.to_string().as_bytes());
        let text = "the container ended\n  hint: start it".to_owned();
        assert_eq!(decode(&bytes).unwrap().unwrap().0, Frame::Error(text));
    }
}
