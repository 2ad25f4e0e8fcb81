//! Stories of the HTTP API: the real server on a real socket, in front of a real node.
//!
//! The container runtime is away in all of them; what streams out of containers is told in
//! `tests/e2e`, with a real one.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

#[path = "api/client.rs"]
mod client;
#[path = "api/document.rs"]
mod document;
#[path = "api/hostile.rs"]
mod hostile;
#[path = "api/no_cluster.rs"]
mod no_cluster;
#[path = "api/rollouts.rs"]
mod rollouts;
#[path = "api/world.rs"]
mod world;

use client::request;
use fizz::{api::wire, node::Event};
use hyper::Method;
use serde_json::{Value, json};
use world::World;

#[tokio::test]
async fn a_deployed_project_is_shown_with_its_services_and_containers() {
    let world = World::new();
    let services = json!({"web": {"image": "web:1", "scale": 2, "command": ["serve", "-v"]}});
    world.up("shop", services).await;

    let deployments = world.get("/v1/deployments").await.json();
    assert_eq!(deployments[0]["name"], "shop");
    assert_eq!(deployments[0]["services"][0]["name"], "web");
    let service = world.get("/v1/deployments/shop/services/web").await.json();
    let counts = [&service["replicas"], &service["running"], &service["healthy"]];
    assert_eq!(counts, [2, 2, 2]);
    assert_eq!((&service["image"], &service["mode"]), (&json!("web:1"), &json!("replicated")));

    let containers = world.get("/v1/containers?project=shop").await.json();
    let names: Vec<_> = containers.as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(names, ["shop-web-1", "shop-web-2"]);
    assert_eq!(containers[0]["state"], "running");
    assert_eq!(containers[0]["command"], "serve -v");
    assert_eq!(containers[0]["node_name"], "here");
}

#[tokio::test]
async fn a_plan_changes_nothing_and_guards_its_deployment() {
    let world = World::new();
    let model = |image: &str| {
        json!({"name": "shop", "services": {"web": {"image": image}},
        "networks": {"default": {"name": "shop_default"}}})
    };
    let dry = json!({"model": model("web:1"), "dry_run": true});
    let plan = world.post("/v1/deployments", dry).await;
    assert_eq!((plan.status.as_u16(), &plan.json()["project"]), (200, &json!("shop")));
    assert_eq!(plan.json()["services"][0]["action"], "create");
    assert_eq!(world.get("/v1/deployments").await.json(), json!([]));

    let first = json!({"model": model("web:1"), "if_version": plan.json()["version"]});
    assert_eq!(world.post("/v1/deployments", first.clone()).await.status, 202);
    let again = world.post("/v1/deployments", first).await;
    again.is_problem(412, "overtaken");
}

#[tokio::test]
async fn services_stop_start_and_go() {
    let world = World::new();
    world.up("shop", json!({"web": {"image": "web"}, "db": {"image": "db"}})).await;
    let act = |action: Value| world.post("/v1/deployments/shop/actions", action);
    assert_eq!(act(json!({"action": "stop", "services": ["web"]})).await.status, 202);
    let shown = world.get("/v1/containers?project=shop").await.json();
    assert_eq!(shown.as_array().unwrap().len(), 1, "{shown}");
    let all = world.get("/v1/containers?project=shop&all=true&service=web,db").await.json();
    assert_eq!(all.as_array().unwrap().len(), 2, "{all}");

    act(json!({"action": "stop", "services": ["nobody"]})).await.is_problem(404, "not-found");
    act(json!({"action": "dance"})).await.is_problem(422, "invalid");
    act(json!({"action": "stop", "signal": "SIGHUP"})).await.is_problem(422, "invalid");

    let gone = world.delete("/v1/deployments/shop?volumes=true").await;
    assert_eq!(gone.status, 202);
    assert!(gone.json()["event"].as_u64().unwrap() >= 1000);
    assert_eq!(world.get("/v1/deployments").await.json(), json!([]));
    world.get("/v1/deployments/shop").await.is_problem(404, "not-found");
}

