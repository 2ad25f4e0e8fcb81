//! Which files of a build context stay behind: the rules of `.dockerignore` (Docker's build
//! reference, ".dockerignore files").
//!
//! A pattern is matched by moving the set of places in it that are still possible along the path, so
//! that no pattern makes matching slow.

/// The rules of one file, in order; the last one that matches decides.
#[derive(Clone, Debug, Default)]
pub(super) struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    /// `!`: what matches comes along after all.
    keeps: bool,
    /// The beginning without wildcards, to know which directories cannot be skipped.
    literal: String,
    tokens: Vec<Token>,
}

/// A part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// This character.
    Char(char),
    /// `?`: any but the separator.
    One,
    /// `*`: any number of any but the separator.
    Star,
    /// `**` at the end: anything.
    Rest,
    /// `**/`: any number of directories.
    Directories,
    /// `[a-z]`, `[^a-z]`.
    Class { negated: bool, ranges: Vec<(char, char)> },
}

impl Ignore {
    /// Reads the file's text; the message says what is wrong with which line.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut rules = Vec::new();
        for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            if line.starts_with('#') || line.trim().is_empty() {
                continue;
            }
            let rule =
                Rule::parse(line.trim()).map_err(|why| format!("line {}: {why}", index + 1))?;
            rules.extend(rule);
        }
        Ok(Self { rules })
    }

    /// Whether a path (relative, with `/`) stays behind.
    #[must_use]
    pub(super) fn excludes(&self, path: &str) -> bool {
        let mut excluded = false;
        for rule in &self.rules {
            // A rule whose answer would change nothing need not be asked.
            if rule.keeps == excluded && rule.matches_with_parents(path) {
                excluded = !rule.keeps;
            }
        }
        excluded
    }

    /// Whether nothing below an excluded directory can come along, so that it need not be walked.
    #[must_use]
    pub(super) fn can_skip(&self, directory: &str) -> bool {
        let inside = format!("{directory}/");
        !self.rules.iter().any(|rule| {
            rule.keeps && (rule.literal.starts_with(&inside) || inside.starts_with(&rule.literal))
        })
    }
}

impl Rule {
    fn parse(line: &str) -> Result<Option<Self>, String> {
        let (keeps, pattern) = match line.strip_prefix('!') {
            Some(rest) => (true, rest.trim()),
            None => (false, line),
        };
        if keeps && pattern.is_empty() {
            return Err("`!` needs a pattern after it".into());
        }
        let pattern = clean(pattern);
        if pattern.is_empty() {
            return Ok(None);
        }
        let wild = pattern.find(['*', '?', '[', '\\']).unwrap_or(pattern.len());
        let literal = pattern.get(..wild).unwrap_or_default().to_owned();
        Ok(Some(Self { keeps, literal, tokens: tokens(&pattern)? }))
    }

    /// A pattern that matches a directory matches everything in it.
    fn matches_with_parents(&self, path: &str) -> bool {
        let parents = path.match_indices('/').filter_map(|(at, _)| path.get(..at));
        parents.chain([path]).any(|it| self.matches(it))
    }

    fn matches(&self, path: &str) -> bool {
        let mut places = vec![false; self.tokens.len() + 1];
        self.arrive(&mut places, 0);
        for c in path.chars() {
            let mut next = vec![false; places.len()];
            for (at, token) in self.tokens.iter().enumerate().filter(|(at, _)| places[*at]) {
                match token {
                    Token::Star if c != '/' => self.arrive(&mut next, at),
                    Token::Rest => self.arrive(&mut next, at),
                    // Stays in the directories, and may leave them behind a separator.
                    Token::Directories => {
                        next[at] = true;
                        if c == '/' {
                            self.arrive(&mut next, at + 1);
                        }
                    }
                    Token::One if c != '/' => self.arrive(&mut next, at + 1),
                    Token::Char(it) if *it == c => self.arrive(&mut next, at + 1),
                    Token::Class { negated, ranges }
                        if ranges.iter().any(|(low, high)| (*low..=*high).contains(&c))
                            != *negated =>
                    {
                        self.arrive(&mut next, at + 1);
                    }
                    Token::Star | Token::One | Token::Char(_) | Token::Class { .. } => {}
                }
            }
            places = next;
        }
        places.last().copied().unwrap_or_default()
    }

    /// Marks a place, and those behind it that need no character.
    fn arrive(&self, places: &mut [bool], at: usize) {
        places[at] = true;
        if matches!(self.tokens.get(at), Some(Token::Star | Token::Rest)) {
            self.arrive(places, at + 1);
        }
        if matches!(self.tokens.get(at), Some(Token::Directories)) {
            self.arrive(places, at + 1);
        }
    }
}

