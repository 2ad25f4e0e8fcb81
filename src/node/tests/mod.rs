//! Stories of one node, told through a world that carries its effects out at once. The world is
//! below the stories, in `world`.

mod asked;
mod cron;
mod jobs;
mod keys;
mod late;
mod parted;
mod volumes;
mod waiting;
mod wellbeing;
mod world;

use proptest::prelude::*;
use serde_json::json;

use super::{Event, Refusal, Request, ServiceVerb};
use crate::model::ContainerState as S;
use world::World;

#[test]
fn a_deployment_becomes_running_containers() {
    let mut world = World::new();
    world.up(json!({"web": {"image": "web", "scale": 2}, "db": {"image": "db"}}));
    assert_eq!(world.running(), ["shop-db-1", "shop-web-1", "shop-web-2"]);
    assert!(world.is_ready("web") && world.is_ready("db"));
}

#[test]
fn the_same_deployment_again_touches_nothing() {
    let mut world = World::new();
    world.up(json!({"web": {"image": "web"}}));
    let before = world.runtime_ids();
    world.up(json!({"web": {"image": "web"}}));
    assert_eq!(world.runtime_ids(), before);
    assert_eq!(world.starts("shop-web-1"), 1);
}

#[test]
fn a_dependent_waits_until_its_dependency_is_healthy() {
    let mut world = World::new();
    world.health("db", false);
    world.up(json!({
        "db": {"image": "db", "healthcheck": {"test": ["CMD", "ok"], "interval": "1s", "retries": 99}},
        "web": {"image": "web", "depends_on": {"db": {"condition": "service_healthy", "required": true}}},
    }));
    world.pass(3_000);
    assert_eq!(world.running(), ["shop-db-1"]);
    assert_eq!(world.doing("shop-web-1"), "waiting for db to be healthy");
    world.health("db", true);
    world.pass(2_000);
    assert_eq!(world.running(), ["shop-db-1", "shop-web-1"]);
}

#[test]
fn a_dependent_of_a_failed_migration_is_stuck_and_says_why() {
    let mut world = World::new();
    world.exits("migrate", 3);
    world.up(json!({
        "migrate": {"image": "migrate"},
        "web": {"image": "web", "depends_on": {
            "migrate": {"condition": "service_completed_successfully", "required": true}}},
    }));
    assert!(world.running().is_empty());
    assert_eq!(world.stuck("web"), "waits for migrate to complete, but it ended with status 3");
    assert!(world.stuck("migrate").contains("ended with status 3"));
    world.exits("migrate", 0);
    world.up_again();
    assert_eq!(world.running(), ["shop-web-1"]);
    assert!(world.is_ready("migrate"));
}

#[test]
fn changing_only_replicas_or_deploy_labels_restarts_nothing() {
    let mut world = World::new();
    world.up(json!({"web": {"image": "web"}}));
    let before = world.runtime_ids();
    world.up(json!({"web": {"image": "web", "deploy": {"replicas": 2, "labels": {"a": "b"}}}}));
    assert!(world.runtime_ids().is_superset(&before));
    assert_eq!(world.running(), ["shop-web-1", "shop-web-2"]);
    world.up(json!({"web": {"image": "web"}}));
    assert_eq!(world.runtime_ids(), before);
}

#[test]
fn a_changed_service_is_made_beside_the_old_one_which_stops_only_then() {
    let mut world = World::new();
    world.up(json!({"web": {"image": "web"}}));
    world.clear_log();
    world.up(json!({"web": {"image": "web:2"}}));
    assert_eq!(world.log(), ["make shop-web-1", "stop 1", "remove 1", "start shop-web-1"]);
    assert_eq!(world.running(), ["shop-web-1"]);
}

#[test]
fn a_revision_that_cannot_be_made_leaves_the_old_one_running() {
    let mut world = World::new();
    world.up(json!({"web": {"image": "web"}}));
    let before = world.runtime_ids();
    world.refuses("missing");
    world.up(json!({"web": {"image": "missing"}}));
    assert_eq!(world.runtime_ids(), before);
    assert!(world.stuck("web").contains("no such image"));
    world.up(json!({"web": {"image": "web"}}));
    assert_eq!(world.runtime_ids(), before);
    assert!(world.is_ready("web"));
}

