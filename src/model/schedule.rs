//! Schedules as crontab(5) writes them, in a time zone, and the minutes at which they come.
//!
//! A schedule speaks of what a clock on the wall shows. When that is set forward, a time that it skips
//! comes as much later as the clock was set; when it is set back, a time that it shows twice comes the
//! first time only. But where the hours are `*` or `*/n`, it is hours that pass which are meant: one that
//! is skipped does not come, and one that is shown twice comes twice.

use std::{fmt, str::FromStr};

use jiff::{
    Timestamp, ToSpan,
    civil::{Date, DateTime},
    tz::{AmbiguousOffset, TimeZone},
};

use super::{Slot, WallTime};

/// A minute at which a schedule comes, counted from 1970 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(pub u32);

/// A time zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone(TimeZone);

/// A schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    text: String,
    /// Sets of bits.
    minutes: u64,
    hours: u64,
    dates: u64,
    months: u64,
    weekdays: u64,
    /// Either kind of day suffices.
    either_day: bool,
    /// Its hours are those that pass.
    by_passing: bool,
}

/// Replicas have smaller numbers, and ticks greater ones: this is 1990.
const TICK_MIN: u32 = 10_000_000;
const MINUTE_MILLIS: u64 = 60_000;
/// How long to look for a tick: between two leap years there can be eight years.
const DAYS_MAX: usize = 9 * 366;
/// By how much clocks are set at most, and a bit more.
const SHIFT_HOURS: usize = 3;

impl Tick {
    /// The minute that it is.
    #[must_use]
    pub fn of(time: WallTime) -> Self {
        Self(u32::try_from(time.0 / MINUTE_MILLIS).unwrap_or(u32::MAX))
    }

    /// When it begins.
    #[must_use]
    pub fn time(self) -> WallTime {
        WallTime(u64::from(self.0) * MINUTE_MILLIS)
    }

    /// The tick whose run a slot is, if it is one's.
    #[must_use]
    pub fn of_slot(slot: Slot) -> Option<Self> {
        (TICK_MIN <= slot.0).then_some(Self(slot.0))
    }

    /// The slot of its run.
    #[must_use]
    pub fn slot(self) -> Slot {
        Slot(self.0)
    }

    fn stamp(self) -> Timestamp {
        Timestamp::from_second(i64::from(self.0) * 60).unwrap_or(Timestamp::MAX)
    }
}

impl Zone {
    /// Coordinated universal time.
    #[must_use]
    pub fn utc() -> Self {
        Self(TimeZone::UTC)
    }
}

impl FromStr for Zone {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        TimeZone::get(text).map(Self).map_err(|error| error.to_string())
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Schedule {
    type Err = String;

    /// Reads a schedule, or says what is wrong with it.
    fn from_str(text: &str) -> Result<Self, String> {
        let word = WORDS.iter().find(|(word, _)| *word == text);
        let fields = match word {
            Some((_, fields)) => fields,
            None if text.starts_with('@') => {
                let words: Vec<&str> = WORDS.iter().map(|(word, _)| *word).collect();
                return Err(format!("`{text}` is no schedule; use {}", words.join(", ")));
            }
            None => text,
        };
        let words: Vec<&str> = fields.split_whitespace().collect();
        let [_, hour, days, _, days_of_week] = words[..] else {
            return Err(format!(
                "`{text}` has {} fields; a schedule has five: minute hour day month weekday",
                words.len()
            ));
        };
        let mut values = [0_u64; 5];
        for ((word, field), values) in words.iter().zip(&FIELDS).zip(&mut values) {
            *values = field.values(word)?;
        }
        let [minutes, hours, dates, months, weekdays] = values;
        // Where both days are restricted either suffices, so a weekday always comes.
        let comes = (1..=12_u8).filter(|month| has(months, *month)).any(|month| {
            let last = MONTH_DAYS[usize::from(month - 1)];
            (1..=last).any(|day| has(dates, day))
        });
        if !comes && !days.starts_with('*') && days_of_week.starts_with('*') {
            return Err(format!("`{text}` never comes: no such month has that day"));
        }
        Ok(Self {
            text: text.to_owned(),
            minutes,
            hours,
            dates,
            months,
            // 7 is Sunday too.
            weekdays: weekdays | weekdays >> 7 & 1,
            either_day: !days.starts_with('*') && !days_of_week.starts_with('*'),
            by_passing: hour.starts_with('*'),
        })
    }
}

impl Schedule {
    /// The first tick after another.
    #[must_use]
    pub fn next(&self, zone: &Zone, after: Tick) -> Option<Tick> {
        let step = |it: DateTime, whole_day: bool| match whole_day {
            true => Some(it.date().tomorrow().ok()?.at(0, 0, 0, 0)),
            false => it.checked_add(1.hour()).ok(),
        };
        let back = -i64::try_from(SHIFT_HOURS).unwrap_or(0);
        self.nearest(zone, after, back, step, |it| after < it, |a, b| a < b)
    }

