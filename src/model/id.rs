//! Names and identifiers, parsed once at the door.

use std::{fmt, str::FromStr, sync::Arc};

/// The longest project or service name: both appear in one DNS label or beside one another in a
/// container's name.
const NAME_BYTES_MAX: usize = 128;

/// A name that was refused, and what would have been right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` can't be {what}: {why}")]
pub struct InvalidName {
    /// The refused text.
    pub text: String,
    /// What it was to name, with its article: "a service name".
    pub what: &'static str,
    /// The rule.
    pub why: &'static str,
}

/// Declares a checked, cheaply cloned name.
macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $first:expr, $rest:expr, $why:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Arc<str>);

        impl $type {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                let (first, rest): (fn(char) -> bool, fn(char) -> bool) = ($first, $rest);
                let mut chars = text.chars();
                let right = chars.next().is_some_and(first)
                    && chars.all(rest)
                    && text.len() <= NAME_BYTES_MAX;
                if right {
                    Ok(Self(text.into()))
                } else {
                    Err(InvalidName { text: text.to_owned(), what: $what, why: $why })
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

fn lower(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

fn word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')
}

name! {
    /// The name of a project: a deployed Compose file.
    ///
    /// ```
    /// use fizz::model::ProjectName;
    /// assert!("shop".parse::<ProjectName>().is_ok());
    /// assert!("Shop".parse::<ProjectName>().is_err());
    /// ```
    ProjectName, "a project name", lower, |c| lower(c) || matches!(c, '_' | '-'),
    "use 1 to 128 lower-case letters, digits, `-` and `_`, beginning with a letter or a digit"
}

name! {
    /// The name of a service, as written under `services:` in a Compose file.
    ServiceName, "a service name", word, word,
    "use 1 to 128 letters, digits, `.`, `-` and `_`"
}

name! {
    /// The name of a container, as the runtime knows it.
    ContainerName, "a container name", |c| c.is_ascii_alphanumeric(), word,
    "use 2 to 128 letters, digits, `.`, `-` and `_`, beginning with a letter or a digit"
}

name! {
    /// What a person calls a node: its host name unless configured otherwise.
    NodeName, "a node name", |c| c.is_ascii_alphanumeric(), word,
    "use 1 to 128 letters, digits, `.`, `-` and `_`, beginning with a letter or a digit"
}

impl ContainerName {
    /// A container's name where its id must do.
    #[must_use]
    pub fn of(id: ContainerId) -> Self {
        Self(id.to_string().into())
    }
}

/// Declares a 128-bit identifier written as 32 hexadecimal digits.
macro_rules! hex_id {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(pub u128);

        impl $type {
            /// The first twelve digits, enough for people to tell a few thousand apart.
            #[must_use]
            pub fn short(self) -> String {
                format!("{:012x}", self.0 >> 80)
            }
        }

        impl FromStr for $type {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                let right = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
                let number = right.then(|| u128::from_str_radix(text, 16).ok()).flatten();
                number.map(Self).ok_or_else(|| InvalidName {
                    text: text.to_owned(),
                    what: $what,
                    why: "it has 32 hexadecimal digits",
                })
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }
    };
}

hex_id! {
    /// A node, for as long as its key lives: the first 128 bits of the SHA-256 of its ed25519
    /// public key, so that nobody else can claim it.
    NodeId, "a node id"
}

hex_id! {
    /// A cluster, random and made with it: names may be used twice, this is not.
    ClusterId, "a cluster id"
}

hex_id! {
    /// One container of one service on one node, random and never used again.
    ContainerId, "a container id"
}

hex_id! {
    /// What a container was made from: the first 128 bits of the SHA-256 of everything in a
    /// service's definition that a running container cannot change.
    Revision, "a revision"
}

/// An image by content, as the runtime reports it: `sha256:...`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageId(pub Arc<str>);

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which of a service's replicas, counted from one as in `web-1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u32);

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A service of a project; projects are name spaces.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey {
    /// The project.
    pub project: ProjectName,
    /// The service within it.
    pub service: ServiceName,
}

impl ServiceKey {
    /// What sorts before every service of a project.
    #[must_use]
    pub fn first_of(project: ProjectName) -> Self {
        Self { project, service: ServiceName("".into()) }
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.project, self.service)
    }
}

/// A join token, written as sixteen hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(pub u64);

impl FromStr for TokenId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let right = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let number = right.then(|| u64::from_str_radix(text, 16).ok()).flatten();
        number.map(Self).ok_or_else(|| InvalidName {
            text: text.to_owned(),
            what: "a token's id",
            why: "it has 16 hexadecimal digits; see `fizz token list`",
        })
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What a node is reached with through the mesh: the public part of its X25519 key (RFC 7748), which no
/// other has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublicKey(pub [u8; 32]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_foreign_character_is_refused_with_the_rule() {
        let error = "Web!".parse::<ServiceName>().unwrap_err();
        assert!(error.to_string().contains("letters, digits"), "{error}");
        assert!("".parse::<ServiceName>().is_err());
        assert!("-x".parse::<ProjectName>().is_err());
        assert!("x".repeat(129).parse::<ProjectName>().is_err());
    }

    #[test]
    fn an_id_reads_back_as_it_was_written() {
        let id = ContainerId(0x00ab << 100);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!(id.to_string().starts_with(&id.short()));
        assert!("+0000000000000000000000000000001".parse::<NodeId>().is_err());
    }
}
