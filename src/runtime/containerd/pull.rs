//! Fetching an image: from its registry into containerd's store, part by part.
//!
//! What is there already is not fetched again. Nothing has a name before all of it is there, and what is
//! on its way is kept by a lease that ends by itself (containerd's documentation of garbage collection).

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::mpsc;

use super::{
    connect::Connection,
    content,
    errors::{Refusal, about},
    images,
    messages::Descriptor,
    oci::{self, Blob, Document, Platform},
    reference::Reference,
    registry::{Fault, Manifest, Registry},
    unpack::{self, Lease},
};
use crate::{
    model::ImageId,
    runtime::{Credentials, Progress, RuntimeError, progress::Reporter},
};

/// How many layers come at once.
const LAYERS_MAX: usize = 3;

/// How deep lists of manifests may be in lists.
const LISTS_MAX: usize = 4;

/// How often a layer's progress is told: once in so many bytes.
const TOLD_BYTES: u64 = 1 << 19;

type Told = Arc<Mutex<Reporter>>;

/// What is wanted, and from where.
struct Pull<'a> {
    connection: &'a Connection,
    registry: Registry<'a>,
    reference: &'a Reference,
    /// As it was asked for.
    image: &'a str,
    lease: String,
    told: Told,
}

pub(super) async fn pull(
    connection: &Connection,
    image: &str,
    platform: Option<&str>,
    credentials: Option<Credentials>,
    progress: mpsc::Sender<Progress>,
) -> Result<ImageId, RuntimeError> {
    let what = about("pull", "image", image);
    let reference = Reference::parse(image)?;
    let wanted = platform.map_or_else(Platform::own, Platform::parse);
    connection.version().await?;
    let told = Arc::new(Mutex::new(Reporter::new(progress)));
    let lease = Lease::take(connection).await.map_err(|it| connection.error(it, &what))?;
    let pull = Pull {
        connection,
        registry: Registry::new(&reference, credentials),
        reference: &reference,
        image,
        lease: lease.id.clone(),
        told: Arc::clone(&told),
    };
    let done = pull.all(&wanted, platform).await;
    drop(pull);
    lease.let_go(connection).await;
    if let Some(told) = Arc::into_inner(told) {
        told.into_inner().unwrap_or_else(PoisonError::into_inner).finish().await;
    }
    done
}

