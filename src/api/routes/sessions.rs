//! Exec and attach: a conversation with a process over an upgraded connection
//! (see [`wire::frame`]).
//!
//! A client keeps its side of the connection open until the last frame came; that it closes is how it
//! hangs up. Both directions run at the same time, so that a process which writes before it reads
//! never waits for a client which writes before it reads.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{FromRequestParts, State},
    http::{HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use futures_util::{StreamExt, future::BoxFuture};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    sync::{OwnedSemaphorePermit, mpsc, oneshot},
};
use tokio_util::{codec::FramedRead, sync::CancellationToken};
use tracing::debug;
use utoipa::IntoParams;

use super::containers::ending;
use crate::{
    api::{
        app::App,
        extract::{self, At, Params},
        frames::{ClientFrame, ClientFrames, encode},
        lookup,
        problem::{Answer, Failure},
        render,
        server::Afterwards,
        wire::{self, frame},
    },
    model::{ContainerState, RuntimeId},
    node::Request,
    runtime::{AttachRequest, ExecRequest, Session, SessionInput, StreamKind},
    state::ContainerRecord,
};

/// A process's status, once it has ended.
type Exit = BoxFuture<'static, Answer<i64>>;

/// The upgrade that a request asks for.
pub(super) struct Upgrade {
    upgrade: Option<OnUpgrade>,
    afterwards: Option<Afterwards>,
}

impl FromRequestParts<App> for Upgrade {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Failure> {
        let asks = |name, word: &str| {
            let values = parts.headers.get_all(name).iter();
            let mut words = values.filter_map(|it| it.to_str().ok()).flat_map(|it| it.split(','));
            words.any(|it| it.trim().eq_ignore_ascii_case(word))
        };
        let asked = asks(header::CONNECTION, "upgrade") && asks(header::UPGRADE, frame::PROTOCOL);
        let upgrade = asked.then(|| parts.extensions.remove::<OnUpgrade>()).flatten();
        Ok(Self { upgrade, afterwards: parts.extensions.remove::<Afterwards>() })
    }
}

impl Upgrade {
    /// That the client asked for it: checked before anything is begun.
    fn wanted(self) -> Answer<(OnUpgrade, Afterwards)> {
        self.upgrade.zip(self.afterwards).ok_or(Failure::NeedsUpgrade)
    }
}

pub(super) async fn exec(
    State(app): State<App>,
    At(id): At<String>,
    upgrade: Upgrade,
    extract::Json(exec): extract::Json<wire::Exec>,
) -> Answer<Response> {
    if exec.command.is_empty() {
        return Err(Failure::Invalid(vec!["command: say what to run".to_owned()]));
    }
    let place = app.place()?;
    let view = app.backend.now();
    let record = lookup::container(&view, &id)?;
    let id = lookup::runtime_id(&view, &record)?;
    if !record.state.is_up() {
        let why = format!("`{}` is {} and nothing can run in it", record.name, record.state);
        return Err(Failure::Unfit(why));
    }
    let (detach, stdin) = (exec.detach, exec.stdin);
    let upgrade = if detach { None } else { Some(upgrade.wanted()?) };
    let process = app.backend.runtime.exec(&id, exec_request(exec)).await?;
    let Some((upgrade, afterwards)) = upgrade else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let exit = async {
        let without = || Failure::Unfit("the runtime does not tell how it ended".to_owned());
        process.exit_code.await?.ok_or_else(without)
    };
    let talk = Talk { session: process.session, stdin, exit: Box::pin(exit), place };
    Ok(talk.begin(upgrade, &afterwards, app.closing.clone()))
}

fn exec_request(exec: wire::Exec) -> ExecRequest {
    ExecRequest {
        command: exec.command,
        user: exec.user,
        working_dir: exec.working_dir,
        environment: exec.environment,
        tty: exec.tty.then_some((exec.columns, exec.rows)),
        stdin: exec.stdin,
        privileged: exec.privileged,
        detach: exec.detach,
    }
}

/// How to attach.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Attached {
    /// With standard input.
    #[serde(default)]
    stdin: bool,
}

pub(super) async fn attach(
    State(app): State<App>,
    At(id): At<String>,
    Params(Attached { stdin }): Params<Attached>,
    upgrade: Upgrade,
) -> Answer<Response> {
    let (upgrade, afterwards) = upgrade.wanted()?;
    let place = app.place()?;
    // Listens from before the start, as a short process may be gone before anybody looks again.
    let events = app.backend.events.listen(None);
    let (record, runtime_id) = made(&app, &id).await?;
    let tty = render::definition(&app.backend.now(), &record)["tty"] == true;
    let session = app.backend.runtime.attach(&runtime_id, AttachRequest { stdin, tty }).await?;
    if record.one_off.is_some() && record.state == ContainerState::Pending {
        app.ask(Request::Release(record.id)).await?;
    }
    let (id, asking) = (record.id, app.clone());
    let exit = async move { ending(&asking, id, events).await };
    let talk = Talk { session, stdin, exit: Box::pin(exit), place };
    Ok(talk.begin(upgrade, &afterwards, app.closing.clone()))
}

/// The container once the runtime has it, which may take as long as fetching its image.
async fn made(app: &App, text: &str) -> Answer<(Arc<ContainerRecord>, RuntimeId)> {
    let mut changes = app.backend.view.clone();
    let id = lookup::container(&app.backend.now(), text)?.id.to_string();
    loop {
        let view = changes.borrow_and_update().clone();
        let record = lookup::container(&view, &id)?;
        lookup::here(&view, &record)?;
        if record.state.is_over() {
            let reason = record.reason.as_deref().unwrap_or("it has ended");
            return Err(Failure::Unfit(format!("`{}` is {}: {reason}", record.name, record.state)));
        }
        if let Some(runtime_id) = record.runtime_id.clone() {
            return Ok((record, runtime_id));
        }
        tokio::select! {
            changed = changes.changed() => changed.map_err(|_| Failure::NodeGone)?,
            () = app.closing.cancelled() => return Err(Failure::Closing),
        }
    }
}

