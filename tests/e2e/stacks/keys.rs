//! Key by key: what a file says of a process and of its files is what the engine was told, and what
//! the process sees.

use serde_json::json;

use super::*;

const PROCESS: &str = r#"
services:
  all:
    image: busybox
    platform: linux/amd64
    container_name: the-only-one
    hostname: kiosk
    domainname: example.test
    entrypoint: ["/bin/sh", "-c"]
    command: ["trap 'exit 0' USR1; while :; do sleep 0.1; done"]
    environment: {PLAIN: "1", FROM_SHELL: "$MINE", EMPTY: "", OVER: file}
    env_file: [base.env, {path: none.env, required: false}]
    user: app:audio
    working_dir: /work
    labels: {com.example.shelf: "7"}
    label_file: more.labels
    group_add: ["1001", "4242"]
    init: true
    tty: true
    stdin_open: true
    stop_signal: SIGUSR1
    stop_grace_period: 1m30s
    read_only: true
    restart: unless-stopped
    logging: {driver: json-file, options: {max-size: 1m, max-file: "3"}}
    annotations: {}
    post_start: [{command: ["sh", "-c", "echo started > /tmp/hook"], user: root}]
    tmpfs: ["/tmp:mode=1777,size=4m"]
    healthcheck: {test: ["CMD", "true"], interval: 500ms, retries: 2}
  defaults: {image: busybox, command: sleep 3600, stop_grace_period: 0s}
  engine_checks_nothing: {image: busybox, command: "sleep 3600", stop_grace_period: 0s, healthcheck: {disable: true}}
  shell_form: {image: busybox, command: "sh -c 'sleep $$((3000 + 600))'", stop_grace_period: 0s}
"#;

