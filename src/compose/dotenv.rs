//! `.env` files and those under `env_file`: names and values, quotes, expansion.
//!
//! Reads the dialect that `docker compose` reads: `KEY=value`, `KEY: value`, `export KEY=value`, and
//! a bare `KEY` that passes the surrounding value on. Single quotes are literal; double quotes know
//! escapes; both may span lines. Everything but single quotes is interpolated.

use std::collections::BTreeSet;

use super::{
    interpolate::{
        Environment,
        template::{self, TemplateError, Variables},
    },
    problem::Problems,
    tree::{Path, Position, SourceId},
};

/// Where a file's own references look before they look at the file itself.
pub type Outer<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Reads a file into `variables`; later lines and later files win. Stops at the first problem,
/// because what follows an open quote means nothing.
pub fn parse(
    bytes: &[u8],
    source: SourceId,
    outer: Outer<'_>,
    variables: &mut Environment,
    missed: &mut BTreeSet<String>,
    problems: &mut Problems,
) {
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let (text, invalid) = match std::str::from_utf8(bytes) {
        Ok(text) => (text, false),
        // Up to the first bad byte: the position of the problem is at its end.
        Err(error) => match std::str::from_utf8(&bytes[..error.valid_up_to()]) {
            Ok(text) => (text, true),
            Err(_) => ("", true),
        },
    };
    let mut file = File { text, at: 0, outer, variables, missed, missing: Vec::new() };
    let outcome = match invalid {
        true => {
            file.at = text.len();
            Err("this is not valid UTF-8; save the file as UTF-8".into())
        }
        false => file.statements(),
    };
    let (at, missing) = (position(source, text, file.at), file.missing);
    for (offset, name) in missing {
        let message = format!("the \"{name}\" variable is not set, a blank string is used; set it");
        problems.warn(position(source, text, offset), Path::default(), message);
    }
    if let Err(message) = outcome {
        problems.error(at, Path::default(), message);
    }
}

/// Reads a file in the `raw` format, that of `docker run --env-file`: every line is a name and what
/// follows the `=` as it stands.
pub fn parse_raw(
    bytes: &[u8],
    outer: Outer<'_>,
    variables: &mut Environment,
) -> Result<(), String> {
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    for (index, line) in bytes.split(|it| *it == b'\n').enumerate() {
        let number = index + 1;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = std::str::from_utf8(line).map_err(|_| format!("line {number}: not UTF-8"))?;
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, value) = match line.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (line, outer(line)),
        };
        if key.is_empty() {
            return Err(format!("line {number}: no variable name in {line:?}; write NAME=value"));
        }
        if key.contains(char::is_whitespace) {
            return Err(format!("line {number}: variable {key:?} contains white space; remove it"));
        }
        if let Some(value) = value {
            variables.insert(key.into(), value);
        }
    }
    Ok(())
}

fn position(source: SourceId, text: &str, offset: usize) -> Position {
    let before = &text[..offset];
    let line = before.bytes().filter(|it| *it == b'\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |it| it.chars().count()) + 1;
    let narrow = |it: usize| u32::try_from(it).unwrap_or(u32::MAX);
    Position { source, line: narrow(line), column: narrow(column) }
}

/// White space within a line.
fn is_blank(it: char) -> bool {
    it != '\n' && it.is_whitespace()
}

struct File<'a> {
    text: &'a str,
    at: usize,
    outer: Outer<'a>,
    variables: &'a mut Environment,
    missed: &'a mut BTreeSet<String>,
    missing: Vec<(usize, String)>,
}

