//! What is somewhere stays there, as long as it may.

use std::collections::BTreeMap;

use serde_json::json;

use super::world::{World, key, node};
use crate::{
    model::{ContainerId, NodeId, Slot, WallTime},
    scheduler::{Demand, Holder, Standing, Tenant, Unit, Why, place, turns},
};

/// Two hundred replicas of fifty services, running on ten nodes.
fn busy() -> World {
    let service = json!({"deploy": {"replicas": 4}});
    let services = (0..50).map(|it| (format!("s{it}"), service.clone())).collect();
    let mut world = World::of(10).with(&serde_json::Value::Object(services));
    assert_eq!(world.settle(), 0);
    world
}

#[test]
fn a_dead_nodes_slots_move_and_no_others() {
    let mut world = busy();
    let before = world.posts();
    let lost = world.load(3);
    world.node(3).standing = Standing::Dead;
    assert_eq!(world.settle(), 0);
    let moved = before.iter().filter(|(it, node)| world.posts()[*it] != **node);
    assert!(moved.clone().all(|(_, node)| node.0 == 3));
    assert_eq!(moved.count(), lost);
    // It comes back, empty, and nothing goes back by itself.
    world.node(3).standing = Standing::Open;
    world.settle();
    assert_eq!(world.load(3), 0);
}

#[test]
fn a_node_that_joins_moves_nothing() {
    let mut world = busy();
    let before = world.posts();
    world.nodes.insert(NodeId(11), node(11));
    world.settle();
    assert_eq!(world.posts(), before);
}

#[test]
fn more_replicas_leave_the_others_where_they_are() {
    let mut world = busy();
    let before = world.posts();
    for standing in [Standing::Cordoned, Standing::Unreachable] {
        world.node(4).standing = standing;
        world.deploy(&json!({"s7": {"deploy": {"replicas": 12}}}), &json!({}));
        world.settle();
        let after = world.posts();
        assert!(before.iter().all(|(slot, node)| after[slot] == *node), "{standing}");
        assert_eq!(after.len(), before.len() + 8);
    }
    world.deploy(&json!({"s7": {"deploy": {"replicas": 4}}}), &json!({}));
    world.settle();
    assert_eq!(world.posts(), before);
}

#[test]
fn a_draining_node_is_emptied_if_there_is_another() {
    let mut world = busy();
    world.node(3).standing = Standing::Draining;
    assert_eq!(world.settle(), 0);
    assert_eq!(world.load(3), 0);
    for node in world.nodes.values_mut() {
        node.standing = Standing::Draining;
    }
    let before = world.posts();
    assert!(world.place("s1").posts.iter().all(|it| it.why == Why::Stranded));
    assert_eq!(world.settle(), 0);
    assert_eq!(world.posts(), before);
    for node in world.nodes.values_mut() {
        node.standing = Standing::Dead;
    }
    assert_eq!(world.settle(), 200);
}

#[test]
fn what_does_not_fit_changed_rules_moves() {
    let mut world = World::of(3).with(&json!({"web": {"deploy": {"replicas": 3}}}));
    world.settle();
    let placement = json!({"constraints": ["node.hostname != n2"]});
    world.deploy(&json!({"web": {"deploy": {"replicas": 3, "placement": placement}}}), &json!({}));
    let before = world.posts();
    world.settle();
    let moved: Vec<_> = before.values().filter(|it| it.0 == 2).collect();
    assert_eq!(moved.len(), 1);
    assert_eq!(world.load(2), 0);
    let placement = json!({"max_replicas_per_node": 1});
    world.deploy(&json!({"web": {"deploy": {"replicas": 3, "placement": placement}}}), &json!({}));
    assert_eq!(world.settle(), 0);
    assert_eq!([1, 2, 3].map(|it| world.load(it)), [1, 1, 1]);
}

fn holder(slot: u32, node: u128, rank: u8, created: u64, id: u128) -> Holder {
    let (node, id) = (NodeId(node), ContainerId(id));
    Holder { slot: Slot(slot), node, rank, created: WallTime(created), id }
}

