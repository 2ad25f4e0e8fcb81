//! Devices in processes, from the daemon's side: starting one, finding one that runs, and speaking to it.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

use nix::{
    fcntl::{Flock, FlockArg},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    process::{Child, Command},
    time::{sleep, timeout},
};

use super::{
    diff::{Change, Seen},
    uapi::{MESSAGE_BYTES_MAX, Request, read_answer},
};
use crate::network::{
    Namespace, NetworkError,
    links::{self, Kind},
};

/// The largest packet: gotatun's buffers have 4,096 bytes, in which its own header is too.
pub(super) const MTU_BYTES_MAX: u32 = 4_000;

/// How long an answer may take. Whoever gives none is ended and carries nothing more, so that a machine
/// which is merely busy must not look like one that hangs.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// How long a process may take to start, and to end.
const START_MAX: Duration = Duration::from_secs(20);
const END_MAX: Duration = Duration::from_secs(2);

/// How often it is looked whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Devices in processes.
#[derive(Clone, Debug)]
pub struct Userspace {
    /// This binary: `/proc/self/exe` is the one that runs, even if another one has its name by now.
    program: PathBuf,
    /// Where the processes' sockets, numbers and logs are.
    folder: PathBuf,
}

impl Userspace {
    /// Processes of a program, with their files in a folder that a reboot may empty.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>, folder: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), folder: folder.into() }
    }

    /// Whether processes can make such devices.
    pub(super) fn probe(&self, host: &Namespace) -> Result<(), NetworkError> {
        let doing = "make a WireGuard device in a process".to_owned();
        if !cfg!(feature = "userspace-wireguard") {
            let wanted = "such devices: this build is without the feature `userspace-wireguard`";
            return Err(NetworkError::Unsupported { doing, wanted });
        }
        let open = || OpenOptions::new().read(true).write(true).open("/dev/net/tun").map(drop);
        host.inside(open).map_err(|why| {
            let why = io::Error::new(why.kind(), format!("/dev/net/tun: {why}"));
            NetworkError::Refused { doing, why }
        })
    }

    /// Finds a device's process, or starts one; whether it was started.
    pub(super) async fn make(&self, host: &Namespace, name: &str) -> Result<bool, NetworkError> {
        let doing = format!("start the process of the mesh device {name}");
        let refused = |why| NetworkError::Refused { doing: doing.clone(), why };
        let link = host.work(&doing, async |it| links::ours(it, name, Kind::Tun).await).await?;
        if self.look(name).await.is_ok() && link.is_some() {
            return Ok(false);
        }
        // One that does not answer is about to end, or carries nothing any more; or its link was taken away.
        self.end(name).await.map_err(refused)?;
        if !is_gone(host, name, &doing).await? {
            let (name, wanted) = (name.to_owned(), "TUN device of ours");
            return Err(NetworkError::Taken { doing, name, wanted });
        }
        let child = self.start(host, name).map_err(refused)?;
        self.wait_for(name, child).await.map_err(refused)?;
        Ok(true)
    }

    fn start(&self, host: &Namespace, name: &str) -> io::Result<Child> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let mut options = OpenOptions::new();
        options.create(true).write(true).truncate(true).mode(0o600);
        let log = options.open(self.file(name, "log"))?;
        let mut command = Command::new(&self.program);
        command.arg0("fizz").arg("wireguard-device").args(["--name", name]).arg("--control");
        command.arg(self.file(name, "sock")).env_clear().current_dir("/").kill_on_drop(false);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        host.inside(|| command.spawn())
    }

    /// Waits until a process answers, or has ended.
    async fn wait_for(&self, name: &str, mut child: Child) -> io::Result<()> {
        let answers = async {
            loop {
                match self.look(name).await {
                    Ok(_) => return Ok(()),
                    Err(why) if is_nobody(&why) => {}
                    Err(why) => return Err(why),
                }
                if let Some(status) = child.try_wait()? {
                    let log = fs::read_to_string(self.file(name, "log")).unwrap_or_default();
                    let last = log.lines().next_back().unwrap_or("it said nothing");
                    return Err(io::Error::other(format!("it ended, {status}: {last}")));
                }
                sleep(LOOK_EVERY).await;
            }
        };
        timeout(START_MAX, answers).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// How a device is.
    pub(super) async fn look(&self, name: &str) -> io::Result<Seen> {
        self.exchange(name, &Request::Get).await
    }

    /// Changes a device.
    pub(super) async fn apply(&self, name: &str, changes: &[Change]) -> io::Result<()> {
        for change in changes {
            self.exchange(name, &Request::Set(change.clone())).await?;
        }
        Ok(())
    }

    async fn exchange(&self, name: &str, request: &Request) -> io::Result<Seen> {
        let talk = async {
            let mut stream = UnixStream::connect(self.file(name, "sock")).await?;
            stream.write_all(request.text().as_bytes()).await?;
            let mut answer = Vec::new();
            let mut limited = (&mut stream).take(MESSAGE_BYTES_MAX as u64 * 16);
            while !answer.ends_with(b"\n\n") {
                if limited.read_buf(&mut answer).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            read_answer(&String::from_utf8_lossy(&answer))
        };
        timeout(ANSWER_MAX, talk).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Ends a device's process, and waits until its link has gone with it.
    pub(super) async fn remove(&self, host: &Namespace, name: &str) -> Result<(), NetworkError> {
        let doing = format!("end the process of the mesh device {name}");
        let refused = |why| NetworkError::Refused { doing: doing.clone(), why };
        let ran = self.end(name).await.map_err(refused)?;
        // Where there was no process, a link of its name is somebody else's.
        if ran && !is_gone(host, name, &doing).await? {
            return Err(refused(io::ErrorKind::TimedOut.into()));
        }
        Ok(())
    }

    /// Whether there was one.
    async fn end(&self, name: &str) -> io::Result<bool> {
        let mut ran = false;
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            let Some(process) = self.process(name)? else { break };
            ran = true;
            match kill(process, signal) {
                Ok(()) | Err(nix::Error::ESRCH) => {}
                Err(why) => return Err(why.into()),
            }
            let gone = async {
                while self.process(name)?.is_some() {
                    sleep(LOOK_EVERY).await;
                }
                io::Result::Ok(())
            };
            if let Ok(gone) = timeout(END_MAX, gone).await {
                gone?;
                break;
            }
        }
        for kind in ["sock", "pid", "log"] {
            match fs::remove_file(self.file(name, kind)) {
                Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(ran)
    }

    /// A device's process: whoever has the lock.
    fn process(&self, name: &str) -> io::Result<Option<Pid>> {
        let file = match File::open(self.file(name, "pid")) {
            Ok(file) => file,
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(why) => return Err(why),
        };
        match Flock::lock(file, FlockArg::LockSharedNonblock) {
            Ok(_) => Ok(None),
            Err((_, nix::Error::EWOULDBLOCK)) => {
                let number = fs::read_to_string(self.file(name, "pid"))?;
                let number = number.trim().parse().map(Pid::from_raw);
                number.map(Some).map_err(|_| io::Error::other("its number is not on record yet"))
            }
            Err((_, why)) => Err(why.into()),
        }
    }

    fn file(&self, name: &str, kind: &str) -> PathBuf {
        self.folder.join(format!("{name}.{kind}"))
    }
}

/// Whether there is no link of a name, soon: a process that ends gives up its lock before its link.
async fn is_gone(host: &Namespace, name: &str, doing: &str) -> Result<bool, NetworkError> {
    let gone = host.work(doing, async |links| {
        while links::find(links, name).await?.is_some() {
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    });
    match timeout(END_MAX, gone).await {
        Ok(gone) => gone.map(|()| true),
        Err(_) => Ok(false),
    }
}

/// Nobody listens on a socket.
fn is_nobody(why: &io::Error) -> bool {
    matches!(why.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}
