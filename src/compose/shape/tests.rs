//! Short forms and what they become.

use serde_json::json;

use super::*;
use crate::compose::{
    sample::{canonical, lines, plain, service, tree, under, wrap},
    schema,
};

fn all(cases: &[(&str, &str, serde_json::Value)]) {
    for (lines, key, long) in cases {
        assert_eq!(under(&service(lines), key), *long, "{lines}");
    }
}

#[test]
fn builds_and_commands_become_long() {
    all(&[
        ("build: ./dir", "build", json!({"context": "./dir"})),
        ("build: {args: [A=1, B, C=x=y]}", "build.args", json!({"A": "1", "B": null, "C": "x=y"})),
        ("build: {additional_contexts: [a=./b]}", "build.additional_contexts", json!({"a": "./b"})),
        ("build: {ssh: [default, k=./id]}", "build.ssh", json!({"default": null, "k": "./id"})),
        (
            "build: {provenance: true, sbom: false}",
            "build",
            json!({"provenance": "true", "sbom": "false"}),
        ),
        ("build: {secrets: [a]}", "build.secrets", json!([{"source": "a"}])),
        ("command: echo \"hello world\"", "command", json!(["echo", "hello world"])),
        ("command: ''", "command", json!([])),
        ("entrypoint: [a, b]", "entrypoint", json!(["a", "b"])),
    ]);
}

#[test]
fn what_a_service_needs_becomes_long() {
    all(&[
        ("configs: [a]", "configs", json!([{"source": "a"}])),
        (
            "depends_on: [db]",
            "depends_on",
            json!({"db": {"condition": "service_started", "required": true}}),
        ),
        (
            "devices: [/dev/a, '/dev/b:/dev/c', '/dev/d:/dev/e:r']",
            "devices",
            json!([
            {"source": "/dev/a", "target": "/dev/a", "permissions": "rwm"},
            {"source": "/dev/b", "target": "/dev/c", "permissions": "rwm"},
            {"source": "/dev/d", "target": "/dev/e", "permissions": "r"}]),
        ),
        ("dns: 1.1.1.1", "dns", json!(["1.1.1.1"])),
        ("dns: ['', 1.1.1.1]", "dns", json!(["1.1.1.1"])),
        ("env_file: .env", "env_file", json!([{"path": ".env", "required": true}])),
        (
            "env_file: [a, {path: b, required: false}]",
            "env_file",
            json!([{"path": "a", "required": true}, {"path": "b", "required": false}]),
        ),
        ("environment: [A=1, B=, C]", "environment", json!({"A": "1", "B": "", "C": null})),
        ("extends: base", "extends", json!({"service": "base"})),
        (
            "extra_hosts: ['b:1.1.1.1', 'a=[::1]', 'b=2.2.2.2,3.3.3.3']",
            "extra_hosts",
            json!(["a=::1", "b=1.1.1.1", "b=2.2.2.2", "b=3.3.3.3"]),
        ),
        (
            "extra_hosts: {a: ['1.1.1.1', '::1'], b: 2.2.2.2}",
            "extra_hosts",
            json!(["a=1.1.1.1", "a=::1", "b=2.2.2.2"]),
        ),
    ]);
}

#[test]
fn the_rest_becomes_long() {
    all(&[
        ("gpus: all", "gpus", json!([{"count": -1}])),
        (
            "healthcheck: {test: curl localhost}",
            "healthcheck.test",
            json!(["CMD-SHELL", "curl localhost"]),
        ),
        ("label_file: a", "label_file", json!(["a"])),
        ("labels: [a=1, b]", "labels", json!({"a": "1", "b": ""})),
        ("labels: {a: , b: 1}", "labels", json!({"a": "", "b": "1"})),
        ("logging: {options: {a: 1, b: }}", "logging.options", json!({"a": "1", "b": ""})),
        ("models: [m]", "models", json!({"m": null})),
        ("networks: [a, b]", "networks", json!({"a": null, "b": null})),
        ("post_start: [{command: 'a b'}]", "post_start", json!([{"command": ["a", "b"]}])),
        (
            "provider: {type: t, options: {a: 1, b: [x, true]}}",
            "provider.options",
            json!({"a": ["1"], "b": ["x", "true"]}),
        ),
        ("secrets: [a]", "secrets", json!([{"source": "a"}])),
        ("sysctls: [a=1]", "sysctls", json!({"a": "1"})),
        ("tmpfs: /run", "tmpfs", json!(["/run"])),
    ]);
}

