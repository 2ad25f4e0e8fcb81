//! What containers find in their file system: volumes, configs, secrets.

use super::{Known, cursor::Cursor, declared, text};
use crate::{
    compose::{
        tree::{ScalarKind, Value},
        units,
    },
    model::spec::{Bind, FileMount, Mount, MountKind, Propagation},
};

/// `volumes`.
pub(super) fn mounts(place: &Cursor<'_>, known: &Known<'_>) -> Vec<Mount> {
    place.items().iter().filter_map(|it| mount(it, known)).collect()
}

fn mount(place: &Cursor<'_>, known: &Known<'_>) -> Option<Mount> {
    let kind = match place.key("type").text() {
        Some("volume") => volume(place, known),
        Some("bind") => MountKind::Bind(bind(place)?),
        Some("tmpfs") => MountKind::Tmpfs {
            size_bytes: size(&place.key("tmpfs").key("size")),
            mode: mode(&place.key("tmpfs").key("mode")),
        },
        Some("image") => MountKind::Image {
            image: required(&place.key("source"), "an image's reference")?,
            subpath: place.key("image").key("subpath").string(),
        },
        Some(other) => {
            place.key("type").error(format!(
                "`{other}` cannot be mounted; use `volume`, `bind`, `tmpfs` or `image`"
            ));
            return None;
        }
        None => {
            place.key("type").error("is missing; use `volume`, `bind`, `tmpfs` or `image`");
            return None;
        }
    };
    let target = required(&place.key("target"), "a path in the container")?;
    Some(Mount {
        kind,
        target: absolute(target, &place.key("target"))?,
        read_only: place.key("read_only").flag().unwrap_or(false),
    })
}

fn volume(place: &Cursor<'_>, known: &Known<'_>) -> MountKind {
    let options = place.key("volume");
    let name = place.key("source").string();
    if let Some(name) = &name {
        declared(&known.volumes, "volumes", name, &place.key("source"));
    }
    MountKind::Volume {
        name,
        no_copy: options.key("nocopy").flag().unwrap_or(false),
        subpath: options.key("subpath").string(),
        labels: options.key("labels").pairs(),
    }
}

fn bind(place: &Cursor<'_>) -> Option<Bind> {
    let source = required(&place.key("source"), "a path of the node")?;
    let options = place.key("bind");
    let propagation = [
        ("private", Propagation::Private),
        ("rprivate", Propagation::RPrivate),
        ("shared", Propagation::Shared),
        ("rshared", Propagation::RShared),
        ("slave", Propagation::Slave),
        ("rslave", Propagation::RSlave),
    ];
    let recursive = ["enabled", "disabled", "writable", "readonly"].map(|it| (it, it));
    Some(Bind {
        source: absolute(source, &place.key("source"))?,
        create_host_path: options.key("create_host_path").flag().unwrap_or(true),
        propagation: options.key("propagation").word(&propagation),
        selinux: options.key("selinux").word(&[("z", 'z'), ("Z", 'Z')]),
        recursive: options.key("recursive").word(&recursive).map(str::to_owned),
    })
}

fn required(place: &Cursor<'_>, what: &str) -> Option<String> {
    let text = place.string();
    if text.is_none() {
        place.error(format!("is missing; it must be {what}"));
    }
    text
}

fn absolute(path: String, place: &Cursor<'_>) -> Option<String> {
    if path.starts_with('/') {
        return Some(path);
    }
    place.error(format!("`{path}` is not an absolute path; it must begin with `/`"));
    None
}

/// A number of bytes; zero is silence.
pub(super) fn size(place: &Cursor<'_>) -> Option<u64> {
    let bytes = |text: &str| u64::try_from(units::bytes(text)?).ok();
    place.parse("a number of bytes such as `512m`", bytes).filter(|it| *it != 0)
}

/// A file mode: octal as text, a plain number as JSON has it.
fn mode(place: &Cursor<'_>) -> Option<u32> {
    if let Value::Scalar(scalar) = &place.node()?.value
        && let ScalarKind::Int(number) = scalar.kind
        && !scalar.text.starts_with('0')
    {
        return place
            .parse("a file mode", |_| u32::try_from(number).ok().filter(|mode| *mode <= 0o7777));
    }
    place.parse("a file mode; use octal digits such as `0440`", text::octal_mode)
}

/// `tmpfs`: a path, and mount options after a colon.
pub(super) fn tmpfs(place: &Cursor<'_>) -> Vec<(String, String)> {
    let one = |place: &Cursor<'_>| {
        let text = place.string()?;
        let (path, options) = text.split_once(':').unwrap_or((&text, ""));
        Some((absolute(path.to_owned(), place)?, options.to_owned()))
    };
    place.items().iter().filter_map(one).collect()
}

/// `volumes_from`: `service[:ro]` or `container:name[:ro]`; a service gets its prefix.
pub(super) fn volumes_from(place: &Cursor<'_>, known: &Known<'_>) -> Vec<String> {
    let one = |place: &Cursor<'_>| {
        let text = place.string()?;
        let (kind, rest) = match text.strip_prefix("container:") {
            Some(rest) => ("container", rest),
            None => ("service", text.strip_prefix("service:").unwrap_or(&text)),
        };
        let (name, access) = rest.split_once(':').unwrap_or((rest, "rw"));
        if !["ro", "rw"].contains(&access) {
            place.error(format!("`{access}` is not an access mode; use `ro` or `rw`"));
        }
        if kind == "service" {
            known.service(name, place)?;
        }
        Some(format!("{kind}:{rest}"))
    };
    place.items().iter().filter_map(one).collect()
}

/// `configs`: files at `/NAME` unless they say otherwise.
pub(super) fn configs(place: &Cursor<'_>, known: &Known<'_>) -> Vec<FileMount> {
    let declare = |name: &str, place: &Cursor<'_>| declared(&known.configs, "configs", name, place);
    place.items().iter().filter_map(|it| file(it, "/", &declare)).collect()
}

/// `secrets`: files at `/run/secrets/NAME` unless they say otherwise.
pub(super) fn secrets(place: &Cursor<'_>, known: &Known<'_>) -> Vec<FileMount> {
    let declare = |name: &str, place: &Cursor<'_>| declared(&known.secrets, "secrets", name, place);
    place.items().iter().filter_map(|it| file(it, "/run/secrets/", &declare)).collect()
}

fn file(
    place: &Cursor<'_>,
    directory: &str,
    declare: &dyn Fn(&str, &Cursor<'_>),
) -> Option<FileMount> {
    let source = required(&place.key("source"), "a name that the top level declares")?;
    declare(&source, &place.key("source"));
    let target = place.key("target").string().unwrap_or_else(|| source.clone());
    let target = if target.starts_with('/') { target } else { format!("{directory}{target}") };
    Some(FileMount {
        target,
        source,
        uid: place.key("uid").integer(0, u32::MAX.into()),
        gid: place.key("gid").integer(0, u32::MAX.into()),
        mode: mode(&place.key("mode")),
    })
}