    /// The last tick up to a minute, that one among them.
    #[must_use]
    pub fn last(&self, zone: &Zone, until: Tick) -> Option<Tick> {
        let step = |it: DateTime, whole_day: bool| match whole_day {
            true => Some(it.date().yesterday().ok()?.at(23, 0, 0, 0)),
            false => it.checked_sub(1.hour()).ok(),
        };
        let ahead = i64::try_from(SHIFT_HOURS).unwrap_or(0);
        self.nearest(zone, until, ahead, step, |it| it <= until, |a, b| b < a)
    }

    /// Goes through the hours that the wall's clock shows, and a few more once something is found: as the
    /// clock is set, they need not come in their order.
    fn nearest(
        &self,
        zone: &Zone,
        from: Tick,
        shift: i64,
        step: impl Fn(DateTime, bool) -> Option<DateTime>,
        counts: impl Fn(Tick) -> bool,
        is_nearer: impl Fn(Tick, Tick) -> bool,
    ) -> Option<Tick> {
        let shown = zone.0.to_datetime(from.stamp());
        let mut hour = shown.date().at(shown.hour(), 0, 0, 0).checked_add(shift.hours()).ok()?;
        let (mut best, mut days, mut more) = (None, 0, SHIFT_HOURS);
        while days < DAYS_MAX {
            let comes = self.has_day(hour.date());
            if comes && has(self.hours, bits(hour.hour())) {
                for tick in self.in_hour(zone, hour).into_iter().filter(|it| counts(*it)) {
                    if best.is_none_or(|it| is_nearer(tick, it)) {
                        best = Some(tick);
                    }
                }
            }
            if best.is_some() {
                if more == 0 {
                    return best;
                }
                more -= 1;
            }
            let date = hour.date();
            hour = step(hour, !comes && best.is_none())?;
            days += usize::from(hour.date() != date);
        }
        best
    }

    fn has_day(&self, date: Date) -> bool {
        let month = has(self.months, bits(date.month()));
        let day = has(self.dates, bits(date.day()));
        let weekday = has(self.weekdays, bits(date.weekday().to_sunday_zero_offset()));
        month && if self.either_day { day || weekday } else { day && weekday }
    }

