//! The whole way from a request to a canonical model.
//!
//! Loading is a function of the request and the files: what the machine's environment and working
//! directory are is part of the request.

use std::path::PathBuf;

use super::{
    consistency,
    files::Files,
    interpolate::Environment,
    normalise,
    problem::Problems,
    project::{self, Project},
    reader::{File, Folder, Reader, Scope},
    select::Choice,
    tree::{self, Entry, Node, Position},
    variables,
};

/// What to load.
#[derive(Clone, Debug, Default)]
pub struct LoadRequest {
    /// The files that were named (`-f`), in the order in which they are laid over each other; `-`
    /// is standard input. None: look for them.
    pub files: Vec<String>,
    /// Files of variables that were named (`--env-file`). None: `.env` beside the project.
    pub env_files: Vec<String>,
    /// Profiles that were named (`--profile`).
    pub profiles: Vec<String>,
    /// The project's name, if given (`-p`).
    pub project_name: Option<String>,
    /// The project's folder, if given (`--project-directory`).
    pub project_directory: Option<String>,
    /// Services that were named. None: all whose profiles are on.
    pub services: Vec<String>,
    /// The absolute folder we are in.
    pub working_dir: PathBuf,
    /// The variables that are set.
    pub environment: Environment,
    /// Which steps to take.
    pub options: LoadOptions,
}

/// Which steps of loading to take; the default is all of them.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Replace variables. Without, the services are neither chosen nor checked against each other.
    pub interpolate: bool,
    /// Write out what is implied.
    pub normalise: bool,
    /// Check that the project makes sense as a whole.
    pub check_consistency: bool,
    /// Make paths absolute.
    pub resolve_paths: bool,
    /// Read `env_file`s.
    pub resolve_environment: bool,
    /// Keep resources that no service uses.
    pub all_resources: bool,
    /// Keep services whose profiles are off.
    pub all_services: bool,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            interpolate: true,
            normalise: true,
            check_consistency: true,
            resolve_paths: true,
            resolve_environment: true,
            all_resources: false,
            all_services: false,
        }
    }
}

/// A project.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The model in its long form, with only the services that are to run.
    pub model: Node,
    /// What it is called.
    pub name: String,
    /// The folder that it lives in.
    pub folder: PathBuf,
    /// The files that it was read from, without those that they include.
    pub files: Vec<PathBuf>,
    /// The variables that its files could refer to, and those of included projects that configs
    /// and secrets are made of.
    pub environment: Environment,
    /// The profiles that are on.
    pub profiles: Vec<String>,
    /// What was noted on the way; only warnings.
    pub problems: Problems,
}

/// Loads a project: all of it, or every problem that it has.
pub fn load(request: &LoadRequest, files: &dyn Files) -> Result<Loaded, Problems> {
    let mut reader = Reader::new(files, &request.options, &request.working_dir);
    match run(request, &mut reader) {
        Some(loaded) if !reader.problems.has_errors() => {
            Ok(Loaded { problems: reader.problems, ..loaded })
        }
        _ => Err(reader.problems),
    }
}

fn run(request: &LoadRequest, reader: &mut Reader<'_>) -> Option<Loaded> {
    let mut project = project::find(request, reader)?;
    let files = read_all(&project, reader)?;
    let documents = files.iter().flat_map(|it| &it.documents);
    let name = project::name(request, &project, documents, &mut reader.problems)?;
    project.environment.insert("COMPOSE_PROJECT_NAME".into(), name.clone());
    let model = model(files, &name, &project, request, reader)?;
    let profiles = profiles(request, &project.environment);
    for (name, value) in std::mem::take(&mut reader.wanted) {
        project.environment.entry(name).or_insert(value);
    }
    let mut loaded = Loaded {
        model,
        name,
        folder: project.folder,
        files: project.files,
        environment: project.environment,
        profiles,
        problems: Problems::default(),
    };
    if request.options.interpolate {
        complete(&mut loaded, request, reader);
    }
    Some(loaded)
}

/// Reads every file before any is understood, so that all of them are known to be YAML.
fn read_all(project: &Project, reader: &mut Reader<'_>) -> Option<Vec<File>> {
    let mut files = Vec::with_capacity(project.files.len());
    for path in &project.files {
        files.push(reader.file(path.clone(), Position::default(), &tree::Path::default()));
    }
    files.into_iter().collect()
}

/// The model that the files come to, before services are chosen.
fn model(
    files: Vec<File>,
    name: &str,
    project: &Project,
    request: &LoadRequest,
    reader: &mut Reader<'_>,
) -> Option<Node> {
    let base = project.folder.to_string_lossy().into_owned();
    let folder = Folder { path: project.folder.clone(), written: base.clone() };
    let scope = Scope { folder: &folder, environment: &project.environment, included: &[] };
    let start = files.first().map_or_else(Position::default, |it| it.start);
    let mut model = reader.model(files, scope);
    let root = model.as_map_mut()?;
    if root.is_empty() {
        if !reader.problems.has_errors() {
            let message = "empty compose file: it has no `services:`; write one";
            reader.error(start, tree::Path::default(), message);
        }
        return None;
    }
    let at = root.get("name").map_or_else(Position::default, |it| it.node.at);
    root.insert("name".into(), Entry { key_at: at, node: Node::string(name, at) });
    if request.options.resolve_paths {
        reader.paths(&mut model, &base, &project.environment);
    }
    if request.options.normalise {
        normalise::normalise(&mut model, name, &project.environment);
    }
    Some(model)
}

/// The profiles that are on: those named, else those of the environment.
fn profiles(request: &LoadRequest, environment: &Environment) -> Vec<String> {
    if !request.profiles.is_empty() {
        return request.profiles.clone();
    }
    let listed = environment.get("COMPOSE_PROFILES").map(String::as_str).unwrap_or_default();
    listed.split(',').map(str::trim).filter(|it| !it.is_empty()).map(str::to_owned).collect()
}

/// Chooses the services, checks them, and reads their files of variables and labels.
fn complete(loaded: &mut Loaded, request: &LoadRequest, reader: &mut Reader<'_>) {
    let options = &request.options;
    let model = &mut loaded.model;
    let choice = Choice {
        profiles: loaded.profiles.clone(),
        services: request.services.clone(),
        all_resources: options.all_resources,
    };
    let active = choice.by_profile(model);
    if options.check_consistency && !reader.problems.has_errors() {
        consistency::check(model, &active, &mut reader.problems);
    }
    // Also of services that are not chosen below: a project whose files are missing is broken.
    variables::resolve(reader, model, &loaded.environment, |name| active.contains(name));
    if !options.all_services {
        choice.apply(model, &mut reader.problems);
        variables::resolve(reader, model, &loaded.environment, |_| true);
    }
}
