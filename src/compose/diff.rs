//! What changed between two canonical models of a service, and whether its containers must be
//! replaced for it.
//!
//! A container is made from a *revision*: a hash over everything in the service that a running
//! container cannot change. Equal revisions mean that a running container can stay. Left out is
//!
//! - what says how many containers there are, where, in which order and how they are restarted and
//!   replaced: all of `deploy` but `resources`, and `scale`, `restart`, `depends_on`;
//! - what Fizz does itself while the container runs: `healthcheck`, `pre_stop`, `x-fizz`;
//! - what only concerns the machine that `fizz up` runs on: `build`, `develop`, `attach`, `profiles`,
//!   `pull_policy`; an image that was built or pulled anew is seen by its content, not here;
//! - what the loader has already resolved into other keys: `extends`, `env_file`, `label_file`;
//! - the user's own `x-` keys, which mean nothing to a container.
//!
//! The contents of the configs and secrets that it mounts are part of the revision: a file in a
//! container stays as it was when the container was made.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::tree::Path;
use crate::model::Revision;

/// One difference.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Its path in the service: `environment.LOG_LEVEL`. For what was removed, where it was.
    pub path: String,
    /// The value before; `None` when it was not set.
    pub old: Option<Value>,
    /// The value after; `None` when it is removed.
    pub new: Option<Value>,
}

/// The differences between two services, field by field, in the order of their paths.
#[must_use]
pub fn changes(old: &Value, new: &Value) -> Vec<Change> {
    let mut found = Vec::new();
    compare(&Path::default(), old, new, &mut found);
    found
}

fn compare(path: &Path, old: &Value, new: &Value, found: &mut Vec<Change>) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => compare_maps(path, old, new, found),
        (Value::Array(old), Value::Array(new)) => compare_lists(path, old, new, found),
        _ if old == new => {}
        _ => found.push(change(path, Some(old), Some(new))),
    }
}

fn change(path: &Path, old: Option<&Value>, new: Option<&Value>) -> Change {
    Change { path: path.to_string(), old: old.cloned(), new: new.cloned() }
}

fn compare_maps(
    path: &Path,
    old: &Map<String, Value>,
    new: &Map<String, Value>,
    found: &mut Vec<Change>,
) {
    let keys: BTreeMap<&String, ()> = old.keys().chain(new.keys()).map(|key| (key, ())).collect();
    for key in keys.into_keys() {
        let path = path.key(key);
        match (old.get(key), new.get(key)) {
            (Some(old), Some(new)) => compare(&path, old, new, found),
            (old, new) => found.push(change(&path, old, new)),
        }
    }
}

/// Items before and after the part that changed are left alone, so that one item put in or taken out
/// is one change.
fn compare_lists(path: &Path, old: &[Value], new: &[Value], found: &mut Vec<Change>) {
    let same = |(old, new): &(&Value, &Value)| old == new;
    let head = old.iter().zip(new).take_while(same).count();
    let tail = old[head..].iter().rev().zip(new[head..].iter().rev()).take_while(same).count();
    let (old, new) = (&old[head..old.len() - tail], &new[head..new.len() - tail]);
    for index in 0..old.len().max(new.len()) {
        let path = path.index(head + index);
        match (old.get(index), new.get(index)) {
            (Some(old), Some(new)) => compare(&path, old, new, found),
            (old, new) => found.push(change(&path, old, new)),
        }
    }
}

/// The keys of a service that its revision leaves out; `deploy` is looked into.
const LEFT_OUT: [&str; 15] = [
    "attach",
    "build",
    "depends_on",
    "deploy",
    "develop",
    "env_file",
    "extends",
    "healthcheck",
    "label_file",
    "pre_stop",
    "profiles",
    "pull_policy",
    "pull_refresh_after",
    "restart",
    "scale",
];

