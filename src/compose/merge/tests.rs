//! Merging, in the words of the specification's chapter on it.

use serde_json::json;

use super::*;
use crate::compose::{
    sample::{canonical, lines, plain, tree, under, wrap},
    schema,
};

/// What a service holds under a key once `over` lies on `base`.
fn merged(base: &str, over: &str, key: &str) -> serde_json::Value {
    let mut problems = Problems::default();
    let mut root = merge(canonical(&wrap(base)), tree(&wrap(over)), &mut problems);
    schema::check(&mut root, &mut problems);
    shape::canonical(&mut root, &mut problems);
    assert!(!problems.has_errors(), "{problems}");
    under(&root, &format!("services.web.{key}"))
}

fn all(cases: &[(&str, &str, &str, serde_json::Value)]) {
    for (base, over, key, expected) in cases {
        assert_eq!(merged(base, over, key), *expected, "{base} | {over}");
    }
}

#[test]
fn single_values_give_way_and_commands_are_replaced() {
    all(&[
        ("user: a", "user: b", "user", json!("b")),
        ("user: a", "tty: true", "user", json!("a")),
        ("cap_add: [A]", "cap_add: [B, A]", "cap_add", json!(["A", "B"])),
        ("command: a b", "command: c", "command", json!(["c"])),
        ("entrypoint: [a]", "entrypoint: [b, c]", "entrypoint", json!(["b", "c"])),
        ("command: a", "command:", "command", json!(null)),
        (
            "healthcheck: {test: a, retries: 1}",
            "healthcheck: {test: [CMD, b]}",
            "healthcheck",
            json!({"test": ["CMD", "b"], "retries": 1}),
        ),
    ]);
}

#[test]
fn pairs_join_whether_written_as_a_list_or_a_mapping() {
    all(&[
        (
            "environment: {A: 1, B: 2}",
            "environment: [B=3, C]",
            "environment",
            json!({"A": "1", "B": "3", "C": null}),
        ),
        ("environment: [A=1]", "environment: {A: }", "environment", json!({"A": null})),
        ("labels: [a=1]", "labels: {a: 2, b: 3}", "labels", json!({"a": "2", "b": "3"})),
    ]);
}

#[test]
fn a_build_joins_with_its_short_form() {
    all(&[
        (
            "build: ./a",
            "build: {dockerfile: D}",
            "build",
            json!({"context": "./a", "dockerfile": "D"}),
        ),
        (
            "build: {dockerfile: D}",
            "build: ./b",
            "build",
            json!({"context": "./b", "dockerfile": "D"}),
        ),
        (
            "build: {args: [A=1]}",
            "build: {args: {B: 2}}",
            "build.args",
            json!({"A": "1", "B": "2"}),
        ),
        (
            "build: {ssh: [default]}",
            "build: {ssh: [a=b]}",
            "build.ssh",
            json!({"default": null, "a": "b"}),
        ),
    ]);
}

#[test]
fn names_join_with_their_settings() {
    all(&[
        (
            "depends_on: [a]",
            "depends_on: {b: {condition: service_healthy}}",
            "depends_on",
            json!({
            "a": {"condition": "service_started", "required": true},
            "b": {"condition": "service_healthy", "required": true}}),
        ),
        (
            "depends_on: {a: {condition: service_healthy}}",
            "depends_on: {a: {required: false}}",
            "depends_on",
            json!({"a": {"condition": "service_healthy", "required": false}}),
        ),
        (
            "networks: [a]",
            "networks: {b: {aliases: [x]}}",
            "networks",
            json!({"a": null, "b": {"aliases": ["x"]}}),
        ),
        (
            "networks: {a: {aliases: [x]}}",
            "networks: [a]",
            "networks",
            json!({"a": {"aliases": ["x"]}}),
        ),
        ("models: [a]", "models: {a: {model_var: V}}", "models", json!({"a": {"model_var": "V"}})),
    ]);
}

#[test]
fn lists_grow() {
    all(&[
        ("dns: 1.1.1.1", "dns: [2.2.2.2, 1.1.1.1]", "dns", json!(["1.1.1.1", "2.2.2.2"])),
        ("tmpfs: /a", "tmpfs: [/b]", "tmpfs", json!(["/a", "/b"])),
        (
            "env_file: a",
            "env_file: [b, {path: a, required: false}]",
            "env_file",
            json!([{"path": "a", "required": false}, {"path": "b", "required": true}]),
        ),
        (
            "extra_hosts: ['a=1.1.1.1']",
            "extra_hosts: {a: 1.1.1.1, b: 2.2.2.2}",
            "extra_hosts",
            json!(["a=1.1.1.1", "b=2.2.2.2"]),
        ),
        (
            "extra_hosts: ['a:1.1.1.1']",
            "extra_hosts: ['a:2.2.2.2', 'a:1.1.1.1']",
            "extra_hosts",
            json!(["a=1.1.1.1", "a=2.2.2.2"]),
        ),
    ]);
}

