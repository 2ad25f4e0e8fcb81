//! A container's output, line by line.
//!
//! The engine keeps output in messages of at most 16 KiB, each with its time before it, and a longer
//! line as several of them. They are put together again up to [`LINE_BYTES_MAX`]; what is longer is
//! cut into lines of that length.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::{
    Stream, StreamExt,
    stream::{self, BoxStream},
};

use super::{
    connect::{ANSWER_MAX, Connection, LIBPOD},
    containers,
    errors::{Refusal, about},
    flavour::Flavour,
    frames::{Frames, Part},
    timestamps, wire,
};
use crate::runtime::{LogLine, LogsRequest, RuntimeError, RuntimeId, StreamKind};

/// The longest line that is not cut.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// The longest message that the engine keeps: where a terminal's line goes on after one, a time is
/// written between its two parts.
const MESSAGE_BYTES_MAX: usize = 16 * 1024;

/// `2026-07-01T12:00:00.123456789Z ` as the engine always writes it, space included.
const STAMP_BYTES: usize = 31;

/// The longest time that is still one: with an offset in place of `Z`.
const STAMP_BYTES_MAX: usize = 40;

pub(super) fn logs(
    connection: Arc<Connection>,
    id: RuntimeId,
    request: LogsRequest,
) -> BoxStream<'static, Result<LogLine, RuntimeError>> {
    let begin = async move {
        let engine = connection.engine().await?;
        let error = {
            let (engine, id) = (engine.clone(), id.clone());
            move |refusal| engine.error(refusal, about("read logs of", "container", &*id.0))
        };
        let container = containers::inspect(&engine, &id.0).await.map_err(&error)?;
        let tty = container.config.and_then(|it| it.tty).unwrap_or(false);
        let (base, framed) = match engine.flavour {
            Flavour::Docker => (format!("/v{}", engine.api), !tty),
            // Its own API frames a terminal's output too: it cuts lines wherever it likes, with a time before
            // each part, which could not be told from the text.
            Flavour::Podman => (LIBPOD.to_owned(), true),
        };
        let path = format!("{base}/containers/{id}/logs?{}", query(request));
        let answer = tokio::time::timeout(ANSWER_MAX, wire::stream(&engine.socket, &path)).await;
        let answer = answer.unwrap_or_else(|_| Err(Refusal::Silent("no answer to logs".into())));
        let lines = lines(answer.map_err(&error)?, Reader::new(tty, framed));
        Ok(lines.map(move |line| line.map_err(&error)))
    };
    stream::once(begin)
        .flat_map(|begun: Result<_, RuntimeError>| match begun {
            Ok(lines) => lines.boxed(),
            Err(error) => stream::iter([Err(error)]).boxed(),
        })
        .boxed()
}

fn query(request: LogsRequest) -> String {
    let mut query = format!("stdout=1&stderr=1&timestamps=1&follow={}", u8::from(request.follow));
    if let Some(tail) = request.tail {
        query.push_str(&format!("&tail={tail}"));
    }
    if let Some(since) = request.since {
        query.push_str(&format!("&since={}", timestamps::query(since)));
    }
    if let Some(until) = request.until {
        query.push_str(&format!("&until={}", timestamps::query(until)));
    }
    query
}

/// Bytes to lines. An error is the last item.
fn lines(
    bytes: impl Stream<Item = Result<Bytes, Refusal>> + Send,
    reader: Reader,
) -> impl Stream<Item = Result<LogLine, Refusal>> + Send {
    let bytes = bytes.map(Some).chain(stream::iter([None]));
    bytes
        .scan(Some(reader), |reader, item| {
            // Nothing is read after an error.
            let Some(mut lines) = reader.take() else { return std::future::ready(None) };
            let read = match item {
                Some(Ok(bytes)) => lines.take(bytes),
                Some(Err(refusal)) => Err(refusal),
                None => lines.end(),
            };
            let items = match read {
                Ok(found) => {
                    *reader = Some(lines);
                    found.into_iter().map(Ok).collect()
                }
                Err(refusal) => {
                    let mut found: Vec<_> =
                        lines.end().unwrap_or_default().into_iter().map(Ok).collect();
                    found.push(Err(refusal));
                    found
                }
            };
            std::future::ready(Some(items))
        })
        .flat_map(stream::iter)
}

/// Puts messages together to lines.
struct Reader {
    frames: Option<Frames>,
    out: Message,
    err: Message,
}

