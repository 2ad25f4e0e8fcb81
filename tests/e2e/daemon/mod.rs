//! A daemon that is killed, and an engine that is: whatever happens, containers go on, nothing is lost
//! and nothing is there twice.

pub(crate) mod machine;

use std::{thread::sleep, time::Duration};

use machine::Machine;

const SHOP: &str = r#"
name: shop
services:
  web:
    image: busybox
    command: ["sh", "-c", "mkdir /www && cp /etc/shop.conf /www/ && exec httpd -f -p 80 -h /www"]
    configs: [{source: conf, target: /etc/shop.conf}]
    secrets: [{source: password, mode: 0400, uid: "33"}]
    healthcheck: {test: ["CMD", "wget", "-q", "-O-", "http://127.0.0.1/shop.conf"], interval: 3s, start_interval: 300ms, start_period: 30s}
    depends_on: {db: {condition: service_healthy}}
    deploy: {replicas: 2}
    stop_grace_period: 300ms
  db:
    image: busybox
    command: ["sleep", "3600"]
    volumes: ["data:/data"]
    stop_grace_period: 300ms
    healthcheck: {test: "touch /data/alive", interval: 3s, start_interval: 300ms, start_period: 30s}
volumes: {data: {}}
configs: {conf: {content: "open all day"}}
secrets: {password: {environment: SHOP_PASSWORD}}
"#;

const PASSWORD: &str = "correct horse battery staple";

fn shop() -> Machine {
    let machine = Machine::start();
    machine.deploy(SHOP, &[("password", PASSWORD)]);
    machine.wait_until_ready("shop");
    machine
}

#[test]
fn a_killed_daemon_comes_back_to_its_containers_and_to_what_changed_meanwhile() {
    let mut machine = shop();
    let before = machine.running("shop");
    assert_eq!(before.len(), 3);
    machine.kill();
    machine.up();
    machine.wait_until_ready("shop");
    assert_eq!(machine.running("shop"), before, "a container was touched");

    machine.kill();
    machine.engine().docker(&["rm", "-f", "shop-web-1"]);
    machine.up();
    machine.wait_until("the missing container is there again", |it| {
        it.running("shop").iter().any(|it| it.0 == "shop-web-1")
    });
    machine.wait_until_ready("shop");
    let after = machine.running("shop");
    let untouched =
        |name: &str| before.iter().find(|it| it.0 == name) == after.iter().find(|it| it.0 == name);
    assert!(untouched("shop-db-1") && untouched("shop-web-2") && !untouched("shop-web-1"));
}

#[test]
fn a_daemon_told_to_stop_leaves_its_containers_and_its_socket_goes() {
    let mut machine = shop();
    let before = machine.running("shop");
    machine.stop();
    assert!(!machine.socket().exists());
    assert_eq!(machine.running("shop"), before);
    machine.up();
    machine.wait_until_ready("shop");
    assert_eq!(machine.running("shop"), before);
}

#[test]
fn a_daemon_killed_at_any_time_while_it_deploys_loses_and_doubles_nothing() {
    let mut machine = Machine::start();
    for (round, after_ms) in [1, 20, 60, 120, 250, 500, 900].into_iter().enumerate() {
        let replicas = 3 + round % 2 * 3;
        let model = SHOP.replace("replicas: 2", &format!("replicas: {replicas}"));
        // A new revision each time: everything is replaced.
        let model = model.replace("open all day", &format!("open until {round}"));
        machine.deploy(&model, &[("password", PASSWORD)]);
        sleep(Duration::from_millis(after_ms));
        machine.kill();
        machine.up();
        let label = "label=fizz.project=shop";
        // What is not wanted any more stops first, and then goes.
        machine.wait_until("all replicas are there, and nothing else", |it| {
            let all = it.engine().docker(&["ps", "-aq", "--filter", label]);
            let counts = (it.running("shop").len(), all.lines().count());
            it.is_ready("shop") && counts == (replicas + 1, replicas + 1)
        });
        let said = machine.engine().docker(&["exec", "shop-web-1", "cat", "/etc/shop.conf"]);
        assert_eq!(said, format!("open until {round}"));
    }
}

#[test]
fn a_daemon_killed_while_it_pulls_goes_on_with_it() {
    let mut machine = Machine::start();
    let image = machine.offer_large_image();
    machine.deploy(
        &format!("name: far\nservices: {{web: {{image: {image}, command: [sleep, '3600']}}}}"),
        &[],
    );
    machine.wait_until("it pulls", |it| it.doing("far") == ["pulling"]);
    machine.kill();
    let there = machine.engine().docker(&["images", "-q", &image]);
    assert!(there.is_empty(), "the kill came too late to meet the pull");
    machine.up();
    machine.wait_until_ready("far");
    let running = machine.running("far");
    machine.kill();
    machine.up();
    machine.wait_until_ready("far");
    assert_eq!((running.len(), machine.running("far")), (1, running));
}

#[test]
fn an_engine_that_crashes_or_hangs_is_waited_for() {
    let machine = shop();
    let before = machine.running("shop");
    machine.engine().crash();
    machine.wait_until("the daemon says so", |it| it.runtime_problem().is_some());
    machine.engine().up();
    machine.wait_until("the daemon is content", |it| it.runtime_problem().is_none());
    machine.wait_until_ready("shop");
    assert_eq!(machine.running("shop"), before, "a container was touched");

    machine.engine().freeze(true);
    machine.wait_until("the daemon says so", |it| it.runtime_problem().is_some());
    let states = machine.states("shop");
    machine.engine().freeze(false);
    assert!(states.iter().all(|it| it == "healthy"), "a silent engine says nothing: {states:?}");
    machine.wait_until("the daemon is content", |it| it.runtime_problem().is_none());
    assert_eq!(machine.running("shop"), before, "a container was touched");
}

#[test]
fn a_secret_is_in_memory_for_its_container_and_nowhere_in_the_clear() {
    let machine = shop();
    let engine = machine.engine();
    let inside = |words: &str| engine.docker(&["exec", "shop-web-1", "sh", "-c", words]);
    assert_eq!(inside("cat /run/secrets/password"), PASSWORD);
    assert_eq!(inside("stat -c '%a %u' /run/secrets/password"), "400 33");
    assert!(inside("grep /run/secrets/password /proc/mounts").contains("tmpfs"));
    let account = engine.docker(&["inspect", "shop-web-1"]);
    assert!(!account.contains(PASSWORD));
    let found = engine.inside(&format!(
        "grep -rlF '{PASSWORD}' {} {} || true",
        machine.data_dir().display(),
        machine.log().display()
    ));
    assert_eq!(found, "");
    assert_eq!(engine.inside("stat -c %a /run/fizz/secrets"), "700");
    assert!(inside("! touch /run/secrets/password 2>&1").contains("Read-only"));
}

#[test]
fn a_removed_project_leaves_nothing() {
    let machine = shop();
    machine.down("shop");
    machine.wait_until("everything is gone", |it| it.states("shop").is_empty());
    machine.wait_until("the deployment is gone", |it| !it.is_there("shop"));
    let engine = machine.engine();
    for words in [
        &["ps", "-aq", "--filter", "label=fizz.project=shop"][..],
        &["network", "ls", "-q", "--filter", "label=fizz.project=shop"],
        &["volume", "ls", "-q", "--filter", "label=fizz.project=shop"],
    ] {
        assert_eq!(engine.docker(words), "", "{words:?}");
    }
    let files =
        engine.inside(&format!("ls {}/configs /run/fizz/secrets", machine.data_dir().display()));
    assert!(files.lines().all(|it| it.is_empty() || it.ends_with(':')), "{files}");
}
