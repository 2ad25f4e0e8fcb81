//! `x-fizz` as users write it, right and wrong.

use serde_json::{Value, json};

use crate::{
    compose::{decode, json::to_tree, problem::Problems},
    model::{
        Millis,
        spec::{
            Affinity, ConcurrencyPolicy, Condition, CronSpec, HealthSpec, HealthTest, HttpCheck,
            IngressSpec, JobSpec, MissedRunPolicy, Mode, PartitionMode, RestartCondition,
            ServiceSpec, TcpCheck,
        },
    },
};

/// Decodes a project with the service `web` and a neighbour, `db`.
fn web(service: Value) -> Result<ServiceSpec, String> {
    let mut service = service;
    service["image"] = json!("app");
    let db = json!({"image": "db", "deploy": {"mode": "replicated-job"}});
    let root = json!({"name": "p", "services": {"web": service, "db": db}});
    let mut problems = Problems::default();
    let project = decode::project(&to_tree(&root), &mut problems);
    let mut project = project.ok_or_else(|| problems.to_string())?;
    Ok(project.services.remove(&"web".parse().unwrap()).unwrap())
}

#[test]
fn every_key_is_read() {
    let spec = web(json!({"x-fizz": {
        "placement": {
            "labels": {"zone": "a"},
            "nodes": ["n1", "n2"],
            "affinity": ["db"],
            "anti_affinity": ["web"],
        },
        "partition": "singleton",
        "ingress": {
            "local_first": true, "drain": "20s", "affinity": "source",
            "allow": ["192.0.2.7/24", "2001:db8::1"],
        },
        "update": {"canary": 2},
        "health": {"failed_after": 9},
        "job": {"retries": 3, "timeout": "10m"},
        "pre_deploy": {"service": "db"},
        "cron": {
            "schedule": "0 4 * * *", "time_zone": "Europe/Berlin",
            "concurrency": "replace", "missed": "run_once",
        },
    }}))
    .unwrap();
    let extension = spec.extension;
    assert_eq!(extension.node_labels, [("zone".to_owned(), "a".to_owned())].into());
    assert_eq!(extension.nodes, ["n1", "n2"]);
    let affinity = |name: &str, near| Affinity { service: name.parse().unwrap(), near };
    assert_eq!(extension.affinities, [affinity("db", true), affinity("web", false)]);
    assert_eq!(extension.partition, Some(PartitionMode::Singleton));
    let drain = Some(Millis::from_secs(20));
    let allow = ["192.0.2.0/24", "2001:db8::1/128"].map(|it| it.parse().unwrap()).into();
    let ingress = IngressSpec { local_first: true, affinity: true, allow, drain };
    assert_eq!(extension.ingress, Some(ingress));
    assert_eq!(extension.canary, Some(2));
    assert_eq!(extension.failed_after, Some(9));
    let timeout = Some(Millis::from_secs(600));
    assert_eq!(extension.job, Some(JobSpec { retries: 3, timeout }));
    let cron = CronSpec {
        schedule: "0 4 * * *".parse().unwrap(),
        zone: "Europe/Berlin".parse().unwrap(),
        concurrency: ConcurrencyPolicy::Replace,
        missed: MissedRunPolicy::RunOnce,
    };
    assert_eq!(extension.cron, Some(cron));
    assert_eq!(extension.pre_deploy, Some("db".parse().unwrap()));
    assert_eq!(spec.deploy.mode, Mode::ReplicatedJob(1));
}

#[test]
fn a_health_check_by_http_takes_its_timings_from_either_place() {
    let spec = web(json!({
        "healthcheck": {"interval": "3s", "retries": 2},
        "x-fizz": {"health": {
            "http": {"port": 8080, "path": "/ready", "status": 204, "host": "example.com"},
            "timeout": "1s", "start_period": "9s", "start_interval": "500ms",
        }},
    }))
    .unwrap();
    let http = HttpCheck {
        port: 8080,
        path: "/ready".to_owned(),
        status: Some(204),
        host: Some("example.com".to_owned()),
    };
    let expected = HealthSpec {
        test: Some(HealthTest::Http(http)),
        interval: Some(Millis::from_secs(3)),
        timeout: Some(Millis::from_secs(1)),
        retries: Some(2),
        start_period: Some(Millis::from_secs(9)),
        start_interval: Some(Millis(500)),
    };
    assert_eq!(spec.container.health, Some(expected));
}

