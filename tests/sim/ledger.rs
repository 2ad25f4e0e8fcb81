//! What is known to all who look from above: every write there ever was, and what users were promised.
//!
//! From all writes that a state has seen follows what it must show (`docs/PROTOCOL.md`, "Strong eventual
//! consistency"): those that no other that it has seen follows. That is held against what it does show.

use std::collections::{BTreeMap, BTreeSet};

use fizz::{
    model::mix,
    state::{Change, ClusterState, Digest, Dot, ReplicaId, VersionVector, Write, encode_write},
};

/// A write, as far as others may know of it.
struct Known {
    write: Write,
    bytes: u64,
    is_value: bool,
}

/// A user was told that a write is there.
pub(crate) struct Promise {
    pub(crate) dot: Dot,
    pub(crate) what: String,
}

#[derive(Default)]
pub(crate) struct Ledger {
    writes: BTreeMap<Dot, Known>,
    keys: BTreeMap<String, BTreeSet<Dot>>,
    pub(crate) promises: Vec<Promise>,
    /// Writers that may take writes with them: their directory was set back, or they are no members any
    /// more.
    pub(crate) lost: BTreeSet<ReplicaId>,
    contents: BTreeMap<Digest, [u8; 32]>,
}

/// A change's key, and whether it is a value.
pub(crate) fn key_of(change: &Change) -> (String, bool) {
    match change {
        Change::Node(key, value) => (format!("node {key}"), value.is_some()),
        Change::Service(key, value) => (format!("service {key}"), value.is_some()),
        Change::Deployment(key, value) => (format!("deployment {key}"), value.is_some()),
        Change::Secret(key, value) => (format!("secret {key:?}"), value.is_some()),
        Change::Container(key, value) => (format!("container {key}"), value.is_some()),
        Change::Revision(key, value) => (format!("revision {key:?}"), value.is_some()),
        Change::IpAllocation(key, value) => (format!("address {key:?}"), value.is_some()),
    }
}

/// Bytes as a number.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    bytes.chunks(8).fold(bytes.len() as u64, |sum, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        mix(sum ^ u64::from_le_bytes(word)).wrapping_add(0x9e37_79b9_7f4a_7c15)
    })
}

impl Ledger {
    /// A write that is durable somewhere.
    pub(crate) fn note(&mut self, write: &Write) -> Result<(), String> {
        let bytes = hash(&encode_write(write).unwrap());
        if let Some(known) = self.writes.get(&write.dot) {
            return if known.bytes == bytes {
                Ok(())
            } else {
                Err(format!("two writes bear one dot: {write:?} and {:?}", known.write))
            };
        }
        let (key, is_value) = key_of(&write.change);
        self.keys.entry(key).or_default().insert(write.dot);
        self.writes.insert(write.dot, Known { write: write.clone(), bytes, is_value });
        Ok(())
    }

    /// Equal vectors, no gaps: equal contents.
    pub(crate) fn compare(&mut self, state: &ClusterState) -> Result<(), String> {
        if state.has_gaps() {
            return Ok(());
        }
        let content = state.content_hash().unwrap();
        if *self.contents.entry(state.digest()).or_insert(content) == content {
            return Ok(());
        }
        self.check(state)?;
        Err(format!("equal vectors, and other contents: {:?}", state.seen()))
    }

    /// A writer was set back: what nobody has of it any more was never there.
    pub(crate) fn forget(&mut self, remembered: impl Fn(Dot) -> bool) {
        let lost = self.writes.keys().copied();
        let lost = lost.filter(|it| self.lost.contains(&it.replica) && !remembered(*it));
        let lost: Vec<Dot> = lost.collect();
        for dot in lost {
            self.writes.remove(&dot);
            for dots in self.keys.values_mut() {
                dots.remove(&dot);
            }
            self.promises.retain(|it| it.dot != dot);
            self.contents.clear();
        }
    }

    fn follows(&self, later: Dot, earlier: Dot) -> bool {
        let own = later.replica == earlier.replica && earlier.sequence < later.sequence;
        own || self.writes.get(&later).is_some_and(|it| it.write.past.has(earlier))
    }

    /// That a state shows just what it must, by all that it has seen.
    pub(crate) fn check(&self, state: &ClusterState) -> Result<(), String> {
        let mut shown: BTreeMap<String, BTreeSet<Dot>> = BTreeMap::new();
        let nothing = VersionVector::default();
        for write in state.delta_since(&nothing) {
            let (key, is_value) = key_of(&write.change);
            if is_value {
                shown.entry(key).or_default().insert(write.dot);
            }
        }
        for (key, dots) in &self.keys {
            let seen: Vec<Dot> = dots.iter().copied().filter(|it| state.knows(*it)).collect();
            let stands = |it: &Dot| {
                self.writes[it].is_value && !seen.iter().any(|other| self.follows(*other, *it))
            };
            let must: BTreeSet<Dot> = seen.iter().copied().filter(stands).collect();
            // What is on its way to the own disk is not in the books yet.
            let shows = shown.remove(key).unwrap_or_default();
            let shows: BTreeSet<Dot> =
                shows.into_iter().filter(|it| self.writes.contains_key(it)).collect();
            if must != shows {
                let nothing = VersionVector::default();
                let writes = state.delta_since(&nothing).filter(|it| key_of(&it.change).0 == *key);
                let writes: Vec<_> = writes.map(|it| (it.dot, it.past)).collect();
                let known =
                    dots.iter().map(|it| (it, &self.writes[it].write.past, state.knows(*it)));
                let known: Vec<_> = known.collect();
                return Err(format!(
                    "of {key} it must show {must:?} and shows {shows:?}; it has {writes:?} of {known:?}"
                ));
            }
        }
        Ok(())
    }

    /// Whether a state has seen a write, or one that followed it.
    fn accounts_for(&self, state: &ClusterState, dot: Dot) -> bool {
        let key = self.writes.get(&dot).map(|it| key_of(&it.write.change).0);
        let mut others = key.iter().filter_map(|it| self.keys.get(it)).flatten();
        state.knows(dot) || others.any(|it| state.knows(*it) && self.follows(*it, dot))
    }

    /// That all have what users were promised.
    pub(crate) fn kept(&self, states: &[&ClusterState]) -> Result<(), String> {
        for promise in &self.promises {
            let with = states.iter().filter(|it| self.accounts_for(it, promise.dot)).count();
            let may_be_lost = self.lost.contains(&promise.dot.replica) && with == 0;
            if with < states.len() && !may_be_lost {
                let Promise { dot, what } = promise;
                return Err(format!("a user was promised {what} ({dot:?}), and {with} have it"));
            }
        }
        Ok(())
    }
}

impl Ledger {
    /// How many removals there ever were.
    pub(crate) fn removals(&self) -> u64 {
        self.writes.values().filter(|it| !it.is_value).count() as u64
    }
}