#[tokio::test]
async fn a_container_is_found_by_id_name_and_beginning() {
    let world = World::new();
    world.up("shop", json!({"web": {"image": "web", "scale": 40}})).await;
    let all = world.get("/v1/containers").await.json();
    let ids: Vec<&str> =
        all.as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap()).collect();
    let by = |text: &str| {
        let path = format!("/v1/containers/{text}");
        let world = &world;
        async move { world.get(&path).await }
    };
    assert_eq!(by(ids[0]).await.json()["name"], "shop-web-1");
    assert_eq!(by("shop-web-7").await.json()["id"], ids[6]);
    assert_eq!(by(&ids[3][..20]).await.json()["id"], ids[3]);
    by("nobody").await.is_problem(404, "not-found");
    // Of forty random ids two begin alike.
    let twice = |digit: &char| ids.iter().filter(|id| id.starts_with(*digit)).count() > 1;
    let digit = "0123456789abcdef".chars().find(twice).unwrap();
    let problem = by(&digit.to_string()).await.is_problem(409, "ambiguous");
    assert!(problem.problems.len() > 1 && problem.problems[0].starts_with("shop-web-"));
}

#[tokio::test]
async fn a_one_off_container_is_recorded_and_waits_for_somebody_to_attach() {
    let world = World::new();
    world.up("shop", json!({"web": {"image": "web", "command": ["serve"]}})).await;
    let run = json!({"command": ["sh", "-c", "env"], "environment": ["A=1"], "tty": true});
    let made = world.post("/v1/deployments/shop/services/web/run", run).await;
    assert_eq!(made.status, 201, "{:?}", made.body);
    let id = made.json()["container"].as_str().unwrap().to_owned();
    let shown = world.get(&format!("/v1/containers/{id}")).await.json();
    assert_eq!((&shown["one_off"], &shown["state"]), (&json!(true), &json!("pending")));
    assert_eq!(shown["command"], "sh -c env");
    let listed = world.get("/v1/containers?project=shop").await.json();
    assert_eq!(listed.as_array().unwrap().len(), 1, "one-off ones are listed with `all`");

    let bad = json!({"environment": ["HOME"]});
    let bad = world.post("/v1/deployments/shop/services/web/run", bad).await;
    bad.is_problem(422, "invalid");
    let none = world.post("/v1/deployments/shop/services/none/run", json!({})).await;
    none.is_problem(404, "not-found");
}

#[tokio::test]
async fn waiting_for_a_container_tells_how_it_ended() {
    let world = World::new();
    world.up("shop", json!({"web": {"image": "web"}})).await;
    let stop = async {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        world.post("/v1/deployments/shop/actions", json!({"action": "stop"})).await
    };
    let (ended, stopped) = tokio::join!(world.get("/v1/containers/shop-web-1/wait"), stop);
    assert_eq!(stopped.status, 202);
    assert_eq!(ended.json(), json!({"exit_code": 0}));
}

#[tokio::test]
async fn a_running_container_is_removed_only_by_force() {
    let world = World::new();
    world.up("shop", json!({"web": {"image": "web"}})).await;
    world.delete("/v1/containers/shop-web-1").await.is_problem(409, "conflict");
    world.post("/v1/deployments/shop/actions", json!({"action": "stop"})).await;
    assert_eq!(world.delete("/v1/containers/shop-web-1").await.status, 202);
}

#[tokio::test]
async fn events_come_as_they_happen_and_resume_where_a_client_left() {
    let mut world = World::new();
    let mut live = world.events("/v1/events", None).await;
    world.up("shop", json!({"web": {"image": "web"}})).await;
    let (id, kind, data) = live.event().await;
    assert_eq!((&data["id"], &data["kind"]), (&json!(id), &json!(kind)));
    let (second, ..) = live.event().await;
    assert_eq!(second, id + 1);
    let mut resumed = world.events("/v1/events?since=9999", Some(id)).await;
    assert_eq!(resumed.event().await.0, second);
    let mut since = world.events(&format!("/v1/events?since={id}"), None).await;
    assert_eq!(since.event().await.0, second);
}

