//! The loop: events in, the node's answer out, in the order that durability asks for.
//!
//! Everything that waits is taken at once, and a commit takes all that came while the one before was
//! under way. Only what is durable is heard of: first in the view, then by whoever asked, then by the
//! executor. What members say about who is alive waits for nothing.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::{
    clock::Clock,
    commits::Commits,
    executor::Executor,
    members::Members,
    notices,
    prober::{Prober, Subject},
    store::StoreError,
    systemd,
};
use crate::{
    api::{Ask, EventLog, Metrics},
    model::{Millis, Moment, NodeName},
    node::{Effect, Event, Node, Refusal, RequestId, Response, View},
};

/// How many events one commit serves at most.
const BATCH_MAX: usize = 256;

/// The shortest time between two ticks, so that a node that always wants one cannot fill a core.
const TICK_INTERVAL: Millis = Millis(2);

/// Between two pictures of a node of which only the others' round-trip times change.
const VIEW_INTERVAL: Millis = Millis(1_000);

/// How long a step may take before it is told.
const STEP_MS_MAX: u64 = 250;

/// The node and everything that it is connected to.
pub(super) struct Core {
    /// The node.
    pub(super) node: Node,
    /// Its name, for notices.
    pub(super) name: NodeName,
    /// Its writes on their way to the disk, and what waits for them.
    pub(super) commits: Commits<Outcome>,
    /// The way to the other members, if it is in a cluster.
    pub(super) members: Option<Members>,
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
    /// What other members send.
    pub(super) datagrams: mpsc::Receiver<(SocketAddr, Vec<u8>)>,
    /// How often the service manager wants a sign of life.
    pub(super) watchdog: Option<Duration>,
}

/// Something that waits for the disk.
pub(super) enum Outcome {
    /// What others may read now.
    View(Arc<View>),
    /// What the node wants done.
    Effect(Effect),
}

/// How the loop ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It was told to.
    Stopped,
    /// It is to begin anew, as what its disk says that it is.
    Anew,
    /// The node is out of its cluster.
    Gone,
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
    pub(super) async fn run(
        mut self,
        stop: CancellationToken,
        anew: CancellationToken,
    ) -> Result<Ended, StoreError> {
        let mut waiting = Waiting::default();
        let (mut last_tick, mut last_view) = (Moment::default(), Moment::default());
        let mut sign_of_life = self.watchdog.map(|interval| (interval, Instant::now()));
        loop {
            let tick = self.node.next_wake().map(|at| at.max(last_tick + TICK_INTERVAL));
            let mut batch = vec![];
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(Ended::Stopped),
                () = anew.cancelled() => return Ok(Ended::Anew),
                () = due(sign_of_life) => {
                    systemd::alive();
                    sign_of_life = sign_of_life.map(|(every, _)| (every, Instant::now() + every));
                    continue;
                }
                groups = self.commits.done() => {
                    let groups = groups?;
                    batch.push(Event::Persisted(groups));
                    for outcome in self.commits.due(groups) {
                        if self.carry_out(outcome, &mut waiting) == Some(Ended::Gone) {
                            return Ok(Ended::Gone);
                        }
                    }
                }
                Some((from, datagram)) = self.datagrams.recv() => {
                    batch.push(Event::Datagram(from, datagram));
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
            if self.step(batch, &mut last_view, &mut waiting) == Some(Ended::Gone) {
                return Ok(Ended::Gone);
            }
        }
    }

    /// Adds what waits already.
    fn fill(&mut self, batch: &mut Vec<Event>, waiting: &mut Waiting) {
        while batch.len() < BATCH_MAX {
            let event = self.events.try_recv().ok();
            let ask = self.asks.try_recv().ok().map(|ask| waiting.number(ask));
            let datagram = self.datagrams.try_recv().ok();
            let datagram = datagram.map(|(from, datagram)| Event::Datagram(from, datagram));
            if event.is_none() && ask.is_none() && datagram.is_none() {
                return;
            }
            batch.extend(event.into_iter().chain(ask).chain(datagram));
        }
    }

    fn step(
        &mut self,
        batch: Vec<Event>,
        last_view: &mut Moment,
        waiting: &mut Waiting,
    ) -> Option<Ended> {
        let begun = self.clock.now().moment;
        self.metrics.turned(batch.len() as u64);
        // What is said between members changes what others read only where it leads to more.
        let mut changed = !batch.iter().all(is_quiet) || *last_view + VIEW_INTERVAL <= begun;
        let mut later = vec![];
        for event in batch {
            for effect in self.node.handle(event, self.clock.now()) {
                if let Effect::Persist(steps) = effect {
                    self.commits.persist(steps);
                    changed = true;
                } else if let Effect::Send { to, datagram, once_durable: false } = effect {
                    self.send(to, &datagram);
                } else {
                    changed |= !matches!(effect, Effect::Send { .. });
                    later.push(effect);
                }
            }
        }
        let mut outcomes = vec![];
        if changed {
            *last_view = begun;
            outcomes.push(Outcome::View(Arc::new(self.node.view())));
        }
        outcomes.extend(later.into_iter().map(Outcome::Effect));
        let mut ended = None;
        for outcome in outcomes {
            if let Some(outcome) = self.commits.then(outcome) {
                ended = ended.or(self.carry_out(outcome, waiting));
            }
        }
        self.commits.begin();
        let took = self.clock.now().moment - begun;
        if STEP_MS_MAX < took.0 {
            warn!(%took, "a step took long");
        }
        ended
    }

    fn send(&self, to: SocketAddr, datagram: &[u8]) {
        if let Some(members) = &self.members {
            members.send(to, datagram);
        }
    }

    fn carry_out(&self, outcome: Outcome, waiting: &mut Waiting) -> Option<Ended> {
        let effect = match outcome {
            Outcome::View(view) => {
                self.view.send_replace(view);
                return None;
            }
            Outcome::Effect(effect) => effect,
        };
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
            Effect::Probe { container, runtime_id, address, test, timeout } => {
                let whom = Subject { container, id: runtime_id, address };
                self.prober.begin(whom, test, timeout);
            }
            Effect::Send { to, datagram, .. } => self.send(to, &datagram),
            Effect::Fetch(fetch) => {
                if let Some(members) = &self.members {
                    members.fetch(fetch);
                }
            }
            Effect::Unwrap(epoch, sealed) => {
                if let Some(members) = &self.members {
                    members.unwrap(epoch, sealed);
                }
            }
            Effect::Wrap(epoch, node, recipient) => {
                if let Some(members) = &self.members {
                    members.wrap(epoch, node, recipient);
                }
            }
            Effect::Gone => return Some(Ended::Gone),
            effect @ (Effect::Launch(_)
            | Effect::Start(_)
            | Effect::Halt { .. }
            | Effect::Signal { .. }
            | Effect::Discard { .. }
            | Effect::Clear { .. }
            | Effect::Place { .. }
            | Effect::Look(..)) => self.executor.begin(effect),
        }
        None
    }
}

/// What changes nothing that others read, unless the node makes something of it.
fn is_quiet(event: &Event) -> bool {
    matches!(
        event,
        Event::Tick
            | Event::RuntimeFound(_)
            | Event::Datagram(..)
            | Event::Persisted(_)
            | Event::Fetched(..)
            | Event::FetchEnded(..)
    )
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
