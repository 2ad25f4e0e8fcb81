//! Stories of services that wait for one another.

use serde_json::{Value, json};

use super::world::World;
use crate::node::ServiceVerb;

fn on(name: &str, condition: &str) -> Value {
    json!({name: {"condition": condition, "required": true}})
}

fn place(log: &[String], entry: &str) -> usize {
    log.iter().position(|it| it == entry).unwrap_or_else(|| panic!("no {entry} in {log:?}"))
}

#[test]
fn a_dependent_of_a_service_that_is_replaced_waits_for_the_new_one_and_runs_on_until_then() {
    let mut world = World::new();
    let check = json!({"test": ["CMD", "ok"], "interval": "1s", "retries": 99});
    let both = |version: u32| {
        json!({
            "db": {"image": format!("db:{version}"), "healthcheck": check},
            "app": {"image": format!("app:{version}"), "depends_on": on("db", "service_healthy")},
        })
    };
    world.up(both(1));
    world.pass(2_000);
    world.health("db", false);
    world.up(both(2));
    world.pass(5_000);
    assert_eq!(world.images("app"), ["app:1", "app:2"]);
    assert_eq!(world.running(), ["shop-app-1", "shop-db-1"]);
    world.health("db", true);
    world.pass(2_000);
    assert_eq!((world.images("app"), world.running().len()), (vec!["app:2".to_owned()], 2));
}

#[test]
fn a_job_that_runs_again_is_waited_for_again() {
    let mut world = World::new();
    world.exits("migrate", 0);
    let both = |version: u32| {
        json!({
            "migrate": {"image": "migrate"},
            "app": {
                "image": format!("app:{version}"),
                "depends_on": on("migrate", "service_completed_successfully"),
            },
        })
    };
    world.up(both(1));
    world.clear_log();
    world.up(both(2));
    let log = world.log();
    assert!(place(&log, "start shop-migrate-1") < place(&log, "start shop-app-1"), "{log:?}");
    world.clear_log();
    world.exits("migrate", 1);
    world.up(both(3));
    assert_eq!(world.running(), ["shop-app-1"], "the old one runs on");
    assert_eq!(world.stuck("app"), "waits for migrate to complete, but it ended with status 1");
}

#[test]
fn who_restarts_with_a_replaced_service_restarts_once_the_new_one_runs() {
    let mut world = World::new();
    let with = json!({"db": {"condition": "service_started", "restart": true, "required": true}});
    let both = |version: u32| json!({"db": {"image": format!("db:{version}")}, "app": {"image": "app", "depends_on": with}});
    world.up(both(1));
    world.clear_log();
    world.up(both(2));
    let log = world.log();
    assert!(place(&log, "start shop-db-1") < place(&log, "start shop-app-1"), "{log:?}");
    assert_eq!(world.starts("shop-app-1"), 2);
}

#[test]
fn a_restart_asked_for_while_waiting_is_the_first_start() {
    let mut world = World::new();
    let check = json!({"test": ["CMD", "ok"], "interval": "1s", "retries": 99});
    world.health("db", false);
    world.up(json!({
        "db": {"image": "db", "healthcheck": check},
        "app": {"image": "app", "depends_on": on("db", "service_healthy")},
    }));
    world.verb(&["app"], ServiceVerb::Restart { grace: None, no_deps: true });
    world.health("db", true);
    world.pass(5_000);
    assert_eq!(world.starts("shop-app-1"), 1);
}

#[test]
fn who_shares_a_namespace_is_made_after_the_one_that_has_it() {
    let mut world = World::new();
    world.up(json!({
        "app": {"image": "app", "network_mode": "service:vpn", "depends_on": on("vpn", "service_started")},
        "vpn": {"image": "vpn"},
    }));
    // Otherwise it would be made ahead of its start, while it waits.
    assert_eq!(world.log(), ["start shop-vpn-1", "start shop-app-1"]);
}

#[test]
fn who_shares_a_namespace_is_made_anew_when_its_owner_is_replaced_or_begins_anew() {
    let mut world = World::new();
    let both = |version: u32| {
        json!({
            "app": {"image": "app", "network_mode": "service:vpn"},
            "vpn": {"image": format!("vpn:{version}"), "restart": "always"},
        })
    };
    world.up(both(1));
    world.clear_log();
    world.up(both(2));
    let log = world.log();
    assert!(place(&log, "start shop-vpn-1") < place(&log, "start shop-app-1"), "{log:?}");
    assert_eq!(world.running(), ["shop-app-1", "shop-vpn-1"]);
    let before = world.runtime_ids();
    world.pass(60_000);
    assert_eq!(world.runtime_ids(), before, "once is enough");
    world.crash("shop-vpn-1", 1);
    world.pass(5_000);
    assert_eq!(world.running(), ["shop-app-1", "shop-vpn-1"]);
    assert_eq!((world.starts("shop-vpn-1"), world.starts("shop-app-1")), (2, 2));
    assert_eq!(world.runtime_ids(), before, "what can start again need not be new");
}

#[test]
fn services_that_came_to_need_each_other_can_be_taken_down() {
    let mut world = World::new();
    world.up(
        json!({"a": {"image": "a", "depends_on": on("b", "service_started")}, "b": {"image": "b"}}),
    );
    let turned =
        json!({"a": {"image": "a"}, "b": {"image": "b", "depends_on": on("a", "service_started")}});
    world
        .deploy(turned, |it| (it.services, it.no_deps) = (vec!["b".parse().unwrap()], true))
        .unwrap();
    assert_eq!(world.running().len(), 2);
    world.down();
    assert!(world.runtime_ids().is_empty());
}

#[test]
fn a_service_scaled_to_none_keeps_nobody_waiting() {
    let mut world = World::new();
    world.up(json!({
        "db": {"image": "db", "scale": 0},
        "app": {"image": "app", "depends_on": on("db", "service_healthy")},
    }));
    assert!(world.is_ready("db") && world.is_ready("app"));
    assert_eq!(world.running(), ["shop-app-1"]);
}

#[test]
fn a_job_retries_by_its_policy_and_is_ready_when_it_completed() {
    let mut world = World::new();
    world.exits("job", 1);
    let job =
        json!({"image": "job", "deploy": {"mode": "replicated-job"}, "restart": "on-failure:3"});
    world.up(json!({"job": job, "app": {
        "image": "app", "depends_on": on("job", "service_completed_successfully")}}));
    assert!(world.running().is_empty() && world.stuck("app").is_empty());
    world.exits("job", 0);
    world.pass(10_000);
    assert!(world.is_ready("job"));
    assert_eq!((world.running(), world.starts("shop-job-1")), (vec!["shop-app-1".to_owned()], 2));
}
