//! Texts that stand for more than text: durations, fixed-point numbers, file modes, signals,
//! addresses.

use std::net::IpAddr;

use crate::{compose::units, model::Millis};

/// A duration. What is shorter than a millisecond, but not nothing, is one.
pub(in crate::compose) fn duration(text: &str) -> Option<Millis> {
    let nanoseconds = u64::try_from(units::duration(text)?).ok()?;
    Some(Millis(nanoseconds.div_ceil(1_000_000)))
}

/// A decimal number as a count of its `decimals`-th decimals, without passing through a float:
/// `fixed("1.5", 9)` is 1,500,000,000. Takes an exponent; drops further decimals.
pub(in crate::compose) fn fixed(text: &str, decimals: u32) -> Option<u64> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: String = [whole, fraction].concat();
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let point = i64::try_from(whole.len()).ok()? + i64::from(exponent) + i64::from(decimals);
    let kept = usize::try_from(point.max(0)).ok()?;
    let digits = digits.trim_start_matches('0');
    let leading = whole.len() + fraction.len() - digits.len();
    let kept = kept.saturating_sub(leading);
    match (digits.is_empty() || kept == 0, kept > 20) {
        (true, _) => Some(0),
        (_, true) => None,
        _ => format!("{digits:0<kept$}")[..kept].parse().ok(),
    }
}

/// A file mode in octal.
pub(in crate::compose) fn octal_mode(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    u32::from_str_radix(digits, 8).ok().filter(|mode| *mode <= 0o7777)
}

/// The signals of Linux by name, in the order of their numbers from one.
const SIGNALS: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// Whether this names a signal: `SIGTERM`, `term`, `15`, `SIGRTMIN+3`.
pub(in crate::compose) fn is_signal(text: &str) -> bool {
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let real_time = |sign: &str, base: &str| {
        name.strip_prefix(base).is_some_and(|rest| {
            let offset = rest.strip_prefix(sign).and_then(|it| it.parse::<u8>().ok());
            rest.is_empty() || offset.is_some_and(|it| it <= 15)
        })
    };
    let number = text.parse::<u8>().is_ok_and(|it| (1..=64).contains(&it));
    number || SIGNALS.contains(&name) || real_time("+", "RTMIN") || real_time("-", "RTMAX")
}

/// An IP address.
pub(in crate::compose) fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

/// Whether this is a network in CIDR form: `10.0.0.0/24`.
pub(in crate::compose) fn is_network(text: &str) -> bool {
    text.split_once('/').is_some_and(|(base, length)| {
        let bits = base.parse().map_or(0, |it: IpAddr| if it.is_ipv4() { 32 } else { 128 });
        bits != 0 && length.parse::<u8>().is_ok_and(|it| it <= bits)
    })
}

/// Whether this is a MAC address: six pairs of hexadecimal digits.
pub(in crate::compose) fn is_mac(text: &str) -> bool {
    let pair = |it: &str| it.len() == 2 && it.bytes().all(|b| b.is_ascii_hexdigit());
    text.split([':', '-']).count() == 6 && text.split([':', '-']).all(pair)
}

/// A port or a range of ports, both ends included: `80`, `8080-8090`.
pub(in crate::compose) fn ports(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let digits = |it: &str| it.bytes().all(|b| b.is_ascii_digit());
    let (first, last) =
        (digits(first).then(|| first.parse().ok())??, digits(last).then(|| last.parse().ok())??);
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_whole_milliseconds_and_never_negative() {
        let cases = [("1m30s", Some(90_000)), ("10us", Some(1)), ("0s", Some(0)), ("-1s", None)];
        for (text, millis) in cases {
            assert_eq!(duration(text), millis.map(Millis), "{text}");
        }
    }

    #[test]
    fn decimal_numbers_keep_every_digit() {
        let cases = [
            ("0.1", Some(100_000_000)),
            ("1.5", Some(1_500_000_000)),
            ("0.0001", Some(100_000)),
            ("1e-5", Some(10_000)),
            ("1.25e1", Some(12_500_000_000)),
            ("2", Some(2_000_000_000)),
            (".5", Some(500_000_000)),
            ("00.5", Some(500_000_000)),
            ("0.12345678999", Some(123_456_789)),
            ("1e-20", Some(0)),
            ("0e99", Some(0)),
            ("0", Some(0)),
            ("1e12", None),
            ("1e2147483647", None),
            ("-1", None),
            ("", None),
            (".", None),
            ("1.2.3", None),
            ("half", None),
        ];
        for (text, nanos) in cases {
            assert_eq!(fixed(text, 9), nanos, "{text}");
        }
        assert_eq!(fixed("0.3", 6), Some(300_000));
    }

    #[test]
    fn modes_are_octal_and_fit_a_file() {
        assert_eq!(octal_mode("0440"), Some(0o440));
        assert_eq!(octal_mode("755"), Some(0o755));
        assert_eq!(octal_mode("0o644"), Some(0o644));
        assert_eq!(octal_mode("0480"), None);
        assert_eq!(octal_mode("77777"), None);
    }

    #[test]
    fn signals_have_names_and_numbers() {
        for signal in ["SIGTERM", "term", "15", "SIGRTMIN", "SIGRTMIN+3", "RTMAX-1"] {
            assert!(is_signal(signal), "{signal}");
        }
        for text in ["SIGTERMINATE", "0", "65", "SIGRTMIN+99", "SIG"] {
            assert!(!is_signal(text), "{text}");
        }
    }

    #[test]
    fn ports_addresses_and_networks_are_told_from_other_texts() {
        assert_eq!(ports("80"), Some((80, 80)));
        assert_eq!(ports("8080-8090"), Some((8080, 8090)));
        for text in ["90-80", "+80", "65536", "80-", "http", ""] {
            assert_eq!(ports(text), None, "{text}");
        }
        assert!(is_network("10.0.0.0/8") && is_network("fd00::/64"));
        assert!(!is_network("10.0.0.0") && !is_network("10.0.0.0/33") && !is_network("x/0"));
        assert!(is_mac("02:42:ac:11:65:43") && !is_mac("02:42:ac:11:65") && !is_mac("g2:42"));
    }
}
