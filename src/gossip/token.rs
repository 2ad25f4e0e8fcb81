//! Join tokens: what a machine shows to be let into a cluster.
//!
//! A token's secret is HKDF-SHA-256 (RFC 5869) of its epoch's join key and all its other fields. So any
//! member can tell a token that the cluster made from one that it did not, without having heard of it, and
//! nobody can change a field. Whether it was revoked, or used too often, the state says.

use std::{fmt, str::FromStr};

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{
    armour::{self, ArmourError, Kind},
    keyring::{Epoch, Key, Keyring, expand},
};
use crate::model::{ClusterId, TokenId, WallTime};

/// Separates a token's secret from other uses of a join key.
const SECRET_INFO: &[u8] = b"fizz token secret v1";

/// Separates the key that a token opens streams with from its secret.
const PSK_INFO: &[u8] = b"fizz token psk v1";

/// Cluster, id, epoch, expiry, uses, role.
pub const FIELDS_BYTES: usize = 6 + 8 + 4 + 8 + 2 + 1;

const SECRET_BYTES: usize = 16;

/// A cluster in few bytes: the first 48 bits of the SHA-256 of its id. It tells clusters apart; it proves
/// nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClusterHash(pub [u8; 6]);

/// What who comes with a token becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A member like any other.
    Member,
}

/// What a token says in clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenFields {
    /// Which cluster it is for.
    pub cluster: ClusterHash,
    /// Which token.
    pub id: TokenId,
    /// Whose join key it was made with.
    pub epoch: Epoch,
    /// From when on it is of no use, in seconds since the Unix epoch.
    pub expires: u64,
    /// How often it may be used. 0: as often as one likes.
    pub uses: u16,
    /// What who comes with it becomes.
    pub role: Role,
}

/// A join token.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    fields: TokenFields,
    secret: Zeroizing<[u8; SECRET_BYTES]>,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Token").field(&self.fields).finish()
    }
}

impl ClusterHash {
    /// A cluster's.
    #[must_use]
    pub fn of(cluster: ClusterId) -> Self {
        let digest = Sha256::digest(cluster.0.to_be_bytes());
        Self(digest.first_chunk().copied().unwrap_or_default())
    }
}

impl fmt::Display for ClusterHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Role {
    /// The role with a number, if there is one.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Member),
            _ => None,
        }
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Member => 0,
        }
    }
}

impl TokenFields {
    /// Whether it is of no use any more.
    #[must_use]
    pub fn expired(&self, now: WallTime) -> bool {
        self.expires <= now.0 / 1000
    }

    /// As bytes, numbers in network order.
    #[must_use]
    pub fn encode(&self) -> [u8; FIELDS_BYTES] {
        let mut bytes = [0; FIELDS_BYTES];
        let parts: [&[u8]; 6] = [
            &self.cluster.0,
            &self.id.0.to_be_bytes(),
            &self.epoch.0.to_be_bytes(),
            &self.expires.to_be_bytes(),
            &self.uses.to_be_bytes(),
            &[self.role.number()],
        ];
        bytes.copy_from_slice(&parts.concat());
        bytes
    }

    /// From bytes. The error is the number of a role that is not known here.
    pub fn decode(bytes: &[u8; FIELDS_BYTES]) -> Result<Self, u8> {
        let number = |part: &[u8]| part.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        let (cluster, rest) = bytes.split_at(6);
        let (id, rest) = rest.split_at(8);
        let (epoch, rest) = rest.split_at(4);
        let (expires, rest) = rest.split_at(8);
        let (uses, role) = rest.split_at(2);
        let role = number(role) as u8;
        Ok(Self {
            cluster: ClusterHash(cluster.first_chunk().copied().unwrap_or_default()),
            id: TokenId(number(id)),
            epoch: Epoch(number(epoch) as u32),
            expires: number(expires),
            uses: number(uses) as u16,
            role: Role::from_number(role).ok_or(role)?,
        })
    }
}

impl Token {
    /// A token with these fields. `None` where the ring does not have their epoch.
    #[must_use]
    pub fn mint(keys: &Keyring, fields: TokenFields) -> Option<Self> {
        let join_key = keys.join_key(fields.epoch)?;
        let key = expand(&*join_key, &[SECRET_INFO, &fields.encode()]);
        let mut secret = Zeroizing::new([0; SECRET_BYTES]);
        let (first, _) = key.split_at(SECRET_BYTES);
        secret.copy_from_slice(first);
        Some(Self { fields, secret })
    }

    /// What it says in clear.
    #[must_use]
    pub const fn fields(&self) -> &TokenFields {
        &self.fields
    }

    /// The key that it opens a stream with.
    #[must_use]
    pub fn psk(&self) -> Key {
        expand(&*self.secret, &[PSK_INFO])
    }

    /// The token as text, to be shown to whom it is for. There is no `Display`, so that none gets into a
    /// log by chance.
    #[must_use]
    pub fn text(&self) -> Zeroizing<String> {
        let mut content = Zeroizing::new([0; FIELDS_BYTES + SECRET_BYTES]);
        let (fields, secret) = content.split_at_mut(FIELDS_BYTES);
        fields.copy_from_slice(&self.fields.encode());
        secret.copy_from_slice(&*self.secret);
        armour::encode(Kind::Token, &*content)
    }
}

/// The key that a token with these fields opens a stream with. `None` where the ring does not have their
/// epoch. Says nothing about whether the token is still good.
#[must_use]
pub fn psk_for(fields: &TokenFields, keys: &Keyring) -> Option<Key> {
    Some(Token::mint(keys, *fields)?.psk())
}

