//! One entry of a log: `2026-07-01T12:00:00.123456789Z stdout F text`.

use bytes::Bytes;

use crate::runtime::StreamKind;

/// Where an entry's text ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Ending {
    /// Where its line does.
    Line,
    /// Within a line.
    Part,
    /// Where the process's output does; a line that is open ends too.
    Output,
}

/// What was read from a process at once, up to the end of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Entry {
    pub(in super::super) at_ns: u64,
    pub(in super::super) stream: StreamKind,
    pub(in super::super) ending: Ending,
    pub(in super::super) text: Bytes,
}

/// An entry as it is written, its line's end included.
pub(super) fn written(
    at: jiff::Timestamp,
    stream: StreamKind,
    ending: Ending,
    text: &[u8],
) -> Vec<u8> {
    let stream = match stream {
        StreamKind::Stdout => "stdout",
        StreamKind::Stderr => "stderr",
    };
    let tag = match ending {
        Ending::Line => 'F',
        Ending::Part => 'P',
        Ending::Output => 'E',
    };
    let mut entry = format!("{at:.9} {stream} {tag} ").into_bytes();
    entry.extend_from_slice(text);
    entry.push(b'\n');
    entry
}

/// Reads an entry, without its line's end. What is none, as a machine that lost its power may leave
/// behind, is left out.
pub(super) fn read(entry: &Bytes) -> Option<Entry> {
    let mut words = entry.splitn(4, |byte| *byte == b' ');
    let at = std::str::from_utf8(words.next()?).ok()?.parse::<jiff::Timestamp>().ok()?;
    let stream = match words.next()? {
        b"stdout" => StreamKind::Stdout,
        b"stderr" => StreamKind::Stderr,
        _ => return None,
    };
    let ending = match words.next()? {
        b"F" => Ending::Line,
        b"P" => Ending::Part,
        b"E" => Ending::Output,
        _ => return None,
    };
    let text = entry.slice_ref(words.next()?);
    Some(Entry { at_ns: u64::try_from(at.as_nanosecond()).unwrap_or(0), stream, ending, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let at: jiff::Timestamp = "2026-07-01T12:00:00.000000007Z".parse().unwrap();
        let line = written(at, StreamKind::Stderr, Ending::Part, b"a  b\xff");
        assert!(line.starts_with(b"2026-07-01T12:00:00.000000007Z stderr P a"));
        let entry = read(&Bytes::copy_from_slice(&line[..line.len() - 1])).unwrap();
        assert_eq!(
            (entry.at_ns % 10, entry.stream, entry.ending),
            (7, StreamKind::Stderr, Ending::Part)
        );
        assert_eq!(&entry.text[..], b"a  b\xff");
        assert_eq!(read(&Bytes::from_static(b"\0\0\0")), None);
    }
}
