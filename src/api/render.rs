//! From the node's nouns to what travels: pure conversions.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{backend::TokenStanding, lookup, names, wire};
use crate::{
    model::{
        ContainerState, Millis, NodeId, NodeState, ProjectName, ServiceKey, Tick, TokenId,
        WallTime,
        spec::{CommandLine, HealthTest, Mode, ServiceSpec},
    },
    node::{CheckResult, Planned, PlannedAction, RuntimeStatus, View},
    runtime::{self, ContainerStats, ImageInfo, VolumeInfo, labels},
    state::{
        Admission, ContainerRecord, DeploymentRecord, Intent, NodeRecord, ServiceRecord, Stage,
    },
};

/// How long a node may be joining.
const JOINING_MAX: Millis = Millis::from_secs(60);

/// How a node is, as this one sees it, and since when.
pub(super) fn standing(
    view: &View,
    id: NodeId,
    record: &NodeRecord,
    now: WallTime,
) -> (NodeState, WallTime) {
    if view.state.has_left(id) {
        return (NodeState::Left, record.since);
    }
    let seen = view.cluster.as_ref().and_then(|it| it.standings.get(&id));
    match (record.state, seen) {
        // It was let in, and has not been heard of as a member.
        (NodeState::Joining, None) if record.since.0.saturating_add(JOINING_MAX.0) < now.0 => {
            (NodeState::Failed, record.since)
        }
        (_, Some(seen)) => (seen.state, seen.since),
        (own, None) => (own, record.since),
    }
}

/// What is found out once for all nodes.
struct Shared<'a> {
    uses: BTreeMap<TokenId, usize>,
    mesh: Option<names::Decided<'a>>,
}

impl<'a> Shared<'a> {
    fn of(view: &'a View) -> Self {
        Self { uses: view.state.token_uses(), mesh: names::Decided::of(view) }
    }
}

/// All nodes; those that have left only if `all`.
pub(super) fn nodes(view: &View, all: bool, now: WallTime) -> Vec<wire::Node> {
    let (shared, known) = (Shared::of(view), view.state.nodes());
    let listed = known.iter().filter(|(id, _)| all || !view.state.has_left(**id));
    let mut list: Vec<wire::Node> =
        listed.map(|(id, it)| node_with(view, *id, it, &shared, now)).collect();
    list.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
    list
}

/// A node.
pub(super) fn node(view: &View, id: NodeId, record: &NodeRecord, now: WallTime) -> wire::Node {
    node_with(view, id, record, &Shared::of(view), now)
}

fn admission(
    view: &View,
    admission: &Admission,
    uses: &BTreeMap<TokenId, usize>,
) -> wire::Admission {
    let overused = |(token, allowed): (TokenId, u16)| {
        allowed != 0 && uses.get(&token).is_some_and(|it| usize::from(allowed) < *it)
    };
    let by = view.state.nodes().get(&admission.by);
    wire::Admission {
        by: admission.by.to_string(),
        by_name: by.map(|it| it.name.to_string()).unwrap_or_default(),
        at_ms: admission.at.0,
        token: admission.token.map(|(token, _)| token.to_string()),
        token_overused: admission.token.is_some_and(overused),
    }
}

fn node_with(
    view: &View,
    id: NodeId,
    record: &NodeRecord,
    shared: &Shared<'_>,
    now: WallTime,
) -> wire::Node {
    let is_self = id == view.me;
    let runtime_problem = match &view.runtime {
        RuntimeStatus::Down(why) if is_self => Some(why.to_string()),
        RuntimeStatus::Down(_) | RuntimeStatus::Up | RuntimeStatus::Unknown => None,
    };
    let running = view.state.containers().filter(|it| it.node == id && it.state.is_up()).count();
    let seen = view.cluster.as_ref().and_then(|it| it.standings.get(&id));
    let (state, since) = standing(view, id, record, now);
    wire::Node {
        id: id.to_string(),
        name: record.name.to_string(),
        state: state.to_string(),
        availability: record.availability.to_string(),
        address: record.address.map(|it| it.to_string()),
        version: record.version.clone(),
        labels: record.all_labels(),
        cpus: record.cpus,
        memory_bytes: record.memory_bytes,
        architecture: record.architecture.clone(),
        kernel: record.kernel.clone(),
        runtime: record.runtime.clone().filter(|_| runtime_problem.is_none()),
        runtime_problem,
        since_ms: since.0,
        containers: u32::try_from(running).unwrap_or(u32::MAX),
        is_self,
        round_trip_ms: seen.and_then(|it| it.round_trip).map(|it| it.0),
        key_epoch: record.key_epoch,
        admission: record.admission.as_ref().map(|it| admission(view, it, &shared.uses)),
        mesh: shared.mesh.as_ref().and_then(|it| names::place(it, id, record)),
    }
}

