//! Removes what a project leaves behind: networks, and volumes and images where asked to.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;
use tracing::warn;

use super::{Inner, failure};
use crate::{
    api::wire,
    model::ProjectName,
    node::Failure,
    runtime::{RuntimeError, labels},
};

/// How often a network that is said to be in use is tried, and how long between: a busy engine counts
/// containers that are removed for a moment more.
const IN_USE_TRIES: u32 = 6;
const IN_USE_PAUSE: Duration = Duration::from_millis(400);

impl Inner {
    /// What is gone already is fine. What somebody else uses stays, and is told: it is no reason to
    /// keep the project.
    pub(super) async fn clear(
        self: &Arc<Self>,
        project: &ProjectName,
        volumes: bool,
        images: &[String],
    ) -> Result<(), Failure> {
        let runtime = &self.means.runtime;
        let found = runtime.networks(labels::PROJECT, project.as_str()).await.map_err(failure)?;
        for name in found {
            let _turn = self.resources.lock(format!("network {name}")).await;
            let result = self.remove_network(&name).await;
            self.removed(project, "network", &name, result)?;
        }
        if volumes {
            let label = Some((labels::PROJECT, project.as_str()));
            for volume in runtime.volumes(label).await.map_err(failure)? {
                let _turn = self.resources.lock(format!("volume {}", volume.name)).await;
                let result = runtime.remove_volume(&volume.name).await;
                self.removed(project, "volume", &volume.name, result)?;
            }
            self.tell_volumes().await;
        }
        for image in images {
            let result = runtime.remove_image(image).await;
            self.removed(project, "image", image, result)?;
        }
        Ok(())
    }

    async fn remove_network(&self, name: &str) -> Result<(), RuntimeError> {
        for _ in 1..IN_USE_TRIES {
            match self.means.runtime.remove_network(name).await {
                Err(RuntimeError::Conflict(_)) => sleep(IN_USE_PAUSE).await,
                result => return result,
            }
        }
        self.means.runtime.remove_network(name).await
    }

    fn removed(
        &self,
        project: &ProjectName,
        what: &str,
        name: &str,
        result: Result<(), RuntimeError>,
    ) -> Result<(), Failure> {
        let (kind, reason) = match result {
            Ok(()) => ("resource.removed", None),
            Err(RuntimeError::NotFound { .. }) => return Ok(()),
            Err(RuntimeError::Conflict(why)) => {
                warn!(%project, name, why, "{what} stays: it is in use");
                ("resource.failed", Some(why))
            }
            Err(error) => return Err(failure(error)),
        };
        self.means.log.append(wire::Event {
            at_ms: self.means.clock.now().wall.0,
            kind: kind.to_owned(),
            project: Some(project.to_string()),
            name: Some(name.to_owned()),
            state: Some(what.to_owned()),
            reason,
            ..wire::Event::default()
        });
        Ok(())
    }
}
