//! What the file says is what the spec says.

mod wrong;

use std::net::IpAddr;

use serde_json::{Value, json};

use super::*;
use crate::{
    compose::{
        json::{from_tree, to_tree},
        load::{LoadRequest, load},
    },
    model::{
        Millis,
        spec::{
            CommandLine, Condition, Dependency, DeviceRequest, FailureAction, HealthTest, Mode,
            MountKind, NamespaceMode, NetworkMode, Protocol, PublishedPorts, PullPolicy,
            RestartCondition, RestartSpec, Ulimit, UpdateOrder, UpdateSpec,
        },
    },
};

fn decoded(root: &Value) -> Result<ProjectSpec, String> {
    let mut problems = Problems::default();
    project(&to_tree(root), &mut problems).ok_or_else(|| problems.to_string())
}

/// Decodes a project with the service `web`, a neighbour `db`, and one resource of each kind.
fn web(mut service: Value) -> Result<ServiceSpec, String> {
    if service.get("image").is_none() && service.get("build").is_none() {
        service["image"] = json!("app");
    }
    let root = json!({
        "name": "p",
        "services": {"web": service, "db": {"image": "db"}},
        "networks": {"net": {"name": "p_net"}},
        "volumes": {"vol": {"name": "p_vol"}},
        "configs": {"conf": {"content": "x"}},
        "secrets": {"key": {"environment": "KEY"}},
    });
    Ok(decoded(&root)?.services.remove(&"web".parse().unwrap()).unwrap())
}

#[test]
fn what_the_file_does_not_say_is_the_default() {
    let spec = web(json!({"command": null, "healthcheck": null, "isolation": ""})).unwrap();
    assert_eq!(spec, web(json!({})).unwrap());
    assert_eq!(spec.container.image, "app");
    assert_eq!(spec.container.command, CommandLine::Image);
    assert_eq!(spec.container.health, None);
    assert_eq!(spec.deploy, crate::model::spec::DeploySpec::default());
    assert!(spec.attach && !spec.has_build);
    assert_eq!(spec.pull, PullPolicy::Missing);
}

#[test]
fn a_service_that_is_built_has_the_image_that_compose_names() {
    let spec = web(json!({"build": {"context": "/src"}})).unwrap();
    assert_eq!((spec.container.image.as_str(), spec.has_build), ("p-web", true));
}

#[test]
fn an_empty_command_clears_the_images() {
    let spec = web(json!({"command": [], "entrypoint": ["/run", "a b"]})).unwrap();
    assert_eq!(spec.container.command, CommandLine::Words(Vec::new()));
    assert_eq!(spec.container.entrypoint, CommandLine::Words(vec!["/run".into(), "a b".into()]));
}

#[test]
fn ports_are_one_a_range_or_any() {
    for (published, expected) in [
        (json!("8080"), PublishedPorts::One(8080)),
        (json!(8080), PublishedPorts::One(8080)),
        (json!("8080-8090"), PublishedPorts::Range(8080, 8090)),
        (json!("0"), PublishedPorts::Any),
        (json!(null), PublishedPorts::Any),
    ] {
        let spec = web(json!({"ports": [{
            "target": 53, "published": published, "protocol": "udp", "mode": "host",
            "host_ip": "::1", "name": "dns", "app_protocol": "dns",
        }]}))
        .unwrap();
        let port = &spec.container.ports[0];
        assert_eq!(port.published, expected);
        assert_eq!((port.target, port.protocol, port.host_mode), (53, Protocol::Udp, true));
        assert_eq!(port.host_ip, "::1".parse::<IpAddr>().ok());
    }
}

