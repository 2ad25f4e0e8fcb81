//! How news travels: who tells whom, in which bytes, and sealed so that only members can. And with what
//! one becomes a member.

mod armour;
mod keyring;
mod packet;
mod seal;
mod secret;
mod spread;
mod token;

pub use armour::{ArmourError, Kind as ArmourKind};
pub use keyring::{Epoch, Key, Keyring};
pub use packet::{Digest, PACKET_BYTES_MAX, Packet, PacketError};
pub use seal::{Opener, Rejected, SEAL_BYTES, Sealer};
pub use secret::ClusterSecret;
pub use spread::{FAN_OUT, PASSES, Span, delegates};
pub use token::{ClusterHash, FIELDS_BYTES, Role, Token, TokenFields, TokenId, psk_for};
