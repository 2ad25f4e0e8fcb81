//! `extends`: a service that begins as another one, of the same file or of a further one.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use super::{
    lexical, merge,
    reader::{Folder, Reader, Scope},
    reset,
    tree::{self, Entry, Map, Node, Position, Trail, Value},
};

/// How long a chain of services that extend each other may be.
pub(super) const CHAIN_MAX: usize = 100;

/// How many values all extended services of one file may bring together.
pub(super) const EXTENDED_NODES_MAX: usize = 30_000;

/// Completes every service of a document that extends another.
pub(super) fn apply(
    reader: &mut Reader<'_>,
    document: &mut Node,
    resets: Vec<tree::Path>,
    path: &Path,
    scope: Scope<'_>,
) {
    let Some(services) = document.as_map_mut().and_then(|it| it.get_mut("services")) else {
        return;
    };
    let Value::Map(map) = &mut services.node.value else { return };
    if map.values().all(|it| it.node.get("extends").is_none()) {
        return;
    }
    let names: Vec<String> = map.keys().cloned().collect();
    let opened = Opened { path: path.into(), services: std::mem::take(map), resets };
    let mut extends = Extends {
        reader,
        scope,
        files: vec![opened],
        chain: Vec::new(),
        too_long: BTreeSet::new(),
        budget: EXTENDED_NODES_MAX,
    };
    for name in names {
        extends.complete(0, &name);
    }
    *map = extends.files.swap_remove(0).services;
}

/// A file whose services are extended.
struct Opened {
    path: PathBuf,
    services: Map,
    resets: Vec<tree::Path>,
}

struct Extends<'r, 'a> {
    reader: &'r mut Reader<'a>,
    scope: Scope<'r>,
    /// The document itself, then what it refers to.
    files: Vec<Opened>,
    /// The services that wait for what they extend.
    chain: Vec<(usize, String)>,
    /// The services of chains that are too long, which is said of each chain once.
    too_long: BTreeSet<(usize, String)>,
    budget: usize,
}

/// What `extends` says.
struct Reference {
    service: String,
    file: Option<String>,
    at: Position,
}

impl Extends<'_, '_> {
    /// Completes a service in its file, and before it what it extends.
    fn complete(&mut self, file: usize, name: &str) -> Option<()> {
        if self.too_long.contains(&(file, name.to_owned())) {
            return None;
        }
        let top = Trail::default();
        let services = top.key("services");
        let service = services.key(name);
        let place = service.key("extends");
        let entry = self.files[file].services.get(name)?;
        let Some(extends) = entry.node.get("extends") else { return Some(()) };
        let reference = match reference(extends, name) {
            Ok(reference) => reference,
            Err(message) => {
                let at = extends.at;
                self.reader.error(at, &place, message);
                return None;
            }
        };
        let at = reference.at;
        let target = match &reference.file {
            Some(path) => self.open(path, at, &place)?,
            None => file,
        };
        if !self.files[target].services.contains_key(&reference.service) {
            let message = format!(
                "cannot extend service {name:?}: service {:?} not found in {}; name one of: {}",
                reference.service,
                self.reader.name_of(&self.files[target].path),
                self.files[target]
                    .services
                    .keys()
                    .map(String::as_str)
                    .collect::<Vec<_>>()
                    .join(", ")
            );
            self.reader.error(at, &place, message);
            return None;
        }
        self.chain.push((file, name.into()));
        let known = self.may_follow(target, &reference.service, at, &place);
        let complete = known.and_then(|()| self.complete(target, &reference.service));
        self.chain.pop();
        complete?;
        self.lay_over(file, name, target, &reference, &place)
    }

    /// Whether a service can be extended without going in circles.
    fn may_follow(
        &mut self,
        target: usize,
        service: &str,
        at: Position,
        place: &Trail<'_>,
    ) -> Option<()> {
        let path_of = |it: usize| &self.files[it].path;
        let again = self
            .chain
            .iter()
            .position(|(file, name)| name == service && path_of(*file) == path_of(target));
        if let Some(first) = again {
            let links: Vec<String> = self.chain[first..]
                .iter()
                .map(|(file, name)| format!("{name} in {}", self.reader.name_of(path_of(*file))))
                .collect();
            let message = format!(
                "circular reference: {} extends {service} again; break the cycle",
                links.join(" extends ")
            );
            self.reader.error(at, place, message);
            return None;
        }
        if self.chain.len() > CHAIN_MAX {
            let message = format!("more than {CHAIN_MAX} services extend each other; use fewer");
            self.reader.error(at, place, message);
            self.too_long.extend(self.chain.iter().cloned());
            return None;
        }
        Some(())
    }

