//! What is true of a project though nobody wrote it.

use std::collections::BTreeMap;

use crate::compose::{
    lexical::clean,
    places,
    tree::{Entry, Map, Node, Position, Value},
};

/// Writes out the default network, the names of resources, implied dependencies and values that
/// come from the project's environment. Doing it twice changes nothing.
pub fn normalise(root: &mut Node, project: &str, environment: &BTreeMap<String, String>) {
    join_default_network(root);
    places::each(root, "services.*", &mut |node, _| {
        let at = node.at;
        if let Some(service) = node.as_map_mut() {
            pull_policy(service);
            build(service, environment);
            variables(service.get_mut("environment"), environment, false);
            replicas(service);
            depend(service, at);
            mount_targets(service);
            inherit_image(service);
        }
    });
    for section in ["networks", "volumes", "configs", "secrets"] {
        places::each(root, &format!("{section}.*"), &mut |node, path| {
            if let Some(key) = path.last_key() {
                name_resource(node, key, project);
            }
        });
    }
}

fn text<'a>(map: &'a Map, key: &str) -> Option<&'a str> {
    map.get(key)?.node.as_text()
}

fn insert(map: &mut Map, key: &str, node: Node) {
    map.insert(key.to_owned(), Entry { key_at: node.at, node });
}

/// A service that names no network is in the default one, which exists only if it is used.
fn join_default_network(root: &mut Node) {
    let mut used = None;
    places::each(root, "services.*", &mut |node, _| {
        let at = node.at;
        let Some(service) = node.as_map_mut() else { return };
        if service.contains_key("provider") || service.contains_key("network_mode") {
            return;
        }
        let networks = service.get("networks").and_then(|it| it.node.as_map());
        if networks.is_none_or(Map::is_empty) {
            let mut map = Map::new();
            insert(&mut map, "default", Node::new(Value::Null, at));
            insert(service, "networks", Node::new(Value::Map(map), at));
            used = Some(at);
        } else if networks.is_some_and(|it| it.contains_key("default")) {
            used = Some(at);
        }
    });
    let (Some(at), Some(root)) = (used, root.as_map_mut()) else { return };
    let nothing = || Entry { key_at: at, node: Node::new(Value::Map(Map::new()), at) };
    let networks = root.entry("networks".to_owned()).or_insert_with(nothing);
    if let Some(networks) = networks.node.as_map_mut() {
        let implied = Entry { key_at: at, node: Node::new(Value::Null, at) };
        networks.entry("default".to_owned()).or_insert(implied);
    }
}

fn pull_policy(service: &mut Map) {
    if text(service, "pull_policy") == Some("if_not_present") {
        let at = service.get("pull_policy").map_or(Position::default(), |it| it.node.at);
        insert(service, "pull_policy", Node::string("missing", at));
    }
}

fn build(service: &mut Map, environment: &BTreeMap<String, String>) {
    let Some(build) = service.get_mut("build") else { return };
    let at = build.node.at;
    let Some(build) = build.node.as_map_mut() else { return };
    build.entry("context".to_owned()).or_insert(Entry { key_at: at, node: Node::string(".", at) });
    if !build.contains_key("dockerfile") && !build.contains_key("dockerfile_inline") {
        insert(build, "dockerfile", Node::string("Dockerfile", at));
    }
    variables(build.get_mut("args"), environment, true);
    if let Some(Value::Map(keys)) = build.get("ssh").map(|it| &it.node.value) {
        let list = keys.iter().map(|(id, entry)| match entry.node.as_text() {
            Some(path) => Node::string(format!("{id}={path}"), entry.node.at),
            None => Node::string(id, entry.node.at),
        });
        let list = Node::new(Value::List(list.collect()), at);
        insert(build, "ssh", list);
    }
}

/// Variables without a value take the environment's, if it has one.
fn variables(map: Option<&mut Entry>, environment: &BTreeMap<String, String>, drop_unset: bool) {
    let Some(map) = map.and_then(|it| it.node.as_map_mut()) else { return };
    for (name, entry) in map.iter_mut() {
        if let (Value::Null, Some(value)) = (&entry.node.value, environment.get(name)) {
            entry.node = Node::string(value, entry.node.at);
        }
    }
    if drop_unset {
        map.retain(|_, entry| entry.node.value != Value::Null);
    }
}

