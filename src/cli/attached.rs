//! A person, or a pipe, joined to a process in a container: keys and bytes there, output and the
//! exit status back. Used by `exec`, `run` and `attach`.

use tokio::{
    io::{AsyncReadExt, Stdin},
    signal::unix::{Signal, SignalKind, signal},
};

use super::{
    client::{Frame, Session, SessionWriter},
    error::{CliError, EXIT_INTERRUPTED},
    output::Output,
    terminal::{self, RawMode},
};

/// How much of standard input is taken at once.
const STDIN_BYTES: usize = 16 << 10;

/// The signals that end a command, and the statuses they leave.
pub(super) struct Stop {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Stop {
    /// Listens from now on.
    pub(super) fn new() -> Result<Self, CliError> {
        let listen = |kind| signal(kind).map_err(CliError::io("can't listen for signals"));
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    /// The next one, as the status of a command that it ends.
    pub(super) async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => EXIT_INTERRUPTED,
            _ = self.terminate.recv() => 143,
            _ = self.hang_up.recv() => 129,
        }
    }
}

/// What of the session is joined to what of ours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Join {
    /// A terminal in the container.
    pub(super) tty: bool,
    /// Our standard input goes there.
    pub(super) stdin: bool,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The process ended with this status.
    Exited(i64),
    /// We got a signal, and would exit with this status; the process may still run.
    Signalled(u8),
}

/// Carries until the process ends or we are told to stop.
pub(super) async fn carry(session: Session, join: Join, output: &Output) -> Result<End, CliError> {
    let raw = (join.tty && join.stdin && terminal::is_interactive()).then(RawMode::enter);
    let raw = raw.transpose()?;
    let end = pump(session, join, output).await;
    drop(raw);
    end
}

async fn pump(mut session: Session, join: Join, output: &Output) -> Result<End, CliError> {
    let Some(mut writer) = session.take_writer() else { return Ok(End::Signalled(1)) };
    let resized =
        signal(SignalKind::window_change()).map_err(CliError::io("can't watch the terminal"));
    let mut resized = resized?;
    let mut stop = Stop::new()?;
    let mut stdin = join.stdin.then(tokio::io::stdin);
    let mut bytes = vec![0; STDIN_BYTES];
    if join.tty {
        resize(&mut writer).await?;
    }
    loop {
        tokio::select! {
            frame = session.next() => match frame? {
                Some(Frame::Stdout(bytes)) => output.bytes(&bytes)?,
                Some(Frame::Stderr(bytes)) => output.note_bytes(&bytes),
                Some(Frame::Exit(status)) => return Ok(End::Exited(status)),
                Some(Frame::Error(text)) => return Err(CliError::Failed(text)),
                None => return Err(CliError::Failed(
                    "the daemon ended the session before the process ended; see its log".into(),
                )),
            },
            read = read(&mut stdin, &mut bytes), if stdin.is_some() => match read {
                Ok(0) | Err(_) => {
                    stdin = None;
                    // The process may be gone already: then its status is on the way.
                    drop(writer.stdin_end().await);
                }
                Ok(length) => drop(writer.stdin(bytes.get(..length).unwrap_or_default()).await),
            },
            _ = resized.recv(), if join.tty => resize(&mut writer).await?,
            status = stop.next() => return Ok(End::Signalled(status)),
        }
    }
}

async fn read(stdin: &mut Option<Stdin>, bytes: &mut [u8]) -> std::io::Result<usize> {
    match stdin {
        Some(stdin) => stdin.read(bytes).await,
        None => std::future::pending().await,
    }
}

async fn resize(writer: &mut SessionWriter) -> Result<(), CliError> {
    match terminal::size() {
        Some((columns, rows)) => writer.resize(columns, rows).await,
        None => Ok(()),
    }
}
