//! A command line split into words, as docker compose splits `command: echo "hello world"`.
//!
//! After go-shellwords: quotes and backslashes as in a shell, no variables, and nothing behind an
//! unquoted operator, because no shell runs it.

/// The words of a line, and the part that an operator such as `;` or `|` cut off.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Words {
    pub(super) words: Vec<String>,
    pub(super) cut: Option<String>,
}

/// Splits a line; none if a quote or a parenthesis is left open.
pub(super) fn split(line: &str) -> Option<Words> {
    let mut split = Split::default();
    for (start, letter) in line.char_indices() {
        match split.take(letter) {
            Step::Next => {}
            Step::Stop => return split.finish(Some(line[start..].to_owned())),
            Step::Broken => return None,
        }
    }
    split.finish(None)
}

enum Step {
    Next,
    Stop,
    Broken,
}

#[derive(Default)]
struct Split {
    words: Vec<String>,
    word: String,
    begun: bool,
    escaped: bool,
    quote: Option<char>,
    backquoted: bool,
    substituted: bool,
}

impl Split {
    fn take(&mut self, letter: char) -> Step {
        if self.escaped {
            self.escaped = false;
            self.push(match letter {
                't' => '\t',
                'n' => '\n',
                other => other,
            });
            return Step::Next;
        }
        match letter {
            '\\' if self.quote != Some('\'') => self.escaped = true,
            ' ' | '\t' | '\r' | '\n' => self.space(letter),
            '"' | '\'' if !self.substituted && self.quote.is_none_or(|it| it == letter) => {
                self.begun |= self.quote.is_some();
                self.quote = if self.quote.is_some() { None } else { Some(letter) };
            }
            '`' if self.quote.is_none() && !self.substituted => {
                self.backquoted = !self.backquoted;
                self.push(letter);
            }
            '(' if self.quote.is_none() && !self.backquoted => {
                if self.substituted || !self.word.ends_with('$') {
                    return Step::Broken;
                }
                self.substituted = true;
                self.push(letter);
            }
            ')' if self.quote.is_none() && !self.backquoted => {
                self.substituted = !self.substituted;
                self.push(letter);
            }
            ';' | '&' | '|' | '<' | '>' if self.is_bare() => {
                // `2>file`: the digit belongs to the operator.
                let redirects =
                    letter == '>' && self.word.starts_with(|it: char| it.is_ascii_digit());
                self.begun &= !redirects;
                return Step::Stop;
            }
            other => self.push(other),
        }
        Step::Next
    }

    fn is_bare(&self) -> bool {
        self.quote.is_none() && !self.backquoted && !self.substituted
    }

    fn push(&mut self, letter: char) {
        self.word.push(letter);
        self.begun = true;
    }

    fn space(&mut self, letter: char) {
        if !self.is_bare() {
            self.word.push(letter);
        } else if self.begun {
            self.words.push(std::mem::take(&mut self.word));
            self.begun = false;
        }
    }

    fn finish(mut self, cut: Option<String>) -> Option<Words> {
        if self.escaped || !self.is_bare() {
            return None;
        }
        if self.begun {
            self.words.push(self.word);
        }
        Some(Words { words: std::mem::take(&mut self.words), cut })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_split_as_a_shell_would() {
        for (line, words) in [
            ("", vec![]),
            ("  ", vec![]),
            ("bundle exec thin -p 3000", vec!["bundle", "exec", "thin", "-p", "3000"]),
            ("echo \"hello world\"", vec!["echo", "hello world"]),
            ("echo 'a \"b\"' c", vec!["echo", "a \"b\"", "c"]),
            ("echo \"it's\"", vec!["echo", "it's"]),
            ("a\\ b c", vec!["a b", "c"]),
            ("''", vec![""]),
            ("a '' b", vec!["a", "", "b"]),
            ("--x=\"a b\"c", vec!["--x=a bc"]),
            ("'a\\n'", vec!["a\\n"]),
            ("a\\nb", vec!["a\nb"]),
            ("echo $(date +%s)", vec!["echo", "$(date +%s)"]),
            ("echo `date now`", vec!["echo", "`date now`"]),
            ("sh -c 'a; b | c'", vec!["sh", "-c", "a; b | c"]),
            ("héé ß", vec!["héé", "ß"]),
        ] {
            assert_eq!(
                split(line).map(|it| it.words),
                Some(words.iter().map(|it| (*it).to_owned()).collect()),
                "{line}"
            );
        }
    }

    #[test]
    fn an_operator_ends_the_line_and_the_rest_is_told() {
        let cut = |line: &str| split(line).map(|it| (it.words.join("+"), it.cut)).unwrap();
        assert_eq!(cut("a b; c"), ("a+b".to_owned(), Some("; c".to_owned())));
        assert_eq!(cut("a && b"), ("a".to_owned(), Some("&& b".to_owned())));
        assert_eq!(cut("a 2>x"), ("a".to_owned(), Some(">x".to_owned())));
    }

    #[test]
    fn what_is_left_open_is_refused() {
        for line in ["echo \"a", "echo 'a", "a\\", "a (b)", "a)", "$(a", "`a"] {
            assert_eq!(split(line), None, "{line}");
        }
    }
}