#[test]
fn of_two_in_one_slot_the_better_stays_then_the_newer_then_the_lower() {
    for (holders, stays) in [
        ([holder(1, 1, 1, 5, 5), holder(1, 2, 2, 9, 9)], 2),
        ([holder(1, 1, 2, 4, 5), holder(1, 2, 2, 5, 9)], 2),
        ([holder(1, 1, 2, 5, 5), holder(1, 2, 2, 5, 4)], 2),
        // The better one is on a node that keeps nothing.
        ([holder(1, 3, 2, 1, 1), holder(1, 2, 0, 9, 9)], 2),
    ] {
        let mut world = World::of(3).with(&json!({"web": {}}));
        world.node(3).standing = Standing::Dead;
        world.service("web").holders = holders.to_vec();
        assert_eq!(world.nodes_of("web"), [stays]);
        world.service("web").holders.reverse();
        assert_eq!(world.nodes_of("web"), [stays]);
    }
}

#[test]
fn of_two_with_one_host_port_the_older_stays() {
    let ports = json!([{"target": 80, "published": "80", "protocol": "tcp"}]);
    let mut world = World::of(2).with(&json!({"a": {"ports": ports}, "b": {"ports": ports}}));
    for (name, created) in [("a", 9), ("b", 7)] {
        let service = key(name);
        let charge = world.services[&service].rules.charge().clone();
        world.service(name).holders = vec![holder(1, 1, 2, created, created.into())];
        let created = WallTime(created);
        let tenant = Tenant { service: &service, slot: Slot(1), created, charge: &charge };
        world.usage.add(NodeId(1), tenant);
    }
    assert_eq!((world.nodes_of("a"), world.nodes_of("b")), (vec![2], vec![1]));
}

#[test]
fn what_runs_on_a_node_that_shrank_stays_and_what_has_not_started_leaves() {
    let resources = json!({"reservations": {"memory": "1g"}});
    let services = json!({"web": {"deploy": {"replicas": 4, "resources": resources}}});
    let mut world = World::of(2).with(&services);
    world.settle();
    world.node(1).memory_bytes = 1 << 29;
    let before = world.posts();
    world.settle();
    assert_eq!(world.posts(), before);
    for holder in &mut world.service("web").holders {
        holder.rank = 0;
    }
    assert_eq!(world.nodes_of("web"), [2, 2, 2, 2]);
    // It runs, and now asks for more.
    let resources = json!({"reservations": {"memory": "3g"}});
    world.service("web").holders.iter_mut().for_each(|it| it.rank = 2);
    world.deploy(&json!({"web": {"deploy": {"replicas": 4, "resources": resources}}}), &json!({}));
    assert_eq!(world.nodes_of("web"), [2, 2]);
}

#[test]
fn a_wish_is_fulfilled_where_it_can_be() {
    let mut world = World::of(3).with(&json!({"web": {"deploy": {"replicas": 3}}}));
    world.settle();
    let before = world.nodes_of("web");
    let other = if before[0] == 1 { 2 } else { 1 };
    world.service("web").wishes = [(Slot(1), NodeId(other))].into();
    let placement = world.place("web");
    assert_eq!((placement.posts[0].node.0, placement.posts[0].why), (other, Why::Wished));
    assert_eq!(world.nodes_of("web")[1..], before[1..]);
    world.node(other).standing = Standing::Cordoned;
    assert_eq!(world.nodes_of("web"), before);
    world.service("web").wishes = [(Slot(1), NodeId(99)), (Slot(9), NodeId(1))].into();
    assert_eq!(world.nodes_of("web"), before);
}

#[test]
fn nothing_started_goes_to_its_volume_and_what_runs_stays() {
    let mut world = World::of(2);
    let mount = json!([{"type": "volume", "source": "data", "target": "/data"}]);
    let volumes = json!({"data": {"name": "shop_data"}});
    world.deploy(&json!({"db": {"volumes": mount}}), &volumes);
    world.node(1).volumes = ["shop_data".to_owned()].into();
    world.service("db").holders = vec![holder(1, 2, 0, 1, 1)];
    assert_eq!(world.nodes_of("db"), [1]);
    world.service("db").holders[0].rank = 1;
    assert_eq!(world.nodes_of("db"), [2]);
}

