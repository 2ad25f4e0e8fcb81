//! Volumes: directories of Fizz's own, as containerd knows none.
//!
//! A volume is a directory with what is known of it in a file beside its data. One with a type is
//! mounted there by mount(8) when a container starts that uses it, and stays mounted until it is removed.

use std::{
    collections::BTreeMap,
    fs, io,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    process::Stdio,
};

use nix::{
    fcntl::OFlag,
    mount::{MntFlags, MsFlags, mount as mount_at, umount2},
};
use serde::{Deserialize, Serialize};

use super::{
    connect::Connection,
    errors::{about, unsupported},
    record,
    rootfs::{self, Rootfs},
};
use crate::{
    model::{WallTime, spec::VolumeSpec},
    runtime::{RuntimeError, VolumeInfo},
};

/// What is known of a volume, in `volume.json` beside `_data`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
    labels: BTreeMap<String, String>,
    options: BTreeMap<String, String>,
    created_ms: u64,
}

/// Where a volume's data is.
pub(super) fn data(connection: &Connection, name: &str) -> PathBuf {
    connection.volumes().join(name).join("_data")
}

fn file(connection: &Connection, name: &str) -> PathBuf {
    connection.volumes().join(name).join("volume.json")
}

fn is_name(name: &str) -> bool {
    let letter = |it: char| it.is_ascii_alphanumeric() || "_.-".contains(it);
    name.chars().all(letter) && name.starts_with(|it: char| it.is_ascii_alphanumeric())
}

fn read(connection: &Connection, name: &str) -> Option<Kept> {
    is_name(name).then_some(())?;
    serde_json::from_slice(&fs::read(file(connection, name)).ok()?).ok()
}

pub(super) fn ensure(
    connection: &Connection,
    spec: &VolumeSpec,
    labels: &BTreeMap<String, String>,
) -> Result<(), RuntimeError> {
    let name = &spec.name;
    let there = read(connection, name);
    if spec.external {
        let missing = || RuntimeError::NotFound { what: "external volume", name: name.clone() };
        return there.map(drop).ok_or_else(missing);
    }
    if let Some(driver) = spec.driver.as_deref().filter(|it| *it != "local") {
        let instead = "use `local`, or run this on a node with Docker";
        return Err(unsupported(format!("volume driver `{driver}`"), instead));
    }
    let known = ["type", "o", "device"];
    if let Some(other) = spec.driver_options.keys().find(|it| !known.contains(&it.as_str())) {
        let instead = "use `type`, `o` and `device`";
        return Err(unsupported(format!("option `{other}` of volumes"), instead));
    }
    if let Some(there) = there {
        if there.options == spec.driver_options {
            return Ok(());
        }
        return Err(RuntimeError::Conflict(format!(
            "volume {name} is there with other `driver_opts`, and holds data; remove it or give the new one another name"
        )));
    }
    let all = spec.labels.clone().into_iter().chain(labels.clone()).collect();
    make(connection, name, all, spec.driver_options.clone())
}

/// Makes a volume.
pub(super) fn make(
    connection: &Connection,
    name: &str,
    labels: BTreeMap<String, String>,
    options: BTreeMap<String, String>,
) -> Result<(), RuntimeError> {
    let what = about("make", "volume", name);
    if !is_name(name) {
        return Err(what.failed("a volume's name has letters, digits and `_.-` only"));
    }
    let kept = Kept { labels, options, created_ms: record::now().0 };
    let write = || -> io::Result<()> {
        fs::create_dir_all(data(connection, name))?;
        // Whole or not at all: a volume is there once its file is.
        let path = file(connection, name);
        let new = path.with_extension("new");
        fs::write(&new, serde_json::to_vec(&kept)?)?;
        fs::rename(new, path)
    };
    write().map_err(|error| what.failed(error))
}

pub(super) async fn remove(connection: &Connection, name: &str) -> Result<(), RuntimeError> {
    let what = about("remove", "volume", name);
    if read(connection, name).is_none() {
        return Ok(());
    }
    for (container, record) in record::all(connection).await? {
        if record.mounts.iter().any(|it| it.volume.as_deref() == Some(name)) {
            let user = record::name(&container);
            return Err(what.conflict(format!("container {user} uses it; remove that first")));
        }
    }
    clear(connection, name).map_err(|error| what.failed(error))
}

