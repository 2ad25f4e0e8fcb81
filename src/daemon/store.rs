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
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, Table,
    TableDefinition,
};
use zeroize::Zeroizing;

use super::disk;
use crate::{
    gossip::{Epoch, Keyring},
    model::{ClusterId, WallTime},
    state::{self, ClusterState, CodecError, ReplicaId, Row, Step},
};

const FILE: &str = "state.redb";
const STATE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("state");
const OWN: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("own");
const PULLS: TableDefinition<'_, &str, u64> = TableDefinition::new("pulls");

type StateTable<'a> = Table<'a, &'static [u8], &'static [u8]>;
type OwnTable<'a> = Table<'a, &'static str, &'static [u8]>;

/// How the cluster knows this node on its disk.
const CLUSTER_ID: &str = "cluster-id";
const KEYS: &str = "keys";
const VAULT: &str = "vault";
const LIFE: &str = "life";

/// A database that was made for a cluster, whole, and takes the place of the one before at the next start.
const JOINED: &str = "state.redb.joined";

/// The name of a cluster that was given none.
pub(super) const UNNAMED: &str = "fizz";

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

/// What makes a node a member.
#[derive(Clone)]
pub struct Credentials {
    /// Whose.
    pub id: ClusterId,
    /// What people call it.
    pub name: String,
    /// Its keys.
    pub keys: Keyring,
    /// The identity that its secrets are sealed to, where it was given; else it is a file of its own.
    pub vault: Option<Zeroizing<String>>,
}

/// The state on disk.
#[derive(Debug)]
pub struct Store {
    database: Database,
    path: PathBuf,
}

impl Store {
    /// Opens the database of a data directory, or makes it, and reads the state. `named` is what the
    /// cluster is to be called, where that is said.
    pub fn open(data_dir: &Path, named: Option<&str>) -> Result<(Self, ClusterState), StoreError> {
        let path = data_dir.join(FILE);
        let joined = data_dir.join(JOINED);
        if joined.exists() {
            replace(&joined, &path)?;
        }
        if !path.exists() {
            make(&path, |own, _| {
                own.insert(REPLICA, OsRng.next_u64().to_be_bytes().as_slice())?;
                own.insert(CLUSTER, named.unwrap_or(UNNAMED).as_bytes())?;
                Ok(())
            })?;
        }
        // A file that was changed by others than redb is told here, rather than met later.
        let opened = builder().set_check_integrity_on_open(true).open(&path);
        let database = opened.map_err(|error| refusal(&path, error))?;
        let store = Self { database, path };
        if let Some(named) = named {
            store.check_cluster(named)?;
        }
        let state = store.load()?;
        Ok((store, state))
    }

    /// Makes the database of a node that has come into a cluster. It is used from the next start on.
    pub fn make_joined(
        data_dir: &Path,
        credentials: &Credentials,
        replica: ReplicaId,
        steps: &[Step],
    ) -> Result<(), StoreError> {
        let path = data_dir.join(JOINED);
        let row = |why| StoreError::Row { path: path.clone(), why };
        let mut rows = vec![];
        for step in steps {
            rows.extend(state::encode(step).map_err(row)?);
        }
        make(&path, |own, table| {
            own.insert(REPLICA, replica.0.to_be_bytes().as_slice())?;
            put_credentials(own, credentials)?;
            put_rows(table, &rows)
        })
    }

    /// What makes this node a member, if it is one.
    pub fn credentials(&self) -> Result<Option<Credentials>, StoreError> {
        let Some(id) = self.own_if_there(CLUSTER_ID)? else { return Ok(None) };
        let id: [u8; 16] =
            id.try_into().map_err(|_| self.damaged("the cluster's id has a wrong length"))?;
        let keys = Zeroizing::new(self.own(KEYS)?);
        let keys: Vec<(u32, [u8; 32])> =
            postcard::from_bytes(&keys).map_err(|error| self.damaged(error))?;
        let mut keys = keys.into_iter().map(|(epoch, key)| (Epoch(epoch), Zeroizing::new(key)));
        let first = keys.next().ok_or_else(|| self.damaged("the cluster has no keys"))?;
        let mut ring = Keyring::new(first.0, first.1);
        keys.for_each(|(epoch, key)| ring.add(epoch, key));
        let vault = self.own_if_there(VAULT)?;
        let vault = vault.map(|it| Zeroizing::new(String::from_utf8_lossy(&it).into_owned()));
        let id = ClusterId(u128::from_be_bytes(id));
        Ok(Some(Credentials { id, name: self.cluster()?, keys: ring, vault }))
    }

    /// Makes this node a member of a cluster that has its state.
    pub fn keep_credentials(&self, credentials: &Credentials) -> Result<(), StoreError> {
        self.put_own(|own| put_credentials(own, credentials))
    }

    /// Keeps the cluster's keys as they are now.
    pub fn keep_keys(&self, keys: &Keyring) -> Result<(), StoreError> {
        self.put_own(|own| put_keys(own, keys))
    }

    /// The number of a life that begins now: above those of all lives before, and it is kept when this
    /// returns.
    pub fn next_life(&self, now: WallTime) -> Result<u32, StoreError> {
        let last = self.own_if_there(LIFE)?.and_then(|it| it.try_into().ok());
        let last = last.map_or(0, u32::from_be_bytes);
        let life = u32::try_from(now.0 / 1000).unwrap_or(0).max(last.saturating_add(1));
        self.put_own(|own| own.insert(LIFE, life.to_be_bytes().as_slice()).map(drop))?;
        Ok(life)
    }

