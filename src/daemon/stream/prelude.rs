//! What who opens a stream says in clear, before anything is sealed: which protocol, what for, and which
//! secret it knows. All of it is authenticated by the handshake that follows.
//!
//! ```text
//! magic `fizz` (4) | wire version (1) | purpose (1) | credential's kind (1) | credential
//! ```
//!
//! A credential is a token's public fields (29), or cluster hash (6) and key epoch (4).

use std::fmt;

use crate::gossip::{ClusterHash, Epoch, FIELDS_BYTES, Key, Keyring, TokenFields, psk_for};

/// The version of all that a stream is made of.
pub const WIRE_VERSION: u8 = 1;

const MAGIC: &[u8; 4] = b"fizz";

/// Magic, version, purpose, kind.
pub(super) const HEAD_BYTES: usize = 4 + 1 + 1 + 1;

/// Cluster hash and epoch.
const ROOT_BYTES: usize = 6 + 4;

/// What a stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To become a member.
    Join,
    /// To exchange state.
    Sync,
    /// To ask the node's API.
    Api,
    /// To hear that the node leads nobody to a container any more.
    LetGo,
}

/// Which secret who opens a stream knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A token's.
    Token(TokenFields),
    /// The cluster's own, by who is no member yet.
    Secret {
        /// Which cluster.
        cluster: ClusterHash,
        /// Which of its roots.
        epoch: Epoch,
    },
    /// The members' key.
    Member {
        /// Which cluster.
        cluster: ClusterHash,
        /// Which of its roots.
        epoch: Epoch,
    },
}

/// What is said in clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prelude {
    /// What the stream is for.
    pub purpose: Purpose,
    /// Which secret it is opened with.
    pub credential: Credential,
}

/// Why a stream is not answered, in one byte that anybody can read and forge. It is a hint to people:
/// nothing is decided by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// This fizz speaks another version.
    #[error("it speaks another version of the protocol")]
    OtherVersion,
    /// This node is of another cluster.
    #[error("it is of another cluster")]
    OtherCluster,
    /// This node does not have that root.
    #[error("its key is not known here")]
    UnknownEpoch,
    /// Too many come at once.
    #[error("too many handshakes are under way")]
    Busy,
}

/// Why a prelude cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PreludeError {
    /// Not one.
    #[error("what came is not a stream of a fizz")]
    Foreign,
    /// It ends too early or too late.
    #[error("a stream whose prelude has the wrong length")]
    Length,
    /// Of another version.
    #[error("a stream of another version of the protocol ({0})")]
    Version(u8),
    /// For something that is not known here.
    #[error("a stream for a purpose that is not known here ({0}): is the other fizz newer?")]
    Purpose(u8),
    /// With a credential that is not known here.
    #[error("a stream with a credential that is not known here ({0}): is the other fizz newer?")]
    Credential(u8),
    /// With a token for a role that is not known here.
    #[error(
        "a stream with a token for a role that is not known here ({0}): is the other fizz newer?"
    )]
    Role(u8),
}

impl Refusal {
    /// Codes of refusals begin here. None is how another protocol greets.
    pub(super) const CODE_MIN: u8 = 0xe1;

    pub(super) const fn code(self) -> u8 {
        match self {
            Self::OtherVersion => 0xe1,
            Self::OtherCluster => 0xe2,
            Self::UnknownEpoch => 0xe3,
            Self::Busy => 0xe4,
        }
    }

    pub(super) const fn from_code(code: u8) -> Option<Self> {
        match code {
            0xe1 => Some(Self::OtherVersion),
            0xe2 => Some(Self::OtherCluster),
            0xe3 => Some(Self::UnknownEpoch),
            0xe4 => Some(Self::Busy),
            _ => None,
        }
    }
}

impl Credential {
    /// For which cluster it is.
    #[must_use]
    pub const fn cluster(&self) -> ClusterHash {
        match self {
            Self::Token(fields) => fields.cluster,
            Self::Secret { cluster, .. } | Self::Member { cluster, .. } => *cluster,
        }
    }

