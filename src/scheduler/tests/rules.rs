//! Each rule by itself.

use serde_json::{Value, json};

use super::world::{GIB, World, node};
use crate::{
    model::NodeId,
    scheduler::{Placement, Standing},
};

/// The nodes that may have a service: it runs on each of them.
fn allowed(world: &World, placement: &Value) -> Vec<u128> {
    let mut world = world.clone();
    let mut service = json!({"deploy": {"mode": "global"}});
    service["deploy"]["placement"] = placement["deploy"].clone();
    service["x-fizz"] = json!({"placement": placement["x"]});
    if let Some(platform) = placement.get("platform") {
        service["platform"] = platform.clone();
    }
    world.deploy(&json!({"web": service}), &json!({}));
    world.nodes_of("web")
}

fn zones() -> World {
    let mut world = World::of(4);
    for (node, zone) in [(1, "a"), (2, "a"), (3, "b")] {
        world.node(node).labels = [("zone".to_owned(), zone.to_owned())].into();
    }
    world.node(3).architecture = "aarch64".to_owned();
    world
}

#[test]
fn constraints_mean_what_they_mean_to_docker() {
    let id = NodeId(3).to_string();
    for (constraint, nodes) in [
        ("node.labels.zone == a", vec![1, 2]),
        ("node.labels.zone == A", vec![1, 2]),
        ("node.labels.zone != a", vec![3, 4]),
        ("engine.labels.zone == b", vec![3]),
        ("node.hostname == N4", vec![4]),
        ("node.hostname != n4", vec![1, 2, 3]),
        (&format!("node.id == {id}"), vec![3]),
        ("node.role == manager", vec![1, 2, 3, 4]),
        ("node.role == worker", vec![1, 2, 3, 4]),
        ("node.role != manager", vec![]),
        ("node.platform.os == linux", vec![1, 2, 3, 4]),
        ("node.platform.os == windows", vec![]),
        ("node.platform.arch == amd64", vec![1, 2, 4]),
        ("node.platform.arch == x86_64", vec![1, 2, 4]),
        ("node.platform.arch != arm64", vec![1, 2, 4]),
        ("node.ip == 10.0.0.1", vec![]),
        ("node.ip != 10.0.0.1", vec![]),
    ] {
        let rule = json!({"deploy": {"constraints": [constraint]}});
        assert_eq!(allowed(&zones(), &rule), nodes, "{constraint}");
    }
    let both = ["node.labels.zone == a", "node.hostname != n1"];
    assert_eq!(allowed(&zones(), &json!({"deploy": {"constraints": both}})), [2]);
}

#[test]
fn labels_names_and_platforms_choose_nodes() {
    for (rule, nodes) in [
        (json!({"x": {"labels": {"zone": "a"}}}), vec![1, 2]),
        (json!({"x": {"nodes": ["n4", "n2"]}}), vec![2, 4]),
        (json!({"platform": "linux/arm64/v8"}), vec![3]),
        (json!({"platform": "linux/amd64"}), vec![1, 2, 4]),
        (json!({"platform": "linux/arm/v7"}), vec![3]),
        (json!({"platform": "amd64"}), vec![1, 2, 4]),
        (json!({"platform": "linux"}), vec![1, 2, 3, 4]),
        (json!({"platform": "windows/amd64"}), vec![]),
    ] {
        assert_eq!(allowed(&zones(), &rule), nodes, "{rule}");
    }
}

#[test]
fn a_node_without_a_runtime_gets_nothing() {
    let mut world = zones();
    world.node(1).runtime = false;
    assert_eq!(allowed(&world, &json!({})), [2, 3, 4]);
    world.deploy(&json!({"web": {}}), &json!({}));
    assert_eq!(world.against("web", 1), "it has no container runtime (runtime.kind: none)");
}

#[test]
fn replicas_are_spread_over_the_values_of_a_label_then_of_the_next() {
    let mut world = World::of(6);
    for (id, zone, rack) in
        [(1, "a", "1"), (2, "a", "1"), (3, "a", "1"), (4, "a", "2"), (5, "b", "1")]
    {
        let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        world.node(id).labels = [label("zone", zone), label("rack", rack)].into();
    }
    let spread = json!([{"spread": "node.labels.zone"}, {"spread": "node.labels.rack"}]);
    let placement = json!({"replicas": 12, "placement": {"preferences": spread}});
    world.deploy(&json!({"web": {"deploy": placement}}), &json!({}));
    let nodes = world.nodes_of("web");
    let on = |ids: &[u128]| nodes.iter().filter(|it| ids.contains(it)).count();
    // Nodes without the label are one more value of it.
    assert_eq!([on(&[1, 2, 3, 4]), on(&[5]), on(&[6])], [4, 4, 4]);
    assert_eq!([on(&[1, 2, 3]), on(&[4])], [2, 2]);
}

