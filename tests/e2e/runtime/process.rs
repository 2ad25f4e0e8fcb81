//! What a container's process is: command, environment, user, place, names.

use crate::harness::{Lab, words};
use fizz::model::spec::CommandLine;

#[tokio::test]
async fn command_and_entrypoint_replace_the_images_and_can_be_cleared() {
    let lab = Lab::new();
    let image =
        super::images::built(&lab, "words", "ENTRYPOINT [\"echo\", \"entry\"]\nCMD [\"image\"]")
            .await;
    let cases = [
        (CommandLine::Image, CommandLine::Image, "entry image"),
        (CommandLine::Image, words(&["mine"]), "entry mine"),
        (CommandLine::Image, words(&[]), "entry"),
        (words(&["echo", "own"]), CommandLine::Image, "own"),
        (words(&["echo", "own"]), words(&["mine"]), "own mine"),
        (words(&[]), words(&["echo", "bare"]), "bare"),
    ];
    for (entrypoint, command, wanted) in cases {
        let id = lab
            .run_with(|it| {
                it.spec.image.clone_from(&image);
                it.spec.entrypoint = entrypoint;
                it.spec.command = command;
            })
            .await;
        assert_eq!(lab.ended(&id).await, 0);
        assert_eq!(lab.output(&id).await, wanted);
    }
}

#[tokio::test]
async fn variables_are_set_and_taken_away() {
    let lab = Lab::new();
    let image = super::images::built(&lab, "env", "ENV KEPT=1 GONE=1 CHANGED=1").await;
    let gone = ("GONE".to_owned(), None);
    if lab.on_podman() {
        super::refused(&lab, "GONE", |it| {
            it.spec.image.clone_from(&image);
            it.spec.environment = [gone.clone()].into();
        })
        .await;
    }
    let id = lab
        .run_with(|it| {
            it.spec.image = image;
            // What the image does not have can be taken away everywhere.
            let gone = if lab.on_podman() { ("NEVER".to_owned(), None) } else { gone };
            it.spec.environment = [
                gone,
                ("CHANGED".to_owned(), Some("2=2 ".to_owned())),
                ("EMPTY".to_owned(), Some(String::new())),
            ]
            .into();
        })
        .await;
    let seen =
        lab.sh(&id, "env | grep -E '^(KEPT|GONE|CHANGED|EMPTY)=' | sort | tr '\\n' '|'").await;
    let kept = if lab.on_podman() { "GONE=1|KEPT=1|" } else { "KEPT=1|" };
    assert_eq!(seen, format!("CHANGED=2=2 |EMPTY=|{kept}"));
}

#[tokio::test]
async fn the_process_is_who_and_where_it_was_told_to_be() {
    let lab = Lab::new();
    let id = lab
        .run_with(|it| {
            it.spec.user = Some("app".to_owned());
            it.spec.group_add = vec!["audio".to_owned(), "4242".to_owned()];
            it.spec.working_dir = Some("/work".to_owned());
            it.spec.hostname = Some("wonder".to_owned());
            it.spec.domain_name = (!lab.on_podman()).then(|| "land.test".to_owned());
        })
        .await;
    assert_eq!(lab.sh(&id, "id -u; id -g").await, "1000\n1001");
    let groups = lab.sh(&id, "grep Groups /proc/self/status").await;
    assert!(groups.contains("29") && groups.contains("4242"), "{groups}");
    assert_eq!(
        lab.sh(&id, "pwd; hostname; cat /proc/sys/kernel/domainname").await,
        format!("/work\nwonder\n{}", if lab.on_podman() { "(none)" } else { "land.test" })
    );
    if lab.on_podman() {
        let domain = Some("land.test".to_owned());
        super::refused(&lab, "domainname", |it| it.spec.domain_name = domain).await;
    }
}

#[tokio::test]
async fn labels_of_the_file_stand_beside_ours_and_never_over_them() {
    let lab = Lab::new();
    let id = lab
        .run_with(|it| {
            it.spec.labels = [
                ("com.example.a".to_owned(), "b c".to_owned()),
                ("fizz.service".to_owned(), "liar".to_owned()),
            ]
            .into();
        })
        .await;
    let labels = lab.inspected(&id, "/Config/Labels").await;
    assert_eq!(labels["com.example.a"], "b c");
    // containerd keeps ours apart from the user's.
    let ours = if lab.on_containerd() { lab.inspected(&id, "/labels").await } else { labels };
    assert_eq!(ours["fizz.service"], "web");
    assert_eq!(ours["fizz.node"], lab.node.to_string());
    assert_eq!(ours["fizz.one-off"], "false");
}

#[tokio::test]
async fn an_init_process_is_there_when_asked_for() {
    let lab = Lab::new();
    let id = lab.run_with(|it| it.spec.init = Some(true)).await;
    lab.until_runs(&id, "init").await;
    let id = lab.run_with(|it| it.spec.init = Some(false)).await;
    lab.until_runs(&id, "sleep").await;
}

#[tokio::test]
async fn a_terminal_and_open_input_are_there_when_asked_for() {
    let lab = Lab::new();
    let id = lab.run_with(|it| it.spec.tty = true).await;
    assert!(lab.sh(&id, "readlink /proc/1/fd/0").await.contains("/dev/pts/"));
    let id = lab.run_with(|it| it.spec.stdin_open = true).await;
    assert!(lab.sh(&id, "readlink /proc/1/fd/0").await.contains("pipe:"));
    let once = if lab.on_containerd() { "/fizz/stdin_once" } else { "/Config/StdinOnce" };
    assert_eq!(lab.inspected(&id, once).await, false);
    let id = lab.run(&lab.request("web")).await;
    assert_eq!(lab.sh(&id, "readlink /proc/1/fd/0").await, "/dev/null");
}

#[tokio::test]
async fn the_oci_runtime_is_the_one_asked_for() {
    let lab = Lab::new();
    if lab.on_podman() {
        // Its service has one for all.
        let runc = Some("runc".to_owned());
        return super::refused(&lab, "runtime", |it| it.spec.oci_runtime = runc).await;
    }
    let id = lab.run_with(|it| it.spec.oci_runtime = Some("runc".to_owned())).await;
    if !lab.on_containerd() {
        assert_eq!(lab.inspected(&id, "/HostConfig/Runtime").await, "runc");
    }
    let strange = lab.with(|it| it.spec.oci_runtime = Some("strange".to_owned()));
    let error = lab.runtime.create(&strange).await.unwrap_err();
    assert!(error.to_string().contains("strange"), "{error}");
}

#[tokio::test]
async fn the_platform_is_checked_against_the_image() {
    let lab = Lab::new();
    let id = lab.run_with(|it| it.spec.platform = Some("linux/amd64".to_owned())).await;
    assert_eq!(lab.sh(&id, "uname -m").await, "x86_64");
    let foreign = lab.with(|it| it.spec.platform = Some("linux/s390x".to_owned()));
    assert!(lab.runtime.create(&foreign).await.is_err());
}

#[tokio::test]
async fn annotations_arrive_or_the_engine_is_called_too_old() {
    let lab = Lab::new();
    let request = lab.with(|it| it.spec.annotations = [("a.b".to_owned(), "c".to_owned())].into());
    super::supported(&lab, "annotations", (1, 43), lab.runtime.create(&request).await).await;
}