#[test]
fn services_that_share_a_node_are_all_on_one_and_move_as_one() {
    let services = json!({
        "web": {"deploy": {"replicas": 3}}, "db": {}, "log": {"deploy": {"mode": "global"}},
    });
    let mut world = World::of(5).with(&services);
    assert_eq!(world.settle_as(true), 0);
    let home = *world.posts().values().next().unwrap();
    assert_eq!(world.load(home.0), 5);
    world.nodes.insert(NodeId(6), node(6));
    world.node(home.0).standing = Standing::Unreachable;
    world.settle_as(true);
    assert_eq!(world.load(home.0), 5);
    world.node(home.0).standing = Standing::Draining;
    assert_eq!(world.settle_as(true), 0);
    assert_eq!(world.load(home.0), 0);
    let home = *world.posts().values().next().unwrap();
    assert_eq!(world.load(home.0), 5);
    // A wish for one is a wish for all.
    let other = world.nodes.keys().find(|it| **it != home && it.0 == 6).copied();
    let other = other.unwrap_or(NodeId(2));
    world.service("db").wishes = [(Slot(1), other)].into();
    world.settle_as(true);
    assert_eq!(world.load(other.0), 5);
    // What cannot be with the others keeps all from a node.
    let placement = json!({"constraints": ["node.hostname == n4"]});
    world.deploy(&json!({"db": {"deploy": {"placement": placement}}}), &json!({}));
    world.node(4).standing = Standing::Open;
    world.service("db").wishes = BTreeMap::new();
    assert_eq!(world.settle_as(true), 0);
    assert_eq!(world.load(4), 5);
}

#[test]
fn of_services_that_share_a_node_as_many_run_as_there_is_room_for() {
    let resources = json!({"reservations": {"memory": "1g"}});
    let services = json!({"web": {"deploy": {"replicas": 5, "resources": resources}}, "db": {}});
    let mut world = World::of(3).with(&services);
    for (id, memory) in [(1, 2), (2, 3), (3, 1)] {
        world.node(id).memory_bytes = memory << 30;
    }
    let units = world.units(true);
    let placement = place(&units[0], &world.sites(), &world.usage);
    assert_eq!((placement.posts.len(), placement.pending.len()), (4, 2));
    assert!(placement.posts.iter().all(|it| it.node.0 == 2));
    let why = placement.pending[0].why[0].1.to_string();
    assert_eq!(why, "1 GiB of memory asked, 0 bytes free of 3 GiB");
    world.settle_as(true);
    // A node with more room is no reason to move what runs.
    world.nodes.insert(NodeId(4), node(4));
    assert_eq!(world.settle_as(true), 2);
}

#[test]
fn what_others_depend_on_for_their_place_goes_first() {
    let at = |what: &str, whom: &[&str]| json!({"x-fizz": {"placement": {what: whom}}});
    let services = json!({
        "a": at("affinity", &["c"]), "b": at("anti_affinity", &["a", "d"]), "c": {},
        "d": at("anti_affinity", &["b"]),
    });
    let world = World::of(1).with(&services);
    let names = turns(world.services.iter().map(|(key, it)| (key, &it.rules)));
    assert_eq!(names.iter().map(|it| it.service.as_str()).collect::<String>(), "cadb");
    let unit = Unit { demands: vec![], together: true };
    assert!(place(&unit, &world.sites(), &world.usage).posts.is_empty());
}

#[test]
fn slots_that_want_no_place_get_none_and_take_nothing() {
    let reserves = json!({"deploy": {"replicas": 3, "mode": "replicated-job",
        "resources": {"reservations": {"cpus": "3"}}}});
    let world = World::of(1).with(&json!({"job": reserves}));
    let name = key("job");
    let place_only = |only: &[u32]| {
        let only: Vec<Slot> = only.iter().copied().map(Slot).collect();
        let demand = Demand { only: Some(&only), ..world.demand(&name) };
        let unit = Unit { demands: vec![demand], together: false };
        let placement = place(&unit, &world.sites(), &world.usage);
        let posts: Vec<u32> = placement.posts.iter().map(|it| it.slot.0).collect();
        (posts, placement.pending.len())
    };
    assert_eq!(place_only(&[1, 2, 3]), (vec![1], 2));
    assert_eq!(place_only(&[3]), (vec![3], 0));
    // Runs by the clock have their ticks' numbers.
    assert_eq!(place_only(&[29_500_000]), (vec![29_500_000], 0));
    assert_eq!(place_only(&[]), (vec![], 0));
}