    /// The cluster's name.
    pub fn cluster(&self) -> Result<String, StoreError> {
        Ok(String::from_utf8_lossy(&self.own(CLUSTER)?).into_owned())
    }

    /// Gives up the state of a cluster that this node has left. The next start begins with nothing.
    pub fn leave(&self) -> Result<(), StoreError> {
        let io = |why: std::io::Error| self.failed("remove", &why);
        std::fs::remove_file(&self.path).map_err(io)?;
        disk::sync_directory(&self.path).map_err(io)
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
                put_rows(&mut table, &rows)?;
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
        let stored = self.cluster()?;
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
        self.own_if_there(key)?.ok_or_else(|| self.damaged(format!("it has no row `{key}`")))
    }

    fn own_if_there(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let read = || -> Result<_, redb::Error> {
            let table = self.database.begin_read()?.open_table(OWN)?;
            Ok(table.get(key)?.map(|it| it.value().to_vec()))
        };
        read().map_err(self.io("read"))
    }

    fn put_own(
        &self,
        put: impl FnOnce(&mut OwnTable<'_>) -> Result<(), StorageError>,
    ) -> Result<(), StoreError> {
        let write = || -> Result<(), redb::Error> {
            let transaction = self.database.begin_write()?;
            put(&mut transaction.open_table(OWN)?)?;
            transaction.commit()?;
            Ok(())
        };
        write().map_err(self.io("write"))
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

fn put_rows(table: &mut StateTable<'_>, rows: &[Row]) -> Result<(), StorageError> {
    for row in rows {
        match &row.value {
            Some(value) => table.insert(row.key.as_slice(), value.as_slice())?,
            None => table.remove(row.key.as_slice())?,
        };
    }
    Ok(())
}

fn put_credentials(own: &mut OwnTable<'_>, credentials: &Credentials) -> Result<(), StorageError> {
    own.insert(CLUSTER, credentials.name.as_bytes())?;
    own.insert(CLUSTER_ID, credentials.id.0.to_be_bytes().as_slice())?;
    if let Some(vault) = &credentials.vault {
        own.insert(VAULT, vault.as_bytes())?;
    }
    put_keys(own, &credentials.keys)
}

fn put_keys(own: &mut OwnTable<'_>, keys: &Keyring) -> Result<(), StorageError> {
    let keys: Vec<(u32, [u8; 32])> = keys.iter().map(|(epoch, key)| (epoch.0, **key)).collect();
    let bytes = Zeroizing::new(postcard::to_stdvec(&keys).unwrap_or_default());
    own.insert(KEYS, bytes.as_slice()).map(drop)
}

/// Makes a database beside its place first: whatever stands at its place was once whole, and an empty or
/// short file there is damage, not a first run.
fn make(
    path: &Path,
    fill: impl FnOnce(&mut OwnTable<'_>, &mut StateTable<'_>) -> Result<(), StorageError>,
) -> Result<(), StoreError> {
    let io = |why: String| StoreError::Io { doing: "make", path: path.to_owned(), why };
    let new = disk::beside(path);
    let file = disk::create(&new, 0o600).map_err(|it| io(it.to_string()))?;
    drop(file);
    let fill = || -> Result<(), redb::Error> {
        let database = builder().create(&new)?;
        let transaction = database.begin_write()?;
        {
            let mut own = transaction.open_table(OWN)?;
            fill(&mut own, &mut transaction.open_table(STATE)?)?;
            transaction.open_table(PULLS)?;
        }
        transaction.commit()?;
        Ok(())
    };
    fill().map_err(|it| io(it.to_string()))?;
    replace(&new, path)
}

/// Puts a file at another's place, for good.
fn replace(new: &Path, path: &Path) -> Result<(), StoreError> {
    let place = || {
        std::fs::rename(new, path)?;
        disk::sync_directory(path)
    };
    let io = |why: std::io::Error| StoreError::Io {
        doing: "make",
        path: path.to_owned(),
        why: why.to_string(),
    };
    place().map_err(io)
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
        let (store, mut state) = Store::open(&scratch.0, Some("home")).unwrap();
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
        let (_, again) = Store::open(&scratch.0, Some("home")).unwrap();
        assert_eq!(again, state);
    }

    #[test]
    fn a_directory_keeps_to_its_cluster() {
        let scratch = Scratch::new();
        filled(&scratch);
        let error = Store::open(&scratch.0, Some("away")).unwrap_err().to_string();
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
            let error = Store::open(&scratch.0, Some("home")).unwrap_err();
            assert!(matches!(error, StoreError::Damaged { .. }), "{index}: {error}");
            assert!(std::fs::read(&path).unwrap() == wrong, "{index} was changed");
        }
    }

    #[test]
    fn the_time_of_a_pull_is_remembered() {
        let scratch = Scratch::new();
        let (store, _) = Store::open(&scratch.0, Some("home")).unwrap();
        assert_eq!(store.last_pull("busybox").unwrap(), None);
        store.note_pull("busybox", WallTime(5)).unwrap();
        assert_eq!(store.last_pull("busybox").unwrap(), Some(WallTime(5)));
    }
}
