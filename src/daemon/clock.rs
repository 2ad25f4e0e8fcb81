//! The daemon's only clock.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::{
    model::{Moment, WallTime},
    node::Now,
};

/// Reads the time. Its moments count from when it was made.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the shell's clock")]
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// The time by both clocks.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the shell's clock")]
    pub fn now(self) -> Now {
        let since_start = self.start.elapsed();
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { moment: Moment(millis(since_start)), wall: WallTime(millis(since_epoch)) }
    }

    /// Waits until a moment; not at all when it is over.
    pub async fn sleep_until(self, moment: Moment) {
        let until = self.start + Duration::from_millis(moment.0);
        tokio::time::sleep_until(until.into()).await;
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
