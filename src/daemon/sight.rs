//! Looking at containers, with what their images say about health.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    model::{
        ImageId, NodeId, Observed, RuntimeId,
        spec::{HealthSpec, is_on_one_node},
    },
    node::{Holdings, Sight},
    runtime::{Runtime, RuntimeError, VolumeInfo, labels},
};

/// How many images' health checks are remembered. They never change: an image is named by content.
const IMAGES_KEPT_MAX: usize = 1024;

/// Looks at containers.
pub(super) struct Eyes {
    runtime: Arc<dyn Runtime>,
    images: Mutex<BTreeMap<ImageId, Option<HealthSpec>>>,
}

impl Eyes {
    pub(super) fn new(runtime: Arc<dyn Runtime>) -> Self {
        Self { runtime, images: Mutex::default() }
    }

    /// One container.
    pub(super) async fn look(&self, id: &RuntimeId) -> Result<Sight, RuntimeError> {
        let Some(container) = self.runtime.observe(id).await? else { return Ok(Sight::default()) };
        let image_health = self.health(&container.image).await?;
        Ok(Sight { container: Some(Box::new(container)), image_health })
    }

    /// All of them.
    pub(super) async fn look_around(
        &self,
        node: NodeId,
    ) -> Result<(Vec<Observed>, BTreeMap<ImageId, HealthSpec>), RuntimeError> {
        let all = self.runtime.list(node).await?;
        let mut health = BTreeMap::new();
        for container in &all {
            if let Some(spec) = self.health(&container.image).await? {
                health.insert(container.image.clone(), spec);
            }
        }
        Ok((all, health))
    }

    /// The volumes whose data is on this machine alone.
    pub(super) async fn volumes(&self) -> Result<Holdings, RuntimeError> {
        let all = self.runtime.volumes(None).await?;
        let local = all.into_iter().filter(|it| is_on_one_node(Some(&it.driver), &it.options));
        let (ours, others): (Vec<VolumeInfo>, Vec<VolumeInfo>) =
            local.partition(|it| it.labels.contains_key(labels::PROJECT));
        let names =
            |all: Vec<VolumeInfo>| all.into_iter().map(|it| it.name).collect::<BTreeSet<_>>();
        Ok(Holdings { ours: names(ours), others: names(others) })
    }

    /// An image's own health check. An image that was removed under its container has none.
    async fn health(&self, image: &ImageId) -> Result<Option<HealthSpec>, RuntimeError> {
        let known = self.images.lock().unwrap_or_else(PoisonError::into_inner).get(image).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let health = match self.runtime.image(&image.0).await {
            Ok(found) => found.and_then(|it| it.health),
            Err(error) if error.is_silence() => return Err(error),
            Err(error) => {
                tracing::debug!(%image, %error, "its own health check is not known");
                return Ok(None);
            }
        };
        let mut images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        if IMAGES_KEPT_MAX <= images.len() {
            images.clear();
        }
        images.insert(image.clone(), health.clone());
        Ok(health)
    }
}
