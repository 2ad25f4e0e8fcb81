//! JSON, indented by two.

use std::fmt::Write as _;

use super::{
    super::{
        places,
        tree::{Entry, Node, ScalarKind, Value},
    },
    Style, bare,
    order::At,
};

/// A model as JSON.
#[must_use]
pub fn json(model: &Node, style: Style) -> String {
    let mut out = String::new();
    match style {
        Style::Project => write(&mut out, &with_commands(model.clone()), style.root(), 0),
        Style::Tree => write(&mut out, model, style.root(), 0),
    }
    out.push('\n');
    out
}

/// In JSON, and only there, `docker compose` says of every service that it has no command.
fn with_commands(mut model: Node) -> Node {
    places::each(&mut model, "services.*", &mut |service, _| {
        let at = service.at;
        for key in ["command", "entrypoint"] {
            let none = Entry { key_at: at, node: Node::new(Value::Null, at) };
            if let Some(service) = service.as_map_mut() {
                service.entry(key.into()).or_insert(none);
            }
        }
    });
    model
}

fn write(out: &mut String, node: &Node, at: At, depth: usize) {
    match &node.value {
        Value::Null => out.push_str("null"),
        Value::Scalar(scalar) if scalar.kind == ScalarKind::String => quote(out, &scalar.text),
        Value::Scalar(scalar) => match bare(scalar) {
            Some(text) => out.push_str(&text),
            None => quote(out, &scalar.text),
        },
        Value::List(list) if list.is_empty() => out.push_str("[]"),
        Value::Map(map) if map.is_empty() => out.push_str("{}"),
        Value::List(list) => {
            for (index, item) in list.iter().enumerate() {
                line(out, if index == 0 { "[" } else { "," }, depth + 1);
                write(out, item, at.item(), depth + 1);
            }
            line(out, "", depth);
            out.push(']');
        }
        Value::Map(map) => {
            for (index, (key, value)) in at.sorted(map).into_iter().enumerate() {
                line(out, if index == 0 { "{" } else { "," }, depth + 1);
                quote(out, &at.in_json(key));
                out.push_str(": ");
                write(out, value, at.value_of(key), depth + 1);
            }
            line(out, "", depth);
            out.push('}');
        }
    }
}

fn line(out: &mut String, end: &str, depth: usize) {
    out.push_str(end);
    out.push('\n');
    (0..depth).for_each(|_| out.push_str("  "));
}

pub(super) fn quote(out: &mut String, text: &str) {
    out.push('"');
    for it in text.chars() {
        match it {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            it if it.is_control() || matches!(it, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                let mut units = [0; 2];
                for unit in it.encode_utf16(&mut units) {
                    let _infallible = write!(out, "\\u{unit:04x}");
                }
            }
            it => out.push(it),
        }
    }
    out.push('"');
}
