//! Schedules as crontab(5) writes them: five fields, or a word such as `@daily`.

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

const WORDS: [&str; 7] =
    ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];

/// The longest each month can be.
const MONTH_DAYS: [u8; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/// Says what is wrong with a schedule.
pub(super) fn check(text: &str) -> Result<(), String> {
    if text.starts_with('@') {
        return match WORDS.contains(&text) {
            true => Ok(()),
            false => Err(format!("`{text}` is no schedule; use {}", WORDS.join(", "))),
        };
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    let [_, _, days, _, weekdays] = words[..] else {
        return Err(format!(
            "`{text}` has {} fields; a schedule has five: minute hour day month weekday",
            words.len()
        ));
    };
    let mut values = [0_u64; 5];
    for ((word, field), values) in words.iter().zip(&FIELDS).zip(&mut values) {
        *values = field.values(word)?;
    }
    let [_, _, dates, months, _] = values;
    // Where both days are restricted either suffices, so a weekday always comes.
    let comes = (1..=12_u8).filter(|month| months >> month & 1 == 1).any(|month| {
        let last = MONTH_DAYS[usize::from(month - 1)];
        (1..=last).any(|day| dates >> day & 1 == 1)
    });
    if !comes && !days.starts_with('*') && weekdays.starts_with('*') {
        return Err(format!("`{text}` never comes: no such month has that day"));
    }
    Ok(())
}

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
