//! Lengths of time and numbers of bytes as Compose files write them, and as they are printed.
//!
//! Durations read and print as in Go, with days and weeks on top; sizes count in powers of 1024.

const SECOND: u64 = 1_000_000_000;

/// Units of time in nanoseconds, longer names first so that `ms` is not taken for `m`.
const TIME_UNITS: [(&str, u64); 9] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", SECOND),
    ("m", 60 * SECOND),
    ("h", 3_600 * SECOND),
    ("d", 86_400 * SECOND),
];
const WEEK: u64 = 7 * 86_400 * SECOND;

/// The nanoseconds in `1m30s`, `1.5h`, `2w` or `0`; none if it is not a length of time or longer
/// than 292 years.
#[must_use]
pub fn duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total: u64 = 0;
    loop {
        let (amount, after) = one_amount(rest)?;
        total = total.checked_add(amount)?;
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    let total = i64::try_from(total).ok()?;
    Some(if negative { -total } else { total })
}

/// The first number and its unit in nanoseconds, and what follows.
fn one_amount(text: &str) -> Option<(u64, &str)> {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let (whole, mut rest) = text.split_at(digits(text));
    let mut fraction = "";
    if let Some(after) = rest.strip_prefix('.') {
        (fraction, rest) = after.split_at(digits(after));
    }
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let unit_end = rest.find(|it: char| it == '.' || it.is_ascii_digit()).unwrap_or(rest.len());
    let (name, after) = rest.split_at(unit_end);
    let unit = match name {
        "w" => WEEK,
        _ => TIME_UNITS.iter().find(|(it, _)| *it == name)?.1,
    };
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut amount = whole.checked_mul(unit)?;
    let mut scale = unit;
    for digit in fraction.bytes() {
        scale /= 10;
        amount = amount.checked_add(u64::from(digit - b'0') * scale)?;
        if scale == 0 {
            break;
        }
    }
    Some((amount, after))
}

/// A length of time as Go prints it: `1h0m0s`, `1.5s`, `250ms`, `0s`.
#[must_use]
pub fn duration_text(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let total = nanoseconds.unsigned_abs();
    if total == 0 {
        return "0s".to_owned();
    }
    if total < SECOND {
        let (unit, name) = match total {
            0..1_000 => (1, "ns"),
            1_000..1_000_000 => (1_000, "µs"),
            _ => (1_000_000, "ms"),
        };
        return format!("{sign}{}{name}", decimal(total, unit));
    }
    let (hours, minutes) = (total / (3_600 * SECOND), total / (60 * SECOND) % 60);
    let seconds = decimal(total % (60 * SECOND), SECOND);
    match (hours, minutes) {
        (0, 0) => format!("{sign}{seconds}s"),
        (0, _) => format!("{sign}{minutes}m{seconds}s"),
        _ => format!("{sign}{hours}h{minutes}m{seconds}s"),
    }
}

/// `amount / unit` as a decimal number; `unit` is a power of ten.
fn decimal(amount: u64, unit: u64) -> String {
    let mut text = (amount / unit).to_string();
    if !amount.is_multiple_of(unit) {
        let places = unit.ilog10() as usize;
        let fraction = format!("{:0places$}", amount % unit);
        text = format!("{text}.{}", fraction.trim_end_matches('0'));
    }
    text
}

/// The bytes in `-1`, `512`, `64m`, `1.5 GiB`; none if it is not a size.
#[must_use]
pub fn bytes(text: &str) -> Option<i64> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let split = text.rfind(|it: char| it.is_ascii_digit() || it == '.' || it == ' ')?;
    let (number, suffix) = (&text[..=split], text[split + 1..].to_ascii_lowercase());
    let number = number.strip_suffix(' ').unwrap_or(number);
    if !number.bytes().all(|it| it.is_ascii_digit() || it == b'.') {
        return None;
    }
    let power = match suffix.as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        "p" | "pb" | "pib" => 5,
        _ => return None,
    };
    let size = number.parse::<f64>().ok()? * 1024_f64.powi(power);
    // Beyond 2^63 the cast would silently stop at the largest integer.
    (size < 9.2e18).then_some(size as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_print_as_in_go() {
        for (text, printed) in [
            ("0", "0s"),
            ("10s", "10s"),
            ("90s", "1m30s"),
            ("1m30s", "1m30s"),
            ("1h", "1h0m0s"),
            ("1.5h", "1h30m0s"),
            ("1d", "24h0m0s"),
            ("1w2d", "216h0m0s"),
            ("250ms", "250ms"),
            ("1500us", "1.5ms"),
            ("40µs", "40µs"),
            ("2562047h47m16s", "2562047h47m16s"),
            ("-1.25s", "-1.25s"),
            ("+3m", "3m0s"),
            (".5s", "500ms"),
            ("1us300ns", "1.3µs"),
        ] {
            assert_eq!(duration(text).map(duration_text).as_deref(), Some(printed), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_duration_is_refused() {
        for text in
            ["", "-", "+", "10", "s", "1x", "1s ", " 1s", "1s2", ".s", "99999999w", "1.2.3s"]
        {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_count_in_powers_of_1024() {
        for (text, size) in [
            ("0", 0),
            ("-1", -1),
            ("32", 32),
            ("32b", 32),
            ("32k", 32 << 10),
            ("32 K", 32 << 10),
            ("32kb", 32 << 10),
            ("32Mb", 32 << 20),
            ("32MiB", 32 << 20),
            ("1.5g", 3 << 29),
            ("1t", 1 << 40),
            ("2P", 2 << 50),
            ("32.", 32),
            (".5k", 512),
        ] {
            assert_eq!(bytes(text), Some(size), "{text}");
        }
        for text in
            ["", "hello", "-32k", "32bb", "32kib2", "32x", "1e3k", ". k", "9999999p", "1 2k"]
        {
            assert_eq!(bytes(text), None, "{text}");
        }
    }
}
