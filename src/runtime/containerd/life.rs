//! Moving containers through their lives.
//!
//! A container's process (containerd's "task") that has ended is cleared away by whoever sees it first, as
//! its log and its shim end only with that; how it ended is kept with the container, so that it is known
//! after a reboot too.

use std::{
    collections::BTreeMap, net::IpAddr, path::Path, process::Stdio, str::FromStr, time::Duration,
};

use nix::{
    mount::{MntFlags, MsFlags},
    sys::signal::Signal,
};
use serde_json::{Value, json};

use super::{
    connect::{Connection, SNAPSHOTTER, WORK_MAX},
    create::SPEC,
    errors::{About, Refusal, about},
    log,
    messages::{
        Any, Container, CreateTask, DeleteContainer, DeleteTask, FieldMask, GetMounts, KillTask,
        ListPids, Process, RemoveSnapshot, ResumeTask, StartTask, Status, UpdateContainer,
        WaitTask,
    },
    record::{self, End, Record},
    spec, volumes,
};
use crate::{
    model::{ContainerName, Millis},
    runtime::{ProcessList, RuntimeError},
};

/// How long the log's program may take to write the last words.
const LAST_WORDS_MAX: Duration = Duration::from_secs(5);

pub(super) async fn start(connection: &Connection, id: &str) -> Result<(), RuntimeError> {
    let _held = connection.lock(id).await;
    let (container, record) = record::must_find(connection, id, "start").await?;
    let what = about("start", "container", id);
    if let Some(task) = record::task(connection, id).await? {
        match task.status() {
            Status::Running | Status::Paused | Status::Pausing => return Ok(()),
            Status::Stopped => clear_task(connection, &task, &what).await?,
            // Half started by a daemon that was killed over it.
            Status::Created | Status::Unknown => {
                signal(connection, id, Signal::SIGKILL as u32, true).await.ok();
                clear_task(connection, &task, &what).await?;
            }
        }
    }
    for mounted in &record.mounts {
        if let Some(volume) = &mounted.volume {
            volumes::mount(connection, volume).await?;
            if let (Some(part), Some(at)) = (&mounted.part, mounted.mount["source"].as_str()) {
                volumes::lay_part(connection, volume, part, Path::new(at))?;
            }
        }
    }
    let directory = connection.directory(id);
    if let Some(bytes) = record.shares_memory {
        shared_memory(&directory.join("shm"), bytes).map_err(|error| what.failed(error))?;
    }
    join(connection, &container, &record, &what).await?;
    begin(connection, id, &record, &what).await
}

async fn begin(
    connection: &Connection,
    id: &str,
    record: &Record,
    what: &About,
) -> Result<(), RuntimeError> {
    let failed = |refusal: Refusal| match refusal {
        // A missing file of the container is not a missing container.
        Refusal::Missing(_) | Refusal::Said(_) => what.failed(refusal),
        Refusal::Silent(_) | Refusal::Taken(_) | Refusal::NotNow(_) => {
            connection.error(refusal, what)
        }
    };
    let mounts = GetMounts { snapshotter: SNAPSHOTTER.to_owned(), key: id.to_owned() };
    let rootfs = connection.ask(mounts).await.map_err(failed)?.mounts;
    let directory = connection.directory(id);
    let ends = if record.log.kept || record.stdin {
        log::ends(&directory, &connection.program, record)
    } else {
        log::Ends { stdin: String::new(), stdout: String::new(), stderr: String::new() }
    };
    let create = CreateTask {
        container_id: id.to_owned(),
        rootfs,
        stdin: ends.stdin,
        stdout: ends.stdout,
        stderr: ends.stderr,
        terminal: record.terminal,
        options: None,
    };
    connection.work(create).await.map_err(failed)?;
    let began = async {
        record::began(connection, id, record::now()).await?;
        let start = StartTask { container_id: id.to_owned(), exec_id: String::new() };
        connection.work(start).await
    };
    if let Err(refusal) = began.await {
        // Why it failed matters more than how it was cleared away.
        let _ = connection.work(DeleteTask { container_id: id.to_owned() }).await;
        let end = End { code: 127, oom_killed: false, at: record::now() };
        let _ = record::ended(connection, id, end).await;
        return Err(failed(refusal));
    }
    Ok(())
}

