//! `cluster.membership` of the configuration: how patient this member is with the others.

use serde::{Deserialize, Deserializer};

use crate::{compose::units, model::Millis, swim};

/// What values others are changed from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Profile {
    /// Machines in one data centre.
    #[default]
    Lan,
    /// Machines that are far from each other.
    Wan,
}

/// The section as written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct MembershipFile {
    pub(super) profile: Option<Profile>,
    #[serde(deserialize_with = "span")]
    pub(super) period: Option<Millis>,
    #[serde(deserialize_with = "span")]
    pub(super) answer_min: Option<Millis>,
    #[serde(deserialize_with = "span")]
    pub(super) answer_max: Option<Millis>,
    pub(super) helpers: Option<usize>,
    pub(super) accusers: Option<usize>,
    #[serde(deserialize_with = "span")]
    pub(super) doubt: Option<Millis>,
    #[serde(deserialize_with = "span")]
    pub(super) dead_after: Option<Millis>,
    pub(super) watchers: Option<usize>,
    #[serde(deserialize_with = "span")]
    pub(super) watch_interval: Option<Millis>,
    #[serde(deserialize_with = "span")]
    pub(super) dead_interval: Option<Millis>,
    #[serde(deserialize_with = "span")]
    pub(super) dead_probed: Option<Millis>,
    pub(super) repeats: Option<u8>,
}

impl MembershipFile {
    /// With what the profile says where the section says nothing.
    pub(super) fn complete(self) -> Result<swim::Config, swim::ConfigError> {
        let default = match self.profile.unwrap_or_default() {
            Profile::Lan => swim::Config::lan(),
            Profile::Wan => swim::Config::wan(),
        };
        let config = swim::Config {
            period: self.period.unwrap_or(default.period),
            answer_min: self.answer_min.unwrap_or(default.answer_min),
            answer_max: self.answer_max.unwrap_or(default.answer_max),
            helpers: self.helpers.unwrap_or(default.helpers),
            accusers: self.accusers.unwrap_or(default.accusers),
            doubt: self.doubt.unwrap_or(default.doubt),
            dead_after: self.dead_after.unwrap_or(default.dead_after),
            watchers: self.watchers.unwrap_or(default.watchers),
            watch_interval: self.watch_interval.unwrap_or(default.watch_interval),
            dead_interval: self.dead_interval.unwrap_or(default.dead_interval),
            dead_probed: self.dead_probed.unwrap_or(default.dead_probed),
            repeats: self.repeats.unwrap_or(default.repeats),
        };
        config.check().map(|()| config)
    }
}

/// A span as Compose files have it: `1m30s`, `250ms`.
fn span<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Millis>, D::Error> {
    let text = String::deserialize(from)?;
    let nanoseconds = units::duration(&text).and_then(|it| u64::try_from(it).ok());
    nanoseconds.map(|it| Some(Millis(it / 1_000_000))).ok_or_else(|| {
        serde::de::Error::custom(format!(
            "`{text}` is not a span of time: write 1s, 250ms or 1m30s"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_as_the_profile_has_it_and_what_makes_no_sense_is_refused() {
        assert_eq!(MembershipFile::default().complete(), Ok(swim::Config::lan()));
        let wan = MembershipFile { profile: Some(Profile::Wan), ..MembershipFile::default() };
        assert_eq!(wan.clone().complete(), Ok(swim::Config::wan()));
        let hasty = MembershipFile { period: Some(Millis(1)), ..wan };
        let said = hasty.complete().unwrap_err().to_string();
        assert_eq!(said, "cluster.membership.period is 1ms: use 200ms to 1m");
    }
}
