//! What a container has mounted.
//!
//! The engine has two forms: mounts, which have options and refuse a missing path of the node, and
//! binds, which make it and can relabel for SELinux. The form follows from what is asked for.

use bollard::models::{
    HostConfig, Mount as EngineMount, MountBindOptions, MountBindOptionsPropagationEnum,
    MountImageOptions, MountTmpfsOptions, MountType, MountVolumeOptions,
};

use super::super::{
    connect::{ApiVersion, Engine},
    flavour::Flavour,
};
use crate::{
    model::spec::{Bind, Mount, MountKind, Propagation},
    runtime::{CreateContainer, MountedFile, RuntimeError},
};

/// Mounts make a missing path of the node when asked to.
const CREATES_PATH: ApiVersion = ApiVersion(1, 42);

pub(super) async fn set(
    host: &mut HostConfig,
    engine: &Engine,
    request: &CreateContainer,
) -> Result<(), RuntimeError> {
    let (mut mounts, mut binds) = (Vec::new(), Vec::new());
    for mount in &request.spec.mounts {
        let made = match &mount.kind {
            MountKind::Volume { name, no_copy, subpath, labels } => {
                let options = MountVolumeOptions {
                    no_copy: no_copy.then_some(true),
                    labels: super::some(labels.clone()),
                    subpath: subpath.clone(),
                    driver_config: None,
                };
                let made = volume(engine, request, mount, name.as_deref(), options)?;
                if let Some(line) = without_copy(engine.flavour, &made, *no_copy) {
                    binds.push(line);
                    continue;
                }
                made
            }
            MountKind::Bind(bind) => match bound(engine, mount, bind).await? {
                Bound::Mount(made) => *made,
                Bound::Line(line) => {
                    binds.push(line);
                    continue;
                }
            },
            MountKind::Tmpfs { size_bytes, mode } => EngineMount {
                tmpfs_options: Some(MountTmpfsOptions {
                    size_bytes: size_bytes.map(|it| i64::try_from(it).unwrap_or(i64::MAX)),
                    mode: mode.map(i64::from),
                    options: None,
                }),
                ..at(MountType::TMPFS, mount)
            },
            MountKind::Image { image, subpath } => image_mount(engine, mount, image, subpath)?,
        };
        mounts.push(made);
    }
    mounts.extend(request.files.iter().map(file));
    host.mounts = Some(mounts);
    host.binds = Some(binds);
    host.tmpfs = Some(request.spec.tmpfs.iter().cloned().collect());
    host.volumes_from = Some(volumes_from(request)?);
    Ok(())
}

/// Podman heeds the wish to begin with an empty volume in a line only, not in a mount.
fn without_copy(flavour: Flavour, made: &EngineMount, no_copy: bool) -> Option<String> {
    if flavour == Flavour::Docker || !no_copy {
        return None;
    }
    let (source, target) = (made.source.as_deref()?, made.target.as_deref()?);
    let access = if made.read_only == Some(true) { "ro" } else { "rw" };
    Some(format!("{source}:{target}:{access},nocopy"))
}

fn at(kind: MountType, mount: &Mount) -> EngineMount {
    EngineMount {
        typ: Some(kind),
        target: Some(mount.target.clone()),
        read_only: Some(mount.read_only),
        ..EngineMount::default()
    }
}

fn volume(
    engine: &Engine,
    request: &CreateContainer,
    mount: &Mount,
    name: Option<&str>,
    options: MountVolumeOptions,
) -> Result<EngineMount, RuntimeError> {
    if options.subpath.is_some() {
        let feature = format!("`volume.subpath` of the mount at {}", mount.target);
        engine.require(&feature, ApiVersion(1, 45), "26.0")?;
    }
    let source = name.map(|key| {
        request.volumes.get(key).cloned().ok_or_else(|| RuntimeError::NotFound {
            what: "volume of the project",
            name: key.to_owned(),
        })
    });
    Ok(EngineMount {
        source: source.transpose()?,
        volume_options: Some(options),
        ..at(MountType::VOLUME, mount)
    })
}

fn image_mount(
    engine: &Engine,
    mount: &Mount,
    image: &str,
    subpath: &Option<String>,
) -> Result<EngineMount, RuntimeError> {
    let feature = format!("the mount of image {image} at {}", mount.target);
    engine.require(&feature, ApiVersion(1, 48), "28.0")?;
    Ok(EngineMount {
        source: Some(image.to_owned()),
        image_options: Some(MountImageOptions { subpath: subpath.clone() }),
        ..at(MountType::IMAGE, mount)
    })
}

fn file(file: &MountedFile) -> EngineMount {
    EngineMount {
        typ: Some(MountType::BIND),
        source: Some(file.source.display().to_string()),
        target: Some(file.target.clone()),
        read_only: Some(true),
        ..EngineMount::default()
    }
}

/// A path of the node in one of the engine's two forms.
enum Bound {
    Mount(Box<EngineMount>),
    Line(String),
}

