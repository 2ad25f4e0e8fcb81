//! Whole clusters in virtual time, from one seed: everything that can go wrong does, and then all must agree.
//!
//! There are two kinds of stories: of who is a member and what all agree on, and of what runs where. The
//! nodes are real [`fizz::node::Node`] values; network, disks, clocks, streams and users are made up. See
//! `docs/testing.md` for how to run and to replay it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "sim/addresses.rs"]
mod addresses;
#[path = "sim/census.rs"]
mod census;
#[path = "sim/checks.rs"]
mod checks;
#[path = "sim/effort.rs"]
mod effort;
#[path = "sim/engine.rs"]
mod engine;
#[path = "sim/guarantees.rs"]
mod guarantees;
#[path = "sim/large.rs"]
mod large;
#[path = "sim/ledger.rs"]
mod ledger;
#[path = "sim/lives.rs"]
mod lives;
#[path = "sim/machine.rs"]
mod machine;
#[path = "sim/network.rs"]
mod network;
#[path = "sim/orchestra.rs"]
mod orchestra;
#[path = "sim/queue.rs"]
mod queue;
#[path = "sim/regressions.rs"]
mod regressions;
#[path = "sim/runtime.rs"]
mod runtime;
#[path = "sim/scenario.rs"]
mod scenario;
#[path = "sim/stacks.rs"]
mod stacks;
#[path = "sim/streams.rs"]
mod streams;
#[path = "sim/tally.rs"]
mod tally;
#[path = "sim/users.rs"]
mod users;
#[path = "sim/world.rs"]
mod world;

use std::{
    io::Write as _,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use fizz::model::Random;
use regressions::{ORCHESTRA_REGRESSIONS, REGRESSIONS};
use tally::{MUST_HAPPEN, ORCHESTRA_MUST_HAPPEN, Tally};
use world::World;

/// Seeds of the short form: about a minute.
const SEEDS_DEFAULT: u64 = 180;

/// The same of the stories about what runs where, each of which costs as much as ten of the others.
const ORCHESTRA_SEEDS_DEFAULT: u64 = 20;

/// So many seeds must have met every fault.
const SEEDS_FOR_ALL_FAULTS: u64 = 50;

/// The same of the stories about what runs where.
const ORCHESTRA_SEEDS_FOR_ALL: u64 = 20;

const THREADS: usize = 2;

/// Which seeds are to run: one (`FIZZ_SIM_SEED=7`), or a range (`FIZZ_SIM_SEEDS=0..1000`, and of the stories
/// about what runs where `FIZZ_SIM_ORCHESTRA_SEEDS=0..40`).
fn seeds(variable: &str, default: u64) -> Range<u64> {
    let number = |it: &str| it.trim().parse::<u64>().expect("a seed is a number");
    if let Ok(one) = std::env::var("FIZZ_SIM_SEED") {
        let one = number(&one);
        return one..one + 1;
    }
    let Ok(range) = std::env::var(variable) else { return 0..default };
    let (first, end) = range.split_once("..").expect("seeds are a range: 0..1000");
    number(first)..number(end)
}

/// How one seed ended: what it did, its trace, and what went wrong.
struct Told {
    tally: Tally,
    trace: u64,
    complaint: Option<String>,
}

/// A story about what runs where.
fn play(seed: u64, log: bool) -> Told {
    let mut random = Random::new(!seed);
    let machines = match random.below(50) {
        0 => 20 + random.below(11),
        _ => 3 + random.below(7),
    };
    let stacks = orchestra::stacks(machines, &mut random);
    tell_one(machines, seed, log, |world| world.concert(stacks, seed))
}

/// A story about who is a member, and what all agree on.
fn tell(seed: u64, log: bool) -> Told {
    let mut random = Random::new(!seed);
    let machines = match random.below(50) {
        0 => 20 + random.below(11),
        _ => 2 + random.below(8),
    };
    tell_one(machines, seed, log, World::story)
}

fn tell_one(machines: usize, seed: u64, log: bool, story: impl FnOnce(&mut World)) -> Told {
    let mut world = World::new(machines, seed);
    world.log = log;
    let told = catch_unwind(AssertUnwindSafe(|| story(&mut world)));
    let complaint = match told {
        Ok(()) => world.complaint,
        Err(_) => Some(format!("a panic at {} ms", world.queue.now / queue::MILLI)),
    };
    Told { tally: world.tally, trace: world.trace, complaint }
}

/// Runs seeds on all threads; what failed, and what happened.
fn tell_all(
    seeds: &[u64],
    log: bool,
    which: &str,
    tell: fn(u64, bool) -> Told,
) -> (Vec<String>, Tally) {
    let next = AtomicU64::new(0);
    let sum = Mutex::new((vec![], Tally::default()));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(&seed) = seeds.get(next.fetch_add(1, Ordering::SeqCst) as usize) {
                    let told = tell(seed, log);
                    let mut sum = sum.lock().unwrap();
                    sum.1.join(&told.tally);
                    if let Some(complaint) = told.complaint {
                        let replay = format!("FIZZ_SIM_SEED={seed} cargo test --test sim {which}");
                        let line = format!("seed {seed}: {complaint}\n    replay: {replay}");
                        let shown = format!("{line}\n");
                        std::io::stderr().write_all(shown.as_bytes()).unwrap();
                        sum.0.push(line);
                    }
                }
            });
        }
    });
    sum.into_inner().unwrap()
}

