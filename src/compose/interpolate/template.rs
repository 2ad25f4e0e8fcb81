//! `$VAR`, `${VAR}` and the operators `:-` `-` `:+` `+` `:?` `?` inside one text.
//!
//! Follows the interpolation chapter of the Compose specification and, where that is silent, what
//! `docker compose` does: an operand ends at the brace that balances, and has to end on its line.

use std::fmt::Write as _;

/// How deep operands may hold further operands.
pub const NESTING_MAX: usize = 64;

/// How long one text may become.
pub const RESULT_BYTES_MAX: usize = 4 << 20;

/// Why a text cannot be interpolated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// It is not written as it should be.
    #[error(
        "invalid interpolation format: \"{}\"; write $VAR, ${{VAR}} or ${{VAR:-default}}, and $$ \
         for a $ that stays", excerpt(.0)
    )]
    Invalid(String),
    /// `:?` or `?` asked for a value.
    #[error("required variable {name} is missing a value{}; set it", because(.reason))]
    Required {
        /// The variable.
        name: String,
        /// What the file says about it.
        reason: String,
    },
    /// Operands are nested past [`NESTING_MAX`].
    #[error("operands nest deeper than {NESTING_MAX} levels; simplify the expression")]
    Deep,
    /// The result is past [`RESULT_BYTES_MAX`].
    #[error("the text would become longer than {RESULT_BYTES_MAX} bytes; shorten it")]
    Long,
}

fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

/// Enough of a text to recognise it.
fn excerpt(text: &str) -> String {
    const SHOWN_CHARS: usize = 200;
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.into(),
    }
}

/// Where values come from, and who hears of a variable that has none.
pub trait Variables {
    /// The value of a variable, if it is set.
    fn get(&self, name: &str) -> Option<String>;
    /// Notes that a variable is not set and nothing says what to use instead.
    fn missing(&mut self, name: &str);
}

/// Replaces every variable in a text.
pub fn substitute(text: &str, variables: &mut dyn Variables) -> Result<String, TemplateError> {
    let mut result = String::with_capacity(text.len());
    expand(text, variables, &mut result, 0)?;
    Ok(result)
}

/// A place in a text where something is to be replaced.
#[derive(Debug, PartialEq)]
pub(super) enum Part<'a> {
    /// Text that stays.
    Text(&'a str),
    /// `$$`.
    Dollar,
    /// `$name` or `${name}`.
    Plain(&'a str),
    /// `${name` operator operand `}`.
    Operator(&'a str, Operator, &'a str),
    /// `${` that nothing of the above follows.
    Invalid,
}

/// What to do about a variable's absence or presence. With `or_empty`, a variable that is set to
/// nothing counts as absent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Operator {
    Default { or_empty: bool },
    Alternative { or_empty: bool },
    Required { or_empty: bool },
}

fn expand(
    text: &str,
    variables: &mut dyn Variables,
    result: &mut String,
    depth: usize,
) -> Result<(), TemplateError> {
    if depth > NESTING_MAX {
        return Err(TemplateError::Deep);
    }
    for part in Parts::new(text) {
        match part {
            Part::Text(text) => result.push_str(text),
            Part::Dollar => result.push('$'),
            Part::Plain(name) => match variables.get(name) {
                Some(value) => result.push_str(&value),
                None => variables.missing(name),
            },
            Part::Operator(name, operator, operand) => {
                apply(name, operator, operand, variables, result, depth)?;
            }
            Part::Invalid => return Err(TemplateError::Invalid(text.into())),
        }
        if result.len() > RESULT_BYTES_MAX {
            return Err(TemplateError::Long);
        }
    }
    Ok(())
}

fn apply(
    name: &str,
    operator: Operator,
    operand: &str,
    variables: &mut dyn Variables,
    result: &mut String,
    depth: usize,
) -> Result<(), TemplateError> {
    let value = variables.get(name);
    let (Operator::Default { or_empty }
    | Operator::Alternative { or_empty }
    | Operator::Required { or_empty }) = operator;
    let present = value.as_ref().is_some_and(|it| !or_empty || !it.is_empty());
    match (operator, present) {
        (Operator::Default { .. }, false) | (Operator::Alternative { .. }, true) => {
            expand(operand, variables, result, depth + 1)
        }
        (Operator::Required { .. }, false) => {
            let mut reason = String::new();
            expand(operand, variables, &mut reason, depth + 1)?;
            Err(TemplateError::Required { name: name.into(), reason })
        }
        (Operator::Default { .. } | Operator::Required { .. }, true)
        | (Operator::Alternative { .. }, false) => {
            result.push_str(&value.unwrap_or_default());
            Ok(())
        }
    }
}

/// The parts of a text, from left to right.
pub(super) struct Parts<'a> {
    text: &'a str,
    at: usize,
    /// The last `}` of the line that `at` is on, and where that line ends: an operand may reach
    /// that far. Kept, so that a long line is searched once.
    line: Option<(usize, Option<usize>)>,
}

