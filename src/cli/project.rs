//! The project that a command is about: its Compose files from the disk, or only its name.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{
    args::Globals,
    disk::Disk,
    error::{CliError, listed},
    output::Output,
};
use crate::{
    compose::{LoadRequest, Loaded, decode, json, load, problem::Problems, support, tree::Node},
    model::spec::{ProjectSpec, ServiceSpec},
};

/// Names of a Compose file, looked for in the folder and those above it.
const FILE_NAMES: [&str; 4] =
    ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];

/// A project that was read and checked.
#[derive(Debug)]
pub(super) struct Project {
    /// Its name.
    pub(super) name: String,
    /// Its folder.
    pub(super) folder: PathBuf,
    /// Its files.
    pub(super) files: Vec<PathBuf>,
    /// The canonical model, configs' contents attached.
    pub(super) model: Value,
    /// The model as types.
    pub(super) spec: ProjectSpec,
    /// Secrets' bytes in base64, by key.
    pub(super) secrets: BTreeMap<String, String>,
    /// What is ignored of it where its networks span the nodes, which the daemon knows.
    pub(super) if_spanning: Problems,
}

impl Project {
    /// Reads the project's files; every problem at once. `services` turn on their own profiles.
    pub(super) fn load(
        globals: &Globals,
        services: &[String],
        output: &Output,
    ) -> Result<Self, CliError> {
        let mut request = load_request(globals)?;
        let mut loaded = read(&request, globals)?;
        let missing = missing(&loaded.model, services);
        if !missing.is_empty() {
            request.profiles = loaded.profiles.clone();
            request.profiles.extend(profiles_of(&request, &missing, globals)?);
            loaded = read(&request, globals)?;
        }
        Self::complete(loaded, globals, output)
    }

    /// Attaches contents and decodes.
    fn complete(loaded: Loaded, globals: &Globals, output: &Output) -> Result<Self, CliError> {
        let Loaded { mut model, name, folder, files, environment, mut problems, .. } = loaded;
        let disk = Disk::default();
        let mut if_spanning = problems.of_same_sources();
        support::check(&model, &mut problems);
        support::check_spanning(&model, &mut if_spanning);
        decode::attach_contents(&mut model, &disk, &environment, &mut problems);
        let secrets = decode::secret_values(&model, &disk, &environment, &mut problems);
        let spec = decode::project(&model, &mut problems);
        if globals.strict {
            problems.make_strict();
            if_spanning.make_strict();
        }
        let spec = match spec {
            Some(spec) if !problems.has_errors() => spec,
            Some(_) | None => return Err(CliError::Compose(Box::new(problems))),
        };
        let warnings = listed(&problems);
        if !warnings.is_empty() {
            output.note(&warnings);
        }
        let secrets = secrets.into_iter().map(|(key, bytes)| (key, STANDARD.encode(bytes)));
        let secrets = secrets.collect();
        Ok(Self { name, folder, files, model: json::from_tree(&model), spec, secrets, if_spanning })
    }

    /// A service by name.
    pub(super) fn service(&self, name: &str) -> Result<&ServiceSpec, CliError> {
        let found = self.spec.services.iter().find(|(key, _)| key.as_str() == name);
        found.map(|(_, spec)| spec).ok_or_else(|| no_such_service(name))
    }

    /// The named services, or all.
    pub(super) fn services<'a>(
        &'a self,
        names: &[String],
    ) -> Result<Vec<&'a ServiceSpec>, CliError> {
        if names.is_empty() {
            return Ok(self.spec.services.values().collect());
        }
        names.iter().map(|name| self.service(name)).collect()
    }

    /// The named services and all that they depend on; all when none is named.
    pub(super) fn with_dependencies<'a>(
        &'a self,
        names: &[String],
    ) -> Result<Vec<&'a ServiceSpec>, CliError> {
        let mut waiting = self.services(names)?;
        let mut found = BTreeMap::new();
        while let Some(service) = waiting.pop() {
            if found.insert(service.name.clone(), service).is_none() {
                let dependencies = service.depends_on.keys();
                waiting.extend(dependencies.filter_map(|it| self.spec.services.get(it)));
            }
        }
        Ok(found.into_values().collect())
    }

    /// `build:` of a service, in the long form.
    #[must_use]
    pub(super) fn build_of(&self, service: &str) -> Option<&Value> {
        self.model.get("services")?.get(service)?.get("build").filter(|it| it.is_object())
    }
}

/// No service has the name.
#[must_use]
pub(super) fn no_such_service(name: &str) -> CliError {
    CliError::Failed(format!("no such service: {name}"))
}