/// The pattern without `.`, `..`, empty parts, and slashes at its ends, as Go's `filepath.Clean` and
/// the root of the context make it.
fn clean(pattern: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in pattern.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

fn tokens(pattern: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        tokens.push(match c {
            '*' if chars.next_if_eq(&'*').is_some() => {
                chars.next_if_eq(&'/');
                if chars.peek().is_none() { Token::Rest } else { Token::Directories }
            }
            '*' => Token::Star,
            '?' => Token::One,
            '[' => class(&mut chars).ok_or_else(|| format!("`{pattern}` has a `[` without `]`"))?,
            '\\' => Token::Char(
                chars.next().ok_or_else(|| format!("`{pattern}` ends in a lone backslash"))?,
            ),
            c => Token::Char(c),
        });
    }
    Ok(tokens)
}

/// The rest of a class, behind its `[`.
fn class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Token> {
    let negated = chars.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        let low = match chars.next()? {
            ']' if !ranges.is_empty() => return Some(Token::Class { negated, ranges }),
            '\\' => chars.next()?,
            c => c,
        };
        let mut high = low;
        if chars.next_if_eq(&'-').is_some() {
            high = match chars.next()? {
                ']' => {
                    ranges.extend([(low, low), ('-', '-')]);
                    return Some(Token::Class { negated, ranges });
                }
                '\\' => chars.next()?,
                c => c,
            };
        }
        ranges.push((low, high));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excluded<'a>(rules: &str, paths: &[&'a str]) -> Vec<&'a str> {
        let ignore = Ignore::parse(rules).unwrap();
        paths.iter().copied().filter(|path| ignore.excludes(path)).collect()
    }

    #[test]
    fn the_examples_of_dockers_documentation_hold() {
        let paths = [
            "temp",
            "temp/a",
            "somedir/temporary.txt",
            "somedir/temp",
            "somedir/subdir/temporary.txt",
            "tempa",
            "tempb/x",
            "a/tempb",
            "tempab",
        ];
        assert_eq!(
            excluded("# comment\n*/temp*\n*/*/temp*\ntemp?", &paths),
            [
                "somedir/temporary.txt",
                "somedir/temp",
                "somedir/subdir/temporary.txt",
                "tempa",
                "tempb/x",
                "a/tempb",
            ]
        );
        let go = ["main.go", "a/b/c/x.go", "x.god", "a/go"];
        assert_eq!(excluded("**/*.go", &go), ["main.go", "a/b/c/x.go"]);
    }

    #[test]
    fn exceptions_win_where_they_come_last() {
        let paths = ["README.md", "README-secret.md", "doc.md", "sub/doc.md"];
        assert_eq!(excluded("*.md\n!README.md", &paths), ["README-secret.md", "doc.md"]);
        let secret = "*.md\n!README*.md\nREADME-secret.md";
        assert_eq!(excluded(secret, &paths), ["README-secret.md", "doc.md"]);
        let useless = "*.md\nREADME-secret.md\n!README*.md";
        assert_eq!(excluded(useless, &paths), ["doc.md"]);
    }

    #[test]
    fn a_directory_takes_its_content_along() {
        let paths = ["node_modules", "node_modules/a/b", "src/node_modules/a", "x"];
        assert_eq!(excluded("/node_modules/", &paths), ["node_modules", "node_modules/a/b"]);
        assert_eq!(excluded("**/node_modules", &paths), &paths[..3]);
        assert_eq!(excluded("*\n!src", &paths), ["node_modules", "node_modules/a/b", "x"]);
    }

    #[test]
    fn every_kind_of_wildcard_means_what_docker_means() {
        for (rule, path, expected) in [
            ("**", "a/b", true),
            ("a/**", "a/b/c", true),
            ("a/**", "a", false),
            ("**/", "a", true),
            ("a/**/b", "a/b", true),
            ("a/**/b", "a/x/y/b", true),
            ("a/**/b", "ab", false),
            ("a**b", "ab", true),
            ("a**b", "ax/b", true),
            ("a**b", "axb", false),
            ("**.txt", "b/a.txt", false),
            ("**file", "dir/dir/file", true),
            ("**/**/*.txt", "dir/dir/file.txt", true),
            ("[a-c].x", "b.x", true),
            ("[^a-c].x", "b.x", false),
            ("[^a-c].x", "d.x", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("./a/../b", "b", true),
            ("?", "/", false),
            ("a?c", "a/c", false),
            (".", "a", false),
            ("a.c", "abc", false),
        ] {
            assert_eq!(!excluded(rule, &[path]).is_empty(), expected, "{rule} on {path}");
        }
    }

    #[test]
    fn a_directory_is_walked_while_something_in_it_may_come_along() {
        let ignore = Ignore::parse("build\ndist\n!build/keep").unwrap();
        assert!(!ignore.can_skip("build"));
        assert!(ignore.can_skip("dist"));
        assert!(!Ignore::parse("*\n!**/x").unwrap().can_skip("any"));
    }

    #[test]
    fn a_broken_pattern_is_named_by_its_line() {
        assert!(Ignore::parse("ok\n[a").unwrap_err().starts_with("line 2: "));
        assert!(Ignore::parse("!").unwrap_err().contains("needs a pattern"));
    }

    #[test]
    fn many_stars_do_not_make_matching_slow() {
        let rule = "a*".repeat(200) + "b";
        assert_eq!(excluded(&rule, &["a".repeat(4000).as_str()]), Vec::<&str>::new());
    }
}
