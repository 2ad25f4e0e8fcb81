//! Stories of clients that are broken, slow, greedy or malicious. In all of them others are served.

use std::time::Duration;

use fizz::api::Limits;
use hyper::Method;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use crate::{
    client::{PATIENCE, request},
    world::World,
};

#[tokio::test]
async fn whatever_cannot_be_understood_is_answered_with_a_problem() {
    let world = World::new();
    world.get("/v1/nothing").await.is_problem(404, "no-route");
    world.get("/").await.is_problem(404, "no-route");
    let patch = world.send(request(Method::PATCH, "/v1/nodes", None)).await;
    patch.is_problem(405, "method");
    world.get("/v1/containers?al=true").await.is_problem(400, "query");
    world.get("/v1/containers?all=perhaps").await.is_problem(400, "query");
    world.get("/v1/containers?project=No").await.is_problem(400, "query");
    world.get("/v1/containers/%ff%fe").await.is_problem(400, "query");
    world.get("/v1/images/build?request={}").await.is_problem(405, "method");
    world.post("/v1/deployments", json!({"modle": {}})).await.is_problem(400, "body");
    world.post("/v1/deployments", json!([])).await.is_problem(400, "body");
    let events = request(Method::GET, "/v1/events", None);
    let (mut head, body) = events.into_parts();
    head.headers.insert("last-event-id", "yesterday".parse().unwrap());
    let events = world.send(hyper::Request::from_parts(head, body)).await;
    events.is_problem(400, "query");
}

#[tokio::test]
async fn a_write_must_say_that_it_is_json() {
    let world = World::new();
    for kind in [None, Some("text/plain"), Some("application/x-www-form-urlencoded")] {
        let mut deploy = request(Method::POST, "/v1/deployments", Some(json!({})));
        deploy.headers_mut().remove("content-type");
        if let Some(kind) = kind {
            deploy.headers_mut().insert("content-type", kind.parse().unwrap());
        }
        world.send(deploy).await.is_problem(415, "content-type");
    }
    let mut deploy = request(Method::POST, "/v1/deployments", Some(json!({})));
    let kind = "Application/JSON; charset=utf-8".parse().unwrap();
    deploy.headers_mut().insert("content-type", kind);
    world.send(deploy).await.is_problem(400, "body");
    let build = world.post("/v1/images/build?request=%7B%22tags%22:[]%7D", json!({})).await;
    build.is_problem(415, "content-type");
}

#[tokio::test]
async fn a_web_page_may_not_use_the_socket() {
    let world = World::new();
    let mut page = request(Method::GET, "/v1/nodes", None);
    page.headers_mut().insert("origin", "https://evil.example".parse().unwrap());
    world.send(page).await.is_problem(403, "origin");
}

#[tokio::test]
async fn bytes_that_are_no_http_are_refused() {
    let world = World::new();
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"[..],
        b"GET /v1/nodes\r\n\r\n",
        b"GET /v1/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /v1/deployments HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let answer = world.raw(bytes).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    let body = b"POST /v1/deployments HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
        Content-Type: application/json\r\nContent-Length: 4\r\n\r\n\"\xff\xfe\"";
    assert!(world.raw(body).await.starts_with("HTTP/1.1 400"));
    world.is_well().await;
}

