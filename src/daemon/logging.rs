//! Logs on standard error, as text for people or as one JSON document a line.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use super::config::{LogFormat, LogLevel, Logging};

/// Sends this process's logs to standard error. Libraries speak up only when something is wrong,
/// or when everything is asked for. Does nothing when logs have a place already.
pub(super) fn start(logging: &Logging) {
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
    let lines = fmt::layer().with_writer(std::io::stderr).with_target(false);
    let started = match logging.format {
        LogFormat::Text => {
            let colour = std::io::IsTerminal::is_terminal(&std::io::stderr())
                && std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty());
            registry.with(lines.with_ansi(colour)).try_init()
        }
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    };
    // A second daemon in one process (in a test) goes on with the first one's.
    let _ = started;
}
