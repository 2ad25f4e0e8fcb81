//! The replicated state on disk: redb, a copy-on-write B-tree that survives a crash at any point.
//!
//! One table holds the rows of [`state::encode`], one what belongs to this directory alone. Every
//! commit is synchronised before it returns, and one commit takes the writes of many events.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

use rand_core::{OsRng, RngCore};
use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError,
    TableDefinition,
};

use super::disk;
use crate::{
    model::WallTime,
    state::{self, ClusterState, CodecError, ReplicaId, Step},
};

const FILE: &str = "state.redb";
const STATE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("state");
const OWN: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("own");
const PULLS: TableDefinition<'_, &str, u64> = TableDefinition::new("pulls");

/// Which writer this directory is.
const REPLICA: &str = "replica";
/// Whose cluster's state it holds.
const CLUSTER: &str = "cluster";

/// Pages kept in memory. The state is read once, at start.
const CACHE_BYTES_MAX: usize = 2 << 20;

/// Why the state could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system or the database said no.
    #[error("can't {doing} {}: {why}", path.display())]
    Io {
        /// `open`, `read`, `write`.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What it said.
        why: String,
    },
    /// Not what was written.
    #[error(
        "{} is damaged ({why}). It was left as it is and no container was touched. Restore it from a \
         backup; or move it away, start again and `fizz up` each project anew", path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// In which way.
        why: String,
    },
    /// Another cluster's.
    #[error(
        "{} belongs to the cluster `{stored}`, and `cluster.name` says `{configured}`: set the name \
         back, or give the other cluster its own `data_dir`", path.display()
    )]
    OtherCluster {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        stored: String,
        /// Whose it should be.
        configured: String,
    },
    /// A row that this version cannot read or write.
    #[error(
        "{} has a row that can't be used: {why}. It was left as it is and no container was touched. \
         If upgrading fizz doesn't help, restore it from a backup; or move it away and start again",
        path.display()
    )]
    Row {
        /// The file.
        path: PathBuf,
        /// In which way.
        why: CodecError,
    },
}

/// The state on disk.
#[derive(Debug)]
pub struct Store {
    database: Database,
    path: PathBuf,
}

impl Store {
    /// Opens the database of a data directory, or makes it, and reads the state.
    pub fn open(data_dir: &Path, cluster: &str) -> Result<(Self, ClusterState), StoreError> {
        let path = data_dir.join(FILE);
        if !path.exists() {
            make(&path, cluster)?;
        }
        // A file that was changed by others than redb is told here, rather than met later.
        let opened = builder().set_check_integrity_on_open(true).open(&path);
        let database = opened.map_err(|error| refusal(&path, error))?;
        let store = Self { database, path };
        store.check_cluster(cluster)?;
        let state = store.load()?;
        Ok((store, state))
    }

    /// Makes steps of the state durable, all or none.
    pub fn commit(&self, steps: &[Step]) -> Result<(), StoreError> {
        let mut rows = vec![];
        for step in steps {
            rows.extend(state::encode(step).map_err(|why| self.row(why))?);
        }
        let commit = || -> Result<(), redb::Error> {
            let transaction = self.database.begin_write()?;
            {
                let mut table = transaction.open_table(STATE)?;
                for row in &rows {
                    match &row.value {
                        Some(value) => table.insert(row.key.as_slice(), value.as_slice())?,
                        None => table.remove(row.key.as_slice())?,
                    };
                }
            }
            transaction.commit()?;
            Ok(())
        };
        commit().map_err(self.io("write"))
    }

    /// Notes when an image was fetched, for pull policies that ask for its age.
    pub fn note_pull(&self, image: &str, at: WallTime) -> Result<(), StoreError> {
        let note = || -> Result<(), redb::Error> {
            let transaction = self.database.begin_write()?;
            transaction.open_table(PULLS)?.insert(image, at.0)?;
            transaction.commit()?;
            Ok(())
        };
        note().map_err(self.io("write"))
    }

    /// When an image was last fetched by this daemon.
    pub fn last_pull(&self, image: &str) -> Result<Option<WallTime>, StoreError> {
        let read = || -> Result<Option<WallTime>, redb::Error> {
            let table = self.database.begin_read()?.open_table(PULLS)?;
            Ok(table.get(image)?.map(|it| WallTime(it.value())))
        };
        read().map_err(self.io("read"))
    }

    /// An error of this store that came from elsewhere.
    pub(super) fn failed(&self, doing: &'static str, why: &dyn std::fmt::Display) -> StoreError {
        StoreError::Io { doing, path: self.path.clone(), why: why.to_string() }
    }

    fn check_cluster(&self, configured: &str) -> Result<(), StoreError> {
        let stored = self.own(CLUSTER)?;
        let stored = String::from_utf8_lossy(&stored).into_owned();
        if stored == configured {
            return Ok(());
        }
        let (path, configured) = (self.path.clone(), configured.to_owned());
        Err(StoreError::OtherCluster { path, stored, configured })
    }

    fn load(&self) -> Result<ClusterState, StoreError> {
        let replica = self.own(REPLICA)?.try_into().map(u64::from_be_bytes);
        let replica = replica.map_err(|_| self.damaged("the replica's id has a wrong length"))?;
        let mut state = ClusterState::new(ReplicaId(replica));
        let open =
            || -> Result<_, redb::Error> { Ok(self.database.begin_read()?.open_table(STATE)?) };
        let table = open().map_err(self.io("read"))?;
        for row in table.iter().map_err(|it| self.damaged(it))? {
            let (key, value) = row.map_err(|it| self.damaged(it))?;
            state::decode(&mut state, key.value(), value.value()).map_err(|why| self.row(why))?;
        }
        Ok(state)
    }

