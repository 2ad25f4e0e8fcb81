//! `/v1/deployments`.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use rand_core::{OsRng, RngCore};
use zeroize::Zeroizing;

use crate::{
    api::{
        app::App,
        backend::Sealer,
        extract::{self, At, Params},
        lookup,
        problem::{Answer, Failure},
        registry, render, wire,
    },
    model::{ImageId, Millis, ProjectName, ServiceName},
    node::{DeployRequest, DownRequest, Request, Response as NodeResponse},
    state::{SealedSecret, SecretPath},
};

pub(super) async fn list(State(app): State<App>) -> Json<Vec<wire::Deployment>> {
    let view = app.backend.now();
    let all = view.state.deployments().iter();
    Json(
        all.map(|(name, it)| render::deployment(&view, name, it, (app.backend.clock)().wall))
            .collect(),
    )
}

pub(super) async fn one(
    State(app): State<App>,
    At(project): At<String>,
) -> Answer<Json<wire::Deployment>> {
    let view = app.backend.now();
    let name = lookup::parse_project(&project)?;
    let missing = || Failure::NotFound { what: "deployment", name: project };
    let record = view.state.deployments().get(&name).ok_or_else(missing)?;
    Ok(Json(render::deployment(&view, &name, record, (app.backend.clock)().wall)))
}

pub(super) async fn deploy(
    State(app): State<App>,
    extract::Json(deploy): extract::Json<wire::Deploy>,
) -> Answer<Response> {
    let dry_run = deploy.dry_run;
    let (project, request) = deploy_request(deploy, &app.backend.seal)?;
    let event = app.backend.events.last();
    let NodeResponse::Planned(planned) = app.ask(Request::Deploy(Box::new(request))).await? else {
        return Err(Failure::Render("the node did not tell its plan".into()));
    };
    let version = planned.version;
    let plan = render::plan(project.to_string(), *planned);
    Ok(if dry_run {
        Json(plan).into_response()
    } else {
        (StatusCode::ACCEPTED, Json(wire::Deployed { version, plan, event })).into_response()
    })
}

/// Checks everything and seals every secret; all problems at once.
fn deploy_request(deploy: wire::Deploy, seal: &Sealer) -> Answer<(ProjectName, DeployRequest)> {
    let mut problems = Vec::new();
    let project = deploy.model["name"].as_str().unwrap_or_default().parse::<ProjectName>();
    let project = project.map_err(|why| problems.push(format!("model.name: {why}"))).ok();
    let services = names("services", &deploy.services, &mut problems);
    let scale = keyed("scale", deploy.scale, &mut problems);
    let images = keyed("images", deploy.images, &mut problems);
    let mut secrets = BTreeMap::new();
    for (key, text) in deploy.secrets {
        let text = Zeroizing::new(text);
        match BASE64.decode(text.as_bytes()).map(Zeroizing::new) {
            Ok(bytes) => drop(secrets.insert(key, bytes)),
            Err(why) => problems.push(format!("secrets.{key}: {why}; send its bytes in base64")),
        }
    }
    let (Some(project), true) = (project, problems.is_empty()) else {
        return Err(Failure::Invalid(problems));
    };
    let sealed = |(key, bytes): (String, Zeroizing<Vec<u8>>)| {
        let secret =
            sealed(seal, &SecretPath::Project(project.clone(), key.clone()), &bytes, &key)?;
        Ok((key, secret))
    };
    let secrets = secrets.into_iter().map(sealed).collect::<Answer<_>>()?;
    let credentials = deploy.credentials.iter().map(|it| sealed_credentials(seal, it));
    let request = DeployRequest {
        model: deploy.model,
        secrets,
        credentials: credentials.collect::<Answer<_>>()?,
        working_dir: deploy.working_dir,
        files: deploy.files,
        services,
        no_deps: deploy.no_deps,
        force_recreate: if deploy.force_recreate { Some(unused_number()?) } else { None },
        no_recreate: deploy.no_recreate,
        remove_orphans: deploy.remove_orphans,
        no_start: deploy.no_start,
        scale,
        images: images.into_iter().map(|(key, id)| (key, ImageId(id.into()))).collect(),
        grace: deploy.timeout_ms.map(Millis),
        renew_volumes: deploy.renew_anon_volumes,
        if_version: deploy.if_version,
        dry_run: deploy.dry_run,
    };
    Ok((project, request))
}

/// Credentials are sealed as the JSON of [`wire::RegistryCredentials`].
fn sealed_credentials(
    seal: &Sealer,
    credentials: &wire::RegistryCredentials,
) -> Answer<(String, SealedSecret)> {
    let host = registry::canonical(&credentials.registry).to_owned();
    let json = serde_json::to_vec(credentials).map_err(|why| Failure::Render(why.to_string()))?;
    let secret = sealed(seal, &SecretPath::Registry(host.clone()), &Zeroizing::new(json), &host)?;
    Ok((host, secret))
}

