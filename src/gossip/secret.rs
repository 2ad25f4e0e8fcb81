//! A cluster's secret itself, as `fizz init` writes it to a file. Whoever has it joins, and can make tokens.

use std::{fmt, str::FromStr};

use zeroize::Zeroizing;

use super::{
    armour::{self, ArmourError, Kind},
    keyring::{Epoch, Key, Keyring, entry_key},
    token::ClusterHash,
};
use crate::model::ClusterId;

/// Cluster id, epoch, root.
const CONTENT_BYTES: usize = 16 + 4 + 32;

/// A cluster's root of one epoch, with what it belongs to.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterSecret {
    /// Whose it is.
    pub cluster: ClusterId,
    /// Which of its roots.
    pub epoch: Epoch,
    /// The root.
    pub root: Key,
}

impl fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClusterSecret").field(&self.cluster).field(&self.epoch).finish()
    }
}

impl ClusterSecret {
    /// The newest of a ring.
    #[must_use]
    pub fn of(cluster: ClusterId, keys: &Keyring) -> Option<Self> {
        let epoch = keys.newest();
        Some(Self { cluster, epoch, root: keys.get(epoch)?.clone() })
    }

    /// The ring that a cluster begins with.
    #[must_use]
    pub fn keyring(&self) -> Keyring {
        Keyring::new(self.epoch, self.root.clone())
    }

    /// Its cluster in few bytes.
    #[must_use]
    pub fn cluster_hash(&self) -> ClusterHash {
        ClusterHash::of(self.cluster)
    }

    /// The key that it opens a stream with.
    #[must_use]
    pub fn psk(&self) -> Key {
        entry_key(&self.root)
    }

    /// The secret as text. There is no `Display`, so that none gets into a log by chance.
    #[must_use]
    pub fn text(&self) -> Zeroizing<String> {
        let mut content = Zeroizing::new([0; CONTENT_BYTES]);
        let (cluster, rest) = content.split_at_mut(16);
        let (epoch, root) = rest.split_at_mut(4);
        cluster.copy_from_slice(&self.cluster.0.to_be_bytes());
        epoch.copy_from_slice(&self.epoch.0.to_be_bytes());
        root.copy_from_slice(&*self.root);
        armour::encode(Kind::Secret, &*content)
    }
}

impl FromStr for ClusterSecret {
    type Err = ArmourError;

    fn from_str(text: &str) -> Result<Self, ArmourError> {
        let content = armour::decode::<CONTENT_BYTES>(Kind::Secret, text)?;
        let parts = content.split_first_chunk().and_then(|(cluster, rest)| {
            let (epoch, root) = rest.split_first_chunk()?;
            Some((cluster, epoch, root.first_chunk()?))
        });
        let (cluster, epoch, root) = parts.ok_or(ArmourError::Mistyped(Kind::Secret))?;
        Ok(Self {
            cluster: ClusterId(u128::from_be_bytes(*cluster)),
            epoch: Epoch(u32::from_be_bytes(*epoch)),
            root: Key::new(*root),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn secret() -> ClusterSecret {
        let (cluster, epoch) = (ClusterId(0x0102 << 100), Epoch(7));
        ClusterSecret { cluster, epoch, root: Key::new([231; 32]) }
    }

    #[test]
    fn the_format_is_what_it_was() {
        assert_eq!(
            *secret().text(),
            "fizz-secret-aeaaaebaaaaaaaaaaaaaaaaaaaaaaaaaa7t6pz7h47t6pz7h47t6pz7h47t6pz7h47t6pz7h47t6pz7h47t6ojyxfnlq"
        );
    }

    #[test]
    fn a_secret_opens_with_the_key_that_members_know() {
        let mut keys = Keyring::new(Epoch(6), Key::new([1; 32]));
        keys.add(Epoch(7), Key::new([231; 32]));
        assert_eq!(ClusterSecret::of(secret().cluster, &keys), Some(secret()));
        assert_eq!(keys.entry_key(Epoch(7)), Some(secret().psk()));
    }

    #[test]
    fn a_secret_does_not_print_its_root() {
        let said = format!("{:?}", secret());
        assert!(!said.contains("231"), "{said}");
    }

    proptest! {
        #[test]
        fn a_secret_reads_back_as_it_was(cluster: u128, epoch: u32, root: [u8; 32]) {
            let (cluster, epoch) = (ClusterId(cluster), Epoch(epoch));
            let secret = ClusterSecret { cluster, epoch, root: Key::new(root) };
            prop_assert_eq!(secret.text().parse(), Ok(secret));
        }

        #[test]
        fn a_changed_character_is_found(at: prop::sample::Index, to in "[!-~]") {
            let mut text = secret().text().to_string();
            let at = at.index(text.len());
            prop_assume!(!text[at..=at].eq_ignore_ascii_case(&to));
            text.replace_range(at..=at, &to);
            prop_assert!(text.parse::<ClusterSecret>().is_err());
        }
    }
}
