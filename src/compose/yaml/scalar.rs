//! What a plain scalar means: YAML 1.2's core schema with the leftovers of YAML 1.1 that Compose
//! files rely on (`0755` is octal, `1_000` a number, `yes` a string), as go-yaml version 3 reads it.

use super::super::tree::{Scalar, ScalarKind, Value};

/// The value of an unquoted, untagged scalar.
pub(super) fn resolve(text: &str) -> Value {
    match kind(text) {
        Some(kind) => Value::Scalar(Scalar { text: text.into(), kind }),
        None => Value::Null,
    }
}

/// Whether an unquoted, untagged scalar is a string.
pub(super) fn is_text(text: &str) -> bool {
    kind(text) == Some(ScalarKind::String)
}

/// The kind of an unquoted, untagged scalar; null has none.
fn kind(text: &str) -> Option<ScalarKind> {
    let kind = match text.bytes().next()? {
        b'+' | b'-' | b'0'..=b'9' => number(text),
        b'.' => special_float(text).or_else(|| decimal(text)),
        b'n' | b'N' | b'~' if matches!(text, "~" | "null" | "Null" | "NULL") => return None,
        b't' | b'T' | b'f' | b'F' => boolean(text),
        _ => None,
    };
    Some(kind.unwrap_or(ScalarKind::String))
}

/// `true` and `false` in the three spellings of the core schema.
pub(super) fn boolean(text: &str) -> Option<ScalarKind> {
    match text {
        "true" | "True" | "TRUE" => Some(ScalarKind::Bool(true)),
        "false" | "False" | "FALSE" => Some(ScalarKind::Bool(false)),
        _ => None,
    }
}

/// An integer in any of YAML's bases, or a decimal number.
pub(super) fn number(text: &str) -> Option<ScalarKind> {
    if let Some(special) = special_float(text) {
        return Some(special);
    }
    let plain = text.replace('_', "");
    match integer(&plain) {
        Some(wide) => Some(match i64::try_from(wide) {
            Ok(number) => ScalarKind::Int(number),
            // Past 64 bits with sign the exact digits stay in the scalar's text.
            Err(_) => ScalarKind::Float(plain.parse().unwrap_or(f64::INFINITY)),
        }),
        None => decimal(&plain),
    }
}

/// Whether a text without quotes is read as that very string, by this reader and by those of YAML
/// 1.1, for which `yes`, `1:30` and `2001-01-01` are none.
pub(super) fn is_string(text: &str) -> bool {
    is_text(text) && !matches!(text, "<<" | "=") && !is_old_boolean(text) && !is_old_number(text)
}

fn is_old_boolean(text: &str) -> bool {
    matches!(text.to_ascii_lowercase().as_str(), "y" | "yes" | "on" | "n" | "no" | "off")
}

/// A sexagesimal number or a date.
fn is_old_number(text: &str) -> bool {
    let digits = |it: &str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit());
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let mut parts = unsigned.split(':');
    let first = parts.next().unwrap_or_default().replace('_', "");
    let small = |it: &str| {
        let whole = it.split('.').next().unwrap_or_default();
        digits(whole) && (whole.len() == 1 || whole.len() == 2 && whole < "60")
    };
    let sexagesimal = unsigned.contains(':') && digits(&first) && parts.all(small);
    let mut date = text.splitn(3, '-');
    let mut part = |length: std::ops::RangeInclusive<usize>| {
        date.next().is_some_and(|it| {
            let number = it.split(['T', 't', ' ']).next().unwrap_or_default();
            digits(number) && length.contains(&number.len())
        })
    };
    sexagesimal || (part(4..=4) && part(1..=2) && part(1..=2))
}

fn integer(plain: &str) -> Option<i128> {
    let (sign, digits) = match plain.as_bytes().first()? {
        b'-' => (-1, &plain[1..]),
        b'+' => (1, &plain[1..]),
        _ => (1, plain),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if !digits.bytes().all(|it| it.is_ascii_alphanumeric()) {
        return None;
    }
    let magnitude = i128::from(u64::from_str_radix(digits, radix).ok()?);
    let fits = sign == 1 || magnitude <= -i128::from(i64::MIN);
    fits.then_some(sign * magnitude)
}

fn decimal(plain: &str) -> Option<ScalarKind> {
    let unsigned = plain.strip_prefix(['-', '+']).unwrap_or(plain);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let digits = |it: &str| it.bytes().all(|it| it.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let number = digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty());
    let exponent = exponent.is_none_or(|it| {
        let it = it.strip_prefix(['-', '+']).unwrap_or(it);
        !it.is_empty() && digits(it)
    });
    if !number || !exponent {
        return None;
    }
    plain.parse().ok().filter(|it: &f64| it.is_finite()).map(ScalarKind::Float)
}

fn special_float(text: &str) -> Option<ScalarKind> {
    let (sign, name) = match text.as_bytes().first()? {
        b'-' => (-1.0, &text[1..]),
        b'+' => (1.0, &text[1..]),
        _ => (1.0, text),
    };
    match name {
        ".inf" | ".Inf" | ".INF" => Some(ScalarKind::Float(sign * f64::INFINITY)),
        ".nan" | ".NaN" | ".NAN" if name.len() == text.len() => Some(ScalarKind::Float(f64::NAN)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(text: &str) -> Option<ScalarKind> {
        match resolve(text) {
            Value::Scalar(scalar) => Some(scalar.kind),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    #[test]
    fn integers_come_in_every_base_that_yaml_ever_had() {
        for (text, number) in [
            ("0", 0),
            ("12", 12),
            ("+12", 12),
            ("-7", -7),
            ("0755", 493),
            ("0o755", 493),
            ("0x1F", 31),
            ("-0x10", -16),
            ("0b101", 5),
            ("1_000", 1000),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
        ] {
            assert_eq!(kind(text), Some(ScalarKind::Int(number)), "{text}");
        }
    }

    #[test]
    fn decimals_are_numbers_and_what_merely_looks_like_one_is_text() {
        for (text, number) in [("1.5", 1.5), (".5", 0.5), ("1.", 1.0), ("1e3", 1000.0), ("08", 8.0)]
        {
            assert_eq!(kind(text), Some(ScalarKind::Float(number)), "{text}");
        }
        for text in
            ["1.2.3", "0xZZ", "1e", "-", "+", ".", "1:2", "1e400", "--1", "0x", "yes", "off", "y"]
        {
            assert_eq!(kind(text), Some(ScalarKind::String), "{text}");
        }
        assert_eq!(kind("18446744073709551615"), Some(ScalarKind::Float(18446744073709551615.0)));
        assert_eq!(kind("-.inf"), Some(ScalarKind::Float(f64::NEG_INFINITY)));
    }

    #[test]
    fn nulls_and_booleans_have_three_spellings() {
        for text in ["", "~", "null", "Null", "NULL"] {
            assert_eq!(resolve(text), Value::Null, "{text}");
        }
        assert_eq!(kind("True"), Some(ScalarKind::Bool(true)));
        assert_eq!(kind("FALSE"), Some(ScalarKind::Bool(false)));
        assert_eq!(kind("nUll"), Some(ScalarKind::String));
    }
}