/// Memory of the node's that several containers share.
fn shared_memory(path: &Path, bytes: u64) -> std::io::Result<()> {
    std::fs::create_dir_all(path)?;
    let _ = nix::mount::umount2(path, MntFlags::MNT_DETACH);
    let options = format!("mode=1777,size={bytes}");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC | MsFlags::MS_NODEV;
    nix::mount::mount(Some("shm"), path, Some("tmpfs"), flags, Some(options.as_str()))?;
    Ok(())
}

/// Writes into the spec where the namespaces of other containers are now.
async fn join(
    connection: &Connection,
    container: &Container,
    record: &Record,
    what: &About,
) -> Result<(), RuntimeError> {
    let joins = &record.joins;
    let mut pids = BTreeMap::new();
    for other in [&joins.network, &joins.ipc, &joins.pid].into_iter().flatten() {
        let pid = record::pid(connection, other).await?;
        let pid = pid.ok_or_else(|| {
            what.conflict(format!(
                "container {other}, whose namespaces it is to be in, does not run"
            ))
        })?;
        pids.insert(other.clone(), pid);
    }
    if pids.is_empty() && record.shares_memory.is_none() {
        return Ok(());
    }
    let mut spec = read_spec(container, what)?;
    for (kind, file, other) in
        [("network", "net", &joins.network), ("ipc", "ipc", &joins.ipc), ("pid", "pid", &joins.pid)]
    {
        let Some(pid) = other.as_ref().and_then(|it| pids.get(it)) else { continue };
        let namespaces = spec["linux"]["namespaces"].as_array_mut();
        for it in namespaces.into_iter().flatten().filter(|it| it["type"] == kind) {
            it["path"] = json!(format!("/proc/{pid}/ns/{file}"));
        }
    }
    // Whose namespace it is, its memory it is.
    let memory = joins.ipc.as_deref().or(record.shares_memory.map(|_| container.id.as_str()));
    if let Some(owner) = memory {
        let path = connection.directory(owner).join("shm");
        if !path.exists() {
            return Err(what.conflict(format!(
                "container {owner} does not share its memory; give it `ipc: shareable`"
            )));
        }
        if let Some(mounts) = spec["mounts"].as_array_mut() {
            spec::with_shared_memory(mounts, &path);
        }
    }
    let value = spec.to_string().into_bytes();
    let changed = Container {
        id: container.id.clone(),
        spec: Some(Any { type_url: SPEC.to_owned(), value }),
        ..Container::default()
    };
    let update_mask = Some(FieldMask { paths: vec!["spec".to_owned()] });
    let update = UpdateContainer { container: Some(changed), update_mask };
    connection.ask(update).await.map(drop).map_err(|it| connection.error(it, what))
}

/// A container's spec.
pub(super) fn read_spec(container: &Container, what: &About) -> Result<Value, RuntimeError> {
    let spec = container.spec.as_ref().map(|it| it.value.as_slice()).unwrap_or_default();
    serde_json::from_slice(spec)
        .map_err(|error| what.failed(format!("its spec is not understood: {error}")))
}

/// Clears away a process that has ended. What somebody else is about to change is left to them.
pub(super) async fn reap(connection: &Connection, id: &str) -> Result<(), RuntimeError> {
    let Some(_held) = connection.try_lock(id) else { return Ok(()) };
    match record::task(connection, id).await? {
        Some(task) if task.status() == Status::Stopped => {
            clear_task(connection, &task, &about("clear up after", "container", id)).await
        }
        Some(_) | None => Ok(()),
    }
}