    /// Of which root its key comes.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        match self {
            Self::Token(fields) => fields.epoch,
            Self::Secret { epoch, .. } | Self::Member { epoch, .. } => *epoch,
        }
    }

    /// The key that goes with it, by a member of a cluster.
    pub fn psk(&self, cluster: ClusterHash, keys: &Keyring) -> Result<Key, Refusal> {
        if self.cluster() != cluster {
            return Err(Refusal::OtherCluster);
        }
        let key = match self {
            Self::Token(fields) => psk_for(fields, keys),
            Self::Secret { epoch, .. } => keys.entry_key(*epoch),
            Self::Member { epoch, .. } => keys.stream_key(*epoch),
        };
        key.ok_or(Refusal::UnknownEpoch)
    }

    const fn kind(&self) -> u8 {
        match self {
            Self::Token(_) => 0,
            Self::Secret { .. } => 1,
            Self::Member { .. } => 2,
        }
    }
}

impl Purpose {
    const fn number(self) -> u8 {
        match self {
            Self::Join => 0,
            Self::Sync => 1,
            Self::Api => 2,
            Self::LetGo => 3,
        }
    }

    const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Join),
            1 => Some(Self::Sync),
            2 => Some(Self::Api),
            3 => Some(Self::LetGo),
            _ => None,
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Join => "join",
            Self::Sync => "sync",
            Self::Api => "api",
            Self::LetGo => "let go",
        })
    }
}

