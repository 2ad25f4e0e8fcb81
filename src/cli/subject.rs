//! What a command is about where a project or a service may be named.

use super::{
    Invocation,
    client::Route,
    error::CliError,
    project::{self, no_such_service},
};
use crate::api::wire::Deployment;

/// A project, or one service of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subject {
    /// The project.
    pub(super) project: String,
    /// Only this service of it.
    pub(super) service: Option<String>,
}

impl Subject {
    /// What a name means; without one, the project of this folder.
    pub(super) async fn named(
        invocation: &Invocation,
        name: Option<&str>,
    ) -> Result<Self, CliError> {
        let Some(name) = name else {
            return Ok(Self { project: invocation.project_name()?, service: None });
        };
        let all: Vec<Deployment> = invocation.client.get(&Route::to(&["deployments"])).await?;
        let current = project::name(&invocation.globals).ok();
        let given = invocation.globals.project_name.is_some();
        found(&all, current.as_deref(), given, name)
    }
}

/// A service of the project of this folder, or a project. Of a name that is both, the command must be
/// told which is meant: to go back with all of a project is not what who meant a service wants.
fn found(
    all: &[Deployment],
    current: Option<&str>,
    given: bool,
    name: &str,
) -> Result<Subject, CliError> {
    let project = all.iter().find(|it| it.name == name);
    let here = all.iter().find(|it| Some(it.name.as_str()) == current);
    let service = here.filter(|it| it.services.iter().any(|it| it.name == name));
    let subject = |project: &Deployment, service: Option<&str>| Subject {
        project: project.name.clone(),
        service: service.map(str::to_owned),
    };
    match (service, project) {
        (Some(here), None) => Ok(subject(here, Some(name))),
        (Some(here), Some(_)) if given => Ok(subject(here, Some(name))),
        (Some(here), Some(_)) => Err(CliError::Usage(format!(
            "`{name}` is a project, and a service of project {0}\n  hint: `-p {0}` with `{name}` is \
             the service; `-p {name}` with nothing else is the project",
            here.name
        ))),
        (None, Some(_)) if given && current != Some(name) => Err(no_such_service(name)),
        (None, Some(project)) => Ok(subject(project, None)),
        (None, None) if here.is_some() => Err(no_such_service(name)),
        (None, None) => Err(CliError::Failed(format!(
            "there is no project \"{name}\", and no project of this folder\n  hint: `fizz ls -a` lists \
             the deployed projects; name one with -p"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn project(name: &str, services: &[&str]) -> Deployment {
        let service = |it: &&str| {
            json!({"project": name, "name": it, "intent": "run", "image": "x", "mode": "replicated",
                "replicas": 1, "running": 1, "healthy": 1, "ready": true, "revision": "r",
                "definition": {}})
        };
        let services: Vec<_> = services.iter().map(service).collect();
        serde_json::from_value(json!({"name": name, "version": 1, "working_dir": "", "files": [],
            "updated_ms": 0, "removing": false, "services": services}))
        .unwrap()
    }

    #[test]
    fn a_name_is_a_service_of_this_project_or_another_project() {
        let all = [project("shop", &["web", "db"]), project("blog", &["web"])];
        let subject = |project: &str, service: Option<&str>| Subject {
            project: project.into(),
            service: service.map(str::to_owned),
        };
        let found = |current, given, name| found(&all, current, given, name);
        assert_eq!(found(Some("shop"), false, "db").unwrap(), subject("shop", Some("db")));
        assert_eq!(found(Some("shop"), false, "blog").unwrap(), subject("blog", None));
        assert_eq!(found(Some("shop"), false, "shop").unwrap(), subject("shop", None));
        assert_eq!(found(Some("elsewhere"), false, "blog").unwrap(), subject("blog", None));
        assert_eq!(found(Some("blog"), true, "web").unwrap(), subject("blog", Some("web")));
        assert!(found(Some("shop"), true, "blog").is_err(), "`-p shop` has no such service");
        assert!(found(None, false, "nobody").is_err());
    }

    #[test]
    fn a_name_that_is_both_must_be_told_apart() {
        let all = [project("shop", &["web"]), project("web", &["web"])];
        for current in ["shop", "web"] {
            let error = found(&all, Some(current), false, "web").unwrap_err().to_string();
            assert!(
                error.contains(&format!("`-p {current}` with `web` is the service")),
                "{error}"
            );
        }
        assert_eq!(found(&all, Some("shop"), true, "web").unwrap().service, Some("web".into()));
    }
}
