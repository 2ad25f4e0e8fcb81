//! Follows the runtime: everything once, then what changes, and everything again after an absence.
//!
//! Nothing is polled while all is well but a small question whether the runtime still answers: one
//! that hangs says nothing by itself.

use std::{collections::BTreeMap, pin::pin, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::BoxStream};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until, timeout},
};
use tracing::{debug, info, warn};

use super::sight::Eyes;
use crate::{
    model::{ContainerId, NodeId, RuntimeId},
    node::Event,
    runtime::{Runtime, RuntimeError, RuntimeEvent},
};

/// Several events of one container within this time are one look.
const DEBOUNCE: Duration = Duration::from_millis(15);

/// How often the runtime is asked whether it still answers.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// How long it may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// How long after connecting everything is looked at once more: what happened before the runtime had
/// begun to tell is seen then.
const SECOND_LOOK: Duration = Duration::from_secs(2);

/// How often everything is looked at again because something changed meanwhile.
const LOOKS_MAX: u32 = 4;

/// Between attempts to reach the runtime: the first, and the longest.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3));

/// Follows the runtime.
pub(super) struct Observer {
    /// Which node's containers.
    pub(super) node: NodeId,
    /// The runtime.
    pub(super) runtime: Arc<dyn Runtime>,
    /// Looks at containers.
    pub(super) eyes: Arc<Eyes>,
    /// The node's ear.
    pub(super) events: mpsc::Sender<Event>,
}

/// Why following ended.
enum Lost {
    /// The runtime went away.
    Runtime(String),
    /// The node no longer listens.
    Node,
}

impl From<RuntimeError> for Lost {
    fn from(error: RuntimeError) -> Self {
        Self::Runtime(error.to_string())
    }
}

impl Observer {
    /// Goes on until the node stops listening.
    pub(super) async fn run(self) {
        let mut pause = RETRY.0;
        let mut told = None;
        loop {
            let mut found = false;
            match self.follow(&mut found).await {
                Lost::Node => return,
                Lost::Runtime(why) => {
                    if found {
                        (pause, told) = (RETRY.0, None);
                    }
                    if told.as_ref() != Some(&why) {
                        warn!(
                            why,
                            "the container runtime does not answer; containers go on, waiting"
                        );
                        if self.tell(Event::RuntimeLost(why.as_str().into())).await.is_err() {
                            return;
                        }
                        told = Some(why);
                    }
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(RETRY.1);
        }
    }

    async fn follow(&self, found: &mut bool) -> Lost {
        let Err(lost) = self.try_follow(found).await;
        lost
    }

    async fn try_follow(&self, found: &mut bool) -> Result<std::convert::Infallible, Lost> {
        let runtime = self.greet().await?;
        let mut stream = self.runtime.events(self.node);
        let mut pending = BTreeMap::new();
        self.look_around(&mut stream, &mut pending).await?;
        info!(%runtime, "the container runtime answers");
        *found = true;
        let mut second_look = Some(Instant::now() + SECOND_LOOK);
        let mut check = Instant::now() + CHECK_INTERVAL;
        let mut due = Instant::now() + DEBOUNCE;
        loop {
            tokio::select! {
                event = stream.next() => {
                    if pending.is_empty() {
                        due = Instant::now() + DEBOUNCE;
                    }
                    note(&mut pending, event)?;
                }
                () = sleep_until(due), if !pending.is_empty() => {
                    for (container, id) in std::mem::take(&mut pending) {
                        let sight = self.eyes.look(&id).await?;
                        self.tell(Event::Seen(container, sight)).await?;
                    }
                }
                () = sleep_until(second_look.unwrap_or(check)) => {
                    if second_look.take().is_some() {
                        self.look_around(&mut stream, &mut pending).await?;
                    } else {
                        self.greet().await?;
                        check = Instant::now() + CHECK_INTERVAL;
                    }
                }
            }
        }
    }

    /// Asks whether the runtime answers, and tells the node what it is and which volumes it has: of those
    /// it tells nothing by itself.
    async fn greet(&self) -> Result<Arc<str>, Lost> {
        let info = timeout(ANSWER_MAX, self.runtime.info()).await.map_err(|_| silent())??;
        // A node without a runtime has no version of one either.
        let runtime: Arc<str> = format!("{} {}", info.name, info.version).trim_end().into();
        self.tell(Event::RuntimeFound(runtime.clone())).await?;
        let volumes = timeout(ANSWER_MAX, self.eyes.volumes()).await.map_err(|_| silent())??;
        self.tell(Event::Volumes(volumes)).await?;
        Ok(runtime)
    }

    /// Looks at everything. What changes during the look may be in it or not, so it is done again.
    async fn look_around(
        &self,
        stream: &mut BoxStream<'static, Result<RuntimeEvent, RuntimeError>>,
        pending: &mut BTreeMap<ContainerId, RuntimeId>,
    ) -> Result<(), Lost> {
        for _ in 0..LOOKS_MAX {
            let mut changed = false;
            let mut look = pin!(timeout(ANSWER_MAX, self.eyes.look_around(self.node)));
            let (all, health) = loop {
                tokio::select! {
                    answer = &mut look => break answer.map_err(|_| silent())??,
                    event = stream.next() => {
                        changed = true;
                        note(pending, event)?;
                    }
                }
            };
            if !changed {
                debug!(containers = all.len(), "looked around");
                return self.tell(Event::Observed(all, health)).await;
            }
        }
        // Never still: the next look, or a look at each, will tell.
        let (all, health) = self.eyes.look_around(self.node).await?;
        self.tell(Event::Observed(all, health)).await
    }

    async fn tell(&self, event: Event) -> Result<(), Lost> {
        self.events.send(event).await.map_err(|_| Lost::Node)
    }
}

fn note(
    pending: &mut BTreeMap<ContainerId, RuntimeId>,
    event: Option<Result<RuntimeEvent, RuntimeError>>,
) -> Result<(), Lost> {
    let ended = || Lost::Runtime("the container runtime ended the connection".to_owned());
    let event = event.ok_or_else(ended)??;
    pending.insert(event.container, event.runtime_id);
    Ok(())
}

fn silent() -> Lost {
    Lost::Runtime(format!("the container runtime gave no answer for {} s", ANSWER_MAX.as_secs()))
}
