//! From the node's nouns to what travels: pure conversions.

use serde_json::Value;

use super::wire;
use crate::{
    model::{
        ContainerState, NodeId, ProjectName, ServiceKey,
        spec::{CommandLine, HealthTest, Mode, ServiceSpec},
    },
    node::{CheckResult, Planned, PlannedAction, RuntimeStatus, View},
    runtime::{self, ContainerStats, ImageInfo, VolumeInfo, labels},
    state::{ContainerRecord, DeploymentRecord, Intent, NodeRecord, ServiceRecord},
};

/// A node.
pub(super) fn node(view: &View, id: NodeId, record: &NodeRecord) -> wire::Node {
    let is_self = id == view.me;
    let runtime_problem = match &view.runtime {
        RuntimeStatus::Down(why) if is_self => Some(why.to_string()),
        RuntimeStatus::Down(_) | RuntimeStatus::Up | RuntimeStatus::Unknown => None,
    };
    let running = view.state.containers().filter(|it| it.node == id && it.state.is_up()).count();
    wire::Node {
        id: id.to_string(),
        name: record.name.to_string(),
        state: record.state.to_string(),
        address: record.address.map(|it| it.to_string()),
        version: record.version.clone(),
        labels: record.all_labels(),
        cpus: record.cpus,
        memory_bytes: record.memory_bytes,
        architecture: record.architecture.clone(),
        kernel: record.kernel.clone(),
        runtime: record.runtime.clone().filter(|_| runtime_problem.is_none()),
        runtime_problem,
        since_ms: record.since.0,
        containers: u32::try_from(running).unwrap_or(u32::MAX),
        is_self,
    }
}

/// A deployment and its services.
pub(super) fn deployment(
    view: &View,
    name: &ProjectName,
    record: &DeploymentRecord,
) -> wire::Deployment {
    let services = view.state.services_of(name);
    wire::Deployment {
        name: name.to_string(),
        version: record.version,
        working_dir: record.working_dir.clone(),
        files: record.files.clone(),
        updated_ms: record.updated.0,
        services: services.map(|(key, it)| service(view, key, it)).collect(),
        removing: record.removal.is_some(),
    }
}

/// A service, and how many of its containers are how.
pub(super) fn service(view: &View, key: &ServiceKey, record: &ServiceRecord) -> wire::Service {
    let definition: Value = serde_json::from_str(&record.definition).unwrap_or_default();
    let spec = spec_of(view, key);
    let image = spec.map_or_else(
        || definition["image"].as_str().unwrap_or_default().to_owned(),
        |spec| spec.container.image.clone(),
    );
    let containers =
        || view.state.containers().filter(|it| it.service == *key && it.one_off.is_none());
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
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
        revision: record.revision.to_string(),
        definition,
    }
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
    let text = own.or_else(|| service.map(|it| it.definition.as_ref()));
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
        warnings: planned.warnings,
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