/// One stream's line under way.
struct Message {
    stream: StreamKind,
    /// A terminal's: lines end with a carriage return before the line feed.
    tty: bool,
    /// Whether frames tell where a message begins.
    framed: bool,
    /// Bytes that have not been understood yet: part of a time.
    waiting: BytesMut,
    in_stamp: bool,
    at_ns: u64,
    /// Bytes of the message so far, without its time.
    message_bytes: usize,
    line: BytesMut,
}

impl Reader {
    fn new(tty: bool, framed: bool) -> Self {
        Self {
            frames: framed.then(Frames::new),
            out: Message::new(StreamKind::Stdout, tty, framed),
            err: Message::new(StreamKind::Stderr, tty, framed),
        }
    }

    fn take(&mut self, bytes: Bytes) -> Result<Vec<LogLine>, Refusal> {
        let mut lines = Vec::new();
        match &mut self.frames {
            None => self.out.take(&bytes, &mut lines)?,
            Some(frames) => {
                for Part { stream, bytes, begins } in frames.take(bytes)? {
                    let message = match stream {
                        StreamKind::Stdout => &mut self.out,
                        StreamKind::Stderr => &mut self.err,
                    };
                    if begins {
                        message.begin();
                    }
                    message.take(&bytes, &mut lines)?;
                }
            }
        }
        Ok(lines)
    }

    /// What is left when the stream ends, as lines without an end.
    fn end(&mut self) -> Result<Vec<LogLine>, Refusal> {
        let mut lines = Vec::new();
        for message in [&mut self.out, &mut self.err] {
            let waiting = message.waiting.split();
            if !message.in_stamp {
                message.line.extend_from_slice(&waiting);
            }
            if !message.line.is_empty() {
                message.emit(&mut lines);
            }
        }
        Ok(lines)
    }
}

impl Message {
    fn new(stream: StreamKind, tty: bool, framed: bool) -> Self {
        let (waiting, line) = (BytesMut::new(), BytesMut::new());
        Self { stream, tty, framed, waiting, in_stamp: true, at_ns: 0, message_bytes: 0, line }
    }

    fn begin(&mut self) {
        self.in_stamp = true;
        self.message_bytes = 0;
        self.waiting.clear();
    }

    fn take(&mut self, bytes: &[u8], lines: &mut Vec<LogLine>) -> Result<(), Refusal> {
        self.waiting.extend_from_slice(bytes);
        while !self.waiting.is_empty() {
            if self.in_stamp {
                if !self.stamp()? {
                    return Ok(());
                }
                continue;
            }
            if !self.framed && self.message_bytes == MESSAGE_BYTES_MAX {
                let next = &self.waiting[..self.waiting.len().min(STAMP_BYTES)];
                let could_be =
                    next.iter().zip(b"0000-00-00T00:00:00.000000000Z ").all(|(byte, form)| {
                        if form.is_ascii_digit() { byte.is_ascii_digit() } else { byte == form }
                    });
                if could_be && next.len() < STAMP_BYTES {
                    return Ok(());
                }
                if could_be {
                    self.begin_message();
                    continue;
                }
            }
            self.text(lines);
        }
        Ok(())
    }

    /// A terminal's next message begins where its bytes are.
    fn begin_message(&mut self) {
        self.in_stamp = true;
        self.message_bytes = 0;
    }

    /// Reads a message's time; false when it is not all there.
    fn stamp(&mut self) -> Result<bool, Refusal> {
        let Some(space) = self.waiting.iter().position(|byte| *byte == b' ') else {
            if self.waiting.len() > STAMP_BYTES_MAX {
                return Err(Refusal::said("its log is not understood: a message without a time"));
            }
            return Ok(false);
        };
        let stamp = self.waiting.split_to(space + 1);
        let at_ns = std::str::from_utf8(&stamp[..space]).ok().and_then(timestamps::nanos);
        let at_ns = at_ns.ok_or_else(|| {
            let text = String::from_utf8_lossy(&stamp).into_owned();
            Refusal::said(format!("its log is not understood: `{text}` is no time"))
        })?;
        // A line has the time of its first message.
        if self.line.is_empty() {
            self.at_ns = at_ns;
        }
        self.in_stamp = false;
        Ok(true)
    }

