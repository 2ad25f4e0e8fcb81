//! RFC 3339 timestamps, as the engine writes them, to nanoseconds since the Unix epoch.

use crate::model::WallTime;

/// `2026-07-01T12:00:00.123456789Z` or with an offset such as `+02:00`. What lies before the epoch,
/// as the engine's zero time `0001-01-01T00:00:00Z` does, is 0.
pub(super) fn nanos(text: &str) -> Option<u64> {
    let (date, rest) = text.split_once(['T', ' '])?;
    let mut date = date.splitn(3, '-').map(str::parse::<i64>);
    let (year, month, day) = (date.next()?.ok()?, date.next()?.ok()?, date.next()?.ok()?);
    let zone = rest.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = rest.split_at(zone);
    let (whole, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let mut whole = whole.splitn(3, ':').map(str::parse::<i64>);
    let (hour, minute, second) = (whole.next()?.ok()?, whole.next()?.ok()?, whole.next()?.ok()?);
    let right = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..=60).contains(&second);
    if !right {
        return None;
    }
    let seconds = days_since_epoch(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second
        - offset_seconds(zone)?;
    let nanos = i128::from(seconds) * 1_000_000_000 + i128::from(fraction_nanos(fraction)?);
    u64::try_from(nanos.max(0)).ok()
}

/// The same in milliseconds, for people.
pub(super) fn wall(text: &str) -> Option<WallTime> {
    nanos(text).map(|nanos| WallTime(nanos / 1_000_000))
}

/// A point in time as the engine takes it in queries: seconds with a fraction.
pub(super) fn query(at: WallTime) -> String {
    format!("{}.{:03}000000", at.0 / 1000, at.0 % 1000)
}

fn fraction_nanos(digits: &str) -> Option<u32> {
    if digits.bytes().any(|it| !it.is_ascii_digit()) {
        return None;
    }
    let digits = &digits[..digits.len().min(9)];
    format!("{digits:0<9}").parse().ok()
}

fn offset_seconds(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    Some(sign * (hours.parse::<i64>().ok()? * 3600 + minutes.parse::<i64>().ok()? * 60))
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar: years begin in March, so that the leap
/// day is a year's last.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_counts_from_the_epoch() {
        assert_eq!(nanos("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(nanos("1970-01-02T00:00:01.5Z"), Some(86_401_500_000_000));
        assert_eq!(nanos("2024-02-29T12:34:56.123456789Z"), Some(1_709_210_096_123_456_789));
        assert_eq!(
            nanos("2024-02-29T14:34:56.123456789+02:00"),
            nanos("2024-02-29T12:34:56.123456789Z")
        );
        assert_eq!(wall("2024-02-29T12:34:56.123456789Z"), Some(WallTime(1_709_210_096_123)));
    }

    #[test]
    fn the_engines_zero_time_is_zero_and_nonsense_is_none() {
        assert_eq!(nanos("0001-01-01T00:00:00Z"), Some(0));
        for text in [
            "",
            "yesterday",
            "2024-13-01T00:00:00Z",
            "2024-01-01T00:00:00",
            "2024-01-01T00:00:00.xZ",
        ] {
            assert_eq!(nanos(text), None, "{text}");
        }
    }

    #[test]
    fn a_query_has_seconds_and_their_fraction() {
        assert_eq!(query(WallTime(1_709_210_096_023)), "1709210096.023000000");
    }
}
