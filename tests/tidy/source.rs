//! As much of Rust's grammar as the house rules need: which paths a file names, and on which line.
//!
//! Comments and literals are blanked first; then every path is spelled out, so that
//! `use std::{fs, io}` names `std::fs` and `std::io` (The Rust Reference, "Use declarations").

use std::{
    fmt,
    path::{Path, PathBuf},
};

/// A file and what it names.
pub(crate) struct Source {
    pub(crate) file: PathBuf,
    pub(crate) text: String,
    pub(crate) named: Vec<Named>,
    /// The last line before the file's own tests.
    pub(crate) code_ends: usize,
    code: String,
}

/// A path that a file names, spelled out, and its line. A macro's name ends in `!`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) line: usize,
    pub(crate) path: Vec<String>,
}

impl Source {
    pub(crate) fn read(file: &Path, text: String) -> Self {
        let is_rust = file.extension() == Some("rs".as_ref());
        let code = if is_rust { blank(&text) } else { String::new() };
        let tests = code.find("#[cfg(test)]\nmod ").unwrap_or(code.len());
        Self {
            file: file.to_owned(),
            named: named(&code),
            code_ends: code[..tests].lines().count(),
            text,
            code,
        }
    }

    /// The folder or file of `src/` that it belongs to; none for the two roots.
    pub(crate) fn room(&self) -> Option<&str> {
        let first = self.file.strip_prefix("src").ok()?.iter().next()?.to_str()?;
        let room = first.strip_suffix(".rs").unwrap_or(first);
        (room != "lib" && room != "main").then_some(room)
    }

    /// How many modules deep it is: 1 for `src/api/mod.rs`, 2 for `src/api/app.rs`.
    pub(crate) fn depth(&self) -> usize {
        let names = self.file.components().count() - 1;
        if self.file.ends_with("mod.rs") { names - 1 } else { names }
    }

    pub(crate) fn is_test(&self) -> bool {
        self.file.ends_with("tests.rs") || self.file.iter().any(|it| it == "tests")
    }

    pub(crate) fn code_lines(&self) -> usize {
        self.code.lines().take(self.code_ends).filter(|it| !it.trim().is_empty()).count()
    }
}

impl Named {
    /// The path from the crate's root, if it is one of the crate's own in a file so many modules deep.
    pub(crate) fn under_crate(&self, depth: usize) -> Option<&[String]> {
        if self.path.first()? == "crate" {
            return Some(&self.path[1..]);
        }
        let climbs = self.path.iter().take_while(|it| *it == "super").count();
        let rest = (0 < climbs && depth <= climbs).then(|| &self.path[climbs..])?;
        rest.first().is_some_and(|it| it != "*").then_some(rest)
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path.join("::"))
    }
}

/// The text with comments and the insides of literals gone, line by line as it was.
fn blank(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |it| it + 2)
        } else if c == '"' {
            quoted(rest)
        } else if rest.starts_with("r#") || rest.starts_with("r\"") {
            raw(rest, code.chars().next_back())
        } else if c == '\'' {
            character(rest)
        } else {
            0
        };
        if skipped == 0 {
            code.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            code.extend(rest[..skipped].chars().filter(|it| *it == '\n'));
            rest = &rest[skipped..];
        }
    }
    code
}

/// The length of the string literal that `rest` begins with.
fn quoted(rest: &str) -> usize {
    let mut escaped = false;
    let closes = |c: char| {
        let closes = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        closes
    };
    rest[1..].find(closes).map_or(rest.len(), |it| it + 2)
}

/// The length of the raw string that `rest` begins with; 0 if it is a name that ends in `r`.
fn raw(rest: &str, before: Option<char>) -> usize {
    let hashes = rest[1..].chars().take_while(|it| *it == '#').count();
    let in_a_name = before.is_some_and(|it| it != 'b' && (it.is_alphanumeric() || it == '_'));
    if in_a_name || !rest[1 + hashes..].starts_with('"') {
        return 0;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let body = 2 + hashes;
    rest[body..].find(&end).map_or(rest.len(), |it| body + it + end.len())
}

/// The length of the character literal that `rest` begins with; 0 if it is a lifetime.
fn character(rest: &str) -> usize {
    let mut inside = rest[1..].chars();
    match (inside.next(), inside.next()) {
        (Some('\\'), Some(c)) => {
            let body = 2 + c.len_utf8();
            rest[body..].find('\'').map_or(0, |it| it + body + 1)
        }
        (Some(c), Some('\'')) => c.len_utf8() + 2,
        _ => 0,
    }
}

/// Every path in blanked code.
fn named(code: &str) -> Vec<Named> {
    let tokens = tokens(code);
    let mut found = vec![];
    let mut at = 0;
    while at < tokens.len() {
        let goes_on = 0 < at && tokens[at - 1].1 == "::" && 1 < at && ends_a_path(tokens[at - 2].1);
        if is_word(tokens[at].1) && !goes_on {
            at = spell_out(&tokens, at, &mut vec![], &mut found);
        } else {
            at += 1;
        }
    }
    found
}

/// Spells out the path or tree of paths at `at`, and gives where it ends.
fn spell_out(
    tokens: &[(usize, &str)],
    mut at: usize,
    path: &mut Vec<String>,
    found: &mut Vec<Named>,
) -> usize {
    let outer = path.len();
    let mut line = 0;
    while let Some((here, token)) = tokens.get(at).copied() {
        line = here;
        at += 1;
        match token {
            "{" => {
                while tokens.get(at).is_some_and(|it| it.1 != "}") {
                    let is_branch = is_word(tokens[at].1) || tokens[at].1 == "*";
                    at = if is_branch { spell_out(tokens, at, path, found) } else { at + 1 };
                }
                path.truncate(outer);
                return at + 1;
            }
            "self" if !path.is_empty() => {}
            word => path.push(word.to_owned()),
        }
        match tokens.get(at).map(|it| it.1) {
            Some("::")
                if tokens.get(at + 1).is_some_and(|it| is_word(it.1) || "{*".contains(it.1)) =>
            {
                at += 1;
            }
            Some("!") => {
                if let Some(last) = path.last_mut() {
                    last.push('!');
                }
                break;
            }
            Some("as") => {
                at += 2;
                break;
            }
            _ => break,
        }
    }
    found.push(Named { line, path: path.clone() });
    path.truncate(outer);
    at
}

/// Words, `::` and single signs, each with its line.
fn tokens(code: &str) -> Vec<(usize, &str)> {
    let mut found = vec![];
    for (line, text) in (1..).zip(code.lines()) {
        let mut rest = text.trim_start();
        while let Some(c) = rest.chars().next() {
            let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let length = match word {
                0 if rest.starts_with("::") => 2,
                0 => c.len_utf8(),
                length => length,
            };
            found.push((line, &rest[..length]));
            rest = rest[length..].trim_start();
        }
    }
    found
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_') && token != "as"
}

fn ends_a_path(token: &str) -> bool {
    is_word(token) || token == ">"
}
