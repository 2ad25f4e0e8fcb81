//! Time as a value, so that only the shell can own a clock.

use std::{
    fmt,
    ops::{Add, Sub},
};

/// A point on this node's monotonic clock, in milliseconds since an arbitrary start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

/// How far a clock may be off the median of the others' before its node writes nothing that a user wants: its stamps
/// would win, or lose, against all others'.
pub const CLOCK_ERROR_MAX: Millis = Millis(500);

/// A span of time in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millis(pub u64);

/// A point in civil time, in milliseconds since the Unix epoch. For people and logs, never for
/// deciding how long something lasted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct WallTime(pub u64);

/// The time of an event, by both of the shell's clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// For deciding how long things last.
    pub moment: Moment,
    /// For stamps and for people.
    pub wall: WallTime,
}

impl Add<Millis> for Moment {
    type Output = Self;

    fn add(self, span: Millis) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl Sub for Moment {
    type Output = Millis;

    /// How long after `earlier` this is; zero when it is not after.
    fn sub(self, earlier: Self) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add for Millis {
    type Output = Self;

    fn add(self, more: Self) -> Self {
        Self(self.0.saturating_add(more.0))
    }
}

impl Sub for Millis {
    type Output = Self;

    /// What is left of it after `part`; zero when nothing is.
    fn sub(self, part: Self) -> Self {
        Self(self.0.saturating_sub(part.0))
    }
}

impl Millis {
    /// A span of whole seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }
}

impl fmt::Display for Millis {
    /// Writes the span as Compose does: `1m30s`, `250ms`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hours, minutes) = (self.0 / 3_600_000, self.0 / 60_000 % 60);
        let (seconds, millis) = (self.0 / 1000 % 60, self.0 % 1000);
        for (count, unit) in [(hours, "h"), (minutes, "m"), (seconds, "s"), (millis, "ms")] {
            if count != 0 {
                write!(f, "{count}{unit}")?;
            }
        }
        if self.0 == 0 { f.write_str("0s") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_reads_as_compose_writes_it() {
        assert_eq!(Millis(90_000).to_string(), "1m30s");
        assert_eq!(Millis(0).to_string(), "0s");
        assert_eq!(Millis(3_600_250).to_string(), "1h250ms");
    }

    #[test]
    fn an_earlier_moment_is_no_time_ago() {
        assert_eq!(Moment(5) - Moment(9), Millis(0));
    }
}
