//! What the node's picture tells of its cluster.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use crate::{
    api::{lookup, render},
    gossip::Rejected,
    model::NodeState,
    node::{Now, Traffic, View},
};

type Number = Gauge<f64, AtomicU64>;

/// All zero while the node is in no cluster.
#[derive(Debug, Default)]
pub(super) struct ClusterMetrics {
    members: Family<StateLabel, Gauge>,
    round_trip: Family<MemberLabel, Number>,
    sent: Counter,
    sent_bytes: Counter,
    received: Counter,
    received_bytes: Counter,
    rejected: Family<ReasonLabel, Counter>,
    suspicions: Counter,
    refutations: Counter,
    fetches: Counter,
    illness: Gauge<u64, AtomicU64>,
    clock_error: Number,
    key_epoch: Gauge<u64, AtomicU64>,
    agreed_age: Number,
    ready: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MemberLabel {
    member: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

/// All states: a gauge that is no longer true must be set to zero, not left.
const STATES: [NodeState; 6] = [
    NodeState::Joining,
    NodeState::Alive,
    NodeState::Suspicious,
    NodeState::Dead,
    NodeState::Left,
    NodeState::Failed,
];

/// All reasons.
const REASONS: [Rejected; 5] =
    [Rejected::Foreign, Rejected::Unknown, Rejected::Epoch, Rejected::Forged, Rejected::Repeated];

fn reason(why: Rejected) -> &'static str {
    match why {
        Rejected::Foreign => "foreign",
        Rejected::Unknown => "unknown_sender",
        Rejected::Epoch => "unknown_key",
        Rejected::Forged => "forged",
        Rejected::Repeated => "repeated",
    }
}

impl ClusterMetrics {
    pub(super) fn register(&self, to: &mut Registry) {
        let help = "Nodes by state, as this node sees them, this one among them";
        to.register("members", help, self.members.clone());
        let help = "How long a member takes to answer this node";
        to.register_with_unit("member_round_trip", help, Unit::Seconds, self.round_trip.clone());
        to.register("datagrams_sent", "Datagrams sent to other members", self.sent.clone());
        let help = "Bytes of datagrams sent to other members";
        to.register_with_unit("datagrams_sent", help, Unit::Bytes, self.sent_bytes.clone());
        to.register("datagrams_received", "Datagrams received", self.received.clone());
        let help = "Bytes of datagrams received";
        to.register_with_unit("datagrams_received", help, Unit::Bytes, self.received_bytes.clone());
        let help = "Datagrams received and not taken, by reason";
        to.register("datagrams_rejected", help, self.rejected.clone());
        let help = "Members that became unreachable";
        to.register("suspicions", help, self.suspicions.clone());
        let help = "Unreachable members that turned out to be well";
        to.register("refutations", help, self.refutations.clone());
        let help = "Streams by which state was fetched from another member";
        to.register("state_fetches", help, self.fetches.clone());
        let help = "How ill this node thinks it is itself: 0 is well, 8 as ill as can be";
        to.register("illness", help, self.illness.clone());
        let help = "How far this node's clock is ahead of the other members'";
        to.register_with_unit("clock_error", help, Unit::Seconds, self.clock_error.clone());
        let help = "The number of the cluster's newest key that this node has";
        to.register("key_epoch", help, self.key_epoch.clone());
        let help = "How long ago another member was seen to have just the state that this node has";
        to.register_with_unit("state_agreed_age", help, Unit::Seconds, self.agreed_age.clone());
        let help = "Whether this node has compared its state with the others' and writes";
        to.register("cluster_ready", help, self.ready.clone());
    }

    pub(super) fn read(&self, view: &View, now: Now) {
        self.read_members(view, now);
        let Some(cluster) = &view.cluster else { return };
        self.read_traffic(&cluster.traffic);
        self.illness.set(cluster.illness);
        self.clock_error.set(cluster.clock_error_ms.unwrap_or(0) as f64 / 1000.0);
        self.key_epoch.set(u64::from(cluster.keys.newest().0));
        let age = now.moment.0.saturating_sub(cluster.agreed.0);
        self.agreed_age.set(age as f64 / 1000.0);
        self.ready.set(i64::from(cluster.ready));
    }

    fn read_members(&self, view: &View, now: Now) {
        let state = |it: NodeState| StateLabel { state: it.to_string() };
        for it in STATES {
            self.members.get_or_create(&state(it)).set(0);
        }
        for (id, record) in view.state.nodes().iter() {
            let (seen, _) = render::standing(view, *id, record, now.wall);
            self.members.get_or_create(&state(seen)).inc();
        }
        // Members go; what is left of them must not look like news.
        self.round_trip.clear();
        for (id, standing) in view.cluster.iter().flat_map(|it| &it.standings) {
            if let Some(trip) = standing.round_trip {
                let label = MemberLabel { member: lookup::name_of(view, *id) };
                self.round_trip.get_or_create(&label).set(trip.0 as f64 / 1000.0);
            }
        }
    }

    fn read_traffic(&self, traffic: &Traffic) {
        for (counter, count) in [
            (&self.sent, traffic.sent),
            (&self.sent_bytes, traffic.sent_bytes),
            (&self.received, traffic.received),
            (&self.received_bytes, traffic.received_bytes),
            (&self.suspicions, traffic.suspicions),
            (&self.refutations, traffic.refutations),
            (&self.fetches, traffic.fetches),
        ] {
            counter.inner().store(count, Ordering::Relaxed);
        }
        for why in REASONS {
            let count = traffic.rejected.get(&why).copied().unwrap_or(0);
            let label = ReasonLabel { reason: reason(why) };
            self.rejected.get_or_create(&label).inner().store(count, Ordering::Relaxed);
        }
    }
}
