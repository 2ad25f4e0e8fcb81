//! Relative paths become absolute.

use crate::compose::{
    lexical::Folders,
    places,
    problem::Problems,
    tree::{Node, Trail, Value},
};

/// Makes every path in a file absolute that the host is to look up.
pub fn paths(root: &mut Node, folders: Folders<'_>, problems: &mut Problems) {
    for place in [
        "services.*.env_file.[].path",
        "services.*.label_file.[]",
        "services.*.extends.file",
        "services.*.develop.watch.[].path",
    ] {
        change(root, place, &|path| folders.absolute(path));
    }
    for place in ["services.*.build.ssh.*", "configs.*.file", "secrets.*.file"] {
        change(root, place, &|path| folders.absolute_on_host(path));
    }
    for place in ["services.*.build.context", "services.*.build.additional_contexts.*"] {
        change(root, place, &|path| context(path, folders));
    }
    places::each(root, "services.*.volumes.[]", &mut |mount, path| {
        bind(mount, path, folders, problems);
    });
    places::each(root, "volumes.*", &mut |volume, _| local_bind(volume, folders));
}

fn change(root: &mut Node, place: &str, to: &dyn Fn(&str) -> String) {
    places::each(root, place, &mut |node, _| {
        if let Value::Scalar(scalar) = &mut node.value {
            scalar.text = to(&scalar.text);
        }
    });
}

/// A build context: a folder, unless it is a URL, a repository or another service.
fn context(text: &str, folders: Folders<'_>) -> String {
    let elsewhere = text.contains("://")
        || ["service:", "github.com/", "git@"].iter().any(|it| text.starts_with(it));
    if elsewhere { text.to_owned() } else { folders.absolute(text) }
}

fn bind(mount: &mut Node, path: &Trail<'_>, folders: Folders<'_>, problems: &mut Problems) {
    if mount.get("type").and_then(Node::as_text) != Some("bind") {
        return;
    }
    let at = mount.at;
    let Some(map) = mount.as_map_mut() else { return };
    match map.get_mut("source").map(|it| &mut it.node.value) {
        Some(Value::Scalar(source)) => source.text = folders.absolute_on_host(&source.text),
        Some(Value::Null | Value::List(_) | Value::Map(_)) => {}
        None => {
            let why = "a bind mount needs a `source`, the path on the host";
            problems.error(at, path, why);
        }
    }
}

/// A volume of the local driver that is a bind mount by its options.
fn local_bind(volume: &mut Node, folders: Folders<'_>) {
    if volume.get("driver").and_then(Node::as_text) != Some("local") {
        return;
    }
    let options = volume.as_map_mut().and_then(|it| it.get_mut("driver_opts"));
    let Some(options) = options.map(|it| &mut it.node) else { return };
    if options.get("o").and_then(Node::as_text) != Some("bind") {
        return;
    }
    let device = options.as_map_mut().and_then(|it| it.get_mut("device"));
    if let Some(Value::Scalar(device)) = device.map(|it| &mut it.node.value) {
        device.text = folders.absolute_on_host(&device.text);
    }
}
