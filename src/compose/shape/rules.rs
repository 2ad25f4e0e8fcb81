//! Which form belongs to which place.

use super::{Shaping, made, pairs, ports, set, set_if_missing, volumes, words};
use crate::compose::tree::{Entry, Map, Node, Position, Trail, Value};

type Rule = fn(&mut Node, &Trail<'_>, &mut Shaping<'_>);

/// Outer places before the ones inside them, because a rule may make what the next one changes.
pub(super) const RULES: &[(&str, Rule)] = &[
    ("include.[]", include),
    ("include.[].path", list),
    ("include.[].env_file", list),
    ("services.*.annotations", pairs::labels),
    ("services.*.build", |node, _, _| build_to_map(node)),
    ("services.*.build.additional_contexts", pairs::contexts),
    ("services.*.build.args", pairs::variables),
    ("services.*.build.extra_hosts", pairs::hosts),
    ("services.*.build.labels", pairs::labels),
    ("services.*.build.no_cache_filter", list),
    ("services.*.build.secrets.[]", grant),
    ("services.*.build.ssh", pairs::ssh),
    ("services.*.command", command),
    ("services.*.configs.[]", grant),
    ("services.*.depends_on", |node, _, _| dependencies_to_map(node)),
    ("services.*.deploy.labels", pairs::labels),
    ("services.*.deploy.resources.reservations.devices.[].options", pairs::labels),
    ("services.*.develop.watch.[].exec.command", command),
    ("services.*.develop.watch.[].exec.environment", pairs::variables),
    ("services.*.develop.watch.[].ignore", list),
    ("services.*.develop.watch.[].include", list),
    ("services.*.devices.[]", device),
    ("services.*.dns", nameservers),
    ("services.*.dns_search", list),
    ("services.*.entrypoint", command),
    ("services.*.env_file", list),
    ("services.*.env_file.[]", env_file),
    ("services.*.environment", pairs::variables),
    ("services.*.extends", extends),
    ("services.*.extra_hosts", pairs::hosts),
    ("services.*.gpus", gpus),
    ("services.*.gpus.[].options", pairs::labels),
    ("services.*.healthcheck.test", test),
    ("services.*.label_file", list),
    ("services.*.labels", pairs::labels),
    ("services.*.logging.options", pairs::labels),
    ("services.*.models", |node, _, _| names_to_map(node)),
    ("services.*.networks", |node, _, _| names_to_map(node)),
    ("services.*.ports", published),
    ("services.*.post_start.[].command", command),
    ("services.*.post_start.[].environment", pairs::variables),
    ("services.*.pre_start.[].command", command),
    ("services.*.pre_start.[].environment", pairs::variables),
    ("services.*.pre_stop.[].command", command),
    ("services.*.pre_stop.[].environment", pairs::variables),
    ("services.*.provider.options.*", option),
    ("services.*.secrets.[]", grant),
    ("services.*.storage_opt", pairs::labels),
    ("services.*.sysctls", pairs::labels),
    ("services.*.tmpfs", list),
    ("services.*.volumes.[]", mount),
    ("services.*.volumes.[].volume.labels", pairs::labels),
    ("configs.*", external),
    ("configs.*.labels", pairs::labels),
    ("networks.*", external),
    ("networks.*.labels", pairs::labels),
    ("secrets.*", external),
    ("secrets.*.labels", pairs::labels),
    ("volumes.*", external),
    ("volumes.*.labels", pairs::labels),
];

type Default = fn(&mut Map, Position);

/// What is written out where nothing was said.
pub(super) const DEFAULTS: &[(&str, Default)] = &[
    ("services.*.build", |map, at| set_if_missing(map, "context", Node::string(".", at))),
    ("services.*.secrets.[]", secret_target),
    ("services.*.ports.[]", |map, at| {
        set_if_missing(map, "protocol", Node::string("tcp", at));
        set_if_missing(map, "mode", Node::string("ingress", at));
    }),
    ("services.*.deploy.resources.reservations.devices.[]", all_devices),
    ("services.*.gpus.[]", all_devices),
    ("services.*.volumes.[].bind", |map, at| {
        set_if_missing(map, "create_host_path", Node::bool(true, at));
    }),
];

fn secret_target(map: &mut Map, at: Position) {
    let source = map.get("source").and_then(|it| it.node.as_text());
    let Some(target) = source.map(|it| format!("/run/secrets/{it}")) else { return };
    set_if_missing(map, "target", Node::string(target, at));
}

fn all_devices(map: &mut Map, at: Position) {
    if !map.contains_key("device_ids") {
        set_if_missing(map, "count", Node::int(-1, at));
    }
}

fn is_scalar(node: &Node) -> bool {
    matches!(node.value, Value::Scalar(_))
}

