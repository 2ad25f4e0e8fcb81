//! Layers made into file systems.
//!
//! Each layer is unpacked upon the ones below it and kept by the name that all of them give it, so that
//! images share what they have in common. The image's configuration keeps the whole from being cleared
//! away (containerd's documentation of garbage collection, "labels").

use super::{
    connect::{ANSWER_MAX, Connection, LAYER_MAX, SNAPSHOTTER},
    content,
    errors::{About, Refusal, about},
    images::Resolved,
    messages::{
        ApplyLayer, CommitSnapshot, CreateLease, DeleteLease, PrepareSnapshot, RemoveSnapshot,
        StatSnapshot,
    },
    oci,
};
use crate::runtime::RuntimeError;

/// How long what is being made is kept if this process dies over it.
const LEASE_HOURS: i64 = 24;

/// Keeps what is made until it is let go.
pub(super) struct Lease {
    pub(super) id: String,
}

impl Lease {
    pub(super) async fn take(connection: &Connection) -> Result<Self, Refusal> {
        let id = format!("fizz-{}", super::random_id());
        let ends = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(LEASE_HOURS);
        let labels = [("containerd.io/gc.expire".to_owned(), ends.to_string())].into();
        connection.ask(CreateLease { id: id.clone(), labels }).await?;
        Ok(Self { id })
    }

    /// A lease that cannot be let go ends by itself.
    pub(super) async fn let_go(self, connection: &Connection) {
        if let Err(refusal) = connection.ask(DeleteLease { id: self.id }).await {
            tracing::debug!(%refusal, "a lease is left to end by itself");
        }
    }
}

/// Makes sure that an image is unpacked, and returns the name of the whole.
pub(super) async fn unpack(
    connection: &Connection,
    image: &Resolved,
) -> Result<String, RuntimeError> {
    let chain = oci::chain(&image.config.rootfs.diff_ids);
    let Some(whole) = chain.last() else { return Ok(String::new()) };
    if is_there(connection, whole).await? {
        return Ok(whole.clone());
    }
    let what = about("unpack", "image", &*image.id);
    if image.layers.len() != chain.len() {
        let (layers, ids) = (image.layers.len(), chain.len());
        return Err(what.failed(format!("it has {layers} layers and names {ids}")));
    }
    let lease = Lease::take(connection).await.map_err(|it| connection.error(it, &what))?;
    let done = layers(connection, image, &chain, &lease, &what).await;
    lease.let_go(connection).await;
    done.map(|()| whole.clone())
}

async fn is_there(connection: &Connection, name: &str) -> Result<bool, RuntimeError> {
    let call = StatSnapshot { snapshotter: SNAPSHOTTER.to_owned(), key: name.to_owned() };
    match connection.ask(call).await {
        Ok(_) => Ok(true),
        Err(Refusal::Missing(_)) => Ok(false),
        Err(refusal) => Err(connection.error(refusal, &about("look for", "snapshot", name))),
    }
}

async fn layers(
    connection: &Connection,
    image: &Resolved,
    chain: &[String],
    lease: &Lease,
    what: &About,
) -> Result<(), RuntimeError> {
    for (index, name) in chain.iter().enumerate() {
        if is_there(connection, name).await? {
            continue;
        }
        let below = index.checked_sub(1).map(|it| chain[it].clone()).unwrap_or_default();
        let key = format!("fizz-{}", super::random_id());
        let done = layer(connection, image, index, (&key, &below, name), lease).await;
        if let Err(refusal) = done {
            let remove = RemoveSnapshot { snapshotter: SNAPSHOTTER.to_owned(), key };
            // Why it failed matters more than how it was cleared away.
            let _ = connection.work(remove).await;
            match refusal {
                // Somebody else was faster.
                Refusal::Taken(_) => {}
                Refusal::Silent(_)
                | Refusal::Missing(_)
                | Refusal::NotNow(_)
                | Refusal::Said(_) => return Err(connection.error(refusal, what)),
            }
        }
    }
    // The image's configuration keeps what was unpacked.
    let label = format!("containerd.io/gc.ref.snapshot.{SNAPSHOTTER}");
    let whole = chain.last().map(String::as_str).unwrap_or_default();
    let kept = content::label(connection, &image.id, &label, whole).await;
    kept.map_err(|refusal| connection.error(refusal, what))
}

async fn layer(
    connection: &Connection,
    image: &Resolved,
    index: usize,
    (key, below, name): (&str, &str, &str),
    lease: &Lease,
) -> Result<(), Refusal> {
    let (snapshotter, id) = (SNAPSHOTTER.to_owned(), Some(&*lease.id));
    let prepare = PrepareSnapshot {
        snapshotter: snapshotter.clone(),
        key: key.to_owned(),
        parent: below.to_owned(),
        labels: Default::default(),
    };
    let mounts = connection.ask_within(prepare, ANSWER_MAX, id).await?.mounts;
    let diff = Some(image.layers[index].descriptor());
    let applied = connection.ask_within(ApplyLayer { diff, mounts }, LAYER_MAX, id).await?;
    let wanted = &image.config.rootfs.diff_ids[index];
    let got = applied.applied.unwrap_or_default().digest;
    if got != *wanted {
        return Err(Refusal::Said(format!("layer {index} is {got}, and was to be {wanted}")));
    }
    let commit = CommitSnapshot {
        snapshotter,
        name: name.to_owned(),
        key: key.to_owned(),
        labels: Default::default(),
    };
    connection.ask_within(commit, LAYER_MAX, id).await.map(drop)
}
