//! What runs on another node is used as what runs here.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::Stdio,
};

use super::{Scratch, nodes::Nodes};
const SHOP: &str = r#"
services:
  web:
    image: busybox
    command: ["sh", "-c", "i=0; while sleep 0.2; do i=$$((i+1)); echo line $$i; done"]
    stop_grace_period: 200ms
    volumes: ["data:/data"]
  job:
    image: busybox
    command: ["sh", "-c", "until test -e /data/go; do sleep 0.1; done; exit 7"]
    restart: "no"
    volumes: ["data:/data"]
volumes: {data: {}}
"#;

#[test]
fn every_command_works_from_a_node_that_does_not_run_the_project() {
    let nodes = Nodes::together(2, "docker");
    nodes.give_busybox(&["a".into(), "b".into()]);
    let file = Scratch::new("compose.yaml");
    fs::write(&file.0, SHOP).unwrap();
    let up = |project: &str| {
        nodes.ok("a", &["-f", &file.0, "-p", project, "up", "-d"]);
        let all = nodes.json("a", &["-p", project, "ps", "-a"]);
        all[0]["node_name"] == "b"
    };
    let project = (1..20).map(|it| format!("shop{it}")).find(|it| {
        let elsewhere = up(it);
        if !elsewhere {
            nodes.ok("a", &["-p", it, "down", "-v", "-t", "0"]);
        }
        elsewhere
    });
    let project = project.expect("none of the projects is placed on b");
    let words = |words: &[&'static str]| [&["-p", &project], words].concat();
    let ok = |it: &[&'static str]| nodes.ok("a", &words(it));

    let shown = ok(&["ps"]);
    assert!(shown.lines().next().unwrap().ends_with("NODE"), "{shown}");
    nodes.until("it writes", || ok(&["logs", "web"]).contains("line 2"));
    assert_eq!(nodes.fed("a", &words(&["exec", "-T", "web", "cat"]), "hello"), "hello");
    let status = nodes.fizz("a", &words(&["exec", "-T", "web", "sh", "-c", "exit 5"])).status();
    assert_eq!(status.unwrap().code(), Some(5));
    assert!(ok(&["inspect", "--runtime", "web"]).contains("\"HostConfig\""));
    assert!(ok(&["stats", "--no-stream"]).contains(&format!("{project}-web-1")));
    assert!(ok(&["top", "web"]).contains("while sleep"));
    assert!(ok(&["images"]).contains(&format!("{project}-web-1")));
    assert!(nodes.ok("a", &["volume", "inspect", &format!("{project}_data")]).contains("\"b\""));
    let run = ["-f", &file.0, "-p", &project, "run", "-T", "--rm", "web", "echo", "one-off"];
    assert_eq!(nodes.ok("a", &run), "one-off");
    files_go_there_and_back(&nodes, &project);
    output_is_followed(&nodes, &project);

    let wait = nodes.fizz("a", &words(&["wait", "job"])).stdout(Stdio::piped()).spawn().unwrap();
    ok(&["exec", "-T", "web", "touch", "/data/go"]);
    let ended = wait.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(7), "{ended:?}");
    ok(&["kill", "web"]);
    nodes.until("the signal came", || ok(&["ps", "-a", "web"]).contains("Exited (137)"));
    ok(&["start", "web"]);
    ok(&["down", "-v", "-t", "0"]);
    assert_eq!(nodes.ok("b", &["volume", "ls", "-q"]), "");
}

fn files_go_there_and_back(nodes: &Nodes, project: &str) {
    let (there, back) = (Scratch::new("there"), Scratch::new("back"));
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|it| (it % 251) as u8).collect();
    fs::write(&there.0, &bytes).unwrap();
    nodes.ok("a", &["-p", project, "cp", &there.0, "web:/data/file"]);
    nodes.ok("a", &["-p", project, "cp", "web:/data/file", &back.0]);
    assert!(fs::read(&back.0).unwrap() == bytes, "the file came back changed");
}

fn output_is_followed(nodes: &Nodes, project: &str) {
    let mut follow = nodes.fizz("a", &["-p", project, "logs", "-f", "--tail", "1", "web"]);
    let mut follow = follow.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(follow.stdout.take().unwrap()).lines();
    let lines: Vec<String> = lines.take(4).map(Result::unwrap).collect();
    // It ends by itself only when the project does.
    follow.kill().unwrap();
    follow.wait().unwrap();
    let number = |line: &String| line.rsplit(' ').next().unwrap().parse::<u32>().unwrap();
    let numbers: Vec<u32> = lines.iter().map(number).collect();
    assert!(numbers.windows(2).all(|it| it[1] == it[0] + 1), "{lines:?}");
}
