//! What the kernel and the file systems tell: bpf(2), adjtimex(2), machine-id(5), statvfs(3); and the runtime.

use std::{
    fs, io,
    mem::size_of_val,
    os::{
        fd::{FromRawFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use nix::{
    libc,
    sys::{
        statfs::{BPF_FS_MAGIC, statfs},
        statvfs::{FsFlags, statvfs},
    },
};
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use super::{ONLY_ROOT, is_root};
use crate::{
    daemon::config::{Config, RuntimeKind},
    doctor::{BpfFacts, Looked, RuntimeFacts, RuntimeSeen, Space},
    runtime::{Runtime, RuntimeError},
};

/// How long the runtime may take to answer.
const RUNTIME_MAX: Duration = Duration::from_secs(10);

/// Where runtimes keep their data, for those that do not answer.
const ROOTS: [&str; 3] = ["/var/lib/docker", "/var/lib/containers", "/var/lib/containerd"];

/// A command and a map type of bpf(2).
const BPF_MAP_CREATE: libc::c_long = 0;
const BPF_MAP_TYPE_ARRAY: u32 = 2;

/// What the kernel has for programs in it.
pub(super) fn bpf(degraded: Option<String>) -> BpfFacts {
    let release = nix::sys::utsname::uname().ok();
    let release = release.map(|it| it.release().to_string_lossy().into_owned());
    let lockdown = fs::read_to_string("/sys/kernel/security/lockdown").ok();
    // `none [integrity] confidentiality`: the one that holds is marked.
    let lockdown = lockdown.and_then(|it| {
        let (_, rest) = it.split_once('[')?;
        Some(rest.split_once(']')?.0.to_owned())
    });
    let pins = statfs("/sys/fs/bpf").is_ok_and(|it| it.filesystem_type() == BPF_FS_MAGIC);
    BpfFacts {
        map: if is_root() { Ok(make_map()) } else { Err(ONLY_ROOT.to_owned()) },
        release: release.unwrap_or_else(|| "unknown".to_owned()),
        types: Path::new("/sys/kernel/btf/vmlinux").exists(),
        pins,
        lockdown,
        degraded,
    }
}

/// Makes a map of one number, and lets go of it at once.
fn make_map() -> Result<(), String> {
    // map_type, key_size, value_size, max_entries: the first words of `union bpf_attr`.
    let attributes: [u32; 4] = [BPF_MAP_TYPE_ARRAY, 4, 4, 1];
    let (at, bytes) = (attributes.as_ptr(), size_of_val(&attributes));
    // SAFETY: the kernel reads so many bytes there, which live until it returns, and writes none.
    let made = unsafe { libc::syscall(libc::SYS_bpf, BPF_MAP_CREATE, at, bytes) };
    match i32::try_from(made) {
        Ok(number) if 0 <= number => {
            // SAFETY: it was just made, and nobody else has it.
            drop(unsafe { OwnedFd::from_raw_fd(number) });
            Ok(())
        }
        Ok(_) | Err(_) => Err(io::Error::last_os_error().to_string()),
    }
}

/// Whether the kernel was told that something keeps its clock.
pub(super) fn clock_is_kept() -> Looked<bool> {
    // SAFETY: it is numbers only, for which zeroes are values; no modes: nothing is to be changed.
    let mut clock: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: it is ours until the call returns.
    let state = unsafe { libc::adjtimex(&raw mut clock) };
    if state < 0 {
        return Err(io::Error::last_os_error().to_string());
    }
    Ok(clock.status & libc::STA_UNSYNC == 0)
}

/// A hash of this machine's id: the id itself is nobody else's business (machine-id(5)).
pub(super) fn id() -> Looked<Option<String>> {
    let text = match fs::read_to_string("/etc/machine-id") {
        Ok(text) => text,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(why) => return Err(why.to_string()),
    };
    let text = text.trim();
    if text.is_empty() || text == "uninitialized" {
        return Ok(None);
    }
    let digest = Sha256::digest(format!("fizz machine-id v1 {text}"));
    Ok(Some(digest.iter().take(16).map(|it| format!("{it:02x}")).collect()))
}

/// The runtime, and where it keeps its data.
pub(super) async fn runtime(
    config: &Config,
    runtime: &dyn Runtime,
) -> (RuntimeFacts, Option<PathBuf>) {
    if config.runtime.kind == RuntimeKind::None {
        return (RuntimeFacts { seen: Ok(RuntimeSeen::NotWanted) }, None);
    }
    let answer = timeout(RUNTIME_MAX, runtime.info()).await;
    let (seen, root) = match answer {
        Ok(Ok(info)) => {
            let root = Some(PathBuf::from(info.root)).filter(|it| it.is_absolute());
            let (name, version) = (info.name.to_owned(), info.version);
            (RuntimeSeen::Up { name, version, live_restore: info.live_restore }, root)
        }
        Ok(Err(error)) => (unwell(&error), None),
        Err(_) => (RuntimeSeen::Silent(format!("no answer in {} s", RUNTIME_MAX.as_secs())), None),
    };
    (RuntimeFacts { seen: Ok(seen) }, root)
}

fn unwell(error: &RuntimeError) -> RuntimeSeen {
    let said = error.to_string();
    // The system's own words, which the error only hands on.
    if said.to_ascii_lowercase().contains("permission denied") {
        return RuntimeSeen::Forbidden(said);
    }
    match error {
        RuntimeError::Absent(_) => RuntimeSeen::Absent(said),
        RuntimeError::Unreachable { .. } => RuntimeSeen::Silent(said),
        RuntimeError::Unsupported(_) => RuntimeSeen::Unfit(said),
        RuntimeError::NotFound { .. }
        | RuntimeError::Conflict(_)
        | RuntimeError::Unauthorized { .. }
        | RuntimeError::Failed { .. } => RuntimeSeen::Broken(said),
    }
}

/// The file systems that are written to, each once.
pub(super) fn disks(config: &Config, root: &Option<PathBuf>) -> Vec<Looked<Space>> {
    let mut places = vec![
        ("the daemon's data", config.data_dir.clone(), Some("data_dir")),
        ("sockets and secrets", config.run_dir.clone(), Some("run_dir")),
    ];
    let there = ROOTS.iter().map(PathBuf::from).filter(|it| root.is_none() && it.exists());
    let roots = root.iter().cloned().chain(there);
    places.extend(roots.map(|it| ("images and containers", it, None)));
    let mut seen = vec![];
    let mut disks = vec![];
    for (what, path, setting) in places {
        let Some(path) = path.ancestors().find(|it| it.exists()) else { continue };
        let disk = fs::metadata(path).map(|it| it.dev());
        if disk.as_ref().is_ok_and(|it| seen.contains(it)) {
            continue;
        }
        seen.extend(disk);
        disks.push(space(what, path, setting));
    }
    disks
}

fn space(what: &'static str, path: &Path, setting: Option<&'static str>) -> Looked<Space> {
    let seen = statvfs(path).map_err(|why| format!("{}: {why}", path.display()))?;
    let bytes = |blocks: libc::fsblkcnt_t| blocks.saturating_mul(seen.fragment_size());
    Ok(Space {
        what,
        path: path.display().to_string(),
        setting,
        bytes: (bytes(seen.blocks_available()), bytes(seen.blocks())),
        inodes: (seen.files_available(), seen.files()),
        read_only: seen.flags().contains(FsFlags::ST_RDONLY),
    })
}
