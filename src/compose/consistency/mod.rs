//! Whether a project makes sense as a whole: what is named exists, what excludes each other does
//! not stand together, and nothing waits for itself.
//!
//! The tree must be normalised. Follows compose-go's validation and consistency checks, but
//! reports everything at once.

mod cycles;
mod resources;
mod service;

use std::collections::{BTreeMap, BTreeSet};

use super::{
    places,
    problem::Problems,
    tree::{Entry, Map, Node, Path, Position, Trail},
};

/// Checks a whole project. What services say about each other is checked only for those that are
/// `active`; the others may lean on what is not there.
pub fn check(root: &Node, active: &BTreeSet<String>, problems: &mut Problems) {
    resources::check(root, problems);
    let project = Project {
        services: places::section(root, "services").collect(),
        active,
        sections: ["networks", "volumes", "secrets", "configs", "models"]
            .map(|name| (name, places::section(root, name).map(|(key, _)| key).collect()))
            .into(),
    };
    let top = Trail::default();
    let services = top.key("services");
    for (name, node) in &project.services {
        let path = &services.key(name);
        if let Some(map) = node.as_map() {
            let mut service = Service { name, map, at: node.at, path, problems };
            service.values();
            if active.contains(*name) {
                service.relations(&project);
            }
        }
    }
    container_names(&project, problems);
    cycles::check(&project, problems);
}

/// What the checks of a service look things up in.
struct Project<'a> {
    services: BTreeMap<&'a str, &'a Node>,
    active: &'a BTreeSet<String>,
    sections: BTreeMap<&'static str, BTreeSet<&'a str>>,
}

/// One service under check.
struct Service<'a> {
    name: &'a str,
    map: &'a Map,
    at: Position,
    path: &'a Trail<'a>,
    problems: &'a mut Problems,
}

impl<'a> Service<'a> {
    fn get(&self, key: &str) -> Option<&'a Node> {
        let entry: Option<&'a Entry> = self.map.get(key);
        entry.map(|it| &it.node)
    }

    fn text(&self, key: &str) -> Option<&'a str> {
        self.get(key)?.as_text()
    }

    fn list(&self, key: &str) -> &'a [Node] {
        self.get(key).and_then(Node::as_list).unwrap_or_default()
    }

    /// Notes that a key is wrong, at the place where the key was written.
    fn wrong(&mut self, key: &str, why: impl Into<String>) {
        let at = self.map.get(key).map_or(self.at, |it| it.key_at);
        self.problems.error(at, &self.path.key(key), why);
    }
}

/// What a node holds under a path of keys.
fn inside<'a>(node: &'a Node, keys: &[&str]) -> Option<&'a Node> {
    keys.iter().try_fold(node, |node, key| node.get(key))
}

fn container_names(project: &Project<'_>, problems: &mut Problems) {
    let mut taken: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, service) in &project.services {
        let Some(called) = service.get("container_name").filter(|_| project.active.contains(*name))
        else {
            continue;
        };
        let Some(text) = called.as_text().filter(|it| !it.is_empty()) else { continue };
        if let Some(other) = taken.insert(text, name) {
            let path = Path::default().key("services").key(*name).key("container_name");
            let why =
                format!("{text:?} is already the container_name of {other:?}; give each its own");
            problems.error(called.at, &path, why);
        }
    }
}

#[cfg(test)]
mod tests;
