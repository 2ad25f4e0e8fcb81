//! A stream of bytes in sealed frames, once the handshake is over.
//!
//! ```text
//! length (2) | sealed bytes and tag (length)
//! ```
//!
//! Each frame is a transport message of Noise: the n-th opens only as the n-th, so what is changed, left
//! out, repeated or moved breaks the stream, for good. An empty frame says that no more comes. A connection
//! that ends without one was cut off, which is an error: what looks like the end of a reply is one.
//!
//! Each stream holds one frame to be sent and two buffers of a frame's length for what comes, and no more:
//! who reads slowly slows the sender down.

use std::{
    fmt, io,
    ops::Range,
    pin::Pin,
    task::{Context, Poll, ready},
};

use snow::TransportState;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use zeroize::Zeroizing;

pub(super) const LENGTH_BYTES: usize = 2;
pub(super) const TAG_BYTES: usize = 16;

/// The longest frame, without its length: the longest message of Noise.
pub const FRAME_BYTES_MAX: usize = u16::MAX as usize;

/// What is put into one frame at most. Longer ones are read as well; shorter ones are of use sooner.
const SENT_BYTES_MAX: usize = 16 << 10;

/// An authenticated, encrypted stream to another node. What is written goes on its way with the next
/// write or flush at the latest. It must be shut down, else the other side takes it as cut off.
pub struct SecureStream {
    tcp: TcpStream,
    noise: TransportState,
    reading: Reading,
    writing: Writing,
    inbox: Inbox,
    /// What was opened, of which `unread` was not taken yet. It may have held keys, so it is overwritten.
    clear: Zeroizing<Vec<u8>>,
    unread: Range<usize>,
    outbox: Outbox,
}

/// How far the other side's bytes have come.
#[derive(Clone, Copy, Debug)]
enum Reading {
    Open,
    /// The other side said so.
    Ended,
    Broken(Broken),
}

/// How far one's own have.
#[derive(Clone, Copy, Debug)]
enum Writing {
    Open,
    /// The last frame is sealed.
    Closing,
}

/// Why a stream is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Broken {
    #[error("the stream was changed on its way")]
    Changed,
    #[error("the stream was cut off before its end")]
    CutOff,
}

/// What came and was not opened.
struct Inbox {
    bytes: Vec<u8>,
    filled: Range<usize>,
}

/// A sealed frame and how much of it was sent.
#[derive(Default)]
struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
}

impl fmt::Debug for SecureStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SecureStream").field(&self.reading).field(&self.writing).finish()
    }
}

impl SecureStream {
    /// What follows a handshake.
    pub(super) fn new(tcp: TcpStream, noise: TransportState) -> Self {
        Self {
            tcp,
            noise,
            reading: Reading::Open,
            writing: Writing::Open,
            inbox: Inbox { bytes: vec![0; LENGTH_BYTES + FRAME_BYTES_MAX], filled: 0..0 },
            clear: Zeroizing::new(vec![0; FRAME_BYTES_MAX]),
            unread: 0..0,
            outbox: Outbox::default(),
        }
    }

    /// The address at the other end.
    pub fn peer_address(&self) -> io::Result<std::net::SocketAddr> {
        self.tcp.peer_addr()
    }

    /// What was sealed and could not be sent yet.
    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.outbox.bytes.len()
    }

    /// Opens the next frame, if all of it is there. Whether it was.
    fn open_frame(&mut self) -> io::Result<bool> {
        let Some(frame) = self.inbox.frame() else { return Ok(false) };
        let sealed = self.inbox.bytes.get(frame.clone()).unwrap_or_default();
        let Ok(length) = self.noise.read_message(sealed, &mut self.clear) else {
            return Err(self.broke(Broken::Changed));
        };
        self.inbox.filled.start = frame.end;
        self.unread = 0..length;
        if length == 0 {
            self.reading = Reading::Ended;
        }
        Ok(true)
    }

    fn broke(&mut self, why: Broken) -> io::Error {
        self.reading = Reading::Broken(why);
        why.into()
    }
}

