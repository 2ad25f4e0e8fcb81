//! The contents of configs and secrets, taken where `fizz up` runs: files and variables there are
//! nothing to a daemon.
//!
//! Configs travel in the model. Secrets travel beside it, so that no copy of the model holds one.

use std::{collections::BTreeMap, path::Path as FilePath};

use super::base64;
use crate::compose::{
    files::Files,
    problem::Problems,
    tree::{Entry, Map, Node, Path},
};

/// The key under which the content of a config travels when it is not text.
pub(super) const CONTENT_BASE64: &str = "x-fizz-content-base64";

/// The largest config or secret, in bytes: each node keeps each, and every change travels.
pub const CONTENT_BYTES_MAX: usize = 1 << 20;

/// Replaces `file` and `environment` of every config by what they hold.
pub fn attach_contents(
    root: &mut Node,
    files: &dyn Files,
    env: &BTreeMap<String, String>,
    problems: &mut Problems,
) {
    let section = root.as_map_mut().and_then(|map| map.get_mut("configs"));
    let Some(configs) = section.and_then(|it| it.node.as_map_mut()) else { return };
    for (key, entry) in configs {
        let path = Path::default().key("configs").key(key);
        let Some(map) = entry.node.as_map_mut() else { continue };
        let Some((source, bytes)) = content(map, &path, files, env, problems) else { continue };
        let Some(Entry { key_at, node }) = map.remove(source) else { continue };
        let (key, text) = match String::from_utf8(bytes) {
            Ok(text) => ("content", text),
            Err(error) => (CONTENT_BASE64, base64::encode(error.as_bytes())),
        };
        map.insert(key.to_owned(), Entry { key_at, node: Node::string(text, node.at) });
    }
}

/// The contents of the secrets that the project brings with it, by their keys in the file.
pub fn secret_values(
    root: &Node,
    files: &dyn Files,
    env: &BTreeMap<String, String>,
    problems: &mut Problems,
) -> BTreeMap<String, Vec<u8>> {
    let secrets = root.get("secrets").and_then(Node::as_map).into_iter().flatten();
    let value = |(key, entry): (&String, &Entry)| {
        let path = Path::default().key("secrets").key(key);
        let (_, bytes) = content(entry.node.as_map()?, &path, files, env, problems)?;
        Some((key.clone(), bytes))
    };
    secrets.filter_map(value).collect()
}

/// What `file` or `environment` holds, and which of the two it was.
fn content(
    map: &Map,
    path: &Path,
    files: &dyn Files,
    env: &BTreeMap<String, String>,
    problems: &mut Problems,
) -> Option<(&'static str, Vec<u8>)> {
    let of = |key: &'static str| {
        let node = &map.get(key)?.node;
        Some((key, node.as_text().filter(|it| !it.is_empty())?, node.at))
    };
    let (key, text, at) = of("file").or_else(|| of("environment"))?;
    let bytes = match key {
        "file" => read(files, FilePath::new(text)),
        _ => env.get(text).map(|it| it.clone().into_bytes()).ok_or_else(|| {
            format!("the environment has no variable `{text}`; set it where `fizz up` runs")
        }),
    };
    let bytes = bytes.and_then(|bytes| match bytes.len() {
        0..=CONTENT_BYTES_MAX => Ok(bytes),
        length => Err(format!(
            "holds {length} bytes and may hold {CONTENT_BYTES_MAX}; bind-mount larger files"
        )),
    });
    match bytes {
        Ok(bytes) => Some((key, bytes)),
        Err(message) => {
            problems.error(at, path.key(key), message);
            None
        }
    }
}

fn read(files: &dyn Files, path: &FilePath) -> Result<Vec<u8>, String> {
    if files.is_dir(path) {
        return Err(format!(
            "`{}` is a directory; name one file, or bind-mount the directory under `volumes`",
            path.display()
        ));
    }
    files.read(path).map_err(|error| format!("cannot read `{}`: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::compose::{files::MemoryFiles, json, tree::Position};

    fn world() -> (MemoryFiles, BTreeMap<String, String>) {
        let files = [
            ("/etc/app.conf", b"debug = true".to_vec()),
            ("/etc/logo", vec![0xff, 0, 1]),
            ("/etc/large", vec![b'x'; CONTENT_BYTES_MAX + 1]),
        ];
        let files = files.map(|(path, bytes)| (path.into(), bytes)).into();
        (MemoryFiles(files), [("TOKEN".to_owned(), "t0p".to_owned())].into())
    }

    #[test]
    fn a_configs_file_or_variable_becomes_its_content() {
        let (files, env) = world();
        let mut root = json::to_tree(&json!({"configs": {
            "app": {"name": "p_app", "file": "/etc/app.conf"},
            "logo": {"file": "/etc/logo"},
            "env": {"environment": "TOKEN"},
            "inline": {"content": "hello"},
            "theirs": {"external": true},
        }}));
        let mut problems = Problems::default();
        attach_contents(&mut root, &files, &env, &mut problems);
        assert_eq!(problems.to_string(), "");
        let expected = json!({"configs": {
            "app": {"name": "p_app", "content": "debug = true"},
            "logo": {"x-fizz-content-base64": "/wAB"},
            "env": {"content": "t0p"},
            "inline": {"content": "hello"},
            "theirs": {"external": true},
        }});
        assert_eq!(json::from_tree(&root), expected);
    }

    #[test]
    fn secrets_are_read_and_stay_out_of_the_model() {
        let (files, env) = world();
        let root = json::to_tree(&json!({"secrets": {
            "logo": {"file": "/etc/logo"},
            "token": {"environment": "TOKEN"},
            "theirs": {"external": true},
        }}));
        let mut problems = Problems::default();
        let values = secret_values(&root, &files, &env, &mut problems);
        assert_eq!(problems.to_string(), "");
        let expected = [("logo", vec![0xff, 0, 1]), ("token", b"t0p".to_vec())];
        assert_eq!(values, expected.map(|(key, bytes)| (key.to_owned(), bytes)).into());
    }

    #[test]
    fn content_that_cannot_be_had_is_an_error_at_its_place() {
        let (files, env) = world();
        for (secret, message) in [
            (json!({"file": "/etc/none"}), "secrets.s.file: cannot read `/etc/none`: entity not"),
            (json!({"file": "/etc"}), "secrets.s.file: `/etc` is a directory; name one file"),
            (json!({"file": "/etc/large"}), "secrets.s.file: holds 1048577 bytes and may hold"),
            (json!({"environment": "NONE"}), "secrets.s.environment: the environment has no var"),
        ] {
            let mut root = json::to_tree(&json!({"secrets": {"s": secret}}));
            let mut problems = Problems::default();
            let source = problems.source("compose.yaml");
            place(&mut root, Position { source, line: 7, column: 3 });
            assert!(secret_values(&root, &files, &env, &mut problems).is_empty());
            let expected = format!("compose.yaml:7:3: {message}");
            assert!(problems.to_string().starts_with(&expected), "{problems}");
        }
    }

    fn place(node: &mut Node, at: Position) {
        node.at = at;
        for entry in node.as_map_mut().into_iter().flatten().map(|(_, entry)| entry) {
            place(&mut entry.node, at);
        }
    }
}
