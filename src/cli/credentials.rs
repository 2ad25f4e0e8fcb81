//! Registry credentials from the user's docker configuration: `auths`, `credsStore` and
//! `credHelpers` of `~/.docker/config.json` (Docker's command-line reference, "docker login"), with
//! helpers asked by their protocol (docker-credential-helpers).

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use tokio::{io::AsyncWriteExt, process::Command};

use super::error::CliError;
use crate::api::wire::RegistryCredentials;

/// The name under which Docker keeps the credentials of Docker Hub.
const HUB_KEY: &str = "https://index.docker.io/v1/";
const HUB: &str = "docker.io";

/// How long a helper may take; it may ask the person for a password.
const HELPER_TIMEOUT: Duration = Duration::from_secs(120);

#[derive(Debug, Default, Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
    #[serde(default, rename = "credsStore")]
    store: String,
    #[serde(default, rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Auth {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default, rename = "identitytoken")]
    identity_token: String,
}

/// What a helper answers.
#[derive(Debug, Deserialize)]
struct HelperAnswer {
    #[serde(rename = "Username")]
    username: String,
    #[serde(rename = "Secret")]
    secret: String,
}

/// The credentials that the images may need, and warnings about those that cannot be had.
pub(super) async fn collect(
    images: &[&str],
) -> Result<(Vec<RegistryCredentials>, Vec<String>), CliError> {
    let Some(config) = docker_config()? else { return Ok((Vec::new(), Vec::new())) };
    of_registries(&config, images.iter().map(|image| registry_of(image)).collect()).await
}

/// The credentials of every registry that the user has logged in to: which of them a build's base
/// images come from, only the builder finds out.
pub(super) async fn collect_all() -> Result<(Vec<RegistryCredentials>, Vec<String>), CliError> {
    let Some(config) = docker_config()? else { return Ok((Vec::new(), Vec::new())) };
    let names = config.auths.keys().chain(config.helpers.keys());
    let registry = |name: &String| match host_of(name) {
        "index.docker.io" | "registry-1.docker.io" => HUB.to_owned(),
        host => host.to_owned(),
    };
    let registries: BTreeSet<String> = names.map(registry).collect();
    of_registries(&config, registries.iter().map(String::as_str).collect()).await
}

/// The user's docker configuration, if there is one.
fn docker_config() -> Result<Option<DockerConfig>, CliError> {
    let Some(path) = config_path() else { return Ok(None) };
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(why) => {
            return Err(CliError::Io { what: format!("can't read {}", path.display()), why });
        }
    };
    let config = serde_json::from_slice(&text).map_err(|why| {
        CliError::Failed(format!("{} is not a docker configuration: {why}", path.display()))
    })?;
    Ok(Some(config))
}

async fn of_registries(
    config: &DockerConfig,
    registries: BTreeSet<&str>,
) -> Result<(Vec<RegistryCredentials>, Vec<String>), CliError> {
    let (mut found, mut warnings) = (Vec::new(), Vec::new());
    for registry in registries {
        match of_registry(config, registry).await {
            Ok(credentials) => found.extend(credentials),
            Err(why) => warnings.push(format!("no credentials for {registry}: {why}")),
        }
    }
    Ok((found, warnings))
}

fn config_path() -> Option<PathBuf> {
    let directory = std::env::var_os("DOCKER_CONFIG").filter(|it| !it.is_empty());
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".docker"));
    Some(directory.map(PathBuf::from).or_else(home)?.join("config.json"))
}

/// The registry that an image comes from.
#[must_use]
pub(super) fn registry_of(image: &str) -> &str {
    match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => match host {
            "index.docker.io" | "registry-1.docker.io" => HUB,
            _ => host,
        },
        _ => HUB,
    }
}

async fn of_registry(
    config: &DockerConfig,
    registry: &str,
) -> Result<Option<RegistryCredentials>, String> {
    let key = if registry == HUB { HUB_KEY } else { registry };
    let helper = config.helpers.get(registry).or_else(|| config.helpers.get(key));
    let helper = helper.or(Some(&config.store)).filter(|it| !it.is_empty());
    if let Some(helper) = helper
        && let Some(answer) = ask_helper(helper, key).await?
    {
        return Ok(Some(from_helper(registry, answer)));
    }
    let auth =
        config.auths.iter().find(|(name, _)| name.as_str() == key || host_of(name) == registry);
    auth.map(|(_, auth)| from_auth(registry, auth)).transpose().map(Option::flatten)
}

