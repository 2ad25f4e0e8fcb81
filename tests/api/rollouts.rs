//! Stories of changes: versions and going back, steering what goes on, and where replicas are.

use serde_json::{Value, json};

use crate::world::World;

/// A world that runs `web` of the first image, and then was asked for the second. Its clock stands
/// almost still, so the change never gets past the first replica.
async fn changing() -> World {
    let world = World::new();
    world.up("shop", json!({"web": {"image": "web:1", "scale": 3}})).await;
    let answer = world.post("/v1/deployments", json!({"model": model("web:2")})).await;
    assert_eq!(answer.status, 202, "{:?}", answer.body);
    world
}

fn model(image: &str) -> Value {
    json!({"name": "shop", "services": {"web": {"image": image, "scale": 3}},
        "networks": {"default": {"name": "shop_default"}}})
}

async fn web(world: &World) -> Value {
    world.get("/v1/deployments/shop/services/web").await.json()
}

#[tokio::test]
async fn a_service_says_where_its_replicas_are_and_why() {
    let world = World::new();
    world.up("shop", json!({"web": {"image": "web", "scale": 2}})).await;
    let told = world.get("/v1/deployments/shop/services/web/explain").await.json();
    let replicas = told["replicas"].as_array().unwrap();
    assert_eq!(replicas.len(), 2, "{told}");
    assert_eq!((&replicas[1]["slot"], &replicas[1]["node_name"]), (&json!(2), &json!("here")));
    assert_eq!(replicas[1]["why"], "it is there already");
    assert_eq!(replicas[1]["runs_on"], json!(["here"]));
    assert_eq!((&told["nodes"][0]["name"], &told["with"]), (&json!("here"), &json!([])));
    assert_eq!(told["nodes"][0]["objections"], json!([]));
    let none = world.get("/v1/deployments/shop/services/none/explain").await;
    none.is_problem(404, "not-found");
}

#[tokio::test]
async fn a_replica_without_a_place_says_what_speaks_against_each_node() {
    let world = World::new();
    let constraints = json!({"placement": {"constraints": ["node.labels.disk == ssd"]}});
    let services = json!({"web": {"image": "web", "deploy": constraints}});
    let model = json!({"name": "shop", "services": services,
        "networks": {"default": {"name": "shop_default"}}});
    assert_eq!(world.post("/v1/deployments", json!({"model": model})).await.status, 202);
    let told = world.get("/v1/deployments/shop/services/web/explain").await.json();
    let why = "it has no label disk, constraint wants node.labels.disk == ssd";
    assert_eq!(told["replicas"][0]["node"], Value::Null);
    assert_eq!(told["replicas"][0]["why"], format!("here: {why}"));
    assert_eq!(told["nodes"][0]["objections"], json!([why]));
}

#[tokio::test]
async fn versions_are_listed_newest_first_with_what_changed_and_what_runs() {
    let world = changing().await;
    let versions = world.get("/v1/deployments/shop/revisions").await.json();
    let names: Vec<&Value> = versions.as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(names, ["2", "1"]);
    assert_eq!(versions[0]["changes"], json!([{"service": "web", "change": "changed"}]));
    assert_eq!((&versions[0]["runs"], &versions[1]["runs"]), (&json!(["web"]), &json!([])));
    assert_eq!(
        (&versions[0]["by_name"], &versions[0]["conflict"]),
        (&json!("here"), &json!(false))
    );
    world.get("/v1/deployments/none/revisions").await.is_problem(404, "not-found");
}

#[tokio::test]
async fn going_back_is_planned_first_and_makes_a_version_of_its_own() {
    let world = changing().await;
    let back = |body: Value| world.post("/v1/deployments/shop/rollback", body);
    let plan = back(json!({"dry_run": true})).await;
    assert_eq!((plan.status.as_u16(), &plan.json()["version"]), (200, &json!(2)));
    assert_eq!(plan.json()["services"][0]["action"], "replace");
    let before = world.get("/v1/deployments/shop/revisions").await.json();
    assert_eq!(before.as_array().unwrap().len(), 2, "a plan changes nothing");

    let late = back(json!({"if_version": 1})).await.is_problem(412, "overtaken");
    assert!(late.detail.contains("at version 2 now"), "{late:?}");
    let done = back(json!({"service": "web", "version": 1, "if_version": 2})).await;
    assert_eq!((done.status.as_u16(), &done.json()["version"]), (202, &json!(3)));
    let versions = world.get("/v1/deployments/shop/revisions").await.json();
    assert_eq!((&versions[0]["name"], &versions[0]["returns_to"]), (&json!("3"), &json!(1)));
    assert_eq!((&versions[0]["runs"], &versions[2]["runs"]), (&json!(["web"]), &json!([])));
    assert_eq!(web(&world).await["image"], "web:1");

    let missing = back(json!({"version": 9})).await.is_problem(404, "not-found");
    assert!(missing.hint.contains("fizz history"), "{missing:?}");
    back(json!({"service": "none"})).await.is_problem(404, "not-found");
    back(json!({"content": "1a"})).await.is_problem(422, "invalid");
}

