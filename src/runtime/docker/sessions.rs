//! Conversations with processes: commands run in containers, and containers' own processes.
//!
//! What goes in is carried by whoever reads what comes out, so that a conversation is one value and
//! ends when it is dropped.

use std::{sync::Arc, time::Duration};

use bollard::{
    exec::StartExecOptions,
    models::ExecConfig,
    query_parameters::{ResizeContainerTTYOptions, ResizeExecOptions},
};
use bytes::Bytes;
use futures_util::{
    FutureExt, StreamExt, TryStreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    sync::mpsc,
};
use tokio_util::io::ReaderStream;

use super::{
    connect::{ANSWER_MAX, ApiVersion, Engine},
    errors::{About, Refusal, about},
    flavour::Flavour,
    frames::Frames,
    wire,
};
use crate::runtime::{
    AttachRequest, ExecRequest, ExecSession, RuntimeError, RuntimeId, Session, SessionInput,
    SessionOutput, StreamKind,
};

/// How much input waits for the process.
const INPUTS_QUEUED_MAX: usize = 64;

/// Between looks at a command that has not ended: the first, and the longest.
const EXIT_LOOK_MIN: Duration = Duration::from_millis(5);
const EXIT_LOOK_MAX: Duration = Duration::from_millis(500);

/// When Podman hears a terminal's last size once more. Its monitor (conmon up to 2.1.6) takes the first of two
/// sizes that it reads at once twice, and the second never.
const RESIZE_AGAIN: Duration = Duration::from_millis(200);

/// What a conversation is with.
#[derive(Clone)]
enum Process {
    /// A command, by its id.
    Exec(Arc<str>),
    /// A container's own.
    Container(RuntimeId),
}

pub(super) async fn exec(
    engine: Arc<Engine>,
    id: &RuntimeId,
    request: ExecRequest,
) -> Result<ExecSession, RuntimeError> {
    let about = || about("run a command in", "container", &*id.0);
    let (tty, attached) = (request.tty.is_some(), !request.detach);
    let console_size = request.tty.map(|(columns, rows)| [rows, columns]);
    let knows_size = engine.api >= ApiVersion(1, 42);
    let config = ExecConfig {
        attach_stdin: Some(request.stdin && attached),
        attach_stdout: Some(attached),
        attach_stderr: Some(attached),
        console_size: console_size.filter(|_| knows_size).map(|it| it.map(usize::from).to_vec()),
        tty: Some(tty),
        env: Some(request.environment),
        cmd: Some(request.command),
        privileged: Some(request.privileged),
        user: request.user,
        working_dir: request.working_dir,
        ..ExecConfig::default()
    };
    let made = engine.ask(ANSWER_MAX, engine.client.create_exec(&id.0, config)).await;
    let exec: Arc<str> = made.map_err(|it| engine.error(it, about()))?.id.into();
    if !attached {
        let options = StartExecOptions { detach: true, tty, output_capacity: None };
        let started = engine.ask(ANSWER_MAX, engine.client.start_exec(&exec, Some(options))).await;
        started.map_err(|it| engine.error(it, about()))?;
        let (input, _) = mpsc::channel(1);
        let session = Session { output: stream::empty().boxed(), input };
        return Ok(ExecSession { session, exit_code: std::future::ready(Ok(None)).boxed() });
    }
    let body = serde_json::json!({
        "Detach": false,
        "Tty": tty,
        "ConsoleSize": console_size.filter(|_| knows_size),
    });
    let path = format!("/v{}/exec/{exec}/start", engine.api);
    let connection = connect(&engine, &path, body.to_string().into()).await;
    let connection = connection.map_err(|it| engine.error(it, about()))?;
    let process = Process::Exec(exec.clone());
    let session = session(engine.clone(), connection, process.clone(), tty, about());
    // An engine that does not take the size with the command takes it once the command runs.
    if let Some((columns, rows)) = request.tty.filter(|_| !knows_size) {
        // The queue is new: there is room.
        let _ = session.input.try_send(SessionInput::Resize(columns, rows));
    }
    Ok(ExecSession { session, exit_code: exit_code(engine, exec, about()) })
}

pub(super) async fn attach(
    engine: Arc<Engine>,
    id: &RuntimeId,
    request: AttachRequest,
) -> Result<Session, RuntimeError> {
    let about = about("attach to", "container", &*id.0);
    let stdin = u8::from(request.stdin);
    let path =
        format!("/v{}/containers/{id}/attach?stream=1&stdout=1&stderr=1&stdin={stdin}", engine.api);
    let connection = connect(&engine, &path, Bytes::new()).await;
    let connection = connection.map_err(|it| engine.error(it, about.clone()))?;
    Ok(session(engine, connection, Process::Container(id.clone()), request.tty, about))
}

