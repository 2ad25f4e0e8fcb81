//! Stories of a service that must never run twice, in clusters that come apart. The cluster is below the
//! stories, in `cluster`: it looks after every step whether two ran.

mod cluster;
mod done;
mod late;
mod met;
mod told;

use proptest::prelude::*;
use serde_json::json;

use cluster::Cluster;

fn one() -> serde_json::Value {
    json!({"db": {"image": "db", "x-fizz": {"partition": "singleton"}}})
}

/// A cluster in which it runs, and where.
fn running(nodes: usize) -> (Cluster, usize) {
    let mut cluster = Cluster::of(nodes);
    cluster.pass(15_000);
    cluster.up(0, one());
    cluster.pass(6_000);
    let [at] = cluster.running()[..] else { panic!("{}", cluster.describe()) };
    (cluster, at)
}

fn others(nodes: usize, at: usize) -> Vec<usize> {
    (0..nodes).filter(|it| *it != at).collect()
}

#[test]
fn it_runs_once_and_goes_on_while_the_others_answer() {
    let (mut cluster, at) = running(3);
    cluster.pass(120_000);
    assert_eq!(cluster.running(), [at]);
    assert_eq!(cluster.starts(), 1);
}

#[test]
fn who_is_cut_off_stops_it_before_the_others_start_it() {
    let (mut cluster, at) = running(3);
    cluster.cut(&[at]);
    cluster.pass(11_000);
    assert_eq!(cluster.running(), [at], "it might be the others that are silent");
    cluster.pass(4_000);
    assert_eq!(cluster.running(), <[usize; 0]>::default());
    cluster.pass(12_000);
    assert_eq!(cluster.running(), <[usize; 0]>::default(), "it may take long to stop");
    cluster.pass(20_000);
    let [there] = cluster.running()[..] else { panic!("{:?}", cluster.running()) };
    assert_ne!(there, at);
    cluster.heal();
    cluster.pass(30_000);
    assert_eq!(cluster.running(), [there], "it stays where it runs");
    assert_eq!(cluster.records(), 1);
}

#[test]
fn one_that_dies_is_replaced_and_finds_that_when_it_comes_back() {
    let (mut cluster, at) = running(3);
    cluster.kill(at);
    cluster.pass(25_000);
    assert_eq!(cluster.running(), <[usize; 0]>::default());
    cluster.pass(20_000);
    let [there] = cluster.running()[..] else { panic!("{:?}", cluster.running()) };
    cluster.boot(at);
    cluster.pass(40_000);
    assert_eq!(cluster.running(), [there]);
}

#[test]
fn what_would_not_stop_is_killed() {
    let (mut cluster, at) = running(3);
    cluster.stops_hang();
    cluster.cut(&[at]);
    cluster.pass(22_000);
    assert_eq!(cluster.running(), <[usize; 0]>::default());
    assert_eq!(cluster.kills(), 1);
}

#[test]
fn of_two_nodes_neither_runs_it_alone() {
    let (mut cluster, at) = running(2);
    cluster.cut(&[at]);
    cluster.pass(120_000);
    assert_eq!(cluster.running(), <[usize; 0]>::default());
    let other = 1 - at;
    let why = "waits for more than half of the nodes to answer, as it must not run twice";
    assert_eq!(cluster.stuck(at), why);
    cluster.heal();
    cluster.pass(30_000);
    assert_eq!(cluster.running().len(), 1);
    cluster.kill(other);
    cluster.pass(60_000);
    assert_eq!(cluster.running(), <[usize; 0]>::default());
}

#[test]
fn a_node_whose_daemon_is_restarted_lets_it_run_on() {
    let (mut cluster, at) = running(3);
    cluster.restart_daemon(at, 3_000);
    cluster.pass(60_000);
    assert_eq!((cluster.running(), cluster.starts()), (vec![at], 1));
}

#[test]
fn a_cut_that_is_over_soon_stops_nothing() {
    let (mut cluster, at) = running(5);
    cluster.cut(&[at]);
    cluster.pass(8_000);
    cluster.heal();
    cluster.pass(60_000);
    assert_eq!((cluster.running(), cluster.starts()), (vec![at], 1));
}

#[test]
fn the_old_one_has_stopped_before_one_of_another_revision_starts() {
    let (mut cluster, at) = running(3);
    let mut next = one();
    next["db"]["image"] = json!("db:2");
    next["db"]["deploy"] = json!({"update_config": {"order": "start-first"}});
    cluster.up(others(3, at)[0], next);
    cluster.pass(20_000);
    assert_eq!((cluster.running().len(), cluster.starts()), (1, 2));
}

#[test]
fn it_moves_from_a_node_that_is_drained_and_stops_there_first() {
    let (mut cluster, at) = running(3);
    cluster.drain(at);
    cluster.pass(20_000);
    let [there] = cluster.running()[..] else { panic!("{:?}", cluster.running()) };
    assert_ne!(there, at);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Whatever comes apart and together again, and whenever: two never run, and in the end one does.
    #[test]
    fn never_do_two_run(
        nodes in 2_usize..6,
        parts in proptest::collection::vec((0_u32..64, 1_000_u64..60_000), 1..6),
    ) {
        let (mut cluster, _) = running(nodes);
        for (part, millis) in parts {
            let cut: Vec<usize> = (0..nodes).filter(|it| part & (1 << it) != 0).collect();
            cluster.cut(&cut);
            cluster.pass(millis);
        }
        cluster.heal();
        cluster.pass(120_000);
        prop_assert_eq!(cluster.running().len(), 1);
    }
}
