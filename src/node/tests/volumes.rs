//! Stories of volumes that the node tells others of.

use std::collections::BTreeSet;

use serde_json::json;

use super::{Event, Request, world::World};
use crate::node::Holdings;

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|it| (*it).to_owned()).collect()
}

fn told(world: &World) -> BTreeSet<String> {
    let view = world.view();
    view.state.nodes().get(&view.me).unwrap().volumes.clone()
}

fn look(world: &mut World, ours: &[&str], others: &[&str]) {
    world.hear(Event::Volumes(Holdings { ours: names(ours), others: names(others) }));
}

#[test]
fn all_hear_of_the_volumes_that_deployments_made_and_of_others_only_what_a_project_asks_for() {
    let mut world = World::new();
    look(&mut world, &["shop_data"], &["old", "private"]);
    assert_eq!(told(&world), names(&["shop_data"]));
    let external = json!({"data": {"name": "old", "external": true}});
    let web = json!({"web": {"image": "web"}});
    world.deploy(web.clone(), |it| it.model["volumes"] = external).unwrap();
    assert_eq!(told(&world), names(&["old", "shop_data"]));
    world.down();
    assert_eq!(told(&world), names(&["shop_data"]));
}

#[test]
fn a_volume_that_is_removed_is_told_of_no_more() {
    let mut world = World::new();
    look(&mut world, &["shop_data", "shop_cache"], &[]);
    world.ask(Request::Dropped("shop_cache".to_owned())).unwrap();
    assert_eq!(told(&world), names(&["shop_data"]));
    look(&mut world, &[], &[]);
    assert_eq!(told(&world), names(&[]));
}

#[test]
fn a_daemon_that_starts_anew_forgets_no_volume_before_it_has_looked() {
    let mut world = World::new();
    look(&mut world, &["shop_data"], &[]);
    world.restart_daemon();
    assert_eq!(told(&world), names(&["shop_data"]));
    look(&mut world, &[], &[]);
    assert_eq!(told(&world), names(&[]));
}

#[test]
fn the_last_container_of_a_project_counts_until_its_volumes_are_gone_too() {
    let mut world = World::new();
    world.up(json!({"web": {"image": "web", "deploy": {"replicas": 2}}}));
    world.keep_volumes(true);
    world.down();
    assert_eq!(world.running().len(), 0);
    assert_eq!(world.view().state.containers().count(), 1, "others would think that all is done");
    world.keep_volumes(false);
    world.pass(2_000);
    let view = world.view();
    assert_eq!((view.state.containers().count(), view.state.deployments().iter().count()), (0, 0));
}
