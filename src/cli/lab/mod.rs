//! `fizz lab`: a cluster on one machine, for trying Fizz and for testing it.
//!
//! Every node is a machine of its own as far as Linux can make it one: namespaces for its network,
//! mounts, processes and names, control groups of its own, a disk below `/var/lib/fizz-lab`, its own
//! runtime and its own daemon. The nodes' cards meet in a switch, one more namespace with a bridge,
//! where nftables loses what it is told to lose.
//!
//! A node's [first process](machine) holds it together: when that is killed, the kernel ends everything
//! on the node, as a power cut does, and its namespaces, mounts and links go. What is left is on
//! [record] by the lab's name.

mod boot;
mod cgroups;
mod engine;
mod exec;
mod faults;
mod form;
mod links;
mod machine;
mod namespaces;
mod plan;
mod process;
mod record;
mod status;
mod switch;
mod up;

use std::sync::atomic::AtomicBool;

use clap::{Args, Subcommand};
use nix::sys::signal::Signal;
use tokio::task::spawn_blocking;

use super::{Invocation, error::CliError, output::Output};
use faults::{Faults, Loss, Parted, Share};
use plan::{LabName, LabNode, Role};
use record::{Home, Record};
use up::{note, wait_note};

/// `fizz lab`.
#[derive(Debug, Subcommand)]
pub(super) enum LabCommand {
    /// Make a lab, or boot what does not run of it
    Up(up::UpArgs),
    /// Remove a lab with everything on it
    Down(up::DownArgs),
    /// List labs
    Ls(status::LsArgs),
    /// Show how a lab's nodes are
    Status(status::StatusArgs),
    /// Run a command on a node
    Exec(exec::ExecArgs),
    /// Part nodes from one another: `a,b/c` are groups, `a>b` is one direction
    Partition(PartitionArgs),
    /// End partitions and loss
    Heal(HealArgs),
    /// Lose a share of the packets between nodes at random; 0% ends it
    Loss(LossArgs),
    /// Take the power from nodes
    Kill(NodesArgs),
    /// Boot nodes that are off, with the data they had
    Start(NodesArgs),
    /// Stop nodes' daemons where they are (SIGSTOP)
    Pause(NodesArgs),
    /// Let nodes' daemons go on (SIGCONT)
    Resume(NodesArgs),
    /// Be the first process of a node
    #[command(hide = true)]
    Machine(machine::MachineArgs),
}

/// Which lab.
#[derive(Args, Clone, Debug)]
pub(super) struct LabOption {
    /// The lab's name
    #[arg(long, value_name = "NAME", env = "FIZZ_LAB", default_value = "lab")]
    name: LabName,
}

/// `fizz lab kill`, `start`, `pause`, `resume`.
#[derive(Args, Debug)]
pub(super) struct NodesArgs {
    #[command(flatten)]
    lab: LabOption,
    /// The nodes
    #[arg(required = true, value_name = "NODE")]
    nodes: Vec<LabNode>,
}

/// `fizz lab partition`.
#[derive(Args, Debug)]
pub(super) struct PartitionArgs {
    #[command(flatten)]
    lab: LabOption,
    /// Groups that hear each other, like `a,b/c`, or one direction that is dropped, like `a>b`; several
    /// add up
    #[arg(required = true, value_name = "PARTITION")]
    partitions: Vec<String>,
}

/// `fizz lab heal`.
#[derive(Args, Debug)]
pub(super) struct HealArgs {
    #[command(flatten)]
    lab: LabOption,
}

/// `fizz lab loss`.
#[derive(Args, Debug)]
pub(super) struct LossArgs {
    #[command(flatten)]
    lab: LabOption,
    /// How much, like 10%
    share: Share,
    /// Whose packets, to them and from them [default: all nodes']
    #[arg(value_name = "NODE")]
    nodes: Vec<LabNode>,
}

/// `fizz lab`.
pub(super) async fn lab(invocation: &Invocation, command: LabCommand) -> Result<(), CliError> {
    if !nix::unistd::geteuid().is_root() {
        return Err(CliError::Usage(
            "`fizz lab` makes namespaces, which takes root: run `sudo fizz lab ...`".to_owned(),
        ));
    }
    match command {
        LabCommand::Up(args) => up::up(invocation, args).await,
        LabCommand::Down(args) => up::down(invocation, args),
        LabCommand::Ls(args) => status::ls(invocation, &args),
        LabCommand::Status(args) => status::status(invocation, args),
        LabCommand::Exec(args) => exec::exec(args).await,
        LabCommand::Partition(args) => partition(invocation, args),
        LabCommand::Heal(args) => heal(invocation, args),
        LabCommand::Loss(args) => loss(invocation, args),
        LabCommand::Kill(args) => kill(invocation, args),
        LabCommand::Start(args) => start(invocation, args).await,
        LabCommand::Pause(args) => signal(invocation, args, Signal::SIGSTOP),
        LabCommand::Resume(args) => signal(invocation, args, Signal::SIGCONT),
        LabCommand::Machine(args) => machine::machine(invocation, args).await,
    }
}

