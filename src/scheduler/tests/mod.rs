//! Where things run, as stories.

mod keeping;
mod moving;
mod properties;
mod rules;
mod world;

use serde_json::json;

use super::Why;
use world::World;

fn sorted_counts(nodes: &[u128]) -> Vec<usize> {
    let mut counts: Vec<usize> =
        (1..=9).map(|node| nodes.iter().filter(|it| **it == node).count()).collect();
    counts.retain(|it| *it != 0);
    counts.sort_unstable();
    counts
}

#[test]
fn equal_nodes_get_equal_shares() {
    for (slots, counts) in
        [(3, vec![1, 1, 1]), (4, vec![1, 1, 2]), (6, vec![2, 2, 2]), (2, vec![1, 1])]
    {
        for name in ["a", "b", "c", "d", "e", "f", "g", "h"] {
            let world = World::of(3).with(&json!({name: {"deploy": {"replicas": slots}}}));
            assert_eq!(sorted_counts(&world.nodes_of(name)), counts, "{name}");
        }
    }
}

#[test]
fn a_bigger_node_gets_more() {
    let mut world = World::of(3);
    world.node(2).cpus_milli = 8000;
    world.deploy(&json!({"web": {"deploy": {"replicas": 400}}}), &json!({}));
    let count = |nodes: &[u128], node| nodes.iter().filter(|it| **it == node).count();
    let nodes = world.nodes_of("web");
    assert_eq!([1, 2, 3].map(|it| count(&nodes, it)), [100, 200, 100]);
    let names: Vec<String> = (0..2000).map(|it| format!("s{it}")).collect();
    let services = names.iter().map(|it| (it.clone(), json!({}))).collect();
    world.services.clear();
    world.deploy(&serde_json::Value::Object(services), &json!({}));
    world.settle();
    assert!((950..=1050).contains(&world.load(2)), "{}", world.load(2));
    assert!((450..=550).contains(&world.load(1)), "{}", world.load(1));
}

#[test]
fn a_fixed_cluster_gives_this_placement_for_ever() {
    let mut world = World::of(5);
    world.node(2).cpus_milli = 16_000;
    for (node, zone) in [(1, "a"), (2, "a"), (3, "b"), (4, "b"), (5, "c")] {
        world.node(node).labels = [("zone".to_owned(), zone.to_owned())].into();
    }
    world.deploy(
        &json!({
            "web": {"deploy": {"replicas": 7}},
            "api": {"deploy": {"replicas": 4, "placement": {
                "preferences": [{"spread": "node.labels.zone"}]}}},
            "db": {"deploy": {"placement": {"constraints": ["node.labels.zone == b"]}}},
            "log": {"deploy": {"mode": "global"}},
        }),
        &json!({}),
    );
    let nodes = ["web", "api", "db", "log"].map(|it| world.nodes_of(it));
    assert_eq!(nodes, [vec![2, 5, 2, 1, 2, 2, 4], vec![2, 2, 4, 5], vec![3], vec![1, 2, 3, 4, 5]]);
    world.settle_as(true);
    assert_eq!([1, 2, 3, 4, 5].map(|it| world.load(it)), [0, 0, 0, 13, 0]);
    assert!(world.place("web").posts.iter().all(|it| it.why == Why::Kept));
}

#[test]
fn the_steward_of_a_project_is_who_it_was() {
    use crate::model::NodeId;
    assert_eq!(super::score("shop", NodeId(1)), 0xf8ea_152a_fefa_409a);
    let steward = super::steward(&"shop".parse().unwrap(), (1..=5).map(NodeId));
    assert_eq!(super::steward(&"shop".parse().unwrap(), []), None);
    assert!(steward.is_some());
}
