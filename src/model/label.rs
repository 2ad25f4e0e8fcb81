//! What may be a node's label.

/// The longest value.
const VALUE_BYTES_MAX: usize = 256;

/// That a label's key, and its value if one is given, are such.
pub fn check_label(key: &str, value: Option<&str>) -> Result<(), String> {
    let right = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/');
    if key.is_empty() || key.len() > 128 || !key.chars().all(right) {
        return Err(format!(
            "`{key}` can't be a label's key: use 1 to 128 letters, digits, `.`, `-`, `_` and `/`"
        ));
    }
    match value {
        Some(value) if VALUE_BYTES_MAX < value.len() || value.contains(char::is_control) => {
            Err(format!(
                "the value of label `{key}` has more than {VALUE_BYTES_MAX} bytes or is no plain text: \
                 shorten it"
            ))
        }
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_a_short_word_with_a_line_of_text() {
        assert_eq!(check_label("zone", Some("größer, heller")), Ok(()));
        assert_eq!(check_label("a.b/c-d_e", None), Ok(()));
        for (key, value) in [("", None), ("a b", None), ("a", Some("x\ny"))] {
            assert!(check_label(key, value).is_err(), "{key:?} {value:?}");
        }
        assert!(check_label(&"k".repeat(129), None).is_err());
        assert!(check_label("k", Some(&"v".repeat(257))).is_err());
    }
}
