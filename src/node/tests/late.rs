//! Stories of what is told late, or is older than what is known.

use serde_json::json;

use super::world::World;
use crate::model::ContainerState as S;

#[test]
fn an_end_that_is_told_late_is_not_the_end_of_the_new_run() {
    let mut world = World::new();
    world.up(json!({"web": {"image": "web"}}));
    world.crash("shop-web-1", 1);
    let ended = world.sight_of("shop-web-1");
    world.pass(1_000);
    world.up_again();
    world.hear(ended);
    assert_eq!((world.state("shop-web-1"), world.starts("shop-web-1")), (S::Running, 2));
}

#[test]
fn an_end_is_an_end_even_when_the_clock_was_set_back() {
    let mut world = World::new();
    world.up(json!({"web": {"image": "web"}}));
    world.set_back(100_000);
    world.crash("shop-web-1", 1);
    assert_eq!(world.state("shop-web-1"), S::Failed);
}

#[test]
fn a_list_that_is_older_than_a_container_takes_nothing_away() {
    let mut world = World::new();
    let before = world.list();
    world.up(json!({"web": {"image": "web"}}));
    world.hear(before);
    assert_eq!((world.made(), world.running().len()), (1, 1));
}

#[test]
fn what_was_removed_is_not_taken_in_again_when_it_is_told_of_late() {
    let mut world = World::new();
    world.up(json!({"web": {"image": "web"}}));
    let (sight, list) = (world.sight_of("shop-web-1"), world.list());
    world.down();
    world.up_again();
    let now = world.runtime_ids();
    world.hear(sight);
    world.hear(list);
    assert_eq!(world.runtime_ids(), now);
    assert_eq!(world.view().state.containers().count(), 1);
}

#[test]
fn what_vanished_while_the_daemon_was_away_is_made_anew() {
    let mut world = World::new();
    world.up(json!({"web": {"image": "web"}, "db": {"image": "db"}}));
    world.lose_runtime();
    world.vanish_some(0);
    world.find_runtime();
    assert_eq!((world.made(), world.running().len()), (3, 2));
}