impl AsyncRead for SecureStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let it = self.get_mut();
        loop {
            if into.remaining() == 0 {
                return Poll::Ready(Ok(()));
            } else if !it.unread.is_empty() {
                let length = into.remaining().min(it.unread.len());
                let taken = it.unread.start..it.unread.start + length;
                into.put_slice(it.clear.get(taken.clone()).unwrap_or_default());
                it.unread.start = taken.end;
                return Poll::Ready(Ok(()));
            }
            match it.reading {
                Reading::Open => {}
                Reading::Ended => return Poll::Ready(Ok(())),
                Reading::Broken(why) => return Poll::Ready(Err(why.into())),
            }
            if !it.open_frame()? && ready!(it.inbox.poll_fill(&mut it.tcp, cx))? == 0 {
                return Poll::Ready(Err(it.broke(Broken::CutOff)));
            }
        }
    }
}

impl AsyncWrite for SecureStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let it = self.get_mut();
        match (it.reading, it.writing) {
            (Reading::Broken(why), _) => return Poll::Ready(Err(why.into())),
            (_, Writing::Closing) => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            (Reading::Open | Reading::Ended, Writing::Open) => {}
        }
        // An empty frame would be the end.
        let taken = bytes.get(..bytes.len().min(SENT_BYTES_MAX)).unwrap_or_default();
        if taken.is_empty() {
            return Poll::Ready(Ok(0));
        }
        ready!(it.outbox.poll_send(&mut it.tcp, cx))?;
        seal(&mut it.noise, taken, &mut it.outbox.bytes)?;
        // Begins at once. What cannot be sent yet goes with the next write or flush.
        if let Poll::Ready(Err(error)) = it.outbox.poll_send(&mut it.tcp, cx) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(taken.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let it = self.get_mut();
        ready!(it.outbox.poll_send(&mut it.tcp, cx))?;
        Pin::new(&mut it.tcp).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let it = self.get_mut();
        ready!(it.outbox.poll_send(&mut it.tcp, cx))?;
        match (it.reading, it.writing) {
            (Reading::Open | Reading::Ended, Writing::Open) => {
                seal(&mut it.noise, &[], &mut it.outbox.bytes)?;
                it.writing = Writing::Closing;
                ready!(it.outbox.poll_send(&mut it.tcp, cx))?;
            }
            // A broken stream has no proper end: the other side shall know.
            (Reading::Broken(_), _) | (_, Writing::Closing) => {}
        }
        Pin::new(&mut it.tcp).poll_shutdown(cx)
    }
}

impl Inbox {
    /// Where the next frame's sealed bytes are, if all of them are there.
    fn frame(&self) -> Option<Range<usize>> {
        let (length, rest) =
            self.bytes.get(self.filled.clone())?.split_first_chunk::<LENGTH_BYTES>()?;
        let length = usize::from(u16::from_be_bytes(*length));
        let start = self.filled.start + LENGTH_BYTES;
        (length <= rest.len()).then(|| start..start + length)
    }

    /// Reads what has come. 0 is the end of the connection: there is room for a whole frame, so without one
    /// there is always room for more.
    fn poll_fill(&mut self, tcp: &mut TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.bytes.copy_within(self.filled.clone(), 0);
        self.filled = 0..self.filled.len();
        let mut room = ReadBuf::new(self.bytes.get_mut(self.filled.end..).unwrap_or_default());
        ready!(Pin::new(tcp).poll_read(cx, &mut room))?;
        let came = room.filled().len();
        self.filled.end += came;
        Poll::Ready(Ok(came))
    }
}

impl Outbox {
    /// Sends all of it.
    fn poll_send(&mut self, tcp: &mut TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.bytes.get(self.sent..).filter(|it| !it.is_empty()) {
            match ready!(Pin::new(&mut *tcp).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.sent += sent,
            }
        }
        self.bytes.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }
}

impl From<Broken> for io::Error {
    fn from(why: Broken) -> Self {
        let kind = match why {
            Broken::Changed => io::ErrorKind::InvalidData,
            Broken::CutOff => io::ErrorKind::UnexpectedEof,
        };
        Self::new(kind, why)
    }
}

/// Appends a frame. It fails when a stream has sent all the frames that there are numbers for, 2^64, or
/// where there is too much for one.
pub(super) fn seal(noise: &mut TransportState, clear: &[u8], into: &mut Vec<u8>) -> io::Result<()> {
    let length = clear.len() + TAG_BYTES;
    let prefix = u16::try_from(length).map_err(io::Error::other)?.to_be_bytes();
    let start = into.len() + LENGTH_BYTES;
    into.extend_from_slice(&prefix);
    into.resize(start + length, 0);
    let room = into.get_mut(start..).unwrap_or_default();
    noise.write_message(clear, room).map(drop).map_err(io::Error::other)
}
