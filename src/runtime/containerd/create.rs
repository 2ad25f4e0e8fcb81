//! Making a container: its file system, its files, its spec.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    connect::{Connection, SNAPSHOTTER},
    errors::{About, Refusal, about, unsupported},
    hosts,
    images::{self, Resolved},
    log,
    messages::{
        Any, Container, NewContainer, OciRuntime, PrepareSnapshot, RemoveSnapshot, RuncOptions,
    },
    oci::Defaults,
    record::{self, Joins, Mounted, Record},
    rootfs::Rootfs,
    spec::{self, Parts},
    unpack,
    users::{self, User},
    volumes,
};
use crate::{
    model::spec::{MountKind, NamespaceMode, NetworkMode},
    runtime::{CreateContainer, MountedFile, RuntimeError, RuntimeId, labels},
};
use prost::Message;

/// What a spec is, to containerd.
pub(super) const SPEC: &str = "types.containerd.io/opencontainers/runtime-spec/1/Spec";

/// What runs containers.
pub(super) const SHIM: &str = "io.containerd.runc.v2";

/// How long a container may take to stop, if it says nothing: Docker's ten seconds.
const STOP_GRACE_MS: u64 = 10_000;

/// The longest name of a host.
const HOSTNAME_BYTES_MAX: usize = 63;

pub(super) async fn create(
    connection: &Connection,
    request: &CreateContainer,
) -> Result<RuntimeId, RuntimeError> {
    let what = about("create", "container", request.name.as_str());
    connection.version().await?;
    // Who has a name is looked up and settled at once.
    let _names = connection.names.lock().await;
    if let Some(there) = record::by_name(connection, request.name.as_str()).await? {
        return adopt(&there, request);
    }
    spec::check(request)?;
    let platform = request.spec.platform.as_deref();
    let image = images::resolve(connection, &request.spec.image, platform).await?;
    let image = image.ok_or_else(|| RuntimeError::NotFound {
        what: "image",
        name: request.spec.image.clone(),
    })?;
    let whole = unpack::unpack(connection, &image).await?;
    let id = super::random_id();
    let prepare = PrepareSnapshot {
        snapshotter: SNAPSHOTTER.to_owned(),
        key: id.clone(),
        parent: whole,
        // Until the container refers to it.
        labels: [("containerd.io/gc.root".to_owned(), "fizz".to_owned())].into(),
    };
    let mounts = connection.work(prepare).await.map_err(|it| connection.error(it, &what))?.mounts;
    let made = with_files(connection, request, &image, &id, mounts, &what).await;
    if made.is_err() {
        // Half a container is none; why it failed matters more than how it was cleared away.
        let remove = RemoveSnapshot { snapshotter: SNAPSHOTTER.to_owned(), key: id.clone() };
        let _ = connection.work(remove).await;
        let _ = tokio::fs::remove_dir_all(connection.directory(&id)).await;
    }
    made.map(|()| RuntimeId(id.into()))
}

/// What has the name already, if it is the container that is wanted.
fn adopt(there: &Container, request: &CreateContainer) -> Result<RuntimeId, RuntimeError> {
    let label = |name: &str| there.labels.get(name).map(String::as_str);
    let name = request.name.as_str();
    if label(labels::CONTAINER) == Some(request.container.to_string().as_str()) {
        return Ok(RuntimeId(there.id.as_str().into()));
    }
    Err(RuntimeError::Conflict(match (label(labels::SERVICE), label(labels::PROJECT)) {
        (Some(service), Some(project)) => format!(
            "container {name} is there already, of service {service} of project {project}; remove it or choose another name"
        ),
        _ => format!(
            "container {name} is there already and is not Fizz's; remove it or choose another name"
        ),
    }))
}