/// `scale` is the older word for `deploy.replicas`, and wins where there is a `deploy`.
fn replicas(service: &mut Map) {
    let Some(scale) = service.get("scale").map(|it| it.node.clone()) else { return };
    let deploy = service.get_mut("deploy").and_then(|it| it.node.as_map_mut());
    if let Some(deploy) = deploy.filter(|it| !it.contains_key("replicas")) {
        insert(deploy, "replicas", scale);
    }
}

/// Who is linked to, shares a namespace or lends volumes must start first.
fn depend(service: &mut Map, at: Position) {
    let mut needed: Vec<(String, bool, Position)> = Vec::new();
    for link in items(service, "links") {
        let Some(name) = link.as_text() else { continue };
        let service = name.split_once(':').map_or(name, |(service, _)| service);
        needed.push((service.to_owned(), true, link.at));
    }
    for key in ["network_mode", "ipc", "pid", "uts", "cgroup"] {
        let mode = text(service, key).and_then(|it| it.strip_prefix("service:"));
        needed.extend(mode.map(|it| (it.to_owned(), true, at)));
    }
    for lender in items(service, "volumes_from") {
        let Some(name) = lender.as_text().filter(|it| !it.starts_with("container:")) else {
            continue;
        };
        let service = name.split_once(':').map_or(name, |(service, _)| service);
        needed.push((service.to_owned(), false, lender.at));
    }
    if needed.is_empty() {
        return;
    }
    let nothing = || Entry { key_at: at, node: Node::new(Value::Map(Map::new()), at) };
    let on = service.entry("depends_on".to_owned()).or_insert_with(nothing);
    let Some(on) = on.node.as_map_mut() else { return };
    for (name, restart, at) in needed {
        on.entry(name).or_insert_with(|| Entry { key_at: at, node: dependency(restart, at) });
    }
}

fn items<'a>(service: &'a Map, key: &str) -> &'a [Node] {
    service.get(key).and_then(|it| it.node.as_list()).unwrap_or_default()
}

fn dependency(restart: bool, at: Position) -> Node {
    let mut map = Map::new();
    insert(&mut map, "condition", Node::string("service_started", at));
    insert(&mut map, "required", Node::bool(true, at));
    insert(&mut map, "restart", Node::bool(restart, at));
    Node::new(Value::Map(map), at)
}

fn mount_targets(service: &mut Map) {
    let Some(volumes) = service.get_mut("volumes") else { return };
    let Value::List(volumes) = &mut volumes.node.value else { return };
    for volume in volumes.iter_mut().filter_map(Node::as_map_mut) {
        if let Some(Value::Scalar(target)) = volume.get_mut("target").map(|it| &mut it.node.value) {
            target.text = clean(&target.text);
        }
    }
}

/// A hook that runs before the start runs in the service's image, unless it names one.
fn inherit_image(service: &mut Map) {
    let Some(image) = service.get("image").map(|it| it.node.clone()) else { return };
    if image.as_text().is_none_or(str::is_empty) {
        return;
    }
    let Some(hooks) = service.get_mut("pre_start") else { return };
    let Value::List(hooks) = &mut hooks.node.value else { return };
    for hook in hooks.iter_mut().filter_map(Node::as_map_mut) {
        if !hook.contains_key("image") {
            insert(hook, "image", image.clone());
        }
    }
}

/// A resource is called by its key: alone if it is external, else behind the project's name.
fn name_resource(node: &mut Node, key: &str, project: &str) {
    if node.value == Value::Null {
        node.value = Value::Map(Map::new());
    }
    let at = node.at;
    let external = node.get("external").and_then(Node::as_text) == Some("true");
    let Some(resource) = node.as_map_mut() else { return };
    if !resource.contains_key("name") {
        let name = if external { key.to_owned() } else { format!("{project}_{key}") };
        insert(resource, "name", Node::string(name, at));
    }
}