#[tokio::test]
async fn a_client_that_was_away_too_long_is_told_of_the_gap_first() {
    let mut world = World::new();
    for _ in 0..fizz::api::events::EVENTS_KEPT_MAX + 5 {
        world.log.append(wire::Event { kind: "node.state".into(), ..wire::Event::default() });
    }
    let gone = world.log.last() - fizz::api::events::EVENTS_KEPT_MAX as u64;
    let mut events = world.events("/v1/events", Some(1000)).await;
    let (id, kind, _) = events.event().await;
    assert_eq!((id, kind.as_str()), (gone, "gap"));
    assert_eq!(events.event().await.0, gone + 1);
}

#[tokio::test]
async fn events_of_other_projects_are_left_out() {
    let mut world = World::new();
    let mut events = world.events("/v1/events?project=shop", None).await;
    for (kind, project) in [("a", Some("blog")), ("b", None), ("c", Some("shop"))] {
        let project = project.map(str::to_owned);
        world.log.append(wire::Event { kind: kind.into(), project, ..wire::Event::default() });
    }
    assert_eq!(events.event().await.1, "b", "what is about no project is about all");
    assert_eq!(events.event().await.1, "c");
}

#[tokio::test]
async fn readiness_says_what_is_missing() {
    let mut world = World::new();
    assert_eq!(world.get("/readyz").await.status, 200);
    world.happens.send(Event::RuntimeLost("no such socket".into())).await.unwrap();
    let answer = loop {
        let answer = world.get("/readyz").await;
        if answer.status != 200 {
            break answer;
        }
    };
    let problem = answer.is_problem(503, "not-ready");
    assert_eq!(problem.problems, ["the container runtime: no such socket"]);
    let version = world.get("/v1/version").await.json();
    assert_eq!((&version["api"], &version["runtime"]), (&json!("v1"), &Value::Null));
    let node = world.get("/v1/nodes/here").await.json();
    assert_eq!(node["runtime_problem"], "no such socket");

    world.lose_node().await;
    let problem = world.get("/readyz").await.is_problem(503, "not-ready");
    assert!(problem.problems[0].contains("loop"), "{problem:?}");
    let deploy = json!({"model": {"name": "shop", "services": {}}});
    world.post("/v1/deployments", deploy).await.is_problem(503, "stopping");
    world.is_well().await;
}

#[tokio::test]
async fn what_needs_the_runtime_says_that_it_is_away() {
    let world = World::new();
    world.up("shop", json!({"web": {"image": "web"}})).await;
    for path in [
        "/v1/containers/shop-web-1/inspect",
        "/v1/containers/shop-web-1/top",
        "/v1/containers/shop-web-1/archive?path=/etc",
        "/v1/logs?project=shop",
        "/v1/images",
        "/v1/images/inspect?reference=web",
        "/v1/volumes",
        "/v1/volumes/data",
    ] {
        let problem = world.get(path).await.is_problem(503, "runtime-unreachable");
        assert!(problem.hint.contains("start the container runtime"), "{path}: {problem:?}");
    }
    let pull = world.post("/v1/images/pull", json!({"image": "web"})).await;
    assert_eq!(pull.status, 200);
    assert_eq!(pull.json()["error"]["type"], "urn:fizz:runtime-unreachable", "the only line");
}

#[tokio::test]
async fn a_session_needs_an_upgrade() {
    let world = World::new();
    world.up("shop", json!({"web": {"image": "web"}})).await;
    let exec = world.post("/v1/containers/shop-web-1/exec", json!({"command": ["ls"]})).await;
    exec.is_problem(426, "upgrade");
    assert_eq!(exec.headers["upgrade"], wire::frame::PROTOCOL);
    let none = world.post("/v1/containers/shop-web-1/exec", json!({"command": []})).await;
    none.is_problem(422, "invalid");
    let attach = world.send(request(Method::POST, "/v1/containers/shop-web-1/attach", None)).await;
    attach.is_problem(426, "upgrade");
}

