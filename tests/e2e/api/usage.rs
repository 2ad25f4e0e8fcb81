//! What containers use, and their processes.

use hyper::Method;
use serde_json::{Value, json};

use super::{Front, client::request};

#[tokio::test]
async fn what_containers_use_comes_once_or_on_and_on() {
    let mut front = Front::new();
    let (one, _) = front.run(|_| ()).await;
    let (two, _) = front.run(|_| ()).await;
    let path = format!("/v1/stats?project={}", front.lab.project);
    let once = front.client.get(&path).await;
    let lines: Vec<Value> = String::from_utf8(once.body.to_vec())
        .unwrap()
        .lines()
        .map(|it| serde_json::from_str(it).unwrap())
        .collect();
    let names: Vec<_> = lines.iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names, [one.as_str(), two.as_str()]);
    assert!(lines.iter().all(|it| it["pids"].as_u64().unwrap() >= 1), "{lines:?}");

    let path = format!("/v1/containers/{one}/stats?stream=true");
    let mut on = front.client.stream(request(Method::GET, &path, None)).await;
    for _ in 0..2 {
        let line: Value = serde_json::from_str(&on.next().await.unwrap()).unwrap();
        assert_eq!(line["name"], json!(one));
    }
}

#[tokio::test]
async fn processes_are_listed_and_the_engines_account_is_shown() {
    let front = Front::new();
    let (name, id) = front.run(|_| ()).await;
    // What starts it is listed until it is what it runs.
    front.lab.until_runs(&id, "sleep").await;
    let top = front.client.get(&format!("/v1/containers/{name}/top")).await.json();
    assert_eq!(top["name"], json!(name));
    assert!(top["titles"].as_array().unwrap().contains(&json!("PID")), "{top}");
    assert!(top["processes"].to_string().contains("sleep 3600"), "{top}");
    let inspect = front.client.get(&format!("/v1/containers/{name}/inspect")).await.json();
    assert_eq!(inspect["Id"], json!(&*id.0));
}
