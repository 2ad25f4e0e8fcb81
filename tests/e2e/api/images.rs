//! Fetching, building, looking at and removing images.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use fizz::api::wire;
use http_body_util::Full;
use hyper::Request;
use serde_json::{Value, json};

use super::{Front, client::Answer};
use crate::harness::{REGISTRY, REGISTRY_OPEN};

fn steps(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    text.lines().map(|it| serde_json::from_str(it).unwrap()).collect()
}

#[tokio::test]
async fn a_pull_ends_with_the_image_or_the_error() {
    let front = Front::new();
    let image = format!("{REGISTRY_OPEN}/open:2");
    let pulled = steps(&front.client.post("/v1/images/pull", json!({"image": image})).await);
    assert!(pulled.len() > 1 && pulled.last().unwrap()["image"].is_string(), "{pulled:?}");
    let shown = front.client.get(&format!("/v1/images/inspect?reference={image}")).await.json();
    assert_eq!(shown["id"], pulled.last().unwrap()["image"]);

    let none = json!({"image": format!("{REGISTRY_OPEN}/none:1")});
    let refused = steps(&front.client.post("/v1/images/pull", none).await);
    assert_eq!(refused.last().unwrap()["error"]["type"], "urn:fizz:not-found", "{refused:?}");
}

#[tokio::test]
async fn a_pull_takes_the_credentials_of_its_registry() {
    let front = Front::new();
    let image = format!("{REGISTRY}/closed:4");
    let bare = steps(&front.client.post("/v1/images/pull", json!({"image": image})).await);
    let error = &bare.last().unwrap()["error"];
    assert_eq!(error["type"], "urn:fizz:registry-unauthorized", "{error}");
    let credentials = json!([
        {"registry": "ghcr.io", "username": "x", "password": "y"},
        {"registry": REGISTRY, "username": "plain", "password": "plain"},
    ]);
    let pull = json!({"image": image, "credentials": credentials});
    let pulled = steps(&front.client.post("/v1/images/pull", pull).await);
    assert!(pulled.last().unwrap()["image"].is_string(), "{pulled:?}");
}

#[tokio::test]
async fn a_build_takes_its_context_as_a_stream_and_tells_its_steps() {
    let front = Front::new();
    let mut tar = tar::Builder::new(Vec::new());
    let files = [
        ("Dockerfile", &b"FROM busybox\nARG WORD\nRUN echo built $WORD\nCOPY big /big\n"[..]),
        ("big", &[7; 3 << 20][..]),
    ];
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, content).unwrap();
    }
    let tag = format!("{}-built:1", front.lab.project);
    let build = json!({"tags": [tag], "args": {"WORD": "here"}}).to_string();
    let query: String = build.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let credentials =
        BASE64.encode(r#"[{"registry": "ghcr.io", "username": "x", "password": "y"}]"#);
    let request = Request::post(format!("/v1/images/build?request={query}"))
        .header("host", "fizz")
        .header("content-type", "application/x-tar")
        .header(wire::header::CREDENTIALS, credentials)
        .body(Full::new(Bytes::from(tar.into_inner().unwrap())))
        .unwrap();
    let said = steps(&front.client.send(request).await);
    assert!(
        said.iter().any(|it| it["status"].as_str().unwrap().contains("built here")),
        "{said:?}"
    );
    assert!(said.last().unwrap()["image"].is_string(), "{said:?}");
    let removed = front.client.delete(&format!("/v1/images?reference={tag}")).await;
    assert_eq!(removed.status, 204);
    let gone = front.client.get(&format!("/v1/images/inspect?reference={tag}")).await;
    gone.is_problem(404, "not-found");
}