impl Prelude {
    /// As bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([WIRE_VERSION, self.purpose.number(), self.credential.kind()]);
        match &self.credential {
            Credential::Token(fields) => bytes.extend(fields.encode()),
            Credential::Secret { cluster, epoch } | Credential::Member { cluster, epoch } => {
                bytes.extend(cluster.0);
                bytes.extend(epoch.0.to_be_bytes());
            }
        }
        bytes
    }

    /// From bytes, all of which must be used.
    pub fn decode(bytes: &[u8]) -> Result<Self, PreludeError> {
        let (head, body) = bytes.split_first_chunk().ok_or(PreludeError::Length)?;
        if Self::body_bytes(head)? != body.len() {
            return Err(PreludeError::Length);
        }
        let &[_, _, _, _, _, purpose, kind] = head;
        let purpose = Purpose::from_number(purpose).ok_or(PreludeError::Purpose(purpose))?;
        let credential = if let Some(fields) = body.first_chunk::<FIELDS_BYTES>() {
            Credential::Token(TokenFields::decode(fields).map_err(PreludeError::Role)?)
        } else {
            let (cluster, epoch) = body.split_first_chunk().ok_or(PreludeError::Length)?;
            let epoch = epoch.first_chunk().ok_or(PreludeError::Length)?;
            let (cluster, epoch) = (ClusterHash(*cluster), Epoch(u32::from_be_bytes(*epoch)));
            match kind {
                1 => Credential::Secret { cluster, epoch },
                _ => Credential::Member { cluster, epoch },
            }
        };
        Ok(Self { purpose, credential })
    }

    /// How many bytes follow this beginning. What is wrong with it shows from the front, so that a later
    /// version may be other in all but magic and version.
    pub(super) fn body_bytes(head: &[u8; HEAD_BYTES]) -> Result<usize, PreludeError> {
        let [magic @ .., version, purpose, kind] = head;
        if magic != MAGIC {
            return Err(PreludeError::Foreign);
        } else if *version != WIRE_VERSION {
            return Err(PreludeError::Version(*version));
        } else if Purpose::from_number(*purpose).is_none() {
            return Err(PreludeError::Purpose(*purpose));
        }
        match kind {
            0 => Ok(FIELDS_BYTES),
            1 | 2 => Ok(ROOT_BYTES),
            _ => Err(PreludeError::Credential(*kind)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        gossip::{Role, Token},
        model::TokenId,
    };
    use proptest::prelude::*;

    const CLUSTER: ClusterHash = ClusterHash([1, 2, 3, 4, 5, 6]);
    const EPOCH: Epoch = Epoch(7);

    fn token() -> TokenFields {
        let (id, role) = (TokenId(8), Role::Member);
        TokenFields { cluster: CLUSTER, id, epoch: EPOCH, expires: 9, uses: 10, role }
    }

    fn samples() -> [Prelude; 3] {
        let (cluster, epoch) = (CLUSTER, EPOCH);
        [
            Prelude { purpose: Purpose::Join, credential: Credential::Token(token()) },
            Prelude { purpose: Purpose::Join, credential: Credential::Secret { cluster, epoch } },
            Prelude { purpose: Purpose::Api, credential: Credential::Member { cluster, epoch } },
        ]
    }

    #[test]
    fn the_format_is_what_it_was() {
        let hex = |it: &Prelude| it.encode().iter().map(|it| format!("{it:02x}")).collect();
        let golden = [
            "66697a7a 01 00 00 010203040506 0000000000000008 00000007 0000000000000009 000a 00",
            "66697a7a 01 00 01 010203040506 00000007",
            "66697a7a 01 02 02 010203040506 00000007",
        ];
        assert_eq!(
            samples().iter().map(hex).collect::<Vec<String>>(),
            golden.map(|it| it.replace(' ', ""))
        );
    }

    #[test]
    fn a_prelude_reads_back_as_it_was_and_not_with_a_byte_more_or_less() {
        for prelude in samples() {
            let mut bytes = prelude.encode();
            assert_eq!(Prelude::decode(&bytes), Ok(prelude));
            bytes.push(0);
            assert_eq!(Prelude::decode(&bytes), Err(PreludeError::Length));
            for length in 0..bytes.len() - 1 {
                assert_eq!(Prelude::decode(&bytes[..length]), Err(PreludeError::Length));
            }
        }
    }

    #[test]
    fn what_is_of_another_protocol_or_version_is_told_apart() {
        let right = samples()[0].encode();
        let with = |at: usize, byte| {
            let mut wrong = right.clone();
            wrong[at] = byte;
            Prelude::decode(&wrong).unwrap_err()
        };
        assert_eq!(with(3, b'y'), PreludeError::Foreign);
        assert_eq!(with(4, 2), PreludeError::Version(2));
        assert_eq!(with(5, 4), PreludeError::Purpose(4));
        assert_eq!(with(6, 3), PreludeError::Credential(3));
        assert_eq!(with(right.len() - 1, 4), PreludeError::Role(4));
    }

    #[test]
    fn each_credential_has_a_key_of_its_own() {
        let keys = Keyring::new(EPOCH, Key::new([3; 32]));
        let found = samples().map(|it| *it.credential.psk(CLUSTER, &keys).unwrap());
        assert!(found[0] != found[1] && found[1] != found[2] && found[0] != found[2]);
        assert_eq!(found[0], *Token::mint(&keys, token()).unwrap().psk());
        for it in samples() {
            let other = Keyring::new(Epoch(8), Key::new([3; 32]));
            assert_eq!(it.credential.psk(CLUSTER, &other), Err(Refusal::UnknownEpoch));
            let elsewhere = ClusterHash([0; 6]);
            assert_eq!(it.credential.psk(elsewhere, &keys), Err(Refusal::OtherCluster));
        }
    }

    #[test]
    fn a_refusal_is_its_code() {
        use Refusal::{Busy, OtherCluster, OtherVersion, UnknownEpoch};
        for it in [OtherVersion, OtherCluster, UnknownEpoch, Busy] {
            assert_eq!(Refusal::from_code(it.code()), Some(it));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            head in (0..=1_u8, 0..4_u8, 0..4_u8), body in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let bytes = [&MAGIC[..], &[head.0, head.1, head.2], &body].concat();
            if let Ok(prelude) = Prelude::decode(&bytes) {
                prop_assert_eq!(prelude.encode(), bytes);
            }
            prop_assert!(Prelude::decode(&body).is_err());
        }
    }
}