impl<'a> File<'a> {
    fn statements(&mut self) -> Result<(), String> {
        while self.find_statement() {
            let (key, has_value) = self.key()?;
            if !has_value {
                if let Some(value) = (self.outer)(key) {
                    self.variables.insert(key.into(), value);
                }
                continue;
            }
            let value = self.value()?;
            self.variables.insert(key.into(), value);
        }
        Ok(())
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip(&mut self, while_: impl Fn(char) -> bool) {
        let rest = self.rest();
        self.at += rest.find(|it| !while_(it)).unwrap_or(rest.len());
    }

    /// Moves past blank lines and comments; false at the end.
    fn find_statement(&mut self) -> bool {
        loop {
            self.skip(char::is_whitespace);
            if !self.rest().starts_with('#') {
                return !self.rest().is_empty();
            }
            self.skip(|it| it != '\n');
        }
    }

    /// A name, and whether a value follows it.
    fn key(&mut self) -> Result<(&'a str, bool), String> {
        if let Some(rest) = self.rest().strip_prefix("export")
            && rest.starts_with(char::is_whitespace)
        {
            self.at += "export".len();
            self.skip(is_blank);
        }
        let rest = self.rest();
        let end = rest.find(['=', ':', '\n']).unwrap_or(rest.len());
        let (key, has_value) =
            (rest[..end].trim_end(), !rest[end..].is_empty() && !rest[end..].starts_with('\n'));
        let allowed = |it: char| it.is_alphanumeric() || is_blank(it) || "_.-[]".contains(it);
        if let Some((offset, bad)) = key.char_indices().find(|it| !allowed(it.1)) {
            self.at += offset;
            let line = rest.lines().next().unwrap_or_default();
            return Err(format!(
                "unexpected character \"{bad}\" in variable name \"{line}\"; names are letters, \
                 digits and _.-[]"
            ));
        }
        if key.contains(is_blank) {
            return Err(format!("variable name \"{key}\" cannot contain a space; remove it"));
        }
        if key.is_empty() {
            return Err("a value without a name; write NAME=value".into());
        }
        self.at += end + usize::from(has_value);
        if has_value {
            self.skip(is_blank);
        }
        Ok((key, has_value))
    }

    fn value(&mut self) -> Result<String, String> {
        match self.rest().chars().next() {
            Some(quote @ ('"' | '\'')) => self.quoted(quote),
            _ => {
                let start = self.at;
                let line = self.rest().split('\n').next().unwrap_or_default();
                let value = line.split(" #").next().unwrap_or_default().trim_end();
                let value = self.expand(value, start)?;
                self.at += line.len();
                Ok(value)
            }
        }
    }

    fn quoted(&mut self, quote: char) -> Result<String, String> {
        let inside = &self.rest()[1..];
        let mut raw = String::new();
        let mut chars = inside.char_indices();
        while let Some((offset, it)) = chars.next() {
            if it == quote {
                let value = match quote {
                    '"' => self.expand(&unescape(&raw), self.at)?,
                    _ => raw,
                };
                self.at += 1 + offset + 1;
                return Ok(value);
            }
            raw.push(it);
            if it != '\\' {
                continue;
            }
            // What a backslash precedes does not end the text; only before a quote does it vanish.
            if let Some((_, next)) = chars.next() {
                if next == quote {
                    raw.pop();
                }
                raw.push(next);
            }
        }
        let line = self.rest().lines().next().unwrap_or_default();
        Err(format!("unterminated quoted value {line}; close it with {quote}"))
    }

    fn expand(&mut self, value: &str, offset: usize) -> Result<String, String> {
        let mut lookup =
            Lookup { outer: self.outer, variables: self.variables, missing: Vec::new() };
        let expanded = template::substitute(value, &mut lookup);
        for name in lookup.missing {
            if self.missed.insert(name.clone()) {
                self.missing.push((offset, name));
            }
        }
        expanded.map_err(|error: TemplateError| error.to_string())
    }
}

struct Lookup<'a> {
    outer: Outer<'a>,
    variables: &'a Environment,
    missing: Vec<String>,
}

impl Variables for Lookup<'_> {
    fn get(&self, name: &str) -> Option<String> {
        (self.outer)(name).or_else(|| self.variables.get(name).cloned())
    }

    fn missing(&mut self, name: &str) {
        self.missing.push(name.into());
    }
}

