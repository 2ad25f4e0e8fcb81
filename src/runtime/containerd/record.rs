//! What Fizz keeps with each of its containers, and a container as Fizz sees it.
//!
//! containerd keeps a container's definition apart from its process, and forgets the process once it is
//! cleared away. So names, and how the last process ended, are labels of ours; all else that a later
//! call needs is one document beside the definition.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    connect::Connection,
    errors::{Refusal, about},
    life,
    messages::{
        Any, Container, Containers, FieldMask, GetContainer, GetTask, ListContainers, Process,
        Status, Timestamp, UpdateContainer,
    },
    stats,
};
use crate::{
    model::{ImageId, NodeId, WallTime},
    runtime::{
        CreateContainer, Observed, RuntimeError, RuntimeId, RuntimeState, contract::labelled,
        labels,
    },
};

/// A container's name.
pub(super) const NAME: &str = "fizz.name";

/// When its process began, in milliseconds since the Unix epoch.
const STARTED: &str = "fizz.started";

/// How its last process ended: status, whether for want of memory, and when.
const ENDED: &str = "fizz.ended";

/// Where the document is among a container's extensions, and what it is.
const EXTENSION: &str = "fizz.container";
const DOCUMENT: &str = "fizz.container/1";

/// What a container that ran when the machine lost its power ended with, by our account.
const LOST: i64 = 255;

/// What later calls need.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Record {
    /// The image's id.
    pub(super) image: String,
    /// Its process's words.
    pub(super) command: Vec<String>,
    /// The labels that the user gave it, and those of its image.
    pub(super) labels: BTreeMap<String, String>,
    /// Whose namespaces it runs in.
    pub(super) joins: Joins,
    /// It has a terminal.
    pub(super) terminal: bool,
    /// It has standard input.
    pub(super) stdin: bool,
    /// Which ends with the first conversation.
    pub(super) stdin_once: bool,
    /// By which signal it is asked to stop.
    pub(super) stop_signal: String,
    /// How long it may take.
    pub(super) stop_grace_ms: u64,
    /// What it has mounted that is not in every container.
    pub(super) mounts: Vec<Mounted>,
    /// It offers its shared memory to others.
    pub(super) shares_memory: Option<u64>,
    /// Where its output goes.
    pub(super) log: LogSettings,
}

/// Containers whose namespaces one runs in, by id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Joins {
    pub(super) network: Option<String>,
    pub(super) ipc: Option<String>,
    pub(super) pid: Option<String>,
}

/// Something mounted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Mounted {
    /// The volume's name, if it is one.
    pub(super) volume: Option<String>,
    /// Only this part of it, which is looked for when the container starts, and then lies at the mount's
    /// source.
    pub(super) part: Option<String>,
    /// It is the container's own.
    pub(super) anonymous: bool,
    /// As the runtime specification has it.
    pub(super) mount: serde_json::Value,
}

/// Where output goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct LogSettings {
    /// Whether it is kept at all.
    pub(super) kept: bool,
    /// The longest file; none is longer by more than one line.
    pub(super) bytes_max: Option<u64>,
    /// How many files.
    pub(super) files_max: u32,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { kept: true, bytes_max: None, files_max: 1 }
    }
}

impl Record {
    /// The document of a container of ours.
    pub(super) fn of(container: &Container) -> Option<Self> {
        serde_json::from_slice(&container.extensions.get(EXTENSION)?.value).ok()
    }

    /// As containerd keeps it.
    pub(super) fn extensions(&self) -> BTreeMap<String, Any> {
        let value = serde_json::to_vec(self).unwrap_or_default();
        [(EXTENSION.to_owned(), Any { type_url: DOCUMENT.to_owned(), value })].into()
    }

    /// Whose namespaces it runs in.
    pub(super) fn shares(&self) -> Vec<RuntimeId> {
        let Joins { network, ipc, pid } = &self.joins;
        let owners = [network, ipc, pid].into_iter().flatten();
        let mut owners: Vec<_> = owners.map(|it| RuntimeId(it.as_str().into())).collect();
        owners.sort();
        owners.dedup();
        owners
    }
}

/// The labels by which a container is known again, its name among them.
pub(super) fn own_labels(request: &CreateContainer) -> BTreeMap<String, String> {
    let mut all = request.own_labels();
    all.insert(NAME.to_owned(), request.name.to_string());
    all
}

