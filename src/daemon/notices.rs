//! What the node and the executor tell, as events of the API.

use crate::{
    api::{EventLog, wire},
    model::{NodeName, WallTime},
    node::{Notice, Subject},
};

/// Tells whoever listens, and the log.
pub(super) fn publish(log: &EventLog, node: &NodeName, notice: Notice, now: WallTime) {
    let mut told = wire::Event {
        at_ms: now.0,
        kind: notice.kind.to_owned(),
        state: notice.state,
        reason: notice.reason.map(|it| it.to_string()),
        exit_code: notice.exit_code,
        ..wire::Event::default()
    };
    match notice.subject {
        Subject::Node => told.name = Some(node.to_string()),
        Subject::Peer(_, name) => told.name = Some(name.to_string()),
        Subject::Project(project) => told.project = Some(project.to_string()),
        Subject::Service(key) => {
            told.project = Some(key.project.to_string());
            told.service = Some(key.service.to_string());
        }
        Subject::Container(id, key, name) => {
            told.project = Some(key.project.to_string());
            told.service = Some(key.service.to_string());
            told.container = Some(id.to_string());
            told.name = Some(name.to_string());
        }
    }
    note(&told);
    log.append(told);
}

/// In the log, health checks and steps on the way are details.
fn note(told: &wire::Event) {
    let (kind, name, state) = (&told.kind, told.name.as_deref(), told.state.as_deref());
    let (project, service) = (told.project.as_deref(), told.service.as_deref());
    let reason = told.reason.as_deref();
    if matches!(kind.as_str(), "container.health" | "container.doing") {
        tracing::debug!(project, service, name, state, reason, "{kind}");
    } else {
        tracing::info!(project, service, name, state, reason, "{kind}");
    }
}
