//! Which files make up a project, where it lives, what its variables are and what it is called.
//!
//! The order of precedence is that of `docker compose`: what a flag says beats the environment,
//! that beats `.env`, and that beats what the files or the folder's name say.

use std::path::{Path, PathBuf};

use super::{
    files::Files,
    interpolate::{
        Environment,
        template::{self, Variables},
    },
    load::LoadRequest,
    problem::Problems,
    reader::Reader,
    tree::{self, Node, Position},
};

/// Names looked for in a folder, the best first.
const FILE_NAMES: [&str; 4] =
    ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];

/// Names of the file that is laid over the one found, the best first.
const OVERRIDE_NAMES: [&str; 4] = [
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
];

/// Stands for standard input among files.
pub const STDIN: &str = "-";

/// A project whose files are known and not yet read.
pub(super) struct Project {
    pub(super) files: Vec<PathBuf>,
    pub(super) folder: PathBuf,
    pub(super) environment: Environment,
}

/// Finds the files and the variables of a project.
pub(super) fn find(request: &LoadRequest, reader: &mut Reader<'_>) -> Option<Project> {
    let mut environment = request.environment.clone();
    environment
        .entry("PWD".into())
        .or_insert_with(|| request.working_dir.to_string_lossy().into_owned());
    let mut project = Project {
        files: request.files.iter().map(|it| locate(&request.working_dir, it)).collect(),
        folder: PathBuf::new(),
        environment,
    };
    project.folder = folder(request, &project.files);
    let env_files = env_files(request, &mut reader.problems)?;
    project.read_env_files(env_files.as_deref(), request, reader);
    if project.files.is_empty() {
        project.files = files_of_environment(request, &project.environment, reader)
            .unwrap_or_else(|| discover(&project.folder, reader.files, &mut reader.problems));
        let before = std::mem::replace(&mut project.folder, folder(request, &project.files));
        if project.folder != before && env_files.is_none() {
            project.read_env_files(None, request, reader);
        }
    }
    if project.files.is_empty() {
        let message = format!(
            "no configuration file provided: neither {} nor a folder above has one of {}; name \
             one with -f",
            request.working_dir.display(),
            FILE_NAMES.join(", ")
        );
        nowhere(&mut reader.problems, message);
        return None;
    }
    (!reader.problems.has_errors()).then_some(project)
}

pub(super) fn nowhere(problems: &mut Problems, message: impl Into<String>) {
    problems.error(Position::default(), tree::Path::default(), message);
}

/// Where a file is that was named relative to a folder.
pub(super) fn locate(folder: &Path, name: &str) -> PathBuf {
    if name == STDIN {
        return name.into();
    }
    let joined = folder.join(name);
    super::lexical::clean(&joined.to_string_lossy()).into()
}

/// The project's folder: as asked for, else where the first file is, else where we are.
fn folder(request: &LoadRequest, files: &[PathBuf]) -> PathBuf {
    if let Some(folder) = request.project_directory.as_deref().filter(|it| !it.is_empty()) {
        return locate(&request.working_dir, folder);
    }
    let first = files.iter().find(|it| it.as_os_str() != STDIN).and_then(|it| it.parent());
    first.map_or_else(|| request.working_dir.clone(), Path::to_path_buf)
}

/// The files of variables that were asked for; `None` for the default, `.env` in the folder.
fn env_files(request: &LoadRequest, problems: &mut Problems) -> Option<Option<Vec<String>>> {
    if !request.env_files.is_empty() {
        return Some(Some(request.env_files.clone()));
    }
    let from_environment = request.environment.get("COMPOSE_ENV_FILES");
    let listed: Vec<String> = from_environment
        .into_iter()
        .flat_map(|it| it.split(','))
        .filter(|it| !it.is_empty())
        .map(str::to_owned)
        .collect();
    if !listed.is_empty() {
        return Some(Some(listed));
    }
    match request.environment.get("COMPOSE_DISABLE_ENV_FILE").map(String::as_str) {
        None | Some("0" | "f" | "F" | "false" | "False" | "FALSE") => Some(None),
        Some("1" | "t" | "T" | "true" | "True" | "TRUE") => Some(Some(Vec::new())),
        Some(other) => {
            let message = format!("COMPOSE_DISABLE_ENV_FILE is {other:?}; make it true or false");
            nowhere(problems, message);
            None
        }
    }
}

impl Project {
    /// Adds the variables of `.env`, or of the files that were asked for. What is set stays.
    fn read_env_files(
        &mut self,
        asked: Option<&[String]>,
        request: &LoadRequest,
        reader: &mut Reader<'_>,
    ) {
        let paths: Vec<PathBuf> = match asked {
            Some(names) => names.iter().map(|it| locate(&request.working_dir, it)).collect(),
            None => {
                let default = self.folder.join(".env");
                let is_file = reader.files.exists(&default) && !reader.files.is_dir(&default);
                is_file.then_some(default).into_iter().collect()
            }
        };
        let read = reader.env_files(
            &paths,
            &self.environment,
            Position::default(),
            &tree::Path::default(),
        );
        for (name, value) in read {
            self.environment.entry(name).or_insert(value);
        }
    }
}