#[test]
fn quantities_are_exact() {
    let spec = web(json!({
        "cpus": 0.1, "mem_limit": "536870912", "memswap_limit": "-1", "pids_limit": -1,
        "shm_size": "64k", "mem_swappiness": "0", "stop_grace_period": "1m30s",
        "deploy": {"resources": {
            "limits": {"cpus": "0.1"}, "reservations": {"cpus": 0.0001, "memory": "1024"},
        }},
    }))
    .unwrap();
    let resources = spec.container.resources;
    assert_eq!(resources.nano_cpus, Some(100_000_000));
    assert_eq!(resources.reserved_nano_cpus, Some(100_000));
    assert_eq!(resources.memory_bytes, Some(512 << 20));
    assert_eq!(resources.reserved_memory_bytes, Some(1024));
    assert_eq!(resources.memory_swap_bytes, Some(-1));
    assert_eq!(resources.memory_swappiness, Some(0));
    assert_eq!((resources.pids, resources.shm_bytes), (Some(-1), Some(65536)));
    assert_eq!(spec.container.stop_grace, Some(Millis(90_000)));
}

#[test]
fn a_ulimit_is_one_number_or_two() {
    let spec = web(json!({"ulimits": {
        "nproc": 65535, "nofile": {"soft": 20, "hard": 40}, "memlock": {"soft": -1, "hard": -1},
    }}))
    .unwrap();
    let expected = [("memlock", -1, -1), ("nofile", 20, 40), ("nproc", 65535, 65535)]
        .map(|(name, soft, hard)| (name.to_owned(), Ulimit { soft, hard }));
    assert_eq!(spec.container.resources.ulimits, expected.into());
}

#[test]
fn restart_policies_are_read_from_either_place_and_deploy_wins() {
    let spec = |service| web(service).unwrap().deploy.restart;
    let silent = RestartSpec::default();
    for (text, condition, attempts_max) in [
        ("no", RestartCondition::Never, None),
        ("always", RestartCondition::Always, None),
        ("unless-stopped", RestartCondition::Always, None),
        ("on-failure", RestartCondition::OnFailure, None),
        ("on-failure:5", RestartCondition::OnFailure, Some(5)),
        ("", RestartCondition::Unset, None),
    ] {
        let expected = RestartSpec { condition, attempts_max, ..silent };
        assert_eq!(spec(json!({"restart": text})), expected, "{text}");
    }
    let policy = json!({
        "condition": "on-failure", "delay": "2s", "max_attempts": 3, "window": "1m",
    });
    let expected = RestartSpec {
        condition: RestartCondition::OnFailure,
        delay: Some(Millis(2000)),
        attempts_max: Some(3),
        window: Some(Millis(60_000)),
    };
    let both = json!({"restart": "always", "deploy": {"restart_policy": policy}});
    assert_eq!(spec(both), expected);
    let silent_policy = spec(json!({"restart": "no", "deploy": {"restart_policy": {}}}));
    assert_eq!(silent_policy.condition, RestartCondition::Always);
}

#[test]
fn update_settings_have_the_specifications_defaults() {
    let spec = web(json!({"deploy": {
        "update_config": {
            "parallelism": 0, "delay": "10s", "failure_action": "rollback", "monitor": "1m0s",
            "max_failure_ratio": 0.3, "order": "start-first",
        },
        "rollback_config": {},
    }}))
    .unwrap();
    let expected = UpdateSpec {
        parallelism: 0,
        delay: Millis(10_000),
        failure_action: FailureAction::Rollback,
        monitor: Millis(60_000),
        failure_ratio_max_ppm: 300_000,
        order: UpdateOrder::StartFirst,
    };
    assert_eq!(spec.deploy.update, expected);
    assert_eq!(spec.deploy.rollback, UpdateSpec::default());
}

#[test]
fn modes_count_replicas_or_nodes() {
    for (service, mode) in [
        (json!({"scale": 3}), Mode::Replicated(3)),
        (json!({"scale": 0, "deploy": {"replicas": 0}}), Mode::Replicated(0)),
        (json!({"deploy": {"mode": "global"}}), Mode::Global),
        (json!({"deploy": {"mode": "replicated-job", "replicas": 2}}), Mode::ReplicatedJob(2)),
        (json!({"deploy": {"mode": "global-job"}}), Mode::GlobalJob),
        (json!({"deploy": {"mode": "global"}, "x-fizz": {"job": {}}}), Mode::GlobalJob),
        (json!({"deploy": {"mode": "global"}, "x-fizz": {"job": null}}), Mode::Global),
    ] {
        assert_eq!(web(service.clone()).unwrap().deploy.mode, mode, "{service}");
    }
}

