//! Makes and starts containers, step by step; each step finds what an earlier attempt has done.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::timeout;
use tracing::{debug, warn};

use super::{Inner, failure, fault, request};
use crate::{
    daemon::commands,
    model::{
        ContainerName, Millis, RuntimeId,
        spec::{ContainerSpec, HookSpec, MountKind, NetworkMode},
    },
    node::{Activity, Event, Failure, Launch},
    runtime::{ExecRequest, RuntimeError, RuntimeState, labels},
};

/// How much of a failed hook's output is told, in characters.
const HOOK_OUTPUT_CHARS_MAX: usize = 200;

/// How long hooks before a stop may take in all, where the container sets no grace period.
const PRE_STOP_MAX: Duration = Duration::from_secs(10);

impl Inner {
    /// Networks, volumes, image, files, container, start, hooks. `id` is set once there is one.
    pub(super) async fn launch(
        self: &Arc<Self>,
        launch: &Launch,
        id: &mut Option<RuntimeId>,
    ) -> Result<(), Failure> {
        if let Some(made) = id.clone() {
            let there = self.means.runtime.observe(&made).await.map_err(failure)?;
            if there.is_some() {
                return self.start_unless_told(launch, &made).await;
            }
        }
        let image = self.image_for(launch).await?;
        let made = {
            let _worker = self.workers.acquire().await;
            self.step(launch, Activity::Creating).await;
            self.create(launch, image).await?
        };
        *id = Some(made.clone());
        self.start_unless_told(launch, &made).await
    }

    /// Files, name, start, hooks.
    pub(super) async fn start(&self, launch: &Launch, id: &RuntimeId) -> Result<(), Failure> {
        let runs = {
            let _worker = self.workers.acquire().await;
            self.step(launch, Activity::Starting).await;
            let there = self.means.runtime.observe(id).await.map_err(failure)?;
            let runs = there.is_some_and(|it| matches!(it.state, RuntimeState::Running { .. }));
            if !runs {
                self.write_files(launch).await?;
                self.take_name(launch, id).await?;
                self.wire(launch).await?;
                self.means.runtime.start(id).await.map_err(failure)?;
            }
            runs
        };
        if runs {
            debug!(container = %launch.name, "it runs already");
            return Ok(());
        }
        self.post_start(id, &launch.spec).await
    }

    /// The runtime's containers' own commands before a stop. One that fails does not keep it.
    pub(super) async fn pre_stop(&self, id: &RuntimeId, hooks: &[HookSpec], grace: Option<Millis>) {
        let limit = grace.map_or(PRE_STOP_MAX, |it| Duration::from_millis(it.0));
        let run = async {
            for hook in hooks {
                if let Err(failure) = self.hook(id, "pre_stop", hook).await {
                    warn!(container = %id, reason = %failure.reason, "stopping it anyway");
                }
            }
        };
        if timeout(limit, run).await.is_err() {
            warn!(container = %id, "its pre_stop hooks took too long; stopping it anyway");
        }
    }

    async fn start_unless_told(&self, launch: &Launch, id: &RuntimeId) -> Result<(), Failure> {
        if launch.no_start { Ok(()) } else { self.start(launch, id).await }
    }

    async fn create(&self, launch: &Launch, image: Option<String>) -> Result<RuntimeId, Failure> {
        self.ensure_networks(launch).await?;
        self.ensure_volumes(launch).await?;
        let files = self.write_files(launch).await?;
        let mut request = request::container(self.means.node, launch, files)?;
        if let Some(image) = image {
            request.spec.image = image;
        }
        self.put_into_sandbox(launch, &mut request).await?;
        if launch.beside {
            request.name = waiting_name(launch)?;
        }
        if let Some(replaced) = &launch.replaces
            && launch.keep_volumes
        {
            match self.means.runtime.inspect(replaced).await {
                Ok(account) => request::take_over_volumes(&mut request, &account),
                Err(RuntimeError::NotFound { .. }) => {}
                Err(error) => return Err(failure(error)),
            }
        }
        self.means.runtime.create(&request).await.map_err(failure)
    }

