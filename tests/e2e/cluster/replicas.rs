//! Replicas over several nodes, in real containers: where they are, what becomes of them when a node goes
//! and comes back, when the cluster is parted, and while they are replaced.

use std::{collections::BTreeSet, fs, process::Stdio, thread::sleep, time::Duration};

use serde_json::Value;

use super::{Scratch, nodes::Nodes};

/// Replicas that say which version they are, and are well once they do.
struct Web {
    nodes: Nodes,
    file: Scratch,
}

/// A container: its name, its node, its id in the runtime.
type Container = (String, String, String);

impl Web {
    fn new(count: u8) -> Self {
        let nodes = Nodes::together(count, "docker");
        let names: Vec<String> = (b'a'..b'a' + count).map(|it| char::from(it).into()).collect();
        nodes.give_busybox(&names);
        let web = Self { nodes, file: Scratch::new(&format!("web-{count}.yaml")) };
        web.write("1", "touch /ok");
        web.nodes.ok("a", &["-f", &web.file.0, "up", "--wait"]);
        web
    }

    /// The file, with what a container does before it sleeps.
    fn write(&self, version: &str, first: &str) {
        let text = format!(
            r#"
name: web
services:
  web:
    image: busybox
    command: ["sh", "-c", "{first}; exec sleep 1000"]
    environment: {{VERSION: "{version}"}}
    healthcheck: {{test: ["CMD", "test", "-e", "/ok"], interval: 1s, start_interval: 300ms, retries: 2, start_period: 5s}}
    stop_signal: SIGKILL
    restart: unless-stopped
    deploy:
      replicas: 5
      update_config: {{parallelism: 1, monitor: 500ms, failure_action: rollback, order: start-first}}
"#
        );
        fs::write(&self.file.0, text).unwrap();
    }

    /// The containers on these nodes that a node knows, by name, and whether all are well.
    fn seen(&self, by: &str, on: &[&str]) -> (Vec<Container>, bool) {
        let list = self.nodes.json(by, &["-p", "web", "ps", "-a"]);
        let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
        let told =
            |it: &Value| (text(&it["name"]), text(&it["node_name"]), text(&it["runtime_id"]));
        let list = list.as_array().unwrap().iter();
        let there: Vec<&Value> =
            list.filter(|it| on.contains(&it["node_name"].as_str().unwrap())).collect();
        let mut found: Vec<Container> = there.iter().map(|it| told(it)).collect();
        found.sort();
        (found, there.iter().all(|it| it["state"] == "healthy"))
    }

    /// Waits until there is just one container of each replica on these nodes, all well.
    fn until_exact(&self, by: &str, on: &[&str]) -> Vec<Container> {
        self.nodes.until(&format!("five replicas are on {on:?}, as {by} sees it"), || {
            let (seen, well) = self.seen(by, on);
            let names: BTreeSet<&str> = seen.iter().map(|(name, ..)| name.as_str()).collect();
            let running: usize = on.iter().map(|it| self.running(it).len()).sum();
            well && (names.len(), seen.len(), running) == (5, 5, 5)
        });
        self.seen(by, on).0
    }

    /// What a node's engine runs.
    fn running(&self, node: &str) -> Vec<String> {
        let output = self
            .nodes
            .docker(node, &["ps", "-q", "--no-trunc", "-f", "label=fizz.service"])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    /// How many replicas are well, as a node sees it.
    fn well(&self, by: &str) -> usize {
        let list = self.nodes.json(by, &["-p", "web", "ps", "-a"]);
        list.as_array().unwrap().iter().filter(|it| it["state"] == "healthy").count()
    }

    /// Where a rebalance would move replicas to, or does.
    fn moves(&self, words: &[&str]) -> Vec<String> {
        let list = self.nodes.json("a", &[&["rebalance"], words].concat());
        let list = list.as_array().unwrap().iter();
        list.map(|it| it["to_name"].as_str().unwrap().to_owned()).collect()
    }

    /// The versions that are kept, newest first, and what each is a return to.
    fn history(&self, by: &str) -> Vec<(String, Option<u64>)> {
        let list = self.nodes.json(by, &["history", "web"]);
        let list = list.as_array().unwrap().iter();
        list.map(|it| (it["name"].as_str().unwrap().to_owned(), it["returns_to"].as_u64()))
            .collect()
    }

    fn version_of(&self, it: &Container) -> String {
        let format = "{{range .Config.Env}}{{println .}}{{end}}";
        let output = self.nodes.docker(&it.1, &["inspect", "-f", format, &it.2]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let version = text.lines().find_map(|it| it.strip_prefix("VERSION="));
        version.unwrap_or_default().to_owned()
    }
}

fn on<'a>(containers: &'a [Container], node: &str) -> Vec<&'a Container> {
    containers.iter().filter(|it| it.1 == node).collect()
}

