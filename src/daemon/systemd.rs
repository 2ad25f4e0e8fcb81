//! What the daemon tells the service manager: sd_notify(3). Without one, nothing.

use std::time::Duration;

use sd_notify::NotifyState;
use tracing::warn;

/// How often the watchdog wants to hear that the loop still turns; half of what it allows.
#[must_use]
pub(super) fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|allowed| allowed / 2)
}

/// Starting is over.
pub(super) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Stopping has begun.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// The loop still turns.
pub(super) fn alive() {
    tell(&[NotifyState::Watchdog]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        warn!(%error, "the service manager was not told");
    }
}
