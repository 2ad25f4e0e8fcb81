//! What a user meets who did something wrong, or whose machine did.

use super::*;

#[test]
fn an_image_that_is_nowhere_is_named_and_nothing_is_made() {
    let stack =
        Stack::new("nowhere", "services: {web: {image: \"127.0.0.1:5001/no-such-image:7\"}}");
    stack.fizz(&["up", "--wait"]).refused().tells(&["127.0.0.1:5001/no-such-image:7", "web"]);
    assert_eq!(stack.left(), "");
}

#[test]
fn a_container_that_ends_at_once_is_told_with_its_code_and_last_words() {
    let file = r#"
services:
  once: {image: busybox, restart: "no", command: ["sh", "-c", "echo the disk is full >&2; exit 17"]}
  well: {image: busybox, command: ["sleep", "3600"], stop_grace_period: 0s}
"#;
    let stack = Stack::new("atonce", file);
    stack.fizz(&["up", "--wait"]).refused().tells(&["once", "17", "the disk is full"]);
    let ps = stack.ps();
    let once = ps.iter().find(|it| it["service"] == "once").unwrap();
    assert_eq!(once["exit_code"], 17);
    // The others are left alone; this one may be starting yet.
    stack.until("the other runs", |it| {
        it.ps().iter().any(|it| it["service"] == "well" && it["state"] == "running")
    });
    stack.down();
}

#[test]
fn a_restart_does_not_wait_for_what_failed_after_it() {
    let file = r#"
services:
  once:
    image: busybox
    restart: "no"
    command: ["sh", "-c", "mkdir /once || exit 9; exec sleep 3600"]
    stop_grace_period: 0s
"#;
    let stack = Stack::new("again", file);
    stack.up();
    // Whether it is seen running first, or only failed, is a matter of luck.
    assert!(matches!(stack.fizz(&["restart"]).code, 0 | 1));
    stack.until("it has failed", |it| it.ps()[0]["exit_code"] == 9);
    stack.down();
}

#[test]
fn a_container_that_is_never_well_is_told_with_what_its_check_said() {
    let file = r#"
services:
  ill:
    image: busybox
    command: ["sleep", "3600"]
    restart: "no"
    stop_grace_period: 0s
    healthcheck: {test: "echo no pulse; exit 1", interval: 200ms, retries: 2}
"#;
    let stack = Stack::new("ill", file);
    stack.fizz(&["up", "--wait", "--wait-timeout", "5"]).refused().tells(&["ill"]);
    stack.down();
}

#[test]
fn a_program_that_the_image_does_not_have_is_named() {
    let file = "services: {web: {image: busybox, restart: \"no\", command: [no-such-program]}}";
    let stack = Stack::new("noprogram", file);
    stack.fizz(&["up", "--wait"]).refused().tells(&["web", "no-such-program"]);
    stack.down();
}

#[test]
fn a_port_that_is_taken_is_named() {
    let file = r#"
services:
  PLACE:
    image: busybox
    command: ["sleep", "3600"]
    ports: ["127.0.0.1:18095:80"]
    stop_grace_period: 0s
"#;
    let first = Stack::new("porta", &file.replace("PLACE", "first"));
    first.up();
    let second = Stack::new("portb", &file.replace("PLACE", "second"));
    second.fizz(&["up", "--wait", "--wait-timeout", "60"]).refused().tells(&["second", "18095"]);
    // Once it is free, the container that waits for it gets it.
    first.down();
    second.up();
    second.down();
}

#[test]
fn a_typo_is_told_with_its_line_and_column() {
    let file =
        "services:\n  web:\n    image: busybox\n    comand: [\"true\"]\n    ports: [\"80:http\"]\n";
    let stack = Stack::new("typo", file);
    stack.fizz(&["up", "--wait"]).refused().tells(&[
        "compose.yaml:4:5: services.web.comand",
        "`command`",
        "compose.yaml:5:13: services.web.ports[0]",
    ]);
    assert_eq!(stack.left(), "");
}

#[test]
fn a_key_that_cannot_be_kept_is_refused_with_its_place() {
    let file = "services:\n  web:\n    image: busybox\n    use_api_socket: true\n";
    let stack = Stack::new("refused", file);
    stack.fizz(&["up", "--wait"]).refused().tells(&[
        "compose.yaml:4:",
        "services.web.use_api_socket",
        "mount what it needs",
    ]);
    assert_eq!(stack.left(), "");
}

#[test]
fn a_daemon_that_is_not_there_is_missed_with_what_to_do() {
    let stack = Stack::new("alone", "services: {web: {image: busybox}}");
    let nobody = stack.folder.join("nobody.sock");
    stack.fizz_at(&nobody, &["up", "--wait"]).refused().tells(&[
        "nobody.sock",
        "hint:",
        "fizz daemon",
    ]);
}

#[test]
fn up_twice_changes_nothing() {
    let file = r#"
name: twice
services:
  web:
    image: busybox
    command: ["sleep", "3600"]
    volumes: ["data:/data", "/scratch"]
    configs: [note]
    secrets: [key]
    ports: ["18096:80"]
    healthcheck: {test: ["CMD", "true"], interval: 500ms}
    depends_on: {prepare: {condition: service_completed_successfully}}
    scale: 1
  prepare: {image: busybox, command: ["true"], restart: "no"}
  pair: {image: busybox, command: ["sleep", "3600"], stop_grace_period: 0s, deploy: {replicas: 2}}
volumes: {data: {}}
configs: {note: {content: "a note"}}
secrets: {key: {file: key.txt}}
"#;
    let stack = Stack::new("twice", file);
    stack.write("key.txt", "sesame");
    stack.up();
    // What ended is started again, as `docker compose up` does; it may be seen while it runs.
    let serving = |stack: &Stack| {
        let mut running = stack.running();
        running.remove("twice-prepare-1");
        running
    };
    let before = serving(&stack);
    assert_eq!(before.len(), 3);
    for words in [&["up", "--wait"][..], &["up", "--wait"], &["up", "-d"]] {
        stack.fizz(words).ok().tells(&["Plan for twice: nothing changes"]);
        assert_eq!(serving(&stack), before);
    }
    stack.until("what ended has ended again", |it| it.running() == before);
    stack.down();
}
