//! What containers write.

use std::time::Duration;

use fizz::model::spec::LoggingSpec;
use fizz::{
    model::WallTime,
    runtime::{LogLine, LogsRequest, RuntimeError, StreamKind},
};
use futures_util::StreamExt;

use super::life::until_said;
use crate::harness::{Lab, text, words};

async fn read(lab: &Lab, id: &fizz::runtime::RuntimeId, request: LogsRequest) -> Vec<LogLine> {
    lab.runtime.logs(id, request).map(Result::unwrap).collect().await
}

fn texts(lines: &[LogLine]) -> Vec<String> {
    lines.iter().map(|it| text(&it.line)).collect()
}

#[tokio::test]
async fn lines_have_their_stream_and_their_time() {
    let lab = Lab::new();
    // Podman tells whole seconds.
    let pause = if lab.on_podman() { "1.2" } else { "0.3" };
    let told = |number| format!("until [ $n = {number} ]; do sleep 0.05; done; sleep {pause}");
    let script = format!(
        "n=0; trap 'n=$((n+1))' USR1; echo one; {}; echo two >&2; {}; echo; printf three",
        told(1),
        told(2)
    );
    let id = lab.run_with(|it| it.spec.command = words(&["sh", "-c", &script])).await;
    // The streams go ways of their own: a line comes after another only once that has arrived.
    for line in ["one", "two"] {
        until_said(&lab, &id, line).await;
        lab.runtime.kill(&id, "SIGUSR1").await.unwrap();
    }
    lab.ended(&id).await;
    let lines = read(&lab, &id, LogsRequest::default()).await;
    assert_eq!(texts(&lines), ["one", "two", "", "three"]);
    let streams: Vec<_> = lines.iter().map(|it| it.stream).collect();
    use StreamKind::{Stderr, Stdout};
    assert_eq!(streams, [Stdout, Stderr, Stdout, Stdout]);
    assert!(
        lines.windows(2).all(|it| it[0].at_ns <= it[1].at_ns)
            && lines[0].at_ns > 1_600_000_000_000_000_000
    );

    let last = read(&lab, &id, LogsRequest { tail: Some(2), ..LogsRequest::default() }).await;
    // Podman counts no empty line.
    assert_eq!(texts(&last), [if lab.on_podman() { "two" } else { "" }, "three"]);
    let middle = WallTime(lines[1].at_ns / 1_000_000 - 50);
    let after =
        read(&lab, &id, LogsRequest { since: Some(middle), ..LogsRequest::default() }).await;
    assert_eq!(texts(&after), ["two", "", "three"]);
    let before =
        read(&lab, &id, LogsRequest { until: Some(middle), ..LogsRequest::default() }).await;
    assert_eq!(texts(&before), ["one"]);
}

#[tokio::test]
async fn followed_lines_come_as_they_are_written_and_end_with_the_container() {
    let lab = Lab::new();
    let script = "for n in 1 2 3 4; do echo $n; sleep 0.2; done";
    let id = lab.run_with(|it| it.spec.command = words(&["sh", "-c", script])).await;
    let request = LogsRequest { follow: true, ..LogsRequest::default() };
    let mut lines = lab.runtime.logs(&id, request);
    let mut seen = Vec::new();
    while let Some(line) =
        tokio::time::timeout(Duration::from_secs(20), lines.next()).await.unwrap()
    {
        seen.push(text(&line.unwrap().line));
    }
    assert_eq!(seen, ["1", "2", "3", "4"]);
}

#[tokio::test]
async fn a_terminals_lines_are_lines_too() {
    let lab = Lab::new();
    // 40,000 bytes in one line, which the engine keeps in three messages.
    let script =
        "echo hello; head -c 40000 /dev/zero | tr '\\0' x; echo end; printf '\\001\\002raw\\n'";
    let id = lab
        .run_with(|it| {
            it.spec.tty = true;
            it.spec.command = words(&["sh", "-c", script]);
        })
        .await;
    lab.ended(&id).await;
    let lines = read(&lab, &id, LogsRequest::default()).await;
    assert_eq!(lines.len(), 3);
    assert_eq!(&lines[0].line[..], b"hello");
    assert_eq!(lines[1].line.len(), 40_003);
    assert!(lines[1].line.iter().take(40_000).all(|byte| *byte == b'x'));
    assert_eq!(&lines[2].line[..], b"\x01\x02raw");
}

#[tokio::test]
async fn a_line_without_end_is_cut_at_its_bound() {
    let lab = Lab::new();
    let script = "head -c 200000 /dev/zero | tr '\\0' x; echo; echo end";
    let id = lab.run_with(|it| it.spec.command = words(&["sh", "-c", script])).await;
    lab.ended(&id).await;
    let lines = read(&lab, &id, LogsRequest::default()).await;
    let lengths: Vec<_> = lines.iter().map(|it| it.line.len()).collect();
    assert_eq!(lengths, [65_536, 65_536, 65_536, 3_392, 3]);
}

#[tokio::test]
async fn output_that_is_not_kept_and_containers_that_are_not_there_say_so() {
    let lab = Lab::new();
    let id = lab
        .run_with(|it| {
            it.spec.logging =
                Some(LoggingSpec { driver: Some("none".to_owned()), options: Default::default() });
        })
        .await;
    let error = lab.runtime.logs(&id, LogsRequest::default()).next().await.unwrap().unwrap_err();
    assert!(matches!(error, RuntimeError::Unsupported(_)), "{error}");
    lab.runtime.remove(&id, true).await.unwrap();
    let error = lab.runtime.logs(&id, LogsRequest::default()).next().await.unwrap().unwrap_err();
    assert!(matches!(error, RuntimeError::NotFound { what: "container", .. }), "{error}");
}