/// What of `deploy.resources` a container is made with; the rest is for placement.
const DEPLOY_KEPT: [&str; 3] = [
    "/deploy/resources/limits",
    "/deploy/resources/reservations/memory",
    "/deploy/resources/reservations/devices",
];

/// The revision of a service: of its canonical model, and of the contents (or what stands for them) of
/// the configs and secrets that it mounts, in the order in which it names them, configs first.
#[must_use]
pub fn revision<'a>(service: &Value, contents: impl Iterator<Item = &'a [u8]>) -> Revision {
    let mut hash = Sha256::new();
    let members = service.as_object().into_iter().flatten();
    // The model may say `command: null` or leave it out; both mean the image's own.
    let kept = members.filter(|(key, value)| {
        !LEFT_OUT.contains(&key.as_str()) && !key.starts_with("x-") && !value.is_null()
    });
    let deploy = DEPLOY_KEPT.iter().filter_map(|path| Some((*path, service.pointer(path)?)));
    let kept: BTreeMap<&str, &Value> =
        kept.map(|(key, value)| (key.as_str(), value)).chain(deploy).collect();
    for (key, value) in kept {
        add(&mut hash, b'k', key.as_bytes());
        add_value(&mut hash, value);
    }
    for content in contents {
        add(&mut hash, b'c', content);
    }
    let mut first = [0; 16];
    first.copy_from_slice(&hash.finalize()[..16]);
    Revision(u128::from_be_bytes(first))
}

/// A kind, a length and as many bytes: no two different models make the same bytes.
fn add(hash: &mut Sha256, kind: u8, bytes: &[u8]) {
    hash.update([kind]);
    hash.update((bytes.len() as u64).to_be_bytes());
    hash.update(bytes);
}

