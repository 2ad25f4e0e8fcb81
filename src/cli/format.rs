//! Numbers and times as people read and write them.

use super::error::CliError;
use crate::model::{Millis, WallTime};

/// Milliseconds since the epoch now.
#[must_use]
pub(super) fn now() -> WallTime {
    #[allow(clippy::disallowed_methods, reason = "the command line is shell: this is its clock")]
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    WallTime(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A span in one unit, as `docker ps` words it: `5 seconds`, `About a minute`, `3 weeks`.
#[must_use]
pub(super) fn rough_span(span: Millis) -> String {
    let seconds = span.0 / 1000;
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    let days = seconds / 86_400;
    match seconds {
        0 => "Less than a second".into(),
        1 => "1 second".into(),
        2..60 => format!("{seconds} seconds"),
        60..120 => "About a minute".into(),
        120..3600 => format!("{minutes} minutes"),
        3600..5400 => "About an hour".into(),
        5400..172_800 => format!("{hours} hours"),
        172_800..1_209_600 => format!("{days} days"),
        1_209_600..5_184_000 => format!("{} weeks", days / 7),
        5_184_000..63_072_000 => format!("{} months", days / 30),
        _ => format!("{} years", days / 365),
    }
}

/// How long ago something was.
#[must_use]
pub(super) fn ago(now: WallTime, then_ms: u64) -> String {
    format!("{} ago", rough_span(Millis(now.0.saturating_sub(then_ms))))
}

/// Bytes in decimal units, as images are measured: `187MB`.
#[must_use]
pub(super) fn decimal_bytes(bytes: u64) -> String {
    scaled(bytes, 1000, &["B", "kB", "MB", "GB", "TB", "PB", "EB"])
}

/// Bytes in binary units, as memory is measured: `1.5GiB`.
#[must_use]
pub(super) fn binary_bytes(bytes: u64) -> String {
    scaled(bytes, 1024, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"])
}

/// Three or four significant digits and the unit that fits.
fn scaled(bytes: u64, base: u64, units: &[&str]) -> String {
    let mut scale = 1_u64;
    let mut unit = units.first().copied().unwrap_or_default();
    for next in units.iter().skip(1) {
        let Some(bigger) = scale.checked_mul(base).filter(|it| bytes >= *it) else { break };
        (scale, unit) = (bigger, next);
    }
    let whole = bytes / scale;
    let hundredths = u128::from(bytes % scale) * 100 / u128::from(scale);
    let digits = match (whole, hundredths) {
        (_, 0) => whole.to_string(),
        (0..10, _) => format!("{whole}.{hundredths:02}"),
        (10..100, _) => format!("{whole}.{}", hundredths / 10),
        _ => whole.to_string(),
    };
    format!("{digits}{unit}")
}

/// Days from 1970-01-01 to a date of the proleptic Gregorian calendar.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The date that many days after 1970-01-01: year, month, day.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let (day, month) = (of_year - (153 * shifted + 2) / 5 + 1, (shifted + 2) % 12 + 1);
    (era * 400 + year + i64::from(month <= 2), month, day)
}

/// A point in time as RFC 3339 in UTC, with as many digits of the second as `nanos` says there are.
#[must_use]
pub(super) fn rfc3339(seconds: u64, fraction: &str) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    let (year, month, day) = civil_from_days(seconds / 86_400);
    let of_day = seconds % 86_400;
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

/// Milliseconds since the epoch as RFC 3339.
#[must_use]
pub(super) fn rfc3339_ms(ms: u64) -> String {
    rfc3339(ms / 1000, &format!(".{:03}", ms % 1000))
}

/// Nanoseconds since the epoch, as text, as RFC 3339.
#[must_use]
pub(super) fn rfc3339_ns(ns: &str) -> String {
    match ns.parse::<u64>() {
        Ok(ns) => rfc3339(ns / 1_000_000_000, &format!(".{:09}", ns % 1_000_000_000)),
        Err(_) => ns.to_owned(),
    }
}

/// `--since` and `--until`: a date, a date and time (RFC 3339; without a zone it is UTC), seconds
/// since the epoch, or a span before now (`42m`, `1h30m`).
pub(super) fn parse_time(text: &str, now: WallTime) -> Result<WallTime, CliError> {
    let parsed = parse_epoch(text)
        .or_else(|| parse_date(text))
        .or_else(|| parse_span(text).map(|span| now.0.saturating_sub(span.0)));
    parsed.map(WallTime).ok_or_else(|| {
        CliError::Usage(format!(
            "`{text}` is no time: use 2026-01-02T13:23:37Z, seconds since 1970, or a span like 42m"
        ))
    })
}

fn parse_epoch(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    whole.parse::<u64>().ok()?.checked_mul(1000)?.checked_add(parse_millis(fraction)?)
}

/// The digits after a point as thousandths.
fn parse_millis(fraction: &str) -> Option<u64> {
    if !fraction.bytes().all(|it| it.is_ascii_digit()) {
        return None;
    }
    format!("{fraction:0<3}").get(..3)?.parse().ok()
}

fn parse_date(text: &str) -> Option<u64> {
    let (date, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00:00"));
    let mut parts = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let days = days_from_civil(year, month, day);
    if civil_from_days(days) != (year, month, day) {
        return None;
    }
    let (time, offset) = split_zone(time)?;
    let (clock, fraction) = time.split_once('.').unwrap_or((time, ""));
    let mut parts = clock.splitn(3, ':').map(|part| part.parse::<i64>().ok());
    let (hour, minute) = (parts.next()??, parts.next().unwrap_or(Some(0))?);
    let second = parts.next().unwrap_or(Some(0))?;
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second - offset;
    u64::try_from(seconds).ok()?.checked_mul(1000)?.checked_add(parse_millis(fraction)?)
}

/// Cuts `Z` or `+02:00` off a time; the offset in seconds.
fn split_zone(time: &str) -> Option<(&str, i64)> {
    if let Some(time) = time.strip_suffix('Z') {
        return Some((time, 0));
    }
    let Some(at) = time.rfind(['+', '-']) else { return Some((time, 0)) };
    let (time, zone) = time.split_at_checked(at)?;
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let offset = hours.parse::<i64>().ok()? * 3600 + minutes.parse::<i64>().ok()? * 60;
    Some((time, if zone.starts_with('-') { -offset } else { offset }))
}

/// A span as Go writes them: `1h30m`, `250ms`, `1.5s`.
#[must_use]
pub(super) fn parse_span(text: &str) -> Option<Millis> {
    let mut rest = text;
    let mut total = 0_u64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at_checked(digits)?;
        let unit = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(unit)?;
        let scale = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let span = whole.parse::<u64>().ok()?.checked_mul(scale)?;
        total = total.checked_add(span)?.checked_add(parse_millis(fraction)? * scale / 1000)?;
        rest = after;
    }
    (!text.is_empty()).then_some(Millis(total))
}

/// Cuts text to `chars_max` characters, the last of which says so.
#[must_use]
pub(super) fn shortened(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(chars_max.saturating_sub(1)).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_as_docker_words_them() {
        let read = [0, 1_000, 59_000, 60_000, 150_000, 3_700_000, 90_000_000, 1_300_000_000]
            .map(|ms| rough_span(Millis(ms)));
        let words = [
            "Less than a second",
            "1 second",
            "59 seconds",
            "About a minute",
            "2 minutes",
            "About an hour",
            "25 hours",
            "2 weeks",
        ];
        assert_eq!(read, words);
    }

    #[test]
    fn sizes_keep_the_digits_that_matter() {
        assert_eq!(decimal_bytes(999), "999B");
        assert_eq!(decimal_bytes(187_400_000), "187MB");
        assert_eq!(decimal_bytes(4_310_000), "4.31MB");
        assert_eq!(binary_bytes(1 << 30), "1GiB");
        assert_eq!(binary_bytes((3 << 20) / 2), "1.50MiB");
        assert_eq!(binary_bytes(u64::MAX), "15.9EiB");
    }

    #[test]
    fn dates_go_to_the_epoch_and_back() {
        for (text, ms) in [
            ("1970-01-01T00:00:00.000Z", 0),
            ("2000-02-29T12:00:00.250Z", 951_825_600_250),
            ("2026-11-24T02:31:22.000Z", 1_795_487_482_000),
            ("2100-03-01T00:00:00.000Z", 4_107_542_400_000),
        ] {
            assert_eq!(rfc3339_ms(ms), text);
            assert_eq!(parse_time(text, WallTime(0)).unwrap(), WallTime(ms), "{text}");
        }
        assert_eq!(rfc3339_ns("1500000000000000001"), "2017-07-14T02:40:00.000000001Z");
    }

    #[test]
    fn times_are_written_in_many_ways() {
        let now = WallTime(10_000_000);
        for (text, ms) in [
            ("42m", 10_000_000 - 42 * 60_000),
            ("1h30m", 4_600_000),
            ("1.5s", 9_998_500),
            ("17", 17_000),
            ("17.25", 17_250),
            ("1970-01-02", 86_400_000),
            ("1970-01-01T02:00:00+02:00", 0),
            ("1970-01-01T00:00:01", 1000),
        ] {
            assert_eq!(parse_time(text, now).unwrap(), WallTime(ms), "{text}");
        }
        for text in ["", "yesterday", "1970-13-01", "1970-02-30", "5x", "1970-01-01T25:00:00Z", "m"]
        {
            assert!(parse_time(text, now).is_err(), "{text}");
        }
    }
}