async fn connect(
    engine: &Engine,
    path: &str,
    body: Bytes,
) -> Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static + use<>, Refusal> {
    let connected =
        tokio::time::timeout(ANSWER_MAX, wire::upgrade(&engine.socket, path, body)).await;
    connected.unwrap_or_else(|_| Err(Refusal::Silent("no answer to a new stream".to_owned())))
}

fn session(
    engine: Arc<Engine>,
    connection: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    process: Process,
    tty: bool,
    about: About,
) -> Session {
    let (reader, writer) = tokio::io::split(connection);
    let (input, inputs) = mpsc::channel(INPUTS_QUEUED_MAX);
    let carried = stream::once(carry(engine.clone(), writer, inputs, process))
        .filter_map(|()| std::future::ready(None));
    let failed = move |refusal| engine.error(refusal, about.clone());
    let output = output(reader, tty).map_err(failed).map(Some).chain(stream::iter([None]));
    // The end of the output ends both.
    let output = stream::select(output, carried).scan((), |(), item| std::future::ready(item));
    Session { output: output.boxed(), input }
}

fn output(
    reader: impl AsyncRead + Send + 'static,
    tty: bool,
) -> BoxStream<'static, Result<SessionOutput, Refusal>> {
    let bytes = ReaderStream::new(reader).map_err(|error| Refusal::Silent(error.to_string()));
    if tty {
        let stream = StreamKind::Stdout;
        return bytes.map_ok(move |bytes| SessionOutput { stream, bytes }).boxed();
    }
    let mut frames = Frames::new();
    bytes
        .map(move |bytes| frames.take(bytes?))
        .map_ok(|parts| {
            stream::iter(
                parts
                    .into_iter()
                    .map(|it| Ok(SessionOutput { stream: it.stream, bytes: it.bytes })),
            )
        })
        .try_flatten()
        .boxed()
}

/// Carries input until there is no more of it, then closes the process's standard input.
async fn carry(
    engine: Arc<Engine>,
    mut writer: impl AsyncWrite + Unpin,
    mut inputs: mpsc::Receiver<SessionInput>,
    process: Process,
) {
    let mut unsure = None;
    loop {
        let input = match unsure {
            Some(_) => tokio::time::timeout(RESIZE_AGAIN, inputs.recv()).await,
            None => Ok(inputs.recv().await),
        };
        match input {
            Ok(Some(SessionInput::Bytes(bytes))) => {
                // A process that no longer reads says so by its end.
                if writer.write_all(&bytes).await.is_err() || writer.flush().await.is_err() {
                    return;
                }
            }
            Ok(Some(SessionInput::Resize(columns, rows))) => {
                resize(&engine, &process, (columns, rows)).await;
                unsure = (engine.flavour == Flavour::Podman).then_some((columns, rows));
            }
            Ok(None) => break,
            Err(_) => {
                if let Some(size) = unsure.take() {
                    resize(&engine, &process, size).await;
                }
            }
        }
    }
    let _ = writer.shutdown().await;
}

/// Tells a terminal its size. One that has ended meanwhile needs none.
async fn resize(engine: &Engine, process: &Process, (columns, rows): (u16, u16)) {
    let (h, w) = (i32::from(rows), i32::from(columns));
    let _ = match process {
        Process::Exec(id) => {
            engine.ask(ANSWER_MAX, engine.client.resize_exec(id, ResizeExecOptions { h, w })).await
        }
        Process::Container(id) => {
            let options = ResizeContainerTTYOptions { h, w };
            engine.ask(ANSWER_MAX, engine.client.resize_container_tty(&id.0, options)).await
        }
    };
}

/// A command's status. Its output ends a moment before the engine knows.
fn exit_code(
    engine: Arc<Engine>,
    exec: Arc<str>,
    about: About,
) -> BoxFuture<'static, Result<Option<i64>, RuntimeError>> {
    async move {
        let mut pause = EXIT_LOOK_MIN;
        loop {
            let look = engine.ask(ANSWER_MAX, engine.client.inspect_exec(&exec)).await;
            let look = look.map_err(|it| engine.error(it, about.clone()))?;
            if look.running != Some(true) {
                return Ok(look.exit_code);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(EXIT_LOOK_MAX);
        }
    }
    .boxed()
}