fn sealed(seal: &Sealer, path: &SecretPath, bytes: &[u8], name: &str) -> Answer<SealedSecret> {
    seal(path, bytes).map_err(|why| Failure::Seal { name: name.to_owned(), why })
}

/// 64 random bits: never used before, for all that anybody will see.
fn unused_number() -> Answer<u64> {
    let mut bytes = [0; 8];
    let filled = OsRng.try_fill_bytes(&mut bytes);
    filled.map_err(|why| Failure::Render(format!("the system has no random number: {why}")))?;
    Ok(u64::from_be_bytes(bytes))
}

/// Services by name; what cannot be one is a problem.
pub(super) fn names(what: &str, list: &[String], problems: &mut Vec<String>) -> Vec<ServiceName> {
    let mut parsed = Vec::new();
    for text in list {
        match text.parse() {
            Ok(name) => parsed.push(name),
            Err(why) => problems.push(format!("{what}: {why}")),
        }
    }
    parsed
}

/// Things by service; what cannot be one is a problem.
pub(super) fn keyed<T>(
    what: &str,
    map: BTreeMap<String, T>,
    problems: &mut Vec<String>,
) -> BTreeMap<ServiceName, T> {
    let mut parsed = BTreeMap::new();
    for (text, it) in map {
        match text.parse() {
            Ok(name) => drop(parsed.insert(name, it)),
            Err(why) => problems.push(format!("{what}: {why}")),
        }
    }
    parsed
}

pub(super) async fn remove(
    State(app): State<App>,
    At(project): At<String>,
    Params(how): Params<wire::RemoveDeployment>,
) -> Answer<Response> {
    let event = app.tell(Request::Down(down_request(&project, how)?)).await?;
    Ok((StatusCode::ACCEPTED, Json(wire::Accepted { event })).into_response())
}

fn down_request(project: &str, how: wire::RemoveDeployment) -> Answer<DownRequest> {
    let mut problems = Vec::new();
    let list: Vec<String> =
        how.services.split(',').filter(|it| !it.is_empty()).map(str::to_owned).collect();
    let services = names("services", &list, &mut problems);
    if let Some(images) = how.images.as_deref().filter(|it| !matches!(*it, "local" | "all")) {
        problems.push(format!("images: `{images}` is not known; use `local` or `all`"));
    }
    if how.remove_orphans && !services.is_empty() {
        problems.push(
            "remove_orphans: only a whole deployment has orphans; leave `services` or this out"
                .to_owned(),
        );
    }
    if !problems.is_empty() {
        return Err(Failure::Invalid(problems));
    }
    Ok(DownRequest {
        project: lookup::parse_project(project)?,
        services,
        volumes: how.volumes,
        images: how.images,
        grace: how.timeout_ms.map(Millis),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn sealer() -> Sealer {
        Arc::new(|_, bytes| {
            Ok(SealedSecret { ciphertext: vec![bytes.len() as u8], fingerprint: [7; 16] })
        })
    }

    #[test]
    fn every_problem_of_a_request_is_told_at_once() {
        let deploy = wire::Deploy {
            model: serde_json::json!({"name": "No"}),
            services: vec!["a b".into()],
            scale: [("!".to_owned(), 1)].into(),
            secrets: [("key".to_owned(), "%%".to_owned())].into(),
            ..wire::Deploy::default()
        };
        let Err(Failure::Invalid(problems)) = deploy_request(deploy, &sealer()) else {
            panic!("not refused")
        };
        assert_eq!(problems.len(), 4, "{problems:?}");
    }

    #[test]
    fn secrets_and_credentials_leave_the_door_sealed_to_their_place() {
        let credentials = wire::RegistryCredentials {
            registry: "docker.io".into(),
            username: "ann".into(),
            password: "hunter2".into(),
            identity_token: String::new(),
        };
        let deploy = wire::Deploy {
            model: serde_json::json!({"name": "shop"}),
            secrets: [("key".to_owned(), BASE64.encode("12345"))].into(),
            credentials: vec![credentials],
            force_recreate: true,
            ..wire::Deploy::default()
        };
        let (project, request) = deploy_request(deploy, &sealer()).unwrap();
        assert_eq!(project.as_str(), "shop");
        assert_eq!(request.secrets["key"].ciphertext, [5]);
        assert!(request.credentials.contains_key("docker.io"));
        assert!(request.force_recreate.is_some());
        assert!(!format!("{request:?}").contains("hunter2"));
    }

    #[test]
    fn a_partial_removal_has_no_orphans() {
        let how = wire::RemoveDeployment {
            services: "web,db".into(),
            remove_orphans: true,
            images: Some("some".into()),
            ..wire::RemoveDeployment::default()
        };
        let Err(Failure::Invalid(problems)) = down_request("shop", how) else {
            panic!("not refused")
        };
        assert_eq!(problems.len(), 2);
    }
}
