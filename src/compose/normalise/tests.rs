//! What is implied, resolved and read.

use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::compose::{
    lexical::Folders,
    problem::Problems,
    sample::{canonical, lines, under, wrap},
    shape,
    tree::Node,
};

fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn normal(text: &str) -> Node {
    let mut root = canonical(text);
    normalise(&mut root, "p", &env(&[("SET", "yes")]));
    root
}

fn web(lines: &str, key: &str) -> serde_json::Value {
    under(&normal(&wrap(lines)), &format!("services.web.{key}"))
}

fn dependency(restart: bool) -> serde_json::Value {
    json!({"condition": "service_started", "required": true, "restart": restart})
}

#[test]
fn what_is_not_said_is_implied() {
    for (lines, key, expected) in [
        ("user: a", "networks", json!({"default": null})),
        ("networks: {}", "networks", json!({"default": null})),
        ("networks: [a]", "networks", json!({"a": null})),
        ("network_mode: host", "networks", json!(null)),
        ("provider: {type: a}", "networks", json!(null)),
        ("build: {context: a}", "build", json!({"context": "a", "dockerfile": "Dockerfile"})),
        (
            "build: {dockerfile_inline: a}",
            "build",
            json!({"context": ".", "dockerfile_inline": "a"}),
        ),
        ("build: {args: [SET, UNSET, A=1]}", "build.args", json!({"SET": "yes", "A": "1"})),
        ("build: {ssh: [default, a=b]}", "build.ssh", json!(["a=b", "default"])),
        ("environment: [SET, UNSET]", "environment", json!({"SET": "yes", "UNSET": null})),
        ("pull_policy: if_not_present", "pull_policy", json!("missing")),
        ("links: ['db:x']", "depends_on", json!({"db": dependency(true)})),
        ("network_mode: 'service:db'", "depends_on", json!({"db": dependency(true)})),
        ("ipc: 'service:db'", "depends_on", json!({"db": dependency(true)})),
        ("pid: 'service:db'", "depends_on", json!({"db": dependency(true)})),
        ("volumes_from: ['db:ro', 'container:x']", "depends_on", json!({"db": dependency(false)})),
        (
            "links: [db]\ndepends_on: {db: {condition: service_healthy}}",
            "depends_on",
            json!({"db": {"condition": "service_healthy", "required": true}}),
        ),
        (
            "volumes: [{type: volume, target: /a/}]",
            "volumes",
            json!([{"type": "volume", "target": "/a"}]),
        ),
        ("scale: 2\ndeploy: {mode: a}", "deploy", json!({"mode": "a", "replicas": 2})),
        (
            "pre_start: [{command: [a]}, {image: j}]",
            "pre_start",
            json!([{"command": ["a"], "image": "i"}, {"image": "j"}]),
        ),
    ] {
        assert_eq!(web(lines, key), expected, "{lines}");
    }
}

#[test]
fn resources_are_called_by_their_key() {
    let root = normal(
        "services: {web: {image: i, networks: [a]}}\nnetworks: {a: , b: {name: n}, c: {external: true}}\n\
         volumes: {v: }\nsecrets: {s: {file: f}}\nconfigs: {c: {external: true, name: x}}\n",
    );
    assert_eq!(
        under(&root, "networks"),
        json!({
        "a": {"name": "p_a"}, "b": {"name": "n"}, "c": {"external": true, "name": "c"}})
    );
    assert_eq!(under(&root, "volumes"), json!({"v": {"name": "p_v"}}));
    assert_eq!(under(&root, "secrets"), json!({"s": {"file": "f", "name": "p_s"}}));
    assert_eq!(under(&root, "configs"), json!({"c": {"external": true, "name": "x"}}));
}

#[test]
fn the_default_network_is_there_only_if_it_is_used() {
    let used = normal(&wrap("user: a"));
    assert_eq!(under(&used, "networks"), json!({"default": {"name": "p_default"}}));
    let said = normal("services: {web: {image: i}}\nnetworks: {default: {driver: d}}\n");
    assert_eq!(under(&said, "networks"), json!({"default": {"driver": "d", "name": "p_default"}}));
    assert_eq!(under(&normal(&wrap("network_mode: none")), "networks"), json!(null));
}

#[test]
fn normalising_twice_changes_nothing() {
    let once =
        normal(&wrap("links: [db]\nbuild: {ssh: [default], args: [SET]}\nscale: 2\ndeploy: {}"));
    let mut twice = once.clone();
    normalise(&mut twice, "p", &BTreeMap::new());
    assert_eq!(once, twice);
}

