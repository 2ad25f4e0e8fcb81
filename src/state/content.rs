//! What a state shows, in one hash: members that have seen the same show the same.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::{
    change::{Place, Write},
    cluster::ClusterState,
    damage::CodecError,
    wire,
};

impl ClusterState {
    /// The SHA-256 of everything that can be seen: every value with its dot and stamp, whether it
    /// stands or is a conflict. Removals count only in that they win over a value, because members
    /// collect them at different times.
    ///
    /// Members with the same vector and without gaps have the same.
    pub fn content_hash(&self) -> Result<[u8; 32], CodecError> {
        let mut places: BTreeMap<&Place, Vec<Write>> = BTreeMap::new();
        for place in self.context.live().values() {
            places.entry(place).or_insert_with(|| self.collections.writes_of(place));
        }
        let mut hash = Sha256::new();
        for (place, writes) in places {
            if place.kind().is_map() && writes.iter().any(|it| !it.change.is_removal()) {
                let standing = self.collections.standing(place);
                hash.update([u8::from(standing.is_some_and(|it| it.change.is_removal()))]);
            }
            for write in writes.iter().filter(|it| !it.change.is_removal()) {
                let bytes = wire::encode_write(write)?;
                hash.update((bytes.len() as u64).to_be_bytes());
                hash.update(bytes);
            }
        }
        Ok(hash.finalize().into())
    }
}