/// What to load, as the options and the environment say.
pub(super) fn load_request(globals: &Globals) -> Result<LoadRequest, CliError> {
    let working_dir = working_dir().map_err(CliError::io("can't find the working directory"))?;
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Ok(LoadRequest {
        files: globals.file.clone(),
        env_files: globals.env_file.clone(),
        profiles: globals.profile.clone(),
        project_name: globals.project_name.clone(),
        project_directory: globals.project_directory.clone(),
        working_dir,
        environment: environment.collect(),
        ..LoadRequest::default()
    })
}

/// Where we are, by the name that the shell uses for it if that is right.
pub(super) fn working_dir() -> std::io::Result<PathBuf> {
    let real = std::env::current_dir()?;
    let shown = std::env::var_os("PWD").map(PathBuf::from).filter(|it| it.is_absolute());
    let same = |it: &PathBuf| {
        it.canonicalize().is_ok_and(|it| Ok(it) == real.canonicalize().map_err(drop))
    };
    Ok(shown.filter(same).unwrap_or(real))
}

fn read(request: &LoadRequest, globals: &Globals) -> Result<Loaded, CliError> {
    if !names_a_file(globals) && !is_file_above(&request.working_dir, globals) {
        return Err(CliError::NoComposeFile(format!(
            "no configuration file provided: neither {} nor a folder above it has a {}\n  \
             hint: name one with -f, or a deployed project with -p",
            request.working_dir.display(),
            FILE_NAMES[0],
        )));
    }
    load(request, &Disk::default()).map_err(|mut problems| {
        if globals.strict {
            problems.make_strict();
        }
        CliError::Compose(Box::new(problems))
    })
}

fn names_a_file(globals: &Globals) -> bool {
    let by_variable = std::env::var_os("COMPOSE_FILE").is_some_and(|it| !it.is_empty());
    // `.env` may name the files too.
    !globals.file.is_empty()
        || !globals.env_file.is_empty()
        || by_variable
        || Path::new(".env").exists()
}

fn is_file_above(working_dir: &Path, globals: &Globals) -> bool {
    let folder =
        globals.project_directory.as_ref().map_or(working_dir.into(), |it| working_dir.join(it));
    folder.ancestors().any(|folder| FILE_NAMES.iter().any(|name| folder.join(name).exists()))
}

fn missing<'a>(model: &Node, services: &'a [String]) -> BTreeSet<&'a str> {
    let known = model.get("services");
    let is_known = |name: &str| known.is_some_and(|it| it.get(name).is_some());
    services.iter().map(String::as_str).filter(|name| !is_known(name)).collect()
}

/// The profiles of services that are off.
fn profiles_of(
    request: &LoadRequest,
    services: &BTreeSet<&str>,
    globals: &Globals,
) -> Result<Vec<String>, CliError> {
    let mut request = request.clone();
    request.options.all_services = true;
    let all = read(&request, globals)?;
    let mut profiles = Vec::new();
    for name in services {
        let service = all.model.get("services").and_then(|it| it.get(name));
        let service = service.ok_or_else(|| no_such_service(name))?;
        let listed = service.get("profiles").and_then(Node::as_list).unwrap_or_default();
        profiles.extend(listed.iter().filter_map(Node::as_text).map(str::to_owned));
    }
    Ok(profiles)
}

/// The name of the project that a command is about: as given, else as its files say, else as the
/// folder's name says.
pub(super) fn name(globals: &Globals) -> Result<String, CliError> {
    let variable = || std::env::var("COMPOSE_PROJECT_NAME").ok().filter(|it| !it.is_empty());
    if let Some(name) = globals.project_name.clone().or_else(variable) {
        return Ok(name);
    }
    let request = load_request(globals)?;
    match read(&request, globals) {
        Ok(loaded) => Ok(loaded.name),
        Err(CliError::NoComposeFile(why)) => {
            let folder = request.working_dir.file_name().and_then(|it| it.to_str());
            folder.map(normalised).filter(|it| !it.is_empty()).ok_or(CliError::NoComposeFile(why))
        }
        Err(other) => Err(other),
    }
}

/// A folder's name as a project's: lower case, without what a name cannot have.
fn normalised(folder: &str) -> String {
    let lower = folder.to_lowercase();
    let allowed = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    let name: String = lower.chars().filter(allowed).collect();
    name.trim_start_matches(['-', '_']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folders_name_becomes_a_projects() {
        assert_eq!(normalised("My Shop.2"), "myshop2");
        assert_eq!(normalised("__x-Y_"), "x-y_");
        assert_eq!(normalised("..."), "");
    }
}
