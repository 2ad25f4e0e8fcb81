//! What is wrong, and what to do about it: `doctor`.

use std::fmt::Write;

use clap::Args;
use futures_util::future::{BoxFuture, join_all};

use super::{
    Invocation,
    client::Route,
    error::CliError,
    output::{BOLD, FAINT, GREEN, ListFormat, Listing, RED, Style, YELLOW, styled},
    terminal,
};
use crate::api::wire::{Check, Examination, Finding, Node};

/// Looks at this machine without a daemon, by the settings that one would have.
pub type Examine<D> = fn(D) -> BoxFuture<'static, Result<Examination, String>>;

/// Columns of the state and of the check's name.
const STATE_CHARS: usize = 13;
const CHECK_CHARS: usize = 12;

/// What stands before the lines about a finding, and as much of nothing.
const INDENT: &str = "             ";

/// `fizz doctor`.
#[derive(Args, Debug)]
pub(super) struct DoctorArgs<D: Args> {
    #[command(flatten)]
    own: OwnArgs,
    #[command(flatten, next_help_heading = "Settings of the daemon, where none runs")]
    settings: D,
}

/// What is its own.
#[derive(Args, Debug)]
struct OwnArgs {
    /// Look at another node: its name, its id, or the beginning of that
    #[arg(long, value_name = "NODE", conflicts_with_all = ["all", "local"])]
    node: Option<String>,
    /// Look at every node
    #[arg(short, long, conflicts_with = "local")]
    all: bool,
    /// Look from this command, and ask no daemon
    #[arg(long)]
    local: bool,
    /// Fail on warnings, too
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    listing: Listing,
}

/// `fizz doctor`: exits with 1 when something failed.
pub(super) async fn doctor<D: Args>(
    invocation: &Invocation,
    args: DoctorArgs<D>,
    examine: Examine<D>,
) -> Result<(), CliError> {
    let (own, output) = (args.own, &invocation.output);
    let (found, silent) = match (&own.node, own.all) {
        (Some(node), _) => (vec![of(invocation, node).await?], vec![]),
        (None, true) => of_all(invocation).await?,
        (None, false) => (vec![here(invocation, own.local, args.settings, examine).await?], vec![]),
    };
    match own.listing.format {
        ListFormat::Json => output.json(&found)?,
        ListFormat::Table => {
            let columns = if output.colour { terminal::size().map(|it| it.0.into()) } else { None };
            let texts = found.iter().map(|it| text(it, output.colour, columns));
            output.line(&texts.collect::<Vec<_>>().join("\n\n"))?;
        }
    }
    silent.iter().for_each(|it| output.warn(it));
    let bad = |it: &Check| it.state == "failed" || own.strict && it.state == "warning";
    let is_bad = !silent.is_empty() || found.iter().flat_map(|it| &it.checks).any(bad);
    if is_bad { Err(CliError::Exit(1)) } else { Ok(()) }
}

/// By the daemon, which sees most; without one by this command.
async fn here<D: Args>(
    invocation: &Invocation,
    local: bool,
    settings: D,
    examine: Examine<D>,
) -> Result<Examination, CliError> {
    if !local {
        match invocation.client.get(&Route::to(&["doctor"])).await {
            Ok(found) => return Ok(found),
            Err(why) => {
                let why = why.to_string();
                let why = why.lines().next().unwrap_or_default();
                invocation.output.note(&format!("{why}; this command looks by itself"));
            }
        }
    }
    examine(settings).await.map_err(CliError::Failed)
}

async fn of(invocation: &Invocation, node: &str) -> Result<Examination, CliError> {
    invocation.client.get(&Route::to(&["nodes", node, "doctor"])).await
}

/// All nodes, and why some were not looked at.
async fn of_all(invocation: &Invocation) -> Result<(Vec<Examination>, Vec<String>), CliError> {
    let nodes: Vec<Node> = invocation.client.get(&Route::to(&["nodes"])).await?;
    let asked = nodes.iter().map(|it| of(invocation, &it.id));
    let (mut found, mut silent) = (vec![], vec![]);
    for (node, answer) in nodes.iter().zip(join_all(asked).await) {
        match answer {
            Ok(examination) => found.push(examination),
            Err(why) => silent.push(format!("node {} was not looked at: {why}", node.name)),
        }
    }
    Ok((found, silent))
}