impl Pull<'_> {
    async fn all(
        &self,
        wanted: &Platform,
        platform: Option<&str>,
    ) -> Result<ImageId, RuntimeError> {
        self.tell(None, &format!("Pulling from {}", self.reference.repository), None);
        let (mut lists, manifest, document) = self.manifest(wanted).await?;
        let config = document.config.unwrap_or_default();
        self.blobs(&config, &document.layers).await?;
        let mut labels = BTreeMap::new();
        refer(&mut labels, "config", &config.digest);
        for (index, layer) in document.layers.iter().enumerate() {
            refer(&mut labels, &format!("l.{index}"), &layer.digest);
        }
        self.keep(&manifest, labels).await?;
        let mut below = manifest;
        while let Some(list) = lists.pop() {
            let mut labels = BTreeMap::new();
            // Several of a list may be fetched, one a platform.
            let short: String = below.digest.chars().skip("sha256:".len()).take(12).collect();
            refer(&mut labels, &format!("m.{short}"), &below.digest);
            self.keep(&list, labels).await?;
            below = list;
        }
        let target = Descriptor {
            media_type: below.media_type,
            digest: below.digest.clone(),
            size: i64::try_from(below.bytes.len()).unwrap_or(i64::MAX),
            annotations: BTreeMap::new(),
        };
        let name = self.reference.full();
        let kept = images::keep(self.connection, &name, target).await;
        kept.map_err(|refusal| self.refused(refusal))?;
        let found = images::resolve(self.connection, &name, platform).await?;
        let found = found.ok_or_else(|| Fault::Missing.error(self.reference, self.image))?;
        unpack::unpack(self.connection, &found).await?;
        for layer in &document.layers {
            self.tell(Some(&layer.digest), "Pull complete", None);
        }
        self.tell(None, &format!("Digest: {}", below.digest), None);
        self.tell(None, &format!("Status: Downloaded image for {}", self.image), None);
        Ok(ImageId(found.id.into()))
    }

    /// The manifest for a platform, what it says, and the lists that led to it.
    async fn manifest(
        &self,
        wanted: &Platform,
    ) -> Result<(Vec<Manifest>, Manifest, Document), RuntimeError> {
        let mut lists = Vec::new();
        let mut version = self.reference.version().to_owned();
        while lists.len() < LISTS_MAX {
            let mut manifest =
                self.registry.manifest(&version).await.map_err(|it| self.faulty(it))?;
            let document: Document = serde_json::from_slice(&manifest.bytes)
                .map_err(|error| self.failed(format!("its manifest is not understood: {error}")))?;
            if let Some(kind) = &document.media_type {
                manifest.media_type.clone_from(kind);
            }
            let Some(manifests) = &document.manifests else {
                if document.config.is_none() {
                    return Err(self.failed(
                        "its manifest is of a kind that is no more in use; push it anew".to_owned(),
                    ));
                }
                return Ok((lists, manifest, document));
            };
            let found = oci::suiting(manifests, wanted);
            let found = found.ok_or_else(|| self.failed(format!("it has nothing for {wanted}")))?;
            version.clone_from(&found.digest);
            lists.push(manifest);
        }
        Err(self.failed("it is a list of lists of lists".to_owned()))
    }

    /// The configuration and the layers.
    async fn blobs(&self, config: &Blob, layers: &[Blob]) -> Result<(), RuntimeError> {
        let all = layers.iter().map(|it| (it, true)).chain([(config, false)]);
        let fetched = all.map(|(blob, is_layer)| self.blob(blob, is_layer));
        stream::iter(fetched.collect::<Vec<_>>())
            .buffer_unordered(LAYERS_MAX)
            .try_collect::<()>()
            .await
    }

    async fn blob(&self, blob: &Blob, is_layer: bool) -> Result<(), RuntimeError> {
        let layer = is_layer.then_some(blob.digest.as_str());
        let there = content::is_there(self.connection, &blob.digest).await;
        if there.map_err(|refusal| self.refused(refusal))? {
            self.tell(layer, "Already exists", None);
            return Ok(());
        }
        if !blob.urls.is_empty() {
            return Err(self.failed(format!(
                "layer {} may not be passed on, and is at {} only",
                blob.digest, blob.urls[0]
            )));
        }
        let answer = self.registry.blob(&blob.digest).await.map_err(|it| self.faulty(it))?;
        let (mut got, mut next) = (0, 0);
        let total = u64::try_from(blob.size).unwrap_or(0);
        let (told, digest) = (Arc::clone(&self.told), layer.map(str::to_owned));
        let parts = answer.parts().inspect_ok(move |bytes| {
            got += bytes.len() as u64;
            if digest.is_some() && (got >= next || got == total) {
                next = got + TOLD_BYTES;
                tell(&told, digest.as_deref(), "Downloading", Some((got, total)));
            }
        });
        let (digest, labels) = (&blob.digest, BTreeMap::new());
        let lease = &self.lease;
        content::write(self.connection, digest, blob.size, labels, lease, parts.boxed())
            .await
            .map_err(|refusal| self.refused(refusal))?;
        self.tell(layer, "Download complete", None);
        Ok(())
    }

    /// Keeps a document, and with it what it refers to.
    async fn keep(
        &self,
        manifest: &Manifest,
        labels: BTreeMap<String, String>,
    ) -> Result<(), RuntimeError> {
        let bytes: Bytes = manifest.bytes.clone();
        let size = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
        let parts = stream::iter([Ok(bytes)]).boxed();
        let (digest, lease) = (&manifest.digest, &self.lease);
        let kept =
            content::write(self.connection, digest, size, labels.clone(), lease, parts).await;
        kept.map_err(|refusal| self.refused(refusal))?;
        // One that was there already may have been for another platform.
        for (name, value) in &labels {
            let labelled = content::label(self.connection, digest, name, value).await;
            labelled.map_err(|refusal| self.refused(refusal))?;
        }
        Ok(())
    }

    fn tell(&self, layer: Option<&str>, status: &str, bytes: Option<(u64, u64)>) {
        tell(&self.told, layer, status, bytes);
    }

    fn failed(&self, why: String) -> RuntimeError {
        about("pull", "image", self.image).failed(why)
    }

    fn faulty(&self, fault: Fault) -> RuntimeError {
        fault.error(self.reference, self.image)
    }

    fn refused(&self, refusal: Refusal) -> RuntimeError {
        match refusal {
            // What is missing is not the image.
            Refusal::Missing(why) => self.failed(why),
            Refusal::Silent(_) | Refusal::Taken(_) | Refusal::NotNow(_) | Refusal::Said(_) => {
                self.connection.error(refusal, &about("pull", "image", self.image))
            }
        }
    }
}

/// Keeps what a document refers to as long as that is there.
fn refer(labels: &mut BTreeMap<String, String>, what: &str, digest: &str) {
    labels.insert(format!("containerd.io/gc.ref.content.{what}"), digest.to_owned());
}

fn tell(told: &Told, layer: Option<&str>, status: &str, bytes: Option<(u64, u64)>) {
    // As Docker shortens a layer's digest.
    let short = |it: &str| it.trim_start_matches("sha256:").chars().take(12).collect();
    let step = Progress {
        layer: layer.map(short),
        status: status.to_owned(),
        current_bytes: bytes.map(|it| it.0),
        total_bytes: bytes.map(|it| it.1),
    };
    told.lock().unwrap_or_else(PoisonError::into_inner).report(step);
}
