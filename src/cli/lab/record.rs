//! Where a lab is on the disk, and what is written down about it before it is made.
//!
//! `/run/fizz-lab/NAME` has the record, the nodes' sockets, settings and logs; `/var/lib/fizz-lab/NAME`
//! their data. Everything else that a lab makes, which is processes and control groups, bears the
//! lab's name, and namespaces and mounts end with their processes. So the name alone is enough to
//! clear up after any interruption.

use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    process::Stdio,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    faults::Faults,
    plan::{Engine, LABS_MAX, LabName, LabNode},
};
use crate::cli::error::CliError;

const RUN: &str = "/run/fizz-lab";
const DATA: &str = "/var/lib/fizz-lab";

/// What a lab is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Among the labs of this machine; part of addresses.
    pub(super) number: u8,
    /// How many nodes.
    pub(super) nodes: u8,
    /// What runs containers on them.
    pub(super) runtime: Engine,
    /// Whether they are one cluster.
    pub(super) cluster: bool,
    /// Whether it was made to the end. One that was not is cleared away by whoever meets it.
    pub(super) ready: bool,
}

impl Record {
    /// The lab's nodes.
    pub(super) fn nodes(&self) -> Vec<LabNode> {
        LabNode::all(self.nodes).collect()
    }
}

/// A lab's places.
#[derive(Clone, Debug)]
pub(super) struct Home {
    pub(super) name: LabName,
    /// What a reboot may take.
    pub(super) run: PathBuf,
    /// What it may not.
    pub(super) data: PathBuf,
}

/// The right to change a lab, as long as it is held.
#[derive(Debug)]
pub(super) struct Lock {
    directory: File,
}

impl Lock {
    /// The same right: it is held until both are gone.
    pub(super) fn share(&self) -> Result<Self, CliError> {
        let directory = self.directory.try_clone();
        Ok(Self { directory: directory.map_err(CliError::io("can't share a lab's lock"))? })
    }
}

impl From<Lock> for Stdio {
    /// For a process that holds it until it opens something else in its place.
    fn from(lock: Lock) -> Self {
        lock.directory.into()
    }
}

impl Home {
    pub(super) fn of(name: LabName) -> Self {
        let (run, data) = (Path::new(RUN).join(name.as_str()), Path::new(DATA).join(name.as_str()));
        Self { name, run, data }
    }

    /// A node's sockets, settings and logs.
    pub(super) fn node_run(&self, node: LabNode) -> PathBuf {
        self.run.join(node.to_string())
    }

    /// A node's disk.
    pub(super) fn node_data(&self, node: LabNode) -> PathBuf {
        self.data.join(node.to_string())
    }

    /// A node's daemon, as `--host` wants it.
    pub(super) fn host(&self, node: LabNode) -> String {
        format!("unix://{}", self.socket(node).display())
    }

    /// Where a node's daemon listens.
    pub(super) fn socket(&self, node: LabNode) -> PathBuf {
        self.node_run(node).join("fizz.sock")
    }

    /// Where a node's runtime listens.
    pub(super) fn runtime_socket(&self, node: LabNode) -> PathBuf {
        self.node_run(node).join("runtime.sock")
    }

    /// A node's runtime's settings, where it has any.
    pub(super) fn runtime_settings(&self, node: LabNode) -> PathBuf {
        self.node_run(node).join("runtime.toml")
    }

    /// A node's daemon's settings.
    pub(super) fn config(&self, node: LabNode) -> PathBuf {
        self.node_run(node).join("config.yaml")
    }

    /// What a node's daemon, its runtime or its first process says.
    pub(super) fn log(&self, node: LabNode, of: &str) -> PathBuf {
        self.node_run(node).join(format!("{of}.log"))
    }

    /// Waits for the right to change the lab, which makes its directory. `waiting` is called if another
    /// command has it.
    ///
    /// The lock is the directory's own, so it leaves nothing behind; a directory that was removed
    /// meanwhile is not the lab's any more. A child that is to become a node's first process holds it too
    /// until its command line says so: whoever has the lock sees every process of the lab.
    pub(super) fn lock(&self, waiting: impl FnOnce()) -> Result<Lock, CliError> {
        lock(&self.run, waiting)
    }

    /// Makes a directory of the lab.
    pub(super) fn make(path: &Path) -> Result<(), CliError> {
        let made = DirBuilder::new().recursive(true).mode(0o755).create(path);
        made.map_err(CliError::io(format!("can't make {}", path.display())))
    }

    /// The lab's record, if there is a lab.
    pub(super) fn record(&self) -> Result<Option<Record>, CliError> {
        read(&self.run.join("lab.json"))
    }

    /// The record of a lab that must be there.
    pub(super) fn made(&self) -> Result<Record, CliError> {
        self.record()?.filter(|it| it.ready).ok_or_else(|| {
            CliError::Failed(format!(
                "there is no lab `{}`; make one with `sudo fizz lab up --name {}`, or see `sudo fizz lab ls`",
                self.name, self.name
            ))
        })
    }