#[test]
fn the_old_one_serves_until_what_the_new_one_waits_for_is_there() {
    let mut world = World::new();
    let shop = |version: &str| {
        json!({
            "migrate": {"image": format!("migrate:{version}")},
            "web": {"image": format!("web:{version}"), "depends_on": {
                "migrate": {"condition": "service_completed_successfully", "required": true}}},
        })
    };
    world.exits("migrate", 0);
    world.up(shop("1"));
    world.exits("migrate", 5);
    world.up(shop("2"));
    assert_eq!(
        (world.running(), world.images("web")),
        (vec!["shop-web-1".into()], vec!["web:1".into(), "web:2".into()])
    );
    world.exits("migrate", 0);
    world.up_again();
    assert_eq!(
        (world.running(), world.images("web")),
        (vec!["shop-web-1".into()], vec!["web:2".into()])
    );
}

#[test]
fn replicas_are_replaced_one_after_the_other_unless_told_otherwise() {
    let mut world = World::new();
    world.up(json!({"web": {"image": "web", "scale": 3}}));
    world.health("web", false);
    let check = json!({"test": ["CMD", "ok"], "interval": "1s", "retries": 99});
    world.up(json!({"web": {"image": "web:2", "scale": 3, "healthcheck": check}}));
    world.pass(5_000);
    assert_eq!(world.images("web"), ["web", "web", "web:2"]);
    world.health("web", true);
    world.pass(20_000);
    assert_eq!(world.images("web"), ["web:2", "web:2", "web:2"]);
}

#[test]
fn a_crash_is_restarted_after_pauses_that_double() {
    let mut world = World::new();
    world.up(json!({"web": {"image": "web", "restart": "always"}}));
    for pause in [100, 200, 400] {
        world.crash("shop-web-1", 1);
        assert_eq!(world.state("shop-web-1"), S::Failed);
        world.pass(pause - 1);
        assert_eq!(world.state("shop-web-1"), S::Failed);
        world.pass(1);
        assert_eq!(world.state("shop-web-1"), S::Running);
    }
    world.pass(10_000);
    world.crash("shop-web-1", 1);
    world.pass(100);
    assert_eq!(world.state("shop-web-1"), S::Running);
    assert_eq!(world.record("shop-web-1").runs, 4);
}

#[test]
fn a_container_that_cannot_start_is_tried_again_and_said_to_be_stuck() {
    let mut world = World::new();
    world.refuses("missing");
    world.up(json!({"web": {"image": "missing", "restart": "always"}}));
    assert!(world.stuck("web").contains("no such image"));
    world.pass(60_000);
    assert!(world.stuck("web").contains("no such image"));
    world.allows("missing");
    world.pass(60_000);
    assert_eq!((world.running(), world.stuck("web")), (vec!["shop-web-1".into()], String::new()));
}

#[test]
fn on_failure_gives_up_after_its_attempts_and_leaves_a_success_alone() {
    let mut world = World::new();
    world.up(json!({"web": {"image": "web", "restart": "on-failure:2"}}));
    for _ in 0..3 {
        world.crash("shop-web-1", 7);
        world.pass(5_000);
    }
    assert_eq!(world.state("shop-web-1"), S::Failed);
    assert!(world.stuck("web").contains("ended with status 7"));
    world.up_again();
    assert_eq!(world.state("shop-web-1"), S::Running);
    world.crash("shop-web-1", 0);
    world.pass(60_000);
    assert_eq!(world.state("shop-web-1"), S::Stopped);
}

#[test]
fn a_crash_without_a_restart_policy_stays_as_it_is_until_the_next_up() {
    let mut world = World::new();
    world.up(json!({"web": {"image": "web"}}));
    world.crash("shop-web-1", 2);
    world.pass(120_000);
    assert_eq!(world.state("shop-web-1"), S::Failed);
    let before = world.runtime_ids();
    world.up_again();
    assert_eq!((world.state("shop-web-1"), world.runtime_ids()), (S::Running, before));
}

