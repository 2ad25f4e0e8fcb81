//! What a node can tell about its machine.

use std::collections::BTreeMap;

use crate::{
    model::{NodeName, NodeState, WallTime},
    runtime::memory_bytes,
    state::NodeRecord,
};

/// The machine's host name, up to its first dot, where it makes a node name.
#[must_use]
pub fn host_name() -> Option<NodeName> {
    let name = nix::unistd::gethostname().ok()?.into_string().ok()?;
    name.split('.').next()?.parse().ok()
}

/// This node's record as measured now.
#[must_use]
pub fn measure(
    name: NodeName,
    labels: BTreeMap<String, String>,
    runtime: Option<String>,
    now: WallTime,
) -> NodeRecord {
    let system = nix::sys::utsname::uname().ok();
    let word = |it: Option<&std::ffi::OsStr>| {
        it.map_or_else(|| "unknown".to_owned(), |it| it.to_string_lossy().into_owned())
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    NodeRecord {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        labels,
        cpus: u32::try_from(cores).unwrap_or(u32::MAX),
        memory_bytes: memory_bytes().unwrap_or(0),
        architecture: word(system.as_ref().map(|it| it.machine())),
        kernel: word(system.as_ref().map(|it| it.release())),
        runtime,
        ..NodeRecord::unmeasured(name, NodeState::Alive, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_knows_its_machine() {
        let record = measure("a".parse().unwrap(), BTreeMap::new(), None, WallTime(1));
        assert!(record.memory_bytes > 1 << 20 && record.cpus > 0);
        assert!(!record.kernel.is_empty() && record.kernel != "unknown");
    }
}
