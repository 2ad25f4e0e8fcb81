//! Threads in other namespaces (namespaces(7)). A thread enters or makes them, does its work and ends:
//! namespaces belong to threads, and so no other part of the command is ever in the wrong one.

use std::{fs::File, io, thread};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, setns, unshare},
};

use super::process::Process;
use crate::cli::error::CliError;

/// Everything that makes a node a machine of its own, by the names of `/proc/PID/ns`. Mounts come
/// last: with them the thread sees another `/proc`.
const MACHINE: [(&str, CloneFlags); 6] = [
    ("pid", CloneFlags::CLONE_NEWPID),
    ("cgroup", CloneFlags::CLONE_NEWCGROUP),
    ("ipc", CloneFlags::CLONE_NEWIPC),
    ("uts", CloneFlags::CLONE_NEWUTS),
    ("net", CloneFlags::CLONE_NEWNET),
    ("mnt", CloneFlags::CLONE_NEWNS),
];

/// Works in the network of a process, on a thread that ends with the work.
pub(super) fn in_network<T: Send>(
    of: Process,
    work: impl FnOnce() -> Result<T, CliError> + Send,
) -> Result<T, CliError> {
    let files = open(of, |name| name == "net")?;
    on_a_thread(|| enter(files), work)
}

/// Works on the whole machine of a process: what the thread starts is a process there.
pub(super) fn in_machine<T: Send>(
    of: Process,
    work: impl FnOnce() -> Result<T, CliError> + Send,
) -> Result<T, CliError> {
    let files = open(of, |_| true)?;
    let into = || {
        // The other threads keep their root and working directory.
        unshare(CloneFlags::CLONE_FS)?;
        let here = std::env::current_dir();
        enter(files)?;
        if let Ok(here) = here {
            // A directory that is not there leaves it at the root.
            drop(std::env::set_current_dir(here));
        }
        Ok(())
    };
    on_a_thread(into, work)
}

/// Works in a fresh network, and nothing else fresh.
pub(super) fn in_new_network<T: Send>(
    work: impl FnOnce() -> Result<T, CliError> + Send,
) -> Result<T, CliError> {
    on_a_thread(|| Ok(unshare(CloneFlags::CLONE_NEWNET)?), work)
}

/// Works on a fresh machine, of which [`first_process`] makes the first. Control groups stay shared
/// until that process has its own.
pub(super) fn in_new_machine<T: Send>(
    work: impl FnOnce() -> Result<T, CliError> + Send,
) -> Result<T, CliError> {
    let into = || {
        let fresh = MACHINE.iter().filter(|it| !matches!(it.0, "cgroup" | "pid"));
        unshare(fresh.fold(CloneFlags::empty(), |all, it| all | it.1))?;
        // What is mounted here from now on is nobody else's.
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>)?;
        Ok(())
    };
    on_a_thread(into, work)
}

/// Makes what this thread starts next the first process of its kind. The thread can start no other
/// thread from then on.
pub(super) fn first_process() -> Result<(), CliError> {
    unshare(CloneFlags::CLONE_NEWPID)
        .map_err(|why| CliError::io("can't make a process namespace")(why.into()))
}

/// The network that this thread is in.
pub(super) fn network() -> Result<File, CliError> {
    let file = File::open("/proc/thread-self/ns/net");
    file.map_err(CliError::io("can't open the network's namespace"))
}

fn on_a_thread<T: Send>(
    into: impl FnOnce() -> io::Result<()> + Send,
    work: impl FnOnce() -> Result<T, CliError> + Send,
) -> Result<T, CliError> {
    let all = move || {
        into().map_err(CliError::io("can't enter or make namespaces"))?;
        work()
    };
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("lab".into()).spawn_scoped(scope, all);
        let thread = thread.map_err(CliError::io("can't start a thread"))?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn open(of: Process, wanted: impl Fn(&str) -> bool) -> Result<Vec<(File, CloneFlags)>, CliError> {
    let files = MACHINE.iter().filter(|it| wanted(it.0)).map(|(name, kind)| {
        let file = File::open(format!("/proc/{}/ns/{name}", of.pid))?;
        Ok((file, *kind))
    });
    let files = files.collect::<io::Result<Vec<_>>>();
    // What was opened is that process's only if it still is that process.
    match files {
        Ok(files) if of.lives() => Ok(files),
        Ok(_) => Err(io::Error::other("it has ended")),
        Err(why) => Err(why),
    }
    .map_err(CliError::io(format!("can't enter the namespaces of process {}", of.pid)))
}

fn enter(files: Vec<(File, CloneFlags)>) -> io::Result<()> {
    for (file, kind) in files {
        setns(file, kind)?;
    }
    Ok(())
}
