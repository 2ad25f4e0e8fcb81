//! What came to the published ports by this node.

use std::sync::atomic::Ordering;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::api::wire::NodeIngress;

/// All zero where nothing is counted, as a firewall carries the ports.
#[derive(Debug, Default)]
pub(super) struct IngressMetrics {
    by_programs: Gauge,
    open: Family<ReplicaLabel, Gauge>,
    taken: Family<ReplicaLabel, Counter>,
    refused: Family<ReplicaLabel, Counter>,
    silent: Family<ReplicaLabel, Counter>,
    resets: Family<ReplicaLabel, Counter>,
    left_out: Family<ReplicaLabel, Gauge>,
    dropped: Family<ReasonLabel, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReplicaLabel {
    port: u16,
    protocol: String,
    service: String,
    replica: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: String,
}

impl IngressMetrics {
    pub(super) fn register(&self, to: &mut Registry) {
        let help = "Whether programs in the kernel carry the published ports";
        to.register("ingress_programs", help, self.by_programs.clone());
        let help = "Connections that are open to a replica by this node";
        to.register("ingress_open_connections", help, self.open.clone());
        let help = "Connections that this node led to a replica";
        to.register("ingress_connections", help, self.taken.clone());
        let help = "Connections that a replica refused";
        to.register("ingress_refused", help, self.refused.clone());
        let help = "How often a replica left a connection unanswered";
        to.register("ingress_silent", help, self.silent.clone());
        let help = "Open connections that a replica broke off";
        to.register("ingress_resets", help, self.resets.clone());
        let help = "Whether a replica is left out, as it did not take a connection";
        to.register("ingress_left_out", help, self.left_out.clone());
        let help = "Packets to published ports that went no further, by reason";
        to.register("ingress_dropped_packets", help, self.dropped.clone());
    }

    pub(super) fn read(&self, node: &NodeIngress) {
        self.by_programs.set(i64::from(node.carried_by == "programs"));
        // Replicas go; what is left of them must not look like news.
        for family in [&self.open, &self.left_out] {
            family.clear();
        }
        for family in [&self.taken, &self.refused, &self.silent, &self.resets] {
            family.clear();
        }
        for port in &node.ports {
            for it in &port.replicas {
                let label = ReplicaLabel {
                    port: port.port,
                    protocol: port.protocol.clone(),
                    service: port.services.join(","),
                    replica: it.name.clone(),
                };
                let open = i64::try_from(it.open).unwrap_or(i64::MAX);
                self.open.get_or_create(&label).set(open);
                let left_out = ["refused", "silent"].contains(&it.state.as_str());
                self.left_out.get_or_create(&label).set(i64::from(left_out));
                for (family, count) in [
                    (&self.taken, it.taken),
                    (&self.refused, it.refused),
                    (&self.silent, it.silent),
                    (&self.resets, it.resets),
                ] {
                    family.get_or_create(&label).inner().store(count, Ordering::Relaxed);
                }
            }
        }
        for (reason, count) in &node.dropped {
            let label = ReasonLabel { reason: reason.clone() };
            self.dropped.get_or_create(&label).inner().store(*count, Ordering::Relaxed);
        }
    }
}
