//! The table and the check, from outside.

use super::*;
use crate::compose::sample::{lines, plain, tree, wrap};

fn complaints(text: &str) -> Vec<String> {
    let mut problems = Problems::default();
    check(&mut tree(text), &mut problems);
    lines(&problems)
}

fn cast(lines: &str, key: &str) -> serde_json::Value {
    let mut root = tree(&wrap(lines));
    let mut problems = Problems::default();
    check(&mut root, &mut problems);
    assert!(!problems.has_errors(), "{problems}");
    plain(root.get("services").unwrap().get("web").unwrap().get(key).unwrap())
}

#[test]
fn every_violation_is_told_with_its_place() {
    let text =
        "services:\n  web:\n    foo: 1\n    image: 5\n    init: maybe\nvolumes: []\nbar: 1\n";
    let told = complaints(text);
    for part in ["services.web.foo", "services.web.image", "services.web.init", "volumes", "bar"] {
        assert!(told.iter().any(|it| it.starts_with(&format!("{part}: "))), "{part} in {told:?}");
    }
    assert_eq!(told.len(), 5);
    let mut problems = Problems::default();
    problems.source("compose.yaml");
    check(&mut tree(text), &mut problems);
    let places: Vec<(u32, u32)> =
        problems.sorted().iter().map(|it| (it.at.line, it.at.column)).collect();
    assert_eq!(places, [(3, 5), (4, 12), (5, 11), (6, 10), (7, 1)]);
}

#[test]
fn each_kind_of_mistake_is_an_error() {
    for (lines, part) in [
        ("images: a", "did you mean `image`"),
        ("zzzzzzz: a", "x-"),
        ("user: 1000", "in quotes"),
        ("environment: FOO", "a list or a mapping"),
        ("environment: {FOO: [a]}", "services.web.environment.FOO"),
        ("environment: [1]", "environment[0]"),
        ("ports:", "a list"),
        ("ports: [[80]]", "ports[0]"),
        ("ports: [{target: x}]", "not an integer"),
        ("ports: [{target: 70000}]", "too large"),
        ("cap_add: [A, A]", "already in this list"),
        ("cgroup: other", "host, private"),
        ("container_name: -a", "not a container name"),
        ("pull_policy: sometimes", "not a pull policy"),
        ("cpu_percent: 101", "at most 100"),
        ("cpu_count: -1", "at least 0"),
        ("oom_score_adj: 1001", "at most 1000"),
        ("cpus: many", "not a number"),
        ("mem_limit: 1x", "not a size"),
        ("stop_grace_period: 10", "duration"),
        ("stop_grace_period: ten", "1m30s"),
        ("healthcheck: {retries: x}", "not an integer"),
        ("healthcheck: {intervall: 1s}", "did you mean `interval`"),
        ("depends_on: {db: {}}", "`condition` is missing"),
        ("depends_on: {db: {condition: ready}}", "service_healthy"),
        ("devices: [{target: /a}]", "`source` is missing"),
        ("volumes: [{target: /a}]", "`type` is missing"),
        ("volumes: [{type: nfs, target: /a}]", "npipe"),
        ("volumes: [{type: tmpfs, target: /a, tmpfs: {size: -1}}]", "at least 0"),
        ("volumes: [{type: tmpfs, target: /a, tmpfs: {size: 0.5}}]", "size"),
        ("volumes: [{type: tmpfs, target: /a, tmpfs: {foo: 1}}]", "foo"),
        ("ulimits: {nofile: {soft: 1}}", "`hard` is missing"),
        ("ulimits: {nofile: lots}", "not an integer"),
        ("env_file: [{required: true}]", "`path` is missing"),
        ("extends: {file: a}", "`service` is missing"),
        ("gpus: some", "all"),
        ("gpus: [{count: some}]", "or all"),
        ("use_api_socket: \"true\"", "a boolean"),
        ("secrets: [{source: a, mode: rw}]", "octal"),
        ("blkio_config: {x-a: 1}", "unknown key"),
        ("build: {ssh: default}", "services.web.build.ssh"),
        ("deploy: {resources: {impossible: {}}}", "deploy.resources.impossible"),
        ("develop: {watch: [{path: .}]}", "`action` is missing"),
        ("post_start: [{user: a}]", "`command` is missing"),
        ("provider: {options: {}}", "`type` is missing"),
        ("links: {a: b}", "a list"),
        ("\"\": a", "unknown key"),
    ] {
        let told = complaints(&wrap(lines));
        assert_eq!(told.len(), 1, "{lines}: {told:?}");
        assert!(told[0].contains(part), "{lines}: {told:?}");
    }
}

