//! Services whose containers run to completion.

use serde_json::{Value, json};

use super::world::World;
use crate::{
    model::ContainerState as S,
    node::{Request, RollbackRequest, ServiceVerb},
};

fn job(image: &str) -> Value {
    json!({"image": image, "deploy": {"mode": "replicated-job"}, "restart": "on-failure:2"})
}

#[test]
fn a_job_that_completed_runs_again_only_when_its_definition_changes_or_a_person_restarts_it() {
    let mut world = World::new();
    world.exits("job", 0);
    world.up(json!({"job": job("job:1")}));
    let before = world.runtime_ids();
    world.up(json!({"job": job("job:1"), "web": {"image": "web"}}));
    world.verb(&["job"], ServiceVerb::Start);
    assert!(world.is_ready("job"));
    assert_eq!((world.starts("shop-job-1"), world.made()), (1, 2));
    assert!(world.runtime_ids().is_superset(&before));
    world.verb(&["job"], ServiceVerb::Restart { grace: None, no_deps: false });
    assert_eq!(world.starts("shop-job-1"), 2);
    world.up(json!({"job": job("job:2"), "web": {"image": "web"}}));
    assert_eq!((world.images("job"), world.starts("shop-job-1")), (vec!["job:2".to_owned()], 1));
    assert!(world.is_ready("job"));
}

#[test]
fn what_was_a_job_is_one_again_when_its_deployment_goes_back() {
    let mut world = World::new();
    world.exits("task", 0);
    world.up(json!({"task": job("task:1")}));
    world.goes_on("task");
    world.up(json!({"task": {"image": "task:2"}}));
    assert_eq!(world.images("task"), ["task:2"]);
    world.exits("task", 0);
    let request = RollbackRequest {
        project: "shop".parse().unwrap(),
        service: None,
        version: None,
        content: None,
        if_version: None,
        dry_run: false,
    };
    world.ask(Request::Rollback(Box::new(request))).unwrap();
    assert_eq!((world.images("task"), world.running().len()), (vec!["task:1".to_owned()], 0));
    assert!(world.is_ready("task"));
    let view = world.view();
    let (_, record) = view.state.services().iter().next().unwrap();
    assert_eq!(record.previous, None, "what has run is nothing to go back to");
    assert_eq!(view.state.deployments().iter().next().unwrap().1.version, 3);
}

#[test]
fn a_job_that_runs_stops_before_its_successor_begins() {
    let mut world = World::new();
    world.up(json!({"job": job("job:1")}));
    world.clear_log();
    world.up(json!({"job": job("job:2")}));
    assert_eq!(world.log(), ["stop 1", "remove 1", "start shop-job-1"]);
    assert!(world.at_most_one_ran_per_name());
}

#[test]
fn what_completed_and_was_tidied_away_by_somebody_stays_done() {
    let mut world = World::new();
    world.exits("job", 0);
    world.up(json!({"job": job("job"), "app": {"image": "app", "depends_on": {
        "job": {"condition": "service_completed_successfully", "required": true}}}}));
    world.vanish("shop-job-1");
    world.vanish("shop-app-1");
    world.pass(60_000);
    assert_eq!((world.running(), world.made()), (vec!["shop-app-1".to_owned()], 3));
    assert!(world.is_ready("job"));
    world.restart_daemon();
    assert_eq!((world.state("shop-job-1"), world.made()), (S::Stopped, 3));
    world.down();
    assert!(world.view().state.containers().next().is_none());
}

#[test]
fn a_jobs_retries_are_counted_however_long_each_run_took() {
    let mut world = World::new();
    world.up(json!({"job": job("job")}));
    for run in 1..=3 {
        world.pass(60_000);
        assert_eq!((world.running().len(), world.starts("shop-job-1")), (1, run));
        world.crash("shop-job-1", 1);
    }
    world.pass(60_000);
    assert!(world.running().is_empty());
    assert!(world.stuck("job").contains("ended with status 1"));
    // A person who applies it again wants it tried again.
    world.exits("job", 0);
    world.up_again();
    assert!(world.is_ready("job"));
}

#[test]
fn a_run_that_takes_too_long_is_stopped_and_has_failed() {
    let mut world = World::new();
    let extension = json!({"job": {"retries": 1, "timeout": "5m"}});
    world.up(json!({"job": {"image": "job", "x-fizz": extension}}));
    world.pass(299_000);
    assert_eq!((world.running().len(), world.starts("shop-job-1")), (1, 1));
    world.pass(2_000);
    assert_eq!((world.running().len(), world.starts("shop-job-1")), (1, 2));
    // The second run's time goes on while the daemon is away.
    world.pass(200_000);
    world.restart_daemon();
    world.pass(101_000);
    assert_eq!((world.running().len(), world.state("shop-job-1")), (0, S::Failed));
    assert!(world.stuck("job").contains("timed out after 5m"), "{}", world.stuck("job"));
}

