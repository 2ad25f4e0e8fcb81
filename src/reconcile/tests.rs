//! Jobs and runs by the clock over several nodes, as one of them sees them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::{Value, json};

use super::*;
use crate::{
    compose::{decode, json::to_tree, problem::Problems},
    model::{ContainerId, ContainerState as S, Millis, Revision, ServiceKey, Tick, WallTime},
    state::{Intent, Rollout, Template},
};

const ME: NodeId = NodeId(1);
const OTHER: NodeId = NodeId(2);

fn spec(name: &str, service: Value) -> ServiceSpec {
    let mut services = json!({"job": {"image": "job"}});
    services[name] = service;
    let model = json!({"name": "shop", "services": services});
    let mut problems = Problems::default();
    let project = decode::part(&to_tree(&model), &mut problems);
    let mut project = project.unwrap_or_else(|| panic!("{problems}"));
    project.services.remove(&name.parse().unwrap()).unwrap()
}

fn service(replicas: u32) -> ServiceRecord {
    let revision = Revision(1);
    ServiceRecord {
        template: Template { definition: "{}".into(), base: revision, revision, image: None },
        previous: None,
        rollout: Rollout::default(),
        moves: BTreeMap::new(),
        ticks_after: None,
        done: BTreeSet::new(),
        replicas,
        intent: Intent::Run,
        restarts: 0,
        starts: 1,
        grace: None,
        renew_volumes: false,
    }
}

/// A container; those with higher numbers are younger.
fn container(
    number: u128,
    slot: u32,
    node: NodeId,
    state: S,
    code: Option<i64>,
) -> ContainerRecord {
    let service = ServiceKey { project: "shop".parse().unwrap(), service: "job".parse().unwrap() };
    let created = WallTime(u64::try_from(number).unwrap());
    ContainerRecord {
        slot: Slot(slot),
        runtime_id: Some(crate::model::RuntimeId(number.to_string().into())),
        state,
        since: WallTime(0),
        exit_code: code,
        starts: 1,
        ..ContainerRecord::unmade(ContainerId(number), node, service, Revision(1), created)
    }
}

fn instance(record: &ContainerRecord) -> Instance<'_> {
    Instance {
        record,
        stood: Millis(0),
        busy: false,
        resting: false,
        alive: record.state.is_up(),
        checked: false,
        once: true,
        held_back: false,
        upheld: false,
        owners: Owners::Keep,
    }
}

fn posts(list: &[(u32, NodeId)]) -> Vec<Post> {
    list.iter().map(|(slot, node)| Post { slot: Slot(*slot), node: *node }).collect()
}

fn slots(list: &[u32]) -> Vec<Slot> {
    list.iter().copied().map(Slot).collect()
}

fn job() -> ServiceSpec {
    spec("job", json!({"image": "job", "x-fizz": {"job": {"retries": 1}}}))
}

fn steps(share: Share<'_>) -> Vec<Step> {
    let services = BTreeMap::from([("job".parse().unwrap(), share)]);
    plan(&Project { me: ME, services }).steps.into_iter().map(|it| it.1).collect()
}

fn share<'a>(
    record: &'a ServiceRecord,
    spec: &'a ServiceSpec,
    posts: Vec<Post>,
    containers: &'a [ContainerRecord],
) -> Share<'a> {
    let instances = containers.iter().map(instance).collect();
    Share { record, spec, each_node: false, posts, unplaced: vec![], gate: None, instances }
}

#[test]
fn what_completed_wants_no_place_and_stays_where_it_was_whatever_became_of_that_node() {
    let (record, spec) = (service(3), job());
    let mut polite = container(4, 3, OTHER, S::Stopped, Some(0));
    polite.held = true;
    let mut old = container(5, 2, OTHER, S::Stopped, Some(0));
    old.revision = Revision(7);
    let all = [
        container(2, 1, OTHER, S::Stopped, Some(0)),
        container(3, 2, ME, S::Failed, Some(1)),
        polite,
        old,
        container(6, 9, ME, S::Stopped, Some(0)),
    ];
    let found = runs(&record, &spec, all.iter(), at(0, 0)).unwrap();
    assert_eq!(found, Runs { open: slots(&[2, 3]), over: posts(&[(1, OTHER)]) });
    // In a partition both sides ran it: the older counts.
    let both =
        [container(3, 1, ME, S::Stopped, Some(0)), container(2, 1, OTHER, S::Stopped, Some(0))];
    assert_eq!(runs(&record, &spec, both.iter(), at(0, 0)).unwrap().over, posts(&[(1, OTHER)]));
    // Asked to restart, it is to run again.
    let restarted = ServiceRecord { restarts: 1, ..record };
    assert_eq!(runs(&restarted, &spec, both.iter(), at(0, 0)).unwrap().open, slots(&[1, 2, 3]));
}

