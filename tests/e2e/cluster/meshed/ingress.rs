//! Published ports: a client that is none of the cluster's machines is served by any replica by any node, and the
//! replica sees who it is; and what a port costs when replicas come and go.

use std::collections::BTreeSet;

use super::{THREE, up};
use crate::{cluster::nodes::Nodes, harness::Kind};

/// Whoever asks hears who they are, and who answers.
const WHO: &str = r#"
name: front
services:
  web:
    image: busybox
    command:
      - sh
      - -c
      - |
        mkdir -p /www/cgi-bin
        printf '#!/bin/sh\necho; echo $$HOSTNAME sees $$REMOTE_ADDR\n' > /www/cgi-bin/who
        chmod +x /www/cgi-bin/who
        exec httpd -f -p 80 -h /www
    ports: ["8080:80"]
    deploy: {replicas: 3, placement: {max_replicas_per_node: 1}}
"#;

/// Three nodes in a cluster, and `d`, a client outside it.
pub(super) fn site(engine: Kind) -> Nodes {
    let nodes = Nodes::apart_with(4, engine);
    nodes.give_busybox(&THREE.map(str::to_owned));
    nodes.ok("a", &["init"]);
    let token = nodes.ok("a", &["token", "create", "--uses", "2"]);
    for node in ["b", "c"] {
        nodes.ok(node, &["join", &nodes.address("a"), "--token", &token]);
    }
    for node in THREE {
        nodes.until_seen(node, &THREE.map(|it| (it, "alive")));
    }
    nodes
}

/// What a client on a machine hears from a URL.
fn asked(nodes: &Nodes, from: &str, url: &str) -> Option<String> {
    let line = format!("curl -gsS -m 5 {url} || true");
    Some(nodes.on(from, &line)).filter(|it| !it.is_empty())
}

#[test]
fn a_client_outside_reaches_every_replica_by_every_node_and_is_seen_as_who_it_is() {
    let nodes = site(Kind::chosen());
    up(&nodes, "a", WHO);
    let address = |node: &str| nodes.lab_node(node)["address"].as_str().unwrap().to_owned();
    let client = address("d");
    for node in THREE {
        let url = format!("http://{}:8080/cgi-bin/who", address(node));
        nodes.until(&format!("{node} leads to all"), || {
            let answers: BTreeSet<String> =
                (0..20).filter_map(|_| asked(&nodes, "d", &url)).collect();
            assert!(
                answers.iter().all(|it| it.ends_with(&format!("sees [::ffff:{client}]"))),
                "{answers:?}"
            );
            answers.len() == 3
        });
    }
}
