//! What clients notice of replicas that are replaced, moved and taken away: nothing.

use std::{
    fs::File,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread::{self, ScopedJoinHandle},
    time::Duration,
};

use super::{THREE, ingress::site, up};
use crate::{
    cluster::nodes::{Nodes, within},
    harness::Kind,
};

/// One that answers at once, and one that takes its time. Its process dies the moment that it is told to.
const BUSY: &str = r#"
name: busy
services:
  web:
    image: busybox
    init: true
    environment: {VERSION: one}
    command:
      - sh
      - -c
      - |
        mkdir -p /www/cgi-bin
        printf '#!/bin/sh\necho; echo $$VERSION\n' > /www/cgi-bin/quick
        printf '#!/bin/sh\nsleep 1; echo; echo $$VERSION\n' > /www/cgi-bin/slow
        chmod +x /www/cgi-bin/*
        exec httpd -f -p 80 -h /www
    ports: ["8080:80"]
    healthcheck: {test: [CMD, wget, -qO-, "http://127.0.0.1/cgi-bin/quick"], interval: 2s, start_interval: 500ms, start_period: 30s}
    deploy: {replicas: 3}
"#;

/// What a client that asks one time after the other has got.
#[derive(Debug, Default)]
struct Got {
    answers: usize,
    failures: Vec<String>,
}

fn ask(network: &File, at: SocketAddr, what: &str, until: &AtomicBool) -> Got {
    within(network, || {
        let mut got = Got::default();
        while !until.load(Ordering::Relaxed) {
            match answer(at, what) {
                Ok(text) if text.ends_with("one\n") || text.ends_with("two\n") => got.answers += 1,
                Ok(text) => got.failures.push(format!("{what} at {at}: {text:?}")),
                Err(why) => got.failures.push(format!("{what} at {at}: {why}")),
            }
        }
        got
    })
}

fn answer(at: SocketAddr, what: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&at, Duration::from_secs(10))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(format!("GET /cgi-bin/{what} HTTP/1.0\r\n\r\n").as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// While clients ask at each node, at once and slowly, does something; then none of them has missed an answer.
fn nobody_notices(nodes: &Nodes, deed: impl FnOnce()) {
    let (network, is_over) = (nodes.lab_network("d"), AtomicBool::new(false));
    let at = |node: &str| -> SocketAddr {
        let address = nodes.lab_node(node)["address"].as_str().unwrap().to_owned();
        format!("{address}:8080").parse().unwrap()
    };
    let (mut answers, mut failures) = (0, vec![]);
    thread::scope(|scope| {
        let clients: Vec<ScopedJoinHandle<'_, Got>> = THREE
            .iter()
            .flat_map(|it| [(at(it), "quick"), (at(it), "slow")])
            .map(|(at, what)| {
                let (network, is_over) = (&network, &is_over);
                scope.spawn(move || ask(network, at, what, is_over))
            })
            .collect();
        deed();
        is_over.store(true, Ordering::Relaxed);
        for client in clients {
            let got = client.join().unwrap();
            answers += got.answers;
            failures.extend(got.failures);
        }
    });
    assert!(failures.is_empty(), "{} of {answers} failed: {failures:#?}", failures.len());
    assert!(20 < answers, "hardly anything was asked: {answers}");
}

#[test]
fn nobody_notices_that_all_replicas_are_replaced_one_is_taken_away_and_a_node_is_drained() {
    let nodes = site(Kind::chosen());
    up(&nodes, "a", BUSY);
    let answers = |version: &str| {
        let is = |node| {
            let url = format!(
                "http://{}:8080/cgi-bin/quick",
                nodes.lab_node(node)["address"].as_str().unwrap()
            );
            nodes.on("d", &format!("curl -gsS -m 5 {url} || true")) == version
        };
        THREE.iter().all(|it| is(*it))
    };
    nodes.until("all nodes lead to it", || answers("one"));
    nobody_notices(&nodes, || {
        up(&nodes, "a", &BUSY.replace("VERSION: one", "VERSION: two"));
    });
    assert!(answers("two"));
    nobody_notices(&nodes, || drop(nodes.ok("b", &["-p", "busy", "scale", "web=2"])));
    nobody_notices(&nodes, || drop(nodes.ok("a", &["drain", "c"])));
}