#[test]
fn a_run_that_is_overdue_while_the_runtime_is_away_is_stopped_once_it_is_back() {
    let mut world = World::new();
    world.up(json!({"job": {"image": "job", "x-fizz": {"job": {"timeout": "1m"}}}}));
    world.lose_runtime();
    world.pass(120_000);
    assert_eq!(world.running().len(), 1);
    world.find_runtime();
    assert!(world.running().is_empty());
    assert!(world.stuck("job").contains("timed out after 1m"));
}

#[test]
fn a_job_that_stopped_politely_when_asked_to_has_not_completed() {
    let mut world = World::new();
    world.up(json!({"job": job("job")}));
    world.stops_with("job", 0);
    world.verb(&["job"], ServiceVerb::Stop(None));
    assert!(world.running().is_empty());
    world.verb(&["job"], ServiceVerb::Start);
    assert_eq!((world.running().len(), world.starts("shop-job-1")), (1, 2));
}

#[test]
fn so_many_runs_of_a_job_go_on_at_a_time_as_its_update_settings_say() {
    let mut world = World::new();
    let mode = |update: Value| {
        json!({"image": "job", "deploy": {
            "mode": "replicated-job", "replicas": 3, "update_config": update}})
    };
    world.up(json!({"job": mode(json!({"parallelism": 2}))}));
    assert_eq!(world.running(), ["shop-job-1", "shop-job-2"]);
    world.crash("shop-job-1", 0);
    assert_eq!(world.running(), ["shop-job-2", "shop-job-3"]);
    world.crash("shop-job-2", 1);
    world.crash("shop-job-3", 0);
    assert!(world.stuck("job").contains("shop-job-2"));
    let mut world = World::new();
    world.up(json!({"job": mode(json!({}))}));
    assert_eq!(world.running().len(), 3);
}

#[test]
fn a_job_on_each_node_is_done_once_here() {
    let mut world = World::new();
    world.exits("job", 0);
    let services = json!({"job": {"image": "job", "deploy": {"mode": "global-job"}}});
    world.up(services.clone());
    world.up(services);
    assert_eq!((world.is_ready("job"), world.starts("shop-job-1")), (true, 1));
}

#[test]
fn a_container_whose_hook_fails_after_its_start_is_stopped_and_has_failed() {
    let mut world = World::new();
    world.fails_hooks("web", true);
    let web = json!({"image": "web", "post_start": [{"command": ["warm", "up"]}]});
    world.up(json!({"web": web}));
    assert_eq!((world.running().len(), world.state("shop-web-1")), (0, S::Failed));
    assert!(world.stuck("web").contains("post_start hook `warm up` failed"));
    let mut again = web;
    again["restart"] = json!("on-failure");
    world.up(json!({"web": again}));
    world.fails_hooks("web", false);
    world.pass(60_000);
    assert_eq!((world.running(), world.is_ready("web")), (vec!["shop-web-1".to_owned()], true));
}

#[test]
fn hooks_before_a_stop_run_whatever_the_stop_is_for() {
    let mut world = World::new();
    let web = |image: &str| json!({"web": {"image": image, "pre_stop": [{"command": ["drain"]}]}});
    world.up(web("web:1"));
    world.clear_log();
    world.up(web("web:2"));
    world.verb(&["web"], ServiceVerb::Stop(None));
    let hooks = world.log().into_iter().filter(|it| it == "hook drain").count();
    assert_eq!(hooks, 2);
}

#[test]
fn a_job_before_a_service_runs_for_each_of_its_versions_before_that_starts() {
    let mut world = World::new();
    world.exits("migrate", 0);
    let shop = |version: u32| {
        json!({
            "migrate": {"image": "migrate", "x-fizz": {"job": {}}},
            "app": {"image": format!("app:{version}"),
                "x-fizz": {"pre_deploy": {"service": "migrate"}}},
        })
    };
    world.up(shop(1));
    world.up(shop(1));
    assert_eq!((world.running(), world.made()), (vec!["shop-app-1".to_owned()], 2));
    world.clear_log();
    world.exits("migrate", 1);
    world.up(shop(2));
    assert_eq!(world.images("app"), ["app:1", "app:2"]);
    assert_eq!(world.running(), ["shop-app-1"]);
    assert!(world.stuck("app").contains("waits for migrate to complete"));
    world.exits("migrate", 0);
    world.up_again();
    assert_eq!(
        (world.running(), world.images("app")),
        (vec!["shop-app-1".into()], vec!["app:2".into()])
    );
}
