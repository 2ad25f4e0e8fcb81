//! What Fizz counts, in the OpenMetrics text format.
//!
//! Figures of the node's loop and of the API are counted as they happen; what the node's picture
//! tells (containers, services, deployments, the cluster) is read from it when somebody asks.

mod cluster;
mod ingress;

use std::{sync::atomic::AtomicU64, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Registry, Unit},
};

use crate::{
    api::wire::NodeIngress,
    model::ContainerState,
    node::{Now, RuntimeStatus, View},
};
use cluster::ClusterMetrics;
use ingress::IngressMetrics;

/// What the answer says that it is.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Bounds for requests: most are answered from memory, a few wait for the disk or the runtime.
const REQUEST_SECONDS: [f64; 9] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];

/// Bounds for making writes durable.
const COMMIT_SECONDS: [f64; 8] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.25, 1.0];

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// What Fizz counts.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    loop_iterations: Counter,
    loop_events: Counter,
    commits: Counter,
    commit_seconds: Histogram,
    runtime_up: Gauge,
    containers: Family<StateLabel, Gauge>,
    deployments: Gauge,
    services: Family<ReadyLabel, Gauge>,
    nodes: Gauge,
    requests: Family<RequestLabel, Counter>,
    request_seconds: Histograms<RouteLabel>,
    streams: Gauge,
    events_last: Gauge<u64, AtomicU64>,
    cluster: ClusterMetrics,
    ingress: IngressMetrics,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReadyLabel {
    ready: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabel {
    route: String,
    method: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabel {
    route: String,
    method: String,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Everything at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("fizz"),
            loop_iterations: Counter::default(),
            loop_events: Counter::default(),
            commits: Counter::default(),
            commit_seconds: Histogram::new(COMMIT_SECONDS),
            runtime_up: Gauge::default(),
            containers: Family::default(),
            deployments: Gauge::default(),
            services: Family::default(),
            nodes: Gauge::default(),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(|| Histogram::new(REQUEST_SECONDS)),
            streams: Gauge::default(),
            events_last: Gauge::default(),
            cluster: ClusterMetrics::default(),
            ingress: IngressMetrics::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let it = &mut self.registry;
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        it.register("build", "What runs", build);
        let (name, help) = ("node_loop_iterations", "Turns of the node's loop");
        it.register(name, help, self.loop_iterations.clone());
        it.register("node_events", "Events that the node handled", self.loop_events.clone());
        it.register("commits", "Groups of writes made durable", self.commits.clone());
        let help = "How long a group of writes took to become durable";
        it.register_with_unit("commit", help, Unit::Seconds, self.commit_seconds.clone());
        let help = "Whether the container runtime answers";
        it.register("runtime_up", help, self.runtime_up.clone());
        it.register("containers", "Containers by state", self.containers.clone());
        it.register("deployments", "Deployments", self.deployments.clone());
        let help = "Services by whether they are as wanted";
        it.register("services", help, self.services.clone());
        it.register("nodes", "Known nodes", self.nodes.clone());
        let help = "Requests to the API by route, method and status";
        it.register("api_requests", help, self.requests.clone());
        let help = "How long the API took to begin its answer";
        it.register_with_unit("api_request", help, Unit::Seconds, self.request_seconds.clone());
        let help = "Open streams: logs, events, stats, sessions, transfers";
        it.register("api_streams", help, self.streams.clone());
        let help = "The number of the last event in the event log";
        it.register("event_last_id", help, self.events_last.clone());
        self.cluster.register(it);
        self.ingress.register(it);
    }

    /// The node's loop has taken a turn in which it handled so many events.
    pub fn turned(&self, events: u64) {
        self.loop_iterations.inc();
        self.loop_events.inc_by(events);
    }

    /// A group of writes is durable, after so long.
    pub fn committed(&self, took: Duration) {
        self.commits.inc();
        self.commit_seconds.observe(took.as_secs_f64());
    }

    pub(super) fn answered(&self, route: &str, method: &str, status: u16, took: Duration) {
        let (route, method) = (route.to_owned(), method.to_owned());
        let label = RouteLabel { route: route.clone(), method: method.clone() };
        self.request_seconds.get_or_create(&label).observe(took.as_secs_f64());
        self.requests.get_or_create(&RequestLabel { route, method, status }).inc();
    }

    /// Everything as text.
    pub(super) fn text(
        &self,
        view: &View,
        ingress: &NodeIngress,
        now: Now,
        streams: usize,
        event: u64,
    ) -> Result<String, String> {
        self.read(view);
        self.cluster.read(view, now);
        self.ingress.read(ingress);
        self.streams.set(i64::try_from(streams).unwrap_or(i64::MAX));
        self.events_last.set(event);
        let mut text = String::new();
        text::encode(&mut text, &self.registry).map_err(|why| why.to_string())?;
        Ok(text)
    }

    fn read(&self, view: &View) {
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.runtime_up.set(i64::from(view.runtime == RuntimeStatus::Up));
        self.deployments.set(count(view.state.deployments().iter().count()));
        self.nodes.set(count(view.state.nodes().iter().count()));
        for state in STATES {
            let number = view.state.containers().filter(|it| it.state == state).count();
            let label = StateLabel { state: state.to_string() };
            self.containers.get_or_create(&label).set(count(number));
        }
        let keys = || view.state.services().iter().map(|(key, _)| key);
        let ready = keys().filter(|key| view.ready.contains(*key)).count();
        let waiting = keys().count() - ready;
        self.services.get_or_create(&ReadyLabel { ready: "true" }).set(count(ready));
        self.services.get_or_create(&ReadyLabel { ready: "false" }).set(count(waiting));
    }
}

/// All states: a gauge that is no longer true must be set to zero, not left.
const STATES: [ContainerState; 6] = [
    ContainerState::Pending,
    ContainerState::Running,
    ContainerState::Healthy,
    ContainerState::Unhealthy,
    ContainerState::Stopped,
    ContainerState::Failed,
];
