//! Jobs whose nodes are put out of the cluster after they were done.

use serde_json::json;

use super::cluster::Cluster;
use crate::node::{Request, ServiceVerb};

#[test]
fn a_job_that_is_done_stays_so_when_its_node_is_put_out_and_runs_when_a_person_wants_it() {
    let mut cluster = Cluster::of(3);
    cluster.pass(15_000);
    cluster.up(0, json!({"job": {"image": "job", "deploy": {"mode": "replicated-job"}}}));
    cluster.pass(6_000);
    let [at] = cluster.running()[..] else { panic!("{}", cluster.describe()) };
    cluster.complete(at);
    cluster.pass(5_000);
    cluster.kill(at);
    cluster.pass(30_000);
    let by = (at + 1) % 3;
    cluster.remove(by, at);
    cluster.pass(60_000);
    assert_eq!((cluster.running(), cluster.starts()), (vec![], 1), "{}", cluster.describe());

    let verb = ServiceVerb::Restart { grace: None, no_deps: false };
    let project = "shop".parse().unwrap();
    cluster.ask(by, Request::Services(project, vec![], verb));
    cluster.pass(10_000);
    assert_eq!((cluster.running().len(), cluster.starts()), (1, 2));
}
