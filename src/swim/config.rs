//! How patient a member is with the others.

use crate::model::Millis;

/// How patient a member is. Members may differ; what one says holds for all, so a cluster is as hasty
/// as its hastiest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Between two probes by one member, and so the time in which each member is probed once. Half of it
    /// finds a crash that much sooner and costs that many bytes more. 200 ms to 60 s.
    pub period: Millis,
    /// The shortest wait for an answer, however fast the answers of a member were so far: room for a
    /// busy machine. 10 ms up to `answer_max`.
    pub answer_min: Millis,
    /// The longest wait for an answer. At most a quarter of `period`, so that a probe and its detours are
    /// over before the next.
    pub answer_max: Millis,
    /// How many others are asked to try a member that did not answer. 1 to 8; SWIM's k.
    pub helpers: usize,
    /// How many members must have missed a member before it counts as unreachable at once. 1 to
    /// `helpers` + 1.
    pub accusers: usize,
    /// After which it counts as unreachable if fewer have missed it and it says nothing.
    pub doubt: Millis,
    /// How long a member is unreachable before it is dead, where this member is well itself. More than
    /// `doubt`; the time in which a busy or badly connected member can say that it lives.
    pub dead_after: Millis,
    /// How many members try an unreachable one again and again, and may declare it dead. 1 to 16.
    pub watchers: usize,
    /// Between two such tries of one watcher. `answer_min` up to `dead_after` / 4.
    pub watch_interval: Millis,
    /// Between two probes of dead members by one member of many, each of one of them: after a partition of any
    /// length this finds the others again. Fewer than 20 members try more often, each 20th part of it together.
    pub dead_interval: Millis,
    /// For how long a dead member is probed.
    pub dead_probed: Millis,
    /// How often news is repeated on later probes and answers, against loss. 0 to 16.
    pub repeats: u8,
}

/// The most that this member's own ill health may stretch its waits: Lifeguard's S.
pub(super) const ILL_MAX: u64 = 8;

/// How much news travels on one probe or answer.
pub(super) const RUMOURS_ON_PROBE_MAX: usize = 8;

/// Why a configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cluster.membership.{key} is {value}: {rule}")]
pub struct ConfigError {
    /// Which key.
    pub key: &'static str,
    /// What it says.
    pub value: String,
    /// What it may say.
    pub rule: String,
}

impl Config {
    /// For machines in one data centre.
    #[must_use]
    pub fn lan() -> Self {
        Self {
            period: Millis(1_000),
            answer_min: Millis(80),
            answer_max: Millis(250),
            helpers: 3,
            accusers: 3,
            doubt: Millis(1_200),
            dead_after: Millis(4_000),
            watchers: 5,
            watch_interval: Millis(250),
            dead_interval: Millis(5_000),
            dead_probed: Millis::from_secs(24 * 3_600),
            repeats: 4,
        }
    }

    /// For machines that are far from each other.
    #[must_use]
    pub fn wan() -> Self {
        Self {
            period: Millis(3_000),
            answer_min: Millis(250),
            answer_max: Millis(750),
            doubt: Millis(4_000),
            dead_after: Millis(15_000),
            watch_interval: Millis(1_000),
            ..Self::lan()
        }
    }

    /// That every value is sane beside the others; the first that is not.
    pub fn check(&self) -> Result<(), ConfigError> {
        let millis = |key, value: Millis, min: Millis, max: Millis| {
            let rule = format!("use {min} to {max}");
            (key, value.to_string(), min <= value && value <= max, rule)
        };
        let count = |key, value: usize, min: usize, max: usize| {
            (key, value.to_string(), min <= value && value <= max, format!("use {min} to {max}"))
        };
        let quarter = |it: Millis| Millis(it.0 / 4);
        let hour = Millis::from_secs(3_600);
        let rules = [
            millis("period", self.period, Millis(200), Millis::from_secs(60)),
            millis("answer_max", self.answer_max, Millis(10), quarter(self.period)),
            millis("answer_min", self.answer_min, Millis(10), self.answer_max),
            count("helpers", self.helpers, 1, 8),
            count("accusers", self.accusers, 1, self.helpers + 1),
            millis("doubt", self.doubt, self.answer_max, hour),
            millis("dead_after", self.dead_after, self.doubt, hour),
            count("watchers", self.watchers, 1, 16),
            millis(
                "watch_interval",
                self.watch_interval,
                self.answer_min,
                quarter(self.dead_after),
            ),
            millis("dead_interval", self.dead_interval, Millis(100), hour),
            millis("dead_probed", self.dead_probed, self.dead_interval, Millis(u64::MAX)),
            count("repeats", usize::from(self.repeats), 0, 16),
        ];
        match rules.into_iter().find(|(_, _, right, _)| !right) {
            None => Ok(()),
            Some((key, value, _, rule)) => Err(ConfigError { key, value, rule }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_profiles_are_sane_and_what_is_not_is_told_with_its_range() {
        assert_eq!((Config::lan().check(), Config::wan().check()), (Ok(()), Ok(())));
        let hasty = Config { answer_max: Millis(900), ..Config::lan() };
        let said = hasty.check().unwrap_err().to_string();
        assert_eq!(said, "cluster.membership.answer_max is 900ms: use 10ms to 250ms");
        assert!(Config { accusers: 9, ..Config::lan() }.check().is_err());
    }
}