async fn bound(engine: &Engine, mount: &Mount, bind: &Bind) -> Result<Bound, RuntimeError> {
    let failed = |why: String| RuntimeError::Failed {
        doing: format!("mount {} at {}", bind.source, mount.target),
        why,
    };
    if !bind.source.starts_with('/') {
        return Err(failed("a path of the node begins with `/`".to_owned()));
    }
    // Podman makes a missing path in either form.
    let made_unasked = engine.flavour == Flavour::Podman && !bind.create_host_path;
    if made_unasked && !tokio::fs::try_exists(&bind.source).await.unwrap_or(false) {
        return Err(failed(not_there(&bind.source)));
    }
    let creates = bind.create_host_path;
    // Only a mount has options, and can name a path with a colon.
    let needs_mount =
        bind.recursive.is_some() || bind.source.contains(':') || mount.target.contains(':');
    let exists = || tokio::fs::try_exists(&bind.source);
    if let Some(label) = bind.selinux {
        if needs_mount {
            return Err(RuntimeError::Unsupported(format!(
                "Docker can't relabel ({label}) a mount with `recursive` or a path with a colon: {} at {}; leave one of them out",
                bind.source, mount.target
            )));
        }
        // The engine's binds make a missing path, which was not asked for.
        if !creates && !exists().await.unwrap_or(false) {
            return Err(failed(not_there(&bind.source)));
        }
        return Ok(Bound::Line(line(mount, bind)));
    }
    if !creates {
        return with_options(engine, mount, bind, false).map(Bound::Mount);
    }
    if !needs_mount {
        return Ok(Bound::Line(line(mount, bind)));
    }
    let creates = if engine.api >= CREATES_PATH {
        true
    } else if exists().await.unwrap_or(false) {
        false
    } else {
        let feature = format!("making the missing path {} for a mount with options", bind.source);
        engine.require(&feature, CREATES_PATH, "23.0")?;
        true
    };
    with_options(engine, mount, bind, creates).map(Bound::Mount)
}

fn not_there(source: &str) -> String {
    format!(
        "{source} is not there; make that path on this node, or let it be made with `create_host_path: true`"
    )
}

fn line(mount: &Mount, bind: &Bind) -> String {
    let mut options = vec![if mount.read_only { "ro" } else { "rw" }.to_owned()];
    options.extend(bind.propagation.map(|it| propagation(it).to_string()));
    options.extend(bind.selinux.map(String::from));
    format!("{}:{}:{}", bind.source, mount.target, options.join(","))
}

fn with_options(
    engine: &Engine,
    mount: &Mount,
    bind: &Bind,
    creates: bool,
) -> Result<Box<EngineMount>, RuntimeError> {
    let mut options = MountBindOptions {
        propagation: bind.propagation.map(propagation),
        create_mountpoint: creates.then_some(true),
        ..MountBindOptions::default()
    };
    let recursive = bind.recursive.as_deref();
    if let Some(word @ ("writable" | "readonly")) = recursive {
        engine.require(&format!("`recursive: {word}`"), ApiVersion(1, 44), "25.0")?;
    }
    match recursive {
        None | Some("enabled") => {}
        Some("disabled") => options.non_recursive = Some(true),
        Some("writable") => options.read_only_non_recursive = Some(true),
        Some("readonly") => options.read_only_force_recursive = Some(true),
        Some(other) => {
            return Err(RuntimeError::Unsupported(format!(
                "`recursive: {other}` of the mount at {} is none of `enabled`, `disabled`, `writable`, `readonly`",
                mount.target
            )));
        }
    }
    Ok(Box::new(EngineMount {
        source: Some(bind.source.clone()),
        bind_options: Some(options),
        ..at(MountType::BIND, mount)
    }))
}

fn propagation(propagation: Propagation) -> MountBindOptionsPropagationEnum {
    match propagation {
        Propagation::Private => MountBindOptionsPropagationEnum::PRIVATE,
        Propagation::RPrivate => MountBindOptionsPropagationEnum::RPRIVATE,
        Propagation::Shared => MountBindOptionsPropagationEnum::SHARED,
        Propagation::RShared => MountBindOptionsPropagationEnum::RSHARED,
        Propagation::Slave => MountBindOptionsPropagationEnum::SLAVE,
        Propagation::RSlave => MountBindOptionsPropagationEnum::RSLAVE,
    }
}

/// `container:NAME[:mode]` is any container; `[service:]NAME[:mode]` is a service's.
fn volumes_from(request: &CreateContainer) -> Result<Vec<String>, RuntimeError> {
    let mut sources = Vec::new();
    for text in &request.spec.volumes_from {
        if let Some(container) = text.strip_prefix("container:") {
            sources.push(container.to_owned());
            continue;
        }
        let service = text.strip_prefix("service:").unwrap_or(text);
        let (service, mode) = service.split_once(':').unwrap_or((service, ""));
        let peer = request.peers.iter().find(|(name, _)| name.as_str() == service);
        let (_, id) = peer.ok_or_else(|| RuntimeError::NotFound {
            what: "container of service",
            name: service.to_owned(),
        })?;
        sources.push(if mode.is_empty() { id.to_string() } else { format!("{id}:{mode}") });
    }
    Ok(sources)
}