/// As people read it, within so many columns if there are any.
fn text(found: &Examination, colour: bool, columns: Option<usize>) -> String {
    let who = match &found.node {
        Some(node) => format!("Node {node} (Fizz {})", found.version),
        None => format!("This machine (Fizz {})", found.version),
    };
    let mut text = styled(colour, BOLD, &who);
    for check in &found.checks {
        let well = [Finding {
            state: check.state.clone(),
            fault: check.summary.clone(),
            seen: String::new(),
            why: String::new(),
            cure: vec![],
        }];
        let lines = if check.findings.is_empty() { &well[..] } else { &check.findings };
        for it in lines {
            let state = format!("{:STATE_CHARS$}", mark(&it.state).0);
            let state = styled(colour, mark(&it.state).1, &state);
            let _ = write!(text, "\n{state}{:CHECK_CHARS$}{}", check.check, it.fault);
            details(&mut text, it, colour, columns);
        }
    }
    let _ = write!(text, "\n{}", sum(&found.checks));
    text
}

fn mark(state: &str) -> (&str, Style) {
    match state {
        "ok" => ("ok", GREEN),
        "unchecked" => ("not checked", FAINT),
        "warning" => ("warning", YELLOW),
        other => (other, RED),
    }
}

fn details(text: &mut String, it: &Finding, colour: bool, columns: Option<usize>) {
    let cure = it.cure.iter().enumerate();
    let cure = cure.map(|(at, step)| (if at == 0 { "do" } else { "" }, step));
    let lines = [("seen", &it.seen), ("why", &it.why)].into_iter().chain(cure);
    for (head, line) in lines.filter(|it| !it.1.is_empty()) {
        let head = styled(colour, FAINT, &format!("{head:5}"));
        let room = columns.map(|it| it.saturating_sub(INDENT.len() + 5).max(20));
        let line = folded(line, room).join(&format!("\n{INDENT}     "));
        let _ = write!(text, "\n{INDENT}{head}{line}");
    }
}

/// A line as several, none longer than there is room for unless a word is.
fn folded(line: &str, room: Option<usize>) -> Vec<String> {
    let Some(room) = room else { return vec![line.to_owned()] };
    let mut lines = vec![String::new()];
    for word in line.split(' ') {
        match lines.last_mut() {
            Some(last) if last.is_empty() => last.push_str(word),
            Some(last) if last.chars().count() + 1 + word.chars().count() <= room => {
                last.push(' ');
                last.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines
}

fn sum(checks: &[Check]) -> String {
    let count = |state: &str| checks.iter().filter(|it| it.state == state).count();
    let counts = ["failed", "warning", "unchecked", "ok"].map(|it| (count(it), mark(it).0));
    let counts =
        counts.iter().filter(|it| it.0 != 0).map(|(count, name)| format!("{count} {name}"));
    format!("{} checks: {}", checks.len(), counts.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn examination(findings: &Value) -> Examination {
        serde_json::from_value(json!({
            "node": "a", "id": "00ff", "by": "daemon", "version": "0.1.0", "checks": [
                {"check": "udp", "state": "ok", "summary": "all 2 other members answer", "findings": []},
                {"check": "mtu", "state": "failed", "summary": "too large", "findings": findings},
                {"check": "bpf", "state": "unchecked", "summary": "only root", "findings": []},
            ]
        }))
        .unwrap()
    }

    #[test]
    fn each_check_has_a_line_and_below_what_is_wrong_stands_what_to_do() {
        let findings = json!([
            {"state": "failed", "fault": "too large", "seen": "none came", "why": "it hangs",
             "cure": ["set it", "or let it"]},
            {"state": "warning", "fault": "and slow", "seen": "", "why": "", "cure": []},
        ]);
        let expected = "\
Node a (Fizz 0.1.0)
ok           udp         all 2 other members answer
failed       mtu         too large
             seen none came
             why  it hangs
             do   set it
                  or let it
warning      mtu         and slow
not checked  bpf         only root
3 checks: 1 failed, 1 not checked, 1 ok";
        assert_eq!(text(&examination(&findings), false, None), expected);
        let coloured = text(&examination(&findings), true, None);
        assert!(coloured.contains("\x1b[31mfailed       \x1b[0mmtu         too large"));
    }

    #[test]
    fn long_lines_are_folded_where_there_is_a_terminal() {
        let line = "one two three four";
        assert_eq!(folded(line, None), [line]);
        assert_eq!(folded(line, Some(9)), ["one two", "three", "four"]);
        assert_eq!(folded("a-word-too-long b", Some(5)), ["a-word-too-long", "b"]);
    }
}
