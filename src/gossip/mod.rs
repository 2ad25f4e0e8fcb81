//! How news travels: who tells whom, in which bytes, and sealed so that only members can.

mod keyring;
mod packet;
mod seal;
mod spread;

pub use keyring::{Epoch, Key, Keyring};
pub use packet::{Digest, PACKET_BYTES_MAX, Packet, PacketError};
pub use seal::{Opener, Rejected, SEAL_BYTES, Sealer};
pub use spread::{FAN_OUT, PASSES, Span, delegates};
