//! Stories of what people ask for.

use std::collections::BTreeMap;

use serde_json::json;

use super::world::World;
use crate::{
    model::{ContainerState as S, ImageId},
    node::{Refusal, Request, ServiceVerb},
};

#[test]
fn an_up_that_changed_nothing_does_not_start_what_ends_later() {
    let mut world = World::new();
    world.up(json!({"web": {"image": "web"}, "job": {"image": "job"}}));
    world.up_again();
    world.crash("shop-web-1", 2);
    world.crash("shop-job-1", 0);
    world.pass(120_000);
    assert_eq!((world.state("shop-web-1"), world.state("shop-job-1")), (S::Failed, S::Stopped));
}

#[test]
fn create_makes_containers_and_starts_none() {
    let mut world = World::new();
    let web = json!({"web": {"image": "web", "scale": 2}});
    assert!(world.deploy(web, |request| request.no_start = true).is_ok());
    assert_eq!((world.made(), world.running().len()), (2, 0));
    assert_eq!(world.state("shop-web-1"), S::Pending);
    assert!(world.is_ready("web"));
    world.verb(&["web"], ServiceVerb::Start);
    assert_eq!((world.made(), world.running().len()), (2, 2));
}

#[test]
fn create_leaves_what_runs_alone_and_makes_anew_what_changed() {
    let mut world = World::new();
    let web = json!({"web": {"image": "web", "restart": "always"}});
    world.up(web.clone());
    world.deploy(web, |request| request.no_start = true).unwrap();
    assert_eq!((world.starts("shop-web-1"), world.running().len()), (1, 1));
    world.deploy(json!({"web": {"image": "web:2"}}), |request| request.no_start = true).unwrap();
    assert_eq!(world.images("web"), ["web:2"]);
    assert!(world.running().is_empty() && world.is_ready("web"));
}

#[test]
fn what_create_cannot_make_is_stuck_and_tried_again_when_asked() {
    let mut world = World::new();
    world.refuses("missing");
    let web = json!({"web": {"image": "missing", "restart": "always"}});
    world.deploy(web.clone(), |request| request.no_start = true).unwrap();
    world.pass(60_000);
    assert!(world.stuck("web").contains("no such image"), "{}", world.stuck("web"));
    let tried = world.log().len();
    world.deploy(web, |request| request.no_start = true).unwrap();
    world.pass(60_000);
    assert_eq!(world.log().len(), tried + 1);
}

#[test]
fn taking_one_service_down_leaves_the_others_in_hand() {
    let mut world = World::new();
    let depends = json!({"db": {"condition": "service_started", "required": true}});
    let web = json!({"image": "web", "restart": "always", "depends_on": depends});
    world.up(json!({"db": {"image": "db"}, "web": web}));
    world.down_only(&["db"]);
    assert_eq!(world.running(), ["shop-web-1"]);
    world.verb(&["web"], ServiceVerb::Stop(None));
    assert!(world.running().is_empty());
    world.down();
    assert!(world.view().state.deployments().iter().next().is_none());
}

#[test]
fn what_an_orphan_needs_stays_with_it() {
    let mut world = World::new();
    let old = json!({"image": "old", "networks": {"back": null}});
    world.deploy_with(json!({"web": {"image": "web"}, "old": old}), &["default", "back"]);
    world.up(json!({"web": {"image": "web:2"}}));
    assert_eq!(world.images("web"), ["web:2"]);
    assert_eq!(world.running(), ["shop-old-1", "shop-web-1"]);
    let web = json!({"web": {"image": "web:2"}});
    world.deploy(web, |request| request.remove_orphans = true).unwrap();
    assert_eq!(world.running(), ["shop-web-1"]);
    world.up_again();
    assert_eq!(world.view().projects.values().next().unwrap().networks.len(), 1);
}