impl<'a> Parts<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0, line: None }
    }

    fn last_brace_of_line(&mut self, from: usize) -> Option<usize> {
        let (_, brace) = match self.line {
            Some(line) if from < line.0 => line,
            _ => {
                let rest = &self.text[from..];
                let end = rest.find('\n').unwrap_or(rest.len());
                let line = (from + end, rest[..end].rfind('}').map(|it| from + it));
                *self.line.insert(line)
            }
        };
        brace.filter(|it| *it >= from)
    }

    /// What follows `${`; moves past it.
    fn braced(&mut self) -> Part<'a> {
        let name_at = self.at + 2;
        let name = name(&self.text[name_at..]);
        let after = name_at + name.len();
        let rest = &self.text[after..];
        if name.is_empty() {
            return self.invalid();
        }
        if rest.starts_with('}') {
            self.at = after + 1;
            return Part::Plain(name);
        }
        let or_empty = rest.starts_with(':');
        let operator = match rest.as_bytes().get(usize::from(or_empty)) {
            Some(b'-') => Operator::Default { or_empty },
            Some(b'+') => Operator::Alternative { or_empty },
            Some(b'?') => Operator::Required { or_empty },
            _ => return self.invalid(),
        };
        let operand_at = after + 1 + usize::from(or_empty);
        let Some(last) = self.last_brace_of_line(operand_at) else { return self.invalid() };
        let end = self.at
            + 1
            + balancing_brace(&self.text[self.at + 1..=last]).unwrap_or(last - self.at - 1);
        self.at = end + 1;
        Part::Operator(name, operator, &self.text[operand_at..end])
    }

    fn invalid(&mut self) -> Part<'a> {
        self.at += 2;
        Part::Invalid
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        let rest = &self.text[self.at..];
        if rest.is_empty() {
            return None;
        }
        let bytes = rest.as_bytes();
        if bytes[0] != b'$' {
            let end = rest.find('$').unwrap_or(rest.len());
            self.at += end;
            return Some(Part::Text(&rest[..end]));
        }
        match bytes.get(1) {
            Some(b'$') => {
                self.at += 2;
                Some(Part::Dollar)
            }
            Some(b'{') => Some(self.braced()),
            _ => {
                let name = name(&rest[1..]);
                self.at += 1 + name.len();
                // A dollar that begins nothing stays as it is.
                Some(if name.is_empty() { Part::Text("$") } else { Part::Plain(name) })
            }
        }
    }
}

/// The name that a text begins with, perhaps empty.
fn name(text: &str) -> &str {
    if text.starts_with(|it: char| it.is_ascii_digit()) {
        return "";
    }
    let end = text.find(|it: char| it != '_' && !it.is_ascii_alphanumeric());
    &text[..end.unwrap_or(text.len())]
}

/// In a text that begins with `{`: where the brace that closes it is, if they balance. As in
/// `docker compose`, what directly follows an opening brace is not looked at.
fn balancing_brace(text: &str) -> Option<usize> {
    let mut open = 0_usize;
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'{' => {
                open += 1;
                bytes.next();
            }
            b'}' if open <= 1 => return Some(at),
            b'}' => open -= 1,
            _ => {}
        }
    }
    None
}

/// A variable that a text speaks of, as `config --variables` lists it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mention {
    /// The variable.
    pub name: String,
    /// What `:-` or `-` would use.
    pub default: String,
    /// What `:+` or `+` would use.
    pub alternative: String,
    /// Whether `:?` or `?` demands it.
    pub required: bool,
}

/// Every variable that a text speaks of, also in operands.
#[must_use]
pub fn mentions(text: &str) -> Vec<Mention> {
    let mut found = Vec::new();
    collect(text, &mut found, 0);
    found
}

fn collect(text: &str, found: &mut Vec<Mention>, depth: usize) {
    if depth > NESTING_MAX {
        return;
    }
    for part in Parts::new(text) {
        match part {
            Part::Plain(name) => found.push(Mention { name: name.into(), ..Mention::default() }),
            Part::Operator(name, operator, operand) => {
                let mut mention = Mention { name: name.into(), ..Mention::default() };
                match operator {
                    Operator::Default { .. } => mention.default = operand.into(),
                    Operator::Alternative { .. } => mention.alternative = operand.into(),
                    Operator::Required { .. } => mention.required = true,
                }
                let looks_deeper = !mention.required;
                found.push(mention);
                if looks_deeper {
                    collect(operand, found, depth + 1);
                }
            }
            Part::Text(_) | Part::Dollar | Part::Invalid => {}
        }
    }
}