#[test]
fn ports_and_mounts_become_long() {
    all(&[
        ("ports: [80]", "ports", json!([{"mode": "ingress", "protocol": "tcp", "target": 80}])),
        (
            "ports: ['127.0.0.1:1-2:3-4/udp']",
            "ports",
            json!([
            {"host_ip": "127.0.0.1", "mode": "ingress", "protocol": "udp", "published": "1", "target": 3},
            {"host_ip": "127.0.0.1", "mode": "ingress", "protocol": "udp", "published": "2", "target": 4}]),
        ),
        (
            "volumes: [/a, 'd:/b/', './c:/d:ro,z', 'vv:/e:nocopy']",
            "volumes",
            json!([
            {"type": "volume", "target": "/a", "volume": {}},
            {"type": "volume", "target": "d:/b", "volume": {}},
            {"type": "bind", "source": "./c", "target": "/d", "read_only": true,
             "bind": {"create_host_path": true, "selinux": "z"}},
            {"type": "volume", "source": "vv", "target": "/e", "volume": {"nocopy": true}}]),
        ),
    ]);
}

#[test]
fn external_names_move_beside_external() {
    let root = canonical("networks: {a: {external: {name: b}}, c: {external: true}}\n");
    assert_eq!(
        under(&root, "networks"),
        json!({"a": {"external": true, "name": "b"}, "c": {"external": true}})
    );
    let mut problems = Problems::default();
    canonical_of("volumes: {a: {external: {name: b}, name: c}}\n", &mut problems);
    assert!(lines(&problems)[0].contains("volumes.a: "), "{problems}");
    assert!(problems.has_errors());
}

fn canonical_of(text: &str, problems: &mut Problems) -> Node {
    let mut root = tree(text);
    schema::check(&mut root, problems);
    assert!(!problems.has_errors(), "{problems}");
    super::canonical(&mut root, problems);
    root
}

#[test]
fn what_is_in_no_known_form_is_refused() {
    for (text, part) in [
        ("ports: ['80:http']", "services.web.ports[0]: \"http\" is not a port"),
        ("ports: ['::1:80:80']", "in brackets"),
        ("ports: ['300.0.0.1:80:80']", "not an IP address"),
        ("ports: ['1-2:1-3']", "equally long"),
        ("volumes: ['aa::b']", "between two colons"),
        ("volumes: ['/a:/b:ro:x']", "too many colons"),
        ("devices: ['a:b:c:d']", "too many colons"),
        ("command: echo 'a", "not closed"),
        ("environment: ['A B =1', 'C =1']", "ends in a space"),
        ("extra_hosts: [alone]", "no address"),
        ("extra_hosts: {'a:b': '1.1.1.1'}", "no address|not a host name"),
        ("build: {additional_contexts: [a]}", "needs a context"),
        ("build: {ssh: [mine]}", "needs a path"),
    ] {
        let mut problems = Problems::default();
        canonical_of(&wrap(text), &mut problems);
        let told = lines(&problems).join("\n");
        assert!(problems.has_errors(), "{text}");
        assert!(part.split('|').any(|part| told.contains(part)), "{text}: {told}");
    }
}

#[test]
fn what_has_no_effect_is_told() {
    for (text, part) in
        [("command: a; b", "no shell runs this"), ("volumes: ['/a:/b:cached']", "has no effect")]
    {
        let mut problems = Problems::default();
        canonical_of(&wrap(text), &mut problems);
        assert!(!problems.has_errors());
        assert!(lines(&problems)[0].contains(part), "{problems}");
    }
}

#[test]
fn doing_it_twice_changes_nothing() {
    let text = wrap(
        "build: {context: ., ssh: [default]}\ncommand: a b\ndepends_on: [db]\nports: ['1-2:3-4']\n\
         volumes: ['./a:/b']\nextra_hosts: {a: '::1'}\nhealthcheck: {test: a}\ngpus: all\nenv_file: a",
    );
    let mut problems = Problems::default();
    let once = canonical_of(&text, &mut problems);
    let mut twice = once.clone();
    schema::check(&mut twice, &mut problems);
    super::canonical(&mut twice, &mut problems);
    assert_eq!(plain(&once), plain(&twice));
    assert!(!problems.has_errors(), "{problems}");
}