    /// A container made beside the one that it replaces gets its name now. Where the other is still
    /// there, because the new one starts first, it gives the name up.
    async fn take_name(&self, launch: &Launch, id: &RuntimeId) -> Result<(), Failure> {
        let runtime = &self.means.runtime;
        let there = runtime.observe(id).await.map_err(failure)?;
        if there.is_none_or(|it| it.name == launch.name.as_str()) {
            return Ok(());
        }
        match (runtime.rename(id, &launch.name).await, &launch.replaces) {
            (Err(RuntimeError::Conflict(_)), Some(replaced)) => {
                let aside = format!("{}-{}", launch.name, short(&replaced.0));
                let aside = aside.parse().map_err(|it| fault(format!("{it}")))?;
                match runtime.rename(replaced, &aside).await {
                    // It has given the name up before, to one that failed and is just being removed.
                    Ok(()) | Err(RuntimeError::Conflict(_)) => {}
                    Err(error) => return Err(failure(error)),
                }
                runtime.rename(id, &launch.name).await.map_err(name_taken)
            }
            (result, _) => result.map_err(name_taken),
        }
    }

    async fn ensure_networks(&self, launch: &Launch) -> Result<(), Failure> {
        let NetworkMode::Networks(wanted) = &launch.spec.network else { return Ok(()) };
        if launch.address.is_some() {
            return Ok(());
        }
        for key in wanted.keys() {
            let spec = request::network(launch, key)?;
            let _turn = self.resources.lock(format!("network {}", spec.name)).await;
            let labels = self.labels(launch, key);
            self.means.runtime.ensure_network(spec, &labels).await.map_err(failure)?;
        }
        Ok(())
    }

    async fn ensure_volumes(&self, launch: &Launch) -> Result<(), Failure> {
        let mut made = false;
        for mount in &launch.spec.mounts {
            let MountKind::Volume { name: Some(key), .. } = &mount.kind else { continue };
            let spec = request::volume(launch, key)?;
            let _turn = self.resources.lock(format!("volume {}", spec.name)).await;
            let labels = self.labels(launch, key);
            self.means.runtime.ensure_volume(spec, &labels).await.map_err(failure)?;
            made = true;
        }
        if made {
            self.tell_volumes().await;
        }
        Ok(())
    }

    fn labels(&self, launch: &Launch, key: &str) -> BTreeMap<String, String> {
        let label = |name: &str, value: String| (name.to_owned(), value);
        BTreeMap::from([
            label(labels::NODE, self.means.node.to_string()),
            label(labels::PROJECT, launch.service.project.to_string()),
            label(labels::RESOURCE, key.to_owned()),
        ])
    }

    async fn write_files(
        &self,
        launch: &Launch,
    ) -> Result<Vec<crate::runtime::MountedFile>, Failure> {
        let view = self.means.view.borrow().clone();
        self.files.write(launch, &view.state, &self.means.vault).await
    }

    async fn post_start(&self, id: &RuntimeId, spec: &ContainerSpec) -> Result<(), Failure> {
        for hook in &spec.post_start {
            self.hook(id, "post_start", hook).await?;
        }
        Ok(())
    }

    async fn hook(&self, id: &RuntimeId, when: &str, hook: &HookSpec) -> Result<(), Failure> {
        let environment = hook.environment.iter().map(|(name, value)| match value {
            Some(value) => format!("{name}={value}"),
            None => name.clone(),
        });
        let request = ExecRequest {
            command: hook.command.clone(),
            user: hook.user.clone(),
            working_dir: hook.working_dir.clone(),
            environment: environment.collect(),
            privileged: hook.privileged,
            ..ExecRequest::default()
        };
        let runtime = self.means.runtime.as_ref();
        let ended = commands::run(runtime, id, request).await.map_err(failure)?;
        if ended.status == Some(0) {
            return Ok(());
        }
        let said: String = ended.output.trim().chars().take(HOOK_OUTPUT_CHARS_MAX).collect();
        let status = ended.status.map_or_else(|| "no status".to_owned(), |it| it.to_string());
        let command = hook.command.join(" ");
        Err(fault(format!("{when} hook `{command}` ended with status {status}: {said}")))
    }

    pub(super) async fn step(&self, launch: &Launch, activity: Activity) {
        self.tell(Event::Progressed(launch.container, activity)).await;
    }
}

/// A name that another of the service's containers has still is free once that is gone.
fn name_taken(error: RuntimeError) -> Failure {
    let passing = matches!(error, RuntimeError::Conflict(_));
    let failure = failure(error);
    Failure { passing: passing || failure.passing, ..failure }
}

/// The name of a container that waits for the name of another. Always the same, so that an attempt
/// that is repeated finds what was made.
fn waiting_name(launch: &Launch) -> Result<ContainerName, Failure> {
    let name = format!("{}-{}", launch.name, launch.container.short());
    name.parse().map_err(|it| fault(format!("{it}")))
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}
