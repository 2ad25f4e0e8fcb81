//! What nodes hear late, also of themselves.

use std::collections::BTreeMap;

use serde_json::json;

use super::cluster::Cluster;
use crate::node::{DownRequest, Request, ServiceVerb};

#[test]
fn what_was_made_for_who_had_not_heard_that_all_goes_is_cleared_too() {
    let mut cluster = Cluster::of(2);
    cluster.pass(15_000);
    cluster.up(0, json!({"web": {"image": "web"}}));
    cluster.pass(2_000);
    let [at] = cluster.running()[..] else { panic!("{}", cluster.describe()) };
    cluster.cut(&[at]);
    let down = DownRequest {
        project: "shop".parse().unwrap(),
        services: vec![],
        volumes: false,
        images: None,
        grace: None,
    };
    // The other has nothing of it left, and waits for this one.
    cluster.ask(1 - at, Request::Down(down));
    cluster.pass(500);
    let scale = ServiceVerb::Scale(BTreeMap::from([("web".parse().unwrap(), 1)]));
    cluster.ask(at, Request::Services("shop".parse().unwrap(), vec![], scale));
    cluster.drain(at);
    cluster.heal();
    cluster.pass(30_000);
    assert_eq!((cluster.records(), cluster.running()), (0, vec![]), "{}", cluster.describe());
}

#[test]
fn a_node_that_is_labelled_runs_what_wants_that_label() {
    let mut cluster = Cluster::of(2);
    cluster.pass(15_000);
    let deploy =
        json!({"mode": "global", "placement": {"constraints": ["node.labels.disk == ssd"]}});
    cluster.up(0, json!({"web": {"image": "web", "deploy": deploy}}));
    cluster.pass(5_000);
    assert_eq!(cluster.running(), <[usize; 0]>::default());
    cluster.label(1, "disk", "ssd");
    cluster.restart_daemon(1, 1_000);
    cluster.pass(20_000);
    assert_eq!(cluster.running(), [1]);
}
