//! A container from its making to its end.

use std::{collections::BTreeSet, path::Path, time::Duration};

use fizz::{
    model::{ContainerId, Millis},
    runtime::{Observed, RuntimeError, RuntimeEventKind, RuntimeId, RuntimeState},
};
use futures_util::StreamExt;

use crate::harness::{Lab, words};

#[tokio::test]
async fn the_engine_says_what_it_is() {
    let lab = Lab::new();
    let info = lab.runtime.info().await.unwrap();
    assert_eq!((info.name, info.os.as_str()), (lab.engine.kind().name(), "linux"));
    // The others' containers have nothing that could end with it.
    assert_eq!(info.live_restore, lab.on_podman() || lab.on_containerd(), "{info:?}");
    assert!(info.cpus > 0 && info.memory_bytes > 0, "{info:?}");
    assert!(info.api_version.starts_with("1.") && info.root.ends_with("/data"), "{info:?}");
}

#[tokio::test]
async fn a_container_is_known_again_by_its_labels() {
    let lab = Lab::new();
    let request = lab.request("web");
    let id = lab.run(&request).await;
    let listed = lab.runtime.list(lab.node).await.unwrap();
    assert_eq!(listed.len(), 1);
    let Observed { name, container, project, service, slot, revision, one_off, state, .. } =
        &listed[0];
    assert_eq!(&listed[0].runtime_id, &id);
    assert_eq!(name, request.name.as_str());
    assert_eq!(
        (container, project, service),
        (&request.container, &request.project, &request.service)
    );
    assert_eq!((slot, revision, *one_off), (&request.slot, &request.revision, false));
    assert!(
        matches!(state, RuntimeState::Running { paused: false, since } if since.0 >= listed[0].created.0)
    );
    assert!(listed[0].created.0 > 1_600_000_000_000);
    let image = lab.runtime.image("busybox").await.unwrap().unwrap();
    assert_eq!(listed[0].image, image.id);
    assert_eq!(lab.runtime.observe(&id).await.unwrap().as_ref(), Some(&listed[0]));
    assert!(lab.runtime.list(Lab::new().node).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_container_goes_from_made_to_gone_and_every_step_can_be_repeated() {
    let lab = Lab::new();
    let request = lab.request("web");
    let id = lab.runtime.create(&request).await.unwrap();
    assert_eq!(lab.state(&id).await, RuntimeState::Created);
    assert_eq!(lab.runtime.create(&request).await.unwrap(), id);
    for _ in 0..2 {
        lab.runtime.start(&id).await.unwrap();
    }
    // What starts it takes the signal otherwise.
    lab.until_runs(&id, "sleep").await;
    for _ in 0..2 {
        lab.runtime.stop(&id, Some(Millis(1))).await.unwrap();
    }
    assert!(
        matches!(lab.state(&id).await, RuntimeState::Exited { code: 137, oom_killed: false, at } if at.0 > 0)
    );
    lab.runtime.start(&id).await.unwrap();
    for _ in 0..2 {
        lab.runtime.remove(&id, true).await.unwrap();
    }
    assert_eq!(lab.runtime.observe(&id).await.unwrap(), None);
    let gone = lab.runtime.start(&id).await.unwrap_err();
    assert!(matches!(gone, RuntimeError::NotFound { what: "container", .. }), "{gone}");
}

#[tokio::test]
async fn a_name_that_another_container_has_is_a_conflict() {
    let lab = Lab::new();
    let request = lab.request("web");
    lab.runtime.create(&request).await.unwrap();
    let mut other = request.clone();
    other.container = ContainerId(1);
    let error = lab.runtime.create(&other).await.unwrap_err();
    assert!(
        matches!(&error, RuntimeError::Conflict(why) if why.contains("service web")),
        "{error}"
    );

    if lab.on_containerd() {
        // Its namespace is Fizz's own: there is no stranger in it.
        return;
    }
    let stranger = format!("{}-stranger", lab.project);
    lab.engine.docker(&["create", "--name", &stranger, "busybox"]);
    other.name = stranger.parse().unwrap();
    let error = lab.runtime.create(&other).await.unwrap_err();
    assert!(matches!(&error, RuntimeError::Conflict(why) if why.contains("not Fizz's")), "{error}");
}

#[tokio::test]
async fn a_missing_image_is_named() {
    let lab = Lab::new();
    let request = lab.with(|it| it.spec.image = "nowhere/nothing:7".to_owned());
    let error = lab.runtime.create(&request).await.unwrap_err();
    assert_eq!(
        error,
        RuntimeError::NotFound { what: "image", name: "nowhere/nothing:7".to_owned() }
    );
}

#[tokio::test]
async fn a_container_is_renamed_once() {
    let lab = Lab::new();
    let id = lab.run(&lab.request("web")).await;
    let name = format!("{}-other", lab.project).parse().unwrap();
    for _ in 0..2 {
        lab.runtime.rename(&id, &name).await.unwrap();
    }
    assert_eq!(lab.runtime.observe(&id).await.unwrap().unwrap().name, name.as_str());
}

#[tokio::test]
async fn a_signal_reaches_the_process() {
    let lab = Lab::new();
    let trap = "trap 'echo got it; exit 7' USR1; echo ready; while :; do sleep 0.05; done";
    let id = lab.run_with(|it| it.spec.command = words(&["sh", "-c", trap])).await;
    until_said(&lab, &id, "ready").await;
    lab.runtime.kill(&id, "SIGUSR1").await.unwrap();
    assert_eq!(lab.ended(&id).await, 7);
    let error = lab.runtime.kill(&id, "KILL").await.unwrap_err();
    assert!(matches!(error, RuntimeError::Conflict(_)), "{error}");
}

#[tokio::test]
async fn stop_signal_and_grace_are_the_containers_own() {
    let lab = Lab::new();
    let trap =
        "trap 'echo got it; exit 9' USR2; trap '' TERM; echo ready; while :; do sleep 0.05; done";
    let id = lab
        .run_with(|it| {
            it.spec.command = words(&["sh", "-c", trap]);
            it.spec.stop_signal = Some("SIGUSR2".to_owned());
            // Longer than a busy machine takes to run the trap.
            it.spec.stop_grace = Some(Millis(29_500));
        })
        .await;
    if !lab.on_containerd() {
        assert_eq!(lab.inspected(&id, "/Config/StopTimeout").await, 30);
    }
    until_said(&lab, &id, "ready").await;
    lab.runtime.stop(&id, None).await.unwrap();
    assert_eq!(lab.ended(&id).await, 9);
}

#[tokio::test]
async fn restarts_and_health_checks_are_not_the_engines() {
    let lab = Lab::new();
    let id = lab.run(&lab.request("web")).await;
    if lab.on_containerd() {
        // It knows no checks, and restarts only what has a label for that.
        let labels = lab.inspected(&id, "/labels").await;
        let restarts = |it: &String| it.starts_with("containerd.io/restart");
        return assert!(!labels.as_object().unwrap().keys().any(restarts), "{labels}");
    }
    assert_eq!(lab.inspected(&id, "/HostConfig/RestartPolicy/Name").await, "no");
    assert_eq!(lab.inspected(&id, "/Config/Healthcheck/Test").await, serde_json::json!(["NONE"]));
}

#[tokio::test]
async fn what_happens_to_our_containers_is_told_and_nothing_else() {
    let lab = Lab::new();
    let other = Lab::new();
    let mut events = lab.listen().await;
    let story = async {
        let request = lab.request("web");
        let noise = other.run(&other.request("web")).await;
        let id = lab.run(&request).await;
        lab.sh(&id, "true").await;
        lab.engine.pause(&id.0, true);
        let paused = lab.state(&id).await;
        assert!(matches!(paused, RuntimeState::Running { paused: true, .. }), "{paused:?}");
        lab.engine.pause(&id.0, false);
        lab.runtime.remove(&id, true).await.unwrap();
        other.runtime.remove(&noise, true).await.unwrap();
        (request.container, id)
    };
    let heard = async {
        let mut heard = Vec::new();
        while heard.last().is_none_or(|(_, _, kind)| *kind != RuntimeEventKind::Removed) {
            let event = events.next().await.unwrap().unwrap();
            heard.push((event.container, event.runtime_id, event.kind));
        }
        heard
    };
    let (told, heard) = tokio::join!(story, heard);
    let kinds: Vec<_> = heard.iter().map(|it| it.2).collect();
    use RuntimeEventKind::{Changed, Ended, Removed, Started};
    assert_eq!(kinds, [Changed, Started, Changed, Started, Ended, Removed]);
    let who: BTreeSet<_> = heard.into_iter().map(|it| (it.0, it.1)).collect();
    assert_eq!(who, [told].into());
}

#[tokio::test]
async fn a_container_that_takes_too_much_memory_is_seen_to() {
    let lab = Lab::new();
    let id = lab
        .run_with(|it| {
            it.spec.command = words(&["sh", "-c", "tail /dev/zero"]);
            it.spec.resources.memory_bytes = Some(16 << 20);
            it.spec.resources.memory_swap_bytes = Some(16 << 20);
        })
        .await;
    // Podman's monitor tells of it under version 2 of control groups only; the status is the same.
    let told = lab.on_podman() && Path::new("/sys/fs/cgroup/memory").exists();
    // The engine may hear that it has ended before it hears why.
    lab.until(&id, "it was killed for its memory", |it| {
        matches!(it, RuntimeState::Exited { oom_killed, code: 137, .. } if *oom_killed || told)
    })
    .await;
}

#[tokio::test]
async fn processes_are_listed_and_usage_is_measured() {
    let lab = Lab::new();
    let busy = "echo begun; while :; do :; done";
    let id = lab.run_with(|it| it.spec.command = words(&["sh", "-c", busy])).await;
    // What starts it is listed until it is what it runs.
    until_said(&lab, &id, "begun").await;
    let list = lab.runtime.top(&id, "").await.unwrap();
    let command = list.titles.iter().position(|it| it == "CMD").unwrap();
    assert!(list.processes.iter().any(|it| it[command].contains(busy)), "{list:?}");

    let readings = lab.runtime.stats(&id);
    let readings: Vec<_> = readings.take(3).map(Result::unwrap).collect().await;
    let last = readings[2];
    assert!(last.cpu_hundredths_percent > 500, "{readings:?}");
    assert!(last.memory_bytes > 0 && last.memory_limit_bytes >= last.memory_bytes, "{last:?}");
    assert_eq!(last.pids, 1);
    lab.runtime.remove(&id, true).await.unwrap();
}

pub(super) async fn until_said(lab: &Lab, id: &RuntimeId, said: &str) {
    for _ in 0..1200 {
        if lab.output(id).await.contains(said) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{id} never said {said}: {}", lab.output(id).await);
}