#[tokio::test]
async fn what_was_never_anything_else_has_nothing_to_go_back_to() {
    let world = World::new();
    world.up("shop", json!({"web": {"image": "web"}})).await;
    let refused = world.post("/v1/deployments/shop/rollback", json!({})).await;
    let problem = refused.is_problem(409, "conflict");
    assert!(problem.detail.contains("never anything else"), "{problem:?}");
}

#[tokio::test]
async fn a_change_shows_how_far_it_is_and_is_paused_resumed_and_aborted() {
    let world = changing().await;
    let shown = web(&world).await;
    assert_eq!((&shown["stage"], &shown["updated"]), (&json!("going"), &json!(1)), "{shown}");
    assert!(shown["previous"].is_string() && shown["failed"].is_null(), "{shown}");
    assert_eq!(shown["nodes"][0]["name"], "here");

    let steer = |action: &str| {
        let body = json!({"action": action, "services": ["web"]});
        let world = &world;
        async move { world.post("/v1/deployments/shop/rollout", body).await }
    };
    assert_eq!(steer("pause").await.status, 202);
    assert_eq!(web(&world).await["stage"], "paused");
    let twice = steer("pause").await.is_problem(409, "conflict");
    assert!(twice.detail.contains("is being updated"), "{twice:?}");
    assert_eq!(steer("resume").await.status, 202);
    assert_eq!(web(&world).await["stage"], "going");
    steer("promote").await.is_problem(409, "conflict");
    assert_eq!(steer("abort").await.status, 202);
    let shown = web(&world).await;
    assert_eq!((&shown["stage"], &shown["image"]), (&json!("returning"), &json!("web:1")));
    steer("undo").await.is_problem(422, "invalid");
    let nobody = json!({"action": "pause", "services": ["nobody"]});
    world.post("/v1/deployments/shop/rollout", nobody).await.is_problem(404, "not-found");
}

#[tokio::test]
async fn a_canary_waits_for_a_person() {
    let world = World::new();
    let services = |image: &str| json!({"web": {"image": image, "scale": 3, "x-fizz": {"update": {"canary": 1}}}});
    world.up("shop", services("web:1")).await;
    let model = json!({"name": "shop", "services": services("web:2"),
        "networks": {"default": {"name": "shop_default"}}});
    assert_eq!(world.post("/v1/deployments", json!({"model": model})).await.status, 202);
    let shown = web(&world).await;
    assert_eq!((&shown["stage"], &shown["canaries"]), (&json!("canary"), &json!(1)), "{shown}");
    let promote = json!({"action": "promote"});
    assert_eq!(world.post("/v1/deployments/shop/rollout", promote).await.status, 202);
    assert_eq!(web(&world).await["stage"], "going");
}

#[tokio::test]
async fn a_node_on_its_own_has_nothing_to_move_and_takes_everything() {
    let world = World::new();
    world.up("shop", json!({"web": {"image": "web", "scale": 3}})).await;
    assert_eq!(world.post("/v1/rebalance", json!({"dry_run": true})).await.json(), json!([]));
    assert_eq!(world.post("/v1/rebalance", json!({})).await.json(), json!([]));
    let avail = |how: &str| {
        let body = json!({"availability": how});
        let world = &world;
        async move { world.post("/v1/nodes/here/availability", body).await }
    };
    let alone = avail("draining").await.is_problem(409, "conflict");
    assert!(alone.detail.contains("in no cluster"), "{alone:?}");
    assert_eq!(avail("open").await.json()["availability"], "open");
    avail("closed").await.is_problem(422, "invalid");
    let there = json!({"availability": "open"});
    world.post("/v1/nodes/there/availability", there).await.is_problem(404, "not-found");
}
