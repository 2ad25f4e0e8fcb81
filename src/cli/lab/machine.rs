//! `fizz lab machine`: the first process of a node, started in fresh namespaces. It makes them a
//! machine's, starts the runtime and the daemon, reaps what ends, and when it is killed everything on
//! the node ends with it (pid_namespaces(7)). The switch has one too, which only waits.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::{fd::AsRawFd, unix::process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use clap::Args;
use nix::{
    mount::{MsFlags, mount},
    sys::wait::{WaitPidFlag, WaitStatus, waitpid},
    unistd::{Pid, dup2_stdin, getpid, sethostname, setsid},
};
use tokio::signal::unix::{SignalKind, signal};

use super::{
    boot::empty_log,
    cgroups,
    plan::{Engine, LabName, LabNode, Role},
    record::{Home, Record},
};
use crate::cli::{Invocation, error::CliError};

/// How a node tells that what it runs has ended; whoever waits for the node looks for it.
pub(super) const ENDED: &str = " has ended: ";

/// Where programs in the kernel are pinned (bpf(2)).
const PROGRAMS: &str = "/sys/fs/bpf";

/// `fizz lab machine`.
#[derive(Args, Debug)]
pub(in crate::cli) struct MachineArgs {
    /// The lab
    name: LabName,
    /// A node, or `switch`
    role: Role,
}

/// This binary, also after it was replaced.
pub(super) fn program() -> PathBuf {
    let own = std::env::current_exe().ok().filter(|it| it.is_file());
    own.unwrap_or_else(|| "/proc/self/exe".into())
}

/// `fizz lab machine`.
pub(super) async fn machine(invocation: &Invocation, args: MachineArgs) -> Result<(), CliError> {
    // Its command line is to be seen by now, so the lab's lock, which stands there, is not needed.
    let nothing = File::open("/dev/null").map_err(CliError::io("can't open /dev/null"))?;
    dup2_stdin(nothing).map_err(|why| CliError::io("can't let go of the lock")(why.into()))?;
    // Nobody's interrupt is meant for it. One that leads a session already has one of its own.
    let _ = setsid();
    let home = Home::of(args.name);
    match args.role {
        Role::Switch => std::future::pending().await,
        Role::Node(node) if getpid() == Pid::from_raw(1) => {
            let record = home.record()?.ok_or_else(|| {
                CliError::Failed(format!("there is no record of a lab `{}`", home.name))
            })?;
            become_a_machine(&home, node, record.runtime)?;
            Machine { invocation, home, node, record, running: Vec::new() }.run().await
        }
        Role::Node(_) => Err(CliError::Usage(
            "`fizz lab machine` is a node's first process, and this is no new machine; use `fizz lab up`"
                .to_owned(),
        )),
    }
}

