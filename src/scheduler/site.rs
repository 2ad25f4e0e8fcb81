//! A node as the scheduler sees it, and all of them made ready for many questions.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::hash::{WEIGHT_MAX, node_seed};
use crate::model::NodeId;

/// A node as the scheduler sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Which.
    pub id: NodeId,
    /// What people call it.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// As the kernel says it: `x86_64`. Empty: not measured.
    pub architecture: String,
    /// Thousandths of a core. 0: not measured; it counts as one core, and has none to reserve.
    pub cpus_milli: u64,
    /// Bytes of memory. 0: not measured, and nothing to reserve.
    pub memory_bytes: u64,
    /// Whether it can run containers. A node that cannot does not keep any either, so a runtime that
    /// is only restarting is no reason to say so.
    pub runtime: bool,
    /// What may be there and what may come.
    pub standing: Standing,
    /// The local volumes that it holds, by their names in the runtime.
    pub volumes: BTreeSet<String>,
}

/// What may be on a node and what may come to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Everything.
    Open,
    /// It keeps what it has and takes nothing new.
    Cordoned,
    /// It is to be emptied.
    Draining,
    /// It does not answer: it keeps what it has and takes nothing new.
    Unreachable,
    /// Nothing is there any more.
    Dead,
}

impl Standing {
    /// Whether a slot that is there may stay.
    pub(super) fn keeps(self) -> bool {
        match self {
            Self::Open | Self::Cordoned | Self::Unreachable => true,
            Self::Draining | Self::Dead => false,
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Cordoned => "cordoned",
            Self::Draining => "draining",
            Self::Unreachable => "unreachable",
            Self::Dead => "dead",
        })
    }
}

/// All nodes, made ready: each is worked out once, not for every service.
#[derive(Clone, Debug, Default)]
pub struct Sites {
    /// In the order of their ids.
    list: Vec<Place>,
    /// Which have a volume, as positions in the list.
    volumes: BTreeMap<String, Vec<usize>>,
}

/// A site and what is derived from it.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) site: Site,
    /// For its scores.
    pub(super) seed: u64,
    /// For its share.
    pub(super) weight: u64,
    /// As Docker names it: `amd64`.
    pub(super) architecture: String,
}

impl Sites {
    /// These nodes; of two with one id, the last.
    #[must_use]
    pub fn new(sites: impl IntoIterator<Item = Site>) -> Self {
        let sites: BTreeMap<NodeId, Site> = sites.into_iter().map(|it| (it.id, it)).collect();
        let list: Vec<Place> = sites.into_values().map(Place::new).collect();
        let mut volumes: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (index, place) in list.iter().enumerate() {
            for volume in &place.site.volumes {
                volumes.entry(volume.clone()).or_default().push(index);
            }
        }
        Self { list, volumes }
    }

    /// A node.
    #[must_use]
    pub fn get(&self, id: NodeId) -> Option<&Site> {
        self.index(id).map(|it| &self.list[it].site)
    }

    /// All nodes in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &Site> {
        self.list.iter().map(|it| &it.site)
    }

    /// The volumes that came or went since; `None` if anything else has changed.
    #[must_use]
    pub fn volumes_since<'a>(&'a self, before: &'a Self) -> Option<BTreeSet<&'a str>> {
        if self.list.len() != before.list.len() {
            return None;
        }
        let mut changed = BTreeSet::new();
        for (now, then) in self.iter().zip(before.iter()) {
            let Site { id, name, labels, architecture, cpus_milli, memory_bytes, .. } = now;
            let same = *id == then.id
                && *name == then.name
                && *labels == then.labels
                && *architecture == then.architecture
                && (*cpus_milli, *memory_bytes) == (then.cpus_milli, then.memory_bytes)
                && (now.runtime, now.standing) == (then.runtime, then.standing);
            if !same {
                return None;
            }
            let volumes = now.volumes.symmetric_difference(&then.volumes);
            changed.extend(volumes.map(String::as_str));
        }
        Some(changed)
    }

    pub(super) fn index(&self, id: NodeId) -> Option<usize> {
        self.list.binary_search_by_key(&id, |it| it.site.id).ok()
    }

    pub(super) fn places(&self) -> &[Place] {
        &self.list
    }

    /// Which nodes have a volume.
    pub(super) fn with_volume(&self, volume: &str) -> &[usize] {
        self.volumes.get(volume).map_or(&[], Vec::as_slice)
    }
}

/// What a core weighs where cores were not counted.
const ONE_CORE: u64 = 1000;

impl Place {
    fn new(site: Site) -> Self {
        Self {
            seed: node_seed(site.id),
            weight: match site.cpus_milli {
                0 => ONE_CORE,
                cpus => cpus.min(WEIGHT_MAX),
            },
            architecture: architecture(&site.architecture),
            site,
        }
    }
}

/// An architecture as Docker names it, whoever named it (containerd's `platforms` package).
pub(super) fn architecture(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let name = match lower.as_str() {
        "x86_64" | "x86-64" => "amd64",
        "aarch64" => "arm64",
        "armhf" | "armel" | "armv5l" | "armv6l" | "armv7l" | "armv8l" => "arm",
        "i386" | "i486" | "i586" | "i686" => "386",
        "loongarch64" => "loong64",
        other => other,
    };
    name.to_owned()
}
