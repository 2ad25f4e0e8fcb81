//! Logs on standard error, as text for people or as one JSON document a line.
//!
//! A thread of its own writes: where logs go may stall, as a slow disk does, and the node must answer the
//! other members all the same. What finds no room is lost, and counted aloud.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::Duration,
};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use super::config::{LogFormat, LogLevel, Logging};

/// Lines that wait to be written.
const LINES_QUEUED_MAX: usize = 4_096;

/// How long the last lines of a process may take.
const FLUSH_MAX: Duration = Duration::from_secs(1);

/// Where lines go. The last one that is dropped by who started it waits until all are written.
#[derive(Clone)]
struct Lines {
    queue: SyncSender<Item>,
    lost: Arc<AtomicU64>,
}

enum Item {
    Line(Vec<u8>),
    /// Say when all before this is written.
    Flush(SyncSender<()>),
}

/// Keeps a process from ending before its last lines are written.
pub(super) struct Flush(Option<Lines>);

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.queue.try_send(Item::Line(line.to_vec())) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Flush {
    fn drop(&mut self) {
        let Some(lines) = self.0.take() else { return };
        let (said, written) = sync_channel(1);
        if lines.queue.send(Item::Flush(said)).is_ok() {
            // After that the lines are lost, and nobody is left to be told.
            let _ = written.recv_timeout(FLUSH_MAX);
        }
    }
}

/// Sends this process's logs to standard error. Libraries speak up only when something is wrong,
/// or when everything is asked for. Does nothing when logs have a place already.
pub(super) fn start(logging: &Logging) -> Flush {
    let (ours, libraries) = match logging.level {
        LogLevel::Error => ("error", LevelFilter::ERROR),
        LogLevel::Warn => ("warn", LevelFilter::WARN),
        LogLevel::Info => ("info", LevelFilter::WARN),
        LogLevel::Debug => ("debug", LevelFilter::WARN),
        LogLevel::Trace => ("trace", LevelFilter::DEBUG),
    };
    let filter = EnvFilter::builder()
        .with_default_directive(libraries.into())
        .parse_lossy(format!("fizz={ours}"));
    let registry = tracing_subscriber::registry().with(filter);
    let (queue, written) = sync_channel(LINES_QUEUED_MAX);
    let lines = Lines { queue, lost: Arc::default() };
    let (writer, lost) = (lines.clone(), Arc::clone(&lines.lost));
    let layer = fmt::layer().with_writer(move || writer.clone()).with_target(false);
    let started = match logging.format {
        LogFormat::Text => {
            let colour = std::io::IsTerminal::is_terminal(&std::io::stderr())
                && std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty());
            registry.with(layer.with_ansi(colour)).try_init()
        }
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init(),
    };
    // A second daemon in one process (in a test) goes on with the first one's.
    let thread = thread::Builder::new().name("log".to_owned());
    let runs = started.is_ok() && thread.spawn(move || write_all(&written, &lost)).is_ok();
    Flush(runs.then_some(lines))
}

fn write_all(lines: &Receiver<Item>, lost: &AtomicU64) {
    let mut out = io::stderr();
    while let Ok(item) = lines.recv() {
        // Standard error may be gone, and then nobody can be told.
        let _ = match item {
            Item::Line(line) => out.write_all(&line),
            Item::Flush(said) => {
                let _ = said.try_send(());
                Ok(())
            }
        };
        let lost = lost.swap(0, Ordering::Relaxed);
        if 0 < lost {
            let _ = writeln!(out, "{lost} lines of the log are lost: where it goes is too slow");
        }
    }
}