#[tokio::test]
async fn heads_beyond_the_bounds_are_refused() {
    let world = World::new();
    let long = format!("GET /healthz HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n", "a".repeat(1 << 20));
    let answer = world.raw(long.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let many: String = (0..200).map(|number| format!("H{number}: x\r\n")).collect();
    let answer = world.raw(format!("GET /healthz HTTP/1.1\r\n{many}\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(200_000));
    let answer = world.raw(long.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    world.is_well().await;
}

#[tokio::test]
async fn a_body_beyond_the_bound_is_refused_announced_or_not() {
    let world = World::with(Limits { json_bytes_max: 1000, ..Limits::default() });
    let big = json!({"model": "x".repeat(2000)});
    world.post("/v1/deployments", big).await.is_problem(413, "too-large");
    let head = "POST /v1/deployments HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
        Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunks = format!("{head}3e9\r\n{}\r\n0\r\n\r\n", "x".repeat(1001));
    assert!(world.raw(chunks.as_bytes()).await.starts_with("HTTP/1.1 413"));
}

#[tokio::test]
async fn deep_nesting_is_refused_not_followed() {
    let world = World::new();
    let deep = format!("{{\"model\": {}", "[".repeat(1 << 20));
    let head = format!(
        "POST /v1/deployments HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n",
        deep.len()
    );
    assert!(world.raw((head + &deep).as_bytes()).await.starts_with("HTTP/1.1 400"));
}

#[tokio::test]
async fn a_client_that_dawdles_over_its_head_is_closed() {
    let world = World::with(Limits { head_max: Duration::from_secs(2), ..Limits::default() });
    let mut slow = world.connect().await;
    slow.write_all(b"GET /healthz HTTP/1.1\r\nHo").await.unwrap();
    let mut idle = world.connect().await;
    world.is_well().await;
    let mut rest = Vec::new();
    timeout(PATIENCE, slow.read_to_end(&mut rest)).await.unwrap().unwrap();
    timeout(PATIENCE, idle.read_to_end(&mut rest)).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_client_that_dawdles_over_its_body_is_given_up() {
    let world = World::with(Limits { body_max: Duration::from_secs(2), ..Limits::default() });
    let mut slow = world.connect().await;
    let head = b"POST /v1/deployments HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
        Content-Length: 100\r\n\r\n{\"model\"";
    slow.write_all(head).await.unwrap();
    world.is_well().await;
    let mut answer = vec![0; 12];
    timeout(PATIENCE, slow.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(answer, b"HTTP/1.1 408");
}

#[tokio::test]
async fn one_connection_too_many_is_told_so() {
    let limits = Limits { connections_max: 3, ..Limits::default() };
    let world = World::with(limits);
    let held = [world.connect().await, world.connect().await, world.connect().await];
    let answer = world.raw(b"").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("too-many-connections"));
    drop(held);
    let free = async {
        while !world
            .raw(b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n")
            .await
            .contains(" 200 ")
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, free).await.unwrap();
}

#[tokio::test]
async fn a_thousand_listeners_are_served_and_one_more_is_told_so() {
    let mut world = World::with(Limits { streams_max: 1000, ..Limits::default() });
    let mut listeners = Vec::new();
    for _ in 0..1000 {
        listeners.push(world.events("/v1/events", None).await);
    }
    world.get("/v1/events").await.is_problem(503, "too-many-streams");
    world.is_well().await;
    let id = world.log.append(fizz::api::wire::Event { kind: "x".into(), ..Default::default() });
    for listener in &mut listeners {
        assert_eq!(listener.event().await.0, id);
    }
}

#[tokio::test]
async fn a_listener_that_reads_nothing_holds_up_nobody_and_finds_the_gap() {
    let mut world = World::new();
    let mut asleep = world.events("/v1/events", None).await;
    let mut awake = world.events("/v1/events", None).await;
    let mut gaps = 0;
    // Far more than a socket takes and the log keeps.
    for _ in 0..4 * fizz::api::events::EVENTS_KEPT_MAX {
        let kind = "x".repeat(500);
        world.log.append(fizz::api::wire::Event { kind, ..Default::default() });
    }
    let last =
        world.log.append(fizz::api::wire::Event { kind: "last".into(), ..Default::default() });
    for listener in [&mut awake, &mut asleep] {
        let mut before = 0;
        loop {
            let (id, kind, _) = listener.event().await;
            assert!(id > before, "ids grow");
            before = id;
            gaps += u32::from(kind == "gap");
            if id == last {
                break;
            }
        }
        world.is_well().await;
    }
    assert!(gaps >= 2, "both were outrun and were told so: {gaps}");
}