#[test]
fn a_container_that_stays_unhealthy_is_given_up_and_replaced() {
    let mut world = World::new();
    let check = json!({"test": ["CMD", "ok"], "interval": "1s", "retries": 2});
    world.health("web", true);
    world.up(json!({"web": {"image": "web", "healthcheck": check}}));
    world.pass(1_000);
    assert_eq!(world.state("shop-web-1"), S::Healthy);
    let first = world.runtime_ids();
    world.health("web", false);
    world.pass(2_000);
    assert_eq!(world.state("shop-web-1"), S::Unhealthy);
    world.health("web", true);
    world.pass(1_000);
    assert_eq!(world.state("shop-web-1"), S::Healthy);
    world.health("web", false);
    world.pass(4_000);
    world.health("web", true);
    world.pass(4_000);
    assert_eq!(world.state("shop-web-1"), S::Healthy);
    assert!(world.runtime_ids().is_disjoint(&first));
}

#[test]
fn restart_no_keeps_even_a_container_that_was_given_up() {
    let mut world = World::new();
    let check = json!({"test": ["CMD", "ok"], "interval": "1s", "retries": 1});
    world.health("web", false);
    world.up(json!({"web": {"image": "web", "restart": "no", "healthcheck": check}}));
    world.pass(30_000);
    assert_eq!(world.state("shop-web-1"), S::Failed);
    assert_eq!(world.made(), 1);
    assert!(world.running().is_empty());
}

#[test]
fn stop_keeps_the_containers_and_start_brings_the_same_ones_back() {
    let mut world = World::new();
    world.up(json!({"web": {"image": "web", "restart": "always"}}));
    let before = world.runtime_ids();
    world.verb(&["web"], ServiceVerb::Stop(None));
    world.pass(100_000);
    assert_eq!(world.state("shop-web-1"), S::Stopped);
    world.verb(&["web"], ServiceVerb::Start);
    assert_eq!((world.state("shop-web-1"), world.runtime_ids()), (S::Running, before));
}

#[test]
fn restart_restarts_in_place_and_those_that_restart_with_it() {
    let mut world = World::new();
    let depends =
        json!({"db": {"condition": "service_started", "restart": true, "required": true}});
    world.up(json!({"db": {"image": "db"}, "web": {"image": "web", "depends_on": depends}}));
    world.verb(&["db"], ServiceVerb::Restart { grace: None, no_deps: false });
    assert_eq!((world.starts("shop-db-1"), world.starts("shop-web-1")), (2, 2));
    world.verb(&["db"], ServiceVerb::Restart { grace: None, no_deps: true });
    assert_eq!((world.starts("shop-db-1"), world.starts("shop-web-1")), (3, 2));
    assert_eq!(world.made(), 2);
}

#[test]
fn a_killed_container_is_not_started_again_by_itself() {
    let mut world = World::new();
    world.up(json!({"web": {"image": "web", "restart": "always"}}));
    world.verb(&["web"], ServiceVerb::Kill("SIGKILL".to_owned()));
    world.pass(120_000);
    assert_eq!(world.state("shop-web-1"), S::Stopped);
    world.up_again();
    assert_eq!(world.state("shop-web-1"), S::Running);
}

#[test]
fn down_stops_dependents_first_and_leaves_nothing() {
    let mut world = World::new();
    let depends = json!({"db": {"condition": "service_started", "required": true}});
    world.up(json!({"db": {"image": "db"}, "web": {"image": "web", "depends_on": depends}}));
    world.clear_log();
    world.down();
    assert_eq!(world.log(), ["stop 2", "stop 1", "remove 2", "remove 1", "clear shop"]);
    assert!(world.view().state.deployments().iter().next().is_none());
    assert!(world.view().state.services().iter().next().is_none());
    assert!(world.view().state.containers().next().is_none());
}

#[test]
fn down_does_not_lose_its_way_when_a_job_that_others_waited_for_goes_first() {
    let mut world = World::new();
    world.exits("job", 0);
    let depends = json!({"job": {"condition": "service_completed_successfully", "required": true}});
    world.up(json!({"job": {"image": "job"}, "web": {"image": "web", "depends_on": depends}}));
    assert_eq!(world.running(), ["shop-web-1"]);
    world.down();
    assert!(world.view().state.deployments().iter().next().is_none());
    assert!(world.view().state.containers().next().is_none());
}