#[test]
fn no_more_are_on_a_node_than_may_be() {
    let placement = json!({"replicas": 5, "placement": {"max_replicas_per_node": 2}});
    let world = World::of(2).with(&json!({"web": {"deploy": placement}}));
    let Placement { posts, pending } = world.place("web");
    assert_eq!((posts.len(), pending.len()), (4, 1));
    assert_eq!(pending[0].why.len(), 2);
    assert_eq!(world.against("web", 1), "2 are there, and no more may be on a node");
}

#[test]
fn services_keep_near_to_or_away_from_others() {
    let near = json!({"placement": {"affinity": ["db"]}});
    let away = json!({"placement": {"anti_affinity": ["db"]}});
    let services = json!({
        "db": {}, "near": {"deploy": {"replicas": 3}, "x-fizz": near},
        "away": {"deploy": {"replicas": 4}, "x-fizz": away},
    });
    let mut world = World::of(3).with(&services);
    assert_eq!(world.place("near").pending.len(), 3);
    assert_eq!(world.against("near", 1), "db, to which it is to be near, is not there");
    world.settle();
    world.settle();
    let db = world.nodes_of("db")[0];
    assert_eq!(world.nodes_of("near"), [db; 3]);
    let away = world.nodes_of("away");
    assert!(away.len() == 4 && !away.contains(&db));
    assert_eq!(world.against("away", db), "db, which it is to be away from, is there");
    // Who is shunned need not wait for those that shun it: they make way.
    world.node(db).standing = Standing::Dead;
    assert_eq!(world.settle(), 0);
    let db = world.nodes_of("db")[0];
    assert!(away.contains(&db));
    assert_eq!(world.nodes_of("away").len(), 4);
    assert!(!world.nodes_of("away").contains(&db));
    // Where there is a node without them, it goes there.
    world.nodes.insert(NodeId(4), node(4));
    world.node(db).standing = Standing::Dead;
    world.settle();
    assert_eq!(world.nodes_of("db"), [4]);
}

#[test]
fn near_to_one_another_means_around_the_first() {
    let near = |it: &str| json!({"x-fizz": {"placement": {"affinity": [it]}}});
    let services = json!({"a": near("b"), "b": near("c"), "c": near("a"), "d": near("c")});
    let mut world = World::of(5).with(&services);
    assert_eq!(world.settle(), 0);
    let nodes: Vec<_> = world.posts().into_values().collect();
    assert_eq!(nodes, [nodes[0]; 4]);
}

#[test]
fn a_service_away_from_itself_has_one_on_a_node() {
    let away = json!({"placement": {"anti_affinity": ["web"]}});
    let world = World::of(2).with(&json!({"web": {"deploy": {"replicas": 3}, "x-fizz": away}}));
    assert_eq!(world.place("web").pending.len(), 1);
    assert_eq!(world.against("web", 1), "one is there, and no more may be on a node");
}

#[test]
fn what_is_reserved_is_there_or_the_slot_waits() {
    let resources = json!({
        "reservations": {"memory": "512m", "cpus": "1.5"}, "limits": {"memory": "100g"},
    });
    let services = json!({"web": {"deploy": {"replicas": 4, "resources": resources}}});
    let mut world = World::of(2).with(&services);
    world.node(1).memory_bytes = 2 * GIB;
    world.node(2).memory_bytes = 900 << 20;
    assert_eq!(world.settle(), 1);
    assert_eq!((world.load(1), world.load(2)), (2, 1));
    let full = "1.5 CPUs asked, 1 free of 4";
    assert_eq!(world.against("web", 1), full);
    assert_eq!(world.against("web", 2), "512 MiB of memory asked, 388 MiB free of 900 MiB");
    assert_eq!(world.usage.reserved(NodeId(1)), (3000, 1 << 30));
    world.nodes.insert(NodeId(3), node(3));
    assert_eq!(world.settle(), 0);
}

#[test]
fn a_host_port_is_had_once_on_a_node() {
    let port = |ip: &str, port: &str, protocol: &str| json!([{"target": 80, "published": port, "protocol": protocol, "host_ip": ip}]);
    let mut world = World::of(2).with(&json!({
        "a": {"ports": port("", "80", "tcp"), "deploy": {"replicas": 3}},
        "b": {"ports": port("10.0.0.1", "80", "tcp")},
        "c": {"ports": port("", "80", "udp")},
        "d": {"ports": port("", "8000-8009", "tcp"), "deploy": {"replicas": 3}},
        "e": {"ports": port("10.0.0.1", "90", "tcp"), "deploy": {"replicas": 2}},
        "f": {"ports": port("10.0.0.2", "90", "tcp"), "deploy": {"replicas": 2}},
    }));
    // The third of `a`, and `b`.
    assert_eq!(world.settle(), 2);
    let a = world.place("a").posts[0].node.0;
    assert_eq!(world.against("b", a), "host port 80 is taken by shop-a-1");
    assert_eq!(world.place("f").posts.len(), 2);
}

