//! A node's secret on the mesh: an X25519 key (RFC 7748), as the WireGuard paper (section 5.4.1) has it.

use std::fmt;

use x25519_dalek::StaticSecret;
use zeroize::Zeroizing;

use crate::model::PublicKey;

/// The secret part of a node's key. It is wiped when it is dropped, and never shown.
#[derive(Clone)]
pub struct SecretKey(StaticSecret);

impl SecretKey {
    /// From what a random generator gave, or what was kept.
    #[must_use]
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(StaticSecret::from(*bytes))
    }

    /// The part that the others know.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(x25519_dalek::PublicKey::from(&self.0).to_bytes())
    }

    /// To be kept, or handed to a device.
    #[must_use]
    pub fn bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_gives_its_public_part_and_shows_nothing() {
        // RFC 7748, section 6.1: Alice's.
        let bytes: [u8; 32] = [
            0x77, 0x07, 0x6d, 0x0a, 0x73, 0x18, 0xa5, 0x7d, 0x3c, 0x16, 0xc1, 0x72, 0x51, 0xb2,
            0x66, 0x45, 0xdf, 0x4c, 0x2f, 0x87, 0xeb, 0xc0, 0x99, 0x2a, 0xb1, 0x77, 0xfb, 0xa5,
            0x1d, 0xb9, 0x2c, 0x2a,
        ];
        let key = SecretKey::new(&bytes);
        assert_eq!(key.public().0[..4], [0x85, 0x20, 0xf0, 0x09]);
        assert_eq!(*key.bytes(), bytes);
        assert_eq!(format!("{key:?}"), "SecretKey(..)");
    }
}