    /// Reads text up to the line's end, the longest message or line, or as far as it is there.
    fn text(&mut self, lines: &mut Vec<LogLine>) {
        let mut limit = self.waiting.len().min(LINE_BYTES_MAX - self.line.len());
        if !self.framed && self.message_bytes < MESSAGE_BYTES_MAX {
            limit = limit.min(MESSAGE_BYTES_MAX - self.message_bytes);
        }
        let end = self.waiting[..limit].iter().position(|byte| *byte == b'\n');
        let text = self.waiting.split_to(end.unwrap_or(limit));
        self.message_bytes += text.len();
        self.line.extend_from_slice(&text);
        if end.is_some() {
            let _newline = self.waiting.split_to(1);
            if !self.framed {
                self.begin_message();
            }
            self.emit(lines);
        } else if self.line.len() == LINE_BYTES_MAX {
            self.emit(lines);
        }
    }

    fn emit(&mut self, lines: &mut Vec<LogLine>) {
        let mut line = self.line.split().freeze();
        if self.tty && line.ends_with(b"\r") {
            line.truncate(line.len() - 1);
        }
        lines.push(LogLine { stream: self.stream, at_ns: self.at_ns, line });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: &str = "2024-02-29T12:34:56.123456789Z ";
    const AT_NS: u64 = 1_709_210_096_123_456_789;

    fn frame(stream: u8, text: &[u8]) -> Vec<u8> {
        let length = u32::try_from(STAMP.len() + text.len()).unwrap().to_be_bytes();
        [&[stream, 0, 0, 0][..], &length, STAMP.as_bytes(), text].concat()
    }

    fn read(tty: bool, sent: &[u8], piece: usize) -> Vec<LogLine> {
        let mut reader = Reader::new(tty, !tty);
        let mut lines = Vec::new();
        for piece in sent.chunks(piece) {
            lines.extend(reader.take(Bytes::copy_from_slice(piece)).unwrap());
        }
        lines.extend(reader.end().unwrap());
        lines
    }

    #[test]
    fn lines_of_two_streams_are_told_apart_however_they_come() {
        let sent =
            [frame(1, b"out\n"), frame(2, b"err\n"), frame(1, b"\n"), frame(1, b"open")].concat();
        for piece in [1, 3, 7, 1000] {
            let lines = read(false, &sent, piece);
            let seen: Vec<_> = lines.iter().map(|it| (it.stream, it.at_ns, &it.line[..])).collect();
            use StreamKind::{Stderr, Stdout};
            let wanted: [(_, _, &[u8]); 4] = [
                (Stdout, AT_NS, b"out"),
                (Stderr, AT_NS, b"err"),
                (Stdout, AT_NS, b""),
                (Stdout, AT_NS, b"open"),
            ];
            assert_eq!(seen, wanted, "pieces of {piece}");
        }
    }

    #[test]
    fn a_line_of_several_messages_is_one_line_up_to_the_bound() {
        let long = vec![b'x'; MESSAGE_BYTES_MAX];
        let sent = [frame(1, &long), frame(1, &long), frame(1, b"end\n")].concat();
        let lines = read(false, &sent, 4096);
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].line.len(), 2 * MESSAGE_BYTES_MAX + 3);
        let sent = [vec![frame(1, &long); 9].concat(), frame(1, b"end\n")].concat();
        let lengths: Vec<_> = read(false, &sent, 4096).iter().map(|it| it.line.len()).collect();
        assert_eq!(lengths, [LINE_BYTES_MAX, LINE_BYTES_MAX, MESSAGE_BYTES_MAX + 3]);
    }

    #[test]
    fn a_terminals_line_loses_the_times_within_it() {
        let long = vec![b'x'; MESSAGE_BYTES_MAX];
        let stamp = STAMP.as_bytes();
        let sent = [stamp, b"hi\r\n", stamp, &long, stamp, b"end\r\n", stamp, b"\r\n"].concat();
        for piece in [1, 5, 4096, 100_000] {
            let lines = read(true, &sent, piece);
            let lengths: Vec<_> = lines.iter().map(|it| it.line.len()).collect();
            assert_eq!(lengths, [2, MESSAGE_BYTES_MAX + 3, 0], "pieces of {piece}");
        }
    }

    #[test]
    fn a_terminal_that_never_ends_a_line_is_cut() {
        let mut sent = STAMP.as_bytes().to_vec();
        sent.extend(vec![b'y'; 3 * LINE_BYTES_MAX]);
        let lengths: Vec<_> = read(true, &sent, 1000).iter().map(|it| it.line.len()).collect();
        assert_eq!(lengths, [LINE_BYTES_MAX; 3]);
    }

    #[test]
    fn what_is_no_log_is_refused() {
        assert!(Reader::new(true, false).take(Bytes::from(vec![b'a'; 100])).is_err());
        assert!(Reader::new(true, false).take(Bytes::from_static(b"not-a-time x")).is_err());
    }
}
