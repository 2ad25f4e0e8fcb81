//! Variables and labels that come from files.

use std::collections::BTreeMap;

use crate::compose::{
    problem::Problems,
    tree::{Entry, Map, Node, Path, Position, Value},
};

/// A file of variables to read.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// Its absolute path.
    pub path: &'a str,
    /// Its format, if not the usual one.
    pub format: Option<&'a str>,
    /// What a `$NAME` in it means, before the variables known so far are asked.
    pub lookup: &'a dyn Fn(&str) -> Option<String>,
}

/// Adds a file's variables to those known so far. False if there is no such file.
pub type ReadVariables<'a> =
    dyn FnMut(Request<'_>, &mut BTreeMap<String, String>) -> Result<bool, String> + 'a;

/// Puts the variables of each service's `env_file`s under those of its `environment`, and drops
/// `env_file`. A file whose place says `required: false` may be missing.
pub fn environment(
    root: &mut Node,
    project: &BTreeMap<String, String>,
    read: &mut ReadVariables<'_>,
    problems: &mut Problems,
) {
    each_service(root, |service, path| {
        let Some(files) = service.remove("env_file") else { return };
        let own = texts(service.get("environment"));
        let mut known = own.clone();
        let lookup = |name: &str| project.get(name).or_else(|| own.get(name)).cloned();
        for file in File::of(&files.node, &path.key("env_file")) {
            let request = Request { path: file.name, format: file.format, lookup: &lookup };
            let found = read(request, &mut known);
            file.note(found, problems);
        }
        put_under(service, "environment", known, files.key_at);
    });
}

/// Puts the labels of each service's `label_file`s under its `labels`, and drops `label_file`.
pub fn labels(root: &mut Node, read: &mut ReadVariables<'_>, problems: &mut Problems) {
    each_service(root, |service, path| {
        let Some(files) = service.remove("label_file") else { return };
        let mut known = BTreeMap::new();
        for file in File::of(&files.node, &path.key("label_file")) {
            let before = known.clone();
            let lookup = |name: &str| before.get(name).cloned();
            let request = Request { path: file.name, format: None, lookup: &lookup };
            let found = read(request, &mut known);
            file.note(found, problems);
        }
        put_under(service, "labels", known, files.key_at);
    });
}

fn each_service(root: &mut Node, mut visit: impl FnMut(&mut Map, &Path)) {
    let services = root.as_map_mut().and_then(|it| it.get_mut("services"));
    let Some(services) = services.and_then(|it| it.node.as_map_mut()) else { return };
    let path = Path::default().key("services");
    for (name, entry) in services {
        if let Some(service) = entry.node.as_map_mut() {
            visit(service, &path.key(name));
        }
    }
}

/// Those entries that have a value.
fn texts(map: Option<&Entry>) -> BTreeMap<String, String> {
    let entries = map.and_then(|it| it.node.as_map()).into_iter().flatten();
    entries
        .filter_map(|(key, entry)| Some((key.clone(), entry.node.as_text()?.to_owned())))
        .collect()
}

/// Adds what is not there yet.
fn put_under(service: &mut Map, key: &str, values: BTreeMap<String, String>, at: Position) {
    if values.is_empty() {
        return;
    }
    let empty = || Entry { key_at: at, node: Node::new(Value::Map(Map::new()), at) };
    let entry = service.entry(key.to_owned()).or_insert_with(empty);
    let Some(map) = entry.node.as_map_mut() else { return };
    for (key, value) in values {
        map.entry(key).or_insert(Entry { key_at: at, node: Node::string(value, at) });
    }
}

/// One file as a service names it.
struct File<'a> {
    name: &'a str,
    format: Option<&'a str>,
    required: bool,
    at: Position,
    path: Path,
}

impl<'a> File<'a> {
    fn of(list: &'a Node, path: &Path) -> Vec<Self> {
        let items = list.as_list().unwrap_or_default().iter().enumerate();
        items
            .filter_map(|(index, item)| {
                Some(File {
                    name: item.as_text().or_else(|| item.get("path")?.as_text())?,
                    format: item.get("format").and_then(Node::as_text),
                    required: item.get("required").and_then(Node::as_text) != Some("false"),
                    at: item.at,
                    path: path.index(index),
                })
            })
            .collect()
    }

    fn note(&self, found: Result<bool, String>, problems: &mut Problems) {
        let why = match found {
            Ok(true) => return,
            Ok(false) if !self.required => return,
            Ok(false) => format!("there is no file {}; make it, or say required: false", self.name),
            Err(why) => format!("{}: {why}", self.name),
        };
        problems.error(self.at, &self.path, why);
    }
}
