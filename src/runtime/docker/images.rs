//! Images: fetched, looked up, removed.

use std::time::Duration;

use bollard::{
    auth::DockerCredentials,
    models::{CreateImageInfo, HealthConfig, ImageInspect},
    query_parameters::{CreateImageOptions, RemoveImageOptions},
};
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;

use super::{
    connect::{ANSWER_MAX, Engine},
    errors::{Refusal, about},
    flavour::Flavour,
    podman,
    timestamps::wall,
};
use crate::{
    model::{
        ImageId, Millis,
        spec::{HealthSpec, HealthTest},
    },
    runtime::{Credentials, ImageInfo, Progress, RuntimeError, progress::Reporter},
};

/// The longest silence within a pull or a push: a registry that hangs is given up.
const PULL_SILENCE_MAX: Duration = Duration::from_secs(600);

/// Removing an image may mean deleting gigabytes.
const REMOVE_MAX: Duration = Duration::from_secs(600);

/// The registry that a reference means, as `docker login` names it.
pub(super) fn registry(reference: &str) -> &str {
    match reference.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => "docker.io",
    }
}

/// A reference's name, and its tag or digest. Without either the engine would fetch every tag.
fn split(reference: &str) -> (&str, &str) {
    if let Some((name, digest)) = reference.split_once('@') {
        return (tagged(name).0, digest);
    }
    let (name, tag) = tagged(reference);
    (name, tag.unwrap_or("latest"))
}

fn tagged(reference: &str) -> (&str, Option<&str>) {
    let last = reference.rfind('/').map_or(0, |it| it + 1);
    match reference[last..].split_once(':') {
        Some((name, tag)) => (&reference[..last + name.len()], Some(tag)),
        None => (reference, None),
    }
}

pub(super) fn credentials(credentials: Credentials) -> DockerCredentials {
    let some = |text: String| (!text.is_empty()).then_some(text);
    DockerCredentials {
        username: some(credentials.username),
        password: some(credentials.password),
        identitytoken: some(credentials.identity_token),
        serveraddress: some(server(&credentials.registry).to_owned()),
        ..DockerCredentials::default()
    }
}

/// A registry as the engine looks its credentials up: Docker Hub has an address of old.
pub(super) fn server(registry: &str) -> &str {
    match registry {
        "docker.io" | "index.docker.io" | "registry-1.docker.io" => "https://index.docker.io/v1/",
        other => other,
    }
}

pub(super) async fn pull(
    engine: &Engine,
    image: &str,
    platform: Option<&str>,
    login: Option<Credentials>,
    progress: mpsc::Sender<Progress>,
) -> Result<ImageId, RuntimeError> {
    let (name, tag) = split(image);
    let options = CreateImageOptions {
        from_image: Some(name.to_owned()),
        tag: Some(tag.to_owned()),
        platform: platform.unwrap_or_default().to_owned(),
        ..CreateImageOptions::default()
    };
    let steps = engine.client.create_image(Some(options), None, login.map(credentials));
    let mut reporter = Reporter::new(progress);
    let pulled = follow(steps, &mut reporter).await;
    reporter.finish().await;
    let about = || about("pull", "image", image);
    pulled.map_err(|refusal| {
        engine.heard(&refusal);
        refusal.into_image_error(&engine.whose(), image, about())
    })?;
    match inspect(engine, image).await.map_err(|it| engine.error(it, about()))?.id {
        Some(id) => Ok(ImageId(id.into())),
        None => Err(RuntimeError::NotFound { what: "image", name: image.to_owned() }),
    }
}

async fn follow(
    steps: impl Stream<Item = Result<CreateImageInfo, bollard::errors::Error>>,
    reporter: &mut Reporter,
) -> Result<(), Refusal> {
    let mut steps = std::pin::pin!(steps);
    loop {
        let step = match tokio::time::timeout(PULL_SILENCE_MAX, steps.next()).await {
            Ok(Some(step)) => step?,
            Ok(None) => return Ok(()),
            Err(_) => {
                let seconds = PULL_SILENCE_MAX.as_secs();
                return Err(Refusal::said(format!("nothing was heard of it for {seconds} s")));
            }
        };
        if let Some(message) = step.error_detail.and_then(|it| it.message) {
            return Err(Refusal::said(message));
        }
        let counted = step.progress_detail.unwrap_or_default();
        let status = step.status.unwrap_or_default();
        // `Pulling from library/redis` bears the tag where layers have their id.
        let layer = step.id.filter(|_| !status.starts_with("Pulling from"));
        reporter.report(Progress {
            layer,
            status,
            current_bytes: bytes(counted.current),
            total_bytes: bytes(counted.total),
        });
    }
}

/// A count of bytes; the engine writes 0 or -1 where it has none.
pub(super) fn bytes(count: Option<i64>) -> Option<u64> {
    count.filter(|it| *it > 0).and_then(|it| u64::try_from(it).ok())
}

