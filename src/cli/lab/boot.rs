//! Switching nodes on and off, and waiting until they answer.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, sleep},
    time::Duration,
};

use nix::sys::signal::Signal;
use tokio::time::Instant;

use super::{
    cgroups, links,
    machine::{ENDED, program},
    namespaces,
    plan::{Engine, LabNode, Role},
    process::{self, Process, Seen},
    record::{Home, Lock, Record},
    status::{NodeState, look},
    switch,
};
use crate::{
    api::wire::Version,
    cli::{
        client::{Client, Route},
        error::CliError,
    },
};

/// Nodes that boot at the same time.
const THREADS_MAX: usize = 8;

/// How long a node may take to answer, and how often it is looked at. An engine that has much to do beside
/// others takes a minute, and one that ends is noticed long before.
const ANSWER_MAX: Duration = Duration::from_secs(180);
const LOOK: Duration = Duration::from_millis(25);

/// How often it may be seen that something has ended on a node that may be starting it again.
const ENDED_LOOKS_MAX: u32 = 20;

/// How long a killed process may take to end: 400 looks.
const END_LOOKS_MAX: u32 = 400;

/// Lines of a log that are shown.
const LOG_LINES_MAX: usize = 10;

/// The nodes of a lab that run, with everything that runs on the machine.
pub(super) fn running(home: &Home) -> Result<(BTreeMap<Role, Process>, Vec<Seen>), CliError> {
    let all = process::all().map_err(CliError::io("can't read /proc"))?;
    Ok((process::holders(&all, &home.name), all))
}

/// The daemon of a node that runs, among everything that runs.
pub(super) fn daemon<'a>(
    all: &'a [Seen],
    home: &Home,
    node: LabNode,
    machine: Process,
) -> Option<&'a Seen> {
    let config = home.config(node);
    let mut children = all.iter().filter(|it| it.parent == machine.pid);
    children.find(|it| match &it.words[..] {
        [_, daemon, option, path] => {
            daemon == "daemon" && option == "--config" && Path::new(path) == config
        }
        _ => false,
    })
}

/// Boots the nodes of a lab that do not run, several at a time, until `stop` says so. Nodes that run get
/// their network and their daemon back, should those have ended.
pub(super) fn boot_all(
    home: &Home,
    lock: &Lock,
    record: Record,
    nodes: &[LabNode],
    stop: &AtomicBool,
) -> Result<(), CliError> {
    let switch = switch::ensure(home, lock)?;
    switch::apply_if_any(home)?;
    let (running, _) = running(home)?;
    let queue = Mutex::new(nodes.iter());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || -> Result<(), CliError> {
        while let Some(node) = next().filter(|_| !stop.load(Ordering::Relaxed)) {
            match running.get(&Role::Node(*node)) {
                Some(machine) => mend(record, *node, switch, *machine)?,
                None => boot(home, lock, record, *node, switch)?,
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        let threads: Vec<_> =
            (0..THREADS_MAX.min(nodes.len())).map(|_| scope.spawn(work)).collect();
        let results = threads
            .into_iter()
            .map(|it| it.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        results.collect::<Vec<_>>().into_iter().collect()
    })
}

/// A node that runs, with its network and its daemon as they should be.
fn mend(record: Record, node: LabNode, switch: Process, machine: Process) -> Result<(), CliError> {
    let network = namespaces::in_network(machine, namespaces::network)?;
    switch::plug(switch, node, record.number, &network)?;
    namespaces::in_network(machine, || links::set_up_card(node, record))?;
    let told = machine.signal(Signal::SIGHUP);
    told.map_err(CliError::io(format!("can't tell node {node} to start its daemon")))
}

fn boot(
    home: &Home,
    lock: &Lock,
    record: Record,
    node: LabNode,
    switch: Process,
) -> Result<(), CliError> {
    Home::make(&home.node_run(node))?;
    Home::make(&home.node_data(node))?;
    let write = |path: PathBuf, text: &str| {
        fs::write(&path, text).map_err(CliError::io(format!("can't write {}", path.display())))
    };
    write(home.config(node), &config(home, record, node))?;
    if let Some(settings) = record.runtime.settings() {
        write(home.runtime_settings(node), settings)?;
    }
    namespaces::in_new_machine(|| {
        switch::plug(switch, node, record.number, &namespaces::network()?)?;
        links::set_up_card(node, record)?;
        namespaces::first_process()?;
        spawn_machine(home, lock, Role::Node(node), &home.log(node, "machine"))
    })
}

/// Starts what holds this thread's namespaces. It outlives this command, and init reaps it. Its
/// standard input is the lab's lock, until it is known by its command line.
pub(super) fn spawn_machine(
    home: &Home,
    lock: &Lock,
    role: Role,
    log: &Path,
) -> Result<(), CliError> {
    let log = empty_log(log).and_then(|it| Ok((it.try_clone()?, it)));
    let (out, err) = log.map_err(CliError::io(format!("can't write a log of {role}")))?;
    let mut command = Command::new(program());
    command
        .arg0("fizz")
        .args(["lab", "machine", home.name.as_str(), &role.to_string()])
        .current_dir("/")
        .stdin(lock.share()?)
        .stdout(out)
        .stderr(err);
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|it| it.starts_with("FIZZ_")) {
            command.env_remove(name);
        }
    }
    let mut started = command.spawn().map_err(CliError::io(format!("can't start {role}")))?;
    // The kernel takes a started program's words from its memory, and says that it has started a moment
    // before they are there (proc_pid_cmdline(5) reads as empty until then).
    let words = format!("/proc/{}/cmdline", started.id());
    while fs::read(&words).is_ok_and(|it| it.is_empty()) && matches!(started.try_wait(), Ok(None)) {
        sleep(LOOK);
    }
    Ok(())
}