fn wrap(node: &mut Node) {
    let inner = Node { tag: None, ..node.clone() };
    node.value = Value::List(vec![inner]);
}

/// One value as a list of it.
fn list(node: &mut Node, _: &Trail<'_>, _: &mut Shaping<'_>) {
    if is_scalar(node) {
        wrap(node);
    }
}

/// One value of a provider's option as a list of it.
fn option(node: &mut Node, path: &Trail<'_>, shaping: &mut Shaping<'_>) {
    list(node, path, shaping);
}

/// Name servers; an empty one, as an unset variable leaves it, is none.
fn nameservers(node: &mut Node, path: &Trail<'_>, shaping: &mut Shaping<'_>) {
    list(node, path, shaping);
    if let Value::List(list) = &mut node.value {
        list.retain(|item| item.as_text() != Some(""));
    }
}

fn include(node: &mut Node, _: &Trail<'_>, _: &mut Shaping<'_>) {
    key_of(node, "path");
}

fn extends(node: &mut Node, _: &Trail<'_>, _: &mut Shaping<'_>) {
    key_of(node, "service");
}

fn grant(node: &mut Node, _: &Trail<'_>, _: &mut Shaping<'_>) {
    key_of(node, "source");
}

/// A build that is only its context.
pub(in crate::compose) fn build_to_map(node: &mut Node) {
    key_of(node, "context");
}

fn key_of(node: &mut Node, key: &str) {
    if is_scalar(node) {
        let inner = Node { tag: None, ..node.clone() };
        *node = made(node, [(key, inner)]);
    }
}

/// A list of names as a mapping from each to nothing.
pub(in crate::compose) fn names_to_map(node: &mut Node) {
    let Value::List(list) = &node.value else { return };
    let Some(map) = by_name(list, |item| Node::new(Value::Null, item.at)) else { return };
    node.value = Value::Map(map);
}

/// Dependencies with their condition, and whether they must be there.
pub(in crate::compose) fn dependencies_to_map(node: &mut Node) {
    if let Value::List(list) = &node.value {
        let Some(map) = by_name(list, |item| made(item, [])) else { return };
        node.value = Value::Map(map);
    }
    for entry in node.as_map_mut().into_iter().flat_map(Map::values_mut) {
        let at = entry.node.at;
        if let Some(map) = entry.node.as_map_mut() {
            set_if_missing(map, "condition", Node::string("service_started", at));
            set_if_missing(map, "required", Node::bool(true, at));
        }
    }
}

fn by_name(list: &[Node], value: impl Fn(&Node) -> Node) -> Option<Map> {
    list.iter()
        .map(|item| {
            let name = item.as_text()?.to_owned();
            Some((name, Entry { key_at: item.at, node: value(item) }))
        })
        .collect()
}

fn command(node: &mut Node, path: &Trail<'_>, shaping: &mut Shaping<'_>) {
    let Some(line) = node.as_text() else { return };
    let Some(split) = words::split(line) else {
        let why = "a quote or a parenthesis is not closed; write the command as a list of words";
        return shaping.error(node, path, why);
    };
    if let Some(cut) = split.cut {
        let why = format!(
            "{cut:?} is left out, because no shell runs this; write [\"sh\", \"-c\", \"...\"]"
        );
        shaping.problems.warn(node.at, path, why);
    }
    let Some(left) = shaping.words_left.checked_sub(split.words.len()) else {
        let why = format!("more than {} words of command lines; shorten them", super::WORDS_MAX);
        return shaping.problems.error(node.at, path, why);
    };
    shaping.words_left = left;
    let at = node.at;
    node.value = Value::List(split.words.into_iter().map(|it| Node::string(it, at)).collect());
}

fn test(node: &mut Node, _: &Trail<'_>, _: &mut Shaping<'_>) {
    if is_scalar(node) {
        wrap(node);
        if let Value::List(list) = &mut node.value {
            list.insert(0, Node::string("CMD-SHELL", node.at));
        }
    }
}

fn env_file(node: &mut Node, _: &Trail<'_>, _: &mut Shaping<'_>) {
    key_of(node, "path");
    let at = node.at;
    if let Some(map) = node.as_map_mut() {
        set_if_missing(map, "required", Node::bool(true, at));
    }
}

fn gpus(node: &mut Node, _: &Trail<'_>, _: &mut Shaping<'_>) {
    if is_scalar(node) {
        let all = made(node, [("count", Node::int(-1, node.at))]);
        node.value = Value::List(vec![Node { tag: None, ..all }]);
    }
}

