//! What is asked of the scheduler, and what it answers.

use std::{collections::BTreeMap, fmt, sync::Arc};

use super::{objection::Objection, rules::Rules};
use crate::model::{ContainerId, NodeId, ServiceKey, ServiceName, Slot, WallTime};

/// A container that holds a slot now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Which slot.
    pub slot: Slot,
    /// Where.
    pub node: NodeId,
    /// Of several in one slot the highest stays. 0: nothing was started for it yet, so that it costs
    /// nothing to have it elsewhere.
    pub rank: u8,
    /// Of several of one rank the newest stays: where a node was away, the others replaced what it had, and
    /// what it says of its containers when it is back may be old.
    pub created: WallTime,
    /// Of several of one age the lowest stays.
    pub id: ContainerId,
}

/// How many containers a service has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// This many, in slots from 1 on.
    Slots(u32),
    /// One on each node that may have it, each in slot 1.
    EachNode,
}

/// One service that wants its slots placed.
#[derive(Clone, Copy, Debug)]
pub struct Demand<'a> {
    /// Which.
    pub service: &'a ServiceKey,
    /// Where it may run.
    pub rules: &'a Rules,
    /// How many.
    pub count: Count,
    /// Which slots, in order, where they are not 1 and so on: those of a job that are not done yet, or
    /// the runs of a service that runs by the clock. A service that runs on each node is asked by node.
    pub only: Option<&'a [Slot]>,
    /// What holds slots now, in any order.
    pub holders: &'a [Holder],
    /// Slots that somebody wants on a certain node.
    pub wishes: &'a BTreeMap<Slot, NodeId>,
}

impl Demand<'_> {
    /// The slots that want a place, in order.
    pub(super) fn slots(&self) -> Vec<Slot> {
        match (self.count, self.only) {
            (Count::Slots(_), Some(only)) => only.to_vec(),
            (Count::Slots(count), None) => (1..=count).map(Slot).collect(),
            (Count::EachNode, _) => vec![Slot(1)],
        }
    }

    /// Whether a slot wants a place.
    pub(super) fn wants(&self, slot: Slot) -> bool {
        match (self.count, self.only) {
            (Count::Slots(_), Some(only)) => only.binary_search(&slot).is_ok(),
            (Count::Slots(count), None) => (1..=count).contains(&slot.0),
            (Count::EachNode, _) => slot == Slot(1),
        }
    }

    /// Whether any slot does.
    pub(super) fn wants_any(&self) -> bool {
        match (self.count, self.only) {
            (Count::Slots(_), Some(only)) => !only.is_empty(),
            (Count::Slots(count), None) => count != 0,
            (Count::EachNode, _) => true,
        }
    }
}

/// Services that are placed in one go.
#[derive(Clone, Debug)]
pub struct Unit<'a> {
    /// Which; each at most once.
    pub demands: Vec<Demand<'a>>,
    /// Whether all their containers must be on one node.
    pub together: bool,
}

/// Where everything of a unit is to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// In the order of services, slots and nodes.
    pub posts: Vec<Post>,
    /// What has no place, in the same order.
    pub pending: Vec<Pending>,
}

/// A slot and its node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Post {
    /// Of which service.
    pub service: ServiceName,
    /// Which of its slots.
    pub slot: Slot,
    /// Where it is to run.
    pub node: NodeId,
    /// Why there.
    pub why: Why,
}

/// Why a slot is where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// It was there already.
    Kept,
    /// Somebody wants it there.
    Wished,
    /// Of the nodes that may have it this one has the best claim.
    Chosen,
    /// It should leave, but there is no other node for it.
    Stranded,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kept => "it is there already",
            Self::Wished => "it was moved there",
            Self::Chosen => "of the nodes that may have it this one has the best claim",
            Self::Stranded => "it should leave, but no other node may have it",
        })
    }
}

/// A slot that no node may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Of which service.
    pub service: ServiceName,
    /// Which of its slots.
    pub slot: Slot,
    /// The node that should have one and cannot, of a service that runs on each.
    pub node: Option<NodeId>,
    /// What speaks against each node: the first that was found. Slots of one service share it.
    pub why: Arc<Vec<(NodeId, Objection)>>,
}

impl Placement {
    pub(super) fn sorted(mut self) -> Self {
        self.posts.sort_unstable();
        self.pending
            .sort_by(|a, b| (&a.service, a.slot, a.node).cmp(&(&b.service, b.slot, b.node)));
        self
    }
}