pub(super) async fn inspect(engine: &Engine, reference: &str) -> Result<ImageInspect, Refusal> {
    engine.ask(ANSWER_MAX, engine.client.inspect_image(reference)).await
}

/// An image's own entrypoint.
pub(super) async fn entrypoint(
    engine: &Engine,
    reference: &str,
) -> Result<Vec<String>, RuntimeError> {
    let image = inspect(engine, reference).await;
    let image = image.map_err(|it| engine.error(it, about("inspect", "image", reference)))?;
    Ok(image.config.and_then(|it| it.entrypoint).unwrap_or_default())
}

pub(super) async fn image(
    engine: &Engine,
    reference: &str,
) -> Result<Option<ImageInfo>, RuntimeError> {
    match inspect(engine, reference).await {
        Ok(image) => {
            let labels = image.config.as_ref().and_then(|it| it.labels.as_ref());
            let built = labels.is_some_and(|it| it.contains_key(podman::BUILT_LABEL));
            let mut info = info(image);
            if let (Flavour::Podman, Some(info)) = (engine.flavour, &mut info) {
                info.health = podman::image_health(engine, reference).await?.and_then(health);
                if built {
                    info.digests.clear();
                }
            }
            Ok(info)
        }
        Err(refusal) if refusal.is_missing() => Ok(None),
        Err(refusal) => Err(engine.error(refusal, about("inspect", "image", reference))),
    }
}

pub(super) async fn remove(engine: &Engine, reference: &str) -> Result<(), RuntimeError> {
    let options = RemoveImageOptions::default();
    let call = engine.client.remove_image(reference, Some(options), None);
    match engine.ask(REMOVE_MAX, call).await {
        Ok(_) => Ok(()),
        Err(refusal) if refusal.is_missing() => Ok(()),
        Err(refusal) => Err(engine.error(refusal, about("remove", "image", reference))),
    }
}

fn info(image: ImageInspect) -> Option<ImageInfo> {
    let config = image.config.unwrap_or_default();
    let platform = [image.os, image.architecture, image.variant];
    let platform: Vec<String> =
        platform.into_iter().flatten().filter(|it| !it.is_empty()).collect();
    let command =
        config.entrypoint.unwrap_or_default().into_iter().chain(config.cmd.unwrap_or_default());
    Some(ImageInfo {
        id: ImageId(image.id?.into()),
        references: image.repo_tags.unwrap_or_default(),
        digests: image.repo_digests.unwrap_or_default(),
        size_bytes: bytes(image.size).unwrap_or(0),
        created: image.created.as_deref().and_then(wall).unwrap_or_default(),
        platform: platform.join("/"),
        health: config.healthcheck.and_then(health),
        stop_signal: config.stop_signal.filter(|it| !it.is_empty()),
        command: command.collect(),
    })
}

/// An image's `HEALTHCHECK`. The engine counts in nanoseconds, and 0 is its default.
fn health(config: HealthConfig) -> Option<HealthSpec> {
    let mut words = config.test?.into_iter();
    let test = match words.next()?.as_str() {
        "NONE" => HealthTest::Disabled,
        "CMD" => HealthTest::Command(words.collect()),
        "CMD-SHELL" => HealthTest::Shell(words.next()?),
        _ => return None,
    };
    let span = |nanos: Option<i64>| bytes(nanos).map(|it| Millis(it.div_ceil(1_000_000)));
    Some(HealthSpec {
        test: Some(test),
        interval: span(config.interval),
        timeout: span(config.timeout),
        retries: bytes(config.retries).and_then(|it| u32::try_from(it).ok()),
        start_period: span(config.start_period),
        start_interval: span(config.start_interval),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_told_from_its_tag_and_registry() {
        for (reference, name, tag, host) in [
            ("redis", "redis", "latest", "docker.io"),
            ("redis:7", "redis", "7", "docker.io"),
            ("library/redis:7", "library/redis", "7", "docker.io"),
            ("localhost:5000/a/b", "localhost:5000/a/b", "latest", "localhost:5000"),
            ("localhost/b:1", "localhost/b", "1", "localhost"),
            ("r.io/b:1@sha256:00", "r.io/b", "sha256:00", "r.io"),
        ] {
            assert_eq!((split(reference), registry(reference)), ((name, tag), host), "{reference}");
        }
    }

    #[test]
    fn an_images_own_health_check_keeps_its_timings() {
        let config = HealthConfig {
            test: Some(vec!["CMD-SHELL".into(), "true".into()]),
            interval: Some(5_000_000_000),
            retries: Some(0),
            ..HealthConfig::default()
        };
        let health = health(config).unwrap();
        assert_eq!(health.test, Some(HealthTest::Shell("true".into())));
        assert_eq!((health.interval, health.retries), (Some(Millis(5000)), None));
    }
}