/// `SOURCE[:TARGET[:PERMISSIONS]]`.
fn device(node: &mut Node, path: &Trail<'_>, shaping: &mut Shaping<'_>) {
    let Some(text) = node.as_text() else { return };
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, permissions) = match parts[..] {
        [source] => (source, source, "rwm"),
        [source, target] => (source, target, "rwm"),
        [source, target, permissions] => (source, target, permissions),
        _ => {
            let why =
                format!("{text:?} has too many colons; use source, target and permissions as keys");
            return shaping.error(node, path, why);
        }
    };
    let target = if target.is_empty() { source } else { target };
    let text = |text| Node::string(text, node.at);
    let entries =
        [("source", text(source)), ("target", text(target)), ("permissions", text(permissions))];
    *node = made(node, entries);
}

fn published(node: &mut Node, path: &Trail<'_>, shaping: &mut Shaping<'_>) {
    let Value::List(list) = &mut node.value else { return };
    let mut long = Vec::with_capacity(list.len());
    for (index, item) in std::mem::take(list).into_iter().enumerate() {
        let Some(text) = item.as_text() else {
            long.push(item);
            continue;
        };
        match ports::parse(text) {
            Ok(ports) if ports.len() > shaping.ports_left => {
                let why = format!("more than {} ports in all; publish fewer", super::PORTS_MAX);
                shaping.problems.error(item.at, &path.index(index), why);
            }
            Ok(ports) => {
                shaping.ports_left -= ports.len();
                long.extend(ports.into_iter().map(|port| port_node(port, &item)));
            }
            Err(why) => {
                shaping.error(&item, &path.index(index), why);
                long.push(item);
            }
        }
    }
    *list = long;
}

fn port_node(port: ports::Port, like: &Node) -> Node {
    let text = |text: &str| Node::string(text, like.at);
    let mut node = made(
        like,
        [
            ("mode", text("ingress")),
            ("protocol", text(&port.protocol)),
            ("target", Node::int(i64::from(port.target), like.at)),
        ],
    );
    if let Some(map) = node.as_map_mut() {
        for (key, value) in [("host_ip", &port.host_ip), ("published", &port.published)] {
            if !value.is_empty() {
                set(map, key, text(value));
            }
        }
    }
    node
}

fn mount(node: &mut Node, path: &Trail<'_>, shaping: &mut Shaping<'_>) {
    let Some(text) = node.as_text() else { return };
    let mount = match volumes::parse(text) {
        Ok(mount) => mount,
        Err(why) => return shaping.error(node, path, why),
    };
    for option in &mount.unknown {
        let why = format!("{option:?} is no option of a mount and has no effect");
        shaping.problems.warn(node.at, path, why);
    }
    let text = |text: &str| Node::string(text, node.at);
    let kind = if mount.is_bind() { "bind" } else { "volume" };
    let target = crate::compose::lexical::clean(&mount.target);
    let mut long = made(node, [("type", text(kind)), ("target", text(&target))]);
    let mut bind = made(node, []);
    let mut volume = made(node, []);
    if let (Some(bind), Some(volume)) = (bind.as_map_mut(), volume.as_map_mut()) {
        for (key, value) in [("propagation", &mount.propagation), ("selinux", &mount.selinux)] {
            if let Some(value) = value {
                set(bind, key, text(value));
            }
        }
        if mount.is_bind() {
            set(bind, "create_host_path", Node::bool(true, node.at));
        }
        if mount.no_copy {
            set(volume, "nocopy", Node::bool(true, node.at));
        }
    }
    if let Some(map) = long.as_map_mut() {
        if let Some(source) = &mount.source {
            set(map, "source", text(source));
        }
        if mount.read_only {
            set(map, "read_only", Node::bool(true, node.at));
        }
        for (key, options) in [("bind", bind), ("volume", volume)] {
            if key == kind || options.as_map().is_some_and(|it| !it.is_empty()) {
                set(map, key, options);
            }
        }
    }
    *node = long;
}

/// `external: {name: N}`, the old way to say `external: true` and `name: N`.
fn external(node: &mut Node, path: &Trail<'_>, shaping: &mut Shaping<'_>) {
    let Some(map) = node.as_map_mut() else { return };
    let Some(entry) = map.get_mut("external") else { return };
    let Value::Map(old) = &mut entry.node.value else { return };
    let at = entry.node.at;
    let old_name = old.remove("name");
    entry.node.value = Node::bool(true, at).value;
    let Some(old_name) = old_name else { return };
    let why = "external.name is deprecated; write name beside external: true";
    shaping.problems.warn(old_name.key_at, &path.key("external").key("name"), why);
    match map.get("name") {
        Some(name) if name.node.as_text() != old_name.node.as_text() => {
            let why = "name and external.name say different things; keep only name";
            shaping.problems.error(old_name.key_at, path, why);
        }
        Some(_) => {}
        None => {
            map.insert("name".to_owned(), old_name);
        }
    }
}
