//! What is wrong with a Compose file: every problem at once, each with its place and its mend.

use std::fmt;

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
    list: Vec<Problem>,
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

    /// Notes an error.
    pub fn error(&mut self, at: Position, path: &Path, message: impl Into<String>) {
        self.push(Severity::Error, at, path, message.into());
    }

    /// Notes a warning.
    pub fn warn(&mut self, at: Position, path: &Path, message: impl Into<String>) {
        self.push(Severity::Warning, at, path, message.into());
    }

    fn push(&mut self, severity: Severity, at: Position, path: &Path, message: String) {
        let problem = Problem { severity, at, path: path.clone(), message };
        if self.list.contains(&problem) {
            return;
        }
        if self.list.len() < PROBLEMS_MAX {
            self.list.push(problem);
        } else {
            self.unlisted += 1;
        }
    }

    /// Whether any is an error.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|it| it.severity == Severity::Error)
    }

    /// How many more problems there were than are kept, if any.
    #[must_use]
    pub fn unlisted(&self) -> Option<usize> {
        (self.unlisted != 0).then_some(self.unlisted)
    }

    /// Turns every warning into an error, as `--strict` asks.
    pub fn make_strict(&mut self) {
        for problem in &mut self.list {
            problem.severity = Severity::Error;
        }
    }

    /// The problems, errors first, in the order of their places.
    #[must_use]
    pub fn sorted(&self) -> Vec<&Problem> {
        let mut all: Vec<&Problem> = self.list.iter().collect();
        all.sort_by_key(|it| (it.severity, it.at));
        all
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
