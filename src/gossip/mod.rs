//! How news travels: who tells whom, and in which bytes.

mod packet;
mod spread;

pub use packet::{Digest, PACKET_BYTES_MAX, Packet, PacketError, SEAL_BYTES, VERSION};
pub use spread::{FAN_OUT, PASSES, Span, delegates};