/// Writes every `$` twice, so that reading the text again gives the same.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for (index, part) in text.split('$').enumerate() {
        let _infallible = write!(escaped, "{}{part}", if index == 0 { "" } else { "$$" });
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Default)]
    struct Known(BTreeMap<&'static str, &'static str>, Vec<String>);

    impl Variables for Known {
        fn get(&self, name: &str) -> Option<String> {
            self.0.get(name).map(|it| (*it).into())
        }
        fn missing(&mut self, name: &str) {
            self.1.push(name.into());
        }
    }

    fn known() -> Known {
        Known(BTreeMap::from([("FOO", "first"), ("BAR", ""), ("J", r#"{"j":2}"#)]), Vec::new())
    }

    fn becomes(text: &str) -> String {
        substitute(text, &mut known()).unwrap_or_else(|error| format!("! {error}"))
    }

    #[test]
    fn every_operator_looks_at_presence_or_emptiness() {
        for (text, result) in [
            ("$FOO-bar", "first-bar"),
            ("${FOO}", "first"),
            ("<${MISSING}|$BAR>", "<|>"),
            ("${MISSING:-d}${MISSING-d}", "dd"),
            ("${BAR:-d}|${BAR-d}|${FOO:-d}", "d||first"),
            ("${MISSING:+p}|${MISSING+p}|${BAR:+p}|${BAR+p}|${FOO:+p}", "|||p|p"),
            ("${FOO:?why}${BAR?why}", "first"),
            ("${BAR:-/a:-b}", "/a:-b"),
            ("?ok ${BAR:-d} :+", "?ok d :+"),
        ] {
            assert_eq!(becomes(text), result, "{text}");
        }
    }

    #[test]
    fn operands_nest_and_braces_balance() {
        for (text, result) in [
            ("${MISSING-$FOO}", "first"),
            ("${MISSING:-${BAR:-${FOO}}}!", "first!"),
            ("${BAR:-${FOO} ${FOO}} ${FOO}", "first first first"),
            ("${BAR+$FOO ${FOO:+second}}", "first second"),
            (r#"${MISSING:-{"a": {"b": 1}}} ${FOO}"#, r#"{"a": {"b": 1}} first"#),
            ("${MISSING:-{}}", "{}"),
            ("${MISSING:-$J}", r#"{"j":2}"#),
        ] {
            assert_eq!(becomes(text), result, "{text}");
        }
    }

    #[test]
    fn dollars_that_begin_nothing_stay() {
        for text in ["a $ string", "^REGEX$", "$}", "$", "$1", "100%", "€", "$é"] {
            assert_eq!(becomes(text), text);
        }
        assert_eq!(becomes("$${FOO} $$FOO $$$FOO"), "${FOO} $FOO $first");
    }

    #[test]
    fn malformed_expressions_are_named() {
        for text in [
            "${",
            "${}",
            "${ }",
            "${ FOO}",
            "${FOO }",
            "${FOO!}",
            "${1}",
            "${FOO:-x",
            "${FOO:-a\nb}",
        ] {
            assert!(becomes(text).starts_with("! invalid interpolation format: \"${"), "{text}");
        }
    }

    #[test]
    fn required_variables_say_why() {
        assert_eq!(
            becomes("${GONE:?ask ${FOO}}"),
            "! required variable GONE is missing a value: ask first; set it"
        );
        assert_eq!(becomes("${GONE?}"), "! required variable GONE is missing a value; set it");
        assert!(becomes("${BAR:?no}").starts_with("! required variable BAR"));
    }

    #[test]
    fn only_variables_that_are_used_are_missed() {
        let mut variables = known();
        substitute("${A:+${A}}${FOO?${B}}${C:-${D}}$E", &mut variables).unwrap();
        assert_eq!(variables.1, ["D", "E"]);
    }

    #[test]
    fn hostile_text_is_bounded() {
        const MIB: usize = 1 << 20;
        assert_eq!(
            substitute(&"${A:-".repeat(MIB / 5), &mut known())
                .map_err(|it| matches!(it, TemplateError::Invalid(_))),
            Err(true)
        );
        let nested = "${A:-".repeat(1000) + &"}".repeat(1000);
        assert_eq!(substitute(&nested, &mut known()), Err(TemplateError::Deep));
        assert_eq!(becomes(&"${A:-}".repeat(MIB / 6)), "");
        let mut long = Known(BTreeMap::from([("L", &*"x".repeat(MIB).leak())]), Vec::new());
        assert_eq!(substitute(&"$L".repeat(100), &mut long), Err(TemplateError::Long));
    }

    #[test]
    fn mentions_list_what_a_text_depends_on() {
        let names: Vec<String> =
            mentions("$A ${B:-${C}} ${D:?x} $$E").into_iter().map(|it| it.name).collect();
        assert_eq!(names, ["A", "B", "C", "D"]);
        assert_eq!(escape("a$b$$"), "a$$b$$$$");
    }
}