/// Keeps how a process ended, and clears it away.
async fn clear_task(
    connection: &Connection,
    task: &Process,
    what: &About,
) -> Result<(), RuntimeError> {
    // containerd names the container here, and leaves its own field for it empty.
    let id = &task.id;
    if task.status() == Status::Stopped {
        let end = End::of(connection, task).await;
        match record::ended(connection, id, end).await {
            // A container that is gone needs no account.
            Ok(()) | Err(Refusal::Missing(_)) => {}
            Err(refusal) => return Err(connection.error(refusal, what)),
        }
    }
    match connection.work(DeleteTask { container_id: id.clone() }).await {
        Ok(_) | Err(Refusal::Missing(_)) => {}
        Err(refusal) => return Err(connection.error(refusal, what)),
    }
    let directory = connection.directory(id);
    let last_words = async {
        while log::is_written(&directory) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    // Who still writes after that has lost its container.
    let _ = tokio::time::timeout(LAST_WORDS_MAX, last_words).await;
    Ok(())
}

/// `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`.
fn signal_number(text: &str) -> Option<u32> {
    if let Ok(number) = text.parse::<u32>() {
        return (1..=64).contains(&number).then_some(number);
    }
    let upper = text.to_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let real_time = |rest: &str, from: u32| match rest {
        "" => Some(from),
        rest => {
            let shift: i64 = rest.parse().ok()?;
            u32::try_from(i64::from(from) + shift).ok().filter(|it| (34..=64).contains(it))
        }
    };
    if let Some(rest) = name.strip_prefix("RTMIN") {
        return real_time(rest, 34);
    }
    if let Some(rest) = name.strip_prefix("RTMAX") {
        return real_time(rest, 64);
    }
    Signal::from_str(&format!("SIG{name}")).ok().map(|it| it as u32)
}

async fn signal(connection: &Connection, id: &str, number: u32, all: bool) -> Result<(), Refusal> {
    let container_id = id.to_owned();
    let call = KillTask { container_id, exec_id: String::new(), signal: number, all };
    connection.work(call).await.map(drop)
}

pub(super) async fn kill(
    connection: &Connection,
    id: &str,
    name: &str,
) -> Result<(), RuntimeError> {
    let what = about("kill", "container", id);
    record::must_find(connection, id, "kill").await?;
    let number = signal_number(name)
        .ok_or_else(|| what.failed(format!("`{name}` is no signal; use one like `SIGTERM`")))?;
    if record::pid(connection, id).await?.is_none() {
        return Err(what.conflict("it does not run"));
    }
    match signal(connection, id, number, false).await {
        Ok(()) => Ok(()),
        // It ended just now.
        Err(Refusal::Missing(_)) => Err(what.conflict("it does not run")),
        Err(refusal) => Err(connection.error(refusal, &what)),
    }
}

pub(super) async fn stop(
    connection: &Connection,
    id: &str,
    grace: Option<Millis>,
) -> Result<(), RuntimeError> {
    let what = about("stop", "container", id);
    let (_, record) = record::must_find(connection, id, "stop").await?;
    let Some(task) = record::task(connection, id).await? else { return Ok(()) };
    match task.status() {
        Status::Stopped => return Ok(()),
        // What is held cannot end.
        Status::Paused | Status::Pausing => {
            let resume = ResumeTask { container_id: id.to_owned() };
            connection.work(resume).await.map_err(|it| connection.error(it, &what))?;
        }
        Status::Running | Status::Created | Status::Unknown => {}
    }
    let number = signal_number(&record.stop_signal).unwrap_or(Signal::SIGTERM as u32);
    match signal(connection, id, number, false).await {
        Ok(()) => {}
        Err(Refusal::Missing(_)) => return Ok(()),
        Err(refusal) => return Err(connection.error(refusal, &what)),
    }
    let grace = Duration::from_millis(grace.map_or(record.stop_grace_ms, |it| it.0));
    if ended_within(connection, id, grace, &what).await? {
        return Ok(());
    }
    end(connection, id, &what).await
}

/// Whether a container's process ends in time.
async fn ended_within(
    connection: &Connection,
    id: &str,
    limit: Duration,
    what: &About,
) -> Result<bool, RuntimeError> {
    let wait = WaitTask { container_id: id.to_owned(), exec_id: String::new() };
    let wait = connection.ask_within(wait, limit + WORK_MAX, None);
    match tokio::time::timeout(limit, wait).await {
        Ok(Ok(_) | Err(Refusal::Missing(_))) => Ok(true),
        Ok(Err(refusal)) => Err(connection.error(refusal, what)),
        Err(_) => Ok(false),
    }
}

/// Ends a container's process, and all that it has started.
async fn end(connection: &Connection, id: &str, what: &About) -> Result<(), RuntimeError> {
    match signal(connection, id, Signal::SIGKILL as u32, true).await {
        Ok(()) | Err(Refusal::Missing(_)) => {}
        Err(refusal) => return Err(connection.error(refusal, what)),
    }
    if ended_within(connection, id, WORK_MAX, what).await? {
        return Ok(());
    }
    Err(what.failed(format!("it did not end in {} s after SIGKILL", WORK_MAX.as_secs())))
}

pub(super) async fn remove(
    connection: &Connection,
    id: &str,
    anonymous_volumes: bool,
) -> Result<(), RuntimeError> {
    let what = about("remove", "container", id);
    let _held = connection.lock(id).await;
    let found = record::find(connection, id).await.map_err(|it| connection.error(it, &what))?;
    let record = found.as_ref().and_then(Record::of);
    if let Some(task) = record::task(connection, id).await? {
        match task.status() {
            Status::Stopped => {}
            Status::Paused | Status::Pausing => {
                let _ = connection.work(ResumeTask { container_id: id.to_owned() }).await;
                end(connection, id, &what).await?;
            }
            Status::Running | Status::Created | Status::Unknown => {
                end(connection, id, &what).await?;
            }
        }
        match connection.work(DeleteTask { container_id: id.to_owned() }).await {
            Ok(_) | Err(Refusal::Missing(_)) => {}
            Err(refusal) => return Err(connection.error(refusal, &what)),
        }
    }
    let gone = [
        connection.work(DeleteContainer { id: id.to_owned() }).await.map(drop),
        connection
            .work(RemoveSnapshot { snapshotter: SNAPSHOTTER.to_owned(), key: id.to_owned() })
            .await
            .map(drop),
    ];
    for result in gone {
        match result {
            Ok(()) | Err(Refusal::Missing(_)) => {}
            Err(refusal) => return Err(connection.error(refusal, &what)),
        }
    }
    let directory = connection.directory(id);
    let _ = nix::mount::umount2(&directory.join("shm"), MntFlags::MNT_DETACH);
    let parts = record.iter().flat_map(|it| &it.mounts).filter(|it| it.part.is_some());
    for at in parts.filter_map(|it| it.mount["source"].as_str()) {
        // What could not be taken away must not be cleared away with the directory.
        if Path::new(at).starts_with(&directory) && volumes::is_mounted(Path::new(at)) {
            let gone = nix::mount::umount2(at, MntFlags::MNT_DETACH);
            gone.map_err(|error| what.failed(format!("take {at} away: {error}")))?;
        }
    }
    match tokio::fs::remove_dir_all(&directory).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(what.failed(error));
        }
        Ok(()) | Err(_) => {}
    }
    let own = record.into_iter().flat_map(|it| it.mounts).filter(|it| it.anonymous);
    for volume in own.filter_map(|it| it.volume).filter(|_| anonymous_volumes) {
        volumes::remove(connection, &volume).await?;
    }
    Ok(())
}