async fn with_files(
    connection: &Connection,
    request: &CreateContainer,
    image: &Resolved,
    id: &str,
    mounts: Vec<super::messages::MountPoint>,
    what: &About,
) -> Result<(), RuntimeError> {
    let directory = connection.directory(id);
    tokio::fs::create_dir_all(&directory).await.map_err(|error| what.failed(error))?;
    let joins = joins(connection, request).await?;
    let rootfs = Rootfs::mount(&mounts, connection.scratch().join(id));
    let rootfs = rootfs.map_err(|error| what.failed(format!("mount its file system: {error}")))?;
    let defaults = image.config.config.clone().unwrap_or_default();
    let user = user(request, &defaults, &rootfs).map_err(|why| what.failed(why))?;
    let hostname = hostname(request, id);
    hosts::write(&directory, &request.spec, &hostname, is_on_host(request))
        .map_err(|error| what.failed(error))?;
    let bounding_set = connection.bounding_set();
    let process = spec::process(&request.spec, &defaults, &user, &hostname, bounding_set)?;
    if process["args"].as_array().is_none_or(Vec::is_empty) {
        return Err(what.failed("no command is set, and the image has none; set `command`"));
    }
    let mut record = record(request, image, &defaults, joins)?;
    record.mounts = own_mounts(connection, request, id, &defaults, &rootfs).await?;
    drop(rootfs);
    let mut all = spec::defaults(&request.spec);
    all.extend(files(&directory, &record.joins, connection));
    if request.spec.init == Some(true)
        && let Some((program, _)) = spec::init_program()
    {
        all.push(spec::mounted("bind", program, spec::INIT_TARGET, &["bind", "ro"]));
    }
    all.extend(record.mounts.iter().map(|it| it.mount.clone()));
    all.extend(request.files.iter().map(mounted_file));
    let parts = Parts {
        id: id.to_owned(),
        process,
        mounts: spec::placed(all),
        // Those of other containers are looked up when it starts.
        namespaces: spec::namespaces(request, &record.joins, &BTreeMap::new())?,
        hostname,
    };
    let mut spec = spec::spec(request, parts)?;
    if log::is_beside(&record) {
        spec["hooks"] = log::hooks(&directory, &connection.program);
    }
    log::prepare(&directory, &record).map_err(|error| what.failed(error))?;
    let container = Container {
        id: id.to_owned(),
        labels: record::own_labels(request),
        image: image.name.clone(),
        runtime: Some(runtime(request.spec.oci_runtime.as_deref())),
        spec: Some(Any { type_url: SPEC.to_owned(), value: spec.to_string().into_bytes() }),
        snapshotter: SNAPSHOTTER.to_owned(),
        snapshot_key: id.to_owned(),
        created_at: None,
        extensions: record.extensions(),
    };
    match connection.work(NewContainer { container: Some(container) }).await {
        Ok(_) => Ok(()),
        Err(Refusal::Said(why)) => Err(what.failed(why)),
        Err(refusal) => Err(connection.error(refusal, what)),
    }
}

/// containerd's name for an OCI runtime: a shim's whole name, or a program for runc's.
fn runtime(name: Option<&str>) -> OciRuntime {
    match name {
        None | Some("" | "runc") => OciRuntime { name: SHIM.to_owned(), options: None },
        Some(shim) if shim.starts_with("io.containerd.") => {
            OciRuntime { name: shim.to_owned(), options: None }
        }
        Some(program) => {
            let options = RuncOptions { binary_name: program.to_owned() };
            let type_url = "containerd.runc.v1.Options".to_owned();
            let options = Some(Any { type_url, value: options.encode_to_vec() });
            OciRuntime { name: SHIM.to_owned(), options }
        }
    }
}

fn user(request: &CreateContainer, defaults: &Defaults, rootfs: &Rootfs) -> Result<User, String> {
    let said = request.spec.user.as_deref().or(defaults.user.as_deref()).unwrap_or_default();
    let read = |path: &str| rootfs.text(path).map_err(|error| format!("read {path}: {error}"));
    users::user(said, &request.spec.group_add, &read("/etc/passwd")?, &read("/etc/group")?)
}

/// Whether it is in the node's own network.
fn is_on_host(request: &CreateContainer) -> bool {
    request.network_namespace.is_none() && request.spec.network == NetworkMode::Host
}

/// The service's own, the node's in its network, or the beginning of the id, as with Docker.
fn hostname(request: &CreateContainer, id: &str) -> String {
    if let Some(name) = &request.spec.hostname {
        return name.chars().take(HOSTNAME_BYTES_MAX).collect();
    }
    if is_on_host(request) || request.spec.security.uts_host {
        return nix::unistd::gethostname()
            .map(|it| it.to_string_lossy().into_owned())
            .unwrap_or_default();
    }
    id.chars().take(12).collect()
}

