//! Services that run by the clock.

use serde_json::{Value, json};

use super::world::World;
use crate::{
    model::{ContainerState as S, Tick, WallTime},
    node::{Refusal, ServiceVerb},
};

const MINUTE: u64 = 60_000;
/// 27 January 2026, 09:00:00 UTC.
const NINE: u64 = 1_769_504_400_000;

fn timed(schedule: &str, more: Value) -> Value {
    let mut cron = json!({"schedule": schedule});
    for (key, value) in more.as_object().unwrap() {
        cron[key] = value.clone();
    }
    json!({"image": "job", "x-fizz": {"cron": cron}})
}

/// A world at half a minute past nine.
fn world() -> World {
    let mut world = World::new();
    world.set_clock(WallTime(NINE + MINUTE / 2));
    world
}

/// The name of the run of a minute after nine.
fn run(minute: u64) -> String {
    format!("shop-job-{}", Tick::of(WallTime(NINE + minute * MINUTE)).0)
}

fn names(minutes: &[u64]) -> Vec<String> {
    minutes.iter().map(|it| run(*it)).collect()
}

#[test]
fn a_service_that_runs_by_the_clock_runs_once_at_each_tick_and_its_last_runs_are_kept() {
    let mut world = world();
    world.exits("job", 0);
    world.up(json!({"job": timed("*/5 * * * *", json!({}))}));
    assert!(world.is_ready("job") && world.runs("job").is_empty());
    world.pass(4 * MINUTE);
    assert!(world.runs("job").is_empty());
    world.pass(MINUTE);
    assert_eq!(world.runs("job"), [(run(5), S::Stopped)]);
    world.pass(10 * MINUTE);
    world.exits("job", 1);
    world.pass(10 * MINUTE);
    world.exits("job", 0);
    world.pass(10 * MINUTE);
    let kept: Vec<String> = world.runs("job").into_iter().map(|it| it.0).collect();
    // The runs at 20 and 25 failed.
    assert_eq!(kept, names(&[15, 20, 25, 30, 35]));
    assert_eq!((world.made(), world.is_ready("job")), (7, true));
    // Neither an `up` that changes nothing nor a new daemon runs anything again.
    world.up_again();
    world.restart_daemon();
    world.verb(&["job"], ServiceVerb::Start);
    assert_eq!(world.made(), 7);
    world.down();
    assert!(world.runs("job").is_empty());
}

#[test]
fn a_run_is_retried_like_a_job_and_stays_what_it_was_made_from() {
    let mut world = world();
    let mut service = timed("*/5 * * * *", json!({}));
    service["x-fizz"]["job"] = json!({"retries": 1});
    world.up(json!({"job": service.clone()}));
    world.pass(5 * MINUTE);
    world.crash(&run(5), 1);
    world.pass(1_000);
    assert_eq!((world.running(), world.starts(&run(5))), (names(&[5]), 2));
    service["image"] = json!("job:2");
    world.up(json!({"job": service}));
    assert_eq!((world.running(), world.made()), (names(&[5]), 1));
    world.crash(&run(5), 1);
    assert_eq!(world.runs("job"), [(run(5), S::Failed)]);
    world.pass(5 * MINUTE);
    assert_eq!(world.images("job"), ["job", "job:2"]);
}

#[test]
fn runs_that_are_done_take_the_place_of_none_that_is_due() {
    let mut world = world();
    world.exits("job", 0);
    let mut service = timed("*/5 * * * *", json!({}));
    service["deploy"] = json!({"update_config": {"parallelism": 1}});
    world.up(json!({"job": service.clone()}));
    world.pass(5 * MINUTE);
    service["image"] = json!("job:2");
    world.exits("job:2", 0);
    world.up(json!({"job": service}));
    world.pass(10 * MINUTE);
    let ran: Vec<String> = world.runs("job").into_iter().map(|it| it.0).collect();
    assert_eq!(ran, names(&[5, 10, 15]));
}