/// A token, as it stands.
pub(super) fn token(view: &View, it: &TokenStanding) -> wire::Token {
    let by = view.state.nodes().get(&it.by);
    let state = if it.revoked {
        "revoked"
    } else if it.expired {
        "expired"
    } else if it.stale {
        "stale"
    } else if it.uses != 0 && usize::from(it.uses) <= it.used {
        "used"
    } else {
        "good"
    };
    wire::Token {
        id: it.id.to_string(),
        state: state.to_owned(),
        created_ms: it.created.0,
        by: it.by.to_string(),
        by_name: by.map(|it| it.name.to_string()).unwrap_or_default(),
        expires_ms: it.expires.0,
        uses: it.uses,
        used: u32::try_from(it.used).unwrap_or(u32::MAX),
    }
}

/// A deployment and its services.
pub(super) fn deployment(
    view: &View,
    name: &ProjectName,
    record: &DeploymentRecord,
    now: WallTime,
) -> wire::Deployment {
    let services = view.state.services_of(name);
    wire::Deployment {
        name: name.to_string(),
        version: record.version,
        working_dir: record.working_dir.clone(),
        files: record.files.clone(),
        updated_ms: record.updated.0,
        services: services.map(|(key, it)| service(view, key, it, now)).collect(),
        removing: record.removal.is_some(),
    }
}

/// A service, and how many of its containers are how.
pub(super) fn service(
    view: &View,
    key: &ServiceKey,
    record: &ServiceRecord,
    now: WallTime,
) -> wire::Service {
    let definition: Value = serde_json::from_str(&record.template.definition).unwrap_or_default();
    let spec = spec_of(view, key);
    let image = spec.map_or_else(
        || definition["image"].as_str().unwrap_or_default().to_owned(),
        |spec| spec.container.image.clone(),
    );
    // Of a dead node nobody knows what runs there; others run it instead.
    let there = |node| view.out_of_reach(node) != Some(NodeState::Dead);
    let containers = || {
        let of_it = view.state.containers().filter(|it| it.service == *key && it.one_off.is_none());
        of_it.filter(|it| there(it.node))
    };
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let current = || containers().filter(|it| it.is_made_from(&record.template));
    let failed = record.rollout.failed.as_ref().map(|(revision, why)| wire::FailedChange {
        revision: revision.to_string(),
        why: why.to_string(),
    });
    wire::Service {
        project: key.project.to_string(),
        name: key.service.to_string(),
        intent: intent(record.intent).to_owned(),
        image,
        mode: mode(spec).to_owned(),
        replicas: record.replicas,
        running: count(containers().filter(|it| it.state.is_up()).count()),
        healthy: count(containers().filter(|it| is_well(view, spec, it)).count()),
        ready: view.ready.contains(key),
        stuck: view.stuck.get(key).map(ToString::to_string),
        cron: cron(view, key, now),
        revision: record.template.revision.to_string(),
        previous: record.previous.as_ref().map(|it| it.revision.to_string()),
        stage: stage(record.rollout.stage).to_owned(),
        updated: count(current().filter(|it| is_well(view, spec, it)).count()),
        failing: count(current().filter(|it| is_failing(it)).count()),
        canaries: spec.and_then(|it| it.extension.canary),
        failed,
        nodes: nodes_of(view, containers().map(|it| it.node)),
        definition,
    }
}

/// On which nodes how many of these are.
fn nodes_of(view: &View, nodes: impl Iterator<Item = NodeId>) -> Vec<wire::ServiceNode> {
    let mut counts: BTreeMap<NodeId, u32> = BTreeMap::new();
    nodes.for_each(|it| *counts.entry(it).or_default() += 1);
    let node = |(node, containers): (NodeId, u32)| wire::ServiceNode {
        node: node.to_string(),
        name: lookup::name_of(view, node),
        containers,
    };
    let mut nodes: Vec<wire::ServiceNode> = counts.into_iter().map(node).collect();
    nodes.sort_by(|a, b| (&a.name, &a.node).cmp(&(&b.name, &b.node)));
    nodes
}