/// The files that `COMPOSE_FILE` names, if it is set.
fn files_of_environment(
    request: &LoadRequest,
    environment: &Environment,
    reader: &mut Reader<'_>,
) -> Option<Vec<PathBuf>> {
    let separator = environment.get("COMPOSE_PATH_SEPARATOR").filter(|it| !it.is_empty());
    let separator = separator.map_or(":", String::as_str);
    let names = environment.get("COMPOSE_FILE")?.split(separator);
    let paths: Vec<PathBuf> = names.map(|it| locate(&request.working_dir, it)).collect();
    for path in &paths {
        if path.as_os_str() != STDIN && !reader.files.exists(path) {
            let name = reader.name_of(path);
            let message = format!("COMPOSE_FILE names {name}, which does not exist; correct it");
            nowhere(&mut reader.problems, message);
        }
    }
    Some(paths)
}

/// The best file of a folder or of the nearest folder above it, and what is laid over it.
fn discover(folder: &Path, files: &dyn Files, problems: &mut Problems) -> Vec<PathBuf> {
    for folder in folder.ancestors() {
        let found = best(&FILE_NAMES, folder, files, problems);
        if let Some(found) = found {
            let over = best(&OVERRIDE_NAMES, folder, files, problems);
            return std::iter::once(found).chain(over).collect();
        }
    }
    Vec::new()
}

fn best(
    names: &[&str],
    folder: &Path,
    files: &dyn Files,
    problems: &mut Problems,
) -> Option<PathBuf> {
    let mut found: Vec<PathBuf> =
        names.iter().map(|it| folder.join(it)).filter(|it| files.exists(it)).collect();
    if found.len() > 1 {
        let names: Vec<String> = found.iter().map(|it| it.display().to_string()).collect();
        let message = format!(
            "several files have names that are looked for: {}; using {}, remove the others",
            names.join(", "),
            names[0]
        );
        problems.warn(Position::default(), tree::Path::default(), message);
    }
    found.drain(..).next()
}

/// What a project is called, if anything names it. `documents` are those of its own files.
pub(super) fn name<'a>(
    request: &LoadRequest,
    project: &Project,
    documents: impl Iterator<Item = &'a Node>,
    problems: &mut Problems,
) -> Option<String> {
    let flag = request.project_name.as_ref().filter(|it| !it.is_empty());
    let variable = project.environment.get("COMPOSE_PROJECT_NAME").filter(|it| !it.is_empty());
    if let Some(name) = flag.or(variable) {
        if normalised(name) != *name {
            let message = format!(
                "invalid project name {name:?}: must consist only of lowercase alphanumeric \
                 characters, hyphens, and underscores as well as start with a letter or number"
            );
            nowhere(problems, message);
            return None;
        }
        return Some(name.clone());
    }
    let is_named = |it: &&Node| it.as_text().is_some_and(|text| !text.is_empty());
    let name = match documents.filter_map(|it| it.get("name")).filter(is_named).last() {
        Some(node) => written_name(node, request, &project.environment, problems)?,
        None => {
            let folder = project.folder.file_name().map(|it| it.to_string_lossy());
            normalised(&folder.unwrap_or_default())
        }
    };
    if name.is_empty() {
        let message = "project name must not be empty; set `name:` in the file or use -p";
        nowhere(problems, message);
        return None;
    }
    Some(name)
}

fn written_name(
    node: &Node,
    request: &LoadRequest,
    environment: &Environment,
    problems: &mut Problems,
) -> Option<String> {
    let text = node.as_text().unwrap_or_default();
    if !request.options.interpolate {
        return Some(text.into());
    }
    match template::substitute(text, &mut Quiet(environment)) {
        Ok(name) if request.options.normalise => Some(normalised(&name)),
        Ok(name) => Some(name),
        Err(error) => {
            problems.error(node.at, tree::Path::default().key("name"), error.to_string());
            None
        }
    }
}

/// Looks variables up and leaves it to the reading of the whole file to warn of missing ones.
struct Quiet<'a>(&'a Environment);

impl Variables for Quiet<'_> {
    fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }

    fn missing(&mut self, _: &str) {}
}

/// A name with only what a project's name may hold.
#[must_use]
pub fn normalised(name: &str) -> String {
    let allowed = |it: &char| matches!(it, 'a'..='z' | '0'..='9' | '_' | '-');
    let kept: String = name.to_lowercase().chars().filter(allowed).collect();
    kept.trim_start_matches(['_', '-']).into()
}