/// A log to which is added only, so that it can be emptied while it is written to.
pub(super) fn empty_log(path: &Path) -> io::Result<File> {
    File::create(path)?;
    File::options().append(true).open(path)
}

/// The daemon's settings. Names and paths need no quotes: a lab's name is letters, digits and `-`.
fn config(home: &Home, record: Record, node: LabNode) -> String {
    let Record { number, runtime, .. } = record;
    let address = node.cluster_address(number);
    let socket = match runtime {
        Engine::Docker | Engine::Podman | Engine::Containerd => {
            format!("  socket: {}\n", home.runtime_socket(node).display())
        }
        Engine::None => String::new(),
    };
    format!(
        "# Written by `fizz lab up`.
node:
  name: {node}
cluster:
  listen: {address}
  advertise: {address}
runtime:
  kind: {kind}
{socket}api:
  socket: {api}
data_dir: {data}
run_dir: /run/fizz
",
        kind = runtime.kind(),
        api = home.socket(node).display(),
        data = home.node_data(node).join("fizz").display(),
    )
}

/// Waits until a node's daemon answers, and its runtime.
pub(super) async fn answers(home: &Home, node: LabNode) -> Result<(), CliError> {
    let client = Client::new(Some(&home.host(node)))?;
    let end = Instant::now() + ANSWER_MAX;
    let mut ended_looks = 0;
    loop {
        // A daemon that is stopped takes the question and says nothing.
        let route = Route::to(&["version"]);
        let version = tokio::time::timeout(LOOK * 40, client.get::<Version>(&route)).await;
        if version.is_ok_and(|it| it.is_ok_and(|it| it.runtime.is_some())) {
            return Ok(());
        }
        let machine = fs::read_to_string(home.log(node, "machine")).unwrap_or_default();
        let (running, all) = running(home)?;
        let holder = running.get(&Role::Node(node)).copied();
        ended_looks += u32::from(machine.contains(ENDED));
        let why = if ENDED_LOOKS_MAX < ended_looks {
            "does not stay up"
        } else if holder.is_none() {
            "did not boot"
        } else if look(home, node, holder, &all).0 == NodeState::Paused {
            "is paused: let it go on with `fizz lab resume`"
        } else if end < Instant::now() {
            "does not answer"
        } else {
            tokio::time::sleep(LOOK).await;
            continue;
        };
        return Err(CliError::Failed(format!("node {node} {why}{}", last_words(home, node))));
    }
}

/// The ends of a node's logs.
fn last_words(home: &Home, node: LabNode) -> String {
    let mut text = String::new();
    for of in ["machine", "runtime", "fizz"] {
        let log = fs::read_to_string(home.log(node, of)).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(LOG_LINES_MAX).collect();
        for line in lines.into_iter().rev() {
            text.push_str(&format!("\n  {of}: {line}"));
        }
    }
    text
}

/// Takes the power from nodes: the network is cut first, so that nobody hears them end.
pub(super) fn power_off(home: &Home, nodes: &[LabNode]) -> Result<(), CliError> {
    let (running, _) = running(home)?;
    if let Some(switch) = running.get(&Role::Switch) {
        nodes.iter().try_for_each(|it| switch::unplug(*switch, *it))?;
    }
    let nodes_off = nodes.iter().filter_map(|it| running.get(&Role::Node(*it)).copied());
    kill_all(nodes_off.collect())?;
    nodes.iter().try_for_each(|it| cgroups::remove_node(&home.name, *it))
}

/// Ends and removes what is left of an attempt to make a lab that is about to be made.
pub(super) fn clear_for_another(home: &Home) -> Result<(), CliError> {
    kill_all(running(home)?.0.into_values().collect())?;
    cgroups::remove_lab(&home.name)?;
    home.empty()
}

/// Ends everything of a lab and removes what is left of it.
pub(super) fn clear(home: &Home) -> Result<(), CliError> {
    kill_all(running(home)?.0.into_values().collect())?;
    cgroups::remove_lab(&home.name)?;
    home.remove()
}

fn kill_all(all: Vec<Process>) -> Result<(), CliError> {
    for process in &all {
        let killed = process.signal(Signal::SIGKILL);
        killed.map_err(CliError::io(format!("can't end process {}", process.pid)))?;
    }
    let mut looks = 0;
    while let Some(process) = all.iter().find(|it| it.lives()) {
        looks += 1;
        if looks == END_LOOKS_MAX {
            return Err(CliError::Failed(format!(
                "process {} does not end; look at it, and try again",
                process.pid
            )));
        }
        sleep(LOOK);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nodes_settings_name_its_own_places_only() {
        let home = Home::of("lab".parse().unwrap());
        let record =
            Record { number: 3, nodes: 2, runtime: Engine::None, cluster: true, ready: false };
        let node = "b".parse().unwrap();
        let expected = "\
# Written by `fizz lab up`.
node:
  name: b
cluster:
  listen: 10.99.3.2:7780
  advertise: 10.99.3.2:7780
runtime:
  kind: none
api:
  socket: /run/fizz-lab/lab/b/fizz.sock
data_dir: /var/lib/fizz-lab/lab/b/fizz
run_dir: /run/fizz
";
        assert_eq!(config(&home, record, node), expected);
        let docker = config(&home, Record { runtime: Engine::Docker, ..record }, node);
        let lines = "  kind: docker\n  socket: /run/fizz-lab/lab/b/runtime.sock\napi:";
        assert!(docker.contains(lines), "{docker}");
    }
}
