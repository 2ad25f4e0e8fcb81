//! What is wrong with a Compose file: every problem at once, each with its place and its mend.

use std::{collections::BTreeMap, fmt};

use super::tree::{Path, Position, SourceId};

/// Past this many, only a count is kept: nobody reads more, and hostile input must not fill memory.
pub const PROBLEMS_MAX: usize = 200;

/// How much a problem matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file is refused.
    Error,
    /// The file is taken, and this part of it works differently or not at all. `--strict` makes it
    /// an error.
    Warning,
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// How much it matters.
    pub severity: Severity,
    /// Where it was written, if anywhere.
    pub at: Position,
    /// Where in the tree.
    pub path: Path,
    /// What is wrong, why, and what to do: `"80:http" is not a port; use HOST:CONTAINER numbers`.
    pub message: String,
}

/// Everything found wrong in one load, and the names of the sources that positions speak of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    sources: Vec<String>,
    /// In the order in which they are told.
    list: BTreeMap<(Severity, Position), Vec<Problem>>,
    listed: usize,
    unlisted: usize,
}

impl Problems {
    /// Registers a source by the name that messages use and gives it its id. Past 65,535 sources
    /// the last one stands for all further.
    pub fn source(&mut self, name: impl Into<String>) -> SourceId {
        let id = u16::try_from(self.sources.len()).unwrap_or(u16::MAX);
        if id < u16::MAX {
            self.sources.push(name.into());
        }
        SourceId(id)
    }

    /// The name of a source, if it was registered.
    #[must_use]
    pub fn source_name(&self, id: SourceId) -> Option<&str> {
        self.sources.get(usize::from(id.0)).map(String::as_str)
    }

    /// None, of the same sources.
    #[must_use]
    pub fn of_same_sources(&self) -> Self {
        Self { sources: self.sources.clone(), ..Self::default() }
    }

    /// Notes an error.
    pub fn error(&mut self, at: Position, path: impl Into<Path>, message: impl Into<String>) {
        self.push(Severity::Error, at, path, message.into());
    }

    /// Notes a warning.
    pub fn warn(&mut self, at: Position, path: impl Into<Path>, message: impl Into<String>) {
        self.push(Severity::Warning, at, path, message.into());
    }

    /// Once the list is full, what is not at the place of another problem is only counted: a file
    /// that has a hundred thousand must not have each of them written out and compared.
    fn push(&mut self, severity: Severity, at: Position, path: impl Into<Path>, message: String) {
        let full = self.listed == PROBLEMS_MAX && !(severity == Severity::Error && self.forget());
        let here = self.list.get(&(severity, at));
        if full && here.is_none() {
            self.unlisted += 1;
            return;
        }
        let problem = Problem { severity, at, path: path.into(), message };
        if here.is_some_and(|it| it.contains(&problem)) {
            return;
        }
        if full {
            self.unlisted += 1;
            return;
        }
        self.listed += 1;
        self.list.entry((severity, at)).or_default().push(problem);
    }

    /// Takes the last warning out of the list, if there is one, to make room for an error.
    fn forget(&mut self) -> bool {
        let last = self.list.last_entry().filter(|it| it.key().0 == Severity::Warning);
        let Some(mut last) = last else { return false };
        last.get_mut().pop();
        if last.get().is_empty() {
            last.remove();
        }
        self.listed -= 1;
        self.unlisted += 1;
        true
    }

    /// Whether any is an error.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.list.keys().next().is_some_and(|(severity, _)| *severity == Severity::Error)
    }

    /// How many more problems there were than are kept, if any.
    #[must_use]
    pub fn unlisted(&self) -> Option<usize> {
        (self.unlisted != 0).then_some(self.unlisted)
    }

    /// Turns every warning into an error, as `--strict` asks.
    pub fn make_strict(&mut self) {
        for problem in std::mem::take(&mut self.list).into_values().flatten() {
            let problem = Problem { severity: Severity::Error, ..problem };
            self.list.entry((problem.severity, problem.at)).or_default().push(problem);
        }
    }

    /// The problems, errors first, in the order of their places.
    #[must_use]
    pub fn sorted(&self) -> Vec<&Problem> {
        self.list.values().flatten().collect()
    }

    /// One problem as a line: `file:line:column: path: message`.
    #[must_use]
    pub fn line(&self, problem: &Problem) -> String {
        let mut line = String::new();
        if let Some(name) = self.source_name(problem.at.source).filter(|_| problem.at.line != 0) {
            line = format!("{name}:{}:{}: ", problem.at.line, problem.at.column);
        }
        if !problem.path.steps().is_empty() {
            line.push_str(&format!("{}: ", problem.path));
        }
        line + &problem.message
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in self.sorted() {
            writeln!(f, "{}", self.line(problem))?;
        }
        if self.unlisted != 0 {
            writeln!(f, "and {} more problems", self.unlisted)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line: u32) -> Position {
        Position { line, ..Position::default() }
    }

    #[test]
    fn an_error_is_told_however_many_warnings_there_are() {
        let mut problems = Problems::default();
        let lines = 1..=u32::try_from(PROBLEMS_MAX).unwrap() + 1;
        lines.for_each(|line| problems.warn(at(line), Path::default(), "w"));
        assert!(!problems.has_errors());
        problems.error(at(500), Path::default(), "e");
        assert!(problems.has_errors());
        assert_eq!(problems.sorted().len(), PROBLEMS_MAX);
        assert_eq!(problems.sorted()[0].message, "e");
        assert_eq!(problems.unlisted(), Some(2));
    }

    #[test]
    fn the_same_problem_is_told_once() {
        let mut problems = Problems::default();
        for message in ["a", "b", "a"] {
            problems.warn(at(1), Path::default(), message);
        }
        problems.make_strict();
        problems.error(at(1), Path::default(), "b");
        assert_eq!(problems.to_string(), "a\nb\n");
    }
}