#[test]
fn an_image_that_was_pinned_goes_when_the_file_names_another() {
    let mut world = World::new();
    let pin = |image: &str| BTreeMap::from([("web".parse().unwrap(), ImageId(image.into()))]);
    world
        .deploy(json!({"web": {"image": "web"}}), |request| request.images = pin("sha256:1"))
        .unwrap();
    world.up(json!({"web": {"image": "web", "labels": {"a": "b"}}}));
    assert_eq!(world.record("shop-web-1").image, Some(ImageId("sha256:1".into())));
    world.up(json!({"web": {"image": "web:2"}}));
    assert_eq!(world.record("shop-web-1").image, Some(ImageId("sha256:web:2".into())));
}

#[test]
fn a_pinned_image_that_is_gone_is_not_asked_for_forever() {
    let mut world = World::new();
    let pin = ImageId("sha256:1".into());
    let web = json!({"web": {"image": "web"}});
    world
        .deploy(web, |it| it.images = BTreeMap::from([("web".parse().unwrap(), pin.clone())]))
        .unwrap();
    world.prune(&pin);
    world.vanish("shop-web-1");
    world.pass(10_000);
    assert_eq!((world.made(), world.running().len()), (2, 1));
    assert!(world.is_ready("web"));
}

#[test]
fn several_containers_cannot_have_one_name() {
    let mut world = World::new();
    let web = json!({"web": {"image": "web", "container_name": "one"}});
    let two = BTreeMap::from([("web".parse().unwrap(), 2)]);
    let refusal = world.deploy(web, |request| request.scale = two).unwrap_err();
    assert!(matches!(&refusal, Refusal::Conflict(why) if why.contains("container_name")));
}

#[test]
fn what_is_being_removed_takes_no_other_wishes() {
    let mut world = World::new();
    world.up(json!({"web": {"image": "web"}}));
    world.hang_stops();
    world.down();
    for verb in [ServiceVerb::Start, ServiceVerb::Restart { grace: None, no_deps: false }] {
        let request = Request::Services("shop".parse().unwrap(), vec![], verb);
        assert!(matches!(world.ask(request), Err(Refusal::Conflict(_))));
    }
    world.let_stop();
    assert!(world.view().state.deployments().iter().next().is_none());
}

#[test]
fn an_orphan_that_goes_is_not_called_back_by_a_wish_for_all() {
    let mut world = World::new();
    world.up(json!({"web": {"image": "web"}, "old": {"image": "old"}}));
    world.hang_stops();
    let web = json!({"web": {"image": "web"}});
    world.deploy(web, |request| request.remove_orphans = true).unwrap();
    world.verb(&[], ServiceVerb::Restart { grace: None, no_deps: false });
    world.let_stop();
    assert_eq!(world.running(), ["shop-web-1"]);
}

#[test]
fn stopping_a_project_does_not_wait_for_a_container_of_run() {
    let mut world = World::new();
    let depends = json!({"db": {"condition": "service_started", "required": true}});
    world.up(json!({
        "db": {"image": "db"}, "job": {"image": "job", "scale": 0, "depends_on": depends},
    }));
    let id = world.run("job", false);
    world.verb(&[], ServiceVerb::Stop(None));
    assert_eq!(world.running(), [world.name_of(id)]);
    assert!(world.is_ready("db"));
    world.down();
    assert!(world.runtime_ids().is_empty());
}

#[test]
fn scaling_a_stopped_service_starts_all_of_it() {
    let mut world = World::new();
    world.up(json!({"web": {"image": "web"}}));
    world.verb(&["web"], ServiceVerb::Stop(None));
    world.verb(&[], ServiceVerb::Scale(BTreeMap::from([("web".parse().unwrap(), 2)])));
    assert_eq!(world.running(), ["shop-web-1", "shop-web-2"]);
}

#[test]
fn a_run_starts_what_it_depends_on_even_if_that_has_ended() {
    let mut world = World::new();
    let depends = json!({"db": {"condition": "service_started", "required": true}});
    world.up(json!({
        "db": {"image": "db"}, "job": {"image": "job", "scale": 0, "depends_on": depends},
    }));
    world.crash("shop-db-1", 1);
    world.run("job", false);
    assert_eq!(world.running().len(), 2);
}