fn add_value(hash: &mut Sha256, value: &Value) {
    match value {
        Value::Null => add(hash, b'0', b""),
        Value::Bool(truth) => add(hash, b'b', &[u8::from(*truth)]),
        Value::Number(number) => add(hash, b'n', number.to_string().as_bytes()),
        Value::String(text) => add(hash, b's', text.as_bytes()),
        Value::Array(items) => {
            add(hash, b'l', &(items.len() as u64).to_be_bytes());
            items.iter().for_each(|item| add_value(hash, item));
        }
        Value::Object(members) => {
            add(hash, b'm', &(members.len() as u64).to_be_bytes());
            let sorted: BTreeMap<&String, &Value> = members.iter().collect();
            for (key, value) in sorted {
                add(hash, b'k', key.as_bytes());
                add_value(hash, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::iter;

    use serde_json::json;

    use super::*;

    fn lines(old: &Value, new: &Value) -> Vec<String> {
        let text = |value: Option<Value>| value.map_or("-".to_owned(), |it| it.to_string());
        let line = |it: Change| format!("{}: {} -> {}", it.path, text(it.old), text(it.new));
        changes(old, new).into_iter().map(line).collect()
    }

    #[test]
    fn changes_are_told_field_by_field() {
        let old = json!({
            "image": "app:1", "environment": {"A": "1", "B": "2"},
            "ports": [{"target": 80, "published": "8080"}], "tty": true,
        });
        let new = json!({
            "image": "app:2", "environment": {"A": "1", "C": null},
            "ports": [{"target": 80, "published": "9090"}], "init": true,
        });
        let expected = [
            "environment.B: \"2\" -> -",
            "environment.C: - -> null",
            "image: \"app:1\" -> \"app:2\"",
            "init: - -> true",
            "ports[0].published: \"8080\" -> \"9090\"",
            "tty: true -> -",
        ];
        assert_eq!(lines(&old, &new), expected);
        assert!(lines(&old, &old).is_empty());
    }

    #[test]
    fn an_item_put_in_or_taken_out_is_one_change() {
        let (old, new) = (json!({"l": ["a", "b", "c"]}), json!({"l": ["a", "c"]}));
        assert_eq!(lines(&old, &new), ["l[1]: \"b\" -> -"]);
        assert_eq!(lines(&new, &old), ["l[1]: - -> \"b\""]);
        let new = json!({"l": ["a", "b", "c", "c"]});
        assert_eq!(lines(&old, &new), ["l[3]: - -> \"c\""]);
        let new = json!({"l": ["a", "x", "c"]});
        assert_eq!(lines(&old, &new), ["l[1]: \"b\" -> \"x\""]);
    }

    fn service() -> Value {
        json!({
            "image": "app:1",
            "command": ["serve"],
            "environment": {"A": "1", "x-b": null},
            "deploy": {"replicas": 2, "resources": {"limits": {"cpus": 0.5}}},
        })
    }

    fn of(service: &Value) -> Revision {
        revision(service, iter::empty())
    }

    #[test]
    fn a_revision_never_changes_by_itself() {
        // Another value here would replace every container of every cluster at an upgrade.
        let contents: [&[u8]; 2] = [b"a", b"b"];
        let golden = revision(&service(), contents.into_iter()).to_string();
        assert_eq!(golden, "a2f6fa6dd15e359dff9a8b6105a3db6e");
    }

    #[test]
    fn what_a_running_container_can_keep_is_no_new_revision() {
        for (pointer, value) in [
            ("/deploy/replicas", json!(5)),
            ("/deploy/labels", json!({"a": "b"})),
            ("/deploy/update_config", json!({"parallelism": 2})),
            ("/deploy/placement", json!({"constraints": ["node.labels.a == b"]})),
            ("/deploy/restart_policy", json!({"condition": "any"})),
            ("/deploy/resources/reservations", json!({"cpus": 0.1})),
            ("/scale", json!(3)),
            ("/restart", json!("always")),
            ("/depends_on", json!({"db": {"condition": "service_started"}})),
            ("/healthcheck", json!({"test": ["CMD", "true"]})),
            ("/pull_policy", json!("always")),
            ("/build", json!({"context": "/src"})),
            ("/profiles", json!(["debug"])),
            ("/x-fizz", json!({"partition": "singleton"})),
            ("/entrypoint", json!(null)),
        ] {
            let mut changed = service();
            set(&mut changed, pointer, value);
            assert_ne!(changed, service(), "{pointer}");
            assert_eq!(of(&changed), of(&service()), "{pointer}");
        }
    }

    #[test]
    fn what_a_running_container_cannot_change_is_a_new_revision() {
        for (pointer, value) in [
            ("/image", json!("app:2")),
            ("/command", json!([])),
            ("/environment/x-b", json!("2")),
            ("/environment/C", json!(null)),
            ("/deploy/resources/limits/cpus", json!(1)),
            ("/deploy/resources/reservations", json!({"memory": "1024"})),
            ("/labels", json!({"a": "b"})),
            ("/post_start", json!([{"command": ["x"]}])),
        ] {
            let mut changed = service();
            set(&mut changed, pointer, value);
            assert_ne!(of(&changed), of(&service()), "{pointer}");
        }
    }

    #[test]
    fn contents_are_told_apart_by_their_lengths() {
        let revision = |contents: &[&[u8]]| revision(&service(), contents.iter().copied());
        let all =
            [revision(&[]), revision(&[b"ab"]), revision(&[b"a", b"b"]), revision(&[b"", b"ab"])];
        let distinct: BTreeMap<Revision, ()> = all.iter().map(|it| (*it, ())).collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn the_order_of_keys_means_nothing() {
        let reversed = json!({
            "environment": {"x-b": null, "A": "1"}, "command": ["serve"], "image": "app:1",
            "deploy": {"resources": {"limits": {"cpus": 0.5}}},
        });
        assert_eq!(of(&reversed), of(&service()));
    }

    fn set(service: &mut Value, pointer: &str, value: Value) {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        service.pointer_mut(parent).unwrap()[key] = value;
    }
}