    fn own(&self, key: &str) -> Result<Vec<u8>, StoreError> {
        let read = || -> Result<_, redb::Error> {
            let table = self.database.begin_read()?.open_table(OWN)?;
            Ok(table.get(key)?.map(|it| it.value().to_vec()))
        };
        let value = read().map_err(self.io("read"))?;
        value.ok_or_else(|| self.damaged(format!("it has no row `{key}`")))
    }

    fn io(&self, doing: &'static str) -> impl FnOnce(redb::Error) -> StoreError {
        let path = self.path.clone();
        move |error| StoreError::Io { doing, path, why: error.to_string() }
    }

    fn row(&self, why: CodecError) -> StoreError {
        StoreError::Row { path: self.path.clone(), why }
    }

    fn damaged(&self, why: impl ToString) -> StoreError {
        StoreError::Damaged { path: self.path.clone(), why: why.to_string() }
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES_MAX);
    builder
}

/// Makes the database beside its place first: whatever stands at its place was once whole, and an
/// empty or short file there is damage, not a first run.
fn make(path: &Path, cluster: &str) -> Result<(), StoreError> {
    let io = |why: String| StoreError::Io { doing: "make", path: path.to_owned(), why };
    let new = disk::beside(path);
    let file = disk::create(&new, 0o600).map_err(|it| io(it.to_string()))?;
    drop(file);
    let fill = || -> Result<(), redb::Error> {
        let database = builder().create(&new)?;
        let transaction = database.begin_write()?;
        {
            let mut own = transaction.open_table(OWN)?;
            own.insert(REPLICA, OsRng.next_u64().to_be_bytes().as_slice())?;
            own.insert(CLUSTER, cluster.as_bytes())?;
            transaction.open_table(STATE)?;
            transaction.open_table(PULLS)?;
        }
        transaction.commit()?;
        Ok(())
    };
    fill().map_err(|it| io(it.to_string()))?;
    let place = || {
        std::fs::rename(&new, path)?;
        disk::sync_directory(path)
    };
    place().map_err(|it: std::io::Error| io(it.to_string()))
}

fn refusal(path: &Path, error: DatabaseError) -> StoreError {
    let (path, why) = (path.to_owned(), error.to_string());
    let damaged = if let DatabaseError::Storage(StorageError::Io(error)) = &error {
        matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof)
    } else {
        matches!(error, DatabaseError::Storage(StorageError::Corrupted(_)))
    };
    if damaged {
        StoreError::Damaged { path, why }
    } else {
        StoreError::Io { doing: "open", path, why }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        daemon::disk::tests::Scratch,
        state::{Change, SealedSecret, SecretPath},
    };
    use std::sync::Arc;

    fn secret(key: &str, byte: u8) -> Change {
        let path = SecretPath::Project("shop".parse().unwrap(), key.to_owned());
        let sealed = SealedSecret { ciphertext: vec![byte; 64], fingerprint: [byte; 16] };
        Change::Secret(path, Some(Arc::new(sealed)))
    }

    fn filled(scratch: &Scratch) -> ClusterState {
        let (store, mut state) = Store::open(&scratch.0, "home").unwrap();
        for byte in 0..50 {
            let step = state.commit(secret(&format!("key{}", byte % 20), byte), WallTime(7));
            store.commit(&[step]).unwrap();
        }
        state
    }

    #[test]
    fn what_was_committed_is_there_after_a_restart() {
        let scratch = Scratch::new();
        let state = filled(&scratch);
        let (_, again) = Store::open(&scratch.0, "home").unwrap();
        assert_eq!(again, state);
    }

    #[test]
    fn a_directory_keeps_to_its_cluster() {
        let scratch = Scratch::new();
        filled(&scratch);
        let error = Store::open(&scratch.0, "away").unwrap_err().to_string();
        assert!(error.contains("belongs to the cluster `home`"), "{error}");
    }

    #[test]
    fn a_damaged_database_is_a_clear_error_and_stays_as_it_is() {
        let scratch = Scratch::new();
        filled(&scratch);
        let path = scratch.0.join(FILE);
        let right = std::fs::read(&path).unwrap();
        let mut wrongs =
            vec![vec![], b"not a database".to_vec(), right[..right.len() / 2].to_vec()];
        wrongs.push(right.iter().map(|byte| byte ^ 0x55).collect());
        let mut spoiled = right.clone();
        let at = spoiled.windows(8).position(|it| it == [49; 8]).unwrap();
        spoiled[at] ^= 1;
        wrongs.push(spoiled);
        for (index, wrong) in wrongs.into_iter().enumerate() {
            std::fs::write(&path, &wrong).unwrap();
            let error = Store::open(&scratch.0, "home").unwrap_err();
            assert!(matches!(error, StoreError::Damaged { .. }), "{index}: {error}");
            assert!(std::fs::read(&path).unwrap() == wrong, "{index} was changed");
        }
    }

    #[test]
    fn the_time_of_a_pull_is_remembered() {
        let scratch = Scratch::new();
        let (store, _) = Store::open(&scratch.0, "home").unwrap();
        assert_eq!(store.last_pull("busybox").unwrap(), None);
        store.note_pull("busybox", WallTime(5)).unwrap();
        assert_eq!(store.last_pull("busybox").unwrap(), Some(WallTime(5)));
    }
}