#[test]
fn of_a_job_on_each_node_every_node_is_done_by_itself() {
    let spec = spec("job", json!({"image": "job", "deploy": {"mode": "global-job"}}));
    let both =
        [container(3, 1, ME, S::Stopped, Some(0)), container(2, 1, OTHER, S::Stopped, Some(0))];
    let found = runs(&service(1), &spec, both.iter(), at(0, 0)).unwrap();
    assert_eq!(found.over, posts(&[(1, ME), (1, OTHER)]));
}

#[test]
fn what_began_anew_unheard_of_the_end_elsewhere_is_stopped_and_removed() {
    let (record, spec) = (service(1), job());
    let done = container(9, 1, OTHER, S::Stopped, Some(0));
    let again = [container(2, 1, ME, S::Running, None), done.clone()];
    let halt = steps(share(&record, &spec, posts(&[(1, OTHER)]), &again));
    assert_eq!(halt, [Step::Halt(ContainerId(2))]);
    let ended = [container(2, 1, ME, S::Stopped, Some(143)), done];
    let discard = steps(share(&record, &spec, posts(&[(1, OTHER)]), &ended));
    assert_eq!(discard, [Step::Discard { container: ContainerId(2), volumes: false }]);
}

#[test]
fn a_job_that_is_to_be_elsewhere_begins_there_once_it_has_stopped_here() {
    let (record, spec) = (service(1), job());
    let runs_there = [container(2, 1, OTHER, S::Running, None)];
    assert!(steps(share(&record, &spec, posts(&[(1, ME)]), &runs_there)).is_empty());
    let stopped = [container(2, 1, OTHER, S::Stopped, Some(143))];
    let begun = steps(share(&record, &spec, posts(&[(1, ME)]), &stopped));
    assert_eq!(begun, [Step::Record(Slot(1), Which::Current)]);
}

#[test]
fn who_waits_for_a_job_starts_when_it_completed_on_a_node_that_died_since() {
    let waits = json!({"job": {"condition": "service_completed_successfully", "required": true}});
    let waiter = spec("app", json!({"image": "app", "depends_on": waits}));
    let (record, spec) = (service(1), job());
    let mine = ContainerRecord {
        service: ServiceKey { project: "shop".parse().unwrap(), service: "app".parse().unwrap() },
        ..container(3, 1, ME, S::Pending, None)
    };
    let app = || Share {
        instances: vec![Instance { once: false, ..instance(&mine) }],
        ..share(&record, &waiter, posts(&[(1, ME)]), &[])
    };
    let look = |job: Share<'_>| {
        let services =
            BTreeMap::from([("app".parse().unwrap(), app()), ("job".parse().unwrap(), job)]);
        plan(&Project { me: ME, services }).steps
    };
    let done = [container(2, 1, OTHER, S::Stopped, Some(0))];
    let started = look(share(&record, &spec, posts(&[(1, OTHER)]), &done));
    assert_eq!(
        started.into_iter().map(|it| it.1).collect::<Vec<_>>(),
        [Step::Start(ContainerId(3), Cause::Wanted)]
    );
    let failed = [container(2, 1, OTHER, S::Failed, Some(1))];
    let waits = look(share(&record, &spec, posts(&[(1, OTHER)]), &failed));
    let why: Arc<str> = "job to complete".into();
    assert_eq!(waits.into_iter().map(|it| it.1).next(), Some(Step::Wait(ContainerId(3), why)));
}

fn timed(concurrency: &str, missed: &str) -> ServiceSpec {
    let cron = json!({
        "schedule": "*/10 * * * *", "concurrency": concurrency, "missed": missed});
    spec("job", json!({"image": "job", "x-fizz": {"cron": cron}}))
}

/// A minute long after the first tick that can be.
const NOON: u32 = 29_500_000;

fn at(minute: u32, seconds: u64) -> WallTime {
    WallTime(Tick(minute).time().0 + seconds * 1_000)
}