/// What Podman's account has in other words, or not at all.
fn process_as_docker_has_it() -> [(&'static str, Value); 4] {
    [
        ("/Config/Image", json!("busybox")),
        ("/Config/Domainname", json!("example.test")),
        ("/Config/StopSignal", json!("SIGUSR1")),
        ("/HostConfig/LogConfig/Config", json!({"max-size": "1m", "max-file": "3"})),
    ]
}

#[test]
fn a_process_is_what_its_file_says() {
    let mut stack = Stack::new("process", &without(PROCESS, &["domainname:"]));
    stack.set("MINE", "from the shell");
    stack.write("base.env", "OVER=env file\nONLY_HERE=a b\n");
    stack.write("more.labels", "com.example.row=2\n");
    stack.up();
    let all = stack.inspect_named("the-only-one");
    assert_places(
        &all,
        &[
            ("/Config/Hostname", json!("kiosk")),
            ("/Config/Entrypoint", json!(["/bin/sh", "-c"])),
            ("/Config/Cmd", json!(["trap 'exit 0' USR1; while :; do sleep 0.1; done"])),
            ("/Config/User", json!("app:audio")),
            ("/Config/WorkingDir", json!("/work")),
            ("/Config/Labels/com.example.shelf", json!("7")),
            ("/Config/Labels/com.example.row", json!("2")),
            ("/Config/Labels/fizz.project", json!("process")),
            ("/Config/Tty", json!(true)),
            ("/Config/OpenStdin", json!(true)),
            ("/Config/StopTimeout", json!(90)),
            ("/Config/Healthcheck/Test", json!(["NONE"])),
            ("/HostConfig/GroupAdd", json!(["1001", "4242"])),
            ("/HostConfig/Init", json!(true)),
            ("/HostConfig/ReadonlyRootfs", json!(true)),
            ("/HostConfig/RestartPolicy/Name", json!("no")),
            ("/HostConfig/LogConfig/Type", json!("json-file")),
        ],
    );
    assert_places(&all, &shown(&process_as_docker_has_it()));
    let environment = all["Config"]["Env"].as_array().unwrap();
    for wanted in ["PLAIN=1", "FROM_SHELL=from the shell", "EMPTY=", "OVER=file", "ONLY_HERE=a b"] {
        assert!(environment.contains(&json!(wanted)), "{wanted} in {environment:?}");
    }
    let said = engine().docker(&["exec", "the-only-one", "sh", "-c", "id; pwd; cat /tmp/hook"]);
    assert!(
        said.contains("uid=1000(app) gid=29(audio) groups=") && said.contains("4242"),
        "{said}"
    );
    assert!(said.ends_with("/work\nstarted"), "{said}");
    let ps = stack.ps();
    let state =
        |service: &str| ps.iter().find(|it| it["service"] == service).unwrap()["state"].clone();
    assert_eq!(state("all"), "healthy", "Fizz checks what the engine does not");
    assert_eq!(state("engine_checks_nothing"), "running");

    let defaults = stack.inspect("defaults-1");
    assert_places(
        &defaults,
        &[
            ("/Config/Cmd", json!(["sleep", "3600"])),
            ("/Config/Tty", json!(false)),
            ("/Config/OpenStdin", json!(false)),
            ("/HostConfig/Privileged", json!(false)),
            ("/HostConfig/ReadonlyRootfs", json!(false)),
            ("/HostConfig/RestartPolicy/Name", json!("no")),
        ],
    );
    let network = ("/HostConfig/NetworkMode", json!("process_default"));
    assert_places(&defaults, &shown(&[("/Config/Entrypoint", json!(null)), network]));
    assert_places(
        &stack.inspect("shell_form-1"),
        &[("/Config/Cmd", json!(["sh", "-c", "sleep $((3000 + 600))"]))],
    );
    // It ends by its own signal, long before its grace is over.
    stack.fizz(&["stop", "all"]).ok();
    assert_places(&stack.inspect_named("the-only-one"), &[("/State/ExitCode", json!(0))]);
    stack.down();
    assert_eq!(engine().docker(&["ps", "-aq", "--filter", "name=the-only-one"]), "");
}

const FILES: &str = r#"
services:
  all:
    image: busybox
    command: sleep 3600
    stop_grace_period: 0s
    volumes:
      - data:/data
      - ./shelf:/shelf:ro
      - /scratch
      - {type: bind, source: ./shelf, target: /long, read_only: true}
      - {type: volume, source: data, target: /data-ro, read_only: true}
      - {type: volume, source: named, target: /work, volume: {nocopy: true}}
      - {type: tmpfs, target: /memory, tmpfs: {size: 2m, mode: 0o1770}}
      - {type: bind, source: ./made, target: /made, bind: {create_host_path: true}}
    tmpfs: [/quick]
    configs: [plain, {source: placed, target: /etc/placed.conf, mode: 0o640, uid: "1000", gid: "1001"}]
    secrets: [word, {source: file, target: renamed, mode: 0o400, uid: "1000", gid: "29"}]
  copies:
    image: busybox
    command: sleep 3600
    stop_grace_period: 0s
    volumes: ["copied:/work"]
    volumes_from: ["lends:ro"]
  lends:
    image: busybox
    command: sleep 3600
    stop_grace_period: 0s
    volumes: ["data:/data", "./shelf:/shelf:ro"]
volumes:
  data: {labels: {shelf: "7"}}
  named: {name: files-own-name}
  copied: {}
configs:
  plain: {content: "price: $PRICE\n"}
  placed: {file: ./placed.conf}
secrets:
  word: {environment: WORD}
  file: {file: ./word.txt}
"#;

/// Their content, mode and owner, as the container sees them.
fn assert_configs_and_secrets(stack: &Stack) {
    let seen = |line: &str| stack.inside("all-1", line);
    assert_eq!(seen("cat /plain"), "price: 7");
    assert_eq!(seen("stat -c '%a %u %g' /plain"), "444 0 0");
    assert_eq!(
        seen("cat /etc/placed.conf; stat -c ' %a %u %g' /etc/placed.conf"),
        "placed 640 1000 1001"
    );
    assert_eq!(
        seen("cat /run/secrets/word; stat -c ' %a %u %g' /run/secrets/word"),
        "sesame 444 0 0"
    );
    assert_eq!(
        seen("cat /run/secrets/renamed; stat -c '%a %u %g' /run/secrets/renamed"),
        "open\n400 1000 29"
    );
}

#[test]
fn files_are_where_the_file_says_with_their_content_owner_and_mode() {
    let mut stack = Stack::new("files", FILES);
    stack.set("PRICE", "7");
    stack.set("WORD", "sesame");
    fs::create_dir(stack.folder.join("shelf")).unwrap();
    stack.write("shelf/book", "a book");
    stack.write("placed.conf", "placed");
    stack.write("word.txt", "open\n");
    stack.up();
    let all = stack.inspect("all-1");
    let mounts = all["Mounts"].as_array().unwrap();
    let mount = |target: &str| {
        let found = mounts.iter().find(|it| it["Destination"] == target);
        found.unwrap_or_else(|| panic!("{target} in {mounts:#?}"))
    };
    let shelf = stack.folder.join("shelf").display().to_string();
    assert_places(
        mount("/data"),
        &[("/Type", json!("volume")), ("/Name", json!("files_data")), ("/RW", json!(true))],
    );
    assert_places(mount("/data-ro"), &[("/Name", json!("files_data")), ("/RW", json!(false))]);
    assert_places(mount("/work"), &[("/Name", json!("files-own-name"))]);
    for target in ["/shelf", "/long"] {
        assert_places(
            mount(target),
            &[("/Type", json!("bind")), ("/Source", json!(shelf)), ("/RW", json!(false))],
        );
    }
    assert_eq!(mount("/scratch")["Type"], "volume");
    let seen = |line: &str| stack.inside("all-1", line);
    assert_eq!(seen("cat /shelf/book"), "a book");
    assert!(seen("touch /shelf/x 2>&1 || true").contains("Read-only"));
    assert!(stack.folder.join("made").is_dir());
    assert!(seen("grep ' /memory ' /proc/mounts").contains("size=2048k"));
    assert_eq!(seen("stat -c %a /memory"), "1770");
    assert!(seen("grep ' /quick ' /proc/mounts").contains("tmpfs"));
    assert_eq!(seen("ls /work"), "", "nocopy");
    assert_eq!(stack.inside("copies-1", "cat /work/from-image"), "image");
    let borrowed = stack.inside("copies-1", "cat /shelf/book; touch /data/x 2>&1 || true");
    assert!(borrowed.contains("Read-only"), "{borrowed}");

    assert_configs_and_secrets(&stack);
    let volume: Value =
        serde_json::from_str(&engine().docker(&["volume", "inspect", "files_data"])).unwrap();
    assert_places(
        &volume[0],
        &[("/Labels/shelf", json!("7")), ("/Labels/fizz.project", json!("files"))],
    );

    // A config's content changes: its container is replaced, and volumes keep what they hold.
    let before = stack.running();
    seen("echo kept > /data/kept; echo kept > /scratch/kept");
    stack.write("placed.conf", "elsewhere");
    stack.up().tells(&["~ service all: replaced"]);
    assert!(stack.touched_since(&before).contains(&"files-all-1".to_owned()));
    assert_eq!(seen("cat /etc/placed.conf"), "elsewhere");
    assert_eq!(seen("cat /data/kept /scratch/kept"), "kept\nkept");
    stack.down();
    let volumes = engine().docker(&["volume", "ls", "-q"]);
    assert!(!volumes.contains("files-own-name"), "{volumes}");
}

const ORDER: &str = r#"
services:
  last: {image: busybox, command: sleep 3600, stop_grace_period: 0s, depends_on: {well: {condition: service_healthy}, job: {condition: service_completed_successfully}}}
  well:
    image: busybox
    command: ["sh", "-c", "sleep 1; touch /ready; exec sleep 3600"]
    stop_grace_period: 0s
    healthcheck: {test: test -e /ready, interval: 200ms, retries: 50}
    depends_on: [first]
  job: {image: busybox, restart: "no", command: ["sh", "-c", "sleep 1"]}
  first: {image: busybox, command: sleep 3600, stop_grace_period: 0s, scale: 2}
"#;

#[test]
fn containers_start_in_the_order_of_their_dependencies() {
    let stack = Stack::new("order", ORDER);
    stack.up();
    let at = |container: &str, which: &str| {
        stack.inspect(container)["State"][which].as_str().unwrap().to_owned()
    };
    let last = at("last-1", "StartedAt");
    assert!(at("job-1", "FinishedAt") < last);
    let well = at("well-1", "StartedAt");
    assert!(at("first-1", "StartedAt") < well && at("first-2", "StartedAt") < well);
    let ready = stack.inside("well-1", "stat -c %y /ready").replacen(' ', "T", 1);
    assert!(ready.get(..19).unwrap() <= last.get(..19).unwrap(), "{ready} {last}");
    stack.down();
}