#[test]
fn a_service_that_left_the_file_stays_until_orphans_are_removed() {
    let mut world = World::new();
    world.up(json!({"web": {"image": "web"}, "old": {"image": "old"}}));
    let planned = world.up(json!({"web": {"image": "web"}}));
    assert_eq!(planned.orphans.iter().map(ToString::to_string).collect::<Vec<_>>(), ["old"]);
    assert_eq!(world.running(), ["shop-old-1", "shop-web-1"]);
    world
        .deploy(json!({"web": {"image": "web"}}), |request| request.remove_orphans = true)
        .unwrap();
    assert_eq!(world.running(), ["shop-web-1"]);
}

#[test]
fn what_is_not_in_the_new_file_keeps_the_resources_that_it_had() {
    let mut world = World::new();
    let old = json!({"image": "old", "networks": {"back": null}});
    let networks = json!({"default": {"name": "shop_default"}, "back": {"name": "shop_back"}});
    world
        .deploy(json!({"web": {"image": "web"}, "old": old}), |request| {
            request.model["networks"] = networks;
        })
        .unwrap();
    world.up(json!({"web": {"image": "web:2"}}));
    assert_eq!(world.running(), ["shop-old-1", "shop-web-1"]);
    world.restart_daemon();
    world.crash("shop-old-1", 1);
    world.verb(&["old"], ServiceVerb::Start);
    assert_eq!(world.running(), ["shop-old-1", "shop-web-1"]);
}

#[test]
fn a_run_of_a_service_with_dependencies_starts_them_first() {
    let mut world = World::new();
    let depends = json!({"db": {"condition": "service_started", "required": true}});
    let web = json!({"image": "web", "scale": 0, "depends_on": depends});
    world.up(json!({"db": {"image": "db"}, "web": web}));
    world.verb(&["db"], ServiceVerb::Stop(None));
    assert!(world.running().is_empty());
    let id = world.run("web", false);
    let name = world.name_of(id);
    assert_eq!(world.running(), ["shop-db-1".to_owned(), name]);
}

#[test]
fn a_container_removed_behind_our_back_is_made_anew() {
    let mut world = World::new();
    world.up(json!({"web": {"image": "web"}}));
    world.vanish("shop-web-1");
    assert_eq!((world.running(), world.made()), (vec!["shop-web-1".to_owned()], 2));
}

#[test]
fn a_run_waits_for_its_client_and_is_removed_when_asked() {
    let mut world = World::new();
    world.up(json!({"db": {"image": "db"}, "job": {"image": "job", "scale": 0}}));
    let id = world.run("job", true);
    assert_eq!(world.running(), ["shop-db-1"]);
    world.ask(Request::Release(id)).unwrap();
    assert_eq!(world.running().len(), 2);
    let name = world.name_of(id);
    world.crash(&name, 0);
    assert!(world.view().state.container(id).is_none());
    assert_eq!(world.running(), ["shop-db-1"]);
}

#[test]
fn a_plan_that_was_overtaken_is_refused_and_a_dry_run_changes_nothing() {
    let mut world = World::new();
    let web = json!({"web": {"image": "web"}});
    let planned = world.deploy(web.clone(), |request| request.dry_run = true).unwrap();
    assert_eq!((planned.version_before, world.made()), (0, 0));
    world.up(web.clone());
    let refusal = world.deploy(web, |request| request.if_version = Some(0)).unwrap_err();
    assert!(matches!(refusal, Refusal::Overtaken { version: 1, planned: 0, .. }), "{refusal}");
}

#[test]
fn a_wrong_model_is_refused_with_every_problem() {
    let mut world = World::new();
    let wrong = json!({"web": {"image": "web", "ports": [{"target": 99999}], "mem_limit": "much"}});
    let refusal = world.deploy(wrong, |_| ()).unwrap_err();
    let Refusal::Invalid(lines) = refusal else { panic!("{refusal}") };
    assert!(lines.len() == 2 && lines[0].contains("services.web"), "{lines:?}");
}