#[test]
fn settings_join_only_for_the_same_driver() {
    all(&[
        (
            "logging: {driver: a, options: {x: 1}}",
            "logging: {driver: a, options: {y: 2}}",
            "logging",
            json!({"driver": "a", "options": {"x": "1", "y": "2"}}),
        ),
        (
            "logging: {driver: a, options: {x: 1}}",
            "logging: {driver: b}",
            "logging",
            json!({"driver": "b"}),
        ),
        (
            "logging: {driver: a}",
            "logging: {options: {y: 2}}",
            "logging",
            json!({"driver": "a", "options": {"y": "2"}}),
        ),
        (
            "ulimits: {nofile: 1, nproc: 2}",
            "ulimits: {nofile: {soft: 3, hard: 4}}",
            "ulimits",
            json!({"nofile": {"soft": 3, "hard": 4}, "nproc": 2}),
        ),
    ]);
}

#[test]
fn lists_with_a_key_hold_one_item_for_each() {
    all(&[
        (
            "volumes: ['a1:/a']",
            "volumes: ['/b:/a:ro', 'c1:/c']",
            "volumes",
            json!([
            {"type": "bind", "source": "/b", "target": "/a", "read_only": true,
             "bind": {"create_host_path": true}},
            {"type": "volume", "source": "c1", "target": "/c", "volume": {}}]),
        ),
        (
            "ports: ['80:80']",
            "ports: ['80:80', '443:443']",
            "ports",
            json!([
            {"mode": "ingress", "protocol": "tcp", "published": "80", "target": 80},
            {"mode": "ingress", "protocol": "tcp", "published": "443", "target": 443}]),
        ),
        (
            "devices: ['/a:/d']",
            "devices: ['/b:/d']",
            "devices",
            json!([{"source": "/b", "target": "/d", "permissions": "rwm"}]),
        ),
        (
            "configs: [a]",
            "configs: [{source: b, target: /a}]",
            "configs",
            json!([{"source": "b", "target": "/a"}]),
        ),
        ("expose: [80]", "expose: ['80', 81]", "expose", json!(["80", "81"])),
        ("security_opt: [a]", "security_opt: [b]", "security_opt", json!(["a", "b"])),
    ]);
}

#[test]
fn the_rest_joins_unless_it_is_overridden() {
    all(&[
        (
            "deploy: {labels: [a=1], replicas: 1}",
            "deploy: {labels: {b: 2}, replicas: 2}",
            "deploy",
            json!({"labels": {"a": "1", "b": "2"}, "replicas": 2}),
        ),
        ("deploy: {replicas: 1}", "deploy:", "deploy", json!({"replicas": 1})),
        (
            "command: a\nports: [80]",
            "ports: !override [81]",
            "ports",
            json!([{"mode": "ingress", "protocol": "tcp", "target": 81}]),
        ),
        ("environment: {A: 1}", "environment: !override {B: 2}", "environment", json!({"B": "2"})),
        ("sysctls: [a=1]", "sysctls: {a: 2}", "sysctls", json!({"a": "2"})),
        ("annotations: [a=1]", "annotations: [b=2]", "annotations", json!({"a": "1", "b": "2"})),
        ("profiles: [a]", "profiles: [b, a]", "profiles", json!(["a", "b"])),
        ("x-a: {b: [1]}", "x-a: {b: [2], c: 3}", "x-a", json!({"b": [1, 2], "c": 3})),
    ]);
}

#[test]
fn address_pools_join_by_subnet() {
    let base = "networks: {n: {ipam: {config: [{subnet: a, gateway: g}, {subnet: b}]}}}";
    let over = "networks: {n: {ipam: {config: [{subnet: b, gateway: h}, {subnet: c}]}}}";
    let mut problems = Problems::default();
    let root = merge(tree(base), tree(over), &mut problems);
    assert_eq!(
        under(&root, "networks.n.ipam.config"),
        json!([{"subnet": "a", "gateway": "g"}, {"subnet": "b", "gateway": "h"}, {"subnet": "c"}])
    );
}

#[test]
fn kinds_that_do_not_go_together_are_told() {
    for (base, over, path) in [
        ("ports: [80]", "ports: {a: b}", "services.web.ports"),
        ("deploy: {replicas: 1}", "deploy: [a]", "services.web.deploy"),
        ("labels: {a: b}", "labels: a", "services.web.labels"),
    ] {
        let mut problems = Problems::default();
        let _ = merge(tree(&wrap(base)), tree(&wrap(over)), &mut problems);
        assert!(lines(&problems)[0].contains(path), "{problems}");
        assert!(problems.has_errors());
    }
}

#[test]
fn a_service_extends_another_by_the_same_rules() {
    let base = tree("{image: a, command: x, environment: [A=1], ports: [80]}");
    let over = tree("{image: b, command: y, environment: {B: 2}, ports: [81]}");
    let mut problems = Problems::default();
    let service = extend("web", base, over, &mut problems);
    assert_eq!(
        plain(&service),
        json!({"image": "b", "command": "y", "environment": {"A": "1", "B": 2}, "ports": [80, 81]})
    );
}

#[test]
fn values_keep_their_places() {
    let mut problems = Problems::default();
    let base = tree("a: {b: 1,\n c: 2}");
    let root = merge(base, tree("\n\na: {c: 3}"), &mut problems);
    let line = |key| root.get("a").unwrap().get(key).unwrap().at.line;
    assert_eq!((line("b"), line("c")), (1, 3));
}
