//! What stays where it is, and what goes first: services with a volume, nodes that leave, and what must never
//! run twice, in real containers.

use std::{fs, thread::sleep, time::Duration};

use super::{Scratch, nodes::Nodes};

const NODES: [&str; 3] = ["a", "b", "c"];

fn lab() -> Nodes {
    let nodes = Nodes::together(3, "docker");
    nodes.give_busybox(&NODES.map(str::to_owned));
    nodes
}

/// A project of one service, which is to be up.
fn up(nodes: &Nodes, name: &str, rest: &str) -> Scratch {
    let file = Scratch::new(&format!("{name}.yaml"));
    let text = format!(
        "name: {name}\nservices:\n  one:\n    image: busybox\n    command: [sleep, '1000']\n    \
         stop_signal: SIGKILL\n    restart: unless-stopped\n{rest}"
    );
    fs::write(&file.0, text).unwrap();
    nodes.ok("a", &["-f", &file.0, "up", "--wait"]);
    file
}

/// The nodes on which a project's containers run, as their engines say.
fn running(nodes: &Nodes, project: &str) -> Vec<&'static str> {
    let label = format!("label=fizz.project={project}");
    let runs = |node: &&str| {
        let output = nodes.docker(node, &["ps", "-q", "-f", &label]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().lines().count()
    };
    NODES.iter().flat_map(|it| std::iter::repeat_n(*it, runs(it))).collect()
}

fn only(nodes: &Nodes, project: &str) -> &'static str {
    let [node] = running(nodes, project)[..] else { panic!("{:?}", running(nodes, project)) };
    node
}

#[test]
fn a_node_leaves_once_what_runs_on_it_has_moved_and_not_while_it_alone_has_a_volume() {
    let nodes = lab();
    let volume = "    volumes: ['data:/data']\nvolumes:\n  data: {}\n";
    let data = up(&nodes, "data", volume);
    let at = only(&nodes, "data");
    let other = NODES.into_iter().find(|it| *it != at).unwrap();
    let spread = up(&nodes, "spread", "    deploy: {replicas: 6}\n");
    assert_eq!(running(&nodes, "spread").iter().filter(|it| **it == at).count(), 2);

    // Taken down and brought up again it is where its volume is.
    nodes.ok(other, &["-p", "data", "down"]);
    nodes.ok(other, &["-f", &data.0, "up", "--wait"]);
    assert_eq!(only(&nodes, "data"), at);

    let refused = nodes.refused(at, &["leave"]);
    let why = "volume `data_data` of data/one is on this node only";
    assert!(refused.starts_with(why), "{refused}");
    nodes.ok(other, &["-p", "data", "down", "-v"]);
    nodes.until("the volume is gone", || {
        let output = nodes.docker(at, &["volume", "ls", "-q"]).output().unwrap();
        output.stdout.is_empty()
    });
    let left = nodes.note(at, &["leave"]);
    assert!(left.ends_with("has left cluster `fizz`, and is on its own."), "{left}");
    // The last may still be about to start where it is now.
    nodes.until("all replicas run on the others", || {
        let there = running(&nodes, "spread");
        there.len() == 6 && !there.contains(&at)
    });
    drop(spread);
}

#[test]
fn what_must_not_run_twice_stops_where_it_is_cut_off_before_it_starts_elsewhere() {
    let nodes = lab();
    let _file = up(&nodes, "single", "    x-fizz: {partition: singleton}\n");
    let at = only(&nodes, "single");
    let others: Vec<&str> = NODES.into_iter().filter(|it| *it != at).collect();
    nodes.lab("partition", &[&format!("{at}/{}", others.join(","))]);
    nodes.until("it has stopped", || running(&nodes, "single").is_empty());
    // Longer than `until` waits.
    for _ in 0..250 {
        let there = running(&nodes, "single");
        assert!(there.len() < 2 && !there.contains(&at), "{there:?}");
        if there.len() == 1 {
            break;
        }
        sleep(Duration::from_millis(100));
    }
    let there = only(&nodes, "single");
    nodes.lab("heal", &[]);
    nodes.until_seen(at, &[("a", "alive"), ("b", "alive"), ("c", "alive")]);
    nodes.until("the other has removed what it had", || {
        assert_eq!(running(&nodes, "single"), [there]);
        nodes.docker(at, &["ps", "-aq"]).output().unwrap().stdout.is_empty()
    });
}