/// Control groups, mounts and a name of its own.
fn become_a_machine(home: &Home, node: LabNode, engine: Engine) -> Result<(), CliError> {
    let system = |what: &'static str| move |why: nix::Error| CliError::io(what)(why.into());
    sethostname(node.to_string()).map_err(system("can't set the host name"))?;
    cgroups::enter(&home.name, node)?;
    own_run(&home.node_run(node)).map_err(CliError::io("can't mount /run"))?;
    for place in engine.own_places() {
        own_place(Path::new(place)).map_err(CliError::io(format!("can't mount {place}")))?;
    }
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    // What is pinned there goes with the machine, and no other machine finds it.
    if Path::new(PROGRAMS).is_dir() {
        mount(Some("bpf"), PROGRAMS, Some("bpf"), quiet, Some("mode=700"))
            .map_err(system("can't mount /sys/fs/bpf"))?;
    }
    mount(Some("proc"), "/proc", Some("proc"), quiet, None::<&str>)
        .map_err(system("can't mount /proc"))?;
    // Containers may ask for mounts that they share; what they share them with is this machine.
    let shared = MsFlags::MS_REC | MsFlags::MS_SHARED;
    mount(None::<&str>, "/", None::<&str>, shared, None::<&str>)
        .map_err(system("can't share the machine's mounts"))?;
    for file in ["/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"] {
        match fs::write(file, "1") {
            Err(why) if why.kind() != io::ErrorKind::NotFound => {
                return Err(CliError::io(format!("can't write {file}"))(why));
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// An empty `/run` of its own, but for the node's directory in it.
fn own_run(dir: &Path) -> io::Result<()> {
    let kept = File::open(dir)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), "/run", Some("tmpfs"), flags, Some("mode=755"))?;
    for inside in [dir, Path::new("/run/lock"), Path::new("/run/netns")] {
        fs::create_dir_all(inside)?;
    }
    let kept = format!("/proc/self/fd/{}", kept.as_raw_fd());
    mount(Some(kept.as_str()), dir, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
    Ok(())
}

/// A directory of the node's own over one that all would share.
fn own_place(place: &Path) -> io::Result<()> {
    let own = Path::new("/run/own").join(place.strip_prefix("/").unwrap_or(place));
    fs::create_dir_all(&own)?;
    fs::create_dir_all(place)?;
    mount(Some(&own), place, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
    Ok(())
}

/// A node that runs.
struct Machine<'a> {
    invocation: &'a Invocation,
    home: Home,
    node: LabNode,
    record: Record,
    /// What it has started that has not ended.
    running: Vec<(&'static str, Pid)>,
}

impl Machine<'_> {
    /// Until it is killed. SIGHUP starts again what has ended.
    async fn run(mut self) -> Result<(), CliError> {
        let listen = |kind| signal(kind).map_err(CliError::io("can't listen for signals"));
        let mut ended = listen(SignalKind::child())?;
        let mut again = listen(SignalKind::hangup())?;
        for socket in [self.home.runtime_socket(self.node), self.home.socket(self.node)] {
            // What a machine that lost its power has left.
            drop(fs::remove_file(socket));
        }
        self.start_all()?;
        loop {
            tokio::select! {
                _ = ended.recv() => self.reap(),
                _ = again.recv() => {
                    self.reap();
                    // What ended before now is no failure to start.
                    empty_log(&self.home.log(self.node, "machine"))
                        .map_err(CliError::io("can't empty the log"))?;
                    self.start_all()?;
                }
            }
        }
    }

    fn start_all(&mut self) -> Result<(), CliError> {
        if let Some(runtime) = self.record.runtime.command(&self.home, self.node) {
            self.start("runtime", runtime)?;
        }
        let mut daemon = Command::new(program());
        daemon.arg0("fizz").args(["daemon", "--config"]).arg(self.home.config(self.node));
        self.start("fizz", daemon)
    }

    /// Starts a program of the node with its output in a log, unless it runs.
    fn start(&mut self, name: &'static str, mut command: Command) -> Result<(), CliError> {
        if self.running.iter().any(|it| it.0 == name) {
            return Ok(());
        }
        let path = self.home.log(self.node, name);
        let log = OpenOptions::new().create(true).append(true).open(&path);
        let log = log.and_then(|it| Ok((it.try_clone()?, it)));
        let (out, err) = log.map_err(CliError::io(format!("can't write {}", path.display())))?;
        // Nothing of who called: settings of the caller's own would go before those of the node.
        command.env_clear().env("PATH", search_path()).env("HOME", "/root");
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn();
        let child = child.map_err(CliError::io(format!("can't start {name}")))?;
        let pid = i32::try_from(child.id()).map_err(|_| CliError::Exit(1))?;
        self.running.push((name, Pid::from_raw(pid)));
        Ok(())
    }

    /// Takes note of every process that has ended; orphans of the whole machine come here.
    fn reap(&mut self) {
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            let (pid, how) = match status {
                WaitStatus::Exited(pid, code) => (pid, format!("exit status {code}")),
                WaitStatus::Signaled(pid, signal, _) => (pid, signal.to_string()),
                WaitStatus::Stopped(..)
                | WaitStatus::PtraceEvent(..)
                | WaitStatus::PtraceSyscall(_)
                | WaitStatus::Continued(_) => continue,
                WaitStatus::StillAlive => return,
            };
            if let Some(at) = self.running.iter().position(|it| it.1 == pid) {
                let (name, _) = self.running.swap_remove(at);
                self.invocation.output.note(&format!("{name}{ENDED}{how}"));
            }
        }
    }
}

/// Where a node's programs are: as for the caller, then root's places, which sudo may have left out, then
/// where this binary is, for a `fizz` that is not installed.
pub(super) fn search_path() -> std::ffi::OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    if let Some(own) = program().parent() {
        path.push(":");
        path.push(own);
    }
    path
}