#[test]
fn every_path_becomes_absolute() {
    let text = "services:\n  web:\n    image: i\n    build: {context: ./b, ssh: [k=./id], \
        additional_contexts: [a=./c, 'b=docker-image://x', 'c=service:y', 'd=https://e/f.git']}\n    \
        env_file: [a.env, /b.env]\n    label_file: l\n    extends: {service: s, file: ../f}\n    \
        volumes: ['./v:/v', '~/w:/w', 'named:/x', 'C:\\y:/y']\n    \
        develop: {watch: [{path: ./w, action: rebuild}]}\n\
        configs: {c: {file: ./c}}\nsecrets: {s: {file: ~/s}}\n\
        volumes: {v: {driver: local, driver_opts: {o: bind, device: ./d}}, \
        w: {driver: local, driver_opts: {o: ro, device: ./d}}}\n";
    let mut root = canonical(text);
    let mut problems = Problems::default();
    paths(&mut root, Folders { base: "/p", home: Some("/h") }, &mut problems);
    assert!(!problems.has_errors(), "{problems}");
    for (key, expected) in [
        ("services.web.build.context", json!("/p/b")),
        ("services.web.build.ssh", json!({"k": "/p/id"})),
        (
            "services.web.build.additional_contexts",
            json!({
            "a": "/p/c", "b": "docker-image://x", "c": "service:y", "d": "https://e/f.git"}),
        ),
        ("services.web.label_file", json!(["/p/l"])),
        ("services.web.extends.file", json!("/f")),
        ("configs.c.file", json!("/p/c")),
        ("secrets.s.file", json!("/h/s")),
        ("volumes.v.driver_opts.device", json!("/p/d")),
        ("volumes.w.driver_opts.device", json!("./d")),
    ] {
        assert_eq!(under(&root, key), expected, "{key}");
    }
    assert_eq!(under(&root, "services.web.env_file")[0]["path"], json!("/p/a.env"));
    assert_eq!(under(&root, "services.web.env_file")[1]["path"], json!("/b.env"));
    assert_eq!(under(&root, "services.web.develop.watch")[0]["path"], json!("/p/w"));
    let volumes = under(&root, "services.web.volumes");
    let sources: Vec<&str> = (0..4).map(|it| volumes[it]["source"].as_str().unwrap()).collect();
    assert_eq!(sources, ["/p/v", "/h/w", "named", "C:\\y"]);
}

#[test]
fn remote_contexts_stay() {
    for context in
        ["https://github.com/a/b.git", "git@github.com:a/b", "github.com/a/b", "git://a", "ssh://a"]
    {
        let mut root = canonical(&wrap(&format!("build: '{context}'")));
        paths(&mut root, Folders { base: "/p", home: None }, &mut Problems::default());
        assert_eq!(under(&root, "services.web.build.context"), json!(context));
    }
}

#[test]
fn a_bind_mount_without_a_source_is_refused() {
    let mut problems = Problems::default();
    let mut root = canonical(&wrap("volumes: [{type: bind, target: /a}]"));
    paths(&mut root, Folders { base: "/p", home: None }, &mut problems);
    let told = lines(&problems);
    assert!(told[0].contains("bind") && told[0].contains("source"), "{told:?}");
}

/// Files of `KEY=VALUE` lines; a value `$NAME` is looked up.
fn read_from<'a>(
    files: &'a [(&'a str, &'a str)],
) -> impl FnMut(Request<'_>, &mut BTreeMap<String, String>) -> Result<bool, String> + 'a {
    move |request, known| {
        let Some((_, text)) = files.iter().find(|(path, _)| *path == request.path) else {
            return Ok(false);
        };
        for (key, value) in text.lines().filter_map(|it| it.split_once('=')) {
            let value = match value.strip_prefix('$') {
                Some(name) => (request.lookup)(name).or_else(|| known.get(name).cloned()),
                None => Some(value.to_owned()),
            };
            known.insert(key.to_owned(), value.unwrap_or_default());
        }
        Ok(true)
    }
}

#[test]
fn variables_from_files_lie_under_the_services_own() {
    let mut root = canonical(&wrap("env_file: [a, b]\nenvironment: [A=own, N]"));
    let mut problems = Problems::default();
    let files = [("a", "A=1\nB=1\nC=1\nN=1"), ("b", "B=2\nD=$C\nE=$HOME\nF=$A")];
    let mut read = read_from(&files);
    environment(&mut root, &env(&[("HOME", "/h")]), &mut read, &mut problems);
    assert_eq!(
        under(&root, "services.web.environment"),
        json!({
        "A": "own", "B": "2", "C": "1", "D": "1", "E": "/h", "F": "own", "N": null})
    );
    assert_eq!(under(&root, "services.web.env_file"), json!(null));
}

#[test]
fn a_missing_file_is_told_unless_it_may_be_missing() {
    let mut root =
        canonical(&wrap("env_file: [gone, {path: maybe, required: false}]\nlabel_file: lost"));
    let mut problems = Problems::default();
    environment(&mut root, &BTreeMap::new(), &mut read_from(&[]), &mut problems);
    labels(&mut root, &mut read_from(&[]), &mut problems);
    let told = lines(&problems);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("services.web.env_file[0]: ") && told[0].contains("gone"));
    assert!(told[1].contains("lost"));
}

#[test]
fn labels_from_files_lie_under_the_services_own() {
    let mut root = canonical(&wrap("label_file: [a, b]\nlabels: {A: own}"));
    let mut problems = Problems::default();
    let files = [("a", "A=1\nB=1"), ("b", "B=2\nC=$A")];
    labels(&mut root, &mut read_from(&files), &mut problems);
    assert_eq!(under(&root, "services.web.labels"), json!({"A": "own", "B": "2", "C": "1"}));
    assert_eq!(under(&root, "services.web.label_file"), json!(null));
}

#[test]
fn defaults_then_paths_put_the_build_in_the_projects_folder() {
    let mut root = canonical(&wrap("build: {dockerfile: D}"));
    shape::fill_defaults(&mut root);
    paths(&mut root, Folders { base: "/p", home: None }, &mut Problems::default());
    assert_eq!(under(&root, "services.web.build.context"), json!("/p"));
}