    /// The ticks of an hour that the wall's clock shows.
    fn in_hour(&self, zone: &Zone, hour: DateTime) -> Vec<Tick> {
        let mut ticks = vec![];
        for minute in (0..60_i8).filter(|it| has(self.minutes, bits(*it))) {
            let shown = hour.date().at(hour.hour(), minute, 0, 0);
            let offset = zone.0.to_ambiguous_timestamp(shown).offset();
            let (first, second) = match offset {
                AmbiguousOffset::Unambiguous { offset } => (Some(offset), None),
                // The offset from before puts it as much later as the clock was set.
                AmbiguousOffset::Gap { before, .. } => {
                    (Some(before).filter(|_| !self.by_passing), None)
                }
                AmbiguousOffset::Fold { before, after } => {
                    (Some(before), Some(after).filter(|_| self.by_passing))
                }
            };
            let stamps = [first, second].into_iter().flatten();
            ticks.extend(
                stamps
                    .filter_map(|it| it.to_timestamp(shown).ok())
                    .filter_map(|it| u32::try_from(it.as_second() / 60).ok().map(Tick)),
            );
        }
        ticks
    }
}

fn has(set: u64, value: u8) -> bool {
    set >> value & 1 == 1
}

/// What jiff counts is small and not negative.
fn bits(value: i8) -> u8 {
    value.unsigned_abs()
}

/// One field: its name, its bounds, and names for its values from the lower bound on.
struct Field {
    name: &'static str,
    min: u8,
    max: u8,
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { name: "minute", min: 0, max: 59, names: &[] },
    Field { name: "hour", min: 0, max: 23, names: &[] },
    Field { name: "day of the month", min: 1, max: 31, names: &[] },
    Field {
        name: "month",
        min: 1,
        max: 12,
        names: &[
            "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
        ],
    },
    // 0 and 7 are both Sunday.
    Field {
        name: "day of the week",
        min: 0,
        max: 7,
        names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
    },
];

const WORDS: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// The longest each month can be.
const MONTH_DAYS: [u8; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

impl Field {
    /// The values that a field names, as a set of bits.
    fn values(&self, text: &str) -> Result<u64, String> {
        text.split(',').try_fold(0, |set, part| Ok(set | self.part(part)?))
    }

    /// `*`, `a`, `a-b`, and `*` or `a-b` with a step.
    fn part(&self, text: &str) -> Result<u64, String> {
        let (range, step) = match text.split_once('/') {
            None => (text, 1),
            Some((range, step)) => {
                let step = step.parse().ok().filter(|it| (1..=self.max).contains(it));
                (range, step.ok_or_else(|| self.complaint(text))?)
            }
        };
        let (first, last) = match range.split_once('-') {
            None if range == "*" => (self.min, self.max),
            None if range == text => (self.value(range)?, self.value(range)?),
            None => return Err(self.complaint(text)),
            Some((first, last)) => (self.value(first)?, self.value(last)?),
        };
        if first > last {
            return Err(self.complaint(text));
        }
        Ok((first..=last).step_by(step.into()).fold(0, |set, value| set | 1 << value))
    }

    fn value(&self, text: &str) -> Result<u8, String> {
        let lower = text.to_ascii_lowercase();
        let named = (self.min..).zip(self.names).find(|(_, name)| **name == lower);
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        let number = || text.parse().ok().filter(|it| digits && (self.min..=self.max).contains(it));
        named.map(|(value, _)| value).or_else(number).ok_or_else(|| self.complaint(text))
    }

    fn complaint(&self, text: &str) -> String {
        let Self { name, min, max, names } = self;
        let names = match names {
            [first, .., last] => format!(" or {first} to {last}"),
            _ => String::new(),
        };
        format!(
            "`{text}` is not a {name}; use {min} to {max}{names}, `*`, ranges `a-b`, steps `*/n` \
             and lists `a,b`"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<(), String> {
        text.parse::<Schedule>().map(|_| ())
    }

    fn tick(utc: &str) -> Tick {
        let stamp: Timestamp = format!("{utc}Z").parse().unwrap();
        Tick(u32::try_from(stamp.as_second() / 60).unwrap())
    }

    /// The next ticks, as the clock on the wall shows them.
    fn next(schedule: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
        let (schedule, zone): (Schedule, Zone) = (schedule.parse().unwrap(), zone.parse().unwrap());
        let mut at = tick(after);
        let mut shown = vec![];
        for _ in 0..count {
            let next = schedule.next(&zone, at).unwrap();
            // What comes next is the last until the one after it.
            assert_eq!(schedule.last(&zone, next), Some(next));
            assert_eq!(schedule.last(&zone, Tick(next.0 - 1)).filter(|it| *it > at), None);
            at = next;
            shown.push(zone.0.to_datetime(at.stamp()).strftime("%d %H:%M").to_string());
        }
        shown
    }

    #[test]
    fn a_schedule_comes_when_it_says() {
        let utc = |schedule, count| next(schedule, "UTC", "2026-02-27T23:58:00", count);
        assert_eq!(utc("* * * * *", 3), ["27 23:59", "28 00:00", "28 00:01"]);
        assert_eq!(utc("*/20 */12 * * *", 4), ["28 00:00", "28 00:20", "28 00:40", "28 12:00"]);
        assert_eq!(utc("30 4 1,15 * *", 3), ["01 04:30", "15 04:30", "01 04:30"]);
        // The 2nd of March 2026 is a Monday.
        assert_eq!(utc("0 9 * mar mon-tue", 3), ["02 09:00", "03 09:00", "09 09:00"]);
        assert_eq!(utc("0 9 4 mar 7", 3), ["01 09:00", "04 09:00", "08 09:00"]);
        assert_eq!(utc("@weekly", 2), ["01 00:00", "08 00:00"]);
        assert_eq!(utc("@hourly", 2), ["28 00:00", "28 01:00"]);
        assert_eq!(utc("@monthly", 2), ["01 00:00", "01 00:00"]);
        assert_eq!(next("0 0 29 2 *", "UTC", "2096-03-01T00:00:00", 1), ["29 00:00"]);
    }

    #[test]
    fn a_time_that_the_clock_skips_comes_as_much_later_and_one_shown_twice_comes_once() {
        let spring =
            |schedule, count| next(schedule, "Europe/Berlin", "2026-03-28T12:00:00", count);
        assert_eq!(spring("30 2 * * *", 2), ["29 03:30", "30 02:30"]);
        assert_eq!(spring("0 2,3 * * *", 3), ["29 03:00", "30 02:00", "30 03:00"]);
        let autumn =
            |schedule, count| next(schedule, "Europe/Berlin", "2026-10-24T22:30:00", count);
        assert_eq!(autumn("30 2 * * *", 2), ["25 02:30", "26 02:30"]);
        assert_eq!(autumn("0 2,3 * * *", 3), ["25 02:00", "25 03:00", "26 02:00"]);
    }

    #[test]
    fn hours_that_pass_are_counted_as_they_pass() {
        let spring = next("0 * * * *", "Europe/Berlin", "2026-03-29T00:00:00", 3);
        assert_eq!(spring, ["29 03:00", "29 04:00", "29 05:00"]);
        let autumn = next("30 * * * *", "Europe/Berlin", "2026-10-24T23:00:00", 4);
        assert_eq!(autumn, ["25 01:30", "25 02:30", "25 02:30", "25 03:30"]);
        // Half an hour, where clocks are set by that much.
        let half = next("15 */1 * * *", "Australia/Lord_Howe", "2026-04-04T13:30:00", 3);
        assert_eq!(half, ["05 01:15", "05 02:15", "05 03:15"]);
    }

    #[test]
    fn a_time_zone_must_be_one() {
        for zone in ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+3"] {
            assert!(zone.parse::<Zone>().is_ok(), "{zone}");
        }
        for wrong in ["", "../etc", "Europe/Nowhere", "CET-1CEST", "/etc/localtime"] {
            assert!(wrong.parse::<Zone>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn no_replicas_slot_is_a_tick() {
        assert_eq!(Tick::of_slot(Slot(10_000)), None);
        let now = Tick::of(WallTime(1_790_000_000_000));
        assert_eq!(Tick::of_slot(now.slot()), Some(now));
    }

    #[test]
    fn what_crontab_takes_is_taken() {
        for schedule in [
            "* * * * *",
            "*/5 0-6/2 1,15 jan-mar MON-FRI",
            "0 0 29 2 *",
            "0 0 31 2 mon",
            "59 23 31 12 7",
            "@daily",
            "0  4\t* * sun",
        ] {
            assert_eq!(check(schedule), Ok(()), "{schedule}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_field() {
        for (schedule, message) in [
            ("* * * *", "has 4 fields"),
            ("60 * * * *", "`60` is not a minute; use 0 to 59"),
            ("* 24 * * *", "`24` is not a hour"),
            ("* * 0 * *", "`0` is not a day of the month"),
            ("* * * foo *", "`foo` is not a month; use 1 to 12 or jan to dec"),
            ("* * * * 8", "`8` is not a day of the week"),
            ("30-10 * * * *", "`30-10` is not a minute"),
            ("*/0 * * * *", "`*/0` is not a minute"),
            ("5/10 * * * *", "`5/10` is not a minute"),
            ("1,,2 * * * *", "`` is not a minute"),
            ("+5 * * * *", "`+5` is not a minute"),
            ("0 0 30 2 *", "never comes"),
            ("0 0 31 feb,apr *", "never comes"),
            ("@reboot", "`@reboot` is no schedule; use @yearly"),
            ("", "has 0 fields"),
        ] {
            let error = check(schedule).unwrap_err();
            assert!(error.contains(message), "{schedule}: {error}");
        }
    }
}