/// Resolves the escapes of double quotes. `\$` becomes `$$`, which interpolation makes a `$`;
/// unknown escapes stay as they are.
fn unescape(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        result.push_str(before);
        let simple = match after.bytes().next() {
            Some(b'a') => Some("\u{7}"),
            Some(b'b') => Some("\u{8}"),
            Some(b'f') => Some("\u{c}"),
            Some(b'n') => Some("\n"),
            Some(b'r') => Some("\r"),
            Some(b't') => Some("\t"),
            Some(b'v') => Some("\u{b}"),
            Some(b'$') => Some("$$"),
            Some(b'"') => Some("\""),
            Some(b'\\') => Some("\\"),
            _ => None,
        };
        if let Some(simple) = simple {
            result.push_str(simple);
            rest = &after[1..];
        } else if let Some(it) = after.get(..4).and_then(octal) {
            result.push(it);
            rest = &after[4..];
        } else {
            result.push('\\');
            rest = after;
        }
    }
    result + rest
}

/// `0` and three octal digits.
fn octal(digits: &str) -> Option<char> {
    let value = digits.strip_prefix('0')?;
    let octal = value.bytes().all(|it| matches!(it, b'0'..=b'7'));
    u8::from_str_radix(value, 8).ok().filter(|_| octal).map(char::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Environment, Problems) {
        let mut problems = Problems::default();
        let source = problems.source(".env");
        let mut variables = Environment::new();
        let outer = |name: &str| (name == "OUTER").then(|| "outside".to_owned());
        let missed = &mut BTreeSet::new();
        parse(text.as_bytes(), source, &outer, &mut variables, missed, &mut problems);
        (variables, problems)
    }

    fn value(text: &str) -> String {
        let (mut variables, problems) = read(text);
        assert!(!problems.has_errors(), "{text}: {problems}");
        variables.remove("A").unwrap_or_else(|| format!("no A in {variables:?}"))
    }

    #[test]
    fn values_are_trimmed_quoted_or_commented() {
        for (text, expected) in [
            ("A=b", "b"),
            ("A= b c  \n", "b c"),
            ("A: b", "b"),
            ("export A=b", "b"),
            ("  A  =  b # comment", "b"),
            ("A=b#c", "b#c"),
            ("A=#b", "#b"),
            ("A=", ""),
            ("A=\nB=x", ""),
            ("A='b # c'", "b # c"),
            ("A='$B \\n'", "$B \\n"),
            ("A='it\\'s'", "it's"),
            ("A=\"b\\tc\\\"d\\$e\"", "b\tc\"d$e"),
            ("A=\"b\nc\" # x", "b\nc"),
            ("A=\"\\0101\\q\"", "A\\q"),
            ("\u{feff}# first\r\nA=b\r\n", "b"),
            ("A=b=c", "b=c"),
            ("A=\"{\\\"k\\\": 1}\"", "{\"k\": 1}"),
            ("A=1\nA=2", "2"),
        ] {
            assert_eq!(value(text), expected, "{text}");
        }
    }

    #[test]
    fn values_refer_to_the_outside_and_then_to_earlier_lines() {
        assert_eq!(value("B=1\nA=${B}-$OUTER"), "1-outside");
        assert_eq!(value("OUTER=inside\nA=$OUTER"), "outside");
        assert_eq!(value("A=\"${NONE:-d}\""), "d");
        assert_eq!(value("A=$$B"), "$B");
    }

    #[test]
    fn a_bare_name_passes_the_outside_value_on() {
        assert_eq!(read("OUTER\nGONE\nexport OUTER\n").0.len(), 1);
        assert_eq!(read("OUTER").0["OUTER"], "outside");
    }

    #[test]
    fn problems_name_the_line() {
        for (text, start) in [
            ("A=1\nB%=2", ".env:2:2: unexpected character \"%\""),
            ("A=1\nB C=2", ".env:2:1: variable name \"B C\" cannot contain a space"),
            ("\nA='x\ny", ".env:2:3: unterminated quoted value 'x"),
            ("A=${B", ".env:1:3: invalid interpolation format"),
            ("A=${B:?no}", ".env:1:3: required variable B is missing a value: no"),
            ("=1", ".env:1:1: a value without a name"),
        ] {
            let text = read(text).1.to_string();
            assert!(text.starts_with(start), "{text}");
        }
        let (_, problems) = read("A=$GONE\nB=$GONE\n");
        assert!(!problems.has_errors());
        assert_eq!(problems.to_string().matches("GONE").count(), 1);
    }
}
