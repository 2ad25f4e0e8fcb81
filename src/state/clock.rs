//! Who wrote what, and when.

use crate::model::WallTime;

/// How far a peer's stamp may push this node's clock ahead of its own wall clock, in milliseconds.
pub(super) const DRIFT_MS_MAX: u64 = 500;

/// A writer of the replicated state: a data directory. Random, so that a directory restored from a
/// backup can take a new one and never number two writes alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReplicaId(pub u64);

/// One write: its writer, and the writer's count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dot {
    /// Who.
    pub replica: ReplicaId,
    /// Which of its writes, from one.
    pub sequence: u64,
}

/// When a write happened, in hybrid logical time: wall-clock milliseconds, then a count within them,
/// then the writer. Totally ordered, and later than everything its writer had seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// Milliseconds since the Unix epoch, as the writer's hybrid clock had them.
    pub wall: WallTime,
    /// The count.
    pub count: u32,
    /// The writer.
    pub replica: ReplicaId,
}

/// A hybrid logical clock (Kulkarni et al., 2014, figure 5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HybridClock {
    pub(super) wall: WallTime,
    pub(super) count: u32,
}

impl HybridClock {
    /// The stamp of a write that happens now.
    pub fn stamp(&mut self, now: WallTime, replica: ReplicaId) -> Stamp {
        if self.wall < now {
            *self = Self { wall: now, count: 0 };
        } else if let Some(count) = self.count.checked_add(1) {
            self.count = count;
        } else {
            *self = Self { wall: WallTime(self.wall.0.saturating_add(1)), count: 0 };
        }
        Stamp { wall: self.wall, count: self.count, replica }
    }

    /// Takes in a stamp of a peer, so that the next own stamp is later, but never runs more than
    /// `DRIFT_MS_MAX` ahead of the own wall clock for it.
    pub fn observe(&mut self, stamp: Stamp, now: WallTime) {
        let within = stamp.wall.0 <= now.0.saturating_add(DRIFT_MS_MAX);
        if within && (self.wall, self.count) < (stamp.wall, stamp.count) {
            *self = Self { wall: stamp.wall, count: stamp.count };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_later_than_everything_seen_even_when_the_wall_clock_steps_back() {
        let mut clock = HybridClock::default();
        let first = clock.stamp(WallTime(1000), ReplicaId(1));
        let second = clock.stamp(WallTime(400), ReplicaId(1));
        assert!(first < second);
        clock.observe(
            Stamp { wall: WallTime(1200), count: 7, replica: ReplicaId(9) },
            WallTime(900),
        );
        assert!(clock.stamp(WallTime(900), ReplicaId(1)).wall == WallTime(1200));
    }

    #[test]
    fn a_stamp_from_the_far_future_does_not_move_the_clock() {
        let mut clock = HybridClock::default();
        clock.observe(
            Stamp { wall: WallTime(99_999), count: 0, replica: ReplicaId(9) },
            WallTime(5),
        );
        assert_eq!(clock.stamp(WallTime(6), ReplicaId(1)).wall, WallTime(6));
    }
}
