//! What nodes tell of deployments and of one another: each change once, and all nodes alike.

use std::collections::BTreeMap;

use serde_json::json;

use super::cluster::Cluster;
use crate::node::{DownRequest, Request, ServiceVerb};

/// What all of three nodes told, which must be the same.
fn told(cluster: &mut Cluster) -> Vec<String> {
    let told = cluster.told();
    assert!(told.iter().all(|it| *it == told[0]), "{told:?}");
    told[0].clone()
}

/// The cluster looks after what must not run twice.
fn web(image: &str) -> serde_json::Value {
    json!({"web": {"image": image, "x-fizz": {"partition": "singleton"}}})
}

#[test]
fn each_change_is_told_once_and_alike_by_all_nodes() {
    let mut cluster = Cluster::of(3);
    cluster.pass(15_000);
    assert_eq!(told(&mut cluster), <[&str; 0]>::default(), "what was there before is no news");
    cluster.up(0, web("web:1"));
    cluster.pass(10_000);
    assert_eq!(told(&mut cluster), ["deployment.changed 1"]);
    cluster.up(1, web("web:2"));
    cluster.pass(30_000);
    assert_eq!(told(&mut cluster), ["deployment.changed 2"]);
    let restart = ServiceVerb::Restart { grace: None, no_deps: false };
    cluster.ask(2, Request::Services("shop".parse().unwrap(), vec![], restart));
    cluster.pass(10_000);
    assert_eq!(told(&mut cluster), <[&str; 0]>::default(), "the deployment is what it was");
    let down = DownRequest {
        project: "shop".parse().unwrap(),
        services: vec![],
        volumes: false,
        images: None,
        grace: None,
    };
    cluster.ask(1, Request::Down(down));
    cluster.pass(10_000);
    assert_eq!(told(&mut cluster), ["deployment.removing 3", "deployment.removed -"]);
    cluster.drain(2);
    cluster.pass(1_000);
    assert_eq!(told(&mut cluster), ["node.changed draining"]);
    let labels = BTreeMap::from([("disk".to_owned(), Some("ssd".to_owned()))]);
    cluster.ask(0, Request::Label(labels));
    cluster.pass(1_000);
    assert_eq!(told(&mut cluster), ["node.changed open"]);
}

#[test]
fn what_lost_against_another_change_at_the_same_time_is_told_again() {
    let mut cluster = Cluster::of(3);
    cluster.pass(15_000);
    cluster.up(0, web("web:1"));
    cluster.pass(10_000);
    told(&mut cluster);
    cluster.cut(&[0]);
    cluster.up(0, web("web:2"));
    cluster.pass(10);
    cluster.up(1, web("web:3"));
    cluster.pass(10_000);
    assert_eq!(told(&mut cluster), ["deployment.changed 2"], "of the parts each its own");
    cluster.heal();
    cluster.pass(60_000);
    let lengths: Vec<usize> = cluster.told().iter().map(Vec::len).collect();
    assert!([vec![1, 0, 0], vec![0, 1, 1]].contains(&lengths), "{lengths:?}");
}