#[test]
fn pull_policies_are_words_or_ages() {
    for (service, policy) in [
        (json!({"pull_policy": "always"}), PullPolicy::Always),
        (json!({"pull_policy": "if_not_present"}), PullPolicy::Missing),
        (json!({"pull_policy": "never"}), PullPolicy::Never),
        (json!({"pull_policy": "build"}), PullPolicy::Build),
        (json!({"pull_policy": "daily"}), PullPolicy::OlderThanSeconds(86_400)),
        (json!({"pull_policy": "weekly"}), PullPolicy::OlderThanSeconds(604_800)),
        (json!({"pull_policy": "every_2d"}), PullPolicy::OlderThanSeconds(172_800)),
        (
            json!({"pull_policy": "refresh", "pull_refresh_after": "12h"}),
            PullPolicy::OlderThanSeconds(43_200),
        ),
    ] {
        assert_eq!(web(service.clone()).unwrap().pull, policy, "{service}");
    }
}

#[test]
fn health_checks_are_commands_lines_or_none() {
    let words = |words: &[&str]| words.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
    for (check, test) in [
        (json!({"test": ["NONE"]}), Some(HealthTest::Disabled)),
        (json!({"disable": true, "test": ["CMD", "a"]}), Some(HealthTest::Disabled)),
        (json!({"test": ["CMD", "a", "b"]}), Some(HealthTest::Command(words(&["a", "b"])))),
        (json!({"test": ["CMD-SHELL", "a || b"]}), Some(HealthTest::Shell("a || b".into()))),
        (json!({"test": "a || b"}), Some(HealthTest::Shell("a || b".into()))),
        (json!({"interval": "1s"}), None),
    ] {
        let health = web(json!({"healthcheck": check.clone()})).unwrap().container.health.unwrap();
        assert_eq!(health.test, test, "{check}");
    }
    let timings = json!({
        "interval": "10s", "timeout": "0s", "retries": 0, "start_period": "1m", "start_interval": "2s",
    });
    let health = web(json!({"healthcheck": timings})).unwrap().container.health.unwrap();
    assert_eq!((health.interval, health.timeout), (Some(Millis(10_000)), None));
    assert_eq!((health.retries, health.start_interval), (None, Some(Millis(2000))));
}

#[test]
fn networks_and_name_spaces_are_shared_by_name() {
    let network = |mode: &str| web(json!({"network_mode": mode})).unwrap().container.network;
    assert_eq!(network("none"), NetworkMode::None);
    assert_eq!(network("host"), NetworkMode::Host);
    assert_eq!(network("bridge"), NetworkMode::Bridge);
    assert_eq!(network("service:db"), NetworkMode::Service("db".parse().unwrap()));
    assert_eq!(network("container:abc"), NetworkMode::Container("abc".into()));
    assert_eq!(network("other"), NetworkMode::Named("other".into()));
    let spec = web(json!({
        "ipc": "shareable", "pid": "service:db", "uts": "host",
        "networks": {"net": null},
    }))
    .unwrap();
    let security = spec.container.security;
    assert_eq!(security.ipc, Some(NamespaceMode::Other("shareable".into())));
    assert_eq!(security.pid, Some(NamespaceMode::Service("db".parse().unwrap())));
    assert!(security.uts_host);
    let NetworkMode::Networks(networks) = spec.container.network else { panic!("no networks") };
    assert_eq!(networks.into_keys().collect::<Vec<_>>(), ["net"]);
}

