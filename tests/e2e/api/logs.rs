//! `GET /v1/logs`.

use fizz::model::{ContainerState, WallTime};
use hyper::Method;
use serde_json::Value;

use super::{Front, client::request};
use crate::harness::words;

fn lines(body: &[u8]) -> Vec<Value> {
    body.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

fn texts(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|it| it["line"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_output_of_several_containers_comes_by_time_with_its_stream() {
    let front = Front::new();
    let path = format!("/v1/logs?project={}", front.lab.project);
    let until_there = async |count: usize| {
        for _ in 0..600 {
            let answer = front.client.get(&path).await;
            assert_eq!(answer.headers["content-type"], "application/x-ndjson");
            let found = lines(&answer.body);
            if found.len() == count {
                return found;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("there were never {count} lines");
    };
    // Each speaks once the one before it was heard.
    let (mut names, mut ids) = (Vec::new(), Vec::new());
    for service in ["a", "b"] {
        let wait = "until [ $go ]; do sleep 0.05; done";
        let line =
            format!("trap go=1 USR1; echo {service}1; {wait}; echo {service}2 >&2; sleep 60");
        let command = words(&["sh", "-c", &line]);
        let (name, id) = front
            .run(|it| (it.service, it.spec.command) = (service.parse().unwrap(), command))
            .await;
        names.push(name);
        ids.push(id);
        until_there(names.len()).await;
    }
    front.lab.runtime.kill(&ids[0], "SIGUSR1").await.unwrap();
    until_there(3).await;
    front.lab.runtime.kill(&ids[1], "SIGUSR1").await.unwrap();
    let all = until_there(4).await;
    let times: Vec<u64> =
        all.iter().map(|it| it["at_ns"].as_str().unwrap().parse().unwrap()).collect();
    assert!(times.is_sorted(), "{all:?}");
    for line in &all {
        let from = line["service"].as_str().unwrap();
        let text = line["line"].as_str().unwrap();
        assert!(text.starts_with(from));
        assert_eq!(line["stream"] == "stderr", text.ends_with('2'), "{line}");
    }
    let tail = front.client.get(&format!("{path}&tail=1&service=b")).await;
    assert_eq!(texts(&lines(&tail.body)), ["b2"]);
    let until = (times[1] / 1_000_000).to_string();
    let early = front.client.get(&format!("{path}&until_ms={until}")).await;
    assert!(!texts(&lines(&early.body)).contains(&"b2"));
    let late = front.client.get(&format!("{path}&since_ms={}", times[3] / 1_000_000)).await;
    assert!(!texts(&lines(&late.body)).contains(&"a1"));
    assert!(texts(&lines(&late.body)).contains(&"b2"));
    let one = front.client.get(&format!("/v1/logs?container={}", names[0])).await;
    assert_eq!(texts(&lines(&one.body)), ["a1", "a2"]);
}

#[tokio::test]
async fn following_takes_in_new_containers_and_new_runs_and_says_nothing_twice() {
    let mut front = Front::new();
    let say = |it: &mut fizz::runtime::CreateContainer| {
        it.spec.command = words(&["sh", "-c", "echo run; sleep 3600"]);
    };
    let (name, id) = front.run(say).await;
    let path = format!("/v1/logs?project={}&follow=true", front.lab.project);
    let mut logs = front.client.stream(request(Method::GET, &path, None)).await;
    let first: Value = serde_json::from_str(&logs.next().await.unwrap()).unwrap();
    assert_eq!((&first["name"], &first["line"]), (&name.clone().into(), &"run".into()));

    let (other, _) =
        front.run(|it| it.spec.command = words(&["sh", "-c", "echo late; sleep 60"])).await;
    let second: Value = serde_json::from_str(&logs.next().await.unwrap()).unwrap();
    assert_eq!((&second["name"], &second["line"]), (&other.into(), &"late".into()));

    front.lab.runtime.kill(&id, "SIGKILL").await.unwrap();
    front.lab.ended(&id).await;
    front.picture.change(&name, |it| {
        (it.state, it.since) = (ContainerState::Failed, WallTime(5));
    });
    front.lab.runtime.start(&id).await.unwrap();
    front.picture.change(&name, |it| {
        (it.state, it.since, it.runs) = (ContainerState::Running, WallTime(6), 1);
    });
    let third: Value = serde_json::from_str(&logs.next().await.unwrap()).unwrap();
    assert_eq!((&third["name"], &third["line"]), (&name.into(), &"run".into()));
    assert_ne!(first["at_ns"], third["at_ns"], "the line of the new run, not the old one again");
}

#[tokio::test]
async fn following_one_container_ends_with_it() {
    let mut front = Front::new();
    let (name, id) = front
        .run(|it| it.spec.command = words(&["sh", "-c", "for n in 1 2 3; do echo $n; done"]))
        .await;
    let path = format!("/v1/logs?container={name}&follow=true");
    let mut logs = front.client.stream(request(Method::GET, &path, None)).await;
    front.lab.ended(&id).await;
    front.picture.change(&name, |it| it.state = ContainerState::Stopped);
    let mut said = Vec::new();
    while let Some(line) = logs.next().await {
        let line: Value = serde_json::from_str(&line).unwrap();
        said.push(line["line"].as_str().unwrap().to_owned());
    }
    assert_eq!(said, ["1", "2", "3"]);
}
