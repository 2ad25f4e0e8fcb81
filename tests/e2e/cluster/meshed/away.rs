//! A node that is cut off for a while, and names: who cannot be reached is not answered, and who can be is, at
//! once (moby#53141).
//!
//! `FIZZ_E2E_AWAY_SECONDS` is for how long; 30 when not set, for CI.
#![allow(clippy::print_stdout, reason = "its figures are half of what it is run for")]

use std::{
    collections::BTreeSet,
    net::IpAddr,
    thread::{self, sleep},
    time::Duration,
};

use tokio::time::Instant;

use super::{THREE, cluster, seats::Seat, up};
use crate::{cluster::nodes::Nodes, harness::Kind};

/// How soon who cannot be reached is answered no more, and who can be is again. A member that gets too little of a
/// busy machine takes itself for ill and accuses later, so that the first is some times what it is on one at rest.
const GONE_MAX: Duration = Duration::from_secs(8);
const BACK_MAX: Duration = Duration::from_secs(1);

/// How long either is waited for, and for how long it must stay.
const WAIT_MAX: Duration = Duration::from_secs(120);
const STAYS: Duration = Duration::from_secs(3);

const PROJECT: &str = r#"
name: away
services:
  web:
    image: busybox
    command: ["sh", "-c", "exec httpd -f -p 80 -h /"]
    deploy: {mode: global}
  app:
    image: busybox
    command: ["sleep", "10000"]
    stop_signal: SIGKILL
    deploy: {replicas: 3}
"#;

#[test]
fn names_lead_to_whom_can_be_reached_before_while_and_after_a_node_is_away() {
    let seconds = std::env::var("FIZZ_E2E_AWAY_SECONDS").ok().and_then(|it| it.parse().ok());
    let away = Duration::from_secs(seconds.unwrap_or(30));
    let nodes = cluster(3, Kind::chosen());
    up(&nodes, "a", PROJECT);
    let seats = THREE.map(|it| Seat::of(&nodes, it, "web"));
    nodes.until("all know all", || seats.iter().all(|it| known(it).len() == 6));
    let all = known(&seats[0]);
    let own: Vec<BTreeSet<IpAddr>> = THREE.iter().map(|it| own(&nodes, it, &all)).collect();
    let others: BTreeSet<IpAddr> = all.difference(&own[2]).copied().collect();

    let cut = Instant::now();
    nodes.lab("partition", &["c"]);
    let gone = after(cut, &seats, &[&others, &others, &own[2]]);
    println!("who is cut off is answered no more after {gone:?}");
    sleep(away.saturating_sub(cut.elapsed()));
    for (seat, expected) in seats.iter().zip([&others, &others, &own[2]]) {
        assert_eq!(known(seat), *expected, "after {away:?}");
    }
    let app = || THREE.map(|it| nodes.running(it, "app").len());
    nodes.until("each part has what it can", || app()[0] + app()[1] == 3 && app()[2] == 3);

    let heal = Instant::now();
    nodes.lab("heal", &[]);
    let back = after(heal, &seats, &[&all, &all, &all]);
    println!("who is back after {away:?} is answered after {back:?}");
    let reached = reached_after(heal, &seats, &own);
    println!("and reached after {reached:?}");
    for _ in 0..STAYS.as_millis() / 50 {
        let now: Vec<_> = seats.iter().map(|it| it.ask("web")).collect();
        assert!(now.iter().all(|it| it.as_ref() == Some(&all)), "it does not stay so: {now:?}");
        sleep(Duration::from_millis(50));
    }
    nodes.until("each replica runs once", || app().iter().sum::<usize>() == 3);
    names_of_what_moved_are_right(&nodes, &seats);
    assert!(gone.iter().all(|it| *it < GONE_MAX), "{gone:?}");
    assert!(back.iter().all(|it| *it < BACK_MAX), "{back:?}");
}

fn known(seat: &Seat) -> BTreeSet<IpAddr> {
    seat.ask("web").unwrap_or_default()
}

/// The addresses among these that the one on a node has.
fn own(nodes: &Nodes, node: &str, all: &BTreeSet<IpAddr>) -> BTreeSet<IpAddr> {
    let said = nodes.inside(node, "web", "ip -o addr show eth0").unwrap();
    let had = |it: &&IpAddr| said.contains(&format!(" {it}/"));
    let own: BTreeSet<IpAddr> = all.iter().filter(had).copied().collect();
    assert_eq!(own.len(), 2, "{said}");
    own
}

/// How long after something each is answered by what is expected for the first time; they are asked all the time.
fn after(begin: Instant, seats: &[Seat], expected: &[&BTreeSet<IpAddr>]) -> Vec<Duration> {
    each(seats, |at, seat| {
        while known(seat) != *expected[at] {
            assert!(begin.elapsed() < WAIT_MAX, "{:?} is not {:?}", known(seat), expected[at]);
            sleep(Duration::from_millis(10));
        }
        begin.elapsed()
    })
}

/// How long after something each has reached whom it could not reach meanwhile, by both families.
fn reached_after(begin: Instant, seats: &[Seat], own: &[BTreeSet<IpAddr>]) -> Vec<Duration> {
    each(seats, |at, seat| {
        let far = if at == 2 { &own[0] } else { &own[2] };
        while !far.iter().all(|it| seat.connects(*it)) {
            assert!(begin.elapsed() < WAIT_MAX, "{far:?} is not reached");
        }
        begin.elapsed()
    })
}

/// Does something for all at once.
fn each<T: Send>(seats: &[Seat], deed: impl Fn(usize, &Seat) -> T + Sync) -> Vec<T> {
    let deed = &deed;
    thread::scope(|threads| {
        let begin = |(at, seat)| threads.spawn(move || deed(at, seat));
        let begun: Vec<_> = seats.iter().enumerate().map(begin).collect();
        begun.into_iter().map(|it| it.join().unwrap()).collect()
    })
}

/// What ran twice does no more, and nobody is led to what is gone.
fn names_of_what_moved_are_right(nodes: &Nodes, seats: &[Seat]) {
    let have = "ip -o addr show eth0 | grep -o '10.100[.0-9]*'";
    let of = |node: &&str| {
        let ids = nodes.running(node, "app").into_iter();
        ids.map(|it| nodes.inside_of(node, &it, have).unwrap()).collect::<Vec<_>>()
    };
    let there: BTreeSet<IpAddr> = THREE.iter().flat_map(of).map(|it| it.parse().unwrap()).collect();
    for seat in seats {
        nodes.until(&format!("app is {there:?}"), || {
            let answer = seat.ask("app").unwrap_or_default();
            answer.into_iter().filter(IpAddr::is_ipv4).collect::<BTreeSet<_>>() == there
        });
    }
}
