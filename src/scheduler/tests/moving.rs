//! What `fizz rebalance` moves, and what it lets be.

use serde_json::json;

use super::world::{World, node};
use crate::{
    model::NodeId,
    scheduler::{Move, Standing, Unit, Why, place, rebalance},
};

fn moves(world: &World, together: bool) -> Vec<Move> {
    rebalance(&world.units(together), &world.sites(), &world.usage)
}

/// Carries moves out.
fn carry_out(world: &mut World, moves: &[Move]) {
    for it in moves {
        world.services.get_mut(&it.service).unwrap().wishes.insert(it.slot, it.to);
    }
    assert_eq!(world.settle(), 0);
    for it in moves {
        assert_eq!(world.posts()[&(it.service.service.clone(), it.slot)], it.to);
        world.services.get_mut(&it.service).unwrap().wishes.clear();
    }
}

#[test]
fn a_newcomer_gets_its_share_and_no_more() {
    let service = json!({"deploy": {"replicas": 4}});
    let services = (0..50).map(|it| (format!("s{it}"), service.clone())).collect();
    let mut world = World::of(9).with(&serde_json::Value::Object(services));
    world.settle();
    assert_eq!(moves(&world, false), []);
    world.nodes.insert(NodeId(10), node(10));
    let found = moves(&world, false);
    assert_eq!(found.len(), 20);
    assert!(found.iter().all(|it| it.to.0 == 10));
    carry_out(&mut world, &found);
    assert_eq!(moves(&world, false), []);
}

#[test]
fn a_few_replicas_are_evened_out_too() {
    let mut world = World::of(2).with(&json!({"web": {"deploy": {"replicas": 6}}}));
    world.node(2).standing = Standing::Dead;
    world.settle();
    world.node(2).standing = Standing::Open;
    let found = moves(&world, false);
    assert_eq!(found.len(), 3);
    carry_out(&mut world, &found);
    assert_eq!((world.load(1), world.load(2)), (3, 3));
    world.nodes.insert(NodeId(3), node(3));
    assert_eq!(moves(&world, false).len(), 2);
    world.node(3).standing = Standing::Cordoned;
    assert_eq!(moves(&world, false), []);
}

#[test]
fn a_new_zone_gets_its_share() {
    let mut world = World::of(4);
    for (id, zone) in [(1, "a"), (2, "a"), (3, "b"), (4, "b")] {
        world.node(id).labels = [("zone".to_owned(), zone.to_owned())].into();
    }
    world.node(3).standing = Standing::Dead;
    world.node(4).standing = Standing::Dead;
    let spread = json!({"preferences": [{"spread": "node.labels.zone"}]});
    let deploy = json!({"replicas": 8, "placement": spread});
    world.deploy(&json!({"web": {"deploy": deploy}}), &json!({}));
    world.settle();
    world.node(3).standing = Standing::Open;
    world.node(4).standing = Standing::Open;
    let found = moves(&world, false);
    assert_eq!(found.len(), 4);
    carry_out(&mut world, &found);
    assert_eq!([1, 2, 3, 4].map(|it| world.load(it)), [2; 4]);
}

#[test]
fn nothing_moves_that_is_tied_or_has_no_room_there() {
    let resources = json!({"reservations": {"memory": "1g"}});
    let web = json!({"deploy": {"replicas": 6, "resources": resources}});
    let mut world = World::of(1).with(&json!({"web": web}));
    world.settle();
    world.nodes.insert(NodeId(2), node(2));
    world.node(2).memory_bytes = 1 << 30;
    assert_eq!(moves(&world, false).len(), 1);
    // What another is near to stays with it.
    let near = json!({"placement": {"affinity": ["web"]}});
    world.deploy(&json!({"web": web, "near": {"x-fizz": near}}), &json!({}));
    world.settle();
    assert!(moves(&world, false).iter().all(|it| it.service.service.as_str() != "web"));
}

#[test]
fn services_that_share_a_node_move_as_one_or_not_at_all() {
    let mut world = World::of(1).with(&json!({"web": {"deploy": {"replicas": 2}}, "db": {}}));
    world.settle_as(true);
    world.nodes.insert(NodeId(2), node(2));
    // Half of three is no share for three.
    assert_eq!(moves(&world, true), []);
    let mut other = World::of(1).with(&json!({"api": {}, "job": {"deploy": {"replicas": 2}}}));
    other.settle_as(true);
    let usage = {
        let mut both = world.clone();
        both.services.extend(other.services.clone());
        both
    };
    let units: Vec<Unit<'_>> = world.units(true).into_iter().chain(other.units(true)).collect();
    let found = rebalance(&units, &world.sites(), &usage.usage);
    assert_eq!(found.len(), 3);
    assert!(found.iter().all(|it| it.service.project == found[0].service.project && it.to.0 == 2));
    let names: Vec<&str> = found.iter().map(|it| it.service.service.as_str()).collect();
    assert!(names == ["api", "job", "job"] || names == ["db", "web", "web"], "{names:?}");
    assert!(
        place(&units[0], &world.sites(), &usage.usage).posts.iter().all(|it| it.why == Why::Kept)
    );
}