/// Whether a container speaks against what it is made from.
fn is_failing(it: &ContainerRecord) -> bool {
    match it.state {
        ContainerState::Failed | ContainerState::Unhealthy => true,
        ContainerState::Pending | ContainerState::Running => 0 < it.attempts,
        ContainerState::Healthy | ContainerState::Stopped => it.given_up,
    }
}

fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Done => "done",
        Stage::Going => "going",
        Stage::Canary => "canary",
        Stage::Paused => "paused",
        Stage::Returning => "returning",
    }
}

/// When a service runs that runs by the clock.
pub(super) fn cron(view: &View, key: &ServiceKey, now: WallTime) -> Option<wire::Cron> {
    let cron = spec_of(view, key)?.extension.cron.as_ref()?;
    let record = view.state.services().get(key)?;
    let goes = record.intent == Intent::Run && record.replicas != 0;
    let next = cron.schedule.next(&cron.zone, Tick::of(now)).filter(|_| goes);
    let runs = view.state.containers().filter(|it| it.service == *key && it.one_off.is_none());
    let last = runs.filter_map(|it| Tick::of_slot(it.slot)).max();
    Some(wire::Cron {
        schedule: cron.schedule.to_string(),
        next_ms: next.map(|it| it.time().0),
        last_ms: last.map(|it| it.time().0),
    })
}

fn spec_of<'a>(view: &'a View, key: &ServiceKey) -> Option<&'a ServiceSpec> {
    view.projects.get(&key.project)?.services.get(&key.service)
}

fn intent(intent: Intent) -> &'static str {
    match intent {
        Intent::Run => "run",
        Intent::Stop => "stop",
        Intent::Remove { .. } | Intent::Forget { .. } => "remove",
    }
}

fn mode(spec: Option<&ServiceSpec>) -> &'static str {
    match spec.map(|spec| spec.deploy.mode) {
        None | Some(Mode::Replicated(_)) => "replicated",
        Some(Mode::Global) => "global",
        Some(Mode::ReplicatedJob(_)) => "replicated-job",
        Some(Mode::GlobalJob) => "global-job",
    }
}

/// Healthy, or running with nothing that could tell otherwise.
fn is_well(view: &View, spec: Option<&ServiceSpec>, record: &ContainerRecord) -> bool {
    let test = spec.and_then(|it| it.container.health.as_ref()).map(|it| it.test.as_ref());
    let unchecked = match test {
        Some(Some(HealthTest::Disabled)) => true,
        Some(_) => false,
        // The file is silent, and the image may still have a check: then it has results.
        None => !view.checks.contains_key(&record.id),
    };
    match record.state {
        ContainerState::Healthy => true,
        ContainerState::Running => unchecked,
        ContainerState::Pending
        | ContainerState::Unhealthy
        | ContainerState::Stopped
        | ContainerState::Failed => false,
    }
}

/// A container.
pub(super) fn container(view: &View, record: &ContainerRecord) -> wire::Container {
    let node = view.state.nodes().get(&record.node);
    let definition = definition(view, record);
    let spec = spec_of(view, &record.service).filter(|_| record.one_off.is_none());
    let image = definition["image"].as_str().map(str::to_owned);
    wire::Container {
        id: record.id.to_string(),
        name: record.name.to_string(),
        runtime_id: record.runtime_id.as_ref().map(ToString::to_string),
        node: record.node.to_string(),
        node_name: node.map(|node| node.name.to_string()).unwrap_or_default(),
        node_state: view.out_of_reach(record.node).map(|it| it.to_string()),
        project: record.service.project.to_string(),
        service: record.service.service.to_string(),
        slot: record.slot.0,
        one_off: record.one_off.is_some(),
        image: image
            .or_else(|| spec_of(view, &record.service).map(|it| it.container.image.clone()))
            .unwrap_or_default(),
        image_id: record.image.as_ref().map(ToString::to_string),
        state: record.state.to_string(),
        doing: view.doing.get(&record.id).map(crate::node::Activity::words),
        reason: record.reason.as_ref().map(ToString::to_string),
        exit_code: record.exit_code,
        restarts: record.runs,
        revision: record.revision.to_string(),
        created_ms: record.created.0,
        since_ms: record.since.0,
        command: match record.command.as_str() {
            "" => spec.map_or_else(|| words(&definition), command),
            words => words.to_owned(),
        },
        ports: record.ports.iter().map(port).collect(),
        addresses: record.addresses.clone(),
        health: view.checks.get(&record.id).into_iter().flatten().map(health).collect(),
    }
}

