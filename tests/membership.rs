//! Stories of who is alive, told by whole clusters of real members in virtual time.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "membership/cluster.rs"]
mod cluster;
#[path = "membership/network.rs"]
#[allow(dead_code, reason = "shared with the bench")]
mod network;

use cluster::Cluster;
use fizz::{model::NodeState as S, swim::Config};
use network::Micros;

const SECOND: Micros = 1_000_000;

/// How long answers, of a member and of those that help, and then a second accuser are waited for.
const ACCUSED: Micros = 1_700_000;

/// A story for every size and seed.
fn each(sizes: &[usize], seeds: u64, story: impl Fn(&mut Cluster, usize)) {
    for &size in sizes {
        for seed in 0..seeds {
            let mut cluster = Cluster::new(size, seed, Config::lan());
            // Not all begin with the clock.
            cluster.pass(3 * SECOND + seed * 137_000);
            assert!(cluster.is_whole(), "size {size}, seed {seed}");
            cluster.changes.clear();
            let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                story(&mut cluster, size);
            }));
            assert!(told.is_ok(), "size {size}, seed {seed}");
        }
    }
}

#[test]
fn a_quiet_cluster_says_nothing_of_anyone() {
    each(&[1, 2, 3, 8, 64], 3, |cluster, _| {
        cluster.pass(600 * SECOND);
        assert!(cluster.changes.is_empty(), "{:?}", cluster.changes);
    });
}

#[test]
fn a_crashed_member_is_unreachable_within_seconds_and_then_dead_to_all() {
    each(&[2, 3, 8, 64, 256], 5, |cluster, size| {
        cluster.crash(size - 1);
        let crashed = cluster.network.now;
        cluster.until(10 * SECOND, |it| it.all_see(size - 1, S::Suspicious)).unwrap();
        let missed = cluster.first_seen(size - 1, S::Suspicious, crashed);
        let (first, last) = (missed[0], missed[missed.len() - 1]);
        assert!(last < 5 * SECOND, "{missed:?}");
        assert!(
            last - first < SECOND / 20,
            "news crosses the cluster in network delays: {missed:?}"
        );
        let dead = cluster.until(20 * SECOND, |it| it.all_see(size - 1, S::Dead));
        assert!(dead.unwrap() - crashed < 12 * SECOND, "{dead:?}");
        cluster.pass(60 * SECOND);
        assert!(cluster.changes.iter().all(|it| it.about == size - 1), "{:?}", cluster.changes);
    });
}

#[test]
fn a_doubted_member_is_asked_at_once_and_not_missed_if_it_lives() {
    each(&[8, 64, 256], 3, |cluster, size| {
        cluster.doubt(0, size - 1);
        cluster.pass(10 * SECOND);
        assert!(cluster.changes.is_empty(), "{:?}", cluster.changes);
        cluster.crash(size - 1);
        let crashed = cluster.network.now;
        cluster.doubt(0, size - 1);
        cluster.until(10 * SECOND, |it| it.all_see(size - 1, S::Suspicious)).unwrap();
        let missed = cluster.first_seen(size - 1, S::Suspicious, crashed);
        // Not its turn, which is a second later at most.
        assert!(missed[0] < ACCUSED, "{missed:?}");
    });
}

#[test]
fn a_member_that_comes_back_is_alive_again_under_its_own_id() {
    each(&[2, 8, 64], 3, |cluster, _| {
        cluster.crash(0);
        cluster.until(20 * SECOND, |it| it.all_see(0, S::Dead)).unwrap();
        cluster.pass(3600 * SECOND);
        cluster.boot(0);
        cluster.until(5 * SECOND, Cluster::is_whole).unwrap();
    });
}

#[test]
fn a_newcomer_is_told_who_is_dead_and_has_not_to_find_out() {
    each(&[8, 64], 3, |cluster, _| {
        cluster.crash(0);
        cluster.crash(1);
        cluster.until(20 * SECOND, |it| it.all_see(0, S::Dead) && it.all_see(1, S::Dead)).unwrap();
        cluster.boot(0);
        assert!(cluster.all_see(1, S::Dead));
        cluster.changes.clear();
        cluster.pass(60 * SECOND);
        assert!(cluster.is_whole() && cluster.all_see(1, S::Dead));
        assert!(cluster.changes.iter().all(|it| it.about == 0), "{:?}", cluster.changes);
    });
}

