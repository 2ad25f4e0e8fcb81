//! Stories of health.

use serde_json::{Value, json};

use super::world::World;
use crate::model::ContainerState as S;

fn web(retries: u32) -> Value {
    let check = json!({"test": ["CMD", "ok"], "interval": "1s", "retries": retries});
    json!({"web": {"image": "web", "healthcheck": check}})
}

#[test]
fn a_check_that_comes_changes_or_goes_is_followed_without_a_restart() {
    let mut world = World::new();
    world.up(json!({"web": {"image": "web"}}));
    world.health("web", false);
    world.up(web(99));
    world.pass(5_000);
    assert!(!world.is_ready("web"));
    world.health("web", true);
    world.pass(2_000);
    assert!(world.is_ready("web"));
    assert_eq!(world.state("shop-web-1"), S::Healthy);
    world.health("web", false);
    world.pass(10_000);
    assert_eq!(world.state("shop-web-1"), S::Healthy);
    world.up(web(3));
    world.pass(3_000);
    assert_eq!(world.state("shop-web-1"), S::Unhealthy);
    world.up(json!({"web": {"image": "web"}}));
    world.pass(120_000);
    assert!(world.is_ready("web"));
    assert_eq!((world.made(), world.starts("shop-web-1")), (1, 1));
}

#[test]
fn the_start_period_outlives_the_daemon() {
    let mut world = World::new();
    world.health("web", false);
    let check =
        json!({"test": ["CMD", "ok"], "interval": "1s", "retries": 5, "start_period": "60s"});
    world.up(json!({"web": {"image": "web", "healthcheck": check}}));
    world.pass(5_000);
    world.restart_daemon();
    world.pass(50_000);
    assert_eq!((world.state("shop-web-1"), world.made()), (S::Running, 1));
    world.pass(12_000);
    assert_eq!(world.state("shop-web-1"), S::Unhealthy);
}

#[test]
fn a_paused_container_is_not_checked() {
    let mut world = World::new();
    world.up(web(2));
    world.pass(2_000);
    world.pause("shop-web-1", true);
    world.health("web", false);
    world.pass(60_000);
    assert_eq!((world.state("shop-web-1"), world.made()), (S::Healthy, 1));
    world.pause("shop-web-1", false);
    world.pass(2_000);
    assert_eq!(world.state("shop-web-1"), S::Unhealthy);
}

#[test]
fn a_container_of_run_is_never_given_up() {
    let mut world = World::new();
    world.health("web", false);
    let mut web = web(2);
    web["web"]["scale"] = json!(0);
    world.up(web);
    let id = world.run("web", false);
    world.pass(60_000);
    assert_eq!(world.view().state.container(id).unwrap().state, S::Unhealthy);
    assert_eq!(world.running().len(), 1);
}

#[test]
fn a_container_that_is_told_to_stop_is_not_checked() {
    let mut world = World::new();
    world.up(web(1));
    world.pass(2_000);
    world.hang_stops();
    world.health("web", false);
    world.down();
    world.pass(30_000);
    assert_eq!(world.state("shop-web-1"), S::Healthy);
}

#[test]
fn a_change_that_goes_on_whatever_fails_is_proven_once_all_is_well() {
    let mut world = World::new();
    let web = |image: &str| {
        let update = json!({"failure_action": "continue", "monitor": "2s"});
        json!({"web": {"image": image, "restart": "always", "deploy": {"update_config": update}}})
    };
    world.up(web("web:1"));
    world.pass(5_000);
    world.up(web("web:2"));
    world.crash("shop-web-1", 1);
    world.pass(20_000);
    let view = world.view();
    let (_, record) = view.state.services().iter().next().unwrap();
    assert_eq!(world.images("web"), ["web:2"]);
    assert_eq!(record.rollout.stage, crate::state::Stage::Done);
}