fn clear(connection: &Connection, name: &str) -> io::Result<()> {
    let data = data(connection, name);
    if is_mounted(&data) {
        nix::mount::umount2(&data, nix::mount::MntFlags::empty())?;
    }
    fs::remove_dir_all(connection.volumes().join(name))
}

pub(super) fn list(
    connection: &Connection,
    label: Option<(String, String)>,
) -> Result<Vec<VolumeInfo>, RuntimeError> {
    let entries = match fs::read_dir(connection.volumes()) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(about("list", "volumes of", "this node").failed(error)),
    };
    let names = entries.flatten().filter_map(|it| it.file_name().into_string().ok());
    let volumes = names.filter_map(|name| {
        let Kept { labels, options, created_ms } = read(connection, &name)?;
        let mountpoint = data(connection, &name).display().to_string();
        let created = Some(WallTime(created_ms));
        let driver = "local".to_owned();
        Some(VolumeInfo { name, driver, mountpoint, labels, options, created })
    });
    let bears = |it: &VolumeInfo| {
        label.as_ref().is_none_or(|(name, value)| it.labels.get(name) == Some(value))
    };
    let mut volumes: Vec<_> = volumes.filter(bears).collect();
    volumes.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(volumes)
}

/// Makes sure that a volume's data is where containers find it.
pub(super) async fn mount(connection: &Connection, name: &str) -> Result<(), RuntimeError> {
    let what = about("mount", "volume", name);
    let kept = read(connection, name).ok_or_else(|| what.missing())?;
    let data = data(connection, name);
    if kept.options.is_empty() || is_mounted(&data) {
        return Ok(());
    }
    let option =
        |name: &str| kept.options.get(name).map(String::as_str).filter(|it| !it.is_empty());
    let mut mount = tokio::process::Command::new("mount");
    if let Some(kind) = option("type") {
        mount.args(["-t", kind]);
    }
    if let Some(options) = option("o") {
        mount.args(["-o", options]);
    }
    mount.arg("--").arg(option("device").unwrap_or("none")).arg(&data);
    run(mount).await.map_err(|error| what.failed(error))
}

/// Lays a part of a volume where a container that starts finds it. What it leads to is opened once, so
/// that nobody who writes to the volume can put something else in its place meanwhile.
pub(super) fn lay_part(
    connection: &Connection,
    name: &str,
    part: &str,
    at: &Path,
) -> Result<(), RuntimeError> {
    let what = about("find", "path", format!("{part} of volume {name}"));
    let found = rootfs::open(&data(connection, name), part, OFlag::O_PATH);
    let found = found.map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            return what.failed("it is not there; make it in the volume first");
        }
        what.failed(error)
    })?;
    let found = PathBuf::from(format!("/proc/self/fd/{}", found.as_raw_fd()));
    let lay = || -> io::Result<()> {
        let _ = umount2(at, MntFlags::MNT_DETACH);
        if found.is_dir() {
            fs::create_dir_all(at)?;
        } else {
            fs::write(at, "")?;
        }
        let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
        mount_at(Some(&found), at, None::<&str>, flags, None::<&str>)?;
        Ok(())
    };
    lay().map_err(|error| what.failed(error))
}

/// Copies what the image has at a path into a new volume: with its owners, modes and links.
pub(super) async fn populate(
    connection: &Connection,
    name: &str,
    rootfs: &Rootfs,
    target: &str,
) -> Result<(), RuntimeError> {
    let what = about("fill", "volume", name);
    let data = data(connection, name);
    let is_empty = fs::read_dir(&data).is_ok_and(|mut it| it.next().is_none());
    let Ok(from) = rootfs.directory(target) else { return Ok(()) };
    if !is_empty {
        return Ok(());
    }
    // The directory that is meant, whatever leads to it, seen from another process.
    let from = format!("/proc/{}/fd/{}/.", std::process::id(), from.as_raw_fd());
    let mut copy = tokio::process::Command::new("cp");
    copy.args(["-a", "--", &from]).arg(&data);
    run(copy).await.map_err(|error| what.failed(error))
}

async fn run(mut command: tokio::process::Command) -> Result<(), String> {
    let command = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(super::connect::WORK_MAX, command).await;
    let output = output.map_err(|_| "it took too long".to_owned())?;
    let output = output.map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{}: {}", output.status, said.trim()))
}

/// Whether a file system of its own is mounted at a path.
pub(super) fn is_mounted(path: &Path) -> bool {
    let all = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let path = path.display().to_string();
    all.lines().any(|it| it.split(' ').nth(4) == Some(&path))
}