/// A conversation that is about to begin.
struct Talk {
    session: Session,
    stdin: bool,
    exit: Exit,
    place: OwnedSemaphorePermit,
}

impl Talk {
    /// Answers with the upgrade, and leaves the rest to the connection's task.
    fn begin(
        self,
        upgrade: OnUpgrade,
        afterwards: &Afterwards,
        closing: CancellationToken,
    ) -> Response {
        afterwards.set(Box::pin(async move {
            match upgrade.await {
                Ok(io) => self.hold(TokioIo::new(io), closing).await,
                Err(why) => debug!(%why, "a session's connection was not upgraded"),
            }
        }));
        let headers = [
            (header::CONNECTION, HeaderValue::from_static("Upgrade")),
            (header::UPGRADE, HeaderValue::from_static(frame::PROTOCOL)),
        ];
        (StatusCode::SWITCHING_PROTOCOLS, headers, Body::empty()).into_response()
    }

    /// Carries bytes both ways until the process has ended, the client hangs up, or the server stops.
    /// Then everything of the conversation is dropped, which ends the runtime's streams.
    async fn hold(self, io: impl AsyncRead + AsyncWrite + Send, closing: CancellationToken) {
        let _place = self.place;
        let (reader, mut writer) = tokio::io::split(io);
        let (stop, stopped) = oneshot::channel();
        let heard = async {
            let why = tokio::select! {
                why = listen(reader, self.session.input, self.stdin) => why,
                () = closing.cancelled() => Some(Failure::Closing),
            };
            // A client that hung up gets no frame: `stop` is dropped.
            if let Some(why) = why {
                let told = stop.send(why);
                drop(told);
                std::future::pending::<()>().await;
            }
        };
        let said = async {
            let output = self.session.output;
            if let Err(why) = speak(&mut writer, output, self.exit, stopped).await {
                debug!(%why, "a session's client went away");
            }
        };
        tokio::select! {
            () = heard => debug!("a session's client hung up"),
            () = said => {}
        }
    }
}

/// Passes on what the client says. Returns when it hangs up, or why it must be stopped.
async fn listen(
    reader: impl AsyncRead + Unpin,
    input: mpsc::Sender<SessionInput>,
    stdin: bool,
) -> Option<Failure> {
    let mut input = Some(input);
    let mut frames = FramedRead::new(reader, ClientFrames);
    while let Some(said) = frames.next().await {
        let passed = match said {
            Ok(ClientFrame::Stdin(_) | ClientFrame::StdinEnd) if !stdin => {
                return Some(Failure::Frame("standard input was not asked for".to_owned()));
            }
            Ok(ClientFrame::Stdin(bytes)) => SessionInput::Bytes(bytes),
            Ok(ClientFrame::Resize(columns, rows)) => SessionInput::Resize(columns, rows),
            Ok(ClientFrame::StdinEnd) => {
                input = None;
                continue;
            }
            Err(crate::api::frames::FrameError::Io(why)) => {
                debug!(%why, "a session's connection failed");
                return None;
            }
            Err(why) => return Some(Failure::Frame(why.to_string())),
        };
        // A process that reads no more is no reason to stop listening: its output goes on.
        if let Some(open) = &input
            && open.send(passed).await.is_err()
        {
            input = None;
        }
    }
    None
}

/// Passes on what the process says, then how it ended; or why the conversation stops.
async fn speak(
    writer: &mut (impl AsyncWrite + Unpin),
    mut output: futures_util::stream::BoxStream<
        'static,
        Result<crate::runtime::SessionOutput, crate::runtime::RuntimeError>,
    >,
    exit: Exit,
    mut stopped: oneshot::Receiver<Failure>,
) -> std::io::Result<()> {
    let failure = loop {
        let said = tokio::select! {
            biased;
            Ok(why) = &mut stopped => break Some(why),
            said = output.next() => said,
        };
        match said {
            Some(Ok(said)) => {
                let kind = match said.stream {
                    StreamKind::Stdout => frame::STDOUT,
                    StreamKind::Stderr => frame::STDERR,
                };
                for part in said.bytes.chunks(frame::BYTES_MAX) {
                    writer.write_all(&encode(kind, part)).await?;
                }
                writer.flush().await?;
            }
            Some(Err(why)) => break Some(Failure::Runtime(why)),
            None => break None,
        }
    };
    let ended = match failure {
        Some(why) => Err(why),
        None => tokio::select! {
            Ok(why) = &mut stopped => Err(why),
            ended = exit => ended,
        },
    };
    let last = match ended {
        Ok(exit_code) => encode(frame::EXIT, &exit_code.to_be_bytes()),
        Err(why) => encode(frame::ERROR, &short(&why)),
    };
    writer.write_all(&last).await?;
    writer.shutdown().await
}

/// A problem that fits into a frame, however much the runtime had to say.
fn short(why: &Failure) -> Vec<u8> {
    let mut problem = why.problem();
    if problem.detail.len() > frame::BYTES_MAX / 8 {
        problem.detail = problem.detail.chars().take(frame::BYTES_MAX / 32).collect();
    }
    problem.problems.clear();
    serde_json::to_vec(&problem).unwrap_or_default()
}
