//! The client against a real server on a real socket that speaks the wire types.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use axum::{
    Router,
    body::Body,
    extract::Request as Asked,
    http::HeaderMap,
    response::{IntoResponse, Response},
    routing::{any, get, post, put},
};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixListener,
};

use super::*;
use crate::cli::context::tar_stream;

/// Runs a test against a server, both until the test is done.
async fn with_server<T>(name: &str, app: Router, test: impl AsyncFnOnce(Client) -> T) -> T {
    let path = std::env::temp_dir().join(format!("fizz-client-{name}-{}.sock", std::process::id()));
    drop(std::fs::remove_file(&path));
    let listener = UnixListener::bind(&path).unwrap();
    let client = Client::new(Some(&format!("unix://{}", path.display()))).unwrap();
    let served = async { axum::serve(listener, app).await };
    let result = tokio::select! {
        result = test(client) => result,
        ended = served => panic!("the server ended: {ended:?}"),
    };
    std::fs::remove_file(path).unwrap();
    result
}

fn pieces<const N: usize>(parts: [&'static str; N]) -> Body {
    Body::from_stream(stream::iter(parts.map(Ok::<_, Infallible>)))
}

#[tokio::test]
async fn a_refusal_reads_as_what_the_daemon_said() {
    let problem = json!({"type": "urn:fizz:not-found", "title": "not found", "status": 404,
        "detail": "there is no project `x`", "hint": "`fizz ls` lists projects"});
    let text = problem.to_string();
    let app = Router::new().route(
        "/v1/deployments/{project}",
        get(|| async { (axum::http::StatusCode::NOT_FOUND, text) }),
    );
    let error = with_server("refusal", app, async |client| {
        client.get::<Value>(&Route::to(&["deployments", "x"])).await.unwrap_err()
    })
    .await;
    assert!(error.is_not_found());
    assert_eq!(error.to_string(), "there is no project `x`\n  hint: `fizz ls` lists projects");
}

#[tokio::test]
async fn lines_arrive_one_by_one_however_they_are_cut() {
    let app =
        Router::new().route("/v1/logs", get(|| async { pieces(["1\n", "2", "2\n3", "3\n\n4"]) }));
    let numbers = with_server("lines", app, async |client| {
        let mut lines = client.lines::<u32>(&Route::to(&["logs"])).await.unwrap();
        let mut numbers = Vec::new();
        while let Some(number) = lines.next().await.unwrap() {
            numbers.push(number);
        }
        numbers
    })
    .await;
    assert_eq!(numbers, [1, 22, 33, 4]);
}

#[tokio::test]
async fn a_broken_event_stream_is_taken_up_after_its_last_event() {
    let connections = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&connections);
    let app = Router::new().route(
        "/v1/events",
        get(async move |headers: HeaderMap| {
            counted.fetch_add(1, Ordering::SeqCst);
            let last = headers.get("last-event-id").map(|it| it.to_str().unwrap().to_owned());
            match last.as_deref() {
                Some("5") => pieces([
                    "data: {\"id\":6,\"at_ms\":0,\"kind\":\"a\"}\n\ndata: {\"id\":7,\"at_ms\":0,\"kind\":\"b\"}\n\n",
                    "data: {\"id\":8,\"at_",
                ]),
                Some("7") => pieces(["data: {\"id\":8,\"at_ms\":0,\"kind\":\"c\"}\n\n"]),
                other => panic!("asked for {other:?}"),
            }
        }),
    );
    let kinds = with_server("events", app, async |client| {
        let mut events = client.events(None, Some(5));
        let mut kinds = Vec::new();
        for _ in 0..3 {
            kinds.push(events.next().await.unwrap().kind);
        }
        kinds
    })
    .await;
    assert_eq!(kinds, ["a", "b", "c"]);
    assert_eq!(connections.load(Ordering::SeqCst), 2, "the stream broke once");
}

