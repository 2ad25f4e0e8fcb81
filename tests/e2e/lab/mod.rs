//! `fizz lab`: machines that are nothing but namespaces come, are parted, lose their power, and go
//! without a trace.

mod made;
mod network;
mod runtimes;

use std::{thread::sleep, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use made::Made;

#[test]
fn a_lab_comes_up_and_leaves_nothing_behind() {
    let lab = Made::up(3, "none");
    assert_eq!(lab.states(), ["running"; 3]);
    assert_eq!(lab.on("b", "hostname; fizz nodes | tail -n 1 | cut -d' ' -f1,2"), "b\nb *");
    assert_eq!(lab.processes().len(), 7, "a switch, and two for each node: {:?}", lab.processes());
    lab.ok(&["down"]);
    assert_eq!(lab.traces(), [""; 0]);
    let again = lab.command(&["down"]).output().unwrap();
    assert!(again.status.success(), "what is not there is down already: {}", made::said(&again));
    assert_eq!(lab.traces(), [""; 0]);
}

#[test]
fn an_interrupted_up_is_cleared_away_by_down_and_by_the_next_up() {
    let lab = Made::planned();
    let words = ["up", "--no-cluster", "--nodes", "9", "--runtime", "none"];
    let killed_when = |is_so: &dyn Fn() -> bool| {
        let mut up = lab.command(&words).spawn().unwrap();
        while !is_so() && up.try_wait().unwrap().is_none() {
            sleep(Duration::from_millis(1));
        }
        up.kill().unwrap();
        up.wait().unwrap();
        // Before `down`, whose lock a child that is still to become a node holds.
        let left = lab.traces();
        lab.ok(&["down"]);
        assert_eq!(lab.traces(), [""; 0], "of {left:?}");
        left.len()
    };
    // However little there is to be cleared, and then from the first process on to the last but one.
    for after_ms in [5, 10, 20, 30, 45, 60, 80] {
        killed_when(&|| {
            sleep(Duration::from_millis(after_ms));
            true
        });
    }
    for processes in [1, 2, 3, 5, 8, 12, 18] {
        let left = killed_when(&|| processes <= lab.processes().len());
        assert!(processes <= left, "{left} of {processes} processes");
    }

    let mut up = lab.command(&words).spawn().unwrap();
    sleep(Duration::from_millis(80));
    // It may be up already, or not have begun.
    up.kill().unwrap();
    up.wait().unwrap();
    let up = lab.command(&words).output().unwrap();
    assert!(up.status.success(), "{}", made::said(&up));
    assert_eq!(lab.states(), ["running"; 9]);
    assert_eq!(lab.processes().len(), 19, "{:?}", lab.processes());
}

#[test]
fn an_up_that_is_told_to_stop_clears_up_after_itself() {
    let lab = Made::planned();
    let words = ["up", "--no-cluster", "--nodes", "30", "--runtime", "none"];
    let up = lab.command(&words).stderr(std::process::Stdio::piped()).spawn().unwrap();
    for _ in 0..2000 {
        if 4 < lab.processes().len() {
            break;
        }
        sleep(Duration::from_millis(5));
    }
    kill(Pid::from_raw(i32::try_from(up.id()).unwrap()), Signal::SIGINT).unwrap();
    let output = up.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", made::said(&output));
    assert_eq!(lab.traces(), [""; 0]);
}

#[test]
fn a_lab_of_the_same_shape_is_left_but_for_what_does_not_run() {
    let lab = Made::up(3, "none");
    let pid = |node: &str| lab.node(node)["pid"].clone();
    let before = [pid("a"), pid("b"), pid("c")];
    lab.ok(&["kill", "b"]);
    let daemon = i32::try_from(lab.node("c")["daemon"].as_i64().unwrap()).unwrap();
    kill(Pid::from_raw(daemon), Signal::SIGKILL).unwrap();
    lab.wait_until("the daemon is missed", |it| it.states() == ["running", "off", "daemonless"]);
    lab.ok(&["up"]);
    assert_eq!(lab.states(), ["running"; 3]);
    let again = i32::try_from(lab.node("c")["daemon"].as_i64().unwrap()).unwrap();
    kill(Pid::from_raw(again), Signal::SIGKILL).unwrap();
    lab.wait_until("the daemon is missed", |it| it.states()[2] == "daemonless");
    lab.ok(&["start", "c"]);
    assert_eq!((&before[0], &before[2]), (&pid("a"), &pid("c")), "a node was touched");
    assert_ne!(before[1], pid("b"));
    let other = lab.refused(&["up", "--nodes", "2"]);
    assert!(other.contains("is there already, with 3 nodes and --runtime none; end it"), "{other}");
    assert_eq!(pid("a"), before[0]);
}

#[test]
fn a_node_that_loses_its_power_says_nothing_and_boots_with_its_data() {
    let lab = Made::up(2, "none");
    let id = lab.on("a", "fizz nodes -q");
    let address = lab.address("a");
    let mut server = lab.beside("a", &["busybox", "nc", "-l", "-p", "9000"]);
    lab.wait_until("it listens", |it| it.on("a", "cat /proc/net/tcp*").contains(":2328 "));
    let mut client = lab.beside("b", &["busybox", "nc", &address, "9000"]);
    client.tell("hello");
    assert_eq!(server.hear(5), "hello");
    let established = |lab: &Made| lab.on("b", "grep -c ':2328 01 ' /proc/net/tcp || true");
    assert_eq!(established(&lab), "1");

    lab.ok(&["kill", "a"]);
    assert_eq!(lab.states(), ["off", "running"]);
    assert!(lab.refused(&["exec", "a", "true"]).contains("node a is off; start it with"));
    assert_eq!(lab.pings("b", "a", 1), 0);
    sleep(Duration::from_millis(100));
    assert_eq!(established(&lab), "1", "the other end was told");

    lab.ok(&["start", "a"]);
    assert_eq!(lab.states(), ["running"; 2]);
    assert_eq!(lab.on("a", "fizz nodes -q"), id, "it is another node");
    assert_eq!(lab.pings("b", "a", 1), 1);
}

#[test]
fn a_paused_daemon_is_there_and_does_not_answer() {
    let lab = Made::up(2, "none");
    let daemon = lab.node("a")["daemon"].clone();
    lab.ok(&["pause", "a"]);
    lab.wait_until("it is stopped", |it| it.states() == ["paused", "running"]);
    let asked = lab.command(&["exec", "a", "--", "timeout", "0.3", "fizz", "nodes"]).output();
    assert_eq!(asked.unwrap().status.code(), Some(124), "it answered");
    assert!(lab.refused(&["up"]).contains("node a is paused: let it go on with `fizz lab resume`"));
    lab.ok(&["resume", "a"]);
    lab.on("a", "fizz nodes");
    assert_eq!(lab.node("a")["daemon"], daemon, "it is another one");
}

#[test]
fn a_command_on_a_node_has_its_status_its_input_and_its_place() {
    let lab = Made::up(1, "none");
    let status = |words: &[&str]| {
        let mut command = lab.command(&["exec", "a", "--"]);
        command.args(words).output().unwrap().status.code()
    };
    assert_eq!(status(&["true"]), Some(0));
    assert_eq!(status(&["sh", "-c", "exit 42"]), Some(42));
    assert_eq!(status(&["sh", "-c", "kill -TERM $$"]), Some(143));
    assert_eq!(status(&["/there/is/none"]), Some(127));
    assert_eq!(status(&["/etc/passwd"]), Some(126));
    let mut cat = lab.beside("a", &["cat"]);
    cat.tell("word");
    assert_eq!(cat.hear(4), "word");
    assert_eq!(lab.on("a", "pwd"), std::env::current_dir().unwrap().display().to_string());
    let host = lab.node("a")["host"].as_str().unwrap().to_owned();
    assert_eq!(lab.on("a", "echo $FIZZ_HOST"), host);
    assert_eq!(lab.on("a", "ls /run/fizz-lab/*; cat /proc/1/comm").lines().last(), Some("fizz"));
    assert!(lab.refused(&["exec", "b", "true"]).contains("the lab has no node b"));
}
