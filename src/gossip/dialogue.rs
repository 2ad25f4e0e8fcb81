//! What members say to each other on streams, and newcomers to members: postcard documents.
//!
//! These are forms: what they hold is checked where it is taken out.

use std::net::SocketAddr;

use miniz_oxide::{deflate, inflate};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{
    Fetched,
    keyring::{Epoch, Keyring},
};
use crate::state::{
    CodecError, Inventory, ReplicaId, VersionVector, WRITE_BYTES_MAX, Write, decode_inventory,
    decode_vector, decode_write, encode_inventory, encode_vector,
};

/// How hard writes are compressed, 1 to 10: beyond this it takes long for little.
const LEVEL: u8 = 4;

/// The longest list of writes: one that is as long as may be, and others.
const PIECE_BYTES_MAX: usize = WRITE_BYTES_MAX + (256 << 10);

/// Who lacks something says what it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Want {
    seen: Vec<u8>,
    enter: Option<u64>,
}

/// What is told to who lacks something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Told {
    /// Some writes: a list of them, encoded, as a whole deflated (RFC 1951): they are alike.
    Piece(Vec<u8>),
    /// All that the asker lacks has come; this is what the teller has seen.
    Delta(Vec<u8>),
    /// Everything has come; this is what stands.
    Full(Vec<u8>),
    /// Nothing comes, for this reason.
    Refused(String),
}

/// What comes next of what is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Some writes.
    Writes(Vec<Write>),
    /// All came.
    Ended(Fetched),
    /// Nothing comes.
    Refused(String),
}

/// What a newcomer says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// What people call it.
    pub name: String,
    /// As whom it will write.
    pub replica: u64,
    /// What the cluster's keys are wrapped to.
    pub recipient: String,
    /// Where it listens; an unspecified address is that which it comes from.
    pub address: SocketAddr,
    /// Its wall clock, in milliseconds since the Unix epoch.
    pub clock: u64,
}

/// What a newcomer is told.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// It may not come, for this reason.
    Refused(String),
    /// It is in. The state follows.
    Welcome(Welcome),
}

/// What makes a newcomer a member.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The cluster's id.
    pub cluster: u128,
    /// What people call it.
    pub name: String,
    /// Its roots, by epoch.
    roots: Vec<(u32, [u8; 32])>,
    /// The identity that its secrets are sealed to.
    vault: String,
}

impl std::fmt::Debug for Welcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Welcome").field("cluster", &self.cluster).field("name", &self.name).finish()
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(why) => f.debug_tuple("Refused").field(why).finish(),
            Self::Welcome(welcome) => f.debug_tuple("Welcome").field(welcome).finish(),
        }
    }
}

impl Drop for Welcome {
    fn drop(&mut self) {
        use zeroize::Zeroize;
        self.roots.iter_mut().for_each(|(_, root)| root.zeroize());
        self.vault.zeroize();
    }
}

impl Want {
    /// Who has seen this wants the rest; `enter`: it comes in again, as this writer.
    pub fn new(seen: &VersionVector, enter: Option<ReplicaId>) -> Result<Self, CodecError> {
        Ok(Self { seen: encode_vector(seen)?, enter: enter.map(|it| it.0) })
    }

    /// What the asker has seen.
    pub fn seen(&self) -> Result<VersionVector, CodecError> {
        decode_vector(&self.seen)
    }

    /// As whom it comes in again, if it does.
    #[must_use]
    pub fn enters(&self) -> Option<ReplicaId> {
        self.enter.map(ReplicaId)
    }
}

impl Told {
    /// Some writes, encoded.
    pub fn piece(writes: &[Vec<u8>]) -> Result<Self, CodecError> {
        let list = postcard::to_stdvec(writes).map_err(|error| damaged(&error))?;
        Ok(Self::Piece(deflate::compress_to_vec(&list, LEVEL)))
    }

    /// The end of what somebody lacked.
    pub fn delta(seen: &VersionVector) -> Result<Self, CodecError> {
        encode_vector(seen).map(Self::Delta)
    }

    /// The end of everything.
    pub fn full(inventory: &Inventory) -> Result<Self, CodecError> {
        encode_inventory(inventory).map(Self::Full)
    }