impl FromStr for Token {
    type Err = ArmourError;

    fn from_str(text: &str) -> Result<Self, ArmourError> {
        let kind = Kind::Token;
        let content = armour::decode::<{ FIELDS_BYTES + SECRET_BYTES }>(kind, text)?;
        let (fields, secret) = content.split_first_chunk().ok_or(ArmourError::Mistyped(kind))?;
        let fields =
            TokenFields::decode(fields).map_err(|role| ArmourError::Role { kind, role })?;
        let secret = secret.try_into().map_err(|_| ArmourError::Mistyped(kind))?;
        Ok(Self { fields, secret: Zeroizing::new(secret) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys() -> Keyring {
        Keyring::new(Epoch(7), Key::new([3; 32]))
    }

    fn fields() -> TokenFields {
        TokenFields {
            cluster: ClusterHash::of(ClusterId(1)),
            id: TokenId(0x0102_0304_0506_0708),
            epoch: Epoch(7),
            expires: 1_800_000_000,
            uses: 1,
            role: Role::Member,
        }
    }

    #[test]
    fn the_format_is_what_it_was() {
        let token = Token::mint(&keys(), fields()).unwrap();
        assert_eq!(
            *token.text(),
            "fizz-af6dztiqxn7acaqdaqcqmbyiaaaaabyaaaaaa22j2iaaaaia4e2aubsvshh6mvhvf4ktgdrbktacmiee"
        );
        assert_eq!(
            token.psk().iter().map(|it| format!("{it:02x}")).collect::<String>(),
            "464e2eb3e2f1b2e6a0f7c6c92a46edad28e15b92d3be7f67a71b73c230d9150a"
        );
    }

    #[test]
    fn any_member_knows_a_tokens_key_and_a_changed_field_has_another() {
        let token = Token::mint(&keys(), fields()).unwrap();
        assert_eq!(psk_for(&fields(), &keys()), Some(token.psk()));
        let changed = [
            TokenFields { cluster: ClusterHash([0; 6]), ..fields() },
            TokenFields { id: TokenId(9), ..fields() },
            TokenFields { expires: 1_900_000_000, ..fields() },
            TokenFields { uses: 0, ..fields() },
        ];
        for it in changed {
            assert_ne!(psk_for(&it, &keys()), Some(token.psk()), "{it:?}");
        }
        let other = Keyring::new(Epoch(7), Key::new([4; 32]));
        assert_ne!(psk_for(&fields(), &other), Some(token.psk()));
        assert_eq!(psk_for(&TokenFields { epoch: Epoch(8), ..fields() }, &keys()), None);
    }

    #[test]
    fn a_token_is_good_until_it_expires() {
        assert!(!fields().expired(WallTime(1_799_999_999_999)));
        assert!(fields().expired(WallTime(1_800_000_000_000)));
    }

    #[test]
    fn a_role_of_a_later_version_is_named() {
        let mut content = [0; FIELDS_BYTES + SECRET_BYTES];
        content[FIELDS_BYTES - 1] = 9;
        let said = armour::encode(Kind::Token, &content).parse::<Token>().unwrap_err().to_string();
        assert!(said.contains("for the role 9, which this fizz does not know: upgrade"), "{said}");
    }

    #[test]
    fn an_id_reads_back_as_it_was_written() {
        assert_eq!(TokenId(171).to_string(), "00000000000000ab");
        assert_eq!("00000000000000ab".parse(), Ok(TokenId(171)));
        assert!("+0000000000000ab".parse::<TokenId>().is_err());
    }

    #[test]
    fn a_token_does_not_print_its_secret() {
        let token = Token { fields: fields(), secret: Zeroizing::new([231; 16]) };
        let said = format!("{token:?}");
        assert!(said.contains("expires") && !said.contains("231"), "{said}");
    }

    proptest! {
        #[test]
        fn a_token_reads_back_as_it_was(
            cluster: [u8; 6], id: u64, expires: u64, uses: u16,
        ) {
            let (cluster, id) = (ClusterHash(cluster), TokenId(id));
            let fields = TokenFields { cluster, id, expires, uses, ..fields() };
            let token = Token::mint(&keys(), fields).unwrap();
            prop_assert_eq!(token.text().parse(), Ok(token));
        }

        #[test]
        fn a_changed_character_is_found(at: prop::sample::Index, to in "[ -~]") {
            let mut text = Token::mint(&keys(), fields()).unwrap().text().to_string();
            let at = at.index(text.len());
            let same = text[at..=at].eq_ignore_ascii_case(&to);
            text.replace_range(at..=at, &to);
            let read = text.parse::<Token>();
            let digit = to.chars().all(|it| it.is_ascii_alphabetic() || ('2'..='7').contains(&it));
            match read {
                _ if same => prop_assert!(read.is_ok()),
                Err(ArmourError::Mistyped(_)) => prop_assert!(digit && 5 <= at),
                Err(ArmourError::Character { at: told, .. }) => prop_assert_eq!(told, at + 1),
                Err(ArmourError::Foreign(_)) => prop_assert!(at < 5),
                // A space at the end is a space around it.
                Err(ArmourError::TooShort { .. }) => prop_assert!(to == " " && at == text.len() - 1),
                other => prop_assert!(false, "{:?}", other),
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: [u8; FIELDS_BYTES]) {
            match TokenFields::decode(&bytes) {
                Ok(fields) => prop_assert_eq!(fields.encode(), bytes),
                Err(role) => prop_assert_eq!(role, bytes[FIELDS_BYTES - 1]),
            }
        }
    }
}