#[test]
fn a_restart_reaches_those_that_restart_with_those_that_restart_with_it() {
    let mut world = World::new();
    let with = |name: &str| json!({name: {"condition": "service_started", "restart": true, "required": true}});
    world.up(json!({
        "a": {"image": "a", "depends_on": with("b")}, "b": {"image": "b", "depends_on": with("c")},
        "c": {"image": "c"},
    }));
    world.verb(&["c"], ServiceVerb::Restart { grace: None, no_deps: false });
    assert_eq!(["shop-a-1", "shop-b-1", "shop-c-1"].map(|it| world.starts(it)), [2, 2, 2]);
}

#[test]
fn a_kill_does_not_wait_for_a_stop_that_hangs() {
    let mut world = World::new();
    world.up(json!({"web": {"image": "web", "restart": "always"}}));
    world.hang_stops();
    world.verb(&["web"], ServiceVerb::Stop(None));
    assert_eq!(world.running(), ["shop-web-1"]);
    world.verb(&["web"], ServiceVerb::Kill("SIGKILL".to_owned()));
    assert_eq!((world.running().len(), world.state("shop-web-1")), (0, S::Stopped));
    world.let_stop();
    assert!(world.is_ready("web"));
}

#[test]
fn a_repaired_service_does_not_wait_for_the_pause_of_the_broken_one() {
    let mut world = World::new();
    world.exits("web", 1);
    world.up(json!({"web": {"image": "web", "restart": "always"}}));
    world.pass(60_000);
    world.goes_on("web");
    world.up(json!({"web": {"image": "web:2", "restart": "always"}}));
    assert_eq!((world.running().len(), world.images("web")), (1, vec!["web:2".to_owned()]));
}

#[test]
fn a_revision_that_cannot_be_made_is_tried_once_for_each_up() {
    let mut world = World::new();
    world.up(json!({"web": {"image": "web"}}));
    world.refuses("missing");
    world.up(json!({"web": {"image": "missing"}}));
    world.up_again();
    world.pass(60_000);
    assert_eq!(world.log().iter().filter(|it| it.starts_with("refuse")).count(), 2);
    assert!(world.stuck("web").contains("no such image"));
}

#[test]
fn a_revision_that_cannot_be_made_is_tried_again_by_its_policy_after_growing_pauses() {
    let mut world = World::new();
    world.up(json!({"web": {"image": "web", "restart": "always"}}));
    world.refuses("missing");
    world.up(json!({"web": {"image": "missing", "restart": "always"}}));
    world.pass(60_000);
    let tries = world.log().iter().filter(|it| it.starts_with("refuse")).count();
    assert!((5..12).contains(&tries), "{tries}");
    assert_eq!(world.running(), ["shop-web-1"]);
}

#[test]
fn an_up_while_the_runtime_is_away_is_not_ready_yet() {
    let mut world = World::new();
    world.up(json!({"web": {"image": "web"}}));
    world.lose_runtime();
    world.up(json!({"web": {"image": "web:2"}}));
    assert!(!world.is_ready("web"));
    world.find_runtime();
    assert!(world.is_ready("web"));
}

#[test]
fn a_node_whose_runtime_is_away_rests() {
    let mut world = World::new();
    world.up(json!({"web": {"image": "web", "scale": 0}}));
    world.break_runtime();
    world.down();
    world.lose_runtime();
    world.pass(60_000);
    world.find_runtime();
    assert!(world.view().state.deployments().iter().next().is_none());
}

#[test]
fn a_deployment_that_cannot_be_read_is_left_alone_until_it_is_removed() {
    let mut world = World::new();
    world.up(json!({"web": {"image": "web"}}));
    world.spoil();
    world.pass(60_000);
    assert_eq!(world.running(), ["shop-web-1"]);
    assert!(world.stuck("web").contains("cannot read"));
    world.down();
    world.pass(60_000);
    assert!(world.runtime_ids().is_empty());
    assert!(world.view().state.deployments().iter().next().is_none());
    assert!(world.view().stuck.is_empty());
}

#[test]
fn what_was_killed_and_stays_down_says_so() {
    let mut world = World::new();
    world.up(json!({"web": {"image": "web", "restart": "always"}}));
    world.verb(&["web"], ServiceVerb::Kill("SIGKILL".to_owned()));
    assert!(world.stuck("web").contains("stopped with status 137"), "{}", world.stuck("web"));
}
