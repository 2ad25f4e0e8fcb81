//! What a container has mounted, in the runtime specification's terms.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::super::errors::unsupported;
use crate::{
    model::spec::{Bind, ContainerSpec, Mount, NamespaceMode, Propagation},
    runtime::RuntimeError,
};

/// `/dev/shm` where nothing else is said: Docker's 64 MiB.
const SHM_BYTES: u64 = 64 << 20;

/// What of a new file system in memory Docker turns off where nothing else is said.
const TEMPORARY: [(&str, &str); 3] = [("noexec", "exec"), ("nosuid", "suid"), ("nodev", "dev")];

/// What every container has.
pub(in super::super) fn defaults(spec: &ContainerSpec) -> Vec<Value> {
    let security = &spec.security;
    let kernel = if security.privileged { "rw" } else { "ro" };
    let mut mounts = vec![
        mounted("proc", "proc", "/proc", &["nosuid", "noexec", "nodev"]),
        mounted("tmpfs", "tmpfs", "/dev", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mounted(
            "devpts",
            "devpts",
            "/dev/pts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mounted("sysfs", "sysfs", "/sys", &["nosuid", "noexec", "nodev", kernel]),
        mounted("cgroup", "cgroup", "/sys/fs/cgroup", &["nosuid", "noexec", "nodev", kernel]),
    ];
    if security.ipc == Some(NamespaceMode::Host) {
        // A node need not have message queues.
        for path in ["/dev/shm", "/dev/mqueue"].into_iter().filter(|it| Path::new(it).exists()) {
            mounts.push(mounted("bind", path, path, &["rbind", "nosuid", "noexec", "nodev"]));
        }
    } else {
        let size = format!("size={}", spec.resources.shm_bytes.unwrap_or(SHM_BYTES));
        let options = ["nosuid", "noexec", "nodev", "mode=1777", &size];
        mounts.push(mounted("tmpfs", "shm", "/dev/shm", &options));
        mounts.push(mounted("mqueue", "mqueue", "/dev/mqueue", &["nosuid", "noexec", "nodev"]));
    }
    mounts
}

/// The same with shared memory that lies at a path of the node, for several containers.
pub(in super::super) fn with_shared_memory(mounts: &mut [Value], path: &Path) {
    for it in mounts.iter_mut().filter(|it| it["destination"] == "/dev/shm") {
        let options = ["rbind", "nosuid", "noexec", "nodev"];
        *it = mounted("bind", &path.display().to_string(), "/dev/shm", &options);
    }
}

/// One mount.
pub(in super::super) fn mounted(kind: &str, source: &str, target: &str, options: &[&str]) -> Value {
    json!({ "type": kind, "source": source, "destination": target, "options": options })
}

/// A file system in memory.
pub(in super::super) fn temporary(target: &str, options: &str) -> Value {
    let mut all: Vec<&str> = options.split(',').filter(|it| !it.is_empty()).collect();
    for (off, on) in TEMPORARY {
        if !all.contains(&on) && !all.contains(&off) {
            all.push(off);
        }
    }
    mounted("tmpfs", "tmpfs", target, &all)
}

/// A path of the node.
pub(in super::super) fn bound(mount: &Mount, bind: &Bind) -> Result<Value, RuntimeError> {
    let failed = |why: String| RuntimeError::Failed {
        doing: format!("mount {} at {}", bind.source, mount.target),
        why,
    };
    if !bind.source.starts_with('/') {
        return Err(failed("a path of the node begins with `/`".to_owned()));
    }
    if !Path::new(&bind.source).exists() {
        if !bind.create_host_path {
            return Err(failed(format!(
                "{} is not there; make that path on this node, or let it be made with `create_host_path: true`",
                bind.source
            )));
        }
        fs::create_dir_all(&bind.source).map_err(|error| failed(error.to_string()))?;
    }
    if bind.selinux.is_some() && Path::new("/sys/fs/selinux/enforce").exists() {
        return Err(unsupported(
            format!("relabelling for SELinux, which the mount at {} asks for", mount.target),
            "label the path by chcon(1) and leave the option out",
        ));
    }
    let (how, read_only) = match bind.recursive.as_deref() {
        None | Some("enabled" | "writable") => ("rbind", "ro"),
        Some("readonly") => ("rbind", "rro"),
        Some("disabled") => ("bind", "ro"),
        Some(other) => {
            return Err(RuntimeError::Unsupported(format!(
                "`recursive: {other}` of the mount at {} is none of `enabled`, `disabled`, `writable`, `readonly`",
                mount.target
            )));
        }
    };
    let access = if mount.read_only { read_only } else { "rw" };
    let options = [how, access, propagation(bind.propagation)];
    Ok(mounted("bind", &bind.source, &mount.target, &options))
}

fn propagation(propagation: Option<Propagation>) -> &'static str {
    match propagation {
        Some(Propagation::Private) => "private",
        None | Some(Propagation::RPrivate) => "rprivate",
        Some(Propagation::Shared) => "shared",
        Some(Propagation::RShared) => "rshared",
        Some(Propagation::Slave) => "slave",
        Some(Propagation::RSlave) => "rslave",
    }
}

/// All mounts in the order in which they can be made: the later of two at one place is meant, and what is
/// below another comes after it.
pub(in super::super) fn placed(mounts: Vec<Value>) -> Vec<Value> {
    let place = |it: &Value| {
        let text = it["destination"].as_str().unwrap_or_default();
        text.split('/').filter(|it| !it.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    let mut kept: Vec<Value> = Vec::new();
    for mount in mounts {
        kept.retain(|it| place(it) != place(&mount));
        kept.push(mount);
    }
    // Stable: the kernel's own file systems stay first among their like.
    kept.sort_by_key(|it| place(it).len());
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_of_two_mounts_at_one_place_is_meant_and_depth_orders() {
        let at = |kind: &str, target: &str| mounted(kind, "x", target, &[]);
        let all = placed(vec![at("a", "/x/y"), at("b", "/x"), at("c", "/x/y/")]);
        let seen: Vec<_> = all.iter().map(|it| it["type"].as_str().unwrap()).collect();
        assert_eq!(seen, ["b", "c"]);
    }

    #[test]
    fn memory_is_as_safe_as_it_can_be_unless_told_otherwise() {
        let options = temporary("/x", "size=1m,exec")["options"].clone();
        assert_eq!(options, json!(["size=1m", "exec", "nosuid", "nodev"]));
    }
}
