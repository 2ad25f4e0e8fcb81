//! A container as a runtime sees it.

use std::{collections::BTreeMap, fmt, sync::Arc};

use super::{ContainerId, ImageId, ProjectName, Revision, ServiceName, Slot, WallTime};

/// A container as the runtime names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuntimeId(pub Arc<str>);

impl fmt::Display for RuntimeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A container as the runtime sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// Its id in the runtime.
    pub runtime_id: RuntimeId,
    /// Its name in the runtime.
    pub name: String,
    /// Ours, from its labels.
    pub container: ContainerId,
    /// From its labels.
    pub project: ProjectName,
    /// From its labels.
    pub service: ServiceName,
    /// From its labels.
    pub slot: Slot,
    /// From its labels.
    pub revision: Revision,
    /// From its labels.
    pub one_off: bool,
    /// What it is made from.
    pub image: ImageId,
    /// What its process runs, the image's own words included.
    pub command: String,
    /// What its process does.
    pub state: RuntimeState,
    /// When it was made.
    pub created: WallTime,
    /// Its addresses, by the network's name in the runtime.
    pub addresses: BTreeMap<String, String>,
    /// Its published ports.
    pub ports: Vec<ObservedPort>,
    /// Containers whose namespaces it runs in.
    pub shares: Vec<RuntimeId>,
}

/// A published port as it came out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObservedPort {
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
    /// The container's.
    pub target: u16,
    /// The host's address.
    pub host_ip: String,
    /// The host's.
    pub published: u16,
}

/// What a container's process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuntimeState {
    /// Made, never started.
    Created,
    /// Runs (or is paused) since then.
    Running {
        /// When its process began.
        since: WallTime,
        /// By somebody's `docker pause`.
        paused: bool,
    },
    /// Ended.
    Exited {
        /// Its status.
        code: i64,
        /// By the kernel, for want of memory.
        oom_killed: bool,
        /// When.
        at: WallTime,
    },
    /// Half gone, by the runtime's account: to be removed.
    Broken,
}