/// The canonical definition that a container is made from: its service's, or its own with `fizz run`.
pub(super) fn definition(view: &View, record: &ContainerRecord) -> Value {
    let service = view.state.services().get(&record.service);
    let own = record.one_off.as_ref().map(|it| it.definition.as_ref());
    let template = service.map(|it| it.template_of(record.revision));
    let text = own.or_else(|| template.map(|it| it.definition.as_ref()));
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

fn command(spec: &ServiceSpec) -> String {
    let list = |line: &CommandLine| match line {
        CommandLine::Image => Vec::new(),
        CommandLine::Words(words) => words.clone(),
    };
    [list(&spec.container.entrypoint), list(&spec.container.command)].concat().join(" ")
}

fn words(definition: &Value) -> String {
    let list = |key: &str| match &definition[key] {
        Value::String(line) => line.clone(),
        Value::Array(words) => words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => String::new(),
    };
    format!("{} {}", list("entrypoint"), list("command")).trim().to_owned()
}

fn port(port: &crate::model::ObservedPort) -> wire::Port {
    wire::Port {
        protocol: port.protocol.clone(),
        target: port.target,
        host_ip: port.host_ip.clone(),
        published: port.published,
    }
}

fn health(check: &CheckResult) -> wire::HealthResult {
    let output = check.output.to_string();
    wire::HealthResult { at_ms: check.at.0, passed: check.passed, output }
}

/// What a deployment changes.
pub(super) fn plan(project: String, planned: Planned) -> wire::Plan {
    let service = |it: crate::node::PlannedService| wire::ServicePlan {
        service: it.service.to_string(),
        action: action(it.action).to_owned(),
        replicas_before: it.replicas_before,
        replicas_after: it.replicas_after,
        changes: it
            .changes
            .into_iter()
            .map(|it| wire::FieldChange { path: it.path, before: it.old, after: it.new })
            .collect(),
    };
    wire::Plan {
        project,
        version: planned.version_before,
        services: planned.services.into_iter().map(service).collect(),
        networks: planned.networks,
        volumes: planned.volumes,
        orphans: planned.orphans.iter().map(ToString::to_string).collect(),
        overlay: planned.overlay,
    }
}

fn action(action: PlannedAction) -> &'static str {
    match action {
        PlannedAction::Create => "create",
        PlannedAction::Replace => "replace",
        PlannedAction::Update => "update",
        PlannedAction::Scale => "scale",
        PlannedAction::Start => "start",
        PlannedAction::Keep => "keep",
        PlannedAction::Remove => "remove",
    }
}

/// An image, and the names of the containers that run it.
pub(super) fn image(info: ImageInfo, containers: Vec<String>) -> wire::Image {
    wire::Image {
        id: info.id.to_string(),
        references: info.references,
        digests: info.digests,
        size_bytes: info.size_bytes,
        created_ms: info.created.0,
        platform: info.platform,
        containers,
    }
}

/// A volume of this node.
pub(super) fn volume(view: &View, info: VolumeInfo) -> wire::Volume {
    wire::Volume {
        project: info.labels.get(labels::PROJECT).cloned(),
        resource: info.labels.get(labels::RESOURCE).cloned(),
        node: view.me.to_string(),
        node_name: lookup::name_of(view, view.me),
        name: info.name,
        driver: info.driver,
        mountpoint: info.mountpoint,
        labels: info.labels,
        options: info.options,
        created_ms: info.created.map(|created| created.0),
    }
}

/// What a container uses.
pub(super) fn stats(record: &ContainerRecord, stats: ContainerStats) -> wire::Stats {
    wire::Stats {
        container: record.id.to_string(),
        name: record.name.to_string(),
        cpu_hundredths_percent: stats.cpu_hundredths_percent,
        memory_bytes: stats.memory_bytes,
        memory_limit_bytes: stats.memory_limit_bytes,
        network_rx_bytes: stats.network_rx_bytes,
        network_tx_bytes: stats.network_tx_bytes,
        block_read_bytes: stats.block_read_bytes,
        block_write_bytes: stats.block_write_bytes,
        pids: stats.pids,
        warning: None,
    }
}

/// A line of a container's output.
pub(super) fn log_line(record: &ContainerRecord, line: &runtime::LogLine) -> wire::LogLine {
    let stream = match line.stream {
        runtime::StreamKind::Stdout => "stdout",
        runtime::StreamKind::Stderr => "stderr",
    };
    wire::LogLine {
        container: record.id.to_string(),
        name: record.name.to_string(),
        service: record.service.service.to_string(),
        stream: stream.to_owned(),
        at_ns: line.at_ns.to_string(),
        line: String::from_utf8_lossy(&line.line).into_owned(),
    }
}