    /// Writes the record down.
    pub(super) fn write(&self, record: Record) -> Result<(), CliError> {
        write(&self.run.join("lab.json"), &record)
    }

    /// What is wrong with the lab's network.
    pub(super) fn faults(&self) -> Result<Faults, CliError> {
        Ok(read(&self.run.join("faults.json"))?.unwrap_or_default())
    }

    /// Writes it down.
    pub(super) fn write_faults(&self, faults: &Faults) -> Result<(), CliError> {
        write(&self.run.join("faults.json"), faults)
    }

    /// Writes a new lab's record down, with a number that no other lab has.
    pub(super) fn claim(&self, record: Record) -> Result<Record, CliError> {
        let _all = lock(Path::new(RUN), || {})?;
        let mut taken = BTreeSet::new();
        for name in names()? {
            taken.extend(Self::of(name).record()?.map(|it| it.number));
        }
        let free = (1..=LABS_MAX).find(|it| !taken.contains(it)).ok_or_else(|| {
            let why = "there are as many labs as there can be; end one with `fizz lab down`";
            CliError::Failed(why.to_owned())
        })?;
        let record = Record { number: free, ..record };
        self.write(record)?;
        Ok(record)
    }

    /// Removes what an unfinished attempt left on the disk, but for the directory that is locked.
    pub(super) fn empty(&self) -> Result<(), CliError> {
        remove(&self.data)?;
        let what = || format!("can't clear {}", self.run.display());
        let entries = fs::read_dir(&self.run).map_err(CliError::io(what()))?;
        for entry in entries.flatten() {
            let path = entry.path();
            let is_directory = entry.file_type().is_ok_and(|it| it.is_dir());
            let gone = if is_directory {
                remove(&path)
            } else {
                fs::remove_file(&path).map_err(CliError::io(what()))
            };
            gone?;
        }
        Ok(())
    }

    /// Removes the lab's directories.
    pub(super) fn remove(&self) -> Result<(), CliError> {
        remove(&self.data)?;
        remove(&self.run)?;
        // Other labs may be in there.
        drop(fs::remove_dir(DATA));
        drop(fs::remove_dir(RUN));
        Ok(())
    }

    /// Whether anything of the lab is on the disk.
    pub(super) fn exists(&self) -> bool {
        self.run.exists() || self.data.exists()
    }
}

/// Every lab that has left anything on the disk.
pub(super) fn names() -> Result<BTreeSet<LabName>, CliError> {
    let mut names = BTreeSet::new();
    for root in [RUN, DATA] {
        let entries = match fs::read_dir(root) {
            Ok(entries) => entries,
            Err(why) if why.kind() == io::ErrorKind::NotFound => continue,
            Err(why) => return Err(CliError::io(format!("can't read {root}"))(why)),
        };
        let found = entries.flatten().filter_map(|it| it.file_name().to_str()?.parse().ok());
        names.extend(found);
    }
    Ok(names)
}

/// How often a lock is tried anew because the directory was removed while it was waited for.
const LOCKS_MAX: u32 = 100;

fn lock(path: &Path, waiting: impl FnOnce()) -> Result<Lock, CliError> {
    let failed = |why| CliError::io(format!("can't lock {}", path.display()))(why);
    let mut waiting = Some(waiting);
    for _ in 0..LOCKS_MAX {
        Home::make(path)?;
        let Ok(directory) = File::open(path) else { continue };
        if directory.try_lock().is_err() {
            if let Some(waiting) = waiting.take() {
                waiting();
            }
            directory.lock().map_err(failed)?;
        }
        let held = directory.metadata().map_err(failed)?;
        if fs::metadata(path).is_ok_and(|it| (it.dev(), it.ino()) == (held.dev(), held.ino())) {
            return Ok(Lock { directory });
        }
    }
    Err(failed(io::Error::other("it is removed again and again")))
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, CliError> {
    let what = || format!("can't read {}", path.display());
    match fs::read(path) {
        Ok(bytes) => match serde_json::from_slice(&bytes) {
            Ok(it) => Ok(Some(it)),
            Err(why) => Err(CliError::io(what())(why.into())),
        },
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(why) => Err(CliError::io(what())(why)),
    }
}

/// In one step: whoever reads sees the old or the new.
fn write<T: Serialize>(path: &Path, it: &T) -> Result<(), CliError> {
    let beside = path.with_extension("new");
    let written = serde_json::to_vec_pretty(it)
        .map_err(io::Error::from)
        .and_then(|bytes| fs::write(&beside, bytes))
        .and_then(|()| fs::rename(&beside, path));
    written.map_err(CliError::io(format!("can't write {}", path.display())))
}

fn remove(path: &Path) -> Result<(), CliError> {
    match fs::remove_dir_all(path) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => Err(CliError::io(format!(
            "can't remove {}; end what uses it and try `fizz lab down` again",
            path.display()
        ))(why)),
        Ok(()) | Err(_) => Ok(()),
    }
}
