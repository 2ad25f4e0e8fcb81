//! Scalars in the form that their place asks for.
//!
//! Interpolation makes strings, and people quote numbers, so a string that says what the place
//! asks for is as good as the thing itself. Which strings do follows docker compose.

use super::language::Kind;
use crate::compose::{
    tree::{Scalar, ScalarKind},
    units,
};

/// A scalar as it should be, or what is wrong with it.
pub(super) type Cast = Result<Scalar, String>;

/// A boolean. `yes` and its kind are taken as docker compose takes them, with a warning.
pub(super) fn flag(scalar: &Scalar) -> Result<(Scalar, Option<String>), String> {
    let truth = match (scalar.kind, scalar.text.to_ascii_lowercase().as_str()) {
        (ScalarKind::Bool(truth), _) => return Ok((boolean(truth), None)),
        (ScalarKind::String, "true") => return Ok((boolean(true), None)),
        (ScalarKind::String, "false") => return Ok((boolean(false), None)),
        (ScalarKind::String, "y" | "yes" | "on") => true,
        (ScalarKind::String, "n" | "no" | "off") => false,
        _ => return Err(format!("{:?} is not a boolean; write true or false", scalar.text)),
    };
    let hint = format!("{:?} is not a boolean in YAML 1.2; write {truth}", scalar.text);
    Ok((boolean(truth), Some(hint)))
}

/// An integer between two bounds.
pub(super) fn integer(scalar: &Scalar, min: i64, max: i64) -> Cast {
    let number = match scalar.kind {
        ScalarKind::Int(number) => Some(number),
        ScalarKind::Float(number) => whole(number),
        ScalarKind::String => scalar.text.parse().ok(),
        ScalarKind::Bool(_) => None,
    };
    let number = number.ok_or_else(|| format!("{:?} is not an integer", scalar.text))?;
    if number < min {
        return Err(format!("{number} is too small; it must be at least {min}"));
    }
    if number > max {
        return Err(format!("{number} is too large; it must be at most {max}"));
    }
    Ok(int(number))
}

/// A number.
pub(super) fn number(scalar: &Scalar) -> Cast {
    let number = match scalar.kind {
        ScalarKind::Int(_) => return Ok(scalar.clone()),
        ScalarKind::Float(number) => Some(number),
        ScalarKind::String => scalar.text.parse::<f64>().ok(),
        ScalarKind::Bool(_) => None,
    };
    match number.filter(|it| it.is_finite()) {
        Some(number) => Ok(whole(number).map_or_else(
            || Scalar { text: number.to_string(), kind: ScalarKind::Float(number) },
            int,
        )),
        None => Err(format!("{:?} is not a number", scalar.text)),
    }
}

/// A length of time, as its canonical text.
pub(super) fn duration(scalar: &Scalar) -> Cast {
    match (scalar.kind, units::duration(&scalar.text)) {
        (ScalarKind::String, Some(length)) => Ok(string(units::duration_text(length))),
        _ => Err(format!(
            "{:?} is not a duration; write a number with a unit, such as 1m30s",
            scalar.text
        )),
    }
}

/// A number of bytes, as decimal text.
pub(super) fn bytes(scalar: &Scalar, min: i64) -> Cast {
    let size = match scalar.kind {
        ScalarKind::Int(number) => Some(number),
        ScalarKind::Float(number) => whole(number),
        ScalarKind::String => units::bytes(&scalar.text),
        ScalarKind::Bool(_) => None,
    };
    match size {
        Some(size) if size < min => Err(format!("{size} is too small; it must be at least {min}")),
        Some(size) => Ok(string(size.to_string())),
        None => Err(format!(
            "{:?} is not a size; write bytes as an integer, or such as 512m",
            scalar.text
        )),
    }
}

/// A file mode, as octal text. A bare `0440` was already read as octal by YAML.
pub(super) fn mode(scalar: &Scalar) -> Cast {
    let mode = match scalar.kind {
        ScalarKind::Int(mode) => Some(mode),
        ScalarKind::String => i64::from_str_radix(&scalar.text, 8).ok(),
        ScalarKind::Bool(_) | ScalarKind::Float(_) => None,
    };
    match mode.filter(|it| *it >= 0) {
        Some(mode) => Ok(string(format!("0{mode:o}"))),
        None => {
            Err(format!("{:?} is not a file mode; write it in octal, such as 0440", scalar.text))
        }
    }
}

/// A number of devices; all of them is -1.
pub(super) fn devices(scalar: &Scalar) -> Cast {
    if scalar.kind == ScalarKind::String && scalar.text.eq_ignore_ascii_case("all") {
        return Ok(int(-1));
    }
    integer(scalar, -1, i64::MAX).map_err(|_| {
        format!("{:?} is not a number of devices; write an integer or all", scalar.text)
    })
}

