//! Projects that make no sense, and ones that do.

use super::*;
use crate::compose::{
    normalise,
    sample::{canonical, lines, wrap},
    select::Choice,
};

fn complaints(text: &str) -> Vec<String> {
    let mut root = canonical(text);
    normalise::normalise(&mut root, "p", &BTreeMap::new());
    let mut problems = Problems::default();
    check(&root, &Choice::default().by_profile(&root), &mut problems);
    lines(&problems)
}

#[test]
fn each_senseless_service_is_refused() {
    for (lines, part) in [
        ("image: ''", "neither an `image` nor a `build`"),
        ("build: {dockerfile: a, dockerfile_inline: b}", "exclude each other"),
        ("build: {additional_contexts: [a=service:gone]}", "no service \"gone\""),
        ("build: {additional_contexts: [a=service:db]}", "is not built"),
        ("platform: a\nbuild: {platforms: [b]}", "platform \"a\""),
        ("network_mode: host\nnetworks: [n]", "`network_mode` and `networks`"),
        ("network_mode: service:gone", "gone"),
        ("networks: [gone]", "network \"gone\""),
        ("volumes: ['gone:/a']", "volume \"gone\""),
        ("configs: [gone]", "config \"gone\""),
        ("secrets: [gone]", "secret \"gone\""),
        ("build: {secrets: [gone]}", "secret \"gone\""),
        ("models: [gone]", "model \"gone\""),
        ("depends_on: [gone]", "no such service"),
        ("depends_on: [off]", "turn on one of its profiles: debug"),
        ("healthcheck: {test: [curl, x]}", "CMD-SHELL"),
        ("scale: 1\ndeploy: {replicas: 2}", "different things"),
        ("scale: -1", "at least 0"),
        ("deploy: {replicas: -1}", "deploy.replicas"),
        ("scale: 2\ncontainer_name: one", "container_name"),
        ("container_name: dbname", "already the container_name of \"db\""),
        ("cpus: 1\ndeploy: {resources: {limits: {cpus: 2}}}", "deploy.resources.limits.cpus"),
        ("mem_limit: 1g\ndeploy: {resources: {limits: {memory: 2g}}}", "limits.memory"),
        ("mem_limit: 1g\ndeploy: {resources: {limits: {cpus: 2}}}", "limits.memory"),
        (
            "mem_reservation: 1g\ndeploy: {resources: {reservations: {memory: 2g}}}",
            "reservations.memory",
        ),
        ("pids_limit: 1\ndeploy: {resources: {limits: {pids: 2}}}", "limits.pids"),
        ("develop: {watch: [{path: a, action: sync}]}", "needs a `target`"),
        ("develop: {watch: [{path: '', action: rebuild}]}", "blank"),
        ("tmpfs: [/a]\nvolumes: [/a]", "already mounted by services.web.tmpfs[0]"),
        ("gpus: [{count: 1, device_ids: [a]}]", "`count` and `device_ids`"),
        (
            "deploy: {resources: {reservations: {devices: [{capabilities: [gpu], count: 1, device_ids: [a]}]}}}",
            "reservations.devices[0]",
        ),
        ("ports: [{published: 80}]", "no `target`"),
        ("ports: [{target: 80, host_ip: here}]", "not an IP address"),
        ("volumes: [{type: tmpfs}]", "no `target`"),
    ] {
        let text = format!(
            "{}  db: {{image: i, container_name: dbname}}\n  off: {{image: i, profiles: [debug]}}\nnetworks: {{n: }}\n",
            wrap(lines).replace("    image: i\n    image", "    image")
        );
        let told = complaints(&text);
        assert_eq!(told.len(), 1, "{lines}: {told:?}");
        assert!(told[0].contains(part), "{lines}: {told:?}");
    }
}

#[test]
fn sensible_services_pass() {
    for lines in [
        "depends_on: {off: {condition: service_started, required: false}}",
        "depends_on: {db: {condition: service_healthy}}",
        "volumes: ['v:/a', /anonymous, './b:/c']",
        "scale: 2\ndeploy: {replicas: 2}",
        "cpus: 2\ndeploy: {resources: {limits: {cpus: '2'}}}",
        "mem_limit: 1g\ndeploy: {resources: {limits: {memory: 1024m}}}",
        "mem_limit: 1g\ndeploy: {replicas: 1}",
        "platform: a\nbuild: {platforms: [a, b]}",
        "develop: {watch: [{path: a, action: restart}]}",
        "network_mode: service:db",
        "networks: [default, n]",
        "healthcheck: {test: NONE}",
    ] {
        let text = format!(
            "{}  db: {{image: i}}\n  off: {{image: i, profiles: [debug]}}\nnetworks: {{n: }}\nvolumes: {{v: , vv: }}\n",
            wrap(&lines.replace("'v:/a'", "'vv:/a'"))
        );
        assert_eq!(complaints(&text), Vec::<String>::new(), "{lines}");
    }
}

#[test]
fn senseless_resources_are_refused() {
    for (text, parts) in [
        ("volumes: {v: {external: true, driver: d}}", ["volumes.v", "driver"]),
        ("volumes: {v: {external: true, driver_opts: {a: b}}}", ["volumes.v", "driver_opts"]),
        ("volumes: {v: {external: true, labels: [a]}}", ["volumes.v", "labels"]),
        ("secrets: {s: {labels: [a]}}", ["secrets.s", "file, environment"]),
        ("secrets: {s: {driver: a}}", ["secrets.s", "file, environment"]),
        ("secrets: {s: {file: a, environment: b}}", ["secrets.s", "exclude each other"]),
        ("configs: {c: {labels: [a]}}", ["configs.c", "content"]),
        ("configs: {c: {file: a, content: b}}", ["configs.c", "file and content"]),
    ] {
        let told = complaints(text);
        assert_eq!(told.len(), 1, "{text}: {told:?}");
        assert!(parts.iter().all(|part| told[0].contains(part)), "{text}: {told:?}");
    }
    assert!(complaints("volumes: {v: {external: true, name: n, x-a: 1}}").is_empty());
    assert!(complaints("secrets: {s: {external: true}}\nconfigs: {c: {content: ''}}").is_empty());
}

#[test]
fn circles_are_told_once_with_their_names() {
    let text = "services:\n  a: {image: i, depends_on: [b]}\n  b: {image: i, depends_on: [c]}\n  \
                c: {image: i, depends_on: [a]}\n  d: {image: i, depends_on: [a]}\n";
    let told = complaints(text);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("dependency cycle: a -> b -> c -> a"), "{told:?}");
    let told = complaints("services: {a: {image: i, depends_on: [a]}, b: {image: i, links: [b]}}");
    assert!(told[0].contains("a -> a") && told[1].contains("b -> b"), "{told:?}");
}

#[test]
fn all_is_told_at_once() {
    let told =
        complaints(&wrap("networks: [a]\nvolumes: ['bb:/b']\nsecrets: [c]\ndepends_on: [d]"));
    assert_eq!(told.len(), 4, "{told:?}");
}

#[test]
fn a_long_chain_of_services_is_no_trouble() {
    let chain: String = (0..3000)
        .map(|it| format!("  s{it:05}: {{image: i, depends_on: [s{:05}]}}\n", it + 1))
        .collect();
    let text = format!("services:\n{chain}  s03000: {{image: i}}\n");
    assert_eq!(complaints(&text), Vec::<String>::new());
}