/// A lab that is there, to be changed by nobody else meanwhile.
fn enter(output: &Output, lab: LabOption) -> Result<(Home, Record, record::Lock), CliError> {
    let home = Home::of(lab.name);
    // Before the lock, which would make the directory of a lab that is not there.
    home.made()?;
    let lock = home.lock(|| wait_note(output))?;
    let record = home.made()?;
    Ok((home, record, lock))
}

/// The named nodes, if the lab has them.
fn named(record: Record, nodes: Vec<LabNode>) -> Result<Vec<LabNode>, CliError> {
    let all = record.nodes();
    let found = nodes.into_iter().map(|it| faults::among(it, &all));
    found.collect::<Result<_, _>>().map_err(CliError::Usage)
}

fn partition(invocation: &Invocation, args: PartitionArgs) -> Result<(), CliError> {
    let (home, record, _lock) = enter(&invocation.output, args.lab)?;
    let mut parted = Parted::new();
    for text in &args.partitions {
        parted.extend(faults::parted(text, &record.nodes()).map_err(CliError::Usage)?);
    }
    change(&home, |it| it.parted = parted)
}

fn heal(invocation: &Invocation, args: HealArgs) -> Result<(), CliError> {
    let (home, _, _lock) = enter(&invocation.output, args.lab)?;
    change(&home, |it| *it = Faults::default())
}

fn loss(invocation: &Invocation, args: LossArgs) -> Result<(), CliError> {
    let (home, record, _lock) = enter(&invocation.output, args.lab)?;
    let nodes = named(record, args.nodes)?;
    let nodes = if nodes.is_empty() { record.nodes() } else { nodes };
    let loss = Loss { share: args.share, nodes: nodes.into_iter().collect() };
    change(&home, |it| it.loss = Some(loss).filter(|it| it.share != Share::NONE))
}

fn change(home: &Home, change: impl FnOnce(&mut Faults)) -> Result<(), CliError> {
    let mut faults = home.faults()?;
    change(&mut faults);
    // In this order, what is on record is what is so; a switch that is made anew goes by the record.
    switch::apply(home, &faults)?;
    home.write_faults(&faults)
}

fn kill(invocation: &Invocation, args: NodesArgs) -> Result<(), CliError> {
    let (home, record, _lock) = enter(&invocation.output, args.lab)?;
    let nodes = named(record, args.nodes)?;
    boot::power_off(&home, &nodes)?;
    nodes.iter().for_each(|it| note(&invocation.output, &format!(" Node {it}  Off")));
    Ok(())
}

async fn start(invocation: &Invocation, args: NodesArgs) -> Result<(), CliError> {
    let (home, record, _lock) = enter(&invocation.output, args.lab)?;
    let nodes = named(record, args.nodes)?;
    let (to_boot, which) = (home.clone(), nodes.clone());
    let never = AtomicBool::new(false);
    let booted = spawn_blocking(move || boot::boot_all(&to_boot, record, &which, &never));
    booted.await.map_err(|why| CliError::Failed(why.to_string()))??;
    for node in nodes {
        boot::answers(&home, node).await?;
        note(&invocation.output, &format!(" Node {node}  Answers at {}", home.host(node)));
    }
    Ok(())
}

fn signal(invocation: &Invocation, args: NodesArgs, signal: Signal) -> Result<(), CliError> {
    let (home, record, _lock) = enter(&invocation.output, args.lab)?;
    for node in named(record, args.nodes)? {
        let (running, all) = boot::running(&home)?;
        let machine = running.get(&Role::Node(node)).copied();
        let (_, daemon) = status::look(&home, node, machine, &all);
        let daemon = daemon.ok_or_else(|| {
            CliError::Failed(format!(
                "the daemon of node {node} does not run; start it with `fizz lab start {node}`"
            ))
        })?;
        let sent = daemon.signal(signal);
        sent.map_err(CliError::io(format!("can't send {signal} to the daemon of node {node}")))?;
        let word = if signal == Signal::SIGSTOP { "Paused" } else { "Runs" };
        note(&invocation.output, &format!(" Node {node}  {word}"));
    }
    Ok(())
}
