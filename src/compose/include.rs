//! `include`: whole projects that become part of this one, each with its own folder and variables.

use std::path::{Path, PathBuf};

use super::{
    extends::{relative, remote},
    merge,
    reader::{Folder, Reader, Scope},
    reset,
    tree::{self, Map, Node, Position, Value},
};

/// What an included project brings.
const KINDS: [&str; 6] = ["services", "volumes", "networks", "secrets", "configs", "models"];

/// How deep projects may include each other.
pub(super) const DEPTH_MAX: usize = 50;

/// Brings into a document what it includes.
pub(super) fn apply(
    reader: &mut Reader<'_>,
    document: &mut Node,
    resets: &[tree::Path],
    path: &Path,
    scope: Scope<'_>,
) {
    let Some(include) = document.as_map_mut().and_then(|it| it.remove("include")) else { return };
    let place = tree::Path::default().key("include");
    let items = match include.node.value {
        Value::List(items) => items,
        Value::Null => return,
        Value::Scalar(_) | Value::Map(_) => {
            let message = "`include` must be a list of files; put a `- ` before it";
            return reader.error(include.node.at, &place, message);
        }
    };
    let mut included = scope.included.to_vec();
    included.push(path.into());
    let scope = Scope { included: &included, ..scope };
    for (index, item) in items.iter().enumerate() {
        let place = place.index(index);
        let Some(wanted) = wanted(reader, item, &place) else { continue };
        if let Some(imported) = imported(reader, &wanted, &place, scope) {
            let over = std::mem::replace(document, Node::new(Value::Null, document.at));
            *document = join(reader, imported, over, resets);
        }
    }
}

/// One item of `include`, understood.
struct Wanted {
    paths: Vec<String>,
    folder: Option<String>,
    env_files: Vec<String>,
    at: Position,
}

fn wanted(reader: &mut Reader<'_>, item: &Node, place: &tree::Path) -> Option<Wanted> {
    let mut wanted = Wanted { paths: Vec::new(), folder: None, env_files: Vec::new(), at: item.at };
    let map = match &item.value {
        Value::Map(map) => map,
        Value::Scalar(scalar) => {
            wanted.paths.push(scalar.text.clone());
            return Some(wanted);
        }
        Value::Null | Value::List(_) => {
            let message =
                format!("this is {}; write a path, or a mapping with `path:`", item.kind());
            reader.error(item.at, place, message);
            return None;
        }
    };
    let mut good = true;
    for (key, entry) in map {
        let (node, place) = (&entry.node, place.key(key.as_str()));
        let texts = texts(node);
        match (key.as_str(), texts) {
            ("path", Some(paths)) => wanted.paths = paths,
            ("env_file", Some(paths)) => wanted.env_files = paths,
            ("project_directory", Some(mut paths)) if paths.len() < 2 => {
                wanted.folder = paths.pop()
            }
            ("path" | "env_file" | "project_directory", _) => {
                reader.error(node.at, &place, format!("this is {}; write a path", node.kind()));
                good = false;
            }
            (key, _) if key.starts_with("x-") => {}
            (key, _) => {
                let message = format!(
                    "unknown key `{key}`, which is ignored; known are path, env_file and \
                     project_directory"
                );
                reader.problems.warn(entry.key_at, &place, message);
            }
        }
    }
    if wanted.paths.is_empty() && good {
        reader.error(item.at, place, "`path` is missing; say which file to include");
        good = false;
    }
    wanted.folder = wanted.folder.filter(|it| !it.is_empty());
    good.then_some(wanted)
}

/// A text or a list of texts.
fn texts(node: &Node) -> Option<Vec<String>> {
    match &node.value {
        Value::Null => Some(Vec::new()),
        Value::Scalar(scalar) => Some(vec![scalar.text.clone()]),
        Value::List(list) => list.iter().map(|it| it.as_text().map(str::to_owned)).collect(),
        Value::Map(_) => None,
    }
}

/// The included project, with its paths relative to the including one.
fn imported(
    reader: &mut Reader<'_>,
    wanted: &Wanted,
    place: &tree::Path,
    scope: Scope<'_>,
) -> Option<Node> {
    let at = wanted.at;
    if let Some(message) = wanted.paths.iter().find_map(|it| remote(it)) {
        reader.error(at, place, message);
        return None;
    }
    let paths: Vec<PathBuf> = wanted.paths.iter().map(|it| scope.folder.locate(it)).collect();
    let main = paths.first()?;
    if scope.included.contains(main) || scope.included.len() > DEPTH_MAX {
        let links: Vec<String> =
            scope.included.iter().chain([main]).map(|it| reader.name_of(it)).collect();
        let message = format!("include cycle detected: {}; break it", links.join(" includes "));
        reader.error(at, place, message);
        return None;
    }
    let folder = match &wanted.folder {
        None => scope.folder.below(main),
        Some(written) => {
            let path = scope.folder.locate(written);
            let relative = match written.starts_with('/') {
                true => written.clone(),
                false => relative(&scope.folder.path, &path),
            };
            Folder { path, written: relative }
        }
    };
    let mut environment = scope.environment.clone();
    let env_files = env_files(reader, wanted, &folder, scope);
    let read = reader.env_files(&env_files, scope.environment, at, &place.key("env_file"));
    for (name, value) in read {
        environment.entry(name).or_insert(value);
    }
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        files.push(reader.file(path, at, place)?);
    }
    let inside = Scope { folder: &folder, environment: &environment, included: scope.included };
    let mut model = reader.model(files, inside);
    reader.paths(&mut model, &folder.written, &environment);
    if let Some(map) = model.as_map_mut() {
        map.retain(|key, _| KINDS.contains(&key.as_str()));
    }
    Some(model)
}

fn env_files(
    reader: &Reader<'_>,
    wanted: &Wanted,
    folder: &Folder,
    scope: Scope<'_>,
) -> Vec<PathBuf> {
    if wanted.env_files.is_empty() {
        let default = folder.path.join(".env");
        let is_file = reader.files.exists(&default) && !reader.files.is_dir(&default);
        return is_file.then_some(default).into_iter().collect();
    }
    let named = wanted.env_files.iter().filter(|it| *it != "/dev/null");
    named.map(|it| scope.folder.locate(it)).collect()
}

/// Lays a document over what it includes; where both say something, the document's resets hold.
fn join(reader: &mut Reader<'_>, mut base: Node, over: Node, resets: &[tree::Path]) -> Node {
    let says = |kind: &str, name: &str| over.get(kind).is_some_and(|it| it.get(name).is_some());
    let contested: Vec<tree::Path> = resets
        .iter()
        .filter(|place| match place.steps() {
            [tree::Step::Key(kind), tree::Step::Key(name), ..] => says(kind, name),
            _ => false,
        })
        .cloned()
        .collect();
    reset::apply(&mut base, &contested);
    let sides_are_maps = |kind: &str| over.get(kind).is_none_or(|it| it.as_map().is_some());
    if let Some(map) = base.as_map_mut() {
        // What is no mapping in the document is a problem of its own that the schema reports.
        map.retain(|kind, entry| {
            sides_are_maps(kind) && entry.node.as_map().is_some_and(|it: &Map| !it.is_empty())
        });
    }
    merge::merge(base, over, &mut reader.problems)
}