#[test]
fn configs_and_secrets_have_default_places() {
    let spec = web(json!({
        "configs": [{"source": "conf"}, {"source": "conf", "target": "etc/c", "mode": 288}],
        "secrets": [
            {"source": "key"},
            {"source": "key", "target": "k", "uid": "103", "gid": "104", "mode": "0440"},
            {"source": "key", "target": "/etc/k"},
        ],
    }))
    .unwrap();
    let container = spec.container;
    let targets = |files: &[crate::model::spec::FileMount]| {
        files.iter().map(|it| it.target.clone()).collect::<Vec<_>>()
    };
    assert_eq!(targets(&container.configs), ["/conf", "/etc/c"]);
    assert_eq!(container.configs[1].mode, Some(0o440));
    assert_eq!(targets(&container.secrets), ["/run/secrets/key", "/run/secrets/k", "/etc/k"]);
    let file = &container.secrets[1];
    assert_eq!((file.uid, file.gid, file.mode), (Some(103), Some(104), Some(0o440)));
}

#[test]
fn mounts_of_every_kind_are_read() {
    let spec = web(json!({"volumes": [
        {"type": "volume", "source": "vol", "target": "/a", "volume": {"nocopy": true, "subpath": "s"}},
        {"type": "volume", "target": "/b", "read_only": true, "volume": {}},
        {"type": "bind", "source": "/src", "target": "/c", "bind": {}},
        {"type": "bind", "source": "/src", "target": "/d",
         "bind": {"create_host_path": false, "propagation": "rslave", "selinux": "Z"}},
        {"type": "tmpfs", "target": "/e", "tmpfs": {"size": "10000", "mode": "1777"}},
        {"type": "image", "source": "alpine", "target": "/f", "image": {"subpath": "/foo"}},
    ], "tmpfs": ["/g:size=64m,mode=1777", "/h"]}))
    .unwrap();
    let mounts = spec.container.mounts;
    let no_copy = |name: Option<&str>, no_copy, subpath: Option<&str>| MountKind::Volume {
        name: name.map(str::to_owned),
        no_copy,
        subpath: subpath.map(str::to_owned),
        labels: BTreeMap::new(),
    };
    assert_eq!(mounts[0].kind, no_copy(Some("vol"), true, Some("s")));
    assert_eq!(mounts[1].kind, no_copy(None, false, None));
    assert!(mounts[1].read_only);
    let MountKind::Bind(bind) = &mounts[2].kind else { panic!("no bind") };
    assert!(bind.create_host_path);
    let MountKind::Bind(bind) = &mounts[3].kind else { panic!("no bind") };
    assert_eq!((bind.create_host_path, bind.selinux), (false, Some('Z')));
    let tmpfs = MountKind::Tmpfs { size_bytes: Some(10_000), mode: Some(0o1777) };
    assert_eq!(mounts[4].kind, tmpfs);
    let image = MountKind::Image { image: "alpine".into(), subpath: Some("/foo".into()) };
    assert_eq!(mounts[5].kind, image);
    let expected = [("/g", "size=64m,mode=1777"), ("/h", "")];
    assert_eq!(spec.container.tmpfs, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
}

#[test]
fn devices_are_asked_for_by_path_name_or_capability() {
    let spec = web(json!({
        "devices": [
            {"source": "/dev/fuse", "target": "/dev/fuse", "permissions": "rw"},
            {"source": "vendor.com/gpu=0", "target": "vendor.com/gpu=0", "permissions": "rwm"},
        ],
        "gpus": [{"driver": "nvidia", "count": "all"}],
        "deploy": {"resources": {"reservations": {"devices": [
            {"capabilities": ["tpu"], "device_ids": ["0"], "options": {"a": "b"}},
        ]}}},
    }))
    .unwrap();
    let resources = spec.container.resources;
    assert_eq!(
        (resources.devices[0].target.as_str(), resources.devices[0].permissions.as_str()),
        ("/dev/fuse", "rw")
    );
    assert_eq!(resources.devices[1].target, "");
    let gpu = DeviceRequest {
        driver: Some("nvidia".into()),
        count: Some(-1),
        device_ids: Vec::new(),
        capabilities: vec!["gpu".into()],
        options: BTreeMap::new(),
    };
    let tpu = DeviceRequest {
        driver: None,
        count: None,
        device_ids: vec!["0".into()],
        capabilities: vec!["tpu".into()],
        options: [("a".to_owned(), "b".to_owned())].into(),
    };
    assert_eq!(resources.device_requests, [gpu, tpu]);
}

#[test]
fn hosts_and_links_are_split() {
    let spec = web(json!({
        "extra_hosts": ["a=1.2.3.4", "b=host-gateway", "c=::1", "d:5.6.7.8", "e=[::2]"],
        "links": ["db", "db:database"],
        "external_links": ["redis_1", "other_db_1:mysql"],
        "volumes_from": ["db:ro", "container:x"],
    }))
    .unwrap();
    let pairs = |list: &[(&str, &str)]| {
        list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<Vec<_>>()
    };
    let hosts =
        [("a", "1.2.3.4"), ("b", "host-gateway"), ("c", "::1"), ("d", "5.6.7.8"), ("e", "::2")];
    assert_eq!(spec.container.extra_hosts, pairs(&hosts));
    let aliases: Vec<&str> = spec.container.links.iter().map(|(_, it)| it.as_str()).collect();
    assert_eq!(aliases, ["db", "database"]);
    let external = [("redis_1", "redis_1"), ("other_db_1", "mysql")];
    assert_eq!(spec.container.external_links, pairs(&external));
    assert_eq!(spec.container.volumes_from, ["service:db:ro", "container:x"]);
}

#[test]
fn dependencies_have_conditions_and_may_be_absent_if_not_required() {
    let spec = web(json!({"depends_on": {
        "db": {"condition": "service_healthy", "required": true, "restart": true},
        "cache": {"condition": "service_completed_successfully", "required": false},
    }}))
    .unwrap();
    let db = Dependency { condition: Condition::Healthy, restart: true, required: true };
    let cache = Dependency { condition: Condition::Completed, restart: false, required: false };
    let expected = [("cache", cache), ("db", db)].map(|(name, it)| (name.parse().unwrap(), it));
    assert_eq!(spec.depends_on, expected.into());
}

#[test]
fn resources_have_names_and_contents() {
    let project = decoded(&json!({
        "name": "p",
        "networks": {
            "a": {"name": "real", "internal": true, "driver_opts": {"mtu": 1400}, "ipam": {
                "driver": "default",
                "config": [{"subnet": "10.1.0.0/24", "gateway": "10.1.0.1", "ip_range": "10.1.0.0/25",
                            "aux_addresses": {"h": "10.1.0.9"}}],
            }},
            "b": {"external": true},
        },
        "volumes": {"v": null, "w": {"driver": "nfs", "labels": {"l": ""}}},
        "configs": {"text": {"content": "a"}, "bytes": {"x-fizz-content-base64": "/wAB"}},
        "secrets": {"s": {"name": "real", "file": "/s"}},
    }))
    .unwrap();
    let network = &project.networks["a"];
    assert_eq!((network.name.as_str(), network.internal), ("real", true));
    assert_eq!(network.driver_options["mtu"], "1400");
    let pool = &network.ipam.pools[0];
    assert_eq!(
        (pool.gateway.as_deref(), pool.reserved["h"].as_str()),
        (Some("10.1.0.1"), "10.1.0.9")
    );
    assert_eq!((project.networks["b"].name.as_str(), project.networks["b"].external), ("b", true));
    assert_eq!(project.volumes["v"].name, "p_v");
    assert_eq!(project.volumes["w"].driver.as_deref(), Some("nfs"));
    assert_eq!(project.configs["text"].content.as_deref(), Some(&b"a"[..]));
    assert_eq!(project.configs["bytes"].content.as_deref(), Some(&[0xff, 0, 1][..]));
    assert_eq!(project.secrets["s"].name, "real");
}

#[test]
fn no_json_makes_decoding_panic() {
    for value in
        [json!(null), json!(true), json!(-1), json!(1e300), json!("é:é/é=é-é"), json!([[]])]
    {
        for key in crate::compose::support::keys().into_keys() {
            let root = key.rsplit('.').fold(value.clone(), |value, step| {
                step.strip_suffix("[]")
                    .map_or_else(|| json!({step: value}), |it| json!({it: [value]}))
            });
            let mut root = if root.is_object() { root } else { json!({}) };
            root["name"] = json!("p");
            let _ = decoded(&root);
        }
    }
}

#[test]
fn a_file_decodes_alike_where_it_was_written_and_where_it_runs() {
    let text = "
name: shop
services:
  web:
    image: web
    cpus: 0.1
    ports: ['127.0.0.1:8080:80', '53:53/udp']
    blkio_config: {weight_device: [{path: /dev/sda, weight: 400}]}
    extra_hosts: ['a:1.2.3.4', 'b:::1']
    ulimits: {nofile: {soft: 20, hard: 40}, nproc: 65535}
    deploy: {update_config: {max_failure_ratio: 0.3, delay: 90s}}
    mem_limit: 50M
    gpus: all
    configs: [conf]
    secrets: [{source: key, mode: 0440}]
    volumes: ['data:/data', './src:/src:ro']
    x-fizz: {health: {http: {port: 80}}, placement: {affinity: [db]}}
  db:
    image: db
    healthcheck: {test: ready, interval: 1m30s}
    volumes: [{type: tmpfs, target: /t, tmpfs: {size: 1m, mode: 0o1777}}]
volumes: {data: }
configs: {conf: {file: ./conf}}
secrets: {key: {environment: KEY}}
";
    let files = [("/w/compose.yaml", text), ("/w/conf", "a: b")];
    let files = files.map(|(path, text)| (path.into(), text.as_bytes().to_vec()));
    let files = crate::compose::files::MemoryFiles(files.into());
    let request = LoadRequest {
        working_dir: "/w".into(),
        environment: [("KEY".to_owned(), "secret".to_owned())].into(),
        ..LoadRequest::default()
    };
    let mut loaded = load(&request, &files).unwrap_or_else(|problems| panic!("{problems}"));
    let mut problems = loaded.problems;
    attach_contents(&mut loaded.model, &files, &loaded.environment, &mut problems);
    let secrets = secret_values(&loaded.model, &files, &loaded.environment, &mut problems);
    let here = project(&loaded.model, &mut problems).unwrap_or_else(|| panic!("{problems}"));
    assert_eq!(Ok(&here), decoded(&from_tree(&loaded.model)).as_ref());

    assert_eq!(secrets, [("key".to_owned(), b"secret".to_vec())].into());
    assert_eq!(here.configs["conf"].content.as_deref(), Some(&b"a: b"[..]));
    let web = &here.services[&"web".parse().unwrap()];
    assert_eq!(web.container.resources.nano_cpus, Some(100_000_000));
    assert_eq!(web.container.resources.memory_bytes, Some(50 << 20));
    assert_eq!(web.container.resources.blkio.as_ref().unwrap().weight_device[0].weight, 400);
    assert_eq!(web.container.ports[0].published, PublishedPorts::One(8080));
    assert_eq!(web.container.extra_hosts[1], ("b".to_owned(), "::1".to_owned()));
    assert_eq!(web.container.secrets[0].mode, Some(0o440));
    assert_eq!(web.deploy.update.failure_ratio_max_ppm, 300_000);
    let tmpfs = MountKind::Tmpfs { size_bytes: Some(1 << 20), mode: Some(0o1777) };
    assert_eq!(here.services[&"db".parse().unwrap()].container.mounts[0].kind, tmpfs);
}
