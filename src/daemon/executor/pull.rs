//! Images: whether to fetch one, with whose credentials, and what is told meanwhile. Several
//! containers that wait for one image share one pull.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use tokio::{sync::mpsc, time::Instant};
use tracing::{info, warn};

use super::{Inner, failure, fault};
use crate::{
    api::{registry, wire},
    daemon::tasks,
    model::{
        ImageId,
        spec::{MountKind, PullPolicy},
    },
    node::{Activity, Failure, Launch},
    runtime::{Credentials, Progress, RuntimeError},
    state::SecretPath,
};

/// Steps of a pull that wait to be told.
const STEPS_QUEUED_MAX: usize = 64;

/// A layer's bytes are told this often at most.
const STEP_INTERVAL: Duration = Duration::from_millis(200);

/// The pulls that are under way.
#[derive(Default)]
pub(super) struct Pulls(Mutex<BTreeMap<(String, Option<String>), Pull>>);

type Pull = Shared<BoxFuture<'static, Result<ImageId, Failure>>>;

impl Inner {
    /// Sees to it that a launch's images are there. Returns the name to use in the image's stead,
    /// where its own means something else by now.
    pub(super) async fn image_for(
        self: &Arc<Self>,
        launch: &Launch,
    ) -> Result<Option<String>, Failure> {
        for mount in &launch.spec.mounts {
            if let MountKind::Image { image, .. } = &mount.kind
                && self.find(image).await?.is_none()
            {
                self.pull(launch, image).await?;
            }
        }
        let reference = &launch.spec.image;
        if let Some(wanted) = &launch.image {
            let (named, there) = (self.find(reference).await?, self.find(&wanted.0).await?);
            if there.is_some() {
                return Ok((named != there).then(|| wanted.to_string()));
            }
            if self.fetch_by_digest(launch, &wanted.0, named.is_some()).await? {
                return Ok(Some(wanted.to_string()));
            }
            warn!(image = reference, %wanted, "the image that was deployed cannot be had; taking what has its name");
        }
        if self.must_pull(launch).await? {
            self.pull(launch, reference).await?;
        }
        Ok(None)
    }

    /// Fetches the very image that was deployed; whether it could be had. An id says nothing to a registry,
    /// and where the registry lacks it what has the name here may do instead.
    async fn fetch_by_digest(
        self: &Arc<Self>,
        launch: &Launch,
        wanted: &str,
        has_other: bool,
    ) -> Result<bool, Failure> {
        let fetches = match launch.pull {
            PullPolicy::Always | PullPolicy::Missing | PullPolicy::OlderThanSeconds(_) => true,
            PullPolicy::Never | PullPolicy::Build => false,
        };
        if !fetches || !wanted.contains('@') {
            return Ok(false);
        }
        match self.pull(launch, wanted).await {
            Ok(_) => Ok(true),
            Err(failure) if has_other => {
                warn!(image = wanted, why = %failure.reason, "it cannot be fetched");
                Ok(false)
            }
            Err(failure) => Err(failure),
        }
    }

    async fn find(&self, reference: &str) -> Result<Option<ImageId>, Failure> {
        let image = self.means.runtime.image(reference).await.map_err(failure)?;
        Ok(image.map(|it| it.id))
    }

    async fn must_pull(&self, launch: &Launch) -> Result<bool, Failure> {
        let reference = &launch.spec.image;
        let there = self.find(reference).await?.is_some();
        match launch.pull {
            PullPolicy::Always => Ok(true),
            PullPolicy::Missing => Ok(!there),
            PullPolicy::Never | PullPolicy::Build if there => Ok(false),
            PullPolicy::Never => Err(fault(format!(
                "image `{reference}` is not on this node and `pull_policy: never` forbids to fetch it"
            ))),
            PullPolicy::Build => Err(fault(format!(
                "image `{reference}` is not on this node: build it with `fizz build`"
            ))),
            PullPolicy::OlderThanSeconds(seconds) => {
                let (store, image) = (Arc::clone(&self.means.store), reference.clone());
                let last = tasks::blocking(move || store.last_pull(&image)).await;
                let last = last.map_err(|it| fault(it.to_string()))?;
                let last = last.map_err(|it| fault(it.to_string()))?;
                let now = self.means.clock.now().wall.0;
                let young = |at: u64| now.saturating_sub(at) < seconds.saturating_mul(1000);
                Ok(!there || !last.is_some_and(|at| young(at.0)))
            }
        }
    }

