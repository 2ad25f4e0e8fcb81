//! Files in and out of containers, and volumes.

use std::io::Read;

use bytes::Bytes;
use fizz::{model::spec::VolumeSpec, runtime::labels};
use http_body_util::Full;
use hyper::Request;
use serde_json::json;

use super::Front;

fn tar(name: &str, content: &[u8]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, name, content).unwrap();
    tar.into_inner().unwrap()
}

fn put(path: &str, body: Vec<u8>) -> Request<Full<Bytes>> {
    let request = Request::put(path).header("host", "fizz");
    request.header("content-type", "application/x-tar").body(Full::new(body.into())).unwrap()
}

#[tokio::test]
async fn files_go_in_and_come_out_as_they_were() {
    let front = Front::new();
    let (name, id) = front.run(|_| ()).await;
    // Larger than any body in memory may be.
    let content: Vec<u8> = (0..20u32 << 20).map(|it| (it % 251) as u8).collect();
    let path = format!("/v1/containers/{name}/archive?path=/tmp");
    let answer = front.client.send(put(&path, tar("big", &content))).await;
    assert_eq!(answer.status, 204, "{:?}", answer.body);
    let size = front.lab.sh(&id, "stat -c %s /tmp/big").await;
    assert_eq!(size, content.len().to_string());

    let answer = front.client.get(&format!("{path}/big")).await;
    assert_eq!(answer.headers["content-type"], "application/x-tar");
    let mut archive = tar::Archive::new(&answer.body[..]);
    let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
    let mut back = Vec::new();
    entry.read_to_end(&mut back).unwrap();
    assert!(back == content);

    let none = front.client.get(&format!("{path}/none")).await;
    none.is_problem(404, "not-found");
    let nowhere = format!("/v1/containers/{name}/archive?path=/no/such/place");
    let nowhere = front.client.send(put(&nowhere, tar("f", b""))).await;
    nowhere.is_problem(404, "not-found");
}

#[tokio::test]
async fn only_a_deployments_volumes_are_listed_and_removed() {
    let front = Front::new();
    let name = format!("{}_data", front.lab.project);
    let spec = VolumeSpec { name: name.clone(), ..VolumeSpec::default() };
    let mut marks = front.lab.labels();
    marks.insert(labels::RESOURCE.to_owned(), "data".to_owned());
    front.lab.runtime.ensure_volume(&spec, &marks).await.unwrap();
    let listed = front.client.get(&format!("/v1/volumes?project={}", front.lab.project)).await;
    assert_eq!(listed.json()[0]["resource"], json!("data"));
    let foreign = format!("{name}-foreign");
    front.lab.engine.docker(&["volume", "create", &foreign]);
    let path = format!("/v1/volumes/{foreign}");
    assert_eq!(front.client.get(&path).await.json()["project"], json!(null));
    front.client.delete(&path).await.is_problem(409, "conflict");
    let path = format!("/v1/volumes/{name}");
    assert_eq!(front.client.delete(&path).await.status, 204);
    front.client.get(&path).await.is_problem(404, "not-found");
}