#[test]
fn while_the_runtime_is_away_nothing_is_concluded() {
    let mut world = World::new();
    world.up(json!({"web": {"image": "web", "restart": "always"}}));
    world.lose_runtime();
    world.pass(60_000);
    assert_eq!(world.state("shop-web-1"), S::Running);
    world.find_runtime();
    assert_eq!((world.made(), world.starts("shop-web-1")), (1, 1));
}

#[test]
fn a_daemon_killed_at_any_point_starts_nothing_twice_and_loses_nothing() {
    let story = |world: &mut World| {
        world.up(json!({
            "db": {"image": "db"},
            "web": {"image": "web", "scale": 2, "depends_on": {
                "db": {"condition": "service_started", "required": true}}},
        }));
        world.up(json!({"db": {"image": "db"}, "web": {"image": "web:2", "scale": 2}}));
    };
    let mut whole = World::new();
    story(&mut whole);
    let effects = whole.effects_carried() - World::new().effects_carried();
    assert!(12 < effects, "the story is long enough to be cut: {effects}");
    for cut in 0..effects {
        for carried in [false, true] {
            let mut world = World::new();
            world.kill_daemon_at(cut, carried);
            story(&mut world);
            world.pass(15_000);
            assert!(world.was_killed(), "cut {cut}");
            assert_eq!(world.running(), whole.running(), "cut {cut}, carried {carried}");
            assert_eq!(world.images("web"), ["web:2", "web:2"], "cut {cut}, carried {carried}");
            assert!(world.at_most_one_ran_per_name(), "cut {cut}, carried {carried}");
        }
    }
}

#[test]
fn everything_a_node_knows_survives_its_disk() {
    let mut world = World::new();
    world.up(json!({"web": {"image": "web", "scale": 2, "labels": {"a": "b"}}}));
    world.crash("shop-web-2", 9);
    let (before, known) = (world.view(), world.agreed());
    world.restart_daemon();
    assert_eq!(world.agreed(), known);
    assert_eq!(world.view().projects, before.projects);
}

/// One thing that happens in a story made up by chance.
#[derive(Clone, Debug)]
enum Happening {
    Up { version: u8, replicas: u32 },
    Create { version: u8, replicas: u32 },
    Verb(&'static [&'static str], ServiceVerb),
    DownOnly(&'static str),
    Run(bool),
    Migrates(bool),
    StopsHang,
    StopsGo,
    HearAgain(u8),
    ListAgain,
    Crash(u8, i64),
    Vanish(u8),
    Health(bool),
    DaemonKilled,
    DaemonKilledAt(usize, bool),
    RuntimeLost,
    RuntimeFound,
    Pass(u64),
}

fn happening() -> impl Strategy<Value = Happening> {
    use Happening as H;
    prop_oneof![
        4 => (0..3_u8, 0..4_u32).prop_map(|(version, replicas)| H::Up { version, replicas }),
        1 => (0..3_u8, 0..4_u32).prop_map(|(version, replicas)| H::Create { version, replicas }),
        4 => (services(), verb()).prop_map(|(services, verb)| H::Verb(services, verb)),
        1 => prop_oneof![Just("db"), Just("web"), Just("migrate")].prop_map(H::DownOnly),
        1 => any::<bool>().prop_map(H::Run),
        1 => any::<bool>().prop_map(H::Migrates),
        1 => Just(H::StopsHang),
        1 => Just(H::StopsGo),
        1 => any::<u8>().prop_map(H::HearAgain),
        1 => Just(H::ListAgain),
        3 => (any::<u8>(), 0..3_i64).prop_map(|(which, code)| H::Crash(which, code)),
        2 => any::<u8>().prop_map(H::Vanish),
        2 => any::<bool>().prop_map(H::Health),
        2 => Just(H::DaemonKilled),
        2 => (0..20_usize, any::<bool>()).prop_map(|(at, carried)| H::DaemonKilledAt(at, carried)),
        1 => Just(H::RuntimeLost),
        1 => Just(H::RuntimeFound),
        5 => (1..20_000_u64).prop_map(H::Pass),
    ]
}