/// A string, made from one of the other kinds that the place takes.
pub(super) fn spoken(scalar: &Scalar, kinds: &[Kind]) -> Option<Scalar> {
    is_spoken(scalar, kinds).then(|| string(print(scalar)))
}

/// Whether a scalar is a string or of one of these kinds.
pub(super) fn is_spoken(scalar: &Scalar, kinds: &[Kind]) -> bool {
    match scalar.kind {
        ScalarKind::String => true,
        ScalarKind::Bool(_) => kinds.contains(&Kind::Bool),
        ScalarKind::Int(_) => kinds.contains(&Kind::Integer) || kinds.contains(&Kind::Number),
        ScalarKind::Float(_) => kinds.contains(&Kind::Number),
    }
}

/// A scalar as docker compose prints it where a string belongs.
fn print(scalar: &Scalar) -> String {
    match scalar.kind {
        ScalarKind::String => scalar.text.clone(),
        ScalarKind::Bool(truth) => truth.to_string(),
        ScalarKind::Int(number) => number.to_string(),
        ScalarKind::Float(number) => print_float(number),
    }
}

/// The shortest digits that read back the same, with an exponent below 1e-4 and from 1e6 on.
fn print_float(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let size = number.abs();
    if size == 0.0 || (1e-4..1e6).contains(&size) {
        return number.to_string();
    }
    let text = format!("{number:e}");
    match text.split_once('e') {
        Some((digits, power)) => {
            let (sign, power) = power.strip_prefix('-').map_or(("+", power), |it| ("-", it));
            format!("{digits}e{sign}{power:0>2}")
        }
        None => text,
    }
}

fn whole(number: f64) -> Option<i64> {
    // Integers up to 2^53 are exact in a float.
    (number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0).then_some(number as i64)
}

fn boolean(truth: bool) -> Scalar {
    Scalar { text: truth.to_string(), kind: ScalarKind::Bool(truth) }
}

fn int(number: i64) -> Scalar {
    Scalar { text: number.to_string(), kind: ScalarKind::Int(number) }
}

fn string(text: String) -> Scalar {
    Scalar { text, kind: ScalarKind::String }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Scalar {
        string(text.to_owned())
    }

    fn float(number: f64) -> Scalar {
        Scalar { text: number.to_string(), kind: ScalarKind::Float(number) }
    }

    #[test]
    fn strings_that_say_a_boolean_are_booleans() {
        for (said, truth) in [("true", true), ("FALSE", false), ("yes", true), ("Off", false)] {
            assert_eq!(flag(&text(said)).unwrap().0.kind, ScalarKind::Bool(truth), "{said}");
        }
        assert!(flag(&text("true")).unwrap().1.is_none());
        assert!(flag(&text("yes")).unwrap().1.unwrap().contains("write true"));
        assert!(flag(&text("maybe")).is_err());
        assert!(flag(&int(1)).is_err());
    }

    #[test]
    fn strings_that_say_a_number_are_numbers() {
        assert_eq!(integer(&text("80"), 0, 100).unwrap(), int(80));
        assert_eq!(integer(&float(3.0), 0, 100).unwrap(), int(3));
        assert!(integer(&text("101"), 0, 100).unwrap_err().contains("at most 100"));
        assert!(integer(&text("-1"), 0, 100).unwrap_err().contains("at least 0"));
        assert!(integer(&text("8o"), 0, 100).is_err());
        assert_eq!(number(&text("0.5")).unwrap().kind, ScalarKind::Float(0.5));
        assert_eq!(number(&text("2.0")).unwrap(), int(2));
        assert!(number(&text("inf")).is_err());
    }

    #[test]
    fn modes_are_octal() {
        assert_eq!(mode(&int(0o440)).unwrap().text, "0440");
        assert_eq!(mode(&text("0440")).unwrap().text, "0440");
        assert_eq!(mode(&text("440")).unwrap().text, "0440");
        assert!(mode(&text("0880")).is_err());
        assert!(mode(&int(-1)).is_err());
    }

    #[test]
    fn device_counts_are_numbers_or_all() {
        assert_eq!(devices(&text("all")).unwrap(), int(-1));
        assert_eq!(devices(&text("2")).unwrap(), int(2));
        assert!(devices(&text("some_string")).unwrap_err().contains("all"));
    }

    #[test]
    fn numbers_print_as_go_prints_them() {
        for (number, printed) in [
            (1.5, "1.5"),
            (1000.0, "1000"),
            (1e21, "1e+21"),
            (1.5e-7, "1.5e-07"),
            (0.0001, "0.0001"),
            (-0.00001, "-1e-05"),
            (1e100, "1e+100"),
        ] {
            assert_eq!(print(&float(number)), printed);
        }
    }
}
