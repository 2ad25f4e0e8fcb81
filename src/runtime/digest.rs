//! Digests, as images have them (image specification, "Digests").

use sha2::{Digest, Sha256};

/// `sha256:` and the digest of these bytes in hexadecimal.
pub(super) fn sha256(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}