pub(super) async fn rename(
    connection: &Connection,
    id: &str,
    name: &ContainerName,
) -> Result<(), RuntimeError> {
    let what = about("rename", "container", id);
    let _names = connection.names.lock().await;
    record::must_find(connection, id, "rename").await?;
    match record::by_name(connection, name.as_str()).await? {
        Some(there) if there.id == id => return Ok(()),
        Some(_) => return Err(what.conflict(format!("the name {name} is taken"))),
        None => {}
    }
    let set = record::set(connection, id, &[(record::NAME, name.to_string())]).await;
    set.map_err(|it| connection.error(it, &what))
}

pub(super) async fn inspect(connection: &Connection, id: &str) -> Result<Value, RuntimeError> {
    let (container, record) = record::must_find(connection, id, "inspect").await?;
    let spec = read_spec(&container, &about("inspect", "container", id))?;
    let task = record::task(connection, id).await?;
    let task = task.map(|it| {
        json!({ "pid": it.pid, "status": format!("{:?}", it.status()), "exitStatus": it.exit_status })
    });
    let runtime = container.runtime.map(|it| it.name);
    let record = serde_json::to_value(&record).unwrap_or_default();
    Ok(json!({
        "id": container.id,
        "image": container.image,
        "labels": container.labels,
        "runtime": runtime,
        "snapshotter": container.snapshotter,
        "snapshotKey": container.snapshot_key,
        "createdAtMs": record::wall(container.created_at).0,
        "task": task,
        "fizz": record,
        "spec": spec,
    }))
}