/// The runs that are to begin or go on, after noon.
fn open(spec: &ServiceSpec, all: &[ContainerRecord], now: WallTime) -> Vec<u32> {
    let record = ServiceRecord { ticks_after: Some(Tick(NOON)), ..service(1) };
    let found = runs(&record, spec, all.iter(), now).unwrap();
    found.open.iter().map(|it| it.0 - NOON).collect()
}

#[test]
fn each_tick_is_due_until_its_run_is_recorded_and_then_no_more() {
    let spec = timed("forbid", "run_once");
    assert!(open(&spec, &[], at(NOON + 9, 59)).is_empty());
    assert_eq!(open(&spec, &[], at(NOON + 10, 1)), [10]);
    let goes_on = [container(1, NOON + 10, OTHER, S::Pending, None)];
    assert_eq!(open(&spec, &goes_on, at(NOON + 10, 30)), [10]);
    let over = [container(1, NOON + 10, OTHER, S::Stopped, Some(0))];
    assert!(open(&spec, &over, at(NOON + 19, 59)).is_empty());
    assert_eq!(open(&spec, &over, at(NOON + 20, 0)), [20]);
    // Another's clock is ahead; this one is not to run the tick before.
    let ahead = [container(1, NOON + 20, OTHER, S::Stopped, Some(0))];
    assert!(open(&spec, &ahead, at(NOON + 19, 59)).is_empty());
    // A clock was wrong by years, and was set right.
    let wrong = [container(1, NOON + 1_000_000, OTHER, S::Stopped, Some(0))];
    assert_eq!(open(&spec, &wrong, at(NOON + 10, 0)), [10]);
}

#[test]
fn a_tick_is_late_for_a_minute_and_then_it_is_missed() {
    for (missed, after, expected) in [
        ("skip", at(NOON + 10, 59), vec![10]),
        ("skip", at(NOON + 11, 30), vec![]),
        ("run_once", at(NOON + 39, 0), vec![30]),
    ] {
        assert_eq!(open(&timed("forbid", missed), &[], after), expected, "{missed} {after:?}");
    }
}

#[test]
fn a_run_whose_node_died_goes_on_elsewhere_and_one_that_is_over_does_not() {
    let all = [
        container(1, NOON - 20, OTHER, S::Running, None),
        container(2, NOON - 10, OTHER, S::Stopped, Some(0)),
        container(3, 1, ME, S::Running, None),
    ];
    let record = ServiceRecord { ticks_after: Some(Tick(NOON - 30)), ..service(1) };
    let look = |policy: &str, record: &ServiceRecord| {
        runs(record, &timed(policy, "skip"), all.iter(), at(NOON, 1)).unwrap()
    };
    assert_eq!(look("allow", &record).open, slots(&[NOON - 20, NOON]));
    assert_eq!(look("allow", &record).over, posts(&[(NOON - 10, OTHER)]));
    assert_eq!(look("forbid", &record).open, slots(&[NOON - 20]));
    // With `replace` the last is the only one that goes on, also when it has ended first.
    assert_eq!(look("replace", &record).open, slots(&[NOON]));
    let suspended = ServiceRecord { replicas: 0, ..record };
    assert!(look("replace", &suspended).open.is_empty());
}

#[test]
fn the_last_runs_of_either_kind_are_kept() {
    let spec = timed("forbid", "skip");
    let all: Vec<ContainerRecord> = (1..=10)
        .map(|it| match it % 2 {
            0 => container(it.into(), NOON + it, ME, S::Stopped, Some(0)),
            _ => container(it.into(), NOON + it, ME, S::Failed, Some(1)),
        })
        .collect();
    let found = runs(&service(1), &spec, all.iter(), at(NOON, 0)).unwrap();
    let kept: Vec<u32> = found.over.iter().map(|it| it.slot.0 - NOON).collect();
    assert_eq!(kept, [5, 6, 7, 8, 9, 10]);
}

#[test]
fn what_is_done_is_kept_while_another_of_its_tick_may_go_on_somewhere() {
    let spec = timed("allow", "skip");
    let done = (1..=5).map(|it| container(it.into(), NOON + it, ME, S::Stopped, Some(0)));
    // Its node died, and what it ran was run again here.
    let unheard = container(9, NOON + 1, OTHER, S::Pending, None);
    let all: Vec<ContainerRecord> = done.chain([unheard]).collect();
    let found = runs(&service(1), &spec, all.iter(), at(NOON + 5, 30)).unwrap();
    let kept: Vec<u32> = found.over.iter().map(|it| it.slot.0 - NOON).collect();
    assert_eq!((kept, found.open), (vec![1, 3, 4, 5], vec![]));
}
