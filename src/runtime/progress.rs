//! Progress that never holds up the work.
//!
//! The engine reports each layer many times a second. Only a layer's latest state waits for the
//! reader, and each state replaces the one before, so that a slow reader misses steps, never the end.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use tokio::sync::mpsc::{Sender, error::TrySendError};

use crate::runtime::Progress;

/// How many lines wait for the reader; older ones are dropped.
const LINES_WAITING_MAX: usize = 1024;

/// How long the end waits for a reader to take what is left.
const FLUSH_MAX: Duration = Duration::from_secs(5);

/// A queue before the reader's own.
pub(super) struct Reporter {
    reader: Sender<Progress>,
    layers: BTreeMap<String, Progress>,
    lines: VecDeque<Progress>,
}

impl Reporter {
    pub(super) fn new(reader: Sender<Progress>) -> Self {
        Self { reader, layers: BTreeMap::new(), lines: VecDeque::new() }
    }

    /// Notes a step and hands over what the reader has room for.
    pub(super) fn report(&mut self, step: Progress) {
        match &step.layer {
            Some(layer) => {
                self.layers.insert(layer.clone(), step);
            }
            None => {
                if self.lines.len() == LINES_WAITING_MAX {
                    self.lines.pop_front();
                }
                self.lines.push_back(step);
            }
        }
        while let Some(step) = self.next() {
            if let Err(TrySendError::Full(step)) = self.reader.try_send(step) {
                return self.put_back(step);
            }
        }
    }

    /// Hands over what is left, waiting a while for a slow reader.
    pub(super) async fn finish(mut self) {
        let rest = async {
            while let Some(step) = self.next() {
                if self.reader.send(step).await.is_err() {
                    return;
                }
            }
        };
        // A reader that takes nothing for so long has lost interest.
        let _ = tokio::time::timeout(FLUSH_MAX, rest).await;
    }

    fn next(&mut self) -> Option<Progress> {
        self.lines.pop_front().or_else(|| self.layers.pop_first().map(|(_, step)| step))
    }

    fn put_back(&mut self, step: Progress) {
        match &step.layer {
            Some(layer) => {
                self.layers.entry(layer.clone()).or_insert(step);
            }
            None => self.lines.push_front(step),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(layer: &str, status: &str) -> Progress {
        Progress {
            layer: (!layer.is_empty()).then(|| layer.to_owned()),
            status: status.to_owned(),
            current_bytes: None,
            total_bytes: None,
        }
    }

    #[tokio::test]
    async fn a_slow_reader_misses_steps_but_not_the_end() {
        let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
        let mut reporter = Reporter::new(sender);
        for round in 0..1000 {
            reporter.report(step("a", &format!("Downloading {round}")));
            reporter.report(step("b", &format!("Downloading {round}")));
        }
        reporter.report(step("a", "Pull complete"));
        reporter.report(step("b", "Pull complete"));
        reporter.report(step("", "Status: done"));
        let (_, seen) = tokio::join!(reporter.finish(), async {
            let mut seen = Vec::new();
            while let Some(step) = receiver.recv().await {
                seen.push((step.layer.unwrap_or_default(), step.status));
            }
            seen
        });
        assert!(seen.len() < 10, "{seen:?}");
        for end in [("a", "Pull complete"), ("b", "Pull complete"), ("", "Status: done")] {
            assert!(seen.contains(&(end.0.to_owned(), end.1.to_owned())), "{seen:?}");
        }
    }

    #[tokio::test]
    async fn a_reader_that_left_holds_up_nothing() {
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        drop(receiver);
        let mut reporter = Reporter::new(sender);
        reporter.report(step("a", "Downloading"));
        reporter.finish().await;
    }
}