/// A container by its id.
pub(super) async fn find(connection: &Connection, id: &str) -> Result<Option<Container>, Refusal> {
    match connection.ask(GetContainer { id: id.to_owned() }).await {
        Ok(answer) => Ok(answer.container),
        Err(Refusal::Missing(_)) => Ok(None),
        Err(refusal) => Err(refusal),
    }
}

/// A container by its id, with its document; it must be there.
pub(super) async fn must_find(
    connection: &Connection,
    id: &str,
    doing: &'static str,
) -> Result<(Container, Record), RuntimeError> {
    let about = about(doing, "container", id);
    let found = find(connection, id).await.map_err(|it| connection.error(it, &about))?;
    let container = found.ok_or_else(|| about.missing())?;
    let record = Record::of(&container)
        .ok_or_else(|| about.failed("it is not Fizz's: what Fizz keeps with it is not there"))?;
    Ok((container, record))
}

/// A container by its name or id.
pub(super) async fn by_name(
    connection: &Connection,
    name: &str,
) -> Result<Option<Container>, RuntimeError> {
    let filters = vec![format!("labels.\"{NAME}\"==\"{name}\""), format!("id==\"{name}\"")];
    let found = connection.ask(ListContainers { filters }).await;
    let found = found.map_err(|it| connection.error(it, &about("look for", "container", name)))?;
    Ok(found.containers.into_iter().next())
}

async fn containers(connection: &Connection, filter: String) -> Result<Containers, RuntimeError> {
    let found = connection.ask(ListContainers { filters: vec![filter] }).await;
    found.map_err(|it| connection.error(it, &about("list", "containers of", "this node")))
}

/// Every container of ours with its document.
pub(super) async fn all(connection: &Connection) -> Result<Vec<(Container, Record)>, RuntimeError> {
    let found = containers(connection, format!("labels.\"{NAME}\"")).await?.containers;
    let known = found.into_iter().filter_map(|it| Record::of(&it).map(|record| (it, record)));
    Ok(known.collect())
}

/// The name of a container that is made from an image, if there is one.
pub(super) async fn user_of_image(
    connection: &Connection,
    image: &str,
) -> Result<Option<String>, RuntimeError> {
    let mut users = all(connection).await?.into_iter().filter(|(_, record)| record.image == image);
    Ok(users.next().map(|(container, _)| name(&container)))
}

pub(super) fn name(container: &Container) -> String {
    container.labels.get(NAME).unwrap_or(&container.id).clone()
}

pub(super) async fn list(
    connection: &Connection,
    node: NodeId,
) -> Result<Vec<Observed>, RuntimeError> {
    let filter = format!("labels.\"{}\"==\"{node}\"", labels::NODE);
    let mut seen = Vec::new();
    for container in containers(connection, filter).await?.containers {
        let state = state(connection, &container).await?;
        seen.extend(observed(&container, state));
    }
    Ok(seen)
}

pub(super) async fn observe(
    connection: &Connection,
    id: &str,
) -> Result<Option<Observed>, RuntimeError> {
    let found = find(connection, id).await;
    let found = found.map_err(|it| connection.error(it, &about("inspect", "container", id)))?;
    let Some(container) = found else { return Ok(None) };
    let state = state(connection, &container).await?;
    Ok(observed(&container, state))
}

fn observed(container: &Container, state: RuntimeState) -> Option<Observed> {
    let record = Record::of(container)?;
    Some(Observed {
        runtime_id: RuntimeId(container.id.as_str().into()),
        name: name(container),
        image: ImageId(record.image.as_str().into()),
        command: record.command.join(" "),
        state,
        created: wall(container.created_at),
        shares: record.shares(),
        ..labelled(|it| container.labels.get(it).map(String::as_str))?
    })
}

/// A container's own process, if it has one.
pub(super) async fn task(
    connection: &Connection,
    id: &str,
) -> Result<Option<Process>, RuntimeError> {
    let call = GetTask { container_id: id.to_owned(), exec_id: String::new() };
    match connection.ask(call).await {
        Ok(answer) => Ok(answer.process),
        Err(Refusal::Missing(_)) => Ok(None),
        Err(refusal) => Err(connection.error(refusal, &about("inspect", "container", id))),
    }
}

