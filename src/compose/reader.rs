//! Reads the files of a project, one layer over the other.
//!
//! Each document of each file goes through the same steps: take its resets, replace variables,
//! bring in what it includes and extends, lay it over what came before, check, lengthen.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
};

use super::{
    dotenv, extends,
    files::{FILE_BYTES_MAX, Files},
    include,
    interpolate::{self, Environment},
    lexical::Folders,
    limits,
    load::LoadOptions,
    merge, normalise, places,
    problem::Problems,
    project::STDIN,
    reset, schema, shape,
    tree::{self, Map, Node, Position, SourceId, Value},
    variables, yaml,
};

/// How many files one project may come to, with all that they include and extend.
pub(super) const FILES_MAX: usize = 1000;

/// Reads files, and gathers what is wrong with them.
pub(super) struct Reader<'a> {
    pub(super) files: &'a dyn Files,
    pub(super) options: &'a LoadOptions,
    pub(super) problems: Problems,
    /// The variables that a warning was given for.
    pub(super) missed: BTreeSet<String>,
    /// The variables that configs and secrets name, with their values.
    pub(super) wanted: Environment,
    /// Names in messages are relative to this.
    working_dir: &'a Path,
    read: usize,
}

/// A file and its documents, of which nothing is understood yet.
pub(super) struct File {
    pub(super) path: PathBuf,
    /// Where it begins, of which a file without a value has no other trace.
    pub(super) start: Position,
    pub(super) documents: Vec<Node>,
}

/// What the paths and the variables of some files refer to.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) folder: &'a Folder,
    pub(super) environment: &'a Environment,
    /// The files that led here by including each other.
    pub(super) included: &'a [PathBuf],
}

/// A folder that relative paths begin at.
pub(super) struct Folder {
    /// Where it is.
    pub(super) path: PathBuf,
    /// What stands for it in paths that are not to be resolved: relative to the folder that
    /// refers to it.
    pub(super) written: String,
}

impl<'a> Reader<'a> {
    pub(super) fn new(files: &'a dyn Files, options: &'a LoadOptions, dir: &'a Path) -> Self {
        Self {
            files,
            options,
            problems: Problems::default(),
            missed: BTreeSet::new(),
            wanted: Environment::new(),
            working_dir: dir,
            read: 0,
        }
    }

    /// What messages call a file.
    pub(super) fn name_of(&self, path: &Path) -> String {
        match path.strip_prefix(self.working_dir) {
            Ok(relative) => relative.display().to_string(),
            Err(_) if path.as_os_str() == STDIN => "<stdin>".into(),
            Err(_) => path.display().to_string(),
        }
    }

    pub(super) fn source(&mut self, path: &Path) -> SourceId {
        self.problems.source(self.name_of(path))
    }

    /// Notes a problem about a value of a tree.
    pub(super) fn error(
        &mut self,
        at: Position,
        path: impl Into<tree::Path>,
        message: impl Into<String>,
    ) {
        self.problems.error(at, path, message);
    }

    /// The content of a file that is referred to at a place.
    pub(super) fn bytes(
        &mut self,
        path: &Path,
        at: Position,
        place: &tree::Path,
    ) -> Option<Vec<u8>> {
        self.read += 1;
        if self.read > FILES_MAX {
            let message = format!("the project comes to more than {FILES_MAX} files; use fewer");
            self.error(at, place, message);
            return None;
        }
        let name = self.name_of(path);
        let message = match self.files.read(path) {
            Ok(bytes) if bytes.len() <= FILE_BYTES_MAX => return Some(bytes),
            Ok(_) => format!("{name} is larger than {FILE_BYTES_MAX} bytes; split it"),
            Err(_) if self.files.is_dir(path) => {
                format!("{name} is a directory; name a file in it")
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                format!("{name}: no such file; create it or correct the path")
            }
            Err(error) => format!("cannot read {name}: {error}"),
        };
        self.error(at, place, message);
        None
    }

    /// Reads and parses a Compose file.
    pub(super) fn file(&mut self, path: PathBuf, at: Position, place: &tree::Path) -> Option<File> {
        let bytes = self.bytes(&path, at, place)?;
        let source = self.source(&path);
        let documents = yaml::parse(&bytes, source, &mut self.problems)?;
        Some(File { path, start: Position { source, line: 1, column: 1 }, documents })
    }

