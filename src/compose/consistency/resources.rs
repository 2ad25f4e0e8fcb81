//! Networks, volumes, secrets and configs by themselves.

use crate::compose::{
    places,
    problem::Problems,
    tree::{Map, Node, Trail},
};

/// Checks every resource.
pub(super) fn check(root: &Node, problems: &mut Problems) {
    let top = Trail::default();
    let [volumes, configs, secrets] = ["volumes", "configs", "secrets"].map(|it| top.key(it));
    for (name, volume) in places::section(root, "volumes") {
        if let Some(map) = volume.as_map() {
            external_stands_alone(map, &volumes.key(name), problems);
        }
    }
    for (name, config) in places::section(root, "configs") {
        content(config, &["file", "environment", "content"], &configs.key(name), problems);
    }
    for (name, secret) in places::section(root, "secrets") {
        content(secret, &["file", "environment"], &secrets.key(name), problems);
    }
}

fn is_external(map: &Map) -> bool {
    map.get("external").and_then(|it| it.node.as_text()) == Some("true")
}

/// What exists already cannot be given properties.
fn external_stands_alone(map: &Map, path: &Trail<'_>, problems: &mut Problems) {
    if !is_external(map) {
        return;
    }
    for (key, entry) in map {
        if !matches!(key.as_str(), "name" | "external") && !key.starts_with("x-") {
            let why = format!("`{key}` cannot stand beside external: true; take one of them out");
            problems.error(entry.key_at, &path.key(key), why);
        }
    }
}

/// Whether somebody wrote a key. What the loader adds, such as the content of a variable, stands at
/// the same place as its value, which no written key does.
fn is_written(map: &Map, key: &str) -> bool {
    map.get(key).is_some_and(|it| it.key_at != it.node.at)
}

/// A secret or config has exactly one source.
fn content(node: &Node, keys: &[&str], path: &Trail<'_>, problems: &mut Problems) {
    let Some(map) = node.as_map() else { return };
    let given: Vec<&str> = keys.iter().copied().filter(|it| is_written(map, it)).collect();
    if given.len() > 1 {
        let at = map.get(given[1]).map_or(node.at, |it| it.key_at);
        let why = format!("{} exclude each other; keep one", given.join(" and "));
        problems.error(at, path, why);
    }
    // A secret's driver might fetch it, but docker compose has no use for one, and neither have we.
    let is_secret = keys.len() == 2;
    let may_fetch = map.contains_key("driver") && !is_secret;
    if given.is_empty() && !may_fetch && !is_external(map) {
        let kind = if is_secret { "secret" } else { "config" };
        let why = format!("this {kind} has no source; give it one of {}", keys.join(", "));
        problems.error(node.at, path, why);
    }
}
