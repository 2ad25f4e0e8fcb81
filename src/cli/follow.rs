//! Lines of containers' output, each behind its container's name in its container's colour.

use std::collections::BTreeMap;

use super::{
    client::Lines,
    error::CliError,
    format::rfc3339_ns,
    output::{Output, Style, styled},
};
use crate::api::wire::LogLine;

/// The colours of containers, in the order in which they speak.
const COLOURS: [Style; 10] = [
    Style("36"),
    Style("33"),
    Style("32"),
    Style("35"),
    Style("34"),
    Style("96"),
    Style("93"),
    Style("92"),
    Style("95"),
    Style("94"),
];

/// How much is put together before it is written.
const BATCH_BYTES: usize = 64 << 10;

/// The stream of a line that is no container's.
const WARNING: &str = "warning";

/// How lines are written.
#[derive(Clone, Debug, Default)]
pub(super) struct LineStyle {
    /// The name before each line.
    pub(super) prefix: bool,
    /// The time before each line.
    pub(super) timestamps: bool,
    /// In colour.
    pub(super) colour: bool,
    /// The project, whose name is left out of the containers'.
    pub(super) project: String,
}

/// Writes lines; remembers who has which colour and how wide the names are.
#[derive(Debug, Default)]
pub(super) struct LineWriter {
    style: LineStyle,
    colours: BTreeMap<String, Style>,
    width: usize,
}

impl LineWriter {
    /// A writer that makes room for these containers' names.
    #[must_use]
    pub(super) fn new<'a>(style: LineStyle, names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut writer = Self { style, ..Self::default() };
        for name in names {
            let width = writer.short(name).chars().count();
            writer.width = writer.width.max(width);
        }
        writer
    }

    /// The line as it is printed, with its end.
    pub(super) fn line(&mut self, line: &LogLine) -> String {
        let mut text = String::new();
        if self.style.prefix {
            let name = self.short(&line.name).to_owned();
            self.width = self.width.max(name.chars().count());
            let next = COLOURS.get(self.colours.len() % COLOURS.len()).copied();
            let colour =
                *self.colours.entry(line.name.clone()).or_insert(next.unwrap_or(Style("0")));
            let width = self.width;
            text = styled(self.style.colour, colour, &format!("{name:width$}  | "));
        }
        if self.style.timestamps {
            text.push_str(&rfc3339_ns(&line.at_ns));
            text.push(' ');
        }
        text.push_str(&line.line);
        text.push('\n');
        text
    }

    /// `shop-web-1` is `web-1` in the project `shop`.
    fn short<'a>(&self, name: &'a str) -> &'a str {
        let rest = name.strip_prefix(self.style.project.as_str());
        rest.and_then(|it| it.strip_prefix('-')).unwrap_or(name)
    }
}

/// Writes what has arrived: one line, and those that came with it. False at the end.
pub(super) async fn write_arrived(
    lines: &mut Lines<LogLine>,
    writer: &mut LineWriter,
    output: &Output,
) -> Result<bool, CliError> {
    let Some(mut line) = lines.next().await? else { return Ok(false) };
    let mut batch = String::new();
    loop {
        // Not a container's: a node does not tell its part.
        if line.stream == WARNING {
            output.warn(&line.line);
        } else {
            batch.push_str(&writer.line(&line));
        }
        match lines.ready()? {
            Some(next) if batch.len() < BATCH_BYTES => line = next,
            Some(next) => {
                output.bytes(batch.as_bytes())?;
                batch.clear();
                line = next;
            }
            None => break,
        }
    }
    output.bytes(batch.as_bytes())?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, text: &str) -> LogLine {
        LogLine {
            container: "c".into(),
            name: name.into(),
            service: "s".into(),
            stream: "stdout".into(),
            at_ns: "1000000005".into(),
            line: text.into(),
        }
    }

    #[test]
    fn names_stand_in_a_column_in_their_own_colours() {
        let style = LineStyle { prefix: true, project: "shop".into(), ..LineStyle::default() };
        let mut writer = LineWriter::new(style.clone(), ["shop-web-1", "shop-database-1"]);
        assert_eq!(writer.line(&line("shop-web-1", "hello")), "web-1       | hello\n");
        assert_eq!(writer.line(&line("custom", "hi")), "custom      | hi\n");
        let mut coloured = LineWriter::new(LineStyle { colour: true, ..style }, []);
        assert_eq!(coloured.line(&line("shop-a-1", "x")), "\x1b[36ma-1  | \x1b[0mx\n");
        assert_eq!(coloured.line(&line("shop-b-1", "x")), "\x1b[33mb-1  | \x1b[0mx\n");
        assert_eq!(coloured.line(&line("shop-a-1", "y")), "\x1b[36ma-1  | \x1b[0my\n");
    }

    #[test]
    fn without_a_prefix_the_line_is_what_the_container_wrote() {
        let mut bare = LineWriter::new(LineStyle::default(), []);
        assert_eq!(bare.line(&line("shop-web-1", "  x ")), "  x \n");
        let style = LineStyle { timestamps: true, ..LineStyle::default() };
        let text = LineWriter::new(style, []).line(&line("shop-web-1", "x"));
        assert_eq!(text, "1970-01-01T00:00:01.000000005Z x\n");
    }
}
