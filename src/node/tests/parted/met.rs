//! Parts of a cluster that meet again, of which one has made what the other has not heard of.

use serde_json::json;

use super::cluster::Cluster;

const REPLICAS: usize = 12;

#[test]
fn what_runs_in_one_part_is_not_made_anew_by_the_other_when_they_meet() {
    nothing_is_made_anew(0);
}

#[test]
fn nor_is_it_where_disks_are_slow() {
    nothing_is_made_anew(1_800);
}

fn nothing_is_made_anew(commit: u64) {
    for cut in [&[0, 1][..], &[1], &[1, 3, 4]] {
        let mut cluster = Cluster::of(5);
        cluster.may_run(REPLICAS);
        cluster.pass(15_000);
        cluster.cut(cut);
        cluster.pass(20_000);
        let web = json!({"web": {"image": "web", "deploy": {"replicas": REPLICAS}}});
        cluster.up(2, web);
        cluster.pass(10_000);
        let there = cluster.running();
        assert_eq!(there.len(), REPLICAS);
        assert!(there.iter().all(|it| !cut.contains(it)), "the fault happened");
        cluster.slow_disks(commit);
        cluster.heal();
        cluster.pass(30_000);
        assert_eq!((cluster.running(), cluster.starts()), (there, REPLICAS as u32), "{cut:?}");
    }
}