/// A step of a pull or a build.
pub(super) fn progress(step: runtime::Progress) -> wire::Progress {
    wire::Progress {
        layer: step.layer,
        status: step.status,
        current_bytes: step.current_bytes,
        total_bytes: step.total_bytes,
        image: None,
        error: None,
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::Arc};

    use super::*;
    use crate::state::{Change, ClusterState, ReplicaId};

    /// Nodes with how each came in, by name.
    fn view(nodes: &[(&str, NodeState, Option<Admission>)]) -> View {
        let mut state = ClusterState::new(ReplicaId(1));
        for (number, (name, own, admission)) in (1..).zip(nodes) {
            let record = NodeRecord {
                replica: ReplicaId(number),
                admission: admission.clone(),
                ..NodeRecord::unmeasured(name.parse().unwrap(), *own, WallTime(1_000))
            };
            let id = NodeId(u128::from(number));
            let change = Change::Node(id, Some(Arc::new(record)));
            let _ = state.commit(change, WallTime(number));
        }
        View {
            me: NodeId(1),
            state: Arc::new(state),
            projects: BTreeMap::new(),
            doing: BTreeMap::new(),
            checks: BTreeMap::new(),
            stuck: BTreeMap::new(),
            ready: BTreeSet::new(),
            runtime: RuntimeStatus::Up,
            overlay: None,
            cluster: None,
        }
    }

    fn with(token: u64, uses: u16) -> Option<Admission> {
        let token = Some((TokenId(token), uses));
        Some(Admission { by: NodeId(1), at: WallTime(5), token })
    }

    #[test]
    fn who_is_joining_for_too_long_has_failed_and_who_left_is_listed_only_if_asked_for() {
        let view = view(&[
            ("a", NodeState::Alive, None),
            ("b", NodeState::Joining, with(1, 1)),
            ("c", NodeState::Left, None),
        ]);
        let states = |all, now| -> Vec<String> {
            nodes(&view, all, WallTime(now)).into_iter().map(|it| it.state).collect()
        };
        assert_eq!(states(false, 60_000), ["alive", "joining"]);
        assert_eq!(states(false, 62_000), ["alive", "failed"]);
        assert_eq!(states(true, 60_000), ["alive", "joining", "left"]);
    }

    #[test]
    fn all_who_came_with_a_token_that_was_used_too_often_are_marked() {
        let view = view(&[
            ("a", NodeState::Alive, None),
            ("b", NodeState::Alive, with(1, 1)),
            ("c", NodeState::Alive, with(1, 1)),
            ("d", NodeState::Alive, with(2, 2)),
            ("e", NodeState::Alive, with(3, 0)),
            ("f", NodeState::Alive, with(3, 0)),
        ]);
        let all = nodes(&view, false, WallTime(0));
        let marked = |it: &wire::Node| it.admission.as_ref().is_some_and(|it| it.token_overused);
        let marked: Vec<&str> =
            all.iter().filter(|it| marked(it)).map(|it| it.name.as_str()).collect();
        assert_eq!(marked, ["b", "c"]);
        let came = all[1].admission.as_ref().unwrap();
        assert_eq!((came.by_name.as_str(), came.token.as_deref()), ("a", Some("0000000000000001")));
    }

    #[test]
    fn a_token_says_why_it_is_of_no_use() {
        let view = view(&[("a", NodeState::Alive, None)]);
        let good = TokenStanding {
            id: TokenId(1),
            created: WallTime(1),
            by: NodeId(1),
            expires: WallTime(2),
            uses: 1,
            used: 0,
            revoked: false,
            stale: false,
            expired: false,
        };
        let state = |it: TokenStanding| token(&view, &it).state;
        assert_eq!(state(good), "good");
        assert_eq!(state(TokenStanding { used: 1, ..good }), "used");
        assert_eq!(state(TokenStanding { used: 9, uses: 0, ..good }), "good");
        assert_eq!(state(TokenStanding { stale: true, used: 1, ..good }), "stale");
        assert_eq!(state(TokenStanding { expired: true, stale: true, ..good }), "expired");
        assert_eq!(state(TokenStanding { revoked: true, expired: true, ..good }), "revoked");
    }
}
