//! Seals values with age (C2SP age-encryption.org/v1, X25519 recipients) and opens them again.
//!
//! What is encrypted is not the value alone but an envelope that names its cluster and its place, so
//! that a ciphertext moved to another place does not open there. The fingerprint is
//! HMAC-SHA-256 (as the extract step of HKDF, RFC 5869, is) under a key derived from the identity:
//! it tells that a value changed, and nothing about it to who lacks the key.

use hkdf::Hkdf;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

use age::{secrecy::ExposeSecret, x25519};

use crate::state::{SealedSecret, SecretPath};

/// The longest value, in bytes.
const VALUE_BYTES_MAX: usize = 1 << 20;

/// What an envelope takes beside the value and the texts: tags and lengths.
const ENVELOPE_BYTES_MAX: usize = 64;

/// Separates this use of the identity from all others.
const FINGERPRINT_INFO: &[u8] = b"fizz secrets fingerprint v1";

/// Why a value was not sealed or opened. Never holds any of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// The identity is not what was written.
    #[error("the secrets' key is damaged ({0}): restore it from a backup of the data directory")]
    Identity(&'static str),
    /// Too long.
    #[error(
        "a secret may have {VALUE_BYTES_MAX} bytes, and this one has {0}: use a volume instead"
    )]
    TooLong(usize),
    /// age would not.
    #[error("the secret could not be sealed: {0}")]
    Seal(String),
    /// Sealed to another identity, or changed.
    #[error("the secret does not open with this node's key ({0}): deploy it again")]
    Open(String),
    /// It opens, but was sealed for another place.
    #[error("the secret was sealed for another cluster or place: deploy it again")]
    Misplaced,
}

/// What is encrypted.
#[derive(Serialize, Deserialize)]
enum Envelope<'a> {
    Project { cluster: &'a str, project: &'a str, key: &'a str, value: &'a [u8] },
    Registry { cluster: &'a str, registry: &'a str, value: &'a [u8] },
    Token { cluster: &'a str, token: u64, value: &'a [u8] },
    ClusterKey { cluster: &'a str, epoch: u32, node: u128, value: &'a [u8] },
}

/// Seals to one identity, and opens what was sealed to it.
pub struct Vault {
    identity: x25519::Identity,
    cluster: String,
    fingerprint_key: Zeroizing<[u8; 32]>,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Vault({})", self.identity.to_public())
    }
}

impl Vault {
    /// A new identity, as the text that [`Vault::new`] takes.
    #[must_use]
    pub fn new_identity() -> Zeroizing<String> {
        let identity = x25519::Identity::generate();
        Zeroizing::new(identity.to_string().expose_secret().to_owned())
    }

    /// A vault of a cluster.
    pub fn new(identity: &str, cluster: &str) -> Result<Self, VaultError> {
        let identity: x25519::Identity = identity.trim().parse().map_err(VaultError::Identity)?;
        let text = identity.to_string();
        let mut fingerprint_key = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(None, text.expose_secret().as_bytes())
            .expand(FINGERPRINT_INFO, fingerprint_key.as_mut())
            .map_err(|_| VaultError::Identity("its length is wrong"))?;
        Ok(Self { identity, cluster: cluster.to_owned(), fingerprint_key })
    }

    /// The identity, to be handed to another member.
    #[must_use]
    pub fn identity(&self) -> Zeroizing<String> {
        Zeroizing::new(self.identity.to_string().expose_secret().to_owned())
    }

    /// The public half of the identity: whoever has it can seal for this vault.
    #[must_use]
    pub fn recipient(&self) -> String {
        self.identity.to_public().to_string()
    }

    /// Seals a value for one place.
    pub fn seal(&self, path: &SecretPath, value: &[u8]) -> Result<SealedSecret, VaultError> {
        self.seal_to(&self.identity.to_public(), path, value)
    }

    /// Seals a value for one place in another's vault of the same cluster.
    pub fn seal_for(
        &self,
        recipient: &str,
        path: &SecretPath,
        value: &[u8],
    ) -> Result<SealedSecret, VaultError> {
        let recipient: x25519::Recipient =
            recipient.parse().map_err(|why: &str| VaultError::Seal(why.to_owned()))?;
        self.seal_to(&recipient, path, value)
    }

    fn seal_to(
        &self,
        recipient: &x25519::Recipient,
        path: &SecretPath,
        value: &[u8],
    ) -> Result<SealedSecret, VaultError> {
        if value.len() > VALUE_BYTES_MAX {
            return Err(VaultError::TooLong(value.len()));
        }
        let envelope = self.envelope(path, value);
        let texts = envelope.texts_bytes();
        let room = Zeroizing::new(Vec::with_capacity(texts + value.len() + ENVELOPE_BYTES_MAX));
        let plaintext = write(&envelope, room)?;
        let fingerprint = self.fingerprint(&plaintext);
        let ciphertext = age::encrypt(recipient, &plaintext)
            .map_err(|error| VaultError::Seal(error.to_string()))?;
        Ok(SealedSecret { ciphertext, fingerprint })
    }