    /// Reads files of variables; later ones win over earlier ones, and `environment` is what they
    /// may refer to.
    pub(super) fn env_files(
        &mut self,
        paths: &[PathBuf],
        environment: &Environment,
        at: Position,
        place: &tree::Path,
    ) -> Environment {
        let mut variables = Environment::new();
        let outer = |name: &str| environment.get(name).cloned();
        for path in paths {
            let Some(bytes) = self.bytes(path, at, place) else { continue };
            let source = self.source(path);
            let (missed, problems) = (&mut self.missed, &mut self.problems);
            dotenv::parse(&bytes, source, &outer, &mut variables, missed, problems);
        }
        variables
    }

    /// Lays files over each other and completes what they come to.
    pub(super) fn model(&mut self, files: Vec<File>, scope: Scope<'_>) -> Node {
        let mut model = Node::new(Value::Map(Map::new()), Position::default());
        for file in files {
            for document in file.documents {
                model = self.layer(model, document, &file.path, scope);
            }
        }
        shape::fill_defaults(&mut model);
        drop_no_commands(&mut model);
        self.wanted.extend(variables::look_up(&mut model, scope.environment));
        model
    }

    fn layer(&mut self, mut model: Node, mut over: Node, path: &Path, scope: Scope<'_>) -> Node {
        let resets = reset::take(&mut over);
        if !limits::check(&over, &mut self.problems) || !self.prepare(&mut over, scope.environment)
        {
            return model;
        }
        include::apply(self, &mut over, &resets, path, scope);
        reset::apply(&mut model, &resets);
        extends::apply(self, &mut over, resets, path, scope);
        let mut merged = merge::merge(model, over, &mut self.problems);
        if !limits::check(&merged, &mut self.problems) {
            return Node::new(Value::Map(Map::new()), Position::default());
        }
        match self.options.interpolate {
            true => schema::check(&mut merged, &mut self.problems),
            false => schema::check_uninterpolated(&mut merged, &mut self.problems),
        }
        self.drop_version(&mut merged);
        self.lengthen(&mut merged);
        merged
    }

    /// Replaces variables; false if the document is no mapping.
    fn prepare(&mut self, document: &mut Node, environment: &Environment) -> bool {
        if document.as_map().is_none() {
            let message = format!(
                "the top-level object must be a mapping with keys such as `services:`, but is {}",
                document.kind()
            );
            self.error(document.at, tree::Path::default(), message);
            return false;
        }
        if self.options.interpolate {
            interpolate::interpolate(document, environment, &mut self.missed, &mut self.problems);
        }
        true
    }

    fn lengthen(&mut self, model: &mut Node) {
        match self.options.interpolate {
            true => shape::canonical(model, &mut self.problems),
            false => shape::canonical_uninterpolated(model, &mut self.problems),
        }
    }

    fn drop_version(&mut self, model: &mut Node) {
        let Some(version) = model.as_map_mut().and_then(|it| it.remove("version")) else { return };
        let message = "the attribute `version` is obsolete and ignored; remove it";
        self.problems.warn(version.key_at, tree::Path::default().key("version"), message);
    }

    /// The services of a file that another one extends, with paths relative to `folder`, and what
    /// the file resets.
    pub(super) fn extended(
        &mut self,
        file: File,
        folder: &str,
        environment: &Environment,
    ) -> (Node, Vec<tree::Path>) {
        let mut model = Node::new(Value::Map(Map::new()), Position::default());
        let mut resets = Vec::new();
        for mut document in file.documents {
            resets = reset::take(&mut document);
            if self.prepare(&mut document, environment) {
                reset::apply(&mut model, &resets);
                model = merge::merge(model, document, &mut self.problems);
                self.lengthen(&mut model);
            }
        }
        self.paths(&mut model, folder, environment);
        (model, resets)
    }

    /// Puts a folder before every relative path.
    pub(super) fn paths(&mut self, model: &mut Node, base: &str, environment: &Environment) {
        let home = environment.get("HOME").map(String::as_str);
        normalise::paths(model, Folders { base, home }, &mut self.problems);
    }
}

/// `command: null` is what no command at all is: the image's own.
fn drop_no_commands(model: &mut Node) {
    places::each(model, "services.*", &mut |service, _| {
        if let Some(service) = service.as_map_mut() {
            let is_command = |key: &str| matches!(key, "command" | "entrypoint");
            service.retain(|key, it| !(is_command(key) && it.node.value == Value::Null));
        }
    });
}
