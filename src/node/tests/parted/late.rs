//! What nodes hear late, also of themselves.

use serde_json::json;

use super::cluster::Cluster;

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