/// The host of an entry that may be written as a URL: `https://host/v1/`.
fn host_of(name: &str) -> &str {
    let name = name.split_once("://").map_or(name, |(_, rest)| rest);
    name.split('/').next().unwrap_or_default()
}

/// Credentials from the file itself; nothing for an entry that only marks a helper's.
fn from_auth(registry: &str, auth: &Auth) -> Result<Option<RegistryCredentials>, String> {
    let (mut username, mut password) = (auth.username.clone(), auth.password.clone());
    if !auth.auth.is_empty() {
        let decoded = STANDARD.decode(&auth.auth).ok().and_then(|it| String::from_utf8(it).ok());
        let pair = decoded.as_deref().and_then(|it| it.split_once(':'));
        let (user, secret) = pair.ok_or("its `auth` is not base64 of user:password")?;
        (username, password) = (user.into(), secret.trim_end_matches('\0').into());
    }
    let identity_token = auth.identity_token.clone();
    if username.is_empty() && identity_token.is_empty() {
        return Ok(None);
    }
    Ok(Some(RegistryCredentials { registry: registry.into(), username, password, identity_token }))
}

/// The user name `<token>` says that the secret is an identity token.
fn from_helper(registry: &str, answer: HelperAnswer) -> RegistryCredentials {
    let registry = registry.to_owned();
    match answer.username.as_str() {
        "<token>" => RegistryCredentials {
            registry,
            username: String::new(),
            password: String::new(),
            identity_token: answer.secret,
        },
        _ => RegistryCredentials {
            registry,
            username: answer.username,
            password: answer.secret,
            identity_token: String::new(),
        },
    }
}

async fn ask_helper(helper: &str, key: &str) -> Result<Option<HelperAnswer>, String> {
    if helper.contains('/') {
        return Err(format!("`{helper}` is not the name of a credential helper"));
    }
    let program = format!("docker-credential-{helper}");
    let failed = |why: std::io::Error| format!("{program} can't be run: {why}");
    let mut child = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(key.as_bytes()).await.map_err(failed)?;
    }
    let output = tokio::time::timeout(HELPER_TIMEOUT, child.wait_with_output()).await;
    let output = output.map_err(|_| format!("{program} gives no answer"))?.map_err(failed)?;
    if output.status.success() {
        return serde_json::from_slice(&output.stdout)
            .map(Some)
            .map_err(|_| format!("{program}'s answer is not what a credential helper says"));
    }
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if said.contains("credentials not found") {
        return Ok(None);
    }
    Err(format!("{program}: {said}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_images_registry_is_what_docker_takes_it_for() {
        for (image, registry) in [
            ("nginx", "docker.io"),
            ("library/nginx:1", "docker.io"),
            ("docker.io/library/nginx", "docker.io"),
            ("index.docker.io/x", "docker.io"),
            ("localhost/x", "localhost"),
            ("127.0.0.1:5000/x@sha256:00", "127.0.0.1:5000"),
            ("ghcr.io/a/b", "ghcr.io"),
        ] {
            assert_eq!(registry_of(image), registry, "{image}");
        }
    }

    #[tokio::test]
    async fn the_files_own_entries_are_found_by_host_and_by_url() {
        let text = r#"{"auths": {
            "https://index.docker.io/v1/": {"auth": "dTpwOnA="},
            "https://ghcr.io/v2/": {"identitytoken": "t"},
            "127.0.0.1:5000": {"username": "a", "password": "b"},
            "empty.example": {}, "broken.example": {"auth": "?"}}}"#;
        let config: DockerConfig = serde_json::from_str(text).unwrap();
        let hub = of_registry(&config, "docker.io").await.unwrap().unwrap();
        assert_eq!((hub.username.as_str(), hub.password.as_str()), ("u", "p:p"));
        let token = of_registry(&config, "ghcr.io").await.unwrap().unwrap();
        assert_eq!(token.identity_token, "t");
        let plain = of_registry(&config, "127.0.0.1:5000").await.unwrap().unwrap();
        assert_eq!((plain.username.as_str(), plain.password.as_str()), ("a", "b"));
        assert!(of_registry(&config, "empty.example").await.unwrap().is_none());
        assert!(of_registry(&config, "broken.example").await.is_err());
        assert!(of_registry(&config, "quay.io").await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_helper_that_is_not_installed_is_a_warning_not_an_end() {
        let text = r#"{"credHelpers": {"quay.io": "fizz-test-no-such-helper"}}"#;
        let config: DockerConfig = serde_json::from_str(text).unwrap();
        let why = of_registry(&config, "quay.io").await.unwrap_err();
        assert!(why.contains("docker-credential-fizz-test-no-such-helper"), "{why}");
    }
}
