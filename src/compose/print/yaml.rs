//! YAML in block style, as go-yaml writes it: texts plain where that is safe, else in quotes, and
//! texts of several lines as they are after a `|`.

use super::{
    super::{
        tree::{Node, Scalar, ScalarKind, Value},
        yaml::plain_is_string,
    },
    Style, bare,
    json::quote,
    order::At,
};

/// A model as YAML.
#[must_use]
pub fn yaml(model: &Node, style: Style) -> String {
    let mut out = String::new();
    write(&mut out, model, style.root(), 0, Lead::Line);
    out
}

/// What has been written of the line that a value begins on.
#[derive(Clone, Copy, PartialEq)]
enum Lead {
    /// Nothing, or the dashes of a list.
    Line,
    /// A key and its colon.
    Key,
}

fn write(out: &mut String, node: &Node, at: At, depth: usize, lead: Lead) {
    match &node.value {
        Value::Map(map) if !map.is_empty() => {
            let mut first = lead == Lead::Line;
            if lead == Lead::Key {
                out.push('\n');
            }
            for (key, value) in at.sorted(map) {
                indent(out, if std::mem::take(&mut first) { 0 } else { depth });
                text(out, key, 0, true);
                out.push(':');
                write(out, value, at.value_of(key), depth + 1, Lead::Key);
            }
        }
        Value::List(list) if !list.is_empty() => {
            let mut first = lead == Lead::Line;
            if lead == Lead::Key {
                out.push('\n');
            }
            for item in list {
                indent(out, if std::mem::take(&mut first) { 0 } else { depth });
                out.push_str("- ");
                write(out, item, at.item(), depth + 1, Lead::Line);
            }
        }
        Value::Null | Value::Scalar(_) | Value::List(_) | Value::Map(_) => {
            if lead == Lead::Key {
                out.push(' ');
            }
            leaf(out, node, depth);
            out.push('\n');
        }
    }
}

fn indent(out: &mut String, depth: usize) {
    (0..depth).for_each(|_| out.push_str("  "));
}

fn leaf(out: &mut String, node: &Node, depth: usize) {
    match &node.value {
        Value::Null => out.push_str("null"),
        Value::List(_) => out.push_str("[]"),
        Value::Map(_) => out.push_str("{}"),
        Value::Scalar(Scalar { text: it, kind: ScalarKind::String }) => {
            text(out, it, depth, false);
        }
        Value::Scalar(scalar) => match bare(scalar) {
            Some(it) => out.push_str(&it),
            None => out.push_str(&scalar.text),
        },
    }
}

fn text(out: &mut String, text: &str, depth: usize, is_key: bool) {
    if text.contains('\n') && !is_key && fits_literal(text) {
        return literal(out, text, depth);
    }
    if !plain_is_string(text) || text.contains(is_special) || text.contains(" \n") {
        return quote(out, text);
    }
    match fits_plain(text) {
        true => out.push_str(text),
        false if text.starts_with(' ') || text.ends_with(' ') || !text.contains('\n') => {
            out.push('\'');
            out.push_str(&text.replace('\'', "''"));
            out.push('\'');
        }
        false => quote(out, text),
    }
}

/// What only double quotes can show.
fn is_special(it: char) -> bool {
    it.is_control() || matches!(it, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

fn fits_literal(text: &str) -> bool {
    !text.chars().any(|it| is_special(it) && it != '\n' && it != '\t')
        && !text.contains(" \n")
        && !text.ends_with(' ')
        && !text.starts_with(['\n', '\t'])
        && text != "\n"
}

fn literal(out: &mut String, text: &str, depth: usize) {
    out.push('|');
    if text.starts_with(' ') {
        // Else the first line would set the indentation.
        out.push('2');
    }
    let body = text.trim_end_matches('\n');
    match text.len() - body.len() {
        0 => out.push('-'),
        1 => {}
        _ => out.push('+'),
    }
    let mut lines = text.split('\n').collect::<Vec<_>>();
    if text.ends_with('\n') {
        lines.pop();
    }
    for line in lines {
        out.push('\n');
        if !line.is_empty() {
            indent(out, depth);
            out.push_str(line);
        }
    }
}

/// Whether a text of one line can stand without quotes.
fn fits_plain(text: &str) -> bool {
    let first = text.chars().next();
    let second = text.chars().nth(1);
    let opens = match first {
        None => return false,
        Some(
            '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%'
            | '@' | '`',
        ) => {
            return false;
        }
        Some('-' | '?' | ':') => second.is_some_and(|it| it != ' '),
        Some(' ') => false,
        Some(_) => true,
    };
    opens
        && !text.starts_with("---")
        && !text.starts_with("...")
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !text.contains(" #")
        && !text.contains('\n')
}
