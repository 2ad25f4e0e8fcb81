//! The engine's framing of two streams on one connection.
//!
//! Docker Engine API, "Stream format" of `ContainerAttach`: a header of eight bytes, the stream's
//! number first and the payload's length last, then the payload. A terminal's stream has none.

use bytes::{Buf, Bytes, BytesMut};

use super::errors::Refusal;
use crate::runtime::StreamKind;

const HEADER_BYTES: usize = 8;

/// Part of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// The frame's stream.
    pub(super) stream: StreamKind,
    /// Its bytes, or some of them.
    pub(super) bytes: Bytes,
    /// Whether the frame begins here.
    pub(super) begins: bool,
}

/// Takes frames apart as their bytes come, keeping no more than a header.
#[derive(Debug)]
pub(super) struct Frames {
    header: BytesMut,
    stream: StreamKind,
    left_bytes: usize,
    begins: bool,
}

impl Frames {
    pub(super) fn new() -> Self {
        let header = BytesMut::with_capacity(HEADER_BYTES);
        Self { header, stream: StreamKind::Stdout, left_bytes: 0, begins: false }
    }

    pub(super) fn take(&mut self, mut bytes: Bytes) -> Result<Vec<Part>, Refusal> {
        let mut parts = Vec::new();
        while !bytes.is_empty() {
            if self.left_bytes == 0 {
                let wanted = (HEADER_BYTES - self.header.len()).min(bytes.len());
                self.header.extend_from_slice(&bytes.split_to(wanted));
                if self.header.len() == HEADER_BYTES {
                    self.begin()?;
                }
                continue;
            }
            let part = bytes.split_to(self.left_bytes.min(bytes.len()));
            self.left_bytes -= part.len();
            parts.push(Part { stream: self.stream, bytes: part, begins: self.begins });
            self.begins = false;
        }
        Ok(parts)
    }

    fn begin(&mut self) -> Result<(), Refusal> {
        let mut header = self.header.split();
        self.stream = match header.get_u32() >> 24 {
            0 | 1 => StreamKind::Stdout,
            // The fourth is the engine's own: an error about the stream.
            2 | 3 => StreamKind::Stderr,
            other => {
                return Err(Refusal::said(format!(
                    "its stream is not understood: frame of kind {other}"
                )));
            }
        };
        self.left_bytes = header.get_u32() as usize;
        self.begins = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_any_cut() {
        let sent = [
            &[1, 0, 0, 0, 0, 0, 0, 3][..],
            b"one",
            &[2, 0, 0, 0, 0, 0, 0, 0],
            &[2, 0, 0, 0, 0, 0, 0, 3],
            b"two",
        ]
        .concat();
        for cut in 0..sent.len() {
            let mut frames = Frames::new();
            let (mut out, mut err, mut begun) = (Vec::new(), Vec::new(), 0);
            for piece in [&sent[..cut], &sent[cut..]] {
                for part in frames.take(Bytes::copy_from_slice(piece)).unwrap() {
                    begun += usize::from(part.begins);
                    match part.stream {
                        StreamKind::Stdout => out.extend(part.bytes),
                        StreamKind::Stderr => err.extend(part.bytes),
                    }
                }
            }
            assert_eq!((&out[..], &err[..], begun), (&b"one"[..], &b"two"[..], 2), "cut at {cut}");
        }
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        assert!(Frames::new().take(Bytes::from_static(b"hello world")).is_err());
    }
}