#[test]
fn replicas_survive_their_nodes_and_are_replaced_without_a_gap() {
    let web = Web::new(3);
    let first = web.until_exact("b", &["a", "b", "c"]);
    let mut counts: Vec<usize> = ["a", "b", "c"].map(|it| on(&first, it).len()).into();
    counts.sort_unstable();
    assert_eq!(counts, [1, 2, 2]);

    // A node goes: what it had comes back elsewhere, and nothing else is touched.
    web.nodes.lab("kill", &["c"]);
    let without = web.until_exact("a", &["a", "b"]);
    assert!(first.iter().filter(|it| it.1 != "c").all(|it| without.contains(it)), "{without:?}");
    web.nodes.lab("start", &["c"]);
    web.nodes.until_seen("a", &[("a", "alive"), ("b", "alive"), ("c", "alive")]);
    web.nodes.until("c has removed what it had", || {
        let output = web.nodes.docker("c", &["ps", "-aq"]).output().unwrap();
        output.stdout.is_empty()
    });
    assert_eq!(web.until_exact("c", &["a", "b", "c"]), without, "a return moves nothing");

    // A revision that is not well goes back by itself, and never was in anyone's place.
    web.write("bad", "true");
    web.nodes.fizz("a", &["-f", &web.file.0, "up", "-d"]).output().unwrap();
    web.nodes.until("it was rolled back", || {
        let status = web.nodes.json("b", &["-p", "web", "rollout", "status"]);
        let web = &status[0];
        web["stage"] == "done" && web["failed"]["why"].as_str().is_some_and(|it| !it.is_empty())
    });
    assert_eq!(web.until_exact("b", &["a", "b", "c"]), without, "the old ones were touched");

    // A good one rolls on although who asked for it, and whom it was asked of, are gone.
    web.write("2", "touch /ok");
    let up =
        web.nodes.fizz("b", &["-f", &web.file.0, "up", "--wait"]).stderr(Stdio::null()).spawn();
    let mut up = up.unwrap();
    web.nodes.until("the first is replaced", || {
        web.seen("a", &["a", "c"]).0.iter().any(|it| web.version_of(it) == "2")
    });
    up.kill().unwrap();
    up.wait().unwrap();
    web.nodes.lab("kill", &["b"]);
    web.nodes.until("all are of the new version", || {
        let (seen, well) = web.seen("a", &["a", "c"]);
        well && seen.len() == 5 && seen.iter().all(|it| web.version_of(it) == "2")
    });
    web.until_exact("a", &["a", "c"]);
}

#[test]
fn each_part_of_a_cluster_goes_on_and_what_is_twice_then_goes() {
    let web = Web::new(5);
    let all = ["a", "b", "c", "d", "e"];
    let first = web.until_exact("e", &all);
    assert!(all.iter().all(|it| on(&first, it).len() == 1), "{first:?}");
    web.nodes.lab("partition", &["a,b/c,d,e"]);
    web.until_exact("a", &["a", "b"]);
    web.until_exact("e", &["c", "d", "e"]);
    web.nodes.lab("heal", &[]);
    let exact = web.until_exact("a", &all);
    sleep(Duration::from_secs(2));
    assert_eq!(web.until_exact("d", &all), exact, "it does not come to rest");
}

#[test]
fn a_node_is_drained_and_gets_its_share_again_and_a_change_is_taken_back() {
    let web = Web::new(3);
    let all = ["a", "b", "c"];
    let first = web.until_exact("a", &all);

    // One replica after the other goes, each once another is well: c, which stops them, knows.
    let drain = web.nodes.fizz("a", &["drain", "c"]).stderr(Stdio::null()).spawn();
    let mut drain = drain.unwrap();
    let status = loop {
        let well = web.well("c");
        assert!((5..=6).contains(&well), "{well} are well");
        match drain.try_wait().unwrap() {
            Some(status) => break status,
            None => sleep(Duration::from_millis(20)),
        }
    };
    assert!(status.success(), "{status}");
    let drained = web.until_exact("b", &["a", "b"]);
    assert!(first.iter().filter(|it| it.1 != "c").all(|it| drained.contains(it)), "{drained:?}");
    web.nodes.until("c has removed what it had", || {
        let output = web.nodes.docker("c", &["ps", "-aq"]).output().unwrap();
        output.stdout.is_empty()
    });
    let told = web.nodes.json("b", &["-p", "web", "explain", "web"]);
    let c = told["nodes"].as_array().unwrap().iter().find(|it| it["name"] == "c").unwrap();
    assert!(c["objections"].to_string().contains("drain"), "{told}");
    assert_eq!(told["replicas"].as_array().unwrap().len(), 5, "{told}");

    // That it takes containers again moves none; a rebalance gives it its share and no more.
    web.nodes.ok("b", &["uncordon", "c"]);
    web.nodes.until("a would move something to c", || !web.moves(&["--dry-run"]).is_empty());
    assert_eq!(web.until_exact("c", &all), drained, "a plan moved something");
    assert_eq!(web.moves(&[]), ["c"]);
    web.nodes.until("c has its share", || on(&web.seen("b", &all).0, "c").len() == 1);
    let share = web.until_exact("b", &all);
    let stayed = share.iter().filter(|it| drained.contains(it)).count();
    assert_eq!((on(&share, "c").len(), stayed), (1, 4), "{share:?}");
    assert_eq!(web.moves(&[]), <[&str; 0]>::default(), "it is no fairer otherwise");

    // Back to what was before, asked of another node.
    web.write("2", "touch /ok");
    web.nodes.ok("b", &["-f", &web.file.0, "up", "--wait"]);
    let second = web.until_exact("b", &all);
    assert!(second.iter().all(|it| web.version_of(it) == "2"), "{second:?}");
    web.nodes.until("c knows both versions", || web.history("c").len() == 2);
    web.nodes.ok("c", &["-p", "web", "rollback"]);
    let back = web.until_exact("c", &all);
    assert!(back.iter().all(|it| web.version_of(it) == "1"), "{back:?}");
    let versions = [("3".to_owned(), Some(1)), ("2".to_owned(), None), ("1".to_owned(), None)];
    assert_eq!(web.history("c"), versions);
}
