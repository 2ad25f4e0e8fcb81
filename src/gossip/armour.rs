//! Secrets as text that people copy: a prefix, then base32 (RFC 4648, section 6, in lower case and without
//! padding) of a version, the content, and a checksum, so that a typo is told from a wrong secret.

use std::fmt;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
const VERSION: u8 = 1;
const CHECKSUM_BYTES: usize = 4;

/// Longer texts are not looked at.
const TEXT_BYTES_MAX: usize = 512;

/// Which secret a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A join token.
    Token,
    /// A cluster's secret itself.
    Secret,
}

/// Why a text is no token and no secret. Never holds more of it than one character.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArmourError {
    /// It does not begin like one.
    #[error("not {0}: it begins with `{prefix}`; {copy}", prefix = .0.prefix(), copy = .0.copy())]
    Foreign(Kind),
    /// It is the other kind of secret.
    #[error("{0} is wanted here, and this is {other}", other = .0.other())]
    Other(Kind),
    /// Characters are missing.
    #[error("{kind} has {expected} characters, and this has only {found}; {copy}", copy = .kind.copy())]
    TooShort {
        /// What it should be.
        kind: Kind,
        /// How many characters it has, with the prefix.
        found: usize,
        /// How many it should have.
        expected: usize,
    },
    /// There are more characters than should be.
    #[error("{kind} has {expected} characters, and this has {found}; {copy}", copy = .kind.copy())]
    TooLong {
        /// What it should be.
        kind: Kind,
        /// How many characters it has, with the prefix.
        found: usize,
        /// How many it should have.
        expected: usize,
    },
    /// A character that is not used.
    #[error(
        "{kind} has only letters from a to z and digits from 2 to 7 after `{prefix}`, but character {at} \
         is {character:?}; {copy}", prefix = .kind.prefix(), copy = .kind.copy()
    )]
    Character {
        /// What it should be.
        kind: Kind,
        /// The character.
        character: char,
        /// Where, counted from one.
        at: usize,
    },
    /// The checksum is another.
    #[error("{0} is mistyped: {copy}", copy = .0.copy())]
    Mistyped(Kind),
    /// Of a later version.
    #[error("{kind} was made by a newer fizz (format {version}): upgrade fizz on this machine")]
    Newer {
        /// What it should be.
        kind: Kind,
        /// The version of its format.
        version: u8,
    },
    /// For something that is not known here.
    #[error(
        "{kind} is for the role {role}, which this fizz does not know: upgrade fizz on this machine"
    )]
    Role {
        /// What it should be.
        kind: Kind,
        /// The role's number.
        role: u8,
    },
}

impl Kind {
    const fn prefix(self) -> &'static str {
        match self {
            Self::Token => "fizz-",
            Self::Secret => "fizz-secret-",
        }
    }

    const fn copy(self) -> &'static str {
        match self {
            Self::Token => "compare it with the output of `fizz token create`",
            Self::Secret => "compare it with the file that `fizz init` wrote",
        }
    }

    const fn other(self) -> &'static str {
        match self {
            Self::Token => "a cluster's secret: give it with `--secret-file`",
            Self::Secret => "a join token: give it with `--token`",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token => "a token",
            Self::Secret => "a cluster's secret",
        })
    }
}

/// Content as text.
pub(super) fn encode(kind: Kind, content: &[u8]) -> Zeroizing<String> {
    // Room for all from the start: what grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(1 + content.len() + CHECKSUM_BYTES));
    bytes.push(VERSION);
    bytes.extend_from_slice(content);
    let checksum = checksum(&bytes);
    bytes.extend_from_slice(&checksum);
    let prefix = kind.prefix();
    let mut text = Zeroizing::new(String::with_capacity(characters(kind, content.len())));
    text.push_str(prefix);
    let (mut bits, mut held) = (0_u32, 0);
    for byte in bytes.iter() {
        bits = bits << 8 | u32::from(*byte);
        held += 8;
        while 5 <= held {
            held -= 5;
            text.push(digit(bits >> held));
        }
    }
    if 0 < held {
        text.push(digit(bits << (5 - held)));
    }
    text
}