#[test]
fn a_tick_is_skipped_while_a_run_goes_on_unless_the_service_says_otherwise() {
    let after = |policy: &str| {
        let mut world = world();
        world.up(json!({"job": timed("*/5 * * * *", json!({"concurrency": policy}))}));
        world.pass(11 * MINUTE);
        world
    };
    let mut forbids = after("forbid");
    assert_eq!(forbids.running(), names(&[5]));
    forbids.crash(&run(5), 0);
    forbids.pass(MINUTE);
    assert!(forbids.running().is_empty());
    forbids.pass(4 * MINUTE);
    assert_eq!(forbids.running(), names(&[15]));
    assert_eq!(after("allow").running(), names(&[5, 10]));
    let replaces = after("replace");
    assert_eq!((replaces.running(), replaces.runs("job").len()), (names(&[10]), 1));
    let log = replaces.log();
    assert_eq!(
        log,
        [
            format!("start {}", run(5)),
            "stop 1".into(),
            "remove 1".into(),
            format!("start {}", run(10))
        ]
    );
}

#[test]
fn ticks_that_were_missed_are_forgotten_or_one_run_makes_up_for_them() {
    let away = |policy: &str| {
        let mut world = world();
        world.exits("job", 0);
        world.up(json!({"job": timed("0 * * * *", json!({"missed": policy}))}));
        // The daemon is away from before ten until half past twelve.
        world.set_clock(WallTime(NINE + 210 * MINUTE));
        world.restart_daemon();
        world.pass(1_000);
        world
    };
    assert!(away("skip").runs("job").is_empty());
    let mut late = away("run_once");
    assert_eq!(late.runs("job"), [(run(180), S::Stopped)]);
    late.pass(30 * MINUTE);
    assert_eq!(late.runs("job").len(), 2);
}

#[test]
fn what_was_stopped_missed_nothing_and_what_ran_then_goes_on() {
    let mut world = world();
    world.up(json!({"job": timed("*/5 * * * *", json!({"missed": "run_once"}))}));
    world.pass(5 * MINUTE);
    world.verb(&["job"], ServiceVerb::Stop(None));
    world.pass(20 * MINUTE);
    assert_eq!(world.runs("job"), [(run(5), S::Stopped)]);
    world.verb(&["job"], ServiceVerb::Start);
    assert_eq!((world.running(), world.made()), (names(&[5]), 1));
    world.crash(&run(5), 0);
    world.pass(5 * MINUTE);
    assert_eq!(world.running(), names(&[30]));
}

#[test]
fn a_run_that_somebody_killed_is_over_and_does_not_bar_the_next() {
    let mut world = world();
    world.up(json!({"job": timed("*/5 * * * *", json!({}))}));
    world.pass(5 * MINUTE);
    world.verb(&["job"], ServiceVerb::Kill("KILL".to_owned()));
    world.pass(5 * MINUTE);
    assert_eq!(world.running(), names(&[10]));
}

#[test]
fn scaled_to_none_it_is_suspended_and_more_than_one_is_refused() {
    let mut world = world();
    world.up(json!({"job": timed("*/5 * * * *", json!({}))}));
    let scale = |count| ServiceVerb::Scale([("job".parse().unwrap(), count)].into());
    world.verb(&[], scale(0));
    world.pass(20 * MINUTE);
    assert!(world.runs("job").is_empty());
    world.verb(&[], scale(1));
    world.pass(5 * MINUTE);
    assert_eq!(world.running(), names(&[25]));
    let mut many = timed("@daily", json!({}));
    many["deploy"] = json!({"replicas": 2});
    let refused = world.deploy(json!({"job": many}), |_| ());
    assert!(matches!(refused, Err(Refusal::Invalid(why)) if why[0].contains("once at each tick")));
}

#[test]
fn a_clock_that_was_years_ahead_and_is_set_right_keeps_nothing_waiting() {
    let mut world = world();
    world.exits("job", 0);
    world.set_clock(WallTime(NINE + 1_000_000 * MINUTE));
    world.up(json!({"job": timed("*/5 * * * *", json!({}))}));
    world.pass(6 * MINUTE);
    assert_eq!(world.runs("job").len(), 1);
    world.set_clock(WallTime(NINE));
    world.pass(6 * MINUTE);
    assert!(world.runs("job").iter().any(|it| it.0 == run(5)));
}
