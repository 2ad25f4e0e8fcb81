//! Who somebody is: a signature over the handshake that only the holder of a node's key can make.
//!
//! ```text
//! ed25519 public key (32) | signature (64) | version of fizz, at most 64 printable ASCII characters
//! ```
//!
//! Signed are `fizz stream v1`, the side, and the handshake's hash (Noise revision 34, 11.2). The hash
//! covers both sides' fresh keys, so a signature is good for one stream; the side, so that none can be sent
//! back to whom it came from.

use ed25519_dalek::{Signature, VerifyingKey};

use super::Peer;
use crate::daemon::identity::{self, Identity};

const CONTEXT: &[u8] = b"fizz stream v1";
const KEY_BYTES: usize = 32;
const SIGNATURE_BYTES: usize = 64;
const VERSION_BYTES_MAX: usize = 64;

/// The longest proof.
pub(super) const PROOF_BYTES_MAX: usize = KEY_BYTES + SIGNATURE_BYTES + VERSION_BYTES_MAX;

/// Which end of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Who opens it.
    Initiator,
    /// Who answers.
    Responder,
}

impl Side {
    const fn byte(self) -> u8 {
        match self {
            Self::Initiator => 1,
            Self::Responder => 2,
        }
    }
}

/// What one side says to prove itself.
pub(super) fn prove(side: Side, identity: &Identity, handshake: &[u8]) -> Vec<u8> {
    let signature = identity.sign(&signed(side, handshake));
    [&identity.public()[..], &signature, env!("CARGO_PKG_VERSION").as_bytes()].concat()
}

/// Who a side has proved to be. `None` where it has not.
pub(super) fn verify(side: Side, proof: &[u8], handshake: &[u8]) -> Option<Peer> {
    let (key, rest) = proof.split_first_chunk::<KEY_BYTES>()?;
    let (signature, version) = rest.split_first_chunk::<SIGNATURE_BYTES>()?;
    let key = VerifyingKey::from_bytes(key).ok()?;
    // Strict: with a weak key anybody's signature would do.
    key.verify_strict(&signed(side, handshake), &Signature::from_bytes(signature)).ok()?;
    // It gets into logs and onto terminals.
    let version = std::str::from_utf8(version).ok()?;
    let right =
        version.len() <= VERSION_BYTES_MAX && version.bytes().all(|it| it.is_ascii_graphic());
    right.then(|| Peer { id: identity::id_of(&key), version: version.to_owned() })
}

fn signed(side: Side, handshake: &[u8]) -> Vec<u8> {
    [CONTEXT, &[side.byte()], handshake].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::SigningKey;
    use proptest::prelude::*;

    fn identity() -> Identity {
        Identity::new(SigningKey::from_bytes(&[5; 32]))
    }

    #[test]
    fn a_proof_is_good_for_one_side_of_one_handshake() {
        let proof = prove(Side::Initiator, &identity(), &[1; 32]);
        let peer = verify(Side::Initiator, &proof, &[1; 32]).unwrap();
        assert_eq!(peer, Peer { id: identity().id(), version: env!("CARGO_PKG_VERSION").into() });
        assert_eq!(verify(Side::Responder, &proof, &[1; 32]), None, "sent back");
        assert_eq!(verify(Side::Initiator, &proof, &[2; 32]), None, "of another stream");
    }

    #[test]
    fn a_version_that_would_spoil_a_terminal_is_refused() {
        let proof = prove(Side::Initiator, &identity(), &[1; 32]);
        let signed = &proof[..KEY_BYTES + SIGNATURE_BYTES];
        for version in ["\x1b[2J", "1.0 beta", "é", &"9".repeat(65)] {
            let wrong = [signed, version.as_bytes()].concat();
            assert_eq!(verify(Side::Initiator, &wrong, &[1; 32]), None, "{version:?}");
        }
    }

    #[test]
    fn a_weak_key_proves_nothing() {
        // The neutral element: as a key it makes a signature of nothing verify for every message.
        let mut proof = [0; KEY_BYTES + SIGNATURE_BYTES];
        (proof[0], proof[KEY_BYTES]) = (1, 1);
        assert_eq!(verify(Side::Initiator, &proof, &[1; 32]), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_changed_proof_proves_nobody(at in 0..KEY_BYTES + SIGNATURE_BYTES, bit in 0..8_u8) {
            let mut proof = prove(Side::Responder, &identity(), &[1; 32]);
            proof[at] ^= 1 << bit;
            prop_assert_eq!(verify(Side::Responder, &proof, &[1; 32]), None);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(verify(Side::Responder, &bytes, &[1; 32]), None);
        }
    }
}