fn services() -> impl Strategy<Value = &'static [&'static str]> {
    prop_oneof![2 => Just(&["web"][..]), 1 => Just(&["db"][..]), 1 => Just(&[][..])]
}

fn verb() -> impl Strategy<Value = ServiceVerb> {
    prop_oneof![
        Just(ServiceVerb::Stop(None)),
        Just(ServiceVerb::Start),
        any::<bool>().prop_map(|no_deps| ServiceVerb::Restart { grace: None, no_deps }),
        Just(ServiceVerb::Kill("SIGKILL".to_owned())),
        any::<bool>().prop_map(|force| ServiceVerb::Remove { force, volumes: false }),
        (0..4_u32).prop_map(|it| ServiceVerb::Scale([("web".parse().unwrap(), it)].into())),
    ]
}

/// A database, a migration that must complete, and replicas that need both.
fn shop_of(version: u8, replicas: u32) -> serde_json::Value {
    let check = json!({"test": ["CMD", "ok"], "interval": "1s", "retries": 2});
    let on = |condition: &str| json!({"condition": condition, "restart": true, "required": true});
    json!({
        "db": {"image": format!("db:{}", version / 2), "restart": "always"},
        "migrate": {
            "image": format!("migrate:{version}"), "restart": "on-failure",
            "depends_on": {"db": on("service_started")},
        },
        "web": {
            "image": format!("web:{version}"), "scale": replicas, "restart": "always",
            "deploy": {"update_config": {"parallelism": 2}}, "healthcheck": check,
            "depends_on": {
                "db": on("service_started"), "migrate": on("service_completed_successfully"),
            },
        },
    })
}

fn happen(world: &mut World, heard: &mut Vec<Event>, happening: Happening) {
    use Happening as H;
    match happening {
        H::Up { version, replicas } => {
            world.up(shop_of(version, replicas));
        }
        H::Create { version, replicas } => {
            world.deploy(shop_of(version, replicas), |request| request.no_start = true).unwrap();
        }
        H::Verb(services, verb) => world.try_verb(services, verb),
        H::DownOnly(service) => world.try_down_only(service),
        H::Run(waits) => world.try_run("web", waits),
        H::Migrates(well) => world.exits("migrate", i64::from(!well)),
        H::StopsHang => world.hang_stops(),
        H::StopsGo => world.let_stop(),
        H::HearAgain(which) => {
            if let Some(event) = heard.get(usize::from(which) % heard.len().max(1)) {
                world.hear_again(event);
            }
        }
        H::ListAgain => {
            if let Some(event) = heard.last() {
                world.hear_again(event);
            }
        }
        H::Crash(which, code) => world.crash_some(which, code),
        H::Vanish(which) => world.vanish_some(which),
        H::Health(well) => world.health("web", well),
        H::DaemonKilled => world.restart_daemon(),
        H::DaemonKilledAt(cut, carried) => world.kill_daemon_at(cut, carried),
        H::RuntimeLost => world.lose_runtime(),
        H::RuntimeFound => world.find_runtime(),
        H::Pass(millis) => world.pass(millis),
    }
    heard.extend(world.sights());
    heard.push(world.list());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_it_settles_as_wanted(story in proptest::collection::vec(happening(), 1..30)) {
        let (mut world, mut heard) = (World::new(), vec![]);
        world.exits("migrate", 0);
        for happening in story {
            happen(&mut world, &mut heard, happening);
        }
        world.health("web", true);
        world.exits("migrate", 0);
        world.let_stop();
        world.find_runtime();
        world.up(shop_of(9, 3));
        world.pass(200_000);
        world.remove_runs();
        prop_assert_eq!(world.running(), ["shop-db-1", "shop-web-1", "shop-web-2", "shop-web-3"]);
        prop_assert_eq!(world.images("web"), ["web:9", "web:9", "web:9"]);
        prop_assert!(["db", "migrate", "web"].iter().all(|it| world.is_ready(it)));
        prop_assert!(world.view().stuck.is_empty());
        prop_assert!(world.at_most_one_ran_per_name());
        world.down();
        world.pass(200_000);
        prop_assert!(world.runtime_ids().is_empty());
        prop_assert!(world.view().state.containers().next().is_none());
    }
}