    /// What it says.
    pub fn read(self) -> Result<Next, CodecError> {
        Ok(match self {
            Self::Piece(packed) => {
                let list = inflate::decompress_to_vec_with_limit(&packed, PIECE_BYTES_MAX);
                let list = list.map_err(|error| damaged(&error))?;
                let writes: Vec<Vec<u8>> =
                    postcard::from_bytes(&list).map_err(|error| damaged(&error))?;
                let writes: Result<_, _> = writes.iter().map(|it| decode_write(it)).collect();
                Next::Writes(writes?)
            }
            Self::Delta(seen) => Next::Ended(Fetched::Delta(decode_vector(&seen)?)),
            Self::Full(inventory) => Next::Ended(Fetched::Full(decode_inventory(&inventory)?)),
            Self::Refused(why) => Next::Refused(why),
        })
    }
}

impl Welcome {
    /// Into a cluster with these keys and this identity for its secrets.
    #[must_use]
    pub fn new(cluster: u128, name: String, keys: &Keyring, vault: &str) -> Self {
        let roots = keys.iter().map(|(epoch, root)| (epoch.0, **root)).collect();
        Self { cluster, name, roots, vault: vault.to_owned() }
    }

    /// The cluster's keys. `None`: it told none.
    #[must_use]
    pub fn keys(&self) -> Option<Keyring> {
        let mut roots =
            self.roots.iter().map(|(epoch, root)| (Epoch(*epoch), Zeroizing::new(*root)));
        let (epoch, root) = roots.next()?;
        let mut keys = Keyring::new(epoch, root);
        roots.for_each(|(epoch, root)| keys.add(epoch, root));
        Some(keys)
    }

    /// The identity that its secrets are sealed to.
    #[must_use]
    pub fn vault(&self) -> Zeroizing<String> {
        Zeroizing::new(self.vault.clone())
    }
}

fn damaged(error: &dyn std::fmt::Display) -> CodecError {
    CodecError::Damaged(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Dot;
    use proptest::prelude::*;

    fn hex(message: &impl Serialize) -> String {
        let bytes = postcard::to_stdvec(message).unwrap();
        bytes.iter().map(|it| format!("{it:02x}")).collect()
    }

    fn hello() -> Hello {
        Hello {
            name: "one".to_owned(),
            replica: 300,
            recipient: "age1".to_owned(),
            address: ([10, 0, 0, 1], 7780).into(),
            clock: 1_000,
        }
    }

    #[test]
    fn the_format_is_what_it_was() {
        let seen = VersionVector::from_iter([Dot { replica: ReplicaId(5), sequence: 9 }]);
        let keys = Keyring::new(Epoch(1), Zeroizing::new([7; 32]));
        let welcome = Welcome::new(2, "home".to_owned(), &keys, "AGE");
        let golden = [
            (hex(&Want::new(&seen, Some(ReplicaId(1))).unwrap()), "04010105090101"),
            // As zlib reads it: 01 01 aa.
            (hex(&Told::piece(&[vec![0xaa]]).unwrap()), "000563645c0500"),
            (hex(&Told::delta(&seen).unwrap()), "010401010509"),
            (hex(&Told::Refused("no".to_owned())), "03026e6f"),
            (hex(&hello()), "036f6e65ac020461676531000a000001e43ce807"),
        ];
        for (bytes, expected) in golden {
            assert_eq!(bytes, expected);
        }
        let expected = format!("0102 04686f6d65 0101{} 03414745", "07".repeat(32)).replace(' ', "");
        assert_eq!(hex(&Answer::Welcome(welcome.clone())), expected);
        assert_eq!(welcome.keys().unwrap().newest(), Epoch(1));
        assert!(!format!("{welcome:?}").contains("AGE"));
    }

    #[test]
    fn a_piece_that_would_fill_the_memory_is_refused() {
        let bomb = Told::Piece(deflate::compress_to_vec(&vec![0; PIECE_BYTES_MAX + 1], 9));
        assert!(matches!(bomb.read(), Err(CodecError::Damaged(_))));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(told) = postcard::from_bytes::<Told>(&bytes) {
                let _read = told.read();
            }
            if let Ok(want) = postcard::from_bytes::<Want>(&bytes) {
                let _seen = want.seen();
            }
            let _hello = postcard::from_bytes::<Hello>(&bytes);
            if let Ok(Answer::Welcome(welcome)) = postcard::from_bytes::<Answer>(&bytes) {
                let _keys = welcome.keys();
            }
        }
    }
}
