//! Conversations with processes: commands run in containers, and containers' own processes.
//!
//! A command's input and output are pipes of the node. A container's own output is what is written to
//! its log from now on, so that a conversation can end and another begin without its process noticing.

use std::{path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{
    FutureExt, StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use nix::sys::stat::Mode;
use serde_json::{Value, json};
use tokio::{
    io::AsyncWriteExt,
    net::unix::pipe::{OpenOptions, Receiver, Sender},
    sync::mpsc,
};
use tokio_util::io::ReaderStream;

use super::{
    connect::Connection,
    errors::{About, Refusal, about, unsupported},
    life,
    log::{self, Ending, Follower},
    messages::{Any, CloseIo, DeleteProcess, ExecProcess, ResizePty, StartTask, Status, WaitTask},
    record, rootfs, spec, users,
};
use crate::runtime::{
    AttachRequest, ExecRequest, ExecSession, RuntimeError, RuntimeId, Session, SessionInput,
    SessionOutput, StreamKind,
};

/// How much input waits for the process.
const INPUTS_QUEUED_MAX: usize = 64;

/// What a process of a container is, to containerd.
const PROCESS: &str = "types.containerd.io/opencontainers/runtime-spec/1/Process";

/// The longest that a command is waited for.
const COMMAND_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// The status of what was killed, as a shell has it.
const KILLED: i64 = 137;

/// Between looks at a container that has not begun.
const LOOK: Duration = Duration::from_millis(50);

/// A command's pipes: gone with the conversation.
struct Pipes(PathBuf);

impl Pipes {
    fn make(path: PathBuf) -> std::io::Result<Self> {
        std::fs::create_dir_all(&path)?;
        let pipes = Self(path);
        for name in [log::STDIN, log::STDOUT, log::STDERR] {
            nix::unistd::mkfifo(&pipes.0.join(name), Mode::S_IRUSR | Mode::S_IWUSR)?;
        }
        Ok(pipes)
    }

    fn path(&self, name: &str, is_wanted: bool) -> String {
        if is_wanted { self.0.join(name).display().to_string() } else { String::new() }
    }

    fn receiver(&self, name: &str) -> std::io::Result<Receiver> {
        OpenOptions::new().open_receiver(self.0.join(name))
    }
}

impl Drop for Pipes {
    fn drop(&mut self) {
        // What is left is cleared at the next start of the machine.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a conversation is with: a container's own process, or a command in it.
#[derive(Clone)]
struct Process {
    connection: Arc<Connection>,
    container_id: String,
    exec_id: String,
}

pub(super) async fn exec(
    connection: Arc<Connection>,
    id: &RuntimeId,
    request: ExecRequest,
) -> Result<ExecSession, RuntimeError> {
    let what = about("run a command in", "container", &*id.0);
    let process = Process {
        container_id: id.0.to_string(),
        exec_id: format!("fizz-{}", super::random_id()),
        connection: connection.clone(),
    };
    let spec = exec_spec(&connection, &id.0, &request, &what).await?;
    let (attached, tty) = (!request.detach, request.tty.is_some());
    let pipes = Pipes::make(connection.scratch().join(&process.exec_id));
    let pipes = pipes.map_err(|error| what.failed(error))?;
    let stdin = request.stdin && attached;
    let call = ExecProcess {
        container_id: process.container_id.clone(),
        stdin: pipes.path(log::STDIN, stdin),
        stdout: pipes.path(log::STDOUT, attached),
        stderr: pipes.path(log::STDERR, attached && !tty),
        terminal: tty,
        spec: Some(Any { type_url: PROCESS.to_owned(), value: spec.to_string().into_bytes() }),
        exec_id: process.exec_id.clone(),
    };
    connection.work(call).await.map_err(|it| connection.error(it, &what))?;
    // Held open from before it begins, so that nothing is lost.
    let ends = [log::STDOUT, log::STDERR].map(|it| pipes.receiver(it));
    let [out, err] = ends;
    let (out, err) = (out.map_err(|it| what.failed(it))?, err.map_err(|it| what.failed(it))?);
    let start =
        StartTask { container_id: process.container_id.clone(), exec_id: process.exec_id.clone() };
    if let Err(refusal) = connection.work(start).await {
        process.clear().await;
        return not_begun(&connection, refusal, attached, &what);
    }
    if !attached {
        return Ok(ExecSession {
            session: silent(),
            exit_code: std::future::ready(Ok(None)).boxed(),
        });
    }
    if let Some((columns, rows)) = request.tty {
        process.resize(columns, rows).await;
    }
    let writer = if stdin {
        let open = OpenOptions::new().read_write(true).open_sender(pipes.0.join(log::STDIN));
        Some(open.map_err(|error| what.failed(error))?)
    } else {
        None
    };
    let failed = {
        let what = what.clone();
        move |error: std::io::Error| what.failed(error)
    };
    let err = if tty { stream::empty().boxed() } else { bytes(err, StreamKind::Stderr) };
    let output = stream::select(bytes(out, StreamKind::Stdout), err).map_err(failed);
    // The pipes are there as long as they are read.
    let output = output.inspect(move |_| _ = &pipes);
    let session = session(process.clone(), output.boxed(), writer, true);
    Ok(ExecSession { session, exit_code: exit_code(process, what).boxed() })
}

/// A command that could not begin has a status as in a shell; whoever does not wait for it is told so.
fn not_begun(
    connection: &Connection,
    refusal: Refusal,
    attached: bool,
    what: &About,
) -> Result<ExecSession, RuntimeError> {
    let said = refusal.to_string();
    let code = if said.contains("permission denied") {
        126
    } else if ["not found", "no such file"].iter().any(|it| said.contains(it)) {
        127
    } else {
        return Err(connection.error(refusal, what));
    };
    if !attached {
        return Err(what.failed(said));
    }
    let (input, _) = mpsc::channel(1);
    let output = SessionOutput { stream: StreamKind::Stderr, bytes: Bytes::from(said + "\n") };
    let session = Session { output: stream::iter([Ok(output)]).boxed(), input };
    Ok(ExecSession { session, exit_code: std::future::ready(Ok(Some(code))).boxed() })
}

fn silent() -> Session {
    let (input, _) = mpsc::channel(1);
    Session { output: stream::empty().boxed(), input }
}

/// The command's process: the container's own, with what the request says otherwise.
async fn exec_spec(
    connection: &Connection,
    id: &str,
    request: &ExecRequest,
    what: &About,
) -> Result<Value, RuntimeError> {
    let (container, _) = record::must_find(connection, id, "run a command in").await?;
    let task = record::task(connection, id).await?;
    let pid = match task.as_ref().map(|it| (it.status(), it.pid)) {
        Some((Status::Running, pid)) => pid,
        Some((Status::Paused | Status::Pausing, _)) => {
            return Err(what.conflict("it is paused; resume it first"));
        }
        Some((Status::Stopped | Status::Created | Status::Unknown, _)) | None => {
            return Err(what.conflict("it does not run"));
        }
    };
    let mut process = life::read_spec(&container, what)?["process"].take();
    process["args"] = json!(request.command);
    process["terminal"] = json!(request.tty.is_some());
    if let Some((columns, rows)) = request.tty {
        process["consoleSize"] = json!({ "width": columns, "height": rows });
    }
    if let Some(directory) = &request.working_dir {
        process["cwd"] = json!(directory);
    }
    let name = |text: &str| text.split('=').next().unwrap_or_default().to_owned();
    let mut variables: Vec<String> =
        serde_json::from_value(process["env"].take()).unwrap_or_default();
    variables.retain(|it| !request.environment.iter().any(|given| name(given) == name(it)));
    let given = request.environment.iter().filter(|it| it.contains('='));
    variables.extend(given.cloned());
    if request.tty.is_some() && !variables.iter().any(|it| it.starts_with("TERM=")) {
        variables.push("TERM=xterm".to_owned());
    }
    process["env"] = json!(variables);
    if let Some(user) = &request.user {
        let root = PathBuf::from(format!("/proc/{pid}/root"));
        let read = |path: &str| rootfs::text(&root, path).map_err(|error| what.failed(error));
        let user = users::user(user, &[], &read("/etc/passwd")?, &read("/etc/group")?);
        let user = user.map_err(|why| what.failed(why))?;
        process["user"] =
            json!({ "uid": user.uid, "gid": user.gid, "additionalGids": user.groups });
        // Another's home is not its own.
        if !request.environment.iter().any(|it| it.starts_with("HOME="))
            && let Some(variables) = process["env"].as_array_mut()
        {
            variables.retain(|it| it.as_str().is_none_or(|it| !it.starts_with("HOME=")));
        }
    }
    if request.privileged {
        let all = spec::every_capability(connection.bounding_set());
        process["capabilities"] = json!({ "bounding": all, "effective": all, "permitted": all });
    }
    Ok(process)
}

async fn exit_code(process: Process, what: About) -> Result<Option<i64>, RuntimeError> {
    let wait =
        WaitTask { container_id: process.container_id.clone(), exec_id: process.exec_id.clone() };
    let ended = process.connection.ask_within(wait, COMMAND_MAX, None).await;
    let ended = match ended {
        Ok(ended) => ended,
        Err(refusal) => {
            // A container's end kills what was run in it, and how that ended is cleared away with it.
            return match record::pid(&process.connection, &process.container_id).await? {
                None => Ok(Some(KILLED)),
                Some(_) => Err(process.connection.error(refusal, &what)),
            };
        }
    };
    process.clear().await;
    Ok(Some(i64::from(ended.exit_status)))
}

impl Process {
    /// Clears away what a command left. One whose container is gone is gone with it.
    async fn clear(&self) {
        let call = DeleteProcess {
            container_id: self.container_id.clone(),
            exec_id: self.exec_id.clone(),
        };
        if let Err(refusal) = self.connection.work(call).await {
            tracing::debug!(%refusal, "a command's process is left to its container");
        }
    }

    /// A process that has ended has no terminal any more.
    async fn resize(&self, columns: u16, rows: u16) {
        let call = ResizePty {
            container_id: self.container_id.clone(),
            exec_id: self.exec_id.clone(),
            width: columns.into(),
            height: rows.into(),
        };
        if let Err(refusal) = self.connection.ask(call).await {
            tracing::debug!(%refusal, "a terminal keeps its size");
        }
    }

    async fn close_input(&self) {
        let call = CloseIo {
            container_id: self.container_id.clone(),
            exec_id: self.exec_id.clone(),
            stdin: true,
        };
        if let Err(refusal) = self.connection.ask(call).await {
            tracing::debug!(%refusal, "a process's input stays open");
        }
    }
}

fn bytes(
    from: Receiver,
    stream: StreamKind,
) -> BoxStream<'static, Result<SessionOutput, std::io::Error>> {
    ReaderStream::new(from).map_ok(move |bytes| SessionOutput { stream, bytes }).boxed()
}

/// What goes in is carried by whoever reads what comes out, so that a conversation is one value and ends
/// when it is dropped.
fn session(
    process: Process,
    output: BoxStream<'static, Result<SessionOutput, RuntimeError>>,
    writer: Option<Sender>,
    closes: bool,
) -> Session {
    let (input, inputs) = mpsc::channel(INPUTS_QUEUED_MAX);
    let carried = stream::once(carry(process, writer, inputs, closes))
        .filter_map(|()| std::future::ready(None));
    let output = output.map(Some).chain(stream::iter([None]));
    // The end of the output ends both.
    let output = stream::select(output, carried).scan((), |(), item| std::future::ready(item));
    Session { output: output.boxed(), input }
}

async fn carry(
    process: Process,
    mut writer: Option<Sender>,
    mut inputs: mpsc::Receiver<SessionInput>,
    closes: bool,
) {
    while let Some(input) = inputs.recv().await {
        match input {
            SessionInput::Bytes(bytes) => {
                // A process that no longer reads says so by its end.
                if let Some(writer) = &mut writer
                    && writer.write_all(&bytes).await.is_err()
                {
                    return;
                }
            }
            SessionInput::Resize(columns, rows) => process.resize(columns, rows).await,
        }
    }
    if writer.take().is_some() && closes {
        process.close_input().await;
    }
}

pub(super) async fn attach(
    connection: Arc<Connection>,
    id: &RuntimeId,
    request: AttachRequest,
) -> Result<Session, RuntimeError> {
    let what = about("attach to", "container", &*id.0);
    let (container, record) = record::must_find(&connection, &id.0, "attach to").await?;
    if !record.log.kept {
        let instead = "choose another `logging.driver` than `none`";
        return Err(unsupported(format!("output of container {id} to join"), instead));
    }
    let directory = connection.directory(&id.0);
    let follower = Follower::from_now(connection.clone(), &id.0).await;
    let follower = follower.map_err(|error| what.failed(error))?;
    let writer = if request.stdin && record.stdin {
        let open = OpenOptions::new().read_write(true).open_sender(directory.join(log::STDIN));
        Some(open.map_err(|error| what.failed(error))?)
    } else {
        None
    };
    let runs = record::pid(&connection, &container.id).await?.is_some();
    let process = Process {
        connection: connection.clone(),
        container_id: container.id,
        exec_id: String::new(),
    };
    let output = output(directory, follower, runs, what);
    Ok(session(process, output, writer, record.stdin_once))
}

/// What is written to a container's log: from its beginning on, if it has not begun yet.
fn output(
    directory: PathBuf,
    follower: Follower,
    runs: bool,
    what: About,
) -> BoxStream<'static, Result<SessionOutput, RuntimeError>> {
    let begun = async move {
        while !runs && !log::is_written(&directory) {
            if !directory.exists() {
                return Err(what.missing());
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok((follower, what))
    };
    stream::once(begun)
        .flat_map(|begun| match begun {
            Ok((follower, what)) => stream::unfold(Some((follower, what)), async |state| {
                let (mut follower, what) = state?;
                match follower.next().await {
                    Ok(Some(entry)) => {
                        let mut text = entry.text.to_vec();
                        match entry.ending {
                            Ending::Line => text.push(b'\n'),
                            Ending::Part | Ending::Output => {}
                        }
                        let output =
                            SessionOutput { stream: entry.stream, bytes: Bytes::from(text) };
                        Some((Ok(output), Some((follower, what))))
                    }
                    Ok(None) => None,
                    Err(error) => Some((Err(what.failed(error)), None)),
                }
            })
            .boxed(),
            Err(error) => stream::iter([Err(error)]).boxed(),
        })
        .boxed()
}