#[test]
fn a_health_check_by_tcp_needs_its_port_only() {
    let spec = web(json!({"x-fizz": {"health": {"tcp": {"port": 5432}}}})).unwrap();
    let test = spec.container.health.unwrap().test;
    assert_eq!(test, Some(HealthTest::Tcp(TcpCheck { port: 5432 })));
}

#[test]
fn the_top_level_sets_what_services_leave_open() {
    let root = json!({"name": "p", "x-fizz": {"partition": "available"}});
    let project = decode::project(&to_tree(&root), &mut Problems::default()).unwrap();
    assert_eq!(project.extension.partition, Some(PartitionMode::Available));
}

#[test]
fn nothing_wrong_is_ignored() {
    for (extension, message) in [
        (
            json!({"placment": {}}),
            "x-fizz.placment: there is no such key; did you mean `placement`",
        ),
        (json!([]), "x-fizz: is a list; it must be a mapping"),
        (json!({"placement": "n1"}), "x-fizz.placement: is a string; it must be a mapping"),
        (json!({"placement": {"node": ["a"]}}), "placement.node: there is no such key; did you"),
        (json!({"placement": {"nodes": ["a b"]}}), "nodes[0]: `a b` can't be a node name"),
        (json!({"placement": {"affinity": ["dbs"]}}), "affinity[0]: there is no service `dbs`"),
        (json!({"placement": {"affinity": ["web"]}}), "a service is always near itself"),
        (
            json!({"placement": {"affinity": ["db"], "anti_affinity": ["db"]}}),
            "anti_affinity[0]: `db` is named twice",
        ),
        (json!({"partition": "both"}), "x-fizz.partition: `both` is not known here; use `avail"),
        (json!({"partition": "singelton"}), "did you mean `singleton`?"),
        (json!({"ingress": {"drain": "long"}}), "ingress.drain: `long` is not a duration"),
        (
            json!({"ingress": {"affinity": "cookie"}}),
            "affinity: `cookie` is not known here; use `none`",
        ),
        (json!({"ingress": {"allow": ["home"]}}), "allow[0]: `home` is not a range such as"),
        (json!({"ingress": {"local_first": "yes"}}), "local_first: `yes` is not `true` or `false`"),
        (json!({"update": {"canary": 0}}), "update.canary: `0` is not an integer from 1"),
        (json!({"update": {"canary": [1]}}), "update.canary: is a list; it must be a single value"),
        (
            json!({"health": {"https": {}}}),
            "health.https: there is no such key; did you mean `http`",
        ),
        (json!({"health": {"http": {}}}), "health.http: names no port; add `port`"),
        (json!({"health": {"tcp": {"port": 0}}}), "`0` is not an integer from 1 to 65535"),
        (json!({"health": {"http": {"port": 80, "path": "x"}}}), "http.path: `x` is not a path"),
        (json!({"health": {"http": {"port": 80, "path": "/a\r\nb"}}}), "is not a path"),
        (json!({"health": {"http": {"port": 80, "host": "a b"}}}), "`a b` is not a host name"),
        (json!({"health": {"http": {"port": 80, "status": 99}}}), "`99` is not an integer"),
        (
            json!({"health": {"http": {"port": 80}, "tcp": {"port": 80}}}),
            "health.tcp: a service has one health check; keep `http` or `tcp`",
        ),
        (
            json!({"job": {"retires": 1}}),
            "job.retires: there is no such key; did you mean `retries`?",
        ),
        (json!({"job": {"retries": -1}}), "job.retries: `-1` is not an integer from 0"),
        (json!({"cron": {}}), "cron.schedule: is missing"),
        (json!({"pre_deploy": {}}), "pre_deploy: names no `service`"),
        (json!({"pre_deploy": {"service": "web"}}), "a service cannot come before itself"),
        (json!({"pre_deploy": {"service": "dbs"}}), "there is no service `dbs`"),
        (json!({"cron": {"schedule": "61 * * * *"}}), "cron.schedule: `61` is not a minute"),
        (
            json!({"cron": {"schedule": "@daily", "time_zone": "Europe/Bern"}}),
            "time_zone: `Europe/Bern` is not an IANA time zone",
        ),
        (
            json!({"cron": {"schedule": "@daily", "concurrency": "forbit"}}),
            "concurrency: `forbit` is not known here; did you mean `forbid`?",
        ),
        (json!({"cron": {"schedule": "@daily", "missed": "all"}}), "`all` is not known here; use"),
    ] {
        let error = web(json!({"x-fizz": extension})).unwrap_err();
        assert!(error.contains(message), "{extension}: {error}");
    }
}