#[test]
fn of_items_with_one_key_the_later_counts() {
    for (lines, key, left) in [
        (
            "ports: ['80:80', '80-81:80-81', {target: 81, published: 81, mode: host}]",
            "ports",
            json!([
            {"mode": "ingress", "protocol": "tcp", "published": "80", "target": 80},
            {"mode": "host", "published": "81", "target": 81}]),
        ),
        ("environment: [A=1, A=2]", "environment", json!({"A": "2"})),
        (
            "volumes: ['a1:/a', {type: tmpfs, target: /a}]",
            "volumes",
            json!([{"type": "tmpfs", "target": "/a"}]),
        ),
        (
            "secrets: [a, {source: b, target: /run/secrets/a}]",
            "secrets",
            json!([{"source": "b", "target": "/run/secrets/a"}]),
        ),
        (
            "env_file: [a, b, a]",
            "env_file",
            json!([{"path": "a", "required": true}, {"path": "b", "required": true}]),
        ),
    ] {
        assert_eq!(under(&service(lines), key), left, "{lines}");
    }
}

#[test]
fn defaults_are_written_out() {
    let mut root = canonical(&wrap(
        "build: {dockerfile: D}\nsecrets: [a, {source: b, target: c}]\nports: [{target: 80}]\n\
         gpus: [{driver: d}, {device_ids: [a]}]\nvolumes: [{type: bind, source: /a, target: /b, bind: {}}]",
    ));
    fill_defaults(&mut root);
    let web = root.get("services").unwrap().get("web").unwrap();
    assert_eq!(under(web, "build"), json!({"context": ".", "dockerfile": "D"}));
    assert_eq!(
        under(web, "secrets"),
        json!([{"source": "a", "target": "/run/secrets/a"}, {"source": "b", "target": "c"}])
    );
    assert_eq!(under(web, "ports"), json!([{"target": 80, "protocol": "tcp", "mode": "ingress"}]));
    assert_eq!(under(web, "gpus"), json!([{"driver": "d", "count": -1}, {"device_ids": ["a"]}]));
    assert_eq!(
        under(web, "volumes"),
        json!([{"type": "bind", "source": "/a", "target": "/b", "bind": {"create_host_path": true}}])
    );
}

#[test]
fn made_values_are_where_their_short_form_was() {
    let root = canonical(&wrap("ports: ['80:80']\nbuild: ./a"));
    let web = root.get("services").unwrap().get("web").unwrap();
    assert_eq!(web.get("ports").unwrap().as_list().unwrap()[0].get("target").unwrap().at.line, 4);
    assert_eq!(web.get("build").unwrap().get("context").unwrap().at.line, 5);
}

#[test]
fn ports_are_bounded_over_all_services() {
    let ports = "['1-60000', '1-60000/udp', '1-60000/sctp']";
    let text =
        format!("services: {{a: {{image: i, ports: {ports}}}, b: {{image: i, ports: {ports}}}}}\n");
    let mut problems = Problems::default();
    canonical_of(&text, &mut problems);
    assert!(lines(&problems)[0].contains("publish fewer"), "{problems}");
}

#[test]
fn the_words_of_command_lines_are_bounded_over_all_services() {
    let line = "a ".repeat(WORDS_MAX / 2 + 1);
    let text = format!("services: {{a: {{command: {line}}}, b: {{command: {line}}}}}\n");
    let mut problems = Problems::default();
    canonical_of(&text, &mut problems);
    assert_eq!(lines(&problems).len(), 1);
    assert!(
        lines(&problems)[0].contains("services.b.command: more than 30000 words"),
        "{problems}"
    );
}

#[test]
fn variables_that_still_stand_stay() {
    let mut root =
        tree(&wrap("ports: ['${P}:80', 81]\nvolumes: ['${A:-/x}:/b']\ndevices: ['${D}']"));
    let mut problems = Problems::default();
    schema::check_uninterpolated(&mut root, &mut problems);
    canonical_uninterpolated(&mut root, &mut problems);
    assert!(!problems.has_errors(), "{problems}");
    let web = root.get("services").unwrap().get("web").unwrap();
    assert_eq!(under(web, "ports")[0], json!("${P}:80"));
    assert_eq!(under(web, "ports")[1]["target"], json!(81));
    assert_eq!(under(web, "volumes")[0]["source"], json!("${A:-/x}"));
}
