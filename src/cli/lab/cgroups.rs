//! A node's control groups (cgroups(7)): below `fizz-lab/NAME/NODE` in every hierarchy, which the node
//! sees as the whole. So whatever its runtime makes is in one place, and goes with it.
//!
//! Machines have version 2, version 1, or both side by side; each hierarchy is treated for itself.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread::sleep,
    time::Duration,
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

use super::plan::{LabName, LabNode};
use crate::cli::error::CliError;

/// The group of all labs.
const LABS: &str = "fizz-lab";

/// The group of a node's own processes, below its own in version 2: one that passes controllers on holds none itself.
const PROCESSES: &str = "machine";

/// Processes that have ended may still be in their group for a moment: 200 looks of 25 ms.
const LOOKS_MAX: u32 = 200;
const LOOK: Duration = Duration::from_millis(25);

/// A mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hierarchy {
    at: PathBuf,
    /// Version 2.
    unified: bool,
}

impl Hierarchy {
    /// Makes a group below this, fit for processes.
    fn make(&self, group: &Path) -> io::Result<PathBuf> {
        let mut at = self.at.clone();
        for part in group {
            self.pass_on(&at)?;
            at.push(part);
            match fs::create_dir(&at) {
                Err(why) if why.kind() != io::ErrorKind::AlreadyExists => return Err(why),
                Ok(()) | Err(_) => {}
            }
            self.inherit(&at)?;
        }
        Ok(at)
    }

    /// In version 2 a group's controllers are those that the group above passes on.
    fn pass_on(&self, group: &Path) -> io::Result<()> {
        if !self.unified {
            return Ok(());
        }
        for controller in fs::read_to_string(group.join("cgroup.controllers"))?.split_whitespace() {
            // Some cannot be passed on from everywhere; what needs one says so itself.
            drop(fs::write(group.join("cgroup.subtree_control"), format!("+{controller}")));
        }
        Ok(())
    }

    /// In version 1 a group takes no process before it is told on which processors.
    fn inherit(&self, group: &Path) -> io::Result<()> {
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let mine = group.join(file);
            if self.unified || !mine.exists() || !fs::read_to_string(&mine)?.trim().is_empty() {
                continue;
            }
            let above = group.parent().unwrap_or(group).join(file);
            fs::write(mine, fs::read_to_string(above)?.trim())?;
        }
        Ok(())
    }
}

/// Puts this process into groups of its own, which it and all that it starts see as the whole. Its
/// mounts must be its own already.
pub(super) fn enter(lab: &LabName, node: LabNode) -> Result<(), CliError> {
    let group = group(lab).join(node.to_string());
    let failed = |at: &Path| CliError::io(format!("can't use control groups at {}", at.display()));
    let all = hierarchies()?;
    let mut made = Vec::new();
    for hierarchy in &all {
        let at = hierarchy.make(&group).map_err(failed(&hierarchy.at))?;
        fs::write(at.join("cgroup.procs"), "0").map_err(failed(&at))?;
        made.push(at);
    }
    unshare(CloneFlags::CLONE_NEWCGROUP)
        .map_err(|why| CliError::io("can't make a control group namespace")(why.into()))?;
    for (hierarchy, at) in all.iter().zip(&made) {
        if hierarchy.unified {
            let inner = at.join(PROCESSES);
            let moved = fs::create_dir_all(&inner)
                .and_then(|()| fs::write(inner.join("cgroup.procs"), "0"))
                .and_then(|()| hierarchy.pass_on(at));
            moved.map_err(failed(at))?;
        }
        mount(Some(at), &hierarchy.at, None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .map_err(|why| failed(&hierarchy.at)(why.into()))?;
    }
    Ok(())
}

/// Puts this process into a node's groups, where it is one of the node's to whatever goes by groups.
pub(super) fn join(lab: &LabName, node: LabNode) -> Result<(), CliError> {
    let group = group(lab).join(node.to_string());
    for hierarchy in hierarchies()? {
        let mut at = hierarchy.at.join(&group);
        if hierarchy.unified {
            at.push(PROCESSES);
        }
        let failed = CliError::io(format!("can't use control groups at {}", at.display()));
        fs::write(at.join("cgroup.procs"), "0").map_err(failed)?;
    }
    Ok(())
}

/// Removes a node's groups, once nothing of it runs.
pub(super) fn remove_node(lab: &LabName, node: LabNode) -> Result<(), CliError> {
    remove(&group(lab).join(node.to_string()))
}

/// Removes all of a lab's groups.
pub(super) fn remove_lab(lab: &LabName) -> Result<(), CliError> {
    remove(&group(lab))?;
    for hierarchy in hierarchies()? {
        // Other labs may be in there.
        drop(fs::remove_dir(hierarchy.at.join(LABS)));
    }
    Ok(())
}

fn group(lab: &LabName) -> PathBuf {
    Path::new(LABS).join(lab.as_str())
}

fn remove(group: &Path) -> Result<(), CliError> {
    for hierarchy in hierarchies()? {
        let at = hierarchy.at.join(group);
        let mut looks = 0;
        while let Err(why) = remove_tree(&at) {
            looks += 1;
            if looks == LOOKS_MAX {
                let what = format!(
                    "can't remove the control group {}; end what is in it and try again",
                    at.display()
                );
                return Err(CliError::io(what)(why));
            }
            sleep(LOOK);
        }
    }
    Ok(())
}

/// A group's files go with it; only the groups below must go before.
fn remove_tree(at: &Path) -> io::Result<()> {
    let gone = |why: io::Error| {
        if why.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(why) }
    };
    let entries = match fs::read_dir(at) {
        Ok(entries) => entries,
        Err(why) => return gone(why),
    };
    for entry in entries.flatten() {
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(at).or_else(gone)
}

fn hierarchies() -> Result<Vec<Hierarchy>, CliError> {
    let text = fs::read_to_string("/proc/self/mountinfo");
    Ok(parse(&text.map_err(CliError::io("can't read /proc/self/mountinfo"))?))
}

/// Of proc_pid_mountinfo(5), what is mounted last at a place and so is seen there.
fn parse(mountinfo: &str) -> Vec<Hierarchy> {
    let mut all: Vec<Hierarchy> = Vec::new();
    for line in mountinfo.lines() {
        let Some((mount, kind)) = line.split_once(" - ") else { continue };
        let unified = match kind.split(' ').next() {
            Some("cgroup2") => true,
            Some("cgroup") => false,
            Some(_) | None => continue,
        };
        let Some(at) = mount.split(' ').nth(4) else { continue };
        all.retain(|it| it.at != Path::new(at));
        all.push(Hierarchy { at: at.into(), unified });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_found_where_they_are_mounted() {
        let text = "\
22 1 0:20 / /proc rw - proc proc rw
29 1 0:26 / /sys/fs/cgroup rw,nosuid - tmpfs tmpfs rw
30 29 0:27 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw
31 29 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
99 31 0:28 /fizz-lab/x/a /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
";
        let at = |at: &str, unified| Hierarchy { at: at.into(), unified };
        let expected = [at("/sys/fs/cgroup/unified", true), at("/sys/fs/cgroup/memory", false)];
        assert_eq!(parse(text), expected);
    }
}