fn record(
    request: &CreateContainer,
    image: &Resolved,
    defaults: &Defaults,
    joins: Joins,
) -> Result<Record, RuntimeError> {
    let spec = &request.spec;
    let shares_memory =
        matches!(&spec.security.ipc, Some(NamespaceMode::Other(it)) if it == "shareable");
    let signal = spec.stop_signal.as_deref().or(defaults.stop_signal.as_deref());
    let labels = defaults.labels.clone().unwrap_or_default();
    Ok(Record {
        image: image.id.clone(),
        command: spec::words(spec, defaults),
        labels: labels.into_iter().chain(spec.labels.clone()).collect(),
        joins,
        terminal: spec.tty,
        stdin: spec.stdin_open,
        stdin_once: spec.stdin_open && request.one_off,
        stop_signal: signal.filter(|it| !it.is_empty()).unwrap_or("SIGTERM").to_owned(),
        stop_grace_ms: spec.stop_grace.map_or(STOP_GRACE_MS, |it| it.0),
        mounts: Vec::new(),
        shares_memory: shares_memory.then(|| spec.resources.shm_bytes.unwrap_or(64 << 20)),
        log: log::settings(spec.logging.as_ref())?,
    })
}

/// The containers whose namespaces are joined, by id.
async fn joins(connection: &Connection, request: &CreateContainer) -> Result<Joins, RuntimeError> {
    let service = |name: &crate::model::ServiceName| {
        let peer = request.peers.get(name).map(|it| it.0.to_string());
        peer.ok_or_else(|| RuntimeError::NotFound {
            what: "container of service",
            name: name.to_string(),
        })
    };
    let network = match (&request.network_namespace, &request.spec.network) {
        (Some(_), _) => None,
        (None, NetworkMode::Service(name)) => Some(service(name)?),
        (None, NetworkMode::Container(name)) => Some(named(connection, name).await?),
        (
            None,
            NetworkMode::Networks(_)
            | NetworkMode::None
            | NetworkMode::Host
            | NetworkMode::Bridge
            | NetworkMode::Named(_),
        ) => None,
    };
    let mut others = [None, None];
    let modes = [&request.spec.security.ipc, &request.spec.security.pid];
    for (mode, other) in modes.into_iter().zip(&mut others) {
        *other = match mode {
            Some(NamespaceMode::Service(name)) => Some(service(name)?),
            Some(NamespaceMode::Container(name)) => Some(named(connection, name).await?),
            Some(NamespaceMode::Host | NamespaceMode::Other(_)) | None => None,
        };
    }
    let [ipc, pid] = others;
    Ok(Joins { network, ipc, pid })
}

async fn named(connection: &Connection, name: &str) -> Result<String, RuntimeError> {
    let found = record::by_name(connection, name).await?;
    let missing = || RuntimeError::NotFound { what: "container", name: name.to_owned() };
    found.map(|it| it.id).ok_or_else(missing)
}

/// The container's `/etc` files; those of the one whose network it is in, if it is in another's.
fn files(directory: &std::path::Path, joins: &Joins, connection: &Connection) -> Vec<Value> {
    let owner = joins.network.as_ref().map(|it| connection.directory(it));
    let from = owner.as_deref().unwrap_or(directory);
    let mounted = hosts::FILES.iter().map(|name| {
        let source = from.join(name).display().to_string();
        spec::mounted("bind", &source, &format!("/etc/{name}"), &["rbind", "rprivate", "rw"])
    });
    mounted.collect()
}

fn mounted_file(file: &MountedFile) -> Value {
    let source = file.source.display().to_string();
    spec::mounted("bind", &source, &file.target, &["rbind", "rprivate", "ro"])
}