#[test]
fn whatever_happens_all_agree_in_the_end_and_nothing_that_was_promised_is_lost() {
    let seeds: Vec<u64> = seeds("FIZZ_SIM_SEEDS", SEEDS_DEFAULT).collect();
    let log = std::env::var("FIZZ_SIM_LOG").is_ok();
    let (failed, tally) = tell_all(&seeds, log, "whatever", tell);
    let report = format!("\n{:>12} seeds\n{}", seeds.len(), tally.lines());
    std::io::stderr().write_all(report.as_bytes()).unwrap();
    assert!(
        failed.is_empty(),
        "{} of {} failed:\n{}",
        failed.len(),
        seeds.len(),
        failed.join("\n")
    );
    if SEEDS_FOR_ALL_FAULTS <= seeds.len() as u64 {
        assert_eq!(tally.missing(MUST_HAPPEN), Vec::<&str>::new(), "these never happened");
    }
}

#[test]
fn everything_runs_once_where_it_should_whatever_happens() {
    let seeds = seeds("FIZZ_SIM_ORCHESTRA_SEEDS", ORCHESTRA_SEEDS_DEFAULT);
    let seeds: Vec<u64> = seeds.collect();
    let log = std::env::var("FIZZ_SIM_LOG").is_ok();
    let (failed, tally) = tell_all(&seeds, log, "everything", play);
    let report = format!("\n{:>12} seeds\n{}", seeds.len(), tally.lines());
    std::io::stderr().write_all(report.as_bytes()).unwrap();
    assert!(failed.is_empty(), "{} of {} failed", failed.len(), seeds.len());
    if ORCHESTRA_SEEDS_FOR_ALL <= seeds.len() as u64 {
        let missing = tally.missing(ORCHESTRA_MUST_HAPPEN);
        assert_eq!(missing, Vec::<&str>::new(), "these never happened");
    }
}

/// Nodes and services of the large story, where `FIZZ_SIM_LARGE=300x1000` does not say it.
const LARGE_DEFAULT: (usize, usize) = (12, 24);

#[test]
fn a_large_cluster_comes_to_rest_too() {
    let (nodes, services) = std::env::var("FIZZ_SIM_LARGE").map_or(LARGE_DEFAULT, |text| {
        let (nodes, services) = text.split_once('x').expect("nodes and services: 300x1000");
        (nodes.parse().unwrap(), services.parse().unwrap())
    });
    let log = std::env::var("FIZZ_SIM_LOG").is_ok();
    let told = tell_one(nodes, 1, log, |world| world.crowd(services));
    std::io::stderr().write_all(told.tally.lines().as_bytes()).unwrap();
    assert_eq!(told.complaint, None);
}

#[test]
fn what_failed_once_does_not_fail_again() {
    for (which, known, tell) in [
        ("whatever", REGRESSIONS, tell as fn(u64, bool) -> Told),
        ("everything", ORCHESTRA_REGRESSIONS, play),
    ] {
        let seeds: Vec<u64> = known.iter().map(|(seed, _)| *seed).collect();
        let (failed, _) = tell_all(&seeds, false, which, tell);
        assert!(failed.is_empty(), "{failed:?}; they found once: {known:?}");
    }
}

#[test]
fn a_seed_tells_the_same_story_again() {
    for seed in [3, 4] {
        let (one, other) = (tell(seed, false), tell(seed, false));
        assert_eq!((one.trace, one.tally.lines()), (other.trace, other.tally.lines()));
    }
}