#[tokio::test]
async fn metrics_have_help_units_and_the_nodes_figures() {
    let world = World::new();
    world.up("shop", json!({"web": {"image": "web", "scale": 3}})).await;
    world.metrics.turned(5);
    world.metrics.committed(std::time::Duration::from_millis(3));
    world.get("/v1/containers/nobody").await;
    world.get("/v1/no/such/path").await;
    let answer = world.get("/metrics").await;
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    for line in [
        "# UNIT fizz_commit_seconds seconds",
        "fizz_containers{state=\"running\"} 3",
        "fizz_containers{state=\"failed\"} 0",
        "fizz_deployments 1",
        "fizz_services{ready=\"true\"} 1",
        "fizz_runtime_up 1",
        "fizz_node_events_total 5",
        "fizz_commit_seconds_count 1",
        "fizz_api_requests_total{route=\"/v1/containers/{id}\",method=\"GET\",status=\"404\"} 1",
        "fizz_api_requests_total{route=\"none\",method=\"any\",status=\"404\"} 1",
        "# EOF",
    ] {
        assert!(text.lines().any(|it| it == line), "{line} in\n{text}");
    }
    let helped = |name: &str| text.contains(&format!("# HELP {name} "));
    for line in text.lines().filter_map(|it| it.strip_prefix("# TYPE ")) {
        let name = line.split(' ').next().unwrap();
        assert!(helped(name), "{name} has no help");
    }
}

#[tokio::test]
async fn stopping_ends_streams_and_lets_requests_finish() {
    let mut world = World::new();
    world.up("shop", json!({"web": {"image": "web"}})).await;
    let mut events = world.events("/v1/events", None).await;
    let mut logs =
        world.stream(request(Method::GET, "/v1/logs?project=shop&follow=true", None)).await;
    let begun = tokio::time::Instant::now();
    world.stop().await;
    // One that did would do so for five.
    assert!(begun.elapsed() < std::time::Duration::from_secs(4), "no stream holds it up");
    while events.next().await.is_some() {}
    assert_eq!(logs.next().await, None);
}

#[tokio::test]
async fn a_node_on_its_own_says_so_and_refuses_what_takes_a_cluster() {
    let world = World::new();
    let cluster = world.get("/v1/cluster").await.json();
    let facts = [&cluster["name"], &cluster["id"], &cluster["node"], &cluster["key_epoch"]];
    assert_eq!(facts, [&json!("fizz"), &Value::Null, &json!("here"), &Value::Null]);
    assert_eq!((&cluster["members"], &cluster["ready"]), (&json!({"alive": 1}), &json!(true)));
    let empty = json!({});
    for path in ["/v1/cluster/init", "/v1/cluster/leave", "/v1/cluster/rotate", "/v1/tokens"] {
        let problem = world.post(path, empty.clone()).await.is_problem(409, "conflict");
        assert_eq!(problem.detail, "this node is in no cluster", "{path}");
    }
    let join = json!({"address": "10.0.0.5:7780", "ticket": "fizz-x"});
    world.post("/v1/cluster/join", join).await.is_problem(409, "conflict");
    assert_eq!(world.get("/v1/tokens").await.json(), json!([]));
    world.delete("/v1/tokens/0123456789abcdef").await.is_problem(404, "not-found");
    world.delete("/v1/tokens/x").await.is_problem(400, "query");
    world.delete("/v1/nodes/here").await.is_problem(409, "conflict");
    world.post("/v1/tokens", json!({"ttl_ms": 0})).await.is_problem(422, "invalid");
}

#[tokio::test]
async fn a_node_gets_labels_and_loses_them() {
    let world = World::new();
    let label = |labels: Value| world.post("/v1/nodes/here/labels", labels);
    let node = label(json!({"zone": "cellar", "disk": "ssd"})).await.json();
    assert_eq!(node["labels"], json!({"zone": "cellar", "disk": "ssd"}));
    let node = label(json!({"disk": null})).await.json();
    assert_eq!(node["labels"], json!({"zone": "cellar"}));
    label(json!({"disk": null})).await.is_problem(404, "not-found");
    let wrong = label(json!({"a b": "1", "c": "x\ny"})).await.is_problem(422, "invalid");
    assert_eq!(wrong.problems.len(), 2, "{wrong:?}");
    world.post("/v1/nodes/there/labels", json!({})).await.is_problem(404, "not-found");
    let nodes = world.get("/v1/nodes?all=true").await.json();
    assert_eq!((&nodes[0]["state"], &nodes[0]["admission"]), (&json!("alive"), &Value::Null));
}
