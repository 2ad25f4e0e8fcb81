//! The one door through which commands speak: results on standard output, everything about the work
//! itself on standard error, colours only where somebody sees them.

use std::io::{self, IsTerminal, Write};

use super::error::CliError;

/// When to colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Ansi {
    /// Never.
    Never,
    /// Also into files and pipes.
    Always,
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum ProgressMode {
    /// Lines that change on a terminal, plain ones elsewhere.
    #[default]
    Auto,
    /// Lines that change.
    Tty,
    /// One line for each change.
    Plain,
    /// Nothing but failures.
    Quiet,
}

/// How a listing is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum ListFormat {
    /// Aligned columns.
    #[default]
    Table,
    /// A JSON array.
    Json,
}

/// How a command prints its listing, as it was asked.
#[derive(clap::Args, Clone, Copy, Debug, Default)]
pub(super) struct Listing {
    /// Output format
    #[arg(
        short = 'o',
        long = "output",
        visible_alias = "format",
        value_name = "FORMAT",
        default_value = "table"
    )]
    pub(super) format: ListFormat,
}

/// A colour or weight, as a "select graphic rendition" number (ECMA-48, 8.3.117).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Style(pub(super) &'static str);

/// Bad news.
pub(super) const RED: Style = Style("31");
/// Good news, and what is added.
pub(super) const GREEN: Style = Style("32");
/// What changes, and warnings.
pub(super) const YELLOW: Style = Style("33");
/// Side notes.
pub(super) const FAINT: Style = Style("2");
/// Headings.
pub(super) const BOLD: Style = Style("1");

/// Text in a style, if `on`.
#[must_use]
pub(super) fn styled(on: bool, style: Style, text: &str) -> String {
    if on { format!("\x1b[{}m{text}\x1b[0m", style.0) } else { text.to_owned() }
}

/// Where a command speaks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    /// Colours on standard output.
    pub(super) colour: bool,
    /// Colours on standard error.
    pub(super) colour_err: bool,
    /// How progress is shown; never [`ProgressMode::Auto`].
    pub(super) progress: ProgressMode,
}

impl Output {
    /// Looks at the terminal and the environment once.
    #[must_use]
    pub(super) fn new(ansi: Ansi, progress: ProgressMode) -> Self {
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|it| !it.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|it| it == "dumb");
        let colour = |terminal: bool| match ansi {
            Ansi::Never => false,
            Ansi::Always => true,
            Ansi::Auto => terminal && !no_colour && !dumb,
        };
        let terminal_err = io::stderr().is_terminal();
        let lively = terminal_err && !dumb && ansi != Ansi::Never;
        let progress = match progress {
            ProgressMode::Auto if lively => ProgressMode::Tty,
            ProgressMode::Auto => ProgressMode::Plain,
            ProgressMode::Tty | ProgressMode::Plain | ProgressMode::Quiet => progress,
        };
        Self {
            colour: colour(io::stdout().is_terminal()),
            colour_err: colour(terminal_err),
            progress,
        }
    }

    /// A line of the result.
    pub(super) fn line(&self, text: &str) -> Result<(), CliError> {
        self.bytes(format!("{text}\n").as_bytes())
    }

    /// A part of the result as it is.
    pub(super) fn bytes(&self, bytes: &[u8]) -> Result<(), CliError> {
        let mut out = io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush()).map_err(out_error)
    }

    /// The result as pretty JSON.
    pub(super) fn json<T: serde::Serialize + ?Sized>(&self, value: &T) -> Result<(), CliError> {
        let text = serde_json::to_string_pretty(value).map_err(|it| out_error(it.into()))?;
        self.line(&text)
    }

    /// A line about the work. A reader that went away must not end the work itself.
    pub(super) fn note(&self, text: &str) {
        self.note_bytes(format!("{text}\n").as_bytes());
    }

    /// Bytes about the work, or a container's standard error.
    pub(super) fn note_bytes(&self, bytes: &[u8]) {
        let mut err = io::stderr().lock();
        drop(err.write_all(bytes).and_then(|()| err.flush()));
    }

    /// A warning.
    pub(super) fn warn(&self, text: &str) {
        self.note(&format!("{} {text}", styled(self.colour_err, YELLOW, "warning:")));
    }

    /// Why the command fails.
    pub(super) fn error(&self, error: &CliError) {
        if let Some(message) = error.message() {
            self.note(&format!("{} {message}", styled(self.colour_err, RED, "error:")));
        }
    }

    /// Asks for a yes. On a terminal the answer is a line; elsewhere a line of standard input if
    /// there is one, else no, as `docker compose` has it.
    pub(super) fn confirm(&self, question: &str) -> Result<bool, CliError> {
        self.note_bytes(format!("{question} [y/N] ").as_bytes());
        let mut answer = String::new();
        io::stdin().read_line(&mut answer).map_err(CliError::io("can't read the answer"))?;
        if answer.is_empty() {
            self.note("");
        }
        Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
    }
}

/// A reader that is gone is told from a disk that is full.
fn out_error(why: io::Error) -> CliError {
    if why.kind() == io::ErrorKind::BrokenPipe {
        return CliError::Pipe;
    }
    CliError::Io { what: "can't write to standard output".into(), why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_style_is_worn_only_where_it_is_seen() {
        assert_eq!(styled(true, RED, "no"), "\x1b[31mno\x1b[0m");
        assert_eq!(styled(false, RED, "no"), "no");
    }

    #[test]
    fn a_broken_pipe_is_silent_and_a_full_disk_is_not() {
        assert!(matches!(out_error(io::ErrorKind::BrokenPipe.into()), CliError::Pipe));
        assert!(out_error(io::ErrorKind::StorageFull.into()).message().is_some());
    }
}