    fn lay_over(
        &mut self,
        file: usize,
        name: &str,
        target: usize,
        reference: &Reference,
        place: &Trail<'_>,
    ) -> Option<()> {
        let base = &self.files[target].services.get(&reference.service)?.node;
        if base.value == Value::Null {
            return Some(());
        }
        let Some(left) = self.budget.checked_sub(weight(base)) else {
            let message = format!(
                "extended services come to more than {EXTENDED_NODES_MAX} values; extend smaller ones"
            );
            self.reader.error(reference.at, place, message);
            return None;
        };
        self.budget = left;
        let base = base.clone();
        let opened = &mut self.files[file];
        let Entry { key_at, node: own } = opened.services.remove(name)?;
        let base = without_resets(base, name, &opened.resets);
        let mut merged = merge::extend(name, base, own, &mut self.reader.problems);
        if let Some(map) = merged.as_map_mut() {
            map.remove("extends");
        }
        opened.services.insert(name.into(), Entry { key_at, node: merged });
        Some(())
    }

    /// Reads a file that is extended, once.
    fn open(&mut self, written: &str, at: Position, place: &Trail<'_>) -> Option<usize> {
        let folder = self.scope.folder;
        let path = folder.locate(written);
        if let Some(known) = self.files[1..].iter().position(|it| it.path == path) {
            return Some(known + 1);
        }
        let place = place.key("file");
        if let Some(message) = remote(written) {
            self.reader.error(at, &place, message);
            return None;
        }
        let file = self.reader.file(path.clone(), at, &tree::Path::from(&place))?;
        let inside = folder.below(&path);
        let (mut model, resets) =
            self.reader.extended(file, &inside.written, self.scope.environment);
        let services = model.as_map_mut().and_then(|it| it.remove("services"));
        let Some(Value::Map(services)) = services.map(|it| it.node.value) else {
            let name = self.reader.name_of(&path);
            let message = format!("{name} has no mapping `services`; extend a file that has one");
            self.reader.error(at, &place, message);
            return None;
        };
        self.files.push(Opened { path, services, resets });
        Some(self.files.len() - 1)
    }
}

fn reference(extends: &Node, name: &str) -> Result<Reference, String> {
    let at = extends.at;
    let service = match &extends.value {
        Value::Scalar(scalar) => {
            return Ok(Reference { service: scalar.text.clone(), file: None, at });
        }
        Value::Map(map) => map.get("service").and_then(|it| it.node.as_text()),
        Value::Null | Value::List(_) => None,
    };
    let file = extends.get("file").filter(|it| it.value != Value::Null);
    let path = file.map(|it| it.as_text().ok_or("`file` must be a path, as text"));
    match service {
        Some(service) => Ok(Reference {
            service: service.into(),
            file: path.transpose()?.map(str::to_owned),
            at,
        }),
        None => Err(format!(
            "extends.{name}.service is required; write the service's name, or `service:` and `file:`"
        )),
    }
}

/// Why a reference that is not a path on this machine cannot be followed.
pub(super) fn remote(written: &str) -> Option<String> {
    let is_remote =
        written.contains("://") || written.starts_with("git@") || written.starts_with("oci:");
    is_remote.then(|| {
        format!("{written} is not on this machine; fetch it first and refer to the local file")
    })
}

fn without_resets(service: Node, name: &str, resets: &[tree::Path]) -> Node {
    let entry = |key: &str, node| {
        let entry = Entry { key_at: Position::default(), node };
        Node::new(Value::Map(Map::from([(key.to_owned(), entry)])), Position::default())
    };
    let mut root = entry("services", entry(name, service));
    reset::apply(&mut root, resets);
    let services = root.as_map_mut().and_then(|it| it.remove("services"));
    let service = services.and_then(|mut it| it.node.as_map_mut()?.remove(name));
    service.map_or_else(|| Node::new(Value::Map(Map::new()), Position::default()), |it| it.node)
}

/// How many values a tree holds.
pub(super) fn weight(node: &Node) -> usize {
    match &node.value {
        Value::Null | Value::Scalar(_) => 1,
        Value::List(list) => 1 + list.iter().map(weight).sum::<usize>(),
        Value::Map(map) => 1 + map.values().map(|it| weight(&it.node)).sum::<usize>(),
    }
}

impl Folder {
    /// Where something is that was named relative to this folder.
    pub(super) fn locate(&self, written: &str) -> PathBuf {
        lexical::clean(&self.path.join(written).to_string_lossy()).into()
    }

    /// The folder that a file is in.
    pub(super) fn below(&self, file: &Path) -> Folder {
        let path = file.parent().unwrap_or(Path::new("/")).to_path_buf();
        let written = relative(&self.path, &path);
        Folder { path, written }
    }
}

/// The way from one absolute folder to another, as text.
pub(super) fn relative(from: &Path, to: &Path) -> String {
    let shared = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    let up = from.components().skip(shared).map(|_| "..".to_owned());
    let down = to.components().skip(shared).map(|it| it.as_os_str().to_string_lossy().into_owned());
    let parts: Vec<String> = up.chain(down).collect();
    if parts.is_empty() { ".".into() } else { parts.join("/") }
}
