//! What happened, counted: a fault that never happened was not tested.

use std::collections::BTreeMap;

/// What must have happened somewhere in the seeds that run, or the test has gone blind.
pub(crate) const MUST_HAPPEN: &[&str] = &[
    "datagrams corrupted",
    "datagrams doubled",
    "datagrams forged",
    "datagrams late",
    "datagrams lost",
    "datagrams lost to a partition",
    "datagrams replayed",
    "crashes",
    "crashes that lost writes",
    "outages of the whole cluster",
    "data directories set back",
    "clocks wrong",
    "disks slow",
    "members paused",
    "partitions",
    "partitions of one way",
    "exchanges",
    "fetches",
    "fetches broken off",
    "fetches to enter again",
    "full fetches",
    "joins",
    "joins broken off",
    "leaves",
    "removals of members",
    "rotations",
    "keys unwrapped",
    "keys wrapped later",
    "user writes acknowledged",
    "user writes refused",
    "writes too long for a packet",
    "conflicts",
    "removals collected",
    "containers made",
];

/// The same for stories about what runs where.
pub(crate) const ORCHESTRA_MUST_HAPPEN: &[&str] = &[
    "crashes",
    "datagrams lost",
    "datagrams lost to a partition",
    "disks slow",
    "joins",
    "leaves",
    "machines without power",
    "members paused",
    "outages of the whole cluster",
    "partitions",
    "partitions of one way",
    "removals of members",
    "bad changes",
    "changes that stopped",
    "changes that went back",
    "containers given up",
    "containers made",
    "containers that could not be made",
    "containers that ended by themselves",
    "cordons",
    "deployments removed",
    "drains",
    "good changes",
    "jobs completed",
    "jobs completed on each node",
    "rebalances",
    "rollbacks asked for",
    "scalings",
    "singletons moved",
    "singletons started",
    "ticks run",
    "uncordons",
];

/// How often each thing happened.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally(BTreeMap<&'static str, u64>);

impl Tally {
    pub(crate) fn count(&mut self, what: &'static str) {
        self.add(what, 1);
    }

    pub(crate) fn add(&mut self, what: &'static str, times: u64) {
        *self.0.entry(what).or_default() += times;
    }

    pub(crate) fn join(&mut self, other: &Self) {
        other.0.iter().for_each(|(what, times)| self.add(what, *times));
    }

    /// What must have happened, and never did.
    pub(crate) fn missing(&self, must: &[&'static str]) -> Vec<&'static str> {
        must.iter().copied().filter(|it| !self.0.contains_key(it)).collect()
    }

    /// A line for each.
    pub(crate) fn lines(&self) -> String {
        self.0.iter().map(|(what, times)| format!("{times:>12} {what}\n")).collect()
    }
}