    /// Opens what was sealed for this place.
    pub fn open(
        &self,
        path: &SecretPath,
        sealed: &SealedSecret,
    ) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let plaintext = age::decrypt(&self.identity, &sealed.ciphertext)
            .map_err(|error| VaultError::Open(error.to_string()))?;
        let plaintext = Zeroizing::new(plaintext);
        let envelope: Envelope<'_> =
            postcard::from_bytes(&plaintext).map_err(|_| VaultError::Misplaced)?;
        let value = match envelope {
            Envelope::Project { value, .. }
            | Envelope::Registry { value, .. }
            | Envelope::Token { value, .. }
            | Envelope::ClusterKey { value, .. } => value,
        };
        let expected = write(&self.envelope(path, value), Zeroizing::default())?;
        if *expected == *plaintext {
            Ok(Zeroizing::new(value.to_vec()))
        } else {
            Err(VaultError::Misplaced)
        }
    }

    fn envelope<'a>(&'a self, path: &'a SecretPath, value: &'a [u8]) -> Envelope<'a> {
        let cluster = self.cluster.as_str();
        match path {
            SecretPath::Project(project, key) => {
                Envelope::Project { cluster, project: project.as_str(), key, value }
            }
            SecretPath::Registry(registry) => Envelope::Registry { cluster, registry, value },
            SecretPath::Token(token) => Envelope::Token { cluster, token: token.0, value },
            SecretPath::ClusterKey(epoch, node) => {
                Envelope::ClusterKey { cluster, epoch: *epoch, node: node.0, value }
            }
        }
    }

    fn fingerprint(&self, envelope: &[u8]) -> [u8; 16] {
        let (mut code, _) = Hkdf::<Sha256>::extract(Some(self.fingerprint_key.as_ref()), envelope);
        let mut fingerprint = [0; 16];
        fingerprint.copy_from_slice(&code[..16]);
        code.as_mut_slice().zeroize();
        fingerprint
    }
}

impl Envelope<'_> {
    fn texts_bytes(&self) -> usize {
        match self {
            Self::Project { cluster, project, key, .. } => {
                cluster.len() + project.len() + key.len()
            }
            Self::Registry { cluster, registry, .. } => cluster.len() + registry.len(),
            Self::Token { cluster, .. } | Self::ClusterKey { cluster, .. } => cluster.len(),
        }
    }
}

/// Into `room`, which is long enough, so that growing leaves no copy of the value behind.
fn write(
    envelope: &Envelope<'_>,
    mut room: Zeroizing<Vec<u8>>,
) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let written = postcard::to_extend(envelope, std::mem::take(&mut *room))
        .map_err(|error| VaultError::Seal(error.to_string()))?;
    Ok(Zeroizing::new(written))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault() -> Vault {
        Vault::new(&Vault::new_identity(), "home").unwrap()
    }

    fn place(key: &str) -> SecretPath {
        SecretPath::Project("shop".parse().unwrap(), key.to_owned())
    }

    #[test]
    fn a_sealed_value_opens_where_it_was_sealed_for() {
        let vault = vault();
        let sealed = vault.seal(&place("password"), b"correct horse").unwrap();
        assert!(!sealed.ciphertext.windows(7).any(|it| it == b"correct"));
        assert_eq!(*vault.open(&place("password"), &sealed).unwrap(), b"correct horse");
    }

    #[test]
    fn a_sealed_value_moved_to_another_place_does_not_open() {
        let vault = vault();
        let sealed = vault.seal(&place("password"), b"x").unwrap();
        assert_eq!(vault.open(&place("other"), &sealed), Err(VaultError::Misplaced));
        let registry = SecretPath::Registry("password".to_owned());
        assert_eq!(vault.open(&registry, &sealed), Err(VaultError::Misplaced));
    }

    #[test]
    fn what_is_sealed_for_a_member_opens_only_with_its_own_identity() {
        let (one, other) = (vault(), vault());
        let path = SecretPath::ClusterKey(3, crate::model::NodeId(7));
        let sealed = one.seal_for(&other.recipient(), &path, b"key").unwrap();
        assert_eq!(*other.open(&path, &sealed).unwrap(), b"key");
        assert!(matches!(one.open(&path, &sealed), Err(VaultError::Open(_))));
        assert!(matches!(one.seal_for("age1x", &path, b"key"), Err(VaultError::Seal(_))));
    }

    #[test]
    fn a_sealed_value_of_another_cluster_or_identity_does_not_open() {
        let identity = Vault::new_identity();
        let home = Vault::new(&identity, "home").unwrap();
        let away = Vault::new(&identity, "away").unwrap();
        let sealed = home.seal(&place("password"), b"x").unwrap();
        assert_eq!(away.open(&place("password"), &sealed), Err(VaultError::Misplaced));
        assert!(matches!(vault().open(&place("password"), &sealed), Err(VaultError::Open(_))));
    }

    #[test]
    fn a_changed_byte_anywhere_is_noticed() {
        let vault = vault();
        let sealed = vault.seal(&place("password"), b"x").unwrap();
        for index in 0..sealed.ciphertext.len() {
            let mut changed = sealed.clone();
            changed.ciphertext[index] ^= 1;
            assert!(vault.open(&place("password"), &changed).is_err(), "byte {index}");
        }
    }

    #[test]
    fn a_fingerprint_tells_values_apart_and_nothing_to_who_lacks_the_key() {
        let vault = vault();
        let print = |vault: &Vault, value: &[u8]| {
            vault.seal(&place("password"), value).unwrap().fingerprint
        };
        assert_eq!(print(&vault, b"a"), print(&vault, b"a"));
        assert_ne!(print(&vault, b"a"), print(&vault, b"b"));
        assert_ne!(print(&vault, b"a"), print(&self::vault(), b"a"));
    }

    #[test]
    fn a_damaged_identity_is_told_from_a_right_one() {
        let identity = Vault::new_identity();
        let damaged = identity.replacen(&identity[30..31], "b", 1);
        if damaged != *identity {
            assert!(matches!(Vault::new(&damaged, "home"), Err(VaultError::Identity(_))));
        }
        assert!(matches!(Vault::new("", "home"), Err(VaultError::Identity(_))));
    }

    #[test]
    fn a_value_that_is_too_long_is_refused() {
        let value = vec![0; VALUE_BYTES_MAX + 1];
        assert_eq!(vault().seal(&place("x"), &value), Err(VaultError::TooLong(value.len())));
    }
}