/// The process's id on the node of a container that runs.
pub(super) async fn pid(connection: &Connection, id: &str) -> Result<Option<u32>, RuntimeError> {
    let task = task(connection, id).await?;
    let runs =
        |it: &Process| matches!(it.status(), Status::Running | Status::Paused | Status::Pausing);
    Ok(task.filter(runs).map(|it| it.pid))
}

async fn state(
    connection: &Connection,
    container: &Container,
) -> Result<RuntimeState, RuntimeError> {
    let label = |name: &str| container.labels.get(name);
    let since = label(STARTED).and_then(|it| it.parse().ok()).map(WallTime);
    let running = |paused| RuntimeState::Running { since: since.unwrap_or_default(), paused };
    if let Some(task) = task(connection, &container.id).await? {
        match task.status() {
            Status::Running => return Ok(running(false)),
            Status::Paused | Status::Pausing => return Ok(running(true)),
            Status::Stopped => {
                let End { code, oom_killed, at } = End::of(connection, &task).await;
                life::reap(connection, &container.id).await?;
                return Ok(RuntimeState::Exited { code, oom_killed, at });
            }
            // Made, and not let go yet: what it was before.
            Status::Created | Status::Unknown => {}
        }
    }
    let ended = label(ENDED).and_then(|it| End::parse(it));
    Ok(match (ended, since) {
        (Some(End { code, oom_killed, at }), _) => RuntimeState::Exited { code, oom_killed, at },
        (None, Some(since)) => RuntimeState::Exited { code: LOST, oom_killed: false, at: since },
        (None, None) => RuntimeState::Created,
    })
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) code: i64,
    pub(super) oom_killed: bool,
    pub(super) at: WallTime,
}

impl End {
    /// As containerd tells it, until the process is cleared away.
    pub(super) async fn of(connection: &Connection, task: &Process) -> Self {
        let oom_killed = stats::was_out_of_memory(connection, &task.id).await;
        Self { code: i64::from(task.exit_status), oom_killed, at: wall(task.exited_at) }
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let code = words.next()?.parse().ok()?;
        let oom_killed = words.next()?.parse().ok()?;
        Some(Self { code, oom_killed, at: WallTime(words.next()?.parse().ok()?) })
    }
}

/// Keeps that a process began.
pub(super) async fn began(connection: &Connection, id: &str, at: WallTime) -> Result<(), Refusal> {
    set(connection, id, &[(STARTED, at.0.to_string()), (ENDED, String::new())]).await
}

/// Keeps how a process ended.
pub(super) async fn ended(connection: &Connection, id: &str, end: End) -> Result<(), Refusal> {
    let text = format!("{} {} {}", end.code, end.oom_killed, end.at.0);
    set(connection, id, &[(ENDED, text)]).await
}

/// Gives a container labels, beside those that it has.
pub(super) async fn set(
    connection: &Connection,
    id: &str,
    labels: &[(&str, String)],
) -> Result<(), Refusal> {
    let paths = labels.iter().map(|(name, _)| format!("labels.{name}")).collect();
    let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let container = Container { id: id.to_owned(), labels, ..Container::default() };
    let update_mask = Some(FieldMask { paths });
    connection.ask(UpdateContainer { container: Some(container), update_mask }).await.map(drop)
}

/// containerd's time as ours.
pub(super) fn wall(at: Option<Timestamp>) -> WallTime {
    let at = at.unwrap_or_default();
    let millis = i128::from(at.seconds) * 1000 + i128::from(at.nanos) / 1_000_000;
    WallTime(u64::try_from(millis).unwrap_or(0))
}

/// Now.
pub(super) fn now() -> WallTime {
    WallTime(u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_process_ended_is_read_as_it_was_kept() {
        let end = End { code: 137, oom_killed: true, at: WallTime(5) };
        assert_eq!(End::parse("137 true 5"), Some(end));
        assert_eq!(End::parse(""), None);
    }

    #[test]
    fn a_document_of_an_older_fizz_is_read() {
        let record: Record = serde_json::from_str(r#"{"image": "x"}"#).unwrap();
        assert_eq!((record.image.as_str(), record.log.kept), ("x", true));
    }
}