#[test]
fn a_member_that_leaves_is_gone_at_once_and_never_missed() {
    each(&[2, 3, 64], 3, |cluster, _| {
        cluster.leave(1);
        cluster.pass(SECOND / 10);
        cluster.crash(1);
        assert!(cluster.all_see(1, S::Left));
        cluster.pass(30 * SECOND);
        assert!(cluster.changes.iter().all(|it| it.state == S::Left), "{:?}", cluster.changes);
    });
}

#[test]
fn halves_that_lost_each_other_for_an_hour_find_each_other_again() {
    each(&[2, 3, 8, 64], 3, |cluster, size| {
        cluster.part(size / 2);
        cluster.pass(3600 * SECOND);
        let across = |it: &Cluster| {
            let (one, other) = (it.running().next().unwrap().1, it.running().last().unwrap().1);
            one.swim.state(other.id)
        };
        assert_eq!(across(cluster), Some(S::Dead), "the fault happened");
        cluster.mend();
        let healed = cluster.network.now;
        let whole = cluster.until(20 * SECOND, Cluster::is_whole);
        assert!(whole.is_some_and(|it| it - healed <= 6 * SECOND), "{whole:?}");
        cluster.changes.clear();
        cluster.pass(60 * SECOND);
        assert!(cluster.changes.is_empty(), "{:?}", cluster.changes);
    });
}

#[test]
fn who_is_cut_off_misses_all_at_once_and_is_met_within_a_second() {
    each(&[2, 3, 5, 64], 5, |cluster, size| {
        cluster.part(1);
        let cut = cluster.network.now;
        let alone = |it: &Cluster, state| {
            let (_, me) = it.running().next().unwrap();
            it.running().skip(1).all(|(_, other)| me.swim.state(other.id) == Some(state))
        };
        let missed = cluster.until(10 * SECOND, |it| alone(it, S::Suspicious)).unwrap();
        assert!(missed - cut < 5 * SECOND / 2, "{missed} of {size}");
        cluster.until(60 * SECOND, |it| alone(it, S::Dead) && it.all_see(0, S::Dead)).unwrap();
        cluster.pass(600 * SECOND);
        cluster.mend();
        cluster.changes.clear();
        let healed = cluster.network.now;
        let whole = cluster.until(20 * SECOND, Cluster::is_whole);
        let took = whole.map(|it| it - healed);
        assert!(took.is_some_and(|it| it < SECOND), "{healed}: {took:?}: {:?}", cluster.changes);
        cluster.changes.clear();
        cluster.pass(60 * SECOND);
        assert!(cluster.changes.is_empty(), "{:?}", cluster.changes);
    });
}

#[test]
fn a_member_that_was_stopped_for_ten_seconds_accuses_nobody_and_comes_back() {
    each(&[3, 8, 64], 3, |cluster, _| {
        cluster.stop(2, 10 * SECOND);
        cluster.until(9 * SECOND, |it| it.all_see(2, S::Dead)).unwrap();
        cluster.pass(15 * SECOND);
        assert!(cluster.is_whole());
        assert!(cluster.changes.iter().all(|it| it.about == 2), "{:?}", cluster.changes);
    });
}

#[test]
fn heavy_loss_kills_nobody() {
    each(&[8, 64], 3, |cluster, _| {
        cluster.network.loss_permille = 250;
        cluster.pass(600 * SECOND);
        assert!(cluster.changes.iter().any(|it| it.state == S::Suspicious), "the fault happened");
        let dead: Vec<_> = cluster.changes.iter().filter(|it| it.state == S::Dead).collect();
        assert!(dead.is_empty(), "{dead:?}");
    });
}

#[test]
fn clocks_that_are_wrong_cost_time_and_nothing_else() {
    each(&[8, 64], 3, |cluster, size| {
        for (node, machine) in cluster.machines.iter_mut().enumerate() {
            machine.as_mut().unwrap().skew = node as i64 * 977_777 - 5_000_000;
        }
        cluster.pass(60 * SECOND);
        assert!(cluster.changes.is_empty(), "{:?}", cluster.changes);
        cluster.crash(size - 1);
        cluster.until(30 * SECOND, |it| it.all_see(size - 1, S::Dead)).unwrap();
    });
}

#[test]
fn a_seed_tells_the_same_story_again() {
    let tell = || {
        let mut cluster = Cluster::new(32, 5, Config::lan());
        cluster.network.loss_permille = 100;
        cluster.pass(10 * SECOND);
        cluster.crash(3);
        cluster.pass(60 * SECOND);
        (cluster.network.packets, cluster.network.bytes, format!("{:?}", cluster.changes))
    };
    assert_eq!(tell(), tell());
}