#[test]
fn two_health_checks_contradict_each_other() {
    let http = json!({"health": {"http": {"port": 80}}});
    let test = json!({"test": ["CMD", "true"]});
    let error = web(json!({"healthcheck": test, "x-fizz": http})).unwrap_err();
    assert!(error.contains("a service has one health check"), "{error}");
    let error = web(json!({"healthcheck": {"disable": true}, "x-fizz": http})).unwrap_err();
    assert!(error.contains("`healthcheck.disable` contradicts"), "{error}");
    let timing = json!({"health": {"tcp": {"port": 80}, "interval": "1s"}});
    let error = web(json!({"healthcheck": {"interval": "2s"}, "x-fizz": timing})).unwrap_err();
    assert!(error.contains("`healthcheck.interval` says this too"), "{error}");
}

#[test]
fn a_jobs_retries_are_restarts_after_failures() {
    let restart = |service| web(service).map(|it| it.deploy.restart);
    let spec = restart(json!({"x-fizz": {"job": {"retries": 3}}})).unwrap();
    assert_eq!((spec.condition, spec.attempts_max), (RestartCondition::OnFailure, Some(3)));
    let job = json!({"job": {"retries": 3}});
    let spec = restart(json!({"restart": "on-failure:3", "x-fizz": job})).unwrap();
    assert_eq!(spec.attempts_max, Some(3));
    for policy in ["no", "on-failure:5"] {
        let error = restart(json!({"restart": policy, "x-fizz": job})).unwrap_err();
        assert!(error.contains("job.retries: contradicts the service's restart"), "{error}");
    }
}

#[test]
fn a_job_that_always_restarts_is_refused() {
    let error = web(json!({"restart": "always", "x-fizz": {"job": {}}})).unwrap_err();
    assert!(error.contains("runs to completion"), "{error}");
}

#[test]
fn what_comes_before_a_service_is_a_job_and_does_not_wait_for_it() {
    let decoded = |first: Value| {
        let web = json!({"image": "web", "x-fizz": {"pre_deploy": {"service": "first"}}});
        let more =
            json!({"image": "more", "depends_on": {"web": {"condition": "service_started"}}});
        let root = json!({"name": "p", "services": {"web": web, "first": first, "more": more}});
        let mut problems = Problems::default();
        let project = decode::project(&to_tree(&root), &mut problems);
        project.filter(|_| !problems.has_errors()).ok_or_else(|| problems.to_string())
    };
    let error = decoded(json!({"image": "first"})).unwrap_err();
    assert!(error.contains("services.web.x-fizz.pre_deploy: `first` is no job"), "{error}");
    let mut job = json!({"image": "first", "x-fizz": {"job": {}}});
    let web = &decoded(job.clone()).unwrap().services[&"web".parse().unwrap()];
    let dependency = web.depends_on[&"first".parse().unwrap()];
    assert_eq!(dependency.condition, Condition::Completed);
    for (way, circle) in [("web", "(first -> web)"), ("more", "(first -> more -> web)")] {
        job["depends_on"] = json!({way: {"condition": "service_started"}});
        let error = decoded(job.clone()).unwrap_err();
        let expected = format!("pre_deploy: `first` waits for this service itself {circle}");
        assert!(error.contains(&expected), "{error}");
    }
}
