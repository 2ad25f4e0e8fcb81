//! What happens to our containers, as the engine tells it.

use std::sync::Arc;

use bollard::{models::EventMessage, query_parameters::EventsOptions};
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};

use super::{
    connect::Connection,
    errors::{Refusal, about},
};
use crate::{
    model::NodeId,
    runtime::{RuntimeError, RuntimeEvent, RuntimeEventKind, RuntimeId, labels},
};

pub(super) fn events(
    connection: Arc<Connection>,
    node: NodeId,
) -> BoxStream<'static, Result<RuntimeEvent, RuntimeError>> {
    let begin = async move {
        let engine = connection.engine().await?;
        let label = format!("{}={node}", labels::NODE);
        let filters =
            [("type".to_owned(), vec!["container".to_owned()]), ("label".to_owned(), vec![label])];
        let options = EventsOptions { filters: Some(filters.into()), ..EventsOptions::default() };
        let told = engine.client.events(Some(options));
        // The engine ends this stream only with itself.
        let end = {
            let engine = engine.clone();
            stream::once(async move {
                let gone = Refusal::Silent("it ended its events".to_owned());
                engine.heard(&gone);
                Some(Err(engine.whose().unreachable("it ended its events")))
            })
        };
        let told = told.map(move |message| match message {
            Ok(message) => event(message).map(Ok),
            Err(error) => {
                let about = about("listen to", "events of node", node.short());
                Some(Err(engine.error(Refusal::from(error), about)))
            }
        });
        Ok(told.chain(end).filter_map(std::future::ready))
    };
    let told = stream::once(begin).flat_map(|begun: Result<_, RuntimeError>| match begun {
        Ok(told) => told.boxed(),
        Err(error) => stream::iter([Err(error)]).boxed(),
    });
    // One error is the end.
    told.scan(false, |ended, item| {
        let item = (!*ended).then_some(item);
        *ended |= matches!(item, Some(Err(_)));
        std::future::ready(item)
    })
    .boxed()
}

fn event(message: EventMessage) -> Option<RuntimeEvent> {
    let kind = kind(&message.action?)?;
    let actor = message.actor?;
    let container = actor.attributes?.get(labels::CONTAINER)?.parse().ok()?;
    Some(RuntimeEvent { runtime_id: RuntimeId(actor.id?.into()), container, kind })
}

fn kind(action: &str) -> Option<RuntimeEventKind> {
    match action {
        "start" | "unpause" => Some(RuntimeEventKind::Started),
        "die" => Some(RuntimeEventKind::Ended),
        // Podman says `remove`.
        "destroy" | "remove" => Some(RuntimeEventKind::Removed),
        "create" | "pause" | "rename" | "update" | "oom" => Some(RuntimeEventKind::Changed),
        // `kill` and `stop` go with `die`; `exec_start: true` and its like are our own health checks.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_health_checks_are_no_news() {
        assert_eq!(kind("exec_die"), None);
        assert_eq!(kind("exec_start: /bin/true"), None);
        assert_eq!(kind("die"), Some(RuntimeEventKind::Ended));
    }
}