/// What the service mounts, and what its image has volumes for.
async fn own_mounts(
    connection: &Connection,
    request: &CreateContainer,
    id: &str,
    defaults: &Defaults,
    rootfs: &Rootfs,
) -> Result<Vec<Mounted>, RuntimeError> {
    let mut mounts = from_others(connection, request).await?;
    for (target, options) in &request.spec.tmpfs {
        let mount = spec::temporary(target, options);
        mounts.push(Mounted { mount, ..Mounted::default() });
    }
    for mount in &request.spec.mounts {
        let made = match &mount.kind {
            MountKind::Bind(bind) => {
                Mounted { mount: spec::bound(mount, bind)?, ..Mounted::default() }
            }
            MountKind::Tmpfs { size_bytes, mode } => {
                let size = size_bytes.map(|it| format!("size={it}"));
                let mode = mode.map(|it| format!("mode={it:o}"));
                let options: Vec<_> = size.into_iter().chain(mode).collect();
                let mut mount_value = spec::temporary(&mount.target, &options.join(","));
                if mount.read_only
                    && let Some(options) = mount_value["options"].as_array_mut()
                {
                    options.push(json!("ro"));
                }
                Mounted { mount: mount_value, ..Mounted::default() }
            }
            MountKind::Volume { name, no_copy, subpath, labels } => {
                let (key, subpath) = (name.as_deref(), subpath.as_deref());
                let wanted = Wanted { key, no_copy: *no_copy, subpath, labels };
                let at = (mount.target.as_str(), mount.read_only);
                volume(connection, (request, id), at, wanted, rootfs).await?
            }
            MountKind::Image { image, .. } => {
                return Err(unsupported(
                    format!("mount of image {image} (at {})", mount.target),
                    "copy what is needed into a volume, or run this on a node with Docker 28 or newer",
                ));
            }
        };
        mounts.push(made);
    }
    for target in defaults.volumes.iter().flat_map(BTreeMap::keys) {
        let place = |text: &str| text.trim_end_matches('/').to_owned();
        let at = |it: &Mounted| it.mount["destination"].as_str().map(place);
        if mounts.iter().any(|it| at(it) == Some(place(target))) {
            continue;
        }
        let labels = BTreeMap::new();
        let wanted = Wanted { key: None, no_copy: false, subpath: None, labels: &labels };
        let at = (target.as_str(), false);
        mounts.push(volume(connection, (request, id), at, wanted, rootfs).await?);
    }
    Ok(mounts)
}

/// Which volume, and how it begins.
struct Wanted<'a> {
    key: Option<&'a str>,
    no_copy: bool,
    subpath: Option<&'a str>,
    labels: &'a BTreeMap<String, String>,
}

async fn volume(
    connection: &Connection,
    (request, id): (&CreateContainer, &str),
    (target, read_only): (&str, bool),
    wanted: Wanted<'_>,
    rootfs: &Rootfs,
) -> Result<Mounted, RuntimeError> {
    let name = match wanted.key {
        Some(key) => request.volumes.get(key).cloned().ok_or_else(|| RuntimeError::NotFound {
            what: "volume of the project",
            name: key.to_owned(),
        })?,
        None => {
            let name = super::random_id();
            volumes::make(connection, &name, wanted.labels.clone(), BTreeMap::new())?;
            name
        }
    };
    volumes::mount(connection, &name).await?;
    if !wanted.no_copy {
        volumes::populate(connection, &name, rootfs, target).await?;
    }
    let source = match wanted.subpath {
        None => volumes::data(connection, &name),
        Some(_) => connection.directory(id).join(format!("part-{}", super::random_id())),
    };
    let access = if read_only { "ro" } else { "rw" };
    let options = ["rbind", "rprivate", access];
    let mount = spec::mounted("bind", &source.display().to_string(), target, &options);
    let part = wanted.subpath.map(str::to_owned);
    Ok(Mounted { volume: Some(name), part, anonymous: wanted.key.is_none(), mount })
}

/// `container:NAME[:mode]` is any container; `[service:]NAME[:mode]` is a service's.
async fn from_others(
    connection: &Connection,
    request: &CreateContainer,
) -> Result<Vec<Mounted>, RuntimeError> {
    let mut mounts = Vec::new();
    for text in &request.spec.volumes_from {
        let (of_container, rest) = match text.strip_prefix("container:") {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix("service:").unwrap_or(text)),
        };
        let (name, mode) = rest.split_once(':').unwrap_or((rest, ""));
        let id = if of_container {
            named(connection, name).await?
        } else {
            let peer = request.peers.iter().find(|(it, _)| it.as_str() == name);
            let missing =
                || RuntimeError::NotFound { what: "container of service", name: name.to_owned() };
            peer.map(|(_, id)| id.0.to_string()).ok_or_else(missing)?
        };
        let (_, record) = record::must_find(connection, &id, "take volumes from").await?;
        for mut it in record.mounts.into_iter().filter(|it| it.mount["type"] == "bind") {
            // It stays the other's.
            it.anonymous = false;
            if mode.split(',').any(|it| it == "ro")
                && let Some(options) = it.mount["options"].as_array_mut()
            {
                options.retain(|it| it != "rw");
                options.push(json!("ro"));
            }
            mounts.push(it);
        }
    }
    Ok(mounts)
}