#[test]
fn a_service_stays_with_its_volume() {
    let volume = |partition: Value| {
        let mount = json!([{"type": "volume", "source": "data", "target": "/data"}]);
        json!({"db": {"volumes": mount, "x-fizz": partition}})
    };
    let volumes = json!({"data": {"name": "shop_data"}});
    let mut world = World::of(4);
    world.node(3).volumes = ["shop_data".to_owned()].into();
    world.deploy(&volume(json!({})), &volumes);
    assert_eq!(world.nodes_of("db"), [3]);
    assert_eq!(world.against("db", 1), "its volume shop_data is on n3");
    world.settle();
    world.node(3).standing = Standing::Dead;
    assert!(world.place("db").posts.is_empty());
    assert_eq!(world.against("db", 1), "its volume shop_data is on n3, which is dead");
    world.deploy(&volume(json!({"partition": "available"})), &volumes);
    assert_ne!(world.nodes_of("db"), [3]);
    assert_eq!(world.place("db").posts.len(), 1);
    let nfs = json!({"data": {"name": "shop_data", "driver_opts": {"type": "nfs"}}});
    world.deploy(&volume(json!({})), &nfs);
    assert_eq!(world.place("db").posts.len(), 1);
}

#[test]
fn a_service_goes_where_the_volume_is_that_was_there_before_it() {
    let mount = json!([{"type": "volume", "source": "data", "target": "/data"}]);
    let volumes = json!({"data": {"name": "old", "external": true}});
    let mut world = World::of(4);
    world.deploy(&json!({"db": {"volumes": mount}}), &volumes);
    assert_eq!(world.against("db", 1), "", "of a volume that nobody tells of nothing is known");
    world.node(3).volumes = ["old".to_owned()].into();
    assert_eq!(world.nodes_of("db"), [3]);
    assert_eq!(world.against("db", 1), "its volume old is on n3");
}

#[test]
fn what_runs_on_each_node_has_a_volume_on_each() {
    let mut world = World::of(3);
    world.node(3).volumes = ["shop_data".to_owned()].into();
    let mount = json!([{"type": "volume", "source": "data", "target": "/data"}]);
    let volumes = json!({"data": {"name": "shop_data"}});
    world.deploy(&json!({"log": {"volumes": mount, "deploy": {"mode": "global"}}}), &volumes);
    assert_eq!(world.nodes_of("log"), [1, 2, 3]);
}

#[test]
fn what_runs_on_each_node_tells_where_it_cannot() {
    let resources = json!({"reservations": {"memory": "1g"}});
    let placement = json!({"constraints": ["node.hostname != n4"]});
    let deploy = json!({"mode": "global", "resources": resources, "placement": placement});
    let mut world = World::of(4).with(&json!({"log": {"deploy": deploy}}));
    world.node(2).memory_bytes = GIB / 2;
    world.node(3).standing = Standing::Cordoned;
    let Placement { posts, pending } = world.place("log");
    assert_eq!(posts.iter().map(|it| it.node.0).collect::<Vec<_>>(), [1]);
    assert_eq!(pending.iter().map(|it| it.node).collect::<Vec<_>>(), [Some(NodeId(2))]);
    assert_eq!(world.against("log", 3), "cordoned");
    assert_eq!(
        world.against("log", 4),
        "node.hostname is n4, constraint wants node.hostname != n4"
    );
    assert_eq!(world.against("log", 1), "");
}

#[test]
fn an_explanation_names_every_reason() {
    let mut world = zones();
    world.node(3).standing = Standing::Draining;
    let placement = json!({"constraints": ["node.labels.zone == a"]});
    let x = json!({"placement": {"labels": {"disk": "ssd"}, "nodes": ["n1", "n4"]}});
    let web = json!({"deploy": {"placement": placement}, "x-fizz": x, "platform": "linux/amd64"});
    world.deploy(&json!({"web": web}), &json!({}));
    assert_eq!(
        world.against("web", 3),
        "it is linux/arm64, platform linux/amd64 is asked for; \
         x-fizz.placement.nodes allows only n1, n4; \
         it has no label disk, x-fizz.placement.labels wants ssd; \
         label zone is b, constraint wants node.labels.zone == a; draining"
    );
}