    async fn pull(self: &Arc<Self>, launch: &Launch, image: &str) -> Result<ImageId, Failure> {
        self.step(launch, Activity::Pulling).await;
        let key = (image.to_owned(), launch.spec.platform.clone());
        let pull = {
            let mut pulls = self.pulls.0.lock().unwrap_or_else(PoisonError::into_inner);
            pulls.retain(|_, pull| pull.peek().is_none());
            let inner = Arc::clone(self);
            let (image, platform) = key.clone();
            let begin = move || inner.fetch(image, platform).boxed().shared();
            pulls.entry(key).or_insert_with(begin).clone()
        };
        pull.await
    }

    async fn fetch(
        self: Arc<Self>,
        image: String,
        platform: Option<String>,
    ) -> Result<ImageId, Failure> {
        info!(image, "pulling");
        let credentials = self.credentials(&image)?;
        let (steps, told) = mpsc::channel(STEPS_QUEUED_MAX);
        let pull = self.means.runtime.pull(&image, platform.as_deref(), credentials, steps);
        let (result, ()) = futures_util::join!(pull, self.tell_steps(&image, told));
        let last = match &result {
            Ok(id) => wire::Progress {
                status: "pulled".to_owned(),
                image: Some(id.to_string()),
                ..wire::Progress::default()
            },
            Err(error) => {
                wire::Progress { status: format!("failed: {error}"), ..wire::Progress::default() }
            }
        };
        let reason = result.as_ref().err().map(ToString::to_string);
        self.tell_progress(&image, last, reason);
        let id = result.map_err(pull_failure)?;
        let (store, now) = (Arc::clone(&self.means.store), self.means.clock.now().wall);
        let noted = tasks::blocking(move || store.note_pull(&image, now)).await;
        match noted {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "the time of a pull was not noted"),
            Err(error) => warn!(%error, "the time of a pull was not noted"),
        }
        Ok(id)
    }

    async fn tell_steps(&self, image: &str, mut steps: mpsc::Receiver<Progress>) {
        let mut told: BTreeMap<Option<String>, (String, Instant)> = BTreeMap::new();
        while let Some(step) = steps.recv().await {
            let last = told.get(&step.layer);
            let due = last
                .is_none_or(|(status, at)| *status != step.status || STEP_INTERVAL <= at.elapsed());
            if due {
                told.insert(step.layer.clone(), (step.status.clone(), Instant::now()));
                let progress = wire::Progress {
                    layer: step.layer,
                    status: step.status,
                    current_bytes: step.current_bytes,
                    total_bytes: step.total_bytes,
                    image: None,
                    error: None,
                };
                self.tell_progress(image, progress, None);
            }
        }
    }

    fn tell_progress(&self, image: &str, progress: wire::Progress, reason: Option<String>) {
        self.means.log.append(wire::Event {
            at_ms: self.means.clock.now().wall.0,
            kind: "image.progress".to_owned(),
            name: Some(image.to_owned()),
            state: Some(progress.status.clone()),
            progress: Some(progress),
            reason,
            ..wire::Event::default()
        });
    }

    /// The credentials that were deployed for an image's registry: a sealed JSON document as the API
    /// takes it.
    fn credentials(&self, image: &str) -> Result<Option<Credentials>, Failure> {
        let path = SecretPath::Registry(registry::of(image).to_owned());
        let view = self.means.view.borrow().clone();
        let Some(sealed) = view.state.secrets().get(&path) else { return Ok(None) };
        let opened = self.means.vault.open(&path, sealed);
        let opened = opened.map_err(|it| fault(format!("credentials of {image}: {it}")))?;
        let read: wire::RegistryCredentials = serde_json::from_slice(&opened)
            .map_err(|_| fault(format!("the stored credentials of {image} cannot be read")))?;
        Ok(Some(Credentials {
            registry: read.registry,
            username: read.username,
            password: read.password,
            identity_token: read.identity_token,
        }))
    }
}

/// A registry that fails may be back later; one that refuses, or lacks the image, will go on so.
fn pull_failure(error: RuntimeError) -> Failure {
    let passing = match &error {
        RuntimeError::Unreachable { .. }
        | RuntimeError::Absent(_)
        | RuntimeError::Failed { .. } => true,
        RuntimeError::NotFound { .. }
        | RuntimeError::Conflict(_)
        | RuntimeError::Unauthorized { .. }
        | RuntimeError::Unsupported(_) => false,
    };
    Failure { reason: error.to_string().into(), passing }
}
