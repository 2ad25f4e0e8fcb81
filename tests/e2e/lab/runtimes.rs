//! What carries a node's containers: an engine of its own, or nothing.

use std::{fs, thread::sleep, time::Duration};

use super::made::Made;
use crate::harness::{image_archive, image_tar};

/// An engine's own commands, in which `NAME` and `SECONDS` are to be replaced.
struct Engine {
    runtime: &'static str,
    image: fn() -> Vec<u8>,
    import: &'static str,
    run: &'static str,
    running: &'static str,
    all: &'static str,
    start: &'static str,
}

const DOCKER: Engine = Engine {
    runtime: "docker",
    image: image_tar,
    import: "docker import - busybox:latest",
    run: "docker run -d --name NAME busybox /bin/sleep SECONDS",
    running: "docker ps --format {{.Names}}",
    all: "docker ps -a --format {{.Names}}",
    start: "docker start NAME",
};

const PODMAN: Engine = Engine { runtime: "podman", ..DOCKER };

const CONTAINERD: Engine = Engine {
    runtime: "containerd",
    image: image_archive,
    import: "ctr images import -",
    run: "ctr run -d --null-io docker.io/library/busybox:latest NAME /bin/sleep SECONDS",
    running: "ctr tasks ls -q",
    all: "ctr containers ls -q",
    start: "ctr tasks start -d --null-io NAME",
};

/// Each node has an engine, with images, containers and control groups that no other node sees.
fn every_node_runs_its_own_containers(engine: &Engine) {
    let runtime = engine.runtime;
    let lab = Made::up(2, runtime);
    // What says on the whole machine whether a node's container runs.
    let sleeper = |node: &str| {
        let number = lab.name.replace(|it: char| !it.is_ascii_digit(), "");
        format!("{number}.{}", u32::from(node == "b") + 1)
    };
    let tell = |node: &str, line: &str, input: &[u8]| {
        let line = line.replace("NAME", &format!("on-{node}")).replace("SECONDS", &sleeper(node));
        lab.fed(node, &line.split(' ').collect::<Vec<_>>(), input)
    };
    for node in ["a", "b"] {
        tell(node, engine.import, &(engine.image)());
        tell(node, engine.run, b"");
    }
    for node in ["a", "b"] {
        assert_eq!(tell(node, engine.running, b""), format!("on-{node}"));
        lab.wait_until("the container runs", |_| sleeping(&sleeper(node)) == 1);
    }
    let named = format!("   {runtime} ");
    lab.wait_until("the node says which", |lab| lab.on("a", "fizz nodes").contains(&named));

    lab.ok(&["kill", "a"]);
    assert_eq!((sleeping(&sleeper("a")), sleeping(&sleeper("b"))), (0, 1));
    lab.ok(&["start", "a"]);
    assert_eq!(tell("a", engine.all, b""), "on-a");
    tell("a", engine.start, b"");
    lab.wait_until("it runs again", |_| sleeping(&sleeper("a")) == 1);

    lab.ok(&["down"]);
    assert_eq!((sleeping(&sleeper("a")), sleeping(&sleeper("b"))), (0, 0));
    assert_eq!(lab.traces(), [""; 0]);
}

/// How many containers sleep for so long, on the whole machine.
fn sleeping(seconds: &str) -> usize {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let words = entries.filter_map(|it| fs::read(it.path().join("cmdline")).ok());
    let expected = format!("/bin/sleep\0{seconds}\0");
    words.filter(|it| *it == expected.as_bytes()).count()
}

#[test]
fn every_node_has_a_docker_of_its_own() {
    every_node_runs_its_own_containers(&DOCKER);
}

#[test]
fn every_node_has_a_podman_of_its_own() {
    every_node_runs_its_own_containers(&PODMAN);
}

#[test]
fn every_node_has_a_containerd_of_its_own() {
    every_node_runs_its_own_containers(&CONTAINERD);
}

#[test]
fn a_node_without_a_runtime_says_so_and_is_quiet() {
    let lab = Made::up(1, "none");
    assert!(lab.on("a", "fizz nodes").contains("   none   "), "{}", lab.on("a", "fizz nodes"));
    let file = lab.run_dir().join("compose.yaml");
    fs::write(&file, "name: x\nservices: {web: {image: busybox}}\n").unwrap();
    let up =
        format!("fizz -f - up -d --wait 2>&1 <<'END'\n{}END\n", fs::read_to_string(file).unwrap());
    let output =
        lab.command(&["exec", "a", "--", "timeout", "20", "sh", "-c", &up]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("a: it has no container runtime (runtime.kind: none)"), "{text}");
    lab.on("a", "fizz -p x down");

    let ticks = |lab: &Made| -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", lab.node("a")["daemon"])).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    let log = || fs::read_to_string(lab.run_dir().join("a/fizz.log")).unwrap();
    lab.wait_until("what was asked of it is done", |_| {
        let said = log();
        sleep(Duration::from_secs(1));
        log() == said
    });
    let (said, used) = (log(), ticks(&lab));
    sleep(Duration::from_secs(2));
    assert_eq!(log(), said, "it says something though nothing happens");
    assert!(ticks(&lab) - used <= 2, "it works though nothing happens");
}
