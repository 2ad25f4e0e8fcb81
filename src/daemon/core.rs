//! The loop: events in, the node's answer out, in the order that durability asks for.
//!
//! Everything that waits is taken at once, so that one synchronised commit serves many events. Only
//! then does anyone hear of it: first the view, then whoever asked, then the executor.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::{
    clock::Clock,
    executor::Executor,
    notices,
    prober::Prober,
    store::{Store, StoreError},
    systemd, tasks,
};
use crate::{
    api::{Ask, EventLog, Metrics},
    model::{Millis, Moment, NodeName},
    node::{Effect, Event, Node, Refusal, RequestId, Response, View},
    state::Step,
};

/// How many events one commit serves at most.
const BATCH_MAX: usize = 256;

/// The shortest time between two ticks, so that a node that always wants one cannot fill a core.
const TICK_INTERVAL: Millis = Millis(2);

/// How long a step may take before it is told.
const STEP_MS_MAX: u64 = 250;

/// The node and everything that it is connected to.
pub(super) struct Core {
    /// The node.
    pub(super) node: Node,
    /// Its name, for notices.
    pub(super) name: NodeName,
    /// Where its writes become durable.
    pub(super) store: Arc<Store>,
    /// Carries out its effects.
    pub(super) executor: Executor,
    /// Makes its health checks.
    pub(super) prober: Prober,
    /// Its picture, for readers.
    pub(super) view: watch::Sender<Arc<View>>,
    /// Its notices, for listeners.
    pub(super) log: Arc<EventLog>,
    /// Its counts.
    pub(super) metrics: Arc<Metrics>,
    /// The time.
    pub(super) clock: Clock,
    /// What users want.
    pub(super) asks: mpsc::Receiver<Ask>,
    /// What happens.
    pub(super) events: mpsc::Receiver<Event>,
    /// How often the service manager wants a sign of life.
    pub(super) watchdog: Option<Duration>,
}

/// Whoever waits for an answer.
#[derive(Default)]
struct Waiting {
    last: u64,
    replies: BTreeMap<RequestId, oneshot::Sender<Result<Response, Refusal>>>,
}

impl Waiting {
    fn number(&mut self, ask: Ask) -> Event {
        self.last += 1;
        let id = RequestId(self.last);
        self.replies.insert(id, ask.reply);
        Event::Asked(id, ask.request)
    }
}

impl Core {
    /// Turns until told to stop, or until the disk takes no more.
    pub(super) async fn run(mut self, stop: CancellationToken) -> Result<(), StoreError> {
        let mut waiting = Waiting::default();
        let mut last_tick = Moment::default();
        let mut sign_of_life = self.watchdog.map(|interval| (interval, Instant::now()));
        loop {
            let tick = self.node.next_wake().map(|at| at.max(last_tick + TICK_INTERVAL));
            let mut batch = vec![];
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                () = due(sign_of_life) => {
                    systemd::alive();
                    sign_of_life = sign_of_life.map(|(every, _)| (every, Instant::now() + every));
                    continue;
                }
                Some(event) = self.events.recv() => batch.push(event),
                Some(ask) = self.asks.recv() => batch.push(waiting.number(ask)),
                () = wake(self.clock, tick) => {}
            }
            self.fill(&mut batch, &mut waiting);
            let now = self.clock.now().moment;
            if tick.is_some_and(|at| at <= now) {
                batch.push(Event::Tick);
                last_tick = now;
            }
            self.step(batch, &mut waiting).await?;
        }
    }

    /// Adds what waits already.
    fn fill(&mut self, batch: &mut Vec<Event>, waiting: &mut Waiting) {
        while batch.len() < BATCH_MAX {
            let event = self.events.try_recv().ok();
            let ask = self.asks.try_recv().ok().map(|ask| waiting.number(ask));
            if event.is_none() && ask.is_none() {
                return;
            }
            batch.extend(event.into_iter().chain(ask));
        }
    }

    async fn step(&mut self, batch: Vec<Event>, waiting: &mut Waiting) -> Result<(), StoreError> {
        let begun = self.clock.now().moment;
        self.metrics.turned(batch.len() as u64);
        let quiet = batch.iter().all(|it| matches!(it, Event::Tick | Event::RuntimeFound(_)));
        let mut steps = vec![];
        let mut effects = vec![];
        for event in batch {
            for effect in self.node.handle(event, self.clock.now()) {
                if let Effect::Persist(some) = effect {
                    steps.extend(some);
                } else {
                    effects.push(effect);
                }
            }
        }
        if quiet && steps.is_empty() && effects.is_empty() {
            return Ok(());
        }
        self.persist(steps).await?;
        self.view.send_replace(Arc::new(self.node.view()));
        for effect in effects {
            self.carry_out(effect, waiting);
        }
        let took = self.clock.now().moment - begun;
        if STEP_MS_MAX < took.0 {
            warn!(%took, "a step took long: is the disk slow?");
        }
        Ok(())
    }

    /// A node whose disk takes no writes has nothing to say: what it knows would be lost. It ends, and
    /// begins again from what is durable.
    async fn persist(&self, steps: Vec<Step>) -> Result<(), StoreError> {
        if steps.is_empty() {
            return Ok(());
        }
        let (store, begun) = (Arc::clone(&self.store), Instant::now());
        match tasks::blocking(move || store.commit(&steps)).await {
            Ok(result) => {
                self.metrics.committed(begun.elapsed());
                result
            }
            Err(panic) => Err(self.store.failed("write", &panic)),
        }
    }

    fn carry_out(&self, effect: Effect, waiting: &mut Waiting) {
        match effect {
            Effect::Persist(_) => {}
            Effect::Reply(id, answer) => match waiting.replies.remove(&id) {
                // Who asked may have gone.
                Some(reply) => drop(reply.send(answer)),
                None => error!(request = id.0, "an answer that nobody waits for"),
            },
            Effect::Notify(notice) => {
                notices::publish(&self.log, &self.name, notice, self.clock.now().wall);
            }
            Effect::Probe { container, runtime_id, test, timeout } => {
                self.prober.begin(container, runtime_id, test, timeout);
            }
            effect @ (Effect::Launch(_)
            | Effect::Start(_)
            | Effect::Halt { .. }
            | Effect::Signal { .. }
            | Effect::Discard { .. }
            | Effect::Clear { .. }
            | Effect::Look(..)) => self.executor.begin(effect),
        }
    }
}

async fn due(sign_of_life: Option<(Duration, Instant)>) {
    match sign_of_life {
        Some((_, at)) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

async fn wake(clock: Clock, at: Option<Moment>) {
    match at {
        Some(at) => clock.sleep_until(at).await,
        None => std::future::pending().await,
    }
}
