//! The node's keys, made on its first run and kept in its data directory.
//!
//! The ed25519 key (RFC 8032) names the node: [`NodeId`] is the first 128 bits of the SHA-256 of the
//! public key, so that nobody can claim another's. The secrets' age identity is a key of its own.

use std::{
    fmt::{self, Write},
    path::Path,
};

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use rand_core::{OsRng, RngCore};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::disk::{self, DiskError};
use crate::{
    gossip::Epoch,
    model::NodeId,
    network::wireguard::SecretKey,
    secrets::{Vault, VaultError},
};

const NODE_KEY_FILE: &str = "node.key";

/// The key of the mesh's device.
const MESH_KEY_FILE: &str = "mesh.key";

/// What the deployments' secrets are sealed to, and what the cluster's keys are wrapped to.
pub(super) const SECRETS_KEY_FILE: &str = "secrets.key";
pub(super) const MEMBER_KEY_FILE: &str = "member.key";

const HEADER: &str = "fizz node key v1: whoever reads this can pass for this node";

/// What a node is known by.
#[derive(Clone)]
pub struct Identity {
    id: NodeId,
    key: SigningKey,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identity").field(&self.id).finish()
    }
}

impl Identity {
    /// The identity that a key gives.
    #[must_use]
    pub fn new(key: SigningKey) -> Self {
        Self { id: id_of(&key.verifying_key()), key }
    }

    /// The node's id.
    #[must_use]
    pub const fn id(&self) -> NodeId {
        self.id
    }

    /// The key that others verify its signatures with.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }

    /// Signs a message (RFC 8032). What is signed must begin with what it is for.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }
}

/// Why a node has no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file could not be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The node's key is not what was written.
    #[error(
        "{path} is damaged ({why}): restore it from a backup, or move the whole data directory away \
         to begin as a new node"
    )]
    Damaged {
        /// The file.
        path: String,
        /// In which way.
        why: &'static str,
    },
    /// The secrets' key is not what was written.
    #[error("{path}: {why}")]
    Secrets {
        /// The file.
        path: String,
        /// In which way.
        why: VaultError,
    },
}

/// Reads the node's key, or makes it on the first run.
pub fn load_or_make(data_dir: &Path) -> Result<Identity, IdentityError> {
    let path = data_dir.join(NODE_KEY_FILE);
    let key = match disk::read_if_there(&path)?.map(Zeroizing::new) {
        Some(text) => read(&text)
            .map_err(|why| IdentityError::Damaged { path: path.display().to_string(), why })?,
        None => {
            let mut seed = Zeroizing::new([0; 32]);
            OsRng.fill_bytes(seed.as_mut());
            let key = SigningKey::from_bytes(&seed);
            disk::write_durably(&path, text_of(&key).as_bytes(), 0o600)?;
            key
        }
    };
    Ok(Identity::new(key))
}

/// Reads a vault's key, or makes it on the first run, and opens the vault with it.
pub fn load_or_make_vault(
    data_dir: &Path,
    file: &str,
    cluster: &str,
) -> Result<Vault, IdentityError> {
    let path = data_dir.join(file);
    let damaged = |why| IdentityError::Secrets { path: path.display().to_string(), why };
    let text = match disk::read_if_there(&path)? {
        Some(bytes) => Zeroizing::new(String::from_utf8_lossy(&Zeroizing::new(bytes)).into_owned()),
        None => {
            let text = Vault::new_identity();
            disk::write_durably(&path, text.as_bytes(), 0o600)?;
            text
        }
    };
    Vault::new(&text, cluster).map_err(damaged)
}

/// A vault whose key the cluster gave.
pub fn vault(text: &str, cluster: &str) -> Result<Vault, IdentityError> {
    let damaged = |why| IdentityError::Secrets { path: "the cluster's secrets' key".into(), why };
    Vault::new(text, cluster).map_err(damaged)
}

/// The key of a node's mesh device.
#[derive(Clone, Debug)]
pub struct MeshKey {
    /// The key.
    pub secret: SecretKey,
    /// Which of the cluster's keys was the newest when it was made: with each of these goes another.
    pub epoch: Epoch,
}