pub(super) async fn top(
    connection: &Connection,
    id: &str,
    arguments: &str,
) -> Result<ProcessList, RuntimeError> {
    let what = about("list processes of", "container", id);
    record::must_find(connection, id, "list processes of").await?;
    let listed = connection.ask(ListPids { container_id: id.to_owned() }).await;
    let pids = match listed {
        Ok(pids) => pids.processes,
        Err(Refusal::Missing(_)) => return Err(what.conflict("it does not run")),
        Err(refusal) => return Err(connection.error(refusal, &what)),
    };
    let arguments = if arguments.trim().is_empty() { "-ef" } else { arguments };
    let mut ps = tokio::process::Command::new("ps");
    ps.args(arguments.split_whitespace()).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(WORK_MAX, ps.output()).await;
    let output = output.map_err(|_| what.failed("ps took too long"))?;
    let output = output.map_err(|error| what.failed(format!("run ps: {error}; install procps")))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(what.failed(format!("ps {arguments}: {said}")));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.lines();
    let titles: Vec<String> =
        lines.next().unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    let at = titles.iter().position(|it| it == "PID");
    let at = at.ok_or_else(|| what.failed("ps must print the column PID; leave it in"))?;
    let columns = titles.len();
    let rows = lines.map(|line| cells(line, columns)).filter(|row| {
        let pid = row.get(at).and_then(|it| it.parse::<u32>().ok());
        pids.iter().any(|it| Some(it.pid) == pid)
    });
    Ok(ProcessList { processes: rows.collect(), titles })
}

/// A line of ps as its columns; the last has all the rest.
fn cells(line: &str, columns: usize) -> Vec<String> {
    let mut rest = line.trim_start();
    let mut cells = Vec::new();
    while cells.len() + 1 < columns && !rest.is_empty() {
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        cells.push(rest[..end].to_owned());
        rest = rest[end..].trim_start();
    }
    cells.push(rest.to_owned());
    cells
}

pub(super) async fn address(
    connection: &Connection,
    id: &str,
) -> Result<Option<IpAddr>, RuntimeError> {
    let mut id = id.to_owned();
    // A container in the network of another has the other's address.
    for _ in 0..2 {
        let (container, record) = record::must_find(connection, &id, "inspect").await?;
        if let Some(owner) = record.joins.network {
            id = owner;
            continue;
        }
        let spec = read_spec(&container, &about("inspect", "container", &*id))?;
        let namespaces = spec["linux"]["namespaces"].as_array();
        let own = namespaces.into_iter().flatten().any(|it| it["type"] == "network");
        return Ok((!own).then(|| IpAddr::from([127, 0, 0, 1])));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        for (text, number) in [
            ("SIGTERM", Some(15)),
            ("kill", Some(9)),
            ("3", Some(3)),
            ("SIGRTMIN+3", Some(37)),
            ("SIGNOT", None),
            ("65", None),
        ] {
            assert_eq!(signal_number(text), number, "{text}");
        }
    }

    #[test]
    fn the_last_column_has_spaces() {
        assert_eq!(cells("root  7 sh -c  x", 3), ["root", "7", "sh -c  x"]);
    }
}