/// The content of a text. Spaces around it and upper case do not matter.
pub(super) fn decode<const LENGTH: usize>(
    kind: Kind,
    text: &str,
) -> Result<Zeroizing<[u8; LENGTH]>, ArmourError> {
    let text = text.trim();
    let (found, expected) = (text.chars().count(), characters(kind, LENGTH));
    if TEXT_BYTES_MAX < text.len() {
        return Err(ArmourError::TooLong { kind, found, expected });
    }
    let body = body(kind, text)?;
    let (bytes, rest) = digits(kind, body)?;
    // What says that the text is whole comes first, for it holds in all versions.
    let whole = rest == 0
        && bytes
            .split_last_chunk::<CHECKSUM_BYTES>()
            .is_some_and(|(said, it)| checksum(said) == *it);
    if !whole && found < expected {
        return Err(ArmourError::TooShort { kind, found, expected });
    } else if !whole && expected < found {
        return Err(ArmourError::TooLong { kind, found, expected });
    } else if !whole {
        return Err(ArmourError::Mistyped(kind));
    }
    let version = bytes.first().copied().unwrap_or_default();
    if version != VERSION {
        return Err(ArmourError::Newer { kind, version });
    }
    let content = bytes.get(1..bytes.len().saturating_sub(CHECKSUM_BYTES)).unwrap_or_default();
    match <&[u8; LENGTH]>::try_from(content) {
        Ok(content) => Ok(Zeroizing::new(*content)),
        Err(_) => Err(ArmourError::Mistyped(kind)),
    }
}

/// What stands after the prefix.
fn body(kind: Kind, text: &str) -> Result<&str, ArmourError> {
    let after = |kind: Kind| {
        let (begin, body) = text.split_at_checked(kind.prefix().len())?;
        begin.eq_ignore_ascii_case(kind.prefix()).then_some(body)
    };
    match (kind, after(Kind::Token), after(Kind::Secret)) {
        (Kind::Token, Some(body), None) | (Kind::Secret, _, Some(body)) => Ok(body),
        (Kind::Token, _, Some(_)) => Err(ArmourError::Other(kind)),
        // What has another hyphen is no token either.
        (Kind::Secret, Some(body), None) if !body.contains('-') => Err(ArmourError::Other(kind)),
        (Kind::Token | Kind::Secret, _, None) => Err(ArmourError::Foreign(kind)),
    }
}

/// Whole bytes, and the bits that are left over.
fn digits(kind: Kind, body: &str) -> Result<(Zeroizing<Vec<u8>>, u32), ArmourError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(body.len()));
    let (mut bits, mut held) = (0_u32, 0);
    for (index, character) in body.chars().enumerate() {
        let lower = character.to_ascii_lowercase();
        let value = DIGITS.iter().position(|it| char::from(*it) == lower);
        let at = kind.prefix().len() + index + 1;
        let value = value.ok_or(ArmourError::Character { kind, character, at })?;
        bits = bits << 5 | value as u32;
        held += 5;
        if 8 <= held {
            held -= 8;
            bytes.push((bits >> held & 0xff) as u8);
        }
        bits &= (1 << held) - 1;
    }
    // Five bits that are left over would be a digit too many.
    Ok((bytes, if 5 <= held { 1 } else { bits }))
}

fn digit(bits: u32) -> char {
    char::from(DIGITS.get((bits & 31) as usize).copied().unwrap_or_default())
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let digest = Sha256::digest(bytes);
    digest.first_chunk().copied().unwrap_or_default()
}