/// Reads the key of this node's mesh device, or makes it on the first run and where the cluster's keys are newer.
pub fn load_or_make_mesh_key(data_dir: &Path, newest: Epoch) -> Result<MeshKey, IdentityError> {
    let path = data_dir.join(MESH_KEY_FILE);
    let damaged = || IdentityError::Damaged {
        path: path.display().to_string(),
        why: "it is not 64 hexadecimal digits and a number",
    };
    if let Some(text) = disk::read_if_there(&path)?.map(Zeroizing::new) {
        let text = std::str::from_utf8(&text).map_err(|_| damaged())?;
        let (digits, epoch) = text.trim_end().split_once(' ').unwrap_or((text.trim_end(), "0"));
        let bytes = Zeroizing::new(unhex(digits).ok_or_else(damaged)?);
        let epoch = Epoch(epoch.parse().map_err(|_| damaged())?);
        if newest <= epoch {
            return Ok(MeshKey { secret: SecretKey::new(&bytes), epoch });
        }
    }
    let mut bytes = Zeroizing::new([0; 32]);
    OsRng.fill_bytes(bytes.as_mut());
    let secret = SecretKey::new(&bytes);
    let text = Zeroizing::new(format!("{} {}\n", *hex(secret.bytes().as_slice()), newest.0));
    disk::write_durably(&path, text.as_bytes(), 0o600)?;
    Ok(MeshKey { secret, epoch: newest })
}

/// The id of the node that has a public key.
#[must_use]
pub fn id_of(key: &VerifyingKey) -> NodeId {
    let digest = Sha256::digest(key.as_bytes());
    NodeId(digest.iter().take(16).fold(0, |id, &byte| id << 8 | u128::from(byte)))
}

/// The key as text. The public half is there to tell a damaged file from another node's.
fn text_of(key: &SigningKey) -> Zeroizing<String> {
    let seed = Zeroizing::new(key.to_bytes());
    let (seed, public) = (hex(seed.as_slice()), hex(key.verifying_key().as_bytes()));
    Zeroizing::new(format!("{HEADER}\nseed {}\npublic {}\n", *seed, *public))
}

fn read(text: &[u8]) -> Result<SigningKey, &'static str> {
    let text = std::str::from_utf8(text).map_err(|_| "it is not text")?;
    let mut lines = text.lines();
    if lines.next() != Some(HEADER) {
        return Err("its first line is not a node key's");
    }
    let mut field = |name| lines.next().and_then(|it| it.strip_prefix(name)).and_then(unhex);
    let seed = Zeroizing::new(field("seed ").ok_or("its seed has not 64 hexadecimal digits")?);
    let public = field("public ").ok_or("its public key has not 64 hexadecimal digits")?;
    let key = SigningKey::from_bytes(&seed);
    if *key.verifying_key().as_bytes() == public {
        Ok(key)
    } else {
        Err("its seed and its public key do not match")
    }
}

fn hex(bytes: &[u8]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(bytes.len() * 2));
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(index * 2..index * 2 + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::disk::tests::Scratch;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_node_keeps_its_id_and_nobody_else_reads_its_keys() {
        let scratch = Scratch::new();
        let id = load_or_make(&scratch.0).unwrap().id();
        assert_eq!(load_or_make(&scratch.0).unwrap().id(), id);
        load_or_make_vault(&scratch.0, SECRETS_KEY_FILE, "home").unwrap();
        for name in [NODE_KEY_FILE, SECRETS_KEY_FILE] {
            let mode = std::fs::metadata(scratch.0.join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn a_signature_is_the_nodes_and_its_key_is_not_printed() {
        let identity = Identity::new(SigningKey::from_bytes(&[231; 32]));
        let key = VerifyingKey::from_bytes(&identity.public()).unwrap();
        let signature = ed25519_dalek::Signature::from_bytes(&identity.sign(b"it"));
        assert!(key.verify_strict(b"it", &signature).is_ok());
        assert!(key.verify_strict(b"other", &signature).is_err());
        assert_eq!(format!("{identity:?}"), format!("Identity({:?})", identity.id()));
    }

    #[test]
    fn a_node_id_is_the_hash_of_its_public_key() {
        // RFC 8032, 7.1, test 1: the key pair; its public key's SHA-256 by coreutils' sha256sum.
        let seed =
            unhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").unwrap();
        let key = SigningKey::from_bytes(&seed);
        assert_eq!(id_of(&key.verifying_key()).to_string(), "21fe31dfa154a261626bf854046fd227");
    }

    #[test]
    fn a_damaged_key_is_an_error_and_stays_as_it_is() {
        let scratch = Scratch::new();
        load_or_make(&scratch.0).unwrap();
        let path = scratch.0.join(NODE_KEY_FILE);
        let right = std::fs::read(&path).unwrap();
        for index in 0..right.len() - 1 {
            let mut wrong = right.clone();
            wrong[index] = if wrong[index] == b'0' { b'1' } else { b'0' };
            std::fs::write(&path, &wrong).unwrap();
            let error = load_or_make(&scratch.0).unwrap_err().to_string();
            assert!(error.contains("restore it from a backup"), "byte {index}: {error}");
            assert_eq!(std::fs::read(&path).unwrap(), wrong);
        }
        std::fs::write(&path, "").unwrap();
        assert!(load_or_make(&scratch.0).is_err());
    }
}
