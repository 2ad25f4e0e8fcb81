//! What happens to our containers, as containerd tells it.

use std::{collections::BTreeMap, pin::Pin, sync::Arc};

use futures_util::{
    Stream, StreamExt,
    stream::{self, BoxStream},
};
use prost::Message;

use super::{
    connect::{Connection, NAMESPACE},
    errors::{Refusal, about, unreachable},
    life,
    messages::{Container, Envelope, ListContainers, Subscribe, TaskEvent, TaskExit},
    record,
};
use crate::{
    model::{ContainerId, NodeId},
    runtime::{RuntimeError, RuntimeEvent, RuntimeEventKind, RuntimeId, labels},
};

/// What is known while listening.
struct Listening {
    connection: Arc<Connection>,
    node: NodeId,
    told: Pin<Box<dyn Stream<Item = Result<Envelope, Refusal>> + Send>>,
    /// Containers of the node, by their id in containerd: what is removed can no longer be asked.
    known: BTreeMap<String, ContainerId>,
}

pub(super) fn events(
    connection: Arc<Connection>,
    node: NodeId,
) -> BoxStream<'static, Result<RuntimeEvent, RuntimeError>> {
    stream::once(begin(connection, node))
        .flat_map(|begun| match begun {
            Ok(listening) => stream::unfold(Some(listening), async |listening| {
                let mut listening = listening?;
                match listening.next().await {
                    Ok(event) => Some((Ok(event), Some(listening))),
                    // One error is the end.
                    Err(error) => Some((Err(error), None)),
                }
            })
            .boxed(),
            Err(error) => stream::iter([Err(error)]).boxed(),
        })
        .boxed()
}

async fn begin(connection: Arc<Connection>, node: NodeId) -> Result<Listening, RuntimeError> {
    connection.version().await?;
    let what = about("listen to", "events of node", node.short());
    let filters = ["/tasks/", "/containers/"]
        .map(|it| format!("namespace=={NAMESPACE},topic~=\"^{it}\""))
        .to_vec();
    let told = connection.listen(Subscribe { filters }).await;
    let told = Box::pin(told.map_err(|it| connection.error(it, &what))?);
    let label = format!("labels.\"{}\"==\"{node}\"", labels::NODE);
    let there = connection.ask(ListContainers { filters: vec![label] }).await;
    let there = there.map_err(|it| connection.error(it, &what))?.containers;
    let known = there.iter().filter_map(|it| Some((it.id.clone(), ours(it, node)?))).collect();
    Ok(Listening { connection, node, told, known })
}

/// Which container of ours it is, if it is this node's.
fn ours(container: &Container, node: NodeId) -> Option<ContainerId> {
    let label = |name: &str| container.labels.get(name);
    (label(labels::NODE)? == &node.to_string()).then_some(())?;
    label(labels::CONTAINER)?.parse().ok()
}

impl Listening {
    async fn next(&mut self) -> Result<RuntimeEvent, RuntimeError> {
        loop {
            let envelope = match self.told.next().await {
                Some(Ok(envelope)) => envelope,
                Some(Err(refusal)) => {
                    let what = about("listen to", "events of node", self.node.short());
                    return Err(self.connection.error(refusal, &what));
                }
                // containerd ends this stream only with itself.
                None => {
                    let gone = "it ended its events";
                    self.connection.heard(&Refusal::Silent(gone.to_owned()));
                    return Err(unreachable(&self.connection.address(), gone));
                }
            };
            let Some((id, kind)) = read(&envelope) else { continue };
            let Some(container) = self.container(&id).await else { continue };
            match kind {
                RuntimeEventKind::Removed => {
                    self.known.remove(&id);
                }
                // Its output ends with that. Who asks for it next would see to it as well.
                RuntimeEventKind::Ended => {
                    if let Err(error) = life::reap(&self.connection, &id).await {
                        tracing::debug!(%error, "an ended process is cleared away later");
                    }
                }
                RuntimeEventKind::Started | RuntimeEventKind::Changed => {}
            }
            let runtime_id = RuntimeId(id.into());
            return Ok(RuntimeEvent { runtime_id, container, kind });
        }
    }

    async fn container(&mut self, id: &str) -> Option<ContainerId> {
        if let Some(known) = self.known.get(id) {
            return Some(*known);
        }
        // One that is gone by now tells nothing that matters.
        let found = record::find(&self.connection, id).await.ok()??;
        let container = ours(&found, self.node)?;
        self.known.insert(id.to_owned(), container);
        Some(container)
    }
}

/// Whose event it is, and what happened.
fn read(envelope: &Envelope) -> Option<(String, RuntimeEventKind)> {
    let event = envelope.event.as_ref()?;
    let kind = match envelope.topic.as_str() {
        "/tasks/start" | "/tasks/resumed" => RuntimeEventKind::Started,
        "/tasks/paused" | "/tasks/oom" | "/containers/create" => RuntimeEventKind::Changed,
        "/containers/delete" => RuntimeEventKind::Removed,
        "/tasks/exit" => {
            let exit = TaskExit::decode(&*event.value).ok()?;
            // Another is that of a command which was run in it.
            return (exit.id == exit.container_id)
                .then_some((exit.container_id, RuntimeEventKind::Ended));
        }
        // Updates are our own labels; making and clearing a process goes with its start and end.
        _ => return None,
    };
    Some((TaskEvent::decode(&*event.value).ok()?.container_id, kind))
}

#[cfg(test)]
mod tests {
    use super::{super::messages::Any, *};

    #[test]
    fn the_end_of_a_command_in_a_container_is_no_news() {
        let event = |topic: &str, id: &str| {
            let exit = TaskExit { container_id: "c".to_owned(), id: id.to_owned() };
            let event = Some(Any { type_url: String::new(), value: exit.encode_to_vec() });
            read(&Envelope { topic: topic.to_owned(), event, ..Envelope::default() })
        };
        assert_eq!(event("/tasks/exit", "c"), Some(("c".to_owned(), RuntimeEventKind::Ended)));
        assert_eq!(event("/tasks/exit", "exec"), None);
        assert_eq!(event("/tasks/exec-started", "c"), None);
    }
}