const fn characters(kind: Kind, content: usize) -> usize {
    kind.prefix().len() + ((1 + content + CHECKSUM_BYTES) * 8).div_ceil(5)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decoded(kind: Kind, text: &str) -> Result<[u8; 8], ArmourError> {
        decode::<8>(kind, text).map(|it| *it)
    }

    /// A text of any version and content.
    fn whole(version: u8, content: &[u8]) -> String {
        let mut bytes = vec![version];
        bytes.extend_from_slice(content);
        bytes.extend_from_slice(&checksum(&bytes.clone()));
        let bits: String = bytes.iter().map(|it| format!("{it:08b}")).collect();
        let digits = bits.as_bytes().chunks(5).map(|it| {
            let five = format!("{:0<5}", std::str::from_utf8(it).unwrap());
            char::from(DIGITS[usize::from_str_radix(&five, 2).unwrap()])
        });
        format!("fizz-{}", digits.collect::<String>())
    }

    #[test]
    fn base32_is_that_of_the_rfc() {
        // RFC 4648, section 10: "foobar" is MZXW6YTBOI======.
        assert_eq!(digits(Kind::Token, "mzxw6ytboi").unwrap(), (b"foobar".to_vec().into(), 0));
        assert_eq!(digits(Kind::Token, "MZXW6YQ").unwrap(), (b"foob".to_vec().into(), 0));
        assert_eq!(*encode(Kind::Token, &[1; 8]), whole(1, &[1; 8]));
    }

    #[test]
    fn spaces_around_and_upper_case_do_not_matter() {
        let text = encode(Kind::Secret, b"12345678");
        let shouted = format!("\n  {} \t", text.to_uppercase());
        assert_eq!(decoded(Kind::Secret, &shouted), Ok(*b"12345678"));
    }

    #[test]
    fn each_wrong_text_says_what_is_wrong_and_what_to_do() {
        let text = encode(Kind::Token, b"12345678");
        let secret = encode(Kind::Secret, b"12345678");
        let other = if text[9..].starts_with('a') { 'b' } else { 'a' };
        let mistyped = format!("{}{other}{}", &text[..9], &text[10..]);
        let cases = [
            (String::new(), "not a token: it begins with `fizz-`; compare it with"),
            ("fizz".to_owned(), "not a token: it begins with `fizz-`; compare it with"),
            ("fizz-".to_owned(), "a token has 26 characters, and this has only 5; compare"),
            (text[..25].to_owned(), "a token has 26 characters, and this has only 25; compare"),
            (format!("{}a", *text), "a token has 26 characters, and this has 27; compare"),
            ("fizz-a".repeat(999), "a token has 26 characters, and this has 5994; compare"),
            (text.replace('a', "1"), "digits from 2 to 7 after `fizz-`, but character 6 is '1'"),
            (format!("{}\n{}", &text[..9], &text[9..]), "but character 10 is '\\n'"),
            (format!("{}é{}", &text[..9], &text[10..]), "but character 10 is 'é'"),
            (mistyped, "a token is mistyped: compare it with the output of `fizz"),
            (whole(2, &[1; 30]), "a token was made by a newer fizz (format 2): upgrade fizz"),
            (whole(0, &[1; 8]), "a token was made by a newer fizz (format 0): upgrade fizz"),
            (whole(1, &[1; 9]), "a token is mistyped"),
            (secret.to_string(), "a token is wanted here, and this is a cluster's secret: give it"),
        ];
        for (wrong, expected) in cases {
            let said = decoded(Kind::Token, &wrong).unwrap_err().to_string();
            assert!(said.contains(expected), "`{said}` has no `{expected}`");
        }
        let said = decoded(Kind::Secret, &text).unwrap_err().to_string();
        assert!(
            said.contains("a cluster's secret is wanted here, and this is a join token"),
            "{said}"
        );
    }

    proptest! {
        #[test]
        fn content_reads_back_as_it_was(content: [u8; 8], odd: [u8; 9]) {
            prop_assert_eq!(decoded(Kind::Token, &encode(Kind::Token, &content)), Ok(content));
            let text = encode(Kind::Secret, &odd);
            prop_assert_eq!(decode::<9>(Kind::Secret, &text).map(|it| *it), Ok(odd));
        }

        #[test]
        fn no_text_makes_it_panic(text in "(fizz-)?(secret-)?\\PC{0,60}") {
            prop_assert!(decoded(Kind::Token, &text).is_err());
            prop_assert!(decoded(Kind::Secret, &text).is_err());
        }
    }
}
