//! Commands in containers, and containers' own input and output.

use std::time::Duration;

use bytes::Bytes;
use fizz::runtime::{AttachRequest, ExecRequest, RuntimeError, Session, SessionInput, StreamKind};
use futures_util::StreamExt;

use crate::harness::{Lab, text, words};

fn command(words: &[&str]) -> ExecRequest {
    ExecRequest {
        command: words.iter().map(|it| (*it).to_owned()).collect(),
        ..ExecRequest::default()
    }
}

/// Everything that comes, by stream.
async fn all(session: &mut Session) -> (String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let reading = async {
        while let Some(part) = session.output.next().await {
            let part = part.unwrap();
            match part.stream {
                StreamKind::Stdout => out.extend(part.bytes),
                StreamKind::Stderr => err.extend(part.bytes),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), reading).await.expect("the output ends");
    (text(&out), text(&err))
}

/// Reads until something has come.
async fn until(session: &mut Session, wanted: &str) -> String {
    let mut seen = Vec::new();
    while !text(&seen).contains(wanted) {
        let part = tokio::time::timeout(Duration::from_secs(10), session.output.next()).await;
        let part = part.unwrap_or_else(|_| panic!("{wanted} in {}", text(&seen)));
        seen.extend(part.unwrap().unwrap().bytes);
    }
    text(&seen)
}

#[tokio::test]
async fn a_command_has_its_outputs_its_status_and_its_settings() {
    let lab = Lab::new();
    let id = lab.run(&lab.request("web")).await;
    let request = ExecRequest {
        user: Some("1000:29".to_owned()),
        working_dir: Some("/work".to_owned()),
        environment: vec!["WORD=a b".to_owned()],
        ..command(&["sh", "-c", "pwd; id -u; id -g; echo $WORD; echo wrong >&2; exit 5"])
    };
    let mut exec = lab.runtime.exec(&id, request).await.unwrap();
    let (out, err) = all(&mut exec.session).await;
    assert_eq!((out.as_str(), err.as_str()), ("/work\n1000\n29\na b", "wrong"));
    assert_eq!(exec.exit_code.await.unwrap(), Some(5));
}

#[tokio::test]
async fn a_command_reads_until_its_input_is_dropped() {
    let lab = Lab::new();
    let id = lab.run(&lab.request("web")).await;
    let request = ExecRequest { stdin: true, ..command(&["sh", "-c", "wc -c"]) };
    let exec = lab.runtime.exec(&id, request).await.unwrap();
    let Session { output, input } = exec.session;
    let (mut session, unused) = (Session { output, input: tokio::sync::mpsc::channel(1).0 }, ());
    let writing = async move {
        for _ in 0..100 {
            input.send(SessionInput::Bytes(Bytes::from(vec![b'x'; 10_000]))).await.unwrap();
        }
        drop(input);
        unused
    };
    let ((), (out, _)) = tokio::join!(writing, all(&mut session));
    assert_eq!(out, "1000000");
    assert_eq!(exec.exit_code.await.unwrap(), Some(0));
}

#[tokio::test]
async fn a_terminal_has_a_size_that_can_change() {
    let lab = Lab::new();
    let id = lab.run(&lab.request("web")).await;
    let script = "trap 'stty size' WINCH; echo ready; while :; do read -t 1 line && [ \"$line\" = end ] && exit 3; done";
    let request =
        ExecRequest { stdin: true, tty: Some((101, 31)), ..command(&["sh", "-c", script]) };
    let mut exec = lab.runtime.exec(&id, request).await.unwrap();
    until(&mut exec.session, "ready").await;
    exec.session.input.send(SessionInput::Resize(77, 22)).await.unwrap();
    until(&mut exec.session, "22 77").await;
    exec.session.input.send(SessionInput::Bytes(Bytes::from_static(b"end\n"))).await.unwrap();
    all(&mut exec.session).await;
    assert_eq!(exec.exit_code.await.unwrap(), Some(3));
    // An engine before API 1.42 gives the size to a command that runs already.
    let sized = "[ \"$(stty size 2>/dev/null)\" = '31 101' ] && break; sleep 0.05";
    let script =
        format!("for i in $(seq 400); do {sized}; done; stty size; printf '\\001\\000\\002'");
    let first = ExecRequest { tty: Some((101, 31)), ..command(&["sh", "-c", &script]) };
    let mut exec = lab.runtime.exec(&id, first).await.unwrap();
    let seen = all(&mut exec.session).await.0;
    // Control characters of a terminal are output like any other.
    assert!(seen.starts_with("31 101") && seen.ends_with("\x01\x00\x02"), "{seen:?}");
}

#[tokio::test]
async fn a_command_can_be_left_alone() {
    let lab = Lab::new();
    let id = lab.run(&lab.request("web")).await;
    let request = ExecRequest { detach: true, ..command(&["sh", "-c", "echo done > /tmp/done"]) };
    let mut exec = lab.runtime.exec(&id, request).await.unwrap();
    assert!(exec.session.output.next().await.is_none());
    assert_eq!(exec.exit_code.await.unwrap(), None);
    lab.sh(&id, "while [ ! -s /tmp/done ]; do sleep 0.05; done").await;
}

#[tokio::test]
async fn a_privileged_command_may_do_more() {
    let lab = Lab::new();
    let id = lab.run(&lab.request("web")).await;
    let request = |privileged| ExecRequest {
        privileged,
        ..command(&["sh", "-c", "grep CapEff /proc/self/status | awk '{print $2}'"])
    };
    let mut seen = Vec::new();
    for privileged in [false, true] {
        let mut exec = lab.runtime.exec(&id, request(privileged)).await.unwrap();
        seen.push(all(&mut exec.session).await.0);
    }
    assert_ne!(seen[0], seen[1]);
}

#[tokio::test]
async fn a_command_ends_with_its_container() {
    let lab = Lab::new();
    let id = lab.run(&lab.request("web")).await;
    let sleeps = command(&["sh", "-c", "echo begun; sleep 3600"]);
    let mut exec = lab.runtime.exec(&id, sleeps).await.unwrap();
    until(&mut exec.session, "begun").await;
    let killing = async {
        lab.runtime.kill(&id, "KILL").await.unwrap();
        lab.ended(&id).await
    };
    let ended = tokio::time::timeout(Duration::from_secs(30), exec.exit_code);
    let (killed, ended, _) = tokio::join!(killing, ended, all(&mut exec.session));
    assert_eq!((killed, ended.unwrap().unwrap()), (137, Some(137)));
}

#[tokio::test]
async fn a_stopped_container_runs_nothing() {
    let lab = Lab::new();
    let id = lab.runtime.create(&lab.request("web")).await.unwrap();
    let error = lab.runtime.exec(&id, command(&["true"])).await.err().unwrap();
    assert!(matches!(error, RuntimeError::Conflict(_)), "{error}");
    lab.runtime.start(&id).await.unwrap();
    let mut exec = lab.runtime.exec(&id, command(&["nowhere"])).await.unwrap();
    all(&mut exec.session).await;
    assert!(matches!(exec.exit_code.await.unwrap(), Some(126 | 127)));
}

#[tokio::test]
async fn a_container_is_spoken_with_from_its_start_to_its_end() {
    let lab = Lab::new();
    for tty in [false, true] {
        let request = lab.with(|it| {
            it.one_off = true;
            it.spec.stdin_open = true;
            it.spec.tty = tty;
            it.spec.command =
                words(&["sh", "-c", "echo hello; read line; echo got $line; cat; exit 4"]);
        });
        let id = lab.runtime.create(&request).await.unwrap();
        let attach = AttachRequest { stdin: true, tty };
        let mut session = lab.runtime.attach(&id, attach).await.unwrap();
        lab.runtime.start(&id).await.unwrap();
        until(&mut session, "hello").await;
        session.input.send(SessionInput::Resize(90, 20)).await.unwrap();
        session.input.send(SessionInput::Bytes(Bytes::from_static(b"word\n"))).await.unwrap();
        until(&mut session, "got word").await;
        if tty {
            // A terminal's end of input.
            session.input.send(SessionInput::Bytes(Bytes::from_static(b"\x04"))).await.unwrap();
        }
        session.input = tokio::sync::mpsc::channel(1).0;
        all(&mut session).await;
        assert_eq!(lab.ended(&id).await, 4);
    }
}
