//! `KEY=VALUE` lists as mappings, and host lists.

use std::collections::BTreeMap;

use super::Shaping;
use crate::compose::tree::{Entry, Node, Trail, Value};

/// A list of `KEY=VALUE` or `KEY` as a mapping; a bare `KEY` holds nothing.
pub(in crate::compose) fn to_map(node: &mut Node) {
    let Value::List(list) = &mut node.value else { return };
    if list.iter().any(|item| item.as_text().is_none()) {
        return;
    }
    let entry = |item: Node| {
        let text = item.as_text().unwrap_or_default();
        let (key, node) = match text.split_once('=') {
            Some((key, value)) => (key, Node::string(value, item.at)),
            None => (text, Node::new(Value::Null, item.at)),
        };
        (key.to_owned(), Entry { key_at: item.at, node })
    };
    node.value = Value::Map(std::mem::take(list).into_iter().map(entry).collect());
}

/// Variables: a key without a value takes it from the environment. In a list, a space before the
/// `=` is more likely a mistake than part of the name.
pub(super) fn variables(node: &mut Node, path: &Trail<'_>, shaping: &mut Shaping<'_>) {
    for (index, item) in node.as_list().unwrap_or_default().iter().enumerate() {
        let text = item.as_text().unwrap_or_default();
        let name = text.split_once('=').map_or(text, |(name, _)| name);
        if name.ends_with(char::is_whitespace) {
            let why = format!("the variable {name:?} ends in a space; take it out");
            shaping.problems.error(item.at, &path.index(index), why);
        }
    }
    to_map(node);
}

/// Labels and options: a key without a value holds the empty string.
pub(super) fn labels(node: &mut Node, _: &Trail<'_>, _: &mut Shaping<'_>) {
    to_map(node);
    let Some(map) = node.as_map_mut() else { return };
    for entry in map.values_mut() {
        if entry.node.value == Value::Null {
            entry.node = Node::string("", entry.node.at);
        }
    }
}

/// Named build contexts, each of which needs a value.
pub(super) fn contexts(node: &mut Node, path: &Trail<'_>, shaping: &mut Shaping<'_>) {
    to_map(node);
    for (name, entry) in node.as_map().into_iter().flatten() {
        if entry.node.value == Value::Null {
            let why = format!("{name:?} needs a context; write {name}=PATH_OR_URL");
            shaping.error(&entry.node, &path.key(name), why);
        }
    }
}

/// SSH keys of a build: `default`, or `ID=PATH`.
pub(super) fn ssh(node: &mut Node, path: &Trail<'_>, shaping: &mut Shaping<'_>) {
    to_map(node);
    for (id, entry) in node.as_map().into_iter().flatten() {
        if entry.node.value == Value::Null && id != "default" {
            let why =
                format!("the key {id:?} needs a path; write {id}=PATH, or default for the agent");
            shaping.error(&entry.node, &path.key(id), why);
        }
    }
}

/// Host names and their addresses, as a sorted list of `HOST=ADDRESS`.
pub(super) fn hosts(node: &mut Node, path: &Trail<'_>, shaping: &mut Shaping<'_>) {
    hosts_to_list(node);
    let Value::List(list) = &mut node.value else { return };
    let mut sorted: BTreeMap<String, Vec<Node>> = BTreeMap::new();
    for (index, item) in std::mem::take(list).into_iter().enumerate() {
        let Some(text) = item.as_text() else { continue };
        let Some((host, addresses)) = host_and_addresses(text) else {
            let why = format!("{text:?} has no address; write HOST=ADDRESS");
            shaping.error(&item, &path.index(index), why);
            continue;
        };
        if host.is_empty() || host.contains([':', '=']) {
            shaping.error(&item, &path.index(index), format!("{host:?} is not a host name"));
            continue;
        }
        let known = sorted.entry(host.to_owned()).or_default();
        for address in addresses.split(',') {
            let bare = address.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
            let text = format!("{host}={}", bare.filter(|it| !it.is_empty()).unwrap_or(address));
            known.push(Node::string(text, item.at));
        }
    }
    *list = sorted.into_values().flatten().collect();
}

/// The two sides of `HOST=ADDRESS`, or of the older `HOST:ADDRESS`.
pub(in crate::compose) fn host_and_addresses(text: &str) -> Option<(&str, &str)> {
    text.split_once('=').or_else(|| text.split_once(':'))
}

/// A mapping of hosts as a list; `host: [address, ...]` gives one item for each address.
pub(in crate::compose) fn hosts_to_list(node: &mut Node) {
    let Value::Map(map) = &node.value else { return };
    let mut list = Vec::new();
    for (host, entry) in map {
        match &entry.node.value {
            Value::List(addresses) => list.extend(addresses.iter().map(|it| (host, it))),
            Value::Null | Value::Scalar(_) | Value::Map(_) => list.push((host, &entry.node)),
        }
    }
    let text = |(host, it): (&String, &Node)| {
        Node::string(format!("{host}={}", it.as_text().unwrap_or_default()), it.at)
    };
    node.value = Value::List(list.into_iter().map(text).collect());
}
