//! Images of the node: looked up by any of their names, and removed.

use std::collections::BTreeSet;

use super::{
    connect::Connection,
    content,
    errors::{Refusal, about},
    messages::{
        DeleteImage, Descriptor, FieldMask, GetImage, Image, ListImages, NewImage, UpdateImage,
    },
    oci::{self, Blob, Document, Healthcheck, ImageConfig, Platform},
    record,
    reference::Reference,
};
use crate::{
    model::{
        ImageId, Millis, WallTime,
        spec::{HealthSpec, HealthTest},
    },
    runtime::{ImageInfo, RuntimeError},
};

/// How deep lists of manifests may be in lists.
const LISTS_MAX: usize = 4;

/// An image, with all that is needed to make containers from it.
#[derive(Clone, Debug)]
pub(super) struct Resolved {
    /// Its configuration's digest, by which Docker knows it too.
    pub(super) id: String,
    /// One of its names in containerd.
    pub(super) name: String,
    /// What the name means: a manifest, or a list of them.
    pub(super) target: Descriptor,
    /// Its configuration.
    pub(super) config: ImageConfig,
    /// Its layers, the lowest first.
    pub(super) layers: Vec<Blob>,
}

/// An image by any of its names: for the platform that is asked for, or else for this machine if it is
/// there, or for whichever is.
pub(super) async fn resolve(
    connection: &Connection,
    text: &str,
    platform: Option<&str>,
) -> Result<Option<Resolved>, RuntimeError> {
    let failed = |refusal| connection.error(refusal, &about("look for", "image", text));
    let wanted = platform.map(Platform::parse);
    let wanted = wanted.as_ref();
    if let Ok(reference) = Reference::parse(text) {
        match connection.ask(GetImage { name: reference.full() }).await {
            Ok(answer) => {
                let image = answer.image.unwrap_or_default();
                return described(connection, &image, wanted).await.map(Some).map_err(failed);
            }
            Err(Refusal::Missing(_)) => {}
            Err(refusal) => return Err(failed(refusal)),
        }
        if let Some(digest) = &reference.digest {
            let filter = format!("target.digest=={digest}");
            let images = list(connection, vec![filter]).await.map_err(failed)?;
            if let Some(image) = images.first() {
                return described(connection, image, wanted).await.map(Some).map_err(failed);
            }
        }
    }
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    let could_be_id = hex.len() >= 12 && hex.bytes().all(|it| it.is_ascii_hexdigit());
    if !could_be_id {
        return Ok(None);
    }
    for image in list(connection, Vec::new()).await.map_err(failed)? {
        let Ok(found) = described(connection, &image, wanted).await else { continue };
        if found.id.strip_prefix("sha256:").is_some_and(|it| it.starts_with(hex)) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Lets a name mean an image, whatever it meant before.
pub(super) async fn keep(
    connection: &Connection,
    name: &str,
    target: Descriptor,
) -> Result<(), Refusal> {
    let image = Some(Image { name: name.to_owned(), target: Some(target), ..Image::default() });
    match connection.ask(NewImage { image: image.clone() }).await {
        Err(Refusal::Taken(_)) => {
            let update_mask = Some(FieldMask { paths: vec!["target".to_owned()] });
            connection.ask(UpdateImage { image, update_mask }).await.map(drop)
        }
        done => done.map(drop),
    }
}

async fn list(connection: &Connection, filters: Vec<String>) -> Result<Vec<Image>, Refusal> {
    Ok(connection.ask(ListImages { filters }).await?.images)
}

/// What a name in containerd means on a platform.
async fn described(
    connection: &Connection,
    image: &Image,
    wanted: Option<&Platform>,
) -> Result<Resolved, Refusal> {
    let target = image.target.clone().unwrap_or_default();
    let mut digest = target.digest.clone();
    for _ in 0..LISTS_MAX {
        let document: Document = content::document(connection, &digest).await?;
        if let Some(manifests) = &document.manifests {
            digest = chosen(connection, image, manifests, wanted).await?;
            continue;
        }
        let config = document.config.ok_or_else(|| {
            Refusal::Said(format!("{digest} is no image: it has no configuration"))
        })?;
        let read: ImageConfig = content::document(connection, &config.digest).await?;
        if let Some(wanted) = wanted.filter(|it| !read.platform.suits(it)) {
            let (name, has) = (&image.name, &read.platform);
            return Err(Refusal::Said(format!("{name} is for {has}, not for {wanted}")));
        }
        return Ok(Resolved {
            config: read,
            id: config.digest,
            name: image.name.clone(),
            target,
            layers: document.layers,
        });
    }
    Err(Refusal::Said(format!("{} is a list of lists of lists", image.name)))
}

/// Which manifest of a list is meant.
async fn chosen(
    connection: &Connection,
    image: &Image,
    manifests: &[Blob],
    wanted: Option<&Platform>,
) -> Result<String, Refusal> {
    if let Some(wanted) = wanted {
        let found = oci::suiting(manifests, wanted).map(|it| it.digest.clone());
        return found
            .ok_or_else(|| Refusal::Said(format!("{} has nothing for {wanted}", image.name)));
    }
    for it in oci::suiting(manifests, &Platform::own()).into_iter().chain(manifests) {
        if content::is_there(connection, &it.digest).await? {
            return Ok(it.digest.clone());
        }
    }
    Err(Refusal::Said(format!("nothing of {} is there; pull it again", image.name)))
}

pub(super) async fn image(
    connection: &Connection,
    text: &str,
) -> Result<Option<ImageInfo>, RuntimeError> {
    let Some(found) = resolve(connection, text, None).await? else { return Ok(None) };
    let names = names(connection, &found.id).await?;
    let mut references = BTreeSet::new();
    let mut digests = BTreeSet::new();
    for (name, target) in names {
        let Ok(reference) = Reference::parse(&name) else { continue };
        if reference.digest.is_none() {
            references.insert(reference.familiar());
        }
        digests.insert(reference.with_digest(&target.digest).familiar());
    }
    let defaults = found.config.config.unwrap_or_default();
    let command = [defaults.entrypoint, defaults.cmd].into_iter().flatten().flatten();
    let created = found.config.created.and_then(|it| it.parse::<jiff::Timestamp>().ok());
    let created = created.and_then(|it| u64::try_from(it.as_millisecond()).ok());
    Ok(Some(ImageInfo {
        id: ImageId(found.id.into()),
        references: references.into_iter().collect(),
        digests: digests.into_iter().collect(),
        // Of what is kept, which is packed.
        size_bytes: found.layers.iter().filter_map(|it| u64::try_from(it.size).ok()).sum(),
        created: WallTime(created.unwrap_or_default()),
        platform: found.config.platform.to_string(),
        health: defaults.healthcheck.and_then(health),
        stop_signal: defaults.stop_signal.filter(|it| !it.is_empty()),
        command: command.collect(),
    }))
}

/// Every name of an image, and what each means.
async fn names(
    connection: &Connection,
    id: &str,
) -> Result<Vec<(String, Descriptor)>, RuntimeError> {
    let failed = |refusal| connection.error(refusal, &about("list", "images of", id));
    let mut names = Vec::new();
    for image in list(connection, Vec::new()).await.map_err(failed)? {
        // One for another platform, or half gone, is not this one.
        let Ok(found) = described(connection, &image, None).await else { continue };
        if found.id == id {
            names.push((image.name, found.target));
        }
    }
    Ok(names)
}

/// Docker's rules: no test is none, 0 is not set.
fn health(check: Healthcheck) -> Option<HealthSpec> {
    let (kind, words) = check.test.split_first()?;
    let test = match kind.as_str() {
        "NONE" => HealthTest::Disabled,
        "CMD" => HealthTest::Command(words.to_vec()),
        "CMD-SHELL" => HealthTest::Shell(words.first().cloned().unwrap_or_default()),
        _ => return None,
    };
    let span = |nanos: u64| (nanos > 0).then_some(Millis(nanos / 1_000_000));
    Some(HealthSpec {
        test: Some(test),
        interval: span(check.interval),
        timeout: span(check.timeout),
        retries: (check.retries > 0).then_some(check.retries),
        start_period: span(check.start_period),
        start_interval: span(check.start_interval),
    })
}

/// By name: that name, and the image with its last one. By id: all its names.
pub(super) async fn remove(connection: &Connection, text: &str) -> Result<(), RuntimeError> {
    let about = about("remove", "image", text);
    let Some(found) = resolve(connection, text, None).await? else { return Ok(()) };
    let names: BTreeSet<String> =
        names(connection, &found.id).await?.into_iter().map(|(name, _)| name).collect();
    let named = Reference::parse(text).ok().map(|it| it.full()).filter(|it| names.contains(it));
    let by_digest = |name: &&String| name.contains("@sha256:");
    let (gone, left): (Vec<&String>, Vec<&String>) = match &named {
        // A name by digest goes with the last of the others.
        Some(name) if names.iter().filter(|it| !by_digest(it)).count() > 1 => {
            names.iter().partition(|it| *it == name)
        }
        Some(_) | None => (names.iter().collect(), Vec::new()),
    };
    if left.is_empty()
        && let Some(user) = record::user_of_image(connection, &found.id).await?
    {
        return Err(about.conflict(format!("container {user} is made from it; remove that first")));
    }
    for name in gone {
        let call = DeleteImage { name: name.clone(), sync: true };
        match connection.work(call).await {
            Ok(_) | Err(Refusal::Missing(_)) => {}
            Err(refusal) => return Err(connection.error(refusal, &about)),
        }
    }
    Ok(())
}
