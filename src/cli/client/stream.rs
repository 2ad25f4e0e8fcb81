//! Answers that come bit by bit: JSON documents a line each, and server-sent events.

use std::{collections::VecDeque, marker::PhantomData};

use serde::de::DeserializeOwned;

use super::connection::Reply;
use crate::{api::wire, cli::error::CliError};

/// The longest line that is taken: a log line of a container may be long, but not endless.
const LINE_BYTES_MAX: usize = 16 << 20;

/// Cuts bytes into lines as they come.
#[derive(Debug, Default)]
pub(in crate::cli) struct LineBuffer {
    partial: Vec<u8>,
    ready: VecDeque<Vec<u8>>,
}

impl LineBuffer {
    /// Takes bytes; false when a line grows too long.
    pub(in crate::cli) fn push(&mut self, bytes: &[u8]) -> bool {
        let mut parts = bytes.split(|byte| *byte == b'\n');
        self.partial.extend_from_slice(parts.next().unwrap_or_default());
        for part in parts {
            self.ready.push_back(std::mem::replace(&mut self.partial, part.to_vec()));
        }
        self.partial.len() <= LINE_BYTES_MAX
    }

    /// The next whole line, without its end.
    pub(in crate::cli) fn pop(&mut self) -> Option<Vec<u8>> {
        let mut line = self.ready.pop_front()?;
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Some(line)
    }

    /// What is left when there is no more.
    pub(in crate::cli) fn rest(&mut self) -> Option<Vec<u8>> {
        let rest = std::mem::take(&mut self.partial);
        (!rest.is_empty()).then_some(rest)
    }
}

/// JSON documents, a line each.
#[derive(Debug)]
pub(in crate::cli) struct Lines<T> {
    reply: Reply,
    buffer: LineBuffer,
    kind: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Lines<T> {
    /// Reads the body of an answer.
    #[must_use]
    pub(in crate::cli) fn new(reply: Reply) -> Self {
        Self { reply, buffer: LineBuffer::default(), kind: PhantomData }
    }

    /// The next document; `None` at the end. Nothing is lost when the caller stops waiting.
    pub(in crate::cli) async fn next(&mut self) -> Result<Option<T>, CliError> {
        loop {
            if let Some(next) = self.ready()? {
                return Ok(Some(next));
            }
            match self.reply.chunk().await? {
                Some(chunk) if self.buffer.push(&chunk) => {}
                Some(_) => return Err(malformed("a line is too long")),
                None => return self.buffer.rest().map(|line| document(&line)).transpose(),
            }
        }
    }

    /// The next document, if it has arrived already.
    pub(in crate::cli) fn ready(&mut self) -> Result<Option<T>, CliError> {
        while let Some(line) = self.buffer.pop() {
            if !line.is_empty() {
                return document(&line).map(Some);
            }
        }
        Ok(None)
    }
}

fn document<T: DeserializeOwned>(line: &[u8]) -> Result<T, CliError> {
    serde_json::from_slice(line).map_err(|why| malformed(&why.to_string()))
}

/// The daemon speaks another dialect.
pub(in crate::cli) fn malformed(why: &str) -> CliError {
    CliError::Daemon {
        what: format!("the daemon's answer can't be understood: {why}"),
        hint: "compare both versions with `fizz version`; they should be the same".into(),
    }
}

/// Cuts a stream of server-sent events (HTML Living Standard, 9.2) into their data.
#[derive(Debug, Default)]
pub(in crate::cli) struct SseParser {
    lines: LineBuffer,
    data: String,
}

impl SseParser {
    /// Takes bytes.
    pub(in crate::cli) fn push(&mut self, bytes: &[u8]) -> bool {
        self.lines.push(bytes)
    }

    /// The data of the next whole event. Our data carries its own id and kind.
    pub(in crate::cli) fn pop(&mut self) -> Option<String> {
        while let Some(line) = self.lines.pop() {
            let line = String::from_utf8_lossy(&line);
            if line.is_empty() && !self.data.is_empty() {
                return Some(std::mem::take(&mut self.data));
            }
            if let Some(data) = line.strip_prefix("data:") {
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                self.data.push_str(data.strip_prefix(' ').unwrap_or(data));
            }
        }
        None
    }
}

/// The next event of one connection; `None` when the connection ended.
pub(super) async fn next_event(
    reply: &mut Reply,
    parser: &mut SseParser,
) -> Result<Option<wire::Event>, CliError> {
    loop {
        if let Some(data) = parser.pop() {
            return document(data.as_bytes()).map(Some);
        }
        match reply.chunk().await? {
            Some(chunk) if parser.push(&chunk) => {}
            Some(_) => return Err(malformed("an event is too long")),
            None => return Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_however_the_bytes_are_cut() {
        let mut buffer = LineBuffer::default();
        let mut lines = Vec::new();
        for byte in b"{\"a\":1}\n\r\n{\"b\":2}\r\nrest" {
            assert!(buffer.push(&[*byte]));
            lines.extend(buffer.pop());
        }
        assert_eq!(lines, [b"{\"a\":1}".to_vec(), b"".to_vec(), b"{\"b\":2}".to_vec()]);
        assert_eq!(buffer.rest(), Some(b"rest".to_vec()));
        assert_eq!(buffer.rest(), None);
    }

    #[test]
    fn an_event_ends_at_the_empty_line_and_comments_are_skipped() {
        let mut parser = SseParser::default();
        parser.push(b": keep-alive\n\nid: 7\nevent: container.state\ndata: {\"id\"");
        assert_eq!(parser.pop(), None);
        parser.push(b":7}\ndata: more\n\ndata:x\n\n");
        assert_eq!(parser.pop().as_deref(), Some("{\"id\":7}\nmore"));
        assert_eq!(parser.pop().as_deref(), Some("x"));
        assert_eq!(parser.pop(), None);
    }
}
