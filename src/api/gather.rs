//! Streams of many containers as one, which containers join as they come and rejoin when they are
//! started again.
//!
//! There is no task and no queue: whoever reads the gathered stream polls the runtime's streams, so a
//! slow reader slows its own stream and nothing else.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::{
    StreamExt,
    stream::{self, BoxStream, SelectAll},
};
use tokio::{
    sync::watch,
    time::{Interval, MissedTickBehavior, interval},
};
use tracing::debug;

use super::{app::App, lookup::Filter};
use crate::{
    model::{ContainerId, RuntimeId, WallTime},
    node::View,
    runtime::RuntimeError,
    state::ContainerRecord,
};

/// How often a stream that broke off is opened again.
const REOPEN: Duration = Duration::from_secs(1);

/// What a runtime's stream of one item is.
pub(super) type Items<T> = BoxStream<'static, Result<T, RuntimeError>>;

/// What is gathered.
pub(super) trait Source: Send + 'static {
    /// What the runtime sends.
    type Item: Send + 'static;
    /// What becomes of it.
    type Out;

    /// Whether a container in this state has anything to send.
    fn wants(&self, record: &ContainerRecord) -> bool;

    /// Opens a container's stream; `first` for those that are there from the beginning.
    fn open(&mut self, record: &ContainerRecord, id: &RuntimeId, first: bool) -> Items<Self::Item>;

    /// Makes something of an item, or drops it.
    fn take(&mut self, record: &ContainerRecord, item: Self::Item) -> Option<Self::Out>;

    /// Whether nobody joins any more once every stream has ended.
    fn is_bounded(&self) -> bool;
}

/// An item, or the end of a container's stream.
type Piece<T> = (ContainerId, Option<Result<T, RuntimeError>>);

/// Streams of many containers as one.
pub(super) struct Gather<S: Source> {
    source: S,
    filter: Filter,
    changes: watch::Receiver<Arc<View>>,
    view: Arc<View>,
    members: BTreeMap<ContainerId, Member>,
    open: SelectAll<BoxStream<'static, Piece<S::Item>>>,
    again: Interval,
}

/// A container whose stream was opened.
struct Member {
    record: Arc<ContainerRecord>,
    open: bool,
    run: (u32, WallTime),
}

impl<S: Source> Gather<S> {
    pub(super) fn new(app: &App, filter: Filter, source: S) -> Self {
        let mut changes = app.backend.view.clone();
        let view = Arc::clone(&changes.borrow_and_update());
        let mut again = interval(REOPEN);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (members, open) = (BTreeMap::new(), SelectAll::new());
        let mut gather = Self { source, filter, changes, view, members, open, again };
        gather.join(true);
        gather
    }

    /// The next item of any container; `None` when no more can come.
    pub(super) async fn next(&mut self) -> Option<S::Out> {
        while !self.is_over() {
            tokio::select! {
                Some((id, piece)) = self.open.next(), if !self.open.is_empty() => {
                    if let Some(out) = self.took(id, piece) {
                        return Some(out);
                    }
                }
                changed = self.changes.changed() => {
                    changed.ok()?;
                    self.view = Arc::clone(&self.changes.borrow_and_update());
                    self.join(false);
                }
                _ = self.again.tick() => self.join(false),
            }
        }
        None
    }

    fn took(
        &mut self,
        id: ContainerId,
        piece: Option<Result<S::Item, RuntimeError>>,
    ) -> Option<S::Out> {
        let member = self.members.get_mut(&id)?;
        match piece {
            Some(Ok(item)) => self.source.take(&member.record, item),
            Some(Err(why)) => {
                debug!(container = %member.record.name, %why, "a stream broke off");
                None
            }
            None => {
                member.open = false;
                None
            }
        }
    }

    /// Opens the streams of those who are new, started again, or broke off.
    fn join(&mut self, first: bool) {
        for record in self.filter.containers(&self.view) {
            let Some(id) = record.runtime_id.clone() else { continue };
            if record.node != self.view.me || !self.source.wants(&record) {
                continue;
            }
            let run = (record.runs, record.since);
            let open = self
                .members
                .get(&record.id)
                .is_some_and(|it| it.open || (it.run == run && !record.state.is_up()));
            if open {
                continue;
            }
            let number = record.id;
            let items = self.source.open(&record, &id, first).map(Some);
            let pieces = items.chain(stream::once(async { None })).map(move |it| (number, it));
            self.open.push(pieces.boxed());
            self.members.insert(number, Member { record, open: true, run });
        }
        let view = &self.view;
        self.members.retain(|id, it| it.open || view.state.container(*id).is_some());
    }

    fn is_over(&self) -> bool {
        if !self.open.is_empty() {
            return false;
        }
        let gone = |id| match self.view.state.container(id) {
            Some(record) => record.state.is_over() && !self.view.doing.contains_key(&id),
            None => true,
        };
        self.source.is_bounded()
            || self.filter.container.is_some_and(gone)
            || !self.filter.project_is_there(&self.view)
    }
}
