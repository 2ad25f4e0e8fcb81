//! The frames of a session on the wire (see [`wire::frame`](super::wire::frame)).
//!
//! A frame's length is checked before anything is put aside for it.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio_util::codec::Decoder;

use super::wire::frame;

/// Kind and length.
const HEAD_BYTES: usize = 5;

/// What a client says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ClientFrame {
    /// Bytes for standard input.
    Stdin(Bytes),
    /// The terminal has this many columns and rows.
    Resize(u16, u16),
    /// Standard input has ended.
    StdinEnd,
}

/// A frame that no client of ours sends.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    /// Of a kind that clients do not send.
    #[error("a frame of kind {0}, which clients do not send")]
    Kind(u8),
    /// Longer than any may be.
    #[error("a frame of {0} bytes, and {max} is the most", max = frame::BYTES_MAX)]
    Length(usize),
    /// Of a length that its kind does not have.
    #[error("a frame of kind {0} with {1} bytes")]
    Shape(u8, usize),
    /// The connection.
    #[error("the connection failed: {0}")]
    Io(#[from] std::io::Error),
}

/// Reads a client's frames.
#[derive(Debug, Default)]
pub(super) struct ClientFrames;

impl Decoder for ClientFrames {
    type Item = ClientFrame;
    type Error = FrameError;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<ClientFrame>, FrameError> {
        let Some([kind, length @ ..]) = buffer.first_chunk::<HEAD_BYTES>().copied() else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        match (kind, length) {
            (frame::STDIN, 0..=frame::BYTES_MAX) | (frame::RESIZE, 4) | (frame::STDIN_END, 0) => {}
            (frame::STDIN, _) => return Err(FrameError::Length(length)),
            (frame::RESIZE | frame::STDIN_END, _) => return Err(FrameError::Shape(kind, length)),
            _ => return Err(FrameError::Kind(kind)),
        }
        if buffer.len() < HEAD_BYTES + length {
            buffer.reserve(HEAD_BYTES + length - buffer.len());
            return Ok(None);
        }
        buffer.advance(HEAD_BYTES);
        let mut payload = buffer.split_to(length).freeze();
        Ok(Some(match kind {
            frame::RESIZE => ClientFrame::Resize(payload.get_u16(), payload.get_u16()),
            frame::STDIN_END => ClientFrame::StdinEnd,
            _ => ClientFrame::Stdin(payload),
        }))
    }
}

/// Puts one of the daemon's frames together; `payload` is not longer than [`frame::BYTES_MAX`].
pub(super) fn encode(kind: u8, payload: &[u8]) -> Bytes {
    debug_assert!(payload.len() <= frame::BYTES_MAX, "a frame is cut before it is encoded");
    let mut bytes = BytesMut::with_capacity(HEAD_BYTES + payload.len());
    bytes.put_u8(kind);
    bytes.put_u32(u32::try_from(payload.len()).unwrap_or(u32::MAX));
    bytes.put_slice(payload);
    bytes.freeze()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames() -> impl Strategy<Value = Vec<ClientFrame>> {
        let bytes = proptest::collection::vec(any::<u8>(), 0..300);
        let one = prop_oneof![
            bytes.prop_map(|bytes| ClientFrame::Stdin(bytes.into())),
            (any::<u16>(), any::<u16>()).prop_map(|(x, y)| ClientFrame::Resize(x, y)),
            Just(ClientFrame::StdinEnd),
        ];
        proptest::collection::vec(one, 0..12)
    }

    fn written(frame: &ClientFrame) -> Bytes {
        match frame {
            ClientFrame::Stdin(bytes) => encode(frame::STDIN, bytes),
            ClientFrame::Resize(columns, rows) => {
                encode(frame::RESIZE, &[columns.to_be_bytes(), rows.to_be_bytes()].concat())
            }
            ClientFrame::StdinEnd => encode(frame::STDIN_END, &[]),
        }
    }

    proptest! {
        #[test]
        fn frames_read_back_however_the_bytes_are_cut(
            frames in frames(), cuts in proptest::collection::vec(1..40usize, 1..20)
        ) {
            let bytes: Vec<u8> = frames.iter().flat_map(written).collect();
            let (mut buffer, mut read, mut rest) = (BytesMut::new(), Vec::new(), bytes.as_slice());
            for cut in cuts.iter().cycle() {
                let (part, later) = rest.split_at((*cut).min(rest.len()));
                buffer.extend_from_slice(part);
                while let Some(frame) = ClientFrames.decode(&mut buffer).unwrap() {
                    read.push(frame);
                }
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(read, frames);
            prop_assert!(buffer.is_empty());
        }

        #[test]
        fn any_bytes_are_frames_or_refused_and_never_put_aside_beyond_one_frame(
            bytes in proptest::collection::vec(any::<u8>(), 0..2000)
        ) {
            let mut buffer = BytesMut::from(bytes.as_slice());
            while let Ok(Some(_)) = ClientFrames.decode(&mut buffer) {}
            prop_assert!(buffer.capacity() <= 2000 + HEAD_BYTES + frame::BYTES_MAX);
        }
    }

    #[test]
    fn a_giant_length_is_refused_from_the_head_alone() {
        let mut buffer = BytesMut::from(&[frame::STDIN, 0xff, 0xff, 0xff, 0xff][..]);
        let error = ClientFrames.decode(&mut buffer).unwrap_err();
        assert!(matches!(error, FrameError::Length(0xffff_ffff)), "{error}");
    }

    #[test]
    fn the_daemons_own_kinds_are_refused_from_a_client() {
        for kind in [frame::STDOUT, frame::STDERR, frame::EXIT, frame::ERROR, 7, 255] {
            let mut buffer = BytesMut::from(&[kind, 0, 0, 0, 0][..]);
            assert!(matches!(ClientFrames.decode(&mut buffer), Err(FrameError::Kind(_))));
        }
    }
}