#[test]
fn the_top_level_is_checked() {
    for (text, part) in [
        ("services: foo", "a mapping"),
        ("services: {foo: bar}", "services.foo"),
        ("services: {foo: }", "services.foo"),
        ("services: {'a b': {image: i}}", "not a name"),
        ("networks: {default: foo}", "a mapping or null"),
        ("volumes: {data: foo}", "volumes.data"),
        ("secrets: {s: }", "secrets.s"),
        ("name: 1", "name"),
        ("models: {m: {}}", "`model` is missing"),
        ("networks: {n: {ipam: {config: [{subnt: a}]}}}", "did you mean `subnet`"),
        ("include: foo", "a list"),
        ("- a", "a mapping"),
    ] {
        let told = complaints(text);
        assert_eq!(told.len(), 1, "{text}: {told:?}");
        assert!(told[0].contains(part), "{text}: {told:?}");
    }
}

#[test]
fn strings_become_what_their_place_asks_for() {
    for (lines, key, value) in [
        ("privileged: 'true'", "privileged", serde_json::json!(true)),
        ("tty: 'no'", "tty", serde_json::json!(false)),
        ("cpus: '0.5'", "cpus", serde_json::json!(0.5)),
        ("scale: '3'", "scale", serde_json::json!(3)),
        ("cpu_percent: '50'", "cpu_percent", serde_json::json!(50)),
        ("mem_limit: 1g", "mem_limit", serde_json::json!("1073741824")),
        ("memswap_limit: -1", "memswap_limit", serde_json::json!("-1")),
        ("shm_size: 64", "shm_size", serde_json::json!("64")),
        ("stop_grace_period: 90s", "stop_grace_period", serde_json::json!("1m30s")),
        ("expose: [80, '81-82']", "expose", serde_json::json!(["80", "81-82"])),
        ("group_add: [1000]", "group_add", serde_json::json!(["1000"])),
        (
            "environment: {A: 1, B: true, C: 1.50, D: , E: x}",
            "environment",
            serde_json::json!({"A": "1", "B": "true", "C": "1.5", "D": null, "E": "x"}),
        ),
        (
            "ulimits: {nofile: '5', nproc: {soft: '1', hard: 2}}",
            "ulimits",
            serde_json::json!({"nofile": 5, "nproc": {"soft": 1, "hard": 2}}),
        ),
        (
            "secrets: [{source: a, mode: 0440}]",
            "secrets",
            serde_json::json!([{"source": "a", "mode": "0440"}]),
        ),
        (
            "depends_on: {db: {condition: service_started, required: 'false'}}",
            "depends_on",
            serde_json::json!({"db": {"condition": "service_started", "required": false}}),
        ),
        (
            "ports: [80, {target: '90', published: 91}]",
            "ports",
            serde_json::json!(["80", {"target": 90, "published": "91"}]),
        ),
    ] {
        assert_eq!(cast(lines, key), value, "{lines}");
    }
}

#[test]
fn casting_twice_changes_nothing() {
    let mut root = tree(&wrap(
        "mem_limit: 1g\nstop_grace_period: 90s\nconfigs: [{source: a, mode: 0440}]\ngpus: all\ncpus: '1'",
    ));
    let mut problems = Problems::default();
    check(&mut root, &mut problems);
    let once = root.clone();
    check(&mut root, &mut problems);
    assert_eq!(root, once);
    assert!(!problems.has_errors(), "{problems}");
}

#[test]
fn variables_that_still_stand_pass() {
    let text = wrap("privileged: ${P}\nscale: $N\nmem_limit: ${M:-1g}\ncpus: 'x'");
    let mut problems = Problems::default();
    check_uninterpolated(&mut tree(&text), &mut problems);
    let told = lines(&problems);
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("services.web.cpus"));
}

#[test]
fn extensions_are_free() {
    let text = "x-a: [1, {b: c}]\nservices:\n  web:\n    image: i\n    x-b: 1\n    deploy: {x-c: {d: 2}}\n";
    assert_eq!(complaints(text), Vec::<String>::new());
}

#[test]
fn yes_and_no_are_taken_with_a_warning() {
    let mut problems = Problems::default();
    check(&mut tree(&wrap("tty: yes")), &mut problems);
    assert!(!problems.has_errors());
    assert!(lines(&problems)[0].contains("write true"));
}

#[test]
fn the_key_paths_cover_the_specification() {
    let paths: Vec<String> = key_paths().collect();
    for path in [
        "services",
        "services.*.image",
        "services.*.ports[].target",
        "services.*.deploy.resources.limits.cpus",
        "services.*.volumes[].tmpfs.size",
        "services.*.depends_on.*.condition",
        "networks.*.ipam.config[].subnet",
        "include[].path",
        "secrets.*.external.name",
    ] {
        assert!(paths.iter().any(|it| it == path), "{path}");
    }
    assert!(paths.is_sorted());
    assert!(paths.len() > 250, "{}", paths.len());
}

#[test]
fn wide_files_are_checked_in_one_go() {
    let many: String = (0..20_000).map(|it| format!("      K{it}: {it}\n")).collect();
    let text = format!("services:\n  web:\n    environment:\n{many}");
    assert_eq!(complaints(&text), Vec::<String>::new());
}
