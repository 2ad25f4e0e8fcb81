//! Exec and attach.

use fizz::api::wire::frame;
use serde_json::json;
use tokio::io::AsyncWriteExt;

use super::Front;
use crate::harness::words;

fn exec(name: &str) -> String {
    format!("/v1/containers/{name}/exec")
}

#[tokio::test]
async fn a_command_reads_what_it_is_told_and_its_outputs_and_status_come_back() {
    let mut front = Front::new();
    let (name, _) = front.run(|_| ()).await;
    let line = "cat; echo oops >&2; echo $A $(id -un) $(pwd); exit 3";
    let body = json!({"command": ["sh", "-c", line], "stdin": true, "environment": ["A=b"],
        "user": "app", "working_dir": "/tmp"});
    let mut talk = front.client.session(&exec(&name), Some(body)).await;
    let long = "x".repeat(200_000);
    for part in long.as_bytes().chunks(frame::BYTES_MAX) {
        talk.say(frame::STDIN, part).await;
    }
    talk.say(frame::STDIN_END, b"").await;
    let (out, err, status) = talk.ended().await;
    assert_eq!((status, err.as_str()), (3, "oops\n"));
    assert_eq!(out, format!("{long}b app /tmp\n"));
}

#[tokio::test]
async fn a_terminal_has_the_size_that_it_is_given_and_then_another() {
    let mut front = Front::new();
    let (name, _) = front.run(|_| ()).await;
    // An engine before API 1.42 gives the size to a command that runs already, and a terminal without
    // one may say nothing and call it a success.
    let line = "until stty size 2>/dev/null | grep .; do sleep 0.02; done; \
        until stty size | grep -v '^40 100'; do sleep 0.02; done";
    let body = json!({"command": ["sh", "-c", line], "stdin": true, "tty": true,
        "columns": 100, "rows": 40});
    let mut talk = front.client.session(&exec(&name), Some(body)).await;
    let (kind, said) = talk.hear().await.unwrap();
    assert_eq!((kind, String::from_utf8(said).unwrap().trim()), (frame::STDOUT, "40 100"));
    talk.say(frame::RESIZE, &[0, 120, 0, 50]).await;
    let (out, _, status) = talk.ended().await;
    assert!(status == 0 && out.contains("50 120"), "{out}");
}

#[tokio::test]
async fn a_command_that_is_not_waited_for_runs_on() {
    let front = Front::new();
    let (name, id) = front.run(|_| ()).await;
    let body = json!({"command": ["touch", "/tmp/done"], "detach": true});
    assert_eq!(front.client.post(&exec(&name), body).await.status, 204);
    while front.lab.try_sh(&id, "test -e /tmp/done").await.1 != 0 {}
}

#[tokio::test]
async fn a_client_that_hangs_up_closes_the_commands_input() {
    let mut front = Front::new();
    let (name, id) = front.run(|_| ()).await;
    let body = json!({"command": ["sh", "-c", "cat; touch /tmp/ended"], "stdin": true});
    let mut talk = front.client.session(&exec(&name), Some(body)).await;
    talk.say(frame::STDIN, b"hello").await;
    assert_eq!(talk.hear().await, Some((frame::STDOUT, b"hello".to_vec())));
    drop(talk);
    while front.lab.try_sh(&id, "test -e /tmp/ended").await.1 != 0 {}
}

#[tokio::test]
async fn frames_that_make_no_sense_end_the_session_with_a_problem() {
    let mut front = Front::new();
    let (name, _) = front.run(|_| ()).await;
    let hostile: [&[u8]; 4] = [
        &[frame::STDIN, 0xff, 0xff, 0xff, 0xff],
        &[frame::STDOUT, 0, 0, 0, 0],
        &[frame::RESIZE, 0, 0, 0, 3],
        &[99, 0, 0, 0, 1],
    ];
    for bytes in hostile {
        let body = json!({"command": ["cat"], "stdin": true});
        let mut talk = front.client.session(&exec(&name), Some(body)).await;
        talk.0.write_all(bytes).await.unwrap();
        talk.0.flush().await.unwrap();
        assert_eq!(talk.failed().await.kind, "urn:fizz:frame");
    }
    let mut uninvited =
        front.client.session(&exec(&name), Some(json!({"command": ["sleep", "60"]}))).await;
    uninvited.say(frame::STDIN, b"x").await;
    assert_eq!(uninvited.failed().await.kind, "urn:fizz:frame");
    // Half a frame, and gone: nothing is left waiting.
    let body = json!({"command": ["cat"], "stdin": true});
    let mut half = front.client.session(&exec(&name), Some(body)).await;
    half.0.write_all(&[frame::STDIN, 0, 0]).await.unwrap();
    drop(half);
    front.client.is_well().await;
}

#[tokio::test]
async fn a_one_off_container_starts_when_somebody_has_attached_and_loses_no_word() {
    let mut front = Front::new();
    for round in 0..5 {
        let line = format!("echo first {round}; read word; echo got $word >&2; exit 7");
        let name = front
            .prepare(|it| {
                it.spec.command = words(&["sh", "-c", &line]);
                it.spec.stdin_open = true;
            })
            .await;
        let path = format!("/v1/containers/{name}/attach?stdin=true");
        let mut talk = front.client.session(&path, None).await;
        talk.say(frame::STDIN, b"word\n").await;
        let (out, err, status) = talk.ended().await;
        assert_eq!((out, err, status), (format!("first {round}\n"), "got word\n".to_owned(), 7));
        front.client.get(&format!("/v1/containers/{name}")).await.is_problem(404, "not-found");
    }
}

#[tokio::test]
async fn a_command_that_is_not_there_is_told_with_its_status() {
    let mut front = Front::new();
    let (name, _) = front.run(|_| ()).await;
    let talk = front.client.session(&exec(&name), Some(json!({"command": ["/no/such"]}))).await;
    let (_, _, status) = talk.ended().await;
    assert!(status == 126 || status == 127, "{status}");
}