#[tokio::test]
async fn a_tar_stream_arrives_whole() {
    let received = async |body: Body| {
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        axum::Json(json!(bytes.len()))
    };
    let app = Router::new().route("/v1/containers/{id}/archive", put(received));
    let length: usize = with_server("tar", app, async |client| {
        let body = tar_stream(|tar| {
            let mut header = tar::Header::new_gnu();
            header.set_size(3_000_000);
            tar.append_data(&mut header, "big", std::io::Read::take(std::io::repeat(7), 3_000_000))
        });
        let route = Route::to(&["containers", "c", "archive"]);
        let reply = client.upload(Method::PUT, &route, body.unwrap()).await.unwrap();
        client.answer(reply).await.unwrap()
    })
    .await;
    // Header, content in blocks of 512, two empty blocks.
    assert_eq!(length, 512 + 3_000_000_usize.next_multiple_of(512) + 1024);
}

/// Echoes standard input, then exits with the number of its bytes.
async fn echo(mut request: Asked) -> Response {
    let upgrade = hyper::upgrade::on(&mut request);
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        let mut io = hyper_util::rt::TokioIo::new(upgrade.await.unwrap());
        let mut count = 0_i64;
        loop {
            let kind = io.read_u8().await.unwrap();
            let length = io.read_u32().await.unwrap();
            let mut payload = vec![0; length as usize];
            io.read_exact(&mut payload).await.unwrap();
            if kind == wire::frame::STDIN_END {
                break;
            }
            count += i64::from(length);
            io.write_all(&session::encode(wire::frame::STDOUT, &payload)).await.unwrap();
        }
        io.write_all(&session::encode(wire::frame::EXIT, &count.to_be_bytes())).await.unwrap();
    });
    tasks.detach_all();
    let headers = [("connection", "upgrade"), ("upgrade", wire::frame::PROTOCOL)];
    (axum::http::StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

#[tokio::test]
async fn a_session_carries_input_there_and_output_and_status_back() {
    let app = Router::new().route("/v1/containers/{id}/exec", post(echo));
    with_server("session", app, async |client| {
        let route = Route::to(&["containers", "c", "exec"]);
        let mut session = client.session(&route, &json!({})).await.unwrap();
        let mut writer = session.take_writer().unwrap();
        writer.stdin(b"hello").await.unwrap();
        assert_eq!(session.next().await.unwrap(), Some(Frame::Stdout(b"hello".to_vec())));
        writer.stdin_end().await.unwrap();
        assert_eq!(session.next().await.unwrap(), Some(Frame::Exit(5)));
    })
    .await;
}

#[tokio::test]
async fn no_daemon_says_what_to_start() {
    let missing = Client::new(Some("unix:///no/such/fizz.sock")).unwrap();
    let error = missing.get::<Value>(&Route::to(&["version"])).await.unwrap_err().to_string();
    assert!(error.contains("does not run") && error.contains("systemctl start fizz"), "{error}");
    assert!(Client::new(Some("tcp://1.2.3.4:5")).is_err());
    assert!(Client::new(Some("relative.sock")).is_err());
}

#[tokio::test]
async fn an_abandoned_socket_says_that_nobody_listens() {
    let path = std::env::temp_dir().join(format!("fizz-client-stale-{}.sock", std::process::id()));
    drop(UnixListener::bind(&path).unwrap());
    let client = Client::new(path.to_str()).unwrap();
    let error = client.get::<Value>(&Route::to(&["version"])).await.unwrap_err().to_string();
    std::fs::remove_file(path).unwrap();
    assert!(error.contains("nobody listens"), "{error}");
}

#[tokio::test]
async fn another_service_is_told_from_another_version() {
    let foreign =
        Router::new().fallback(any(|| async { (axum::http::StatusCode::NOT_FOUND, "404") }));
    let ask = async |client: Client| {
        client.get::<Value>(&Route::to(&["new-thing"])).await.unwrap_err().to_string()
    };
    let error = with_server("foreign", foreign.clone(), ask).await;
    assert!(error.contains("not a Fizz daemon"), "{error}");
    let version = json!({"version": "9.9.9", "api": "v9", "kernel": "6", "architecture": "x86_64"});
    let other = foreign.route("/v1/version", get(|| async { axum::Json(version) }));
    let error = with_server("version", other, ask).await;
    assert!(error.contains("9.9.9") && error.contains("same version"), "{error}");
}
